"""`measure`: the verdict, the published fields, the chip file, and refusals in one line; the machine is made up."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from onchip.chip import Chip
from onchip.errors import DoesNotFit
from onchip.silicon import desk, measure
from onchip.silicon.probes import Times
from tests.cli.conftest import Onchip
from tests.silicon.made_machine import DESK, Made


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> Made:
    """Stand a machine whose numbers are known in the place of the one at hand."""
    machine = Made()

    def at_hand(threads: int | None, _budget_s: float) -> Made:
        return replace(machine, threads=threads or 2)

    monkeypatch.setattr(measure, "at_hand", at_hand)
    monkeypatch.setattr(desk, "desk", lambda: DESK)
    monkeypatch.setattr(desk, "others", lambda: 0.0)
    return machine


WORDS = ("measure", "@resnet8", "--chip", "host", "--seconds", "0.1")


def test_it_says_what_was_measured_and_predicted(onchip: Onchip, made: Made, tmp_path: Path) -> None:
    done = onchip(*WORDS)
    first, second, _, *rest = done.out.splitlines()
    assert done.code == 0 and done.err.splitlines()[0] == "this machine: probe: 54/54"
    assert first.startswith("resnet8 on this machine: measured 12.0 ms, predicted ")  # 12 kernels of 1 ms
    assert "half of 12 layers within" in first
    assert second == "Next:  the same with -o host.toml writes a chip file"
    rows = [line.split() for line in rest]
    assert [row[3:5] for row in rows if row[:1] == ["conv1"]] == [["%", "1.00"]]
    assert ["Made-up", "9000,", "2", "threads", "of", "made", "1.0"] in rows
    assert onchip(*WORDS, "-q").out == first + "\n"
    assert list(tmp_path.iterdir()) == []


def test_the_json_has_the_published_fields_and_the_file_loads(onchip: Onchip, made: Made, tmp_path: Path) -> None:
    path = tmp_path / "host.toml"
    found = onchip(*WORDS, "--json", "-o", path).valid("measure-1.json")
    chip = Chip.load(path)
    assert found["chip"] == {"name": "host", "hash": chip.hash} and found["file"] == str(path)
    assert (found["busy"], found["refused"], found["machine"]["threads"]) == (None, [], 2)
    assert found["measured_s"] == pytest.approx(12e-3)
    assert sum(layer["predicted_s"] for layer in found["layers"]) == pytest.approx(found["predicted_s"])
    assert {probe["name"]: probe["value"] for probe in found["probes"]}["memory, all cores"] == pytest.approx(20e9)
    again = onchip("measure", "@resnet8", "--chip", path, "--json", "--seconds", "0.1").valid("measure-1.json")
    assert again["probes"] == [] and again["file"] is None
    assert again["predicted_s"] == found["predicted_s"] and again["chip"] == found["chip"]


def test_a_busy_machine_is_told_in_the_second_line(onchip: Onchip, made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(desk, "others", lambda: 3.4)
    assert onchip(*WORDS).out.splitlines()[1].startswith("the machine is busy: 3.4 other tasks ran at the start.")
    assert onchip(*WORDS, "-q").out.endswith(" Better: --threads 1, or let it rest.\n")
    assert not onchip(*WORDS, "-q", "--threads", "1").out.endswith("rest.\n")
    assert onchip(*WORDS, "--json").json["busy"] == "3.4 other tasks ran at the start"


def test_what_was_not_run_is_told(onchip: Onchip, made: Made) -> None:
    made.reasons = {"softmax": "softmax: not run"}
    done = onchip(*WORDS)
    assert "not run: softmax: softmax: not run" in done.out.splitlines()
    assert "half of 11 layers" in done.out


@pytest.mark.parametrize("where", ["probe", "run"])
def test_an_interruption_leaves_nothing(
    onchip: Onchip, made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    def stop(*_: Any) -> Times:
        raise KeyboardInterrupt

    monkeypatch.setattr(Made, "times" if where == "probe" else "network", stop)
    done = onchip(*WORDS, "-o", tmp_path / "host.toml")
    assert done.code == 130 and done.out == "" and "OC1009" in done.err.splitlines()[-1]
    assert list(tmp_path.iterdir()) == []


def test_memory_that_ends_is_one_line(onchip: Onchip, made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> Times:
        raise DoesNotFit("OC2004", "probe copy", "the machine's memory does not hold it", next="Close other programs")

    monkeypatch.setattr(Made, "times", full)
    done = onchip(*WORDS)
    assert done.code == 4 and done.out == "" and "OC2004" in done.err.splitlines()[-1]


def test_mistakes_are_one_line(onchip: Onchip, made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    onchip(*WORDS, "-o", tmp_path / "x.json").mistake("OC1008", 2)
    onchip("measure", "@resnet8", "--chip", "knl-7250", "-o", tmp_path / "x.toml").mistake("OC1008", 2)
    onchip(*WORDS, "-o", tmp_path / "absent" / "x.toml").mistake("OC1015", 2)
    onchip("measure", "@resnet8", "--chip", "no-chip").mistake("OC1001", 2)
    onchip("measure", "@resnet8", "--seconds", "0").mistake("OC1008", 2)
    onchip("measure", "@resnet8", "--dtype", "int8").mistake("OC1510", 3)
    onchip("measure", "@resnet").mistake("OC1002", 2)
    monkeypatch.setattr(desk, "desk", lambda: replace(DESK, free_bytes=1000))
    onchip(*WORDS).mistake("OC2004", 4)


@pytest.mark.slow
def test_this_machine_for_real(onchip: Onchip, tmp_path: Path) -> None:
    path = tmp_path / "host.toml"
    found = onchip("measure", "@resnet8", "--seconds", "3", "--threads", "1", "--json", "-o", path).valid(
        "measure-1.json"
    )
    assert len(found["layers"]) == 12 and all(layer["measured_s"] > 0 for layer in found["layers"])
    assert Chip.load(path).cores.count == 1
