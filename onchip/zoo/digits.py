"""The three demo networks on 8x8 digits: a CNN, an LSTM classifier, an attention encoder.

In:       batch (a symbol or a number) and the sizes.
Out:      Graphs from `input` to logits [batch, classes]. The CNN reads images [batch, size, size, channels]; the other
          two read sequences [batch, length, features] (the 8 rows of a digit).
Promises: the same networks, layer for layer and name for name, as the torch modules that onchip trains
          (tests/zoo/test_digits.py compares parameters, MACs and values).
Sources:  Hochreiter and Schmidhuber 1997; Vaswani et al. 2017 (with the norm in front: Xiong et al. 2020).
"""

from __future__ import annotations

from onchip.errors import UsageError
from onchip.ir.graph import Graph
from onchip.ops.types import Dimension
from onchip.zoo.sketch import Sketch


def digits_cnn(
    *,
    weights: str | None = None,
    seed: int = 0,
    batch: Dimension = "batch",
    in_channels: int = 1,
    image_size: int = 8,
    classes: int = 10,
) -> Graph:
    """Draw two 3x3 convolutions with ReLU and pooling, and two fully connected layers."""
    if image_size < 4 or image_size % 4:
        raise UsageError("OC1003", "@digits_cnn", f"image_size is {image_size}", limit="it has to be a multiple of 4")
    sketch = Sketch("digits_cnn", weights=weights, seed=seed)
    x = sketch.input("input", (batch, image_size, image_size, in_channels))
    for i, channels in enumerate(((in_channels, 32), (32, 64)), 1):
        x = sketch.conv2d(x, f"conv{i}", channels=channels, kernel=3, padding=1, has_bias=True)
        x = sketch.node("relu", (x,), f"relu{i}")
        x = sketch.node("max_pool2d", (x,), f"pool{i}", kernel=(2, 2), stride=(2, 2))
    features = 64 * (image_size // 4) ** 2
    x = sketch.node("reshape", (x,), "flatten", shape=(0, features))
    x = sketch.node("relu", (sketch.linear(x, "fc1", (features, 128)),), "relu3")
    return sketch.finish(sketch.linear(x, "fc2", (128, classes)))


def digits_lstm(
    *,
    weights: str | None = None,
    seed: int = 0,
    batch: Dimension = "batch",
    length: Dimension = 8,
    features: int = 8,
    hidden: int = 64,
    classes: int = 10,
) -> Graph:
    """Draw one LSTM whose last state is classified."""
    sketch = Sketch("digits_lstm", weights=weights, seed=seed)
    x = sketch.input("input", (batch, length, features))
    scale = hidden**-0.5
    values = (
        sketch.constant("lstm.weight_ih_l0", (4 * hidden, features), scale=scale),
        sketch.constant("lstm.weight_hh_l0", (4 * hidden, hidden), scale=scale),
        sketch.constant("lstm.bias_ih_l0", (4 * hidden,), scale=scale),
        sketch.constant("lstm.bias_hh_l0", (4 * hidden,), scale=scale),
    )
    _, last, _ = sketch.nodes("lstm", (x, *values), "lstm", hidden=hidden)
    return sketch.finish(sketch.linear(last, "fc", (hidden, classes)))


def digits_attention(
    *,
    weights: str | None = None,
    seed: int = 0,
    batch: Dimension = "batch",
    length: int = 8,
    features: int = 8,
    d_model: int = 64,
    n_heads: int = 4,
    d_hidden: int = 128,
    n_layers: int = 2,
    classes: int = 10,
) -> Graph:
    """Draw an encoder over tokens with learned positions, averaged and classified."""
    sketch = Sketch("digits_attention", weights=weights, seed=seed)
    x = sketch.linear(sketch.input("input", (batch, length, features)), "embed", (features, d_model))
    x = sketch.node("add", (x, sketch.constant("position", (1, length, d_model), scale=0.02)), "add_position")
    for i in range(n_layers):
        x = _encoder_layer(sketch, x, f"layers.{i}", d_model=d_model, n_heads=n_heads, d_hidden=d_hidden)
    x = sketch.node("mean", (sketch.layer_norm(x, "norm", d_model),), "mean", axes=(1,))
    return sketch.finish(sketch.linear(x, "fc", (d_model, classes)))


def _encoder_layer(sketch: Sketch, x: str, name: str, *, d_model: int, n_heads: int, d_hidden: int) -> str:
    h = sketch.layer_norm(x, f"{name}.norm1", d_model)
    own = f"{name}.attention"
    q, k, v = (sketch.linear(h, f"{own}.{part}", (d_model, d_model)) for part in ("query", "key", "value"))
    y = sketch.node("attention", (q, k, v), own, heads=n_heads, scale=(d_model // n_heads) ** -0.5)
    x = sketch.node("add", (x, sketch.linear(y, f"{own}.output", (d_model, d_model))), f"{name}.add1")
    y = sketch.linear(sketch.layer_norm(x, f"{name}.norm2", d_model), f"{name}.fc1", (d_model, d_hidden))
    y = sketch.linear(sketch.node("gelu", (y,), f"{name}.gelu"), f"{name}.fc2", (d_hidden, d_model))
    return sketch.node("add", (x, y), f"{name}.add2")
