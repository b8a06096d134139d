"""Write the tables of docs/accuracy.md and of the README: `python -m onchip.silicon.page`.

In:       the public measurements of the package, the two pages in the working directory.
Out:      the text between the two markers of the page anew: every group beside both baselines, the worst rows, the
          rows that beat their own bound, the bands, and what is refused; docs/accuracy.json, what the tests compare
          with; and the bands of the package (ir/bands.py).
Promises: the same text for the same chips, rows and program; nothing that went badly is left out.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from onchip.chip import Chip
from onchip.ir.bands import FILE, Band, write
from onchip.silicon.ablation import Ablation, ablate, ablation_table
from onchip.silicon.bands import make_bands, residuals
from onchip.silicon.measurements import PUBLIC, read_measurements
from onchip.silicon.overview import overview
from onchip.silicon.predict import Prediction
from onchip.silicon.scores import Group, Validation, percentile
from onchip.silicon.text import beats_baselines, group_cells, verdict
from onchip.silicon.validate import validate
from onchip.units import DASH

BEGIN, END = "<!-- begin: python -m onchip.silicon.page -->", "<!-- end -->"
WORST_PER_GROUP, LEAST_FACTOR = 2, 1.5
HEADS = (
    "chip",
    "workload",
    "metric",
    "dtype",
    "timing",
    "n",
    "median",
    "p90",
    "bias",
    "rank",
    "roofline",
    "simple",
    "",
)


def page_text(validation: Validation, ablations: Sequence[Ablation]) -> str:
    """Return the generated section."""
    parts = [
        BEGIN, "", verdict(validation, "Public rows"), "",
        "A tick stands where the median is below both baselines. What was fitted stands in the next table; errors here "
        "are in sample where it was, errors of rows left out stand beside the keys.", "",
        *_table(HEADS, [(*group_cells(g), "✓" if beats_baselines(g) else "") for g in validation.groups], left=5), "",
        "**Fitted numbers**: keys of chip files, what they were fitted on, and the error of rows left out by distinct "
        "shape or network; keys of a family have one value for all of its chips:", "",
        *_fitted(), "",
        "**What each effect is worth**: median / 90th percentile in percent without it, the rest as it is, nothing "
        "fitted again; a dot where nothing moves:", "",
        *ablation_table(ablations), "",
        f"**Worst rows**, at most {WORST_PER_GROUP} per group, from a factor of {LEAST_FACTOR} up:", "",
        *_worst(validation), "",
        f"**Better than their own roofline**: {len(validation.beats_bound)} rows "
        "(warm caches, weights that stay on the chip, another algorithm). With and without them:", "",
        *_beaten(validation), "",
        "**Bands** of a predicted time, and the share of rows that bands made without them covered:", "",
        *_bands(make_bands(residuals(validation.predictions))), "",
        f"**Refused**: {len(validation.refusals)} rows.", "", *_refused(validation), "", END,
    ]  # fmt: skip
    return "\n".join(parts) + "\n"


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]], *, left: int) -> list[str]:
    marks = ["---" if i < left else "---:" for i in range(len(heads))]
    return [f"| {' | '.join(cells)} |" for cells in (heads, marks, *rows)]


def _worst(validation: Validation) -> list[str]:
    rows: list[tuple[str, ...]] = []
    for group in validation.groups:
        ordered = sorted(validation.of(group), key=lambda p: (-_factor(p), p.measurement.row))
        for p in (p for p in ordered[:WORST_PER_GROUP] if _factor(p) >= LEAST_FACTOR):
            row = p.measurement
            numbers = (f"{row.value:.4g}", f"{p.value:.4g}", f"{_factor(p):.2f}x {_side(p)}")
            rows.append((row.chip, row.words, row.dtype, row.metric, *numbers, p.bound))
    rows.sort(key=lambda cells: -float(cells[6].partition("x")[0]))
    heads = ("chip", "what", "dtype", "metric", "measured", "predicted", "off", "mostly")
    return _table(heads, rows, left=4)


def _factor(prediction: Prediction) -> float:
    ratio = prediction.value / prediction.measurement.value
    return max(ratio, 1 / ratio)


def _side(prediction: Prediction) -> str:
    return "above" if prediction.error > 0 else "below"


def _beaten(validation: Validation) -> list[str]:
    rows: list[tuple[str, ...]] = []
    for group in validation.groups:
        members = validation.of(group)
        rest = [100 * abs(p.error) for p in members if not p.beats_bound]
        if len(rest) == len(members):
            continue
        name = f"{group.chip} {group.workload} {group.dtype} {group.metric}"
        without = f"{percentile(rest, 50):.0f} / {percentile(rest, 90):.0f} %" if rest else "–"
        with_all = f"{group.median_abs_pct_error:.0f} / {group.p90_abs_pct_error:.0f} %"
        rows.append((name, f"{len(members) - len(rest)} of {len(members)}", with_all, without))
    return _table(("group", "rows", "median / p90", "without them"), rows, left=1)


def _bands(bands: Sequence[Band]) -> list[str]:
    rows = [
        (
            band.level, band.of or DASH, band.workload, f"{band.low:.2f} to {band.high:.2f}", str(band.n),
            f"{100 * band.left_out:.0f} % of {band.n_judged}",
        )
        for band in bands
    ]  # fmt: skip
    heads = ("evidence", "of", "workload", "measured / predicted", "rows", "covered, left out")
    return _table(heads, rows, left=3)


def _fitted() -> list[str]:
    rows: list[tuple[str, ...]] = []
    for chip in (Chip.load(name) for name in Chip.names()):
        told = chip.calibration
        if told is not None:
            error = f"{told.median:.1f} / {told.p90:.0f} %"
            rows.append(
                (chip.name, ", ".join(told.keys) or DASH, ", ".join(told.family) or DASH, told.rows, str(told.n), error)
            )
    return _table(("chip", "its own", "of its family", "rows", "n", "left out: median / p90"), rows, left=4)


def _refused(validation: Validation) -> list[str]:
    counted: Counter[tuple[str, str, str]] = Counter()
    first: dict[tuple[str, str, str], str] = {}
    for refusal in validation.refusals:
        row = refusal.measurement
        code = next(word for word in refusal.reason.split() if word.startswith("OC"))
        key = (row.chip, row.workload, code)
        counted[key] += 1
        first.setdefault(key, refusal.reason.replace("|", "/"))
    rows = [(*key[:2], str(n), first[key]) for key, n in sorted(counted.items())]
    return _table(("chip", "workload", "rows", "first reason"), rows, left=2)


def limits(groups: Sequence[Group]) -> dict[str, list[float]]:
    """Return the medians and 90th percentiles that a later run may not exceed by more than a point."""
    return {
        " ".join(g.key): [g.n, round(g.median_abs_pct_error, 5), round(g.p90_abs_pct_error, 5)] for g in groups
    }  # fmt: skip


def replaced(page: str, section: str) -> str:
    """Return the page with the text between the section's markers, its first and last line, replaced."""
    section = section.rstrip("\n")
    begin, end = section[: section.index("\n")], section[section.rindex("\n") + 1 :]
    head, mark, rest = page.partition(begin)
    _, last, tail = rest.partition(end)
    if not mark or not last:
        raise ValueError(f"the page has no markers {begin} and {end}")
    return head + section + tail


def main(root: Path) -> int:
    """Write the tables of README.md and docs/accuracy.md, docs/accuracy.json, and the bands of the package."""
    folder = root / "docs"
    validation, ablations = validate(PUBLIC), ablate(read_measurements(PUBLIC))
    FILE.write_text(write(make_bands(residuals(validation.predictions))), encoding="utf-8")
    for page, section in (
        (folder / "accuracy.md", page_text(validation, ablations)),
        (root / "README.md", overview(validation)),
        (root / "README.zh-CN.md", overview(validation, is_chinese=True)),
    ):
        page.write_text(replaced(page.read_text(encoding="utf-8"), section), encoding="utf-8")
    text = json.dumps(limits(validation.groups), indent=1, ensure_ascii=False)
    (folder / "accuracy.json").write_text(text + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1] if len(sys.argv) > 1 else ".")))
