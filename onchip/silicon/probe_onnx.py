"""The operations of the probes in ONNX Runtime: for machines without PyTorch.

In:       kinds and sizes of `silicon.probes`, a budget of seconds for each probe.
Out:      seconds of the fastest and of the median repeat, None where the runtime has no such operation.
Promises: an operation is a model of one node; onnxruntime is imported when a runner is made, not before. Memory that
          ends is DoesNotFit (OC2004).
Does not: use other providers than that of the processor.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from math import isqrt
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from onchip.errors import NotSupported
from onchip.ir.graph import Graph
from onchip.silicon.probes import COLD_BYTES, CURVES, PASSES, POINTS, WIDE, Times
from onchip.silicon.repeat import clock_of, refuse_memory, repeated
from onchip.silicon.run_onnx import IR_VERSION, OPSET, OnnxNetwork

ONNX_CURVES = {**{name: name.capitalize() for name in CURVES}, "add": "Add"}
Arrays = Mapping[str, NDArray[Any]]


class OnnxRunner:
    """Runs operations through ONNX Runtime. Raises NotSupported (OC1014) where it is not installed."""

    def __init__(
        self, clock: Callable[[], float] | None = None, budget_s: float = 0.0, threads: int | None = None
    ) -> None:
        try:
            import onnxruntime
        except ImportError as error:
            hint = "pip install 'onchip[torch]', or onnxruntime"
            fact = "neither torch nor onnxruntime is installed; one of them runs probes and networks"
            raise NotSupported("OC1014", "measure", fact, next=hint) from error
        self._runtime: Any = onnxruntime
        self.name = f"onnxruntime {onnxruntime.__version__}"
        own = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        self.threads: int = threads or own or 1
        self._clock, self._budget_s = clock or clock_of(self.threads), budget_s

    def times(self, kind: str, size: int, dtype: str, threads: int) -> Times | None:
        try:
            run = self._call("convolution" if kind == "cold" else kind, size, dtype, threads)
            ahead = self._call("copy", COLD_BYTES // 2, dtype, threads) if kind == "cold" else None
            return repeated(run, self._clock, self._budget_s, ahead=ahead, wall=time.perf_counter)
        except (RuntimeError, KeyError, MemoryError) as error:
            refuse_memory(error, f"probe {kind}")
            return None

    def _call(self, kind: str, size: int, dtype: str, threads: int) -> Callable[[], object]:
        model, inputs = _operation(kind, size, dtype)
        session = self._start(model, threads)
        return lambda: session.run(None, inputs)

    def network(self, graph: Graph, dtype: str) -> OnnxNetwork:
        """Return a network ready to run. Raises NotSupported (OC1510) for another dtype than fp32."""
        if dtype != "fp32":
            raise NotSupported(
                "OC1510", graph.name, f"cannot be measured in {dtype}", limit="Without torch in fp32 only"
            )
        return OnnxNetwork(graph, self._start, clock=self._clock)

    def _start(self, model: onnx.ModelProto, threads: int | None = None) -> Any:
        """Return a session. Raises RuntimeError where the runtime does not have the model's operations."""
        options = self._runtime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads or self.threads, 1
        options.log_severity_level = 4  # a refused model is an exception already
        try:
            return self._runtime.InferenceSession(
                model.SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # the runtime's own derive from Exception
            raise RuntimeError(str(error)) from None


Planned = tuple[str, list[str], str]  # op, inputs, output


def _operation(kind: str, size: int, dtype: str) -> tuple[onnx.ModelProto, Arrays]:
    """Return a model of one operation and its inputs. Raises KeyError for a kind that there is not."""
    if kind in {"empty", "forked", "copy"}:  # the larger of x and 0: reads as many bytes as it writes
        n = {"empty": 1, "forked": 1 << 16}.get(kind, size // 4)
        return _model([("Relu", ["x"], "y")], np.zeros(n, np.float32))
    if kind == "read":
        return _model([("ReduceSum", ["x"], "y")], np.zeros(size // 4, np.float32), shape=[1])
    if kind in ONNX_CURVES:
        inputs = ["x", "x"] if kind in {"add", "div"} else ["x"]
        return _model([(ONNX_CURVES[kind], inputs, "y")], np.full(size, 1.5, np.float32))
    rng, element = np.random.default_rng(0), {"fp32": np.float32, "fp16": np.float16, "int8": np.int8}[dtype]
    if kind in {"convolution", "thin"}:
        filters, window, side = (size, 3, 14) if kind == "convolution" else (4 * size, 1, isqrt(POINTS))
        x, w = (rng.standard_normal(s, np.float32) for s in ((1, size, side, side), (filters, size, window, window)))
        pads = [window // 2] * 4
        return _model([("Conv", ["x", "w"], "y")], x.astype(element), w.astype(element), pads=pads)
    columns = WIDE if kind == "rows" else size
    x, w = (rng.standard_normal(s, np.float32).astype(element) for s in ((size, columns), (columns, columns)))
    multiply = "MatMulInteger" if dtype == "int8" else "MatMul"
    curves: list[Planned] = [("Tanh", [f"t{i}"], f"t{i + 1}") for i in range(PASSES)]
    nodes: dict[str, list[Planned]] = {
        **{name: [(multiply, ["x", "w"], "y")] for name in ("product", "rows")},
        "vector": [("Tanh", ["x"], "t0"), *curves[:-1]],
        "both": [(multiply, ["x", "w"], "t0"), *curves],
    }
    return _model(nodes[kind], x, w)


def _model(
    nodes: Sequence[Planned], x: NDArray[Any], w: NDArray[Any] | None = None, *, shape: list[int] | None = None,
    **attributes: Any,
) -> tuple[onnx.ModelProto, Arrays]:  # fmt: skip
    """Return a model of nodes in a row, the input x and the constant w; and what it is run with."""
    made = [helper.make_node(op, inputs, [output], **attributes) for op, inputs, output in nodes]
    last, element = nodes[-1], helper.np_dtype_to_tensor_dtype(x.dtype)
    out = TensorProto.INT32 if last[0] == "MatMulInteger" else element
    same = [x.shape[0], w.shape[0], *x.shape[2:]] if w is not None and w.ndim == 4 else list(x.shape)
    body = helper.make_graph(
        made, "probe", [helper.make_tensor_value_info("x", element, list(x.shape))],
        [helper.make_tensor_value_info(last[2], out, shape or same)],
        [numpy_helper.from_array(w, "w")] if w is not None else [],
    )  # fmt: skip
    return helper.make_model(body, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION), {"x": x}
