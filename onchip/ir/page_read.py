"""A page back from a file: a report's JSON, a page's JSON, or an HTML file that we wrote.

In:       the path of the file.
Out:      the Page: of one report where the file is `estimate --json`, all of it where it is a page.
Promises: a file that is too large, no UTF-8, of neither kind, or of another version is refused (OC1270 to OC1273), and
          every report goes through `report_read`; nothing of the file is executed, and sentences are made anew.
Does not: trust a part's numbers: they are drawn as they are, by a page that has no network.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

from onchip.errors import BadFile, InternalError
from onchip.ir.page import PAGE_VERSION, Page, page_of
from onchip.ir.report import Json
from onchip.ir.report_read import MAX_BYTES, report_from

BEGIN = '<script type="application/json" id="onchip-page">'
END = "</script>"
MOST_REPORTS = 1000
NEXT = "Give a file of onchip estimate --json, or a page of onchip report"


def read_page(path: str | Path) -> Page:
    """Return the page in a file. Raises BadFile."""
    where = str(path)
    try:
        with Path(path).open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise BadFile("OC1270", where, f"cannot be read: {reason}") from None
    if len(raw) > MAX_BYTES:
        raise BadFile("OC1270", where, f"is larger than {MAX_BYTES >> 20} MiB", next="Leave out parts of the page")
    try:
        return parse_page(raw.decode("utf-8-sig"), where)
    except UnicodeDecodeError as error:
        raise BadFile("OC1270", where, f"is no UTF-8 text (byte {error.start})") from None


def parse_page(text: str, where: str = "page") -> Page:
    """Return the page in a text of any of the three kinds; `where` names it in messages. Raises BadFile."""
    if text.lstrip()[:1] == "<":
        text = _inside(text, where)
    try:
        found = json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise BadFile("OC1270", where, f"is no JSON: {str(error)[:80]}", next=NEXT) from None
    if not isinstance(found, dict):
        raise BadFile("OC1272", where, "holds neither a report nor a page", next=NEXT)
    value = cast("Json", found)
    if "reports" in value and "refused" in value and "onchip_page" not in value:
        hint = "Write the page itself: onchip compare MODEL -o compare.html"
        raise BadFile("OC1272", where, "is a comparison of chips, not a report", next=hint)
    return _page(value, where) if "onchip_page" in value else page_of(report_from(value, where))


def _no_constant(word: str) -> float:
    raise ValueError(f"{word} is no number")


def _inside(text: str, where: str) -> str:
    """Return the JSON that stands in an HTML file."""
    begin = text.find(BEGIN)
    end = text.find(END, begin)
    if begin < 0 or end < 0:
        raise BadFile("OC1272", where, "is an HTML file without a report of onchip", next=NEXT)
    return text[begin + len(BEGIN) : end]


def _page(value: Json, where: str) -> Page:
    version = value["onchip_page"]
    if version != PAGE_VERSION:
        fact = f"is a page of version {str(version)[:20]}; this onchip reads {PAGE_VERSION}"
        raise BadFile("OC1273", where, fact, next="Open it with the onchip that wrote it, named under `tool`")
    title, reports, parts = value.get("title"), value.get("reports"), value.get("parts")
    if not isinstance(title, str) or not isinstance(reports, list) or not isinstance(parts, dict):
        raise BadFile("OC1272", where, "is a page without title, reports or parts", next=NEXT)
    rows, own = cast("list[Any]", reports), cast("dict[str, Any]", parts)
    if len(rows) > MOST_REPORTS:
        raise BadFile("OC1272", where, f"holds {len(rows)} reports", limit=f"a page has at most {MOST_REPORTS}")
    wrong = next((name for name, part in own.items() if not isinstance(part, dict)), None)
    if wrong is not None:
        raise BadFile("OC1272", where, f"part {wrong[:40]} is no object", next=NEXT)
    try:
        return Page(title, tuple(report_from(row, where) for row in rows), own)
    except InternalError as error:  # the noun's own checks: here they are about a file
        raise BadFile("OC1272", where, error.fact, next=NEXT) from None
