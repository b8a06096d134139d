"""The vector unit's instructions for each op on one tile.

In: a kernel's nodes in order, and the tile's views. Out: Ops. The first node reads the accumulator (matmul kernels) or the
source tile; every later one reads what the node before it left, and its other input from a side buffer. Integer sequences
follow docs/arithmetic.md instruction for instruction; float sequences have the same shape and are for timing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from onchip.errors import NotSupported
from onchip.ir.graph import Node, Quantization
from onchip.ir.plan import Kernel
from onchip.isa.memory import ACC, I8
from onchip.lowering import rowwise
from onchip.lowering.code import Rows, VectorCode, View
from onchip.lowering.context import Context
from onchip.lowering.tree import Expr, Loop, Op
from onchip.lowering.weights import Stored
from onchip.numerics import quantize_multiplier
from onchip.ops.elementwise import ADD_LEFT_SHIFT, add_multipliers
from onchip.ops.requantizing import output_limits
from onchip.ops.types import Attributes


@dataclass(frozen=True, slots=True)
class Tile:
    """The views of one tile; `rows` is what is computed, `stored_rows` what is stored (fewer where pooling is fused)."""

    rows: Rows
    stored_rows: Rows
    sums: View | None
    source: View | None
    sides: tuple[View, ...]
    output: View
    scratch: Expr
    parameters: Expr
    tables: Expr
    type: int
    stored: Stored

    def scratch_tile(self, number: int) -> View:
        """Return the view of a scratch tile of the rows' shape."""
        b, p, q = self.rows.counts
        return self.rows.packed(self.scratch + number * b * p * q * self.rows.lanes, ACC, 1)

    def row_words(self, tiles: int) -> Expr:
        """Return where the words kept per row start: behind the scratch tiles."""
        b, p, q = self.rows.counts
        return self.scratch + tiles * b * p * q * self.rows.lanes


@dataclass(slots=True)
class Step:
    """One node on one tile: inputs `a` and `b`, output `d`, and the first scratch tile that is free."""

    node: Node
    context: Context
    kernel: Kernel
    tile: Tile
    code: VectorCode
    a: View
    b: View | None
    d: View
    free: int

    def attributes(self) -> Attributes:
        return Attributes(dict(self.node.attributes))

    def given(self, number: int = 0) -> Quantization:
        return self.context.quantization(self.node.inputs[number])

    @property
    def made(self) -> Quantization:
        return self.context.quantization(self.node.outputs[0])

    @property
    def rounding(self) -> str:
        return str(self.node.attribute("rounding", "single"))

    def limits(self) -> tuple[int, int]:
        return output_limits(str(self.node.attribute("activation", "none")), self.made)

    def scratch(self, number: int) -> View:
        return self.tile.scratch_tile(self.free + number)

    def scale_to(self, d: View, a: View, real: float, **extra: int) -> None:
        """d = clamp(a * real + zero point)."""
        multiplier, shift = quantize_multiplier(real)
        low, high = self.limits()
        self.code.requantize(
            d, a, multiplier=multiplier, shift=shift, rounding=self.rounding, zero_out=self.made.zero_point[0],
            low=low, high=high, **extra,
        )  # fmt: skip

    def window(self, body: Callable[[Expr], Op]) -> None:
        """Run one instruction for each tap of the kernel's window; `body` gets the tap's offset in the source tile."""
        shape, source = self.kernel.shape, self.tile.source
        assert source is not None
        size = shape.element_bytes
        line = source.strides[2] // shape.stride[1] if source.strides[2] else self.tile.rows.lanes * size
        height = source.strides[1] // shape.stride[0]
        offset = Expr(0, (("r", shape.dilation[0] * height), ("s", shape.dilation[1] * line)))
        inner = Loop("s", shape.window[1], (body(offset),))
        self.code.ops.append(Loop("r", shape.window[0], (inner,)))  # type: ignore[arg-type]


