"""A graph under construction whose tensors carry quantization.

In:       nodes of our op set, channels last as TFLite has them.
Out:      a Graph.
Promises: a name is used once: a taken one gets `.2`, `.3`, ...; equal constants of one name are one constant.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from onchip.ir.build import GraphBuilder
from onchip.ir.graph import Graph
from onchip.ops.registry import look_up_op
from onchip.ops.types import Array, AttributeValue, Quantization, Shape


class Sheet:
    """A GraphBuilder that knows the quantization and the dtype of what it is given."""

    def __init__(self, name: str) -> None:
        self._builder = GraphBuilder(name)
        self._name = name
        self._taken: set[str] = set()
        self._quantization: dict[str, Quantization] = {}
        self._dtypes: dict[str, str] = {}
        self._constants: dict[str, list[tuple[Array, Quantization | None, str]]] = {}

    def free(self, name: str, n_outputs: int = 1) -> str:
        """Reserve a name that is not taken, and those of a node's further outputs."""
        base = name or "tensor"
        candidate, number = base, 1
        while not (own := {candidate, *(f"{candidate}.{i}" for i in range(1, n_outputs))}).isdisjoint(self._taken):
            number += 1
            candidate = f"{base}.{number}"
        self._taken |= own
        return candidate

    def input(self, name: str, shape: Shape, dtype: str, quantization: Quantization | None = None) -> str:
        own = self._builder.input(self.free(name), shape, dtype)
        return self._mark(own, quantization, dtype)

    def constant(self, name: str, array: Array, quantization: Quantization | None = None) -> str:
        """Add a constant, or find it."""
        known = self._constants.setdefault(name, [])
        for other, params, own in known:
            if params == quantization and other.dtype == array.dtype and np.array_equal(other, array):
                return own
        own = self._builder.constant(self.free(name), array)
        known.append((array, quantization, own))
        return self._mark(own, quantization, self._builder.dtype(own))

    def node(
        self, op: str, inputs: Sequence[str], name: str, *, quantization: Quantization | None = None,
        out_dtype: str = "", **attributes: AttributeValue,
    ) -> str:  # fmt: skip
        """Add a node of one output."""
        return self.nodes(op, inputs, name, attributes, quantizations=(quantization,), dtypes=(out_dtype,))[0]

    def nodes(
        self, op: str, inputs: Sequence[str], name: str, attributes: Mapping[str, AttributeValue], *,
        quantizations: Sequence[Quantization | None], dtypes: Sequence[str] = (),
    ) -> tuple[str, ...]:  # fmt: skip
        """Add a node; an empty dtype is what the op itself says."""
        own = self.free(name, len(look_up_op(op, name).outputs))
        made = self._builder.node(op, inputs, own, **attributes)
        outputs = (made,) if isinstance(made, str) else made
        for i, output in enumerate(outputs):
            given = dtypes[i] if i < len(dtypes) else ""
            self._mark(output, quantizations[i] if i < len(quantizations) else None, given)
        return outputs

    def _mark(self, name: str, quantization: Quantization | None, dtype: str) -> str:
        if quantization is not None:
            self._quantization[name] = quantization
        if dtype:
            self._dtypes[name] = dtype
        return name

    def shape(self, name: str) -> tuple[int, ...]:
        return tuple(int(d) for d in self._builder.shape(name))

    def dtype(self, name: str) -> str:
        return self._dtypes.get(name) or self._builder.dtype(name)

    def quantization(self, name: str) -> Quantization | None:
        return self._quantization.get(name)

    def output(self, name: str) -> None:
        self._builder.output(name)

    def state(self, given: str, made: str) -> None:
        self._builder.state(given, made)

    def finish(self) -> Graph:
        """Close the graph."""
        graph = self._builder.finish()
        tensors = tuple(
            replace(t, quantization=self._quantization.get(t.name), dtype=self._dtypes.get(t.name, t.dtype))
            for t in graph.tensors
        )
        return replace(graph, tensors=tensors)
