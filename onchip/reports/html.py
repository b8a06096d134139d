"""Page -> one HTML file: script, style and data inside of it, nothing loaded from anywhere.

In:       a Page; the built front end in onchip/web (from web/, by `npm run build`).
Out:      the text of the file.
Promises: a content security policy allows the one script and the one style sheet by their hashes and no connection;
          the data is JSON in ASCII without a `<`, so no name of a layer ends its element; the same page, the same
          bytes. Without JavaScript, the verdict and the text report are shown.
Does not: write files.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import html
import json
from pathlib import Path

from onchip.ir.page import Page
from onchip.ir.page_read import BEGIN, END
from onchip.ir.report import Json

WEB = Path(__file__).parents[1] / "web"


def page_html(page: Page) -> str:
    """Return the HTML file of a page."""
    verdict = page.verdict
    plain = "\n\n".join(str(report) for report in page.reports[:1]) or page.title
    return document(page.title, verdict, page.to_json(), plain=plain)


def document(title: str, verdict: str, data: Json, *, plain: str = "") -> str:
    """Return an HTML file with data for the front end; `plain` is for readers without JavaScript."""
    script, style = asset("page.js"), asset("page.css")
    policy = "; ".join(
        [
            "default-src 'none'", f"script-src '{_hash(script)}'", f"style-src '{_hash(style)}'", "img-src data: blob:",
            "base-uri 'none'", "form-action 'none'",
        ]
    )  # fmt: skip
    whole = "\n".join(
        [
            "<!DOCTYPE html>",
            '<html lang="en">',
            "<head>",
            '<meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f'<meta name="description" content="{html.escape(verdict)}">',
            f"<title>{html.escape(title)}</title>",
            f"<style>{style}</style>",
            "</head>",
            "<body>",
            f'<div id="onchip"><pre>{html.escape(plain)}</pre></div>',
            f"{BEGIN}{embedded(data)}{END}",
            f"<script>{script}</script>",
            "</body>",
            "</html>",
            "",
        ]
    )
    return whole.encode("utf-8", "replace").decode("utf-8")  # half a surrogate pair, in a name, is no text


def embedded(data: Json) -> str:
    """Return JSON that can stand in a script element: no `<` in it, ASCII only."""
    return json.dumps(data, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")


@functools.cache
def asset(name: str) -> str:
    """Return a file of the built front end; it holds no end of its own element."""
    return (WEB / name).read_text(encoding="utf-8").replace("</script", "<\\/script").replace("</style", "<\\/style")


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