def tile_code(kernel: Kernel, context: Context, tile: Tile) -> list[Op]:
    """Return the instructions of all the kernel's nodes on one tile."""
    integer = tile.type == I8
    nodes = context.nodes(kernel)
    code = VectorCode(tile.rows)
    where: dict[str, View] = dict(zip(kernel.inputs[1:], tile.sides, strict=True))
    chain = tile.sums if tile.sums is not None else tile.scratch_tile(0)
    free = 0 if tile.sums is not None else int(len(nodes) > 1)
    first = tile.sums if tile.sums is not None else tile.source
    for number, node in enumerate(nodes):
        last = number == len(nodes) - 1
        inputs = [where[name] for name in node.inputs if name in where]
        a = first if number == 0 and first is not None else inputs.pop(0)
        if number > 0 or tile.sums is None:
            inputs = [where[name] for name in node.inputs if name in where][1 - (number == 0 and first is not None) :]
        d = tile.output if last else chain
        step = Step(node, context, kernel, tile, code, a, inputs[0] if inputs else None, d, free)
        emit = (INTEGER if integer else FLOAT).get(node.op)
        if emit is None:
            raise NotSupported("OC1305", node.name, f"op '{node.op}' has no instruction sequence for this dtype")
        emit(step)
        if node.op in POOLS and number > 0:
            code.rows = tile.stored_rows
        where[node.outputs[0]] = d
    return code.ops


POOLS = ("max_pool2d",)


def source_fill(kernel: Kernel, context: Context) -> int:
    """Return the byte that stands outside the source tensor: its zero point, or the lowest value for a maximum."""
    node = context.graph.node(kernel.nodes[0])
    if kernel.shape.element_bytes != 1:
        return 0
    if node.op == "max_pool2d":
        return -128
    return context.quantization(node.inputs[0]).zero_point[0]


def _accumulated(step: Step) -> None:
    low, high = step.limits()
    step.code.requantize(
        step.d, step.a, table=step.tile.parameters, rounding=step.rounding, zero_out=step.made.zero_point[0],
        low=low, high=high,
    )  # fmt: skip


def _conv(step: Step) -> None:
    if step.tile.sums is None:  # depthwise: one product per tap and channel on the vector lanes
        total = step.scratch(0)
        step.code.lanes("and", total, total, 0)
        source = step.tile.source
        assert source is not None
        taps = step.tile.parameters + step.tile.stored.offset("taps", step.tile.rows.lanes)
        lanes = step.tile.rows.lanes
        width = step.kernel.shape.window[1]

        def body(offset: Expr) -> Op:
            weights = View(step.tile.type, taps + Expr(0, (("r", width * lanes), ("s", lanes))))
            single = VectorCode(step.tile.rows)
            single.lanes("mac", total, source.moved(offset), weights)
            return single.ops[0]

        step.window(body)
        step = replace(step, a=total)
    _accumulated(step)


def _sum(sign: str) -> Callable[[Step], None]:
    def emit(step: Step) -> None:
        assert step.b is not None
        pa, pb = _pair(step)
        ma, mb, my = add_multipliers(pa, pb, step.made)
        left, right = step.scratch(0), step.scratch(1)
        wide = {"low": -(2**31), "high": 2**31 - 1, "left": ADD_LEFT_SHIFT, "rounding": step.rounding}
        step.code.requantize(left, step.a, multiplier=ma[0], shift=ma[1], zero_in=pa.zero_point[0], **wide)  # type: ignore[arg-type]
        step.code.requantize(right, step.b, multiplier=mb[0], shift=mb[1], zero_in=pb.zero_point[0], **wide)  # type: ignore[arg-type]
        step.code.lanes(sign, left, left, right)
        low, high = step.limits()
        step.code.requantize(
            step.d, left, multiplier=my[0], shift=my[1], rounding=step.rounding, zero_out=step.made.zero_point[0],
            low=low, high=high,
        )  # fmt: skip

    return emit


def _pair(step: Step) -> tuple[Quantization, Quantization]:
    """Return the quantizations of `a` and `b`; the sum's sides may stand in either order."""
    return step.given(0), step.given(1)


