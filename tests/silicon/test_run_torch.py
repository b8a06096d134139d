"""Networks through torch: what is timed is what the graph means. The witness is the float reference of the ops."""

from __future__ import annotations

from random import Random
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import onchip as oc
from onchip import pipeline
from onchip.errors import DoesNotFit
from onchip.forecast.kernels import kernels_of
from onchip.ir.build import GraphBuilder
from onchip.ir.graph import Graph
from onchip.passes.fold import fold
from onchip.silicon import torch_ops
from tests.networks import network

torch = pytest.importorskip("torch")
run_torch = pytest.importorskip("onchip.silicon.run_torch")


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def _never(*_: object) -> bool:
    return False


def inputs_of(graph: Graph, seed: int = 0) -> dict[str, NDArray[Any]]:
    """Return random inputs; whole numbers are below 5."""
    rng = np.random.default_rng(seed)
    found: dict[str, NDArray[Any]] = {}
    for name in graph.inputs:
        shape = tuple(int(d) for d in graph.tensor(name).shape)
        is_float = graph.tensor(name).dtype == "f32"
        found[name] = rng.standard_normal(shape, np.float32) if is_float else rng.integers(0, 5, shape)
    return found


def agrees(graph: Graph, *, may_refuse: bool = False) -> bool:
    made, inputs = run_torch.TorchNetwork(graph, torch), inputs_of(graph)
    if not made.parts:  # nothing but renames
        return False
    if made.reasons:
        assert may_refuse, made.reasons
        return False
    wanted, got = oc.evaluate(graph, inputs), made.outputs(inputs)
    for name, value in wanted.items():
        assert got[name].shape == value.shape
        np.testing.assert_allclose(got[name], value, rtol=1e-3, atol=1e-4 * max(1.0, float(np.abs(value).max())))
    return True


@pytest.mark.parametrize(
    "name", ["resnet8", "ds_cnn", "mobilenet_v2_0.25", "digits_attention", "squeezenet_1_1", "llama-260k"]
)
def test_a_network_gives_what_the_reference_gives(name: str) -> None:
    assert agrees(fold(pipeline.bind_batch(oc.read(f"@{name}", weights="random"))))


def test_random_networks_give_what_the_reference_gives() -> None:
    done = sum(agrees(fold(network(Random(seed))), may_refuse=True) for seed in range(60))
    assert done >= 20


@pytest.mark.parametrize("activation", ["none", "relu", "relu6"])
@pytest.mark.parametrize("padding", [(1, 1, 1, 1), (0, 1, 0, 1)])
@pytest.mark.parametrize("has_fused", [True, False])
def test_a_convolution_with_a_sum_behind_it(
    activation: str, padding: tuple[int, ...], has_fused: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not has_fused:
        monkeypatch.setattr(torch_ops, "has_fused", _never)
    rng = np.random.default_rng(1)
    b = GraphBuilder("g")
    x = b.input("x", (1, 9, 9, 8))
    w = b.constant("w", rng.standard_normal((8, 3, 3, 8), np.float32))
    stride = (1, 1) if padding[0] else (2, 2)
    y = b.node("conv2d", [x, w], "conv", padding=padding, stride=stride)
    z = b.node("conv2d", [x, w], "side", padding=padding, stride=stride, activation=activation)
    b.output(str(b.node("add", [str(y), str(z)], "sum", activation=activation)))
    graph = fold(b.finish())
    made = run_torch.TorchNetwork(graph, torch)
    assert made.names == tuple(kernel.anchor.name for kernel in kernels_of(graph)[0])
    assert agrees(graph)


def test_tensors_are_let_go_when_their_last_reader_has_run() -> None:
    graph = fold(pipeline.bind_batch(oc.read("@resnet8")))
    made = run_torch.TorchNetwork(graph, torch)
    values: dict[str, Any] = {**made._values, **made._inputs}
    made._timed(values, lambda: 0.0)
    assert set(values) - set(made._values) == set(graph.outputs)


def test_an_op_that_torch_is_not_asked_for_is_named_and_the_rest_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(torch_ops.MAKERS, "softmax")
    graph = fold(pipeline.bind_batch(oc.read("@resnet8")))
    made = run_torch.TorchNetwork(graph, torch, clock=iter(range(1000)).__next__)
    assert made.reasons == {"softmax": "softmax: not run through torch ('softmax')"}
    seconds = made.run()
    assert seconds[-1] == 0 and all(s > 0 for s in seconds[:-1])


def test_memory_that_ends_is_said_in_one_line() -> None:
    graph = fold(pipeline.bind_batch(oc.read("@digits_cnn")))
    made = run_torch.TorchNetwork(graph, torch)

    def full(_values: dict[str, Any]) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 99 bytes.")

    made.parts[0].steps[:] = [full]
    with pytest.raises(DoesNotFit, match="digits_cnn: OC2004 the machine's memory does not hold it"):
        made.run()


def test_a_cuda_device_is_waited_for_around_each_kernel() -> None:
    graph = fold(pipeline.bind_batch(oc.read("@digits_cnn")))
    made, calls = run_torch.TorchNetwork(graph, torch), [0]

    def wait() -> None:
        calls[0] += 1

    made.torch = SimpleNamespace(cuda=SimpleNamespace(synchronize=wait), inference_mode=torch.inference_mode)
    made.device = "cuda"
    made._timed({**made._values, **made._inputs}, lambda: 0.0)
    assert calls == [2 * len(made.parts)]
