"""`inspect`, `models`, `explain`: what there is, as text and as JSON."""

from __future__ import annotations

from pathlib import Path

from onchip import __version__
from onchip.error_codes import catalog
from onchip.zoo.catalog import ZOO
from tests.cli.conftest import Onchip


def test_inspect_counts_what_the_network_says(onchip: Onchip, net: Path) -> None:
    made = onchip("inspect", net, "--json").valid("inspect-1.json")
    assert (made["macs"], made["parameters"], made["open_dimensions"]) == (640, 650, ["batch"])
    assert made["inputs"] == [{"name": "x", "shape": ["batch", 64], "dtype": "f32"}]
    assert [node["op"] for node in made["nodes"]] == ["linear", "relu"]
    assert [node["macs"] for node in made["nodes"]] == [640, 0]
    assert onchip("inspect", net, "-b", 5, "--json").json["macs"] == 5 * 640
    lines = onchip("inspect", net).out.splitlines()
    assert lines[0] == "net: 2 nodes, 640 MAC, 650 parameters; open dimensions: batch (counted as 1)."
    assert lines[1].startswith(f"Next:  onchip estimate {net} --chip ")
    assert lines[-1].split() == ["1", "act", "relu", "f32[batch,10]", "–", "–"]


def test_models_are_listed(onchip: Onchip) -> None:
    made = onchip("models", "--json").valid("models-1.json")
    assert [model["name"] for model in made["models"]] == [f"@{name}" for name in sorted(ZOO)]
    sizes = {model["name"]: model["parameters"] for model in made["models"]}
    assert sizes["@bert-base"] == 109_482_240  # BertModel of Hugging Face transformers
    lines = onchip("models").out.splitlines()
    assert lines[0].startswith(f"{len(ZOO)} networks")
    assert [line.split()[0] for line in lines[4:]] == [f"@{name}" for name in sorted(ZOO)]


def test_every_code_is_explained(onchip: Onchip) -> None:
    listed = onchip("explain").out.splitlines()
    assert [line.split()[0] for line in listed[3:]] == list(catalog())
    made = onchip("explain", "--json").valid("explain-1.json")
    assert len(made["codes"]) == len(catalog())
    for code, entry in list(catalog().items())[::7]:
        text = onchip("explain", code.lower()).out
        assert text.startswith(f"{code}: {entry.title}.\n")
        assert max(map(len, text.splitlines())) <= 100
        words = " ".join(text.split())
        assert all(" ".join(part.split()) in words for part in (entry.cause, *entry.fixes, entry.example))
    assert onchip("explain", "OC2101", "--json").valid("explain-1.json")["codes"][0]["code"] == "OC2101"
    assert "'OC100" in onchip("explain", "OC1000").mistake("OC1016", 2)
    onchip("explain", "x" * 5000).mistake("OC1016", 2)


def test_version_and_help(onchip: Onchip) -> None:
    assert onchip("--version").out == onchip("-V").out == f"onchip {__version__}\n"
    assert onchip("-V", "chips").out == f"onchip {__version__}\n"
    text = onchip("--help").out
    verbs = [
        "demo",
        "estimate",
        "check",
        "compare",
        "quantize",
        "compile",
        "run",
        "inspect",
        "chips",
        "models",
        "train",
        "explain",
    ]
    assert all(f"\n  {verb} " in text for verb in verbs)
    for verb in verbs:
        assert onchip(verb, "-h").out.startswith(f"Usage: onchip {verb} ")
    options = onchip("estimate", "--help").out
    words = ["-b, --batch", "--seq", "--dtype", "--shape", "-c, --chip", "-o, --output", "--json", "-q, --quiet"]
    assert all(word in options for word in [*words, "-v, --verbose", "--effort", "--set"])
    assert "-i, --input" in onchip("run", "--help").out