def _product(step: Step) -> None:
    assert step.b is not None
    pa, pb = _pair(step)
    left, right = step.scratch(0), step.scratch(1)
    step.code.lanes("sub", left, step.a, pa.zero_point[0])
    step.code.lanes("sub", right, step.b, pb.zero_point[0])
    step.code.lanes("mul", left, left, right)
    step.scale_to(step.d, left, pa.scale[0] * pb.scale[0] / step.made.scale[0])


def _table(step: Step) -> None:
    step.code.look_up(step.d, step.a, step.tile.tables + step.tile.stored.table_offset(step.node.name), 128)


def _rescale(step: Step) -> None:
    step.scale_to(step.d, step.a, step.given().scale[0] / step.made.scale[0], zero_in=step.given().zero_point[0])


def _copy(step: Step) -> None:
    if step.given() != step.made:
        _rescale(step)
    else:
        step.code.lanes("copy", step.d, step.a, 0)


def _clamp(step: Step) -> None:
    zero, scale = step.given().zero_point[0], step.given().scale[0]
    if step.given() != step.made:
        low, high = (max(-128, step.made.zero_point[0]), 127) if step.node.op.startswith("relu") else (-128, 127)
        multiplier, shift = quantize_multiplier(scale / step.made.scale[0])
        step.code.requantize(
            step.d, step.a, multiplier=multiplier, shift=shift, zero_in=zero, zero_out=step.made.zero_point[0],
            low=low, high=high, rounding=step.rounding,
        )  # fmt: skip
        return
    low = (
        zero
        if step.node.op.startswith("relu")
        else round(max(float(step.node.attribute("low", 0.0)) / scale + zero, -128))
    )  # type: ignore[arg-type]
    step.code.lanes("max", step.d, step.a, max(-128, low))
    if step.node.op == "relu6":
        step.code.lanes("min", step.d, step.d, min(127, zero + int(6.0 / scale + 0.5)))
    elif step.node.op == "clip":
        step.code.lanes("min", step.d, step.d, round(min(float(step.node.attribute("high", 0.0)) / scale + zero, 127)))  # type: ignore[arg-type]


def _max_pool(step: Step) -> None:
    if step.tile.sums is not None or step.a is not step.tile.source:
        _fused_max_pool(step)
        return
    source, lowest = step.tile.source, -128
    step.code.lanes("and", step.d, step.d, 0)
    step.code.lanes("min", step.d, step.d, lowest)

    def body(offset: Expr) -> Op:
        single = VectorCode(step.tile.rows)
        assert source is not None
        single.lanes("max", step.d, step.d, source.moved(offset))
        return single.ops[0]

    step.window(body)


def _fused_max_pool(step: Step) -> None:
    """The window's elements lie in the accumulator: rows (p, q) of the tile, pooled ph x pw."""
    ph, pw = step.kernel.shape.pool
    b, p, q = step.a.strides
    rows = step.tile.stored_rows
    view = replace(step.a, strides=(b, p * ph, q * pw))
    for i in range(ph):
        for j in range(pw):
            tap = view.moved(i * p + j * q)
            if i == j == 0:
                step.code.lanes("copy", step.d, tap, 0, rows=rows)
            else:
                step.code.lanes("max", step.d, step.d, tap, rows=rows)


def _window_sum(step: Step) -> View:
    """Sum the window into a scratch tile, minus the zero points."""
    total, source = step.scratch(0), step.tile.source
    assert source is not None
    shape = step.kernel.shape
    step.code.lanes("and", total, total, 0)

    def body(offset: Expr) -> Op:
        single = VectorCode(step.tile.rows)
        single.lanes("add", total, total, source.moved(offset))
        return single.ops[0]

    step.window(body)
    step.code.lanes("sub", total, total, step.given().zero_point[0] * shape.window[0] * shape.window[1])
    return total


def _mean(step: Step) -> None:
    count = step.kernel.shape.window[0] * step.kernel.shape.window[1]
    step.scale_to(step.d, _window_sum(step), step.given().scale[0] / count / step.made.scale[0])


