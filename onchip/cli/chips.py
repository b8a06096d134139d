"""`chips`: the catalog, one chip, two side by side, and the beginning of one's own file.

In:       names of chips. Out: tables, TOML or JSON on stdout; `new` writes one file.
Promises: `onchip chips NAME` prints a chip file that loads again; so does the file that `new` writes, and it gives the
          same times as the chip it was made from; `new` overwrites nothing.
"""

from __future__ import annotations

import re
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onchip.cli.lists import table, tool
from onchip.cli.output import show, show_json, write_file
from onchip.errors import UsageError
from onchip.units import DASH, UNITS, format_exact, format_value, parse

if TYPE_CHECKING:
    from onchip.chip import Chip

NOT_COMPARED = ("name", "family", "description", "source", "sources", "assumed", "published")
NAME = r"[a-z0-9][a-z0-9._-]{0,63}"
INDENT = "  "
# what `new` writes above the tables of a chip file; the keys one by one: docs/chips.md
WORDS = {
    "clock": 'The clock that cycles count; DTYPE = "..." where a dtype\'s published peak holds at another one.',
    "cores": "How many identical cores there are.",
    "matrix": "The matrix unit of one core. Systolic dataflows have rows (inputs deep) and cols (output channels "
    'wide), dot_product a native = "MxNxK" per cycle. A dtype that is absent cannot be multiplied.',
    "vector": "32-bit lanes of one core, and elements a cycle of each operation (absent = one a lane).",
    "overlap": "How much of one unit's time hides behind another's: 0 to 1.",
    "local": "The memory of one core without its accumulator; ports in bytes a cycle.",
    "shared": "On-chip memory that cores share; bandwidth of the whole level.",
    "dram": "Far memory. More than this size is refused.",
    "host": "The link to the host.",
    "launch": "Fixed times: per kernel on the device, per kernel as the host sees it, per run.",
    "sync": "The time until all cores have stopped, per kernel.",
    "execution": "How the vendor's runtime runs a network: mode = sequential, pipeline or independent; "
    "weights = streamed or resident. The forecast alone uses it.",
    "achieved": "What good programs reach of the peaks; the forecast alone uses it.",
    "algorithms": "Algorithms of the vendor's libraries beyond direct ones: Winograd output tiles by dtype.",
    "calibration": "Which keys were fitted, on which measurements, and the error of rows left out.",
    "power": "Board or package power.",
    "energy": "The process, from which energies of MACs and memories follow, and what does not; the truth lies within "
    "a factor of band. Without this table a report has no energy.",
    "rounding": "How it can requantize: docs/arithmetic.md.",
}


def list_chips(*, as_json: bool) -> None:
    """List the catalog, a block a family."""
    from onchip.chip import Chip

    loaded = [Chip.load(known) for known in Chip.names()]
    if as_json:
        keys = ("name", "family", "evidence", "default_dtype", "description", "hash")
        listed = [{**{key: getattr(chip, key) for key in keys}, "dtypes": list(chip.dtypes)} for chip in loaded]
        show_json({**tool(), "chips": listed})
        return
    rows = [("name", "dense peak", "cores", "array", "local", "memory")]
    for chip in loaded:
        peak = f"{chip.default_dtype} {format_value(chip.peak_ops_per_s(chip.default_dtype), 'op/s')}"
        local = format_exact(chip.local.size_bytes, "B")
        dram = format_value(chip.dram.bandwidth_bytes_per_s, "B/s")
        name = chip.name + "*" * (chip.geometry == "unpublished")
        rows.append((name, peak, str(chip.cores.count), _array(chip), local, dram))
    lines = table(rows, right={1, 2, 3, 4, 5})
    families: dict[str, list[tuple[Chip, str]]] = {}
    for chip, line in zip(loaded, lines[1:], strict=True):
        families.setdefault(chip.family or "other", []).append((chip, line))
    head = [
        f"{len(loaded)} chips of {len(families)} families.",
        "Next:  onchip chips NAME   (its file; `diff A B` compares two, `new NAME --from CHIP` begins your own)",
        "",
        lines[0],
    ]
    blocks: list[str] = []
    for family in sorted(families):
        rows_of_it = sorted(families[family], key=lambda row: _numbers_by_size(row[0].name))
        blocks += ["", family, *(line for _, line in rows_of_it)]
    checked, assumed = sum(map(_is_checked, loaded)), sum(chip.geometry == "unpublished" for chip in loaded)
    notes = [
        "array, local: of one core, in that dtype. memory: bandwidth of DRAM, or of what stands for it.",
        f"{checked} have a published peak that follows from published array x cores x clock within 2 %.",
        f"* {assumed} have an assumed array that meets the peak: they are priced, and `onchip compile` refuses them.",
    ]
    show("\n".join([*head, *blocks, "", *notes]))


