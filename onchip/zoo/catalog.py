"""The networks there are, by name.

In:       a name (`resnet50`), whether weights are unknown or random, the options of that network's builder.
Out:      a float Graph, channels last, with the batch as the symbol `batch` unless a number is given.
Promises: one literal dict; no download; an alias means its network and nothing is guessed: an unknown name gives the
          nearest ones; an unknown option is refused by name.
"""

from __future__ import annotations

import functools
import importlib
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import cast

from onchip.errors import UnknownName, UsageError, did_you_mean
from onchip.ir.graph import Graph
from onchip.ops.types import Dimension


@dataclass(frozen=True, slots=True)
class Entry:
    """Where a network is drawn: a module of this folder and its function, imported when asked for.

    A function that draws several variants takes the name of the network first; `width` is an option that is set.
    """

    module: str
    function: str
    is_variant: bool = False
    width: float = 0.0

    def builder(self, name: str) -> Callable[..., Graph]:
        """Return the function that draws the network."""
        draw = cast(
            "Callable[..., Graph]", getattr(importlib.import_module(f"onchip.zoo.{self.module}"), self.function)
        )
        draw = partial(draw, name) if self.is_variant else draw
        return partial(draw, width=self.width) if self.width else draw


ZOO: dict[str, Entry] = {
    "alexnet": Entry("classic", "alexnet"),
    "bert-base": Entry("transformer", "bert", is_variant=True),
    "bert-large": Entry("transformer", "bert", is_variant=True),
    "deeplabv3_mobilenet_v2": Entry("segmentation", "deeplabv3_mobilenet_v2"),
    "deeplabv3_resnet50": Entry("segmentation", "deeplabv3_resnet50"),
    "deit_t": Entry("vision_transformer", "vit", is_variant=True),
    "densenet121": Entry("densenet", "densenet121"),
    "digits_attention": Entry("digits", "digits_attention"),
    "digits_cnn": Entry("digits", "digits_cnn"),
    "digits_lstm": Entry("digits", "digits_lstm"),
    "ds_cnn": Entry("tiny", "ds_cnn"),
    "efficientnet-b0": Entry("mobilenet_v3", "efficientnet_b0"),
    "fc_autoencoder": Entry("tiny", "fc_autoencoder"),
    "gpt2": Entry("gpt2", "gpt2"),
    "inception_v1": Entry("inception", "inception_v1"),
    "inception_v3": Entry("inception", "inception_v3"),
    "inception_v4": Entry("inception_v4", "inception_v4"),
    "llama-260k": Entry("llama", "llama", is_variant=True),
    "llama2-7b": Entry("llama", "llama", is_variant=True),
    "llama3-8b": Entry("llama", "llama", is_variant=True),
    "llama3-70b": Entry("llama", "llama", is_variant=True),
    "mobilenet_v1": Entry("mobilenet", "mobilenet_v1"),
    "mobilenet_v1_0.25": Entry("mobilenet", "mobilenet_v1", width=0.25),
    "mobilenet_v1_0.5": Entry("mobilenet", "mobilenet_v1", width=0.5),
    "mobilenet_v1_0.75": Entry("mobilenet", "mobilenet_v1", width=0.75),
    "mobilenet_v2": Entry("mobilenet", "mobilenet_v2"),
    "mobilenet_v2_0.25": Entry("mobilenet", "mobilenet_v2", width=0.25),
    "mobilenet_v2_0.35": Entry("mobilenet", "mobilenet_v2", width=0.35),
    "mobilenet_v2_0.5": Entry("mobilenet", "mobilenet_v2", width=0.5),
    "mobilenet_v2_0.75": Entry("mobilenet", "mobilenet_v2", width=0.75),
    "mobilenet_v2_1.4": Entry("mobilenet", "mobilenet_v2", width=1.4),
    "mobilenet_v3_large": Entry("mobilenet_v3", "mobilenet_v3", is_variant=True),
    "mobilenet_v3_small": Entry("mobilenet_v3", "mobilenet_v3", is_variant=True),
    "regnetx-800mf": Entry("regnet", "regnetx_800mf"),
    "resnet8": Entry("tiny", "resnet8"),
    "resnet18": Entry("resnet", "resnet", is_variant=True),
    "resnet34": Entry("resnet", "resnet", is_variant=True),
    "resnet50": Entry("resnet", "resnet", is_variant=True),
    "resnet50_v2": Entry("resnet_v2", "resnet_v2", is_variant=True),
    "resnet101": Entry("resnet", "resnet", is_variant=True),
    "resnet101_v2": Entry("resnet_v2", "resnet_v2", is_variant=True),
    "resnet152": Entry("resnet", "resnet", is_variant=True),
    "resnet152_v2": Entry("resnet_v2", "resnet_v2", is_variant=True),
    "resnext50": Entry("resnet", "resnet", is_variant=True),
    "seq2seq-gru": Entry("seq2seq", "seq2seq_gru"),
    "squeezenet_1_0": Entry("classic", "squeezenet", is_variant=True),
    "squeezenet_1_1": Entry("classic", "squeezenet", is_variant=True),
    "ssd-mobilenet": Entry("ssd", "ssd_mobilenet"),
    "swin_t": Entry("vision_transformer", "swin_t"),
    "t5-small": Entry("translation", "t5_small"),
    "tpu-v1-cnn0": Entry("tpu_v1", "cnn0"),
    "tpu-v1-cnn1": Entry("tpu_v1", "cnn1"),
    "tpu-v1-lstm0": Entry("tpu_v1", "lstm", is_variant=True),
    "tpu-v1-lstm1": Entry("tpu_v1", "lstm", is_variant=True),
    "tpu-v1-mlp0": Entry("tpu_v1", "mlp", is_variant=True),
    "tpu-v1-mlp1": Entry("tpu_v1", "mlp", is_variant=True),
    "transformer-base": Entry("translation", "transformer_base"),
    "unet": Entry("segmentation", "unet"),
    "vgg16": Entry("classic", "vgg", is_variant=True),
    "vgg19": Entry("classic", "vgg", is_variant=True),
    "vit_b_16": Entry("vision_transformer", "vit", is_variant=True),
    "vww_mobilenet_v1_0.25": Entry("mobilenet", "vww_mobilenet_v1"),
    "whisper-tiny": Entry("whisper", "whisper_tiny"),
    "yolov5m": Entry("yolo", "yolov5", is_variant=True),
    "yolov5s": Entry("yolo", "yolov5", is_variant=True),
    "yolov8n": Entry("yolo", "yolov8", is_variant=True),
}
# other public names of the same networks; spellings that differ in `-` and `_` alone need no entry
ALIASES: dict[str, str] = {
    "bert-base-uncased": "bert-base",
    "bert-large-uncased": "bert-large",
    "deeplabv3": "deeplabv3_resnet50",
    "deit_tiny_patch16_224": "deit_t",
    "googlenet": "inception_v1",
    "mobilenet": "mobilenet_v1",
    "mobilenet_v1_1.0": "mobilenet_v1",
    "mobilenet_v2_1.0": "mobilenet_v2",
    "resnext50_32x4d": "resnext50",
    "ssd_mobilenet_v1": "ssd-mobilenet",
    "vit_base_patch16_224": "vit_b_16",
    "vww": "vww_mobilenet_v1_0.25",
}


