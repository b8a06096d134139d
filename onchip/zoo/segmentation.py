"""Dense prediction: U-Net, and DeepLab v3 on ResNet-50 or MobileNet v2.

In:       batch (a symbol or a number), image size, classes.
Out:      a Graph from `input` [batch, size, size, 3] to logits [batch, size, size, classes].
Promises: U-Net is the padded one with batch normalisation and transposed convolutions (names of milesial/Pytorch-UNet),
          which keeps the image's size; the paper's pads nothing. DeepLab on ResNet-50 is torchvision's (output stride
          8, without the auxiliary classifier); on MobileNet v2 it is the paper's small one (output stride 16, of the
          pyramid only the image's average and the 1x1 branch).
Sources:  Ronneberger et al. 2015, figure 1; Chen et al. 2017, figure 5; Sandler et al. 2018, section 6.3, table 7.
"""

from __future__ import annotations

from onchip.errors import UsageError
from onchip.ir.graph import Graph
from onchip.ops.types import Dimension
from onchip.zoo.mobilenet import mobilenet_v2_features
from onchip.zoo.resnet import RESNETS, resnet_features
from onchip.zoo.sketch import Sketch

UNET_WIDTHS = (64, 128, 256, 512, 1024)
PYRAMID, RATES = 256, (12, 24, 36)


def unet(
    *, weights: str | None = None, seed: int = 0, batch: Dimension = "batch", image_size: int = 512, classes: int = 2
) -> Graph:
    """Draw U-Net."""
    if image_size < 16 or image_size % 16:
        raise UsageError("OC1003", "@unet", f"image_size is {image_size}", limit="it has to be a multiple of 16")
    sketch = Sketch("unet", weights=weights, seed=seed)
    x = _double(sketch, sketch.input("input", (batch, image_size, image_size, 3)), "inc", UNET_WIDTHS[0])
    kept: list[str] = []
    for i, width in enumerate(UNET_WIDTHS[1:], 1):
        kept.append(x)
        x = sketch.pool("max_pool2d", x, f"down{i}.maxpool_conv.0", kernel=2, stride=2)
        x = _double(sketch, x, f"down{i}.maxpool_conv.1", width)
    for i, width in enumerate(reversed(UNET_WIDTHS[:-1]), 1):
        x = sketch.conv_transpose2d(x, f"up{i}.up", channels=(2 * width, width), kernel=2, stride=2)
        x = sketch.node("concat", (kept.pop(), x), f"up{i}.concat", axis=3)
        x = _double(sketch, x, f"up{i}.conv", width)
    return sketch.finish(
        sketch.conv2d(x, "outc.conv", channels=(UNET_WIDTHS[0], classes), kernel=1, has_bias=True)
    )  # fmt: skip


def _double(sketch: Sketch, x: str, name: str, width: int) -> str:
    for at in (0, 3):
        given = sketch.size(x, 3)
        x = sketch.conv_unit(
            x, f"{name}.double_conv", channels=(given, width), kernel=3, activation="",
            parts=(f".{at}", f".{at + 1}"),
        )  # fmt: skip
        x = sketch.node("relu", (x,), f"{name}.double_conv.{at + 2}")
    return x


def deeplabv3_resnet50(
    *, weights: str | None = None, seed: int = 0, batch: Dimension = "batch", image_size: int = 520, classes: int = 21
) -> Graph:
    """Draw DeepLab v3 on ResNet-50 with the whole pyramid."""
    sketch = Sketch("deeplabv3_resnet50", weights=weights, seed=seed)
    x = sketch.input("input", (batch, image_size, image_size, 3))
    x, _ = resnet_features(sketch, x, RESNETS["resnet50"], prefix="backbone.", dilations=(1, 1, 2, 4))
    name = "classifier.0"
    parts = [_unit(sketch, x, f"{name}.convs.0")]
    parts += [_unit(sketch, x, f"{name}.convs.{i}", kernel=3, dilation=rate) for i, rate in enumerate(RATES, 1)]
    parts.append(_image_average(sketch, x, f"{name}.convs.4"))
    x = _unit(sketch, sketch.node("concat", parts, f"{name}.concat", axis=3), f"{name}.project")
    x = _unit(sketch, x, "classifier", kernel=3, parts=(".1", ".2"))
    x = sketch.conv2d(x, "classifier.4", channels=(PYRAMID, classes), kernel=1, has_bias=True)
    return sketch.finish(_resize(sketch, x, "upsample", image_size))


def deeplabv3_mobilenet_v2(
    *, weights: str | None = None, seed: int = 0, batch: Dimension = "batch", image_size: int = 513, classes: int = 21
) -> Graph:
    """Draw DeepLab v3 on MobileNet v2 without its last layer, whose stages from the sixth on do not stride."""
    sketch = Sketch("deeplabv3_mobilenet_v2", weights=weights, seed=seed)
    x = sketch.input("input", (batch, image_size, image_size, 3))
    x, _ = mobilenet_v2_features(sketch, x, 1.0, dilate_from=5)
    parts = [_image_average(sketch, x, "image_pooling"), _unit(sketch, x, "aspp0")]
    x = _unit(sketch, sketch.node("concat", parts, "concat", axis=3), "concat_projection")
    x = sketch.conv2d(x, "logits.semantic", channels=(PYRAMID, classes), kernel=1, has_bias=True)
    return sketch.finish(_resize(sketch, x, "upsample", image_size))


def _unit(
    sketch: Sketch, x: str, name: str, *, kernel: int = 1, dilation: int = 1, parts: tuple[str, str] = (".0", ".1")
) -> str:
    given = sketch.size(x, 3)
    return sketch.conv_unit(x, name, channels=(given, PYRAMID), kernel=kernel, dilation=dilation, parts=parts)


def _image_average(sketch: Sketch, x: str, name: str) -> str:
    """Average the image, project, and spread it over the map again."""
    size = sketch.size(x, 1)
    y = _unit(sketch, sketch.node("global_avg_pool", (x,), f"{name}.0"), name, parts=(".1", ".2"))
    return _resize(sketch, y, f"{name}.resize", size)


def _resize(sketch: Sketch, x: str, name: str, size: int) -> str:
    return sketch.node("resize", (x,), name, sizes=(size, size), mode="bilinear")
