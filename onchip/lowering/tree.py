"""A kernel's code as a tree: named loops around instructions whose operands follow those loops by name.

In: what the templates of this room build. Out: flat instruction lists for the four streams, loops numbered by depth,
loops that the loop stack cannot hold unrolled, and the counts of the semaphores at the kernel's start.

`Expr` is an affine operand before its loops have numbers. `double` names the loops whose iterations, counted through,
alternate between two slots of a buffer. Credits: a buffer with n slots may be filled again once the filling n before it
was released; `initial_counts` finds the largest counts that keep this order (semaphores have one producer and one
consumer each, both in order, so the k-th wait passes after at least k - count signals).
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, field, fields, replace
from typing import Any

from onchip.errors import DoesNotFit, InternalError
from onchip.isa import LOOP, NOP, Affine, Instruction
from onchip.isa.fields import AFFINE_PARTS, LEVELS, SEMAPHORE
from onchip.isa.instructions import operand_names


@dataclass(frozen=True, slots=True)
class Expr:
    """base + sum(stride * index of the named loop) + cores + slot * parity(indices of the loops in `double`)."""

    base: int = 0
    strides: tuple[tuple[str, int], ...] = ()
    cores: tuple[int, int, int] = (0, 0, 0)
    double: tuple[str, ...] = ()
    slot: int = 0

    def __add__(self, other: Expr | int) -> Expr:
        if isinstance(other, int):
            return Expr(self.base + other, self.strides, self.cores, self.double, self.slot)
        merged = dict(self.strides)
        for name, stride in other.strides:
            merged[name] = merged.get(name, 0) + stride
        if self.slot and other.slot:
            raise InternalError("OC9010", "lowering", "two alternating slots in one operand")
        alternating = self if self.slot else other
        return Expr(
            self.base + other.base,
            tuple(sorted(merged.items())),
            (self.cores[0] + other.cores[0], self.cores[1] + other.cores[1], self.cores[2] + other.cores[2]),
            alternating.double,
            alternating.slot,
        )

    def times(self, factor: int) -> Expr:
        """Return a multiple of an operand without slots."""
        strides = tuple((name, stride * factor) for name, stride in self.strides)
        rows, channels, batch = self.cores
        return Expr(self.base * factor, strides, (rows * factor, channels * factor, batch * factor))

    def at(self, name: str, index: int) -> Expr:
        """Return the operand with one loop's index put in."""
        if name not in self.double and all(n != name for n, _ in self.strides):
            return self
        base = self.base + sum(stride * index for n, stride in self.strides if n == name)
        slot, double = self.slot, tuple(n for n in self.double if n != name)
        if name in self.double and index % 2:
            base, slot = base + slot, -slot
        return Expr(base, tuple((n, s) for n, s in self.strides if n != name), self.cores, double, slot)

    def without(self, names: tuple[str, ...]) -> Expr:
        """Return the operand at index 0 of each of the loops."""
        strides = tuple(pair for pair in self.strides if pair[0] not in names)
        double = tuple(n for n in self.double if n not in names) if self.double else ()
        if len(strides) == len(self.strides) and len(double) == len(self.double):
            return self
        return Expr(self.base, strides, self.cores, double, self.slot)

    def later(self, name: str) -> Expr:
        """Return the operand as it is one iteration of the named loop later."""
        base = self.base + sum(stride for n, stride in self.strides if n == name)
        if name in self.double:
            return Expr(base + self.slot, self.strides, self.cores, self.double, -self.slot)
        return replace(self, base=base)

    def affine(self, levels: tuple[str, ...]) -> Affine:
        """Return the operand with loops numbered by their depth; loops that are not open count as index 0."""
        strides = [0] * LEVELS
        for name, stride in self.strides:
            if name in levels:
                strides[levels.index(name)] += stride
        toggle = sum(1 << levels.index(n) for n in self.double if n in levels)
        slot = self.slot if toggle else 0
        return Affine(self.base, (strides[0], strides[1], strides[2], strides[3]), self.cores, toggle, slot)


