"""The forecast of attention: formulas worked by hand, limits, and what a chip's keys change."""

from __future__ import annotations

import heapq
import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onchip import pipeline
from onchip.chip import Chip
from onchip.forecast.attention import library_tile, steps, tiles, waves_s
from onchip.forecast.attention_decode import stream_s
from onchip.forecast.attention_step import Tile, step_s
from onchip.forecast.heads import Heads
from onchip.forecast.machine import machine
from onchip.forecast.traffic import Start
from onchip.ir.build import GraphBuilder
from onchip.ir.forecast import Forecast
from onchip.silicon.workloads import draw

A100, H100 = Chip.load("a100-sxm-80gb"), Chip.load("h100-sxm")
HEADS = Heads(batch=1, heads=8, groups=8, queries=1024, keys=1024, width=128, value_width=128)


def attention(
    chip: Chip = A100, *, dtype: str = "bf16", start: Start = "activations", group: int = 1, **sizes: int
) -> Forecast:
    """Return the forecast of one attention node as rows of measurements draw it."""
    given = {"batch": 1, "heads": 8, "q_len": 1024, "kv_len": 1024, "head_dim": 128, "causal": 0} | sizes
    given["kv_heads"] = given["heads"] // group
    graph = draw("attention", tuple((key, str(value)) for key, value in given.items()))
    return pipeline.forecast(graph, chip, dtype=dtype, start=start)


def parts(made: Forecast) -> dict[str, float]:
    (step,) = made.steps
    return {cause: seconds for cause, seconds in step.causes if seconds}


# --- tiles and waves


@given(
    st.lists(st.integers(1, 20), min_size=1, max_size=6),
    st.integers(1, 9),
    st.integers(1, 12),
)
@settings(max_examples=60, deadline=None)
def test_waves_are_those_of_a_queue(lengths: list[int], copies: int, slots: int) -> None:
    """The closed form is the end of a queue that gives the next tile to the slot that is free first."""
    ascending = sorted(lengths)
    free = [0] * slots
    for length in itertools.chain.from_iterable([length] * copies for length in ascending):
        heapq.heappush(free, heapq.heappop(free) + length)
    assert waves_s(np.array(ascending, float), copies, slots) == max(free)


def test_a_causal_mask_hides_steps() -> None:
    """1024 queries in tiles of 256: the first sees 256 of the keys, the last all; against a longer cache 1024 more."""
    causal = replace(HEADS, is_causal=True)
    assert steps(causal, Tile(256, 128)).tolist() == [2, 4, 6, 8]
    assert steps(HEADS, Tile(256, 128)).tolist() == [8, 8, 8, 8]
    assert steps(replace(causal, keys=2048), Tile(256, 128)).tolist() == [10, 12, 14, 16]
    assert steps(replace(causal, queries=1000, keys=1000), Tile(256, 128)).tolist() == [2, 4, 6, 8]


def test_a_step_on_a100_by_hand() -> None:
    """64 x 128 scores of width 128: 2 x 64 x 128 x 128 MACs at 1024 a cycle; 16 exp and 64 others a cycle; each 16 rows
    load 128 keys and values, 512 bytes each, at 128 bytes a cycle, and wait for a third of it.
    """
    m = replace(machine(A100, "bf16"), achieved=1.0)
    matrix, vector = step_s(HEADS, Tile(64, 128), m)
    assert matrix * 1.41e9 == pytest.approx(2 * 64 * 128 * 128 / 1024)
    loads = 0.33 * 4 * 128 * 512 / 128
    assert vector * 1.41e9 == pytest.approx(64 * 128 * (1 / 16 + 4 / 64) + 64 * 128 / 64 + loads)


def test_overlap_hides_the_shorter_unit() -> None:
    both = [
        step_s(HEADS, Tile(64, 128), machine(A100.replace({"overlap.matrix_vector": share}), "bf16"))
        for share in (0.0, 0.5, 1.0)
    ]
    assert both[0][0] == both[2][0]
    assert both[1][1] == pytest.approx(both[0][1] / 2)
    assert both[2][1] == pytest.approx(0.0)


def test_tiles_fit_the_memories_of_a_core() -> None:
    """A100: 164 KiB of local memory, 256 KiB of registers; sums of a tile are 32-bit scores and outputs."""
    long, m = replace(HEADS, queries=4096, keys=4096), machine(A100, "bf16")
    assert library_tile(long, m) == Tile(64, 128, 2)
    for tile in tiles(long, m):
        assert tile.resident * 2 * (tile.rows * 128 + tile.keys * 256) <= 164 * 1024
        assert tile.resident * tile.rows * (4 * 128 + 6 * tile.keys) <= 256 * 1024


