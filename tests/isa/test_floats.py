"""The float meaning of the instruction set: conversions, lane functions, the order of sums.

Witnesses: torch for conversions (all codes of the narrow types, random and special float32 numbers) and for functions
(float64, rounded); sums by hand, one NumPy float32 scalar after the other.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from onchip.isa import LD, MM, RED, RQ, VOP, WLD, Affine
from onchip.isa.floats import BF16, F8, F16, F32, TF32, Floats, operate, read_floats, write_floats
from onchip.isa.memory import ACC, I8, I16, I32, Memory
from onchip.isa.vector import FLOAT_VOPS, VOPS

TORCH = {BF16: torch.bfloat16, F16: torch.float16, F8: torch.float8_e4m3fn}
ULP_F32 = 2.0**-23


def numbers(n: int = 50_000) -> Floats:
    """Return float32 numbers of any bits, numbers around every border of the narrow types, and specials."""
    draw = np.random.default_rng(0)
    anything = draw.integers(0, 1 << 32, n, np.uint64).astype(np.uint32).view(np.float32)
    near = (draw.standard_normal(n) * np.exp2(draw.integers(-28, 18, n))).astype(np.float32)
    ties = (draw.integers(0, 1 << 12, n) * np.exp2(draw.integers(-26, 10, n))).astype(np.float32)
    special = np.array([0, np.inf, 65504, 65519.99, 65520, 448, 464, 480, 2**-24, 2**-25, 2**-9, 2**-10], np.float32)
    return np.concatenate([anything, near, ties, -ties, special, -special, [np.float32(np.nan)]])


def same(found: NDArray[np.float32], wanted: NDArray[np.float32]) -> None:
    """Check equal bits, any NaN for a NaN."""
    nan = np.isnan(wanted)
    assert np.array_equal(np.isnan(found), nan)
    assert np.array_equal(found[~nan].view(np.uint32), wanted[~nan].view(np.uint32))


@pytest.mark.parametrize("kind", TORCH)
def test_every_code_of_a_narrow_type_is_the_number_that_torch_reads(kind: int) -> None:
    codes = np.arange(256, dtype=np.uint8) if kind == F8 else np.arange(1 << 16, dtype=np.uint16)
    wanted = torch.from_numpy(codes.view(np.int8 if kind == F8 else np.int16)).view(TORCH[kind]).float().numpy()
    same(read_floats(kind, codes.view(np.uint8)), wanted)


@pytest.mark.parametrize("kind", TORCH)
def test_writes_round_as_torch_does(kind: int) -> None:
    values = numbers()
    given = np.clip(values, -448, 448) if kind == F8 else values  # torch makes a NaN of what saturates here
    wanted = torch.from_numpy(given).to(TORCH[kind]).view(torch.int8 if kind == F8 else torch.int16).numpy()
    found = write_floats(kind, values).view(wanted.dtype)
    known = ~np.isnan(values)
    assert np.array_equal(found[known], wanted[known])
    assert np.isnan(read_floats(kind, found[~known].view(np.uint8))).all()


def test_integers_are_read_as_numbers_and_written_rounded_and_saturated() -> None:
    codes = np.array([-128, -1, 0, 127], np.int8)
    assert read_floats(I8, codes.view(np.uint8)).tolist() == [-128.0, -1.0, 0.0, 127.0]
    wide = np.array([2**24 + 1, -(2**31), 2**31 - 1], np.int32)  # 2**24 + 1 lies between two float32
    assert read_floats(I32, wide.view(np.uint8)).tolist() == [2.0**24, -(2.0**31), 2.0**31]
    values = np.array([0.5, 1.5, -2.5, 300.0, -1e30, np.inf, np.nan], np.float32)
    assert write_floats(I8, values).view(np.int8).tolist() == [0, 2, -2, 127, -128, 127, 0]
    assert write_floats(I16, values).view(np.int16).tolist() == [0, 2, -2, 300, -32768, 32767, 0]
    assert write_floats(I32, values).view(np.int32).tolist() == [0, 2, -2, 300, -(2**31), 2**31 - 1, 0]


FUNCTIONS = {
    "exp": torch.exp, "erf": torch.erf, "tanh": torch.tanh, "sigmoid": torch.sigmoid, "rsqrt": torch.rsqrt,
    "recip": torch.reciprocal, "gelu": torch.nn.functional.gelu, "silu": torch.nn.functional.silu, "sqrt": torch.sqrt,
    "log": torch.log, "floor": torch.floor, "ceil": torch.ceil, "round": torch.round, "sin": torch.sin,
    "cos": torch.cos,
}  # fmt: skip


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_are_those_of_float64_rounded(name: str) -> None:
    """Within one step of float32: torch's float64 is not the last word on the last bit (gelu near -5 cancels there)."""
    values = numbers(2000)
    values = values[np.abs(values) < 1e4] if name in ("sin", "cos") else values
    exact = FUNCTIONS[name](torch.from_numpy(values).double()).numpy()
    with np.errstate(over="ignore"):
        wanted = exact.astype(np.float32)
    found = operate(name, values, values)
    assert np.array_equal(np.isnan(found), np.isnan(wanted))
    finite = np.isfinite(wanted) & ((name != "gelu") | (values > -4))
    assert np.array_equal(found[np.isinf(wanted)], wanted[np.isinf(wanted)])
    assert (np.abs(found[finite] - exact[finite]) <= ULP_F32 / 2 * np.abs(exact[finite]) * 1.0001 + 2.0**-149).all()


