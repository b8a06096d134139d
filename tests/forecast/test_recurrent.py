"""Recurrent layers: steps by hand, where weights lie, every attribute."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onchip import pipeline
from onchip.chip import Chip
from onchip.forecast.forecast import forecast
from onchip.forecast.machine import machine
from onchip.forecast.recurrent import near_share
from onchip.ir.build import GraphBuilder
from onchip.ir.forecast import Forecast
from onchip.ir.graph import Graph
from onchip.silicon.bounds import work_of
from onchip.zoo import catalog

GATES = {"lstm": 4, "gru": 3, "rnn": 1}
GPU, NPU = "v100-sxm", "edge-npu-16"


def layer(op: str, hidden: int, batch: int, steps: int, features: int = 8, **attributes: bool) -> Graph:
    builder = GraphBuilder(op)
    rows = GATES[op] * hidden
    x = builder.input("x", (batch, steps, features))
    w_ih, w_hh = builder.constant("w_ih", (rows, features), "f32"), builder.constant("w_hh", (rows, hidden), "f32")
    made = builder.node(op, (x, w_ih, w_hh), op, hidden=hidden, **attributes)
    builder.output(made if isinstance(made, str) else made[0])
    return builder.finish()


def priced(graph: Graph, chip: str | Chip, dtype: str) -> Forecast:
    return forecast(graph, Chip.load(chip) if isinstance(chip, str) else chip, dtype, start="cold")


def test_a_step_streams_the_weights_by_hand() -> None:
    """LSTM of 4,096: 16,384 x 4,096 weights of 2 bytes in each step, at the achieved bandwidth, without launches."""
    chip = Chip.load(GPU).replace({"launch.in_graph": "0 us"})
    short, long = (priced(layer("lstm", 4096, 1, steps), chip, "fp16").device_s for steps in (10, 20))
    stream = 16384 * 4096 * 2 / (900e9 * chip.achieved.dram)
    assert long - short == pytest.approx(10 * stream, rel=2e-3) and long - short > 10 * stream


def test_a_step_computes_its_products_by_hand() -> None:
    """At batch 1,024 the products take longer than the stream: 1,024 x 2,048 x 6,144 MACs of fp32 lanes."""
    chip = Chip.load(GPU).replace({"launch.in_graph": "0 us"})
    short, long = (dict(steps_of(priced(layer("gru", 2048, 1024, t), chip, "fp32")))["matrix"] for t in (10, 20))
    macs = 1024 * 2048 * 6144 / (80 * 64 * 1530e6 * chip.achieved.vector)
    assert long - short == pytest.approx(10 * macs, rel=0.05)


def steps_of(made: Forecast) -> list[tuple[str, float]]:
    totals = dict[str, float]()
    for cause, seconds in made.steps[0].causes:
        totals[cause] = totals.get(cause, 0.0) + seconds
    return list(totals.items())


def test_weights_in_a_cache_are_read_once() -> None:
    """RNN of 512: 1 MiB of 6; of 2,048: 16 MiB."""
    small, large = ([priced(layer("rnn", h, 4, t), GPU, "fp32").dram_bytes for t in (10, 110)] for h in (512, 2048))
    assert small[1] - small[0] == 4 * 100 * (8 + 512) * 4  # inputs and outputs
    assert large[1] - large[0] == pytest.approx(100 * 2048 * 2048 * 4, rel=0.02)


def test_weights_stay_in_local_memories_where_they_fit() -> None:
    """GRU of 256 in int8: 192 KiB."""
    graph = layer("gru", 256, 1, 50)
    fits, streams = (
        priced(graph, Chip.load(NPU).replace({"local.size": size}), "int8").dram_bytes
        for size in ("512 KiB", "128 KiB")
    )
    assert streams - fits >= 49 * 3 * 256 * 256 - 2 * 50 * 3 * 256
    assert fits < 2 * 3 * 256 * 264 + 50 * 264


def test_near_shares_fall() -> None:
    m = machine(Chip.load(GPU), "fp32")
    assert [near_share(x * 6 * 2**20, m) for x in (0.1, 0.5, 1.0, 2.0)] == [1.0, 1.0, 0.0, 0.0]
    assert 0 < near_share(0.85 * 6 * 2**20, m) < 1


def test_a_product_after_the_reset_is_one_more() -> None:
    """256 hidden units on 16 x 16 cells, weights loaded while rows stream: each product fills the array once."""
    one, two = (
        priced(layer("gru", 256, 1, 20, linear_before_reset=flag), NPU, "int8").device_s for flag in (True, False)
    )
    assert one < two < one * 1.1


@pytest.mark.parametrize("op", GATES)
def test_both_directions_take_the_same(op: str) -> None:
    forth, back = (priced(layer(op, 256, 2, 9, reverse=flag), GPU, "fp32").device_s for flag in (False, True))
    assert forth == back


@settings(max_examples=30, deadline=None)
@given(
    st.sampled_from(sorted(GATES)),
    st.sampled_from([(GPU, "fp16"), ("h100-sxm", "bf16"), ("tpu-v4", "bf16"), (NPU, "int8")]),
    st.integers(1, 40).map(lambda n: 16 * n),
    st.integers(1, 64),
    st.integers(1, 60),
)
def test_never_under_the_roofline_and_no_step_is_free(
    op: str, chip: tuple[str, str], hidden: int, batch: int, steps: int
) -> None:
    graph, loaded = layer(op, hidden, batch, steps), Chip.load(chip[0])
    made, more = (priced(layer(op, hidden, batch, t), loaded, chip[1]).device_s for t in (steps, steps + 1))
    assert work_of(graph, chip[1]).roofline_s(loaded, chip[1]) <= made < more


@pytest.mark.parametrize(("name", "op"), [("digits_lstm", "lstm"), ("seq2seq-gru", "gru")])
def test_networks_of_the_zoo_have_a_price(name: str, op: str) -> None:
    graph = catalog.build(name)
    for chip, dtype in ((GPU, "fp16"), ("tpu-v4", "bf16"), (NPU, "int8")):
        made = pipeline.forecast(graph, chip, dtype=dtype)
        assert {step.op for step in made.steps} >= {op} and made.device_s > 0
