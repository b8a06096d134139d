"""How attention and rotary embeddings become int8: their masks and angles have rules of their own.

In:       a float node, with the quantization chosen for every activation.
Out:      one int8 node; a mask as bool (keep) or int8 (added to the scores, -128 drops), angles as int16.
Promises: as quantize_rules.py.
"""

from __future__ import annotations

import numpy as np

from onchip.errors import NotSupported
from onchip.ir.graph import Node, Tensor, constant_tensor
from onchip.ops.attention import DROPPED
from onchip.ops.types import Quantization
from onchip.passes.calibrate import DROPS
from onchip.passes.quantize_rules import (
    Rewrite,
    Rule,
    activation_parameters,
    data_of,
    made_of,
    matched,
    symmetric_parameters,
    with_more,
)

ANGLES = Quantization((2.0**-15,), (0,))  # int16 cosines and sines; 1.0 becomes 32767
COARSE_ANGLES = Quantization((2.0**-7,), (0,))  # those that the chip itself computes are int8


def _rotary(rewrite: Rewrite, node: Node) -> None:
    angles = [_angle(rewrite, name, node) for name in node.inputs[1:]]
    if len({rewrite.tensors[name].dtype for name in angles}) > 1:
        raise NotSupported("OC1381", node.name, "cos and sin come to an int8 rotary in two dtypes")
    attributes = with_more(node, rounding=rewrite.rounding)
    rewrite.append(
        Node(node.name, node.op, (rewrite.int8(node.inputs[0]), *angles), made_of(rewrite, node), attributes)
    )


def _angle(rewrite: Rewrite, name: str, node: Node) -> str:
    """Name the int16 tensor of a cosine or sine that is constant or comes from the host, else the int8 one."""
    new, source = f"{name}.int16", rewrite.graph.tensor(name)
    if source.constant is None and name not in rewrite.outside:
        like = Tensor(name, source.shape, "i8", COARSE_ANGLES)
        return matched(rewrite, name, like, node)
    if new in rewrite.tensors:
        return new
    if source.constant is None:
        made = Tensor(new, source.shape, "i16", ANGLES)
        rewrite.append(Node(f"{new}.quantize", "quantize", (name,), (new,), (("dtype", "i16"),)), made)
        return new
    data = data_of(rewrite, name)
    values = None if data is None else np.clip(np.rint(data / ANGLES.scale[0]), -32767, 32767).astype(np.int16)
    return rewrite.constant(new, values, like=name, dtype="i16", quantization=ANGLES)


def _attention(rewrite: Rewrite, node: Node) -> None:
    score = activation_parameters(*rewrite.calibration.inside(node.name))
    inputs = [rewrite.int8(name) for name in node.inputs[:3]]
    if len(node.inputs) > 3:
        inputs.append(_mask(rewrite, node, node.inputs[3], score))
    attributes = with_more(
        node, rounding=rewrite.rounding, score_scale=score.scale[0], score_zero_point=score.zero_point[0]
    )
    rewrite.append(Node(node.name, node.op, tuple(inputs), made_of(rewrite, node), attributes))


def _mask(rewrite: Rewrite, node: Node, name: str, score: Quantization) -> str:
    """Bring a bool mask over; a constant of 0 and very negative values becomes one, what adds becomes int8."""
    if not name or rewrite.graph.tensor(name).dtype == "bool":
        return rewrite.keep(name)
    if rewrite.graph.tensor(name).constant is None:
        grid = symmetric_parameters(*rewrite.calibration.of(name, is_symmetric=True))  # its -128 stands for no value
        return matched(rewrite, name, Tensor(name, rewrite.graph.tensor(name).shape, "i8", grid), node)
    data = data_of(rewrite, name)
    if data is not None and np.all((data == 0.0) | (data <= DROPS)):
        new = f"{name}.keep"
        rewrite.tensors[new] = constant_tensor(new, np.asarray(data == 0.0), "bool")
        return new
    new, scale = f"{name}.{node.name}", Quantization((score.scale[0],), (0,))
    values = None
    if data is not None:
        steps = np.clip(np.rint(np.maximum(data, DROPS) / scale.scale[0]), DROPPED + 1, 127)
        values = np.where(data <= DROPS, DROPPED, steps).astype(np.int8)
    return rewrite.constant(new, values, like=name, dtype="i8", quantization=scale)


ATTENTION_RULES: dict[str, Rule] = {"attention": _attention, "rotary": _rotary}
