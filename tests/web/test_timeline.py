"""The timeline and the memory map in a browser: what is drawn are the simulator's events, and everything follows."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from onchip import pages, pipeline
from onchip.chip import Chip
from onchip.ir.events import PLACES, is_work, places
from onchip.isa import CLASSES
from onchip.isa.instructions import from_record
from onchip.reports.html import page_html
from onchip.reports.timeline import timeline_part
from onchip.reports.tracks import dram_service
from onchip.units import format_value
from tests.web.conftest import Open, data_of

LEFT, AXIS, BAND, GAP, ROW = 98, 20, 22, 6, 30  # of the drawing
ROWS = ("load", "weights", "matrix", "vector", "store")
CANVAS = "#timeline canvas"
SPAN = "(() => { const w = onchipWindow(onchip.page.parts.timeline.cycles); return [w.from, w.to]; })()"
Sample = Callable[[str], str]


@functools.cache
def run() -> tuple[Any, Any, Any, str]:
    """Return program, trace with events, plan and page of a small network."""
    chip, seen = Chip.load("edge-npu-16"), dict[str, Any]()
    report = pipeline.estimate(pipeline.read("@ds_cnn"), chip, watch=seen.__setitem__)
    html = page_html(pages.page(report, chip, seen))
    return seen["program"], pipeline.record(seen["program"], seen["trace"]), seen["plan"], html


@pytest.fixture
def page(open_page: Open) -> Iterator[Any]:
    opened = open_page(run()[3])
    opened.wait_for_selector("#timeline details")  # the events are decoded
    opened.locator("#timeline").scroll_into_view_if_needed()
    yield opened


def busy(trace: Any, place: str, kernel: int) -> float:
    e = trace.events
    own = (e["kernel"] == kernel) & is_work(e) & (places(e) == PLACES.index(place))
    return float((e["free"] - e["start"])[own].sum()) / trace.kernels[kernel].cycles


def test_the_table_has_the_busy_shares_of_the_events(page: Any) -> None:
    _, trace, _, _ = run()
    page.locator("#timeline summary").click()
    for place in ROWS:
        cells = page.locator(f'.shares td[data-name="{place}"]')
        shares = [busy(trace, place, i) for i in range(len(trace.kernels))]
        assert cells.evaluate_all("nodes => nodes.map(n => Number(n.dataset.value))") == pytest.approx(shares)
        assert cells.all_text_contents() == [format_value(share, "%") for share in shares]
    totals = [k.matrix_busy / k.cycles for k in trace.kernels]
    assert [busy(trace, "matrix", i) for i in range(len(totals))] == pytest.approx(totals)
    assert page.locator(".shares tbody th").all_text_contents() == [k.name for k in trace.kernels]
    with page.expect_download() as got:
        page.locator("#timeline .copy-csv").click()
    rows = got.value.path().read_text().splitlines()
    assert len(rows) == 1 + len(trace.kernels) and rows[0].startswith("kernel,start_cycle,cycles,load_busy")


def test_the_height_of_a_bar_is_the_busy_share_of_its_pixel(page: Any) -> None:
    """Read pixels of the canvas back and compare with the events, for the whole run and for an eighth of it."""
    _, trace, _, _ = run()
    checked = 0
    for fraction in (1.0, 0.125):
        page.evaluate(f"onchipSetView(onchip.page.parts.timeline.cycles, 0, {trace.cycles * fraction})")
        page.wait_for_timeout(80)
        width = int(page.locator(CANVAS).evaluate("c => c.clientWidth"))
        each = trace.cycles * fraction / (width - LEFT)
        for i, place in ((0, "load"), (2, "matrix"), (3, "vector")):
            own = trace.events[is_work(trace.events) & (places(trace.events) == PLACES.index(place))]
            y = AXIS + BAND + GAP + i * (ROW + GAP)
            columns = list(range(LEFT + 3, width - 3, 7))
            script = f"""c => {{ const copy = document.createElement('canvas');
                copy.width = c.width; copy.height = c.height;
                const pen = copy.getContext('2d', {{ willReadFrequently: true }});
                pen.drawImage(c, 0, 0);
                return {columns}.map(x => {{ const d = pen.getImageData(x, {y}, 1, {ROW}).data; let n = 0;
                  for (let k = 0; k < {ROW}; k++)
                    if (Math.abs(d[4*k]-d[4*k+1]) + Math.abs(d[4*k+1]-d[4*k+2]) > 40) n++;
                  return n; }}); }}"""
            heights = page.locator(CANVAS).evaluate(script)
            inside = (own["start"] < trace.cycles * fraction).sum()
            if inside <= (width - LEFT) / 3:
                continue
            for x, height in zip(columns, heights, strict=True):
                low, high = (x - LEFT) * each, (x + 1 - LEFT) * each
                share = np.clip(np.minimum(own["free"], high) - np.maximum(own["start"], low), 0, None).sum() / each
                assert abs(height - share * ROW) <= 1.5, (place, fraction, x, height, share * ROW)
                checked += 0 < share < 1
    assert checked > 40


def test_an_instruction_is_told_under_the_pointer(page: Any) -> None:
    """In every unit, where there are some also behind a return to the top of a loop."""
    program, trace, _, _ = run()
    where, behind = places(trace.events), 0
    for row, place in enumerate(ROWS):
        own = np.flatnonzero((where == PLACES.index(place)) & is_work(trace.events))
        returns = own[1:][np.diff(trace.events["record"][own]) < 0]
        behind += len(returns) > 0
        for at in (own[len(own) // 3], returns[len(returns) // 2] if len(returns) else own[-1]):
            check_told(page, program, trace, trace.events[at], row)
    assert behind >= 2


def check_told(page: Any, program: Any, trace: Any, event: Any, row: int) -> None:
    low, high = int(event["start"]) - 200, int(event["free"]) + 200
    page.evaluate(f"onchipSetView(onchip.page.parts.timeline.cycles, {low}, {high})")
    low, high = page.evaluate(SPAN)  # at the ends of the run the window moves inside
    width = int(page.locator(CANVAS).evaluate("c => c.clientWidth"))
    middle = (int(event["start"]) + int(event["free"])) / 2
    x = LEFT + (middle - low) / (high - low) * (width - LEFT)
    page.hover(CANVAS, position={"x": x, "y": AXIS + BAND + GAP + row * (ROW + GAP) + ROW / 2})
    told = page.locator(".tip").inner_text()
    assert str(from_record(program.streams[event["unit"]][event["record"]], CLASSES)) in told
    assert trace.kernels[event["kernel"]].name in told
    start, end, cycles = (
        f"{int(v):,}".replace(",", " ") for v in (event["start"], event["free"], event["free"] - event["start"])
    )
    assert f"{start} to {end}: {cycles} cycles" in re.sub(r"\s+", " ", told.replace("\u202f", " "))


def test_the_dram_counter_is_the_port_of_the_simulator(page: Any) -> None:
    program, trace, _, _ = run()
    begins, ends, sizes = dram_service(program, trace)
    kernels = trace.events["kernel"][trace.events["dram_bytes"] > 0]
    moved = np.cumsum(sizes * np.array([k.cores for k in trace.kernels])[kernels])
    for n in (7, 1009):
        edges = np.arange(n + 1) * trace.cycles / n
        at = np.stack([begins, ends], axis=1).reshape(-1)
        total = np.stack([np.concatenate([[0], moved[:-1]]), moved], axis=1).reshape(-1)
        wanted = np.diff(np.interp(edges, at, total)) / (trace.cycles / n) * program.chip.clock_hz
        rates = page.evaluate(f"onchipRates(onchip.page.parts.timeline, {n})")
        assert rates == pytest.approx(wanted.tolist(), rel=1e-6, abs=1.0)


def test_selection_zoom_keys_and_wheel(page: Any) -> None:
    _, trace, _, _ = run()
    kernel = trace.kernels[4]
    page.evaluate(f"onchip.select({{layer: '{kernel.name}'}})")
    page.locator("#timeline").get_by_role("button", name="selected layer").click()
    low, high = page.evaluate(SPAN)
    assert low < kernel.start and high > kernel.start + kernel.cycles and high - low < 1.3 * kernel.cycles
    other = trace.kernels[-1]  # out of the window: the window follows
    page.evaluate(f"onchip.select({{layer: '{other.name}'}})")
    page.wait_for_timeout(50)
    moved = page.evaluate(SPAN)
    assert moved[0] < other.start + other.cycles and moved[1] > other.start and moved[0] != low
    page.locator(CANVAS).focus()
    page.keyboard.press("0")
    assert page.evaluate(SPAN) == [0, trace.cycles]
    page.keyboard.press("+")
    low, high = page.evaluate(SPAN)
    assert high - low == pytest.approx(trace.cycles / 1.6)
    page.keyboard.press("ArrowRight")
    assert page.evaluate(SPAN)[0] == pytest.approx(low + 0.2 * (high - low))
    page.keyboard.press("0")
    page.locator("#timeline .time-buttons button").first.focus()
    box = page.locator(CANVAS).bounding_box()
    page.mouse.move(box["x"] + 400, box["y"] + 100)
    page.mouse.wheel(0, -40)
    page.wait_for_timeout(50)
    assert page.evaluate(SPAN) == [0, trace.cycles]  # the page scrolled
    page.keyboard.down("Control")
    page.mouse.wheel(0, -240)
    page.keyboard.up("Control")
    page.wait_for_timeout(50)
    low, high = page.evaluate(SPAN)
    assert high - low == pytest.approx(trace.cycles / 2)
    page.evaluate("onchip.select({layer: null})")
    page.locator(CANVAS).click(position={"x": LEFT + 5, "y": AXIS + BAND / 2})
    clicked = page.evaluate("onchip.selection().layer")
    assert clicked in [
        k.name for k in trace.kernels if k.start <= low + (high - low) / 50 < k.start + k.cycles + high / 50
    ]


def number(text: str) -> int:
    return int(re.sub(r"\D", "", text))


def test_the_memory_map_is_the_plan(page: Any) -> None:
    _, trace, plan, _ = run()
    report = data_of(page)["reports"][0]
    assert (
        float(page.locator('#memory_map [data-name="peak"]').get_attribute("data-value"))
        == (report["memory"]["local_peak_bytes"])
    )
    assert report["memory"]["layer"] in page.locator("#memory_map .peak-words").inner_text()
    page.evaluate(f"onchip.select({{layer: '{trace.kernels[2].name}'}})")
    page.locator("#memory_map summary").click()
    wanted = sorted((b.address, b.name, b.size, b.slots) for b in plan.kernels[2].buffers if b.memory == "local")
    rows = page.locator("#memory_map table tbody tr").all_inner_texts()
    told = [re.split(r"\t", row) for row in rows]
    assert [(number(a), n, number(b), number(s)) for n, a, b, s in told] == wanted
    page.locator("#memory_map").get_by_role("button", name="far memory").click()
    assert page.locator("#memory_map summary").inner_text().startswith("The same in numbers: far memory")


def test_axe_finds_nothing_wrong_with_open_tables(open_page: Open, axe: Callable[[Any], list[str]]) -> None:
    page = open_page(run()[3])
    page.wait_for_selector("#timeline details")
    for panel in ("timeline", "memory_map"):
        page.locator(f"#{panel} summary").click()
    assert axe(page) == []


def test_the_dram_counter_is_the_traffic_of_all_cores(open_page: Open, sample: Sample) -> None:
    page = open_page(sample("gpu"))
    page.wait_for_selector("#timeline details")
    part, report = data_of(page)["parts"]["timeline"], data_of(page)["reports"][0]
    assert [k["cores"] for k in part["kernels"]] == [layer["cores"] for layer in report["layers"]]
    rates = page.evaluate("onchipRates(onchip.page.parts.timeline, 300)")
    seconds = part["cycles"] / part["clock_hz"]
    assert sum(rates) / len(rates) * seconds == pytest.approx(report["memory"]["dram_traffic_bytes"])
    assert max(rates) <= report["chip"]["dram_bytes_per_s"] * (1 + 1e-9)
    width = int(page.locator(CANVAS).evaluate("c => c.clientWidth"))
    for x in range(LEFT + 20, width - 20, 97):
        page.hover(CANVAS, position={"x": x, "y": AXIS + BAND + GAP + 5 * (ROW + GAP) + 44 + GAP + 20})
        told = page.locator(".tip p").first.inner_text()
        assert told.startswith("DRAM ") and told.endswith(format_value(report["chip"]["dram_bytes_per_s"], "B/s")), told


def test_kernels_without_events_show_averages(open_page: Open) -> None:
    """The middle of the last kernel: a bar as high as its busy share, and the words say that events are left out."""
    program, trace, plan, _ = run()
    seen = {"program": program, "plan": plan, "trace": trace}
    report = pipeline.report(trace)
    part = timeline_part(program, pipeline.record(program, trace, limit=trace.kernels[0].instructions))
    page = open_page(page_html(pages.page(report, program.chip, seen, timeline=part)))
    page.wait_for_selector("#timeline details")
    assert "lighter bars are averages" in page.locator("#timeline .note").inner_text()
    kernel = max(trace.kernels[1:], key=lambda k: k.cycles)
    width = int(page.locator(CANVAS).evaluate("c => c.clientWidth"))
    x = LEFT + (kernel.start + kernel.cycles / 2) / trace.cycles * (width - LEFT)
    for row, busy_cycles in ((2, kernel.matrix_busy), (3, kernel.vector_busy)):
        page.hover(CANVAS, position={"x": x, "y": AXIS + BAND + GAP + row * (ROW + GAP) + ROW / 2})
        told = page.locator(".tip").inner_text()
        assert format_value(busy_cycles / kernel.cycles, "%") in told and "left out" in told and kernel.name in told
    page.hover(CANVAS, position={"x": x, "y": AXIS + BAND + GAP + ROW / 2})
    assert "not known" in page.locator(".tip").inner_text()
