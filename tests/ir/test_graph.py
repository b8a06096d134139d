"""The graph noun: what its constructor refuses, its text, binding, counting, and what evaluate says of bad inputs."""

# pyright: basic

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onchip.errors import BadFile, NotSupported, OnchipError, UnknownName, UsageError
from onchip.ir.build import GraphBuilder
from onchip.ir.evaluate import evaluate
from onchip.ir.graph import Graph, Node, Quantization, Tensor, constant_tensor


def small(symbol="batch"):
    b = GraphBuilder("small")
    b.input("x", (symbol, 8, 8, 3))
    b.constant("w", np.arange(4 * 3 * 3 * 3, dtype=np.float32).reshape(4, 3, 3, 3))
    b.node("conv2d", ("x", "w"), name="conv", stride=(2, 2), padding=(1, 1, 1, 1), activation="relu")
    b.node("reshape", ("conv",), name="flat", shape=(0, -1))
    b.constant("v", (10, 64))
    b.output(str(b.node("linear", ("flat", "v"), name="y")))
    return b.finish()


def test_shapes_follow_and_are_counted():
    g = small()
    assert g.tensor("conv").shape == ("batch", 4, 4, 4)
    assert g.tensor("flat").shape == ("batch", 64)
    assert g.parameters() == 4 * 27 + 640
    assert g.symbols == ("batch",)
    with pytest.raises(NotSupported, match="OC1225"):
        g.macs()
    bound = g.bind(batch=5)
    assert bound.macs() == 5 * (16 * 4 * 27 + 640)
    assert bound.symbols == ()
    assert g.producer("flat") == g.node("flat")
    assert g.producer("x") is None
    assert [n.name for n in g.consumers("conv")] == ["flat"]


def test_hash_is_of_the_content():
    assert small().hash == small().hash
    assert small() == small()
    assert small().hash != small("N").hash
    assert small().bind(batch=1).hash == small("N").bind(N=1).hash


def change(graph, **fields):
    return dataclasses.replace(graph, **fields)


X = Tensor("x", (2, 3), "f32")
Y = Tensor("y", (2, 3), "f32")
RELU = Node("y", "relu", ("x",), ("y",))


@pytest.mark.parametrize(
    ("code", "tensors", "nodes", "outputs"),
    [
        ("OC1221", (X, Y, Y), (RELU,), ("y",)),
        ("OC1221", (X, Y), (RELU, RELU), ("y",)),
        ("OC1222", (X, Y), (Node("y", "relu", ("z",), ("y",)),), ("y",)),
        ("OC1222", (X, Y, Tensor("z", (2, 3), "f32")), (Node("y", "relu", ("z",), ("y",)),), ("y",)),
        ("OC1223", (X, Y), (), ("y",)),
        ("OC1224", (X, Tensor("y", (2, 3), "i8", Quantization((1.0, 2.0), (0, 0), 1))), (RELU,), ("y",)),
        ("OC1224", (X, Tensor("y", (2, 3), "i8", Quantization((1.0, 2.0), (0, 0), 7))), (RELU,), ("y",)),
        ("OC1226", (X, Tensor("y", (2, 3), "float32")), (RELU,), ("y",)),
        ("OC1228", (X, Y), (Node("y", "relu", ("x", "x"), ("y",)),), ("y",)),
        ("OC1228", (X, Y), (Node("y", "add", ("x", ""), ("y",)),), ("y",)),
        ("OC1228", (X, Y), (Node("y", "relu", ("x",), ()),), ("y",)),
        ("OC1229", (X, Y), (Node("y", "transpose", ("x",), ("y",)),), ("y",)),
        ("OC1230", (X, Tensor("y", (3, 2), "f32")), (RELU,), ("y",)),
        ("OC1234", (X, Tensor("y", (2, 0), "f32")), (RELU,), ("y",)),
        ("OC1236", (X, Y), (Node("y", "relu", ("x",), ("y",), (("slope", 0.1),)),), ("y",)),
        ("OC1237", (X, Y), (RELU, Node("z", "relu", ("x",), ("y",))), ("y",)),
        ("OC1310", (X, Y), (Node("y", "rellu", ("x",), ("y",)),), ("y",)),
    ],
)
def test_the_constructor_refuses(code, tensors, nodes, outputs):
    with pytest.raises(OnchipError, match=code):
        Graph("g", tensors, nodes, ("x",), outputs)


def test_a_constant_must_have_its_shape():
    wrong = dataclasses.replace(constant_tensor("c", np.zeros(3, np.float32)), shape=(4,))
    with pytest.raises(BadFile, match="OC1227"):
        Graph("g", (wrong,), (), (), ("c",))


def test_constants_cannot_be_written():
    values = np.zeros(3, np.float32)
    constant = constant_tensor("c", values).constant
    assert constant is not None and constant.data is not None
    data = constant.data
    values[0] = 1
    assert data[0] == 0
    with pytest.raises(ValueError, match="read-only"):
        data[0] = 1


def test_names_that_are_not_there():
    g = small()
    for code, call in (("OC1231", g.tensor), ("OC1232", g.node)):
        with pytest.raises(UnknownName, match=f"{code}.*'conv'"):
            call("konv")
    with pytest.raises(UnknownName, match="OC1233"):
        g.bind(bach=2)
    with pytest.raises(BadFile, match="OC1234"):
        g.bind(batch=0)


