"""`calibrate`: the verdict, the published fields, the chip file, and refusals in one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from onchip.chip import Chip
from onchip.silicon.measurements import COLUMNS
from tests.cli.conftest import Onchip

CHIP = "tpu-v5e"
ROWS = [f"{CHIP},gemm,M={m};N=4096;K=4096,bf16,latency_ms,{m / 400},device,s" for m in (512, 1024, 2048, 4096)]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "m.csv"
    path.write_text("\n".join((",".join(COLUMNS), *ROWS)) + "\n")
    return path


def test_it_says_what_was_fitted_and_what_to_do(onchip: Onchip, file: Path, tmp_path: Path) -> None:
    done = onchip("calibrate", CHIP, "--rows", file, "--keys", "achieved.matrix")
    first, second, *rest = done.out.splitlines()
    assert done.code == 0 and done.err == f"{CHIP}: fit: 5/5\n"
    assert first.startswith(f"{CHIP}: achieved.matrix fitted on 4 rows of 4 shapes: median error of rows left out by")
    assert second == "Next:  the same with -o FILE.toml writes the chip file"
    assert any(line.split()[0] == "achieved.matrix" for line in rest if line.strip())
    assert onchip("calibrate", CHIP, "--rows", file, "--keys", "achieved.matrix", "-q").out == first + "\n"
    assert list(tmp_path.iterdir()) == [file]


def test_the_json_has_the_published_fields_and_the_file_the_numbers(onchip: Onchip, file: Path, tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    words = ("calibrate", CHIP, "--rows", file, "--keys", "achieved.matrix", "--json")
    made = onchip(*words, "-o", path).valid("calibrate-1.json")
    (scalar,) = made["scalars"]
    chip = Chip.load(path)
    assert chip.achieved.matrix == float(scalar["fitted"]) and made["file"] == str(path)
    assert float(scalar["low"]) <= float(scalar["fitted"]) <= float(scalar["high"])
    assert chip.calibration is not None and chip.calibration.keys == ("achieved.matrix",)
    assert (made["rows"], made["shapes"], made["refused"]) == (4, 4, [])
    again = onchip(*words).valid("calibrate-1.json")
    assert {**made, "timing": 0, "file": 0} == {**again, "timing": 0, "file": 0}


def test_mistakes_are_one_line(onchip: Onchip, file: Path, tmp_path: Path) -> None:
    rows = ("--rows", file)
    onchip("calibrate", CHIP, *rows, "--keys", "achieved.dram,achieved.matrix").mistake("OC1507", 2)
    onchip("calibrate", "h100-sxm", *rows).mistake("OC1508", 2)
    onchip("calibrate", "h100", *rows).mistake("OC1001", 2)
    onchip("calibrate", CHIP, *rows, "-o", tmp_path / "x.json").mistake("OC1008", 2)
    onchip("calibrate", CHIP, "--rows", tmp_path / "absent.csv").mistake("OC1501", 2)
    onchip("calibrate", CHIP).mistake("OC1008", 2)
    path = tmp_path / "absent" / "x.toml"
    done = onchip("calibrate", CHIP, *rows, "--keys", "achieved.matrix", "-o", path)
    assert done.code == 2 and "OC1015" in done.err.splitlines()[-1]
