"""`pipeline.check`: networks whose refused, vector and matrix nodes are known by construction, and the zoo.

The witness of a refusal is `estimate`: it refuses iff the check lists something.
"""

from __future__ import annotations

from random import Random

import numpy as np
import pytest

from onchip import pipeline
from onchip.chip import Chip
from onchip.errors import DoesNotFit, NotSupported
from onchip.ir.build import GraphBuilder
from onchip.ir.check import Check
from onchip.ir.graph import Graph
from onchip.passes.fold import fold
from onchip.probe import GUARD, claim, part
from onchip.zoo.catalog import ZOO, build
from tests.networks import network, small_chip

SMALL = (
    "digits_attention",
    "digits_cnn",
    "digits_lstm",
    "ds_cnn",
    "fc_autoencoder",
    "resnet8",
    "llama-260k",
    "yolov5s",
)
CHIPS = ("edge-npu-16", "h100-sxm")


def conv(b: GraphBuilder, x: str, name: str, n: int, *, size: int = 3, groups: int = 1) -> str:
    c = int(b.shape(x)[-1])
    w = b.constant(f"{name}.weight", (n, size, size, c // groups))
    half = size // 2
    made = b.node("conv2d", (x, w), name, groups=groups, padding=(half, half, half, half))
    assert isinstance(made, str)
    return made


def one(b: GraphBuilder, op: str, name: str, *inputs: str, **attributes: str | float | tuple[int, ...]) -> str:
    made = b.node(op, inputs, name, **attributes)
    assert isinstance(made, str)
    return made


def mixed() -> Graph:
    """Draw a network of 11 nodes: 3 refused, of which 2 for one reason, and something of every other unit."""
    b = GraphBuilder("mixed")
    x = b.input("x", ("batch", 8, 8, 16))
    y = one(b, "relu", "act", conv(b, x, "first", 16))
    y = conv(b, y, "deep", 16, groups=16)
    y = one(b, "pow", "power", y, b.constant("two", np.array(2.0, np.float32)))
    y = one(b, "resize", "large", y, sizes=(8, 8), mode="bicubic")
    y = conv(b, y, "grouped", 16, groups=4)
    y = one(b, "max_pool2d", "pool", y, kernel=(3, 3), stride=(1, 1))
    y = one(b, "resize", "larger", y, sizes=(6, 6), mode="bicubic")
    y = one(b, "reshape", "flat", y, shape=(0, 576))
    y = one(b, "linear", "fc", y, b.constant("fc.weight", (10, 576)))
    b.output(one(b, "gelu", "last", y))
    return b.finish()


def unit_of(check: Check) -> dict[str, str]:
    return {node.name: node.unit for node in check.nodes if not node.is_added}


def is_refused(graph: Graph, chip: str | Chip) -> bool:
    try:
        pipeline.estimate(graph, chip)
    except (NotSupported, DoesNotFit):
        return True
    return False


@pytest.mark.parametrize("chip", CHIPS)
def test_every_refusal_is_found_and_the_rest_is_where_it_runs(chip: str) -> None:
    made = pipeline.check(mixed(), chip)
    assert unit_of(made) == {
        "first": "matrix", "act": "fused", "deep": "vector", "power": "refused", "large": "refused",
        "grouped": "matrix",
        "pool": "vector", "larger": "refused", "flat": "free", "fc": "matrix", "last": "fused",
    }  # fmt: skip
    kernels = {node.name: node.kernel for node in made.of("fused")}
    assert kernels == {"act": "first", "last": "fc"}
    causes = {node.name: node.cause for node in made.of("refused")}
    assert causes["power"] is not None and causes["power"].code == ("OC1380" if made.dtype == "int8" else "OC1305")
    assert {causes["large"], causes["larger"]} == {causes["large"]} and causes["large"] is not None
    assert causes["large"].code == "OC1305"
    assert is_refused(mixed(), chip)


def test_work_is_counted_once_with_the_node_that_does_it() -> None:
    nodes = {node.name: node for node in pipeline.check(mixed(), "edge-npu-16").nodes}
    assert nodes["first"].macs == 64 * 9 * 16 * 16 and nodes["deep"].macs == 64 * 9 * 16
    assert nodes["grouped"].macs == 64 * 9 * 16 * 4 and nodes["larger"].macs == 0
    assert nodes["fc"].macs == 5760
    assert sum(node.macs for node in nodes.values()) == mixed().bind(batch=1).macs()
    assert nodes["act"].vector_ops == 1024 and nodes["last"].vector_ops > 0


def test_a_transpose_beside_a_refused_node_is_not_the_hosts() -> None:
    """It runs on the chip once the refused node does; at the graph's own edge it is the host's."""
    b = GraphBuilder("moves")
    x = b.input("x", (1, 8, 8, 16))
    y = one(b, "transpose", "edge", x, perm=(0, 2, 1, 3))
    two = b.constant("two", np.array(2.0, np.float32))
    y = one(b, "pow", "power", conv(b, y, "first", 8), two)
    y = one(b, "transpose", "behind", y, perm=(0, 3, 1, 2))
    y = one(b, "softmax", "rows", y)
    y = one(b, "transpose", "ahead", y, perm=(0, 2, 3, 1))
    b.output(one(b, "softmax", "out", one(b, "resize", "large", y, sizes=(8, 8), mode="bicubic")))
    made = pipeline.check(b.finish(), "edge-npu-16")
    units = unit_of(made)
    assert units["edge"] == "host" and units["behind"] == units["ahead"] == "vector"
    assert {node.name for node in made.of("refused")} == {"power", "large"}
    assert not any(node.name.startswith(GUARD) for node in made.nodes)
    assert [node.name for node in made.nodes if node.is_added] == ["edge.quantize", "out.dequantize"]


def test_one_kernels_nodes_do_not_hide_each_other() -> None:
    """What does not fit alone and what would be fused into it are told apart."""
    chip = Chip.load("edge-npu-16").replace({"local.size": "4KiB"})
    b = GraphBuilder("wide")
    y = conv(b, b.input("x", (1, 1, 4096, 64)), "big", 64, size=5)
    b.output(one(b, "gelu", "act", y))
    made = pipeline.check(b.finish(), chip)
    (refused,) = made.of("refused")
    assert refused.name == "big" and refused.cause is not None and refused.cause.code == "OC2101"
    assert "has 4096" in refused.cause.limit
    assert unit_of(made)["act"] == "vector"


def test_what_does_not_fit_only_together_is_the_networks() -> None:
    """Two weights of half the DRAM: each tensor fits, both do not."""
    chip = Chip.load("tiny-npu-4").replace({"dram.size": "160KiB"})
    b = GraphBuilder("both")
    left, right = b.input("left", (1, 64, 1024)), b.input("right", (1, 64, 1024))
    for name in (left, right):
        b.output(one(b, "gelu", f"{name}.gelu", name))
    made = pipeline.check(b.finish(), chip)
    assert not made.of("refused") and [cause.code for cause in made.network] == ["OC2001"]
    assert made.is_refused and is_refused(b.finish(), chip)
    assert unit_of(made) == {"left.gelu": "vector", "right.gelu": "vector"}


def test_a_batch_beyond_the_dram_is_refused_where_it_is_too_large() -> None:
    made = pipeline.check(build("digits_cnn", batch=1_000_000), "tiny-npu-4")
    assert {node.cause.code for node in made.of("refused") if node.cause} == {"OC2001"}


def test_a_quantized_network_is_not_quantized_again() -> None:
    chip = Chip.load("edge-npu-16")
    made = pipeline.compile_graph(mixed_without_power(), chip)
    check = pipeline.check(made, chip)
    assert check.dtype == "int8"
    assert {node.name for node in check.of("refused")} == {"largest"}
    double = str(chip).replace('modes = ["single"]', 'modes = ["double"]')
    other = pipeline.check(made, Chip.parse(double))
    assert {node.cause.code for node in other.of("refused") if node.cause} == {"OC1305", "OC1330"}


def mixed_without_power() -> Graph:
    b = GraphBuilder("quantized")
    y = conv(b, conv(b, b.input("x", (1, 8, 8, 16)), "first", 16), "grouped", 16, groups=4)
    y = one(b, "reduce_max", "largest", y, axes=(3,), keepdims=True)
    b.output(one(b, "max_pool2d", "pool", y, kernel=(2, 2), stride=(2, 2)))
    return b.finish()


def test_a_chip_without_the_dtype_is_a_mistake() -> None:
    with pytest.raises(NotSupported, match="OC1301"):
        pipeline.check(mixed(), "edge-npu-16", dtype="bf16")


def test_a_part_is_a_graph_with_the_same_nodes() -> None:
    folded = fold(build("resnet8", batch=1))
    for node in folded.nodes:
        made = part(folded, [node])
        assert node in made.nodes and made.node_macs(node.name) == folded.node_macs(node.name)
    assert part(folded, folded.nodes).nodes == folded.nodes


def test_a_claim_is_op_attributes_shapes_and_dtypes_not_names() -> None:
    b = GraphBuilder("claims")
    y = conv(b, b.input("x", (1, 8, 8, 16)), "one", 16)
    y = conv(b, conv(b, y, "two", 16), "other", 16, groups=16)
    y = one(b, "clip", "low", one(b, "clip", "lower", y, low=-1.0, high=3.0), low=-1.0, high=3.0)
    b.output(one(b, "clip", "high", y, low=-1.0, high=4.0))
    graph = b.finish()
    claims = {node.name: claim(graph, [node]) for node in graph.nodes}
    assert claims["one"] == claims["two"] != claims["other"]
    assert claims["lower"] == claims["low"] != claims["high"]
    halved = pipeline.compile_graph(graph, Chip.load("h100-sxm"))
    assert claims["one"] != claim(halved, [halved.node("one")])


@pytest.mark.parametrize("seed", range(40))
def test_random_networks_are_refused_iff_estimate_refuses_them(seed: int) -> None:
    rng = Random(seed)
    graph, chip = network(rng), small_chip(rng)
    assert pipeline.check(graph, chip).is_refused == is_refused(graph, chip)


def agree(name: str, chip: str) -> None:
    graph = build(name, batch=1)
    made = pipeline.check(graph, chip)
    assert made.is_refused == is_refused(graph, chip)
    names = [node.name for node in made.nodes]
    assert len(set(names)) == len(names)
    assert [node.name for node in made.nodes if not node.is_added] == [node.name for node in graph.nodes]
    assert sum(node.macs for node in made.nodes) == fold(graph).macs()


@pytest.mark.parametrize("chip", CHIPS)
@pytest.mark.parametrize("name", SMALL)
def test_small_networks_are_refused_iff_estimate_refuses_them(name: str, chip: str) -> None:
    agree(name, chip)


@pytest.mark.slow
@pytest.mark.parametrize("chip", CHIPS)
@pytest.mark.parametrize("name", sorted(set(ZOO) - set(SMALL)))
def test_all_networks_are_refused_iff_estimate_refuses_them(name: str, chip: str) -> None:
    agree(name, chip)
