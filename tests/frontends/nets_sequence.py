"""Small networks for sequences, one per family, written from their papers; each with an example."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

Pair = tuple[nn.Module, tuple[Tensor, ...]]


class Bert(nn.Module):
    """Devlin 2019: words, places and segments, a padding mask from the ids, post-norm layers, a pooler."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.places, self.kinds = nn.Embedding(20, 16), nn.Embedding(8, 16), nn.Embedding(2, 16)
        self.norm, self.q, self.k, self.v = nn.LayerNorm(16), nn.Linear(16, 16), nn.Linear(16, 16), nn.Linear(16, 16)
        self.out, self.norm1, self.fc1, self.fc2 = (
            nn.Linear(16, 16),
            nn.LayerNorm(16),
            nn.Linear(16, 32),
            nn.Linear(32, 16),
        )
        self.norm2, self.pooler = nn.LayerNorm(16), nn.Linear(16, 16)

    def forward(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        places = torch.arange(ids.shape[1])
        x = self.norm(self.words(ids) + self.places(places) + self.kinds(torch.zeros_like(ids)))
        q, k, v = (layer(x).view(x.shape[0], -1, 4, 4).transpose(1, 2) for layer in (self.q, self.k, self.v))
        mask = (1.0 - (ids != 0)[:, None, None].float()) * -10000.0
        weights = torch.softmax(q @ k.transpose(-1, -2) / 2 + mask, -1)
        x = self.norm1(x + self.out((weights @ v).transpose(1, 2).flatten(2)))
        x = self.norm2(x + self.fc2(functional.gelu(self.fc1(x))))
        return x, torch.tanh(self.pooler(x[:, 0]))


class Gpt2(nn.Module):
    """Radford 2019: pre-norm, causal attention, tanh GELU, the word table as the head."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.places, self.norm1, self.norm2 = (
            nn.Embedding(20, 16),
            nn.Embedding(8, 16),
            nn.LayerNorm(16),
            nn.LayerNorm(16),
        )
        self.qkv, self.out, self.fc1, self.fc2 = (
            nn.Linear(16, 48),
            nn.Linear(16, 16),
            nn.Linear(16, 32),
            nn.Linear(32, 16),
        )

    def forward(self, ids: Tensor) -> Tensor:
        x = self.words(ids) + self.places(torch.arange(ids.shape[1]))
        parts = self.qkv(self.norm1(x)).split(16, 2)
        q, k, v = (p.view(x.shape[0], -1, 2, 8).transpose(1, 2) for p in parts)
        y = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(y.transpose(1, 2).flatten(2))
        x = x + self.fc2(functional.gelu(self.fc1(self.norm2(x)), approximate="tanh"))
        return x @ self.words.weight.T


class Llama(nn.Module):
    """Touvron 2023: RMS norm, rotary positions, grouped queries, SwiGLU."""

    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.RMSNorm(16, eps=1e-5), nn.RMSNorm(16, eps=1e-5)
        self.q, self.k, self.v = (
            nn.Linear(16, 16, bias=False),
            nn.Linear(16, 8, bias=False),
            nn.Linear(16, 8, bias=False),
        )
        self.o, self.gate, self.up, self.down = (
            nn.Linear(a, b, bias=False) for a, b in ((16, 16), (16, 24), (16, 24), (24, 16))
        )

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm1(x)
        q, k, v = (
            layer(y).view(x.shape[0], -1, n, 4).transpose(1, 2) for layer, n in ((self.q, 4), (self.k, 2), (self.v, 2))
        )
        angles = torch.arange(x.shape[1])[:, None] * 10000.0 ** (-torch.arange(0, 4, 2) / 4)
        cos, sin = (torch.cat([t, t], -1) for t in (angles.cos(), angles.sin()))
        q, k = (t * cos + torch.cat([-t[..., 2:], t[..., :2]], -1) * sin for t in (q, k))
        y = functional.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
        x = x + self.o(y.transpose(1, 2).flatten(2))
        y = self.norm2(x)
        return x + self.down(functional.silu(self.gate(y)) * self.up(y))


class T5(nn.Module):
    """Raffel 2020: no scale of the scores, a learned bias per bucket of distances, gated GELU."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.buckets, self.qkv, self.o = (
            nn.RMSNorm(16, eps=1e-6),
            nn.Embedding(8, 2),
            nn.Linear(16, 48, bias=False),
            nn.Linear(16, 16, bias=False),
        )
        self.wi0, self.wi1, self.wo = (
            nn.Linear(16, 24, bias=False),
            nn.Linear(16, 24, bias=False),
            nn.Linear(24, 16, bias=False),
        )

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (p.view(x.shape[0], -1, 2, 8).transpose(1, 2) for p in self.qkv(self.norm(x)).chunk(3, -1))
        places = torch.arange(x.shape[1])
        distance = (places[None] - places[:, None]).clamp(-3, 3) + 3
        bias = self.buckets(distance).permute(2, 0, 1)[None]
        weights = torch.softmax(q @ k.transpose(-1, -2) + bias, -1)
        x = x + self.o((weights @ v).transpose(1, 2).flatten(2))
        return x + self.wo(functional.gelu(self.wi0(x), approximate="tanh") * self.wi1(x))


