"""The JSON Schema of `estimate --json` and `run --json`, published as onchip/schemas/report-1.json.

In:       nothing; the fields are those that `Report.to_json` writes.
Out:      a schema (draft 2020-12) that refuses unknown fields.
Promises: a test compares the published file with this one and validates real reports against it; a change that breaks
          readers gets a new number, here and in `schema_version`.
"""

from __future__ import annotations

from typing import Any, get_args

from onchip.ir.report import SCHEMA_VERSION
from onchip.ir.trace import BOUNDS, CAUSES
from onchip.units import Fidelity, Provenance

Schema = dict[str, Any]
NUMBER: Schema = {"type": "number"}
COUNT: Schema = {"type": "integer", "minimum": 0}
SHARE: Schema = {"type": "number", "minimum": 0, "maximum": 1}
TEXT: Schema = {"type": "string"}
HASH: Schema = {"type": "string", "pattern": "^[0-9a-f]{64}$"}
PARTS = [*CAUSES, "host"]
TOOL: Schema = {"schema_version": {"const": SCHEMA_VERSION}, "tool": TEXT}
RATES = ("clock_hz", "cores", "peak_ops_per_s", "dram_bytes_per_s", "local_bytes")
TIMING: Schema = {"type": "object", "additionalProperties": NUMBER}
EVIDENCE: Schema = {"enum": ["rtl", "program", "estimate"]}
BOUND: Schema = {"enum": sorted(set(BOUNDS.values()))}


def report_schema() -> Schema:
    """Return the schema of a report's JSON object."""
    about = "What a network costs on a chip, and why. Everything but `timing` is the same on every run."
    schema = report_object()
    told = {**_explanation(), "description": "with --explain: what other assumptions would give, in cycles"}
    more = {"explain": told, "actions": actions_object()}
    return published("report", about, {**schema, "properties": {**schema["properties"], **more}})


def actions_object() -> Schema:
    """Return the schema of what was tried and helped: the part `actions` of a page."""
    share = or_null({"type": "number", "description": "of the time or energy per inference, negative is better"})
    verified = {
        **{"time": NUMBER, "energy": share, "seconds": NUMBER, "joules": or_null(NUMBER)},
        **{"how": {"enum": ["simulated", "estimated", "forecast"]}, "program": share},
    }
    texts = dict.fromkeys(("text", "command", "effort", "risk"), TEXT)
    settings = {"type": "object", "additionalProperties": TEXT}
    action = {**texts, "settings": settings, "predicted": object_of({"time": share}), "verified": object_of(verified)}
    told = {
        **{"base": object_of({"seconds": NUMBER, "joules": or_null(NUMBER)}), "tried": COUNT, "least_gain": NUMBER},
        "actions": list_of(object_of(action)),
    }
    return {**object_of(told), "description": "with --actions: changes that were run again and helped, best first"}