@dataclass(frozen=True, slots=True)
class Op:
    """One instruction: its class, its fields (numbers or operands), and what it waits for, signals, fills and releases.

    `wait` and `signal` are pairs of streams (signaller, waiter). `fills` are the buffers whose slot the wait makes
    free, `releases` those that the signal gives back; an op that fills waits for nothing else.
    """

    kind: type[Instruction]
    fields: tuple[tuple[str, int | Expr], ...] = ()
    wait: tuple[tuple[int, int], ...] = ()
    signal: tuple[tuple[int, int], ...] = ()
    fills: tuple[str, ...] = ()
    releases: tuple[str, ...] = ()
    first: tuple[str, ...] = ()
    sub: int = 0


@dataclass(frozen=True, slots=True)
class Loop:
    """`body` once for each index of the named loop."""

    name: str
    count: int
    body: tuple[Op | Loop, ...]


Tree = tuple[Op | Loop, ...]


def op(kind: type[Instruction], **fields: Any) -> Op:
    """Build an Op; keywords that are not fields of the instruction are the Op's own."""
    own = {k: fields.pop(k) for k in ("wait", "signal", "fills", "releases", "first", "sub") if k in fields}
    return Op(kind, tuple(sorted(fields.items())), **own)


def sync(**how: Any) -> Op:
    return op(NOP, **how)


def nest(loops: list[tuple[str, int]], body: Tree) -> Tree:
    """Wrap `body` in loops, outermost first; loops of one iteration vanish."""
    names = tuple(name for name, count in loops if count == 1)
    body = tuple(_at_first(node, names) for node in body) if names else body
    for name, count in reversed(loops):
        body = (Loop(name, count, body),) if count != 1 else body
    return body


def _at_first(node: Op | Loop, names: tuple[str, ...]) -> Op | Loop:
    """Return the code with index 0 put in for each of the loops: what they add vanishes."""
    if isinstance(node, Loop):
        return Loop(node.name, node.count, tuple(_at_first(child, names) for child in node.body))
    fields = tuple((k, v.without(names) if isinstance(v, Expr) else v) for k, v in node.fields)
    first = tuple(n for n in node.first if n not in names) if node.first else ()
    return Op(node.kind, fields, node.wait, node.signal, node.fills, node.releases, first, node.sub)


def put(node: Op | Loop, name: str, index: int) -> Op | Loop:
    """Return the code with the named loop's index put in."""
    if isinstance(node, Loop):
        return Loop(node.name, node.count, tuple(put(child, name, index) for child in node.body))
    fields = tuple((k, v.at(name, index) if isinstance(v, Expr) else v) for k, v in node.fields)
    first, sub = node.first, node.sub
    if name in first:
        first = tuple(n for n in first if n != name)
        sub = 1 if index else sub
    return Op(node.kind, fields, node.wait, node.signal, node.fills, node.releases, first, sub)


def later(tree: Tree, name: str) -> Tree:
    """Return the code as it is one iteration of the named loop later; nothing in it may ask for the first one."""
    return tuple(_later(node, name) for node in tree)


def _later(node: Op | Loop, name: str) -> Op | Loop:
    if isinstance(node, Loop):
        return replace(node, body=later(node.body, name))
    assert name not in node.first
    return replace(node, fields=tuple((k, v.later(name) if isinstance(v, Expr) else v) for k, v in node.fields))


def flatten(tree: Tree, levels: tuple[str, ...] = ()) -> list[Instruction]:
    """Return the instructions in order, loops before their bodies; loops below the stack's depth are unrolled."""
    out: list[Instruction] = []
    for node in tree:
        if isinstance(node, Op):
            out.append(_instruction(node, levels))
        elif len(levels) == LEVELS:
            for index in range(node.count):
                out += flatten(tuple(put(child, node.name, index) for child in node.body), levels)
        else:
            body = flatten(node.body, (*levels, node.name))
            out += [LOOP(count=node.count, body=len(body)), *body]
    return out


REST = (0,) * (AFFINE_PARTS - 1)  # of an affine operand that is a number
Row = tuple[tuple[int, int, int, int], list[int], list[int]]


def rows_of(tree: Tree, levels: tuple[str, ...] = ()) -> list[Row]:
    """Return what `isa.fields.pack_rows` takes of the instructions of `flatten`, in their order."""
    out: list[Row] = []
    for node in tree:
        if isinstance(node, Op):
            out.append(_row(node, levels))
        elif len(levels) == LEVELS:
            for index in range(node.count):
                out += rows_of(tuple(put(child, node.name, index) for child in node.body), levels)
        else:
            body = rows_of(node.body, (*levels, node.name))
            out += [((LOOP.OP, 0, 0, 0), [node.count, len(body)], []), *body]
    return out


