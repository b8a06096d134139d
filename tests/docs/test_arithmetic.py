"""docs/arithmetic.md written down again, from the page alone, in plain Python integers, and compared with the code.

The first part uses nothing of onchip: it is what a hardware engineer would write from the page. The second part asks
onchip.evaluate and the primitives of onchip.numerics for the same results, on random and on adversarial inputs.
One file of more than 400 lines, because it mirrors one page from top to bottom.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import onchip as oc
from onchip import numerics
from onchip.ir.graph import Graph, Node, Tensor
from onchip.lowering.integer_steps import INTEGER
from onchip.ops.types import AttributeValue, Quantization

Row = Sequence[int]
Pair = tuple[int, int]

# --- the page: primitives ---------------------------------------------------------------------------------------------


def clamp(x: int, low: int, high: int) -> int:
    return min(max(x, low), high)


def wrap32(x: int) -> int:
    x &= 2**32 - 1
    return x - 2**32 if x >= 2**31 else x


def sat(x: int, bits: int) -> int:
    return clamp(x, -(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


def mulh32(a: int, b: int) -> int:
    return min((a * b + 2**30) >> 31, 2**31 - 1)


def mulh16(a: int, b: int) -> int:
    return min((a * b + 2**14) >> 15, 2**15 - 1)


def rshr(x: int, n: int) -> int:
    m = 2**n - 1
    return (x >> n) + (1 if (x & m) > (m >> 1) + (1 if x < 0 else 0) else 0)


def clz(x: int) -> int:
    return 32 - (x & (2**32 - 1)).bit_length()


def multiplier(real: float) -> Pair:
    if real <= 0:
        return 0, 0
    f, e = math.frexp(real)
    q = math.floor(f * 2**31 + 0.5)
    if q == 2**31:
        q, e = 2**30, e + 1
    return (0, 0) if e < -31 else (q, e)


def requantize(a: int, q: int, e: int, mode: str) -> int:
    if mode == "single":
        return (a * q + 2 ** (30 - e)) >> (31 - e)
    if mode == "reduced":
        s = (q + 2**15) >> 16 if q < 0x7FFF0000 else 0x7FFF
        return (a * s + 2 ** (14 - e)) >> (15 - e)
    return rshr(mulh32(wrap32(a << max(e, 0)), q), max(-e, 0))


def requantize_fp32(a: int, m: np.float32) -> int:
    return round(float(np.float32(a) * m))  # round() of Python: halves to even


# --- the page: add, mul, average --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Q:
    scale: float
    zero: int


def add(a: int, b: int, qa: Q, qb: Q, qy: Q, mode: str, sign: int = 1) -> int:
    t = 2 * max(qa.scale, qb.scale)
    left = requantize((a - qa.zero) << 20, *multiplier(qa.scale / t), mode)
    right = requantize((b - qb.zero) << 20, *multiplier(qb.scale / t), mode)
    total = left + sign * right
    return clamp(requantize(total, *multiplier(t / (2**20 * qy.scale)), mode) + qy.zero, -128, 127)


def mul(a: int, b: int, qa: Q, qb: Q, qy: Q, mode: str) -> int:
    real = qa.scale * qb.scale / qy.scale
    return clamp(requantize((a - qa.zero) * (b - qb.zero), *multiplier(real), mode) + qy.zero, -128, 127)


def squared_difference(a: int, b: int, qa: Q, qb: Q, qy: Q, mode: str) -> int:
    t = 2 * max(qa.scale, qb.scale)
    d = requantize((a - qa.zero) << 7, *multiplier(qa.scale / t), mode)
    d -= requantize((b - qb.zero) << 7, *multiplier(qb.scale / t), mode)
    return clamp(requantize(d * d, *multiplier(t * t / (2**14 * qy.scale)), mode) + qy.zero, -128, 127)


def prelu(x: int, slope: int, qx: Q, qs: Q, qy: Q) -> int:
    v = x - qx.zero
    if v >= 0:
        y = requantize(v, *multiplier(qx.scale / qy.scale), "single")
    else:
        y = requantize(v * (slope - qs.zero), *multiplier(qx.scale * qs.scale / qy.scale), "single")
    return clamp(y + qy.zero, -128, 127)


def mean_truncated(row: Row, qx: Q, qy: Q) -> int:
    q, e = multiplier(qx.scale / qy.scale)
    s = min(len(row).bit_length() - 1, 32, 31 + e)
    acc = sum(x - qx.zero for x in row)
    return clamp(requantize(acc, q * 2**s // len(row), e - s, "double") + qy.zero, -128, 127)


def away(total: int, n: int) -> int:
    return (total + n // 2) // n if total > 0 else -((n // 2 - total) // n)


# --- the page: tables, exp, reciprocal, logistic, tanh ----------------------------------------------------------------


def table(f: Callable[[float], float], qx: Q, qy: Q) -> list[int]:
    found: list[int] = []
    for i in range(256):
        r = f(qx.scale * (i - 128 - qx.zero)) / qy.scale
        found.append(clamp((1 if r >= 0 else -1) * math.floor(abs(r) + 0.5) + qy.zero, -128, 127))
    return found


STEPS = (
    (-2, 1672461947), (-1, 1302514674), (0, 790015084), (1, 290630308), (2, 39332535), (3, 720401), (4, 242),
)  # fmt: skip


def exp(a: int, i: int, b: int) -> int:
    f = b - 1 - i
    mulh = mulh32 if b == 32 else mulh16

    def c(v: int) -> int:
        return v if b == 32 else rshr(v, 16)

    rest = (a & (2 ** (f - 2) - 1)) - 2 ** (f - 2)
    x = (rest << i) + 2 ** (b - 4)
    x2 = mulh(x, x)
    x3, x4 = mulh(x2, x), mulh(x2, x2)
    y = mulh(rshr(x4, 2) + x3, c(715827883)) + x2
    r = sat(c(1895147668) + mulh(c(1895147668), x + rshr(y, 1)), b)
    for k, v in STEPS:
        if i > k and (rest - a) >> (f + k) & 1:
            r = mulh(r, c(v))
    if i > 5 and a < -(2 ** (f + 5)):
        r = 0
    return 2 ** (b - 1) - 1 if a == 0 else r


def newton(a: int, b: int) -> int:
    mulh = mulh32 if b == 32 else mulh16

    def c(v: int) -> int:
        return v if b == 32 else rshr(v, 16)

    h = (a + 2 ** (b - 1)) >> 1
    x = c(1515870810) + mulh(h, c(-1010580540))
    for _ in range(3):
        x += sat(mulh(x, 2 ** (b - 3) - mulh(h, x)) << 2, b)
    return x


def logistic(v: int) -> int:
    p = sat(newton(exp(-abs(v), 3, 16), 16) << 1, 16)
    return 2**14 if v == 0 else (p if v > 0 else 32767 - p)


def tanh(v: int, i: int) -> int:
    t = sat((newton(exp(-abs(v), i + 1, 16), 16) - 2**13) << 2, 16)
    return 0 if v == 0 else (t if v > 0 else -t)


# --- the page: softmax, layer norm, LSTM ------------------------------------------------------------------------------


def exponentials(scale: float) -> list[int]:
    q, e = multiplier(min(scale * 2**26, 2**31 - 1))
    left = max(e, 0)
    near = math.floor(31 * 2**26 / 2**left)
    return [exp(mulh32(wrap32(-d << left), q), 5, 32) if d <= near else 0 for d in range(256)]


def softmax(row: Row, scale: float, keep: Row | None = None) -> list[int]:
    k = keep or [1] * len(row)
    x = [(v + 128) * on - 128 for v, on in zip(row, k, strict=True)]
    top, prepared = max(x), exponentials(scale)
    e = [prepared[top - v] * on for v, on in zip(x, k, strict=True)]
    total = sum(rshr(v, 12) for v in e)
    z = clz(total)
    h = wrap32(total << min(z - 1, 31))
    y = 1515870810 + mulh32(h, -1010580540)
    for _ in range(3):
        y = wrap32(y + sat(mulh32(y, 2**29 - mulh32(h, y)) << 2, 32))
    factor = sat(y << 1, 32) >> max(4 - z, 0)
    shift = min(35 - z, 31)
    return [min(rshr(mulh32(v, factor), shift) - 128, 127) for v in e]


def layer_norm(
    row: Row, gamma: Sequence[float], beta: Sequence[float], eps: float, sx: float, qy: Q, about: int | None = None
) -> list[int]:
    """Return a row of layer norm, or of rms norm about the zero point `about`."""
    n = len(row)
    inverse, fraction = multiplier(1 / n), multiplier(2**22 / n)
    real = n * eps / sx**2
    s = max(s for s in range(31) if real * 2**s < 2**28)
    epsilon = round(real * 2**s)
    gain = [g * n**0.5 / qy.scale for g in gamma]
    gains = [multiplier(abs(g) * 2**-18) for g in gain]
    offsets = [round((b / qy.scale + qy.zero) * 2**12) for b in beta]

    if about is None:
        mean = requantize(sum(row), *inverse, "single")
        c = [x - mean for x in row]
        rest = sum(c)
    else:
        c, rest = [x - about for x in row], 0
    squares = sum(v * v for v in c)
    r2 = rest * rest
    z = clz(r2) - 1
    share = mulh32(wrap32(r2 << z), inverse[0])
    sh = min(clz(squares) - 3, s)
    w = (squares << sh) - rshr(share, clamp(z - inverse[1] - sh, 0, 31)) + rshr(epsilon, s - sh)
    w = max(w, 1)
    z = clz(w) - 1
    t = z + sh
    odd = t & 1
    z, t = z - 1 + odd, t - 1 + odd
    w = w << z
    assert 2**29 <= w < 2**31
    y = 1145027544 - mulh32(w, 654300687)
    for _ in range(3):
        y = mulh32(y, (3 * 2**27 - mulh32(w, mulh32(y, y))) << 2) << 1
    g = (t - 11) >> 1
    up, down = max(g, 0), max(-g, 0)
    away_from_mean = requantize(rest, *fraction, "single")
    out: list[int] = []
    for i in range(n):
        p = rshr(mulh32((c[i] << 22) - away_from_mean, y) << up, down)
        q, e = gains[i]
        scaled = requantize(p, -q if gain[i] < 0 else q, e, "single")
        out.append(sat(rshr(scaled + offsets[i], 12), 8))
    return out


def svdf(x: Row, w: list[Row], wt: list[Row], b: Row, state: list[Row], rank: int, scales: Sequence[float], qx: Q, qy: Q
) -> tuple[list[int], list[list[int]]]:  # fmt: skip
    """One step; scales of w_feature, w_time, state."""
    sw, st, ss = scales
    moved: list[list[int]] = []
    for f, weights in enumerate(w):
        acc = sum((v - qx.zero) * u for v, u in zip(x, weights, strict=True))
        newest = sat(requantize(acc, *multiplier(qx.scale * sw / ss), "single"), 16)
        moved.append([*state[f][1:], newest])
    out: list[int] = []
    for u in range(len(w) // rank):
        parts = [
            wrap32(sum(a * c for a, c in zip(wt[f], moved[f], strict=True))) for f in range(u * rank, (u + 1) * rank)
        ]
        acc = wrap32(sum(parts) + b[u])
        out.append(clamp(requantize(acc, *multiplier(ss * st / qy.scale), "single") + qy.zero, -128, 127))
    return out, moved


@dataclass(frozen=True, slots=True)
class Lstm:
    """One layer: weights and biases per gate channel, scales, zero points, and n of the cell's scale."""

    w_ih: list[list[int]]
    w_hh: list[list[int]]
    b_ih: list[int]
    b_hh: list[int]
    s_ih: list[float]
    s_hh: list[float]
    x: Q
    h: Q
    n: int


