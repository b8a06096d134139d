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
from contextlib import suppress

INTERRUPTED = 130
OUT_CLOSED = 141  # what a shell reports for a reader that went away


def run(argv: Sequence[str]) -> int:
    """Run one command and return its exit code."""
    try:
        code = _run(list(argv))
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        return interrupted()
    except BrokenPipeError:
        _drop_stdout()
        return OUT_CLOSED


def _drop_stdout() -> None:
    """Let what is still in the buffer go nowhere, so that the interpreter's last flush is silent."""
    with suppress(OSError, ValueError):  # a stdout without a descriptor has nothing to close
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def interrupted() -> int:
    """Say that the user stopped it, on a line of its own behind the ^C that a terminal echoes."""
    if sys.stderr.isatty():
        print(file=sys.stderr)
    return _fail("Interrupted: onchip: OC1009 stopped. Output files are whole or absent.", INTERRUPTED)


def _run(argv: list[str]) -> int:
    from onchip.errors import InternalError, OnchipError, UsageError

    if argv in (["--version"], ["-V"]):
        from onchip import __version__

        print(f"onchip {__version__}")
        return 0
    try:
        from onchip.cli.app import invoke
        from onchip.cli.output import use_plain_characters

        use_plain_characters()
        code = invoke(argv)
        sys.stdout.flush()
        return code
    except OnchipError as error:
        return _fail(f"{type(error).__name__}: {error}", error.exit_code)
    except (KeyboardInterrupt, BrokenPipeError):
        raise
    except OSError as error:
        if not _is_full(error):
            return _internal(error, argv, InternalError)
        fact = f"cannot be written: {error.strerror}"
        return _fail(f"UsageError: {UsageError('OC1015', 'stdout', fact, next='Make room on the disk')}", 2)
    except Exception as error:
        return _internal(error, argv, InternalError)


def _is_full(error: OSError) -> bool:
    import errno

    return error.filename is None and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


def _internal(error: Exception, argv: list[str], kind: type) -> int:
    if os.environ.get("ONCHIP_TRACEBACK"):
        raise error
    fact = f"{type(error).__name__}: {error}"[:300]
    hint = "Set ONCHIP_TRACEBACK=1 to see where, and report it"
    wrapped = kind("OC9099", f"onchip {' '.join(argv)[:100]}".strip(), fact, next=hint)
    return _fail(f"InternalError: {wrapped}", wrapped.exit_code)


def _fail(line: str, code: int) -> int:
    try:
        sys.stdout.flush()
    except OSError:
        _drop_stdout()
    print(line, file=sys.stderr)
    return code
