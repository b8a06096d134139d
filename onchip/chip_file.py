"""Chip files as text: read TOML, follow `extends`, apply overrides, say what is wrong, write the canonical text.

In:       the text of a chip file and where it came from; dotted overrides such as `local.size=512KiB`.
Out:      a plain document (nested dicts) with parents and overrides resolved; complaints in the user's words.
Promises: unknown keys name the nearest known one; syntax errors name the line; a file is at most 1 MiB, a chain of
          parents at most 8 long; write_toml(document) reads back as the same document.
Does not: know the fields of a chip; those are the dataclasses of chip_parts.py and chip.py.
Sources:  TOML 1.0 (https://toml.io/en/v1.0.0).
"""

from __future__ import annotations

import copy
import json
import re
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias, cast

from pydantic import ValidationError

from onchip.chip_parts import DTYPES
from onchip.errors import BadFile, OnchipError, UsageError, did_you_mean

Document: TypeAlias = dict[str, Any]  # what a TOML file holds; Any, because TOML values nest without a bound
Json: TypeAlias = dict[str, Any]
Override: TypeAlias = str | int | float | bool

MAX_FILE_BYTES = 2**20
MAX_PARENTS = 8
# tables in which a dtype stands as a key beside other keys -> the field of chip.py that gathers them
DTYPE_TABLES = {"matrix": "arrays", "clock": "dtypes"}
NONE: frozenset[str] = frozenset()
# a published figure -> the tables that it sums up; one that changes makes it a figure about the parent alone
PUBLISHED_OF = {
    "lanes": {"vector", "cores"},
    "units": {"matrix", "cores"},
    "local": {"local", "cores"},
    "accumulator": {"local", "cores"},
    "bus": {"dram"},
    "data_rate": {"dram"},
    "shared": {"shared", "clock"},
}


# --- reading ------------------------------------------------------------------------------------------------------


def read_text(path: Path) -> str:
    """Return the text of a chip file; refuse what is absent, no file, over 1 MiB, or no UTF-8 (OC1101)."""
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_FILE_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise BadFile("OC1101", str(path), f"cannot be read: {reason}", next="See `onchip chips`") from None
    _check_size(len(raw), str(path))
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadFile("OC1101", str(path), f"is no UTF-8 text (byte {error.start})") from None


def read_toml(text: str, where: str) -> Document:
    """Return the document in `text`, or say on which line it stops being TOML (OC1101)."""
    _check_size(len(text), where)
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise BadFile("OC1101", where, "its brackets nest too deep") from None
    except ValueError as error:
        place = re.search(r"\(at (line \d+), (column \d+)\)", str(error))
        fact = re.sub(r"\s*\(at [^)]*\)", "", str(error)).strip()
        at = f"{place[1]}, {place[2]}: " if place else "at the end: " if "end of document" in str(error) else ""
        raise BadFile("OC1101", where, f"{at}{fact}", next="Mend the TOML there") from None


def _check_size(n_bytes: int, where: str) -> None:
    if n_bytes > MAX_FILE_BYTES:
        raise BadFile(
            "OC1101", where, "is larger than a chip file can be", limit=f"The limit is {MAX_FILE_BYTES} bytes"
        )


def resolve(document: Document, where: str, parent: Callable[[str], tuple[Document, str]]) -> Document:
    """Return the document with its chain of `extends` merged in; `parent(name)` reads one parent and says where."""
    chain, place = [document], where
    while "extends" in chain[-1]:
        name = chain[-1]["extends"]
        if not isinstance(name, str):
            raise BadFile("OC1107", place, f"extends must be a chip's name, not {name!r}")
        if len(chain) > MAX_PARENTS:
            raise BadFile(
                "OC1107", where, f"the chain of parents through '{name}' is circular or longer than {MAX_PARENTS}"
            )
        above, place = parent(name)
        chain.append(above)
    merged = chain.pop()
    while chain:
        merged = inherit(merged, chain.pop())
    return merged


def inherit(parent: Document, child: Document) -> Document:
    """Merge `child` over `parent`: tables key by key, all else replaced; facts about the parent's silicon do not pass.

    A published peak belongs to the parent's array, cores and clock, and `rtl` evidence to exactly its numbers.
    """
    own = {key: value for key, value in child.items() if key != "extends"}
    told = child.get("published")
    restated = {f"published.{key}" for key in cast("Document", told)} if isinstance(told, dict) else set[str]()
    return _drop_facts(_merge(parent, own), set(child) | restated)


