"""The translator of dates: the task's rules, and its int8 program on the chip."""

# pyright: basic

from __future__ import annotations

from datetime import date
from typing import Any

import numpy as np
import pytest
import torch

import onchip as oc
from onchip.ir.graph import Graph
from onchip.training.dates import ALPHABET, DIGITS, LENGTH, characters, dates, ordinal, write
from onchip.training.networks import Translator
from onchip.training.train import predict

CHIP = "edge-npu-16"


def test_how_dates_are_written() -> None:
    assert write(date(2021, 3, 3)) == (
        "3 march 2021", "march 3, 2021", "3rd of march 2021", "mar 3 2021", "wed, 3 march 2021", "3/3/2021",
    )  # fmt: skip
    assert [ordinal(n) for n in (1, 2, 3, 4, 11, 12, 13, 21, 22, 23, 30, 31)] == [
        "st", "nd", "rd", "th", "th", "th", "th", "st", "nd", "rd", "th", "st",
    ]  # fmt: skip
    longest = max(len(text) for day in range(30) for text in write(date(2021, 9, day + 1)))
    assert longest == LENGTH


def test_no_date_is_in_both_parts() -> None:
    data = dates()
    train, test = ({tuple(row) for row in part.tolist()} for part in (data.train_digits, data.test_digits))
    assert len(train) == 6000 and len(test) == 540 and not train & test
    text = "".join(ALPHABET[i] for i in data.test_texts[0]).strip()
    digits = "".join(map(str, data.test_digits[0].tolist()))
    assert text in write(date(int(digits[:4]), int(digits[4:6]), int(digits[6:])))


def compiled(module: Any, example: Any, samples: Any) -> tuple[Graph, Graph, Any]:
    graph, seen = oc.read(module, (torch.tensor(example),)), dict[str, Graph]()
    program = oc.compile(graph, CHIP, samples=[{graph.inputs[0]: samples}], watch=seen.__setitem__)
    return graph, seen["graph"], oc.Runner(program)


def test_a_small_translator_on_the_chip() -> None:
    """Untrained: the program is its integer reference bit for bit, and near torch."""
    torch.manual_seed(0)
    module = Translator(len(ALPHABET), symbols=DIGITS, width=8, hidden=12).eval()
    texts = np.stack([characters(text) for text in write(date(2034, 12, 25))])
    graph, reference, runner = compiled(module, texts[:2], texts)
    source, target = graph.inputs[0], graph.outputs[0]
    for row in texts[:3]:
        inputs = {source: row[None]}
        found = runner(inputs)[target]
        np.testing.assert_array_equal(found, oc.evaluate(reference, inputs)[target])
        np.testing.assert_allclose(found, predict(module, row[None]), atol=0.08)


@pytest.mark.slow
def test_dates_in_int8_on_the_chip(trained: Any) -> None:
    """All eight digits of held-out dates: in floats, and by the chip's own outputs."""
    network = trained("dates")
    assert network.float_accuracy >= 0.98
    graph, reference, runner = compiled(network.module, network.test_images[:2], network.train_images[:100])
    source, target = graph.inputs[0], graph.outputs[0]
    logits = []
    for row in network.test_images:
        logits.append(runner({source: row[None]})[target])
    wanted = [oc.evaluate(reference, {source: row[None]})[target] for row in network.test_images[:60]]
    np.testing.assert_array_equal(np.concatenate(logits[:60]), np.concatenate(wanted))
    assert network.score(np.concatenate(logits)) >= network.float_accuracy - 0.01
