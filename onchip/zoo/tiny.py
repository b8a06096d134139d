"""ResNet-8 of MLPerf Tiny: image classification on CIFAR-10.

In:       batch (a symbol or a number).
Out:      a Graph from `input` [batch, 32, 32, 3] to class probabilities [batch, 10].
Promises: 78,666 parameters with the running statistics (Keras' count), 77,706 with batch_norm folded; 12.5 MMAC.
          Strided convolutions pad as TensorFlow's "same" does: one row and one column, behind.
Sources:  mlcommons/tiny, benchmark/training/image_classification/keras_model.py; Banbury et al. 2021, table 1.
"""

from __future__ import annotations

from onchip.ir.graph import Graph
from onchip.ops.types import Dimension
from onchip.zoo.sketch import Sketch

EPSILON = 1e-3  # Keras' default of BatchNormalization


def resnet8(*, weights: str | None = None, seed: int = 0, batch: Dimension = "batch", classes: int = 10) -> Graph:
    """Draw ResNet-8: three stacks of 16, 32 and 64 channels."""
    sketch = Sketch("resnet8", weights=weights, seed=seed)
    x = sketch.input("input", (batch, 32, 32, 3))
    x = sketch.node("relu", (_conv_norm(sketch, x, "conv1", (3, 16), stride=1),), "relu1")
    given = 16
    for stack, width in enumerate((16, 32, 64), 1):
        x = _stack(sketch, x, f"stack{stack}", channels=(given, width))
        given = width
    x = sketch.node("reshape", (sketch.node("global_avg_pool", (x,), "avgpool"),), "flatten", shape=(0, given))
    return sketch.finish(sketch.node("softmax", (sketch.linear(x, "fc", (given, classes)),), "softmax"))


def _conv_norm(sketch: Sketch, x: str, name: str, channels: tuple[int, int], *, stride: int) -> str:
    padding = (1, 1, 1, 1) if stride == 1 else (0, 1, 0, 1)
    y = sketch.conv2d(x, name, channels=channels, kernel=3, stride=stride, padding=padding, has_bias=True)
    return sketch.batch_norm(y, f"{name}.bn", channels[1], eps=EPSILON)


def _stack(sketch: Sketch, x: str, name: str, *, channels: tuple[int, int]) -> str:
    given, width = channels
    stride = 1 if given == width else 2
    y = sketch.node("relu", (_conv_norm(sketch, x, f"{name}.conv1", channels, stride=stride),), f"{name}.relu1")
    y = _conv_norm(sketch, y, f"{name}.conv2", (width, width), stride=1)
    if stride == 2:
        x = sketch.conv2d(x, f"{name}.shortcut", channels=channels, kernel=1, stride=2, has_bias=True)
    return sketch.node("relu", (sketch.node("add", (x, y), f"{name}.add"),), f"{name}.relu2")
