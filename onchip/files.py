"""Output files that are whole or absent.

In:       the path that the user named.
Out:      a path beside it to write to, renamed to the user's name when all went well.
Promises: an error or an interruption leaves neither a half file nor the temporary one, and an older file of that name
          stays as it was; a link is followed; devices, pipes and directories are refused.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from onchip.errors import UsageError

NEXT = "Create the directory, or name another file with -o"


@contextmanager
def replacing(path: str | Path) -> Generator[Path, None, None]:
    """Give a path beside `path` to write to, and rename it when the block ends well. Raises UsageError (OC1015)."""
    beside: Path | None = None
    try:
        target = Path(path).resolve()
        if target.exists() and not target.is_file():
            kind = "a directory" if target.is_dir() else "no regular file"
            raise UsageError("OC1015", str(path), f"cannot be written: it is {kind}", next=NEXT)
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name[:100]}.", suffix=target.suffix)
        os.close(handle)
        beside = Path(name)
        yield beside
        beside.chmod(0o666 & ~_umask())
        beside.replace(target)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise UsageError("OC1015", str(path), f"cannot be written: {reason}", next=NEXT) from None
    finally:
        if beside is not None:
            with suppress(OSError):
                beside.unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