def test_every_float_operation_has_a_witness() -> None:
    others = {"pow", "div"} | {"add", "sub", "mul", "max", "min", "copy", "mac", "gt", "and"}
    assert set(FLOAT_VOPS) == set(FUNCTIONS) | {"pow", "div"}
    x, y = numbers(300)[:600], np.resize(np.roll(numbers(300), 7), 600)
    a, b = torch.from_numpy(x), torch.from_numpy(y)
    same(operate("div", x, y), (a / b).numpy())
    same(operate("add", x, y), (a + b).numpy())
    same(operate("sub", x, y), (a - b).numpy())
    same(operate("mul", x, y), (a * b).numpy())
    known = ~(np.isnan(x) | np.isnan(y))
    same(operate("max", x, y)[known], torch.maximum(a, b).numpy()[known])
    same(operate("min", x, y)[known], torch.minimum(a, b).numpy()[known])
    assert np.array_equal(operate("gt", x, y) == 1.0, (a > b).numpy())
    magnitude = operate("and", x, np.full(600, 0x7FFFFFFF, np.int32).view(np.float32))
    same(magnitude, a.abs().numpy())
    positive = np.abs(x[np.isfinite(x)])
    power = (torch.from_numpy(positive).double() ** 0.75).float().numpy()
    assert np.allclose(operate("pow", positive, np.full(len(positive), 0.75, np.float32)), power, rtol=1.3e-7)
    assert len(others | set(FLOAT_VOPS)) == 26


def memory(words: int = 64) -> Memory:
    return Memory(np.zeros(64, np.uint8), np.zeros(4096, np.uint8), np.zeros(words, np.int32), is_float=True)


def test_a_nan_in_a_stays() -> None:
    nan, one = np.array([np.nan], np.float32), np.ones(1, np.float32)
    assert np.isnan(operate("max", nan, one)) and operate("max", one, nan) == 1
    assert np.isnan(operate("min", nan, one)) and operate("min", one, nan) == 1