@functools.cache
def _layout(kind: type[Instruction]) -> tuple[tuple[tuple[str, int], ...], tuple[str, ...], frozenset[str]]:
    """Return the plain fields with their defaults, the affine ones, and all names."""
    integers, affines = operand_names(kind)
    defaults: dict[str, Any] = {f.name: f.default for f in fields(kind)}
    return tuple((n, int(defaults[n])) for n in integers), affines, frozenset((*integers, *affines))


def _row(node: Op, levels: tuple[str, ...]) -> Row:
    integers, affines, names = _layout(node.kind)
    values = dict(node.fields)
    if node.first:
        values["first"] = sum(1 << levels.index(n) for n in node.first if n in levels)
    assert values.keys() <= names, values.keys() - names
    plain = [v.base if isinstance(v := values.get(n, default), Expr) else v for n, default in integers]
    parts: list[int] = []
    for name in affines:
        value = values.get(name, 0)
        parts += value.affine(levels).row() if isinstance(value, Expr) else (value, *REST)
    return (node.kind.OP, _mask(node.wait), _mask(node.signal), node.sub), plain, parts


def _instruction(node: Op, levels: tuple[str, ...]) -> Instruction:
    _, affines = operand_names(node.kind)
    values: dict[str, Any] = {}
    for key, value in node.fields:
        if isinstance(value, Expr):
            values[key] = value.affine(levels) if key in affines else value.base
        else:
            values[key] = Affine(value) if key in affines else value
    if node.first:
        values["first"] = sum(1 << levels.index(n) for n in node.first if n in levels)
    return node.kind(wait=_mask(node.wait), signal=_mask(node.signal), sub=node.sub, **values)


def _mask(pairs: tuple[tuple[int, int], ...]) -> int:
    return sum(1 << SEMAPHORE[pair] for pair in set(pairs)) if pairs else 0


@dataclass(slots=True)
class Streams:
    """The four trees of a kernel while a template builds them, and how many slots each buffer has."""

    trees: tuple[list[Op | Loop], list[Op | Loop], list[Op | Loop], list[Op | Loop]] = field(
        default_factory=lambda: ([], [], [], [])
    )
    slots: dict[str, int] = field(default_factory=dict)


def initial_counts(trees: tuple[Tree, ...], slots: dict[str, int], where: str) -> tuple[int, ...]:
    """Return the eight counts that a kernel's semaphores start with."""
    walks = [_walked(tree) for tree in trees]
    counts = [0] * 8
    for (producer, consumer), number in SEMAPHORE.items():
        waits = [o for o in walks[consumer] if (producer, consumer) in o.wait]
        signals = [o for o in walks[producer] if (producer, consumer) in o.signal]
        if any(o.fills for o in waits):
            counts[number] = _credit(waits, signals, slots, where)
    return tuple(counts)


def _credit(waits: list[Op], signals: list[Op], slots: dict[str, int], where: str) -> int:
    released: dict[str, list[int]] = {}
    for position, signal in enumerate(signals, 1):
        for name in signal.releases:
            released.setdefault(name, []).append(position)
    filled: dict[str, int] = {}
    count = min(len(waits), 15)
    for position, wait in enumerate(waits, 1):
        for name in wait.fills:
            before = filled.get(name, 0) - slots[name]
            filled[name] = filled.get(name, 0) + 1
            if before >= 0 and name in released and before < len(released[name]):
                count = min(count, position - released[name][before])
    if count < 1:
        raise DoesNotFit(
            "OC2102", where, "no order of buffers exists", next="Report this kernel: it is a fault of onchip"
        )
    return count


WALKED = 4  # iterations of each loop that decide the order: it repeats after the number of slots, at most 2


def _walked(tree: Tree) -> list[Op]:
    """Return the operations that wait or signal, in the order of the first iterations."""
    found: list[Op] = []
    for node in tree:
        if isinstance(node, Loop):
            found += _walked(node.body) * min(node.count, WALKED)
        elif node.wait or node.signal:
            found.append(node)
    return found