def _drop_facts(document: Document, changed: set[str]) -> Document:
    if "peak" not in changed and changed & {"matrix", "cores", "clock", "vector"}:
        document.pop("peak", None)
        if isinstance(document.get("assumed"), list):
            document["assumed"] = [key for key in document["assumed"] if not str(key).startswith("peak.")]
    told = document.get("published")
    if isinstance(told, dict):
        facts = cast("Document", told)
        kept = {
            k: v for k, v in facts.items() if f"published.{k}" in changed or not changed & PUBLISHED_OF.get(k, NONE)
        }
        document["published"] = kept
    if "calibration" not in changed:
        document.pop("calibration", None)
    if "evidence" not in changed and document.get("evidence") == "rtl":
        document["evidence"] = "program"
    return document


def _merge(parent: Document, child: Document) -> Document:
    merged = dict(parent)
    for key, value in child.items():
        old = merged.get(key)
        nested = isinstance(old, dict) and isinstance(value, dict)
        merged[key] = _merge(cast("Document", old), cast("Document", value)) if nested else value
    return merged


# --- overrides ----------------------------------------------------------------------------------------------------


def parse_query(query: str, where: str) -> dict[str, Override]:
    """Return the overrides in `local.size=512KiB&cores.count=2`, in their order."""
    overrides: dict[str, Override] = {}
    for part in query.split("&"):
        key, equals, value = part.partition("=")
        if not equals or not key.strip() or not value.strip():
            raise UsageError(
                "OC1006", where, f"{part[:80]!r} is no override", next="Write key=value, as in local.size=512KiB"
            )
        overrides[key.strip()] = value.strip()
    return overrides


def override(document: Document, overrides: Mapping[str, Override], where: str) -> Document:
    """Return the document with each dotted key set; a number picks from a list of tables (`shared.0.size`)."""
    changed = copy.deepcopy(document)
    for key, value in overrides.items():
        *tables, last = key.split(".")
        if len(tables) > MAX_PARENTS or not all((*tables, last)):
            raise UsageError("OC1006", where, f"'{key[:80]}' is no dotted key", next="Write it like local.size")
        node: object = changed
        for table in tables:
            node = _enter(node, table, key, where)
        if not isinstance(node, dict):
            raise UsageError("OC1006", where, f"'{key[:80]}' lies inside of a value that is no table")
        cast("Document", node)[last] = _scalar(value)
    return _drop_facts(changed, {key.partition(".")[0] for key in overrides} | set(overrides))


def _enter(node: object, table: str, key: str, where: str) -> object:
    if isinstance(node, dict):
        return cast("Document", node).setdefault(table, {})
    if not isinstance(node, list):
        raise UsageError("OC1006", where, f"'{key[:80]}' lies inside of a value that is no table")
    rows = cast("list[object]", node)
    if not table.isdecimal() or len(table) > 4 or int(table) >= len(rows):
        limit = f"There are {len(rows)}, counted from 0"
        raise UsageError("OC1006", where, f"'{key[:80]}': there is no '{table[:20]}' in the list", limit=limit)
    return rows[int(table)]


def _scalar(value: Override) -> Override:
    """Read a text as TOML would: a whole number, a decimal, true or false, otherwise the text itself."""
    if not isinstance(value, str):
        return value
    if re.fullmatch(r"\d{1,18}", value):
        return int(value)
    if re.fullmatch(r"\d{1,18}\.\d{1,18}", value):
        return float(value)
    return {"true": True, "false": False}.get(value, value)


def look_up(document: Document, key: str) -> object:
    """Return the value at a dotted key (`shared.0.size` picks from a list), or None where there is none."""
    node: object = document
    for part in key.split("."):
        if isinstance(node, list) and part.isdecimal() and int(part) < len(cast("list[object]", node)):
            node = cast("list[object]", node)[int(part)]
        elif isinstance(node, dict):
            node = cast("Document", node).get(part)
        else:
            return None
    return node


# --- between the file's tables and the schema's fields --------------------------------------------------------------


def fold(document: Document) -> Document:
    """Gather the dtype tables: `[matrix.int8]` becomes `matrix.arrays.int8`."""
    folded = dict(document)
    for table, field in DTYPE_TABLES.items():
        if isinstance(folded.get(table), dict):
            items = cast("Document", folded[table])
            folded[table] = {key: value for key, value in items.items() if key not in DTYPES}
            folded[table][field] = {key: value for key, value in items.items() if key in DTYPES}
    return folded


def unfold(document: Document) -> Document:
    """Undo `fold`."""
    unfolded = dict(document)
    for table, field in DTYPE_TABLES.items():
        if table in unfolded:
            items = dict(unfolded[table])
            unfolded[table] = items | items.pop(field, {})
            unfolded[table].pop(field, None)
    return unfolded


