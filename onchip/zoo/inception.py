"""Inception v1 (GoogLeNet) and v3 for ImageNet, channels last.

In:       batch (a symbol or a number), image size, classes.
Out:      a Graph from `input` [batch, size, size, 3] to logits [batch, classes]; names are those of torchvision.
Promises: both as in torchvision, without the auxiliary classifiers, which are nothing at inference. Inception v1 has
          batch normalisation and 3x3 kernels in place of the paper's 5x5, as TF-Slim's inception_v1 has too.
Sources:  Szegedy et al. 2015, table 1; Szegedy et al. 2016, table 1 and figures 5 to 7; torchvision/models.
"""

from __future__ import annotations

from onchip.ir.graph import Graph
from onchip.ops.types import Dimension
from onchip.zoo.sketch import Padding, Sketch

# name -> (1x1, 3x3 reduce, 3x3, second 3x3 reduce, second 3x3, pool projection); "pool" before a name's first block
V1: dict[str, tuple[int, int, int, int, int, int]] = {
    "inception3a": (64, 96, 128, 16, 32, 32),
    "inception3b": (128, 128, 192, 32, 96, 64),
    "inception4a": (192, 96, 208, 16, 48, 64),
    "inception4b": (160, 112, 224, 24, 64, 64),
    "inception4c": (128, 128, 256, 24, 64, 64),
    "inception4d": (112, 144, 288, 32, 64, 64),
    "inception4e": (256, 160, 320, 32, 128, 128),
    "inception5a": (256, 160, 320, 32, 128, 128),
    "inception5b": (384, 192, 384, 48, 128, 128),
}
V1_POOLS = {"inception4a": ("maxpool3", 3), "inception5a": ("maxpool4", 2)}


def conv(
    sketch: Sketch, x: str, name: str, made: int, kernel: tuple[int, int] | int = 1, *, stride: int = 1,
    padding: Padding = "half",
) -> str:  # fmt: skip
    """Draw torchvision's BasicConv2d."""
    given = sketch.size(x, 3)
    return sketch.conv_unit(
        x, name, channels=(given, made), kernel=kernel, stride=stride, padding=padding, eps=1e-3
    )  # fmt: skip


def inception_v1(
    *, weights: str | None = None, seed: int = 0, batch: Dimension = "batch", image_size: int = 224, classes: int = 1000
) -> Graph:
    """Draw GoogLeNet."""
    sketch = Sketch("inception_v1", weights=weights, seed=seed)
    x = sketch.input("input", (batch, image_size, image_size, 3))
    x = conv(sketch, x, "conv1", 64, 7, stride=2)
    x = _pool_v1(sketch, x, "maxpool1", 3)
    x = conv(sketch, conv(sketch, x, "conv2", 64), "conv3", 192, 3)
    x = _pool_v1(sketch, x, "maxpool2", 3)
    for name, sizes in V1.items():
        if name in V1_POOLS:
            x = _pool_v1(sketch, x, *V1_POOLS[name])
        x = _block_v1(sketch, x, name, sizes)
    return sketch.finish(sketch.classify(x, "fc", (1024, classes)))


def _pool_v1(sketch: Sketch, x: str, name: str, kernel: int) -> str:
    return sketch.node("max_pool2d", (x,), name, kernel=(kernel, kernel), stride=(2, 2), ceil_mode=True)


def _block_v1(sketch: Sketch, x: str, name: str, sizes: tuple[int, int, int, int, int, int]) -> str:
    pooled = sketch.pool("max_pool2d", x, f"{name}.branch4.0", kernel=3, stride=1, padding=1)
    parts = (
        conv(sketch, x, f"{name}.branch1", sizes[0]),
        conv(sketch, conv(sketch, x, f"{name}.branch2.0", sizes[1]), f"{name}.branch2.1", sizes[2], 3),
        conv(sketch, conv(sketch, x, f"{name}.branch3.0", sizes[3]), f"{name}.branch3.1", sizes[4], 3),
        conv(sketch, pooled, f"{name}.branch4.1", sizes[5]),
    )
    return sketch.node("concat", parts, f"{name}.concat", axis=3)