def test_wide_heads_take_tall_tiles_alone() -> None:
    """64 x 64 of width 256 twice are 192 KiB; 128 x 64 alone are 128 KiB, and fill a core as well."""
    assert library_tile(replace(HEADS, width=256, value_width=256), machine(A100, "bf16")) == Tile(128, 64, 1)


def test_as_many_tiles_share_a_core_as_fit() -> None:
    """Keys that the shared level feeds slowly want tall tiles: 128 x 128 of width 64 twice are just 256 KiB of sums."""
    slow = machine(H100.replace({"achieved.shared": 1.0}), "bf16")
    assert library_tile(replace(HEADS, width=64, value_width=64), slow) == Tile(128, 128, 2)


def test_heads_are_padded_to_the_unit() -> None:
    m = machine(A100, "bf16")
    narrow, wide = (step_s(replace(HEADS, width=w, value_width=w), Tile(64, 64), m)[0] for w in (76, 80))
    assert narrow == wide


def test_each_unit_of_an_array_chip_takes_a_head() -> None:
    """Four 128 x 128 units: 512 x 512 scores of width 128 are 4 + 4 folds of a unit, a quarter of them each."""
    m = replace(machine(Chip.load("tpu-v4"), "bf16"), achieved=1.0)
    matrix, _ = step_s(HEADS, Tile(512, 512), m)
    cycles = matrix * m.clock_hz
    assert 8 * 512 / 4 <= cycles <= 1.2 * 8 * 512 / 4


# --- memory


def test_streams_by_hand() -> None:
    """Ten tiles of 100 bytes on four cores: two full waves at 40 bytes a second, two tiles at 2 x 15."""
    assert stream_s(10, 100.0, 4, 40.0, 15.0) == pytest.approx(800 / 40 + 200 / 30)
    assert stream_s(3, 100.0, 4, 1000.0, 15.0) == pytest.approx(100 / 15)


