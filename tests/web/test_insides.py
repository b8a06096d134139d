"""Mapping, numerics and pictures in a browser: what they draw are the numbers of the JSON, for the selected layer."""

from __future__ import annotations

import base64
from collections.abc import Callable
from itertools import product
from math import prod
from typing import Any

import numpy as np
import pytest

from onchip import pages, pipeline
from onchip.chip import Chip
from onchip.reports.html import page_html
from onchip.zoo.catalog import build
from tests.web.conftest import Open, data_of


def run_of(network: str, chip_name: str) -> str:
    graph, chip, seen = build(network, weights="random").bind(batch=1), Chip.load(chip_name), dict[str, Any]()
    rng = np.random.default_rng(0)
    shapes = {name: [int(d) for d in graph.tensor(name).shape] for name in graph.inputs}
    seen["inputs"] = {name: rng.random(shape, np.float32) for name, shape in shapes.items()}
    program = pipeline.compile(graph, chip, samples=[seen["inputs"]], watch=seen.__setitem__)
    return page_html(pages.page(pipeline.report(pipeline.simulate(program)), chip, seen))


@pytest.fixture(scope="module")
def attention() -> str:
    return run_of("digits_attention", "tiny-npu-4")


@pytest.fixture(scope="module")
def cnn() -> str:
    return run_of("vww_mobilenet_v1_0.25", "edge-npu-16")


def test_visits_follow_the_loops(cnn: str, open_page: Open) -> None:
    page = open_page(cnn)
    part = data_of(page)["parts"]["mapping"]
    numbers = {number: name for name, number in part["kernels"]}
    name, found = next((numbers[i], m) for i, m in enumerate(part["maps"]) if 4 <= prod(x[1] for x in m["loops"]) <= 80)
    page.evaluate("name => onchip.select({layer: name})", name)
    panel = page.locator("#mapping")
    slider = panel.get_by_label("Visit", exact=True)
    times = [times for _, times, *_ in found["loops"]]
    assert int(slider.get_attribute("max")) + 1 == prod(times)
    tiles = {axis: -(-extent // tile) for axis, _, tile, extent in found["loops"]}
    words = {"p": "rows", "q": "columns", "n": "channels", "k": "input channels", "b": "image"}
    for visit, at in enumerate(product(*map(range, times))):  # the last loop turns fastest
        place = dict(zip((axis for axis, *_ in found["loops"]), at, strict=True))
        told = [f"{words[a]} {place[a] + 1} of {tiles[a]}" for a, *_ in found["loops"] if tiles[a] > 1]
        assert panel.locator(".visits > .dim").inner_text() == f"Tile of {', '.join(told)}."
        if visit + 1 < prod(times):
            panel.get_by_role("button", name="One visit on").click()
    now = panel.locator('[data-tensor="output"] .tile-now').count()
    assert now == prod(found["cores"]) == 1


def test_a_selected_layer_is_mapped(attention: str, open_page: Open) -> None:
    page = open_page(attention)
    part = data_of(page)["parts"]["mapping"]
    panel = page.locator("#mapping")
    for name, number in part["kernels"]:
        page.evaluate("name => onchip.select({layer: name})", name)
        assert panel.locator("select").first.input_value() == name
        shown = [line.strip() for line in panel.locator(".nest").inner_text().split("\n")]
        lines = [line.strip() for line in part["maps"][number]["nest"]]
        assert shown == [line for line in lines if not line.startswith(("local holds", "accumulator holds"))]
        if part["maps"][number]["filled"] is not None:
            value = panel.locator('[data-name="filled"]').get_attribute("data-value")
            assert float(value) == part["maps"][number]["filled"]


def test_decibels_are_those_of_the_json(attention: str, open_page: Open) -> None:
    page = open_page(attention)
    part = data_of(page)["parts"]["numerics"]
    assert part["is_measured_alone"]
    for field, mark in (("cumulative_db", "data-cumulative"), ("isolated_db", "data-isolated")):
        shown = page.locator("#numerics .db-layer").evaluate_all("(g, mark) => g.map(e => e.getAttribute(mark))", mark)
        assert [float(v) if v else None for v in shown] == [layer[field] for layer in part["layers"]]
    worst = max(part["layers"], key=lambda layer: layer["gain_db"])
    first = page.locator("#numerics tbody tr").first.inner_text().split()
    assert first[0] == worst["name"] and f"{worst['gain_db']:.1f}" in first


def test_pictures_are_the_bytes_of_the_json(attention: str, open_page: Open) -> None:
    page = open_page(attention)
    (found, _) = data_of(page)["parts"]["pictures"]["attention"]
    rows, columns = found["size"]
    raw = np.frombuffer(base64.b64decode(found["data"]), np.uint8).reshape(-1, rows, columns)
    drawn = page.evaluate(
        """() => {
            const canvas = document.querySelector('#pictures canvas');
            const [w, h] = [canvas.width, canvas.height];
            return [w, h, [...canvas.getContext('2d').getImageData(0, 0, w, h).data]];
        }"""
    )
    image = np.array(drawn[2]).reshape(drawn[1], drawn[0], 4)[..., :3]
    scale = drawn[1] // rows
    first = image[scale // 2 : rows * scale : scale, scale // 2 : columns * scale : scale].sum(-1)
    order, shown = np.argsort(raw[0].ravel(), kind="stable"), first.ravel()
    assert (
        np.diff(shown[order]) >= -3
    ).all() and shown.max() > shown.min()  # brighter is more (rounding: 3 parts of 765)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(scheme: str, cnn: str, open_page: Open, axe: Callable[[Any], list[str]]) -> None:
    page = open_page(cnn, scheme=scheme)
    page.evaluate("onchip.select({layer: onchip.page.parts.mapping.kernels[2][0]})")
    assert axe(page) == []


@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_is_wider_than_the_page(width: int, cnn: str, open_page: Open) -> None:
    page = open_page(cnn, width=width)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
