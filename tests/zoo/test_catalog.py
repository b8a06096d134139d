"""The zoo against published figures; the source stands beside each."""

from __future__ import annotations

import numpy as np
import pytest

from onchip.errors import UnknownName, UsageError
from onchip.ir.evaluate import evaluate
from onchip.ir.graph import Graph
from onchip.passes.fold import fold
from onchip.zoo.catalog import ZOO, build


def learned(graph: Graph) -> int:
    """Count what is learned: without the running statistics of batch_norm."""
    statistics = {i for n in graph.nodes if n.op == "batch_norm" for i in n.inputs[3:]}
    return graph.parameters() - sum(int(graph.tensor(s).shape[0]) for s in statistics)


@pytest.mark.parametrize(
    ("name", "parameters", "macs"),
    [
        # docs.pytorch.org/vision, model pages: 11,689,512 parameters, 1.81 GFLOPS (of MACs); 1.814 by fvcore
        ("resnet18", 11_689_512, 1.814e9),
        # the same page: 25,557,032 parameters, 4.09 GFLOPS; 4.089 by fvcore
        ("resnet50", 25_557_032, 4.089e9),
    ],
)
def test_resnets_of_torchvision(name: str, parameters: int, macs: float) -> None:
    graph = build(name)
    assert learned(graph) == parameters
    assert graph.bind(batch=1).macs() == pytest.approx(macs, rel=5e-4)
    assert graph.bind(batch=8).macs() == 8 * graph.bind(batch=1).macs()


def test_resnet8_of_mlperf_tiny() -> None:
    """Keras' model.summary() of the MLPerf Tiny model: 78,666 parameters; Banbury et al. 2021: 12.5 M MACs."""
    graph = build("resnet8")
    assert graph.parameters() == 78_666
    assert graph.bind(batch=1).macs() == pytest.approx(12.5e6, rel=1e-3)


def test_bert_base() -> None:
    """Hugging Face bert-base-uncased, BertModel: 109,482,240; MobileBERT (Sun 2020), table 4: 22.5 GFLOP at 128."""
    graph = build("bert-base")
    assert graph.parameters() == 109_482_240
    assert 2 * graph.bind(batch=1).macs() == pytest.approx(22.5e9, rel=0.01)


def test_bert_base_with_a_symbolic_length() -> None:
    graph = build("bert-base", seq="seq")
    assert set(graph.symbols) == {"batch", "seq"}
    pooler = 768 * 768
    assert graph.bind(batch=1, seq=128).macs() == build("bert-base").bind(batch=1).macs() - pooler


@pytest.mark.parametrize("name", sorted(ZOO))
def test_every_network_builds_folds_and_has_a_symbolic_batch(name: str) -> None:
    graph = build(f"@{name}")
    assert graph.name == name
    assert graph.symbols == ("batch",)
    assert all(t.constant is None or t.constant.data is None for t in graph.tensors)
    assert len(fold(graph).nodes) <= len(graph.nodes)
    assert build(name, batch=4).symbols == ()


@pytest.mark.parametrize("name", ["digits_cnn", "digits_lstm", "digits_attention", "resnet8"])
def test_random_weights_depend_on_the_seed_alone(name: str) -> None:
    first, again, other = (build(name, weights="random", seed=s) for s in (1, 1, 2))
    assert first.hash == again.hash != other.hash
    shape = [2 if d == "batch" else d for d in first.tensor("input").shape]
    x = np.random.default_rng(0).standard_normal([int(d) for d in shape], dtype=np.float32)
    (y,) = evaluate(first.bind(batch=2), {"input": x}).values()
    assert y.shape == (2, 10)
    assert np.isfinite(y).all() and y.std() > 0


@pytest.mark.parametrize(("channels", "size"), [(3, 64), (3, 32), (1, 8)])
def test_the_cnn_takes_other_images(channels: int, size: int) -> None:
    graph = build("digits_cnn", in_channels=channels, image_size=size, classes=7)
    assert graph.tensor("input").shape == ("batch", size, size, channels)
    assert graph.tensor(graph.outputs[0]).shape == ("batch", 7)


def test_mistakes_are_named() -> None:
    with pytest.raises(UnknownName, match=r"@resnet5: OC1002 .*'resnet50'"):
        build("@resnet5")
    with pytest.raises(UsageError, match=r"has no option 'image_sise'.*'image_size'"):
        build("resnet18", image_sise=32)
    with pytest.raises(UsageError, match="multiple of 4"):
        build("digits_cnn", image_size=30)
    with pytest.raises(UsageError, match="seq is 513"):
        build("bert-base", seq=513)
    with pytest.raises(UsageError, match="neither None nor 'random'"):
        build("resnet18", weights="pretrained")
