"""RegNetX-800MF for ImageNet, channels last.

In:       batch (a symbol or a number), image size, classes.
Out:      a Graph from `input` [batch, size, size, 3] to logits [batch, classes]; names are those of torchvision.
Promises: parameters and MACs of torchvision's regnet_x_800mf.
Sources:  Radosavovic et al. 2020, table 4 (widths and depths follow from d = 16, w_a = 35.73, w_0 = 56, w_m = 2.28).
"""

from __future__ import annotations

from onchip.ir.graph import Graph
from onchip.ops.types import Dimension
from onchip.zoo.sketch import Sketch

STAGES = ((64, 1), (128, 3), (288, 7), (672, 5))  # (width, blocks)
GROUP_WIDTH, STEM = 16, 32


def regnetx_800mf(
    *, weights: str | None = None, seed: int = 0, batch: Dimension = "batch", image_size: int = 224, classes: int = 1000
) -> Graph:
    """Draw RegNetX-800MF: four stages of grouped bottlenecks that do not narrow."""
    sketch = Sketch("regnetx-800mf", weights=weights, seed=seed)
    x = sketch.input("input", (batch, image_size, image_size, 3))
    x = _unit(sketch, x, "stem", (3, STEM), kernel=3, stride=2)
    given = STEM
    for stage, (width, count) in enumerate(STAGES, 1):
        for block in range(count):
            name = f"trunk_output.block{stage}.block{stage}-{block}"
            x = _block(sketch, x, name, channels=(given, width), stride=2 if block == 0 else 1)
            given = width
    return sketch.finish(sketch.classify(x, "fc", (given, classes)))


def _unit(
    sketch: Sketch, x: str, name: str, channels: tuple[int, int], *, kernel: int = 1, stride: int = 1, groups: int = 1,
    activation: str = "relu",
) -> str:  # fmt: skip
    return sketch.conv_unit(
        x, name, channels=channels, kernel=kernel, stride=stride, groups=groups, activation=activation,
        parts=(".0", ".1"),
    )  # fmt: skip


def _block(sketch: Sketch, x: str, name: str, *, channels: tuple[int, int], stride: int) -> str:
    given, width = channels
    y = _unit(sketch, x, f"{name}.f.a", channels)
    y = _unit(sketch, y, f"{name}.f.b", (width, width), kernel=3, stride=stride, groups=width // GROUP_WIDTH)
    y = _unit(sketch, y, f"{name}.f.c", (width, width), activation="")
    if stride > 1 or given != width:
        x = _unit(sketch, x, f"{name}.proj", channels, stride=stride, activation="")
    return sketch.node("relu", (sketch.node("add", (x, y), f"{name}.add"),), f"{name}.activation")
