"""The command line from inside and from outside, and small files for it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from onchip.cli import run

ROOT = Path(__file__).parents[2]
SCHEMAS = ROOT / "onchip" / "schemas"


@dataclass(frozen=True, slots=True)
class Ended:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        assert self.code == 0, self.err
        return json.loads(self.out)

    def valid(self, schema: str) -> Any:
        """Return the JSON on stdout after it was validated against a published schema."""
        made = self.json
        jsonschema.Draft202012Validator(json.loads((SCHEMAS / schema).read_text(encoding="utf-8"))).validate(made)
        return made

    def mistake(self, code: str, exit_code: int) -> str:
        """Return the one line on stderr, after it was seen that there is nothing else."""
        assert self.code == exit_code, (self.code, self.out, self.err)
        assert self.out == "", self.out
        (line,) = self.err.splitlines()
        assert f" {code} " in line, line
        assert "Traceback" not in line
        assert line.endswith((".", "?")), line
        return line


Onchip = Callable[..., Ended]


@pytest.fixture
def onchip(capfd: pytest.CaptureFixture[str]) -> Onchip:
    """Give the command line in this process: `onchip("estimate", "@digits_cnn", ...)`."""

    def call(*words: object) -> Ended:
        capfd.readouterr()
        code = run([str(word) for word in words])
        out, err = capfd.readouterr()
        return Ended(code, out, err)

    return call


def environment(**more: str) -> dict[str, str]:
    """Return an environment without what changes the output."""
    kept = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "FORCE_COLOR", "ONCHIP_TRACEBACK", "COLUMNS")}
    return {**kept, "PYTHONUTF8": "0", "PYTHONIOENCODING": "utf-8", "PYTHONPATH": str(ROOT), **more}


def command(*words: object) -> list[str]:
    """Return the words that start the real command line."""
    return [sys.executable, "-m", "onchip", *map(str, words)]


def outside(*words: object, cwd: Path, **more: str) -> Ended:
    """Run the real command line in a process of its own."""
    done = subprocess.run(
        command(*words), capture_output=True, cwd=cwd, env=environment(**more), timeout=120, check=False
    )
    encoding = more.get("PYTHONIOENCODING", "utf-8")
    return Ended(done.returncode, done.stdout.decode(encoding), done.stderr.decode(encoding))


def dense(path: Path, *, rows: int | str = "batch", inside: int = 64, out: int = 10) -> Path:
    """Write `y = relu(x @ w + b)`: inside x out MACs a row, (inside + 1) x out parameters."""
    random = np.random.default_rng(0)
    weights = random.standard_normal((inside, out)).astype(np.float32)
    bias = random.standard_normal(out).astype(np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("Gemm", ["x", "w", "b"], ["z"], name="fc"),
            helper.make_node("Relu", ["z"], ["y"], name="act"),
        ],
        "dense",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [rows, inside])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [rows, out])],
        [numpy_helper.from_array(weights, "w"), numpy_helper.from_array(bias, "b")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


@pytest.fixture
def net(tmp_path: Path) -> Path:
    """Give a network of 64 x 10 MACs a row with an open batch."""
    return dense(tmp_path / "net.onnx")
