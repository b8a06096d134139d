"""Small pieces of HTML for notebooks: tables and bars in the colours of the page around them.

In:       texts. Out: HTML in which every text is escaped.
Does not: know any noun; the report's page (reports/html.py) is another thing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

STYLE = (
    ".onchip{font:13px/1.5 system-ui,sans-serif;font-variant-numeric:tabular-nums;max-width:60em}"
    ".onchip table{margin:.3em 0;border:0}"
    ".onchip :is(td,th){padding:.1em .9em .1em 0;border:0;text-align:right;background:none}"
    ".onchip .l{text-align:left}"
)
COLOURS = (
    "#0072b2",
    "#e69f00",
    "#56b4e9",
    "#cc79a7",
    "#d55e00",
    "#009e73",
    "#f0e442",
    "#999999",
    "#666666",
)  # Okabe, Ito


def box(*parts: str) -> str:
    """Return parts below one another."""
    return f'<div class="onchip"><style>{STYLE}</style>{"".join(parts)}</div>'


def line(text: str, *, is_bold: bool = False) -> str:
    weight = ' style="font-weight:600"' if is_bold else ""
    return f"<div{weight}>{escape(text)}</div>"


def table(rows: Iterable[Sequence[str]], *, heads: Sequence[str] = (), left: Iterable[int] = (0,)) -> str:
    """Return a table; columns in `left` are aligned to the left, the rest to the right."""
    lefts = frozenset(left)

    def cells(row: Sequence[str], tag: str) -> str:
        made = [f"<{tag}{' class=l' if i in lefts else ''}>{escape(text)}</{tag}>" for i, text in enumerate(row)]
        return f"<tr>{''.join(made)}</tr>"

    head = f"<thead>{cells(heads, 'th')}</thead>" if heads else ""
    return f"<table>{head}<tbody>{''.join(cells(row, 'td') for row in rows)}</tbody></table>"


def shares(parts: Sequence[tuple[str, float]]) -> str:
    """Return one bar cut into named shares of 1, with a legend; shares under half a percent are left out of both."""
    shown = [(name, share, COLOURS[i % len(COLOURS)]) for i, (name, share) in enumerate(parts) if share >= 0.005]
    cells = "".join(
        f'<div title="{escape(name)} {share * 100:.0f} %" style="width:{share * 100:.2f}%;background:{colour}"></div>'
        for name, share, colour in shown
    )
    names = "".join(
        f'<span style="margin-right:1.2em;white-space:nowrap"><span style="display:inline-block;width:.7em;height:.7em;'
        f'margin-right:.35em;background:{colour}"></span>{escape(name)} {share * 100:.0f} %</span>'
        for name, share, colour in shown
    )
    return f'<div style="display:flex;height:1em;margin:.5em 0 .2em">{cells}</div><div>{names}</div>'


def folded(summary: str, content: str) -> str:
    """Return content that opens when its summary is clicked."""
    return f'<details style="margin-top:.5em"><summary>{escape(summary)}</summary>{content}</details>'
