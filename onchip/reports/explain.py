"""An Explanation as text: what the other assumptions would give, each layer's cycles by cause, one layer's loops.

In:       an Explanation, how many layers to show (0: all).
Out:      plain text of at most WIDTH columns, but for long names and options.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from textwrap import wrap

from onchip.ir.explanation import MATRIX, Choice, Explanation, LayerReason, MappingReason, Played
from onchip.units import DASH, format_value

WIDTH = 100
LAYERS = 8
SENTENCES = 3
HEADS = ("layer", "cycles", "matrix", "fill", "weights", "memory", "vector", "launch", "hidden", "serial")
NOTES = (
    "cycles = matrix + memory + vector + launch. matrix: the array multiplies, fills (fill) or loads weights. hidden, "
    "serial: the array alone in one stream of passes, with weights loaded behind the rows or between passes; nothing "
    "else takes time. Tools that model the array alone print one of the two."
)


def explanation_text(explanation: Explanation, *, layers: int = LAYERS) -> str:
    """Return the whole text."""
    seconds = explanation.cycles / explanation.clock_hz
    total = f"{count(explanation.cycles)} cycles ({format_value(seconds, 's')})"
    lines = [f"which assumptions made our program's {total}", *_choices(explanation), "", *_layers(explanation, layers)]
    if explanation.mapping is not None:
        lines += ["", *_mapping(explanation.mapping)]
    return "\n".join(line.rstrip() for line in lines) + "\n"


def count(n: int) -> str:
    """Return a whole number with its thousands apart."""
    return format_value(n, "cycles").removesuffix(" cycles")


def _table(rows: Sequence[Sequence[str]], left: frozenset[int]) -> list[str]:
    """Return rows aligned; the columns in `left` to the left."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines: list[str] = []
    for row in rows:
        cells = [row[i].ljust(width) if i in left else row[i].rjust(width) for i, width in enumerate(widths)]
        lines.append("  " + "  ".join(cells))
    return lines


def _choices(explanation: Explanation) -> list[str]:
    rows = [("assumption", "here", "other", "cycles then", "change", "--set")]
    rows += [_choice(choice, explanation.cycles) for choice in explanation.choices]
    return _table(rows, frozenset({0, 1, 2, 5}))


def _choice(choice: Choice, cycles: int) -> tuple[str, ...]:
    told = DASH if choice.cycles is None else count(choice.cycles)
    change = DASH if choice.cycles is None or not cycles else percent(choice.cycles / cycles - 1)
    return choice.name, choice.here, choice.other, told, change, choice.options.replace("--set ", "")


def percent(share: float) -> str:
    """Return a change in percent with its sign, one digit behind the point below 10."""
    points = round(100 * share, 1)
    text = f"{points:+.1f}" if abs(points) < 10 else f"{points:+.0f}"
    return "±0 %" if points == 0 else f"{text} %".replace("-", "−")


def _layers(explanation: Explanation, most: int) -> list[str]:
    """Return the layers with the most cycles in their order, equal ones together, and a sentence for the longest."""
    groups: dict[tuple[object, ...], list[LayerReason]] = {}
    for layer in explanation.layers:
        groups.setdefault((layer.cycles, layer.parts, layer.stream, layer.text), []).append(layer)
    by_size = sorted(groups.values(), key=lambda group: -sum(layer.cycles for layer in group))
    kept = by_size[:most] if most else by_size
    rows = [HEADS, *(_layer(group) for group in groups.values() if group in kept)]
    lines = ["where the cycles are", *_table(rows, frozenset({0}))]
    rest = [layer for group in by_size[len(kept) :] for layer in group]
    if rest:
        lines.append(f"  and {len(rest)} more with {count(sum(layer.cycles for layer in rest))} cycles: -v shows them")
    for group in by_size[:SENTENCES]:
        lines += wrap(f"{group[0].name}: {group[0].text}", WIDTH, initial_indent="  ", subsequent_indent="    ")
    return [*lines, *wrap(NOTES, WIDTH, initial_indent="  ", subsequent_indent="    ")]


def _layer(group: Sequence[LayerReason]) -> tuple[str, ...]:
    layer, many = group[0], f" x{len(group)}" if len(group) > 1 else ""
    parts = dict(layer.parts)
    hidden, serial = (DASH, DASH) if layer.stream is None else map(count, layer.stream)
    cells = [_cycles(parts, name) for name in ("fill", "weights", "memory", "vector")]
    cells.append(_cycles(parts, "launch", "sync"))
    return (_cut(layer.name) + many, count(layer.cycles), count(layer.matrix_cycles), *cells, hidden, serial)


def _cycles(parts: dict[str, Fraction], *names: str) -> str:
    return count(round(sum(parts.get(name, Fraction(0)) for name in names)))


def _cut(name: str, width: int = 24) -> str:
    return name if len(name) <= width else f"{name[: width // 3]}…{name[len(name) - width + width // 3 + 1 :]}"


def _mapping(reason: MappingReason) -> list[str]:
    lines = _folded(f"the loops of {reason.nest[0]}", *reason.nest[1:])
    if reason.taken is None:
        return lines
    taken = reason.taken
    priced = f"{count(reason.n_priced)} of {count(reason.n_fitting)} mappings that fit were priced"
    lines += ["", *_folded(f"why this mapping: {priced}; the best with another")]
    rows = [("", "cycles", "change", "matrix", "fill", "weights", "memory", "vector", "predicted")]
    rows += [_played(other, taken.cycles) for other in (taken, *reason.others)]
    lines += _table(rows, frozenset({0}))
    lines += [f"  {played.what}: {played.mapping}" for played in (taken, *reason.others)]
    best = min(reason.others, key=lambda other: other.cycles, default=taken)
    if best.cycles < taken.cycles:
        change = percent(best.cycles / taken.cycles - 1)
        text = f"Another {best.what} is faster ({change}): the prediction, which only ranks, is off. Try --effort full"
        lines += wrap(text, WIDTH, initial_indent="  ", subsequent_indent="    ")
    return lines


def _folded(*lines: str) -> list[str]:
    """Return lines that fit WIDTH; what is too long goes on behind its own indent."""
    found: list[str] = []
    for line in lines:
        indent = line[: len(line) - len(line.lstrip())]
        found += wrap(line.strip(), WIDTH, initial_indent=indent, subsequent_indent=f"{indent}    ")
    return found


def _played(played: Played, cycles: int) -> tuple[str, ...]:
    parts = dict(played.parts)
    cells = [_cycles(parts, name) for name in ("fill", "weights", "memory", "vector")]
    change = "" if played.what == "taken" or not cycles else percent(played.cycles / cycles - 1)
    return (played.what, count(played.cycles), change, _cycles(parts, *MATRIX), *cells, count(played.predicted))
