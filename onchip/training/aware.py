"""Quantization-aware training of the demo networks: a few epochs more, with the rounding of int8 in the forward run.

In:       the name of a network and a seed.
Out:      `AwareNetwork`: the int8 Graph, and the accuracies of the floats, of int8 without this training, and with it.
Promises: same name, seed and builds of torch and torchao give the same graph. CNN and attention go through torchao's
          pt2e with our quantizer, and their graph has the scales that they were trained with. torchao has no place
          inside of an LSTM: its weights are rounded per output channel for each forward run, and what it reads and
          makes by torchao's fake quantizers; gradients pass straight through. Its scales come from calibration.
          The test images take no part.
Sources:  Jacob 2018, section 4 (training with simulated quantization); Bengio 2013 (straight-through estimator).
"""

from __future__ import annotations

import copy
import logging
import warnings
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from onchip import pipeline
from onchip.errors import NotSupported
from onchip.ir.graph import Graph
from onchip.training.train import RECIPES, Progress, TrainedNetwork, fit, reproducible, train

CALIBRATION_IMAGES = 100
EPOCHS = (4, 2)  # with observers that follow the ranges, then with fixed ones
SLOWER = 10.0  # than the rate of the first training


@dataclass(frozen=True, slots=True, eq=False)
class AwareNetwork:
    """A network before and after; shares of the held-out images, 0..1."""

    trained: TrainedNetwork
    graph: Graph
    float_accuracy: float
    calibrated_accuracy: float  # int8 without this training
    int8_accuracy: float


def train_aware(name: str, *, seed: int = 0, progress: Progress | None = None) -> AwareNetwork:
    """Train a demo network, then with simulated quantization, and quantize it.

    Raises UnknownName for a name that is not in RECIPES, NotSupported where torchao is not installed.
    """
    network = train(name, seed=seed, progress=progress)
    plain = pipeline.quantize(pipeline.read(network.module, network.example), _samples(network))
    with reproducible(seed), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.export and torchao about their own internals
        twin = replace(network, module=copy.deepcopy(network.module))  # export and training change a module in place
        tuned = _tune_recurrent(twin) if name == "lstm" else _tune_exported(twin)
    graph = replace(pipeline.quantize(pipeline.read(tuned, network.example), _samples(network)), name=name)
    accuracies = [network.score(_logits(g, network)) for g in (plain, graph)]
    return AwareNetwork(network, graph, network.float_accuracy, accuracies[0], accuracies[1])


def _samples(network: TrainedNetwork) -> list[dict[str, NDArray[Any]]]:
    return [{"x": network.train_images[:CALIBRATION_IMAGES]}]


def _logits(graph: Graph, network: TrainedNetwork) -> NDArray[np.float32]:
    return pipeline.evaluate(graph, {graph.inputs[0]: network.test_images})[graph.outputs[0]]


def _fit_slowly(module: nn.Module, network: TrainedNetwork, epochs: int, **options: Any) -> None:
    recipe = RECIPES[network.name]
    slow = replace(recipe, epochs=epochs, rate=recipe.rate / SLOWER)
    fit(module, slow, torch.tensor(network.train_images), torch.tensor(network.train_labels), None, **options)


def _tune_exported(network: TrainedNetwork) -> nn.Module:
    """Train through torchao's pt2e and convert."""
    pt2e, quantizer = _torchao()
    batch = torch.export.Dim("batch", min=1)
    exported = torch.export.export(network.module, network.example, dynamic_shapes=({0: batch},)).module()
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_qat_pt2e

    prepared = prepare_qat_pt2e(cast("Any", exported), quantizer.ChipQuantizer(is_qat=True))
    pt2e.allow_exported_model_train_eval(prepared)
    _fit_slowly(prepared, network, EPOCHS[0])
    prepared.apply(pt2e.disable_observer)
    _fit_slowly(prepared, network, EPOCHS[1])
    return convert_pt2e(prepared)


def _tune_recurrent(network: TrainedNetwork) -> nn.Module:
    """Train with the LSTM's weights, inputs and outputs rounded; the module stays in floats."""
    pt2e, _ = _torchao()
    module = network.module
    observer = pt2e.MovingAverageMinMaxObserver
    read, made = (
        pt2e.FakeQuantize(observer=observer, quant_min=-128, quant_max=127, dtype=torch.int8) for _ in range(2)
    )
    lstm = cast("nn.LSTM", module.lstm)
    hooks = [
        lstm.register_forward_pre_hook(lambda _, args: (read(args[0]),)),
        lstm.register_forward_hook(lambda _, __, out: (made(out[0]), (made(out[1][0]), out[1][1]))),
    ]
    _fit_slowly(module, network, sum(EPOCHS), around=partial(rounded_weights, module))
    for hook in hooks:
        hook.remove()
    return module


@contextmanager
def rounded_weights(module: nn.Module) -> Generator[None, None, None]:
    """Put every weight matrix on its int8 grid, per output channel, and put it back at the end."""
    weights = [p for p in module.parameters() if p.dim() > 1]
    kept = [p.data for p in weights]
    for p in weights:
        scale = p.data.flatten(1).abs().amax(1).clamp(min=1e-8).div(127.0).view(-1, *(1,) * (p.dim() - 1))
        p.data = (p.data / scale).round() * scale
    try:
        yield
    finally:
        for p, data in zip(weights, kept, strict=True):
            p.data = data


def _torchao() -> tuple[Any, Any]:
    """Import torchao and our quantizer for it. Raises NotSupported."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)  # torchao tells which of its CUDA kernels are not there
    try:
        from torchao.quantization import pt2e

        from onchip.training import quantizer
    except ImportError as error:
        hint = "pip install 'onchip[torch]'"
        raise NotSupported("OC1014", "train --qat", "torchao is not installed", next=hint) from error
    finally:
        logging.disable(before)
    return pt2e, quantizer
