"""The JSON Schemas of what verbs print with `--json`, published as VERB-1.json beside this file.

In:       nothing; the fields are those that the verbs write.
Out:      `verb_schemas()`, file name -> schema (draft 2020-12); each refuses unknown fields.
Promises: tests validate the real output of every verb; a change that breaks readers gets a new number.
Does not: hold the schema of `estimate` and `run`: theirs is report-1.json (ir/report_schema.py).
"""

from __future__ import annotations

from onchip.ir.check import UNITS
from onchip.ir.report_schema import (
    BOUND,
    COUNT,
    EVIDENCE,
    HASH,
    NUMBER,
    SHARE,
    TEXT,
    TIMING,
    TOOL,
    Schema,
    list_of,
    object_of,
    or_null,
    published,
    quantity_of,
    report_object,
)

CODE: Schema = {"type": "string", "pattern": "^OC[0-9]{4}$"}
POSITIVE: Schema = {"type": "integer", "minimum": 1}


def verb_schemas() -> dict[str, Schema]:
    """Return the schema of each verb that has one of its own, by file name."""
    made = {
        "demo": ("Networks from training to the chip, and one of them on several chips.", _demo()),
        "check": ("Where each op of a network runs on a chip, and what is refused.", _check()),
        "compare": ("One network on several chips, fastest first.", _compare()),
        "compile": ("What a program is.", _compile()),
        "quantize": ("What int8 costs a network in precision, layer by layer.", _quantize()),
        "inspect": ("The nodes of a network.", _inspect()),
        "chips": ("The catalog of chips, one chip as TOML, two compared, or a new file.", _chips()),
        "models": ("The networks of the zoo, at batch 1.", _models()),
        "train": ("A trained network.", _train()),
        "validate": ("Errors of predictions against measurements, per group of rows; percentages.", _validate()),
        "calibrate": ("Numbers of a chip fitted to measurements, and errors of rows left out.", _calibrate()),
        "measure": ("A network run on the machine at hand beside its forecast, seconds.", _measure()),
        "explain": ("Error codes.", _explain()),
    }
    return {f"{verb}-1.json": published(verb, about, schema) for verb, (about, schema) in made.items()}


def _demo() -> Schema:
    network: Schema = {
        "name": TEXT,
        "float_accuracy": SHARE,
        "chip_accuracy": SHARE,
        "test_images": POSITIVE,
        "bit_exact": {"type": "boolean"},
        "cycles_per_image": COUNT,
        "latency_s": quantity_of("s"),
        "energy_j": or_null(quantity_of("J")),
    }
    row: Schema = {
        "network": TEXT,
        "chip": TEXT,
        "batch": POSITIVE,
        "dtype": TEXT,
        "latency_s": quantity_of("s"),
        "bound": BOUND,
    }
    return object_of({"networks": list_of(object_of(network)), "comparison": list_of(object_of(row))})


def _check() -> Schema:
    cause = object_of({"code": CODE, "fact": TEXT, "limit": TEXT, "next": TEXT})
    sums: Schema = {"macs": COUNT, "vector_ops": COUNT}
    unit: Schema = {"enum": list(UNITS)}
    texts: Schema = dict.fromkeys(("name", "op", "runs_as"), TEXT)
    told: Schema = {"is_added": {"type": "boolean"}, "reason": TEXT, "refused": or_null(cause)}
    return object_of(
        {
            **TOOL,
            "model": object_of({"name": TEXT, "hash": HASH, "macs": COUNT, "parameters": COUNT}),
            "chip": object_of({"name": TEXT, "hash": HASH, "evidence": EVIDENCE}),
            "batch": POSITIVE,
            "dtype": TEXT,
            "is_refused": {"type": "boolean"},
            "units": list_of(object_of({"unit": unit, "nodes": COUNT, **sums})),
            "network": list_of(cause),
            "nodes": list_of(object_of({**texts, "unit": unit, "kernel": TEXT, **sums, **told})),
        }
    )


def _compare() -> Schema:
    refused = object_of({"chip": TEXT, "error": TEXT, "code": CODE})
    return object_of(
        {**TOOL, "reports": list_of(report_object()), "refused": list_of(refused), "timing": TIMING},
    )


def _compile() -> Schema:
    streams: Schema = dict.fromkeys(("LOAD", "MATRIX", "VECTOR", "STORE"), COUNT)
    return object_of(
        {
            **TOOL,
            "model": object_of({"name": TEXT, "hash": HASH}),
            "chip": object_of({"name": TEXT, "hash": HASH, "evidence": EVIDENCE}),
            "dtype": TEXT,
            "batch": POSITIVE,
            "kernels": COUNT,
            "instructions": object_of(streams),
            "constant_bytes": COUNT,
            "far_memory_bytes": COUNT,
            "program_hash": HASH,
            "weights": {"enum": ["random", "given"]},
        }
    )


def _quantize() -> Schema:
    db = or_null(NUMBER)
    ratios: Schema = dict.fromkeys(("isolated_db", "cumulative_db", "restored_db"), db)
    layer = object_of({"name": TEXT, "op": TEXT, **ratios, "gain_db": NUMBER, "rank": POSITIVE})
    method: Schema = {"enum": ["minmax", "percentile", "mse"]}
    return object_of(
        {
            **TOOL,
            "model": object_of({"name": TEXT, "hash": HASH}),
            "method": method,
            "samples": POSITIVE,
            "sqnr_db": db,
            "methods": list_of(object_of({"method": method, "sqnr_db": db})),
            "layers": list_of(layer),
            "target_db": db,
            "is_reached": {"type": "boolean"},
            "int16": list_of(object_of({"name": TEXT, "sqnr_db": db, "added_cycles": or_null(COUNT)})),
            "chip": or_null(TEXT),
            "int8_cycles": or_null(COUNT),
            "assumptions": list_of(TEXT),
        }
    )


