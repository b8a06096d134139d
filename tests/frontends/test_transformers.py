"""Hugging Face `transformers`, from small configs with random weights: read from torch, they compute what torch does.

Promises: nothing is downloaded. Where the package is absent the tests are skipped. Every network here is read, or is
          refused by the name of the operator and the module in which it stands.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from onchip.errors import NotSupported
from onchip.frontends.torch import read_torch
from onchip.ir.evaluate import evaluate
from onchip.passes.fold import fold

os.environ.setdefault("HF_HUB_OFFLINE", "1")
transformers: Any = pytest.importorskip(
    "transformers", reason="needs the package transformers: pip install transformers"
)
pytestmark = pytest.mark.filterwarnings("ignore")  # of transformers and of what it imports, about themselves

Pair = tuple[nn.Module, tuple[Tensor, ...]]
WIDTHS = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 32}
TEXT: dict[str, Any] = {**WIDTHS, "vocab_size": 50, "max_position_embeddings": 16}
GROUPED: dict[str, Any] = {**TEXT, "num_key_value_heads": 2}
SEQ2SEQ: dict[str, Any] = {
    "d_model": 16, "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 4, "decoder_attention_heads": 4,
    "encoder_ffn_dim": 32, "decoder_ffn_dim": 32,
}  # fmt: skip
TOKENS = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}


class One(nn.Module):
    """A model of one input, its first output alone, without a cache."""

    def __init__(self, model: nn.Module, **keywords: Any) -> None:
        super().__init__()
        self.model, self.keywords = model, keywords

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x, **self.keywords)[0]


class Two(nn.Module):
    """An encoder and a decoder: its first output alone, without a cache."""

    def __init__(self, model: nn.Module, source: str = "input_ids") -> None:
        super().__init__()
        self.model, self.source = model, source

    def forward(self, x: Tensor, target: Tensor) -> Tensor:
        return self.model(**{self.source: x}, decoder_input_ids=target, use_cache=False)[0]


def ids(length: int = 7) -> Tensor:
    return torch.randint(3, 50, (2, length))


def causal(kind: str, **config: Any) -> Pair:
    made = getattr(transformers, f"{kind}ForCausalLM")(getattr(transformers, f"{kind}Config")(**config, **TOKENS))
    return One(made, use_cache=False), (ids(),)


def plain(kind: str, example: Tensor, **config: Any) -> Pair:
    return One(getattr(transformers, f"{kind}Model")(getattr(transformers, f"{kind}Config")(**config))), (example,)


def _gpt2() -> Pair:
    config = transformers.GPT2Config(vocab_size=50, n_positions=16, n_embd=16, n_layer=2, n_head=4, **TOKENS)
    return One(transformers.GPT2LMHeadModel(config), use_cache=False), (ids(),)


def _t5() -> Pair:
    config = transformers.T5Config(vocab_size=50, d_model=16, d_kv=4, d_ff=32, num_layers=2, num_heads=4)
    return Two(transformers.T5ForConditionalGeneration(config)), (ids(), ids(5))


def _bart() -> Pair:
    config = transformers.BartConfig(vocab_size=50, max_position_embeddings=16, **SEQ2SEQ, **TOKENS)
    return Two(transformers.BartModel(config)), (ids(), ids(5))


def _whisper() -> Pair:
    config = transformers.WhisperConfig(
        vocab_size=60, num_mel_bins=8, max_source_positions=10, max_target_positions=16, decoder_start_token_id=3,
        **SEQ2SEQ, **TOKENS,
    )  # fmt: skip
    return Two(transformers.WhisperForConditionalGeneration(config), "input_features"), (torch.randn(2, 8, 20), ids(5))


NETWORKS: dict[str, Callable[[], Pair]] = {
    "bert": lambda: plain("Bert", ids(), **TEXT),
    "distilbert": lambda: plain(
        "DistilBert", ids(), vocab_size=50, max_position_embeddings=16, dim=16, n_layers=2, n_heads=4, hidden_dim=32
    ),
    "gpt2": _gpt2,
    "llama": lambda: causal("Llama", **GROUPED),
    "mistral": lambda: causal("Mistral", **GROUPED, sliding_window=4),
    "qwen2": lambda: causal("Qwen2", **GROUPED),
    "mamba": lambda: causal("Mamba", vocab_size=50, hidden_size=16, num_hidden_layers=1, state_size=4),
    "t5": _t5,
    "bart": _bart,
    "whisper": _whisper,
    "vit": lambda: plain("ViT", torch.randn(2, 3, 16, 16), **WIDTHS, image_size=16, patch_size=4),
    "swin": lambda: plain(
        "Swin", torch.randn(2, 3, 32, 32), image_size=32, patch_size=4, embed_dim=8, depths=[2, 2], num_heads=[2, 4],
        window_size=4,
    ),
    "convnext": lambda: plain(
        "ConvNext", torch.randn(2, 3, 32, 32), hidden_sizes=[8, 16], depths=[1, 1], num_stages=2
    ),
}  # fmt: skip


FAST = ("bert", "gpt2")


@pytest.mark.parametrize("name", FAST)
def test_it_computes_what_torch_computes(name: str) -> None:
    same_as_torch(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(NETWORKS.keys() - set(FAST)))
def test_the_others_compute_what_torch_computes(name: str) -> None:
    same_as_torch(name)


def same_as_torch(name: str) -> None:
    torch.manual_seed(0)
    module, example = NETWORKS[name]()
    module.eval()
    with torch.no_grad():
        wanted = module(*example).numpy()
    graph = fold(read_torch(module, example))
    bound = graph.bind(batch=2) if graph.symbols else graph
    (made,) = evaluate(bound, dict(zip(bound.inputs, (t.numpy() for t in example), strict=True))).values()
    np.testing.assert_allclose(made, wanted, rtol=1e-4, atol=1e-4)
    if name in ("bert", "vit", "bart", "whisper"):
        assert sum(n.op == "attention" for n in graph.nodes) == {"bert": 2, "vit": 2, "bart": 3, "whisper": 3}[name]


@pytest.mark.slow
def test_a_mixture_of_experts_is_refused_where_it_sorts_its_tokens() -> None:
    """Which expert takes which token depends on data, and so do the shapes."""
    module, example = causal("Mixtral", **GROUPED, num_local_experts=4)
    with pytest.raises(NotSupported, match=r"One: model\.model\.layers\.0\.mlp\.experts: OC1350 .*aten\.sort"):
        read_torch(module.eval(), example)
