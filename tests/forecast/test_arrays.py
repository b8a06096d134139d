"""Systolic arrays in closed form: formulas by hand, published cycle counts, limits."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onchip.chip import Chip
from onchip.forecast.arrays import array_cycles, orders, price_array_product
from onchip.forecast.machine import Machine, machine
from onchip.forecast.product import Product
from onchip.forecast.traffic import Traffic

SIZES = st.integers(1, 4000)


def array_machine(**keys: object) -> Machine:
    """Return one core with a 128 x 128 array in int8, ports and accumulators wide enough to hide."""
    chip = Chip.load("tpu-v3-core").replace(
        {
            "matrix.units": 1,
            "peak": {},
            "published": {},
            "evidence": "estimate",
            "local.accumulator": "64 MiB",
            "local.weight_read": "4096 B/cycle",
            **keys,  # pyright: ignore[reportArgumentType]
        }
    )
    return machine(chip, "bf16")


def test_weights_hidden_are_the_closed_form() -> None:
    """64 folds of 1,024 rows, then fill and drain: 64 * 1024 + 2 * 128 + 128 - 2 (issue 4's figure)."""
    assert array_cycles(Product(1, 1024, 1024, 1024), array_machine()) == 65_918


def test_weights_in_series_are_scale_sims_figure() -> None:
    """64 * (2 * 128 + 128 + 1024 - 2); SCALE-Sim prints one less."""
    serial = array_machine(**{"matrix.weight_load": "serial"})
    assert array_cycles(Product(1, 1024, 1024, 1024), serial) == 89_984


def test_short_streams_wait_for_weights() -> None:
    """16 rows cannot hide 128 cycles of weight load: 64 folds * 128 + 382."""
    assert array_cycles(Product(1, 16, 1024, 1024), array_machine()) == 64 * 128 + 382


def test_output_stationary_is_k_a_block() -> None:
    """8 x 8 blocks of 300 cycles and one fill of 128 + 128 - 2."""
    flow = array_machine(**{"matrix.dataflow": "output_stationary"})
    assert array_cycles(Product(1, 1024, 1024, 300), flow) == 64 * 300 + 254


def test_taps_share_folds_or_have_their_own() -> None:
    """A 3 x 3 window of 16 channels: 144 deep is 2 folds of 128 rows together, 9 where each tap has its own."""
    p = Product(1, 1000, 128, 144, taps=9)
    packed, apart = (array_machine(**{"matrix.row_packing": word}) for word in ("CRS", "C"))
    assert array_cycles(p, packed) == 2 * 1000 + 382
    assert array_cycles(p, apart) == 9 * 1000 + 382


def test_a_narrow_port_feeds_rows_slower() -> None:
    """128 values of 2 bytes a row over 64 B a cycle: 4 cycles a row."""
    assert array_cycles(Product(1, 1000, 128, 128), array_machine(**{"local.read": "64 B/cycle"})) == 4 * 1000 + 382


def test_what_does_not_fit_is_read_again() -> None:
    """8 MiB of the local memory hold 1,024 of the 4,096 columns of k = 4,096 in bf16: the inputs come 4 times."""
    found = {order.stays: order for order in orders(Product(1, 8192, 4096, 4096), array_machine())}
    assert (found["weights stay"].input_reads, found["weights stay"].weight_reads) == (4, 1)
    assert (found["inputs stay"].input_reads, found["inputs stay"].weight_reads) == (1, 8)


@given(SIZES, SIZES, SIZES, st.sampled_from(["weight_stationary", "output_stationary"]))
def test_never_under_the_cells_or_the_bytes(rows: int, columns: int, depth: int, flow: str) -> None:
    m = array_machine(**{"matrix.dataflow": flow})
    p = Product(1, rows, columns, depth)
    traffic = Traffic(2.0 * depth * columns, 2.0 * rows * depth, 2.0 * rows * columns, 0.0)
    cost = price_array_product(p, traffic, m)
    assert array_cycles(p, m) >= p.macs / (128 * 128)
    assert cost.seconds >= p.macs / m.peak_macs_per_s
    assert cost.far_bytes is not None
    assert cost.far_bytes >= traffic.far
    assert cost.seconds >= traffic.far / m.dram_bytes_per_s


def test_two_cores_share_rows_or_columns() -> None:
    """Twice the cores halve a product that divides, but for the fill."""
    p, traffic = Product(1, 65536, 1024, 1024), Traffic(0.0, 0.0, 0.0, 0.0)
    one, two = (price_array_product(p, traffic, array_machine(**{"cores.count": n})).seconds for n in (1, 2))
    assert two == pytest.approx(one / 2, rel=0.01)


def test_units_share_the_rows_of_a_narrow_product() -> None:
    """128 columns fill one of 4 units; with 256 of 1,024 rows each, 256 + 382 cycles, if the port feeds all of them."""
    narrow = Product(1, 1024, 128, 128)
    wide_port = array_machine(**{"matrix.units": 4, "local.read": "4096 B/cycle"})
    one_row = array_machine(**{"matrix.units": 4, "local.read": "256 B/cycle"})  # 128 values of 2 bytes
    assert array_cycles(narrow, wide_port) == 256 + 382
    assert array_cycles(narrow, one_row) == 1024 + 382


def test_few_rows_of_weights_load_in_as_many_cycles() -> None:
    """8 rows stream past 64 x 128 weights: 16 folds of columns, 64 cycles each, not 128."""
    assert array_cycles(Product(1, 8, 16 * 128, 64), array_machine()) == 16 * 64 + 382


def test_a_narrower_dtype_packs_the_same_rows() -> None:
    """TPU v5e's 256 rows in int8 are the 128 of bf16: half the folds, and neither load nor fill takes longer."""
    keys = {"matrix.units": 1, "peak": {}, "published": {}, "evidence": "estimate", "local.weight_read": "4096 B/cycle"}
    chip = Chip.load("tpu-v5e").replace({**keys, "local.accumulator": "64 MiB"})  # pyright: ignore[reportArgumentType]
    wide, narrow = (array_cycles(Product(1, 16, 128, 1024), machine(chip, dtype)) for dtype in ("bf16", "int8"))
    assert (wide, narrow) == (8 * 128 + 382, 4 * 128 + 382)


def test_what_is_read_again_comes_from_the_shared_level() -> None:
    """8,192 x 4,096 x 4,096 fits no local memory; behind a shared level far memory moves each operand once."""
    p, traffic = Product(1, 8192, 4096, 4096), Traffic(2.0 * 4096**2, 2.0 * 8192 * 4096, 2.0 * 8192 * 4096, 0.0)
    alone = price_array_product(p, traffic, array_machine())
    behind = price_array_product(p, traffic, machine(Chip.load("tpu-v4"), "bf16"))
    assert behind.far_bytes == traffic.far < (alone.far_bytes or 0.0)