def _inspect() -> Schema:
    tensor = object_of({"name": TEXT, "shape": list_of({"type": ["integer", "string"]}), "dtype": TEXT})
    node = object_of(
        {
            "name": TEXT,
            "op": TEXT,
            "inputs": list_of(TEXT),
            "outputs": list_of(tensor),
            "macs": COUNT,
            "parameters": COUNT,
        }
    )
    return object_of(
        {
            **TOOL,
            "name": TEXT,
            "hash": HASH,
            "macs": COUNT,
            "parameters": COUNT,
            "open_dimensions": list_of(TEXT),
            "inputs": list_of(tensor),
            "outputs": list_of(tensor),
            "nodes": list_of(node),
        }
    )


def _chips() -> Schema:
    texts: Schema = dict.fromkeys(("name", "family", "default_dtype", "description"), TEXT)
    listed = object_of({**texts, "evidence": EVIDENCE, "hash": HASH, "dtypes": list_of(TEXT)})
    one = object_of({**TOOL, "name": TEXT, "hash": HASH, "toml": TEXT})
    side: Schema = {"type": ["string", "number", "null"]}
    row = object_of({"key": TEXT, "a": side, "b": side, "ratio": or_null({"type": "number"})})
    two = object_of({**TOOL, "a": TEXT, "b": TEXT, "differences": list_of(row)})
    made = object_of({**TOOL, "name": TEXT, "from": TEXT, "file": TEXT})
    return {"anyOf": [object_of({**TOOL, "chips": list_of(listed)}), one, two, made]}


def _models() -> Schema:
    listed = object_of({"name": TEXT, "macs": COUNT, "parameters": COUNT, "nodes": COUNT})
    return object_of({**TOOL, "models": list_of(listed)})


def _train() -> Schema:
    return object_of(
        {
            **TOOL,
            "name": TEXT,
            "float_accuracy": SHARE,
            "int8_accuracy": or_null(SHARE),
            "test_images": POSITIVE,
            "seed": COUNT,
        }
    )


def _validate() -> Schema:
    number: Schema = {"type": "number"}
    above: Schema = {"type": "number", "minimum": 0}
    rank: Schema = {"type": "number", "minimum": -1, "maximum": 1}
    group: Schema = {
        **dict.fromkeys(("chip", "workload", "metric", "dtype", "timing"), TEXT),
        "n": POSITIVE,
        "median_abs_pct_error": above,
        "p90_abs_pct_error": above,
        "bias_pct": number,
        "rank_correlation": or_null(rank),
        "baseline_roofline_median": or_null(above),
        "baseline_simple_median": or_null(above),
    }
    refused = object_of({"row": POSITIVE, "reason": TEXT})
    beaten = object_of({"row": POSITIVE, "metric": TEXT, "measured": above, "bound": above})
    return object_of(
        {
            **TOOL,
            "groups": list_of(object_of(group)),
            "refused": list_of(refused),
            "beats_bound": list_of(beaten),
            "seconds": above,
        }
    )


def _calibrate() -> Schema:
    above: Schema = {"type": "number", "minimum": 0}
    errors = object_of({"median_abs_pct_error": above, "p90_abs_pct_error": above})
    scalar = object_of(dict.fromkeys(("key", "before", "fitted", "low", "high"), TEXT))
    return object_of(
        {
            **TOOL,
            "chip": object_of({"name": TEXT, "hash": HASH}),
            "scalars": list_of(scalar),
            "idle": list_of(TEXT),
            "rows": POSITIVE,
            "shapes": POSITIVE,
            "before": errors,
            "inside": errors,
            "left_out": or_null(errors),
            "implausible": list_of(TEXT),
            "refused": list_of(object_of({"row": POSITIVE, "reason": TEXT})),
            "file": or_null(TEXT),
            "timing": TIMING,
        }
    )


def _measure() -> Schema:
    above: Schema = {"type": "number", "minimum": 0}
    named = object_of({"name": TEXT, "hash": HASH})
    probe = object_of({"name": TEXT, "value": above, "unit": TEXT, "threads": POSITIVE, "spread": above})
    layer = object_of({"name": TEXT, "op": TEXT, **dict.fromkeys(("measured_s", "median_s", "predicted_s"), above)})
    times: Schema = dict.fromkeys(("measured_s", "predicted_s", "fastest_run_s", "median_run_s"), above)
    return object_of(
        {
            **TOOL,
            "model": named,
            "chip": named,
            "machine": object_of({"name": TEXT, "runtime": TEXT, "threads": POSITIVE}),
            "dtype": TEXT,
            "busy": or_null(TEXT),
            "probes": list_of(probe),
            "runs": POSITIVE,
            **times,
            "median_abs_pct_error": or_null(above),
            "p90_abs_pct_error": or_null(above),
            "layers": list_of(layer),
            "refused": list_of(object_of({"layer": TEXT, "reason": TEXT})),
            "file": or_null(TEXT),
            "timing": TIMING,
        }
    )


def _explain() -> Schema:
    entry = object_of({"code": CODE, "title": TEXT, "cause": TEXT, "fixes": list_of(TEXT), "example": TEXT})
    return object_of({**TOOL, "codes": list_of(entry)})