@pytest.mark.parametrize("kind", [BF16, F16, F32, F8, TF32])
def test_products_are_summed_in_order(kind: int) -> None:
    """Runs of inputs, weights either way round, sums added to what is there: each step rounded to float32."""
    draw, (k, n, run) = np.random.default_rng(kind), (12, 5, 4)
    size = len(write_floats(kind, np.zeros(1, np.float32)))
    m = memory()
    x, w = draw.standard_normal(k).astype(np.float32) * 9, draw.standard_normal((k, n)).astype(np.float32)
    stored = [write_floats(kind, x[i : i + run]) for i in range(0, k, run)]
    for i, part in enumerate(stored):
        m.local[1000 + 64 * i : 1000 + 64 * i + len(part)] = part
    m.local[: k * n * size] = write_floats(kind, w.reshape(-1))
    m.local[2000 : 2000 + k * n * size] = write_floats(kind, np.ascontiguousarray(w.T).reshape(-1))
    x, w = (read_floats(kind, write_floats(kind, v.reshape(-1))).reshape(v.shape) for v in (x, w))
    if kind == TF32:
        x, w = ((v.view(np.int32) + 0x1000 & -0x2000).view(np.float32) for v in (x, w))  # no ties here
    start = draw.standard_normal(n).astype(np.float32)
    m.accumulator[8 : 8 + n] = start.view(np.int32)
    first = MM(
        k=k, n=n, run_length=run, run_stride=64, type=kind, source=Affine(1000), sums=Affine(8), sub=1
    )  # fmt: skip
    WLD(k=k, n=n, pitch=n * size, type=kind).run(m, ())
    first.run(m, ())
    WLD(k=k, n=n, pitch=k * size, type=kind, source=Affine(2000), sub=1).run(m, ())
    MM(k=k, n=n, run_length=run, run_stride=64, type=kind, source=Affine(1000), sums=Affine(20)).run(m, ())
    for at, begin in ((8, start), (20, np.zeros(n, np.float32))):
        for j in range(n):
            total = begin[j]
            for kk in range(k):
                total = np.float32(total + np.float32(x[kk] * w[kk, j]))
            assert m.accumulator[at + j] == total.view(np.int32)


def test_reductions_take_lane_after_lane() -> None:
    m, draw = memory(), np.random.default_rng(3)
    x = (draw.standard_normal(40) * np.exp2(draw.integers(-9, 9, 40))).astype(np.float32)
    m.accumulator[:40] = x.view(np.int32)
    total = squares = np.float32(0)
    for one in x:
        total, squares = np.float32(total + one), np.float32(squares + np.float32(one * one))
    for sub, wanted in enumerate((total, x.max(), squares)):
        RED(n=40, a_type=ACC, d_type=ACC, d=Affine(50), sub=sub).run(m, ())
        assert m.accumulator[50] == wanted.view(np.int32)


def test_mac_rounds_twice_and_immediates_are_bits() -> None:
    m = memory()
    one = np.float32(1 + 2**-12)
    m.accumulator[:3] = np.array([one, -1, 0], np.float32).view(np.int32)
    bits = int(one.view(np.int32))
    VOP(
        n=1, a_type=ACC, d_type=ACC, d=Affine(1), immediate=bits, has_immediate=1, sub=VOPS["mac"]
    ).run(m, ())  # fmt: skip
    assert m.accumulator[1:2].view(np.float32)[0] == np.float32(one * one) - 1  # one rounding would keep 2**-24
    VOP(n=3, a_type=ACC, d_type=ACC, has_immediate=1, sub=VOPS["and"]).run(m, ())
    assert not m.accumulator[:3].any()


def test_a_load_fills_with_the_bytes_of_a_word() -> None:
    m = memory()
    m.dram[:4] = 9
    LD(box3=8, limit3=4, c3=Affine(-2), fill=0x04030201).run(m, (0, 0, 0, 0))
    assert m.local[:9].tolist() == [1, 2, 9, 9, 9, 9, 3, 4, 0]
    LD(box3=8, limit3=4, c3=Affine(8), fill=-1).run(m, (0, 0, 0, 0))
    assert (m.local[:8] == 255).all()


def test_float_programs_have_no_requantization() -> None:
    with pytest.raises(ValueError, match="RQ in a float program"):
        RQ(n=1).run(memory(), ())