def lstm_step(k: Lstm, x: Row, h: Row, cell: Row) -> tuple[list[int], list[int]]:
    def rescaled(w: Row, v: Row, zero: int, bias: int, real: float) -> int:
        acc = sum((a - zero) * b for a, b in zip(v, w, strict=True)) + bias
        return requantize(acc, *multiplier(real), "double")

    gates: list[int] = []
    for c in range(len(k.b_ih)):
        first = sat(rescaled(k.w_ih[c], x, k.x.zero, k.b_ih[c], k.x.scale * k.s_ih[c] * 2**12), 16)
        second = rescaled(k.w_hh[c], h, k.h.zero, k.b_hh[c], k.h.scale * k.s_hh[c] * 2**12)
        gates.append(sat(first + second, 16))
    hidden = len(h)
    made_h: list[int] = []
    made_c: list[int] = []
    for u in range(hidden):
        i, f, g, o = (gates[u + hidden * j] for j in range(4))
        i, f, g, o = logistic(i), logistic(f), tanh(g, 3), logistic(o)
        c = sat(rshr(f * cell[u], 15) + rshr(i * g, 30 - k.n), 16)
        made_c.append(c)
        scaled = requantize(o * tanh(c, 15 - k.n), *multiplier(2**-30 / k.h.scale), "double")
        made_h.append(clamp(scaled + k.h.zero, -128, 127))
    return made_h, made_c


