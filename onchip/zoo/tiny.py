"""Three networks of MLPerf Tiny: ResNet-8 (images of CIFAR-10), DS-CNN (keywords), an autoencoder (machine sounds).

In:       batch (a symbol or a number).
Out:      Graphs from `input` [batch, 32, 32, 3] or [batch, 49, 10, 1] to class probabilities, and from [batch, 640] to
          its reconstruction. The fourth network, visual wake words, is a MobileNet and stands there.
Promises: Keras' layers and its count of parameters, running statistics included; ResNet-8 has 78,666 parameters
          (77,706 with batch_norm folded) and 12.5 MMAC. Padding is TensorFlow's "same".
Sources:  mlcommons/tiny, benchmark/training/*/keras_model.py; Banbury et al. 2021, table 1.
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


def ds_cnn(*, weights: str | None = None, seed: int = 0, batch: Dimension = "batch", classes: int = 12) -> Graph:
    """Draw DS-CNN: one convolution of 10x4 and four separable ones of 64 channels over 49 frames of 10 features."""
    sketch = Sketch("ds_cnn", weights=weights, seed=seed)
    x = sketch.input("input", (batch, 49, 10, 1))
    x = _keyword_unit(sketch, x, "conv1", channels=(1, 64), kernel=(10, 4), stride=2)
    for i in range(1, 5):
        x = _keyword_unit(sketch, x, f"depthwise{i}", channels=(64, 64), kernel=(3, 3), groups=64)
        x = _keyword_unit(sketch, x, f"pointwise{i}", channels=(64, 64), kernel=(1, 1))
    return sketch.finish(sketch.node("softmax", (sketch.classify(x, "dense", (64, classes)),), "softmax"))


def _keyword_unit(
    sketch: Sketch, x: str, name: str, *, channels: tuple[int, int], kernel: tuple[int, int], stride: int = 1,
    groups: int = 1,
) -> str:  # fmt: skip
    x = sketch.conv2d(
        x, name, channels=channels, kernel=kernel, stride=stride, padding="same", groups=groups, has_bias=True
    )  # fmt: skip
    return sketch.node("relu", (sketch.batch_norm(x, f"{name}.bn", channels[1], eps=EPSILON),), f"{name}.relu")


def fc_autoencoder(
    *, weights: str | None = None, seed: int = 0, batch: Dimension = "batch", features: int = 640
) -> Graph:
    """Draw the autoencoder: nine hidden layers of 128 with a bottleneck of 8, batch_norm and ReLU behind each."""
    sketch = Sketch("fc_autoencoder", weights=weights, seed=seed)
    x = sketch.input("input", (batch, features))
    given = features
    for i, width in enumerate((128, 128, 128, 128, 8, 128, 128, 128, 128), 1):
        x = sketch.linear(x, f"dense{i}", (given, width))
        x = sketch.node("relu", (sketch.batch_norm(x, f"dense{i}.bn", width, eps=EPSILON),), f"dense{i}.relu")
        given = width
    return sketch.finish(sketch.linear(x, "dense10", (given, features)))
