"""SSD-MobileNet v1 for COCO at 300x300, up to the box and class predictions.

In:       batch (a symbol or a number), image size, classes (with the background: 91).
Out:      a Graph from `input` [batch, size, size, 3] to `boxes` [batch, anchors, 4] and `scores` [batch, anchors,
          classes]; 1,917 anchors at 300x300.
Promises: the network of TensorFlow's detection API (ssd_mobilenet_v1_coco) that MLPerf Inference uses: predictors of
          1x1, 3 anchors a cell on the finest map and 6 on the others.
Does not: draw the post-processing (decoding of boxes, sigmoid, non-maximum suppression), which runs on the host.
Sources:  Liu et al. 2016; Howard et al. 2017, section 4.6; Huang et al. 2017 (speed/accuracy trade-offs).
"""

from __future__ import annotations

from onchip.ir.graph import Graph
from onchip.ops.types import Dimension
from onchip.zoo.mobilenet import EPSILON, mobilenet_v1_features
from onchip.zoo.sketch import Sketch

EXTRAS = ((256, 512), (128, 256), (128, 256), (64, 128))  # channels of the 1x1 and of the strided 3x3
ANCHORS = (3, 6, 6, 6, 6, 6)


def ssd_mobilenet(
    *, weights: str | None = None, seed: int = 0, batch: Dimension = "batch", image_size: int = 300, classes: int = 91
) -> Graph:
    """Draw SSD with MobileNet v1."""
    sketch = Sketch("ssd-mobilenet", weights=weights, seed=seed)
    features = mobilenet_v1_features(sketch, sketch.input("input", (batch, image_size, image_size, 3)), 1.0)
    maps = [features[10][0], features[12][0]]
    for i, (narrow, wide) in enumerate(EXTRAS, 2):
        name = f"layer_19_{{}}_Conv2d_{i}"  # as the detection API counts them, behind MobileNet's 13 layers
        x = _unit(sketch, maps[-1], name.format(1) + "_1x1", narrow, kernel=1, stride=1)
        maps.append(_unit(sketch, x, name.format(2) + "_3x3_s2", wide, kernel=3, stride=2))
    boxes = _predict(sketch, maps, "BoxEncodingPredictor", 4)
    return sketch.finish(boxes, _predict(sketch, maps, "ClassPredictor", classes))


def _unit(sketch: Sketch, x: str, name: str, made: int, *, kernel: int, stride: int) -> str:
    given = sketch.size(x, 3)
    return sketch.conv_unit(
        x, name, channels=(given, made), kernel=kernel, stride=stride, padding="same", eps=EPSILON, activation="relu6",
        parts=("", ".BatchNorm"),
    )  # fmt: skip


def _predict(sketch: Sketch, maps: list[str], part: str, numbers: int) -> str:
    rows: list[str] = []
    for i, (x, anchors) in enumerate(zip(maps, ANCHORS, strict=True)):
        height, width, channels = (sketch.size(x, axis) for axis in (1, 2, 3))
        name = f"BoxPredictor_{i}.{part}"
        y = sketch.conv2d(x, name, channels=(channels, anchors * numbers), kernel=1, has_bias=True)
        y = sketch.node("reshape", (y,), f"{name}.rows", shape=(0, height * width * anchors, numbers))
        rows.append(y)
    return sketch.node("concat", rows, "boxes" if numbers == 4 else "scores", axis=1)
