"""A SCALE-Sim configuration as a chip file: the same array, dataflow, memories and bandwidth.

In:       the text of a .cfg file (sections general, architecture_presets, run_presets) and where it came from.
Out:      the document of a chip file; what SCALE-Sim does not know (clock, vector unit) is listed in its `assumed`.
Promises: the file is untrusted: its size is limited by whoever read it, numbers by LARGEST; nothing is guessed for a
          key that is missing, a key of architecture_presets that SCALE-Sim does not have is refused with the nearest
          one, and what has no counterpart (input-stationary, sparse) is refused by name.
Does not: simulate as SCALE-Sim does: it takes the numbers, the machine is ours. docs/scale-sim.md tells them apart.
Sources:  https://scale-sim-project.readthedocs.io; Samajdar 2018 (arXiv 1811.02883), section 3.
"""

from __future__ import annotations

import re
from configparser import ConfigParser
from configparser import Error as SyntaxProblem
from typing import Any

from onchip.errors import BadFile, NotSupported, did_you_mean

Document = dict[str, Any]
LARGEST = 2**20  # of any number in the file: cells, KiB, words a cycle
CLOCK_HZ = 10**9  # assumed: SCALE-Sim counts cycles only
FREE = 2**20  # bytes a cycle where the file asks for the bandwidth that never stalls (InterfaceBandwidth = CALC)
KIB = 1024
DATAFLOWS = {"ws": "weight_stationary", "os": "output_stationary"}
# the keys of architecture_presets that change nothing here: addresses of traces, banks and ports of its own memories
WITHOUT_EFFECT = (
    *("ifmapoffset", "filteroffset", "ofmapoffset", "memorybanks", "onchipmemorybanks", "onchipmemorybankports"),
    *("readrequestbuffer", "writerequestbuffer", "ifmapcustomlayout", "filtercustomlayout", "wordbyte"),
    *("ifmapsrambankbandwidth", "ifmapsrambanknum", "ifmapsrambankport", "usedrambandwidth", "topologycsvloc"),
    *("filtersrambankbandwidth", "filtersrambanknum", "filtersrambankport"),
)
USED = ("ArrayHeight", "ArrayWidth", "IfmapSramSzkB", "FilterSramSzkB", "OfmapSramSzkB", "Dataflow", "Bandwidth")
ASSUMED = (
    *("clock.core", "vector.lanes", "local.banks", "local.read", "local.write", "local.weight_read"),
    *("dram.size", "dram.latency"),
)


def chip_document(text: str, where: str, name: str) -> Document:
    """Return the document of a chip file. Raises BadFile and NotSupported (OC1108)."""
    presets, run = _sections(text, where)
    rows, cols = (_number(presets, key, where) for key in USED[:2])
    ifmap, filters, ofmap = (_number(presets, key, where, "szkb", "sz") for key in USED[2:5])
    flow = presets.get("dataflow", "").lower()
    if flow not in DATAFLOWS:
        raise _unmapped(where, "Dataflow", presets.get("dataflow", ""), "there are ws and os")
    has_limit, bandwidth = _bandwidth(presets, run, where)
    limits = f"{bandwidth} words a cycle for all three operands" if has_limit else "no limit (CALC)"
    return {
        "name": name,
        "family": "scale-sim",
        "description": f"{rows} x {cols} {flow} array of a SCALE-Sim configuration; far memory: {limits}",
        "evidence": "program",
        "toolchain": "onchip",  # no silicon behind it: the program's own time is the only one
        "default_dtype": "int8",
        "source": "a SCALE-Sim configuration; words are bytes, weights load between folds (docs/scale-sim.md)",
        "assumed": list(ASSUMED),
        "clock": {"core": "1 GHz"},
        "cores": {"count": 1},
        "matrix": {
            "dataflow": DATAFLOWS[flow],
            "units": 1,
            "weight_load": "serial",
            "row_packing": "CRS",
            "depthwise": "vector",
            "int8": {"accumulate": "int32", "rows": rows, "cols": cols},
        },
        "vector": {"lanes": cols},
        "local": {
            "size": f"{ifmap + filters + ofmap} KiB",
            "accumulator": f"{4 * ofmap} KiB",  # as many sums: ours have four bytes
            "banks": 1,
            "read": f"{rows + cols} B/cycle",  # both edges of the array
            "write": f"{cols} B/cycle",
            "weight_read": f"{cols} B/cycle",
        },
        "dram": {"size": "64 GiB", "bandwidth": f"{bandwidth * CLOCK_HZ} B/s", "latency": "0 s"},
        "rounding": {"modes": ["single"]},
    }


