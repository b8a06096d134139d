"""Every op of the wide set in a graph: a named batch, bound, written, read back, run; shapes and dtypes as declared."""

# pyright: basic

import numpy as np
import pytest

from onchip.errors import BadFile
from onchip.ir.build import GraphBuilder
from onchip.ir.evaluate import evaluate
from onchip.ir.graph import Graph
from onchip.ops import compare, gru, indexing, normalize, picture, reduce, rotary, transposed, unary
from onchip.ops.registry import OPS

N, PICTURE, ROWS = "N", ("N", 4, 6, 8), ("N", 5, 8)
ID = ("N", 5, 2)
NODES = {
    **{name: ([ROWS], {}) for name in unary.FUNCTIONS},
    "prelu": ([ROWS, (8,)], {}),
    **{name: ([ROWS, (5, 1)], {}) for name in ("maximum", "minimum", "mod", *compare.COMPARISONS)},
    "logical_or": ([("bool", *ROWS), ("bool", 8)], {}),
    "logical_xor": ([("bool", *ROWS), ("bool", 8)], {}),
    "cast": ([ROWS], {"dtype": "i32"}),
    **{name: ([PICTURE], {"axes": (1, -1), "keepdims": True}) for name in (*reduce.REDUCTIONS, "variance")},
    "argmax": ([ROWS], {"axis": -1}),
    "argmin": ([ROWS], {"axis": 1, "keepdims": True}),
    "cumsum": ([ROWS], {"axis": 1}),
    "top_k": ([ROWS], {"k": 3}),
    "rms_norm": ([ROWS, (8,)], {}),
    "group_norm": ([PICTURE, (8,), (8,)], {"groups": 4}),
    "instance_norm": ([PICTURE, (8,), (8,)], {}),
    "lp_normalize": ([ROWS], {}),
    "log_softmax": ([ROWS], {}),
    "lrn": ([PICTURE], {"size": 5}),
    "conv_transpose2d": ([PICTURE, (6, 3, 3, 4), (6,)], {"groups": 2, "stride": (2, 2), "output_padding": (1, 1)}),
    "pad": ([PICTURE], {"pads": (0, 0, 1, 2, 0, 3, 0, 0)}),
    "resize": ([PICTURE], {"sizes": (7, 9), "mode": "bilinear"}),
    "depth_to_space": ([PICTURE], {"block": 2}),
    "space_to_depth": ([PICTURE], {"block": 2}),
    "broadcast_to": ([("N", 1, 8)], {"shape": ("N", "5", "8")}),
    "tile": ([ROWS], {"repeats": (1, 2, 1)}),
    "gather_elements": ([ROWS, ("i64", *ID)], {"axis": 2}),
    "gather_nd": ([ROWS, ("i64", 3, 1)], {}),
    "scatter_nd": ([ROWS, ("i64", 3, 1), (3, 5, 8)], {"reduction": "add"}),
    "scatter_elements": ([ROWS, ("i64", *ID), ID], {"axis": 2}),
    "one_hot": ([("i64", N, 5)], {"depth": 4, "dtype": "i32"}),
    "trilu": ([ROWS], {}),
    "gru": ([ROWS, (9, 8), (9, 3), (9,), (9,), (N, 3), ("i64", N)], {"hidden": 3, "reverse": True}),
    "rnn": ([ROWS, (3, 8), (3, 3)], {"hidden": 3}),
    "lstm": ([ROWS, (12, 8), (12, 3), (12,), (12,), (N, 3), (N, 3), ("i64", N)], {"hidden": 3, "reverse": True}),
    "rotary": ([ROWS, (5, 2), (5, 2)], {"heads": 2}),
    "gather": ([ROWS, ("i64", 2)], {"axis": 1}),
}
KINDS = {"f32": np.float32, "i32": np.int32, "i64": np.int64, "bool": np.bool_}
FILES = (compare, gru, indexing, normalize, picture, reduce, rotary, transposed, unary)


def test_the_table_is_complete():
    assert {op.name for file in FILES for op in file.OPS} <= set(NODES)
    assert len(OPS) == len({op.name for op in OPS.values()})


@pytest.mark.parametrize("name", NODES)
def test_shapes_and_dtypes_are_those_that_come_out(name):
    shapes, attributes = NODES[name]
    rng = np.random.default_rng(0)
    b, given = GraphBuilder("one"), {}
    for i, entry in enumerate(shapes):
        dtype, shape = (entry[0], entry[1:]) if entry and entry[0] in KINDS else ("f32", entry)
        b.input(f"x{i}", shape, dtype)
        array = rng.integers(0, 2, [3 if d == N else d for d in shape])
        given[f"x{i}"] = array.astype(KINDS[dtype]) if dtype != "f32" else rng.uniform(0.1, 1, array.shape)
    made = b.node(name, tuple(given), "y", **attributes)
    for output in (made,) if isinstance(made, str) else made:
        b.output(output)
    graph = b.finish().bind(N=3)
    assert str(Graph.parse(str(graph))) == str(graph)
    outputs = evaluate(graph, given)
    for output, value in outputs.items():
        assert value.shape == graph.tensor(output).shape
        assert value.dtype == KINDS[graph.tensor(output).dtype]
    assert graph.node_macs("y") >= 0
    op = OPS[name]
    assert len(op.outputs) == len(graph.outputs)


@pytest.mark.parametrize("name", ["resize", "pad", "cumsum", "gru", "conv_transpose2d"])
def test_an_unknown_attribute_is_refused(name):
    b, (shapes, attributes) = GraphBuilder("one"), NODES[name]
    names = []
    for i, entry in enumerate(shapes):
        dtype, shape = (entry[0], entry[1:]) if entry and entry[0] in KINDS else ("f32", entry)
        names.append(b.input(f"x{i}", shape, dtype))
    b.node(name, names, "y", **attributes, colour="red")
    with pytest.raises(BadFile, match="colour"):
        b.finish()
