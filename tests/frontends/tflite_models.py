"""Models in TFLite's format for tests, written from the schema that ai_edge_litert ships, and run by LiteRT's own
reference kernels (`OpResolverType.BUILTIN_REF`, never XNNPACK) with every tensor kept.

In: tensors and operators. Out: the bytes of a file; what the reference gives for each tensor of the first subgraph.
"""

# pyright: basic

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import flatbuffers
import numpy as np

from onchip.frontends.tflite import read_bytes
from onchip.ir.evaluate import evaluate
from onchip.ir.graph import Graph

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from ai_edge_litert import schema_py_generated
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

schema: Any = schema_py_generated
TYPES = {
    "float32": 0, "float16": 1, "int32": 2, "uint8": 3, "int64": 4, "bool": 6, "int16": 7, "int8": 9, "resource": 13,
    "int4": 17,
}  # fmt: skip
ACTIVATIONS = {"none": 0, "relu": 1, "relu_n1_to_1": 2, "relu6": 3, "tanh": 4}
Feeds = Mapping[str, np.ndarray]


def f32(x: float) -> float:
    """Give the float32 that a .tflite stores for a scale."""
    return float(np.float32(x))


class Writer:
    """One model: subgraphs of tensors and operators; `subgraph()` opens the next one."""

    def __init__(self) -> None:
        self.buffers = [schema.BufferT()]
        self.codes: list[Any] = []
        self.graphs: list[Any] = []
        self.subgraph()

    def subgraph(self) -> int:
        graph = schema.SubGraphT()
        graph.tensors, graph.operators, graph.inputs, graph.outputs = [], [], [], []
        self.graphs.append(graph)
        return len(self.graphs) - 1

    def tensor(
        self, name: str, shape: Sequence[int], dtype: str = "float32", *, scale: Any = None, zero: Any = 0,
        axis: int = 0, data: np.ndarray | None = None, is_variable: bool = False, signature: Sequence[int] = (),
        graph: int = 0,
    ) -> int:  # fmt: skip
        """Add a tensor; `scale` is a number, or a list along `axis`."""
        t = schema.TensorT()
        t.name, t.shape, t.type, t.isVariable, t.buffer = name, list(shape), TYPES[dtype], is_variable, 0
        if signature:
            t.shapeSignature = list(signature)
        if data is not None:
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(np.ascontiguousarray(data).tobytes(), np.uint8)
            self.buffers.append(buffer)
            t.buffer = len(self.buffers) - 1
        if scale is not None:
            q = schema.QuantizationParametersT()
            q.scale = np.atleast_1d(np.asarray(scale, np.float32))
            q.zeroPoint = np.broadcast_to(np.asarray(zero, np.int64), q.scale.shape).copy()
            q.quantizedDimension = axis
            t.quantization = q
        self.graphs[graph].tensors.append(t)
        return len(self.graphs[graph].tensors) - 1

    def constant(self, name: str, data: np.ndarray, **more: Any) -> int:
        return self.tensor(name, data.shape, str(data.dtype), data=data, **more)

    def op(
        self, builtin: str, inputs: Sequence[int], outputs: Sequence[int], options: Any = None, *, version: int = 1,
        intermediates: Sequence[int] = (), custom: str = "", graph: int = 0,
    ) -> None:  # fmt: skip
        """Add an operator; -1 among the inputs is an absent one."""
        code = schema.OperatorCodeT()
        code.builtinCode = getattr(schema.BuiltinOperator, builtin) if isinstance(builtin, str) else builtin
        code.deprecatedBuiltinCode, code.version = min(code.builtinCode, 127), version
        if custom:
            code.customCode = custom
        self.codes.append(code)
        o = schema.OperatorT()
        o.opcodeIndex, o.inputs, o.outputs = len(self.codes) - 1, list(inputs), list(outputs)
        if intermediates:
            o.intermediates = list(intermediates)
        if options is not None:
            o.builtinOptionsType = getattr(schema.BuiltinOptions, type(options).__name__[:-1])
            o.builtinOptions = options
        self.graphs[graph].operators.append(o)

    def io(self, inputs: Sequence[int], outputs: Sequence[int], graph: int = 0) -> None:
        self.graphs[graph].inputs, self.graphs[graph].outputs = list(inputs), list(outputs)

    def bytes(self) -> bytes:
        model = schema.ModelT()
        model.version, model.operatorCodes, model.subgraphs, model.buffers = 3, self.codes, self.graphs, self.buffers
        builder = flatbuffers.Builder(1024)
        builder.Finish(model.Pack(builder), b"TFL3")
        return bytes(builder.Output())


