"""The mean over a whole image, a tile of channels at a time.

In: a Kernel of kind mean. Out: the four streams' trees; the matrix unit has none. Rows of the image are loaded piece by
piece and added into one accumulator row: the rows of one instruction are done in order, so all of a piece is one `add`
whose result does not move. The order of the sum does not matter in integers; the scale comes once, at the end.
"""

from __future__ import annotations

from onchip.ir.plan import Kernel, ceil_div
from onchip.isa import LD, LOAD, ST, STORE, VECTOR
from onchip.isa.memory import ACC
from onchip.lowering.code import NOTHING, Rows, VectorCode, View, float_bits
from onchip.lowering.context import TYPES, Context, Lowered
from onchip.lowering.step import Step, Tile
from onchip.lowering.tree import Expr, Tree, nest, op, sync
from onchip.lowering.weights import Stored


def lower_average(kernel: Kernel, context: Context) -> Lowered:
    """Return the code of a mean."""
    trees = _load(kernel, context), (), _vector(kernel, context), _store(kernel, context)
    return Lowered(trees, {b.name: b.slots for b in kernel.buffers}, kernel.mapping.cores)


def _loops(kernel: Kernel) -> list[tuple[str, int]]:
    """Image b, channel tile n, piece k of the image's rows."""
    (b, _, _, n), m = kernel.shape.grid, kernel.mapping
    tiles = ceil_div(ceil_div(n, m.tn), m.channel_cores)
    return [("b", ceil_div(b, m.batch_cores)), ("n", tiles), ("k", ceil_div(kernel.shape.window[0], m.tc))]


def _image(kernel: Kernel) -> Expr:
    cores = kernel.mapping.batch_cores
    return Expr(0, (("b", cores),), (0, 0, int(cores > 1)))


def _channel(kernel: Kernel, scale: int) -> Expr:
    """Return the first channel of the tile, times `scale`."""
    m = kernel.mapping
    return Expr(0, (("n", m.tn * m.channel_cores * scale),), (0, m.tn * scale if m.channel_cores > 1 else 0, 0))


def _slot(kernel: Kernel, name: str, level: int) -> Expr:
    """Return a buffer's address, alternating over the iterations of the first `level` loops."""
    b = kernel.buffer(name)
    double: list[str] = []
    inner = 1
    for loop, count in reversed(_loops(kernel)[:level]):
        if count > 1 and inner % 2:
            double.append(loop)
        inner *= count
    return Expr(b.address, double=tuple(double), slot=b.size) if b.slots == 2 and inner > 1 else Expr(b.address)


def _load(kernel: Kernel, context: Context) -> Tree:
    (b, h, w, c), size, m = kernel.shape.source, kernel.shape.element_bytes, kernel.mapping
    tensor, line = kernel.inputs[0], m.tn * size
    load = op(
        LD, far=Expr(context.addresses[tensor]), near=_slot(kernel, "source", 3), box1=m.tc, box2=w, box3=line,
        limit0=b, limit1=h, limit2=w, limit3=c * size, far0=h * w * c * size, far1=w * c * size, far2=c * size,
        near1=w * line, near2=line, c0=_image(kernel), c1=Expr(0, (("k", m.tc),)), c3=_channel(kernel, size),
        level=context.level(tensor),
    )  # fmt: skip
    asked = sync(wait=((VECTOR, LOAD),), fills=("source",))
    return nest(_loops(kernel), (asked, load, sync(signal=((LOAD, VECTOR),))))


def _vector(kernel: Kernel, context: Context) -> Tree:
    (_, h, w, _), m, size = kernel.shape.source, kernel.mapping, kernel.shape.element_bytes
    left = NOTHING if kernel.shape.grid[3] % (m.tn * m.channel_cores) == 0 else _left(kernel)
    rows_left = NOTHING if h % m.tc == 0 else Expr(h, (("k", -m.tc),))
    line = m.tn * size
    total = View(ACC, Expr(kernel.buffer("scratch").address))
    source = View(TYPES[context.plan.dtype], _slot(kernel, "source", 3), (0, w * line, line))
    first, piece = (
        VectorCode(Rows((1, 1, 1), m.tn, lanes_left=left)),
        VectorCode(Rows((1, m.tc, w), m.tn, (NOTHING, rows_left, NOTHING), left)),
    )
    first.lanes("and", total, total, 0)
    piece.lanes("add", total, total, source)
    add = (sync(wait=((LOAD, VECTOR),)), *piece.ops, sync(signal=((VECTOR, LOAD),), releases=("source",)))
    tile = (
        *first.ops,
        *nest(_loops(kernel)[2:], add),
        sync(wait=((STORE, VECTOR),), fills=("output",)),
        *_finish(kernel, context, first.rows, total),
        sync(signal=((VECTOR, STORE),)),
    )
    return nest(_loops(kernel)[:2], tile)


def _left(kernel: Kernel) -> Expr:
    return _channel(kernel, -1) + kernel.shape.grid[3]


def _finish(kernel: Kernel, context: Context, rows: Rows, total: View) -> Tree:
    """Divide the sum by the number of cells."""
    node, count, type_ = (
        context.nodes(kernel)[0],
        kernel.shape.window[0] * kernel.shape.window[1],
        TYPES[context.plan.dtype],
    )
    output = View(type_, _slot(kernel, "output", 2))
    code = VectorCode(rows)
    if not kernel.shape.is_integer:
        code.lanes("mul", output, total, float_bits(1 / count))
        return tuple(code.ops)
    tile = Tile(rows, rows, None, None, (), output, total.at, NOTHING, NOTHING, type_, Stored())
    step = Step(node, context, kernel, tile, code, total, None, output, 0)
    code.lanes("sub", total, total, step.given().zero_point[0] * count)
    step.scale_to(output, total, step.given().scale[0] / count)
    return tuple(code.ops)


def _store(kernel: Kernel, context: Context) -> Tree:
    (b, _, _, n), size, m, tensor = kernel.shape.grid, kernel.shape.element_bytes, kernel.mapping, kernel.output
    store = op(
        ST, far=Expr(context.addresses[tensor]), near=_slot(kernel, "output", 2), box3=m.tn * size, limit0=b,
        limit3=n * size, far0=n * size, c0=_image(kernel), c3=_channel(kernel, size), level=context.level(tensor),
        wait=((VECTOR, STORE),), signal=((STORE, VECTOR),), releases=("output",),
    )  # fmt: skip
    return nest(_loops(kernel)[:2], (store,))
