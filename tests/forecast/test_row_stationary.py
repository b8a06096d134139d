"""Row-stationary arrays: forms worked by hand, limits of the silicon, published mappings and layers."""

from __future__ import annotations

import csv
from dataclasses import replace
from math import ceil
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from onchip import pipeline
from onchip.chip import Chip
from onchip.errors import BadFile
from onchip.forecast import row_stationary
from onchip.forecast.conv import Conv
from onchip.forecast.machine import machine
from onchip.forecast.row_stationary import Cells, Mapping, best_mapping, cells_of, run_length
from onchip.ir.forecast import Step
from onchip.silicon.workloads import draw

EYERISS = Chip.load("eyeriss-v1")
CELLS = cells_of(machine(EYERISS, "int16"))
TABLE = Path(pipeline.__file__).parent / "silicon" / "data" / "eyeriss_alexnet.csv"
# e p q r t of JSSC 2017, table III, as far as active cells and traffic of the buffer in table V tell them apart
PUBLISHED = {
    "conv1": (7, 16, 1, 1, 2),
    "conv2": (27, 16, 2, 1, 1),
    **dict.fromkeys(("conv3", "conv4", "conv5"), (13, 16, 3, 2, 2)),
}


def published() -> dict[str, dict[str, str]]:
    with TABLE.open(encoding="utf-8") as file:
        return {row["layer"].lower(): row for row in csv.DictReader(file)}


def layer(name: str, chip: Chip = EYERISS) -> Step:
    zeros = float(published()[name]["zeros_in_ifmap_pct"]) / 100
    graph = draw("layer", (("network", "alexnet"), ("layer", name), ("batch", "4")))
    (step,) = pipeline.forecast(graph, chip, dtype="int16", zeros=zeros).steps
    return step


def mapped(conv: Conv, cells: Cells = CELLS, rate: float = 2.4) -> Mapping:
    weights = 2 * conv.groups * conv.filters * conv.channels * conv.window[0] * conv.window[1]
    inputs = 2 * conv.images * conv.groups * conv.channels * conv.rows * conv.columns
    return best_mapping(conv, cells, weights, inputs, 2 * conv.pixels * conv.groups * conv.filters, rate)


def test_the_chip_file_has_the_cells_of_the_paper() -> None:
    assert (CELLS.rows, CELLS.columns, CELLS.weights, CELLS.inputs, CELLS.sums) == (12, 14, 224, 12, 24)
    assert (CELLS.buffer, CELLS.next_weights) == (100 * 512, 8 * 512)
    assert (CELLS.weight_bus, CELLS.sum_bus, CELLS.input_bus) == (4, 4, 1)


@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_layers_of_alexnet_map_as_published(name: str) -> None:
    step, row = layer(name), published()[name]
    cells, *sizes = step.how.replace(" cells,", "").split()
    found = dict(size.split("=") for size in sizes)
    assert tuple(int(found[key]) for key in "epqrt") == PUBLISHED[name]
    assert int(cells) == int(row["active_pes"])
    assert step.near_bytes is not None
    assert step.near_bytes / 1e6 == pytest.approx(float(row["glb_access_mb"]), rel=0.005)
    assert step.seconds * 1e3 == pytest.approx(float(row["processing_latency_ms"]), rel=0.1)
    assert step.dram_bytes / 1e6 == pytest.approx(float(row["dram_access_mb"]), rel=0.15)


def test_cycles_by_hand() -> None:
    """CONV5: a pass is 4 images of 13 * 3 * 16 * 3 cycles, 432 + 270 + 104 before; 2 * 4 * 32 passes."""
    conv = Conv(4, 13, 13, 192, 128, 2, (3, 3), (1, 1), (1, 1))
    found = mapped(conv)
    assert (found.e, found.p, found.q, found.r, found.t, found.n, found.m) == (13, 16, 3, 2, 2, 4, 64)
    assert found.cycles == 2 * ceil(128 / 32) * ceil(192 / 6) * (4 * 13 * 3 * 16 * 3 + 432 + 270 + 104)
    assert found.buffer_words == 2 * 4 * 13 * 13 * 256 * 32 + 4 * 15 * 15 * 384 * 4
    assert (found.weight_reads, found.input_reads) == (1, 2)


def test_narrow_buses_decide_the_time() -> None:
    conv = Conv(1, 13, 13, 192, 128, 1, (3, 3), (1, 1), (1, 1))
    assert mapped(conv, replace(CELLS, sum_bus=0.1)).cycles > 3 * mapped(conv).cycles
    # one image, one input word a cycle at least: each strip of a channel is read for each pass of filters
    slow = mapped(conv, replace(CELLS, input_bus=0.01))
    assert slow.cycles >= 15 * 15 * 192 / 0.01


