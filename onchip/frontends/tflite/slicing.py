"""STRIDED_SLICE: masks, and the axes that it takes away or brings in.

In:       an operator with constant begin, end and strides.
Out:      an index as NumPy takes it, one entry per axis of the operand.
Sources:  https://www.tensorflow.org/api_docs/python/tf/strided_slice
"""

from __future__ import annotations

from onchip.frontends.tflite.call import Call

MASKS = {"begin": 0, "end": 1, "ellipsis": 2, "new axis": 3, "shrink": 4}


def slices_of(call: Call, shape: tuple[int, ...]) -> tuple[slice | int, ...]:
    """Read the bounds; an integer stands for an axis that goes away."""
    begin, end, step = (call.integers(i, w) for i, w in ((1, "begin"), (2, "end"), (3, "strides")))
    masks = {name: call.option(place) for name, place in MASKS.items()}
    if masks["ellipsis"] or masks["new axis"] or call.flag(5):
        raise call.refuse("with an ellipsis, a new axis or offsets")
    if not len(begin) == len(end) == len(step) <= len(shape):
        raise call.contradiction(f"has {len(begin)} bounds for {len(shape)} axes")
    found: list[slice | int] = []
    for axis, (first, last, by) in enumerate(zip(begin, end, step, strict=True)):
        if by == 0:
            raise call.contradiction("has stride 0")
        bit, size = 1 << axis, shape[axis]
        if masks["shrink"] & bit:
            if not -size <= first < size:
                raise call.contradiction(f"takes index {first} of {size}")
            found.append(first % size)
            continue
        found.append(slice(None if masks["begin"] & bit else first, None if masks["end"] & bit else last, by))
    return tuple(found)
