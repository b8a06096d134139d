"""Llama at any size: a decoder with rotary positions, RMS norm, grouped keys and a gated feed-forward.

In:       batch and seq (symbols or numbers), past, and the sizes: dim, layers, heads, kv_heads, hidden, vocabulary;
          `logits` of "all" tokens or the "last".
Out:      a Graph from `input_ids` [batch, seq] and the angles `rotary.cos`, `rotary.sin` [seq, dim/heads/2] of the
          tokens' positions to logits; names are those of LlamaForCausalLM. past = 0 reads a prompt; past > 0 reads seq
          more tokens behind `past` cached ones, whose keys and values are states (see cache.py); `is_masked` asks for
          `attention_mask` [1, 1, seq, past + seq], True = may attend: a cache that is not full yet (decode.py).
Promises: the sizes of SIZES have the published number of parameters; without weights nothing is allocated. The head is
          its own matrix, but for llama-260k, whose head is the table of the tokens, as published.
Sources:  Touvron et al. 2023, table 2 and Llama 2, table 1; Dubey et al. 2024, table 3; karpathy/tinyllamas
          (stories260K); Hugging Face transformers, llama.
"""

from __future__ import annotations

from dataclasses import dataclass

from onchip.errors import UsageError
from onchip.ir.graph import Graph
from onchip.ops.types import Dimension
from onchip.zoo.cache import append, last_token
from onchip.zoo.sketch import Sketch


@dataclass(frozen=True, slots=True)
class Size:
    """The shape of one Llama."""

    dim: int
    layers: int
    heads: int
    kv_heads: int
    hidden: int
    vocabulary: int
    is_tied: bool = False
    eps: float = 1e-5

    def __post_init__(self) -> None:
        numbers = (self.dim, self.layers, self.heads, self.kv_heads, self.hidden, self.vocabulary)
        if min(numbers) < 1 or self.dim % (2 * self.heads) or self.heads % self.kv_heads:
            fact = f"dim {self.dim} in {self.heads} heads over {self.kv_heads} key heads"
            raise UsageError(
                "OC1003", "@llama", fact, limit="heads divide dim into even widths, kv_heads divides heads"
            )

    @property
    def kv_width(self) -> int:
        """Return the width of keys and values."""
        return self.dim // self.heads * self.kv_heads


SIZES: dict[str, Size] = {
    "llama-260k": Size(64, 5, 8, 4, 172, 512, is_tied=True),
    "llama2-7b": Size(4096, 32, 32, 32, 11008, 32000),
    "llama3-8b": Size(4096, 32, 32, 8, 14336, 128256),
    "llama3-70b": Size(8192, 80, 64, 8, 28672, 128256),
}


def llama(
    name: str,
    /,
    *,
    weights: str | None = None,
    seed: int = 0,
    batch: Dimension = "batch",
    seq: Dimension = 128,
    past: int = 0,
    is_masked: bool = False,
    logits: str = "all",
    dim: int = 0,
    layers: int = 0,
    heads: int = 0,
    kv_heads: int = 0,
    hidden: int = 0,
    vocabulary: int = 0,
) -> Graph:
    """Draw one of SIZES; a size of 0 is that of the name."""
    known = SIZES[name]
    size = Size(
        dim or known.dim, layers or known.layers, heads or known.heads, kv_heads or known.kv_heads,
        hidden or known.hidden, vocabulary or known.vocabulary, known.is_tied,
    )  # fmt: skip
    if past < 0:
        raise UsageError("OC1003", f"@{name}", f"past is {past}", limit="it is at least 0")
    sketch = Sketch(name, weights=weights, seed=seed)
    ids = sketch.input("input_ids", (batch, seq), "i64")
    angles = [sketch.input(f"rotary.{part}", (seq, size.dim // size.heads // 2)) for part in ("cos", "sin")]
    mask = ""
    if is_masked:
        if not isinstance(seq, int):
            raise UsageError("OC1003", f"@{name}", f"seq is the symbol '{seq}'", limit="with a mask it is a number")
        mask = sketch.input("attention_mask", (1, 1, seq, past + seq), "bool")
    tokens = sketch.constant("model.embed_tokens.weight", (size.vocabulary, size.dim), scale=0.02)
    x = sketch.node("gather", (tokens, ids), "model.embed_tokens")
    for layer in range(size.layers):
        x = _layer(sketch, x, f"model.layers.{layer}", size, angles=angles, batch=batch, past=past, mask=mask)
    x = last_token(sketch, sketch.rms_norm(x, "model.norm", size.dim, eps=size.eps), logits)
    if size.is_tied:
        return sketch.finish(sketch.node("linear", (x, tokens), "lm_head"))
    return sketch.finish(sketch.linear(x, "lm_head", (size.dim, size.vocabulary), has_bias=False))


def _layer(
    sketch: Sketch, x: str, name: str, size: Size, *, angles: list[str], batch: Dimension, past: int, mask: str
) -> str:  # fmt: skip
    own, dim, kv = f"{name}.self_attn", size.dim, size.kv_width
    y = sketch.rms_norm(x, f"{name}.input_layernorm", dim, eps=size.eps)
    q = sketch.linear(y, f"{own}.q_proj", (dim, dim), has_bias=False)
    k, v = (sketch.linear(y, f"{own}.{part}_proj", (dim, kv), has_bias=False) for part in "kv")
    q = sketch.node("rotary", (q, *angles), f"{own}.q_rotary", heads=size.heads)
    k = sketch.node("rotary", (k, *angles), f"{own}.k_rotary", heads=size.kv_heads)
    k = append(sketch, k, f"{own}.past_key", batch=batch, past=past)
    v = append(sketch, v, f"{own}.past_value", batch=batch, past=past)
    given = (q, k, v, mask) if mask else (q, k, v)
    y = sketch.node("attention", given, own, heads=size.heads, kv_heads=size.kv_heads, causal=not mask)
    x = sketch.node("add", (x, sketch.linear(y, f"{own}.o_proj", (dim, dim), has_bias=False)), f"{name}.add1")
    y = sketch.rms_norm(x, f"{name}.post_attention_layernorm", dim, eps=size.eps)
    gate, up = (sketch.linear(y, f"{name}.mlp.{p}_proj", (dim, size.hidden), has_bias=False) for p in ("gate", "up"))
    y = sketch.node("mul", (sketch.node("silu", (gate,), f"{name}.mlp.act_fn"), up), f"{name}.mlp.mul")
    return sketch.node(
        "add", (x, sketch.linear(y, f"{name}.mlp.down_proj", (size.hidden, dim), has_bias=False)), f"{name}.add2"
    )
