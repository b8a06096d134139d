"""Assembler text: one line an instruction, with names for variants, element types and semaphores.

In: an instruction, or a line. Out: the other; `read_line(write_line(x)) == x` for every instruction.

`VOP.max wait=M>V n=4 a_type=acc a=24+4*i0`: the variant behind the name, semaphores by their two streams (signaller >
waiter, first letters), then every field that differs from its default. A variant without a name is written as a number.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from onchip.isa import CLASSES
from onchip.isa.fields import SEMAPHORES, STREAMS, parse_affine
from onchip.isa.instructions import Instruction, operand_names
from onchip.isa.memory import TYPE_NAMES
from onchip.isa.vector import FLOAT_VOPS, PER_LANE, REDUCTIONS, ROUNDING, VOPS

VARIANTS: Mapping[str, Mapping[str, int]] = {
    "LD": {"gather": 1},
    "WLD": {"transposed": 1},
    "MM": {"add": 1},
    "RQ": ROUNDING | {f"{name}.lanes": code | PER_LANE for name, code in ROUNDING.items()},
    "VOP": VOPS | FLOAT_VOPS,
    "RED": REDUCTIONS,
}
ALWAYS_NAMED = ("RQ", "VOP", "RED")  # their variant 0 is an operation like the others
KINDS = {kind.NAME: kind for kind in CLASSES.values()}
SEMAPHORE_NAMES = tuple(f"{STREAMS[a][0]}>{STREAMS[b][0]}" for a, b in SEMAPHORES)


def write_line(x: Instruction) -> str:
    """Return an instruction as one line."""
    parts = [_named(x)]
    for f in fields(x):
        value = getattr(x, f.name)
        if f.name != "sub" and value != f.default:
            parts.append(f"{f.name}={_value(f.name, value)}")
    return " ".join(parts)


def _named(x: Instruction) -> str:
    if x.sub == 0 and x.NAME not in ALWAYS_NAMED:
        return x.NAME
    names = {code: name for name, code in VARIANTS.get(x.NAME, {}).items()}
    return f"{x.NAME}.{names.get(x.sub, x.sub)}"


def _value(name: str, value: Any) -> str:
    if name in ("wait", "signal"):
        return ",".join(text for q, text in enumerate(SEMAPHORE_NAMES) if value >> q & 1)
    if _is_type(name) and 0 <= value < len(TYPE_NAMES):
        return TYPE_NAMES[value]
    return str(value)


def _is_type(name: str) -> bool:
    return name == "type" or name.endswith("_type")


def read_line(line: str) -> Instruction:
    """Return the instruction of a line. Raises ValueError."""
    head, *parts = line.split()
    name, _, variant = head.partition(".")
    kind = KINDS.get(name)
    if kind is None:
        raise ValueError(f"unknown instruction {name!r}")
    known = {f.name for f in fields(kind)}
    _, affines = operand_names(kind)
    values: dict[str, Any] = {"sub": _variant(name, variant)} if variant else {}
    for part in parts:
        key, mark, text = part.partition("=")
        if not mark or key not in known or key in values:
            raise ValueError(f"{name} has no field {key!r}, or has it twice")
        values[key] = parse_affine(text) if key in affines else _number(key, text)
    return kind(**values)


def _variant(name: str, text: str) -> int:
    code = VARIANTS.get(name, {}).get(text)
    return int(text) if code is None else code


def _number(key: str, text: str) -> int:
    if key in ("wait", "signal"):
        return sum(1 << SEMAPHORE_NAMES.index(name) for name in set(text.split(",")))
    return TYPE_NAMES.index(text) if _is_type(key) and text in TYPE_NAMES else int(text)
