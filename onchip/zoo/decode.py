"""Greedy decoding with a decoder of one token a run, whose keys and values are states: what each run is given.

In:       a decoder of `llama` with seq = 1, is_masked and `past` cached tokens; what runs it: a program's Runner, or
          the steps of the reference.
Out:      tokens, each the one with the largest score (the first of equals).
Promises: the cache's newest rows are its last ones, so a token sees the last `position` rows and itself; positions are
          turned by 1 / base^(2i/d). Tokens behind `past` see the last `past` ones only (a sliding window).
Sources:  Su et al. 2021 (rotary positions); Vaswani et al. 2017 (decoding token by token).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onchip.ir.graph import Graph

Arrays = dict[str, NDArray[Any]]
Run = Callable[[Iterable[Arrays]], Iterable[Mapping[str, NDArray[Any]]]]


def token_inputs(decoder: Graph, token: int, position: int, *, base: float = 10_000.0) -> Arrays:
    """Return the inputs of the run that reads one token at a position; the states are not among them."""
    half = int(decoder.tensor("rotary.cos").shape[-1])
    past = int(decoder.tensor("attention_mask").shape[-1]) - 1
    turns = position / base ** (np.arange(half) / half)
    return {
        "input_ids": np.full((int(decoder.tensor("input_ids").shape[0]), 1), token, np.int64),
        "rotary.cos": np.cos(turns)[None].astype(np.float32),
        "rotary.sin": np.sin(turns)[None].astype(np.float32),
        "attention_mask": (np.arange(past + 1) >= past - position)[None, None, None],
    }


def greedy(decoder: Graph, run: Run, prompt: Sequence[int], count: int, *, base: float = 10_000.0) -> list[int]:
    """Return the `count` tokens that follow a prompt; the run starts from empty states.

    `run` is `functools.partial(oc.evaluate_steps, graph)`, or `functools.partial(map, oc.Runner(program))`.
    """
    tokens = [int(token) for token in prompt]
    n_runs = len(tokens) + count - 1

    def given() -> Iterator[Arrays]:
        for position in range(n_runs):
            yield token_inputs(decoder, tokens[position], position, base=base)

    for position, made in enumerate(run(given())):
        if position >= len(prompt) - 1:
            tokens.append(int(np.argmax(next(iter(made.values()))[0, -1])))
    return tokens[len(prompt) :]
