"""Energy, network and chips on the page: the numbers of their parts, and selection across them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from onchip.cli import run
from onchip.units import format_value
from tests.web.conftest import Open, data_of
from tests.web.test_report import Sample, text_of


def values(page: Any, selector: str) -> list[float]:
    return page.locator(selector).evaluate_all("nodes => nodes.map(n => Number(n.dataset.value))")


def test_energy_shows_components_layers_and_events(sample: Sample, open_page: Open) -> None:
    page = open_page(sample("gpu"))
    data = data_of(page)
    report = data["reports"][0]["silicon"]
    total = report["energy_j"]["value"]
    assert text_of(page, "energy-total") == (total, format_value(total, "J"))
    for part in report["energy_parts"]:
        if part["joules"]:
            name = f"energy-{part['part']}"
            assert text_of(page, name) == (part["joules"], format_value(part["joules"], "J"))
    assert values(page, '[data-name="event"]') == [row["pj"] for row in data["parts"]["chip"]["events"]]
    most = max(report["layers"], key=lambda layer: layer["energy_j"]["value"])
    first = page.locator("#energy .wf-row").first
    assert first.text_content().startswith(most["name"])
    first.click()
    assert page.locator(".selected code").inner_text() == most["name"]


def test_the_network_folds_and_follows_the_selection(sample: Sample, open_page: Open) -> None:
    page = open_page(sample("gpu"))
    layers = data_of(page)["reports"][0]["silicon"]["layers"]
    boxes = page.locator("#graph .box")
    modules = {".".join(layer["name"].split(".")[:2]) for layer in layers}
    assert boxes.count() == len(modules)
    # a chain, block by block; flatten before fc is in no kernel and cuts nothing
    assert page.locator("#graph .edge").count() == len(modules) - 1
    module = page.locator("#graph .box.module", has_text="layer2.1")
    inner = [layer for layer in layers if layer["name"].startswith("layer2.1.")]
    assert f"{len(inner)} layers" in module.text_content()
    assert format_value(sum(layer["latency_s"]["value"] for layer in inner), "s") in module.text_content()
    module.click()
    assert boxes.count() == len(modules) - 1 + len(inner)
    page.locator("#graph .box", has_text="layer2.1.conv2").click()
    assert page.locator(".layer-row.chosen .row-name span").inner_text() == "layer2.1.conv2"
    # the sum of the residual block is fused into conv3, which so has two inputs: conv2, and the block before
    assert page.locator("#graph .edge.on").count() == 2


def test_chips_are_compared_and_open(sample: Sample, open_page: Open) -> None:
    page = open_page(sample("compare"))
    data = data_of(page)
    part = data["parts"]["compare"]
    shown = page.locator('[data-name="compare-time"]')
    assert values(page, '[data-name="compare-time"]') == [row["seconds"] for row in part["rows"]]
    assert shown.all_text_contents() == [format_value(row["seconds"], "s") for row in part["rows"]]
    joules = sorted(row["joules"] for row in part["rows"] if row["joules"] is not None)
    page.locator(".compare-box").get_by_role("button", name="energy").click()
    assert values(page, '[data-name="compare-energy"]')[: len(joules)] == joules
    assert page.locator("h1 + .verdict").inner_text() == part["verdict"]
    other = data["reports"][1]
    page.get_by_role("button", name=other["chip"]["name"], exact=True).first.click()
    assert page.locator("#summary .panel-body h2").inner_text() == f"digits_cnn on {other['chip']['name']}"
    assert text_of(page, "latency") == (other["latency_s"]["value"], format_value(other["latency_s"]["value"], "s"))
    assert "hailo-8" in page.locator(".refused").inner_text()


def test_a_what_if_shows_the_run_as_it_is_beside_the_change(open_page: Open, tmp_path: Path) -> None:
    path = tmp_path / "whatif.html"
    words = ["whatif", "@digits_cnn", "--chip", "edge-npu-16", "--set", "dram.bandwidth=6.4GB/s", "-o", str(path), "-q"]
    assert run([*words, "--set", "local.size=64B"]) == 0
    page = open_page(path)
    part = data_of(page)["parts"]["compare"]
    assert [row["chip"] for row in part["rows"]] == ["as it is", "dram.bandwidth=6.4GB/s"]
    assert [row["chip"] for row in part["refused"]] == ["local.size=64B", "dram.bandwidth=6.4GB/s and local.size=64B"]
    assert page.locator(".ghost").count() == 0
    page.get_by_role("button", name="dram.bandwidth=6.4GB/s", exact=True).first.click()
    base, changed = data_of(page)["reports"]
    assert text_of(page, "latency")[0] == changed["latency_s"]["value"] < base["latency_s"]["value"]
    assert page.locator(".ghost").count() == sum(layer["macs"] > 0 for layer in base["layers"])
