"""Quantize and dequantize operators of torch's exported quantization (pt2e), as torchao writes them.

In:       `quantized_decomposed.quantize_per_tensor` and `dequantize_per_tensor` nodes of an exported program; weights
          are integers behind a `dequantize_per_channel`.
Out:      `quantize` and `dequantize` nodes of ours. Weights are computed: floats that lie on the grid of their
          integers, which passes/qdq.py finds again.
Promises: only int8 with all of its 256 values is read; anything else is refused by name.
Sources:  torch/ao/quantization/fx/_decomposed.py, for the operators' arguments.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import fx

from onchip.frontends.torch.arrange import Arguments, Rule
from onchip.frontends.torch.walk import Value, Walk
from onchip.ops.types import Quantization


def _quantize(walk: Walk, node: fx.Node, a: Arguments) -> Value:
    if a["dtype"] != torch.int8 or (a["quant_min"], a["quant_max"]) not in ((-128, 127), (-127, 127)):
        fact = f"quantization to {a['dtype']} in {a['quant_min']} to {a['quant_max']}"
        raise walk.refuse(node, fact, limit="int8 in -128 to 127 is read")
    q = Quantization((float(cast("float", a["scale"])),), (int(cast("int", a["zero_point"])),))
    made = walk.canvas.node("quantize", (walk.tensor(node, a["input"]),), walk.name(node), dtype="i8")
    return walk.canvas.mark(made, q)


def _dequantize(walk: Walk, node: fx.Node, a: Arguments) -> Value:
    return walk.canvas.node("dequantize", (walk.tensor(node, a["input"]),), walk.name(node))


QUANTIZED: dict[str, Rule] = {
    "quantized_decomposed.quantize_per_tensor.default": _quantize,
    "quantized_decomposed.dequantize_per_tensor.default": _dequantize,
}