def test_run_lengths() -> None:
    """All zeros: a pair of 21 1/3 bits stands for 32 values; none: it is longer than the value and is not used."""
    assert run_length(1.0, 16) == pytest.approx(64 / 3 / 16 / 32)
    assert run_length(0.5, 16) == pytest.approx(64 / 3 / 16 * 0.5 / (1 - 0.5**32))
    assert run_length(0.0, 16) == 1.0


@settings(max_examples=60, deadline=None)
@given(
    images=st.integers(1, 4), rows=st.integers(1, 60), columns=st.integers(1, 40), channels=st.integers(1, 70),
    filters=st.integers(1, 70), groups=st.integers(1, 3), window=st.tuples(st.integers(1, 15), st.integers(1, 15)),
    stride=st.integers(1, 4),
)  # fmt: skip
def test_no_mapping_is_faster_than_its_cells(
    images: int, rows: int, columns: int, channels: int, filters: int, groups: int, window: tuple[int, int], stride: int
) -> None:
    conv = Conv(images, rows, columns, channels, filters, groups, window, (stride, stride), (1, 1))
    found = mapped(conv)
    assert found.cycles * found.active >= conv.macs
    assert found.active <= CELLS.rows * CELLS.columns
    s = ceil(window[1] / ceil(window[1] / 11))
    assert found.p * found.q * s <= CELLS.weights
    assert found.q * s < CELLS.inputs
    assert found.p <= CELLS.sums


def every_pair(total: int, most_a: int, most_b: int, apart: int) -> NDArray[np.bool_]:
    """Return all sizes of which none has nothing to do: what `_least` chooses from."""
    a, b = np.arange(1, most_a + 1)[:, None], np.arange(1, most_b + 1)
    return (b - 1) * a < total


@settings(max_examples=40, deadline=None)
@given(
    images=st.sampled_from((1, 2, 6)), side=st.integers(1, 30), channels=st.integers(1, 70),
    filters=st.integers(1, 70), groups=st.sampled_from((1, 1, 3, 16)), window=st.sampled_from((1, 3, 5)),
    rate=st.sampled_from((0.01, 2.4, 100.0)), buses=st.sampled_from((0.05, 1.0, 4.0)),
)  # fmt: skip
def test_the_short_search_finds_what_the_whole_one_finds(
    images: int, side: int, channels: int, filters: int, groups: int, window: int, rate: float, buses: float
) -> None:
    conv = Conv(images, side, side, channels, filters, groups, (window, window), (1, 1), (1, 1))
    cells = replace(CELLS, rows=6, columns=7, buffer=3000, next_weights=500, sum_bus=buses, input_bus=buses)
    row_stationary.best_mapping.cache_clear()
    found = mapped(conv, cells, rate)
    row_stationary.best_mapping.cache_clear()
    with patch.object(row_stationary, "_least", every_pair):
        assert found == mapped(conv, cells, rate)


def test_groups_beside_each_other_are_searched_in_full() -> None:
    """One filter a group: how many groups are in a pass depends on r t, so no r and t stands for another."""
    conv = Conv(1, 12, 12, 2, 1, 3, (3, 3), (1, 1), (1, 1))
    row_stationary.best_mapping.cache_clear()
    found = mapped(conv)
    row_stationary.best_mapping.cache_clear()
    with patch.object(row_stationary, "_least", every_pair):
        assert found == mapped(conv)


def test_fully_connected_layers_wait_for_their_weights() -> None:
    graph = draw("gemm", (("M", "3"), ("N", "4096"), ("K", "4096")))
    (step,) = pipeline.forecast(graph, EYERISS, dtype="int16").steps
    assert step.dram_bytes >= 2 * (4096 * 4096 + 2 * 3 * 4096)
    assert step.seconds >= step.dram_bytes / 0.48e9


def test_depthwise_layers_spread_their_groups() -> None:
    depthwise = mapped(Conv(1, 14, 14, 1, 1, 64, (3, 3), (1, 1), (1, 1)))
    assert depthwise.active == 168
    assert depthwise.cycles < 64 * 14 * 14 * 9


def test_a_row_stationary_chip_without_cells_is_refused() -> None:
    text = str(EYERISS)
    for line, why in (('cell_weights = "448 B"\n', "matrix.cell_weights"), ('cell_inputs = "24 B"\n', "cell_inputs")):
        assert line in text
        with pytest.raises(BadFile, match=f"OC1106.*{why}"):
            Chip.parse(text.replace(line, ""))
    with pytest.raises(BadFile, match=r"OC1106.*local\.read is larger"):
        EYERISS.replace({"local.read": "16 B/cycle"})