def _avg_pool(step: Step) -> None:
    """Divide by the count, halves away from zero: (|x| + count // 2) * ceil(2**s / count) >> s, exact for these sizes."""
    count = step.kernel.shape.window[0] * step.kernel.shape.window[1]
    total, size, sign = _window_sum(step), step.scratch(1), step.scratch(2)
    zero = step.made.zero_point[0]
    bits = (255 * count + count // 2).bit_length()
    shift = 30 - bits + count.bit_length() - 1
    magic = -(-(1 << shift) // count)
    step.code.lanes("mul", size, total, -1)
    step.code.lanes("max", size, total, size)
    step.code.lanes("add", size, size, count // 2)
    step.code.lanes("mul", size, size, magic)
    step.code.lanes("sra", size, size, shift)
    step.code.lanes("gt", sign, total, 0)
    step.code.lanes("shl", sign, sign, 1)
    step.code.lanes("sub", sign, sign, 1)
    step.code.lanes("mul", size, size, sign)
    step.code.requantize(step.d, size, multiplier=1 << 30, shift=1, zero_out=zero)


INTEGER: dict[str, Callable[[Step], None]] = {
    "conv2d": _conv,
    "linear": _accumulated,
    "add": _sum("add"),
    "sub": _sum("sub"),
    "mul": _product,
    "relu": _clamp,
    "relu6": _clamp,
    "clip": _clamp,
    "sigmoid": _table,
    "tanh": _table,
    "gelu": _table,
    "silu": _table,
    "max_pool2d": _max_pool,
    "avg_pool2d": _avg_pool,
    "global_avg_pool": _mean,
    "mean": _mean,
    "softmax": rowwise.softmax,
    "layer_norm": rowwise.layer_norm,
    "requantize": _rescale,
    "identity": _copy,
    "slice": _copy,
    "gather": _copy,
    "concat": _copy,
    "transpose": _copy,
}


def _float_unary(name: str) -> Callable[[Step], None]:
    def emit(step: Step) -> None:
        step.code.lanes(name, step.d, step.a, 0)

    return emit


def _float_binary(name: str) -> Callable[[Step], None]:
    def emit(step: Step) -> None:
        step.code.lanes(name, step.d, step.a, step.b if step.b is not None else 0)

    return emit


def _float_conv(step: Step) -> None:
    if step.tile.sums is not None:
        step.code.lanes("add", step.d, step.a, View(step.tile.type, step.tile.parameters))
        return
    total, source = step.scratch(0), step.tile.source
    assert source is not None

    def body(offset: Expr) -> Op:
        single = VectorCode(step.tile.rows)
        single.lanes("mac", total, source.moved(offset), View(step.tile.type, step.tile.parameters))
        return single.ops[0]

    step.window(body)
    step.code.lanes("add", step.d, total, View(step.tile.type, step.tile.parameters))


def _float_window(name: str) -> Callable[[Step], None]:
    def emit(step: Step) -> None:
        if step.a is not step.tile.source:
            _fused_max_pool(step)
            return
        source = step.a

        def body(offset: Expr) -> Op:
            single = VectorCode(step.tile.rows)
            single.lanes(name, step.d, step.d, source.moved(offset))
            return single.ops[0]

        step.window(body)

    return emit


FLOAT: dict[str, Callable[[Step], None]] = {
    "conv2d": _float_conv,
    "linear": _float_conv,
    **{name: _float_binary(name) for name in ("add", "sub", "mul")},
    **{name: _float_unary("max") for name in ("relu", "relu6", "clip")},
    **{name: _float_unary(name) for name in ("sigmoid", "tanh", "gelu", "silu")},
    **{name: _float_unary("copy") for name in ("identity", "slice", "gather", "concat", "transpose", "requantize")},
    "max_pool2d": _float_window("max"),
    **{name: _float_window("add") for name in ("avg_pool2d", "global_avg_pool", "mean")},
    "softmax": rowwise.float_softmax,
    "layer_norm": rowwise.float_layer_norm,
}
