"""Float Graph -> the same graph in another float dtype: what a chip with bf16, fp16 or fp8 units runs.

In:       a float Graph and a float dtype: f32, tf32, f16, bf16, fp8 (E4M3).
Out:      the same nodes; every float tensor has the new dtype, and with it the new number of bytes.
Promises: known constants are rounded to the nearest value of the dtype, ties to even, and held as float32 arrays;
          what is larger than its largest finite value saturates (f16 65504, fp8 448). Names, shapes and integers stay.
Does not: scale (an fp8 network needs scales per tensor; here it is priced, not run), or touch a quantized graph.
Sources:  bfloat16: Wang and Kanwar 2019; tf32: NVIDIA A100 whitepaper 2020; E4M3: Micikevicius 2022 (arXiv 2209.05433).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onchip.errors import UsageError
from onchip.ir.graph import Graph, Tensor, constant_tensor
from onchip.ops.types import FLOAT_DTYPES

DROPPED_BITS = {"bf16": 16, "tf32": 13}  # of float32's 23 mantissa bits; the exponent is float32's
LARGEST_F16, LARGEST_FP8 = 65504.0, 448.0


def float_dtype(graph: Graph, dtype: str) -> Graph:
    """Cast every float tensor.

    Raises UsageError for a dtype that is no float, and for a graph that is quantized.
    """
    if dtype not in FLOAT_DTYPES:
        raise UsageError(
            "OC1385", graph.name, f"'{dtype}' is no float dtype", limit=f"There are {', '.join(FLOAT_DTYPES)}"
        )
    if any(t.quantization is not None for t in graph.tensors):
        raise UsageError("OC1415", graph.name, "the graph is quantized already", next="Give the float graph")
    tensors = tuple(_cast(t, dtype) if t.dtype in FLOAT_DTYPES else t for t in graph.tensors)
    return Graph(graph.name, tensors, graph.nodes, graph.inputs, graph.outputs, graph.states)


def _cast(tensor: Tensor, dtype: str) -> Tensor:
    data = tensor.constant.data if tensor.constant is not None else None
    if data is None or tensor.dtype == dtype:
        return replace(tensor, dtype=dtype)
    return constant_tensor(tensor.name, round_to(data, dtype), dtype)


def round_to(values: NDArray[Any], dtype: str) -> NDArray[np.float32]:
    """Round to the nearest values of a float dtype, ties to even, saturating; gives float32."""
    x = np.asarray(values, np.float32)
    if dtype in DROPPED_BITS:
        bits, drop = x.view(np.uint32), DROPPED_BITS[dtype]
        half = np.uint32((1 << (drop - 1)) - 1) + ((bits >> np.uint32(drop)) & np.uint32(1))
        return ((bits + half) & np.uint32(0xFFFFFFFF << drop & 0xFFFFFFFF)).view(np.float32)
    if dtype == "f16":
        return np.clip(x, -LARGEST_F16, LARGEST_F16).astype(np.float16).astype(np.float32)
    if dtype == "fp8":
        _, exponent = np.frexp(x)
        step = np.exp2(np.maximum(exponent - 1, -6) - 3).astype(np.float32)  # 3 mantissa bits, least exponent -6
        return np.clip(np.rint(x / step) * step, -LARGEST_FP8, LARGEST_FP8).astype(np.float32)
    return x
