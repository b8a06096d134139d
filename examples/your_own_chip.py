"""Describe a chip in a file, check it, and see what one more number buys.

Run: python examples/your_own_chip.py
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import onchip as oc

MINE = """
extends = "edge-npu-16"
name = "my-npu"
description = "edge-npu-16 with a 32 x 32 array and a faster DRAM"
source = "an idea"

[matrix]
int8 = { accumulate = "int32", rows = 32, cols = 32 }

[local]
read = "64 B/cycle"
weight_read = "32 B/cycle"

[dram]
bandwidth = "6.4 GB/s"
"""


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "my-npu.toml"
        path.write_text(MINE, encoding="utf-8")
        mine = oc.Chip.load(path)
    graph = oc.read("@resnet8")
    for report in oc.compare(graph, ["edge-npu-16", mine]):
        print(f"{report.chip.name:<12} {report.latency_s!s:>8}  {report.utilization.value:.0%} of its peak")

    print("\nand with other numbers:")
    changes: list[dict[str, str | int]] = [
        {"dram.bandwidth": "12.8 GB/s"},
        {"local.size": "512 KiB"},
        {"clock.core": "1 GHz"},
    ]
    for change in changes:
        report = oc.estimate(graph, mine.replace(change))
        print(f"{report.chip.name:<40} {report.latency_s!s:>8}")
    try:
        mine.replace({"local.sise": "512 KiB"})
    except oc.OnchipError as error:
        print(f"\na misspelt key: {error}")


if __name__ == "__main__":
    main()
