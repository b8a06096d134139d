"""An LSTM, GRU or plain RNN as one kernel: one step after the other, weights in local memory where they fit.

In: a Kernel of kind recurrent. Out: the four streams' trees. Each step the matrix unit makes the products of the input
and of the hidden state (ops/cells.py), the vector unit applies the gates (cells.py) and writes the hidden state where
the next product reads it. A product whose weights do not stay has them loaded in blocks of columns, each step again.
The sequence stands in local memory as a whole, or one step at a time (the mapping's tp).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from onchip.ir.plan import Kernel, ceil_div
from onchip.isa import LD, LOAD, MATRIX, MM, ST, STORE, VECTOR, WLD
from onchip.isa.machine import columns, depth, machine_of
from onchip.lowering.cells import cell_of
from onchip.lowering.code import NOTHING
from onchip.lowering.context import Context, Lowered, attributes
from onchip.lowering.lanes import Lanes, Steps
from onchip.lowering.tree import Expr, Loop, Op, Tree, nest, op, sync
from onchip.ops.cells import Product, products


@dataclass(frozen=True, slots=True)
class Weights:
    """A product with its stored weights: blocks of `wide` columns, one behind the other from `far` on."""

    product: Product
    wide: int
    far: int

    @property
    def blocks(self) -> int:
        return ceil_div(self.product.columns, self.wide)

    @property
    def buffer(self) -> str:
        return f"weights.{self.product.name}"


def lower_recurrent(kernel: Kernel, context: Context) -> Lowered:
    """Return the code of a recurrent kernel."""
    batch, steps, features, hidden = kernel.shape.extra
    node = context.graph.node(kernel.nodes[0])
    m = kernel.mapping
    s = Steps(kernel, context, node, batch, steps, features, hidden, m.tb, is_whole=m.tp == steps)
    stored = [_stored(s, product) for product in products(node.op, attributes(node), features)]
    trees = (_load(s, stored), _matrix(s, stored), _vector(s, len(stored)), _store(s))
    return Lowered(trees, {b.name: b.slots for b in kernel.buffers})


def _stored(s: Steps, product: Product) -> Weights:
    """Store a product's weights [columns, K] as [block, K, wide], zeros behind the last column."""
    resident = s.kernel.buffer(f"weights.{product.name}").slots == 1
    wide = product.columns if resident else min(s.kernel.mapping.tc, product.columns)
    blocks = ceil_div(product.columns, wide)

    def build() -> NDArray[np.uint8]:
        rows = s.context.array(s.given(product.weight))[product.first : product.first + product.columns]
        padded = np.zeros((blocks * wide, product.k), rows.dtype)
        padded[: product.columns] = rows
        return s.stored(padded.reshape(blocks, wide, product.k).swapaxes(1, 2))

    n_bytes = blocks * wide * product.k * s.size
    return Weights(product, wide, s.context.constant(f"{s.kernel.name}.weights.{product.name}", n_bytes, build))


# --- LOAD -------------------------------------------------------------------------------------------------------------


def _load(s: Steps, stored: list[Weights]) -> Tree:
    n_parameters = s.parameter_bytes
    far = s.context.constant(f"{s.kernel.name}.parameters", n_parameters, cell_of(s).parameters)
    whole = [w for w in stored if not s.is_streamed(w.buffer)]
    first: list[Op] = []
    if whole:
        first += _filled(MATRIX, [_load_weights(s, w) for w in whole], tuple(w.buffer for w in whole))
    load = op(LD, far=Expr(far), near=s.at("parameters"), box3=n_parameters, limit3=n_parameters)
    first += _filled(VECTOR, [load], ("parameters",))
    states = [_load_rows(s, tensor, s.at(buffer), width) for buffer, tensor, width in s.states]
    before = _filled(VECTOR, states, tuple(buffer for buffer, _, _ in s.states)) if states else []
    given = _filled(MATRIX, [_load_input(s)], ("input",))
    streamed = tuple(_load_block(s, w) for w in stored if s.is_streamed(w.buffer))
    blocks = tuple(node for tree in streamed for node in tree)
    inner = nest([("t", s.steps)], blocks if s.is_whole else (*given, *blocks)) if blocks or not s.is_whole else ()
    return (*first, *nest(s.loops, (*before, *(given if s.is_whole else []), *inner)))


