"""The accuracy table of the README: all rows of a validation in a few lines, the bad ones shown.

In:       a Validation of the public measurements. Out: the rows of a Markdown table.
Promises: every row of the file is in exactly one line; each line names its worst group.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from onchip.silicon.ablation import MANAGED, class_of_prediction
from onchip.silicon.predict import TIME_METRICS, Prediction
from onchip.silicon.scores import Group, Validation, group_key, percentile

BEGIN, END = "<!-- begin: accuracy -->", "<!-- end: accuracy -->"
WORDS = {
    "gemm": "matrix products, GPUs and TPU v3",
    "bmm": "batched products called from PyTorch",
    "conv2d": "convolutions, V100",
    "attention": "attention, A100",
    "recurrent": "LSTM, GRU, RNN, V100",
    "elementwise": "elementwise",
    "rows": "softmax, layer norm",
    "network": "networks on GPUs",
    MANAGED: "networks and layers on TPUs and NPUs",
    "energy_mj": "energy of an inference",
    "power_w": "power",
    "dram_mb": "bytes to and from DRAM",
    "glb_mb": "bytes of the global buffer",
}
HEADS = (
    "time of",
    "chips",
    "rows",
    "half of them within",
    "nine of ten within",
    "a calculator, half within",
    "worst group",
)


def overview(validation: Validation) -> str:
    """Return the table between its markers."""
    members: dict[str, list[Prediction]] = defaultdict(list)
    for made in validation.predictions:
        members[_line(made)].append(made)
    groups = {group.key: group for group in validation.groups}
    rows = [_row(WORDS[name], members[name], groups) for name in WORDS if members[name]]
    marks = ["---", *["---:"] * 5, "---"]
    lines = [f"| {' | '.join(cells)} |" for cells in (HEADS, marks, *rows)]
    return "\n".join([BEGIN, *lines, END])


def _line(made: Prediction) -> str:
    metric = made.measurement.metric
    return class_of_prediction(made) if metric in TIME_METRICS else metric


def _row(words: str, made: Sequence[Prediction], groups: dict[tuple[str, ...], Group]) -> tuple[str, ...]:
    errors = [100 * abs(p.error) for p in made]
    simple = [100 * abs(p.simple / p.measurement.value - 1) for p in made if p.simple]
    own = {group_key(p.measurement) for p in made}
    worst = max((groups[key] for key in own), key=lambda g: g.median_abs_pct_error)
    return (
        words,
        str(len({p.measurement.chip for p in made})),
        f"{len(made):,}",
        _percent(percentile(errors, 50)),
        _percent(percentile(errors, 90)),
        _percent(percentile(simple, 50)) if simple else "–",
        f"{worst.chip} {worst.workload} {worst.dtype}: {_percent(worst.median_abs_pct_error)}",
    )


def _percent(value: float) -> str:
    return f"{value:,.0f} %" if value >= 10 else f"{value:.1f} %"
