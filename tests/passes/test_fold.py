"""The fold: fewer nodes, the same meaning. The witness is the evaluation of the graph before the fold."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from onchip.ir.build import GraphBuilder
from onchip.ir.evaluate import evaluate
from onchip.ir.graph import Graph
from onchip.passes.fold import fold, forget_weights
from onchip.zoo.catalog import build


def ops(graph: Graph) -> list[str]:
    return [node.op for node in graph.nodes]


def random(seed: int, *shape: int) -> NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


def same_meaning(graph: Graph, folded: Graph, *, tolerance: float = 1e-5) -> None:
    """Evaluate both on one random input."""
    assert (folded.inputs, folded.outputs) == (graph.inputs, graph.outputs)
    inputs: dict[str, NDArray[Any]] = {}
    for seed, name in enumerate(graph.inputs):
        tensor = graph.tensor(name)
        assert all(isinstance(d, int) for d in tensor.shape)
        values = random(seed, *(int(d) for d in tensor.shape))
        inputs[name] = values > 0 if tensor.dtype == "bool" else values
    before, after = evaluate(graph, inputs), evaluate(folded, inputs)
    for name in graph.outputs:
        assert before[name].shape == after[name].shape
        largest = max(1.0, float(np.abs(before[name]).max()))  # sums of float32 cancel, so errors go by the largest
        np.testing.assert_allclose(after[name], before[name], rtol=tolerance, atol=tolerance * largest)


def one(made: str | tuple[str, ...]) -> str:
    return made if isinstance(made, str) else made[0]


class Sheet(GraphBuilder):
    """A GraphBuilder with single outputs and numbered names."""

    def __init__(self) -> None:
        super().__init__("sheet")
        self.count = 0

    def do(self, op: str, *inputs: str, **attributes: Any) -> str:
        self.count += 1
        return one(self.node(op, inputs, name=f"{op}{self.count}", **attributes))

    def weights(self, *shape: int, offset: float = 0.0) -> str:
        self.count += 1
        return self.constant(f"w{self.count}", random(self.count, *shape) + np.float32(offset))

    def norm(self, x: str, channels: int) -> str:
        parts = [self.weights(channels) for _ in range(3)]
        self.count += 1
        variance = self.constant(f"w{self.count}", np.abs(random(self.count, channels)) + np.float32(0.5))
        return self.do("batch_norm", x, *parts, variance)

    def conv_nchw(self, x: str, given: int, made: int, size: int = 3) -> str:
        y = self.do("transpose", x, perm=(0, 2, 3, 1))
        y = self.do("conv2d", y, self.weights(made, size, size, given), padding=(1, 1, 1, 1))
        return self.do("transpose", y, perm=(0, 3, 1, 2))

    def done(self, *outputs: str) -> Graph:
        for name in outputs:
            self.output(name)
        return self.finish()


def test_batch_norm_and_relu_go_into_the_convolution() -> None:
    sheet = Sheet()
    x = sheet.input("x", (2, 6, 6, 3))
    y = sheet.do("relu", sheet.norm(sheet.do("conv2d", x, sheet.weights(4, 3, 3, 3)), 4))
    graph = sheet.done(y)
    folded = fold(graph)
    assert ops(folded) == ["conv2d"]
    assert folded.nodes[0].name == graph.nodes[0].name
    assert folded.nodes[0].attribute("activation", "none") == "relu"
    assert folded.parameters() == 4 * 27 + 4
    same_meaning(graph, folded)


def test_batch_norm_goes_into_linear_and_relu6_with_it() -> None:
    sheet = Sheet()
    x = sheet.input("x", (5, 7))
    y = sheet.norm(sheet.do("linear", x, sheet.weights(4, 7), sheet.weights(4)), 4)
    graph = sheet.done(sheet.do("clip", y, low=0.0, high=6.0))
    folded = fold(graph)
    assert ops(folded) == ["linear"]
    assert folded.nodes[0].attribute("activation", "none") == "relu6"
    same_meaning(graph, folded)


def test_a_shared_weight_is_not_scaled_for_its_other_reader() -> None:
    sheet = Sheet()
    x, w = sheet.input("x", (2, 5)), sheet.weights(5, 5)
    y = sheet.norm(sheet.do("linear", x, w), 5)
    graph = sheet.done(sheet.do("linear", y, w))
    folded = fold(graph)
    assert ops(folded) == ["linear", "linear"]
    same_meaning(graph, folded)


def test_a_value_that_is_read_twice_keeps_its_batch_norm_outside() -> None:
    sheet = Sheet()
    x = sheet.input("x", (2, 4, 4, 3))
    y = sheet.do("conv2d", x, sheet.weights(3, 1, 1, 3))
    graph = sheet.done(sheet.do("add", sheet.norm(y, 3), y))
    folded = fold(graph)
    assert ops(folded) == ["conv2d", "conv2d", "add"]
    assert folded.nodes[1].attribute("groups", 1) == 3
    same_meaning(graph, folded)


def test_relu_crosses_the_pooling_in_front_of_it() -> None:
    sheet = Sheet()
    x = sheet.input("x", (1, 4, 4, 3))
    y = sheet.do("max_pool2d", sheet.do("conv2d", x, sheet.weights(4, 1, 1, 3)), kernel=(2, 2), stride=(2, 2))
    graph = sheet.done(sheet.do("relu", y))
    folded = fold(graph)
    assert ops(folded) == ["conv2d", "max_pool2d"]
    same_meaning(graph, folded)


def test_relu_does_not_cross_an_average() -> None:
    """The mean of positive parts is not the positive part of the mean."""
    sheet = Sheet()
    x = sheet.input("x", (1, 4, 4, 3))
    y = sheet.do("avg_pool2d", sheet.do("conv2d", x, sheet.weights(4, 1, 1, 3)), kernel=(2, 2), stride=(2, 2))
    graph = sheet.done(sheet.do("relu", y))
    folded = fold(graph)
    assert ops(folded) == ["conv2d", "avg_pool2d", "relu"]
    same_meaning(graph, folded)


def test_relu_of_an_output_stays() -> None:
    sheet = Sheet()
    x = sheet.input("x", (1, 4, 4, 3))
    y = sheet.do("conv2d", x, sheet.weights(4, 1, 1, 3))
    graph = sheet.done(y, sheet.do("relu", y))
    folded = fold(graph)
    assert ops(folded) == ["conv2d", "relu"]
    same_meaning(graph, folded)


def test_a_constant_added_behind_linear_is_its_bias() -> None:
    sheet = Sheet()
    x = sheet.input("x", (2, 3, 5))
    y = sheet.do("add", sheet.weights(4), sheet.do("linear", x, sheet.weights(4, 5)))
    graph = sheet.done(sheet.do("relu", y))
    folded = fold(graph)
    assert ops(folded) == ["linear"]
    same_meaning(graph, folded)


def test_a_constant_that_differs_per_row_is_no_bias() -> None:
    sheet = Sheet()
    x = sheet.input("x", (2, 3, 4))
    graph = sheet.done(sheet.do("add", sheet.do("linear", x, sheet.weights(4, 4)), sheet.weights(1, 3, 4)))
    folded = fold(graph)
    assert ops(folded) == ["linear", "add"]
    same_meaning(graph, folded)


def test_linear_after_linear_is_left_alone() -> None:
    sheet = Sheet()
    x = sheet.input("x", (2, 4))
    graph = sheet.done(sheet.do("linear", sheet.do("linear", x, sheet.weights(3, 4)), sheet.weights(5, 3)))
    assert ops(fold(graph)) == ["linear", "linear"]


def test_channels_first_blocks_lose_their_inner_transposes() -> None:
    """x -> [conv, norm, relu, conv] + x, pooled, flattened, classified: one transpose, at the input."""
    sheet = Sheet()
    x = sheet.input("x", (2, 3, 8, 6))
    y = sheet.do("relu", sheet.conv_nchw(x, 3, 5))
    z = sheet.conv_nchw(y, 5, 5)
    y = sheet.do("relu", sheet.do("add", z, y))
    y = sheet.do("mul", y, sheet.weights(5, 1, 1))
    y = sheet.do("concat", y, sheet.do("sigmoid", y), axis=1)
    y = sheet.do("slice", y, axis=1, start=2, stop=9)
    flat = sheet.do("relu", sheet.do("reshape", y, shape=(0, 7 * 8 * 6)))
    graph = sheet.done(sheet.do("linear", flat, sheet.weights(4, 7 * 8 * 6)), sheet.do("mean", y, axes=(2, 3)))
    folded = fold(graph)
    transposes = [n for n in folded.nodes if n.op == "transpose"]
    assert [n.inputs for n in transposes] == [("x",)]
    assert folded.macs() == graph.macs()
    same_meaning(graph, folded)


def test_a_transposed_output_keeps_its_name_and_layout() -> None:
    sheet = Sheet()
    x = sheet.input("x", (2, 3, 4, 4))
    graph = sheet.done(sheet.do("relu", sheet.conv_nchw(x, 3, 5)))
    folded = fold(graph)
    assert ops(folded) == ["transpose", "conv2d", "transpose"]
    assert folded.tensor(folded.outputs[0]).shape == (2, 5, 4, 4)
    same_meaning(graph, folded)


def test_a_flattened_value_with_another_reader_is_written_out() -> None:
    sheet = Sheet()
    x = sheet.input("x", (2, 3, 4, 4))
    flat = sheet.do("reshape", sheet.conv_nchw(x, 3, 5), shape=(0, 80))
    graph = sheet.done(sheet.do("linear", flat, sheet.weights(4, 80)), sheet.do("softmax", flat))
    same_meaning(graph, fold(graph))


def test_normalisation_of_an_image_runs_behind_the_boundary_transpose() -> None:
    sheet = Sheet()
    x = sheet.input("x", (2, 3, 4, 4))
    y = sheet.do("div", sheet.do("sub", x, sheet.weights(3, 1, 1)), sheet.weights(3, 1, 1, offset=5.0))
    graph = sheet.done(sheet.do("mean", sheet.conv_nchw(y, 3, 5), axes=(2, 3)))
    folded = fold(graph)
    assert ops(folded) == ["transpose", "sub", "mul", "conv2d", "mean"]
    same_meaning(graph, folded)


def test_two_transposes_that_cancel_at_an_output_leave_the_value() -> None:
    sheet = Sheet()
    x = sheet.input("x", (2, 3, 4))
    y = sheet.do("transpose", sheet.do("transpose", sheet.do("tanh", x), perm=(0, 2, 1)), perm=(0, 2, 1))
    graph = sheet.done(y)
    folded = fold(graph)
    assert ops(folded) == ["tanh"]
    same_meaning(graph, folded)


def test_an_output_that_is_an_input_survives() -> None:
    sheet = Sheet()
    x = sheet.input("x", (2, 3))
    graph = sheet.done(sheet.do("identity", sheet.do("identity", x)))
    same_meaning(graph, fold(graph))


def test_one_value_under_two_output_names_survives() -> None:
    sheet = Sheet()
    y = sheet.do("tanh", sheet.input("x", (2, 3)))
    graph = sheet.done(sheet.do("identity", y), sheet.do("identity", y))
    same_meaning(graph, fold(graph))


def test_constants_are_computed_and_dead_nodes_go() -> None:
    sheet = Sheet()
    x = sheet.input("x", (2, 4))
    dead = sheet.do("tanh", x)
    sheet.do("exp", dead)
    table = sheet.do("mul", sheet.weights(4), sheet.weights(1))
    graph = sheet.done(sheet.do("mul", x, sheet.do("reshape", table, shape=(1, 4))))
    folded = fold(graph)
    assert ops(folded) == ["mul"]
    assert len([t for t in folded.tensors if t.constant is not None]) == 1
    same_meaning(graph, folded)


@pytest.mark.parametrize(("rank", "has_mask"), [(3, False), (4, False), (4, True)])
def test_attention_that_is_written_out_is_recognised(rank: int, has_mask: bool) -> None:
    sheet = Sheet()
    heads = (3,) if rank == 4 else ()
    q, k, v = (sheet.input(n, (2, *heads, length, 4)) for n, length in (("q", 5), ("k", 6), ("v", 6)))
    turned = sheet.do("transpose", k, perm=(0, 1, 3, 2) if rank == 4 else (0, 2, 1))
    half = sheet.constant("half", np.array([0.5], np.float32))
    scores = sheet.do("mul", sheet.do("matmul", sheet.do("mul", q, half), turned), half)
    if has_mask:
        mask = np.where(random(9, 1, 1, 5, 6) > 0, 0, -1e9).astype(np.float32)
        scores = sheet.do("add", scores, sheet.constant("mask", mask))
    graph = sheet.done(sheet.do("matmul", sheet.do("softmax", scores), v))
    folded = fold(graph)
    attention = next(n for n in folded.nodes if n.op == "attention")
    assert "softmax" not in ops(folded)
    assert attention.attribute("scale", 0.0) == 0.25
    assert folded.macs() == graph.macs()
    same_meaning(graph, folded)


@pytest.mark.parametrize(
    ("chosen", "mask_dtype", "extra"),
    [((0.0, -1e9), "bool", []), ((-1e9, 0.0), "bool", ["logical_not"]), ((-2.0, 0.5), "f32", ["where"])],
)
def test_a_mask_that_is_chosen_by_a_bool_is_that_bool(
    chosen: tuple[float, float], mask_dtype: str, extra: list[str]
) -> None:
    """where(keep, 0, -1e9) and where(drop, -1e9, 0) become keep-masks; other values stay additions."""
    sheet = Sheet()
    q, k, v = (sheet.input(n, (2, 3, length, 4)) for n, length in (("q", 5), ("k", 6), ("v", 6)))
    picks = sheet.input("picks", (2, 1, 5, 6), "bool")
    values = [sheet.constant(n, np.array(value, np.float32)) for n, value in zip("ab", chosen, strict=True)]
    scores = sheet.do("matmul", q, sheet.do("transpose", k, perm=(0, 1, 3, 2)))
    scores = sheet.do("add", scores, sheet.do("where", picks, *values))
    graph = sheet.done(sheet.do("matmul", sheet.do("softmax", scores), v))
    folded = fold(graph)
    attention = next(n for n in folded.nodes if n.op == "attention")
    assert folded.tensor(attention.inputs[3]).dtype == mask_dtype
    assert [op for op in ops(folded) if op in ("logical_not", "where", "add", "softmax")] == extra
    same_meaning(graph, folded)


def test_heads_that_are_split_and_merged_around_attention_cancel() -> None:
    sheet = Sheet()
    x = sheet.input("x", (2, 5, 8))

    def heads(name: str) -> str:
        part = sheet.do("linear", sheet.input(name, (2, 5, 8)), sheet.weights(12, 8))
        return sheet.do("transpose", sheet.do("reshape", part, shape=(0, 5, 3, 4)), perm=(0, 2, 1, 3))

    q, k, v = heads("q"), heads("k"), heads("v")
    turned = sheet.do("transpose", k, perm=(0, 1, 3, 2))
    y = sheet.do("matmul", sheet.do("softmax", sheet.do("matmul", q, turned)), v)
    y = sheet.do("reshape", sheet.do("transpose", y, perm=(0, 2, 1, 3)), shape=(0, 5, 12))
    graph = sheet.done(sheet.do("add", x, sheet.do("linear", y, sheet.weights(8, 12))))
    folded = fold(graph)
    assert ops(folded) == ["linear", "linear", "linear", "attention", "linear", "add"]
    same_meaning(graph, folded)


@pytest.mark.parametrize("name", ["resnet8", "digits_cnn", "digits_lstm", "digits_attention"])
def test_networks_of_the_zoo_keep_their_meaning(name: str) -> None:
    graph = build(name, weights="random", batch=2)
    same_meaning(graph, fold(graph), tolerance=1e-4)


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "bert-base", "resnet8"])
def test_unknown_weights_fold_to_the_same_structure(name: str) -> None:
    options: dict[str, Any] = {"layers": 1, "vocabulary": 10} if name == "bert-base" else {}
    graph = build(name, **options)
    folded = fold(graph)
    known = fold(build(name, weights="random", **options)) if name in {"resnet8", "bert-base"} else None
    assert "batch_norm" not in ops(folded) and "relu" not in ops(folded)
    assert folded.bind(batch=1).macs() == graph.bind(batch=1).macs()
    if known is not None:
        assert [(n.name, n.op, n.attributes) for n in folded.nodes] == [
            (n.name, n.op, n.attributes) for n in known.nodes
        ]


def test_resnet50_folds_to_its_convolutions() -> None:
    counts = {op: ops(fold(build("resnet50"))).count(op) for op in ("conv2d", "add", "linear", "max_pool2d")}
    assert counts == {"conv2d": 53, "add": 16, "linear": 1, "max_pool2d": 1}


def test_folding_twice_changes_nothing_more() -> None:
    once = fold(build("resnet8", weights="random"))
    assert str(fold(once)) == str(once)


UNARY = ("relu", "tanh", "sigmoid", "neg", "identity")
PERMS = ((0, 2, 3, 1), (0, 3, 1, 2), (0, 1, 3, 2), (2, 3, 0, 1), (0, 1, 2, 3))


@given(st.lists(st.tuples(st.integers(0, 8), st.integers(0, 4)), max_size=14))
def test_random_graphs_keep_their_meaning(steps: list[tuple[int, int]]) -> None:
    """Random walks through layout and elementwise ops; the last two values are outputs."""
    sheet = Sheet()
    values = [sheet.input("x", (2, 3, 4, 5))]
    for kind, choice in steps:
        x = values[-1]
        shape = tuple(int(d) for d in sheet.shape(x))
        if kind <= 1 or len(shape) != 4:
            y = sheet.do(UNARY[choice], x)
        elif kind <= 3:
            y = sheet.do("transpose", x, perm=PERMS[choice])
        elif kind == 4:
            same = [v for v in values if sheet.shape(v) == sheet.shape(x)]
            y = sheet.do("add", x, same[choice % len(same)])
        elif kind == 5:
            y = sheet.do(
                "mul", x, sheet.weights(*(1 if i == choice else d for i, d in list(enumerate(shape))[choice % 3 :]))
            )
        elif kind == 6:
            y = sheet.do("slice", x, axis=choice % 4, start=0, stop=max(1, shape[choice % 4] - 1))
        elif kind == 7:
            y = sheet.norm(x, shape[3])
        else:
            y = sheet.do("reshape", x, shape=(shape[0] * shape[1], shape[2], shape[3], 1))
        values.append(y)
    graph = sheet.done(*dict.fromkeys(v for v in values[-2:] if v != "x") or [sheet.do("identity", "x")])
    same_meaning(graph, fold(graph), tolerance=1e-4)


def test_forgotten_weights_keep_their_shapes() -> None:
    """What a product alone reads becomes unknown; what another node reads too stays."""
    b = GraphBuilder("g")
    x = b.input("x", (2, 4))
    w, both = b.constant("w", np.ones((4, 4), np.float32)), b.constant("both", np.full((4, 4), 2, np.float32))
    y = b.node("linear", (x, w), name="first")
    z = b.node("linear", (str(y), both), name="second")
    b.output(str(b.node("matmul", (str(z), both), name="third")))
    made = forget_weights(b.finish())
    weight, kept = made.tensor("w").constant, made.tensor("both").constant
    assert weight is not None and weight.data is None and made.tensor("w").shape == (4, 4)
    assert kept is not None and kept.data is not None
