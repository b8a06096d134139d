"""Inception v4 for ImageNet, channels last.

In:       batch (a symbol or a number), image size, classes.
Out:      a Graph from `input` [batch, size, size, 3] to logits [batch, classes]; names are those of timm.
Promises: parameters and MACs of timm's inception_v4.
Sources:  Szegedy et al. 2017, figures 3 to 9; timm/models/inception_v4.py.
"""

from __future__ import annotations

from typing import TypeAlias

from onchip.ir.graph import Graph
from onchip.ops.types import Dimension
from onchip.zoo.inception import conv
from onchip.zoo.sketch import Sketch

Step: TypeAlias = tuple[int, tuple[int, int] | int]  # channels and kernel; padded to keep the size
WIDE, HIGH = (1, 7), (7, 1)
# block -> the branches of convolutions; the branch behind the last one is the average and a projection to `POOLED`
BRANCHES: dict[str, tuple[tuple[Step, ...], ...]] = {
    "A": (((96, 1),), ((64, 1), (96, 3)), ((64, 1), (96, 3), (96, 3))),
    "B": (
        ((384, 1),),
        ((192, 1), (224, WIDE), (256, HIGH)),
        ((192, 1), (192, HIGH), (224, WIDE), (224, HIGH), (256, WIDE)),
    ),
}
POOLED = {"A": 96, "B": 128, "C": 256}
# reduction -> the branches, of which the last convolution has stride 2 and no padding; behind them a max pooling
REDUCTIONS: dict[str, tuple[tuple[Step, ...], ...]] = {
    "A": (((384, 3),), ((192, 1), (224, 3), (256, 3))),
    "B": (((192, 1), (192, 3)), ((256, 1), (256, WIDE), (320, HIGH), (320, 3))),
}


def inception_v4(
    *, weights: str | None = None, seed: int = 0, batch: Dimension = "batch", image_size: int = 299, classes: int = 1000
) -> Graph:
    """Draw Inception v4."""
    sketch = Sketch("inception_v4", weights=weights, seed=seed)
    x = _stem(sketch, sketch.input("input", (batch, image_size, image_size, 3)))
    at = 6
    for kind, count in (("A", 4), ("B", 7), ("C", 3)):
        for _ in range(count):
            x = _block(sketch, x, f"features.{at}", kind)
            at += 1
        if kind in REDUCTIONS:
            x = _reduction(sketch, x, f"features.{at}", kind)
            at += 1
    return sketch.finish(sketch.classify(x, "last_linear", (1536, classes)))


def _concat(sketch: Sketch, name: str, parts: list[str]) -> str:
    return sketch.node("concat", parts, f"{name}.concat", axis=3)


def _stem(sketch: Sketch, x: str) -> str:
    x = conv(sketch, x, "features.0", 32, 3, stride=2, padding=0)
    x = conv(sketch, conv(sketch, x, "features.1", 32, 3, padding=0), "features.2", 64, 3)
    pooled = sketch.pool("max_pool2d", x, "features.3.maxpool", kernel=3, stride=2)
    x = _concat(sketch, "features.3", [pooled, conv(sketch, x, "features.3.conv", 96, 3, stride=2, padding=0)])
    name = "features.4"
    first = conv(sketch, x, f"{name}.branch0.0", 64)
    second = _chain(sketch, x, f"{name}.branch1", ((64, 1), (64, WIDE), (64, HIGH)))
    x = _concat(
        sketch, name, [
            conv(sketch, first, f"{name}.branch0.1", 96, 3, padding=0),
            conv(sketch, second, f"{name}.branch1.3", 96, 3, padding=0),
        ],
    )  # fmt: skip
    pooled = sketch.pool("max_pool2d", x, "features.5.maxpool", kernel=3, stride=2)
    return _concat(sketch, "features.5", [conv(sketch, x, "features.5.conv", 192, 3, stride=2, padding=0), pooled])


def _chain(sketch: Sketch, x: str, name: str, steps: tuple[Step, ...]) -> str:
    """Draw `name.0`, `name.1` …; a branch of one convolution has its name alone."""
    for i, (made, kernel) in enumerate(steps):
        x = conv(sketch, x, f"{name}.{i}" if len(steps) > 1 else name, made, kernel)
    return x


def _block(sketch: Sketch, x: str, name: str, kind: str) -> str:
    if kind == "C":
        parts = _branches_c(sketch, x, name)
    else:
        parts = [_chain(sketch, x, f"{name}.branch{i}", steps) for i, steps in enumerate(BRANCHES[kind])]
    pooled = sketch.pool("avg_pool2d", x, f"{name}.branch3.0", kernel=3, stride=1, padding=1)
    return _concat(sketch, name, [*parts, conv(sketch, pooled, f"{name}.branch3.1", POOLED[kind])])


def _branches_c(sketch: Sketch, x: str, name: str) -> list[str]:
    """Draw the branches that fork into a row and a column at their end."""
    first = conv(sketch, x, f"{name}.branch1_0", 384)
    second = conv(sketch, x, f"{name}.branch2_0", 384)
    second = conv(sketch, conv(sketch, second, f"{name}.branch2_1", 448, (3, 1)), f"{name}.branch2_2", 512, (1, 3))
    return [
        conv(sketch, x, f"{name}.branch0", 256),
        conv(sketch, first, f"{name}.branch1_1a", 256, (1, 3)),
        conv(sketch, first, f"{name}.branch1_1b", 256, (3, 1)),
        conv(sketch, second, f"{name}.branch2_3a", 256, (1, 3)),
        conv(sketch, second, f"{name}.branch2_3b", 256, (3, 1)),
    ]


def _reduction(sketch: Sketch, x: str, name: str, kind: str) -> str:
    parts: list[str] = []
    for i, steps in enumerate(REDUCTIONS[kind]):
        own, y = f"{name}.branch{i}", x
        for j, (made, kernel) in enumerate(steps[:-1]):
            y = conv(sketch, y, f"{own}.{j}", made, kernel)
        end = own if len(steps) == 1 else f"{own}.{len(steps) - 1}"
        parts.append(conv(sketch, y, end, *steps[-1], stride=2, padding=0))
    parts.append(sketch.pool("max_pool2d", x, f"{name}.branch2", kernel=3, stride=2))
    return _concat(sketch, name, parts)
