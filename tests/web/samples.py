"""Pages to look at: four runs of the personas, and reports made by hand that are hard to draw.

In: nothing. Out: HTML texts by name.
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

from onchip import pages, pipeline
from onchip.chip import Chip
from onchip.ir.page import Page
from onchip.ir.program import Model
from onchip.ir.report import Report
from onchip.ir.trace import KernelTrace, Trace
from onchip.reports.compare_view import comparison_page
from onchip.reports.html import page_html
from onchip.reports.summary import summarize
from onchip.simulator.energy import energy

RUNS = {
    "edge": ("@vww_mobilenet_v1_0.25", "edge-npu-16"),
    "gpu": ("@resnet50", "a100-sxm-80gb"),
    "tpu": ("@bert-base", "tpu-v4"),
    "npu": ("@ds_cnn", "ethos-u55-128"),
}
COMPARED = ("a100-sxm-80gb", "edge-npu-16", "ethos-u55-128", "h100-sxm", "tpu-v4")
NASTY = (
    '</script><script>alert("x")</script>', "层/卷积.注意力", "<!--", "=1+1", "a\u2028b", "\ud800", "&amp;", "𝄞" * 200,
)  # fmt: skip


def run(name: str) -> Page:
    """Return the page of one of RUNS."""
    model, chip_name = RUNS[name]
    chip, seen = Chip.load(chip_name), dict[str, object]()
    report = pipeline.estimate(pipeline.read(model), chip, watch=seen.__setitem__)
    return pages.page(report, chip, seen)


def made(names: tuple[str, ...], *, title: str = "made") -> Report:
    """Return a report with a layer of 100 and more cycles for each name."""
    chip, kernels, at = Chip.load("edge-npu-16"), list[KernelTrace](), 0
    for i, name in enumerate(names):
        cycles = 100 + i % 97
        parts = (("useful", Fraction(40)), ("memory", Fraction(cycles - 40)))
        kernels.append(
            KernelTrace(name, (name,), "matmul", at, cycles, 2560, 50, 0, 1000 + i, 200, 0, 500, 100, 800, 64, 12, 1,
                        4096, parts)
        )  # fmt: skip
        at += cycles
    model = Model(title, "ab" * 32, 2560 * len(names), 7000, 1, ())
    trace = Trace(title, chip, "int8", "estimate", "", model, tuple(kernels))
    return summarize(trace, energy(trace))


def html(name: str) -> str:
    """Return an HTML file: one of RUNS, `compare`, `nasty` names, `long` with 10,000 layers, or `plain`."""
    if name in RUNS:
        return page_html(run(name))
    if name == "compare":
        graph = pipeline.read("@digits_cnn")
        reports = [pipeline.on_silicon(graph, Chip.load(chip)) for chip in COMPARED]
        reports.sort(key=lambda report: report.latency_s.value)
        return page_html(comparison_page(reports, [("hailo-8", "OC1331", "hailo-8: OC1331 no array is published.")]))
    if name == "nasty":
        return page_html(pages.page(made(NASTY, title=NASTY[0])))
    if name == "long":
        return page_html(pages.page(made(tuple(f"block{i // 100}.part{i % 100 // 10}.op{i}" for i in range(10_000)))))
    return page_html(pages.page(replace(made(("fc1", "fc2")), assumptions=())))
