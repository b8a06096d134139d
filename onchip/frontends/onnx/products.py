"""The ONNX operators that multiply matrices: Gemm, MatMul, Einsum.

In:       a node, through the walk.
Out:      the values of its outputs, in order.
Promises: a known matrix on the right makes it linear; else it is matmul, with what stands around it written out.
          Einsum of two tensors is a transpose, a matmul and a transpose; of one, a sum and a transpose.
Does not: take a diagonal (a letter twice in one term), or more than two tensors.
Sources:  https://onnx.ai/onnx/operators/
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from onnx import NodeProto

from onchip.frontends.onnx.elementwise import scalar
from onchip.frontends.onnx.norms import label
from onchip.frontends.onnx.walk import Known, Value, Walk
from onchip.ops.types import Dimension, Shape

Rule = Callable[[Walk, NodeProto], tuple[Value, ...]]


def _gemm(walk: Walk, node: NodeProto) -> tuple[Value, ...]:
    a, right, shift = walk.attributes(node), walk.value(node, 1), walk.value(node, 2)
    x = walk.tensor(node, 0)
    x = walk.canvas.transpose(x, (1, 0)) if a.get("transA", 0) else x
    if isinstance(right, Known) and right.array.ndim == 2 and (shift is None or isinstance(shift, Known)):
        weight, bias = walk.known(node, 1, "weight"), walk.known(node, 2, "bias")
        assert weight is not None  # just seen
        weight = weight if a.get("transB", 0) else weight.T
        if bias is None or (bias.size in (1, weight.shape[0]) and bias.shape[-1:] in ((), (1,), weight.shape[:1])):
            return (_linear(walk, node, x, weight, bias),)
    return (_written_out(walk, node, x),)


def _linear(walk: Walk, node: NodeProto, x: str, weight: np.ndarray, bias: np.ndarray | None) -> str:
    a = walk.attributes(node)
    if a.get("alpha", 1.0) != 1.0:
        weight = weight * np.float32(a["alpha"])
    inputs = [x, walk.canvas.constant(label(walk, node, 1), np.ascontiguousarray(weight))]
    if bias is not None:
        scaled = (bias.reshape(-1) * np.float32(a.get("beta", 1.0))).astype(np.float32)
        full = np.ascontiguousarray(np.broadcast_to(scaled, (weight.shape[0],)))
        inputs.append(walk.canvas.constant(label(walk, node, 2), full))
    return walk.canvas.node("linear", inputs, walk.name(node))


def _written_out(walk: Walk, node: NodeProto, x: str) -> str:
    """alpha A B + beta C."""
    canvas, a, name = walk.canvas, walk.attributes(node), walk.name(node)
    y = canvas.node("matmul", (x, walk.tensor(node, 1)), name, transpose_b=bool(a.get("transB", 0)))
    if a.get("alpha", 1.0) != 1.0:
        y = canvas.node("mul", (y, scalar(walk, y, a["alpha"], f"{name}.alpha")), f"{name}.scaled")
    c = walk.tensor(node, 2)
    if c and a.get("beta", 1.0) != 1.0:
        c = canvas.node("mul", (c, scalar(walk, c, a["beta"], f"{name}.beta")), f"{name}.shift")
    return canvas.node("add", (y, c), f"{name}.sum") if c else y


def _matmul(walk: Walk, node: NodeProto) -> tuple[Value, ...]:
    """A vector is a matrix of one row, or of one column."""
    left, right = walk.value(node, 0), walk.value(node, 1)
    x, canvas, name = walk.tensor(node, 0), walk.canvas, walk.name(node)
    if isinstance(right, Known) and right.array.ndim == 2 and isinstance(left, str):
        turned = np.ascontiguousarray(right.array.astype(np.float32).T)
        return (canvas.node("linear", (x, canvas.constant(right.name, turned)), name),)
    y = walk.tensor(node, 1)
    a, b = canvas.shape(x), canvas.shape(y)
    if len(a) > 1 and len(b) > 1:
        return (canvas.node("matmul", (x, y), name),)
    if not a or not b:
        raise walk.refuse(node, "of a scalar")
    row = canvas.reshape(x, (1, *a), f"{name}.row") if len(a) == 1 else x
    column = canvas.reshape(y, (*b, 1), f"{name}.column") if len(b) == 1 else y
    made = canvas.node("matmul", (row, column), name)
    batch = canvas.shape(made)[:-2]
    shape = (*batch, *(() if len(a) == 1 else a[-2:-1]), *(() if len(b) == 1 else b[-1:]))
    return (canvas.reshape(made, shape, f"{name}.out"),)


def _einsum(walk: Walk, node: NodeProto) -> tuple[Value, ...]:
    text = str(walk.attributes(node)["equation"], "ascii").replace(" ", "")
    given, _, wanted = text.partition("->")
    terms = given.split(",")
    if len(terms) != len(node.input) or len(terms) > 2:
        raise walk.refuse(node, f"'{text}' of {len(node.input)} tensors", limit="One or two tensors are read")
    tensors = [walk.tensor(node, i) for i in range(len(terms))]
    shapes = [walk.canvas.shape(t) for t in tensors]
    full = [_spelled(walk, node, t, s) for t, s in zip(terms, shapes, strict=True)]
    letters = "".join(full)
    dots = "".join(sorted({c for c in letters if c.isdigit()}, reverse=True))
    result = wanted.replace("...", dots) if "->" in text else dots + "".join(
        sorted(c for c in set(letters) if letters.count(c) == 1 and not c.isdigit())
    )  # fmt: skip
    if any(len(set(t)) != len(t) for t in (*full, result)) or not set(result) <= set(letters):
        raise walk.refuse(node, f"'{text}', which takes a diagonal", limit="A letter stands once in a term")
    name = walk.name(node)
    summed = [_summed(walk, x, t, result + "".join(full[:i] + full[i + 1 :]), name)
              for i, (x, t) in enumerate(zip(tensors, full, strict=True))]  # fmt: skip
    if len(summed) == 1:
        ((x, term),) = summed
        return (walk.canvas.transpose(x, [term.index(c) for c in result], name),)
    return (contract(walk, summed[0], summed[1], result, name),)


def _spelled(walk: Walk, node: NodeProto, term: str, shape: Shape) -> str:
    """Write the dimensions that an ellipsis stands for as digits, counted from the right."""
    n = len(shape) - len(term.replace("...", ""))
    own = term.replace("...", "")
    if not 0 <= n <= 9 or (n and own == term) or not (own.isalpha() or not own):
        raise walk.refuse(node, f"the term '{term}' of {len(shape)} dimensions")
    return term.replace("...", "".join(str(i) for i in range(n))[::-1])


def _summed(walk: Walk, x: str, term: str, kept: str, name: str) -> tuple[str, str]:
    """Sum over the letters that stand nowhere else."""
    gone = tuple(i for i, c in enumerate(term) if c not in kept)
    if not gone:
        return x, term
    return walk.canvas.node("sum", (x,), f"{name}.sum", axes=gone), "".join(c for c in term if c in kept)


def contract(walk: Walk, left: tuple[str, str], right: tuple[str, str], result: str, name: str) -> str:
    """Multiply two tensors with named dimensions: batch, rows, inner | batch, inner, columns."""
    canvas, (x, a), (y, b) = walk.canvas, left, right
    batch = [c for c in a if c in b and c in result]
    inner = [c for c in a if c in b and c not in result]
    rows, columns = [c for c in a if c not in b], [c for c in b if c not in a]
    sizes: dict[str, Dimension] = {**dict(zip(a, canvas.shape(x), strict=True))}
    for c, d in zip(b, canvas.shape(y), strict=True):
        sizes[c] = d if sizes.get(c, 1) == 1 else sizes[c]
    first = _matrix(walk, x, a, (batch, rows, inner), name)
    second = _matrix(walk, y, b, (batch, inner, columns), name)
    product = canvas.node("matmul", (first, second), name)
    order = [*batch, *rows, *columns]
    apart = canvas.reshape(product, [sizes[c] for c in order], f"{name}.apart")
    return canvas.transpose(apart, [order.index(c) for c in result], f"{name}.out")


def _matrix(walk: Walk, x: str, term: str, groups: Sequence[Sequence[str]], name: str) -> str:
    """Give [*batch, rows, columns]; a group of several dimensions becomes one."""
    canvas = walk.canvas
    turned = canvas.transpose(x, [term.index(c) for group in groups for c in group])
    shape, n = canvas.shape(turned), len(groups[0])
    first, rest = shape[n : n + len(groups[1])], shape[n + len(groups[1]) :]
    return canvas.reshape(turned, (*shape[:n], _one(first), _one(rest)), f"{name}.matrix")


def _one(dims: Shape) -> Dimension:
    if len(dims) == 1:
        return dims[0]
    return int(np.prod([int(d) for d in dims if isinstance(d, int)])) if all(isinstance(d, int) for d in dims) else -1


PRODUCTS: dict[str, Rule] = {"Gemm": _gemm, "MatMul": _matmul, "Einsum": _einsum}