@pytest.mark.parametrize("chip", [A100, H100, Chip.load("tpu-v4"), Chip.load("mi300x")], ids=lambda chip: chip.name)
@pytest.mark.parametrize("sizes", [(64, 1, 4096, 1), (64, 1, 4096, 8), (8, 1024, 1024, 1), (4, 4096, 4096, 4)])
def test_no_forecast_is_under_its_bounds(chip: Chip, sizes: tuple[int, int, int, int]) -> None:
    """Each tensor crosses the bandwidth once from cold memory, and products run at no more than the peak."""
    batch, queries, keys, group = sizes
    made = attention(chip, start="cold", batch=batch, q_len=queries, kv_len=keys, group=group)
    elements = 2 * batch * 128 * (8 * queries + 8 // group * keys)
    macs = 2 * batch * 8 * queries * keys * 128
    peak = chip.peak_macs_per_cycle("bf16") * chip.clock_of("bf16") * chip.cores.count
    assert made.device_s >= max(2 * elements / chip.dram.bandwidth_bytes_per_s, macs / peak)
    assert made.dram_bytes >= 2 * elements


def test_long_decodes_stream_at_the_achieved_bandwidth() -> None:
    made = attention(batch=128, heads=64, q_len=1, kv_len=2048)
    read = 2 * 2 * 128 * 64 * 2048 * 128 / (A100.dram.bandwidth_bytes_per_s * A100.achieved.dram)
    assert read < made.device_s < 1.03 * read


def test_idle_cores_take_splits_of_the_keys() -> None:
    """One sequence of 8 heads: 8 runs of 1024 keys and more each; 64 heads fill more than half of the cores."""
    assert "8 splits on 64 cores" in attention(q_len=1, kv_len=16384).steps[0].how
    assert "1 splits" in attention(q_len=1, kv_len=1024).steps[0].how
    assert "1 splits" in attention(heads=64, q_len=1, kv_len=16384).steps[0].how


def test_keys_that_stay_on_the_chip_are_read_faster() -> None:
    """16.8 MB of keys and values are less than half of 40 MiB, and twice as many are not."""
    near, far = (attention(heads=heads, q_len=1, kv_len=1024) for heads in (32, 64))
    cold = attention(heads=32, q_len=1, kv_len=1024, start="cold")
    assert "shared" in parts(near)
    assert near.device_s < cold.device_s < far.device_s


def test_heads_that_share_keys_read_them_once() -> None:
    shared, own = (attention(batch=64, heads=64, q_len=1, kv_len=4096, group=group).device_s for group in (8, 1))
    assert shared < own / 6


# --- the whole


def test_more_of_anything_is_not_faster() -> None:
    for queries in (1, 2048):
        longer = [attention(q_len=queries, kv_len=keys, batch=16).device_s for keys in (2048, 4096, 8192)]
        assert longer == sorted(longer)
    wider = [attention(head_dim=width, batch=16).device_s for width in (64, 128, 256)]
    assert wider == sorted(wider)
    causal, full = (attention(batch=8, q_len=8192, kv_len=8192, causal=c).device_s for c in (1, 0))
    assert full / 2 < causal < 0.65 * full


@pytest.mark.parametrize("key", ["dram.bandwidth", "shared.0.bandwidth", "clock.core"])
@pytest.mark.parametrize("queries", [1, 2048])
def test_a_faster_chip_is_not_slower(key: str, queries: int) -> None:
    bare = A100.replace({"dram.latency": "400 ns"})
    value = {"dram.bandwidth": "4078 GB/s", "shared.0.bandwidth": "14438 GB/s", "clock.core": "1413 MHz"}[key]
    faster = bare.replace({key: value}) if key == "clock.core" else _without_published(bare, key, value)
    slow, fast = (attention(chip, batch=16, q_len=queries, kv_len=2048).device_s for chip in (bare, faster))
    assert fast <= slow


def _without_published(chip: Chip, key: str, value: str) -> Chip:
    text = str(chip.replace({"description": "faster"}))
    kept = "\n".join(line for line in text.split("\n") if not line.startswith(("bus =", "data_rate =", 'shared = "')))
    return Chip.parse(kept).replace({key: value})


def test_short_sequences_take_a_core_for_each_head() -> None:
    """Kernels of a fixed length: 16 heads of one sequence leave cores idle, and take as long as 4 x 16 of them.

    With a causal mask, or more than 512 tokens, tiles of queries are handed out.
    """
    one, four = (attention(batch=b, heads=16, q_len=384, kv_len=384, head_dim=64) for b in (1, 4))
    assert four.device_s == pytest.approx(one.device_s, rel=0.05)
    masked = attention(batch=1, heads=16, q_len=384, kv_len=384, head_dim=64, causal=1)
    assert masked.device_s - 2 * 2.5e-6 < 0.6 * one.device_s  # less the kernels of its cache
    longer = attention(batch=1, heads=16, q_len=513, kv_len=513, head_dim=64)
    assert longer.device_s < one.device_s


def test_a_cache_costs_kernels_of_its_own() -> None:
    """A decoder with keys from outside of the graph has three launches; an encoder, or keys made inside, has one."""
    launch = float(A100.launch.in_graph_s)
    assert attention(causal=1).steps[0].launches == attention(q_len=1).steps[0].launches == 3
    assert attention().steps[0].launches == 1
    assert attention().steps[0].causes[-1] == ("launch", launch)
    builder = GraphBuilder("inside")
    x = builder.input("x", (1, 64, 256))
    made = [builder.node("linear", (x, builder.constant(f"w{name}", (256, 256), "f32")), name) for name in "qkv"]
    builder.output(str(builder.node("attention", tuple(map(str, made)), "attend", heads=4, causal=True)))
    assert pipeline.forecast(builder.finish(), A100, dtype="bf16").steps[-1].launches == 1


def test_chips_without_floats_keep_rows_or_spill_them() -> None:
    """Four rows of 65,536 int8 scores are more than 256 KiB: scores go to far memory and back."""
    chip = Chip.load("edge-npu-16")
    short, long = (attention(chip, dtype="int8", heads=1, q_len=64, kv_len=n, start="cold") for n in (512, 65536))
    tensors = 128 * (2 * 64 + 2 * 512)
    assert short.dram_bytes == tensors
    assert long.dram_bytes >= 128 * (2 * 64 + 2 * 65536) + 2 * 64 * 65536


def test_hopper_comes_near_to_what_is_published_for_it() -> None:
    """Shah 2024 (FlashAttention-3), abstract: 0.75 of the peak at best, with 16-bit operands."""
    made = attention(H100, batch=1, heads=16, q_len=16384, kv_len=16384)
    peak = H100.peak_macs_per_cycle("bf16") * H100.clock_of("bf16") * H100.cores.count
    assert 0.5 < 2 * 16 * 16384**2 * 128 / peak / made.device_s <= 0.75


ROWS = {  # measured on a100-sxm-80gb: batch, heads, queries, keys -> milliseconds (onchip/silicon/data)
    (1, 64, 16384, 16384): 29.786794,
    (1, 8, 4096, 4096): 0.377173,
    (8, 64, 1024, 1024): 1.5802,
    (1, 64, 1, 8192): 0.2125,
    (64, 64, 1, 2048): 2.440192,
    (1, 8, 1, 2): 0.0109,
}


@pytest.mark.parametrize("sizes", ROWS, ids=str)
def test_rows_that_were_measured(sizes: tuple[int, int, int, int]) -> None:
    """The targets' medians: 6 % where all tokens are new, 12 % for one new token."""
    batch, heads, queries, keys = sizes
    made = attention(batch=batch, heads=heads, q_len=queries, kv_len=keys, causal=int(queries > 1))
    assert made.device_s * 1e3 == pytest.approx(ROWS[sizes], rel=0.06 if queries > 1 else 0.12)
