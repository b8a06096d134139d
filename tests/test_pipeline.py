"""The pipeline's own decisions: batch, dtype, rounding, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest

import onchip as oc
from onchip.errors import NotSupported
from onchip.ir.graph import Graph, Node, Quantization, Tensor
from onchip.passes.quantize import quantize
from onchip.pipeline import compile_graph

IMAGE = {"input": np.random.default_rng(3).random((1, 8, 8, 1), np.float32)}


def digits(rounding: str) -> Graph:
    return quantize(oc.read("@digits_cnn", batch=1, weights="random"), [IMAGE], rounding=rounding)


def test_a_rounding_that_the_chip_has_not_is_refused_or_rewritten() -> None:
    graph = digits("double")
    with pytest.raises(NotSupported, match=r"OC1330.*chip 'edge-npu-16' rounds single"):
        oc.compile(graph, "edge-npu-16")
    chip = oc.Chip.load("edge-npu-16")
    rewritten = compile_graph(graph, chip, rounding="chip")
    assert {node.attribute("rounding", "single") for node in rewritten.nodes} == {"single"}
    program = oc.compile(graph, chip, rounding="chip")
    trace = oc.simulate(program, IMAGE)
    name = graph.outputs[0]
    np.testing.assert_array_equal(trace.outputs[name], oc.evaluate(rewritten, IMAGE)[name])
    np.testing.assert_array_equal(oc.evaluate(digits("single"), IMAGE)[name], oc.evaluate(rewritten, IMAGE)[name])


def test_a_rounding_that_the_chip_has_stays() -> None:
    graph = digits("double")
    chip = oc.Chip.load("h100-sxm")
    assert {n.attribute("rounding", "double") for n in compile_graph(graph, chip, dtype="int8").nodes} == {"double"}


def test_int16_activations_are_refused_by_name() -> None:
    scale = Quantization((0.01,), (0,))
    tensors = (Tensor("x", (1, 4), "f32"), Tensor("q", (1, 4), "i16", scale), Tensor("y", (1, 4), "i16", scale))
    nodes = (Node("q", "quantize", ("x",), ("q",), (("dtype", "i16"),)), Node("y", "relu", ("q",), ("y",)))
    with pytest.raises(NotSupported, match="OC1339"):
        oc.estimate(Graph("wide", tensors, nodes, ("x",), ("y",)), "edge-npu-16")


def test_read_takes_a_batch() -> None:
    assert oc.read("@digits_cnn", batch=3).tensor("input").shape == (3, 8, 8, 1)
