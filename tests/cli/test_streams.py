"""The real command line in processes of its own: streams, signals, terminals, and what start-up loads."""

from __future__ import annotations

import io
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from onchip.cli.output import show, use_plain_characters
from tests.cli.conftest import Onchip, command, environment, outside

CNN = ("estimate", "@digits_cnn", "-c", "edge-npu-16")
posix = pytest.mark.skipif(sys.platform == "win32", reason="signals and terminals of POSIX")


def test_help_and_version_load_nothing_heavy(tmp_path: Path) -> None:
    heavy = {"numpy", "numba", "onnx", "torch", "rich", "jsonschema"}
    for words in (["--version"], ["--help"], ["explain", "OC1001"]):
        code = f"import sys; from onchip.cli import run; run({words}); print(*sys.modules, file=sys.stderr)"
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, env=environment(), check=True
        )
        assert not heavy & set(done.stderr.split()), words


def test_results_on_stdout_mistakes_on_stderr(tmp_path: Path) -> None:
    good, bad = outside(*CNN, "--json", cwd=tmp_path), outside("estimate", "@x", "-c", "edge-npu-16", cwd=tmp_path)
    assert good.valid("report-1.json") and good.err == ""
    bad.mistake("OC1002", 2)
    assert not list(tmp_path.iterdir())


def test_an_ascii_terminal_gets_plain_characters(tmp_path: Path) -> None:
    words = ("inspect", "@digits_cnn")
    plain = outside(*words, cwd=tmp_path, PYTHONIOENCODING="ascii")
    whole = outside(*words, cwd=tmp_path)
    assert (plain.code, plain.err) == (0, "") and "–" in whole.out
    assert plain.out == whole.out.replace("–", "-")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "cp437"])
def test_every_character_of_ours_has_a_plain_one(
    onchip: Onchip, monkeypatch: pytest.MonkeyPatch, encoding: str
) -> None:
    text = onchip(*CNN).out
    written = io.BytesIO()
    with io.TextIOWrapper(written, encoding=encoding, newline="") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        use_plain_characters()
        show(text)
        stream.flush()
        plain = written.getvalue().decode(encoding)
    assert "?" not in plain and ("####" in plain or "████" in plain) and "s per inference" in plain
    assert [len(line) for line in plain.splitlines()] == [len(line) for line in text.splitlines()]


@posix
@pytest.mark.parametrize("words", [("explain",), ("chips",)])
def test_a_reader_that_goes_away_is_no_mistake(tmp_path: Path, words: tuple[str, ...]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as out:
        done = subprocess.run(
            command(*words), stdout=out, stderr=subprocess.PIPE, cwd=tmp_path, env=environment(), check=False
        )
    assert (done.returncode, done.stderr) == (141, b"")


@posix
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_under_stdout_is_one_line(tmp_path: Path) -> None:
    with Path("/dev/full").open("wb") as out:
        done = subprocess.run(
            command("chips", "edge-npu-16"),
            stdout=out,
            stderr=subprocess.PIPE,
            cwd=tmp_path,
            env=environment(),
            check=False,
        )
    (line,) = done.stderr.decode().splitlines()
    assert done.returncode == 2 and " OC1015 " in line and "No space left" in line


def stopped_at(words: tuple[str, ...], marker: str, cwd: Path) -> tuple[int, str, list[str]]:
    """Start a command, send SIGINT when `marker` was called, and return exit code, stderr and the files left."""
    module, _, name = marker.partition(":")
    code = f"""
import importlib, os, sys, time
module = importlib.import_module({module!r})
def wait(*_, **__):
    print("ready", flush=True, file=sys.stderr)
    for _ in range(600):
        time.sleep(0.1)
setattr(module, {name!r}, wait)
from onchip.cli import run
sys.exit(run({list(words)!r}))
"""
    with subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=cwd,
        env=environment(),
        text=True,
    ) as process:
        assert process.stderr is not None
        while (line := process.stderr.readline()) != "ready\n":
            assert line, "ended before the marker"
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    return process.returncode, err, sorted(path.name for path in cwd.iterdir())


STOPPED = ["Interrupted: onchip: OC1009 stopped. Output files are whole or absent."]


@posix
@pytest.mark.parametrize(
    ("words", "marker", "left"),
    [
        (("run", "@digits_cnn", "-c", "edge-npu-16", "-o", "r.json"), "onchip.pipeline:simulate", []),
        (("compile", "@digits_cnn", "-c", "edge-npu-16", "-o", "p.npz"), "numpy:savez", []),
        pytest.param(("train", "cnn", "-o", "n.onnx"), "torch.optim:AdamW", [], marks=pytest.mark.slow),
        pytest.param(("demo",), "torch.optim:AdamW", ["demo-out"], marks=pytest.mark.slow),
    ],
    ids=["run", "compile", "train", "demo"],
)
def test_ctrl_c_is_one_line_and_leaves_no_half_file(
    tmp_path: Path, words: tuple[str, ...], marker: str, left: list[str]
) -> None:
    code, err, files = stopped_at(words, marker, tmp_path)
    assert (code, err.splitlines()) == (130, STOPPED)
    assert files == left
    assert all(not list((tmp_path / name).iterdir()) for name in left)


@posix
def test_a_killed_writer_leaves_no_file_of_that_name(tmp_path: Path) -> None:
    code = """
import sys, time
from pathlib import Path
from onchip.files import replacing
with replacing("r.json") as beside:
    beside.write_text("{ half")
    print("ready", flush=True)
    time.sleep(60)
"""
    (tmp_path / "r.json").write_text("{}")
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, cwd=tmp_path, env=environment()
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        process.kill()
    assert (tmp_path / "r.json").read_text() == "{}"


def on_a_terminal(*words: str, cwd: Path, columns: int, **more: str) -> str:
    """Run a command on a pseudo-terminal and return all it wrote there."""
    import fcntl
    import struct
    import termios

    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    env = environment(TERM="xterm-256color", **more)
    with subprocess.Popen(command(*words), stdout=follower, stderr=follower, cwd=cwd, env=env) as process:
        os.close(follower)
        seen = bytearray()
        end = time.monotonic() + 60
        while time.monotonic() < end:
            if not select.select([leader], [], [], 1.0)[0]:
                continue
            try:
                seen += os.read(leader, 65536)
            except OSError:  # the other side is closed
                break
    os.close(leader)
    assert process.returncode == 0, seen.decode()
    return seen.decode().replace("\r\n", "\n")


@posix
def test_colour_is_for_terminals_without_no_color(tmp_path: Path) -> None:
    plain = outside("chips", cwd=tmp_path).out
    coloured = on_a_terminal("chips", cwd=tmp_path, columns=200)
    assert re.match(r"\x1b\[1m\d+ chips of \d+ families\.\x1b\[0m\n\x1b\[36mNext:", coloured)
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured) == plain
    assert on_a_terminal("chips", cwd=tmp_path, columns=200, NO_COLOR="1") == plain


@posix
def test_a_narrow_terminal_loses_nothing(tmp_path: Path) -> None:
    words = re.sub(r"\x1b\[[0-9;]*m", "", on_a_terminal("chips", cwd=tmp_path, columns=30)).split()
    assert words == outside("chips", cwd=tmp_path).out.split()
