"""The six networks on which the first TPU was measured, rebuilt from their published counts.

In:       batch (a symbol or a number; the published one is in `BATCHES`).
Out:      Graphs from `input` to the last layer; the two LSTMs are one time step, with hidden and cell as states.
Promises: layers of each kind, weights, and MACs per weight and byte at the published batch, as the table says.
          The networks themselves were never published; what follows is assumed:
          MLP: equal widths, ReLU behind all layers but the last.
          LSTM: a cell is four fully connected layers over [input, hidden], one per gate, without bias. LSTM0 has five
          cells of 1,024 and four layers between 1,024 and 2,560 behind them; LSTM1 nine cells of 600 (section 7 names
          its 600x600 matrices) and one layer of 13,500. How the paper counts vector layers is unknown; ours are not
          matched.
          CNN0: sixteen convolutions over 19x19 positions (2,888 = 8 x 361) of 256 channels, 48 in, 1 out.
          CNN1: two convolutions, then ten Inception modules of seven convolutions and a pooling each, three strided
          poolings, and four fully connected layers; its widths are solved for the weights and the intensity.
Sources:  Jouppi et al. 2017 (ISCA), table 1 and section 7.
"""

from __future__ import annotations

from itertools import pairwise

from onchip.ir.graph import Graph
from onchip.ops.types import Dimension
from onchip.zoo.sketch import Sketch

BATCHES = {
    "tpu-v1-mlp0": 200, "tpu-v1-mlp1": 168, "tpu-v1-lstm0": 64, "tpu-v1-lstm1": 96, "tpu-v1-cnn0": 8, "tpu-v1-cnn1": 32,
}  # fmt: skip
MLPS: dict[str, tuple[int, ...]] = {"tpu-v1-mlp0": (2000,) * 6, "tpu-v1-mlp1": (1120,) * 5}
# (cells, hidden, widths of the layers behind them)
LSTMS: dict[str, tuple[int, int, tuple[int, ...]]] = {
    "tpu-v1-lstm0": (5, 1024, (2560, 1024, 2560, 1024)),
    "tpu-v1-lstm1": (9, 600, (13500,)),
}
CNN0_CHANNELS = (48, *(256,) * 15, 1)
CNN1_MODULES = ((256, 3), (192, 5), (320, 2))  # (channels of the wide branches, modules) at 28x28, 14x14 and 7x7
CNN1_WIDTHS = (6008, 6008, 6008, 1000)


def mlp(name: str, /, *, weights: str | None = None, seed: int = 0, batch: Dimension = "batch") -> Graph:
    """Draw one of MLPS."""
    sketch = Sketch(name, weights=weights, seed=seed)
    widths = MLPS[name]
    return sketch.finish(_layers(sketch, sketch.input("input", (batch, widths[0])), widths[1:]))


def lstm(name: str, /, *, weights: str | None = None, seed: int = 0, batch: Dimension = "batch") -> Graph:
    """Draw one time step of one of LSTMS."""
    cells, hidden, widths = LSTMS[name]
    sketch = Sketch(name, weights=weights, seed=seed)
    x = sketch.input("input", (batch, hidden))
    for i in range(cells):
        x = _cell(sketch, x, f"cell{i}", batch, hidden)
    return sketch.finish(_layers(sketch, x, widths))


def _layers(sketch: Sketch, x: str, widths: tuple[int, ...]) -> str:
    """Draw fully connected layers without bias, ReLU between them."""
    for i, width in enumerate(widths):
        if i > 0:
            x = sketch.node("relu", (x,), f"relu{i - 1}")
        x = sketch.linear(x, f"fc{i}", (sketch.size(x, 1), width), has_bias=False)
    return x


def _cell(sketch: Sketch, x: str, name: str, batch: Dimension, hidden: int) -> str:
    h, c = (sketch.input(f"{name}.{part}", (batch, hidden)) for part in "hc")
    both = sketch.node("concat", (x, h), f"{name}.concat", axis=1)

    def gate(part: str, activation: str) -> str:
        y = sketch.linear(both, f"{name}.gate_{part}", (2 * hidden, hidden), has_bias=False)
        return sketch.node(activation, (y,), f"{name}.{part}")

    i, f, o, g = gate("i", "sigmoid"), gate("f", "sigmoid"), gate("o", "sigmoid"), gate("g", "tanh")
    kept = sketch.node("mul", (f, c), f"{name}.kept")
    made = sketch.node("add", (kept, sketch.node("mul", (i, g), f"{name}.added")), f"{name}.next_c")
    y = sketch.node("mul", (o, sketch.node("tanh", (made,), f"{name}.squashed")), f"{name}.next_h")
    sketch.state(h, y)
    sketch.state(c, made)
    return y


def cnn0(*, weights: str | None = None, seed: int = 0, batch: Dimension = "batch") -> Graph:
    """Draw CNN0."""
    sketch = Sketch("tpu-v1-cnn0", weights=weights, seed=seed)
    x, last = sketch.input("input", (batch, 19, 19, CNN0_CHANNELS[0])), len(CNN0_CHANNELS) - 2
    for i, channels in enumerate(pairwise(CNN0_CHANNELS)):
        kernel = 1 if i == last else 3
        x = sketch.conv2d(x, f"conv{i}", channels=channels, kernel=kernel, padding=kernel // 2)
        x = x if i == last else sketch.node("relu", (x,), f"relu{i}")
    return sketch.finish(x)


def cnn1(*, weights: str | None = None, seed: int = 0, batch: Dimension = "batch", image_size: int = 224) -> Graph:
    """Draw CNN1."""
    sketch = Sketch("tpu-v1-cnn1", weights=weights, seed=seed)
    x = sketch.input("input", (batch, image_size, image_size, 3))
    x = _conv(sketch, _conv(sketch, x, "conv0", 64, 7, stride=4), "conv1", 192, 3)
    for stage, (channels, count) in enumerate(CNN1_MODULES):
        x = sketch.pool("max_pool2d", x, f"stage{stage}.pool", kernel=3, stride=2, padding=1)
        for i in range(count):
            x = _module(sketch, x, f"stage{stage}.module{i}", channels)
    x = sketch.node("global_avg_pool", (x,), "average")
    x = sketch.node("reshape", (x,), "flatten", shape=(0, sketch.size(x, 3)))
    return sketch.finish(_layers(sketch, x, CNN1_WIDTHS))


def _conv(sketch: Sketch, x: str, name: str, made: int, kernel: int = 1, *, stride: int = 1) -> str:
    given = sketch.size(x, 3)
    x = sketch.conv2d(x, name, channels=(given, made), kernel=kernel, stride=stride, padding=kernel // 2)
    return sketch.node("relu", (x,), f"{name}.relu")


def _module(sketch: Sketch, x: str, name: str, wide: int) -> str:
    """Draw 1x1; 1x1 and 3x3; 1x1 and twice 3x3; pooling and 1x1. Reductions and the pooled branch are half as wide."""
    half = wide // 2
    pooled = sketch.pool("max_pool2d", x, f"{name}.pool", kernel=3, stride=1, padding=1)
    double = _conv(sketch, _conv(sketch, x, f"{name}.double0", half), f"{name}.double1", wide, 3)
    parts = (
        _conv(sketch, x, f"{name}.single", wide),
        _conv(sketch, _conv(sketch, x, f"{name}.window0", half), f"{name}.window1", wide, 3),
        _conv(sketch, double, f"{name}.double2", wide, 3),
        _conv(sketch, pooled, f"{name}.projection", half),
    )
    return sketch.node("concat", parts, f"{name}.concat", axis=3)
