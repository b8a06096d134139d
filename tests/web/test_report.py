"""The report page in a browser: the numbers of the JSON, no request, no error, keys, axe's rules, light and dark."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from onchip.ir.page_read import parse_page
from onchip.units import format_value
from tests.web.conftest import Open, data_of
from tests.web.samples import NASTY, RUNS

KEY = {
    "latency": ("latency_s", "s"), "throughput": ("throughput_per_s", "1/s"), "energy": ("energy_j", "J"),
    "power": ("power_w", "W"), "utilization": ("utilization", "%"),
}  # fmt: skip
NAME = "e => e.getAttribute('aria-label') || e.innerText || e.tagName"
Sample = Callable[[str], str]


def text_of(page: Any, name: str) -> tuple[float, str]:
    """Return the exact value and the text of a number on the page."""
    found = page.locator(f'[data-name="{name}"]').first
    return float(found.get_attribute("data-value")), " ".join(found.text_content().split())


def check_tiles(page: Any, report: Any) -> None:
    for name, (field, unit) in KEY.items():
        assert text_of(page, name) == (report[field]["value"], format_value(report[field]["value"], unit)), name
    dram = report["memory"]["dram_traffic_bytes"]
    assert text_of(page, "dram") == (dram, format_value(dram, "B"))
    total = report["latency_s"]["value"]
    assert text_of(page, "waterfall-total") == (total, format_value(total, "s"))
    parts = [p["seconds"] for p in report["waterfall"] if p["seconds"] > 0.0005 * total]
    bars = page.locator('.panel-waterfall [data-name^="cause-"]')
    assert bars.evaluate_all("nodes => nodes.map(n => Number(n.dataset.value))") == parts
    assert bars.all_text_contents() == [format_value(p, "s") for p in parts]


@pytest.mark.parametrize("name", RUNS)
def test_the_page_shows_the_numbers_of_the_json(name: str, sample: Sample, open_page: Open) -> None:
    page = open_page(sample(name))
    data = data_of(page)
    report = data["reports"][0]
    assert page.locator(".verdict").inner_text() == parse_page(json.dumps(data)).reports[0].verdict
    check_tiles(page, report["silicon"] or report)
    if report["silicon"]:
        page.get_by_role("button", name="our program").click()
        check_tiles(page, report)
    rows = page.locator(".layer-row")
    assert rows.count() == len(report["layers"])
    for column, unit in (("time", "s"), ("share", "%"), ("dram", "B"), ("util", "%")):
        wanted = [value for layer in report["layers"] if (value := cell_of(layer, column)) is not None]
        cells = page.locator(f'.layer-row [data-name="row-{column}"]')
        exact = cells.evaluate_all("nodes => nodes.map(n => Number(n.dataset.value))")
        assert exact == pytest.approx(wanted, rel=1e-12), column
        assert cells.all_text_contents() == [format_value(v, unit) for v in exact], column


def cell_of(layer: Any, column: str) -> float | None:
    """Return the number of a column of the layer table, None where it shows a dash."""
    if column == "time":
        return layer["latency_s"]["value"]
    if column == "share":
        return layer["share"]
    return (layer["dram_bytes"] or None) if column == "dram" else (layer["utilization"] if layer["macs"] else None)


def test_numbers_are_written_as_in_the_text_report(sample: Sample, open_page: Open) -> None:
    page = open_page(sample("plain"))
    values = [0, 1, 9.995, 99.95, 999.5, 999.4, 1023, 1024, 1048575, 0.1255, 12.25, 12.35, 1e-16, 3.3e15, 2.675, 0.5]
    values += [k * 10.0**e for e in range(-14, 16, 3) for k in (1, 1.005, 2.345, 9.995, 99.95, 123.5, 999.49999)]
    pairs = [(v, u) for v in values for u in ("s", "B", "B/s", "%", "op/s", "J", "W", "MAC", "1/s", "cycles", "")]
    shown = page.evaluate("pairs => pairs.map(([v, u]) => onchip.format(v, u))", pairs)
    assert shown == [format_value(v, u) for v, u in pairs]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(scheme: str, sample: Sample, open_page: Open, axe: Callable[[Any], list[str]]) -> None:
    page = open_page(sample("gpu"), scheme=scheme)
    page.evaluate("onchip.select({layer: onchip.page.reports[0].silicon.layers[3].name, cause: 'memory'})")
    assert axe(page) == []


def test_a_cause_filters_and_a_layer_is_selected_everywhere(sample: Sample, open_page: Open) -> None:
    page = open_page(sample("edge"))
    layers = data_of(page)["reports"][0]["layers"]
    page.locator(".wf-row", has_text="weights").click()
    lost = [(p["seconds"], x) for x in layers for p in x["waterfall"] if p["part"] == "weights"]
    kept = [(s, x["name"]) for s, x in lost if s > 0.05 * x["latency_s"]["value"]]
    names = page.locator(".layer-row .row-name span").all_inner_texts()
    assert names == [name for _, name in sorted(kept, key=lambda pair: -pair[0])]
    page.keyboard.press("Escape")
    assert page.locator(".layer-row").count() == len(layers)
    page.keyboard.press("j")
    page.keyboard.press("ArrowDown")
    second = layers[1]["name"]
    assert page.locator(".selected code").inner_text() == second
    assert page.locator(".layer-row.chosen .row-name span").inner_text() == second
    assert second in page.locator(".of-layer h3").inner_text()
    page.keyboard.press("/")
    page.keyboard.type("DW_2")
    assert page.locator(".layer-row .row-name span").all_inner_texts() == ["conv_dw_2"]


def test_modules_fold(sample: Sample, open_page: Open) -> None:
    page = open_page(sample("gpu"))
    page.keyboard.press("s")
    layers = data_of(page)["reports"][0]["layers"]
    page.get_by_label("by module").check()
    module = page.locator(".layer-row.module", has_text="layer3")
    inner = [x for x in layers if x["name"].startswith("layer3.")]
    assert f"{len(inner)} layers" in module.inner_text()
    seconds = float(module.locator('[data-name="row-time"]').get_attribute("data-value"))
    assert seconds == pytest.approx(sum(x["latency_s"]["value"] for x in inner), rel=1e-12)
    module.locator("button").click()
    assert (
        page.locator(".layer-row.module", has_text="layer3").locator("button").get_attribute("aria-expanded") == "true"
    )
    assert [row.split("\n")[0] for row in page.locator(".layer-row.module .row-name").all_inner_texts()] == [
        "▸layer1 10 layers", "▸layer2 13 layers", "▾layer3 19 layers",
        "▸0 4 layers", *(f"▸{i} 3 layers" for i in range(1, 6)), "▸layer4 10 layers",
    ]  # fmt: skip


def test_every_control_is_reached_with_the_tab_key(sample: Sample, open_page: Open) -> None:
    page = open_page(sample("plain"))
    seen: set[str] = set()
    for _ in range(200):
        page.keyboard.press("Tab")
        seen.add(
            page.evaluate("(e => e.getAttribute('aria-label') || e.innerText || e.tagName)(document.activeElement)")
        )
    wanted = page.evaluate(
        f"[...document.querySelectorAll('button, a, input, select')].filter(e => e.offsetParent !== null).map({NAME})"
    )
    assert set(wanted) <= seen
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("?")
    page.get_by_role("dialog").wait_for(state="visible", timeout=5000)
    page.keyboard.press("Escape")
    page.get_by_role("dialog").wait_for(state="detached", timeout=5000)


def test_names_are_text_and_nothing_else(sample: Sample, open_page: Open) -> None:
    page = open_page(sample("nasty"), width=390)
    names = page.locator(".layer-row .row-name span").evaluate_all("nodes => nodes.map(n => n.textContent)")
    assert names == list(NASTY)
    assert page.locator("script").count() == 2
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_ten_thousand_layers_open_and_scroll(sample: Sample, open_page: Open) -> None:
    page = open_page(sample("long"))
    took = page.evaluate("performance.getEntriesByName('onchip')[0].duration")
    assert took < 3000, took  # ms on a busy machine; about 200 alone
    assert page.locator(".layer-row").count() < 200
    page.evaluate("onchip.select({layer: 'block99.part9.op9999'})")
    page.wait_for_selector(".layer-row.chosen")
    assert page.locator(".layer-row.chosen .row-name span").inner_text() == "block99.part9.op9999"


def test_files_are_saved_from_the_page(sample: Sample, open_page: Open, tmp_path: Path) -> None:
    page = open_page(sample("npu"))
    data = data_of(page)
    saved: dict[str, str] = {}
    for button in page.locator(".files button").all():
        with page.expect_download() as waited:
            button.click()
        waited.value.save_as(tmp_path / "file")
        saved[waited.value.suggested_filename] = (tmp_path / "file").read_text(encoding="utf-8")
    assert json.loads(saved["page.json"]) == data
    report = json.loads(saved["ds_cnn-ethos-u55-128.json"])
    assert report == {**data["reports"][0], "timing": {}}
    assert saved["ethos-u55-128.toml"] == data["parts"]["chip"]["toml"]
    head, *rows = saved["ds_cnn-ethos-u55-128-layers.csv"].splitlines()
    assert head.startswith("layer,kind,seconds,share")
    assert [row.split(",")[0] for row in rows] == [x["name"] for x in report["silicon"]["layers"]]
    for kind, begin in (("svg", b"<svg"), ("png", b"\x89PNG")):
        with page.expect_download() as waited:
            page.locator(f"#roofline .copy-{kind}").click()
        waited.value.save_as(tmp_path / kind)
        assert (tmp_path / kind).read_bytes().startswith(begin)
    drawn = (tmp_path / "svg").read_text(encoding="utf-8")
    assert "var(" not in drawn  # a file of its own knows none of the page's colours
    assert re.search(r'<circle[^>]* fill="rgb\(', drawn)


@pytest.mark.parametrize("name", ["gpu", "edge"])
def test_nothing_is_cut_on_a_telephone_or_on_paper(name: str, sample: Sample, open_page: Open) -> None:
    page = open_page(sample(name), width=390)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.set_viewport_size({"width": 690, "height": 980})  # A4 less its margins
    page.emulate_media(media="print")
    page.wait_for_function("document.documentElement.scrollWidth <= 696", timeout=5000)
    assert not page.locator(".top").is_visible()


def numbers(page: Any, selector: str, *names: str) -> list[tuple[float, ...]]:
    """Return attributes of shapes as numbers."""
    read = f"nodes => nodes.map(n => {list(names)}.map(a => Number(n.getAttribute(a))))"
    return [tuple(row) for row in page.locator(selector).evaluate_all(read)]


def test_bars_of_the_waterfall_follow_one_another_to_the_total(sample: Sample, open_page: Open) -> None:
    page = open_page(sample("edge"))
    report = data_of(page)["reports"][0]
    whole = report["latency_s"]["value"]
    bars = numbers(page, ".panel-waterfall .wf-row rect:not(.hit)", "x", "width")
    ((left, long),) = numbers(page, ".panel-waterfall .total rect", "x", "width")
    at = 0.0
    parts = [p["seconds"] for p in report["waterfall"] if p["seconds"] > 0.0005 * whole]
    for (x, width), seconds in zip(bars, parts, strict=True):
        assert x == pytest.approx(left + long * at / whole, abs=0.6)
        assert width == pytest.approx(max(1.5, long * seconds / whole), abs=0.6)
        at += seconds


def test_bubbles_lie_where_their_layers_are_and_none_above_the_roof(sample: Sample, open_page: Open) -> None:
    page = open_page(sample("edge"))
    report = data_of(page)["reports"][0]
    drawn = [x for x in report["layers"] if x["macs"] and x["intensity_op_per_byte"] is not None]
    drawn.sort(key=lambda layer: -layer["latency_s"]["value"])
    places = numbers(page, "circle.bubble", "cx", "cy", "r")
    first, last = drawn[0], drawn[-1]
    top = first["macs"] / first["latency_s"]["value"]
    fall = math.log(last["macs"] / last["latency_s"]["value"] / top)
    down = (places[-1][1] - places[0][1]) / fall
    peak = places[0][1] + down * math.log(report["chip"]["peak_ops_per_s"] / (2 * top))
    flat = [y1 for y1, y2 in numbers(page, ".roofline > line.roof", "y1", "y2") if y1 == y2]
    assert flat == [pytest.approx(peak, abs=0.01)]
    for layer, (x, y, r) in zip(drawn, places, strict=True):
        # log-log: equal ratios are equal ways; the area is the time
        way = math.log(layer["intensity_op_per_byte"] / first["intensity_op_per_byte"])
        across = math.log(last["intensity_op_per_byte"] / first["intensity_op_per_byte"])
        assert x - places[0][0] == pytest.approx((places[-1][0] - places[0][0]) * way / across, abs=0.01)
        rate = layer["macs"] / layer["latency_s"]["value"]
        assert y - places[0][1] == pytest.approx(down * math.log(rate / top), abs=0.01)
        if r > 2:
            time = layer["latency_s"]["value"] / first["latency_s"]["value"]
            assert (r / places[0][2]) ** 2 == pytest.approx(time, rel=1e-6)
        assert 2 * rate <= layer["attainable_ops_per_s"] * (1 + 1e-9)
