"""The demo: three networks from training to the chip, and the CNN on six chips; a script over the public functions.

In:       a function that hears about progress.
Out:      for each network its accuracies and report, and the reports of the comparison.
Promises: every image of the test set runs on the simulated chip, and every output is compared with the integer
          reference bit by bit; the chip's accuracy comes from the chip's own outputs; same seed, same result.
Does not: print or write files (`cli.demo` does).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onchip import pipeline
from onchip.chip import Chip
from onchip.errors import OnchipError
from onchip.ir.graph import Graph
from onchip.ir.program import Program
from onchip.ir.report import Report
from onchip.simulator.values import Runner
from onchip.training.train import TrainedNetwork, train

CHIP = "edge-npu-16"
COMPARED = ("a100-sxm-80gb", "h100-sxm", "tpu-v1", "tpu-v4", "edge-npu-16", "tiny-npu-4")
BATCHES = (1, 64)
CALIBRATION_IMAGES = 100
NETWORKS = ("cnn", "lstm", "attention")  # those on the digits

Step = Callable[[int, int], None]
Progress = Callable[[str], AbstractContextManager[Step]]


@dataclass(frozen=True, slots=True)
class NetworkResult:
    """One network on the chip; the report is that of one image."""

    name: str
    float_accuracy: float
    chip_accuracy: float
    test_images: int
    report: Report

    def to_json(self) -> dict[str, Any]:
        """Return the network's row of `onchip demo --json`."""
        energy = self.report.energy_j
        return {
            "name": self.name,
            "float_accuracy": self.float_accuracy,
            "chip_accuracy": self.chip_accuracy,
            "test_images": self.test_images,
            "bit_exact": bool(self.report.bit_exact),
            "cycles_per_image": self.report.cycles,
            "latency_s": self.report.latency_s.to_json(),
            "energy_j": energy.to_json() if energy is not None else None,
        }


@dataclass(frozen=True, slots=True)
class Demo:
    """What the demo found; `comparison` is ordered by the time of one inference, `refused` says who could not."""

    networks: tuple[NetworkResult, ...]
    comparison: tuple[Report, ...]
    refused: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the object of `onchip demo --json`."""
        rows = [
            {
                "network": NETWORKS[0],
                "chip": report.chip.name,
                "batch": report.model.batch,
                "dtype": report.dtype,
                "latency_s": report.latency_s.to_json(),
                "bound": report.bound,
            }
            for report in self.comparison
        ]
        return {"networks": [result.to_json() for result in self.networks], "comparison": rows}


def run_demo(progress: Progress, *, seed: int = 0) -> Demo:
    """Train, quantize, compile, run and compare. Raises OnchipError."""
    chip = Chip.load(CHIP)
    results: list[NetworkResult] = []
    graphs: list[Graph] = []
    for name in NETWORKS:
        with progress(f"{name}: train") as step:
            network = train(name, seed=seed, progress=_epochs(step))
        graph = replace(pipeline.read(network.module, network.example), name=name)
        results.append(run_network(network, graph, chip, progress))
        graphs.append(graph)
    comparison, refused = compare_batches(graphs[0], progress)
    return Demo(tuple(results), comparison, refused)


def _epochs(step: Step) -> Callable[[int, int, float], None]:
    def heard(epoch: int, epochs: int, _loss: float) -> None:
        step(epoch, epochs)

    return heard


def run_network(network: TrainedNetwork, graph: Graph, chip: Chip, progress: Progress) -> NetworkResult:
    """Quantize and compile a trained network, and run its whole test set on the chip, image by image."""
    source, target = graph.inputs[0], graph.outputs[0]
    seen: dict[str, Any] = {}
    samples = [{source: network.train_images[:CALIBRATION_IMAGES]}]
    program = pipeline.compile(graph, chip, samples=samples, watch=seen.__setitem__)
    report = pipeline.report(pipeline.simulate(program))
    logits: list[NDArray[np.float32]] = []
    is_exact = True
    with progress(f"{network.name}: run on {chip.name}") as step:
        pairs = run_images(program, seen["graph"], network.test_images)
        for done, (ours, expected) in enumerate(pairs, 1):
            is_exact = is_exact and ours[target].tobytes() == expected[target].tobytes()
            logits.append(ours[target])
            step(done, len(network.test_images))
    accuracy = network.score(np.concatenate(logits))
    report = replace(report, bit_exact=is_exact)
    return NetworkResult(network.name, network.float_accuracy, accuracy, len(logits), report)


def run_images(
    program: Program, reference: Graph, images: NDArray[np.float32]
) -> Iterator[tuple[dict[str, NDArray[Any]], dict[str, NDArray[Any]]]]:
    """Yield the chip's outputs and those of the integer reference for each image."""
    source = reference.inputs[0]
    runner = Runner(program)
    for i in range(len(images)):
        inputs = {source: images[i : i + 1]}
        yield runner(inputs), pipeline.evaluate(reference, inputs)


def compare_batches(graph: Graph, progress: Progress) -> tuple[tuple[Report, ...], tuple[str, ...]]:
    """Return the reports of all chips and batches, least time per inference first, and who was refused."""
    reports: list[Report] = []
    refused: list[str] = []
    jobs = [(name, batch) for name in COMPARED for batch in BATCHES]
    with progress(f"{graph.name}: compare {len(COMPARED)} chips") as step:
        for done, (name, batch) in enumerate(jobs, 1):
            try:
                reports.append(pipeline.estimate(graph.bind(batch=batch), name))
            except OnchipError as error:
                if error.exit_code not in (3, 4):
                    raise
                refused.append(f"{name} at batch {batch}: {error}")
            step(done, len(jobs))
    ordered = sorted(reports, key=lambda r: (r.seconds_per_inference, r.chip.name, r.model.batch))
    return tuple(ordered), tuple(refused)