def _numbers_by_size(name: str) -> list[tuple[int, str]]:
    """Return a key that sorts x-128 before x-1024."""
    return [(int(part), "") if part.isdecimal() else (0, part) for part in re.split(r"(\d+)", name)]


def _is_checked(chip: Chip) -> bool:
    """Return whether the peak of the default dtype is published, and so is all that it is checked against."""
    keys = ("clock.core", f"clock.{chip.default_dtype}", "cores.count", "matrix.units", f"peak.{chip.default_dtype}")
    sizes = (f"matrix.{chip.default_dtype}.rows", f"matrix.{chip.default_dtype}.cols")
    is_published = chip.geometry == "published" and chip.default_dtype in dict(chip.peak)
    return is_published and not set(chip.assumed) & {*keys, *sizes}


def _array(chip: Chip) -> str:
    """Return the matrix unit of one core for the default dtype: `8x4x8 x4`, `16x16`, `64 lanes`."""
    array = chip.matrix.array(chip.default_dtype)
    if array.unit == "vector":
        return f"{chip.vector.lanes} lanes"
    size = "x".join(map(str, array.native or (array.rows, array.cols)))
    return size if chip.matrix.units == 1 else f"{size} x{chip.matrix.units}"


def show_chip(name: str, *, as_json: bool) -> None:
    """Print one chip as a file."""
    from onchip.chip import Chip

    chip = Chip.load(name)
    if as_json:
        show_json({**tool(), "name": chip.name, "hash": chip.hash, "toml": str(chip)})
    else:
        print(str(chip), end="")


# --- two side by side ---------------------------------------------------------------------------------------------


def diff(first: str, second: str, *, as_json: bool) -> None:
    """Print the keys in which two chips differ, with both values and their ratio."""
    from onchip.chip import Chip

    a, b = Chip.load(first), Chip.load(second)
    left, right = _flat(a), _flat(b)
    keys = [key for key in dict.fromkeys((*left, *right)) if left.get(key) != right.get(key)]
    found = [(key, left.get(key), right.get(key), _ratio(left.get(key), right.get(key))) for key in sorted(keys)]
    if as_json:
        rows = [{"key": key, "a": x, "b": y, "ratio": ratio} for key, x, y, ratio in found]
        show_json({**tool(), "a": a.name, "b": b.name, "differences": rows})
        return
    if not found:
        show(f"{a.name} and {b.name} have the same numbers.\nNext:  onchip chips   (the catalog)")
        return
    texts = [("key", a.name, b.name, "ratio")]
    texts += [(key, _text(x), _text(y), DASH if ratio is None else f"{ratio:.3g}x") for key, x, y, ratio in found]
    head = [
        f"{a.name} and {b.name} differ in {len(found)} of {len({*left, *right})} keys{_headline(a, b)}.",
        f"Next:  onchip compare MODEL --chip {first} --chip {second}   (what the difference is worth)",
        "",
    ]
    show("\n".join([*head, *table(texts, right={3})]))


def _headline(a: Chip, b: Chip) -> str:
    """Return how the peaks of the first dtype that both have, and the bandwidths of far memory, compare."""
    parts = [f"{b.dram.bandwidth_bytes_per_s / a.dram.bandwidth_bytes_per_s:.3g}x the bandwidth of far memory"]
    both = [dtype for dtype in (a.default_dtype, *a.dtypes) if dtype in b.dtypes]
    if both:
        ratio = b.peak_ops_per_s(both[0]) / a.peak_ops_per_s(both[0])
        parts.insert(0, f"{ratio:.3g}x the dense {both[0]} peak")
    return f"; {b.name} has {' and '.join(parts)}"


def _flat(chip: Chip) -> dict[str, str | int | float]:
    """Return the file's values by dotted key, and the derived peaks of all its dtypes."""
    from onchip.chip_file import read_toml

    found: dict[str, str | int | float] = {}

    def walk(node: object, at: str) -> None:
        if isinstance(node, dict):
            for key, value in node.items():  # pyright: ignore[reportUnknownVariableType]
                walk(value, f"{at}.{key}" if at else str(key))  # pyright: ignore[reportUnknownArgumentType]
        elif isinstance(node, list):
            rows: list[Any] = node  # pyright: ignore[reportUnknownVariableType]
            if all(isinstance(row, str) for row in rows):
                found[at] = ", ".join(rows)
                return
            for i, value in enumerate(rows):
                walk(value, f"{at}.{i}")
        elif isinstance(node, (str, int, float)):
            found[at] = node

    document = read_toml(str(chip), chip.name)
    walk({key: value for key, value in document.items() if key not in (*NOT_COMPARED, "peak")}, "")
    for dtype in chip.dtypes:
        found[f"peak.{dtype}"] = format_value(chip.peak_ops_per_s(dtype), "op/s")
    return {key: value for key, value in found.items() if not key.endswith(".source")}


