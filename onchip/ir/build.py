"""A graph under construction: names in, shapes inferred by the ops' own rules, a verified Graph at the end.

In: inputs, constants and nodes in order. Out: `finish()`, a Graph. Shapes and dtypes of outputs follow from the op, so
a builder never states what can be derived. A node's first output has the node's name, the others `name.1`, `name.2`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

from onchip.errors import BadFile
from onchip.ir.graph import Graph, Node, Tensor, attributes_of, constant_tensor
from onchip.ops.registry import look_up_op
from onchip.ops.types import AttributeValue, Dimension, Refusal, Shape


class GraphBuilder:
    """See the module docstring."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._tensors: dict[str, Tensor] = {}
        self._nodes: list[Node] = []
        self._inputs: list[str] = []
        self._outputs: list[str] = []
        self._states: list[tuple[str, str]] = []

    def input(self, name: str, shape: Sequence[Dimension], dtype: str = "f32") -> str:
        """Add a graph input."""
        self._add(Tensor(name, tuple(shape), dtype))
        self._inputs.append(name)
        return name

    def constant(self, name: str, value: NDArray[Any] | Sequence[Dimension], dtype: str | None = None) -> str:
        """Add a constant of known values, or of a shape whose values are unknown."""
        self._add(constant_tensor(name, value, dtype))
        return name

    def node(self, op: str, inputs: Sequence[str], name: str, **attributes: AttributeValue) -> str | tuple[str, ...]:
        """Add a node; returns its output's name, or the names where the op has several."""
        given = Node(name, op, tuple(inputs), (name,), tuple(sorted(attributes.items())))
        rule = look_up_op(op, name)
        shapes = [self._tensors[i].shape if i else None for i in given.inputs]
        try:
            made = rule.shape(attributes_of(given, rule), shapes)
            dtypes = rule.dtypes(
                attributes_of(given, rule), [self._tensors[i].dtype if i else None for i in given.inputs]
            )
        except Refusal as refusal:
            raise BadFile(refusal.code, name, f"{op}: {refusal}", next=refusal.next) from None
        outputs = tuple(name if i == 0 else f"{name}.{i}" for i in range(len(made)))
        for i, (output, shape) in enumerate(zip(outputs, made, strict=True)):
            self._add(Tensor(output, shape, dtypes[i] if i < len(dtypes) else dtypes[0]))
        self._nodes.append(Node(name, op, given.inputs, outputs, given.attributes))
        return outputs[0] if len(outputs) == 1 else outputs

    def state(self, given: str, made: str) -> None:
        """Say that the value of `made` is the value of the input `given` in the next run."""
        self._states.append((given, made))

    def output(self, name: str) -> None:
        self._outputs.append(name)

    def shape(self, name: str) -> Shape:
        return self._tensors[name].shape

    def dtype(self, name: str) -> str:
        return self._tensors[name].dtype

    def value(self, name: str) -> NDArray[Any] | None:
        """Return a constant's values, None where it is no constant or they are unknown."""
        constant = self._tensors[name].constant
        return None if constant is None else constant.data

    def finish(self) -> Graph:
        """Return the graph. Raises BadFile where it is not one."""
        tensors = tuple(self._tensors.values())
        return Graph(
            self._name, tensors, tuple(self._nodes), tuple(self._inputs), tuple(self._outputs), tuple(self._states)
        )

    def _add(self, tensor: Tensor) -> None:
        if tensor.name in self._tensors:
            raise BadFile("OC1221", self._name, f"two tensors are named '{tensor.name}'")
        self._tensors[tensor.name] = tensor
