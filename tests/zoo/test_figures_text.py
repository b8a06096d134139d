"""Language and speech networks against published figures; the source stands beside each, and how it counts."""

from __future__ import annotations

from typing import Any

import pytest

from onchip.zoo.catalog import build
from tests.zoo.counts import agrees, learned

# numel of the modules of Hugging Face transformers, shared tables once: bert-base-uncased and bert-large-uncased
# (BertModel), gpt2, t5-small, openai/whisper-tiny, meta-llama/Llama-2-7b-hf, Meta-Llama-3-8B and -70B
HUGGING_FACE = {
    "bert-base": 109_482_240,
    "bert-large": 335_141_888,
    "gpt2": 124_439_808,
    "t5-small": 60_506_624,
    "whisper-tiny": 37_760_640,
    "llama2-7b": 6_738_415_616,
    "llama3-8b": 8_030_261_248,
    "llama3-70b": 70_553_706_496,
}


@pytest.mark.parametrize("name", HUGGING_FACE)
def test_parameters_of_hugging_face(name: str) -> None:
    assert learned(build(name)) == HUGGING_FACE[name]


def test_llama_of_the_tinyllamas() -> None:
    """karpathy/tinyllamas: stories260K."""
    assert agrees(learned(build("llama-260k")), "260 k")


def test_bert_base_at_128_tokens() -> None:
    """Sun et al. 2020 (MobileBERT), table 4: 22.5 GFLOP."""
    assert 2 * build("bert-base", batch=1).macs() == pytest.approx(22.5e9, rel=0.01)


@pytest.mark.parametrize(("name", "width", "layers"), [("bert-base", 768, 12), ("bert-large", 1024, 24)])
@pytest.mark.parametrize("seq", [128, 384])
def test_bert_by_the_formula_of_megatron(name: str, width: int, layers: int, seq: int) -> None:
    """Narayanan et al. 2021, appendix: a layer's forward pass takes 24 B s h^2 (1 + s / 6h) FLOP; and the pooler."""
    flops = layers * (24 * seq * width**2 + 4 * seq**2 * width) + 2 * width**2
    assert 2 * build(name, batch=1, seq=seq).macs() == flops


def test_gpt2_at_1024_tokens() -> None:
    """karpathy/nanoGPT, transformer_sizing.ipynb: 291,648,307,200 FLOP forward, scores counted in whole rows."""
    assert 2 * build("gpt2", batch=1, seq=1024).macs() == 291_648_307_200


@pytest.mark.parametrize(
    ("name", "dim", "layers", "vocabulary"),
    [("llama2-7b", 4096, 32, 32_000), ("llama3-8b", 4096, 32, 128_256), ("llama3-70b", 8192, 80, 128_256)],
)
def test_llama_by_its_published_parameters(name: str, dim: int, layers: int, vocabulary: int) -> None:
    """Kaplan et al. 2020, section 2.1: a token takes one MAC per weight but the table's, and two rows of scores."""
    per_token = HUGGING_FACE[name] - vocabulary * dim - (2 * layers + 1) * dim
    for seq, past in ((256, 0), (1, 1023)):
        scores = 2 * layers * seq * (seq + past) * dim
        assert build(name, batch=1, seq=seq, past=past).macs() == seq * per_token + scores
    last = build(name, batch=1, seq=256, logits="last").macs()
    assert build(name, batch=1, seq=256).macs() - last == 255 * vocabulary * dim


def both_sides(width: int, hidden: int, layers: int, vocabulary: int, *, seq: int, target: int) -> int:
    """Count the MACs of Vaswani et al. 2017, section 3: attention of four matrices, feed-forward of two, one head."""
    attention, forward = 4 * width**2, 2 * width * hidden
    encoder = seq * (attention + forward) + 2 * seq**2 * width
    cross = target * attention // 2 + seq * attention // 2 + 2 * target * seq * width
    decoder = target * (attention + forward) + 2 * target**2 * width + cross
    return layers * (encoder + decoder) + target * vocabulary * width


@pytest.mark.parametrize(("name", "vocabulary"), [("transformer-base", 37_000), ("t5-small", 32_128)])
def test_encoder_and_decoder_by_the_paper(name: str, vocabulary: int) -> None:
    graph = build(name, batch=1, seq=40, target=30)
    assert graph.macs() == both_sides(512, 2048, 6, vocabulary, seq=40, target=30)


def test_whisper_by_the_paper() -> None:
    """Radford et al. 2022, table 1 (4 layers, 384 wide, 6 heads) and section 2.2: two convolutions of width 3."""
    convolutions = 3000 * 3 * 80 * 384 + 1500 * 3 * 384 * 384
    wanted = convolutions + both_sides(384, 1536, 4, 51_865, seq=1500, target=448)
    assert build("whisper-tiny", batch=1).macs() == wanted


@pytest.mark.parametrize(
    ("changed", "millions"),
    [({"layers": 2}, 36), ({"layers": 4}, 50), ({"layers": 8}, 80), ({"d_ff": 1024}, 53), ({"d_ff": 4096}, 90)],
)
def test_transformer_base_by_the_differences_of_the_paper(changed: dict[str, Any], millions: int) -> None:
    """Vaswani et al. 2017, table 3, row C: millions of parameters, of which the base has 65.

    Its vocabulary for this table is not given (section 5.1 says about 37000, 65 M would take 41 k); it drops out of the
    differences, each of which is rounded twice.
    """
    difference = learned(build("transformer-base", **changed)) - learned(build("transformer-base"))
    assert abs(difference / 1e6 - (millions - 65)) <= 1.0


def test_seq2seq_by_the_matrices_of_the_paper() -> None:
    """Bahdanau et al. 2015, appendix A.2: m = 620, n = n' = 1000, l = 500; 30,000 words on each side (section 4.2)."""
    m, n, wide, words = 620, 1000, 500, 30_000
    encoder = words * m + 2 * 3 * (n * m + n * n)
    attention = n * n + n * 2 * n + n
    decoder = words * m + n * n + 3 * (n * m + n * n + n * 2 * n)  # E, W_s; W, U, C of three gates
    output = 2 * wide * (n + m + 2 * n) + words * wide
    graph = build("seq2seq-gru", batch=1, seq=50)
    assert learned(graph) == encoder + attention + decoder + output
    reading = 50 * (2 * 3 * (n * m + n * n) + n * 2 * n) + n * n  # annotations, their keys, the first state
    step = n * n + 50 * (n + 2 * n) + 3 * (n * m + n * n + n * 2 * n) + output
    assert graph.macs() == reading + step
