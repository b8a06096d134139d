"""int8 maximum, minimum and comparisons against LiteRT's reference kernels and against the real values."""

# pyright: basic

import numpy as np
import pytest

from tests.ops.litert import T, f32, run, schema
from tests.ops.witness import int8, integers, off, q8, real

NODES = {
    "equal": "Equal", "greater": "Greater", "greater_equal": "GreaterEqual", "less": "Less", "less_equal": "LessEqual",
}  # fmt: skip
FUNCTIONS = {
    "equal": np.equal, "greater": np.greater, "greater_equal": np.greater_equal, "less": np.less,
    "less_equal": np.less_equal, "maximum": np.maximum, "minimum": np.minimum,
}  # fmt: skip
ALL = np.arange(-128, 128).astype(np.int8)


@pytest.mark.parametrize("name", ["maximum", "minimum"])
def test_extremes_equal_litert(name):
    rng = np.random.default_rng(1)
    a, b, p = int8(rng, 3, 4, 5), int8(rng, 4, 1), q8(f32(0.1), 9)
    inputs = [T(v, p.scale[0], 9, is_input=True) for v in (a, b)]
    want = run(name.upper(), schema.MaximumMinimumOptionsT(), inputs, [T(a.shape, p.scale[0], 9)], version=2)[0]
    np.testing.assert_array_equal(integers(name, {}, [p, p], [p], a, b)[0], want)


@pytest.mark.parametrize("name", ["maximum", "minimum"])
@pytest.mark.parametrize("mode", ["single", "double", "fp32"])
def test_extremes_of_other_scales(name, mode):
    """All 65,536 pairs."""
    pa, pb, py = q8(0.02, 5), q8(0.013, -90), q8(0.017, 3)
    (got,) = integers(name, {"rounding": mode}, [pa, pb], [py], ALL[:, None], ALL)
    assert off(got, FUNCTIONS[name](real(ALL, pa)[:, None], real(ALL, pb)), py) <= 0.501


@pytest.mark.parametrize("name", NODES)
@pytest.mark.parametrize("seed", range(4))
def test_comparisons_equal_litert(name, seed):
    rng = np.random.default_rng(seed)
    sa, sb = (f32(10 ** rng.uniform(-3, -0.1)) for _ in range(2))
    pa, pb = q8(sa, int(rng.integers(-128, 128))), q8(sb if seed else sa, int(rng.integers(-128, 128)))
    a, b = int8(rng, 4, 300), int8(rng, 4, 300)
    options = getattr(schema, f"{NODES[name]}OptionsT")()
    inputs = [T(v, p.scale[0], p.zero_point[0], is_input=True) for v, p in ((a, pa), (b, pb))]
    want = run(name.upper(), options, inputs, [T(a.shape, dtype="bool")], version=2)[0]
    np.testing.assert_array_equal(integers(name, {"rounding": "double"}, [pa, pb], [None], a, b)[0], want)


@pytest.mark.parametrize("name", NODES)
def test_comparisons_are_those_of_the_real_values(name):
    """All pairs; scales 3 : 1 meet exactly, 0.02 : 0.013 hardly ever."""
    for pa, pb in ((q8(0.75, 5), q8(0.25, -90)), (q8(0.02, 5), q8(0.013, -90)), (q8(0.1, 3), q8(0.1, 3))):
        (got,) = integers(name, {}, [pa, pb], [None], ALL[:, None], ALL)
        left, right = np.round(real(ALL, pa)[:, None], 9), np.round(real(ALL, pb), 9)
        np.testing.assert_array_equal(got, FUNCTIONS[name](left, right))
