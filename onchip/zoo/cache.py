"""What decoders share: keys and values that stay from one run to the next, and the last token of a prompt.

In:       the keys or values of this run's tokens, and how many tokens are cached.
Out:      the keys or values of all of them.
Promises: the cache is a state of constant length: it gives its `past` newest rows to the next run, so the oldest rows
          leave. One run is the steady step of a decoder behind `past` tokens.
"""

from __future__ import annotations

from onchip.errors import UsageError
from onchip.ops.types import Dimension
from onchip.zoo.sketch import Sketch


def append(sketch: Sketch, x: str, name: str, *, batch: Dimension, past: int) -> str:
    """Put the rows of x [batch, seq, width] behind the cached ones; without a cache x is all there is."""
    if past == 0:
        return x
    _, seq, width = sketch.shape(x)
    if not isinstance(seq, int):
        raise UsageError("OC1003", name, f"seq is the symbol '{seq}'", limit="with a cache it has to be a number")
    cached = sketch.input(name, (batch, past, width))
    both = sketch.node("concat", (cached, x), f"{name}.concat", axis=1)
    sketch.state(cached, sketch.node("slice", (both,), f"{name}.next", axis=1, start=seq, stop=past + seq))
    return both


def last_token(sketch: Sketch, x: str, logits: str) -> str:
    """Keep what the head has to read: all tokens, or the last one."""
    if logits not in ("all", "last"):
        raise UsageError("OC1003", "logits", f"'{logits}' is neither 'all' nor 'last'")
    seq = sketch.shape(x)[1]
    if logits == "all" or seq == 1:
        return x
    if not isinstance(seq, int):
        raise UsageError("OC1003", "logits", f"seq is the symbol '{seq}'", limit="'last' needs a number")
    return sketch.node("slice", (x,), "last_token", axis=1, start=seq - 1, stop=seq)