def attention_head(
    q: list[Row], k: list[Row], v: list[Row], scales: tuple[float, float], qv: Q, qy: Q, scores: Q,
    keep: Sequence[Row], mask: tuple[Sequence[Row], Q] | None = None,
) -> list[list[int]]:  # fmt: skip
    """One head with q and k at zero point 0; a mask that is added decides what is kept, too."""
    score_real = scales[0] * scales[1] * (1 / len(q[0]) ** 0.5) / scores.scale
    mix_real = qv.scale / 256 / qy.scale
    out: list[list[int]] = []
    for place, (line, on) in enumerate(zip(q, keep, strict=True)):
        sums = [sum(a * b for a, b in zip(line, other, strict=True)) for other in k]
        row = [clamp(requantize(s, *multiplier(score_real), "single") + scores.zero, -128, 127) for s in sums]
        if mask is not None:
            more = multiplier(mask[1].scale / scores.scale)
            added = [requantize(m - mask[1].zero, *more, "single") for m in mask[0][place]]
            row = [clamp(s + m, -128, 127) for s, m in zip(row, added, strict=True)]
        kept = on if mask is None else [int(m != -128) for m in mask[0][place]]
        weights = softmax(row, scores.scale, kept)
        mixed = [sum((w + 128) * (r[d] - qv.zero) for w, r in zip(weights, v, strict=True)) for d in range(len(v[0]))]
        out.append([clamp(requantize(m, *multiplier(mix_real), "single") + qy.zero, -128, 127) for m in mixed])
    return out


