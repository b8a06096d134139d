"""An LSTM as one kernel: weights stay in local memory, one step after another.

In: a Kernel of kind lstm. Out: the four streams' trees. Each step the matrix unit makes the two products (input,
hidden), the vector unit adds them up, applies the gates and writes the hidden state where the next step's product reads
it. The instructions follow ops/rowwise.lstm_cell; both products are rounded twice (LiteRT), which is a high multiply
and a rounding shift on the lanes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from onchip.ir.graph import Node
from onchip.ir.plan import Kernel, ceil_div
from onchip.isa import LD, LOAD, MATRIX, MM, ST, STORE, VECTOR, WLD
from onchip.isa.machine import columns, depth, machine_of
from onchip.isa.memory import ACC, I16, I32
from onchip.lowering import gates
from onchip.lowering.code import NOTHING, Rows, VectorCode, View
from onchip.lowering.context import TYPES, Context, Lowered, as_bytes
from onchip.lowering.tree import Expr, Op, Tree, nest, op, sync
from onchip.ops.rnn import lstm_constants_of
from onchip.ops.rowwise import LstmConstants


@dataclass(frozen=True, slots=True)
class Steps:
    """The kernel's sizes: `rows` of the batch at a time, `steps` of `features`, `hidden` units."""

    kernel: Kernel
    context: Context
    node: Node
    batch: int
    steps: int
    features: int
    hidden: int
    rows: int

    @property
    def loops(self) -> list[tuple[str, int]]:
        return [("b", ceil_div(self.batch, self.rows))]

    @property
    def gates(self) -> int:
        return 4 * self.hidden

    @property
    def size(self) -> int:
        return self.kernel.shape.element_bytes

    @property
    def type(self) -> int:
        return TYPES[self.context.plan.dtype]

    @property
    def is_integer(self) -> bool:
        return self.kernel.shape.is_integer

    def time(self, width: int) -> Expr:
        """Return the offset of the step's `width` bytes in a row of the sequence; backwards from its last step."""
        if self.node.attribute("reverse", False):
            return Expr((self.steps - 1) * width, (("t", -width),))
        return Expr(0, (("t", width),))

    def left(self) -> Expr:
        return Expr(self.batch, (("b", -self.rows),)) if self.batch % self.rows else NOTHING

    def at(self, name: str) -> Expr:
        b = self.kernel.buffer(name)
        return Expr(b.address, (), (0, 0), ("b",), b.size) if b.slots == 2 else Expr(b.address)


def lower_lstm(kernel: Kernel, context: Context) -> Lowered:
    """Return the code of an lstm kernel."""
    batch, steps, features, hidden = kernel.shape.extra
    node = context.graph.node(kernel.nodes[0])
    s = Steps(kernel, context, node, batch, steps, features, hidden, kernel.mapping.tb)
    trees = (_load(s), _matrix(s), _vector(s), _store(s))
    return Lowered(trees, {b.name: b.slots for b in kernel.buffers})


def _given(s: Steps, number: int) -> str:
    return s.node.inputs[number] if len(s.node.inputs) > number else ""


def _weights(s: Steps) -> NDArray[np.uint8]:
    """[4H, I] and [4H, H] -> [I + H, 4H]."""
    parts = [s.context.array(_given(s, i)).T for i in (1, 2)]
    return as_bytes(np.concatenate(parts))


def _parameters(s: Steps) -> NDArray[np.uint8]:
    """Bias, multiplier, left and right shift of both products, eight lines of 4H words; zero points are in the bias."""
    if not s.is_integer:
        return np.zeros(2 * 4 * s.gates, np.uint8)
    k = _constants(s)
    zeros = (s.context.quantization(_given(s, 0)).zero_point[0], k.hidden_zero_point)
    lines: list[NDArray[np.int64]] = []
    for i, (zero, q, e) in enumerate(zip(zeros, (k.input_q, k.hidden_q), (k.input_e, k.hidden_e), strict=True)):
        bias = s.context.array(_given(s, 3 + i)).astype(np.int64) if _given(s, 3 + i) else np.zeros(s.gates, np.int64)
        total = s.context.array(_given(s, 1 + i)).astype(np.int64).sum(axis=1)
        parts = (q, np.maximum(e, 0), np.maximum(-e, 0))
        lines += [bias - zero * total, *(np.broadcast_to(part, (s.gates,)) for part in parts)]
    return as_bytes((np.stack(lines) & 0xFFFFFFFF).astype(np.uint32))


def _constants(s: Steps) -> LstmConstants:
    given = [s.context.graph.tensor(n).quantization if n else None for n in s.node.inputs]
    made = [s.context.graph.tensor(n).quantization for n in s.node.outputs]
    return lstm_constants_of(given, made)


