"""BERT-base and BERT-large: the encoder with its pooler.

In:       batch and seq (symbols or numbers), the size of the vocabulary.
Out:      a Graph from `input_ids` and `token_type_ids` [batch, seq] to `pooler.tanh` [batch, width] and the last
          hidden state [batch, seq, width].
Promises: 109,482,240 and 335,141,888 parameters. Base at seq = 128: 11.17 GMAC, without a mask (sequences of full
          length).
          With seq a symbol nothing can be cut along it: the positions are a third input, `position_ids` [1, seq], and
          the pooler is left out.
Sources:  Devlin et al. 2019, section 3; names of BertModel in Hugging Face transformers, whose count this is;
          22.5 GFLOP at 128 tokens: Sun et al. 2020 (MobileBERT), table 4.
"""

from __future__ import annotations

from dataclasses import dataclass

from onchip.errors import UsageError
from onchip.ir.graph import Graph
from onchip.ops.types import Dimension
from onchip.zoo.sketch import Sketch

POSITIONS, EPSILON = 512, 1e-12


@dataclass(frozen=True, slots=True)
class Size:
    """Width, heads and layers; the feed-forward is four times as wide."""

    width: int
    heads: int
    layers: int


BERTS: dict[str, Size] = {"bert-base": Size(768, 12, 12), "bert-large": Size(1024, 16, 24)}


def bert(
    name: str,
    /,
    *,
    weights: str | None = None,
    seed: int = 0,
    batch: Dimension = "batch",
    seq: Dimension = 128,
    vocabulary: int = 30522,
    layers: int = 0,
) -> Graph:
    """Draw one of BERTS; layers = 0 is its own number."""
    if isinstance(seq, int) and not 1 <= seq <= POSITIONS:
        raise UsageError("OC1003", f"@{name}", f"seq is {seq}", limit=f"BERT has positions for 1 to {POSITIONS} tokens")
    size = BERTS[name]
    sketch = Sketch(name, weights=weights, seed=seed)
    x = _embeddings(sketch, batch, seq, vocabulary=vocabulary, width=size.width)
    for layer in range(layers or size.layers):
        x = _layer(sketch, x, f"encoder.layer.{layer}", size)
    if isinstance(seq, str):
        return sketch.finish(x)
    first = sketch.node("slice", (x,), "pooler.first", axis=1, start=0, stop=1)
    first = sketch.node("reshape", (first,), "pooler.token", shape=(0, size.width))
    pooled = sketch.linear(first, "pooler.dense", (size.width, size.width))
    return sketch.finish(sketch.node("tanh", (pooled,), "pooler.tanh"), x)


def _embeddings(sketch: Sketch, batch: Dimension, seq: Dimension, *, vocabulary: int, width: int) -> str:
    name = "embeddings"
    ids = sketch.input("input_ids", (batch, seq), "i64")
    types = sketch.input("token_type_ids", (batch, seq), "i64")
    tables = {
        kind: sketch.constant(f"{name}.{kind}_embeddings.weight", (rows, width), scale=0.02)
        for kind, rows in (("word", vocabulary), ("position", POSITIONS), ("token_type", 2))
    }
    word = sketch.node("gather", (tables["word"], ids), f"{name}.word_embeddings")
    kind = sketch.node("gather", (tables["token_type"], types), f"{name}.token_type_embeddings")
    if isinstance(seq, int):
        at = sketch.node("slice", (tables["position"],), f"{name}.position_embeddings", axis=0, start=0, stop=seq)
    else:
        places = sketch.input("position_ids", (1, seq), "i64")
        at = sketch.node("gather", (tables["position"], places), f"{name}.position_embeddings")
    x = sketch.node("add", (sketch.node("add", (word, kind), f"{name}.add_types"), at), f"{name}.add_positions")
    return sketch.layer_norm(x, f"{name}.LayerNorm", width, eps=EPSILON)


def _layer(sketch: Sketch, x: str, name: str, size: Size) -> str:
    own, width, hidden = f"{name}.attention", size.width, 4 * size.width
    q, k, v = (sketch.linear(x, f"{own}.self.{part}", (width, width)) for part in ("query", "key", "value"))
    y = sketch.node("attention", (q, k, v), f"{own}.self", heads=size.heads, scale=(width // size.heads) ** -0.5)
    y = sketch.linear(y, f"{own}.output.dense", (width, width))
    x = sketch.node("add", (y, x), f"{own}.output.add")
    x = sketch.layer_norm(x, f"{own}.output.LayerNorm", width, eps=EPSILON)
    y = sketch.linear(x, f"{name}.intermediate.dense", (width, hidden))
    y = sketch.node("gelu", (y,), f"{name}.intermediate.gelu")
    y = sketch.linear(y, f"{name}.output.dense", (hidden, width))
    return sketch.layer_norm(
        sketch.node("add", (y, x), f"{name}.output.add"), f"{name}.output.LayerNorm", width, eps=EPSILON
    )
