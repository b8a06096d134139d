"""docs/isa.md is enough to build a decoder: bits to fields by the page's own tables, without onchip's decoder.

The page's tables are read as text. The words of programs are decoded by them and by the page's rules for header and CFG
words, and compared with the instructions that they came from.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import onchip as oc
from onchip.ir.program import Program
from onchip.isa import CLASSES, STREAMS, Affine, Instruction
from onchip.isa.fields import SEMAPHORES
from onchip.isa.vector import VOPS

PAGE = (Path(__file__).parents[2] / "docs" / "isa.md").read_text(encoding="utf-8")
PARTS = ("base", "i0", "i1", "i2", "i3", "c0", "c1", "c2", "toggle", "slot")


def tables() -> dict[int, tuple[str, dict[int, str]]]:
    """Return opcode -> (name, header bit -> field) as the page has them."""
    found: dict[int, tuple[str, dict[int, str]]] = {}
    for heading in re.finditer(r"(?m)^### (\w+): opcode (\d+), .*\n((?:(?!^###? ).*\n)*)", PAGE):
        fields: dict[int, str] = {}
        for row in re.finditer(r"(?m)^\| (\d+)(?:–(\d+))? \| (`.*?`) \| (?:plain|affine) \|", heading[3]):
            first, last = int(row[1]), int(row[2] or row[1])
            names = re.findall(r"`(\w+)`", row[3])
            assert len(names) == last - first + 1
            fields |= dict(zip(range(first, last + 1), names, strict=True))
        found[int(heading[2])] = (heading[1], fields)
    return found


def values(words: list[int], at: int) -> Iterator[int]:
    """Return the 40-bit values of the CFG words from `at`, and after them where the next header is."""
    for word in words[at:]:
        assert word & 0xFF == 0xF
        for low in (8, 48, 88):
            bits = word >> low & (1 << 40) - 1
            yield bits - (1 << 40) if bits >> 39 else bits


Decoded = tuple[str, int, int, int, dict[str, int | dict[str, int]]]


def decoded(words: list[int]) -> Iterator[Decoded]:
    """Decode a stream by the page: (name, wait, signal, sub, fields that are not zero)."""
    known, at = tables(), 0
    while at < len(words):
        header = words[at]
        name, fields = known[header & 0xF]
        assert header >> 68 == 0
        stream, taken = values(words, at + 1), 0
        found: dict[str, int | dict[str, int]] = {}
        for bit in range(28, 68):
            if not header >> bit & 1:
                continue
            value = next(stream)
            taken += 1
            found[fields[bit]] = value
            if bit >= 60:
                parts = {PARTS[i]: next(stream) for i in range(len(PARTS)) if value >> i & 1}
                taken += len(parts)
                found[fields[bit]] = parts
        yield name, header >> 4 & 0xFF, header >> 12 & 0xFF, header >> 20 & 0xFF, found
        at += 1 + -(-taken // 3)


def shown(instruction: Instruction) -> Decoded:
    found: dict[str, int | dict[str, int]] = {}
    for field in dataclasses.fields(instruction):
        value: int | Affine = getattr(instruction, field.name)
        if field.name in ("wait", "signal", "sub") or value in (0, Affine()):
            continue
        found[field.name] = value if isinstance(value, int) else _parts(value)
    return instruction.NAME, instruction.wait, instruction.signal, instruction.sub, found


def _parts(value: Affine) -> dict[str, int]:
    return {name: part for name, part in zip(PARTS, value.row(), strict=True) if part}


@pytest.fixture(scope="module")
def programs() -> list[Program]:
    graphs = [oc.read(f"@{name}", weights="random").bind(batch=1) for name in ("digits_cnn", "digits_attention")]
    random = np.random.default_rng(0)
    made: list[Program] = []
    for graph in graphs:
        samples = [{n: random.random([int(d) for d in graph.tensor(n).shape], np.float32) for n in graph.inputs}]
        made.append(oc.compile(graph, "tiny-npu-4" if graph is graphs[0] else "edge-npu-16", samples=samples))
    return made


def test_the_page_decodes_programs(programs: list[Program]) -> None:
    seen: set[str] = set()
    for program in programs:
        for stream, words in enumerate(program.encode()):
            instructions = list(program.instructions(stream))
            assert list(decoded(words)) == [shown(x) for x in instructions]
            seen |= {x.NAME for x in instructions}
    assert seen >= {"LD", "ST", "WLD", "MM", "RQ", "VOP", "RED", "LUT", "LOOP", "BARRIER"}


def test_the_page_has_every_class_field_and_operation() -> None:
    found = tables()
    assert {op: name for op, (name, _) in found.items()} == {op: c.NAME for op, c in CLASSES.items()}
    for op, kind in CLASSES.items():
        own = {f.name for f in dataclasses.fields(kind)} - {"wait", "signal", "sub"}
        assert set(found[op][1].values()) == own
    rows = dict(re.findall(r"(?m)^\| (\d+) \| (\w+) \| ", PAGE[PAGE.index("### VOP") : PAGE.index("### RED")]))
    assert {name: int(code) for code, name in rows.items()} == VOPS


def test_the_page_has_the_semaphores() -> None:
    lines = {m[1]: m[2].split() for m in re.finditer(r"(?m)^(number|signals|waits) +(.+)$", PAGE)}
    pairs = zip(lines["signals"], lines["waits"], strict=True)
    assert [(STREAMS.index(a), STREAMS.index(b)) for a, b in pairs] == list(SEMAPHORES)
