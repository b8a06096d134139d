"""The networks there are, by name.

In:       a name (`resnet50`), whether weights are unknown or random, the options of that network's builder.
Out:      a float Graph, channels last, with the batch as the symbol `batch` unless a number is given.
Promises: one literal dict; no download; an unknown name gives the nearest ones; an unknown option is refused by name.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable

from onchip.errors import UnknownName, UsageError, did_you_mean
from onchip.ir.graph import Graph
from onchip.ops.types import Dimension
from onchip.zoo.digits import digits_attention, digits_cnn, digits_lstm
from onchip.zoo.resnet import resnet18, resnet50
from onchip.zoo.tiny import resnet8
from onchip.zoo.transformer import bert_base

ZOO: dict[str, Callable[..., Graph]] = {
    "bert-base": bert_base,
    "digits_attention": digits_attention,
    "digits_cnn": digits_cnn,
    "digits_lstm": digits_lstm,
    "resnet8": resnet8,
    "resnet18": resnet18,
    "resnet50": resnet50,
}


def build(
    name: str, *, weights: str | None = None, seed: int = 0, batch: Dimension = "batch", **options: Dimension
) -> Graph:
    """Draw the network of that name; `@name` means the same."""
    key = name.removeprefix("@")
    builder = ZOO.get(key)
    if builder is None:
        raise UnknownName(
            "OC1002", f"@{key}", "no network of that name in the zoo",
            limit=f"There are {', '.join(sorted(ZOO))}", next=did_you_mean(key, ZOO),
        )  # fmt: skip
    known = inspect.signature(builder).parameters
    for option in options:
        if option not in known:
            raise UsageError(
                "OC1003", f"@{key}", f"has no option '{option}'", limit=f"Options: {', '.join(known)}",
                next=did_you_mean(option, known),
            )  # fmt: skip
    return builder(weights=weights, seed=seed, batch=batch, **options)
