"""Write the published JSON Schemas: `python -m onchip.schemas`.

In:       the field types of chip files, the fields of reports.
Out:      chip-1.json and report-1.json in onchip/schemas, or nothing but exit code 1 with `--check` when one of them is
          out of date.
Promises: the same text for the same field types.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from onchip.chip import schema
from onchip.ir.report_schema import report_schema

PATH = Path(__file__).parent / "chip-1.json"
REPORT_PATH = Path(__file__).parent / "report-1.json"


def text() -> str:
    """Return the schema of chip files as it is published."""
    return json.dumps(schema(), indent=1, ensure_ascii=False) + "\n"


def report_text() -> str:
    """Return the schema of reports as it is published."""
    return json.dumps(report_schema(), indent=1, ensure_ascii=False) + "\n"


def main(arguments: list[str]) -> int:
    """Write the schemas, or check them."""
    published = {PATH: text(), REPORT_PATH: report_text()}
    if "--check" in arguments:
        return int(any(path.read_text(encoding="utf-8") != wanted for path, wanted in published.items()))
    for path, wanted in published.items():
        path.write_text(wanted, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
