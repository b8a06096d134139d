"""The page of the instruction set, from the docstrings, fields and codes of `isa/`: `python -m onchip.isa.page`.

In: nothing. Out: Markdown. Every word about meaning and time stands in the docstring beside the code that it describes;
this file only puts them in order. `Fields:` and `Operations:` sections of a docstring become tables.
Promises: the same text for the same package; a field or operation without a meaning is an error.
"""

from __future__ import annotations

import inspect
import itertools
import re
import sys
from collections.abc import Callable, Iterable
from types import ModuleType
from typing import Any

from onchip import isa
from onchip.isa import fields, floats, instructions, machine, memory, text, timing, vector
from onchip.isa.instructions import Instruction, operand_names

HEAD = """# Instruction set

*Written by `python -m onchip.isa.page > docs/isa.md` from the classes in `onchip/isa/`; change it there.*
"""
DURATIONS: tuple[Callable[..., int], ...] = (
    timing.weight_load_occupancy, timing.matmul_occupancy, timing.matmul_latency, timing.vector_occupancy,
)  # fmt: skip


def page_text() -> str:
    """Return the whole page."""
    parts = [HEAD, "## How a kernel runs\n", told(isa), "## Operands and words\n", told(fields)]
    parts += ["## Memory\n", told(memory), types(), "## Floats\n", told(floats)]
    parts += ["## Instructions\n", told(instructions), opcodes()]
    for op, kind in sorted(isa.CLASSES.items()):
        parts.append(class_text(op, kind))
        if kind is isa.RQ:
            parts.insert(-1, f"### The vector unit\n\n{told(vector)}")
    parts += ["## Assembler text\n", told(text), variants(), "## Time\n", told(timing)]
    parts += [f"### `{f.__name__}`\n\n{prose(doc(f))}" for f in DURATIONS]
    parts += ["### Rates of the vector unit\n", rates()]
    return "\n".join(part.rstrip("\n") + "\n" for part in parts)


def doc(thing: object) -> str:
    return inspect.cleandoc(getattr(thing, "__doc__", "") or "")


def told(module: ModuleType) -> str:
    """Return what a module says about the machine: its docstring without the summary and what is about the file."""
    paragraphs = doc(module).split("\n\n")[1:]
    return prose("\n\n".join(p for p in paragraphs if not p.startswith(("In:", "Sources:"))))


def prose(text: str) -> str:
    """Return text as Markdown: stars are literal but for a bold lead, indented blocks become fenced ones."""
    return "\n\n".join(_block(part) for part in re.split(r"\n\n", text)) + "\n"


def _block(part: str) -> str:
    lines = part.split("\n")
    if all(line.startswith("    ") for line in lines):
        return "```\n" + "\n".join(line[4:] for line in lines) + "\n```"
    lead = re.match(r"\*\*[^*]+\*\*", part)
    start = lead.end() if lead else 0
    pieces = re.split(r"(`[^`]*`)", part[start:])
    return part[:start] + "".join(p if p.startswith("`") else _escaped(p) for p in pieces)


def _escaped(text: str) -> str:
    """Keep the stars of *one word* in italics, and make all others literal."""
    return re.sub(r"(?<!\w)\*\w+\*(?!\w)|(\*)", lambda m: "\\*" if m[1] else m[0], text)


def sections(text: str) -> tuple[str, dict[str, dict[str, str]]]:
    """Split a class docstring into its prose and its tables: section -> name -> meaning."""
    head, *rest = re.split(r"\n\n(Fields|Operations):\n", f"\n\n{text}")
    tables: dict[str, dict[str, str]] = {}
    for title, body in zip(rest[::2], rest[1::2], strict=True):
        rows: dict[str, str] = {}
        for line in body.split("\n"):
            if line.strip():
                names, _, meaning = line.strip().partition(": ")
                rows |= dict.fromkeys(names.split(), meaning)
        tables[title] = rows
    return head.strip("\n"), tables