def _load(s: Steps) -> Tree:
    size, lane = s.size, 16 if s.is_integer else 4
    n_weights, n_parameters = (s.features + s.hidden) * s.gates * size, 2 * lane * s.gates
    weights = s.context.constant(f"{s.kernel.name}.weights", n_weights, lambda: _weights(s))
    parameters = s.context.constant(f"{s.kernel.name}.parameters", n_parameters, lambda: _parameters(s))
    tensor, line = _given(s, 0), s.steps * s.features * size
    tile = (
        sync(wait=((MATRIX, LOAD),), fills=("input",)),
        op(
            LD, far=Expr(s.context.addresses[tensor]), near=s.at("input"), box2=s.rows, box3=line, limit2=s.batch,
            limit3=line,
            far2=line, near2=line, c2=Expr(0, (("b", s.rows),)), level=s.context.level(tensor),
        ),
        sync(signal=((LOAD, MATRIX),)),
    )  # fmt: skip
    return (
        sync(wait=((MATRIX, LOAD),), fills=("weights",)),
        op(LD, far=Expr(weights), near=s.at("weights"), box3=n_weights, limit3=n_weights),
        sync(signal=((LOAD, MATRIX),)),
        sync(wait=((VECTOR, LOAD),), fills=("parameters",)),
        op(LD, far=Expr(parameters), near=s.at("parameters"), box3=n_parameters, limit3=n_parameters),
        sync(signal=((LOAD, VECTOR),)),
        *nest(s.loops, tile),
    )


def _product(s: Steps, source: Expr, stride: int, k: int, first_row: int, sums: Expr, left: Expr) -> Tree:
    machine = machine_of(s.context.plan.chip, s.context.plan.dtype)
    fold, wide, n, size = depth(machine) or k, columns(machine) or s.gates, s.gates, s.size
    k_left = Expr(k, (("kf", -fold),)) if k % fold else NOTHING
    n_left = Expr(n, (("nf", -wide),)) if n % wide else NOTHING
    weights = s.at("weights") + (first_row * n * size)
    body = (
        op(
            WLD, source=weights + Expr(0, (("kf", fold * n * size), ("nf", wide * size))), k=min(fold, k), n=min(wide,
            n),
            pitch=n * size, type=s.type, k_left=k_left, n_left=n_left,
        ),
        op(
            MM, source=source, sums=sums + Expr(0, (("nf", wide),)), k_begin=Expr(0, (("kf", fold),)), rows0=s.rows,
            k=min(fold, k), n=min(wide, n), run_length=k, run_stride=k * size, source0=stride, sum0=n, type=s.type,
            first=("kf",), left0=left, k_left=k_left, n_left=n_left,
        ),
    )  # fmt: skip
    return nest([("nf", ceil_div(n, wide)), ("kf", ceil_div(k, fold))], body)


def _matrix(s: Steps) -> Tree:
    sums = Expr(s.kernel.buffer("sums").address)
    x = s.at("input") + s.time(s.features * s.size)
    step: Tree = (
        sync(wait=((VECTOR, MATRIX),)),
        *_product(s, x, s.steps * s.features * s.size, s.features, 0, sums, s.left()),
        *_product(s, s.at("hidden"), s.hidden * s.size, s.hidden, s.features, sums + s.rows * s.gates, s.left()),
        sync(signal=((MATRIX, VECTOR),)),
    )
    tile: Tree = (
        sync(wait=((LOAD, MATRIX),)),
        *nest([("t", s.steps)], step),
        sync(wait=((VECTOR, MATRIX),)),
        sync(signal=((MATRIX, LOAD),), releases=("input",)),
    )
    return (sync(wait=((LOAD, MATRIX),)), *nest(s.loops, tile), sync(signal=((MATRIX, LOAD),), releases=("weights",)))


class Lanes:
    """Views of a tile's values: `rows` rows of `hidden` lanes."""

    def __init__(self, s: Steps) -> None:
        self.s, self.names = s, list[str]()
        self.rows = Rows((s.rows, 1, 1), s.hidden, (s.left(), NOTHING, NOTHING))
        self.wide = replace(self.rows, lanes=s.gates)
        self.sums = Expr(s.kernel.buffer("sums").address)

    def __call__(self, name: str) -> View:
        """Return a scratch tile by name."""
        if name not in self.names:
            self.names.append(name)
        start = Expr(self.s.kernel.buffer("scratch").address)
        return self.rows.packed(start + self.names.index(name) * self.s.rows * self.s.hidden, ACC, 1)

    def gate(self, number: int) -> View:
        g = self.s.gates
        return View(ACC, self.sums + number * self.s.hidden, (g, g, g))

    def product(self, number: int) -> View:
        return self.wide.packed(self.sums + number * self.s.rows * self.s.gates, ACC, 1)

    def hidden(self) -> View:
        return self.rows.packed(self.s.at("hidden"), self.s.type, self.s.size)

    def output(self) -> View:
        """The hidden state of step t in the output tile."""
        line = self.s.hidden * self.s.size
        return View(self.s.type, self.s.at("output") + self.s.time(line), (self.s.steps * line, 0, 0))

    def last(self, number: int) -> View:
        """Where the last hidden state (0) and cell (1) stand behind the output tile."""
        s = self.s
        start = s.rows * s.steps * s.hidden * s.size + number * s.rows * s.hidden * 2
        line = s.hidden * (s.size if number == 0 else 2)
        return View(s.type if number == 0 else I16, s.at("output") + start, (line, line, line))


