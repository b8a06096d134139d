"""`diff` and `whatif`: transcripts, exit codes, files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Onchip

EDGE = ("--chip", "edge-npu-16")


@pytest.fixture
def runs(onchip: Onchip, tmp_path: Path) -> tuple[Path, Path]:
    paths = tmp_path / "a.json", tmp_path / "b.json"
    for path, more in zip(paths, ((), ("--set", "dram.bandwidth=800MB/s")), strict=True):
        assert onchip("estimate", "@resnet8", *EDGE, *more, "-q", "-o", path).code == 0
    return paths


def test_a_difference_beyond_the_limit_ends_with_5(onchip: Onchip, runs: tuple[Path, Path], tmp_path: Path) -> None:
    done = onchip("diff", *runs, "--fail-on", "latency>+3%&+20us", "-o", tmp_path / "d.json")
    assert done.code == 5 and "OC3002 is beyond latency>+3%&+20us" in done.err
    assert done.out.splitlines()[0].endswith("beyond latency>+3%&+20us.")
    made = json.loads((tmp_path / "d.json").read_text())
    latencies = [json.loads(path.read_text())["latency_s"]["value"] for path in runs]
    assert [made["totals"][0][side] for side in ("before", "after")] == latencies and latencies[0] < latencies[1]


def test_a_report_and_itself_are_the_same(onchip: Onchip, runs: tuple[Path, Path]) -> None:
    done = onchip("diff", runs[0], runs[0], "--fail-on", "latency>+0%", "--fail-on", "energy>+0%", "-q")
    assert done.code == 0 and "the latency is the same" in done.out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--format", "html"), "--format: OC1008 no format is named 'html'"),
        (("--fail-on", "latenci>+3%"), "--fail-on: OC1008 'latenci' is no number of a report. Did you mean 'latency'"),
    ],
)
def test_wrong_words_of_diff_are_refused(
    onchip: Onchip, runs: tuple[Path, Path], words: tuple[str, ...], said: str
) -> None:
    done = onchip("diff", *runs, *words)
    assert done.code == 2 and said in done.err


def test_a_file_that_is_no_report_is_refused(onchip: Onchip, runs: tuple[Path, Path], tmp_path: Path) -> None:
    (tmp_path / "c.json").write_text("[]")
    done = onchip("diff", runs[0], tmp_path / "c.json")
    assert done.code == 2 and "c.json: OC1271" in done.err and "Traceback" not in done.err


def test_what_ifs_are_priced_alone_and_together(onchip: Onchip, tmp_path: Path) -> None:
    words = ("whatif", "@resnet8", *EDGE, "--set", "dram.bandwidth=6.4GB/s", "--set", "local.size=8KiB")
    made = json.loads(onchip(*words, "--json").out)
    assert [v["change"] for v in made["variants"]] == [*words[5::2], " and ".join(words[5::2])]
    assert made["knobs"] == []
    alone = json.loads(onchip("estimate", "@resnet8", *EDGE, "--set", "dram.bandwidth=6.4GB/s", "--json").out)
    assert made["variants"][0]["report"]["cycles"] == alone["cycles"]


def test_a_change_that_does_not_fit_is_told(onchip: Onchip) -> None:
    done = onchip("whatif", "@resnet8", *EDGE, "--set", "local.size=64")
    assert done.code == 0 and "local.size=64: " in done.out and "no change can be priced" in done.out


def test_a_key_that_does_not_exist_is_refused(onchip: Onchip) -> None:
    done = onchip("whatif", "@resnet8", *EDGE, "--set", "local.sice=64KiB")
    assert done.code == 2 and "Did you mean 'local.size'" in done.err


def test_without_changes_every_number_is_turned(onchip: Onchip) -> None:
    lines = onchip("whatif", "@resnet8", *EDGE).out.splitlines()
    assert "it reacts most to clock.core: +" in lines[0]
    assert any(line.startswith("  dram.bandwidth = 3.2 GB/s") for line in lines)
