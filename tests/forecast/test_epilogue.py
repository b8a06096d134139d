"""What is fused behind a product: lane cycles worked by hand."""

from __future__ import annotations

import pytest

from onchip.chip import Chip
from onchip.forecast.forecast import forecast
from onchip.ir.build import GraphBuilder
from onchip.ir.forecast import Step

A100 = Chip.load("a100-sxm-80gb")  # 108 cores of 64 lanes at 1410 MHz; nothing of the lanes hides
ROWS, WIDTH = 4096, 1024
LANES_PER_S = 108 * 64 * 1410e6


def layer(*behind: str, bias: bool = False, dtype: str = "bf16", chip: Chip = A100) -> float:
    """Return the seconds of the lanes in a layer with these elementwise nodes behind it."""
    return lanes_of(_forecast(behind, bias=bias, dtype=dtype, chip=chip))


def lanes_of(made: Step) -> float:
    return sum(seconds for cause, seconds in made.causes if cause == "vector")


def _forecast(behind: tuple[str, ...], *, bias: bool, dtype: str, chip: Chip) -> Step:
    b = GraphBuilder("layer")
    inputs = (b.input("x", (ROWS, WIDTH)), b.constant("w", (WIDTH, WIDTH), "f32"))
    made = b.node("linear", (*inputs, b.constant("bias", (WIDTH,), "f32")) if bias else inputs, "fc")
    for op in behind:
        assert isinstance(made, str)
        made = b.node(op, (made, b.input("skip", (ROWS, WIDTH))) if op == "add" else (made,), op)
    assert isinstance(made, str)
    b.output(made)
    (step,) = forecast(b.finish(), chip, dtype).steps
    return step


def test_a_bare_product_has_none() -> None:
    assert layer() == 0


def test_a_bias_is_one_operation_an_element() -> None:
    assert layer(bias=True) == pytest.approx(ROWS * WIDTH / LANES_PER_S)


def test_a_sum_and_a_rectifier_are_two() -> None:
    assert layer("add", "relu") == pytest.approx(2 * ROWS * WIDTH / LANES_PER_S)


def test_integers_are_scaled_rounded_and_packed() -> None:
    """Five operations; the bias is in the scaling. An int8 operand is unpacked in two."""
    assert layer(bias=True, dtype="int8") == pytest.approx(5 * ROWS * WIDTH / LANES_PER_S)
    assert layer("add", dtype="int8") == pytest.approx((5 + 3) * ROWS * WIDTH / LANES_PER_S)


def test_what_the_lanes_hide_is_not_shown() -> None:
    half = A100.replace({"overlap.matrix_vector": 0.5})
    assert layer("gelu", chip=half) == pytest.approx(layer("gelu") / 2)
    assert layer("gelu", chip=A100.replace({"overlap.matrix_vector": 1.0})) == 0


def test_gelu_behind_a_product_is_the_runtimes_formula() -> None:
    """x/2 (1 + tanh(a x (1 + b x^2))): five operations and one tanh, at a quarter of their rate."""
    assert layer("gelu") == pytest.approx((5 + 4) * ROWS * WIDTH / LANES_PER_S)


def test_a_dearer_function_takes_longer() -> None:
    assert layer("gelu") > layer("relu")


def test_fused_is_faster_than_apart() -> None:
    apart = _forecast((), bias=False, dtype="bf16", chip=A100).seconds
    b = GraphBuilder("gelu")
    made = b.node("gelu", (b.input("x", (ROWS, WIDTH)),), "gelu")
    assert isinstance(made, str)
    b.output(made)
    alone = forecast(b.finish(), A100, "bf16").device_s
    assert _forecast(("gelu",), bias=False, dtype="bf16", chip=A100).seconds < apart + alone
