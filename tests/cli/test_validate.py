"""`validate`: the verdict, the published fields, the files, and exit code 0 whatever the errors are."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import jsonschema
import pytest

from onchip.silicon.measurements import COLUMNS
from tests.cli.conftest import Onchip

ROWS = (
    "a100-sxm-80gb,gemm,M=256;N=512;K=1024,bf16,latency_ms,0.01,device,s",
    "a100-sxm-80gb,gemm,M=512;N=512;K=1024,bf16,latency_ms,0.02,device,s",
    "a100-sxm-80gb,gemm,M=1024;N=512;K=1024,bf16,latency_ms,0.000001,device,s",
    "nobody,gemm,M=1;N=1;K=1,bf16,latency_ms,0.01,device,s",
    "a100-sxm-80gb,conv3d,N=1,bf16,latency_ms,0.01,device,s",
)
GROUP = {
    *("chip", "workload", "metric", "dtype", "timing", "n", "median_abs_pct_error", "p90_abs_pct_error", "bias_pct"),
    *("rank_correlation", "baseline_roofline_median", "baseline_simple_median"),
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "m.csv"
    path.write_text("\n".join((",".join(COLUMNS), *ROWS)) + "\n")
    return path


def test_the_verdict_comes_first_and_bad_rows_are_shown(onchip: Onchip, file: Path) -> None:
    done = onchip("validate", file)
    first, second, *rest = done.out.splitlines()
    assert (done.code, done.err) == (0, "")
    assert first.startswith("m.csv: 3 of 5 rows predicted, median error ") and " of 1 groups beat both " in first
    assert second.startswith("Next:  look at a100-sxm-80gb gemm latency_ms bf16 device, ")
    text = "\n".join(rest)
    worst = text.partition("worst rows\n")[2].splitlines()[0]
    assert worst.startswith("  row 4, a100-sxm-80gb gemm M=1024;N=512;K=1024 bf16 device: measured 1e-06, predicted ")
    assert "better than their own roofline (warm caches, resident weights, another algorithm): 1\n  row 4, " in text
    assert "refused: 2\n" in text and "1 row (first: 5): chip: OC1001 no chip is named 'nobody'." in text
    assert onchip("validate", file, "-q").out == first + "\n"


def test_the_json_has_the_published_fields(onchip: Onchip, file: Path) -> None:
    made = onchip("validate", file, "--json").valid("validate-1.json")
    (group,) = made["groups"]
    assert set(group) == GROUP and group["n"] == 3 and group["rank_correlation"] is not None
    assert [refused["row"] for refused in made["refused"]] == [5, 6]
    assert "'nobody'" in made["refused"][0]["reason"] and "'conv3d'" in made["refused"][1]["reason"]
    assert [row["row"] for row in made["beats_bound"]] == [4]
    again = onchip("validate", file, "--json").json
    assert {**made, "seconds": 0} == {**again, "seconds": 0}


def test_files_hold_all_of_it(onchip: Onchip, file: Path, tmp_path: Path) -> None:
    text, made, rows = tmp_path / "r.txt", tmp_path / "r.json", tmp_path / "rows.csv"
    assert onchip("validate", file, "-o", text, "--rows", rows).code == 0
    assert onchip("validate", file, "-q", "-o", made).code == 0
    assert text.read_text().startswith("m.csv: 3 of 5 rows")
    assert len(json.loads(made.read_text())["groups"]) == 1
    with rows.open() as opened:
        told = list(csv.DictReader(opened))
    assert [row["row"] for row in told] == ["2", "3", "4"] and [row["beats_bound"] for row in told] == ["0", "0", "1"]
    for row in told:
        error = 100 * (float(row["predicted"]) / float(row["measured"]) - 1)
        assert float(row["error_pct"]) == pytest.approx(error, rel=1e-4)


def test_nothing_to_predict_is_a_result(onchip: Onchip, tmp_path: Path) -> None:
    path = tmp_path / "none.csv"
    path.write_text(",".join(COLUMNS) + "\n" + ROWS[3] + "\n")
    done = onchip("validate", path)
    assert done.code == 0 and done.out.startswith("none.csv: none of 1 rows can be predicted.\nNext:  onchip chips ")
    assert onchip("validate", path, "--json").valid("validate-1.json")["groups"] == []


def test_a_bad_file_is_a_mistake(onchip: Onchip, file: Path, tmp_path: Path) -> None:
    file.write_text(file.read_text().replace("0.02", "fast"))
    assert "row 3, column value: 'fast' is no number above 0." in onchip("validate", file).mistake("OC1502", 2)
    onchip("validate", tmp_path / "absent.csv").mistake("OC1501", 2)
    onchip("validate", tmp_path).mistake("OC1501", 2)


def test_the_json_is_what_the_issue_promised(onchip: Onchip, file: Path) -> None:
    """Written from the promise, not from the published schema: names, kinds, null under three rows."""
    number, maybe = {"type": "number"}, {"type": ["number", "null"]}
    text = {"type": "string"}
    group = dict.fromkeys(GROUP, number) | dict.fromkeys(("chip", "workload", "metric", "dtype", "timing"), text)
    group |= dict.fromkeys(("rank_correlation", "baseline_roofline_median", "baseline_simple_median"), maybe)
    refused = {
        "type": "object",
        "required": ["row", "reason"],
        "properties": {"row": {"type": "integer"}, "reason": text},
    }
    promised = {
        "type": "object",
        "required": ["groups", "refused", "seconds"],
        "properties": {
            "groups": {"items": {"type": "object", "required": sorted(GROUP), "properties": group}},
            "refused": {"items": refused},
            "seconds": number,
        },
    }
    made = onchip("validate", file, "--json").json
    jsonschema.Draft202012Validator(promised).validate(made)
    two = file.with_name("two.csv")
    two.write_text("\n".join((",".join(COLUMNS), *ROWS[:2])) + "\n")
    (small,) = onchip("validate", two, "--json").json["groups"]
    assert small["n"] == 2 and small["rank_correlation"] is None


@pytest.mark.parametrize(
    "junk", [b"", b"\xff\xfe", b"a,b\n", b"x" * (70 << 20), ",".join(COLUMNS).encode() + b"\n,,,\n"]
)
def test_a_file_that_is_none_exits_with_2(onchip: Onchip, tmp_path: Path, junk: bytes) -> None:
    path = tmp_path / "junk.csv"
    path.write_bytes(junk)
    done = onchip("validate", path)
    assert done.code == 2 and "OC150" in done.err and "Traceback" not in done.err
