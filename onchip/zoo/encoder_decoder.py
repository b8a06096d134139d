"""The layers of an encoder-decoder transformer, in the three styles of the zoo: the original, T5's and Whisper's.

In:       a `Drawing` (pen, style, batch, cached tokens) and a tensor [batch, length, width].
Out:      the tensor behind all layers of the encoder or the decoder.
Promises: names are those of Hugging Face transformers. With `past` > 0 the decoder is one step: its own keys and values
          are states (see cache.py), those of the encoder are inputs [batch, length, width], made once per sentence.
Does not: embed or classify; networks that use these layers do (translation.py, whisper.py).
Sources:  Vaswani et al. 2017, section 3; Raffel et al. 2020, section 2.1; Radford et al. 2022, section 2.2.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from onchip.ops.types import Dimension
from onchip.zoo.cache import append
from onchip.zoo.sketch import Sketch


@dataclass(frozen=True, slots=True)
class Style:
    """Sizes of one network, and how its layers are built and named; `{}` in `block` is the side."""

    width: int
    heads: int
    hidden: int
    layers: int
    block: str = "model.{}.layers"
    names: Mapping[str, str] = field(default_factory=dict[str, str])  # where they differ from the usual ones
    norm: str = "layer_norm"
    eps: float = 1e-5
    activation: str = "relu"
    is_pre_norm: bool = True  # normalise in front of a part, and once at the end; or behind each addition
    biased: str = "qvo"  # the projections of attention that have a bias
    has_hidden_bias: bool = True
    scale: float = 0.0  # of the scores; 0 is 1/sqrt of the head's width

    def name(self, side: str, part: str) -> str:
        """Return this network's name of a part of a layer."""
        return self.names.get(f"{side}.{part}", self.names.get(part, part))


@dataclass(frozen=True, slots=True)
class Drawing:
    """A network under the pen."""

    sketch: Sketch
    style: Style
    batch: Dimension
    past: int = 0


def encoder(drawing: Drawing, x: str, *, bias: str = "") -> str:
    """Draw the encoder; `bias` [1, heads, length, length] is added to every layer's scores."""
    for layer in range(drawing.style.layers):
        name = f"{drawing.style.block.format('encoder')}.{layer}"
        x = _residual(drawing, x, name, "encoder", "self_attn", _attend_self(drawing, name, "encoder", bias))
        x = _residual(drawing, x, name, "encoder", "final", _feed_forward(drawing, name, "encoder"))
    return _final_norm(drawing, x, "encoder")


def decoder(drawing: Drawing, x: str, *, memory: str, length: int, bias: str = "") -> str:
    """Draw the decoder over the encoder's output `memory`, or ("") over its cached keys and values of `length`."""
    for layer in range(drawing.style.layers):
        name = f"{drawing.style.block.format('decoder')}.{layer}"
        x = _residual(drawing, x, name, "decoder", "self_attn", _attend_self(drawing, name, "decoder", bias))
        x = _residual(drawing, x, name, "decoder", "encoder_attn", _attend_memory(drawing, name, memory, length))
        x = _residual(drawing, x, name, "decoder", "final", _feed_forward(drawing, name, "decoder"))
    return _final_norm(drawing, x, "decoder")


def _norm(drawing: Drawing, x: str, name: str) -> str:
    style = drawing.style
    make = drawing.sketch.rms_norm if style.norm == "rms_norm" else drawing.sketch.layer_norm
    return make(x, name, style.width, eps=style.eps)


def _final_norm(drawing: Drawing, x: str, side: str) -> str:
    if not drawing.style.is_pre_norm:
        return x
    end = drawing.style.name(side, "layer_norm")
    return _norm(drawing, x, f"{drawing.style.block.format(side).rsplit('.', 1)[0]}.{end}")


def _residual(drawing: Drawing, x: str, name: str, side: str, part: str, inner: Callable[[str], str]) -> str:
    norm = f"{name}.{drawing.style.name(side, f'{part}_layer_norm')}"
    y = inner(_norm(drawing, x, norm) if drawing.style.is_pre_norm else x)
    x = drawing.sketch.node("add", (x, y), f"{name}.{part}_add")
    return x if drawing.style.is_pre_norm else _norm(drawing, x, norm)


def _project(drawing: Drawing, x: str, name: str, side: str, part: str) -> str:
    style = drawing.style
    end = style.name(side, "out_proj" if part == "o" else f"{part}_proj")
    return drawing.sketch.linear(x, f"{name}.{end}", (style.width, style.width), has_bias=part in style.biased)


def _attend(drawing: Drawing, own: str, side: str, tensors: tuple[str, ...], *, is_causal: bool) -> str:
    style = drawing.style
    y = drawing.sketch.node("attention", tensors, own, heads=style.heads, scale=style.scale, causal=is_causal)
    return _project(drawing, y, own, side, "o")


def _attend_self(drawing: Drawing, name: str, side: str, bias: str) -> Callable[[str], str]:
    own = f"{name}.{drawing.style.name(side, 'self_attn')}"

    def inner(x: str) -> str:
        q, k, v = (_project(drawing, x, own, side, part) for part in "qkv")
        if side == "decoder":
            k = append(drawing.sketch, k, f"{own}.past_key", batch=drawing.batch, past=drawing.past)
            v = append(drawing.sketch, v, f"{own}.past_value", batch=drawing.batch, past=drawing.past)
        tensors = (q, k, v, bias) if bias else (q, k, v)
        return _attend(drawing, own, side, tensors, is_causal=side == "decoder")

    return inner


def _attend_memory(drawing: Drawing, name: str, memory: str, length: int) -> Callable[[str], str]:
    own = f"{name}.{drawing.style.name('decoder', 'encoder_attn')}"

    def inner(x: str) -> str:
        q = _project(drawing, x, own, "decoder", "q")
        if memory:
            k, v = (_project(drawing, memory, own, "decoder", part) for part in "kv")
        else:
            shape = (drawing.batch, length, drawing.style.width)
            k, v = (drawing.sketch.input(f"{own}.{part}", shape) for part in ("key", "value"))
        return _attend(drawing, own, "decoder", (q, k, v), is_causal=False)

    return inner


def _feed_forward(drawing: Drawing, name: str, side: str) -> Callable[[str], str]:
    style, sketch = drawing.style, drawing.sketch
    first, second = (f"{name}.{style.name(side, part)}" for part in ("fc1", "fc2"))

    def inner(x: str) -> str:
        y = sketch.linear(x, first, (style.width, style.hidden), has_bias=style.has_hidden_bias)
        y = sketch.node(style.activation, (y,), f"{first}.{style.activation}")
        return sketch.linear(y, second, (style.hidden, style.width), has_bias=style.has_hidden_bias)

    return inner
