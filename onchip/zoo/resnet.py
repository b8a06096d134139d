"""ResNet-18, -34, -50, -101, -152 and ResNeXt-50 (32x4d) for ImageNet, channels last.

In:       batch (a symbol or a number), image size, classes.
Out:      a Graph from `input` [batch, size, size, 3] to logits [batch, classes]; names are those of torchvision.
Promises: parameters and MACs of torchvision's models (tests/zoo/test_figures.py), running statistics not counted.
Does not: place the stride of a bottleneck in its first convolution; it stands in the 3x3 one ("v1.5").
Sources:  He et al. 2016, table 1; Xie et al. 2017, table 1; torchvision/models/resnet.py.
"""

from __future__ import annotations

from dataclasses import dataclass

from onchip.ir.graph import Graph
from onchip.ops.types import Dimension
from onchip.zoo.sketch import Sketch

WIDTHS = (64, 128, 256, 512)


@dataclass(frozen=True, slots=True)
class Variant:
    """Blocks per stage; bottlenecks of `groups` groups, each width/64 * `group_width` wide, or basic blocks."""

    blocks: tuple[int, int, int, int]
    is_bottleneck: bool = True
    groups: int = 1
    group_width: int = 64


RESNETS: dict[str, Variant] = {
    "resnet18": Variant((2, 2, 2, 2), is_bottleneck=False),
    "resnet34": Variant((3, 4, 6, 3), is_bottleneck=False),
    "resnet50": Variant((3, 4, 6, 3)),
    "resnet101": Variant((3, 4, 23, 3)),
    "resnet152": Variant((3, 8, 36, 3)),
    "resnext50": Variant((3, 4, 6, 3), groups=32, group_width=4),
}


def resnet(
    name: str,
    /,
    *,
    weights: str | None = None,
    seed: int = 0,
    batch: Dimension = "batch",
    image_size: int = 224,
    classes: int = 1000,
) -> Graph:
    """Draw one of RESNETS."""
    sketch = Sketch(name, weights=weights, seed=seed)
    x = sketch.input("input", (batch, image_size, image_size, 3))
    x, channels = resnet_features(sketch, x, RESNETS[name])
    return sketch.finish(sketch.classify(x, "fc", (channels, classes)))


def resnet_features(
    sketch: Sketch, x: str, variant: Variant, *, prefix: str = "", dilations: tuple[int, int, int, int] = (1, 1, 1, 1)
) -> tuple[str, int]:
    """Draw everything before the pooling; gives the tensor and its channels.

    A stage whose dilation differs from that of the stage before keeps its stride at 1, and its first block still has
    the old dilation (torchvision's `replace_stride_with_dilation`).
    """
    x = sketch.conv_unit(
        x, prefix, channels=(3, 64), kernel=7, stride=2, activation="", parts=("conv1", "bn1")
    )  # fmt: skip
    x = sketch.node("relu", (x,), f"{prefix}relu")
    x = sketch.pool("max_pool2d", x, f"{prefix}maxpool", kernel=3, stride=2, padding=1)
    given, before = 64, 1
    for stage, (width, dilation) in enumerate(zip(WIDTHS, dilations, strict=True)):
        for block in range(variant.blocks[stage]):
            name = f"{prefix}layer{stage + 1}.{block}"
            stride = 2 if stage > 0 and block == 0 and dilation == before else 1
            if variant.is_bottleneck:
                size = (given, width * variant.group_width // 64 * variant.groups, 4 * width)
                spread = before if block == 0 else dilation
                x = _bottleneck(sketch, x, name, size=size, stride=stride, groups=variant.groups, dilation=spread)
                given = 4 * width
            else:
                x = _basic_block(sketch, x, name, channels=(given, width), stride=stride)
                given = width
        before = dilation
    return x, given


def _shortcut(sketch: Sketch, x: str, name: str, channels: tuple[int, int], stride: int) -> str:
    if stride == 1 and channels[0] == channels[1]:
        return x
    return sketch.conv_unit(
        x, f"{name}.downsample", channels=channels, stride=stride, padding=0, activation="", parts=(".0", ".1")
    )


def _unit(
    sketch: Sketch, x: str, name: str, at: int, *, channels: tuple[int, int], kernel: int, stride: int = 1,
    dilation: int = 1, groups: int = 1, has_relu: bool = True,
) -> str:  # fmt: skip
    x = sketch.conv_unit(
        x, name, channels=channels, kernel=kernel, stride=stride, dilation=dilation, groups=groups, activation="",
        parts=(f".conv{at}", f".bn{at}"),
    )  # fmt: skip
    return sketch.node("relu", (x,), f"{name}.relu{at}") if has_relu else x


def _basic_block(sketch: Sketch, x: str, name: str, *, channels: tuple[int, int], stride: int) -> str:
    width = channels[1]
    y = _unit(sketch, x, name, 1, channels=channels, kernel=3, stride=stride)
    y = _unit(sketch, y, name, 2, channels=(width, width), kernel=3, has_relu=False)
    y = sketch.node("add", (y, _shortcut(sketch, x, name, channels, stride)), f"{name}.add")
    return sketch.node("relu", (y,), f"{name}.relu2")


def _bottleneck(
    sketch: Sketch, x: str, name: str, *, size: tuple[int, int, int], stride: int, groups: int, dilation: int
) -> str:
    given, width, made = size
    y = _unit(sketch, x, name, 1, channels=(given, width), kernel=1)
    y = _unit(sketch, y, name, 2, channels=(width, width), kernel=3, stride=stride, dilation=dilation, groups=groups)
    y = _unit(sketch, y, name, 3, channels=(width, made), kernel=1, has_relu=False)
    y = sketch.node("add", (y, _shortcut(sketch, x, name, (given, made), stride)), f"{name}.add")
    return sketch.node("relu", (y,), f"{name}.relu3")
