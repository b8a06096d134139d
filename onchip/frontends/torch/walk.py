"""The walk over an exported torch program: what each value is, and what each node is called.

In:       an ExportedProgram and the module it was captured from.
Out:      a Graph, through the table of operators (ops.py) and the canvas.
Promises: a value is a tensor of the canvas, a torch tensor that is known (parameters and all that follows from them),
          one number repeated over a symbolic shape, or a number. Only what the outputs need is written.
          A dimension is a number or the symbol `batch`; any other expression is refused (OC1353).
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from numpy.typing import NDArray
from torch import Tensor, fx, nn
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind, OutputKind

from onchip.errors import NotSupported
from onchip.frontends.canvas import Canvas
from onchip.ir.graph import Graph
from onchip.ops.types import Dimension, Shape, show

DTYPES = {
    torch.float32: "f32", torch.float16: "f16", torch.bfloat16: "bf16", torch.int64: "i64", torch.int32: "i32",
    torch.int16: "i16", torch.int8: "i8", torch.uint8: "u8", torch.bool: "bool",
}  # fmt: skip
LEAVES = (
    "torch.nn.modules.activation.MultiheadAttention",
    "torch.nn.modules.transformer",
    "torch.nn.modules.container",
)


@dataclass(frozen=True, slots=True)
class Known:
    """A tensor whose values are known; `name` is the parameter it is, or was made from."""

    tensor: Tensor
    name: str


@dataclass(frozen=True, slots=True)
class Fill:
    """One number over a shape with symbols."""

    value: float
    shape: Shape


@dataclass(frozen=True, slots=True)
class Wide:
    """A tensor of the canvas that broadcasts to a larger shape; only elementwise operators take it as it is."""

    tensor: str


Value = str | Known | Fill | Wide | int | float | bool | None | tuple["Value", ...]


class Walk:
    """One walk; `graph()` gives the result."""

    def __init__(self, label: str, program: ExportedProgram, module: nn.Module) -> None:
        self.canvas = Canvas(label)
        self.program = program
        self.label = label
        self.values: dict[fx.Node, Value] = {}
        self.symbols: dict[str, str] = {}
        self._arrays: dict[int, NDArray[Any]] = {}
        self._tensors = {**dict(module.named_parameters(remove_duplicate=False)), **dict(module.named_buffers())}

    def graph(self) -> Graph:
        """Write every node that the outputs need."""
        from onchip.frontends.torch.ops import write

        inputs = self._read_inputs()
        needed = _needed(self.program.graph)
        for node in self.program.graph.nodes:
            if node.op == "call_function" and node in needed and not self._is_symbolic(node):
                known = self._known(node)
                self.values[node] = self._checked(node, write(self, node)) if known is None else known
        return self.canvas.finish(self._outputs(), inputs)

    def refuse(self, node: fx.Node, fact: str, *, code: str = "OC1351", limit: str = "") -> NotSupported:
        """Make the error that names this node."""
        return NotSupported(code, f"{self.label}: {self.path(node) or node.name}", fact, limit=limit)

    def _read_inputs(self) -> list[str]:
        places = {n.name: n for n in self.program.graph.nodes if n.op == "placeholder"}
        inputs: list[str] = []
        for spec in self.program.graph_signature.input_specs:
            node = places[str(getattr(spec.arg, "name", ""))]
            if spec.kind == InputKind.USER_INPUT:
                self.values[node] = self._read_input(node)
                inputs.append(cast("str", self.values[node]))
            elif spec.kind in (InputKind.PARAMETER, InputKind.BUFFER, InputKind.CONSTANT_TENSOR):
                target = str(spec.target)
                stored = cast("dict[str, Any]", {**self.program.state_dict, **self.program.constants})
                tensor = self._tensors[target] if target in self._tensors else stored[target]
                self.values[node] = Known(cast("Tensor", tensor).detach(), target)
            else:
                raise self.refuse(node, f"an input of kind {spec.kind.name}")
        return inputs

    def _read_input(self, node: fx.Node) -> str:
        tensor = node.meta.get("val")
        if not isinstance(tensor, Tensor):
            raise self.refuse(node, "an input that is no tensor")
        if tensor.dim() and isinstance(tensor.shape[0], torch.SymInt):
            self.symbols[str(tensor.shape[0])] = "batch"
        return self.canvas.input(node.name, self.shape(node), self.dtype(node, tensor.dtype))

    def _outputs(self) -> list[str]:
        last = next(n for n in self.program.graph.nodes if n.op == "output")
        specs = self.program.graph_signature.output_specs
        outputs: list[str] = []
        for spec, arg in zip(specs, cast("Sequence[Any]", last.args[0]), strict=True):
            if spec.kind != OutputKind.USER_OUTPUT:
                raise NotSupported("OC1351", f"{self.label}: {arg}", f"an output of kind {spec.kind.name}")
            if isinstance(arg, fx.Node):
                outputs.append(self.tensor(arg, arg))
        return outputs

    def dtype(self, node: fx.Node, dtype: torch.dtype) -> str:
        if dtype not in DTYPES:
            raise self.refuse(node, f"a tensor of {dtype}")
        return DTYPES[dtype]

    def shape(self, node: fx.Node) -> Shape:
        """Read the shape that torch inferred for a node."""
        tensor = node.meta["val"]
        return tuple(self.dimension(node, d) for d in cast("Tensor", tensor).shape)

    def dimension(self, node: fx.Node, size: int | torch.SymInt) -> Dimension:
        if isinstance(size, int):
            return size
        text = str(size)
        if text not in self.symbols:
            raise self.refuse(node, f"a dimension is '{text}', not a number or one symbol", code="OC1353")
        return self.symbols[text]

    def path(self, node: fx.Node) -> str:
        """Give the path of the module that a node comes from."""
        stack = cast("dict[str, tuple[str, Any]]", node.meta.get("nn_module_stack") or {})
        for path, kind in reversed(stack.values()):
            if "nn_module_stack" not in path:
                return path if kind else ""
        return ""

    def name(self, node: fx.Node) -> str:
        """Call a node as its module if that is one operator, else by module and operator."""
        stack = cast("dict[str, tuple[str, Any]]", node.meta.get("nn_module_stack") or {})
        own = [(p, str(k)) for p, k in stack.values() if "nn_module_stack" not in p]
        path, kind = own[-1] if own else ("", "")
        if path and kind.startswith("torch.nn.modules.") and not kind.startswith(LEAVES):
            return path
        operator = node.name.rstrip("0123456789").rstrip("_") if node.name[-1].isdigit() else node.name
        return f"{path}.{operator}" if path else operator

    def value(self, arg: Any) -> Value:
        """Give the value of an argument of a node."""
        if isinstance(arg, fx.Node):
            return self.values[arg]
        if isinstance(arg, (list, tuple)):
            return tuple(self.value(a) for a in cast("Sequence[Any]", arg))
        return cast("Value", arg)

    def tensor(self, node: fx.Node, arg: Any) -> str:
        """Give the tensor of the canvas that holds an argument."""
        value = self.value(arg)
        if isinstance(value, str):
            return value
        if isinstance(value, Known):
            return self.canvas.constant(value.name, self.array(value))
        if isinstance(value, (int, float)):
            return self.canvas.constant(f"{self.name(node)}.scalar", torch.tensor(float(value)).numpy())
        if isinstance(value, (Wide, Fill)) and isinstance(arg, fx.Node):
            return self._spread(node, arg)
        raise self.refuse(node, "an operand that is stretched over a symbolic dimension", code="OC1353")

    def operand(self, node: fx.Node, arg: Any) -> str:
        """Give a tensor for an elementwise operator, which broadcasts by itself."""
        value = self.value(arg)
        if isinstance(value, Wide):
            return value.tensor
        if isinstance(value, Fill):
            dtype = cast("Tensor", arg.meta["val"]).dtype if isinstance(arg, fx.Node) else torch.float32
            kind = torch.float32 if dtype in (torch.bfloat16, torch.float64) else dtype
            return self.canvas.constant(f"{self.name(node)}.fill", torch.tensor(value.value, dtype=kind).numpy())
        return self.tensor(node, arg)

    def _spread(self, node: fx.Node, arg: fx.Node) -> str:
        """Give a stretched value in its full shape."""
        x, shape = self.operand(node, arg), self.shape(arg)
        if self.canvas.shape(x) == shape:
            return x
        is_known = all(isinstance(d, int) for d in shape)
        target = cast("tuple[int, ...]", shape) if is_known else tuple(map(str, shape))
        return self.canvas.node("broadcast_to", (x,), f"{self.name(arg)}.full", shape=target)

    def array(self, value: Known) -> NDArray[Any]:
        """Give the values of a known tensor; one array per tensor, a copy."""
        key = id(value.tensor)
        if key not in self._arrays:
            tensor = value.tensor.detach().cpu()
            tensor = tensor.float() if tensor.dtype in (torch.bfloat16, torch.float64) else tensor
            self._arrays[key] = tensor.contiguous().numpy().copy()
        return self._arrays[key]

    def _checked(self, node: fx.Node, value: Value) -> Value:
        """Refuse a tensor that has not the shape and dtype that torch inferred."""
        wanted = node.meta.get("val")
        if isinstance(value, str) and isinstance(wanted, Tensor):
            made = (self.canvas.shape(value), self.canvas.dtype(value))
            if made != (self.shape(node), self.dtype(node, wanted.dtype)):
                fact = (
                    f"{node.target!s} gives {show(self.shape(node))} of {wanted.dtype}, here {show(made[0])} {made[1]}"
                )
                raise self.refuse(node, fact)
        return value

    def _is_symbolic(self, node: fx.Node) -> bool:
        """Tell whether a node computes a size; sizes are read from the shapes that torch inferred."""
        value = node.meta.get("val")
        return isinstance(value, (torch.SymInt, torch.SymBool, torch.SymFloat)) or (value is None and not node.users)

    def _known(self, node: fx.Node) -> Value:
        """Compute a node whose operands are all known; None where one is not."""
        arguments = [*node.args, *node.kwargs.values()]
        flat: list[Any] = []
        for arg in arguments:
            flat.extend(cast("Sequence[Any]", arg) if isinstance(arg, (list, tuple)) else (arg,))
        if node.target is operator.getitem or any(isinstance(a, fx.Node) and not self._is_known(a) for a in flat):
            return None
        names = [cast("Known", self.values[a]).name for a in flat if isinstance(a, fx.Node)]

        def load(arg: fx.Node) -> Tensor:
            return cast("Known", self.values[arg]).tensor

        args, kwargs = fx.map_arg(node.args, load), fx.map_arg(node.kwargs, load)
        with torch.no_grad():
            result: Any = cast("Any", node.target)(*args, **kwargs)
        label = f"{names[0]}.{node.name}" if names else self.name(node)
        if isinstance(result, Tensor):
            return Known(result, label)
        parts = cast("Sequence[Any]", result) if isinstance(result, (tuple, list)) else ()
        if parts and all(isinstance(p, Tensor) for p in parts):
            return tuple(Known(p, f"{label}.{i}") for i, p in enumerate(parts))
        return None

    def _is_known(self, node: fx.Node) -> bool:
        return isinstance(self.values.get(node), Known)


def _needed(graph: fx.Graph) -> set[fx.Node]:
    """Collect what the outputs depend on."""
    waiting = [n for n in graph.nodes if n.op == "output"]
    needed: set[fx.Node] = set()
    while waiting:
        node = waiting.pop()
        if node not in needed:
            needed.add(node)
            waiting.extend(node.all_input_nodes)
    return needed