# --- what the code says -----------------------------------------------------------------------------------------------

Array = NDArray[Any]
EDGES = (
    -(2**31),
    -(2**31) + 1,
    -(2**30),
    -65537,
    -256,
    -255,
    -3,
    -2,
    -1,
    0,
    1,
    2,
    3,
    127,
    255,
    65535,
    2**30,
    2**31 - 1,
)


@dataclass(frozen=True, slots=True)
class Given:
    name: str
    value: Array
    q: Quantization | None = None


def per_tensor(q: Q) -> Quantization:
    return Quantization((q.scale,), (q.zero,))


def evaluated(
    op: str,
    given: Sequence[Given],
    made: Sequence[tuple[tuple[int, ...], str, Quantization]],
    **attributes: AttributeValue,
) -> tuple[Array, ...]:
    """Return the outputs of one integer node by onchip.evaluate."""
    dtypes = {"int8": "i8", "int16": "i16", "int32": "i32", "int64": "i64", "float32": "f32", "bool": "bool"}
    tensors = [Tensor(g.name, g.value.shape, dtypes[g.value.dtype.name], g.q) for g in given]
    outputs = [Tensor(f"out{i}", shape, dtype, q) for i, (shape, dtype, q) in enumerate(made)]
    names = tuple(t.name for t in tensors), tuple(t.name for t in outputs)
    node = Node("node", op, names[0], names[1], tuple(sorted(attributes.items())))
    graph = Graph("one", (*tensors, *outputs), (node,), *names)
    found = oc.evaluate(graph, {g.name: g.value for g in given})
    return tuple(found[name] for name in names[1])


def int8(values: object) -> Array:
    return np.array(values, np.int8)


def accumulators(random: np.random.Generator) -> list[int]:
    return [*EDGES, *(int(v) for v in random.integers(-(2**31), 2**31, 60))]


def test_primitives() -> None:
    random = np.random.default_rng(0)
    values = accumulators(random)
    for a in values:
        assert clz(a) == int(numerics.clz(a))
        for b in values:
            assert mulh32(a, b) == int(numerics.srdhm32(a, b))
        for n in range(32):
            assert rshr(a, n) == int(numerics.rounding_divide_by_pot(a, n))
    shorts = [-32768, -32767, -1, 0, 1, 32767, *(int(v) for v in random.integers(-32768, 32768, 40))]
    for a in shorts:
        for b in shorts:
            assert mulh16(a, b) == int(numerics.srdhm16(a, b))


REALS = (1.0, 0.5, 1 - 2.0**-33, 0.1, 2.0**-31, 2.0**-33, 3.7e-5, 0.9999999, 17.3, 2.0**29, 0.0, -1.0)