def chip_name(stem: str) -> str:
    """Return a file's name as the name of a chip: letters, digits and . _ -."""
    return re.sub(r"[^a-z0-9._-]+", "-", stem.lower()).strip("-._")[:64] or "scale-sim"


def _sections(text: str, where: str) -> tuple[dict[str, str], dict[str, str]]:
    """Return the keys of architecture_presets and run_presets in lower case, after a look at the others."""
    parser = ConfigParser(interpolation=None)
    try:
        parser.read_string(text)
    except (SyntaxProblem, ValueError) as error:
        fact = " ".join(str(error).split())[:160]
        raise BadFile("OC1108", where, f"this is no configuration: {fact}", next="Mend the line") from None
    if not parser.has_section("architecture_presets"):
        raise BadFile("OC1108", where, "it has no section architecture_presets", next="Name a file of SCALE-Sim")
    presets = dict(parser.items("architecture_presets"))
    known = [key.lower() for key in USED] + [key.lower().removesuffix("kb") for key in USED[2:5]]
    for key in presets:
        if key not in known and key not in WITHOUT_EFFECT:
            hint = did_you_mean(key, [*known, *WITHOUT_EFFECT]) or f"Keys with effect: {', '.join(USED)}"
            raise BadFile("OC1108", where, f"unknown key '{key[:60]}' in architecture_presets", next=hint)
    if parser.has_section("sparsity") and parser.get("sparsity", "sparsitysupport", fallback="").lower() == "true":
        raise _unmapped(where, "SparsitySupport", "true", "sparse weights are priced as dense ones")
    return presets, dict(parser.items("run_presets")) if parser.has_section("run_presets") else {}


def _number(presets: dict[str, str], key: str, where: str, *ends: str) -> int:
    """Return a number of the file; `ends` are the endings that versions of SCALE-Sim give its key."""
    stem = key.lower().removesuffix(ends[0]) if ends else key.lower()
    text = next((presets[stem + end] for end in ends or ("",) if stem + end in presets), None)
    if text is None:
        raise BadFile("OC1108", where, f"{key} is missing", next=f"Add {key} to architecture_presets")
    return _whole(text, key, where)


def _whole(text: str, key: str, where: str) -> int:
    if not re.fullmatch(r"[0-9]{1,7}", text.strip()) or not 1 <= int(text) <= LARGEST:
        limit = f"it takes whole numbers from 1 to {LARGEST}"
        raise BadFile("OC1108", where, f"{key} is '{text[:40]}'", limit=limit, next=f"Change {key}")
    return int(text)


def _bandwidth(presets: dict[str, str], run: dict[str, str], where: str) -> tuple[bool, int]:
    """Return whether far memory has a limit, and its bytes a cycle: the least of the listed, as SCALE-Sim takes it."""
    mode = run.get("interfacebandwidth", "CALC").strip().upper()
    if mode not in ("CALC", "USER"):
        raise BadFile("OC1108", where, f"InterfaceBandwidth is '{mode[:40]}'", limit="there are CALC and USER")
    if mode == "CALC":
        return False, FREE
    if "bandwidth" not in presets:
        raise BadFile("OC1108", where, "InterfaceBandwidth is USER, and Bandwidth is missing", next="Add Bandwidth")
    return True, min(_whole(text, "Bandwidth", where) for text in presets["bandwidth"].split(","))


def _unmapped(where: str, key: str, value: str, limit: str) -> NotSupported:
    hint = "Choose another value, or begin a chip file of your own: onchip chips new"
    return NotSupported("OC1108", where, f"{key} = '{value[:40]}' has no counterpart", limit=limit, next=hint)
