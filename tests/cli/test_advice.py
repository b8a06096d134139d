"""Advice on real chips: every gain is that of the played program, and of the command that is suggested with it."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest

import onchip as oc
from onchip import pipeline
from onchip.advice import WORK, full_advice, short_advice, work
from onchip.case import Case, effort_of
from onchip.chip import Chip
from onchip.errors import OnchipError
from onchip.ir.page_read import read_page
from onchip.planner.tile import EFFORT
from onchip.reports.actions import Action, actions_json
from tests.cli.conftest import Onchip

PACKED = "edge-npu-16?matrix.row_packing=C"  # each filter tap has rows of its own: three channels leave 13 empty


def case_of(model: str, chip: str) -> tuple[Case, oc.Report]:
    case = Case(oc.read(model), Chip.load(chip))
    return case, pipeline.estimate(case.bound, case.chip)


def told(model: str, chip: str) -> tuple[oc.Report, dict[str, Any], tuple[Action, ...]]:
    """Every action of a network on a chip, as the page has them."""
    case, report = case_of(model, chip)
    advice = full_advice(case, report, chips=[Chip.load(n) for n in ("edge-npu-8", "edge-npu-32", "edge-npu-64")])
    command = f"onchip whatif {model} --chip {chip}"
    return report, actions_json(advice.base, advice.actions, command, tried=advice.tried), advice.actions


@pytest.mark.parametrize(("model", "chip"), [("@digits_cnn", "edge-npu-16"), ("@resnet8", "tiny-npu-4"),
                                             ("@ds_cnn", "ethos-u55-128"),
                                             ("@digits_cnn", "hailo-8"), ("@mobilenet_v1_0.25", PACKED)])  # fmt: skip
def test_the_command_of_an_action_gives_its_numbers(model: str, chip: str, onchip: Onchip) -> None:
    report, made, actions = told(model, chip)
    assert made["actions"] and made["tried"] >= len(made["actions"])
    gains = [action["verified"]["time"] for action in made["actions"]]
    assert gains == sorted(gains) and gains[-1] <= -0.02
    for action in made["actions"]:
        again = onchip(*shlex.split(action["command"])[1:], "--json").json
        after, verified = again["variants"][-1]["report"], action["verified"]
        assert after["latency_s"]["value"] / after["batch"] == verified["seconds"]
        assert after["energy_j"]["value"] / after["batch"] == verified["joules"]
        base = again["base"]["latency_s"]["value"]
        assert verified["time"] == verified["seconds"] / base - 1 and base == report.expected.latency_s.value
    assert all((action.how == "simulated") == (chip.startswith(("edge-npu", "tiny-npu"))) for action in actions)


def test_every_gain_is_there_when_the_changed_program_is_played() -> None:
    for model, chip in (("@digits_cnn", "edge-npu-16"), ("@ds_cnn", "ethos-u55-128")):
        case, report = case_of(model, chip)
        for action in full_advice(case, report).actions:
            changed = case.changed(dict(action.change.settings))
            program = oc.compile(
                oc.read(model, weights="random").bind(batch=changed.batch or 1), changed.chip, effort=changed.effort
            )
            trace = oc.simulate(program)
            seconds = oc.report(trace).latency_s.value / (changed.batch or 1)
            assert trace.fidelity == "event" and seconds < report.seconds_per_inference
            if action.how == "simulated":
                assert seconds == action.seconds
            else:
                assert seconds / report.seconds_per_inference - 1 == action.program


def test_the_least_power_among_faster_chips_is_named() -> None:
    _, made, _ = told("@digits_cnn", "edge-npu-16")
    chips = [action["settings"]["chip"] for action in made["actions"] if "chip" in action["settings"]]
    assert chips == ["edge-npu-32"]


def test_how_much_a_short_advice_tries_depends_on_the_network_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    case, report = case_of("@digits_cnn", "edge-npu-16")
    assert work(report) <= len(report.layers)
    tried: list[str] = []
    monkeypatch.setattr(Case, "changed", lambda self, settings: tried.append(*settings) or self)  # pyright: ignore
    short_advice(case, report)
    assert sorted(tried) == ["batch", "dram.bandwidth", "local.size"]
    tried.clear()
    monkeypatch.setattr("onchip.advice.WORK", work(report))
    short_advice(case, report)
    assert len(tried) == 1 < WORK


def test_what_the_search_can_still_gain_is_tried_where_the_plan_is_known() -> None:
    seen: dict[str, Any] = {}
    case = Case(oc.read("@resnet8"), Chip.load("edge-npu-16"))
    report = pipeline.estimate(case.bound, case.chip, watch=seen.__setitem__)
    asked = full_advice(case, report).tried
    assert full_advice(case, report, plan=seen["plan"]).tried == asked + 1


def test_settings_are_of_the_run_or_of_the_chip() -> None:
    case = Case(oc.read("@digits_cnn"), Chip.load("edge-npu-16"))
    made = case.changed({"batch": "4", "dtype": "int8", "effort": "full", "local.size": "1MiB", "chip": "edge-npu-32"})
    assert (made.batch, made.dtype, made.effort) == (4, "int8", effort_of("full")) and made.effort > EFFORT
    assert made.chip.name.startswith("edge-npu-32?") and made.chip.local.size_bytes == 1 << 20
    assert made.bound.tensor(made.bound.inputs[0]).shape[0] == 4
    wrong = {"batch": ("0", "4x", "-1"), "dtype": ("int9",), "effort": ("0", "most"), "chip": ("edge",),
             "locl.size": ("1MiB",)}  # fmt: skip
    for key, texts in wrong.items():
        for text in texts:
            with pytest.raises(OnchipError):
                case.changed({key: text})


def test_the_settings_of_a_run_work_in_every_verb(onchip: Onchip) -> None:
    words = ("@digits_cnn", "--chip", "edge-npu-16")
    for verb in ("estimate", "check", "compile"):
        both = [onchip(verb, *words, *more, "--json").json for more in (["--set", "batch=3"], ["-b", 3])]
        for made in both:
            made.pop("timing", None)
        assert both[0] == both[1]
    assert "'batch'" in onchip("estimate", *words, "--set", "bach=3").mistake("OC1008", 2)


def test_the_json_has_actions_where_somebody_asked(onchip: Onchip) -> None:
    words = ("estimate", "@digits_cnn", "--chip", "edge-npu-16", "--json")
    assert "actions" not in onchip(*words).json and "actions" not in onchip(*words, "--actions", "0").json
    made = onchip(*words, "--actions", 4).valid("report-1.json")["actions"]
    assert (
        made["tried"] == 4 and made["actions"] and made["base"]["seconds"] > made["actions"][0]["verified"]["seconds"]
    )
    onchip(*words, "--actions", "many").mistake("OC1008", 2)
    assert "Try first" not in onchip(*words[:-1], "--actions", "0").out


def test_a_page_has_actions_and_knobs_with_the_numbers_of_the_commands(onchip: Onchip, tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    assert onchip("estimate", "@digits_cnn", "--chip", "tiny-npu-4", "-o", path).code == 0
    parts = read_page(path).parts
    first = parts["actions"]["actions"][0]
    again = onchip(*shlex.split(first["command"])[1:], "--json").json["variants"][-1]["report"]
    assert again["latency_s"]["value"] / again["batch"] == first["verified"]["seconds"]
    knobs = {knob["key"]: knob for knob in parts["knobs"]["knobs"]}
    points = dict(map(tuple, knobs["clock.core"]["points"]))
    assert points[1] == 0 and knobs["clock.core"]["value"] == "100 MHz"
    words = [*shlex.split(parts["knobs"]["command"])[1:], "--set", "clock.core=200MHz", "--json"]
    faster = onchip(*words).json["variants"][-1]["report"]["latency_s"]["value"]
    assert points[2] == faster / parts["knobs"]["seconds"] - 1


def test_the_next_command_of_a_what_if_takes_what_could_be_priced(onchip: Onchip) -> None:
    words = ("whatif", "@ds_cnn", "--chip", "edge-npu-16")
    sets = ("--set", "chip=edge-npu-32", "--set", "batch=2", "--set", "local.size=1KiB")
    done = onchip(*words, *sets)
    follow = shlex.split(done.out.splitlines()[1].removeprefix("Next:"))
    assert follow == ["onchip", "estimate", "@ds_cnn", "--chip", "edge-npu-16", "--set", "batch=2"]
    again = onchip(*words, *sets[:4]).out.splitlines()[1]
    assert again == "Next:  onchip estimate @ds_cnn --chip edge-npu-32 --set batch=2"
    assert onchip(*shlex.split(again)[2:], "-q").code == 0


def test_a_picture_is_folded_where_taps_have_rows_of_their_own(onchip: Onchip) -> None:
    rewrite = ("--set", "rewrite=space_to_depth")
    found = onchip("estimate", "@mobilenet_v1_0.25", "--chip", PACKED, "--actions", "all", "--json").json["actions"]
    (folded,) = [action for action in found["actions"] if "rewrite" in action["settings"]]
    assert folded["text"] == "fold the picture into channels" and not folded["risk"]
    assert -0.2 < folded["predicted"]["time"] < 0 and folded["verified"]["how"] == "simulated"
    words = ("@mobilenet_v1_0.25", "--chip", PACKED, *rewrite)
    assert onchip("estimate", *words, "--json").json["latency_s"]["value"] == folded["verified"]["seconds"]
    assert "onchip estimate @mobilenet_v1_0.25 --set rewrite=space_to_depth " in onchip("estimate", *words).out
    assert onchip("compile", *words, "-q").code == 0
    onchip("estimate", "@digits_cnn", "--chip", "edge-npu-16", *rewrite).mistake("OC1008", 2)
    onchip("estimate", *words[:3], "--set", "rewrite=space").mistake("OC1008", 2)
    plain = onchip("estimate", "@mobilenet_v1_0.25", "--chip", "edge-npu-16", "--actions", "all", "--json").json
    assert not any("rewrite" in action["settings"] for action in plain["actions"]["actions"])
