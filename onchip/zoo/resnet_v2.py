"""ResNet-50, -101 and -152 version 2 (pre-activation) for ImageNet, channels last.

In:       batch (a symbol or a number), image size, classes.
Out:      a Graph from `input` [batch, size, size, 3] to logits [batch, classes].
Promises: TF-Slim's resnet_v2_50 and its sisters under the names of Keras' ResNet50V2, which are the same but for the
          first pooling: Keras pads it with zeros, TF-Slim with nothing that could win. The stride stands in the last
          block of a stage, so that all but its last block see the larger map. The softmax is left to the host.
Sources:  He et al. 2016 (identity mappings), figure 1b; tensorflow/models, slim/nets/resnet_v2.py;
          keras.applications.resnet_v2.
"""

from __future__ import annotations

from onchip.ir.graph import Graph
from onchip.ops.types import Dimension
from onchip.zoo.resnet import WIDTHS
from onchip.zoo.sketch import Sketch

EPSILON = 1.001e-5
BLOCKS: dict[str, tuple[int, int, int, int]] = {
    "resnet50_v2": (3, 4, 6, 3),
    "resnet101_v2": (3, 4, 23, 3),
    "resnet152_v2": (3, 8, 36, 3),
}


def resnet_v2(
    name: str,
    /,
    *,
    weights: str | None = None,
    seed: int = 0,
    batch: Dimension = "batch",
    image_size: int = 224,
    classes: int = 1000,
) -> Graph:
    """Draw one of BLOCKS."""
    sketch = Sketch(name, weights=weights, seed=seed)
    x = sketch.input("input", (batch, image_size, image_size, 3))
    x = sketch.conv2d(x, "conv1_conv", channels=(3, 64), kernel=7, stride=2, padding=3, has_bias=True)
    x = sketch.pool("max_pool2d", x, "pool1_pool", kernel=3, stride=2, padding="same")
    given = 64
    for stage, (width, count) in enumerate(zip(WIDTHS, BLOCKS[name], strict=True), 2):
        for block in range(1, count + 1):
            stride = 2 if block == count and stage < 5 else 1
            x = _block(sketch, x, f"conv{stage}_block{block}", given=given, width=width, stride=stride)
            given = 4 * width
    x = _activate(sketch, x, "post", given)
    return sketch.finish(sketch.classify(x, "predictions", (given, classes)))


def _activate(sketch: Sketch, x: str, name: str, channels: int) -> str:
    return sketch.node("relu", (sketch.batch_norm(x, f"{name}_bn", channels, eps=EPSILON),), f"{name}_relu")


def _block(sketch: Sketch, x: str, name: str, *, given: int, width: int, stride: int) -> str:
    ready = _activate(sketch, x, f"{name}_preact", given)
    if given != 4 * width:
        x = sketch.conv2d(ready, f"{name}_0_conv", channels=(given, 4 * width), kernel=1, stride=stride, has_bias=True)
    elif stride > 1:
        x = sketch.pool("max_pool2d", x, f"{name}_pool", kernel=1, stride=stride)
    y = sketch.conv2d(ready, f"{name}_1_conv", channels=(given, width), kernel=1)
    y = _activate(sketch, y, f"{name}_1", width)
    y = sketch.conv2d(y, f"{name}_2_conv", channels=(width, width), kernel=3, stride=stride, padding=1)
    y = _activate(sketch, y, f"{name}_2", width)
    y = sketch.conv2d(y, f"{name}_3_conv", channels=(width, 4 * width), kernel=1, has_bias=True)
    return sketch.node("add", (x, y), f"{name}_out")