@pytest.mark.parametrize("real", REALS)
def test_multiplier(real: float) -> None:
    assert multiplier(real) == numerics.quantize_multiplier(real)
    q, e = numerics.quantize_multipliers([real])
    assert multiplier(real) == (int(q[0]), int(e[0]))


@pytest.mark.parametrize("mode", ["single", "double", "fp32"])
def test_requantize(mode: numerics.Rounding) -> None:
    random = np.random.default_rng(1)
    values = accumulators(random)
    ties = [v << s for v in (-7, -3, -1, 1, 3, 7) for s in (0, 4, 9)]  # with powers of two: exactly half
    for real in (*REALS[:-2], *(float(v) for v in random.uniform(1e-7, 1, 30)), 2.0**-5, 2.0**-10):
        q, e = multiplier(real)
        if mode == "fp32":
            q, e = int(np.float32(real).view(np.int32)), 0
        found = numerics.requantize([*values, *ties], q, e, mode)
        for a, got in zip([*values, *ties], found, strict=True):
            want = requantize_fp32(a, np.float32(real)) if mode == "fp32" else requantize(a, q, e, mode)
            assert want == int(got), (a, real)


PAIRS = np.stack(np.meshgrid(np.arange(-128, 128, 5), np.arange(-128, 128, 7))).reshape(2, -1).astype(np.int8)


@pytest.mark.parametrize("mode", ["single", "double"])
@pytest.mark.parametrize("op", ["add", "sub", "mul"])
@pytest.mark.parametrize(
    "scales", [(0.1, 0.1, 0.1), (0.02, 0.3, 0.25), (0.5, 0.001, 0.004), (2.0**-4, 2.0**-6, 2.0**-5)]
)
def test_add_sub_mul(op: str, mode: str, scales: tuple[float, float, float]) -> None:
    qa, qb, qy = Q(scales[0], -128), Q(scales[1], 17), Q(scales[2], -3)
    a, b = PAIRS
    given = (Given("a", a, per_tensor(qa)), Given("b", b, per_tensor(qb)))
    (found,) = evaluated(op, given, [(a.shape, "i8", per_tensor(qy))], rounding=mode)
    ours = mul if op == "mul" else partial(add, sign=-1 if op == "sub" else 1)
    assert [ours(x, y, qa, qb, qy, mode) for x, y in zip(a.tolist(), b.tolist(), strict=True)] == found.tolist()


@pytest.mark.parametrize("mode", ["single", "double"])
def test_squared_difference(mode: str) -> None:
    qa, qb, qy = Q(0.02, -128), Q(0.3, 17), Q(1.1, -90)
    a, b = PAIRS
    given = (Given("a", a, per_tensor(qa)), Given("b", b, per_tensor(qb)))
    (found,) = evaluated("squared_difference", given, [(a.shape, "i8", per_tensor(qy))], rounding=mode)
    pairs = zip(a.tolist(), b.tolist(), strict=True)
    assert [squared_difference(x, y, qa, qb, qy, mode) for x, y in pairs] == found.tolist()


def test_prelu() -> None:
    qx, qs, qy = Q(0.05, -11), Q(0.004, 3), Q(0.04, 8)
    x, slope = np.repeat(np.arange(-128, 128), 3).reshape(256, 3).astype(np.int8), int8([-100, 40, 127])
    given = (Given("x", x, per_tensor(qx)), Given("slope", slope, per_tensor(qs)))
    (found,) = evaluated("prelu", given, [(x.shape, "i8", per_tensor(qy))], rounding="single")
    want = [[prelu(v, s, qx, qs, qy) for v, s in zip(row, slope.tolist(), strict=True)] for row in x.tolist()]
    assert want == found.tolist()


def test_int16() -> None:
    random = np.random.default_rng(6)
    qx, sw, qy = Q(2.0**-11, 0), 0.003, Q(2.0**-9, 0)
    x = random.integers(-32768, 32768, (6, 40)).astype(np.int16)
    x[0] = 32767
    w, b = random.integers(-127, 128, (5, 40)).astype(np.int8), random.integers(-(10**6), 10**6, 5)
    given = (
        Given("x", x, per_tensor(qx)), Given("w", w, Quantization((sw,) * 5, (0,) * 5, 0)),
        Given("b", b.astype(np.int64)),
    )  # fmt: skip
    (found,) = evaluated("linear", given, [((6, 5), "i16", per_tensor(qy))], rounding="reduced")
    real = multiplier(qx.scale * sw / qy.scale)
    sums = x.astype(int) @ w.T.astype(int) + b
    assert [[sat(requantize(int(a), *real, "reduced"), 16) for a in row] for row in sums] == found.tolist()


