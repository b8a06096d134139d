"""What the vector unit does in a recurrent kernel: LSTM, GRU and plain RNN, in integers and in floats.

In: the kernel's Steps. Out: `cell_of`: the parameters' bytes, and the instructions before the first step, in each step
(two parts where a product stands between them) and behind the last one. Integers follow ops/rowwise.lstm_cell and
ops/gru_int8 one for one; LSTM rounds its products twice (LiteRT), which is a high multiply and a rounding shift, GRU
and RNN once. Past its length a sequence keeps its state: the old one is taken by a product with 0 or 1.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onchip.isa.memory import I32
from onchip.isa.vector import PARAMETER_BYTES
from onchip.lowering import gates
from onchip.lowering.cell import Cell, Ints
from onchip.lowering.code import VectorCode, View, float_bits
from onchip.lowering.context import as_bytes, attributes
from onchip.lowering.lanes import Lanes, Steps
from onchip.numerics import INT16_MAX, INT16_MIN
from onchip.ops.cells import GATES
from onchip.ops.gru_int8 import RELU_BITS, RELU_MAX, RecurrentConstants, recurrent_constants
from onchip.ops.rnn import lstm_constants_of
from onchip.ops.rowwise import LstmConstants


class Lstm(Cell):
    """Gates i, f, g, o; the cell in 16 bits (floats: float32)."""

    def constants(self) -> LstmConstants:
        return lstm_constants_of(self.given, self.made)

    def parameters(self) -> NDArray[np.uint8]:
        """Bias, multiplier, left and right shift of both products, eight lines of 4H words."""
        if not self.s.is_integer:
            return self.float_parameters()
        k, n = self.constants(), 4 * self.s.hidden
        zeros = (self.s.context.quantization(self.s.given(0)).zero_point[0], k.hidden_zero_point)
        lines: list[Ints] = []
        for i, (zero, q, e) in enumerate(zip(zeros, (k.input_q, k.hidden_q), (k.input_e, k.hidden_e), strict=True)):
            parts = (q, np.maximum(e, 0), np.maximum(-e, 0))
            lines += [self.bias(i, zero), *(np.broadcast_to(part, (n,)) for part in parts)]
        return as_bytes((np.stack(lines) & 0xFFFFFFFF).astype(np.uint32))

    def begin(self, code: VectorCode, lanes: Lanes) -> None:
        self.zero(code, lanes("cell"))
        if self.s.given(6):
            code.lanes("copy", lanes("cell"), lanes.given(1), 0)
        self.zero(code, lanes.hidden(), self.constants().hidden_zero_point if self.s.is_integer else 0)
        if self.s.given(5):
            code.lanes("copy", lanes.hidden(), lanes.given(0), 0)

    def step(self, code: VectorCode, lanes: Lanes) -> list[VectorCode]:
        i, f, g, o = (lanes.gate("x", n) for n in range(4))
        cell = lanes("new") if self.has_lengths else lanes("cell")
        if self.s.is_integer:
            self._integer(code, lanes, cell)
        else:
            self.add_biases(code, lanes, "x")
            self.add_biases(code, lanes, "h")
            total = lanes.product("x")
            code.lanes("add", total, total, lanes.product("h"), rows=lanes.wide("x"))
            for gate in (i, f, o):
                code.lanes("sigmoid", gate, gate)
            code.lanes("tanh", g, g)
            code.lanes("mul", cell, lanes("cell"), f)
            code.lanes("mul", g, i, g)
            code.lanes("add", cell, cell, g)
            code.lanes("tanh", g, cell)
            code.lanes("mul", g, o, g)
        self._write(code, lanes, cell, g)
        return [code]

    def _write(self, code: VectorCode, lanes: Lanes, cell: View, new: View) -> None:
        """Write the output and the states; in integers `new` has no zero point yet."""
        zero = self.constants().hidden_zero_point if self.s.is_integer else 0
        if not self.has_lengths:
            if self.s.is_integer:
                code.lanes("add", lanes.hidden(), new, zero)
            else:
                code.lanes("copy", lanes.hidden(), new, 0)
            code.lanes("copy", lanes.output(), lanes.hidden(), 0)
            return
        self.keep(code, lanes, cell, lanes("cell"))
        self.inside(code, lanes, new)
        if self.s.is_integer:
            code.lanes("add", new, new, zero)
            gates.limit8(code, new)
        code.lanes("copy", lanes.output(), new, 0)
        self.keep(code, lanes, new, lanes.hidden())

    def _integer(self, code: VectorCode, lanes: Lanes, cell: View) -> None:
        k = self.constants()
        total = lanes.product("x")
        for number, name in enumerate("xh"):
            self._scale(code, lanes, number, name)
        for d, a, b in ((total, total, None), (total, total, lanes.product("h"))):
            if b is not None:
                code.lanes("add", d, a, b, rows=lanes.wide("x"))
            code.lanes("max", d, d, gates.MINIMUM, rows=lanes.wide("x"))
            code.lanes("min", d, d, gates.MAXIMUM, rows=lanes.wide("x"))
        i, f, g, o = (lanes.gate("x", n) for n in range(4))
        added = lanes("x")
        for gate in (i, f, o):
            gates.logistic(code, lanes, gate)
        gates.tanh(code, lanes, g, g)
        code.lanes("mul", cell, lanes("cell"), f)
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

    def _scale(self, code: VectorCode, lanes: Lanes, number: int, name: str) -> None:
        product = lanes.product(name)
        for line, what in zip((0, 2, 1, 3), ("add", "shl", "mulh32", "rshr"), strict=True):
            words = View(I32, self.s.at("parameters") + (4 * number + line) * 16 * self.s.hidden)
            code.lanes(what, product, product, words, rows=lanes.wide(name))

    def finish(self, code: VectorCode, lanes: Lanes) -> None:
        code.lanes("copy", lanes.last(0), lanes.hidden(), 0)
        code.lanes("copy", lanes.last(1), lanes("cell"), 0)


class Single(Cell):
    """What GRU and RNN share: one state; products are rounded once by per-lane parameters."""

    is_relu = False

    def constants(self) -> RecurrentConstants:
        n = GATES[self.s.node.op] * self.s.hidden
        return recurrent_constants(self.given, self.made, n, is_relu=self.is_relu)

    def parameters(self) -> NDArray[np.uint8]:
        """Bias, multiplier and shift of each lane of both products."""
        if not self.s.is_integer:
            return self.float_parameters()
        k = self.constants()
        tables: list[Ints] = []
        for i, (zero, q, e) in enumerate(
            ((k.input_zero_point, k.input_q, k.input_e), (k.zero_point, k.hidden_q, k.hidden_e))
        ):
            tables.append(np.stack([self.bias(i, zero), q, e], axis=1))
        return as_bytes((np.concatenate(tables) & 0xFFFFFFFF).astype(np.uint32))

    def scale(self, code: VectorCode, lanes: Lanes, product: str, lane: int = 0, limit: int = INT16_MAX) -> None:
        """Bring a product's sums to the gates' scale, saturated; its parameters start at a lane."""
        at = lane + (product != "x") * GATES[self.s.node.op] * self.s.hidden
        table = self.s.at("parameters") + PARAMETER_BYTES * at
        sums = lanes.product(product)
        code.requantize(sums, sums, table=table, low=-limit - 1, high=limit, rows=lanes.wide(product))

    def narrow(self, code: VectorCode, d: View, a: View) -> None:
        """d = the int8 form of a state in Q0.15 (floats: rounded by the write)."""
        if not self.s.is_integer:
            code.lanes("copy", d, a, 0)
            return
        k = self.constants()
        code.requantize(d, a, multiplier=k.output[0], shift=k.output[1], zero_out=k.zero_point)

    def sum16(self, code: VectorCode, d: View, a: View, b: View) -> None:
        code.lanes("add", d, a, b)
        gates.limit(code, d)

    def finish(self, code: VectorCode, lanes: Lanes) -> None:
        code.lanes("copy", lanes.last(0), lanes.hidden(), 0)


class Gru(Single):
    """Gates r, z, n; the state in Q0.15 (floats: float32) between the steps."""

    @property
    def is_linear(self) -> bool:
        return attributes(self.s.node).flag("linear_before_reset")

    def begin(self, code: VectorCode, lanes: Lanes) -> None:
        state = lanes("state")
        self.zero(code, state)
        if self.s.given(5) and self.s.is_integer:
            k = self.constants()
            code.requantize(
                state, lanes.given(0), zero_in=k.zero_point, multiplier=k.state[0], shift=k.state[1], low=INT16_MIN,
                high=INT16_MAX,
            )  # fmt: skip
        elif self.s.given(5):
            code.lanes("copy", state, lanes.given(0), 0)
        self.narrow(code, lanes.hidden(), state)

    def step(self, code: VectorCode, lanes: Lanes) -> list[VectorCode]:
        r, z, n = (lanes.gate("x", i) for i in range(3))
        emit = self._integer if self.s.is_integer else self._float
        parts = emit(code, lanes, r, z, n)
        self._write(parts[-1], lanes, n)
        return parts

    def _write(self, code: VectorCode, lanes: Lanes, new: View) -> None:
        if not self.has_lengths:
            code.lanes("copy", lanes("state"), new, 0)
            self.narrow(code, lanes.hidden(), new)
            code.lanes("copy", lanes.output(), lanes.hidden(), 0)
            return
        self.inside(code, lanes, new)
        self.narrow(code, lanes.output(), new)
        self.keep(code, lanes, new, lanes("state"))
        self.narrow(code, lanes.hidden(), lanes("state"))

    def _integer(self, code: VectorCode, lanes: Lanes, r: View, z: View, n: View) -> list[VectorCode]:
        parts, state, inner = [code], lanes("state"), lanes.gate("h", 2)
        self.scale(code, lanes, "x")
        self.scale(code, lanes, "h")
        for number, gate in enumerate((r, z)):
            self.sum16(code, gate, gate, lanes.gate("h", number))
            gates.logistic(code, lanes, gate)
        if self.is_linear:
            code.lanes("mul", inner, inner, r)
            code.lanes("rshr", inner, inner, 15)
        else:
            code.lanes("mul", r, r, state)
            code.lanes("rshr", r, r, 15)
            self.narrow(code, lanes.reset(), r)
            code, inner = VectorCode(lanes.rows), lanes.product("c")
            parts.append(code)
            self.scale(code, lanes, "c", lane=2 * self.s.hidden)
        self.sum16(code, n, n, inner)
        gates.tanh(code, lanes, n, n)
        code.lanes("mul", r, z, state)
        code.lanes("mul", z, z, -1)
        code.lanes("add", z, z, 1 << 15)
        code.lanes("mul", n, n, z)
        code.lanes("add", n, n, r)
        code.lanes("rshr", n, n, 15)
        gates.limit(code, n)
        return parts

    def _float(self, code: VectorCode, lanes: Lanes, r: View, z: View, n: View) -> list[VectorCode]:
        parts, state, inner = [code], lanes("state"), lanes.gate("h", 2)
        self.add_biases(code, lanes, "x")
        self.add_biases(code, lanes, "h")
        for number, gate in enumerate((r, z)):
            code.lanes("add", gate, gate, lanes.gate("h", number))
            code.lanes("sigmoid", gate, gate)
        if self.is_linear:
            code.lanes("mul", inner, inner, r)
        else:
            code.lanes("mul", lanes.reset(), r, state)
            code, inner = VectorCode(lanes.rows), lanes.product("c")
            parts.append(code)
            self.add_biases(code, lanes, "c", lane=2 * self.s.hidden)
        code.lanes("add", n, n, inner)
        code.lanes("tanh", n, n)
        code.lanes("mul", r, z, state)
        code.lanes("mul", z, z, float_bits(-1.0))
        code.lanes("add", z, z, float_bits(1.0))
        code.lanes("mul", n, n, z)
        code.lanes("add", n, n, r)
        return parts


class Rnn(Single):
    """One gate; the state is the output."""

    @property
    def is_relu(self) -> bool:  # type: ignore[override]
        return attributes(self.s.node).text("activation") == "relu"

    def begin(self, code: VectorCode, lanes: Lanes) -> None:
        self.zero(code, lanes.hidden(), self.constants().zero_point if self.s.is_integer else 0)
        if self.s.given(5):
            code.lanes("copy", lanes.hidden(), lanes.given(0), 0)

    def step(self, code: VectorCode, lanes: Lanes) -> list[VectorCode]:
        total, other = lanes.product("x"), lanes.product("h")
        if not self.s.is_integer:
            self.add_biases(code, lanes, "x")
            self.add_biases(code, lanes, "h")
            code.lanes("add", total, total, other)
            code.lanes("max" if self.is_relu else "tanh", total, total, 0)
        elif self.is_relu:
            self.scale(code, lanes, "x", limit=RELU_MAX)
            self.scale(code, lanes, "h", limit=RELU_MAX)
            code.lanes("add", total, total, other)
            code.lanes("max", total, total, 0)
            code.lanes("rshr", total, total, RELU_BITS)
        else:
            self.scale(code, lanes, "x")
            self.scale(code, lanes, "h")
            self.sum16(code, total, total, other)
            gates.tanh(code, lanes, total, total)
        self._write(code, lanes, total)
        return [code]

    def _write(self, code: VectorCode, lanes: Lanes, new: View) -> None:
        """Turn the new state into int8, and write it."""
        self.inside(code, lanes, new)
        if self.s.is_integer and self.is_relu:
            code.lanes("add", new, new, self.constants().zero_point)
            gates.limit8(code, new)
        elif self.s.is_integer:
            self.narrow(code, new, new)
        code.lanes("copy", lanes.output(), new, 0)
        self.keep(code, lanes, new, lanes.hidden())


CELLS: dict[str, Callable[[Steps], Any]] = {"lstm": Lstm, "gru": Gru, "rnn": Rnn}


def cell_of(s: Steps) -> Cell:
    """Return the cell of a kernel."""
    return CELLS[s.node.op](s)