def _ratio(a: str | int | float | None, b: str | int | float | None) -> float | None:
    """Return b / a where both are numbers, or texts with units of one kind, or shapes."""
    x, y = _number(a), _number(b)
    return y[0] / x[0] if x is not None and y is not None and x[1] == y[1] and x[0] else None


def _number(value: str | int | float | None) -> tuple[float, str] | None:
    """Return a value in base units and what it counts; None for words."""
    if isinstance(value, bool) or value is None:
        return None
    if not isinstance(value, str):
        return float(value), ""
    if re.fullmatch(r"\d+(x\d+)+", value):
        return float(prod(map(int, value.split("x")))), "shape"
    symbol = value.partition(" ")[2]
    unit = next((unit for unit, symbols in UNITS.items() if symbol in symbols), None)
    return (float(parse(value, unit)), unit) if unit is not None else None


def _text(value: str | int | float | None) -> str:
    return DASH if value is None else str(value)


# --- one's own ----------------------------------------------------------------------------------------------------


def new(name: str, parent: str, *, output: Path | None, as_json: bool) -> None:
    """Write a commented chip file for the user to change. Raises UsageError where it would overwrite one."""
    from onchip.chip import Chip

    if re.fullmatch(NAME, name) is None:
        fact = f"'{name[:80]}' is no name of a chip"
        raise UsageError("OC1008", "chips new", fact, limit="Names are of a-z 0-9 . _ -, at most 64", next="As my-npu")
    if name in Chip.names():
        raise UsageError("OC1008", "chips new", f"'{name}' is in the catalog", next="Choose another name")
    path = output if output is not None else Path(f"{name}.toml")
    if path.suffix != ".toml":
        raise UsageError("OC1008", "chips new", f"'{path}' does not end in .toml", next=f"Write -o {name}.toml")
    if path.exists() or path.is_symlink():
        hint = "Move it away, or choose another name"
        raise UsageError("OC1018", str(path), "is there already and stays as it is", next=hint)
    text = own_file(name, Chip.load(parent))
    Chip.parse(text, str(path))
    write_file(path, text)
    if as_json:
        show_json({**tool(), "name": name, "from": parent, "file": str(path)})
        return
    shown = f"./{path}" if path.parent == Path() else str(path)
    show(f"{path} has the numbers of {parent}: change them.\nNext:  onchip estimate @resnet50 --chip {shown}")


def own_file(name: str, parent: Chip) -> str:
    """Return the text of a chip file with a chip's numbers, a comment at each table, and no facts about its silicon."""
    from onchip.chip_file import read_toml, write_toml

    document = read_toml(str(parent), parent.name)
    facts = {key: document.pop(key, {}) for key in ("peak", "published", "sources")}
    document["name"], document["description"] = name, f"begun from {parent.name}"
    document["source"] = f"begun from {parent.name}: name the source of your numbers here"
    document["evidence"] = "program" if document["evidence"] == "rtl" else document["evidence"]
    if document.get("geometry") == "unpublished":
        document["evidence"] = "program"
        del document["geometry"]
    document["assumed"] = [key for key in document.get("assumed", []) if key.partition(".")[0] not in facts]
    lines = [
        f"# A chip of your own, begun from {parent.name}. Keys, units and defaults: docs/chips.md.",
        "# `assumed` lists the keys whose numbers nobody published: reports name them.",
    ]
    told = ""
    for line in write_toml(document).splitlines():
        table_name = re.match(r"\[+([a-z_]+)", line)
        lines.append(line)
        if table_name is not None and table_name[1] != told:
            told = table_name[1]
            lines += [f"# {part}" for part in _wrapped(WORDS[told])]
    lines += [
        "",
        "# The published dense peak, two operations a MAC: where it stands, array x clock has to give it.",
        "# [peak]",
    ]
    lines += [f'# {dtype} = "{format_value(parent.peak_ops_per_s(dtype), "op/s")}"' for dtype in parent.dtypes]
    return "\n".join(lines) + "\n"


def _wrapped(text: str) -> list[str]:
    from textwrap import wrap

    return wrap(text, 110)
