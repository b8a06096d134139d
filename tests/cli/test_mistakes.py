"""Bad input: one line with code, place, fact, limit and next step, the right exit code, and nothing on stdout."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import TensorProto, helper

from onchip import pipeline
from onchip.chip import Chip
from tests.cli.conftest import Onchip

EDGE = ("-c", "edge-npu-16")
CNN = "@digits_cnn"


@pytest.mark.parametrize(
    ("words", "code", "exit_code", "said"),
    [
        (["estimate", CNN, "-c", "h100"], "OC1001", 2, ["'h100'", "'h100-sxm'"]),
        (["estimate", CNN, "-c", "zzz"], "OC1001", 2, ["`onchip chips` lists them"]),
        (["estimate", "@digits_cn", *EDGE], "OC1002", 2, ["'digits_cnn'"]),
        (["estimate", "digits_cnn", *EDGE], "OC1002", 2, ["'@digits_cnn'"]),
        (["estimate", "net.pt", *EDGE], "OC1254", 2, ["pickle", "torch.onnx.export"]),
        (["estimate", "net.txt", *EDGE], "OC1254", 2, ["FILE.onnx"]),
        (["estimate", "/nowhere/net.onnx", *EDGE], "OC1250", 2, ["No such file"]),
        (["estimate", "no_such_module:make", *EDGE], "OC1255", 2, ["no_such_module"]),
        (["estimat", CNN], "OC1008", 2, ["'estimat'", "Did you mean 'estimate'?"]),
        (["zzz"], "OC1008", 2, ["'zzz'", "onchip --help"]),
        (["estimate"], "OC1008", 2, ["MODEL", "onchip estimate --help"]),
        (["estimate", CNN], "OC1008", 2, ["--chip"]),
        (["run", CNN], "OC1008", 2, ["--chip"]),
        (["estimate", CNN, "--chp", "x"], "OC1008", 2, ["--chp", "--chip"]),
        (["estimate", CNN, *EDGE, "extra"], "OC1008", 2, ["extra"]),
        (["estimate", CNN, *EDGE, "-b", "0"], "OC1008", 2, ["--batch", "onchip estimate --help"]),
        (["estimate", CNN, *EDGE, "-b", "two"], "OC1008", 2, ["--batch", "integer"]),
        (["estimate", CNN, *EDGE, "-b", "9999999999"], "OC1008", 2, ["--batch"]),
        (["estimate", CNN, *EDGE, "--effort", "much"], "OC1008", 2, ["'much'", "default or full"]),
        (["estimate", CNN, *EDGE, "--effort", "0"], "OC1008", 2, ["'0'"]),
        (["estimate", CNN, *EDGE, "--dtype", "int7"], "OC1008", 2, ["'int7'", "'int8'"]),
        (["estimate", CNN, *EDGE, "--dtype", "bf16"], "OC1301", 3, ["bf16", "int8"]),
        (["estimate", CNN, *EDGE, "--seq", "9"], "OC1003", 2, ["'seq'"]),
        (["estimate", "@bert-base", *EDGE, "--seq", "513"], "OC1003", 2, ["513", "1 to 512"]),
        (["estimate", CNN, *EDGE, "--shape", "input"], "OC1008", 2, ["'input'", "--shape"]),
        (["estimate", CNN, *EDGE, "--shape", "inptu=1x8x8x1"], "OC1008", 2, ["'inptu'", "'input'"]),
        (["estimate", CNN, *EDGE, "--shape", "input=1x9x8x1"], "OC1008", 2, ["dimension 8 is not 9"]),
        (["estimate", CNN, *EDGE, "--shape", "input=1x8"], "OC1008", 2, ["4 dimensions"]),
        (["estimate", CNN, *EDGE, "--shape", "input=-1x8x8x1"], "OC1008", 2, ["--shape input=1x8x8x1"]),
        (["estimate", CNN, *EDGE, "--set", "local.size"], "OC1008", 2, ["KEY=VALUE"]),
        (["estimate", CNN, *EDGE, "--set", "local.sise=1KiB"], "OC1102", 2, ["'local.size'"]),
        (["estimate", CNN, *EDGE, "--set", "local.size=1 KB"], "OC1105", 2, ["Write KiB"]),
        (["estimate", CNN, *EDGE, "--set", "peak.int8=1 TOPS"], "OC1104", 2, ["1.00 TOPS", "256 GOPS", "2 %"]),
        (["estimate", CNN, *EDGE, "--set", "local.size=7B"], "OC1106", 2, ["local.size", "8 banks"]),
        (["estimate", CNN, *EDGE, "--set", "local.size=64B"], "OC2101", 4, ["64", "--set local.size="]),
        (["estimate", CNN, "-c", "tiny-npu-4", "-b", "1000000"], "OC2001", 4, ["DRAM", "smaller batch"]),
        (["compile", CNN, *EDGE, "--emit", "plann"], "OC1008", 2, ["'plan'"]),
        (["compare", CNN, "-c", ","], "OC1008", 2, ["no chip"]),
        (["compare", CNN, "-c", "edge-npu"], "OC1001", 2, ["'edge-npu-"]),
        (["train", "cn"], "OC1013", 2, ["'cnn'"]),
        (["train", "cnn", "-o", "net.txt"], "OC1015", 2, [".onnx"]),
        (["run", "@llama2-7b", *EDGE], "OC1017", 3, ["6.74 G", "onchip estimate"]),
        (["chips", "edge"], "OC1001", 2, ["'edge-npu-"]),
        (["explain", "OC9"], "OC1016", 2, ["'OC9'"]),
        (["run", "/nowhere/p.npz"], "OC1240", 2, ["No such file"]),
        (["run", CNN, *EDGE, "-i", "/nowhere/x.npz"], "OC1421", 2, ["No such file"]),
        (["run", CNN, *EDGE, "--seed", "-1"], "OC1008", 2, ["--seed"]),
    ],
    ids=lambda value: " ".join(value)[:60] if isinstance(value, list) else "",
)
def test_a_mistake_is_one_line(onchip: Onchip, words: list[str], code: str, exit_code: int, said: list[str]) -> None:
    line = onchip(*words).mistake(code, exit_code)
    assert all(word in line for word in said), line
    assert len(line) < 500


@pytest.mark.parametrize(
    ("old", "new", "code", "said"),
    [
        ("banks = 8", "bancs = 8", "OC1102", ["'local.bancs'", "'local.banks'"]),
        ('latency = "100 ns"\n', "", "OC1103", ["'dram.latency'"]),
        ('int8 = "256 GOPS"', 'int8 = "512 GOPS"', "OC1104", ["512 GOPS", "256 GOPS"]),
        ("banks = 8", "banks = = 8", "OC1101", ["line "]),
        ('size = "256 KiB"', 'size = "256 KB"', "OC1105", ["local.size"]),
    ],
)
def test_a_malformed_chip_file(onchip: Onchip, tmp_path: Path, old: str, new: str, code: str, said: list[str]) -> None:
    text = str(Chip.load("edge-npu-16"))
    assert text.count(old) == 1
    path = tmp_path / "mine.toml"
    path.write_text(text.replace(old, new), encoding="utf-8")
    line = onchip("estimate", CNN, "-c", path).mistake(code, 2)
    assert all(word in line for word in [*said, "mine.toml" if code != "OC1104" else "edge-npu-16"]), line


def test_damaged_onnx_files(onchip: Onchip, net: Path, tmp_path: Path) -> None:
    data = net.read_bytes()
    for name, content in {
        "cut": data[: len(data) // 2], "empty": b"", "text": b"not a model at all\n" * 20, "zero": bytes(500)
    }.items():  # fmt: skip
        path = tmp_path / f"{name}.onnx"
        path.write_bytes(content)
        assert path.name in onchip("estimate", path, *EDGE).mistake("OC1251", 2)
    (tmp_path / "dir.onnx").mkdir()
    onchip("estimate", tmp_path / "dir.onnx", *EDGE).mistake("OC1250", 2)


@pytest.mark.parametrize(("op", "domain", "code"), [("Det", "", "OC1350"), ("BeamSearch", "com.microsoft", "OC1352")])
def test_an_op_that_is_not_supported(onchip: Onchip, tmp_path: Path, op: str, domain: str, code: str) -> None:
    info = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [4, 4]) for name in ("x",)]
    out = [helper.make_tensor_value_info("y", TensorProto.FLOAT, [] if op == "Det" else [4, 4])]
    graph = helper.make_graph([helper.make_node(op, ["x"], ["y"], name="odd", domain=domain)], "g", info, out)
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), tmp_path / "odd.onnx")
    line = onchip("estimate", tmp_path / "odd.onnx", *EDGE).mistake(code, 3)
    assert op in line and "odd" in line


def test_a_bug_of_ours_is_one_line_and_exit_code_one(
    onchip: Onchip, net: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError("by\nzero")

    monkeypatch.setattr(pipeline, "estimate", broken)
    line = onchip("estimate", net, *EDGE).mistake("OC9099", 1)
    assert "ZeroDivisionError: by zero" in line and "ONCHIP_TRACEBACK=1" in line
    monkeypatch.setenv("ONCHIP_TRACEBACK", "1")
    with pytest.raises(ZeroDivisionError):
        onchip("estimate", net, *EDGE)


def test_an_interruption_is_one_line_and_130(onchip: Onchip, net: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(pipeline, "estimate", stopped)
    assert "stopped" in onchip("estimate", net, *EDGE).mistake("OC1009", 130)


def test_without_the_extra_one_line_says_what_to_install(onchip: Onchip, monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib

    def absent(name: str) -> None:
        raise ModuleNotFoundError(f"No module named '{name}'", name="torch")

    monkeypatch.setattr(importlib, "import_module", absent)
    assert "pip install 'onchip[torch]'" in onchip("train", "cnn").mistake("OC1014", 2)


def test_no_words_print_the_help(onchip: Onchip) -> None:
    done = onchip()
    assert done.code == 2 and done.out.startswith("Usage: onchip ") and done.err == ""
