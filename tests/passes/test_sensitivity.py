"""Signal-to-noise ratios of layers, from NumPy and graphs that are put together here by hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from onchip.errors import UnknownName
from onchip.ir.build import GraphBuilder
from onchip.ir.evaluate import evaluate
from onchip.ir.graph import Graph, Node, Tensor
from onchip.ir.sensitivity import Sensitivity, decibels
from onchip.passes.quantize import quantize
from onchip.passes.twice import twice
from onchip.pipeline import estimate_trace
from onchip.precision import sensitivity

Array = NDArray[Any]
NAMES: tuple[str, ...] = ("fc0", "act", "fc1", "fc2")


def network() -> Graph:
    rng = np.random.default_rng(0)
    b = GraphBuilder("mlp")
    x = b.input("x", (8, 16))
    for i in range(3):
        w = (rng.standard_normal((16, 16)) * 0.3).astype(np.float32)
        x = str(b.node("linear", (x, b.constant(f"w{i}", w), ""), name=f"fc{i}"))
        x = str(b.node("gelu", (x,), name="act")) if i == 0 else x
    b.output(x)
    return b.finish()


SAMPLES = [{"x": np.random.default_rng(i).standard_normal((8, 16)).astype(np.float32)} for i in (1, 2)]
GRAPH = network()


def by_hand(kept: set[str]) -> Graph:
    """Put the graph together in which `kept` compute in floats: their own nodes, with edges in between."""
    whole = quantize(GRAPH, SAMPLES)
    tensors = {t.name: t for t in GRAPH.tensors}
    nodes: list[Node] = []

    def integer(name: str) -> str:
        q = f"{name}.q"
        if q not in tensors:
            like = whole.tensor("x.int8" if name == "x" else "fc2.int8" if name == "fc2" else name)
            tensors[q] = Tensor(q, like.shape, "i8", like.quantization)
            nodes.append(Node(f"{q}.quantize", "quantize", (name,), (q,), (("dtype", "i8"),)))
        return q

    for node in GRAPH.nodes:
        if node.name in kept:
            nodes.append(node)
            continue
        inner = whole.node(node.name)
        x = integer(node.inputs[0])
        weights = inner.inputs[1:]
        for w in weights:
            if w:
                tensors[f"{w}.i8"] = Tensor(f"{w}.i8", *_parts(whole.tensor(w)))
        made = whole.tensor(inner.outputs[0])
        y = f"{node.outputs[0]}.q"
        tensors[y] = Tensor(y, made.shape, "i8", made.quantization)
        inputs = (x, *(f"{w}.i8" if w else "" for w in weights))
        nodes.append(Node(node.name, node.op, inputs, (y,), inner.attributes))
        nodes.append(Node(f"{y}.dequantize", "dequantize", (y,), (node.outputs[0],), ()))
    return Graph("by_hand", tuple(tensors.values()), tuple(nodes), GRAPH.inputs, GRAPH.outputs)


def _parts(t: Tensor) -> tuple[Any, ...]:
    return t.shape, t.dtype, t.quantization, t.constant


def ratio(graph: Graph, output: str = "fc2") -> float:
    """Compute 10 log10 of the powers with NumPy over both samples."""
    real = np.concatenate([evaluate(GRAPH, s)[output] for s in SAMPLES]).astype(np.float64)
    ours = np.concatenate([evaluate(graph, s)[output] for s in SAMPLES]).astype(np.float64)
    return float(10 * np.log10(np.mean(real**2) / np.mean((ours - real) ** 2)))


@pytest.fixture(scope="module")
def found() -> Sensitivity:
    return sensitivity(GRAPH, SAMPLES)


def test_the_whole_network(found: Sensitivity) -> None:
    assert found.sqnr_db == pytest.approx(ratio(quantize(GRAPH, SAMPLES)), abs=1e-6)
    assert found.sqnr_db == pytest.approx(ratio(by_hand(set())), abs=1e-6)
    assert dict(found.methods)["mse"] == pytest.approx(ratio(quantize(GRAPH, SAMPLES, method="mse")), abs=1e-6)
    assert found.samples == 16 and found.hash == GRAPH.hash


@pytest.mark.parametrize("name", NAMES)
def test_a_layer_alone_and_a_layer_left_out(found: Sensitivity, name: str) -> None:
    (layer,) = (layer for layer in found.layers if layer.name == name)
    assert layer.isolated_db == pytest.approx(ratio(by_hand(set(NAMES) - {name})), abs=1e-6)
    restored = ratio(by_hand({name}))
    assert layer.restored_db == pytest.approx(restored, abs=1e-6)
    assert found.sqnr_db is not None and layer.gain_db == pytest.approx(restored - found.sqnr_db, abs=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_up_to_a_layer(found: Sensitivity, name: str) -> None:
    """The same network cut off behind the layer, everything in it quantized with the scales of the whole."""
    (layer,) = (layer for layer in found.layers if layer.name == name)
    whole = quantize(GRAPH, SAMPLES)
    signal = noise = 0.0
    for sample in SAMPLES:
        real: dict[str, Array] = {}
        ours: dict[str, Array] = {}
        evaluate(GRAPH, sample, watch=real.__setitem__)
        evaluate(whole, sample, watch=ours.__setitem__)
        q = whole.tensor(whole.node(name).outputs[0]).quantization
        assert q is not None
        back = (ours[whole.node(name).outputs[0]].astype(np.float64) - q.zero_point[0]) * q.scale[0]
        signal += float((real[name].astype(np.float64) ** 2).sum())
        noise += float(((back - real[name]) ** 2).sum())
    assert layer.cumulative_db == pytest.approx(10 * math.log10(signal / noise), abs=1e-6)


def test_layers_are_ranked_by_what_they_cost(found: Sensitivity) -> None:
    gains = [layer.gain_db for layer in found.ranked]
    assert gains == sorted(gains, reverse=True)
    ranks = {row["name"]: row["rank"] for row in found.to_json()["layers"]}
    assert [name for name, _ in sorted(ranks.items(), key=lambda pair: pair[1])] == [n.name for n in found.ranked]


def test_int16_steps_reach_the_target_and_say_their_cost() -> None:
    """Each step's ratio is that of the network quantized so; its cycles are those of the doubled layers."""
    plain = sensitivity(GRAPH, SAMPLES).sqnr_db
    assert plain is not None
    found = sensitivity(GRAPH, SAMPLES, target_db=plain + 3.0, chip="edge-npu-16")
    assert found.is_reached and found.raises and found.chip == "edge-npu-16" and found.int8_cycles is not None
    names: list[str] = []
    cycles = 0
    for step in found.raises:
        names.append(step.name)
        assert step.sqnr_db == pytest.approx(ratio(quantize(GRAPH, SAMPLES, int16=names)), abs=1e-6)
        whole = estimate_trace(twice(quantize(GRAPH, SAMPLES), names), "edge-npu-16").cycles
        assert step.added_cycles == whole - found.int8_cycles > cycles
        cycles = whole - found.int8_cycles
    assert any("int16 cycles are a bound" in text for text in found.assumptions)
    assert found.int8_cycles == estimate_trace(quantize(GRAPH, SAMPLES), "edge-npu-16").cycles


def test_a_doubled_layer_does_its_work_twice() -> None:
    whole = quantize(GRAPH, SAMPLES)
    double = twice(whole, ["fc1"])
    assert double.macs() == whole.macs() + whole.node_macs("fc1")
    assert [n.op for n in double.nodes].count("add") == 1


def test_what_stays_float_stays_so_in_every_measurement() -> None:
    found = sensitivity(GRAPH, SAMPLES, keep_float=["fc2"])
    assert [layer.name for layer in found.layers] == ["fc0", "act", "fc1"]
    assert found.sqnr_db == pytest.approx(ratio(by_hand({"fc2"})), abs=1e-6)
    (layer,) = (layer for layer in found.layers if layer.name == "fc1")
    assert layer.restored_db == pytest.approx(ratio(by_hand({"fc1", "fc2"})), abs=1e-6)
    with pytest.raises(UnknownName, match="OC1232"):
        sensitivity(GRAPH, SAMPLES, keep_float=["fc"])


def test_no_noise_is_no_number() -> None:
    assert decibels(1.0, 0.0) is None and decibels(0.0, 1.0) is None and decibels(100.0, 1.0) == 20.0
