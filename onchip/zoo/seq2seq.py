"""Sequence to sequence with attention: the GRU translator of Bahdanau, Cho and Bengio (RNNsearch).

In:       batch (a symbol or a number), seq (words of the source), target (words of the translation so far), past, and
          the sizes: vocabulary, embedding (m), hidden (n, also n'), maxout (l).
Out:      a Graph from `input_ids` [batch, seq] and `decoder_input_ids` [batch, target] to the scores of the next words
          [batch, target, vocabulary]. past > 0: the decoder alone, behind any number of words: `state` [batch, hidden]
          is a state of the graph; `annotations` [batch, seq, 2 hidden] and `keys` [batch, seq, hidden] are inputs, made
          once per sentence.
Promises: the matrices of the paper's appendix A.2, named as there, without biases (the paper leaves them out).
          Decoder steps are unrolled and share their weights. The encoder's GRU resets before its product, as there.
Sources:  Bahdanau et al. 2015, appendices A and B.
"""

from __future__ import annotations

from dataclasses import dataclass

from onchip.errors import UsageError
from onchip.ir.graph import Graph
from onchip.ops.types import Dimension
from onchip.zoo.sketch import Sketch


@dataclass(frozen=True, slots=True)
class Decoder:
    """The decoder's constants, which every step shares, and the encoder's output."""

    sketch: Sketch
    hidden: int
    matrices: dict[str, str]
    annotations: str
    keys: str

    def multiply(self, x: str, matrix: str, name: str) -> str:
        """Return x times a shared matrix."""
        return self.sketch.node("linear", (x, self.matrices[matrix]), name)


def seq2seq_gru(
    *,
    weights: str | None = None,
    seed: int = 0,
    batch: Dimension = "batch",
    seq: int = 50,
    target: int = 1,
    past: int = 0,
    vocabulary: int = 30000,
    embedding: int = 620,
    hidden: int = 1000,
    maxout: int = 500,
) -> Graph:
    """Draw RNNsearch."""
    if min(seq, target) < 1 or past < 0:
        raise UsageError(
            "OC1003", "@seq2seq-gru", f"seq is {seq}, target {target}, past {past}", limit="at least 1, 1, 0"
        )
    sketch = Sketch("seq2seq-gru", weights=weights, seed=seed)
    sizes = {
        "E_y": (vocabulary, embedding), "W_a": (hidden, hidden), "v_a": (1, hidden),
        "W": (3 * hidden, embedding + 2 * hidden), "U": (3 * hidden, hidden),
        "U_o": (2 * maxout, hidden), "V_o": (2 * maxout, embedding), "C_o": (2 * maxout, 2 * hidden),
        "W_o": (vocabulary, maxout),
    }  # fmt: skip
    if past:
        state = sketch.input("state", (batch, hidden))
        annotations = sketch.input("annotations", (batch, seq, 2 * hidden))
        keys = sketch.input("keys", (batch, seq, hidden))
    else:
        table = sketch.constant("E_x", (vocabulary, embedding), scale=0.01)
        annotations, last = _encode(sketch, table, batch, seq, embedding=embedding, hidden=hidden)
        keys = sketch.linear(annotations, "U_a", (2 * hidden, hidden), has_bias=False)
        first = sketch.linear(last, "W_s", (hidden, hidden), has_bias=False)
        state = sketch.node("tanh", (first,), "s_0")
    matrices = {name: sketch.constant(name, shape, scale=shape[1] ** -0.5) for name, shape in sizes.items()}
    decoder, given = Decoder(sketch, hidden, matrices, annotations, keys), state
    ids = sketch.input("decoder_input_ids", (batch, target), "i64")
    words = sketch.node("gather", (matrices["E_y"], ids), "decoder.embedding")
    scores: list[str] = []
    for t in range(target):
        word = words if target == 1 else sketch.node("slice", (words,), f"step{t}.word", axis=1, start=t, stop=t + 1)
        score, state = _step(decoder, word, state, f"step{t}")
        scores.append(score)
    if past:
        sketch.state(given, state)
    return sketch.finish(scores[0] if target == 1 else sketch.node("concat", scores, "scores", axis=1))


def _encode(
    sketch: Sketch, table: str, batch: Dimension, seq: int, *, embedding: int, hidden: int
) -> tuple[str, str]:  # fmt: skip
    """Read the sentence in both directions; gives the annotations, and the backward state at the first word."""
    x = sketch.node("gather", (table, sketch.input("input_ids", (batch, seq), "i64")), "encoder.embedding")
    made: list[tuple[str, ...]] = []
    for way in ("forward", "backward"):
        name = f"encoder.{way}"
        inner = sketch.constant(f"{name}.W", (3 * hidden, embedding), scale=0.01)
        outer = sketch.constant(f"{name}.U", (3 * hidden, hidden), scale=hidden**-0.5)
        made.append(
            sketch.nodes(
                "gru", (x, inner, outer), name, hidden=hidden, reverse=way == "backward", linear_before_reset=False
            )
        )
    return sketch.node("concat", [y for y, _ in made], "annotations", axis=2), made[1][1]


def _step(decoder: Decoder, word: str, state: str, name: str) -> tuple[str, str]:
    """Attend with the old state, move to the new one, and score the words; gives (scores, new state)."""
    sketch, hidden = decoder.sketch, decoder.hidden
    row = sketch.node("reshape", (state,), f"{name}.row", shape=(0, 1, hidden))
    e = sketch.node("add", (decoder.keys, decoder.multiply(row, "W_a", f"{name}.query")), f"{name}.sum")
    e = decoder.multiply(sketch.node("tanh", (e,), f"{name}.tanh"), "v_a", f"{name}.energy")
    alpha = sketch.node("softmax", (sketch.node("transpose", (e,), f"{name}.turned", perm=(0, 2, 1)),), f"{name}.alpha")
    context = sketch.node("matmul", (alpha, decoder.annotations), f"{name}.context")
    both = sketch.node("concat", (word, context), f"{name}.input", axis=2)
    inputs = (both, decoder.matrices["W"], decoder.matrices["U"], "", "", state)
    _, new = sketch.nodes("gru", inputs, f"{name}.gru", hidden=hidden, linear_before_reset=False)
    parts = ((row, "U_o"), (word, "V_o"), (context, "C_o"))
    terms = [decoder.multiply(x, matrix, f"{name}.{matrix}") for x, matrix in parts]
    t = sketch.node("add", (sketch.node("add", terms[:2], f"{name}.add1"), terms[2]), f"{name}.add2")
    width = sketch.shape(t)[2]
    pairs = [sketch.node("slice", (t,), f"{name}.half{i}", axis=2, start=i, stop=int(width), step=2) for i in range(2)]
    t = sketch.node("maximum", pairs, f"{name}.maxout")
    return decoder.multiply(t, "W_o", f"{name}.scores"), new
