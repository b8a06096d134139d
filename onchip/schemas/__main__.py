"""Write the published JSON Schemas: `python -m onchip.schemas`.

In:       the field types of chip files, the fields of reports and of what verbs print.
Out:      the .json files in onchip/schemas, or with `--check` nothing but exit code 1 when one of them is out of date.
Promises: the same text for the same fields.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from onchip.chip import schema
from onchip.ir.report_schema import report_schema
from onchip.schemas.verbs import verb_schemas

FOLDER = Path(__file__).parent


def texts() -> dict[str, str]:
    """Return every schema as it is published, by file name."""
    schemas = {"chip-1.json": schema(), "report-1.json": report_schema(), **verb_schemas()}
    return {name: json.dumps(made, indent=1, ensure_ascii=False) + "\n" for name, made in schemas.items()}


def is_published() -> bool:
    """Return whether the files are those generated now, and no others."""
    files = {path.name: path.read_text(encoding="utf-8") for path in FOLDER.glob("*.json")}
    return files == texts()


def main(arguments: list[str]) -> int:
    """Write the schemas, or check them."""
    if "--check" in arguments:
        return int(not is_published())
    for name, text in texts().items():
        (FOLDER / name).write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
