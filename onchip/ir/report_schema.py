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
BOUND: Schema = {"enum": sorted(set(BOUNDS.values()))}


def report_schema() -> Schema:
    """Return the schema of a report's JSON object."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"onchip report {SCHEMA_VERSION}",
        "description": "What a network costs on a chip, and why. Everything but `timing` is the same on every run.",
        **_object(
            {
                "schema_version": {"const": SCHEMA_VERSION},
                "tool": TEXT,
                "model": _object({"name": TEXT, "hash": HASH, "macs": COUNT, "parameters": COUNT}),
                "chip": _object({"name": TEXT, "hash": HASH, "evidence": {"enum": ["rtl", "program", "estimate"]}}),
                "batch": {"type": "integer", "minimum": 1},
                "dtype": TEXT,
                "latency_s": _quantity("s"),
                "throughput_per_s": _quantity("1/s"),
                "energy_j": _or_null(_quantity("J")),
                "power_w": _or_null(_quantity("W")),
                "utilization": _quantity(""),
                "memory": _object(
                    {"local_peak_bytes": COUNT, "local_bytes": COUNT, "layer": TEXT, "dram_traffic_bytes": COUNT}
                ),
                "bound": BOUND,
                "waterfall": _waterfall(),
                "energy_parts": _list(_object({"part": TEXT, "joules": {"type": "number", "minimum": 0}})),
                "layers": _list(_layer()),
                "assumptions": _list(TEXT),
                "program_hash": {"type": "string", "pattern": "^([0-9a-f]{64})?$"},
                "bit_exact": {"type": ["boolean", "null"], "description": "null where no values were run"},
                "cycles": COUNT,
                "timing": {"type": "object", "additionalProperties": NUMBER},
            }
        ),
    }


def _layer() -> Schema:
    return _object(
        {
            "name": TEXT,
            "nodes": _list(TEXT),
            "kind": TEXT,
            "cycles": COUNT,
            "latency_s": _quantity("s"),
            "energy_j": _or_null(_quantity("J")),
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
        }
    )


def _waterfall() -> Schema:
    part = _object({"part": {"enum": PARTS}, "seconds": {"type": "number", "minimum": 0}})
    return {**_list(part), "description": "the parts sum to the latency"}


def _quantity(unit: str) -> Schema:
    band: Schema = {"type": ["number", "null"], "description": "null where nobody has validated a band"}
    return _object(
        {
            "value": NUMBER,
            "unit": {"const": unit},
            "low": band,
            "high": band,
            "provenance": {"enum": list(get_args(Provenance))},
            "fidelity": {"enum": list(get_args(Fidelity))},
        }
    )


def _object(properties: Schema) -> Schema:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _list(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def _or_null(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}