def inception_v3(
    *, weights: str | None = None, seed: int = 0, batch: Dimension = "batch", image_size: int = 299, classes: int = 1000
) -> Graph:
    """Draw Inception v3."""
    sketch = Sketch("inception_v3", weights=weights, seed=seed)
    x = sketch.input("input", (batch, image_size, image_size, 3))
    x = conv(sketch, x, "Conv2d_1a_3x3", 32, 3, stride=2, padding=0)
    x = conv(sketch, x, "Conv2d_2a_3x3", 32, 3, padding=0)
    x = conv(sketch, x, "Conv2d_2b_3x3", 64, 3)
    x = sketch.pool("max_pool2d", x, "maxpool1", kernel=3, stride=2)
    x = conv(sketch, conv(sketch, x, "Conv2d_3b_1x1", 80), "Conv2d_4a_3x3", 192, 3, padding=0)
    x = sketch.pool("max_pool2d", x, "maxpool2", kernel=3, stride=2)
    for name, pooled in (("Mixed_5b", 32), ("Mixed_5c", 64), ("Mixed_5d", 64)):
        x = _block_a(sketch, x, name, pooled)
    x = _block_b(sketch, x, "Mixed_6a")
    for name, width in (("Mixed_6b", 128), ("Mixed_6c", 160), ("Mixed_6d", 160), ("Mixed_6e", 192)):
        x = _block_c(sketch, x, name, width)
    x = _block_d(sketch, x, "Mixed_7a")
    for name in ("Mixed_7b", "Mixed_7c"):
        x = _block_e(sketch, x, name)
    return sketch.finish(sketch.classify(x, "fc", (2048, classes)))


def _chain(sketch: Sketch, x: str, name: str, *steps: tuple[int, tuple[int, int] | int]) -> str:
    """Draw convolutions `name_1`, `name_2` … of (channels, kernel)."""
    for i, (made, kernel) in enumerate(steps, 1):
        x = conv(sketch, x, f"{name}_{i}", made, kernel)
    return x


def _pooled(sketch: Sketch, x: str, name: str, made: int) -> str:
    """Average, padding counted, and project."""
    x = sketch.node("avg_pool2d", (x,), f"{name}.avgpool", kernel=(3, 3), padding=(1, 1, 1, 1))
    return conv(sketch, x, f"{name}.branch_pool", made)


def _block_a(sketch: Sketch, x: str, name: str, pooled: int) -> str:
    parts = (
        conv(sketch, x, f"{name}.branch1x1", 64),
        _chain(sketch, x, f"{name}.branch5x5", (48, 1), (64, 5)),
        _chain(sketch, x, f"{name}.branch3x3dbl", (64, 1), (96, 3), (96, 3)),
        _pooled(sketch, x, name, pooled),
    )
    return sketch.node("concat", parts, f"{name}.concat", axis=3)


def _block_b(sketch: Sketch, x: str, name: str) -> str:
    double = _chain(sketch, x, f"{name}.branch3x3dbl", (64, 1), (96, 3))
    parts = (
        conv(sketch, x, f"{name}.branch3x3", 384, 3, stride=2, padding=0),
        conv(sketch, double, f"{name}.branch3x3dbl_3", 96, 3, stride=2, padding=0),
        sketch.pool("max_pool2d", x, f"{name}.branch_pool", kernel=3, stride=2),
    )
    return sketch.node("concat", parts, f"{name}.concat", axis=3)


def _block_c(sketch: Sketch, x: str, name: str, c: int) -> str:
    wide, high = (1, 7), (7, 1)
    parts = (
        conv(sketch, x, f"{name}.branch1x1", 192),
        _chain(sketch, x, f"{name}.branch7x7", (c, 1), (c, wide), (192, high)),
        _chain(sketch, x, f"{name}.branch7x7dbl", (c, 1), (c, high), (c, wide), (c, high), (192, wide)),
        _pooled(sketch, x, name, 192),
    )
    return sketch.node("concat", parts, f"{name}.concat", axis=3)


def _block_d(sketch: Sketch, x: str, name: str) -> str:
    first = _chain(sketch, x, f"{name}.branch3x3", (192, 1))
    second = _chain(sketch, x, f"{name}.branch7x7x3", (192, 1), (192, (1, 7)), (192, (7, 1)))
    parts = (
        conv(sketch, first, f"{name}.branch3x3_2", 320, 3, stride=2, padding=0),
        conv(sketch, second, f"{name}.branch7x7x3_4", 192, 3, stride=2, padding=0),
        sketch.pool("max_pool2d", x, f"{name}.branch_pool", kernel=3, stride=2),
    )
    return sketch.node("concat", parts, f"{name}.concat", axis=3)


def _block_e(sketch: Sketch, x: str, name: str) -> str:
    first = _chain(sketch, x, f"{name}.branch3x3", (384, 1))
    second = _chain(sketch, x, f"{name}.branch3x3dbl", (448, 1), (384, 3))
    parts = (
        conv(sketch, x, f"{name}.branch1x1", 320),
        conv(sketch, first, f"{name}.branch3x3_2a", 384, (1, 3)),
        conv(sketch, first, f"{name}.branch3x3_2b", 384, (3, 1)),
        conv(sketch, second, f"{name}.branch3x3dbl_3a", 384, (1, 3)),
        conv(sketch, second, f"{name}.branch3x3dbl_3b", 384, (3, 1)),
        _pooled(sketch, x, name, 192),
    )
    return sketch.node("concat", parts, f"{name}.concat", axis=3)
