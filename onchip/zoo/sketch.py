"""A pen for drawing networks: layers with their constants, on top of `GraphBuilder`.

In:       the name of the network, whether constants are unknown (`weights=None`) or random (`weights="random"`).
Out:      names of tensors, and at the end a Graph.
Promises: a constant's random values depend on the seed and its own name, not on what was drawn before it;
          names are those of the public definition (`layer1.0.conv1`, its constants `layer1.0.conv1.weight`).
Does not: fold anything; batch_norm stays a node with its four constants, as published.
Sources:  variance 2/fan_in: He et al. 2015, eq. 10.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from onchip.errors import UsageError
from onchip.ir.build import GraphBuilder
from onchip.ir.graph import Graph
from onchip.ops.types import AttributeValue, Dimension, Shape

Padding: TypeAlias = tuple[int, int, int, int] | int | Literal["half", "same"]


class Sketch:
    """Draws one network; every method adds a node and returns the name of its output tensor."""

    def __init__(self, name: str, *, weights: str | None = None, seed: int = 0) -> None:
        if weights not in (None, "random"):
            raise UsageError("OC1003", f"@{name}", f"weights '{weights}' is neither None nor 'random'")
        self._builder = GraphBuilder(name)
        self._is_random = weights == "random"
        self._seed = seed

    def input(self, name: str, shape: Sequence[Dimension], dtype: str = "f32") -> str:
        return self._builder.input(name, tuple(shape), dtype)

    def node(self, op: str, inputs: Sequence[str], name: str, **attributes: AttributeValue) -> str:
        """Add a node and give its first output."""
        return self.nodes(op, inputs, name, **attributes)[0]

    def nodes(self, op: str, inputs: Sequence[str], name: str, **attributes: AttributeValue) -> tuple[str, ...]:
        """Add a node and give all its outputs."""
        made = self._builder.node(op, inputs, name=name, **attributes)
        return (made,) if isinstance(made, str) else made

    def shape(self, name: str) -> Shape:
        return self._builder.shape(name)

    def size(self, name: str, axis: int) -> int:
        """Return a dimension that has to be a number. Raises UsageError."""
        size = self.shape(name)[axis]
        if isinstance(size, str):
            raise UsageError("OC1003", name, f"dimension {axis} is the symbol '{size}'", limit="it has to be a number")
        return size

    def state(self, given: str, made: str) -> None:
        """Say that the value of `made` is the value of the input `given` in the next run."""
        self._builder.state(given, made)

    def known(self, name: str, values: NDArray[Any]) -> str:
        """Add a constant whose values belong to the definition (an index, a mask): never random."""
        return self._builder.constant(name, values)

    def finish(self, *outputs: str) -> Graph:
        for name in outputs:
            self._builder.output(name)
        return self._builder.finish()

    def constant(self, name: str, shape: tuple[int, ...], *, scale: float, offset: float = 0.0) -> str:
        """Add a constant: normal around `offset` with deviation `scale`, or unknown."""
        if not self._is_random:
            return self._builder.constant(name, shape, dtype="f32")
        return self._builder.constant(name, self._draw(name, shape, scale, offset))

    def conv2d(
        self,
        x: str,
        name: str,
        *,
        channels: tuple[int, int],
        kernel: tuple[int, int] | int,
        stride: tuple[int, int] | int = 1,
        padding: Padding = 0,
        dilation: int = 1,
        groups: int = 1,
        has_bias: bool = False,
    ) -> str:
        """Convolve from channels[0] to channels[1]; padding "same" is TensorFlow's, the odd row or column behind."""
        per_group, made = channels[0] // groups, channels[1]
        r, s = _pair(kernel)
        weight = self.constant(f"{name}.weight", (made, r, s, per_group), scale=(2 / (r * s * per_group)) ** 0.5)
        bias = self.constant(f"{name}.bias", (made,), scale=0.05) if has_bias else ""
        pads = self.pads(x, padding, kernel=(r, s), stride=_pair(stride), dilation=dilation)
        extra: dict[str, AttributeValue] = {"groups": groups} if groups > 1 else {}
        if dilation > 1:
            extra["dilation"] = (dilation, dilation)
        return self.node("conv2d", (x, weight, bias), name, stride=_pair(stride), padding=pads, **extra)

    def conv_unit(
        self,
        x: str,
        name: str,
        *,
        channels: tuple[int, int],
        kernel: tuple[int, int] | int = 1,
        stride: int = 1,
        padding: Padding = "half",
        dilation: int = 1,
        groups: int = 1,
        eps: float = 1e-5,
        activation: str = "relu",
        parts: tuple[str, str] = (".conv", ".bn"),
    ) -> str:
        """Convolve, normalise and activate (or not: ""); `parts` are the ends of the first two nodes' names."""
        x = self.conv2d(
            x, f"{name}{parts[0]}", channels=channels, kernel=kernel, stride=stride, padding=padding,
            dilation=dilation, groups=groups,
        )  # fmt: skip
        x = self.batch_norm(x, f"{name}{parts[1]}", channels[1], eps=eps)
        return self.node(activation, (x,), f"{name}.{activation}") if activation else x

    def conv_transpose2d(self, x: str, name: str, *, channels: tuple[int, int], kernel: int, stride: int) -> str:
        """Enlarge the map `stride` times, with a bias."""
        given, made = channels
        weight = self.constant(f"{name}.weight", (made, kernel, kernel, given), scale=(2 / given) ** 0.5 / kernel)
        bias = self.constant(f"{name}.bias", (made,), scale=0.05)
        return self.node("conv_transpose2d", (x, weight, bias), name, stride=(stride, stride))

    def pads(
        self, x: str, padding: Padding, *, kernel: tuple[int, int], stride: tuple[int, int], dilation: int = 1
    ) -> tuple[int, int, int, int]:
        """Give (top, bottom, left, right); "half" is half the window at both ends, "same" is TensorFlow's."""
        if isinstance(padding, int):
            return padding, padding, padding, padding
        if isinstance(padding, tuple):
            return padding
        sides: list[int] = []
        for size, k, step in zip(self.shape(x)[1:3], kernel, stride, strict=True):
            reach = dilation * (k - 1) + 1
            if padding == "half":
                sides += [reach // 2, reach // 2]
            else:
                total = max(0, (-(-int(size) // step) - 1) * step + reach - int(size))
                sides += [total // 2, total - total // 2]
        return sides[0], sides[1], sides[2], sides[3]

    def pool(self, op: str, x: str, name: str, *, kernel: int, stride: int, padding: Padding = 0) -> str:
        """Pool with a square window: max_pool2d, or avg_pool2d that counts no padding."""
        pads = self.pads(x, padding, kernel=(kernel, kernel), stride=(stride, stride))
        extra: dict[str, AttributeValue] = {"count_include_pad": False} if op == "avg_pool2d" and any(pads) else {}
        return self.node(op, (x,), name, kernel=(kernel, kernel), stride=(stride, stride), padding=pads, **extra)

    def classify(self, x: str, name: str, features: tuple[int, int]) -> str:
        """Average over the image, flatten, and map to classes."""
        x = self.node("global_avg_pool", (x,), "avgpool")
        x = self.node("reshape", (x,), "flatten", shape=(0, features[0]))
        return self.linear(x, name, features)

    def batch_norm(self, x: str, name: str, channels: int, *, eps: float = 1e-5) -> str:
        """Normalise with learned statistics: scale, bias, mean and variance per channel."""
        values = (
            self.constant(f"{name}.weight", (channels,), scale=0.1, offset=1.0),
            self.constant(f"{name}.bias", (channels,), scale=0.1),
            self.constant(f"{name}.running_mean", (channels,), scale=0.1),
            self._variance(f"{name}.running_var", channels),
        )
        return self.node("batch_norm", (x, *values), name, eps=eps)

    def linear(self, x: str, name: str, features: tuple[int, int], *, has_bias: bool = True) -> str:
        """Map features[0] to features[1]."""
        given, made = features
        weight = self.constant(f"{name}.weight", (made, given), scale=(1 / given) ** 0.5)
        inputs = (x, weight, self.constant(f"{name}.bias", (made,), scale=0.05)) if has_bias else (x, weight)
        return self.node("linear", inputs, name)

    def layer_norm(self, x: str, name: str, width: int, *, eps: float = 1e-5) -> str:
        """Normalise over the last axis."""
        scale = self.constant(f"{name}.weight", (width,), scale=0.1, offset=1.0)
        return self.node("layer_norm", (x, scale, self.constant(f"{name}.bias", (width,), scale=0.1)), name, eps=eps)

    def rms_norm(self, x: str, name: str, width: int, *, eps: float = 1e-5) -> str:
        """Divide by the root of the mean square over the last axis."""
        return self.node(
            "rms_norm", (x, self.constant(f"{name}.weight", (width,), scale=0.1, offset=1.0)), name, eps=eps
        )

    def _variance(self, name: str, channels: int) -> str:
        if not self._is_random:
            return self._builder.constant(name, (channels,), dtype="f32")
        return self._builder.constant(name, np.abs(self._draw(name, (channels,), 0.1, 1.0)) + np.float32(0.1))

    def _draw(self, name: str, shape: tuple[int, ...], scale: float, offset: float) -> NDArray[np.float32]:
        random = np.random.default_rng((self._seed, zlib.crc32(name.encode())))
        values = random.standard_normal(shape, dtype=np.float32)
        return values * np.float32(scale) + np.float32(offset)


def _pair(value: tuple[int, int] | int) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else value
