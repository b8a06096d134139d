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

import numpy as np
from numpy.typing import NDArray

from onchip.errors import UsageError
from onchip.ir.build import GraphBuilder
from onchip.ir.graph import Graph
from onchip.ops.types import AttributeValue, Dimension


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
        kernel: int,
        stride: int = 1,
        padding: tuple[int, int, int, int] | int = 0,
        has_bias: bool = False,
    ) -> str:
        """Convolve from channels[0] to channels[1]."""
        given, made = channels
        shape = (made, kernel, kernel, given)
        weight = self.constant(f"{name}.weight", shape, scale=(2 / (kernel * kernel * given)) ** 0.5)
        bias = self.constant(f"{name}.bias", (made,), scale=0.05) if has_bias else ""
        pads = (padding,) * 4 if isinstance(padding, int) else padding
        return self.node("conv2d", (x, weight, bias), name, stride=(stride, stride), padding=pads)

    def batch_norm(self, x: str, name: str, channels: int, *, eps: float = 1e-5) -> str:
        """Normalise with learned statistics: scale, bias, mean and variance per channel."""
        values = (
            self.constant(f"{name}.weight", (channels,), scale=0.1, offset=1.0),
            self.constant(f"{name}.bias", (channels,), scale=0.1),
            self.constant(f"{name}.running_mean", (channels,), scale=0.1),
            self._variance(f"{name}.running_var", channels),
        )
        return self.node("batch_norm", (x, *values), name, eps=eps)

    def linear(self, x: str, name: str, features: tuple[int, int]) -> str:
        """Map features[0] to features[1] with a bias."""
        given, made = features
        weight = self.constant(f"{name}.weight", (made, given), scale=(1 / given) ** 0.5)
        return self.node("linear", (x, weight, self.constant(f"{name}.bias", (made,), scale=0.05)), name)

    def layer_norm(self, x: str, name: str, width: int, *, eps: float = 1e-5) -> str:
        """Normalise over the last axis."""
        scale = self.constant(f"{name}.weight", (width,), scale=0.1, offset=1.0)
        return self.node("layer_norm", (x, scale, self.constant(f"{name}.bias", (width,), scale=0.1)), name, eps=eps)

    def _variance(self, name: str, channels: int) -> str:
        if not self._is_random:
            return self._builder.constant(name, (channels,), dtype="f32")
        return self._builder.constant(name, np.abs(self._draw(name, (channels,), 0.1, 1.0)) + np.float32(0.1))

    def _draw(self, name: str, shape: tuple[int, ...], scale: float, offset: float) -> NDArray[np.float32]:
        random = np.random.default_rng((self._seed, zlib.crc32(name.encode())))
        values = random.standard_normal(shape, dtype=np.float32)
        return values * np.float32(scale) + np.float32(offset)
