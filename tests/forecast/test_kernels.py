"""Which nodes a runtime runs together, told by hand for small graphs, and laws for the networks of the zoo."""

from __future__ import annotations

import pytest

import onchip as oc
from onchip import pipeline
from onchip.forecast.kernels import RENAMES, Kernel, kernels_of, root
from onchip.forecast.product import product_of
from onchip.ir.build import GraphBuilder
from onchip.ir.graph import Graph
from onchip.passes.fold import fold

NETWORKS = ("bert-base", "resnet18", "densenet121", "mobilenet_v3_small", "yolov8n", "inception_v1", "swin_t", "gpt2")


def names(graph: Graph) -> list[list[str]]:
    return [[node.name for node in kernel.nodes] for kernel in kernels_of(graph)[0]]


def finish(builder: GraphBuilder, *outputs: str) -> Graph:
    for name in outputs:
        builder.output(name)
    return builder.finish()


def linear(builder: GraphBuilder, x: str, columns: int, name: str) -> str:
    width = int(builder.shape(x)[-1])
    return one(builder, "linear", (x, builder.constant(f"{name}.w", (columns, width), "f32")), name)


def one(builder: GraphBuilder, op: str, inputs: tuple[str, ...], name: str, **attributes: object) -> str:
    made = builder.node(op, inputs, name, **attributes)  # pyright: ignore[reportArgumentType]
    return made if isinstance(made, str) else made[0]


def test_query_key_and_value_are_one_product() -> None:
    b = GraphBuilder("qkv")
    x = b.input("x", (2, 16, 64))
    q, k, v = (linear(b, x, n, name) for n, name in ((64, "q"), (32, "k"), (32, "v")))
    graph = finish(b, one(b, "attention", (q, k, v), "attention", heads=4, kv_heads=2))
    assert names(graph) == [["q", "k", "v"], ["attention"]]
    kernel = kernels_of(graph)[0][0]
    product = product_of(kernel)
    assert (product.m, product.n, product.k) == (32, 128, 64)
    assert kernel.inputs == ["x"] and kernel.outputs == ("q", "k", "v")


def test_a_residual_sum_joins_the_product_that_comes_last() -> None:
    b = GraphBuilder("residual")
    x = b.input("x", (8, 64))
    long = linear(b, one(b, "gelu", (linear(b, x, 256, "up"),), "gelu"), 64, "down")
    graph = finish(b, one(b, "relu", (one(b, "add", (x, long), "add"),), "relu"))
    assert names(graph) == [["up", "gelu"], ["down", "add", "relu"]]
    assert kernels_of(graph)[0][1].inputs == ["gelu", "x"]
    assert kernels_of(graph)[0][1].outputs == ("relu",)


@pytest.mark.parametrize("is_turned", [False, True])
def test_a_sum_of_two_products_waits_for_both(is_turned: bool) -> None:
    b = GraphBuilder("two")
    x, y = b.input("x", (8, 64)), b.input("y", (8, 32))
    first, second = linear(b, x, 16, "first"), linear(b, y, 16, "second")
    graph = finish(b, one(b, "add", (second, first) if is_turned else (first, second), "add"))
    assert names(graph) == [["first"], ["second", "add"]]


def test_a_tensor_that_others_read_is_written() -> None:
    b = GraphBuilder("read twice")
    x = linear(b, b.input("x", (8, 64)), 64, "fc")
    graph = finish(b, one(b, "relu", (x,), "relu"), linear(b, x, 8, "head"))
    assert names(graph) == [["fc"], ["relu"], ["head"]]


def test_a_gate_of_itself_is_one_chain() -> None:
    b = GraphBuilder("swish")
    x = linear(b, b.input("x", (8, 64)), 64, "fc")
    graph = finish(b, one(b, "mul", (x, one(b, "sigmoid", (x,), "sigmoid")), "mul"))
    assert names(graph) == [["fc", "sigmoid", "mul"]]


def test_a_norm_takes_the_sum_before_it_and_is_the_anchor() -> None:
    b = GraphBuilder("norm")
    x, y, table = b.input("x", (8, 64)), b.input("ids", (8,), "i64"), b.constant("table", (100, 64), "f32")
    total = one(b, "add", (x, one(b, "gather", (table, y), "gather")), "add")
    scale = b.constant("scale", (64,), "f32")
    graph = finish(b, one(b, "rms_norm", (total, scale), "norm"))
    assert names(graph) == [["gather", "add", "norm"]]
    assert kernels_of(graph)[0][0].anchor.op == "rms_norm"


