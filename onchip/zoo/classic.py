"""AlexNet, VGG-16, VGG-19 and SqueezeNet for ImageNet, channels last.

In:       batch (a symbol or a number), image size, classes.
Out:      a Graph from `input` [batch, size, size, 3] to logits [batch, classes] (SqueezeNet: its last map's mean).
Promises: AlexNet is the original with two groups in conv2, conv4 and conv5, at 227x227, layers named as in Caffe;
          VGG and SqueezeNet are those of torchvision, names included. Dropout is nothing at inference.
Sources:  Krizhevsky et al. 2012, section 3.5; Simonyan and Zisserman 2015, table 1; Iandola et al. 2016, table 1, and
          its repository for version 1.1.
"""

from __future__ import annotations

from onchip.errors import UsageError
from onchip.ir.graph import Graph
from onchip.ops.types import Dimension
from onchip.zoo.sketch import Sketch

# name -> (channels, kernel, stride, padding, groups, has local response normalisation, has pooling)
ALEXNET: dict[str, tuple[int, int, int, int, int, bool, bool]] = {
    "1": (96, 11, 4, 0, 1, True, True),
    "2": (256, 5, 1, 2, 2, True, True),
    "3": (384, 3, 1, 1, 1, False, False),
    "4": (384, 3, 1, 1, 2, False, False),
    "5": (256, 3, 1, 1, 2, False, True),
}
VGG: dict[str, tuple[int, int, int, int, int]] = {"vgg16": (2, 2, 3, 3, 3), "vgg19": (2, 2, 4, 4, 4)}
# name -> (stem channels and kernel, then fires (squeeze, expand) and pools in the order of torchvision's features)
FIRES = ((16, 64), (16, 64), (32, 128), (32, 128), (48, 192), (48, 192), (64, 256), (64, 256))
SQUEEZENET: dict[str, tuple[int, int, tuple[int, ...]]] = {  # stem channels, stem kernel, pools before fire number
    "squeezenet_1_0": (96, 7, (0, 3, 7)),
    "squeezenet_1_1": (64, 3, (0, 2, 4)),
}


def alexnet(
    *, weights: str | None = None, seed: int = 0, batch: Dimension = "batch", image_size: int = 227, classes: int = 1000
) -> Graph:
    """Draw AlexNet with its two groups."""
    sketch = Sketch("alexnet", weights=weights, seed=seed)
    x = sketch.input("input", (batch, image_size, image_size, 3))
    given = 3
    for i, (made, kernel, stride, padding, groups, has_lrn, has_pool) in ALEXNET.items():
        x = sketch.conv2d(
            x, f"conv{i}", channels=(given, made), kernel=kernel, stride=stride, padding=padding, groups=groups,
            has_bias=True,
        )  # fmt: skip
        x = sketch.node("relu", (x,), f"relu{i}")
        if has_lrn:  # section 3.3: k = 2, n = 5, alpha = 1e-4 without division by n, beta = 0.75
            x = sketch.node("lrn", (x,), f"norm{i}", size=5, alpha=5e-4, beta=0.75, bias=2.0)
        if has_pool:
            x = sketch.pool("max_pool2d", x, f"pool{i}", kernel=3, stride=2)
        given = made
    return sketch.finish(_fully_connected(sketch, x, ("fc6", "fc7", "fc8"), classes))


def vgg(
    name: str,
    /,
    *,
    weights: str | None = None,
    seed: int = 0,
    batch: Dimension = "batch",
    image_size: int = 224,
    classes: int = 1000,
) -> Graph:
    """Draw one of VGG, without batch normalisation."""
    sketch = Sketch(name, weights=weights, seed=seed)
    x = sketch.input("input", (batch, image_size, image_size, 3))
    given, at = 3, 0
    for width, count in zip((64, 128, 256, 512, 512), VGG[name], strict=True):
        for _ in range(count):
            x = sketch.conv2d(x, f"features.{at}", channels=(given, width), kernel=3, padding=1, has_bias=True)
            x = sketch.node("relu", (x,), f"features.{at + 1}")
            given, at = width, at + 2
        x = sketch.pool("max_pool2d", x, f"features.{at}", kernel=2, stride=2)
        at += 1
    if image_size != 224:  # torchvision's adaptive pooling; a no-op at 224
        x = _to_seven(sketch, x)
    return sketch.finish(_fully_connected(sketch, x, ("classifier.0", "classifier.3", "classifier.6"), classes))


def _to_seven(sketch: Sketch, x: str) -> str:
    """Average to 7x7 where the windows are equal."""
    size = sketch.shape(x)[1]
    if not isinstance(size, int) or size % 7:
        raise UsageError("OC1003", "@vgg", f"the last map is {size} wide", limit="image_size is a multiple of 224")
    return sketch.pool("avg_pool2d", x, "avgpool", kernel=size // 7, stride=size // 7)


def _fully_connected(sketch: Sketch, x: str, names: tuple[str, str, str], classes: int) -> str:
    _, height, width, channels = sketch.shape(x)
    features = int(height) * int(width) * int(channels)
    x = sketch.node("reshape", (x,), "flatten", shape=(0, features))
    for name in names[:2]:
        x = sketch.node("relu", (sketch.linear(x, name, (features, 4096)),), f"{name}.relu")
        features = 4096
    return sketch.linear(x, names[2], (features, classes))


def squeezenet(
    name: str,
    /,
    *,
    weights: str | None = None,
    seed: int = 0,
    batch: Dimension = "batch",
    image_size: int = 224,
    classes: int = 1000,
) -> Graph:
    """Draw one of SQUEEZENET."""
    given, kernel, pools = SQUEEZENET[name]
    sketch = Sketch(name, weights=weights, seed=seed)
    x = sketch.input("input", (batch, image_size, image_size, 3))
    x = sketch.conv2d(x, "features.0", channels=(3, given), kernel=kernel, stride=2, has_bias=True)
    x = sketch.node("relu", (x,), "features.1")
    at = 2
    for i, (squeeze, expand) in enumerate(FIRES):
        if i in pools:
            x = sketch.node("max_pool2d", (x,), f"features.{at}", kernel=(3, 3), stride=(2, 2), ceil_mode=True)
            at += 1
        x = _fire(sketch, x, f"features.{at}", (given, squeeze, expand))
        given, at = 2 * expand, at + 1
    x = sketch.conv2d(x, "classifier.1", channels=(given, classes), kernel=1, has_bias=True)
    x = sketch.node("global_avg_pool", (sketch.node("relu", (x,), "classifier.2"),), "classifier.3")
    return sketch.finish(sketch.node("reshape", (x,), "flatten", shape=(0, classes)))


def _fire(sketch: Sketch, x: str, name: str, size: tuple[int, int, int]) -> str:
    given, squeeze, expand = size

    def part(x: str, end: str, channels: tuple[int, int], kernel: int) -> str:
        x = sketch.conv2d(
            x, f"{name}.{end}", channels=channels, kernel=kernel, padding=kernel // 2, has_bias=True
        )  # fmt: skip
        return sketch.node("relu", (x,), f"{name}.{end}_activation")

    x = part(x, "squeeze", (given, squeeze), 1)
    both = (part(x, "expand1x1", (squeeze, expand), 1), part(x, "expand3x3", (squeeze, expand), 3))
    return sketch.node("concat", both, f"{name}.concat", axis=3)
