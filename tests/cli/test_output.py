"""Files whole or absent, progress, and JSON: the parts of the command line that write."""

from __future__ import annotations

import errno
import io
import os
import stat
import sys
from pathlib import Path

import pytest

from onchip.cli.output import dump, folded, progress, working
from onchip.errors import UsageError
from onchip.files import replacing
from tests.cli.conftest import Onchip

CNN = ("estimate", "@digits_cnn", "-c", "edge-npu-16", "-q")


def written(path: Path, text: str) -> None:
    with replacing(path) as beside:
        beside.write_text(text)


def test_a_file_replaces_an_older_one_with_usual_permissions(tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    written(path, "old")
    written(path, "new")
    mask = os.umask(0)
    os.umask(mask)
    assert path.read_text() == "new" and stat.S_IMODE(path.stat().st_mode) == 0o666 & ~mask
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("bug")])
def test_an_error_leaves_the_older_file_and_nothing_else(tmp_path: Path, error: BaseException) -> None:
    path = tmp_path / "r.json"
    written(path, "old")
    with pytest.raises(type(error)), replacing(path) as beside:
        beside.write_text("half")
        raise error
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_a_full_disk_leaves_nothing(onchip: Onchip, net: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Path, data: bytes) -> int:
        with self.open("wb") as file:
            file.write(data[:10])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", full)
    line = onchip(*CNN, "-o", tmp_path / "r.json").mistake("OC1015", 2)
    assert "No space left" in line and str(tmp_path / "r.json") in line
    assert [path.name for path in tmp_path.iterdir()] == [net.name]


@pytest.mark.parametrize("verb", ["estimate", "compile"])
def test_a_program_or_report_has_a_place_to_go(onchip: Onchip, tmp_path: Path, verb: str) -> None:
    (tmp_path / "directory.npz").mkdir()
    words = (verb, "@digits_cnn", "-c", "edge-npu-16", "-q", "-o")
    assert "is a directory" in onchip(*words, tmp_path / "directory.npz").mistake("OC1015", 2)
    assert "No such file" in onchip(*words, tmp_path / "absent" / "r.npz").mistake("OC1015", 2)
    assert "no regular file" in onchip(*words, "/dev/null").mistake("OC1015", 2)
    onchip(*words, tmp_path / ("x" * 300)).mistake("OC1015", 2)
    onchip(*words, "a\0b.npz").mistake("OC1008", 2)
    assert [path.name for path in tmp_path.iterdir()] == ["directory.npz"]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_an_unwritable_directory(onchip: Onchip, tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    assert "Permission denied" in onchip(*CNN, "-o", tmp_path / "r.json").mistake("OC1015", 2)


def test_an_unwritable_directory_for_root_as_well(
    onchip: Onchip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tempfile

    def refused(**_: object) -> tuple[int, str]:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(tempfile, "mkstemp", refused)
    assert "Permission denied" in onchip(*CNN, "-o", tmp_path / "r.json").mistake("OC1015", 2)


def test_a_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    written(tmp_path / "there" / "r.json", "old")
    (tmp_path / "link.json").symlink_to(tmp_path / "there" / "r.json")
    written(tmp_path / "link.json", "new")
    assert (tmp_path / "link.json").is_symlink() and (tmp_path / "there" / "r.json").read_text() == "new"


def test_a_pipe_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UsageError, match="OC1015"), replacing(tmp_path / "pipe"):
        pass
    with pytest.raises(UsageError, match="OC1015"), replacing("a\0b"):
        pass


def test_progress_is_a_line_where_nothing_moves(capsys: pytest.CaptureFixture[str]) -> None:
    with progress("cnn: train") as step:
        for done in range(1, 4):
            step(done, 3)
    with progress("lower"):
        pass
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "cnn: train: 3/3\nlower: done\n")


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("no_color", ["", "1"])
def test_progress_is_a_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch, no_color: str) -> None:
    shown = Terminal()
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("NO_COLOR", no_color)
    monkeypatch.setattr(sys, "stderr", shown)
    with progress("train") as step:
        for done in range(1, 4):
            step(done, 3)
    text = shown.getvalue()
    assert "train" in text and "3/3" in text and "━" in text
    assert ("\x1b[38" in text or "\x1b[3" in text) == (not no_color)


def test_work_shows_on_a_terminal_only(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    with working("compile"):
        pass
    assert capsys.readouterr().err == ""
    shown = Terminal()
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setattr(sys, "stderr", shown)
    with working("compile"):
        pass
    assert "compile" in shown.getvalue()
    monkeypatch.setenv("TERM", "dumb")
    dumb = Terminal()
    monkeypatch.setattr(sys, "stderr", dumb)
    with working("compile"):
        pass
    assert dumb.getvalue() == ""


def test_lines_fold_between_words_under_their_start() -> None:
    text = "a verdict of some words\n\n  row   one  two\n"
    assert folded(text, 80) == text
    assert folded(text, 12) == "a verdict of\n  some words\n\n  row   one\n    two\n"
    assert folded("x" * 30, 10) == f"{'x' * 10}\n  {'x' * 8}\n  {'x' * 8}\n  {'x' * 4}\n"


def test_json_is_ascii_and_refuses_what_json_has_not() -> None:
    assert dump({"µ": [1.5, None, True]}) == '{\n "\\u00b5": [\n  1.5,\n  null,\n  true\n ]\n}\n'
    with pytest.raises(ValueError, match="not JSON compliant"):
        dump({"x": float("nan")})
