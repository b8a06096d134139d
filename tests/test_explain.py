"""`explain`: alternatives are estimates of their own, the array's cycles published ones, loops the program's."""

from __future__ import annotations

import re
from pathlib import Path
from random import Random
from typing import Any

import pytest

from onchip import pipeline
from onchip.chip import Chip
from onchip.errors import DoesNotFit, NotSupported, UnknownName
from onchip.explain import explain
from onchip.frontends.scale_sim import read_topology
from onchip.ir.graph import Graph
from onchip.ir.plan import Kernel, Plan
from onchip.ir.program import KernelCode, Program
from onchip.isa import LD, LOAD, LOOP
from onchip.planner.nest import loop_nest
from onchip.reports.explain import explanation_text, percent
from onchip.zoo.catalog import build
from tests.networks import network, small_chip
from tests.test_chip_scale_sim import CFG

GEMM = "Layer, M, N, K,\nbig, 1024, 1024, 1024,\n"
CONV = "Layer name, IFMAP Height, IFMAP Width, Filter Height, Filter Width, Channels, Num Filter, Strides,\n"
CONV2 = CONV + "conv2_x, 58, 58, 3, 3, 64, 64, 1,\n"
LIMITED = re.sub(r"(Height|SzkB): +\d+", lambda m: f"{m[1]}: {128 if m[1] == 'Height' else 4096}", CFG)
FREE = LIMITED.replace("USER", "CALC")


def chip_of(folder: Path, text: str) -> Chip:
    (folder / "scale.cfg").write_text(text, encoding="utf-8")
    return Chip.load(folder / "scale.cfg")


def graph_of(folder: Path, text: str) -> Graph:
    (folder / "net.csv").write_text(text, encoding="utf-8")
    return read_topology(folder / "net.csv")


def test_published_cycles_of_the_array(tmp_path: Path) -> None:
    """SCALE-Sim prints 89,983 for 1024 x 1024 x 1024 on 128 x 128; 65,918 and 16,062 load weights behind the rows."""
    chip = chip_of(tmp_path, FREE)
    hidden = chip.replace({"matrix.weight_load": "hidden"})
    (big,) = explain(graph_of(tmp_path, GEMM), chip)[1].layers
    assert (big.stream, big.matrix_cycles) == ((65_918, 89_984), 89_984)
    (big,) = explain(graph_of(tmp_path, GEMM), hidden)[1].layers
    assert big.stream == (65_918, 89_984) and 65_918 <= big.matrix_cycles <= 66_050
    (conv,) = explain(graph_of(tmp_path, CONV2), chip)[1].layers
    assert (conv.stream, conv.matrix_cycles) == ((16_062, 17_590), 17_590)
    (conv,) = explain(graph_of(tmp_path, CONV2), hidden)[1].layers
    assert (conv.stream, conv.matrix_cycles) == ((16_062, 17_590), 16_062)


def test_a_tap_at_a_time(tmp_path: Path) -> None:
    """Nine folds of 64 channels instead of ceil(576 / 128) = 5: 9 x (3136 + 382) cycles serial."""
    chip = chip_of(tmp_path, FREE).replace({"matrix.row_packing": "C"})
    (conv,) = explain(graph_of(tmp_path, CONV2), chip)[1].layers
    assert conv.stream == (9 * 3136 + 382, 9 * (3136 + 382)) and conv.matrix_cycles == 9 * (3136 + 382)


def test_far_memory_is_named_where_it_decides(tmp_path: Path) -> None:
    graph = graph_of(tmp_path, GEMM.replace("big, 1024, 1024, 1024", "bert, 128, 768, 768"))
    chip = chip_of(tmp_path, LIMITED).replace({"matrix.weight_load": "hidden"})
    (bert,) = explain(graph, chip)[1].layers
    # both operands and the result are 12,288 cycles at 64 B/cycle; 12 bytes of bias and scale a channel are 144 more
    assert bert.far_cycles == 12_288 + 144 < bert.cycles
    assert (
        bert.cycles <= 1.05 * 12_288
    )  # each depth tile of all channels before the next one: little is left at the end
    assert bert.text.startswith("far memory: 795 648 bytes at 64.0 B/cycle need 12 432 of ")


def test_every_alternative_is_an_estimate_of_its_own() -> None:
    chip, graph = Chip.load("tpu-v4"), build("resnet8")
    report, found = explain(graph, chip, dtype="int8")
    assert report.cycles == found.cycles == pipeline.estimate_trace(graph, chip, dtype="int8").cycles
    assert [c.name for c in found.choices] == ["weight load", "row packing", "far memory", "memory overlap"]
    for choice in found.choices:
        keys = dict(re.findall(r"--set (\S+)=(\S+)", choice.options))
        values: dict[str, Any] = {k: float(v) if k.startswith("overlap") else v for k, v in keys.items()}
        trace = pipeline.estimate_trace(graph, chip.replace(values), dtype="int8")
        assert choice.cycles == trace.cycles == sum(choice.layers)
        assert choice.layers == tuple(kernel.cycles for kernel in trace.kernels)
    assert all(layer.cycles == sum(cycles for _, cycles in layer.parts) for layer in found.layers)


