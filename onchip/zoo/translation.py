"""Text to text: the original transformer (base) and T5-small.

In:       batch (a symbol or a number), seq (tokens of the encoder), target (tokens of the decoder), past, vocabulary.
Out:      a Graph to logits [batch, target, vocabulary]. past = 0: encoder and decoder run once over `input_ids` and
          `decoder_input_ids`. past > 0: the decoder alone takes `target` tokens more behind `past` cached ones; what
          depends on the place of the step is an input: `decoder.positions` [target, width], T5's `decoder.bias`.
Promises: one table serves both sides and the head. The base model adds sines and normalises behind each addition (its
          names are Marian's, whose layers are the same); T5 adds a bias per distance and does not scale its scores.
          The base model's vocabulary is 37,000 by default, which the paper calls "about 37000".
Sources:  Vaswani et al. 2017, sections 3 and 5.1; Raffel et al. 2020, section 2.1; Hugging Face transformers, t5.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from onchip.errors import UsageError
from onchip.ir.graph import Graph
from onchip.ops.types import Dimension
from onchip.zoo.encoder_decoder import Drawing, Style, decoder, encoder
from onchip.zoo.sketch import Sketch

T5_NAMES = {
    "encoder.self_attn": "layer.0.SelfAttention", "encoder.self_attn_layer_norm": "layer.0.layer_norm",
    "encoder.fc1": "layer.1.DenseReluDense.wi", "encoder.fc2": "layer.1.DenseReluDense.wo",
    "encoder.final_layer_norm": "layer.1.layer_norm",
    "decoder.self_attn": "layer.0.SelfAttention", "decoder.self_attn_layer_norm": "layer.0.layer_norm",
    "decoder.encoder_attn": "layer.1.EncDecAttention", "decoder.encoder_attn_layer_norm": "layer.1.layer_norm",
    "decoder.fc1": "layer.2.DenseReluDense.wi", "decoder.fc2": "layer.2.DenseReluDense.wo",
    "decoder.final_layer_norm": "layer.2.layer_norm",
    "q_proj": "q", "k_proj": "k", "v_proj": "v", "out_proj": "o", "layer_norm": "final_layer_norm",
}  # fmt: skip
T5 = Style(
    512, 8, 2048, 6, "{}.block", T5_NAMES, norm="rms_norm", eps=1e-6, biased="", has_hidden_bias=False, scale=1.0
)
BUCKETS, FARTHEST = 32, 128  # Raffel et al. 2020, section 2.1


def transformer_base(
    *,
    weights: str | None = None,
    seed: int = 0,
    batch: Dimension = "batch",
    seq: int = 128,
    target: int = 0,
    past: int = 0,
    vocabulary: int = 37000,
    layers: int = 6,
    d_model: int = 512,
    d_ff: int = 2048,
    heads: int = 8,
) -> Graph:
    """Draw the base model of "Attention is all you need"; target = 0 is as many tokens as seq, or one behind a past."""
    target = _checked("transformer-base", seq, target, past)
    style = Style(d_model, heads, d_ff, layers, is_pre_norm=False, biased="")
    drawing = Drawing(Sketch("transformer-base", weights=weights, seed=seed), style, batch, past)
    sketch = drawing.sketch
    table = sketch.constant("model.shared.weight", (vocabulary, d_model), scale=d_model**-0.5)
    factor = sketch.known("embed_scale", np.array(d_model**0.5, np.float32))

    def embed(name: str, side: str, length: int) -> str:
        ids = sketch.input(name, (batch, length), "i64")
        x = sketch.node("gather", (table, ids), f"model.{side}.embed_tokens")
        x = sketch.node("mul", (x, factor), f"model.{side}.embed_scale")
        is_step = past > 0
        at = (
            sketch.input(f"{side}.positions", (length, d_model))
            if is_step
            else sketch.known(f"model.{side}.embed_positions.weight", sines(length, d_model))
        )
        return sketch.node("add", (x, at), f"model.{side}.embed_positions")

    memory = encoder(drawing, embed("input_ids", "encoder", seq)) if past == 0 else ""
    x = decoder(drawing, embed("decoder_input_ids", "decoder", target), memory=memory, length=seq)
    return sketch.finish(sketch.node("linear", (x, table), "lm_head"))


def t5_small(
    *,
    weights: str | None = None,
    seed: int = 0,
    batch: Dimension = "batch",
    seq: int = 128,
    target: int = 0,
    past: int = 0,
    vocabulary: int = 32128,
) -> Graph:
    """Draw T5-small; target = 0 is as many tokens as seq, or one behind a past."""
    target = _checked("t5-small", seq, target, past)
    drawing = Drawing(Sketch("t5-small", weights=weights, seed=seed), T5, batch, past)
    sketch = drawing.sketch
    table = sketch.constant("shared.weight", (vocabulary, T5.width), scale=1.0)

    def embed(name: str, side: str, length: int) -> str:
        return sketch.node("gather", (table, sketch.input(name, (batch, length), "i64")), f"{side}.embed_tokens")

    memory = ""
    if past == 0:
        memory = encoder(drawing, embed("input_ids", "encoder", seq), bias=_bias(sketch, "encoder", seq))
    x = embed("decoder_input_ids", "decoder", target)
    bias = (
        sketch.input("decoder.bias", (1, T5.heads, target, past + target)) if past else _bias(sketch, "decoder", target)
    )
    x = decoder(drawing, x, memory=memory, length=seq, bias=bias)
    x = sketch.node("mul", (x, sketch.known("logit_scale", np.array(T5.width**-0.5, np.float32))), "decoder.scaled")
    return sketch.finish(sketch.node("linear", (x, table), "lm_head"))


def _checked(name: str, seq: int, target: int, past: int) -> int:
    if min(seq, target + 1, past + 1) < 1:
        raise UsageError("OC1003", f"@{name}", f"seq is {seq}, target {target}, past {past}", limit="none is negative")
    return target or (1 if past else seq)


def _bias(sketch: Sketch, side: str, length: int) -> str:
    """Gather T5's learned bias of each pair of tokens: [1, heads, length, length]."""
    name = f"{side}.block.0.layer.0.SelfAttention.relative_attention_bias"
    table = sketch.constant(f"{name}.weight", (BUCKETS, T5.heads), scale=0.1)
    index = sketch.known(f"{name}.buckets", buckets(length, is_both_ways=side == "encoder"))
    bias = sketch.node("transpose", (sketch.node("gather", (table, index), name),), f"{name}.heads", perm=(2, 0, 1))
    return sketch.node("reshape", (bias,), f"{name}.scores", shape=(1, T5.heads, length, length))


def buckets(length: int, *, is_both_ways: bool) -> NDArray[np.int64]:
    """Give the bucket of the distance from row i to column j: exact when near, logarithmic when far, last at 128."""
    at = np.arange(length)
    ahead = at[None, :] - at[:, None]
    count = BUCKETS // 2 if is_both_ways else BUCKETS
    first = np.where(ahead > 0, count, 0) if is_both_ways else np.zeros_like(ahead)
    distance = np.abs(ahead) if is_both_ways else np.maximum(-ahead, 0)
    exact = count // 2
    steps = np.log(np.maximum(distance, 1) / exact) / np.log(FARTHEST / exact) * (count - exact)
    far = np.minimum(exact + steps.astype(np.int64), count - 1)
    return (first + np.where(distance < exact, distance, far)).astype(np.int64)


def sines(length: int, width: int) -> NDArray[np.float32]:
    """Give the positions [length, width]: sin and cos of pos / 10000^(2i/width) in turn (Vaswani 2017, 3.5)."""
    angles = np.arange(length)[:, None] / 10000.0 ** (np.arange(0, width, 2) / width)
    return np.stack([np.sin(angles), np.cos(angles)], axis=-1).reshape(length, width).astype(np.float32)