def published(name: str, about: str, schema: Schema) -> Schema:
    """Return a schema as it stands in its file."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"onchip {name} {SCHEMA_VERSION}",
        "description": about,
        **schema,
    }


def report_object(*, inner: bool = False) -> Schema:
    """Return the schema of a report without its head, for use inside of another one; an `inner` one has no other."""
    kind = ("silicon",) if inner else ("program", "silicon")
    return object_of(
        {
            **TOOL,
            "kind": {"enum": list(kind), "description": "ours, or the one that the vendor runs on silicon"},
            "model": object_of(
                {"name": TEXT, "hash": HASH, "macs": COUNT, "parameters": COUNT, "assumptions": list_of(TEXT)}
            ),
            "chip": object_of({"name": TEXT, "hash": HASH, "evidence": EVIDENCE, **dict.fromkeys(RATES, COUNT)}),
            "batch": {"type": "integer", "minimum": 1},
            "dtype": TEXT,
            "latency_s": quantity_of("s"),
            "throughput_per_s": quantity_of("1/s"),
            "energy_j": or_null(quantity_of("J")),
            "power_w": or_null(quantity_of("W")),
            "utilization": quantity_of(""),
            "memory": object_of(
                {"local_peak_bytes": COUNT, "local_bytes": COUNT, "layer": TEXT, "dram_traffic_bytes": COUNT}
            ),
            "bound": BOUND,
            "waterfall": _waterfall(),
            "energy_parts": list_of(object_of({"part": TEXT, "joules": {"type": "number", "minimum": 0}})),
            "layers": list_of(_layer()),
            "assumptions": list_of(TEXT),
            "program_hash": {"type": "string", "pattern": "^([0-9a-f]{64})?$"},
            "bit_exact": {"type": ["boolean", "null"], "description": "null where no values were run"},
            "cycles": COUNT,
            "silicon": {"type": "null"} if inner else or_null(report_object(inner=True)),
            "timing": TIMING,
        }
    )


def _layer() -> Schema:
    return object_of(
        {
            "name": TEXT,
            "nodes": list_of(TEXT),
            "kind": TEXT,
            "cycles": COUNT,
            "latency_s": quantity_of("s"),
            "energy_j": or_null(quantity_of("J")),
            "share": SHARE,
            "macs": COUNT,
            "utilization": SHARE,
            "bound": BOUND,
            "intensity_op_per_byte": {"type": ["number", "null"], "description": "null without DRAM traffic"},
            "attainable_ops_per_s": NUMBER,
            "dram_bytes": COUNT,
            "local_peak_bytes": COUNT,
            "cores": COUNT,
            "waterfall": _waterfall(),
            "how": TEXT,
        }
    )


def _explanation() -> Schema:
    none_or_count = or_null(COUNT)
    parts = list_of(object_of({"part": {"enum": PARTS}, "cycles": {"type": "number", "minimum": 0}}))
    mapping = {"differs_in": TEXT, "mapping": TEXT, "predicted_cycles": COUNT, "cycles": COUNT, "parts": parts}
    choice = {"assumption": TEXT, "here": TEXT, "other": TEXT, "options": TEXT, "cycles": none_or_count}
    layer = {
        **{"name": TEXT, "cycles": COUNT, "matrix_cycles": COUNT, "far_memory_cycles": COUNT},
        **{"stream_cycles_hidden": none_or_count, "stream_cycles_serial": none_or_count, "parts": parts, "why": TEXT},
    }
    searched = {
        **{"layer": TEXT, "loops": list_of(TEXT), "mappings_fitting": COUNT, "mappings_priced": COUNT},
        **{"taken": or_null(object_of(mapping)), "others": list_of(object_of(mapping))},
    }
    return object_of(
        {
            "cycles": COUNT,
            "choices": list_of(object_of({**choice, "layer_cycles": list_of(COUNT)})),
            "layers": list_of(object_of(layer)),
            "mapping": or_null(object_of(searched)),
        }
    )


def _waterfall() -> Schema:
    part = object_of({"part": {"enum": PARTS}, "seconds": {"type": "number", "minimum": 0}})
    return {**list_of(part), "description": "the parts sum to the latency"}


def quantity_of(unit: str) -> Schema:
    """Return the schema of a number with its unit, band, provenance and fidelity."""
    band: Schema = {"type": ["number", "null"], "description": "null where nobody has validated a band"}
    return object_of(
        {
            "value": NUMBER,
            "unit": {"const": unit},
            "low": band,
            "high": band,
            "provenance": {"enum": list(get_args(Provenance))},
            "fidelity": {"enum": list(get_args(Fidelity))},
        }
    )


def object_of(properties: Schema) -> Schema:
    """Return the schema of an object with exactly these fields."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def list_of(items: Schema) -> Schema:
    """Return the schema of a list."""
    return {"type": "array", "items": items}


def or_null(schema: Schema) -> Schema:
    """Return a schema that also takes null."""
    return {"anyOf": [schema, {"type": "null"}]}
