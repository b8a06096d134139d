"""The accuracy table of the README, in English and Chinese: all rows in a few lines, the bad ones shown.

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
    "time of", "chips", "rows", "half of them within", "nine of ten within", "a calculator, half within", "worst group",
)  # fmt: skip
CHINESE = {
    "gemm": "矩阵乘，GPU 和 TPU v3",
    "bmm": "批量矩阵乘，由 PyTorch 调用",
    "conv2d": "卷积，V100",
    "attention": "注意力，A100",
    "recurrent": "LSTM、GRU、RNN，V100",
    "elementwise": "逐元素运算",
    "rows": "softmax、层归一化",
    "network": "GPU 上的网络",
    MANAGED: "TPU 和 NPU 上的网络与层",
    "energy_mj": "一次推理的能量",
    "power_w": "功率",
    "dram_mb": "DRAM 读写字节",
    "glb_mb": "全局缓冲字节",
}
CHINESE_HEADS = ("预测的是", "芯片", "行数", "一半的误差不超过", "九成的误差不超过", "简单算式，一半不超过", "最差的组")


def overview(validation: Validation, *, is_chinese: bool = False) -> str:
    """Return the table between its markers."""
    words, heads = (CHINESE, CHINESE_HEADS) if is_chinese else (WORDS, HEADS)
    members: dict[str, list[Prediction]] = defaultdict(list)
    for made in validation.predictions:
        members[_line(made)].append(made)
    groups = {group.key: group for group in validation.groups}
    rows = [_row(words[name], members[name], groups) for name in words if members[name]]
    marks = ["---", *["---:"] * 5, "---"]
    lines = [f"| {' | '.join(cells)} |" for cells in (heads, marks, *rows)]
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
