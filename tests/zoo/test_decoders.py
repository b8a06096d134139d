"""Decoders with a cache: a step behind cached tokens gives what reading all tokens at once gives for the last one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from onchip.ir.evaluate import evaluate
from onchip.ir.graph import Graph
from onchip.zoo.catalog import build
from onchip.zoo.translation import buckets, sines
from onchip.zoo.vision_transformer import relative_index, shift_mask

Arrays = dict[str, NDArray[Any]]
PAST = 6


def angles(length: int, half: int) -> Arrays:
    turns = np.arange(length)[:, None] / 10_000 ** (np.arange(half) / half)
    return {"rotary.cos": np.cos(turns).astype(np.float32), "rotary.sin": np.sin(turns).astype(np.float32)}


def cached(whole: Graph, step: Graph, inputs: Arrays, made: dict[str, str]) -> Arrays:
    """Give the step's inputs that the whole run makes: `made` is their names there; caches keep the first PAST rows."""
    values = evaluate(replace(whole, outputs=tuple(made.values())), inputs)
    states = {given for given, _ in step.states}
    return {name: values[made[name]][:, :PAST] if name in states else values[made[name]] for name in made}


def last(graph: Graph, inputs: Arrays) -> NDArray[Any]:
    return next(iter(evaluate(graph, inputs).values()))[:, -1]


def test_llama() -> None:
    ids = np.random.default_rng(0).integers(0, 512, (2, PAST + 1))
    whole = build("llama-260k", weights="random", batch=2, seq=PAST + 1)
    step = build("llama-260k", weights="random", batch=2, seq=1, past=PAST)
    turns, made = angles(PAST + 1, 4), {"key": "k_rotary", "value": "v_proj"}
    inputs = {"input_ids": ids, **turns}
    names = {given: given.replace(f"past_{p}", m) for given, _ in step.states for p, m in made.items() if p in given}
    caches = cached(whole, step, inputs, names)
    now = {"input_ids": ids[:, PAST:], **{name: values[PAST:] for name, values in turns.items()}, **caches}
    np.testing.assert_allclose(last(step, now), last(whole, inputs), rtol=1e-4, atol=1e-5)
    only = build("llama-260k", weights="random", batch=2, seq=PAST + 1, logits="last")
    np.testing.assert_allclose(last(only, inputs), last(whole, inputs), rtol=1e-5, atol=1e-6)


def test_gpt2() -> None:
    options: dict[str, Any] = {"layers": 2, "vocabulary": 90}
    ids = np.random.default_rng(0).integers(0, 90, (2, PAST + 1))
    whole = build("gpt2", weights="random", batch=2, seq=PAST + 1, **options)
    step = build("gpt2", weights="random", batch=2, seq=1, past=PAST, **options)
    names = {given: given.replace("past_", "c_attn.") for given, _ in step.states}
    caches = cached(whole, step, {"input_ids": ids}, names)
    now = {"input_ids": ids[:, PAST:], "position_ids": np.array([[PAST]]), **caches}
    np.testing.assert_allclose(last(step, now), last(whole, {"input_ids": ids}), rtol=1e-4, atol=1e-4)


def test_transformer_base() -> None:
    options: dict[str, Any] = {"layers": 2, "vocabulary": 90, "seq": 5}
    random = np.random.default_rng(0)
    source, ids = random.integers(0, 90, (2, 5)), random.integers(0, 90, (2, PAST + 1))
    whole = build("transformer-base", weights="random", batch=2, target=PAST + 1, **options)
    step = build("transformer-base", weights="random", batch=2, past=PAST, **options)
    names = {n: n.replace("past_key", "k_proj").replace("past_value", "v_proj") for n, _ in step.states}
    memories = [n for n in step.inputs if "encoder_attn" in n]
    names |= {n: n.replace(".key", ".k_proj").replace(".value", ".v_proj") for n in memories}
    inputs = {"input_ids": source, "decoder_input_ids": ids}
    now = {"decoder_input_ids": ids[:, PAST:], "decoder.positions": sines(PAST + 1, 512)[PAST:]}
    caches = cached(whole, step, inputs, names)
    np.testing.assert_allclose(last(step, {**now, **caches}), last(whole, inputs), rtol=1e-4, atol=1e-4)


def test_seq2seq_steps_chain() -> None:
    options: dict[str, Any] = {"vocabulary": 40, "embedding": 8, "hidden": 12, "maxout": 5, "seq": 4}
    random = np.random.default_rng(0)
    source, ids = random.integers(0, 40, (2, 4)), random.integers(0, 40, (2, 3))
    inputs = {"input_ids": source, "decoder_input_ids": ids}
    whole = build("seq2seq-gru", weights="random", batch=2, target=3, **options)
    step = build("seq2seq-gru", weights="random", batch=2, past=2, **options)
    names = {"state": "step1.gru.1", "annotations": "annotations", "keys": "U_a"}
    values = evaluate(replace(whole, outputs=tuple(names.values())), inputs)
    now = {"decoder_input_ids": ids[:, 2:], **{name: values[made] for name, made in names.items()}}
    np.testing.assert_allclose(last(step, now), last(whole, inputs), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["gpt2", "llama3-8b", "t5-small", "whisper-tiny"])
def test_a_cache_keeps_its_length(name: str) -> None:
    graph = build(name, past=7)
    assert graph.states
    for given, made in graph.states:
        assert graph.tensor(given).shape == graph.tensor(made).shape
        assert graph.tensor(given).shape[:2] == ("batch", 7)


def test_sines_by_the_formula_of_the_paper() -> None:
    """Vaswani et al. 2017, section 3.5."""
    table = sines(9, 6)
    assert table[7, 2] == pytest.approx(np.sin(7 / 10_000 ** (2 / 6)), rel=1e-5)
    assert table[7, 3] == pytest.approx(np.cos(7 / 10_000 ** (2 / 6)), rel=1e-5)


def test_buckets_of_t5() -> None:
    """Raffel et al. 2020, section 2.1: 32 buckets, logarithmic up to 128, one behind; half of them per direction."""
    one, both = buckets(200, is_both_ways=False), buckets(200, is_both_ways=True)
    assert (one[0, 1:] == 0).all()  # what is ahead is masked
    assert (one[np.arange(16), 0] == np.arange(16)).all() and one[128, 0] == one[199, 0] == 31
    assert (both[np.arange(8), 0] == np.arange(8)).all() and both[128, 0] == 15
    assert (both[0, :8] - 16 == [-16, *range(1, 8)]).all() and both[0, 199] == 31
    assert one.max() == both.max() == 31


def test_shifted_windows_keep_neighbours_only() -> None:
    """Liu et al. 2021, figure 4: cells that the cyclic shift brings together do not see each other."""
    height, shift = 14, 3
    place = (np.arange(height) + shift) % height
    at = np.stack(np.meshgrid(place, place, indexing="ij"), axis=-1).reshape(2, 7, 2, 7, 2)
    at = at.transpose(0, 2, 1, 3, 4).reshape(4, 49, 2)
    near = (np.abs(at[:, :, None] - at[:, None, :]) < 7).all(axis=-1)
    assert ((shift_mask(2, 2, shift)[:, 0] == 0) == near).all()


def test_relative_index_tells_every_offset_apart() -> None:
    index = relative_index()
    assert index.shape == (49, 49) and len(np.unique(index)) == 13 * 13
    assert (np.diag(index) == index[0, 0]).all() and index[0, 1] == index[7, 8] == index[8, 9]
