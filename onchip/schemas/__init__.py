"""Published JSON Schemas, and the command that writes them: `python -m onchip.schemas`.

In:       the field types of chip files, the fields of reports and of what verbs print.
Out:      chip-1.json for editors and for programs that write chip files; report-1.json for readers of
          `onchip estimate --json` and `onchip run --json`; VERB-1.json for those of the other verbs.
Promises: tests compare the published files with those generated now.
"""
