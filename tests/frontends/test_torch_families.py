"""One small network per family: read from torch it computes what torch computes, and ONNX makes the same graph of it.

Promises: outputs agree within 1e-4, as read and folded, at the example's batch and at another where the batch is a
          symbol. MACs, parameters and bytes of constants are the same through torch and through ONNX.
"""

from __future__ import annotations

from math import prod

import numpy as np
import pytest
import torch
from torch import Tensor

from onchip.frontends.onnx import read_onnx
from onchip.frontends.torch import read_torch
from onchip.ir.evaluate import evaluate
from onchip.ir.graph import Graph
from onchip.ops.types import BITS
from onchip.passes.fold import fold
from tests.frontends.architectures import FAMILIES, captured, make, run
from tests.frontends.onnx_models import exported

FAST = ("vgg", "mobilenet_v3", "swin", "tcn")  # an export takes a second or two; the others are `slow`
# the exporter writes constants that the module does not have: masks in floats, tables that are turned, statistics
MORE_CONSTANTS = frozenset(("autoencoder", "bert", "gpt2", "llama", "transformer", "vit"))
# the exporter unrolls an RNN, and writes local response normalization as a pool over three dimensions
OTHER_FORM = frozenset(("rnn", "inception"))


def agrees(graph: Graph, example: tuple[Tensor, ...], wanted: list[Tensor]) -> None:
    bound = graph.bind(batch=example[0].shape[0]) if graph.symbols else graph
    made = evaluate(bound, {name: tensor.numpy() for name, tensor in zip(bound.inputs, example, strict=True)})
    for array, tensor in zip(made.values(), wanted, strict=True):
        np.testing.assert_allclose(array, tensor.numpy(), rtol=1e-4, atol=1e-4)


def test_there_are_at_least_25() -> None:
    assert len(FAMILIES) >= 25


@pytest.mark.parametrize("name", FAMILIES)
def test_it_computes_what_torch_computes(name: str) -> None:
    module, example = make(name)
    graph = captured(name)
    folded = fold(graph)
    agrees(graph, example, run(module, example))
    if not graph.symbols:
        agrees(folded, example, run(module, example))
        return
    other = tuple(torch.cat([t, t.flip(0)]) for t in example)
    agrees(folded, other, run(module, other))


def weights(graph: Graph) -> tuple[int, int]:
    """Count elements and bytes of the weights: floats, of more than one element."""
    shapes = [t.shape for t in graph.tensors if t.constant is not None and t.dtype == "f32"]
    sizes = [n for n in (prod(int(d) for d in s) for s in shapes) if n > 1]
    return sum(sizes), sum(sizes) * BITS["f32"] // 8


def same_through_onnx(name: str) -> None:
    file, example, wanted = exported(name)
    graph = fold(read_onnx(file, batch=example[0].shape[0]))
    agrees(graph, example, wanted)
    other = fold(captured(name))
    other = other.bind(batch=example[0].shape[0]) if other.symbols else other
    assert graph.macs() == other.macs()
    if name not in MORE_CONSTANTS:
        assert weights(graph) == weights(other)


@pytest.mark.parametrize("name", FAST)
def test_both_front_ends_agree(name: str) -> None:
    same_through_onnx(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(FAMILIES.keys() - set(FAST) - OTHER_FORM))
def test_both_front_ends_agree_on_the_others(name: str) -> None:
    same_through_onnx(name)


def test_the_front_end_reads_without_a_symbol_too() -> None:
    module, example = make("swin")
    graph = read_torch(module, example, is_dynamic=False)
    assert graph.symbols == ()
    agrees(graph, example, run(module, example))
