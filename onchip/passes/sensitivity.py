"""Measure what quantization does to a network: every layer quantized alone, every layer left out, everything.

In:       a folded float graph, calibration samples, samples to measure on, and the options of `quantize`.
Out:      energies of signal and noise: at the output for the whole network and for every layer alone and restored, at
          the layers' own outputs for the whole network; and an order in which layers read int16 to reach a target.
Promises: every number is a difference of two evaluated graphs; nothing is modelled. Four evaluations a layer at most.
          Ops that copy bits are no layers: they add no noise of their own.
Sources:  Wu 2020, section 6.1 (partial quantization: layers by their own effect).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onchip.errors import NotSupported
from onchip.ir.evaluate import evaluate
from onchip.ir.graph import Graph, Node
from onchip.ir.sensitivity import LayerSensitivity, decibels
from onchip.ops.types import FLOAT_DTYPES
from onchip.passes.calibrate import Sample
from onchip.passes.quantize_rules import SAME_SCALE
from onchip.passes.wide import READS

Array = NDArray[Any]
Progress = Callable[[int, int], None]
Make = Callable[[frozenset[str], frozenset[str]], Graph]  # (kept in floats, reading int16) -> quantized graph
COPIES = tuple(op for op in SAME_SCALE if op != "avg_pool2d")


def layers_of(graph: Graph) -> tuple[Node, ...]:
    """Return the nodes that have noise of their own: those that make floats, and do not copy them."""
    return tuple(
        n for n in graph.nodes if n.op not in COPIES and graph.tensor(n.outputs[0]).dtype in FLOAT_DTYPES
    )  # fmt: skip


@dataclass(slots=True)
class Measure:
    """The float network's outputs on some samples, and what other graphs make of the same samples."""

    graph: Graph
    samples: Sequence[Sample]
    progress: Progress
    total: int
    done: int = 0
    real: list[dict[str, Array]] = field(default_factory=list[dict[str, Array]])

    def __post_init__(self) -> None:
        self.real = [evaluate(self.graph, sample) for sample in self.samples]

    def of(self, graph: Graph) -> tuple[float, float]:
        """Return the energies of signal and noise at the outputs."""
        signal = noise = 0.0
        for sample, real in zip(self.samples, self.real, strict=True):
            ours = evaluate(graph, sample)
            for name in self.graph.outputs:
                if self.graph.tensor(name).dtype in FLOAT_DTYPES:
                    signal += float(np.square(real[name], dtype=np.float64).sum())
                    noise += float(np.square(ours[name].astype(np.float64) - real[name]).sum())
        self.done += 1
        self.progress(self.done, self.total)
        return signal, noise

    def db(self, graph: Graph) -> float | None:
        """Return the SQNR at the outputs."""
        return decibels(*self.of(graph))


def layer_sensitivities(graph: Graph, make: Make, kept: frozenset[str], measure: Measure) -> list[LayerSensitivity]:
    """Measure every layer alone, up to it, and without it; `kept` are those that stay in floats anyway."""
    layers = [n for n in layers_of(graph) if n.name not in kept]
    everything = frozenset(n.name for n in graph.nodes)
    whole = make(kept, frozenset())
    signal, noise = measure.of(whole)
    up_to_here = _inner(graph, whole, layers, measure.samples)
    found: list[LayerSensitivity] = []
    for layer in layers:
        alone = measure.db(make(everything - {layer.name}, frozenset()))
        restored = measure.of(make(kept | {layer.name}, frozenset()))
        gain = decibels(noise, restored[1]) or 0.0
        own = (alone, decibels(*up_to_here[layer.name]), decibels(signal, restored[1]))
        found.append(LayerSensitivity(layer.name, layer.op, *own, gain))
    return found


def _inner(
    graph: Graph, quantized: Graph, layers: Sequence[Node], samples: Sequence[Sample]
) -> dict[str, tuple[float, float]]:
    """Return the energies of signal and noise at the output of every layer of the quantized network."""
    wanted = {n.outputs[0]: n.name for n in layers}
    names = {t.name for t in quantized.tensors}
    stand_for = {f"{o}.int8" if f"{o}.int8" in names else o: o for o in wanted}
    sums = {name: [0.0, 0.0] for name in wanted.values()}
    for sample in samples:
        real: dict[str, Array] = {}

        def keep(name: str, value: Array, real: dict[str, Array] = real) -> None:
            if name in wanted:
                real[name] = value

        def compare(name: str, value: Array, real: dict[str, Array] = real) -> None:
            if name not in stand_for or stand_for[name] not in real:
                return
            source = stand_for[name]
            q = quantized.tensor(name).quantization
            ours = value.astype(np.float64) if q is None else (value.astype(np.float64) - q.zero_point[0]) * q.scale[0]
            total = sums[wanted[source]]
            total[0] += float(np.square(real[source], dtype=np.float64).sum())
            total[1] += float(np.square(ours - real.pop(source)).sum())

        evaluate(graph, sample, watch=keep)
        evaluate(quantized, sample, watch=compare)
    return {name: (total[0], total[1]) for name, total in sums.items()}


def raise_to_int16(
    graph: Graph, make: Make, kept: frozenset[str], measure: Measure, target_db: float
) -> tuple[list[tuple[str, float | None]], list[str]]:
    """Return layers to read int16, each with the SQNR of all up to it, until the target is met; and who cannot.

    Layers are tried alone first, then added in the order of what they gained, where that gains something still.
    """
    tried: list[tuple[float, str]] = []
    refused: list[str] = []
    for layer in layers_of(graph):
        if layer.op not in READS or layer.name in kept:
            continue
        try:
            noise = measure.of(make(kept, frozenset([layer.name])))[1]
        except NotSupported as error:
            if error.code != "OC1386":
                raise
            refused.append(layer.name)
            continue
        tried.append((noise, layer.name))
    steps: list[tuple[str, float | None]] = []
    best = measure.db(make(kept, frozenset()))
    for _, name in sorted(tried):
        db = measure.db(make(kept, frozenset([name, *(n for n, _ in steps)])))
        if db is not None and best is not None and db <= best:
            continue
        steps.append((name, db))
        best = db
        if db is None or db >= target_db:
            break
    return steps, refused
