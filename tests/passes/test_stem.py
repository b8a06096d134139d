"""space_to_depth of the first convolution: the values of torch's, bit for bit in integers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import onchip as oc
from onchip import pipeline
from onchip.case import Case
from onchip.ir.build import GraphBuilder
from onchip.ir.graph import Graph
from onchip.passes.stem import fold_stem

Kind = tuple[int, int, tuple[int, int], int]
KINDS: tuple[Kind, ...] = (  # stride, window, padding before and after, size
    (2, 7, (3, 3), 12), (2, 3, (0, 1), 8), (2, 3, (1, 1), 10), (2, 5, (2, 1), 8), (4, 4, (0, 0), 12),
    (3, 5, (1, 1), 9), (2, 2, (0, 0), 6), (2, 6, (2, 2), 8), (4, 11, (2, 2), 16),
)  # fmt: skip
Floats = NDArray[np.float32]


def network(kind: Kind, *, seed: int = 0) -> tuple[Graph, Floats, Floats]:
    """Return a network of one convolution of three channels, its weights and its bias."""
    (stride, window, pads, size), random = kind, np.random.default_rng(seed)
    w = random.standard_normal((5, window, window, 3)).astype(np.float32)
    b = random.standard_normal(5).astype(np.float32)
    build = GraphBuilder("net")
    inputs = (build.input("x", (2, size, size, 3)), build.constant("w", w), build.constant("b", b))
    y = build.node("conv2d", inputs, "conv", stride=(stride, stride), padding=(*pads, *pads))
    build.output(str(build.node("relu", [str(y)], "act")))
    return build.finish(), w, b


@pytest.mark.parametrize("kind", KINDS)
def test_the_values_are_those_of_torch(kind: Kind) -> None:
    stride, _, pads, size = kind
    graph, w, b = network(kind)
    folded = fold_stem(graph)
    assert [node.op for node in folded.nodes] == ["space_to_depth", "conv2d", "relu"]
    assert folded.node("conv").attribute("stride", ()) == (1, 1) and folded.inputs == graph.inputs
    x = np.random.default_rng(1).standard_normal((2, size, size, 3)).astype(np.float32)
    padded = torch.nn.functional.pad(torch.from_numpy(x.transpose(0, 3, 1, 2)), (*pads, *pads))
    wanted = torch.conv2d(padded, torch.from_numpy(w.transpose(0, 3, 1, 2)), torch.from_numpy(b), stride).relu()
    (found,) = oc.evaluate(folded, {"x": x}).values()
    np.testing.assert_allclose(found, wanted.numpy().transpose(0, 2, 3, 1), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_integers_are_the_same_bit_for_bit(kind: Kind) -> None:
    graph, _, _ = network(kind, seed=2)
    x = np.random.default_rng(3).uniform(-1, 3, (2, kind[3], kind[3], 3)).astype(np.float32)
    int8 = oc.quantize(graph, [{"x": x}])
    (wanted,) = oc.evaluate(int8, {"x": x}).values()
    folded = fold_stem(int8)
    assert folded is not int8
    (found,) = oc.evaluate(folded, {"x": x}).values()
    assert found.tobytes() == wanted.tobytes() and wanted.std() > 0
    program = oc.compile(folded, oc.Chip.load("edge-npu-8?matrix.row_packing=C"))
    (ran,) = oc.simulate(program, {"x": x}).outputs.values()
    assert ran.tobytes() == wanted.tobytes()


def test_what_is_no_such_convolution_stays() -> None:
    for kind in ((1, 3, (1, 1), 8), (2, 3, (1, 1), 9)):
        graph, _, _ = network(kind)
        assert fold_stem(graph) is graph
    resnet = oc.read("@resnet50")
    inner = fold_stem(resnet)
    assert sum(node.op == "space_to_depth" for node in inner.nodes) == 1
    assert fold_stem(oc.read("@bert-base")).nodes == oc.read("@bert-base").nodes


def test_it_helps_an_array_that_gives_each_tap_its_own_rows() -> None:
    case = Case(oc.read("@mobilenet_v1_0.25"), oc.Chip.load("edge-npu-16?matrix.row_packing=C"))
    changed = case.changed({"rewrite": "space_to_depth"})
    before, after = case.play(), changed.play()
    # 27 rows of three taps in nine passes become 12 of 16 rows in four
    assert after.layers[0].latency_s.value < 0.8 * before.layers[0].latency_s.value
    assert after.latency_s.value < before.latency_s.value
    packed = Case(case.graph, oc.Chip.load("edge-npu-16"))
    assert packed.changed({"rewrite": "space_to_depth"}).play().cycles > packed.play().cycles
    assert pipeline.estimate(changed.bound, changed.chip).cycles == after.cycles
