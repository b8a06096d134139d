"""Ops that copy int8 values: the same bits as the float op copies, refused where scales differ."""

# pyright: basic

import numpy as np
import pytest

from onchip.ops.types import Refusal
from tests.ops.witness import int8, integers, ours, q8

P = q8(0.1, -5)
IDS = np.array([[0, 1], [2, 0]])
CASES = [
    ("broadcast_to", {"shape": (3, 4, 5)}, (4, 5), []),
    ("tile", {"repeats": (2, 3)}, (4, 5), []),
    ("gather_elements", {"axis": 1}, (4, 5), [IDS]),
    ("gather_nd", {}, (4, 5), [IDS]),
    ("gather", {"axis": 1}, (4, 5), [IDS]),
    ("scatter_nd", {}, (4, 5), [IDS, (2,)]),
    ("scatter_elements", {"axis": 0, "reduction": "max"}, (4, 5), [IDS, (2, 2)]),
    ("top_k", {"k": 3}, (4, 5), []),
    ("reduce_max", {"axes": (1,)}, (4, 5), []),
    ("reduce_min", {"axes": (0,)}, (4, 5), []),
    ("depth_to_space", {"block": 2, "mode": "CRD"}, (1, 2, 2, 8), []),
    ("space_to_depth", {"block": 2}, (1, 2, 2, 8), []),
]


@pytest.mark.parametrize(("name", "attributes", "shape", "more"), CASES)
def test_copies(name, attributes, shape, more):
    rng = np.random.default_rng(0)
    x = int8(rng, *shape)
    arrays = [x, *(int8(rng, *m) if isinstance(m, tuple) else m for m in more)]
    given = [P if a.dtype == np.int8 else None for a in arrays]
    for got, want in zip(
        integers(name, attributes, given, [P, None], *arrays), ours(name, attributes, *arrays), strict=True
    ):
        np.testing.assert_array_equal(got, want)
    if name in ("gather", "reduce_max", "reduce_min"):
        return  # gather leaves the check to the graph; the reductions requantize
    with pytest.raises(Refusal, match="equal quantization"):
        integers(name, attributes, given, [q8(0.2), None], *arrays)


def test_values_that_stand_for_reals():
    x = int8(np.random.default_rng(1), 4, 4)
    (got,) = integers("trilu", {"upper": False}, [P], [P], x)
    np.testing.assert_array_equal(got, np.where(np.tri(4, dtype=bool), x, -5))
    (got,) = integers("one_hot", {"depth": 3, "on": 1.0, "dtype": "i8"}, [None], [P], np.array([2, 5]))
    np.testing.assert_array_equal(got, [[-5, -5, 5], [-5, -5, -5]])
    with pytest.raises(Refusal, match="'add' has no integer meaning"):
        arrays = (x, np.array([[0]]), x[:1])
        integers("scatter_nd", {"reduction": "add"}, [P, None, P], [P], *arrays)
    (got,) = integers("cast", {"dtype": "i8"}, [None], [None], np.array([-3.7, 4.2]))
    np.testing.assert_array_equal(got, [-3, 4])
