"""The networks that we train, as torch modules: a CNN, an LSTM classifier, an attention encoder, a GRU translator.

In:       sizes as parameters. The CNN reads images [N, C, H, W]; the other two read sequences [N, length, features]
          (for the digits: the 8 rows of an 8x8 image are 8 tokens of 8 features). The translator reads characters
          [N, length] and gives logits [N, symbols, classes].
Out:      logits [N, classes].
Promises: every module goes through torch.export with a dynamic batch, and uses only conv2d, relu,
          max_pool2d, flatten, linear, lstm, scaled_dot_product_attention (one node), layer_norm, gelu, mean, add,
          view, permute.
Does not: train (train.py) or read data (data.py).
Sources:  attention: Vaswani et al. 2017, section 3.2; LSTM: Hochreiter and Schmidhuber 1997, in PyTorch's
          gate order i, f, g, o.
"""

from __future__ import annotations

from math import sqrt
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional


class Cnn(nn.Module):
    """Two 3x3 convolutions with ReLU and 2x2 max pooling, then two fully connected layers."""

    def __init__(
        self,
        in_channels: int = 1,
        *,
        image_size: int = 8,
        classes: int = 10,
        widths: tuple[int, int] = (32, 64),
        hidden: int = 128,
    ) -> None:
        super().__init__()
        if image_size < 4 or image_size % 4:
            raise ValueError(f"image_size is {image_size}, has to be a positive multiple of 4 (two poolings by 2)")
        first, second = widths
        self.conv1 = nn.Conv2d(in_channels, first, 3, padding=1)
        self.conv2 = nn.Conv2d(first, second, 3, padding=1)
        self.fc1 = nn.Linear(second * (image_size // 4) ** 2, hidden)
        self.fc2 = nn.Linear(hidden, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Classify images [N, C, H, W]; gives logits [N, classes]."""
        x = functional.max_pool2d(torch.relu(self.conv1(x)), 2)
        x = functional.max_pool2d(torch.relu(self.conv2(x)), 2)
        x = torch.flatten(x, 1)  # keeps the batch
        return cast("Tensor", self.fc2(torch.relu(self.fc1(x))))


class LstmClassifier(nn.Module):
    """One LSTM over the sequence; the last hidden state goes through a fully connected layer."""

    def __init__(self, features: int = 8, *, hidden: int = 64, classes: int = 10) -> None:
        super().__init__()
        self.lstm = nn.LSTM(features, hidden, batch_first=True)
        self.fc = nn.Linear(hidden, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Classify sequences [N, length, features]; gives logits [N, classes]."""
        _, (h, _) = cast("tuple[Tensor, tuple[Tensor, Tensor]]", self.lstm(x))
        return cast("Tensor", self.fc(h[-1]))


def attention(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None) -> Tensor:
    """Compute softmax(Q K^T / sqrt(d)) V as the equation stands (Vaswani 2017, eq. 1).

    query [..., Lq, d], key [..., Lk, d], value [..., Lk, dv]; mask broadcasts to [..., Lq, Lk], True = may attend.
    The modules call torch's fused form, which stays one node of the graph; this one is what it has to equal.
    """
    scores = query @ key.transpose(-2, -1) / sqrt(query.shape[-1])
    if mask is not None:
        scores = scores.masked_fill(~mask, float("-inf"))
    return torch.softmax(scores, dim=-1) @ value


class MultiHeadAttention(nn.Module):
    """Multi-head attention where query, key and value come from outside, each of its own length.

    `n_heads * d_head` need not equal `d_model`; the output projection brings it back to `d_model`.
    """

    def __init__(self, d_model: int, n_heads: int, *, d_head: int | None = None) -> None:
        super().__init__()
        if d_head is None and d_model % n_heads:
            raise ValueError(f"d_model {d_model} is not a multiple of {n_heads} heads; give d_head")
        self.n_heads, self.d_head = n_heads, d_head if d_head is not None else d_model // n_heads
        self.query = nn.Linear(d_model, n_heads * self.d_head)
        self.key = nn.Linear(d_model, n_heads * self.d_head)
        self.value = nn.Linear(d_model, n_heads * self.d_head)
        self.output = nn.Linear(n_heads * self.d_head, d_model)

    def split(self, x: Tensor) -> Tensor:
        """Bring [N, L, heads*d] to [N, heads, L, d]."""
        return x.view(x.shape[0], x.shape[1], self.n_heads, self.d_head).permute(0, 2, 1, 3)

    def forward(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None) -> Tensor:
        """Attend from query [N, Lq, d_model] to key and value [N, Lk, d_model]; gives [N, Lq, d_model].

        mask [N or 1, heads or 1, Lq, Lk], True = may attend.
        """
        q, k, v = self.split(self.query(query)), self.split(self.key(key)), self.split(self.value(value))
        y = functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)  # divides by sqrt(d_head)
        y = y.permute(0, 2, 1, 3).reshape(query.shape[0], query.shape[1], self.n_heads * self.d_head)
        return cast("Tensor", self.output(y))


class EncoderLayer(nn.Module):
    """Pre-norm encoder layer: x + attention(norm(x)), then x + mlp(norm(x)) with GELU."""

    def __init__(self, d_model: int, n_heads: int, *, d_hidden: int, d_head: int | None = None) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(d_model)
        self.attention = MultiHeadAttention(d_model, n_heads, d_head=d_head)
        self.norm2 = nn.LayerNorm(d_model)
        self.fc1 = nn.Linear(d_model, d_hidden)
        self.fc2 = nn.Linear(d_hidden, d_model)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Map [N, L, d_model] to [N, L, d_model]."""
        h = self.norm1(x)
        x = x + self.attention(h, h, h, mask)
        return x + self.fc2(functional.gelu(self.fc1(self.norm2(x))))


class AttentionClassifier(nn.Module):
    """Tokens are embedded, learned positions added, encoded, averaged and classified."""

    def __init__(
        self,
        features: int = 8,
        *,
        length: int = 8,
        d_model: int = 64,
        n_heads: int = 4,
        d_hidden: int = 128,
        n_layers: int = 2,
        classes: int = 10,
    ) -> None:
        super().__init__()
        self.embed = nn.Linear(features, d_model)
        self.position = nn.Parameter(0.02 * torch.randn(1, length, d_model))
        self.layers = nn.ModuleList(EncoderLayer(d_model, n_heads, d_hidden=d_hidden) for _ in range(n_layers))
        self.norm = nn.LayerNorm(d_model)
        self.fc = nn.Linear(d_model, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Classify sequences [N, length, features]; gives logits [N, classes]."""
        x = self.embed(x) + self.position
        for layer in self.layers:
            x = layer(x)
        return cast("Tensor", self.fc(self.norm(x).mean(dim=1)))


class Translator(nn.Module):
    """A GRU reads the characters in both directions, another makes a query per output symbol that attends to them.

    The decoder does not read its own output: the symbols follow from the text alone, so all are made in one run.
    """

    def __init__(self, characters: int, *, symbols: int, classes: int = 10, width: int = 24, hidden: int = 48) -> None:
        super().__init__()
        self.embed = nn.Embedding(characters, width)
        self.encoder = nn.GRU(width, hidden, batch_first=True, bidirectional=True)
        self.bridge = nn.Linear(2 * hidden, hidden)
        self.summary = nn.Linear(2 * hidden, width)
        self.places = nn.Parameter(torch.randn(1, symbols, width))
        self.decoder = nn.GRU(width, hidden, batch_first=True)
        self.query = nn.Linear(hidden, 2 * hidden)
        self.join = nn.Linear(3 * hidden, hidden)
        self.fc = nn.Linear(hidden, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Translate characters [N, length]; gives logits [N, symbols, classes]."""
        read, last = cast("tuple[Tensor, Tensor]", self.encoder(self.embed(x)))
        both = torch.cat((last[0], last[1]), dim=1)
        state = torch.tanh(self.bridge(both))
        places = self.places + self.summary(both).unsqueeze(1)  # each step sees the text as a whole (Cho 2014)
        made, _ = cast("tuple[Tensor, Tensor]", self.decoder(places, state.unsqueeze(0)))
        context = functional.scaled_dot_product_attention(self.query(made), read, read)
        joined = torch.relu(self.join(torch.cat((made, context), dim=2)))
        return cast("Tensor", self.fc(joined))
