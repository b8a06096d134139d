"""MobileNet v1 and v2 for ImageNet at any width, and the visual wake words network of MLPerf Tiny.

In:       batch (a symbol or a number), width, image size, classes.
Out:      a Graph from `input` [batch, size, size, 3] to logits [batch, classes]. The name says a width that is not 1:
          `mobilenet_v1_0.25`.
Promises: v1 as in Keras (names, TensorFlow's padding, ReLU6), v2 as in torchvision; visual wake words as in MLPerf Tiny
          (biases in front of batch normalisation, plain ReLU, two class probabilities).
Sources:  Howard et al. 2017, table 1; Sandler et al. 2018, table 2; keras.applications.mobilenet; torchvision;
          mlcommons/tiny, benchmark/training/visual_wake_words/vww_model.py.
"""

from __future__ import annotations

from onchip.errors import UsageError
from onchip.ir.graph import Graph
from onchip.ops.types import Dimension
from onchip.zoo.sketch import Sketch

EPSILON = 1e-3  # Keras' default of BatchNormalization
# v1: (channels, stride) of the thirteen separable convolutions
SEPARABLE = (
    (64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *((512, 1),) * 5, (1024, 2), (1024, 1),
)  # fmt: skip
# v2: (expansion, channels, blocks, stride)
INVERTED = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))


def divisible(channels: float, by: int = 8) -> int:
    """Round to a multiple of `by`, at least `by`, and never down by more than a tenth (MobileNet's own rule)."""
    rounded = max(by, int(channels + by / 2) // by * by)
    return rounded + by if rounded < 0.9 * channels else rounded


def _named(name: str, width: float) -> str:
    if not 0 < width <= 4:
        raise UsageError("OC1003", f"@{name}", f"width is {width}", limit="it has to be above 0 and at most 4")
    return name if width == 1 else f"{name}_{width}"


def mobilenet_v1(
    *,
    weights: str | None = None,
    seed: int = 0,
    batch: Dimension = "batch",
    width: float = 1.0,
    image_size: int = 224,
    classes: int = 1000,
) -> Graph:
    """Draw MobileNet v1; the last layer is Keras' 1x1 convolution on one cell."""
    sketch = Sketch(_named("mobilenet_v1", width), weights=weights, seed=seed)
    x = sketch.input("input", (batch, image_size, image_size, 3))
    x, given = mobilenet_v1_features(sketch, x, width)[-1]
    return sketch.finish(sketch.classify(x, "conv_preds", (given, classes)))


def mobilenet_v1_features(
    sketch: Sketch, x: str, width: float, *, has_bias: bool = False, activation: str = "relu6"
) -> list[tuple[str, int]]:
    """Draw the convolutions of v1; gives each separable convolution's output and its channels."""

    def unit(x: str, name: str, channels: tuple[int, int], *, kernel: int, stride: int = 1, groups: int = 1) -> str:
        x = sketch.conv2d(
            x, name, channels=channels, kernel=kernel, stride=stride, padding="same", groups=groups, has_bias=has_bias
        )
        x = sketch.batch_norm(x, f"{name}_bn", channels[1], eps=EPSILON)
        return sketch.node(activation, (x,), f"{name}_relu")

    given = int(32 * width)
    x = unit(x, "conv1", (3, given), kernel=3, stride=2)
    made: list[tuple[str, int]] = []
    for i, (channels, stride) in enumerate(SEPARABLE, 1):
        x = unit(x, f"conv_dw_{i}", (given, given), kernel=3, stride=stride, groups=given)
        x = unit(x, f"conv_pw_{i}", (given, int(channels * width)), kernel=1)
        given = int(channels * width)
        made.append((x, given))
    return made


def vww_mobilenet_v1(
    *, weights: str | None = None, seed: int = 0, batch: Dimension = "batch", image_size: int = 96, classes: int = 2
) -> Graph:
    """Draw the visual wake words network of MLPerf Tiny: MobileNet v1 at a quarter of its width."""
    sketch = Sketch("vww_mobilenet_v1_0.25", weights=weights, seed=seed)
    x = sketch.input("input", (batch, image_size, image_size, 3))
    x, given = mobilenet_v1_features(sketch, x, 0.25, has_bias=True, activation="relu")[-1]
    return sketch.finish(sketch.node("softmax", (sketch.classify(x, "dense", (given, classes)),), "softmax"))


def mobilenet_v2(
    *,
    weights: str | None = None,
    seed: int = 0,
    batch: Dimension = "batch",
    width: float = 1.0,
    image_size: int = 224,
    classes: int = 1000,
) -> Graph:
    """Draw MobileNet v2."""
    sketch = Sketch(_named("mobilenet_v2", width), weights=weights, seed=seed)
    x = sketch.input("input", (batch, image_size, image_size, 3))
    x, given = mobilenet_v2_features(sketch, x, width)
    last = divisible(1280 * max(1.0, width))
    x = sketch.conv_unit(x, "features.18", channels=(given, last), activation="relu6", parts=(".0", ".1"))
    return sketch.finish(sketch.classify(x, "classifier.1", (last, classes)))


def mobilenet_v2_features(
    sketch: Sketch, x: str, width: float, *, prefix: str = "features", dilate_from: int = 7
) -> tuple[str, int]:
    """Draw the stem and the inverted residuals; stages from `dilate_from` on dilate by 2 instead of striding."""
    given = divisible(32 * width)
    x = sketch.conv_unit(
        x, f"{prefix}.0", channels=(3, given), kernel=3, stride=2, activation="relu6", parts=(".0", ".1")
    )  # fmt: skip
    at = 1
    for stage, (expansion, channels, count, stage_stride) in enumerate(INVERTED):
        for block in range(count):
            made, is_dilated = divisible(channels * width), stage >= dilate_from
            x = _inverted_residual(
                sketch, x, f"{prefix}.{at}", size=(given, given * expansion, made),
                stride=stage_stride if block == 0 and not is_dilated else 1,
                dilation=2 if is_dilated and (block > 0 or stage > dilate_from) else 1,
            )  # fmt: skip
            given, at = made, at + 1
    return x, given


def _inverted_residual(
    sketch: Sketch, x: str, name: str, *, size: tuple[int, int, int], stride: int, dilation: int
) -> str:
    given, hidden, made = size
    y, at = x, 0
    if hidden != given:
        y = sketch.conv_unit(
            y, f"{name}.conv.0", channels=(given, hidden), activation="relu6", parts=(".0", ".1")
        )  # fmt: skip
        at = 1
    y = sketch.conv_unit(
        y, f"{name}.conv.{at}", channels=(hidden, hidden), kernel=3, stride=stride, groups=hidden, dilation=dilation,
        activation="relu6", parts=(".0", ".1"),
    )  # fmt: skip
    y = sketch.conv_unit(
        y, f"{name}.conv", channels=(hidden, made), activation="", parts=(f".{at + 1}", f".{at + 2}")
    )  # fmt: skip
    return sketch.node("add", (x, y), f"{name}.add") if stride == 1 and given == made else y
