"""The command line: `run(argv)` does what the words say and returns an exit code.

In:       the words after `onchip`.
Out:      an exit code: 0 done, 1 a bug of ours, 2 usage, unknown name or bad file, 3 not supported, 4 does not fit,
          5 mismatch, 130 interrupted.
Promises: a mistake is one line on stderr with its code, never a traceback (ONCHIP_TRACEBACK=1 shows one for our bugs);
          results go to stdout, progress to stderr; output files are whole or absent; nothing uses the network.
Does not: import anything heavy before a verb needs it: `--help` and `--version` stay fast.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

INTERRUPTED = 130
OUT_CLOSED = 141  # what a shell reports for a reader that went away


def run(argv: Sequence[str]) -> int:
    """Run one command and return its exit code."""
    try:
        return _run(list(argv))
    except KeyboardInterrupt:
        return _fail("Interrupted: onchip: OC1009 stopped. Output files are whole or absent.", INTERRUPTED)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OUT_CLOSED


def _run(argv: list[str]) -> int:
    from onchip.errors import InternalError, OnchipError

    if argv in (["--version"], ["-V"]):
        from onchip import __version__

        print(f"onchip {__version__}")
        return 0
    try:
        from onchip.cli.app import invoke

        return invoke(argv)
    except OnchipError as error:
        return _fail(f"{type(error).__name__}: {error}", error.exit_code)
    except (KeyboardInterrupt, BrokenPipeError):
        raise
    except Exception as error:
        if os.environ.get("ONCHIP_TRACEBACK"):
            raise
        fact = f"{type(error).__name__}: {error}"[:300]
        hint = "Set ONCHIP_TRACEBACK=1 to see where, and report it"
        wrapped = InternalError("OC9099", f"onchip {' '.join(argv)[:100]}".strip(), fact, next=hint)
        return _fail(f"InternalError: {wrapped}", wrapped.exit_code)


def _fail(line: str, code: int) -> int:
    sys.stdout.flush()
    print(line, file=sys.stderr)
    return code
