"""Vision transformers for ImageNet: ViT-B/16 and DeiT-tiny (one kind of layer), Swin-T (shifted windows).

In:       batch (a symbol or a number), image size, classes.
Out:      a Graph from `input` [batch, size, size, 3] to logits [batch, classes]; names are those of torchvision, also
          for DeiT, whose layers are the same. The three parts of `in_proj` (of Swin's `qkv`) are nodes of their own.
Promises: parameters and MACs of torchvision's vit_b_16 and swin_t and of the paper's DeiT-Ti. Swin draws a window's
          attention as matmul and softmax over [batch, windows, heads, 49, 49], with its bias table gathered.
Sources:  Dosovitskiy et al. 2021, table 1; Touvron et al. 2021, table 1; Liu et al. 2021, section 3 and table 7.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from onchip.errors import UsageError
from onchip.ir.graph import Graph
from onchip.ops.types import Dimension
from onchip.zoo.sketch import Sketch


@dataclass(frozen=True, slots=True)
class Size:
    """Width, heads and layers of a plain vision transformer."""

    width: int
    heads: int
    layers: int


VITS: dict[str, Size] = {"vit_b_16": Size(768, 12, 12), "deit_t": Size(192, 3, 12)}
PATCH, EPSILON = 16, 1e-6
WINDOW, SWIN_WIDTH, SWIN_DEPTHS, SWIN_HEADS = 7, 96, (2, 2, 6, 2), (3, 6, 12, 24)
SWIN_EPSILON = 1e-5


def vit(
    name: str,
    /,
    *,
    weights: str | None = None,
    seed: int = 0,
    batch: Dimension = "batch",
    image_size: int = 224,
    classes: int = 1000,
) -> Graph:
    """Draw one of VITS."""
    size = VITS[name]
    sketch = Sketch(name, weights=weights, seed=seed)
    x = sketch.input("input", (batch, image_size, image_size, 3))
    x = sketch.conv2d(x, "conv_proj", channels=(3, size.width), kernel=PATCH, stride=PATCH, has_bias=True)
    patches = sketch.size(x, 1) ** 2
    x = sketch.node("reshape", (x,), "patches", shape=(0, patches, size.width))
    token = sketch.constant("class_token", (1, 1, size.width), scale=0.02)
    token = sketch.node("broadcast_to", (token,), "class_token.expand", shape=(str(batch), "1", str(size.width)))
    x = sketch.node("concat", (token, x), "class_token.concat", axis=1)
    position = sketch.constant("encoder.pos_embedding", (1, patches + 1, size.width), scale=0.02)
    x = sketch.node("add", (x, position), "encoder.pos_embedding.add")
    for layer in range(size.layers):
        x = _encoder_layer(sketch, x, f"encoder.layers.encoder_layer_{layer}", size)
    x = sketch.layer_norm(x, "encoder.ln", size.width, eps=EPSILON)
    x = sketch.node("slice", (x,), "class_token.first", axis=1, start=0, stop=1)
    x = sketch.node("reshape", (x,), "class_token.state", shape=(0, size.width))
    return sketch.finish(sketch.linear(x, "heads.head", (size.width, classes)))


def _encoder_layer(sketch: Sketch, x: str, name: str, size: Size) -> str:
    width, own = size.width, f"{name}.self_attention"
    y = sketch.layer_norm(x, f"{name}.ln_1", width, eps=EPSILON)
    q, k, v = (sketch.linear(y, f"{own}.in_proj.{part}", (width, width)) for part in ("query", "key", "value"))
    y = sketch.node("attention", (q, k, v), own, heads=size.heads)
    x = sketch.node("add", (x, sketch.linear(y, f"{own}.out_proj", (width, width))), f"{name}.add1")
    y = sketch.layer_norm(x, f"{name}.ln_2", width, eps=EPSILON)
    return sketch.node("add", (x, _mlp(sketch, y, f"{name}.mlp", width)), f"{name}.add2")


def _mlp(sketch: Sketch, x: str, name: str, width: int) -> str:
    x = sketch.node("gelu", (sketch.linear(x, f"{name}.0", (width, 4 * width)),), f"{name}.1")
    return sketch.linear(x, f"{name}.3", (4 * width, width))


def swin_t(
    *, weights: str | None = None, seed: int = 0, batch: Dimension = "batch", image_size: int = 224, classes: int = 1000
) -> Graph:
    """Draw Swin-T: windows of 7x7, every second block shifted by 3."""
    if image_size % (32 * WINDOW):
        raise UsageError("OC1003", "@swin_t", f"image_size is {image_size}", limit="it has to be a multiple of 224")
    sketch = Sketch("swin_t", weights=weights, seed=seed)
    x = sketch.input("input", (batch, image_size, image_size, 3))
    width = SWIN_WIDTH
    x = sketch.conv2d(x, "features.0.0", channels=(3, width), kernel=4, stride=4, has_bias=True)
    x = sketch.layer_norm(x, "features.0.2", width, eps=SWIN_EPSILON)
    for stage, (depth, heads) in enumerate(zip(SWIN_DEPTHS, SWIN_HEADS, strict=True)):
        for block in range(depth):
            shift = WINDOW // 2 if block % 2 and sketch.size(x, 1) > WINDOW else 0
            x = _swin_block(sketch, x, f"features.{2 * stage + 1}.{block}", heads=heads, shift=shift)
        if stage < len(SWIN_DEPTHS) - 1:
            x = _merge(sketch, x, f"features.{2 * stage + 2}", width)
            width *= 2
    return sketch.finish(
        sketch.classify(sketch.layer_norm(x, "norm", width, eps=SWIN_EPSILON), "head", (width, classes))
    )


def _merge(sketch: Sketch, x: str, name: str, width: int) -> str:
    """Join 2x2 cells: rows first, then columns, as the paper's order (0,0), (1,0), (0,1), (1,1)."""
    _, height, length, _ = sketch.shape(x)

    def every_second(i: int, j: int) -> str:
        rows = sketch.node("slice", (x,), f"{name}.rows{i}{j}", axis=1, start=i, stop=int(height), step=2)
        return sketch.node("slice", (rows,), f"{name}.part{i}{j}", axis=2, start=j, stop=int(length), step=2)

    parts = [every_second(i, j) for i, j in ((0, 0), (1, 0), (0, 1), (1, 1))]
    y = sketch.node("concat", parts, f"{name}.concat", axis=3)
    y = sketch.layer_norm(y, f"{name}.norm", 4 * width, eps=SWIN_EPSILON)
    return sketch.linear(y, f"{name}.reduction", (4 * width, 2 * width), has_bias=False)