def test_evaluate_says_what_is_wrong():
    b = GraphBuilder("g")
    b.input("x", ("N", 3))
    b.input("ids", ("N",), "i64")
    b.constant("table", np.ones((5, 3), np.float32))
    b.node("gather", ("table", "ids"), name="row")
    b.output(str(b.node("add", ("x", "row"), name="y")))
    g = b.finish()
    x, ids = np.ones((2, 3)), np.array([1, 4])
    assert (evaluate(g, {"x": x, "ids": ids})["y"] == 2).all()
    cases = [
        ("OC1402", UsageError, {"x": x}),
        ("OC1403", UsageError, {"x": x[:, :2], "ids": ids}),
        ("OC1407", UsageError, {"x": x, "ids": ids * 1.0}),
        ("OC1408", UnknownName, {"x": x, "ids": ids, "idss": ids}),
        ("OC1406", NotSupported, {"x": x, "ids": ids + 1}),
    ]
    for code, kind, inputs in cases:
        with pytest.raises(kind, match=code):
            evaluate(g, inputs)
    with pytest.raises(UsageError, match="OC1404"):
        evaluate(g, {"x": x, "ids": ids}, boundary="both")
    with pytest.raises(NotSupported, match="OC1405"):
        evaluate(small(), {"x": np.zeros((1, 8, 8, 3))})


def test_boundary_and_watch():
    q = Quantization((0.5,), (1,))
    tensors = (X, Tensor("xq", (2, 3), "i8", q), Tensor("yq", (2, 3), "i8", q), Y)
    nodes = (
        Node("q", "quantize", ("x",), ("xq",)),
        Node("r", "relu", ("xq",), ("yq",)),
        Node("d", "dequantize", ("yq",), ("y",)),
    )
    g = Graph("g", tensors, nodes, ("x",), ("y",))
    x = np.array([[-1.0, 0.0, 1.0], [2.0, 0.3, 0.2]])
    seen = {}
    y = evaluate(g, {"x": x}, watch=lambda name, value: seen.update({name: value}))["y"]
    np.testing.assert_array_equal(y, [[0, 0, 1], [2, 0.5, 0]])
    assert list(seen) == ["xq", "yq", "y"]
    integers = evaluate(g, {"xq": seen["xq"]}, boundary="int")["y"]
    assert integers.dtype == np.int8
    np.testing.assert_array_equal(integers, seen["yq"])


@pytest.mark.parametrize("dtype", ["f16", "bf16", "tf32", "fp8"])
def test_narrow_floats_are_rounded(dtype):
    g = Graph("g", (dataclasses.replace(X, dtype=dtype), dataclasses.replace(Y, dtype=dtype)), (RELU,), ("x",), ("y",))
    y = evaluate(g, {"x": np.full((2, 3), 1 / 3)})["y"]
    assert 0 < abs(float(y[0, 0]) - 1 / 3) < 0.03


NAMES = st.text(min_size=1, max_size=8)
VALUES = st.one_of(
    st.integers(-5, 5),
    st.floats(allow_nan=False),
    st.booleans(),
    NAMES,
    st.lists(st.integers(-9, 9), max_size=4).map(tuple),
)


@settings(max_examples=100)
@given(
    NAMES, st.lists(NAMES, min_size=3, max_size=3, unique=True), st.floats(1e-6, 1e6), st.integers(-128, 127), VALUES
)
def test_text_comes_back(graph_name, names, scale, zero, value):
    x, y, c = names
    tensors = (
        Tensor(x, ("N", 3), "f32"),
        constant_tensor(c, np.array([1.0, 2.0, 3.0], np.float32)),
        Tensor(y, ("N", 3), "i8", Quantization((scale,), (zero,))),
    )
    attributes = (("high", value),) if isinstance(value, float) else (("rounding", value),)
    node = Node(y, "clip", (x,), (y,), attributes)
    g = Graph(graph_name, tensors, (node,), (x,), (y,), ())
    again = Graph.parse(str(g))
    assert str(again) == str(g)
    assert again.hash == g.hash
    assert again.nodes == g.nodes
    assert [t.constant and t.constant.sha256 for t in again.tensors] == [
        t.constant and t.constant.sha256 for t in g.tensors
    ]


def test_a_whole_network_comes_back():
    g = small()
    again = Graph.parse(str(g))
    assert again.hash == g.hash
    constant = again.tensor("w").constant
    assert constant is not None and constant.data is None and constant.sha256


@settings(max_examples=200)
@given(st.integers(0, 10_000), st.integers(0, 127), st.booleans())
def test_damaged_text_is_refused_or_read(place, letter, is_cut):
    text = str(small())
    place %= len(text)
    text = text[:place] if is_cut else text[:place] + chr(letter) + text[place + 1 :]
    try:
        Graph.parse(text)
    except OnchipError as error:
        assert "\n" not in str(error)


def test_a_constant_of_an_unknown_dtype_is_refused() -> None:
    with pytest.raises(BadFile, match="OC1226"):
        constant_tensor("c", np.zeros(3, np.complex64))


def test_comparisons_of_unequal_scales_compare_what_the_integers_mean() -> None:
    tensors = (
        Tensor("a", (1,), "i8", Quantization((0.1,), (0,))),
        Tensor("b", (1,), "i8", Quantization((1.0,), (0,))),
        Tensor("y", (1,), "bool"),
    )
    graph = Graph("compare", tensors, (Node("y", "greater", ("a", "b"), ("y",)),), ("a", "b"), ("y",))
    values = {"a": np.array([50], np.int8), "b": np.array([10], np.int8)}  # 5.0 and 10.0
    assert not evaluate(graph, values)["y"][0]