def test_mean_truncated_as_litert() -> None:
    x = hard_rows(np.random.default_rng(8), 45)
    qx, qy = Q(0.05, -20), Q(0.031, 4)
    made = [((x.shape[0],), "i8", per_tensor(qy))]
    (found,) = evaluated("mean", [Given("x", x, per_tensor(qx))], made, axes=(1,), multiplier="truncated")
    assert [mean_truncated(row, qx, qy) for row in x.tolist()] == found.tolist()


def test_weight_zero_points() -> None:
    random = np.random.default_rng(9)
    x, w = (random.integers(-128, 128, (4, 12)).astype(np.int8) for _ in range(2))
    qx, qy = Q(0.02, 9), Q(0.4, -3)
    given = (Given("x", x, per_tensor(qx)), Given("w", w, Quantization((0.01,) * 4, (3, -7, 0, 100), 0)))
    (found,) = evaluated("linear", given, [((4, 4), "i8", per_tensor(qy))], rounding="single")
    sums = (x.astype(int) - 9) @ (w.astype(int) - np.array([[3], [-7], [0], [100]])).T
    real = multiplier(0.02 * 0.01 / 0.4)
    assert [[clamp(requantize(int(a), *real, "single") - 3, -128, 127) for a in row] for row in sums] == found.tolist()


def test_svdf() -> None:
    random = np.random.default_rng(10)
    x, w = random.integers(-128, 128, (1, 7)).astype(np.int8), random.integers(-127, 128, (6, 7)).astype(np.int8)
    wt, state = (random.integers(-3000, 3000, (6, 5)).astype(np.int16) for _ in range(2))
    b = random.integers(-9000, 9000, 3).astype(np.int32)
    qx, qy, (sw, st, ss) = Q(0.02, 11), Q(0.05, -7), (0.004, 2.0**-13, 2.0**-12)
    given = (
        Given("x", x, per_tensor(qx)), Given("w", w, Quantization((sw,), (0,))),
        Given("t", wt, Quantization((st,), (0,))), Given("b", b),
        Given("s", state.reshape(1, 30), Quantization((ss,), (0,))),
    )  # fmt: skip
    made = [((1, 3), "i8", per_tensor(qy)), ((1, 30), "i16", Quantization((ss,), (0,)))]
    y, moved = evaluated("svdf", given, made, rank=2, rounding="single")
    want = svdf(x[0].tolist(), w.tolist(), wt.tolist(), b.tolist(), state.tolist(), 2, (sw, st, ss), qx, qy)
    assert (y[0].tolist(), moved.reshape(6, 5).tolist()) == want


def test_the_page_names_every_op_that_programs_run() -> None:
    page = (Path(__file__).parents[2] / "docs" / "arithmetic.md").read_text(encoding="utf-8")
    missing = [name for name in {*INTEGER, "matmul", "lstm", "attention"} if not re.search(rf"\b{name}\b", page)]
    assert not missing


@pytest.mark.parametrize("counts_padding", [False, True])
def test_average_pool(counts_padding: bool) -> None:
    x = np.random.default_rng(2).integers(-128, 128, (1, 4, 6, 1)).astype(np.int8)
    x[0, 0, :4, 0] = (-1, -2, 1, 2)
    q, z = Quantization((0.1,), (-9,)), -9 if counts_padding else 0
    attributes = {"kernel": (2, 2), "stride": (2, 2), "count_include_pad": counts_padding}
    (found,) = evaluated("avg_pool2d", [Given("x", x, q)], [((1, 2, 3, 1), "i8", q)], **attributes)
    windows = x.reshape(2, 2, 3, 2).transpose(0, 2, 1, 3).reshape(6, 4).astype(int)
    assert [away(int(w.sum()) - 4 * z, 4) + z for w in windows] == found.ravel().tolist()