def table(head: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    names = list(head)
    lines = [names, ["---"] * len(names), *([str(cell) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines) + "\n"


def types() -> str:
    """Return the operand types."""
    rows = [(i, name, memory.TYPE_BYTES[i], _where(i)) for i, name in enumerate(memory.TYPE_NAMES)]
    return table(("type", "name", "bytes", "where"), rows)


def _where(kind: int) -> str:
    if kind == memory.ACC:
        return "accumulator: int32, or float32 in a float program"
    return "local memory; float programs" if kind in floats.FLOAT_TYPES else "local memory"


def opcodes() -> str:
    """Return the table of opcodes."""
    rows = [(op, f"[{c.NAME}](#{anchor(op, c)})", queues(c)) for op, c in sorted(isa.CLASSES.items())]
    return table(("opcode", "name", "stream"), [*rows, (fields.CFG_TAG, "CFG word", "any")])


def queues(kind: type[Instruction]) -> str:
    return "any" if len(kind.QUEUES) == len(isa.STREAMS) else ", ".join(isa.STREAMS[q] for q in kind.QUEUES)


def heading(op: int, kind: type[Instruction]) -> str:
    return f"{kind.NAME}: opcode {op}, {queues(kind)}"


def anchor(op: int, kind: type[Instruction]) -> str:
    return re.sub(r"[^\w\- ]", "", heading(op, kind).lower()).replace(" ", "-")


def class_text(op: int, kind: type[Instruction]) -> str:
    """Return one instruction: meaning, operations, fields."""
    text, tables = sections(doc(kind))
    meanings: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        meanings |= sections(doc(base))[1].get("Fields", {})
    parts = [f"### {heading(op, kind)}\n", prose(text)]
    if "Operations" in tables:
        rows = [(str(code), name, tables["Operations"][name]) for name, code in vector.VOPS.items()]
        rows.append(("from 64", ", ".join(vector.FLOAT_VOPS), "float functions, in this order"))
        parts.append(table(("sub", "name", "d ="), rows))
    if rows := field_rows(kind, meanings):
        parts.append(table(("mark", "field", "kind", "default", "meaning"), rows))
    return "\n".join(parts)


def field_rows(kind: type[Instruction], meanings: dict[str, str]) -> list[tuple[object, ...]]:
    """Return (header bits, names, kind, default, meaning); neighbours of one meaning and default share a row."""
    values, unused = kind(), {"b": "not used"} if kind is isa.RED else {}
    plain, affine = operand_names(kind)
    fields_ = [(28 + i, name, "plain", getattr(values, name)) for i, name in enumerate(plain)]
    fields_ += [(60 + i, name, "affine", 0) for i, name in enumerate(affine)]
    rows: list[tuple[object, ...]] = []
    for key, run in itertools.groupby(fields_, lambda f: (f[2], f[3], unused.get(f[1]) or meanings[f[1]])):
        group = list(run)
        bits = str(group[0][0]) if len(group) == 1 else f"{group[0][0]}–{group[-1][0]}"
        rows.append((bits, ", ".join(f"`{f[1]}`" for f in group), *key))
    return rows


def variants() -> str:
    """Return the names of variants, but for those of VOP, which have a table of their own."""
    rows = [
        (f"{kind}.{name}", code)
        for kind, names in text.VARIANTS.items()
        if kind != "VOP"
        for name, code in names.items()
    ]
    return table(("name", "sub"), [(f"`{name}`", code) for name, code in rows])


def rates() -> str:
    """Return which rate of a chip file each vector instruction runs at."""
    names: dict[str, list[str]] = {}
    for op, rate in machine.RATE_NAMES.items():
        names.setdefault(rate, []).append(op)
    for op, rate in (("RQ", "requantize"), ("RED", "reduce"), ("LUT", "lut")):
        names.setdefault(rate, []).append(op)
    text = "Elements per cycle, as `vector.ops_per_cycle` of the chip file says; without an entry, one per lane.\n"
    text += "A rate that is no whole number is rounded down, to 1 at least.\n\n"
    return text + table(("rate", "instructions"), [(rate, ", ".join(ops)) for rate, ops in names.items()])


def main(out: Any = sys.stdout) -> int:
    """Print the page."""
    out.write(page_text())
    return 0


if __name__ == "__main__":
    sys.exit(main())
