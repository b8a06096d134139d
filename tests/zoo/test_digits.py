"""The demo networks of the zoo are those that onchip trains: same names, parameters, MACs, values."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from onchip.ir.evaluate import evaluate
from onchip.ir.graph import Graph, constant_tensor
from onchip.training.networks import AttentionClassifier, Cnn, LstmClassifier
from onchip.zoo.catalog import build


def loaded(graph: Graph, module: torch.nn.Module, turned: dict[str, tuple[int, ...]]) -> Graph:
    """Put a module's parameters into the graph of the same names; `turned` are those with another layout."""
    values = {name: p.detach().numpy() for name, p in module.named_parameters()}
    assert {t.name for t in graph.tensors if t.constant is not None} == set(values)
    tensors = tuple(
        t if t.constant is None else constant_tensor(t.name, values[t.name].transpose(turned[t.name]).copy())
        if t.name in turned else constant_tensor(t.name, values[t.name])
        for t in graph.tensors
    )  # fmt: skip
    return replace(graph, tensors=tensors)


@pytest.mark.parametrize(
    ("name", "module", "options"),
    [
        ("digits_cnn", Cnn(), {}),
        ("digits_cnn", Cnn(3, image_size=32, classes=7), {"in_channels": 3, "image_size": 32, "classes": 7}),
        ("digits_cnn", Cnn(3, image_size=64), {"in_channels": 3, "image_size": 64}),
        ("digits_lstm", LstmClassifier(), {}),
        ("digits_attention", AttentionClassifier(), {}),
    ],
    ids=["cnn", "cnn_3x32x32", "cnn_3x64x64", "lstm", "attention"],
)
def test_same_values_as_the_module(name: str, module: torch.nn.Module, options: dict[str, Any]) -> None:
    kernels = {n: (0, 2, 3, 1) for n, p in module.named_parameters() if p.dim() == 4}
    graph = loaded(build(name, **options), module, kernels)
    size = options.get("image_size", 8)
    shape = (3, options.get("in_channels", 1), size, size) if kernels else (3, 8, 8)
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    if kernels:  # the one layer behind the flattening counts channels first in torch
        weight = module.get_parameter("fc1.weight").detach().numpy()
        order = np.arange(weight.shape[1]).reshape(64, size // 4, size // 4).transpose(1, 2, 0).ravel()
        tensors = [
            constant_tensor(t.name, weight[:, order].copy()) if t.name == "fc1.weight" else t for t in graph.tensors
        ]
        graph = replace(graph, tensors=tuple(tensors))
    with torch.no_grad():
        wanted = module.eval()(x).numpy()
    given = x.numpy().transpose(0, 2, 3, 1) if kernels else x.numpy()
    (y,) = evaluate(graph.bind(batch=3), {"input": np.ascontiguousarray(given)}).values()
    np.testing.assert_allclose(y, wanted, rtol=1e-4, atol=1e-5)
