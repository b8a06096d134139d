"""Small torch networks, each with an example; the front ends have to give back what they compute."""

from __future__ import annotations

import functools
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from onchip.frontends.torch import read_torch
from onchip.ir.graph import Graph
from onchip.training.networks import AttentionClassifier, Cnn, LstmClassifier
from tests.frontends.nets_sequence import SEQUENCE
from tests.frontends.nets_vision import VISION

Pair = tuple[nn.Module, tuple[Tensor, ...]]


class Block(nn.Module):
    """A basic block of a ResNet."""

    def __init__(self, given: int, made: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(given, made, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(made)
        self.conv2 = nn.Conv2d(made, made, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(made)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = nn.Sequential(nn.Conv2d(given, made, 1, stride, bias=False), nn.BatchNorm2d(made))

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        return self.relu(y + self.downsample(x))


class SmallResNet(nn.Module):
    """A stem, two blocks and a head, named as torchvision names them."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(8)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        self.layer1 = nn.Sequential(Block(8, 8, 1), Block(8, 16, 2))
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.layer1(self.maxpool(self.relu(self.bn1(self.conv1(x)))))
        return self.fc(torch.flatten(self.avgpool(x), 1))


class Mixed(nn.Module):
    """Depthwise convolution, "same" padding, ReLU6, average pooling, batch_norm 1-D, and several outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(3)
        self.features = nn.Sequential(
            nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU6(), nn.Conv2d(8, 8, 3, padding="same", groups=8),
            nn.Hardtanh(0, 6), nn.AvgPool2d(2, padding=1),
        )  # fmt: skip
        self.head = nn.Linear(8 * 5 * 5, 12)
        self.last = nn.BatchNorm1d(12)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x = self.features(self.norm((x - 0.5) / 0.25))
        y = self.last(self.head(x.flatten(1))).softmax(-1)
        return y, x.mean((2, 3)), torch.cat([x, 2 * x], 1)[:, 3:7]


class Tokens(nn.Module):
    """Embeddings with positions, layer norm, a two-layer LSTM over a sequence that comes first."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(11, 8)
        self.places = nn.Embedding(6, 8)
        self.norm = nn.LayerNorm(8)
        self.lstm = nn.LSTM(8, 5, 2)
        self.out = nn.Linear(5, 3)

    def forward(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        x = self.norm(self.words(ids) + self.places(torch.arange(ids.shape[1])))
        y, (h, _) = self.lstm(x.transpose(0, 1))
        return torch.sigmoid(self.out(y[-1])), torch.tanh(h[0])


class CrossAttention(nn.Module):
    """nn.MultiheadAttention over sequences of different lengths and widths."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(16, 4, batch_first=True, kdim=12, vdim=10)

    def forward(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        return self.attention(query, key, value)[0]


class MaskedAttention(nn.Module):
    """A causal mask that is known, and a padding mask that is an input."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(16, 4, batch_first=True)

    def forward(self, x: Tensor, padding: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        length = x.shape[1]
        later = torch.triu(torch.ones(length, length, dtype=torch.bool), 1)
        causal = self.attention(x, x, x, attn_mask=later, need_weights=False)[0]
        padded, weights = self.attention(x, x, x, key_padding_mask=padding)
        return causal, padded, weights


class HandWritten(nn.Module):
    """Attention as its equation, with the mask added, after F.scaled_dot_product_attention with grouped heads."""

    def __init__(self) -> None:
        super().__init__()
        self.q, self.k, self.v = nn.Linear(12, 16), nn.Linear(12, 8), nn.Linear(12, 8)

    def forward(self, x: Tensor) -> Tensor:
        q = self.q(x).view(x.shape[0], -1, 4, 4).transpose(1, 2)
        k, v = (layer(x).view(x.shape[0], -1, 2, 4).transpose(1, 2) for layer in (self.k, self.v))
        y = functional.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
        mask = torch.zeros(x.shape[1], x.shape[1]).masked_fill(torch.ones(x.shape[1], x.shape[1]).triu(1) > 0, -1e9)
        return torch.softmax(y @ q.transpose(-2, -1) / 2 + mask, -1) @ y


class Bilinear(nn.Module):
    """The bilinear score e_ij = v_i W h_j / sqrt(d_k), its softmax, and the mean of the h_j it weighs."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(8, 12))

    def forward(self, v: Tensor, h: Tensor) -> Tensor:
        scores = v @ (h @ self.weight.T).transpose(1, 2) / 8**0.5
        return torch.softmax(scores, -1) @ h


class Rectangle(nn.Module):
    """Causal attention from few queries to many keys: key j for query i if j <= i, from the first key on."""

    def forward(self, q: Tensor, k: Tensor) -> Tensor:
        q, k = (t.view(t.shape[0], -1, 2, 4).transpose(1, 2) for t in (q, k))
        return functional.scaled_dot_product_attention(q, k, 2 * k, is_causal=True)


def _encoder() -> Pair:
    layer = nn.TransformerEncoderLayer(16, 4, 32, activation="gelu", batch_first=True)
    return nn.TransformerEncoder(layer, 2, enable_nested_tensor=False), (torch.randn(2, 8, 16),)


def _masked() -> Pair:
    padding = torch.tensor([[0, 0, 0, 1, 1], [0, 0, 0, 0, 0], [0, 0, 0, 0, 1]]).bool()
    return MaskedAttention(), (torch.randn(3, 5, 16), padding)


ARCHITECTURES: dict[str, Callable[[], Pair]] = {
    "cnn": lambda: (Cnn(), (torch.randn(2, 1, 8, 8),)),
    "cnn_32": lambda: (Cnn(3, image_size=32), (torch.randn(1, 3, 32, 32),)),
    "cnn_64": lambda: (Cnn(3, image_size=64), (torch.randn(1, 3, 64, 64),)),
    "lstm": lambda: (LstmClassifier(), (torch.randn(2, 8, 8),)),
    "attention": lambda: (AttentionClassifier(), (torch.randn(2, 8, 8),)),
    "resnet": lambda: (SmallResNet(), (torch.randn(2, 3, 32, 32),)),
    "mixed": lambda: (Mixed(), (torch.randn(2, 3, 16, 16),)),
    "tokens": lambda: (Tokens(), (torch.randint(0, 11, (3, 5)),)),
    "cross_attention": lambda: (
        CrossAttention(), (torch.randn(3, 5, 16), torch.randn(3, 7, 12), torch.randn(3, 7, 10)),
    ),
    "masked_attention": _masked,
    "hand_written": lambda: (HandWritten(), (torch.randn(3, 5, 12),)),
    "bilinear": lambda: (Bilinear(), (torch.randn(3, 4, 8), torch.randn(3, 7, 12))),
    "rectangle": lambda: (Rectangle(), (torch.randn(3, 4, 8), torch.randn(3, 7, 8))),
    "same": lambda: (nn.Conv2d(3, 4, (4, 2), padding="same"), (torch.randn(2, 3, 7, 6),)),
    "encoder": _encoder,
}  # fmt: skip

FAMILIES: dict[str, Callable[[], Pair]] = {**VISION, **SEQUENCE}


def make(name: str) -> Pair:
    """Build a network with parameters and statistics that are all different from one another."""
    torch.manual_seed(0)
    module, example = {**ARCHITECTURES, **FAMILIES}[name]()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
        for part in module.modules():
            if isinstance(part, (nn.BatchNorm1d, nn.BatchNorm2d)):
                assert part.running_mean is not None and part.running_var is not None
                part.running_mean.normal_()
                part.running_var.uniform_(0.5, 2.0)
    return module.eval(), example


@functools.cache
def captured(name: str) -> Graph:
    """Read an architecture by the torch front end, once per session."""
    return read_torch(*make(name))


def run(module: nn.Module, example: tuple[Tensor, ...]) -> list[Tensor]:
    """Give the outputs as a list."""
    with torch.no_grad():
        made = module(*example)
    return list(made) if isinstance(made, tuple) else [made]
