"""GPT-2 small: a decoder with learned positions and tied embeddings.

In:       batch and seq (symbols or numbers), past, the size of the vocabulary, `logits` of "all" tokens or the "last".
Out:      a Graph from `input_ids` [batch, seq] to logits [batch, seq or 1, vocabulary]; names are those of
          GPT2LMHeadModel, the three parts of `c_attn` being nodes of their own (and linear, not Hugging Face's Conv1D).
          past = 0 reads a prompt. past > 0 reads seq more tokens behind `past` cached ones: keys and values are states
          [batch, past, 768] that drop their oldest rows, and the positions are an input, `position_ids` [1, seq].
Promises: 124,439,808 parameters, the head sharing the table of the tokens; the attention counts whole rows of scores.
Sources:  Radford et al. 2019, table 2; Hugging Face transformers, gpt2.
"""

from __future__ import annotations

from onchip.errors import UsageError
from onchip.ir.graph import Graph
from onchip.ops.types import Dimension
from onchip.zoo.cache import append, last_token
from onchip.zoo.sketch import Sketch

WIDTH, HEADS, LAYERS, POSITIONS, EPSILON = 768, 12, 12, 1024, 1e-5


def gpt2(
    *,
    weights: str | None = None,
    seed: int = 0,
    batch: Dimension = "batch",
    seq: Dimension = 128,
    past: int = 0,
    vocabulary: int = 50257,
    layers: int = LAYERS,
    logits: str = "all",
) -> Graph:
    """Draw GPT-2 small."""
    if past < 0 or (isinstance(seq, int) and not 1 <= past + seq <= POSITIONS):
        fact = f"past is {past} and seq {seq}"
        raise UsageError("OC1003", "@gpt2", fact, limit=f"GPT-2 has positions for 1 to {POSITIONS} tokens")
    sketch = Sketch("gpt2", weights=weights, seed=seed)
    ids = sketch.input("input_ids", (batch, seq), "i64")
    tokens = sketch.constant("transformer.wte.weight", (vocabulary, WIDTH), scale=0.02)
    positions = sketch.constant("transformer.wpe.weight", (POSITIONS, WIDTH), scale=0.02)
    if isinstance(seq, int) and past == 0:
        at = sketch.node("slice", (positions,), "transformer.wpe", axis=0, start=0, stop=seq)
    else:
        at = sketch.node("gather", (positions, sketch.input("position_ids", (1, seq), "i64")), "transformer.wpe")
    x = sketch.node("add", (sketch.node("gather", (tokens, ids), "transformer.wte"), at), "transformer.add_positions")
    for layer in range(layers):
        x = _layer(sketch, x, f"transformer.h.{layer}", batch=batch, past=past)
    x = last_token(sketch, sketch.layer_norm(x, "transformer.ln_f", WIDTH, eps=EPSILON), logits)
    return sketch.finish(sketch.node("linear", (x, tokens), "lm_head"))


def _layer(sketch: Sketch, x: str, name: str, *, batch: Dimension, past: int) -> str:
    y = sketch.layer_norm(x, f"{name}.ln_1", WIDTH, eps=EPSILON)
    q, k, v = (sketch.linear(y, f"{name}.attn.c_attn.{part}", (WIDTH, WIDTH)) for part in ("query", "key", "value"))
    k = append(sketch, k, f"{name}.attn.past_key", batch=batch, past=past)
    v = append(sketch, v, f"{name}.attn.past_value", batch=batch, past=past)
    y = sketch.node("attention", (q, k, v), f"{name}.attn", heads=HEADS, causal=True)
    x = sketch.node("add", (x, sketch.linear(y, f"{name}.attn.c_proj", (WIDTH, WIDTH))), f"{name}.add1")
    y = sketch.linear(sketch.layer_norm(x, f"{name}.ln_2", WIDTH, eps=EPSILON), f"{name}.mlp.c_fc", (WIDTH, 4 * WIDTH))
    y = sketch.node("gelu", (y,), f"{name}.mlp.act", approximate="tanh")
    return sketch.node("add", (x, sketch.linear(y, f"{name}.mlp.c_proj", (4 * WIDTH, WIDTH))), f"{name}.add2")