class Translator(nn.Module):
    """An encoder and a decoder of Vaswani 2017, with a causal mask."""

    def __init__(self) -> None:
        super().__init__()
        self.transformer = nn.Transformer(16, 2, 1, 1, 32, batch_first=True)
        self.head = nn.Linear(16, 9)

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        length = target.shape[1]
        later = torch.triu(torch.ones(length, length, dtype=torch.bool), 1)
        return functional.log_softmax(
            self.head(self.transformer(source, target, tgt_mask=later, tgt_is_causal=True)), -1
        )


class BothWays(nn.Module):
    """Two layers of an LSTM in both directions, with states that are inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.out = nn.LSTM(6, 5, 2, bidirectional=True, batch_first=True), nn.Linear(10, 3)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        y, (h, c) = self.lstm(x)
        return self.out(y), h[-2], c[0]


class Seq2Seq(nn.Module):
    """A GRU encoder in both directions, a GRU decoder, and Luong's attention (2015, eq. 7)."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.decoder = (
            nn.GRU(6, 4, bidirectional=True, batch_first=True),
            nn.GRU(6, 8, 2, batch_first=True),
        )
        self.out = nn.Linear(16, 5)

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        memory, last = self.encoder(source)
        start = torch.cat([last[0], last[1]], -1)
        y, _ = self.decoder(target, torch.stack([start, start]))
        weights = torch.softmax(y @ memory.transpose(1, 2), -1)
        return self.out(torch.cat([weights @ memory, y], -1)).argmax(-1)


class Elman(nn.Module):
    """A plain RNN with tanh, and one with ReLU."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.RNN(5, 6, batch_first=True, bidirectional=True), nn.RNN(12, 4, nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        y, _ = self.first(x)
        return self.second(y.transpose(0, 1))[0][-1]


class Temporal(nn.Module):
    """A TCN block, Bai 2018: dilated causal 1-D convolutions, padding cut off behind, a residual."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv1d(4, 6, 3, padding=2), nn.Conv1d(6, 6, 3, padding=4, dilation=2)
        self.norm, self.side, self.pool = nn.BatchNorm1d(6), nn.Conv1d(4, 6, 1), nn.AvgPool1d(2)
        self.up = nn.ConvTranspose1d(6, 3, 4, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.norm(self.first(x)[..., :-2]))
        y = torch.relu(self.second(y)[..., :-4])
        return self.up(self.pool(torch.relu(y + self.side(x))))


class Wavenet(nn.Module):
    """A gated unit of van den Oord 2016, global max and mean, softmax over time."""

    def __init__(self) -> None:
        super().__init__()
        self.filter, self.gate = nn.Conv1d(4, 6, 2, dilation=2), nn.Conv1d(4, 6, 2, dilation=2)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = functional.pad(x, (2, 0))
        y = torch.tanh(self.filter(x)) * torch.sigmoid(self.gate(x))
        return torch.cat([y.amax(-1), y.mean(-1), y.std(-1)], 1), functional.glu(y, 1).cumsum(-1)


class Recommender(nn.Module):
    """Wide and deep, Cheng 2016: tables, a product of factors (Rendle 2010), a sigmoid."""

    def __init__(self) -> None:
        super().__init__()
        self.tables = nn.ModuleList(nn.Embedding(9, 4) for _ in range(3))
        self.deep = nn.Sequential(nn.Linear(12, 8), nn.ReLU(), nn.Linear(8, 1))

    def forward(self, ids: Tensor) -> Tensor:
        parts = torch.stack([table(ids[:, i]) for i, table in enumerate(self.tables)], 1)
        factors = 0.5 * (parts.sum(1) ** 2 - (parts**2).sum(1)).sum(1, keepdim=True)
        return torch.sigmoid(self.deep(parts.flatten(1)) + factors)


class Perceptron(nn.Sequential):
    """Layers with the activations that are left: ELU, SELU, CELU, softplus, softsign, Mish, log sigmoid."""

    def __init__(self) -> None:
        acts = [
            nn.ELU(0.7),
            nn.SELU(),
            nn.CELU(1.3),
            nn.Softplus(),
            nn.Softsign(),
            nn.Mish(),
            nn.LogSigmoid(),
            nn.Tanhshrink(),
        ]
        super().__init__(*(layer for act in acts for layer in (nn.Linear(6, 6), act)))


SEQUENCE: dict[str, Callable[[], Pair]] = {
    "bert": lambda: (Bert(), (torch.randint(0, 20, (3, 7)),)),
    "gpt2": lambda: (Gpt2(), (torch.randint(0, 20, (3, 7)),)),
    "llama": lambda: (Llama(), (torch.randn(3, 7, 16),)),
    "t5": lambda: (T5(), (torch.randn(3, 7, 16),)),
    "transformer": lambda: (Translator(), (torch.randn(3, 7, 16), torch.randn(3, 5, 16))),
    "lstm_both_ways": lambda: (BothWays(), (torch.randn(3, 7, 6),)),
    "seq2seq": lambda: (Seq2Seq(), (torch.randn(3, 7, 6), torch.randn(3, 5, 6))),
    "rnn": lambda: (Elman(), (torch.randn(3, 7, 5),)),
    "tcn": lambda: (Temporal(), (torch.randn(3, 4, 12),)),
    "wavenet": lambda: (Wavenet(), (torch.randn(3, 4, 12),)),
    "wide_and_deep": lambda: (Recommender(), (torch.randint(0, 9, (4, 3)),)),
    "perceptron": lambda: (Perceptron(), (torch.randn(4, 6),)),
}