def build(
    name: str,
    *,
    weights: str | None = None,
    seed: int = 0,
    batch: Dimension = "batch",
    **options: Dimension | float,
) -> Graph:
    """Draw the network of that name or alias; `@name` means the same."""
    key = name.removeprefix("@")
    known_as = spelled().get(_plain(key))
    if known_as is None:
        raise UnknownName(
            "OC1002", f"@{key}", "no network of that name in the zoo",
            next=did_you_mean(key, [*ZOO, *ALIASES]) or "List them with onchip models",
        )  # fmt: skip
    builder = ZOO[known_as].builder(known_as)
    known = inspect.signature(builder).parameters
    for option in options:
        if option not in known:
            raise UsageError(
                "OC1003", f"@{key}", f"has no option '{option}'", limit=f"Options: {', '.join(known)}",
                next=did_you_mean(option, known),
            )  # fmt: skip
    return builder(weights=weights, seed=seed, batch=batch, **options)


def _plain(name: str) -> str:
    """Drop what public names differ in: case, dashes and underscores."""
    return name.lower().replace("-", "").replace("_", "")


@functools.cache
def spelled() -> dict[str, str]:
    """Give the network of every plain spelling."""
    return {_plain(other): name for other, name in (*ALIASES.items(), *zip(ZOO, ZOO, strict=True))}
