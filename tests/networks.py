"""Random small networks and random small chips to compile them for.

In: a `random.Random`. Out: a float Graph with weights, and a Chip. A network is one to five layers on an activation of
two to four dimensions; a chip has any dataflow, an array of 2 to 16 cells a side, one to four cores, odd rates, and
memories that are often too small for anything but the smallest tiles. What a chip cannot hold is refused, which is a
fine answer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from math import prod
from random import Random

import numpy as np
from numpy.typing import NDArray

from onchip.chip import Chip
from onchip.ir.build import GraphBuilder
from onchip.ir.graph import Graph
from onchip.ops.types import AttributeValue

Arrays = dict[str, NDArray[np.float32]]

CHIP = """
name = "random"
evidence = "program"
default_dtype = "int8"
source = "drawn at random"
[clock]
core = "100 MHz"
[cores]
count = {cores}
{in_flight}
[matrix]
dataflow = "{dataflow}"
units = {units}
weight_load = "{load}"
row_packing = "{packing}"
depthwise = "vector"
int8 = {{ accumulate = "int32", {array} }}
bf16 = {{ accumulate = "fp32", {array} }}
fp8 = {{ accumulate = "fp32", {array} }}
[vector]
lanes = {lanes}
ops_per_cycle = {{ lut = {lut}, requantize = {requantize} }}
[local]
size = "{local} B"
accumulator = "{accumulator} B"
banks = {banks}
read = "{read} B/cycle"
write = "{write} B/cycle"
weight_read = "{weight_read} B/cycle"
{shared}
[dram]
size = "16 MiB"
bandwidth = "{bandwidth} B/s"
latency = "{latency} ns"
[launch]
in_graph = "{launch} ns"
[rounding]
modes = ["single"]
"""
SHARED = '[[shared]]\nsize = "{size} KiB"\nbandwidth = "{bandwidth} B/s"\nmanaged = "software"'


def small_chip(rng: Random, *, is_roomy: bool = False) -> Chip:
    """Return a random chip; a third of them have room for small tiles only, unless it is to be roomy."""
    local = (24, 64, 128) if is_roomy else (3, 4, 6, 12, 24, 64)
    accumulator = (4096, 16384, 65536) if is_roomy else (256, 512, 1024, 4096, 16384)
    bandwidth = (17, 100, 700, 3001, 9007) if is_roomy else (17, 33, 100, 250, 700, 3001)
    dataflow = rng.choice(("weight_stationary", "weight_stationary", "output_stationary", "dot_product"))
    rows, cols = rng.choice((2, 3, 4, 7, 8, 16)), rng.choice((2, 3, 4, 5, 8, 16))
    native = f'native = "{rng.randint(1, 4)}x{rng.randint(1, 8)}x{rng.randint(1, 8)}"'
    cores = rng.choice((1, 1, 2, 3, 4))
    shared = SHARED.format(size=rng.choice((8, 64)), bandwidth=rng.randint(3, 40) * 10**8)
    text = CHIP.format(
        cores=cores, in_flight=rng.choice(("", f'bytes_in_flight = "{rng.choice((16, 40, 200))} B"')),
        dataflow=dataflow,
        units=rng.choice((1, 1, 2, 3)), load=rng.choice(("hidden", "hidden", "serial")), packing=rng.choice(("CRS",
        "C")),
        array=native if dataflow == "dot_product" else f"rows = {rows}, cols = {cols}",
        lanes=rng.choice((1, 2, 4, 7, 8, 16)), lut=rng.choice((1, 2)), requantize=rng.choice((1, 4, 8)),
        local=rng.choice(local) * 1024 + rng.choice((0, 0, 192)),
        accumulator=rng.choice(accumulator), banks=rng.choice((1, 2, 4, 8, 16)),
        read=rng.choice((4, 7, 8, 16, 31)), write=rng.choice((2, 4, 5, 16)), weight_read=rng.choice((2, 3, 4, 8, 16)),
        shared=rng.choice(("", "", shared)), bandwidth=rng.choice(bandwidth) * 1_000_003,
        latency=rng.choice((0, 10, 70, 300)), launch=rng.choice((0, 0, 50)),
    )  # fmt: skip
    return Chip.parse(text)


@dataclass(slots=True)
class Draft:
    """A network while it is drawn: `at` is the tensor that the next layer reads, `made` all that were made before."""

    rng: Random
    builder: GraphBuilder
    batch: int
    at: str = ""
    made: list[str] = field(default_factory=list[str])
    number: int = 0

    @property
    def shape(self) -> tuple[int, ...]:
        return self.shape_of(self.at)

    def shape_of(self, name: str) -> tuple[int, ...]:
        return tuple(int(d) for d in self.builder.shape(name))

    def name(self, op: str) -> str:
        self.number += 1
        return f"{op}{self.number}"

    def constant(self, name: str, shape: tuple[int, ...], scale: float = 1.0) -> str:
        values = np.random.default_rng(self.rng.getrandbits(32)).standard_normal(shape, dtype=np.float32)
        return self.builder.constant(name, values * np.float32(scale))

    def node(self, op: str, *inputs: str, **attributes: AttributeValue) -> str:
        """Add a node; gives its first output."""
        made = self.builder.node(op, inputs, name=self.name(op), **attributes)
        return made if isinstance(made, str) else made[0]

    def weighted(self, op: str, x: str, shape: tuple[int, ...], **attributes: AttributeValue) -> str:
        """Add a node with weights and, mostly, a bias."""
        name = self.name(op)
        weight = self.constant(f"{name}.weight", shape, prod(shape[1:]) ** -0.5)
        bias = self.constant(f"{name}.bias", shape[:1], 0.3) if self.rng.random() < 0.7 else ""
        made = self.builder.node(op, (x, weight, bias), name=name, **attributes)
        assert isinstance(made, str)
        return made


Layer = Callable[[Draft], str | None]


def _window(d: Draft, *, dilated: bool, padded: bool) -> tuple[tuple[int, int], dict[str, AttributeValue]] | None:
    """Draw kernel, stride, padding and dilation that leave something of the image."""
    rng = d.rng
    if len(d.shape) != 4:
        return None
    kernel = rng.choice((1, 2, 3, 3)), rng.choice((1, 2, 3, 3))
    stride = rng.choice((1, 1, 2, 3)), rng.choice((1, 1, 2))
    dilation = (rng.choice((1, 1, 2)), rng.choice((1, 1, 2))) if dilated else (1, 1)
    limits = [rng.randint(0, k - 1) if padded and rng.random() < 0.6 else 0 for k in kernel for _ in (0, 1)]
    padding = (limits[0], limits[1], limits[2], limits[3])
    for size, k, e, before, after in zip(d.shape[1:3], kernel, dilation, padding[::2], padding[1::2], strict=True):
        if size + before + after < e * (k - 1) + 1:
            return None
    attributes: dict[str, AttributeValue] = {"stride": stride, "padding": padding}
    return kernel, attributes | ({"dilation": dilation} if dilated else {})


def conv(d: Draft) -> str | None:
    drawn = _window(d, dilated=True, padded=True)
    if drawn is None:
        return None
    kernel, attributes = drawn
    shape = (d.rng.choice((1, 2, 5, 8, 11, 19)), *kernel, d.shape[3])
    return d.weighted("conv2d", d.at, shape, **attributes)


def pointwise(d: Draft) -> str | None:
    if len(d.shape) != 4:
        return None
    return d.weighted("conv2d", d.at, (d.rng.choice((3, 8, 16, 24)), 1, 1, d.shape[3]))


def normed(d: Draft) -> str | None:
    """Draw what `fold` takes apart: a convolution, its batch norm, mostly a ReLU."""
    made = conv(d)
    if made is None:
        return None
    d.at, name = made, d.name("norm")
    n = d.shape[3:]
    values = [d.constant(f"{name}.{key}", n) for key in ("weight", "bias", "mean")]
    variance = d.builder.constant(
        f"{name}.var", np.random.default_rng(d.number).random(n, np.float32) + np.float32(0.1)
    )
    y = d.node("batch_norm", made, *values, variance)
    return d.node("relu", y) if d.rng.random() < 0.7 else y


def depthwise(d: Draft) -> str | None:
    drawn = _window(d, dilated=True, padded=True)
    if drawn is None or d.shape[3] == 1:
        return None
    kernel, attributes = drawn
    return d.weighted("conv2d", d.at, (d.shape[3], *kernel, 1), groups=d.shape[3], **attributes)


def pool(d: Draft) -> str | None:
    op = d.rng.choice(("max_pool2d", "max_pool2d", "avg_pool2d"))
    drawn = _window(d, dilated=False, padded=op == "max_pool2d" or d.rng.random() < 0.5)
    if drawn is None:
        return None
    kernel, attributes = drawn
    padding = attributes["padding"]
    assert isinstance(padding, tuple)
    if any(int(p) * 2 > kernel[i // 2] for i, p in enumerate(padding)):
        return None
    return d.node(op, d.at, kernel=kernel, ceil_mode=d.rng.random() < 0.3, **attributes)


def whole_pool(d: Draft) -> str | None:
    """Draw a pool that the convolution before it can take in: windows side by side that cover the image."""
    if len(d.shape) != 4 or d.shape[1] % 2 or d.shape[2] % 2:
        return None
    return d.node("max_pool2d", d.at, kernel=(2, 2), stride=(2, 2))


def average(d: Draft) -> str | None:
    if len(d.shape) == 4:
        return d.node("global_avg_pool", d.at)
    return d.node("mean", d.at, axes=(1,), keepdims=d.rng.random() < 0.5) if len(d.shape) == 3 else None


def linear(d: Draft) -> str | None:
    if len(d.shape) == 4 and d.rng.random() < 0.5:
        return None
    return d.weighted("linear", d.at, (d.rng.choice((2, 5, 8, 16, 21)), d.shape[-1]))


def two(d: Draft) -> str | None:
    """Draw add, sub or mul with an earlier tensor of the same shape, with a constant, or with a vector of constants."""
    op = d.rng.choice(("add", "add", "sub", "mul"))
    others = [n for n in d.made if n != d.at and d.shape_of(n) == d.shape]
    if others and d.rng.random() < 0.8:
        pair = [d.at, d.rng.choice(others)]
        d.rng.shuffle(pair)
        return d.node(op, *pair)
    shape = d.rng.choice((d.shape, d.shape[-1:], tuple(d.rng.choice((1, n)) for n in d.shape), (1, *d.shape[1:]), (1,)))
    pair = [d.at, d.constant(d.name("c"), shape)]
    d.rng.shuffle(pair)
    return d.node(op, *pair)


def unary(d: Draft) -> str | None:
    op = d.rng.choice(("relu", "relu", "relu6", "clip", "sigmoid", "tanh", "gelu", "silu"))
    extra: dict[str, AttributeValue] = {"low": -0.6, "high": 0.9} if op == "clip" else {}
    if op == "gelu" and d.rng.random() < 0.5:
        extra = {"approximate": "tanh"}
    return d.node(op, d.at, **extra)


def normalize(d: Draft) -> str | None:
    n = d.shape[-1]
    if n < 2:
        return None
    if d.rng.random() < 0.5:
        return d.node("softmax", d.at)
    name = d.name("norm")
    return d.node("layer_norm", d.at, d.constant(f"{name}.gamma", (n,)), d.constant(f"{name}.beta", (n,)))


def sequence(d: Draft) -> str | None:
    """Turn an image into a sequence, or a sequence into a vector."""
    b, *rest, c = d.shape
    if len(d.shape) == 4:
        return d.node("reshape", d.at, shape=(b, prod(rest), c))
    return d.node("reshape", d.at, shape=(b, prod(rest) * c)) if len(d.shape) == 3 and prod(rest) * c < 400 else None


def attention(d: Draft) -> str | None:
    if len(d.shape) != 3 or d.shape[1] > 24:
        return None
    rng, (b, _, c) = d.rng, d.shape
    kv, repeat, width, value = (
        rng.choice((1, 1, 2, 3)),
        rng.choice((1, 1, 2)),
        rng.choice((2, 4, 5)),
        rng.choice((2, 3, 4)),
    )
    heads, other = kv * repeat, d.at
    if rng.random() < 0.4:
        other = d.builder.input(d.name("memory"), (b, rng.randint(1, 9), c))
    lq, lk = d.shape[1], d.shape_of(other)[1]
    q = d.weighted("linear", d.at, (heads * width, c))
    k, v = d.weighted("linear", other, (kv * width, c)), d.weighted("linear", other, (kv * value, c))
    extra: dict[str, AttributeValue] = {"kv_heads": kv} if repeat > 1 else {}
    mask = ""
    if rng.random() < 0.3 and lk >= lq:
        extra["causal"] = True
    elif rng.random() < 0.5:
        shape = rng.choice(((b, heads, lq, lk), (1, 1, lq, lk), (b, 1, 1, lk), (1, heads, lq, lk)))
        keep = np.random.default_rng(rng.getrandbits(32)).random(shape) < 0.7
        mask = d.builder.constant(d.name("mask"), keep)
    inputs = (q, k, v, mask) if mask else (q, k, v)
    return d.node("attention", *inputs, heads=heads, **extra)


def lstm(d: Draft) -> str | None:
    if len(d.shape) != 3 or d.shape[1] > 7:
        return None
    hidden, c, name = d.rng.choice((1, 3, 4, 9)), d.shape[2], d.name("lstm")
    w_ih, w_hh = d.constant(f"{name}.ih", (4 * hidden, c), c**-0.5), d.constant(f"{name}.hh", (4 * hidden, hidden), 0.5)
    biases = [d.constant(f"{name}.b{i}", (4 * hidden,), 0.3) if d.rng.random() < 0.7 else "" for i in (0, 1)]
    made = d.builder.node("lstm", (d.at, w_ih, w_hh, *biases), name=name, hidden=hidden)
    assert isinstance(made, tuple)
    return d.rng.choice((made[0], made[0], made[1]))


def cut(d: Draft) -> str | None:
    axis = d.rng.randrange(1, len(d.shape))
    size = d.shape[axis]
    if size < 2:
        return None
    start = d.rng.randrange(size - 1)
    step = 1 if axis == len(d.shape) - 1 else d.rng.choice((1, 1, 2))
    return d.node("slice", d.at, axis=axis, start=start, stop=d.rng.randint(start + 1, size), step=step)


def join(d: Draft) -> str | None:
    axis = d.rng.randrange(1, len(d.shape))
    others = [n for n in d.made if len(d.shape_of(n)) == len(d.shape) and all(
        a == b for i, (a, b) in enumerate(zip(d.shape_of(n), d.shape, strict=True)) if i != axis
    )]  # fmt: skip
    parts = [d.at, *(d.rng.choice(others) for _ in range(d.rng.randint(0, 2)) if others)]
    if len(parts) < 2:
        return None
    d.rng.shuffle(parts)
    return d.node("concat", *parts, axis=axis)


def turn(d: Draft) -> str | None:
    if len(d.shape) < 3:
        return None
    perm = [*range(1, len(d.shape))]
    d.rng.shuffle(perm)
    return d.node("transpose", d.at, perm=(0, *perm))


LAYERS: dict[Layer, int] = {
    conv: 4, normed: 3, pointwise: 3, depthwise: 3, pool: 3, whole_pool: 2, average: 2, linear: 4, two: 5, unary: 4,
    normalize: 3,
    sequence: 3, attention: 6, lstm: 4, cut: 2, join: 3, turn: 1,
}  # fmt: skip


def network(rng: Random, layers: dict[Layer, int] | None = None, *, most: int = 5) -> Graph:
    """Return a random network of one to `most` layers; `layers` weighs what may be drawn."""
    drawn = layers or LAYERS
    d = Draft(rng, GraphBuilder("random"), rng.choice((1, 1, 2, 3)))
    start = rng.choice(((rng.randint(3, 9), rng.randint(2, 8), rng.choice((1, 3, 4, 8))), (rng.randint(2, 7),
    rng.choice((3, 6, 9))),
                        (rng.choice((4, 9, 17)),)))  # fmt: skip
    d.at = d.builder.input("x", (d.batch, *start))
    d.made.append(d.at)
    wanted = rng.randint(1, most)
    for _ in range(8 * wanted):
        if wanted == 0:
            break
        made = rng.choices(list(drawn), list(drawn.values()))[0](d)
        if made is not None:
            wanted -= 1
            d.at = made
            d.made.append(made)
    outputs = {d.at, *(n for n in d.made[1:] if rng.random() < 0.1)}
    for name in sorted(outputs - {"x"}) or [d.node("relu", "x")]:
        d.builder.output(name)
    return d.builder.finish()


def layer(rng: Random) -> Graph:
    """Return one layer of some ten thousand to a million products, weights unknown."""
    b = GraphBuilder("layer")
    if rng.random() < 0.3:
        m, k, n = rng.randint(1, 200), rng.randint(8, 200), rng.randint(4, 150)
        made = b.node("linear", (b.input("x", (1, m, k)), b.constant("w", (n, k)), b.constant("bias", (n,))), "layer")
    elif rng.random() < 0.15:
        x, length = rng.choice((2, 4)) * rng.choice((4, 8)), rng.randint(8, 60)
        made = b.node(
            "attention", [b.input(n, (2, length, x)) for n in "qkv"], "layer", heads=2, causal=rng.random() < 0.3
        )
    else:
        c, size, kernel = rng.choice((1, 3, 8, 16, 40)), rng.randint(6, 30), rng.choice((1, 3, 3, 5))
        n, groups = (c, c) if c > 3 and rng.random() < 0.15 else (rng.choice((4, 10, 16, 64)), 1)
        weight = b.constant("w", (n, kernel, kernel, c // groups))
        x, stride = b.input("x", (rng.choice((1, 1, 4)), size, size, c)), rng.choice((1, 1, 2))
        pads = (kernel // 2, kernel // 2, kernel // 2, rng.choice((0, kernel // 2)))
        made = b.node("conv2d", (x, weight), "layer", stride=(stride, stride), padding=pads, groups=groups)
    assert isinstance(made, str)
    b.output(made)
    return b.finish()


def inputs_of(graph: Graph, seed: int) -> Arrays:
    """Return standard normal inputs."""
    drawn = np.random.default_rng(seed)
    return {
        name: drawn.standard_normal([int(d) for d in graph.tensor(name).shape], dtype=np.float32)
        for name in graph.inputs
    }
