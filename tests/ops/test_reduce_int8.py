"""int8 reductions against LiteRT's reference kernels and against float64."""

# pyright: basic

import numpy as np
import pytest

from onchip.ops.types import Refusal
from tests.ops.litert import T, f32, run, schema
from tests.ops.witness import int8, integers, off, q8, real

AXES = [(1, 2), (0,), (-1,), (0, 3)]


def litert(builtin, x, axes, given, made, *, keep=True):
    options = schema.ReducerOptionsT()
    options.keepDims = keep
    shape = tuple(x.sum(axis=axes, keepdims=keep).shape)
    shift = 128 if builtin == "SUM" else 0  # SUM of int8 reads the bytes as uint8: only its uint8 form is a witness
    x = (x.astype(np.int16) + shift).astype(np.uint8) if shift else x
    inputs = [T(x, given.scale[0], given.zero_point[0] + shift, is_input=True), T(np.array(axes, np.int32))]
    output = T(shape, made.scale[0], made.zero_point[0] + shift, dtype=str(x.dtype))
    return run(builtin, options, inputs, [output], version=2)[0].astype(np.int16) - shift


@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize("axes", AXES)
def test_sum_equals_litert(axes, keep):
    x = int8(np.random.default_rng(len(axes)), 3, 5, 6, 7)
    given, made = q8(f32(0.05), -20), q8(f32(0.31), 4)
    (got,) = integers("sum", {"axes": axes, "keepdims": keep, "rounding": "double"}, [given], [made], x)
    np.testing.assert_array_equal(got, litert("SUM", x, axes, given, made, keep=keep))


@pytest.mark.parametrize(("name", "builtin"), [("reduce_max", "REDUCE_MAX"), ("reduce_min", "REDUCE_MIN")])
@pytest.mark.parametrize("axes", AXES)
def test_extremes_equal_litert(name, builtin, axes):
    x, p = int8(np.random.default_rng(0), 3, 5, 6, 7), q8(f32(0.05), -20)
    (got,) = integers(name, {"axes": axes, "keepdims": True}, [p], [p], x)
    np.testing.assert_array_equal(got, litert(builtin, x, axes, p, p))


@pytest.mark.parametrize("axes", [(1,), (2,), (1, 2), (0, 2)])
def test_prod_equals_litert(axes):
    rng = np.random.default_rng(len(axes))
    for _ in range(12):
        x, given = int8(rng, 20, 3, 20), q8(f32(rng.uniform(0.005, 0.03)), int(rng.integers(-128, 128)))
        x = x if axes == (1,) else x[:, :, :4] if 0 not in axes else x[:2, :, :4]
        made = q8(f32(10 ** rng.uniform(-3, 0)), int(rng.integers(-100, 100)))
        n = int(np.prod([x.shape[a] for a in axes]))
        (got,) = integers("prod", {"axes": axes, "keepdims": True}, [given], [made], x)
        want = litert("REDUCE_PROD", x, axes, given, made)
        factor = given.scale[0] / made.scale[0] ** (1 / n)
        largest = np.abs(x.astype(float) - given.zero_point[0]).max() ** n * max(factor, factor**n)
        if largest < 2.0**31:  # beyond, the kernel's 32 bits wrap
            np.testing.assert_array_equal(got, want)
        else:
            exact = np.prod(real(x, given), axis=axes, keepdims=True)
            big = np.abs(exact) > 300 * made.scale[0]
            assert (np.sign(got[big].astype(int) - made.zero_point[0]) == np.sign(exact[big])).all()


WITNESSES = {
    "sum": lambda r, axes: r.sum(axis=axes),
    "sum_squares": lambda r, axes: (r * r).sum(axis=axes),
    "l2_norm": lambda r, axes: np.sqrt((r * r).sum(axis=axes)),
    "reduce_max": lambda r, axes: r.max(axis=axes),
    "reduce_min": lambda r, axes: r.min(axis=axes),
    "variance": lambda r, axes: r.var(axis=axes),
}


def hard(rng, kind, shape):
    if kind == "extremes":
        return rng.choice([-128, 127], shape).astype(np.int8)
    if kind == "nearly constant":
        x = np.full(shape, int(rng.integers(-128, 128)), np.int8)
        x[..., 0] = rng.integers(-128, 128, shape[:-1])
        return x
    return int8(rng, *shape)


@pytest.mark.parametrize("kind", ["random", "extremes", "nearly constant"])
@pytest.mark.parametrize("shape", [(40, 1, 1), (9, 5, 20), (9, 3, 1000), (2, 2, 4096)])
@pytest.mark.parametrize("name", WITNESSES)
def test_within_one_of_float(name, shape, kind):
    rng = np.random.default_rng(shape[-1])
    for mode in ("single", "double", "fp32"):
        x = hard(rng, kind, shape)
        given = q8(10 ** rng.uniform(-2, 0), int(rng.integers(-128, 128)))
        want = WITNESSES[name](real(x, given), (1, 2))
        top = max(float(np.abs(want).max()), 1e-3)
        for made in (q8(top / 250, -128), q8(top / 40, 17), q8(top * 3, 0)):
            (got,) = integers(name, {"axes": (1, 2), "rounding": mode}, [given], [made], x)
            assert off(got, want, made) <= (0.76 if mode == "double" else 0.51)


def test_sample_variance():
    x, given, made = int8(np.random.default_rng(1), 30, 11), q8(0.03, 9), q8(0.02, -128)
    (got,) = integers("variance", {"axes": (1,), "correction": 1}, [given], [made], x)
    assert off(got, real(x, given).var(axis=1, ddof=1), made) <= 0.51
    with pytest.raises(Refusal, match="its sums hold 8192"):
        integers("variance", {"axes": (1,)}, [given], [made], int8(np.random.default_rng(2), 1, 8193))


@pytest.mark.parametrize("attributes", [{}, {"exclusive": True}, {"reverse": True}])
def test_cumsum(attributes):
    x, given, made = int8(np.random.default_rng(3), 4, 9, 5), q8(0.03, 9), q8(0.2, -8)
    (got,) = integers("cumsum", {"axis": 1, **attributes}, [given], [made], x)
    r = real(x, given)
    want = np.flip(np.cumsum(np.flip(r, 1), axis=1), 1) if "reverse" in attributes else np.cumsum(r, axis=1)
    want = want - r if "exclusive" in attributes else want
    assert off(got, want, made) <= 0.501
