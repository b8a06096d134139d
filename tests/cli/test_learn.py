"""`learn`: the lesson as text, as a page, as data; and what `run` puts on its page."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from onchip.ir.page_read import read_page
from tests.cli.conftest import Onchip


def test_the_answer_and_where_it_comes_from(onchip: Onchip) -> None:
    lines = onchip("learn", "systolic", "--m", 6, "--k", 8, "--n", 8).out.splitlines()
    assert lines[0] == "A [6 x 8] by [8 x 8] product takes 34 cycles on the 4 x 4 cells of tiny-npu-4: 340 ns."
    assert lines[1].startswith("Next:  onchip learn systolic --chip tiny-npu-4 -o lesson.html")
    sums = [line.rpartition("cycles  ")[2] for line in lines[3:6]]
    # R + (P - 1) max(M, R) + M + R + C - 2, P (R + M + R + C - 2), 1 + blocks K + R + C - 2 with R = C = 4, P = 4
    assert sums == ["load 4 + 4 x rows 6 + diagonal 6", "4 x (load 4 + rows 6 + diagonal 6)",
                    "address 1 + steps 32 + diagonal 6"]  # fmt: skip


def test_a_page_and_its_data(onchip: Onchip, tmp_path: Path) -> None:
    page, data = tmp_path / "lesson.html", tmp_path / "lesson.json"
    assert f"open {page} in a browser" in onchip("learn", "systolic", "-o", page).out
    assert onchip("learn", "systolic", "-o", data, "-q").out.count("\n") == 1
    part = json.loads(data.read_text())["parts"]["lesson"]
    assert read_page(page).parts["lesson"] == part
    assert part["first"] == {"way": "weight_stationary", "size": [6, 4, 4]}


def test_lessons_are_listed(onchip: Onchip) -> None:
    assert onchip("learn").out.splitlines()[1] == "Next:  onchip learn systolic -o lesson.html"


@pytest.mark.parametrize(
    ("words", "code", "exit_code"),
    [
        (("sistolic",), "OC1008", 2),
        (("systolic", "--m", 0), "OC1008", 2),
        (("systolic", "--k", 33), "OC1008", 2),
        (("systolic", "-o", "lesson.txt"), "OC1008", 2),
        (("systolic", "--chip", "h100-sxm"), "OC1347", 3),
        (("systolic", "--chip", "tpu-v4"), "OC1347", 3),
    ],
)
def test_mistakes(words: tuple[str, ...], code: str, exit_code: int, onchip: Onchip) -> None:
    onchip("learn", *words).mistake(code, exit_code)


def test_a_run_has_pictures_and_numerics(onchip: Onchip, tmp_path: Path) -> None:
    page = tmp_path / "run.html"
    onchip("run", "@digits_attention", "--chip", "edge-npu-16", "--report", page)
    parts = read_page(page).parts
    assert {"mapping", "numerics", "pictures"} <= parts.keys()
    assert [a["shape"] for a in parts["pictures"]["attention"]] == [[4, 8, 8]] * 2
    assert parts["numerics"]["is_measured_alone"] and parts["numerics"]["network_db"] > 10
    onchip("estimate", "@digits_attention", "--chip", "edge-npu-16", "-o", page)
    assert "mapping" in (parts := read_page(page).parts) and "pictures" not in parts


def test_quantize_draws_its_layers(onchip: Onchip, tmp_path: Path) -> None:
    page = tmp_path / "q.html"
    told = onchip("quantize", "@digits_cnn", "--report", page, "--json").json
    part = read_page(page).parts["numerics"]
    for field in ("name", "isolated_db", "cumulative_db", "gain_db"):
        assert [layer[field] for layer in part["layers"]] == [layer[field] for layer in told["layers"]]
    assert part["network_db"] == told["sqnr_db"] and part["samples"] == told["samples"]
    onchip("quantize", "@digits_cnn", "--report", tmp_path / "q.pdf").mistake("OC1008", 2)
