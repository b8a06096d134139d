"""Whisper-tiny: speech to text.

In:       batch (a symbol or a number), target (tokens of the decoder), past, frames (two a position).
Out:      a Graph to logits [batch, target, vocabulary]. past = 0: from `input_features` [batch, frames, 80] (log mel,
          channels last) and `decoder_input_ids` [batch, target]. past > 0: the decoder alone takes `target` tokens more
          behind `past` cached ones, with `position_ids` [1, target] (see encoder_decoder.py).
Promises: 37,760,640 parameters, the encoder's table of sines counted and the head sharing the decoder's table.
          The convolutions over time are 2-D ones over an image of height 1.
Sources:  Radford et al. 2022, section 2.2 and table 1; names of WhisperForConditionalGeneration.
"""

from __future__ import annotations

from onchip.errors import UsageError
from onchip.ir.graph import Graph
from onchip.ops.types import Dimension
from onchip.zoo.encoder_decoder import Drawing, Style, decoder, encoder
from onchip.zoo.sketch import Sketch

TINY = Style(384, 6, 1536, 4, activation="gelu", biased="qvo")
MELS, FRAMES, POSITIONS, VOCABULARY = 80, 3000, 448, 51865


def whisper_tiny(
    *,
    weights: str | None = None,
    seed: int = 0,
    batch: Dimension = "batch",
    target: int = 0,
    past: int = 0,
    frames: int = FRAMES,
) -> Graph:
    """Draw Whisper-tiny; target = 0 is all 448 tokens, or one behind a past."""
    target = target or (1 if past else POSITIONS)
    if not 1 <= target <= POSITIONS - past or past < 0 or frames % 2 or not 2 <= frames <= FRAMES:
        raise UsageError(
            "OC1003", "@whisper-tiny", f"target is {target}, past {past}, frames {frames}",
            limit=f"{POSITIONS} tokens and an even number of at most {FRAMES} frames",
        )  # fmt: skip
    sketch = Sketch("whisper-tiny", weights=weights, seed=seed)
    drawing = Drawing(sketch, TINY, batch, past)
    memory = encoder(drawing, _listen(sketch, batch, frames)) if past == 0 else ""
    ids = sketch.input("decoder_input_ids", (batch, target), "i64")
    table = sketch.constant("model.decoder.embed_tokens.weight", (VOCABULARY, TINY.width), scale=0.02)
    positions = sketch.constant("model.decoder.embed_positions.weight", (POSITIONS, TINY.width), scale=0.02)
    x, name = sketch.node("gather", (table, ids), "model.decoder.embed_tokens"), "model.decoder.embed_positions"
    if past:
        at = sketch.node("gather", (positions, sketch.input("position_ids", (1, target), "i64")), name)
    else:
        at = sketch.node("slice", (positions,), name, axis=0, start=0, stop=target)
    x = sketch.node("add", (x, at), f"{name}.add")
    x = decoder(drawing, x, memory=memory, length=frames // 2)
    return sketch.finish(sketch.node("linear", (x, table), "proj_out"))


def _listen(sketch: Sketch, batch: Dimension, frames: int) -> str:
    """Draw the two convolutions over time, and add the positions."""
    x = sketch.input("input_features", (batch, frames, MELS))
    x = sketch.node("reshape", (x,), "model.encoder.image", shape=(0, 1, frames, MELS))
    given = MELS
    for i in (1, 2):
        name = f"model.encoder.conv{i}"
        x = sketch.conv2d(
            x, name, channels=(given, TINY.width), kernel=(1, 3), stride=(1, i), padding=(0, 0, 1, 1), has_bias=True
        )  # fmt: skip
        x, given = sketch.node("gelu", (x,), f"{name}.gelu"), TINY.width
    x = sketch.node("reshape", (x,), "model.encoder.frames", shape=(0, frames // 2, TINY.width))
    positions = sketch.constant("model.encoder.embed_positions.weight", (FRAMES // 2, TINY.width), scale=0.02)
    if frames < FRAMES:
        positions = sketch.node(
            "slice", (positions,), "model.encoder.embed_positions", axis=0, start=0, stop=frames // 2
        )  # fmt: skip
    return sketch.node("add", (x, positions), "model.encoder.embed_positions.add")
