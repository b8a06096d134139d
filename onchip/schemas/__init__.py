"""Published JSON Schemas, and the command that writes them: `python -m onchip.schemas`.

In:       the field types of chip files, the fields of reports.
Out:      chip-1.json beside this file, for editors and for programs that write chip files, and report-1.json, for
          programs that read `onchip estimate --json` and `onchip run --json`.
Promises: tests compare the published files with those generated now.
"""
