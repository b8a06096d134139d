"""Training reaches its accuracy on the held-out digits and is the same each time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from onchip.errors import UnknownName
from onchip.training.train import RECIPES, TrainedNetwork, predict, train

Trained = Callable[[str], TrainedNetwork]


@pytest.mark.parametrize(("name", "least"), [("cnn", 0.97), ("lstm", 0.93), ("attention", 0.93)])
def test_accuracy_on_held_out_digits(trained: Trained, name: str, least: float) -> None:
    network = trained(name)
    assert network.float_accuracy >= least
    logits = predict(network.module, network.test_images)
    assert network.score(logits) == network.float_accuracy
    assert network.losses[-1] < network.losses[0] / 10 and len(network.losses) == RECIPES[name].epochs


def test_same_seed_same_weights_whatever_went_before(trained: Trained) -> None:
    torch.manual_seed(1)
    first = trained("lstm").module.state_dict()
    torch.manual_seed(2)
    torch.rand(7)
    second = train("lstm").module.state_dict()
    assert all(torch.equal(first[k], second[k]) for k in first)


def test_other_seed_other_weights_and_the_callers_random_state_stays(
    trained: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[int, int]] = []
    monkeypatch.setitem(RECIPES, "lstm", replace(RECIPES["lstm"], epochs=2))
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    network = train("lstm", seed=1, progress=lambda epoch, epochs, _loss: seen.append((epoch, epochs)))
    assert torch.equal(torch.rand(3), expected)
    assert seen == [(1, 2), (2, 2)]
    assert not torch.equal(network.module.state_dict()["fc.weight"], trained("lstm").module.state_dict()["fc.weight"])
    assert not torch.are_deterministic_algorithms_enabled()


def test_example_has_the_shape_of_the_images(trained: Trained) -> None:
    assert trained("cnn").example[0].shape == (2, 1, 8, 8) and trained("lstm").example[0].shape == (2, 8, 8)


def test_unknown_network_is_refused_by_name() -> None:
    with pytest.raises(
        UnknownName, match=r"OC1013 no network 'cn'.*There are cnn, lstm, attention, dates.*Did you mean 'cnn'"
    ):
        train("cn")
