"""`python -m onchip` and the `onchip` command.

In:       the command line.
Out:      an exit code.
Promises: user mistakes print one line and never a traceback.
Does not: know any verb; they stand in `onchip.cli`.
"""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line and leave with its exit code."""
    from onchip.cli import run

    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
