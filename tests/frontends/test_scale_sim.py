"""SCALE-Sim topologies: shapes and MACs worked by hand from its published rules, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onchip.errors import BadFile, NotSupported, OnchipError
from onchip.frontends.read import read
from onchip.frontends.scale_sim import LIMIT_BYTES, LIMIT_LAYERS, read_topology
from onchip.ir.graph import Graph

CONV = "Layer name, IFMAP Height, IFMAP Width, Filter Height, Filter Width, Channels, Num Filter, Strides,"
GEMM = "Layer, M, N, K,"


def topology(folder: Path, *lines: str) -> Path:
    path = folder / "net.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def shapes(graph: Graph) -> dict[str, tuple[int | str, ...]]:
    return {node.name: graph.tensor(node.outputs[0]).shape for node in graph.nodes}


def test_products(tmp_path: Path) -> None:
    graph = read(topology(tmp_path, GEMM, "big, 1024, 512, 64,", "", "L1,196,1176,64"))
    assert (graph.name, graph.symbols) == ("net", ())
    assert shapes(graph) == {"big": (1, 1024, 512), "L1": (1, 196, 1176)}
    assert graph.macs() == 1024 * 512 * 64 + 196 * 1176 * 64
    assert graph.outputs == ("big", "L1") and len(graph.inputs) == 2


def test_convolutions(tmp_path: Path) -> None:
    """Output rows by SCALE-Sim's rule: ceil((height - filter + stride) / stride)."""
    lines = ("c1, 230, 230, 7, 7, 3, 64, 2,", "c2, 58, 58, 3, 3, 64, 64, 1,", "odd, 10, 9, 3, 2, 4, 5, 3,")
    graph = read(topology(tmp_path, CONV, *lines)).bind(batch=1)
    # ceil((230 - 7 + 2) / 2) = 113: the last window reaches one row over the edge
    assert shapes(graph) == {"c1": (1, 113, 113, 64), "c2": (1, 56, 56, 64), "odd": (1, 4, 4, 5)}
    macs = [113 * 113 * 7 * 7 * 3 * 64, 56 * 56 * 9 * 64 * 64, 4 * 4 * 3 * 2 * 4 * 5]
    assert [graph.node_macs(node.name) for node in graph.nodes] == macs