def _swin_block(sketch: Sketch, x: str, name: str, *, heads: int, shift: int) -> str:
    width = sketch.size(x, 3)
    y = sketch.layer_norm(x, f"{name}.norm1", width, eps=SWIN_EPSILON)
    y = _window_attention(sketch, y, f"{name}.attn", heads=heads, shift=shift)
    x = sketch.node("add", (x, y), f"{name}.add1")
    y = _mlp(sketch, sketch.layer_norm(x, f"{name}.norm2", width, eps=SWIN_EPSILON), f"{name}.mlp", width)
    return sketch.node("add", (x, y), f"{name}.add2")


def _window_attention(sketch: Sketch, x: str, name: str, *, heads: int, shift: int) -> str:
    height, length, width = (sketch.size(x, axis) for axis in (1, 2, 3))
    rows, columns, cells = height // WINDOW, length // WINDOW, WINDOW * WINDOW
    x = _roll(sketch, x, f"{name}.shift", shift) if shift else x
    x = sketch.node("reshape", (x,), f"{name}.split", shape=(0, rows, WINDOW, columns, WINDOW, width))
    x = sketch.node("transpose", (x,), f"{name}.windows", perm=(0, 1, 3, 2, 4, 5))
    x = sketch.node("reshape", (x,), f"{name}.cells", shape=(0, rows * columns, cells, width))

    def split(part: str) -> str:
        y = sketch.linear(x, f"{name}.qkv.{part}", (width, width))
        y = sketch.node("reshape", (y,), f"{name}.{part}.split", shape=(0, 0, cells, heads, width // heads))
        return sketch.node("transpose", (y,), f"{name}.{part}.heads", perm=(0, 1, 3, 2, 4))

    q, k, v = map(split, ("query", "key", "value"))
    factor = sketch.known(f"{name}.scale", np.array((width // heads) ** -0.5, np.float32))
    scores = sketch.node(
        "matmul", (sketch.node("mul", (q, factor), f"{name}.scaled"), k), f"{name}.scores", transpose_b=True
    )
    scores = sketch.node("add", (scores, _bias(sketch, name, heads)), f"{name}.biased")
    if shift:
        mask = sketch.known(f"{name}.mask", shift_mask(rows, columns, shift))
        scores = sketch.node("add", (scores, mask), f"{name}.masked")
    y = sketch.node("matmul", (sketch.node("softmax", (scores,), f"{name}.softmax"), v), f"{name}.mix")
    y = sketch.node("transpose", (y,), f"{name}.merge", perm=(0, 1, 3, 2, 4))
    y = sketch.linear(
        sketch.node("reshape", (y,), f"{name}.merged", shape=(0, 0, cells, width)), f"{name}.proj", (width, width)
    )
    y = sketch.node("reshape", (y,), f"{name}.unsplit", shape=(0, rows, columns, WINDOW, WINDOW, width))
    y = sketch.node("transpose", (y,), f"{name}.unwindow", perm=(0, 1, 3, 2, 4, 5))
    y = sketch.node("reshape", (y,), f"{name}.image", shape=(0, height, length, width))
    return _roll(sketch, y, f"{name}.unshift", height - shift) if shift else y


def _roll(sketch: Sketch, x: str, name: str, by: int) -> str:
    """Move the map up and left by `by` cells; what leaves comes in at the other side."""
    for axis in (1, 2):
        size = int(sketch.shape(x)[axis])
        head = sketch.node("slice", (x,), f"{name}.head{axis}", axis=axis, start=by, stop=size)
        tail = sketch.node("slice", (x,), f"{name}.tail{axis}", axis=axis, start=0, stop=by)
        x = sketch.node("concat", (head, tail), f"{name}.roll{axis}", axis=axis)
    return x


def _bias(sketch: Sketch, name: str, heads: int) -> str:
    """Gather the learned bias of each pair of cells: [1, heads, 49, 49]."""
    span, cells = 2 * WINDOW - 1, WINDOW * WINDOW
    table = sketch.constant(f"{name}.relative_position_bias_table", (span * span, heads), scale=0.02)
    index = sketch.known(f"{name}.relative_position_index", relative_index())
    bias = sketch.node("gather", (table, index), f"{name}.relative_position_bias")
    bias = sketch.node("transpose", (bias,), f"{name}.relative_position_bias.heads", perm=(2, 0, 1))
    return sketch.node("reshape", (bias,), f"{name}.relative_position_bias.shape", shape=(1, heads, cells, cells))


def relative_index() -> NDArray[np.int64]:
    """Give the row of the bias table for each pair of cells of a window."""
    at = np.stack(np.meshgrid(np.arange(WINDOW), np.arange(WINDOW), indexing="ij")).reshape(2, -1)
    apart = at[:, :, None] - at[:, None, :] + WINDOW - 1
    return (apart[0] * (2 * WINDOW - 1) + apart[1]).astype(np.int64)


def shift_mask(rows: int, columns: int, shift: int) -> NDArray[np.float32]:
    """Give -100 where two cells of a shifted window were no neighbours: [windows, 1, 49, 49]."""

    def region(count: int) -> NDArray[np.int64]:
        place = np.arange(count * WINDOW)
        return (place >= (count - 1) * WINDOW).astype(np.int64) + (place >= count * WINDOW - shift)

    regions = 3 * region(rows)[:, None] + region(columns)[None, :]
    cells = regions.reshape(rows, WINDOW, columns, WINDOW).transpose(0, 2, 1, 3).reshape(rows * columns, -1)
    return np.where(cells[:, :, None] != cells[:, None, :], -100, 0).astype(np.float32)[:, None]