FUNCTIONS: dict[str, Callable[[float], float]] = {
    "sigmoid": lambda x: 1 / (1 + math.exp(-x)),
    "tanh": math.tanh,
    "gelu": lambda x: 0.5 * x * (1 + math.erf(x / 2**0.5)),
    "silu": lambda x: x / (1 + math.exp(-x)),
    "relu6": lambda x: min(max(x, 0.0), 6.0),
    "neg": lambda x: -x,
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_tables(name: str) -> None:
    x = int8(range(-128, 128))
    for qx, qy in ((Q(0.05, 3), Q(0.05, -128)), (Q(0.1, -128), Q(0.03, 7)), (Q(0.5, 0), Q(1.0, 0))):
        (found,) = evaluated(name, [Given("x", x, per_tensor(qx))], [(x.shape, "i8", per_tensor(qy))])
        assert table(FUNCTIONS[name], qx, qy) == found.tolist()


def test_exp_logistic_tanh() -> None:
    random = np.random.default_rng(3)
    far = [0, -1, -(2**24) + 1, -(2**24), -(2**24) - 1, -(2**31), *(-int(v) for v in random.integers(0, 2**31, 300))]
    assert [exp(a, 5, 32) for a in far] == numerics.exp_on_negative_values(far).tolist()
    near = [-32768, -32767, -1, 0, 1, 2, 32767, *(int(v) for v in random.integers(-32768, 32768, 300))]
    assert [logistic(v) for v in near] == numerics.logistic16(near).tolist()
    for i in range(7):
        assert [tanh(v, i) for v in near] == numerics.tanh16(near, integer_bits=i).tolist()


def hard_rows(random: np.random.Generator, n: int) -> Array:
    rows = random.integers(-128, 128, (12, n))
    rows[0], rows[1], rows[2] = 127, -128, random.choice([-128, 127], n)
    rows[3] = 5
    rows[3, n // 2] = 6
    rows[4] = random.integers(-2, 3, n)
    return rows.astype(np.int8)


@pytest.mark.parametrize("n", [1, 3, 64, 600, 1100])
@pytest.mark.parametrize("scale", [0.002, 0.0625, 0.3, 3.0])
def test_softmax(n: int, scale: float) -> None:
    x = hard_rows(np.random.default_rng(n), n)
    made = [(x.shape, "i8", Quantization((1 / 256,), (-128,)))]
    (found,) = evaluated("softmax", [Given("x", x, Quantization((scale,), (9,)))], made)
    for row, got in zip(x.tolist(), found.tolist(), strict=True):
        assert softmax(row, scale) == got


@pytest.mark.parametrize("n", [1, 2, 7, 64, 257])
@pytest.mark.parametrize("eps", [1e-12, 1e-5, 1e-2])
def test_layer_norm(n: int, eps: float) -> None:
    random = np.random.default_rng(n)
    x = hard_rows(random, n)
    gamma, beta = (random.normal(0, 1, n).astype(np.float32) for _ in range(2))
    qx, qy = Q(float(10 ** random.uniform(-2.5, -0.5)), 40), Q(0.031, -5)
    given = (Given("x", x, per_tensor(qx)), Given("gamma", gamma), Given("beta", beta))
    (found,) = evaluated("layer_norm", given, [(x.shape, "i8", per_tensor(qy))], eps=eps)
    for row, got in zip(x.tolist(), found.tolist(), strict=True):
        assert layer_norm(row, gamma.tolist(), beta.tolist(), eps, qx.scale, qy) == got


@pytest.mark.parametrize(("n", "eps"), [(1, 1e-5), (7, 0.5), (64, 1e-6), (1000, 1e-5)])
def test_rms_norm(n: int, eps: float) -> None:
    random = np.random.default_rng(n)
    x = hard_rows(random, n)
    gamma = random.normal(0, 1, n).astype(np.float32)
    qx, qy = Q(float(10 ** random.uniform(-2.5, -0.5)), -17), Q(0.031, -5)
    given = (Given("x", x, per_tensor(qx)), Given("gamma", gamma))
    (found,) = evaluated("rms_norm", given, [(x.shape, "i8", per_tensor(qy))], eps=eps)
    for row, got in zip(x.tolist(), found.tolist(), strict=True):
        assert layer_norm(row, gamma.tolist(), [0.0] * n, eps, qx.scale, qy, about=qx.zero) == got


def test_rotary() -> None:
    random = np.random.default_rng(3)
    x, angles = random.integers(-128, 128, (1, 4, 5)).astype(np.int8), random.integers(-32767, 32768, (2, 4, 2))
    qx, qy, qa = Q(0.05, 9), Q(0.06, -11), Q(2**-15, 0)
    cos, sin = angles.astype(np.int16)
    given = (Given("x", x, per_tensor(qx)), Given("cos", cos, per_tensor(qa)), Given("sin", sin, per_tensor(qa)))
    (found,) = evaluated("rotary", given, [(x.shape, "i8", per_tensor(qy))], heads=1)
    turn, keep = multiplier(qx.scale * qa.scale / qy.scale), multiplier(qx.scale / qy.scale)
    for row, cs, sn, got in zip(x[0].tolist(), cos.tolist(), sin.tolist(), found[0].tolist(), strict=True):
        a, b, rest = [v - qx.zero for v in row[:2]], [v - qx.zero for v in row[2:4]], row[4] - qx.zero
        sums = [(a[i] * cs[i] - b[i] * sn[i], turn) for i in (0, 1)]
        sums += [(b[i] * cs[i] + a[i] * sn[i], turn) for i in (0, 1)]
        assert got == [clamp(requantize(v, *m, "single") + qy.zero, -128, 127) for v, m in [*sums, (rest, keep)]]


@pytest.mark.parametrize("n", [9, 12, 15])
def test_lstm(n: int) -> None:
    random = np.random.default_rng(n)
    steps, features, hidden = 9, 5, 4
    x = random.integers(-128, 128, (1, steps, features)).astype(np.int8)
    x[0, 2], x[0, 3] = 127, -128
    w_ih, w_hh = (random.integers(-127, 128, (4 * hidden, k)).astype(np.int8) for k in (features, hidden))
    b_ih, b_hh = (random.integers(-20000, 20000, 4 * hidden).astype(np.int32) for _ in range(2))
    s_ih, s_hh = (random.uniform(0.002, 0.02, 4 * hidden).tolist() for _ in range(2))
    k = Lstm(
        w_ih.tolist(), w_hh.tolist(), b_ih.tolist(), b_hh.tolist(), s_ih, s_hh, Q(0.03, -11), Q(1 / 128, 4), n
    )  # fmt: skip
    qh, zeros = per_tensor(k.h), (0,) * (4 * hidden)
    given = (
        Given("x", x, per_tensor(k.x)), Given("wi", w_ih, Quantization(tuple(s_ih), zeros, 0)),
        Given("wh", w_hh, Quantization(tuple(s_hh), zeros, 0)), Given("bi", b_ih), Given("bh", b_hh),
    )  # fmt: skip
    made = [
        ((1, steps, hidden), "i8", qh),
        ((1, hidden), "i8", qh),
        ((1, hidden), "i16", Quantization((2.0**-n,), (0,))),
    ]
    y, last, cell = evaluated("lstm", given, made, hidden=hidden)
    h, c = [k.h.zero] * hidden, [0] * hidden
    for t in range(steps):
        h, c = lstm_step(k, x[0, t].tolist(), h, c)
        assert h == y[0, t].tolist()
    assert (h, c) == (last[0].tolist(), cell[0].tolist())


@pytest.mark.parametrize("added", [None, Q(0.07, 0), Q(0.031, 7)])
def test_attention(added: Q | None) -> None:
    random = np.random.default_rng(4)
    q, k, v = (random.integers(-128, 128, (1, length, 8)).astype(np.int8) for length in (5, 9, 9))
    keep = random.random((1, 1, 5, 9)) < 0.6
    keep[0, 0, 1] = False
    scores, qv, qy = Q(0.07, -4), Q(0.02, -30), Q(0.018, 6)
    given = (
        Given("q", q, Quantization((0.03,), (0,))), Given("k", k, Quantization((0.05,), (0,))),
        Given("v", v, per_tensor(qv)), Given("mask", keep),
    )  # fmt: skip
    mask = np.where(keep, random.integers(-127, 128, keep.shape), -128).astype(np.int8)
    given = given if added is None else (*given[:3], Given("mask", mask, per_tensor(added)))
    more = None if added is None else (mask[0, 0].tolist(), added)
    made = [((1, 5, 8), "i8", per_tensor(qy))]
    attributes: dict[str, AttributeValue] = {"heads": 2, "score_scale": scores.scale, "score_zero_point": scores.zero}
    (found,) = evaluated("attention", given, made, **attributes)
    on = [[int(b) for b in row] for row in keep[0, 0].tolist()]
    for head in range(2):
        part = slice(4 * head, 4 * head + 4)
        parts = (q[0, :, part].tolist(), k[0, :, part].tolist(), v[0, :, part].tolist())
        assert attention_head(*parts, (0.03, 0.05), qv, qy, scores, on, more) == found[0, :, part].tolist()