@given(h=st.integers(1, 40), r=st.integers(1, 9), stride=st.integers(1, 5), c=st.integers(1, 4), k=st.integers(1, 4))
def test_as_many_macs_as_there(
    tmp_path_factory: pytest.TempPathFactory, h: int, r: int, stride: int, c: int, k: int
) -> None:
    r = min(r, h)
    graph = read(topology(tmp_path_factory.mktemp("t"), CONV, f"x, {h}, {h}, {r}, {r}, {c}, {k}, {stride},"))
    rows = -(-(h - r + stride) // stride)  # scalesim/topology_utils.py
    assert graph.bind(batch=1).macs() == rows * rows * r * r * c * k


def test_products_written_as_convolutions_and_depthwise_layers(tmp_path: Path) -> None:
    graph = read(
        topology(tmp_path, CONV, "rnn,672,2560,1,2560,1,4,1,", "fc, 1, 1, 1, 1, 2048, 1000, 1,", "wDP,9,9,3,3,8,2,1,")
    )
    bound = graph.bind(batch=1)
    assert [node.op for node in graph.nodes] == ["linear", "conv2d", "conv2d"]
    assert shapes(bound) == {"rnn": (1, 672, 4), "fc": (1, 1, 1, 1000), "wDP": (1, 7, 7, 16)}
    assert bound.macs() == 672 * 2560 * 4 + 2048 * 1000 + 7 * 7 * 9 * 8 * 2


def test_two_strides_only_under_their_header(tmp_path: Path) -> None:
    both = CONV.replace("Strides,", "Stride height, Stride width,")
    assert shapes(read(topology(tmp_path, both, "x, 9, 9, 3, 3, 1, 1, 1, 2,")).bind(batch=1)) == {"x": (1, 7, 4, 1)}
    assert shapes(read(topology(tmp_path, CONV, "x, 9, 9, 3, 3, 1, 1, 1,#dw")).bind(batch=1)) == {"x": (1, 7, 7, 1)}
    more = CONV.replace("Strides,", "Strides,,,Eh,Ew,e2")
    assert shapes(read(topology(tmp_path, more, "x,9,9,3,3,1,1,2,,,110,110,5")).bind(batch=1)) == {"x": (1, 4, 4, 1)}


def test_names(tmp_path: Path) -> None:
    graph = read(
        topology(tmp_path, GEMM, "a.2,1,1,1,", "a,1,1,1,", "a,1,1,1,", "a,1,1,1,", ",1,1,1,", "x/\u4e2d,1,1,1,")
    )
    names = [node.name for node in graph.nodes]
    assert len(set(names)) == 6 and names[:2] == ["a.2", "a"] and names[5] == "x/\u4e2d"


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ((), "OC1262 the file has no lines"),
        ((CONV,), "OC1262 there is no layer below the header"),
        (("chip,workload,metric", "a,b,c"), "line 1 is no header of a topology"),
        ((CONV, "x, 9, 9, 3, 3, 1, 1,"), "line 2: OC1262 Strides is missing"),
        ((CONV, "", "x, 9, 9, 3, 3.5, 1, 1, 1,"), "line 3: OC1262 Filter Width is '3.5'"),
        ((CONV, "x, 9, 9, 3, 3, 0, 1, 1,"), "Channels is '0'"),
        ((CONV, "x, 9, -9, 3, 3, 1, 1, 1,"), "IFMAP Width is '-9'"),
        ((GEMM, "x, 1048577, 1, 1,"), "M is '1048577'"),
        ((GEMM, "x, 1000000, 1000000, 1,"), "a tensor of 1000000000000 elements"),
        ((CONV, "x, 2, 9, 3, 3, 1, 1, 1,"), "a filter of 3 x 3 over an input of 2 x 9"),
        ((GEMM, *["x,1,1,1,"] * (LIMIT_LAYERS + 1)), "2001 layers"),
    ],
)
def test_what_is_no_topology_is_refused(tmp_path: Path, lines: tuple[str, ...], message: str) -> None:
    with pytest.raises(BadFile) as caught:
        read(topology(tmp_path, *lines))
    assert message in str(caught.value)


def test_files_that_are_none(tmp_path: Path) -> None:
    path = tmp_path / "net.csv"
    with pytest.raises(BadFile, match="OC1262 it cannot be read"):
        read_topology(path)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(BadFile, match="OC1262 it is no UTF-8 text"):
        read_topology(path)
    path.write_bytes(b"," * (LIMIT_BYTES + 1))
    with pytest.raises(BadFile, match="OC1262 it is larger than a topology"):
        read_topology(path)


def test_sparse_layers_are_refused_by_line(tmp_path: Path) -> None:
    header = "Layer Name, M, N, K, Sparsity,"
    assert read(topology(tmp_path, header, "a, 3, 5, 16, 1:1,", "b, 3, 5, 16, 4:4")).macs() == 2 * 3 * 5 * 16
    with pytest.raises(NotSupported, match="line 3: OC1263 sparsity 3:4"):
        read(topology(tmp_path, header, "a, 3, 5, 16, 1:1,", "b, 3, 5, 16, 3:4,"))


@given(st.text(alphabet="Layer nmIFMAPHeightWdC,0123456789.-#:\n\t", max_size=300))
def test_no_text_raises_anything_else(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.mktemp("t") / "net.csv"
    for header in ("", f"{CONV}\n", f"{GEMM}\n"):
        path.write_text(header + text, encoding="utf-8")
        try:
            assert read(path).macs() > 0
        except OnchipError as error:
            assert error.code in {"OC1262", "OC1263"}
