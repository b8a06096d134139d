"""Random words on the command line end with an exit code of ours and one line, never with a traceback."""

from __future__ import annotations

import contextlib
import io
import re

from hypothesis import given, settings
from hypothesis import strategies as st

from onchip.cli import run

LINE = re.compile(r"(UsageError|UnknownName|BadFile|NotSupported|DoesNotFit): .* ?OC[1-3]\d{3} \S.*[.?!]")
VERBS = (
    "estimate",
    "check",
    "compare",
    "compile",
    "run",
    "inspect",
    "chips",
    "models",
    "validate",
    "calibrate",
    "explain",
)
ODD = st.one_of(
    st.text(max_size=12),
    st.integers(-3, 300).map(str),
    st.floats().map(str),
    st.sampled_from(
        ["", "-", "--", "=", "a=b", "local.size=", "=1", "1x8x8x1", "input=1x8x8x1", "input=", "∞", "9" * 40]
    ),
    st.sampled_from(
        ["full", "default", "int8", "bf16", "fp64", "edge-npu-16", "tiny-npu-4?local.size=1KiB", "..", "%s"]
    ),
)
SETS = st.sampled_from(
    [
        "local.size=1KiB",
        "local.banks=0",
        "clock.core=1 GHz",
        "matrix.int8.rows=1",
        "dram.bandwidth=1B/s",
        "cores.count=3",
    ]
)
OPTION = st.one_of(
    st.tuples(st.sampled_from(["-b", "--batch", "--seq", "--effort", "--dtype", "--shape", "--chip", "--seed"]), ODD),
    st.tuples(st.just("--set"), st.one_of(SETS, ODD)),
    st.tuples(st.sampled_from(["--emit", "--input", "--samples"]), ODD),
    st.tuples(st.sampled_from(["--json", "-q", "-v", "--quiet", "--verbose"])),
    st.tuples(ODD),
)
MODEL = st.one_of(st.sampled_from(["@digits_cnn", "@digits_lstm", "digits_cnn", "@", "x.onnx", ".npz", "a:b"]), ODD)


def ended(words: list[str]) -> None:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = run(words)
    lines = err.getvalue().splitlines()
    if code == 0:
        assert not lines and out.getvalue()
    elif lines:
        assert code in (2, 3, 4) and len(lines) == 1 and LINE.fullmatch(lines[0]), (words, lines)
        assert not out.getvalue()
    else:
        assert code == 2 and out.getvalue().startswith("Usage: "), words


@given(st.sampled_from(VERBS), MODEL, st.lists(OPTION, max_size=4))
@settings(max_examples=150)
def test_random_options(verb: str, model: str, options: list[tuple[str, ...]]) -> None:
    chip = ["--chip", "edge-npu-16"] if verb in ("estimate", "check", "compile", "run") else []
    ended([verb, model, *chip, *(word for option in options for word in option)])


@given(st.lists(st.one_of(ODD, st.sampled_from([*VERBS, "train", "-h", "--help", "-V", "--json"])), max_size=5))
@settings(max_examples=100)
def test_random_words(words: list[str]) -> None:
    if words[:1] != ["demo"]:
        ended(words)


@given(
    st.sampled_from(["local.size", "local.banks", "clock.core", "cores.count", "matrix.int8.rows", "vector.lanes"]), ODD
)
@settings(max_examples=60)
def test_random_chip_overrides(key: str, value: str) -> None:
    ended(["estimate", "@digits_cnn", "-q", "-c", "edge-npu-16", "--set", f"{key}={value}"])
