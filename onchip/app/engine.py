"""Questions of the app and their answers, as JSON objects; runs inside a worker process.

In:       {"verb": one of VERBS, ...}; what a verb reads stands at its function.
Out:      the answer of the verb, or {"error": {"code", "where", "fact", "limit", "next", "text"}}.
Promises: a question of any shape gives an answer or an error of ours, never an exception; nothing is written.
Does not: know about HTTP, tokens or files of users beyond the paths that the server puts in `uploads`.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from typing import Any, cast

from onchip.errors import InternalError, OnchipError, UsageError

Json = dict[str, Any]
MOST_CHIPS = 100  # of one comparison
LONGEST = 400  # characters of a name or a value


def answer(question: Any, uploads: Mapping[str, str]) -> Json:
    """Return the answer to a question; `uploads` are the paths of files by the names that questions use."""
    try:
        asked = cast(Json, question) if isinstance(question, dict) else {}
        verb = asked.get("verb")
        if not isinstance(verb, str) or verb not in VERBS:
            raise _malformed("verb", f"there is no such question; there are {', '.join(VERBS)}")
        return VERBS[verb](asked, uploads)
    except OnchipError as error:
        return failure(error)
    except MemoryError:
        return failure(UsageError("OC1603", "app", "the work needs more memory than a worker has", next=SMALLER))
    except RecursionError:
        return failure(UsageError("OC1603", "app", "the file is nested too deeply", next=SMALLER))
    except Exception as error:  # a worker lives on: the user sees a bug of ours as one
        return failure(InternalError("OC9099", "app", f"{type(error).__name__}: {error}"[:LONGEST]))


SMALLER = "Take a smaller batch or network, or raise --memory"


def failure(error: OnchipError) -> Json:
    """Return an error as the app shows it."""
    parts = ("code", "where", "fact", "limit", "next")
    return {"error": {**{part: getattr(error, part) for part in parts}, "text": str(error)}}


def _malformed(where: str, fact: str) -> UsageError:
    return UsageError("OC1604", where[:80], fact[:LONGEST])


def _text(question: Json, key: str, default: str | None = None) -> str:
    value = question.get(key, default)
    if not isinstance(value, str) or len(value) > LONGEST:
        raise _malformed(key, "is no text of at most 400 characters")
    return value


def _whole(question: Json, key: str) -> int | None:
    value = question.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 1 << 20:
        raise _malformed(key, "is no whole number from 1 to 1048576")
    return value


def _graph(question: Json, uploads: Mapping[str, str]) -> Any:
    """Read "model": a network of the zoo (`@name`) or an upload (its name); "seq": the length of sequences.

    No other path or module is opened, whatever the question says.
    """
    from onchip import pipeline
    from onchip.zoo.catalog import build

    model, length = _text(question, "model"), _whole(question, "seq")
    if model.startswith("@"):
        return build(model, seq=length) if length else build(model)
    if model not in uploads:
        raise UsageError("OC1602", model[:80], "there is no such upload any more", next="Choose the file again")
    try:
        graph = pipeline.read(uploads[model])
    except OnchipError as error:
        error.where = error.where.replace(uploads[model], model.partition("/")[2])  # as the user named it
        raise
    names = [name for name in ("seq", "sequence", "seq_len", "sequence_length") if name in graph.symbols]
    return graph.bind(**{names[0]: length}) if length and names else graph


def _chip(question: Json) -> Any:
    """Read "chip": a name of the catalog, and "overrides": dotted keys with texts or numbers."""
    from onchip.chip import Chip

    name, overrides = _text(question, "chip"), question.get("overrides") or {}
    if name not in Chip.names():
        raise UsageError("OC1604", "chip", f"the catalog has no chip '{name[:40]}'")
    if not isinstance(overrides, dict) or len(cast(Json, overrides)) > 100:
        raise _malformed("overrides", "are no table of at most 100 keys")
    given = {str(key): value for key, value in cast(Json, overrides).items()}
    if any(not isinstance(v, (str, int, float)) or len(str(v)) > LONGEST or len(k) > LONGEST for k, v in given.items()):
        raise _malformed("overrides", "have a value that is no text or number")
    chip = Chip.load(name)
    return chip.replace(given) if given else chip


def _case(question: Json, uploads: Mapping[str, str]) -> Any:
    from onchip.case import Case

    dtype = question.get("dtype")
    dtype = None if dtype is None else _text(question, "dtype")
    return Case(_graph(question, uploads), _chip(question), _whole(question, "batch"), dtype)


def _estimate(question: Json, uploads: Mapping[str, str]) -> Json:
    """Price "model" on "chip" with "overrides", "batch", "seq", "dtype"; the answer is a page."""
    from onchip import pages, pipeline

    case, seen = _case(question, uploads), dict[str, Any]()
    report = pipeline.estimate(case.bound, case.chip, dtype=case.dtype, watch=seen.__setitem__)
    return {"page": pages.page(report, case.chip).to_json()}


def _document(question: Json, uploads: Mapping[str, str]) -> Json:
    """Price as `estimate` does; the answer is the report with all of its parts, as one HTML file."""
    from onchip import pages, pipeline
    from onchip.reports.html import page_html

    case, seen = _case(question, uploads), dict[str, Any]()
    report = pipeline.estimate(case.bound, case.chip, dtype=case.dtype, watch=seen.__setitem__)
    return {"html": page_html(pages.page(report, case.chip, seen)), "name": f"{report.model.name}-{report.chip.name}"}


def _compare(question: Json, uploads: Mapping[str, str]) -> Json:
    """Price "model" on each of "chips" (default: the catalog); the answer has a row a chip, and who is left out."""
    from onchip import pipeline
    from onchip.chip import Chip
    from onchip.ir.notebook import comparison_rows

    names = question.get("chips") or list(Chip.names())
    if not isinstance(names, list) or len(cast(list[Any], names)) > MOST_CHIPS:
        raise _malformed("chips", f"are no list of at most {MOST_CHIPS} names")
    graph, batch, rows, refused = _graph(question, uploads), _whole(question, "batch"), list[Json](), list[Json]()
    graph = graph.bind(batch=batch) if batch is not None and "batch" in graph.symbols else graph
    for name in cast(list[Any], names):
        try:
            report = pipeline.on_silicon(graph, _chip({"chip": name}))
            rows.append({**comparison_rows([report])[0], "band": report.latency_s.band})
        except OnchipError as error:
            refused.append({"chip": str(name)[:80], "reason": str(error)})
    return {"rows": sorted(rows, key=lambda row: (row["latency_s"], row["chip"])), "refused": refused}


def _inspect(question: Json, uploads: Mapping[str, str]) -> Json:
    """Read "model"; the answer is its size and its inputs."""
    graph = _graph(question, uploads)
    shapes = [{"name": n, "shape": list(graph.tensor(n).shape), "dtype": graph.tensor(n).dtype} for n in graph.inputs]
    macs = None if graph.symbols else graph.macs()
    sizes = {"nodes": len(graph.nodes), "parameters": graph.parameters(), "macs": macs}
    return {"name": graph.name, **sizes, "inputs": shapes, "symbols": list(graph.symbols)}


def _describe(question: Json, _uploads: Mapping[str, str]) -> Json:
    """Read "chip" with "overrides" and "dtype"; the answer is every number of its file, and what its drawing shows."""
    from onchip.chip import Chip
    from onchip.reports.chip_view import chip_part

    chip = _chip(question)
    dtype = next((one for one in chip.dtypes if one == question.get("dtype")), chip.default_dtype)
    array = chip.matrix.array(dtype, chip.name)
    sizes = array.native or (array.rows, array.cols)
    return {
        "name": chip.name, "evidence": chip.evidence, "dtypes": list(chip.dtypes), "default": chip.default_dtype,
        "values": flat(tomllib.loads(str(Chip.load(_text(question, "chip"))))), "array": " x ".join(map(str, sizes)),
        "peak_ops_per_s": chip.peak_ops_per_s(dtype), "lanes": chip.vector.lanes, "cores": chip.cores.count,
        "clock_hz": chip.clock_of(dtype), "memories": chip_part(chip, dtype)["memories"],
    }  # fmt: skip


def flat(table: Any, before: str = "") -> dict[str, str]:
    """Return the numbers and texts of a document by their dotted keys; lists of plain values are left out."""
    found: dict[str, str] = {}
    pairs = enumerate(cast(list[Any], table)) if isinstance(table, list) else cast(Json, table).items()
    for key, value in pairs:
        name = f"{before}.{key}" if before else str(key)
        if isinstance(value, (dict, list)):
            found |= flat(cast(Any, value), name) if not _is_plain(value) else {}
        else:
            found[name] = str(value).lower() if isinstance(value, bool) else str(value)
    return found


def _is_plain(value: Any) -> bool:
    return isinstance(value, list) and not any(isinstance(one, (dict, list)) for one in cast(list[Any], value))


def _catalog(_question: Json, _uploads: Mapping[str, str]) -> Json:
    """Return the chips and networks that there are."""
    from onchip.chip import Chip
    from onchip.zoo.catalog import ZOO

    chips = [Chip.load(name) for name in Chip.names()]
    keys = ("name", "family", "description", "evidence", "default_dtype")
    return {
        "chips": [{**{key: getattr(chip, key) for key in keys}, "dtypes": list(chip.dtypes)} for chip in chips],
        "models": [f"@{name}" for name in ZOO],
    }


VERBS: dict[str, Callable[[Json, Mapping[str, str]], Json]] = {
    "catalog": _catalog,
    "inspect": _inspect,
    "chip": _describe,
    "estimate": _estimate,
    "compare": _compare,
    "document": _document,
}
