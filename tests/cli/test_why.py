"""`estimate --explain` and `--layer`: the report with what made its numbers behind it, as text, JSON and a file."""

from __future__ import annotations

import re
from pathlib import Path

from tests.cli.conftest import Onchip
from tests.test_explain import FREE, GEMM


def test_the_verb(onchip: Onchip, tmp_path: Path) -> None:
    (tmp_path / "net.csv").write_text(GEMM, encoding="utf-8")
    (tmp_path / "tpu.cfg").write_text(FREE, encoding="utf-8")
    words = ("estimate", tmp_path / "net.csv", "--chip", tmp_path / "tpu.cfg")
    plain, why = onchip(*words).out, onchip(*words, "--explain").out
    assert why.startswith(plain.rstrip("\n"))
    assert re.search(r"\n  weight load +serial +hidden +[\d ]+ +−\d+ %  matrix.weight_load=hidden\n", why)
    assert re.search(r"\n  big +[\d ]+  .*  65 918  89 984\n", why)
    assert max(len(line) for line in why[len(plain) :].splitlines()) <= 100
    made = onchip(*words, "--layer", "big", "--json").valid("report-1.json")["explain"]
    assert [made["layers"][0][f"stream_cycles_{way}"] for way in ("hidden", "serial")] == [65_918, 89_984]
    assert made["mapping"]["layer"] == "big" and len(made["choices"]) == 2
    assert "explain" not in onchip(*words, "--json").valid("report-1.json")
    assert onchip(*words, "--layer", "small").mistake("OC1019", 2)
    onchip(*words, "--explain", "-o", tmp_path / "why.txt")
    assert "which assumptions made our program" in (tmp_path / "why.txt").read_text(encoding="utf-8")