def unfold_schema(schema: Json) -> Json:
    """Make a JSON Schema of the fields describe the file: dtype keys beside the others, `extends` allowed."""
    definitions = schema["$defs"]
    for table, field in DTYPE_TABLES.items():
        definition = definitions[table.capitalize()]
        per_dtype = definition["properties"].pop(field)["additionalProperties"]
        definition["properties"] |= dict.fromkeys(DTYPES, per_dtype)
        definition["required"] = [name for name in definition["required"] if name != field]
    chip = {key: value for key, value in schema.items() if key != "$defs"}
    chip["properties"] = {"extends": {"type": "string", "description": "a parent chip"}} | chip["properties"]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "onchip chip file, schema 1",
        "if": {"required": ["extends"]},
        "then": {"type": "object", "required": ["name"]},
        "else": {"$ref": "#/$defs/Chip"},
        "$defs": definitions | {"Chip": chip},
    }


# --- what is wrong ------------------------------------------------------------------------------------------------


def explain(error: ValidationError, where: str, schema: Json) -> OnchipError:
    """Turn the first complaint of pydantic into ours: unknown key, missing field, or a value that does not fit."""
    complaints = error.errors(include_url=False)
    rank = {"unexpected_keyword_argument": 0, "literal_error": 1, "missing": 3}  # a misspelt key also makes one missing
    first = min(complaints, key=lambda complaint: rank.get(complaint["type"], 2))
    places = [str(part) for part in first["loc"] if part not in DTYPE_TABLES.values()]
    if places and places[-1] == "[key]":
        known = tuple(re.findall(r"'([^']*)'", str(first.get("ctx", {}).get("expected", ""))))
        return _unknown_key(places[:-1], known, where)
    path = ".".join(places)
    if first["type"] == "unexpected_keyword_argument":
        return _unknown_key(places, known_keys(schema, places[:-1]), where)
    if first["type"] == "missing":
        return BadFile("OC1103", where, f"'{path}' is missing", next=f"Add {path} with its source")
    message = first["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    fact = message if first["type"] == "value_error" else f"should be {message}, not {str(first['input'])[:60]!r}"
    return BadFile("OC1105", where, f"{path}: {fact}")


def _unknown_key(places: list[str], known: tuple[str, ...], where: str) -> OnchipError:
    table = ".".join(places[:-1])
    prefix = f"{table}." if table else ""
    hint = did_you_mean(places[-1][:80], known, n=1).replace("'", f"'{prefix}", 1)
    fact = f"unknown key '{prefix}{places[-1][:80]}'"
    return BadFile("OC1102", where, fact, next=hint or f"There are: {', '.join(known)}")


def known_keys(schema: Json, places: list[str]) -> tuple[str, ...]:
    """Return the keys that the published schema allows in the table at `places`."""
    node = schema["$defs"]["Chip"]
    for place in places:
        node = node.get("items", {}) if place.isdecimal() else node.get("properties", {}).get(place, {})
        node = next((option for option in node.get("anyOf", []) if "$ref" in option), node)
        node = schema["$defs"].get(str(node.get("$ref", "")).removeprefix("#/$defs/"), node)
    return tuple(node.get("properties", {}))


# --- writing ------------------------------------------------------------------------------------------------------


def write_toml(document: Document) -> str:
    """Return the document as TOML: plain values first, then one table per section, deeper ones inline."""
    lines = [f"{_key(key)} = {_value(value)}" for key, value in document.items() if not _is_table(value)]
    for key, value in document.items():
        rows = cast("list[Document]", value if isinstance(value, list) else [value]) if _is_table(value) else []
        for row in rows:
            lines += ["", f"[[{_key(key)}]]" if isinstance(value, list) else f"[{_key(key)}]"]
            lines += [f"{_key(name)} = {_value(item)}" for name, item in row.items()]
    return "\n".join(lines) + "\n"


def _is_table(value: object) -> bool:
    return isinstance(value, dict) or (
        isinstance(value, list) and bool(value) and all(isinstance(row, dict) for row in cast("list[object]", value))
    )


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else _plain(name)


def _value(value: object) -> str:
    if isinstance(value, dict):
        items = ", ".join(f"{_key(key)} = {_value(item)}" for key, item in cast("Document", value).items())
        return f"{{ {items} }}" if items else "{}"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(_value(item) for item in cast('list[object]', value))}]"
    return _plain(value)


def _plain(value: object) -> str:
    """Write a text, number or truth value: JSON's way is TOML's, but for the DEL character."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
