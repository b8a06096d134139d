"""Price a network of the zoo on three chips: shapes are enough, no weights and no PyTorch.

Run: python examples/estimate_on_three_chips.py
"""

from __future__ import annotations

import onchip as oc


def main() -> None:
    graph = oc.read("@resnet8")
    for report in oc.compare(graph, ["edge-npu-16", "tiny-npu-4", "tpu-v1"]):  # fastest first
        print(report.verdict)
        print(f"    latency {report.latency_s}, energy {report.energy_j}, {report.cycles} cycles in {report.dtype}")
    slowest = oc.estimate(graph, "tiny-npu-4")
    print(f"\nThe longest layers on {slowest.chip.name}:")
    for layer in sorted(slowest.layers, key=lambda layer: -layer.cycles)[:3]:
        print(f"    {layer.name:<16} {layer.latency_s}, bound by {layer.bound}")


if __name__ == "__main__":
    main()