def _filled(reader: int, loads: list[Op], buffers: tuple[str, ...]) -> list[Op]:
    return [sync(wait=((reader, LOAD),), fills=buffers), *loads, sync(signal=((LOAD, reader),))]


def _load_weights(s: Steps, w: Weights) -> Op:
    n_bytes = w.wide * w.product.k * s.size
    return op(LD, far=Expr(w.far, (("w", n_bytes),)), near=s.at(w.buffer), box3=n_bytes, limit3=n_bytes)


def _load_block(s: Steps, w: Weights) -> Tree:
    near = s.at(w.buffer, ("t", s.steps), ("w", w.blocks))
    n_bytes = w.wide * w.product.k * s.size
    load = op(LD, far=Expr(w.far, (("w", n_bytes),)), near=near, box3=n_bytes, limit3=n_bytes)
    return nest([("w", w.blocks)], tuple(_filled(MATRIX, [load], (w.buffer,))))


def _load_input(s: Steps) -> Op:
    tensor, line = s.given(0), s.features * s.size
    width = s.steps * line if s.is_whole else line
    return op(
        LD, far=Expr(s.context.addresses[tensor]), near=s.input_at(), box2=s.rows, box3=width, limit2=s.batch,
        limit3=s.steps * line, far2=s.steps * line, near2=width, c2=Expr(0, (("b", s.rows),)),
        c3=Expr() if s.is_whole else s.time(line), level=s.context.level(tensor),
    )  # fmt: skip


def _load_rows(s: Steps, tensor: str, near: Expr, width: int) -> Op:
    return op(
        LD, far=Expr(s.context.addresses[tensor]), near=near, box2=s.rows, box3=width, limit2=s.batch, limit3=width,
        far2=width, near2=width, c2=Expr(0, (("b", s.rows),)), level=s.context.level(tensor),
    )  # fmt: skip


# --- MATRIX -----------------------------------------------------------------------------------------------------------


def _matrix(s: Steps, stored: list[Weights]) -> Tree:
    given = (sync(wait=((LOAD, MATRIX),)),)
    free = (sync(signal=((MATRIX, LOAD),), releases=("input",)),)
    step: list[Op | Loop] = [sync(wait=((VECTOR, MATRIX),))]
    step += [] if s.is_whole else given
    step += [*_product(s, stored[0]), *([] if s.is_whole else free), *_product(s, stored[1])]
    step.append(sync(signal=((MATRIX, VECTOR),)))
    if len(stored) == 3:
        step += [sync(wait=((VECTOR, MATRIX),)), *_product(s, stored[2]), sync(signal=((MATRIX, VECTOR),))]
    steps = nest([("t", s.steps)], tuple(step))
    last = (sync(wait=((VECTOR, MATRIX),)),)
    tile: Tree = (*given, *steps, *last, *free) if s.is_whole else (*steps, *last)
    whole = tuple(w.buffer for w in stored if not s.is_streamed(w.buffer))
    if not whole:
        return nest(s.loops, tile)
    return (*given, *nest(s.loops, tile), sync(signal=((MATRIX, LOAD),), releases=whole))


def _product(s: Steps, w: Weights) -> Tree:
    """Make one product, block by block where its weights are loaded for each step."""
    source, stride = s.source(w.product.name)
    if not s.is_streamed(w.buffer):
        return _folds(s, w, source, stride, s.at(w.buffer))
    body = (
        sync(wait=((LOAD, MATRIX),)),
        *_folds(s, w, source, stride, s.at(w.buffer, ("t", s.steps), ("w", w.blocks))),
        sync(signal=((MATRIX, LOAD),), releases=(w.buffer,)),
    )
    return nest([("w", w.blocks)], body)


