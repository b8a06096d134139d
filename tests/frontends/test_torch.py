"""The torch front end against torch itself."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from onchip.errors import NotSupported, OnchipError, UsageError
from onchip.frontends.torch import read_torch
from onchip.ir.evaluate import evaluate
from onchip.ir.graph import Graph
from onchip.passes.fold import fold
from tests.frontends.architectures import ARCHITECTURES, captured, make, run


def agrees(graph: Graph, example: tuple[Tensor, ...], wanted: list[Tensor]) -> None:
    bound = graph.bind(batch=example[0].shape[0]) if graph.symbols else graph
    given = {name: tensor.numpy() for name, tensor in zip(bound.inputs, example, strict=True)}
    made = evaluate(bound, given)
    for name, tensor in zip(bound.outputs, wanted, strict=True):
        np.testing.assert_allclose(made[name], tensor.numpy(), rtol=1e-4, atol=1e-4)


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel:UserWarning")  # torch about its own speed
@pytest.mark.parametrize("name", sorted(ARCHITECTURES))
def test_read_and_folded_it_computes_what_torch_computes(name: str) -> None:
    module, example = make(name)
    wanted = run(module, example)
    graph = captured(name)
    folded = fold(graph)
    assert graph.symbols == ("batch",)
    agrees(graph, example, wanted)
    agrees(folded, example, wanted)
    twice = tuple(torch.cat([t, t.flip(0)]) for t in example)
    agrees(folded, twice, run(module, twice))


# these read single heads, or attention's weights, so a layout really changes inside of them
@pytest.mark.parametrize("name", sorted(ARCHITECTURES.keys() - {"hand_written", "masked_attention", "rectangle"}))
def test_transposes_are_left_at_the_borders_only(name: str) -> None:
    folded = fold(captured(name))
    for node in folded.nodes:
        if node.op == "transpose":
            assert node.inputs[0] in folded.inputs or node.outputs[0] in folded.outputs


def test_names_are_the_paths_of_the_modules() -> None:
    module, _ = make("resnet")
    graph = captured("resnet")
    names = {n.name for n in graph.nodes}
    assert {"conv1", "bn1", "maxpool", "layer1.0.conv1", "layer1.1.downsample.0", "avgpool", "fc"} <= names
    assert {"conv1.weight", "layer1.0.bn1.running_mean", "fc.bias"} <= {t.name for t in graph.tensors}
    assert graph.parameters() == sum(p.numel() for p in module.parameters())


def test_whole_operators_stay_whole() -> None:
    def ops(name: str) -> list[str]:
        return [n.op for n in fold(captured(name)).nodes]

    assert ops("lstm") == ["lstm", "linear"]
    assert ops("bilinear") == ["linear", "attention"]
    assert ops("cross_attention") == ["linear"] * 3 + ["attention", "linear"]
    assert ops("cnn") == ["transpose", "conv2d", "max_pool2d", "conv2d", "max_pool2d", "reshape", "linear", "linear"]
    assert [op for op in ops("rectangle") if op not in ("transpose", "reshape")] == ["mul", "attention"]
    assert ops("encoder").count("attention") == 2 and "transpose" not in ops("encoder")


def test_a_module_that_needs_its_batch_as_a_number_gets_it() -> None:
    class Merged(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.relu(x.reshape(-1, 4))

    module, example = Merged(), (torch.randn(3, 2, 4),)
    graph = read_torch(module, example)
    assert graph.symbols == ()
    agrees(graph, example, run(module, example))


def test_a_token_that_is_stretched_over_the_batch() -> None:
    class ClassToken(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.token = nn.Parameter(torch.randn(1, 1, 4))

        def forward(self, x: Tensor) -> Tensor:
            return torch.cat([self.token.expand(x.shape[0], -1, -1), x], 1)

    module, example = ClassToken(), (torch.randn(3, 2, 4),)
    graph = read_torch(module, example)
    assert graph.symbols == ("batch",)
    agrees(graph, example, run(module, example))


def test_static_on_request_and_the_module_is_left_alone() -> None:
    module, example = make("cnn")
    module.train()
    before = {k: v.clone() for k, v in module.state_dict().items()}
    assert read_torch(module, example, is_dynamic=False).symbols == ()
    assert module.training
    assert all(torch.equal(v, before[k]) for k, v in module.state_dict().items())


def test_keyword_examples() -> None:
    module, example = make("cross_attention")
    names = ("query", "key", "value")
    graph = read_torch(module, dict(zip(names, example, strict=True)))
    assert graph.inputs == names
    agrees(graph, example, run(module, example))


class Sorted(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.sort(x, 1)[0]


class Inner(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.block = nn.Sequential(nn.Linear(3, 3), Sorted())

    def forward(self, x: Tensor) -> Tensor:
        return self.block(x)


class Branches(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x if x.sum() > 0 else -x


class Volume(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv3d(3, 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)


class Projected(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(3, 4, proj_size=2, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.lstm(x)[0]


@pytest.mark.parametrize(
    ("module", "shape", "message"),
    [
        (Inner(), (2, 3), r"Inner: block\.1: OC1350 operator aten\.sort\.default is not read"),
        (Branches(), (2, 3), r"Branches: OC1256 torch\.export failed: Could not guard on data-dependent"),
        (Volume(), (2, 3, 8, 8, 8), r"Volume: conv: OC1351 aten.convolution.default over 3 dimensions"),
        (Projected(), (2, 5, 3), r"Projected: lstm: OC1351 an LSTM with projections"),
    ],
)
def test_what_is_not_read_is_refused_by_name(
    module: nn.Module, shape: tuple[int, ...], message: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(NotSupported, match=message):
        read_torch(module, torch.randn(shape))
    captured = capfd.readouterr()
    assert (captured.out, captured.err) == ("", "")


def test_examples_that_are_no_tensors() -> None:
    for example in ("x", (1, 2), (), {"x": 3}):
        with pytest.raises(UsageError, match="OC1257"):
            read_torch(nn.Linear(2, 2), example)  # pyright: ignore[reportArgumentType]
    with pytest.raises(OnchipError, match="OC1256"):
        read_torch(nn.Linear(2, 2), torch.randn(3, 5))