def test_a_residual_sum_goes_with_the_norm_that_reads_it() -> None:
    """Behind a product as well, and where the next block adds to the sum: then the kernel writes sum and norm."""
    b = GraphBuilder("skip")
    x = b.input("x", (8, 64))
    scale = b.constant("scale", (64,), "f32")
    total = one(b, "add", (linear(b, x, 64, "out"), x), "add")
    normed = one(b, "rms_norm", (total, scale), "norm")
    graph = finish(b, one(b, "add", (linear(b, normed, 64, "down"), total), "next"))
    assert names(graph) == [["out"], ["add", "norm"], ["down", "next"]]
    kernel = kernels_of(graph)[0][1]
    assert kernel.inputs == ["out", "x"] and kernel.outputs == ("add", "norm") and kernel.anchor.op == "rms_norm"


def test_a_bias_is_no_residual_sum() -> None:
    b = GraphBuilder("bias")
    x = b.input("x", (8, 64))
    total = one(b, "add", (linear(b, x, 64, "out"), b.constant("bias", (64,), "f32")), "add")
    graph = finish(b, one(b, "rms_norm", (total, b.constant("scale", (64,), "f32")), "norm"))
    assert names(graph) == [["out", "add"], ["norm"]]


def test_a_broadcast_gate_is_not_in_the_small_product() -> None:
    b = GraphBuilder("squeeze")
    x = b.input("x", (1, 8, 8, 64))
    gate = linear(b, one(b, "global_avg_pool", (x,), "pool"), 64, "gate")
    graph = finish(b, one(b, "mul", (x, gate), "mul"))
    assert names(graph) == [["pool"], ["gate"], ["mul"]]


def test_parts_are_written_where_they_are_read() -> None:
    b = GraphBuilder("parts")
    x = linear(b, b.input("x", (8, 64)), 64, "fc")
    left, right = (one(b, "slice", (x,), n, axis=1, start=s, stop=s + 32) for n, s in (("left", 0), ("right", 32)))
    whole = one(b, "concat", (linear(b, left, 48, "a"), right), "concat", axis=1)
    graph = finish(b, linear(b, whole, 8, "head"))
    assert names(graph) == [["fc", "left", "right"], ["a"], ["head"]]
    first, _, last = kernels_of(graph)[0]
    assert first.outputs == ("left", "right") and last.inputs == ["a", "right"]


def test_a_concatenation_of_an_input_is_copied() -> None:
    b = GraphBuilder("cache")
    past, x = b.input("past", (8, 64)), linear(b, b.input("x", (8, 64)), 64, "fc")
    graph = finish(b, linear(b, one(b, "concat", (past, x), "concat", axis=1), 8, "head"))
    assert names(graph) == [["fc"], ["concat"], ["head"]]


def test_transposes_of_operands_are_free_and_others_are_not() -> None:
    b = GraphBuilder("transposed")
    x, y = b.input("x", (8, 64)), b.input("y", (8, 64))
    product = one(b, "matmul", (x, one(b, "transpose", (y,), "free", perm=(1, 0))), "product")
    graph = finish(b, one(b, "softmax", (one(b, "transpose", (product,), "real", perm=(1, 0)),), "softmax"))
    assert names(graph) == [["product"], ["real"], ["softmax"]]
    assert kernels_of(graph)[0][0].inputs == ["x", "y"]


@pytest.mark.parametrize("network", NETWORKS)
def test_every_node_runs_once_after_what_it_reads(network: str) -> None:
    graph = fold(pipeline.bind_batch(oc.read(f"@{network}")))
    kernels, alias = kernels_of(graph)
    ran = [node.name for kernel in kernels for node in kernel.nodes]
    assert len(set(ran)) == len(ran)
    free = {node.op for node in graph.nodes if node.name not in ran}
    assert free <= {*RENAMES, "transpose", "pad", "concat"}
    assert sum(kernel.macs for kernel in kernels) == graph.macs()
    made = set(graph.inputs)
    for kernel in kernels:
        assert set(kernel.inputs) <= made, kernel.anchor.name
        assert not set(kernel.inputs) & own(kernel)
        made |= set(kernel.outputs)
    assert {root(name, alias) for name in graph.outputs} <= made


def own(kernel: Kernel) -> set[str]:
    return {name for node in kernel.nodes for name in node.outputs}