def _folds(s: Steps, w: Weights, source: Expr, stride: int, weights: Expr) -> Tree:
    machine = machine_of(s.context.plan.chip, s.context.plan.dtype)
    k, total, n, size = w.product.k, w.product.columns, w.wide, s.size
    fold, wide = depth(machine) or k, columns(machine) or n
    k_left = Expr(k, (("kf", -fold),)) if k % fold else NOTHING
    n_left = Expr(total, (("nf", -wide), ("w", -n))) if total % n or n % wide else NOTHING
    if n % wide and w.blocks > 1:
        raise ValueError(f"{s.kernel.name}: blocks of {n} columns cut the array's {wide}")
    sums = s.sums(w.product.name) + Expr(0, (("nf", wide), ("w", n)))
    body = (
        op(
            WLD, source=weights + Expr(0, (("kf", fold * n * size), ("nf", wide * size))), k=min(fold, k),
            n=min(wide, n), pitch=n * size, type=s.type, k_left=k_left, n_left=n_left,
        ),
        op(
            MM, source=source, sums=sums, k_begin=Expr(0, (("kf", fold),)), rows0=s.rows, k=min(fold, k),
            n=min(wide, n), run_length=k, run_stride=k * size, source0=stride, sum0=total, type=s.type,
            first=("kf",), left0=s.left(), k_left=k_left, n_left=n_left,
        ),
    )  # fmt: skip
    return nest([("nf", ceil_div(n, wide)), ("kf", ceil_div(k, fold))], body)


# --- VECTOR and STORE -------------------------------------------------------------------------------------------------


def _vector(s: Steps, n_products: int) -> Tree:
    lanes = Lanes(s)
    cell = cell_of(s)
    free, done = (sync(wait=((STORE, VECTOR),), fills=("output",)),), (sync(signal=((VECTOR, STORE),)),)
    ready, go = sync(wait=((MATRIX, VECTOR),)), sync(signal=((VECTOR, MATRIX),))
    parts: list[Op | Loop] = [ready]
    for part in cell.steps(lanes):
        parts += [*part, go, ready]
    parts.pop()
    assert len([p for p in parts if p is go]) == n_products - 1
    step = tuple(parts) if s.is_whole else (parts[0], *free, *parts[1:-1], *done, parts[-1])
    start, end = cell.start(lanes), cell.end(lanes)
    last = (sync(wait=((STORE, VECTOR),), fills=("last",)),)
    states = bool(s.states)
    tile: Tree = (
        *((sync(wait=((STORE, VECTOR),), fills=("output", "last")),) if s.is_whole else ()),
        *((sync(wait=((LOAD, VECTOR),)),) if states else ()),
        *start,
        *((sync(signal=((VECTOR, LOAD),), releases=tuple(b for b, _, _ in s.states)),) if states else ()),
        go,
        *nest([("t", s.steps)], step),
        *(() if s.is_whole else last),
        *end,
        *done,
    )
    return (
        sync(wait=((LOAD, VECTOR),)),
        *nest(s.loops, tile),
        sync(signal=((VECTOR, LOAD),), releases=("parameters",)),
    )


def _store(s: Steps) -> Tree:
    wait, line = sync(wait=((VECTOR, STORE),)), s.hidden * s.size
    lanes = Lanes(s)
    last = [_store_rows(s, i + 1, lanes.last(i).at) for i in range(len(s.node.outputs) - 1)]
    y = _store_sequence(s, s.steps * line if s.is_whole else line)
    ends = tuple(o for o in last if o is not None)
    if s.is_whole:
        done = sync(signal=((STORE, VECTOR),), releases=("output", "last"))
        return nest(s.loops, (wait, *y, *ends, done))
    each = (wait, *y, sync(signal=((STORE, VECTOR),), releases=("output",)))
    done = sync(signal=((STORE, VECTOR),), releases=("last",))
    return nest(s.loops, (*nest([("t", s.steps)], each), wait, *ends, done))


def _store_sequence(s: Steps, width: int) -> Tree:
    tensor, line = s.node.outputs[0], s.hidden * s.size
    if tensor not in s.context.addresses:
        return ()
    return (
        op(
            ST, far=Expr(s.context.addresses[tensor]), near=s.output_at(), box2=s.rows, box3=width, limit2=s.batch,
            limit3=s.steps * line, far2=s.steps * line, near2=width, c2=Expr(0, (("b", s.rows),)),
            c3=Expr() if s.is_whole else s.time(line), level=s.context.level(tensor),
        ),
    )  # fmt: skip


def _store_rows(s: Steps, number: int, near: Expr) -> Op | None:
    tensor = s.node.outputs[number]
    if tensor not in s.context.addresses:
        return None
    width = s.hidden * s.state_size(number - 1)
    return op(
        ST, far=Expr(s.context.addresses[tensor]), near=near, box2=s.rows, box3=width, limit2=s.batch, limit3=width,
        far2=width, near2=width, c2=Expr(0, (("b", s.rows),)), level=s.context.level(tensor),
    )  # fmt: skip
