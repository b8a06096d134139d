"""What both front ends draw on: the nodes of a channels-first framework, written channels last.

In:       tensors by name, constants as arrays, shapes in the framework's order.
Out:      nodes of our op set. Around an op that is channels last here (conv2d, pooling, batch_norm) stand transposes;
          the fold takes them away.
Promises: names are the framework's (`layer1.0.conv1`), a taken name gets `.2`, `.3`, ...; a tensor is transposed once,
          however many readers it has; equal constants of one name are one constant.
Does not: simplify. It refuses, with the node's name, what has no form here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from onchip.errors import NotSupported
from onchip.ir.build import GraphBuilder
from onchip.ir.graph import Graph
from onchip.ops.registry import OPS
from onchip.ops.types import FLOAT_DTYPES, Array, AttributeValue, Dimension, Quantization, Shape, axis_of, show

# their references compute in float32 whatever they are given
FLOATS_ONLY = frozenset(
    (
        "attention", "avg_pool2d", "batch_norm", "conv2d", "erf", "exp", "gelu", "global_avg_pool", "layer_norm",
        "linear", "lstm", "matmul", "mean", "sigmoid", "silu", "softmax", "sqrt", "tanh",
    )
)  # fmt: skip

# their integer form copies values, so their result has the quantization of what they read
COPYING = frozenset(
    (
        "broadcast_to", "concat", "depth_to_space", "gather", "identity", "max_pool2d", "reshape", "slice",
        "space_to_depth", "tile", "transpose",
    )
)  # fmt: skip


def _family(name: str, n_outputs: int) -> tuple[str, ...]:
    return (name, *(f"{name}.{i}" for i in range(1, n_outputs)))


class Canvas:
    """A GraphBuilder with the idioms of the frameworks."""

    def __init__(self, name: str) -> None:
        self._builder = GraphBuilder(name)
        self._names: set[str] = set()
        self._next: dict[tuple[str, int], int] = {}  # the first number behind a name that has not been tried
        self._constants: dict[str, list[tuple[Array, str]]] = {}
        self._scalars: set[str] = set()  # a constant without dimensions is stored as one of [1]
        self._quantization: dict[str, Quantization] = {}
        self._turned: dict[tuple[str, tuple[int, ...]], str] = {}

    def free(self, name: str, n_outputs: int = 1) -> str:
        """Reserve a name that is not taken, and with it the names of a node's further outputs."""
        base = name or "node"
        number = self._next.get((base, n_outputs), 2)
        candidate = base if number == 2 else f"{base}.{number - 1}"
        while not self._names.isdisjoint(_family(candidate, n_outputs)):
            candidate, number = f"{base}.{number}", number + 1
        self._names.update(_family(candidate, n_outputs))
        self._next[base, n_outputs] = number
        return candidate

    def shape(self, name: str) -> Shape:
        return () if name in self._scalars else self._builder.shape(name)

    def dtype(self, name: str) -> str:
        return self._builder.dtype(name)

    def input(self, name: str, shape: Shape, dtype: str) -> str:
        return self._builder.input(self.free(name), shape, dtype)

    def constant(self, name: str, array: Array) -> str:
        """Add a constant, or find it: the same array under the same name is the same tensor."""
        known = self._constants.setdefault(name, [])
        for other, own in known:
            if other is array or (other.dtype == array.dtype and np.array_equal(other, array)):
                return own
        own = self._builder.constant(self.free(name), array)
        if not array.ndim:
            self._scalars.add(own)
        known.append((array, own))
        return own

    def mark(self, name: str, quantization: Quantization) -> str:
        """Say that a tensor of integers has this scale and zero point."""
        self._quantization[name] = quantization
        return name

    def quantization(self, name: str) -> Quantization | None:
        return self._quantization.get(name)

    def quantized_constant(self, name: str, array: Array, quantization: Quantization) -> str:
        """Add a constant of integers; the same array with another quantization is another constant."""
        own = self.constant(name, array)
        while self._quantization.get(own, quantization) != quantization:
            name = f"{name}.scaled"
            own = self.constant(name, array)
        return self.mark(own, quantization)

    def node(self, op: str, inputs: Sequence[str], name: str, **attributes: AttributeValue) -> str:
        """Add a node and give its first output."""
        return self.nodes(op, inputs, name, **attributes)[0]

    def nodes(self, op: str, inputs: Sequence[str], name: str, **attributes: AttributeValue) -> tuple[str, ...]:
        """Add a node and give all its outputs."""
        if op in FLOATS_ONLY and self.dtype(inputs[0]) not in FLOAT_DTYPES and inputs[0] not in self._quantization:
            raise NotSupported(
                "OC1351", name, f"{op} of a tensor of dtype {self.dtype(inputs[0])}", limit="It takes floats"
            )
        own = self.free(name, len(OPS[op].outputs))
        made = self._builder.node(op, inputs, name=own, **attributes)
        if isinstance(made, str) and not self._scalars.isdisjoint(inputs) and not any(map(self.shape, inputs)):
            is_made_one = self.shape(made) == (1,) and op not in ("broadcast_to", "reshape", "tile")
            made = self.node("reshape", (made,), f"{name}.number", shape=()) if is_made_one else made
        if op in COPYING and (params := self._quantization.get(inputs[0])) is not None and params.axis is None:
            self._quantization.update((o, params) for o in ((made,) if isinstance(made, str) else made))
        return (made,) if isinstance(made, str) else made

    def finish(self, outputs: Sequence[str], inputs: Sequence[str], names: Sequence[str] = ()) -> Graph:
        """Close the graph; an output that is an input or repeats another gets an identity of its own.

        `names` are what the outputs are to be called; only names of inputs are not given away.
        """
        seen: set[str] = set(inputs)
        own: list[str] = []
        for name in outputs:
            own.append(self.node("identity", (name,), f"{name}.output") if name in seen else name)
            seen.add(own[-1])
            self._builder.output(own[-1])
        wanted = {old: new for old, new in zip(own, names, strict=False) if new not in inputs}
        graph = _live(self._builder.finish())
        if self._quantization:
            known = self._quantization
            tensors = tuple(replace(t, quantization=known.get(t.name)) for t in graph.tensors)
            graph = replace(graph, tensors=tensors)
        return self._renamed(graph, wanted)

    def _renamed(self, graph: Graph, wanted: dict[str, str]) -> Graph:
        """Give tensors other names; a tensor that has such a name already makes way."""
        names = {old: new for old, new in wanted.items() if old != new}
        for new in tuple(names.values()):
            if new in self._names and new not in wanted:
                names[new] = self.free(new)
        if not names:
            return graph

        def each(tensors: Sequence[str]) -> tuple[str, ...]:
            return tuple(names.get(t, t) for t in tensors)

        tensors = tuple(replace(t, name=names.get(t.name, t.name)) for t in graph.tensors)
        nodes = tuple(replace(n, inputs=each(n.inputs), outputs=each(n.outputs)) for n in graph.nodes)
        return replace(graph, tensors=tensors, nodes=nodes, outputs=each(graph.outputs))

    def transpose(self, x: str, perm: Sequence[int], name: str = "") -> str:
        """Transpose once per tensor and permutation."""
        key = (x, tuple(perm))
        if key[1] == tuple(range(len(key[1]))):
            return x
        if key not in self._turned:
            self._turned[key] = self.node("transpose", (x,), name or f"{x}.transposed", perm=key[1])
        return self._turned[key]

    def channels_last(self, x: str) -> str:
        """[N,C,...] -> [N,...,C]."""
        rank = len(self.shape(x))
        return self.transpose(x, (0, *range(2, rank), 1), f"{x}.last")

    def channels_first(self, x: str) -> str:
        """[N,...,C] -> [N,C,...]."""
        rank = len(self.shape(x))
        return self.transpose(x, (0, rank - 1, *range(1, rank - 1)), f"{x}.first")

    def reshape(self, x: str, shape: Sequence[Dimension], name: str) -> str:
        """Reshape to a shape that is known, symbols included."""
        given, made = self.shape(x), tuple(shape)
        if given == made:
            return x
        target: list[int] = []
        for i, d in enumerate(made):
            if isinstance(d, int):
                target.append(d)
            elif i < len(given) and given[i] == d:
                target.append(0)
            elif -1 not in target:
                target.append(-1)
            else:
                raise NotSupported("OC1353", name, f"cannot reshape {show(given)} to {show(made)}")
        return self.node("reshape", (x,), name, shape=tuple(target))

    def conv2d(
        self,
        x: str,
        name: str,
        *,
        weight: Array,
        bias: Array | None,
        names: tuple[str, str],
        stride: Sequence[int],
        padding: Sequence[int],
        dilation: Sequence[int],
        groups: int,
    ) -> str:
        """Convolve [N,C,H,W] by weights [K,C/groups,R,S]; padding is top, bottom, left, right."""
        kernel = self.constant(names[0], np.ascontiguousarray(weight.transpose(0, 2, 3, 1)))
        shift = "" if bias is None else self.constant(names[1], bias)
        y = self.node(
            "conv2d",
            (self.channels_last(x), kernel, shift),
            name,
            stride=tuple(stride),
            padding=tuple(padding),
            dilation=tuple(dilation),
            groups=groups,
        )
        return self.channels_first(y)

    def pool2d(self, op: str, x: str, name: str, **attributes: AttributeValue) -> str:
        """Pool [N,C,H,W]."""
        return self.channels_first(self.node(op, (self.channels_last(x),), name, **attributes))

    def batch_norm(self, x: str, name: str, values: Sequence[tuple[str, Array]], eps: float) -> str:
        """Normalise [N,C,...] by scale, bias, mean and variance."""
        constants = [self.constant(own, array) for own, array in values]
        rank = len(self.shape(x))
        if rank == 2:
            return self.node("batch_norm", (x, *constants), name, eps=eps)
        return self.channels_first(self.node("batch_norm", (self.channels_last(x), *constants), name, eps=eps))

    def along_last(self, op: str, x: str, axis: int, name: str, **attributes: AttributeValue) -> str:
        """Apply an op of the last axis along another one."""
        rank = len(self.shape(x))
        place = axis_of(axis, rank)
        if place == rank - 1:
            return self.node(op, (x,), name, **attributes)
        perm = [i for i in range(rank) if i != place] + [place]
        back = [perm.index(i) for i in range(rank)]
        return self.transpose(self.node(op, (self.transpose(x, perm),), name, **attributes), back)

    def slice(self, x: str, name: str, *, axis: int, start: int, stop: int, step: int = 1) -> str:
        """Slice as Python does; nothing is added where everything is kept."""
        shape = self.shape(x)
        axis = axis_of(axis, len(shape))
        size = shape[axis]
        if start == 0 and step == 1 and (stop >= 2**31 - 1 or (isinstance(size, int) and stop >= size)):
            return x
        if not isinstance(size, int):
            raise NotSupported("OC1353", name, f"slices the symbolic dimension '{size}'")
        start, stop, step = slice(start, stop, step).indices(size)
        limit = stop if stop >= 0 else -size - 1
        return self.node("slice", (x,), name, axis=axis, start=start, stop=limit, step=step)

    def select(self, x: str, name: str, *, axis: int, index: int) -> str:
        """Take one index and drop the axis."""
        shape = self.shape(x)
        place = axis_of(axis, len(shape))
        size = shape[place]
        if not isinstance(size, int):
            raise NotSupported("OC1353", name, f"selects from the symbolic dimension '{size}'")
        at = index % size
        one = self.slice(x, f"{name}.slice", axis=place, start=at, stop=at + 1)
        return self.reshape(one, (*shape[:place], *shape[place + 1 :]), name)

    def attention(
        self, q: str, k: str, v: str, name: str, *, mask: str = "", scale: float | None = None, is_causal: bool = False
    ) -> str:
        """Attend: q [B,H,Lq,D], k [B,G,Lk,D], v [B,G,Lk,Dv] -> [B,H,Lq,Dv]; or all three without H.

        `is_causal` keeps key j <= query i, as torch and ONNX have it: with Lq != Lk aligned at the first key.
        """
        shape = self.shape(q)
        if len(shape) not in (3, 4) or len(self.shape(k)) != len(shape) or len(self.shape(v)) != len(shape):
            raise NotSupported("OC1351", name, f"attention over {show(shape)}", limit="It takes 3 or 4 dimensions")
        width = shape[-1]
        heads, groups = (shape[1], self.shape(k)[1]) if len(shape) == 4 else (1, 1)
        if not isinstance(width, int) or not isinstance(heads, int) or not isinstance(groups, int):
            raise NotSupported("OC1353", name, f"attention over {show(shape)}, whose heads or width have no number")
        if scale == 0:
            raise NotSupported("OC1351", name, "attention with a scale of 0")
        mask = self._mask(mask, name) if mask else ""
        if is_causal and shape[-2] != self.shape(k)[-2]:
            mask, is_causal = self._causal_mask(mask, shape[-2], self.shape(k)[-2], name), False
        inputs = [self._tokens(t, name) for t in (q, k, v)] + ([mask] if mask else [])
        factor = width**-0.5 if scale is None else scale
        y = self.node("attention", inputs, name, heads=heads, kv_heads=groups, scale=float(factor), causal=is_causal)
        if len(shape) == 3:
            return y
        value_width = self.shape(v)[3]
        apart = self.reshape(y, (shape[0], shape[2], heads, value_width), f"{name}.apart")
        return self.transpose(apart, (0, 2, 1, 3), f"{name}.heads")

    def _tokens(self, x: str, name: str) -> str:
        """[B,H,L,D] -> [B,L,H*D]."""
        shape = self.shape(x)
        if len(shape) == 3:
            return x
        batch, heads, length, width = shape
        if not isinstance(heads, int) or not isinstance(width, int):
            raise NotSupported("OC1353", name, f"attention over {show(shape)}, whose heads or width have no number")
        return self.reshape(self.transpose(x, (0, 2, 1, 3)), (batch, length, heads * width), f"{x}.tokens")

    def _causal_mask(self, mask: str, lq: Dimension, lk: Dimension, name: str) -> str:
        """Write the lower triangle as a mask; the attribute of the op aligns it at the last key (a cache in front)."""
        if not isinstance(lq, int) or not isinstance(lk, int):
            raise NotSupported("OC1353", name, f"causal attention from {lq} to {lk} tokens, of which one has no number")
        keep = np.tri(lq, lk, dtype=np.bool_)[None, None]
        if mask and self.dtype(mask) != "bool":
            added = np.where(keep, np.float32(0), np.float32(-np.inf))
            return self.node("add", (mask, self.constant(f"{name}.causal", added)), f"{name}.mask")
        own = self.constant(f"{name}.causal", keep)
        return self.node("logical_and", (mask, own), f"{name}.mask") if mask else own

    def _mask(self, mask: str, name: str) -> str:
        """Bring a mask to four dimensions by ones in front; three are batch, query, key."""
        shape = self.shape(mask)
        if len(shape) > 4 or len(shape) < 2:
            raise NotSupported("OC1351", name, f"a mask of shape {show(shape)}")
        full = (shape[0], 1, *shape[1:]) if len(shape) == 3 else (1,) * (4 - len(shape)) + shape
        return self.reshape(mask, full, f"{mask}.mask")

    def lstm_layer(
        self, x: str, name: str, *, weights: Sequence[tuple[str, Array] | None], hidden: int, h0: str = "", c0: str = ""
    ) -> tuple[str, str, str]:
        """Run one direction of one layer: x [B,T,I] -> y [B,T,H], h [B,H], c [B,H]; weights in the order of the op."""
        constants = ["" if w is None else self.constant(*w) for w in weights]
        y, h, c = self.nodes("lstm", (x, *constants, h0, c0), name, hidden=hidden)
        return y, h, c


def _live(graph: Graph) -> Graph:
    """Leave out the nodes, and the constants, on which no output depends."""
    wanted = set(graph.outputs)
    for node in reversed(graph.nodes):
        if not wanted.isdisjoint(node.outputs):
            wanted.update(node.inputs)
    nodes = tuple(n for n in graph.nodes if not wanted.isdisjoint(n.outputs))
    made = {*graph.inputs, *(o for n in nodes for o in n.outputs)}
    tensors = tuple(t for t in graph.tensors if t.name in made or (t.constant is not None and t.name in wanted))
    return graph if len(tensors) == len(graph.tensors) else replace(graph, tensors=tensors, nodes=nodes)
