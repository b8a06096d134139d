"""ResNet-18 and ResNet-50 for ImageNet, channels last.

In:       batch (a symbol or a number), image size, classes.
Out:      a Graph from `input` [batch, size, size, 3] to logits [batch, classes]; names are those of torchvision.
Promises: parameters 11,689,512 and 25,557,032 (without the running statistics); at 224x224 1.814 and 4.089 GMAC.
Does not: place the stride of a bottleneck in its first convolution; it stands in the 3x3 one ("v1.5").
Sources:  He et al. 2016, table 1; torchvision/models/resnet.py; its model page gives 1.81 and 4.09 GFLOPS (of MACs).
"""

from __future__ import annotations

from onchip.ir.graph import Graph
from onchip.ops.types import Dimension
from onchip.zoo.sketch import Sketch

WIDTHS = (64, 128, 256, 512)


def resnet18(
    *, weights: str | None = None, seed: int = 0, batch: Dimension = "batch", image_size: int = 224, classes: int = 1000
) -> Graph:
    """Draw ResNet-18: eight basic blocks."""
    sketch = Sketch("resnet18", weights=weights, seed=seed)
    x = _stem(sketch, batch, image_size)
    given = 64
    for stage, width in enumerate(WIDTHS):
        for block in range(2):
            stride = 2 if stage > 0 and block == 0 else 1
            x = _basic_block(sketch, x, f"layer{stage + 1}.{block}", channels=(given, width), stride=stride)
            given = width
    return _head(sketch, x, given, classes)


def resnet50(
    *, weights: str | None = None, seed: int = 0, batch: Dimension = "batch", image_size: int = 224, classes: int = 1000
) -> Graph:
    """Draw ResNet-50: sixteen bottleneck blocks."""
    sketch = Sketch("resnet50", weights=weights, seed=seed)
    x = _stem(sketch, batch, image_size)
    given = 64
    for stage, (width, blocks) in enumerate(zip(WIDTHS, (3, 4, 6, 3), strict=True)):
        for block in range(blocks):
            stride = 2 if stage > 0 and block == 0 else 1
            x = _bottleneck(sketch, x, f"layer{stage + 1}.{block}", given=given, width=width, stride=stride)
            given = 4 * width
    return _head(sketch, x, given, classes)


def _stem(sketch: Sketch, batch: Dimension, image_size: int) -> str:
    x = sketch.input("input", (batch, image_size, image_size, 3))
    x = sketch.conv2d(x, "conv1", channels=(3, 64), kernel=7, stride=2, padding=3)
    x = sketch.node("relu", (sketch.batch_norm(x, "bn1", 64),), "relu")
    return sketch.node("max_pool2d", (x,), "maxpool", kernel=(3, 3), stride=(2, 2), padding=(1, 1, 1, 1))


def _head(sketch: Sketch, x: str, channels: int, classes: int) -> Graph:
    x = sketch.node("global_avg_pool", (x,), "avgpool")
    x = sketch.node("reshape", (x,), "flatten", shape=(0, channels))
    return sketch.finish(sketch.linear(x, "fc", (channels, classes)))


def _shortcut(sketch: Sketch, x: str, name: str, channels: tuple[int, int], stride: int) -> str:
    if stride == 1 and channels[0] == channels[1]:
        return x
    x = sketch.conv2d(x, f"{name}.downsample.0", channels=channels, kernel=1, stride=stride)
    return sketch.batch_norm(x, f"{name}.downsample.1", channels[1])


def _basic_block(sketch: Sketch, x: str, name: str, *, channels: tuple[int, int], stride: int) -> str:
    width = channels[1]
    y = sketch.conv2d(x, f"{name}.conv1", channels=channels, kernel=3, stride=stride, padding=1)
    y = sketch.node("relu", (sketch.batch_norm(y, f"{name}.bn1", width),), f"{name}.relu1")
    y = sketch.conv2d(y, f"{name}.conv2", channels=(width, width), kernel=3, padding=1)
    y = sketch.batch_norm(y, f"{name}.bn2", width)
    y = sketch.node("add", (y, _shortcut(sketch, x, name, channels, stride)), f"{name}.add")
    return sketch.node("relu", (y,), f"{name}.relu2")


def _bottleneck(sketch: Sketch, x: str, name: str, *, given: int, width: int, stride: int) -> str:
    y = sketch.conv2d(x, f"{name}.conv1", channels=(given, width), kernel=1)
    y = sketch.node("relu", (sketch.batch_norm(y, f"{name}.bn1", width),), f"{name}.relu1")
    y = sketch.conv2d(y, f"{name}.conv2", channels=(width, width), kernel=3, stride=stride, padding=1)
    y = sketch.node("relu", (sketch.batch_norm(y, f"{name}.bn2", width),), f"{name}.relu2")
    y = sketch.conv2d(y, f"{name}.conv3", channels=(width, 4 * width), kernel=1)
    y = sketch.batch_norm(y, f"{name}.bn3", 4 * width)
    y = sketch.node("add", (y, _shortcut(sketch, x, name, (given, 4 * width), stride)), f"{name}.add")
    return sketch.node("relu", (y,), f"{name}.relu3")
