"""Transcripts of six commands: the verdict first, the next action second, and every character of the rest.

In:       tests/golden/NAME.txt, what `onchip WORDS` printed; `make goldens` writes them anew, and git shows the change.
A golden says that something changed, not that it is wrong: the numbers in it are checked elsewhere.
"""

from __future__ import annotations

import difflib
import os
from pathlib import Path

import pytest

from onchip.silicon.measurements import COLUMNS
from tests.cli.conftest import Onchip
from tests.cli.test_streams import on_a_terminal

GOLDEN = Path(__file__).parents[1] / "golden"
WRITE = "ONCHIP_WRITE_GOLDENS"
EDGE = ("--chip", "edge-npu-16")
COMMANDS: dict[str, tuple[str, ...]] = {
    "check": ("check", "@digits_attention", *EDGE),
    "estimate": ("estimate", "@resnet8", *EDGE),
    "compare": ("compare", "@digits_cnn", "--dtype", "int8", "--chip", "edge-npu-8,edge-npu-16,edge-npu-32,tpu-v2"),
    "whatif": ("whatif", "@ds_cnn", *EDGE, "--set", "dram.bandwidth=6.4GB/s", "--set", "local.size=1KiB", "--knobs"),
    "diff": ("diff", "before.json", "after.json"),
    "validate": ("validate", "rows.csv"),
}
ROWS = (  # invented times of a chip whose numbers are ours
    "edge-npu-16,gemm,M=64;N=64;K=64,int8,latency_ms,0.005,device,invented",
    "edge-npu-16,gemm,M=256;N=64;K=64,int8,latency_ms,0.012,device,invented",
    "edge-npu-16,gemm,M=256;N=256;K=256,int8,latency_ms,0.2,device,invented",
    "nobody,gemm,M=1;N=1;K=1,int8,latency_ms,0.01,device,invented",
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, onchip: Onchip) -> Path:
    """Give a folder with the files that the commands read, and work in it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rows.csv").write_text("\n".join((",".join(COLUMNS), *ROWS)) + "\n", encoding="utf-8")
    for name, more in (("before", ()), ("after", ("--set", "dram.bandwidth=1.6GB/s"))):
        assert onchip("estimate", "@digits_cnn", *EDGE, *more, "-o", f"{name}.json", "-q").code == 0
    return tmp_path


def changed(wanted: str, found: str, name: str) -> str:
    """Return the difference of two texts, and how to accept it."""
    path = f"tests/golden/{name}.txt"
    lines = difflib.unified_diff(wanted.splitlines(), found.splitlines(), path, f"onchip {' '.join(COMMANDS[name])}")
    return "\n".join([*lines, f"to accept it: make goldens, and look at git diff {path}"])


@pytest.mark.parametrize("name", COMMANDS)
def test_the_transcript_is_the_golden_one(name: str, folder: Path, onchip: Onchip) -> None:
    done = onchip(*COMMANDS[name])
    assert (done.code, done.err) == (0, "")
    path = GOLDEN / f"{name}.txt"
    if os.environ.get(WRITE):
        path.write_text(done.out, encoding="utf-8")
    wanted = path.read_text(encoding="utf-8")
    assert done.out == wanted, changed(wanted, done.out, name)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_transcript_begins_with_the_verdict_and_the_next_action(name: str) -> None:
    text = (GOLDEN / f"{name}.txt").read_text(encoding="utf-8")
    first, second, *rest = text.splitlines()
    assert first.endswith(".") and len(first) > 30
    assert second.startswith(("Try first:  ", "Next:  onchip ", "Next:  look at "))
    assert "\x1b" not in text and not any(line != line.rstrip() for line in rest)


@pytest.mark.skipif(os.name != "posix", reason="terminals of POSIX")
@pytest.mark.parametrize("name", ["estimate", "diff"])
def test_a_terminal_without_colour_shows_the_same(name: str, folder: Path) -> None:
    wanted = (GOLDEN / f"{name}.txt").read_text(encoding="utf-8")
    assert on_a_terminal(*COMMANDS[name], cwd=folder, columns=200, NO_COLOR="1") == wanted
    coloured = on_a_terminal(*COMMANDS[name], cwd=folder, columns=200)
    assert "\x1b[" in coloured and coloured != wanted


def test_a_changed_transcript_shows_the_difference() -> None:
    text = changed("one\ntwo\n", "one\nthree\n", "check")
    assert "-two" in text and "+three" in text and "make goldens" in text
    assert {path.stem for path in GOLDEN.glob("*.txt")} == set(COMMANDS)
