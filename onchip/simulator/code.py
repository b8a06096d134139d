"""A kernel's code as arrays: its four streams behind each other, what the event engine and the interpreter walk.

In: records of `isa/fields.py` by field. Out: a tuple of arrays. Does not: anything; `clock.kernel_arrays` makes it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]


class Code(NamedTuple):
    """A kernel's records by field; `has` marks the affine operands that are not zero, `starts` the streams' borders."""

    ops: NDArray[np.uint8]
    waits: NDArray[np.uint8]
    signals: NDArray[np.uint8]
    subs: NDArray[np.uint8]
    integers: Ints
    affines: Ints
    has: NDArray[np.bool_]
    starts: Ints
