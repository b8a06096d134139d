"""Decoding token by token: the tokens of Hugging Face's Llama in floats; a program's tokens are those of its int8
reference."""

# pyright: basic

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch

import onchip as oc
from onchip.ir.graph import Graph, constant_tensor
from onchip.zoo.catalog import build
from onchip.zoo.decode import greedy, token_inputs

PAST, COUNT = 15, 11
PROMPT = (7, 33, 2, 50, 11)
SIZE: dict[str, Any] = {"dim": 32, "layers": 2, "heads": 4, "kv_heads": 2, "hidden": 48, "vocabulary": 64}


def decoder() -> Graph:
    return build("llama2-7b", weights="random", batch=1, seq=1, past=PAST, is_masked=True, **SIZE)


def with_weights(graph: Graph, values: dict[str, Any]) -> Graph:
    """Return the graph with other constants."""
    tensors = [
        constant_tensor(t.name, np.ascontiguousarray(values[t.name]), t.dtype) if t.constant is not None else t
        for t in graph.tensors
    ]
    return replace(graph, tensors=tuple(tensors))


def hugging_face(seed: int) -> Any:
    transformers = pytest.importorskip("transformers", reason="needs the package transformers")
    config = transformers.LlamaConfig(
        vocab_size=64, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=32, rms_norm_eps=1e-5, rope_theta=10_000.0,
        tie_word_embeddings=False, initializer_range=0.3,
    )  # fmt: skip
    torch.manual_seed(seed)
    return transformers.LlamaForCausalLM(config).eval()


def continued(model: Any) -> list[int]:
    """The model reads all tokens again for each new one: no cache."""
    tokens: list[int] = list(PROMPT)
    with torch.no_grad():
        for _ in range(COUNT):
            tokens.append(int(model(torch.tensor([tokens]), use_cache=False).logits[0, -1].argmax()))
    return tokens[len(PROMPT) :]


@pytest.mark.filterwarnings("ignore")  # of transformers and of what it imports, about themselves
@pytest.mark.parametrize("seed", range(3))
def test_the_tokens_of_hugging_face(seed: int) -> None:
    model = hugging_face(seed)
    graph = with_weights(decoder(), {name: value.numpy() for name, value in model.state_dict().items()})
    wanted = continued(model)
    assert greedy(graph, partial(oc.evaluate_steps, graph), PROMPT, COUNT) == wanted
    assert len(set(wanted)) > 2


def test_a_program_decodes_as_its_reference() -> None:
    """Tokens, and all logits bit for bit; the cache stays in far memory as int8."""
    graph, seen = decoder(), dict[str, Graph]()
    samples = [token_inputs(graph, int(t), i) for i, t in enumerate(np.random.default_rng(0).integers(0, 64, 16))]
    program = oc.compile(graph, "edge-npu-16", samples=samples, watch=seen.__setitem__)
    runner, reference = oc.Runner(program), seen["graph"]
    found = greedy(graph, partial(map, runner), PROMPT, COUNT)
    assert found == greedy(graph, partial(oc.evaluate_steps, reference), PROMPT, COUNT)
    assert {n: v.dtype for n, v in runner.states.items()} == {given: np.int8 for given, _ in graph.states}
    runner.reset()
    steps = [token_inputs(graph, token, i) for i, token in enumerate((*PROMPT, *found))]
    for step, want in zip(steps, oc.evaluate_steps(reference, steps), strict=True):
        np.testing.assert_array_equal(runner(step)["lm_head"], want["lm_head"])


def test_a_full_cache_is_a_sliding_window() -> None:
    """Behind PAST tokens the mask keeps all rows: the step of the unmasked decoder."""
    inputs = token_inputs(decoder(), 3, PAST + 4)
    assert inputs["attention_mask"].all()
    assert token_inputs(decoder(), 3, 2)["attention_mask"][0, 0, 0].tolist() == [False] * (PAST - 2) + [True] * 3


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("seed", range(2))
def test_a_float_program_gives_the_tokens_of_hugging_face(seed: int) -> None:
    """In fp32, with the cache as floats in far memory."""
    model = hugging_face(seed)
    graph = with_weights(decoder(), {name: value.numpy() for name, value in model.state_dict().items()})
    runner = oc.Runner(oc.compile(graph, "a100-sxm-80gb", dtype="fp32"))
    assert greedy(graph, partial(map, runner), PROMPT, COUNT) == continued(model)
    assert set(runner.states) == {given for given, _ in graph.states}