def test_launch_is_an_assumption_where_there_is_one() -> None:
    chip = Chip.load("a100-sxm-40gb")
    _, found = explain(build("resnet8"), chip)
    (launch,) = [c for c in found.choices if c.name == "launch"]
    each = chip.cycles(chip.launch.in_graph_s) + chip.cycles(chip.sync.all_cores_s)
    assert launch.here == f"{each} cycles a kernel" and launch.cycles == found.cycles - each * len(found.layers)


def test_without_overlap_no_buffer_has_two_slots() -> None:
    chip = Chip.load("edge-npu-16").replace({"overlap.memory_compute": 0.0})
    for name in ("resnet8", "digits_attention"):
        seen: dict[str, Any] = {}
        slow = pipeline.estimate_trace(build(name), chip, watch=seen.__setitem__)
        assert {b.slots for kernel in seen["plan"].kernels for b in kernel.buffers if b.memory == "local"} == {1}
        assert slow.cycles > 1.05 * pipeline.estimate_trace(build(name), "edge-npu-16").cycles


def loads_of(program: Program, code: KernelCode, kernel: Kernel) -> dict[str, set[int]]:
    """Return how often the load unit fills each buffer, by multiplying the loops around its instructions."""
    found: dict[str, set[int]] = {}
    open_loops: list[tuple[int, int]] = []
    records = program.streams[LOAD][code.starts[LOAD] : code.ends[LOAD]]
    for i, record in enumerate(records):
        open_loops = [(end, times) for end, times in open_loops if i < end]
        times = open_loops[-1][1] if open_loops else 1
        if record["op"] == LOOP.OP:
            count, body = (int(n) for n in record["integers"][:2])
            open_loops.append((i + 1 + body, times * count))
        if record["op"] == LD.OP:
            near = int(record["affines"][1][0])
            buffer = next(b for b in kernel.buffers if b.memory == "local" and b.address <= near < b.end)
            found.setdefault(re.sub(r"\d$", "s", buffer.name), set()).add(times)
    return found


def test_the_loops_are_those_of_the_program() -> None:
    seen, told = 0, set[str]()
    for seed in range(60):
        rng = Random(seed)
        graph, chip = network(rng, most=3), small_chip(rng)
        nouns: dict[str, Any] = {}
        try:
            pipeline.estimate_trace(graph, chip, watch=nouns.__setitem__)
        except (DoesNotFit, NotSupported):
            continue
        plan: Plan = nouns["plan"]
        for kernel, code in zip(plan.kernels, nouns["program"].kernels, strict=True):
            if kernel.shape.kind not in ("matmul", "vector") or kernel.shape.second is not None:
                continue
            lines = "\n".join(loop_nest(kernel, chip))
            texts = re.findall(r"load (\w+): .*?, (once|\d+ times)", lines)
            counts = {name: 1 if many == "once" else int(many.split()[0]) for name, many in texts}
            loads = loads_of(nouns["program"], code, kernel)
            assert {name: {n} for name, n in counts.items() if name in loads} == loads, (seed, kernel.name, lines)
            seen, told = seen + 1, told | set(counts)
    assert seen > 40 and told >= {"source", "weights", "parameters", "sides"}


def test_the_taken_mapping_stands_beside_others_that_were_run() -> None:
    _, found = explain(build("resnet8"), Chip.load("edge-npu-16"), layer="stack2.conv2")
    mapping = found.mapping
    assert mapping is not None and mapping.taken is not None and mapping.layer == "stack2.conv2"
    (layer,) = [layer for layer in found.layers if layer.name == "stack2.conv2"]
    assert (mapping.taken.cycles, mapping.taken.parts) == (layer.cycles, layer.parts)
    assert 0 < mapping.n_priced <= mapping.n_fitting
    assert {other.what for other in mapping.others} >= {"tile of rows", "number of buffers"}
    for other in mapping.others:
        assert other.mapping != mapping.taken.mapping and other.cycles == sum(c for _, c in other.parts)
        assert other.predicted >= mapping.taken.predicted, "the least prediction was taken"


def test_an_unknown_layer_names_the_nearest() -> None:
    with pytest.raises(UnknownName, match=r"OC1019 no layer is named 'conv2'. Did you mean 'conv1'"):
        explain(build("resnet8"), Chip.load("edge-npu-16"), layer="conv2")


def test_every_chip_that_has_programs_explains() -> None:
    for name in ("h100-sxm", "ethos-u55-256", "hailo-8", "tpu-v1"):
        text = explanation_text(explain(build("digits_cnn"), Chip.load(name))[1])
        assert "memory overlap" in text and "the loops of" in text


def test_percents() -> None:
    assert [percent(x) for x in (0.0, 0.004, -0.0637, 0.35, -0.5)] == ["±0 %", "+0.4 %", "−6.4 %", "+35 %", "−50 %"]
