"""Kept machine code: the same function whether compiled now or read, and never what is not whole."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from onchip.isa import native as room
from onchip.isa.native import native
from onchip.simulator import play

ENGINE = "simulator.engine", "play_streams", play.PARAMETERS


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    native.cache_clear()
    yield tmp_path
    native.cache_clear()


def test_it_is_compiled_once_kept_and_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    native(*ENGINE)
    (kept,) = folder.iterdir()
    before = kept.read_bytes()
    native.cache_clear()

    def compile_again(module: str, name: str, parameters: str) -> bytes:
        raise AssertionError(f"compiled again: {module}.{name} {parameters}")

    monkeypatch.setattr(room, "_compile", compile_again)
    native(*ENGINE)
    assert kept.read_bytes() == before


def test_what_is_not_whole_is_compiled_anew(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[str] = []
    true = room._compile

    def compile_it(module: str, name: str, parameters: str) -> bytes:
        compiled.append(name)
        return true(module, name, parameters) if len(compiled) == 1 else made

    monkeypatch.setattr(room, "_compile", compile_it)
    native(*ENGINE)
    (kept,) = folder.iterdir()
    made = kept.read_bytes()[32:]
    for damage in (kept.read_bytes()[:-1], b"", kept.read_bytes()[:-1] + b"?"):
        kept.write_bytes(damage)
        native.cache_clear()
        native(*ENGINE)
        assert kept.read_bytes()[32:] == made
    assert len(compiled) == 4


def test_arguments_of_another_kind_are_refused() -> None:
    run = native(*ENGINE)
    with pytest.raises(AssertionError):
        run(*[np.zeros(1, np.float32)] * 20)
    with pytest.raises(AssertionError):
        run(np.zeros(4, np.uint8)[::2])
    with pytest.raises(ValueError, match="zip"):
        run(np.zeros(4, np.uint8))
