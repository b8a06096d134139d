"""The catalog: every network draws, folds and takes other sizes; names and options that are wrong are told."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from onchip.errors import UnknownName, UsageError
from onchip.ir.evaluate import evaluate
from onchip.passes.fold import fold
from onchip.zoo.catalog import ALIASES, ZOO, build


def test_bert_base_with_a_symbolic_length() -> None:
    graph = build("bert-base", seq="seq")
    assert set(graph.symbols) == {"batch", "seq"}
    pooler = 768 * 768
    assert graph.bind(batch=1, seq=128).macs() == build("bert-base").bind(batch=1).macs() - pooler


# constants whose values are the definition's, known without weights
DEFINED = ("relative_position_index", ".mask", ".scale", "buckets", "embed_scale", "embed_positions", "logit_scale")
OTHER_SIZES: dict[str, dict[str, Any]] = {
    "alexnet": {"image_size": 195}, "deeplabv3_resnet50": {"image_size": 128, "classes": 5},
    "densenet121": {"image_size": 96}, "efficientnet-b0": {"image_size": 240}, "inception_v1": {"image_size": 192},
    "inception_v3": {"image_size": 224}, "inception_v4": {"image_size": 224}, "mobilenet_v1": {"image_size": 96},
    "mobilenet_v2": {"image_size": 160, "classes": 2}, "mobilenet_v3_small": {"image_size": 160},
    "regnetx-800mf": {"image_size": 128}, "resnet50": {"image_size": 160, "classes": 10},
    "resnet50_v2": {"image_size": 299}, "squeezenet_1_1": {"image_size": 128}, "ssd-mobilenet": {"image_size": 320},
    "swin_t": {"image_size": 448}, "unet": {"image_size": 96, "classes": 3}, "vgg16": {"image_size": 448},
    "vit_b_16": {"image_size": 384}, "vww_mobilenet_v1_0.25": {"image_size": 64}, "yolov5s": {"image_size": 320},
    "yolov8n": {"image_size": 416, "classes": 10}, "bert-large": {"seq": 384}, "gpt2": {"seq": 1024},
    "llama3-8b": {"seq": 4096, "layers": 2}, "llama2-7b": {"dim": 64, "heads": 4, "kv_heads": 2, "vocabulary": 96},
    "t5-small": {"seq": 12, "target": 7}, "transformer-base": {"seq": 12, "target": 7, "vocabulary": 96},
    "whisper-tiny": {"target": 5, "frames": 1000}, "seq2seq-gru": {"seq": 9, "target": 4},
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(OTHER_SIZES))
def test_networks_take_other_sizes(name: str) -> None:
    options = OTHER_SIZES[name]
    graph = build(name, batch=3, **options)
    assert all(graph.tensor(output).shape[0] == 3 for output in graph.outputs)
    assert graph.macs() == 3 * build(name, batch=1, **options).macs()
    last = graph.tensor(graph.outputs[-1]).shape[-1]
    assert "classes" not in options or last == options["classes"]
    assert "image_size" not in options or graph.tensor("input").shape[1] == options["image_size"]


def test_every_spelling_means_one_network() -> None:
    names = [name.lower().replace("-", "").replace("_", "") for name in (*ZOO, *ALIASES)]
    assert len(set(names)) == len(names)
    assert set(ALIASES.values()) <= set(ZOO)
    for other, name in (("bert_base", "bert-base"), ("ResNet-50", "resnet50"), ("googlenet", "inception_v1")):
        assert build(other).hash == build(name).hash


@pytest.mark.parametrize("name", sorted(ZOO))
def test_every_network_builds_folds_and_has_a_symbolic_batch(name: str) -> None:
    graph = build(f"@{name}")
    assert graph.name == name
    assert graph.symbols == ("batch",)
    known = {t.name for t in graph.tensors if t.constant is not None and t.constant.data is not None}
    assert all(any(part in name for part in DEFINED) for name in known)
    assert len(fold(graph.bind(batch=2)).nodes) <= len(graph.nodes)
    assert build(name, batch=4).symbols == ()


SMALL: dict[str, dict[str, Any]] = {
    "digits_cnn": {}, "digits_lstm": {}, "digits_attention": {}, "resnet8": {}, "ds_cnn": {}, "fc_autoencoder": {},
    "vww_mobilenet_v1_0.25": {}, "mobilenet_v1_0.25": {"image_size": 64}, "squeezenet_1_1": {"image_size": 64},
    "mobilenet_v3_small": {"image_size": 64}, "yolov8n": {"image_size": 64}, "deit_t": {"image_size": 32},
}  # fmt: skip


@pytest.mark.parametrize("name", SMALL)
def test_random_weights_depend_on_the_seed_alone(name: str) -> None:
    first, again, other = (build(name, weights="random", seed=s, **SMALL[name]) for s in (1, 1, 2))
    assert first.hash == again.hash != other.hash
    shape = [2 if d == "batch" else d for d in first.tensor("input").shape]
    x = np.random.default_rng(0).standard_normal([int(d) for d in shape], dtype=np.float32)
    for y in evaluate(first.bind(batch=2), {"input": x}).values():
        assert y.shape[0] == 2
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
    with pytest.raises(UnknownName, match=r"'mobilenet_v3_small'"):
        build("mobilenet_v3_smal")
    with pytest.raises(UsageError, match="width is 0"):
        build("mobilenet_v2", width=0)
    with pytest.raises(UsageError, match="multiple of 32"):
        build("yolov5s", image_size=100)
    with pytest.raises(UsageError, match="multiple of 224"):
        build("swin_t", image_size=256)
    with pytest.raises(UsageError, match="kv_heads divides heads"):
        build("llama3-8b", kv_heads=3)
    with pytest.raises(UsageError, match="neither 'all' nor 'last'"):
        build("gpt2", logits="first")
    with pytest.raises(UsageError, match="seq is 513"):
        build("bert-base", seq=513)
    with pytest.raises(UsageError, match="neither None nor 'random'"):
        build("resnet18", weights="pretrained")
