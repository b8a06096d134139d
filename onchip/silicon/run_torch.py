"""A network run for real through PyTorch, kernel by kernel in the order of the forecast.

In:       a folded Graph whose dimensions are numbers, float inputs drawn at random, a dtype.
Out:      seconds of each kernel and of the whole run.
Promises: the kernels are those that the forecast prices; nodes that it counts as free (reshapes, transposes) run for
          real, in the time of the kernel that reads them. A kernel with an op that is not in `torch_ops` is not run and
          is named with the reason; what reads it gets zeros.
Does not: fuse what torch does not fuse; know the chip.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onchip.forecast.kernels import Kernel, kernels_of
from onchip.ir.graph import Graph, Node, Tensor, attributes_of
from onchip.ops.registry import look_up_op
from onchip.silicon.repeat import refuse_memory
from onchip.silicon.torch_ops import FUSED, MAKERS, conv2d

NUMBERS = {"f32", "f16", "bf16"}
Step = Callable[[dict[str, Any]], None]


@dataclass(slots=True)
class Part:
    """A kernel ready to run: its calls, or why there are none."""

    name: str
    steps: list[Step] = field(default_factory=list[Step])
    reason: str = ""
    last: tuple[str, ...] = ()  # tensors that nobody reads behind it


class TorchNetwork:
    """A network on torch's device. Raises what torch raises where memory ends."""

    def __init__(
        self, graph: Graph, torch: Any, dtype: str = "fp32", *, device: str = "cpu", seed: int = 0,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:  # fmt: skip
        self.graph, self.torch, self.device, self._clock = graph, torch, device, clock
        self._dtype = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[dtype]
        self._rng = np.random.default_rng(seed)
        self._values: dict[str, Any] = {t.name: self._tensor(t) for t in graph.tensors if t.constant is not None}
        self._nodes: list[list[Node]] = []  # of each part
        self._inputs = {name: self._put(self._drawn(name)) for name in graph.inputs}
        with torch.inference_mode():
            self.parts = self._parts()
        self._let_go()

    @property
    def names(self) -> tuple[str, ...]:
        """The kernels in order."""
        return tuple(part.name for part in self.parts)

    @property
    def reasons(self) -> dict[str, str]:
        """The kernels that do not run, and why."""
        return {part.name: part.reason for part in self.parts if part.reason}

    def run(self) -> list[float]:
        """Run once on random inputs; return the seconds of each kernel, 0 for those that do not run."""
        try:
            return self._timed({**self._values, **self._inputs}, self._clock)
        except (RuntimeError, MemoryError) as error:
            refuse_memory(error, self.graph.name)
            raise

    def outputs(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Return the values of the outputs."""
        values = {**self._values, **{name: self._put(value) for name, value in inputs.items()}}
        self._timed(values, self._clock)
        return {name: values[name].float().cpu().numpy() for name in self.graph.outputs}

    def _drawn(self, name: str) -> NDArray[Any]:
        """Return a random input; whole numbers are 0, which is an index of every table."""
        tensor = self.graph.tensor(name)
        shape = tuple(int(d) for d in tensor.shape)
        return self._rng.standard_normal(shape, np.float32) if tensor.dtype in NUMBERS else np.zeros(shape, np.int64)

    def _timed(self, values: dict[str, Any], clock: Callable[[], float]) -> list[float]:
        wait = self.torch.cuda.synchronize if self.device == "cuda" else _nothing
        seconds: list[float] = []
        with self.torch.inference_mode():
            for part in self.parts:
                wait()
                begin = clock()
                for step in part.steps:
                    step(values)
                wait()
                seconds.append(clock() - begin if part.steps else 0.0)
                for name in part.last:
                    values.pop(name, None)
        return seconds

    def _put(self, value: NDArray[Any]) -> Any:
        made = self.torch.from_numpy(np.ascontiguousarray(value)).to(self.device)
        return made.to(self._dtype) if made.is_floating_point() else made

    def _tensor(self, tensor: Tensor) -> Any:
        """Return a constant's values, or random ones of a size that keeps sums of products near 1."""
        data = tensor.constant.data if tensor.constant is not None else None
        if data is None:
            shape = tuple(int(d) for d in tensor.shape)
            fan_in = max(int(np.prod(shape[1:])), 1)
            is_float = tensor.dtype in NUMBERS
            data = self._rng.standard_normal(shape, np.float32) / np.sqrt(fan_in) if is_float else np.zeros(shape, int)
        return self._put(np.array(data))

    def _parts(self) -> list[Part]:
        kernels, _ = kernels_of(self.graph)
        done = {name for kernel in kernels for node in kernel.nodes for name in node.outputs}
        parts = [self._part(kernel, done) for kernel in kernels]
        behind = [free for name in self.graph.kept for free in self._before(name, done)]
        if behind and parts:
            parts[-1].steps += [self._step(node) for node in behind] if parts[-1].steps else []
            self._nodes[-1] += behind
        return parts

    def _let_go(self) -> None:
        """Note behind which part each tensor has no more readers: its memory is used again, as in any runtime."""
        seen = set(self.graph.kept) | set(self._values)
        for part, nodes in zip(reversed(self.parts), reversed(self._nodes), strict=True):
            names = dict.fromkeys(name for node in nodes for name in (*node.inputs, *node.outputs) if name)
            part.last = tuple(name for name in names if name not in seen)
            seen.update(names)

    def _part(self, kernel: Kernel, done: set[str]) -> Part:
        """Return a kernel's calls, those of free nodes that it is the first to need ahead of them."""
        part = Part(kernel.anchor.name)
        free = [one for node in kernel.nodes for one in self._free(node, done)]
        self._nodes.append([*free, *kernel.nodes])
        try:
            part.steps += [self._step(node) for node in free]
            part.steps += self._steps(kernel.nodes)
        except (KeyError, RuntimeError, NotImplementedError) as error:
            refuse_memory(error, kernel.anchor.name)
            part.steps.clear()
            part.reason = f"{kernel.anchor.op}: not run through torch ({str(error)[:80]})"
            self._fill(kernel)
        return part

    def _fill(self, kernel: Kernel) -> None:
        for node in kernel.nodes:
            for name in node.outputs:
                tensor = self.graph.tensor(name)
                shape = tuple(int(d) for d in tensor.shape)
                kind = np.float32 if tensor.dtype in NUMBERS else np.int64
                self._values[name] = self._put(np.zeros(shape, kind))

    def _free(self, node: Node, done: set[str]) -> list[Node]:
        """Return the nodes in no kernel that a node needs and that have not run, in order."""
        return [free for name in node.inputs for free in self._before(name, done)]

    def _before(self, tensor: str, done: set[str]) -> list[Node]:
        """Return the nodes that make a tensor and have not run."""
        maker = self.graph.producer(tensor) if tensor and tensor not in done else None
        if maker is None:
            return []
        found = [*self._free(maker, done), maker]
        done.update(maker.outputs)
        return found

    def _steps(self, nodes: Sequence[Node]) -> list[Step]:
        """Return the calls of nodes in order; a sum right behind a convolution is done inside of it."""
        found: list[Step] = []
        skipped = False
        for node, after in zip(nodes, (*nodes[1:], None), strict=True):
            if skipped:
                skipped = False
            elif after is not None and self._is_sum_of(node, after):
                found.append(self._summed(node, after))
                skipped = True
            else:
                found.append(self._step(node))
        return found

    def _is_sum_of(self, conv: Node, node: Node) -> bool:
        if conv.op != "conv2d" or node.op != "add" or conv.attribute("activation", "none") != "none":
            return False
        made, others = conv.outputs[0], [name for name in node.inputs if name != conv.outputs[0]]
        shapes = {self.graph.tensor(name).shape for name in (made, *others)}
        is_inner = made not in self.graph.kept and len(self.graph.consumers(made)) == 1
        is_known = (
            node.attribute("activation", "none") in FUSED
            and self.graph.tensor(others[0] if others else made).constant is None
        )
        return len(others) == 1 and len(shapes) == 1 and is_inner and is_known

    def _summed(self, conv: Node, node: Node) -> Step:
        (other,) = (name for name in node.inputs if name != conv.outputs[0])
        attributes = attributes_of(conv, look_up_op("conv2d", conv.name))
        call = conv2d(self.torch, attributes, self._constants(conv), str(node.attribute("activation", "none")))
        given, made = conv.inputs[0], node.outputs[0]

        def step(values: dict[str, Any]) -> None:
            values[made] = call(values[given], values[other])

        return step

    def _step(self, node: Node) -> Step:
        """Return the call of one node. Raises KeyError for an op that torch_ops does not have."""
        attributes = attributes_of(node, look_up_op(node.op, node.name))
        call = MAKERS[node.op](self.torch, attributes, self._constants(node))
        names, (made, *_) = node.inputs, node.outputs

        def step(values: dict[str, Any]) -> None:
            values[made] = call(*[values[name] if name else None for name in names])

        return step

    def _constants(self, node: Node) -> list[Any]:
        constant = {name for name in node.inputs if name and self.graph.tensor(name).constant is not None}
        return [self._values[name] if name in constant else None for name in node.inputs]


def _nothing() -> None:
    """Wait for nothing: calls return when they are done."""
