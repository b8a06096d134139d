"""MobileNet v3 (small, large) and EfficientNet-B0 for ImageNet: inverted residuals with squeeze and excitation.

In:       batch (a symbol or a number), image size, classes.
Out:      a Graph from `input` [batch, size, size, 3] to logits [batch, classes]; names are those of torchvision.
Promises: parameters and MACs of torchvision's models; stochastic depth and dropout are nothing at inference.
Sources:  Howard et al. 2019, tables 1 and 2; Tan and Le 2019, table 1; torchvision/models.
"""

from __future__ import annotations

from dataclasses import dataclass

from onchip.ir.graph import Graph
from onchip.ops.types import Dimension
from onchip.zoo.mobilenet import divisible
from onchip.zoo.sketch import Sketch


@dataclass(frozen=True, slots=True)
class Block:
    """One inverted residual: window, hidden and made channels, stride; what squeezes, activates and gates."""

    kernel: int
    hidden: int
    made: int
    stride: int
    squeeze: int = 0  # channels between the two layers of squeeze and excitation, 0 for none
    activation: str = "relu"
    inner: str = "relu"
    gate: str = "hard_sigmoid"


RE, HS = "relu", "hard_swish"
# (kernel, hidden, made, has squeeze and excitation, activation, stride); torchvision's tables
V3: dict[str, tuple[tuple[int, int, int, bool, str, int], ...]] = {
    "mobilenet_v3_large": (
        (3, 16, 16, False, RE, 1), (3, 64, 24, False, RE, 2), (3, 72, 24, False, RE, 1), (5, 72, 40, True, RE, 2),
        *((5, 120, 40, True, RE, 1),) * 2, (3, 240, 80, False, HS, 2), (3, 200, 80, False, HS, 1),
        *((3, 184, 80, False, HS, 1),) * 2, (3, 480, 112, True, HS, 1), (3, 672, 112, True, HS, 1),
        (5, 672, 160, True, HS, 2), *((5, 960, 160, True, HS, 1),) * 2,
    ),
    "mobilenet_v3_small": (
        (3, 16, 16, True, RE, 2), (3, 72, 24, False, RE, 2), (3, 88, 24, False, RE, 1), (5, 96, 40, True, HS, 2),
        *((5, 240, 40, True, HS, 1),) * 2, (5, 120, 48, True, HS, 1), (5, 144, 48, True, HS, 1),
        (5, 288, 96, True, HS, 2), *((5, 576, 96, True, HS, 1),) * 2,
    ),
}  # fmt: skip
V3_LAST = {"mobilenet_v3_large": 1280, "mobilenet_v3_small": 1024}
# (expansion, kernel, stride, channels, blocks)
B0 = (
    (1, 3, 1, 16, 1), (6, 3, 2, 24, 2), (6, 5, 2, 40, 2), (6, 3, 2, 80, 3), (6, 5, 1, 112, 3), (6, 5, 2, 192, 4),
    (6, 3, 1, 320, 1),
)  # fmt: skip


def mobilenet_v3(
    name: str,
    /,
    *,
    weights: str | None = None,
    seed: int = 0,
    batch: Dimension = "batch",
    image_size: int = 224,
    classes: int = 1000,
) -> Graph:
    """Draw one of V3."""
    sketch = Sketch(name, weights=weights, seed=seed)
    x = sketch.input("input", (batch, image_size, image_size, 3))
    x = _unit(sketch, x, "features.0", (3, 16), kernel=3, stride=2, eps=1e-3, activation=HS)
    given = 16
    for i, (kernel, hidden, made, has_squeeze, activation, stride) in enumerate(V3[name], 1):
        squeeze = divisible(hidden / 4) if has_squeeze else 0
        block = Block(kernel, hidden, made, stride, squeeze, activation)
        x = _block(sketch, x, f"features.{i}", given=given, block=block, eps=1e-3)
        given = made
    x = _unit(sketch, x, f"features.{len(V3[name]) + 1}", (given, 6 * given), eps=1e-3, activation=HS)
    x = sketch.node(HS, (sketch.classify(x, "classifier.0", (6 * given, V3_LAST[name])),), "classifier.1")
    return sketch.finish(sketch.linear(x, "classifier.3", (V3_LAST[name], classes)))


def efficientnet_b0(
    *, weights: str | None = None, seed: int = 0, batch: Dimension = "batch", image_size: int = 224, classes: int = 1000
) -> Graph:
    """Draw EfficientNet-B0."""
    sketch = Sketch("efficientnet-b0", weights=weights, seed=seed)
    x = sketch.input("input", (batch, image_size, image_size, 3))
    x = _unit(sketch, x, "features.0", (3, 32), kernel=3, stride=2, activation="silu")
    given = 32
    for stage, (expansion, kernel, stride, made, count) in enumerate(B0, 1):
        for at in range(count):
            block = Block(
                kernel, expansion * given, made, stride if at == 0 else 1, given // 4, "silu", "silu", "sigmoid"
            )  # fmt: skip
            x = _block(sketch, x, f"features.{stage}.{at}", given=given, block=block)
            given = made
    x = _unit(sketch, x, f"features.{len(B0) + 1}", (given, 1280), activation="silu")
    return sketch.finish(sketch.classify(x, "classifier.1", (1280, classes)))


def _unit(
    sketch: Sketch, x: str, name: str, channels: tuple[int, int], *, kernel: int = 1, stride: int = 1, groups: int = 1,
    eps: float = 1e-5, activation: str = "",
) -> str:  # fmt: skip
    return sketch.conv_unit(
        x, name, channels=channels, kernel=kernel, stride=stride, groups=groups, eps=eps, activation=activation,
        parts=(".0", ".1"),
    )  # fmt: skip


def _block(sketch: Sketch, x: str, name: str, *, given: int, block: Block, eps: float = 1e-5) -> str:
    y, at, hidden, act = x, 0, block.hidden, block.activation
    if hidden != given:
        y, at = _unit(sketch, y, f"{name}.block.0", (given, hidden), eps=eps, activation=act), 1
    y = _unit(
        sketch, y, f"{name}.block.{at}", (hidden, hidden), kernel=block.kernel, stride=block.stride, groups=hidden,
        eps=eps, activation=act,
    )  # fmt: skip
    if block.squeeze:
        at += 1
        y = _squeeze_excite(sketch, y, f"{name}.block.{at}", block)
    y = _unit(sketch, y, f"{name}.block.{at + 1}", (hidden, block.made), eps=eps)
    return sketch.node("add", (x, y), f"{name}.add") if block.stride == 1 and given == block.made else y


def _squeeze_excite(sketch: Sketch, x: str, name: str, block: Block) -> str:
    y = sketch.node("global_avg_pool", (x,), f"{name}.avgpool")
    y = sketch.conv2d(y, f"{name}.fc1", channels=(block.hidden, block.squeeze), kernel=1, has_bias=True)
    y = sketch.node(block.inner, (y,), f"{name}.activation")
    y = sketch.conv2d(y, f"{name}.fc2", channels=(block.squeeze, block.hidden), kernel=1, has_bias=True)
    return sketch.node("mul", (x, sketch.node(block.gate, (y,), f"{name}.scale_activation")), f"{name}.mul")
