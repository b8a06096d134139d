"""DenseNet-121 for ImageNet, channels last.

In:       batch (a symbol or a number), image size, classes.
Out:      a Graph from `input` [batch, size, size, 3] to logits [batch, classes]; names are those of torchvision.
Promises: parameters and MACs of torchvision's model. A layer concatenates the block's map with its own 32 channels.
Sources:  Huang et al. 2017, table 1; torchvision/models/densenet.py.
"""

from __future__ import annotations

from onchip.ir.graph import Graph
from onchip.ops.types import Dimension
from onchip.zoo.sketch import Sketch

BLOCKS, GROWTH, BOTTLENECK = (6, 12, 24, 16), 32, 4


def densenet121(
    *, weights: str | None = None, seed: int = 0, batch: Dimension = "batch", image_size: int = 224, classes: int = 1000
) -> Graph:
    """Draw DenseNet-121: four dense blocks with transitions that halve channels and map."""
    sketch = Sketch("densenet121", weights=weights, seed=seed)
    x = sketch.input("input", (batch, image_size, image_size, 3))
    x = sketch.conv2d(x, "features.conv0", channels=(3, 64), kernel=7, stride=2, padding=3)
    x = _activate(sketch, x, "features", "0", 64)
    x = sketch.pool("max_pool2d", x, "features.pool0", kernel=3, stride=2, padding=1)
    width = 64
    for block, layers in enumerate(BLOCKS, 1):
        for layer in range(1, layers + 1):
            x = _layer(sketch, x, f"features.denseblock{block}.denselayer{layer}", width)
            width += GROWTH
        if block < len(BLOCKS):
            x = _transition(sketch, x, f"features.transition{block}", width)
            width //= 2
    x = _activate(sketch, x, "features", "5", width)
    return sketch.finish(sketch.classify(x, "classifier", (width, classes)))


def _activate(sketch: Sketch, x: str, name: str, at: str, channels: int) -> str:
    return sketch.node("relu", (sketch.batch_norm(x, f"{name}.norm{at}", channels),), f"{name}.relu{at}")


def _layer(sketch: Sketch, x: str, name: str, given: int) -> str:
    y = _activate(sketch, x, name, "1", given)
    y = sketch.conv2d(y, f"{name}.conv1", channels=(given, BOTTLENECK * GROWTH), kernel=1)
    y = _activate(sketch, y, name, "2", BOTTLENECK * GROWTH)
    y = sketch.conv2d(y, f"{name}.conv2", channels=(BOTTLENECK * GROWTH, GROWTH), kernel=3, padding=1)
    return sketch.node("concat", (x, y), f"{name}.concat", axis=3)


def _transition(sketch: Sketch, x: str, name: str, given: int) -> str:
    x = _activate(sketch, x, name, "", given)
    x = sketch.conv2d(x, f"{name}.conv", channels=(given, given // 2), kernel=1)
    return sketch.pool("avg_pool2d", x, f"{name}.pool", kernel=2, stride=2)