def _vector(s: Steps) -> Tree:
    lanes = Lanes(s)
    start, step, end = VectorCode(lanes.rows), VectorCode(lanes.rows), VectorCode(lanes.rows)
    cell = lanes("cell")
    start.lanes("and", cell, cell, 0)
    start.lanes("and", lanes.hidden(), lanes.hidden(), 0)
    if s.is_integer:
        k = _constants(s)
        start.lanes("add", lanes.hidden(), lanes.hidden(), k.hidden_zero_point)
        _integer_step(s, lanes, step, k)
    else:
        _float_step(lanes, step)
    end.lanes("copy", lanes.last(0), lanes.hidden(), 0)
    end.lanes("copy", lanes.last(1), cell, 0)
    tile: Tree = (
        sync(wait=((STORE, VECTOR),), fills=("output",)),
        *start.ops,
        sync(signal=((VECTOR, MATRIX),)),
        *nest([("t", s.steps)], (sync(wait=((MATRIX, VECTOR),)), *step.ops, sync(signal=((VECTOR, MATRIX),)))),
        *end.ops,
        sync(signal=((VECTOR, STORE),)),
    )
    return (
        sync(wait=((LOAD, VECTOR),)),
        *nest(s.loops, tile),
        sync(signal=((VECTOR, LOAD),), releases=("parameters",)),
    )


def _integer_step(s: Steps, lanes: Lanes, code: VectorCode, k: LstmConstants) -> None:
    for number in (0, 1):
        product = lanes.product(number)
        names = ("add", "shl", "mulh32", "rshr")
        for line, name in zip((0, 2, 1, 3), names, strict=True):
            words = View(I32, s.at("parameters") + (4 * number + line) * 4 * s.gates)
            code.lanes(name, product, product, words, rows=lanes.wide)
    gates_rows, total = lanes.wide, lanes.product(0)
    for d, a, b in ((total, total, None), (total, total, lanes.product(1))):
        if b is not None:
            code.lanes("add", d, a, b, rows=gates_rows)
        code.lanes("max", d, d, gates.MINIMUM, rows=gates_rows)
        code.lanes("min", d, d, gates.MAXIMUM, rows=gates_rows)
    i, f, g, o = (lanes.gate(n) for n in range(4))
    cell, added = lanes("cell"), lanes("x")
    for gate in (i, f, o):
        gates.logistic(code, lanes, gate)
    gates.tanh(code, lanes, g, g)
    code.lanes("mul", cell, cell, f)
    code.lanes("rshr", cell, cell, 15)
    code.lanes("mul", added, i, g)
    code.lanes("rshr", added, added, 30 - k.cell_bits)
    code.lanes("add", cell, cell, added)
    gates.limit(code, cell)
    gates.tanh(code, lanes, cell, g, 15 - k.cell_bits)
    code.lanes("mul", g, o, g)
    q, e = k.output
    code.lanes("shl", g, g, max(e, 0))
    code.lanes("mulh32", g, g, q)
    code.lanes("rshr", g, g, max(-e, 0))
    code.lanes("add", lanes.hidden(), g, k.hidden_zero_point)
    code.lanes("copy", lanes.output(), lanes.hidden(), 0)


def _float_step(lanes: Lanes, code: VectorCode) -> None:
    """The shape of a float step, for timing."""
    total = lanes.product(0)
    code.lanes("add", total, total, lanes.product(1), rows=lanes.wide)
    code.lanes("add", total, total, total, rows=lanes.wide)
    i, f, g, o = (lanes.gate(n) for n in range(4))
    for gate in (i, f, o):
        code.lanes("sigmoid", gate, gate)
    code.lanes("tanh", g, g)
    cell = lanes("cell")
    code.lanes("mul", cell, cell, f)
    code.lanes("mul", g, i, g)
    code.lanes("add", cell, cell, g)
    code.lanes("tanh", g, cell)
    code.lanes("mul", lanes.hidden(), o, g)
    code.lanes("copy", lanes.output(), lanes.hidden())


def _store(s: Steps) -> Tree:
    rows = Expr(0, (("b", s.rows),))
    stores: list[Op] = []
    line = s.steps * s.hidden * s.size
    lanes = Lanes(s)
    places = ((s.at("output"), line), (lanes.last(0).at, s.hidden * s.size), (lanes.last(1).at, s.hidden * 2))
    for tensor, (near, width) in zip(s.node.outputs, places, strict=True):
        if tensor in s.context.addresses:
            stores.append(
                op(
                    ST, far=Expr(s.context.addresses[tensor]), near=near, box2=s.rows, box3=width, limit2=s.batch,
                    limit3=width, far2=width, near2=width, c2=rows, level=s.context.level(tensor),
                )
            )  # fmt: skip
    done = sync(signal=((STORE, VECTOR),), releases=("output",))
    return nest(s.loops, (sync(wait=((VECTOR, STORE),)), *stores, done))
