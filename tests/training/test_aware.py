"""Quantization-aware training, and torchao's graphs read as ours: what torch computes, and the accuracy of the int8."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any, cast

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import onchip as oc
from onchip.errors import NotSupported, UsageError
from onchip.passes.qdq import is_paired, without_pairs
from onchip.training import aware
from onchip.training.train import RECIPES, TrainedNetwork

Array = NDArray[Any]
Trained = Callable[[str], TrainedNetwork]


@cache
def converted(network: TrainedNetwork) -> torch.nn.Module:
    """Calibrate a network by torchao with our quantizer, on 100 training images."""
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

    from onchip.training.quantizer import ChipQuantizer

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        batch = torch.export.Dim("batch", min=1)
        exported = torch.export.export(network.module, network.example, dynamic_shapes=({0: batch},)).module()
        prepared = prepare_pt2e(cast("Any", exported), ChipQuantizer())
        prepared(torch.tensor(network.train_images[:100]))
        return convert_pt2e(prepared)


def by_torch(module: torch.nn.Module, images: Array) -> Array:
    with torch.no_grad():
        return np.asarray(module(torch.tensor(images)).numpy())


@pytest.mark.parametrize("name", ["cnn", "attention"])
def test_a_graph_of_torchao_is_read_and_becomes_int8(trained: Trained, name: str) -> None:
    """Pairs compute what torch computes, but for roundings at halves; in int8 every scale is torchao's."""
    network = trained(name)
    module, images = converted(network), network.test_images
    theirs = by_torch(module, images)
    graph = oc.read(module, network.example)
    assert [n.op for n in graph.nodes].count("quantize") >= 5 and is_paired(oc_fold(graph))
    ours = oc.evaluate(graph, {graph.inputs[0]: images})[graph.outputs[0]]
    far = np.abs(ours - theirs).max(axis=1)
    scale = np.abs(theirs).max() / 127
    assert np.median(far) <= scale and far.max() <= 8 * scale  # a step of the output where a rounding turned over
    int8 = oc.quantize(graph, [{graph.inputs[0]: network.train_images[:100]}])
    given = set(without_pairs(oc_fold(graph))[1].values())
    made = {t.quantization for t in int8.tensors if t.constant is None and t.quantization is not None}
    assert len(made & given) >= len(given) * 0.8
    logits = oc.evaluate(int8, {int8.inputs[0]: images})[int8.outputs[0]]
    assert network.score(logits) >= network.float_accuracy - 0.005


def oc_fold(graph: oc.Graph) -> oc.Graph:
    from onchip.passes.fold import fold

    return fold(graph)


def test_the_weights_are_the_integers_of_torchao(trained: Trained) -> None:
    module = converted(trained("cnn"))
    graph = oc.quantize(oc.read(module, trained("cnn").example), None)
    integers = {k: v.numpy() for k, v in module.state_dict().items() if v.dtype == torch.int8}
    ours = [t.constant.data for t in graph.tensors if t.dtype == "i8" and t.constant is not None]
    assert len(ours) == len(integers) == 4
    for data in ours:
        assert data is not None
        flat = np.sort(data, axis=None)  # layouts differ: channels last, and columns turned behind the flattening
        assert any(np.array_equal(flat, np.sort(v, axis=None)) for v in integers.values())


def test_what_no_scale_is_known_for_needs_samples(trained: Trained) -> None:
    network = trained("attention")
    graph = oc.read(converted(network), network.example)
    with pytest.raises(UsageError, match=r"attention.*OC1417 the network brings no scale for what happens inside"):
        oc.quantize(graph, None)
    program = oc.compile(graph, "edge-npu-16", samples=[{graph.inputs[0]: network.train_images[:50]}])
    assert program.dtype == "int8"


class Unsigned(torch.nn.Module):
    """Rounds to uint8, as x86 quantizers do."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        ops = torch.ops.quantized_decomposed
        q = ops.quantize_per_tensor(x, 0.5, 3, 0, 255, torch.uint8)
        return cast("torch.Tensor", ops.dequantize_per_tensor(q, 0.5, 3, 0, 255, torch.uint8))


def test_unsigned_pairs_are_refused_by_name() -> None:
    importlib.import_module("torch.ao.quantization.fx._decomposed")  # registers the operators
    with pytest.raises(NotSupported, match=r"OC1351 quantization to torch.uint8 in 0 to 255.*int8"):
        oc.read(Unsigned(), (torch.zeros(2, 3),))


def test_weights_are_rounded_inside_and_whole_again_outside() -> None:
    module = torch.nn.Linear(8, 3)
    before = module.weight.detach().clone()
    with aware.rounded_weights(module):
        steps = module.weight / (before.abs().amax(1, keepdim=True) / 127)
        assert torch.allclose(steps, steps.round(), atol=1e-3) and not torch.equal(module.weight, before)
        module(torch.ones(1, 8)).sum().backward()
    assert torch.equal(module.weight, before)
    assert module.weight.grad is not None and torch.equal(module.weight.grad, torch.ones(3, 8))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["cnn", "lstm"])
def test_training_goes_through_and_is_the_same_each_time(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """With few epochs; how good it gets is the test below."""
    few = {n: replace(recipe, epochs=1) for n, recipe in RECIPES.items()}
    monkeypatch.setattr("onchip.training.train.RECIPES", few)
    monkeypatch.setattr(aware, "RECIPES", few)
    monkeypatch.setattr(aware, "EPOCHS", (1, 1))
    first, second = aware.train_aware(name), aware.train_aware(name)
    assert first.graph == second.graph and first.int8_accuracy == second.int8_accuracy
    assert first.graph != aware.train_aware(name, seed=1).graph
    plain = oc.quantize(oc.read(first.trained.module, first.trained.example), None)
    assert [n.op for n in first.graph.nodes] == [n.op for n in plain.nodes]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["cnn", "lstm", "attention"])
def test_int8_is_as_good_as_the_floats(name: str) -> None:
    """Within 0.3 points on the 540 held-out images."""
    found = aware.train_aware(name)
    assert found.int8_accuracy >= found.float_accuracy - 0.003
    logits = oc.evaluate(found.graph, {found.graph.inputs[0]: found.trained.test_images})[found.graph.outputs[0]]
    assert found.trained.score(logits) == found.int8_accuracy
    assert oc.compile(found.graph, "edge-npu-16").dtype == "int8"