def options(kind: str, **fields: Any) -> Any:
    """Make the options of an operator: `options("Conv2D", strideW=1, ...)`."""
    made = getattr(schema, f"{kind}OptionsT")()
    for key, value in fields.items():
        assert hasattr(made, key), key
        setattr(made, key, value)
    return made


def reference(data: bytes, feeds: Sequence[Feeds]) -> list[dict[str, np.ndarray]]:
    """Run the reference kernels once for each of `feeds` (by tensor name); variables live on in between."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        interpreter = Interpreter(
            model_content=data,
            experimental_op_resolver_type=OpResolverType.BUILTIN_REF,
            experimental_preserve_all_tensors=True,
            num_threads=1,
        )
    interpreter.allocate_tensors()
    runs: list[dict[str, np.ndarray]] = []
    for feed in feeds:
        details: Any = interpreter.get_input_details()
        for detail in details:
            interpreter.set_tensor(detail["index"], feed[detail["name"]])
        interpreter.invoke()
        found: dict[str, np.ndarray] = {}
        for detail in interpreter.get_tensor_details():
            try:
                found[detail["name"]] = interpreter.get_tensor(detail["index"]).copy()
            except ValueError:  # a tensor without values: resources, scratch
                continue
        runs.append(found)
    return runs


def shifted(array: np.ndarray) -> np.ndarray:
    """Give uint8 as int8 less 128, as the front end does."""
    return (array ^ 0x80).view(np.int8) if array.dtype == np.uint8 else array


def ours(graph: Graph, feeds: Sequence[Feeds]) -> list[dict[str, np.ndarray]]:
    """Evaluate the graph once for each of `feeds`, integers cut at the edges, states carried on; keep every tensor."""
    states: dict[str, np.ndarray] = {}
    for name, _ in graph.states:
        t = graph.tensor(name)
        dtype = {"i8": np.int8, "i16": np.int16}.get(t.dtype, np.float32)
        zero = t.quantization.zero_point[0] if t.quantization else 0
        states[name] = np.full([int(d) for d in t.shape], zero, dtype)
    runs: list[dict[str, np.ndarray]] = []
    known = {t.name for t in graph.tensors}
    for feed in feeds:
        given = dict(states)
        for name, value in feed.items():
            cut = next((n for n in (f"{name}.int8", f"{name}.int16") if n in known), name)
            if value.dtype.kind == "f" or name in known or cut in known:
                given[cut if value.dtype.kind != "f" else name] = shifted(value) if cut != name else value
        seen: dict[str, np.ndarray] = dict(given)
        evaluate(graph, given, boundary="int", watch=seen.__setitem__)
        states = {name: seen[made] for name, made in graph.states}
        runs.append(seen)
    return runs


def compare(data: bytes, feeds: Sequence[Feeds], *, atol: float = 0.0, absent: Sequence[str] = ()) -> Graph:
    """Read the file and hold every tensor that an operator makes against the reference's; floats within `atol`.

    `absent` names the tensors that the graph does not have (a folded PAD, a shape); all others have to be there.
    """
    graph = read_bytes(data, name="net")
    made = _made(data)
    for step, (want, got) in enumerate(zip(reference(data, feeds), ours(graph, feeds), strict=True)):
        missing = []
        for name in made:
            mine = next((n for n in (f"{name}.int8", f"{name}.int16", name) if n in got), None)
            if mine is None:
                missing.append(name)
                continue
            _same(
                got[mine], shifted(want[name]) if mine != name or _is_quantized(graph, mine) else want[name], name, atol
            )
        assert set(missing) <= set(absent), (step, missing)
    return graph


def _is_quantized(graph: Graph, name: str) -> bool:
    return graph.tensor(name).quantization is not None


def _same(got: np.ndarray, want: np.ndarray, name: str, atol: float) -> None:
    assert got.shape == want.shape, (name, got.shape, want.shape)
    if want.dtype.kind == "f":
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=atol or 1e-6, err_msg=name)
        return
    wrong = int((got.astype(np.int64) != want.astype(np.int64)).sum())
    assert not wrong, f"{name}: {wrong} of {want.size} differ, by {np.abs(got.astype(int) - want.astype(int)).max()}"


def _made(data: bytes) -> list[str]:
    """Name every tensor that an operator of the first subgraph makes, resources left out."""
    graph = schema.ModelT.InitFromObj(schema.Model.GetRootAs(data, 0)).subgraphs[0]
    tensors = [graph.tensors[i] for o in graph.operators for i in o.outputs]
    return [t.name.decode() for t in tensors if t.type != TYPES["resource"]]
