"""Seeded faults that the tests have to catch: `python -m tests.mutants [words]`, or `make mutants`.

In: the list below: a file, a text that stands in it once, the text that replaces it, and the tests that must fail then.
Out: a table of caught and survived; exit code 1 where one survives, where a text no longer stands in its file exactly
once, or where the tests fail without any fault. Works on a copy of the package in a temporary directory. Compiled code
is cached per file and does not see changes in files it calls, so a fault in compiled code gets an empty cache.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
COMPILED = (
    "onchip/isa/timing.py",
    "onchip/simulator/engine.py",
    "onchip/simulator/periods.py",
)  # compiled, or called from what is
LADDER, LAWS, ENGINE = "tests/test_ladder.py", "tests/test_laws.py", "tests/simulator/test_engine.py"
SCORES, WORKLOADS, PREDICT = (f"tests/silicon/test_{name}.py" for name in ("scores", "workloads", "predict"))
FIT, CALIBRATE = "tests/silicon/test_fit.py", "tests/silicon/test_calibrate.py"
BANDS = "tests/silicon/test_bands.py"
SYSTOLIC, MAPPED = "tests/simulator/test_systolic.py", "tests/reports/test_mapping.py"
VALUES = f"{LADDER}::test_random_networks_on_random_chips"
MAPPINGS = "tests/lowering/test_any_mapping.py"
PRODUCTS = "tests/lowering/test_products.py"
PICTURES = "tests/lowering/test_pictures.py"
ROTARY = "tests/lowering/test_rotary.py"
CUTS = "tests/lowering/test_attention_tiles.py::test_any_cut_of"
BOTH_CUTS = f"{CUTS}_int8_attention_computes_the_same {CUTS}_float_attention_computes_the_same"
RECURRENT = "tests/lowering/test_recurrent.py"
STEPPED = f"{ENGINE}::test_the_engine_is_the_stepped_machine"


@dataclass(frozen=True, slots=True)
class Mutant:
    """One fault: `old` stands once in `file`; with `new` instead, `tests` must fail."""

    file: str
    old: str
    new: str
    tests: str

    def apply(self, text: str) -> str:
        """Return the text with the fault. Raises ValueError where `old` does not stand in it exactly once."""
        if text.count(self.old) != 1:
            raise ValueError(f"{self.file}: {self.old!r} stands there {text.count(self.old)} times")
        return text.replace(self.old, self.new)

    @property
    def name(self) -> str:
        return f"{self.file.removeprefix('onchip/')}: {self.old.strip().splitlines()[0][:60]}"


CATALOG = "tests/test_chip_catalog.py"
MUTANTS = (
    # --- advice
    Mutant("onchip/reports/actions.py", "self.program < 0", "self.program <= 0", "tests/reports/test_actions.py"),
    Mutant(
        "onchip/reports/actions.py",
        "a.time <= ENOUGH * best.time",
        "a.time <= best.time",
        "tests/reports/test_actions.py",
    ),
    Mutant("onchip/reports/changes.py", "(1 - own / peak)", "(own / peak)", "tests/reports/test_changes.py"),
    Mutant("onchip/passes/stem.py", "-before // block", "-(before // block)", "tests/passes/test_stem.py"),
    Mutant("onchip/passes/stem.py", "made[:, i, j, a, b]", "made[:, i, j, b, a]", "tests/passes/test_stem.py"),
    Mutant("onchip/case.py", "replace(made, chip=made.chip.replace(own))", "made", "tests/cli/test_advice.py"),
    Mutant(
        "onchip/lowering/tree.py", "if pair[0] not in names)", "if pair[0] in names)", "tests/lowering/test_tree.py"
    ),
    # --- floats
    Mutant(
        "onchip/isa/floats.py",
        '"max": lambda x, y: np.where(x <= y, y, x)',
        '"max": lambda x, y: np.where(x > y, x, y)',
        "tests/isa/test_floats.py",
    ),
    Mutant(
        "onchip/lowering/float_steps.py",
        '"max" if alpha <= 1 else "min"',
        '"max"',
        "tests/lowering/test_float_nodes.py",
    ),
    Mutant(
        "onchip/lowering/steps.py",
        '"max_pool2d": -inf,',
        '"max_pool2d": 0.0,',
        "tests/lowering/test_float_nodes.py",
    ),
    # --- the machine at hand
    Mutant("onchip/forecast/arrays.py", "deep = _deep(m)", "deep = rows", "tests/forecast/test_arrays.py"),
    Mutant("onchip/forecast/layers.py", "SCALINGS = 3", "SCALINGS = 1", "tests/forecast/test_layers.py"),
    Mutant("onchip/forecast/cold.py", "(*gone[-1:], *gone[:-1])", "gone", "tests/forecast/test_cold.py"),
    Mutant(
        "onchip/forecast/products.py",
        "min(kind.least_rows, sums // max(side, 1))",
        "kind.least_rows",
        "tests/forecast/test_products.py",
    ),
    Mutant(
        "onchip/silicon/host_chip.py",
        "_rate(found, dtype) / 2 / cores",
        "_rate(found, dtype) / cores",
        "tests/silicon/test_host_chip.py",
    ),
    Mutant(
        "onchip/silicon/measure.py",
        "step.op, min(times), median",
        "step.op, median(times), median",
        "tests/silicon/test_measure.py",
    ),
    Mutant(
        "onchip/silicon/run_torch.py",
        "seen = set(self.graph.kept) | set(self._values)",
        "seen = set(self._values)",
        "tests/silicon/test_run_torch.py",
    ),
    # --- chip
    Mutant(
        "onchip/chip_checks.py",
        "abs(derived - figure) > TOLERANCE * figure",
        "abs(derived - figure) > 10 * figure",
        CATALOG,
    ),
    Mutant("onchip/chip_checks.py", "if peaks and dtype not in peaks:", "if peaks and dtype in ():", CATALOG),
    Mutant(
        "onchip/chip_file.py", 'if f"published.{k}" in changed or not', 'if f"published.{k}" in changed or', CATALOG
    ),
    Mutant("onchip/chip_file.py", '"bus": {"dram"},', '"bus": {"host"},', CATALOG),
    Mutant(
        "onchip/cli/chips.py",
        'for key in ("peak", "published", "sources")',
        'for key in ("published", "sources")',
        "tests/cli/test_chips.py",
    ),
    # --- planner
    Mutant(
        "onchip/planner/tile.py",
        "key=lambda mapping: mapping.predicted_cycles",
        "key=lambda mapping: -mapping.predicted_cycles",
        "tests/planner/test_witness.py",
    ),
    Mutant(
        "onchip/planner/tile.py",
        "fits &= size.sums + size.scratch <= chip.local.accumulator_bytes // 4",
        "fits &= size.sums > -1",
        VALUES,
    ),
    Mutant(
        "onchip/planner/prices.py",
        "again = outer[i] == DEPTH, outer[i] == CHANNELS",
        "again = outer[i] == DEPTH, outer[i] == 0",
        "tests/planner/test_prices.py",
    ),
    Mutant(
        "onchip/planner/replay.py",
        "landed = max(landed, free_load + late)",
        "landed = free_load",
        "tests/planner/test_witness.py",
    ),
    Mutant(
        "onchip/planner/tile.py",
        "orders = (CHANNELS, ROWS, DEPTH)",
        "orders = (CHANNELS, ROWS)",
        "tests/planner/test_witness.py",
    ),
    Mutant(
        "onchip/lowering/deep.py",
        "behind = [x for x in loads if x.reader == VECTOR] if is_last else []",
        "behind = [x for x in loads if x.reader == VECTOR]",
        MAPPINGS,
    ),
    Mutant("onchip/lowering/deep.py", 'put(node, "k", grid.counts["k"] - 1)', 'put(node, "k", 0)', MAPPINGS),
    Mutant("onchip/lowering/loops.py", 'if name == "k" and buffer not in OVER_DEPTH:', "if False:", MAPPINGS),
    Mutant("onchip/planner/buffers.py", "at += int(n_bytes) * m.slots", "at += int(n_bytes)", VALUES),
    Mutant(
        "onchip/planner/buffers.py",
        "(tp - 1) * shape.stride[0] + (r - 1) * shape.dilation[0] + 1",
        "(tp - 1) * shape.stride[0] + (r - 1) * shape.dilation[0]",
        VALUES,
    ),
    Mutant("onchip/planner/plan.py", "if p[0] <= death and birth <= p[1]", "if p[0] < death and birth < p[1]", VALUES),
    Mutant("onchip/planner/group.py", "len(graph.consumers(tensor)) != 1", "len(graph.consumers(tensor)) == 0", VALUES),
    Mutant("onchip/planner/moves.py", "padding=(-start, 0)", "padding=(1 - start, 0)", VALUES),
    Mutant("onchip/planner/attend.py", "(scores - 1) * tq * row", "(scores - 1) * tq", VALUES),
    # --- front ends
    Mutant(
        "onchip/frontends/onnx/qdq.py",
        "            except DOUBTS as error:",
        "            except AssertionError as error:",
        "tests/frontends/test_onnx_damaged_fields.py",
    ),
    # --- lowering
    Mutant("onchip/passes/fuse_pieces.py", "== [rank - 1]", "!= []", "tests/passes/test_fuse_pieces.py"),
    Mutant(
        "onchip/passes/express_moves.py", "[:, 0] // behind, behind", "[:, 0], behind", "tests/lowering/test_moves.py"
    ),
    Mutant(
        "onchip/lowering/rowwise.py", 'code.lanes("gt", t, drop, -128)', 'code.lanes("gt", t, drop, -90)', BOTH_CUTS
    ),
    Mutant("onchip/lowering/rotary.py", "strides = (q * half, half, 1) if", "strides = (q * half, 1, half) if", ROTARY),
    Mutant("onchip/lowering/moves.py", "near1=line, c0", "near1=line + 1, c0", ROTARY),
    Mutant(
        "onchip/lowering/norms.py", "v, step.made.zero_point[0] << RESULT_BITS", "v, 0", "tests/lowering/test_norms.py"
    ),
    Mutant("onchip/lowering/matmul.py", "sums.at + -lanes), -za)", "sums.at + -lanes), za)", PRODUCTS),
    Mutant("onchip/lowering/matmul.py", "left = left + ones if", "left = left if", PRODUCTS),
    Mutant("onchip/planner/tile.py", "legal &= (tb == 1) & (", "legal &= (", PRODUCTS),
    Mutant("onchip/lowering/loops.py", "if self.counts[name] > 1 and inner % 2:", "if self.counts[name] > 1:", VALUES),
    Mutant(
        "onchip/lowering/loops.py",
        "if extent % (tile * self.shares(axis)) == 0:",
        "if extent >= 0:",
        f"{LAWS}::test_products_of_trace_graph_and_program_agree",
    ),
    Mutant("onchip/lowering/grid.py", "if is_single:", "if False:", MAPPINGS),
    Mutant(
        "onchip/lowering/tree.py",
        "count = min(count, position - released[name][before])",
        "count = min(count, position - released[name][before] + 1)",
        VALUES,
    ),
    Mutant("onchip/lowering/tree.py", "base, slot = base + slot, -slot", "slot = -slot", MAPPINGS),
    Mutant("onchip/lowering/steps.py", "found = [(sides[0], first)]", "found = [(first, sides[0])]", VALUES),
    Mutant(
        "onchip/lowering/integer_steps.py",
        "step.code.lanes(sign, left, left, right)",
        "step.code.lanes(sign, left, right, left)",
        VALUES,
    ),
    Mutant(
        "onchip/lowering/weights.py",
        "bias = bias - px.zero_point[0] * w",
        "bias = bias + px.zero_point[0] * w",
        "tests/test_tiny.py",
    ),
    Mutant(
        "onchip/lowering/attention_vector.py",
        'code.lanes("mul", total, total, 128',
        'code.lanes("mul", total, total, 127',
        VALUES,
    ),
    Mutant(
        "onchip/lowering/attention.py",
        'first=("kt", "kf")',
        'first=("kf",)',
        f"{CUTS}_int8_attention_computes_the_same",
    ),
    Mutant(
        "onchip/lowering/attention_vector.py",
        'words.do("sub", "rescale", "top", "new")',
        'words.do("sub", "rescale", "new", "top")',
        f"{CUTS}_float_attention_computes_the_same",
    ),
    Mutant(
        "onchip/lowering/tree.py",
        "return Expr(base + self.slot, self.strides, self.cores, self.double, -self.slot)",
        "return Expr(base, self.strides, self.cores, self.double, self.slot)",
        f"{CUTS}_float_attention_computes_the_same",
    ),
    Mutant("onchip/lowering/average.py", "(0, w * line, line)", "(0, line, line)", "tests/lowering/test_average.py"),
    Mutant("onchip/lowering/cells.py", "30 - k.cell_bits", "29 - k.cell_bits", VALUES),
    Mutant(
        "onchip/lowering/cells.py",
        'code.lanes("mul", r, z, state)\n        code.lanes("mul", z, z, -1)',
        'code.lanes("mul", r, r, state)\n        code.lanes("mul", z, z, -1)',
        RECURRENT,
    ),
    Mutant("onchip/lowering/recurrent.py", '("nf", -wide), ("w", -n)', '("nf", -wide)', RECURRENT),
    Mutant("onchip/lowering/rowwise.py", 'code.lanes("rshr", t, e, 12)', 'code.lanes("rshr", t, e, 11)', VALUES),
    Mutant(
        "onchip/lowering/loops.py",
        'own = {*depends, "g"} if depends else set[str]()',
        "own = {*depends}",
        f"{PICTURES}::test_groups_of_channels",
    ),
    Mutant(
        "onchip/lowering/picture_steps.py",
        "22 - most + bits",
        "21 - most + bits",
        f"{PICTURES}::test_vector_work_of_pictures",
    ),
    Mutant(
        "onchip/lowering/picture_steps.py",
        "exponent + k.fraction - 32)",
        "exponent + k.fraction - 31)",
        f"{PICTURES}::test_vector_work_of_pictures",
    ),
    Mutant(
        "onchip/planner/moves.py",
        "padding=(front[1], front[2])",
        "padding=(front[2], front[1])",
        f"{PICTURES}::test_ops_expressed_by_others_run",
    ),
    Mutant(
        "onchip/passes/ranges.py",
        "- 2.0 * level * s +",
        "- 1.9 * level * s +",
        "tests/passes/test_ranges.py",
    ),
    Mutant(
        "onchip/passes/wide.py",
        "wanted.add(node.inputs[0])",
        "wanted.add(node.outputs[0])",
        "tests/passes/test_wide.py",
    ),
    Mutant(
        "onchip/passes/sensitivity.py",
        "make(everything - {layer.name}, frozenset())",
        "make(kept | {layer.name}, frozenset())",
        "tests/passes/test_sensitivity.py",
    ),
    Mutant(
        "onchip/passes/phases.py",
        "(r, cell - first) for",
        "(r, cell) for",
        f"{PICTURES}::test_ops_expressed_by_others_keep_every_bit",
    ),
    Mutant("onchip/lowering/moves.py", "near + tap * row", "near", f"{PICTURES}::test_vector_work_of_pictures"),
    # --- silicon
    Mutant("onchip/silicon/scores.py", "ranks[at] = (start + end) / 2 + 1", "ranks[at] = start + 1", SCORES),
    Mutant("onchip/silicon/scores.py", "place = (len(ordered) - 1)", "place = len(ordered)", SCORES),
    Mutant("onchip/silicon/scores.py", "if number != row.row]", "]", SCORES),
    Mutant(
        "onchip/silicon/fit.py", "search(surface, start, member != i)", "search(surface, best, member == member)", FIT
    ),
    Mutant("onchip/silicon/fit.py", "for ring in (_axes(len(at)), _diagonals(len(at))):", "for ring in ():", FIT),
    Mutant("onchip/silicon/calibrate.py", "(*SIZES, *COUNTS, *NAMES)", "(*SIZES, *NAMES, 'layout')", CALIBRATE),
    Mutant("onchip/silicon/bands.py", "if part != left]", "]", BANDS),
    Mutant("onchip/silicon/bands.py", "np.full(len(part), 1 / len(part))", "np.full(len(part), 1.0)", BANDS),
    Mutant(
        "onchip/ir/bands.py",
        "per_second / self.high, per_second / self.low",
        "per_second * self.low, per_second * self.high",
        BANDS,
    ),
    Mutant("onchip/silicon/bounds.py", "(max(first, 1) + columns)", "(first + columns)", WORKLOADS),
    Mutant("onchip/silicon/bounds.py", "min(height, p * r)", "height", WORKLOADS),
    Mutant("onchip/silicon/predict.py", "device - run.launch_s + empty", "device + empty", PREDICT),
    Mutant("onchip/silicon/predict.py", "work_key(row.params), row.dtype, row", "(), row.dtype, row", PREDICT),
    # --- instructions and simulator
    Mutant(
        "onchip/isa/timing.py",
        "return machine[ROWS] + machine[COLUMNS] - 2",
        "return machine[ROWS] + machine[COLUMNS] - 1",
        STEPPED,
    ),
    Mutant("onchip/simulator/engine.py", "comp[s] = max(comp[s], end)", "comp[s] = end", STEPPED),
    Mutant(
        "onchip/simulator/engine.py",
        "ports[0] = max(ports[0], now * nums[0]) + dram_size * dens[0]",
        "ports[0] = now * nums[0] + dram_size * dens[0]",
        STEPPED,
    ),
    Mutant(
        "onchip/simulator/periods.py",
        "skips = max(0, (high - largest) // period)",
        "skips = max(0, (high - largest) // period + level)",
        f"{ENGINE}::test_skipping_repeated_iterations_is_exact",
    ),
    Mutant(
        "onchip/simulator/clock.py",
        "low = max(low, -(-(needed - value) // slope))",
        "low = max(low, 0)",
        f"{ENGINE}::test_skipping_repeated_iterations_is_exact",
    ),
    Mutant(
        "onchip/simulator/clock.py",
        'parts["memory"] += tail - drain - to_vector',
        'parts["memory"] += tail - drain',
        f"{LAWS}::test_waterfalls_sum_to_the_total",
    ),
    # --- arithmetic
    Mutant(
        "onchip/numerics.py", "out += wide(1) << (s - 1)", "out += (wide(1) << (s - 1)) - 1", "tests/test_numerics.py"
    ),
    Mutant("onchip/numerics.py", "(mask >> 1) + (v < 0)", "(mask >> 1)", "tests/test_numerics.py"),
    Mutant(
        "onchip/ops/elementwise.py",
        "ADD_LEFT_SHIFT, ADD_LEFT_SHIFT_16 = 20, 15",
        "ADD_LEFT_SHIFT, ADD_LEFT_SHIFT_16 = 8, 15",
        "tests/ops/test_litert.py::test_binary",
    ),
    Mutant(
        "onchip/ops/conv.py",
        "half = np.asarray(count) // 2",
        "half = (np.asarray(count) - 1) // 2",
        "tests/ops/test_litert.py::test_pools",
    ),
    Mutant(
        "onchip/ops/requantizing.py",
        "int(np.floor(6.0 / made.scale[0] + 0.5))",
        "int(np.floor(6.0 / made.scale[0]))",
        "tests/ops/test_litert.py",
    ),
    Mutant(
        "onchip/forecast/recurrent.py",
        "(steps - 1) * far * weights",
        "far * weights",
        "tests/forecast/test_recurrent.py",
    ),
    Mutant(
        "onchip/forecast/attention.py", "n - 1 - ends, slots", "n - ends, slots", "tests/forecast/test_attention.py"
    ),
    Mutant(
        "onchip/forecast/attention_decode.py",
        "n_bytes <= m.near_bytes / 2",
        "n_bytes <= m.near_bytes",
        "tests/forecast/test_attention.py",
    ),
    Mutant("onchip/forecast/rows.py", "again = (rows.reads - 1)", "again = rows.reads", "tests/forecast/test_rows.py"),
    Mutant(
        "onchip/forecast/row_stationary.py",
        "(cells.inputs - 1) // conv.window[1])",
        "cells.inputs // conv.window[1])",
        "tests/forecast/test_row_stationary.py",
    ),
    Mutant(
        "onchip/forecast/row_stationary.py",
        "far = sizes[0] * found.weight_reads",
        "far = sizes[0]",
        "tests/forecast/test_row_stationary.py",
    ),
    Mutant("onchip/forecast/energy.py", "kernel.macs * (1 - gated)", "kernel.macs", "tests/forecast/test_energy.py"),
    Mutant(
        "onchip/chip_energy.py",
        "pair for pair in pairs if x <=",
        "pair for pair in pairs if x >=",
        "tests/forecast/test_energy.py",
    ),
    Mutant(
        "onchip/forecast/products.py",
        "tm if is_row else np.maximum(tm, MATRIX_ROWS)",
        "tm",
        "tests/forecast/test_products.py",
    ),
    Mutant("onchip/forecast/products.py", "MATRIX_ROWS = 64", "MATRIX_ROWS = 32", "tests/forecast/test_products.py"),
    Mutant("onchip/forecast/products.py", "least_tile=32", "least_tile=1", "tests/forecast/test_products.py"),
    Mutant("onchip/forecast/products.py", "least_rows=128", "least_rows=64", "tests/forecast/test_products.py"),
    Mutant(
        "onchip/forecast/products.py", "tiles / (waves * m.cores))", "waves / waves)", "tests/forecast/test_power.py"
    ),
    Mutant("onchip/forecast/attention.py", "walked.sum(keepdims=True)", "walked", "tests/forecast/test_attention.py"),
    Mutant("onchip/forecast/kernels.py", "return latest  # others", "pass  # others", "tests/forecast/test_kernels.py"),
    Mutant("onchip/forecast/conv.py", "least_rows=256", "least_rows=64", "tests/forecast/test_conv.py"),
    Mutant(
        "onchip/silicon/host.py", "max(call, BEFORE * call + device_s)", "call + device_s", "tests/silicon/test_host.py"
    ),
    Mutant("onchip/reports/timeline.py", "prepend=0", "prepend=1", "tests/reports/test_timeline.py"),
    Mutant("onchip/reports/memory_map.py", "deaths[p.tensor])", "births[p.tensor])", "tests/reports/test_timeline.py"),
    Mutant("onchip/reports/tracks.py", "if c == 0)", "if c >= 0)", "tests/reports/test_tracks.py"),
    Mutant(
        "onchip/reports/perfetto.py", "np.repeat([1, 0], n)", "np.repeat([0, 1], n)", "tests/reports/test_perfetto.py"
    ),
    # --- pages
    Mutant("onchip/reports/html.py", r'.replace("<", "\\u003c")', "", "tests/ir/test_page.py"),
    Mutant(
        "onchip/reports/chip_view.py",
        "float(level.bandwidth_bytes_per_s * instances)",
        "float(level.bandwidth_bytes_per_s)",
        "tests/reports/test_views.py",
    ),
    Mutant("onchip/pages.py", "chip.hash == report.chip.hash", "chip.name", "tests/reports/test_views.py"),
    Mutant(
        "onchip/reports/energy_view.py",
        "for row in energy.kernels",
        "for row in energy.kernels[::-1]",
        "tests/reports/test_views.py",
    ),
    Mutant("onchip/simulator/systolic.py", "weight = np.where(takes, shadow, weight)", "weight = shadow", SYSTOLIC),
    Mutant("onchip/simulator/systolic.py", "at_top = [loads.get(now - c)", "at_top = [loads.get(now)", SYSTOLIC),
    Mutant("onchip/reports/mapping.py", "found[1][k, 1] += k_times * beside * rows", "pass", MAPPED),
)


def copy_package(target: Path) -> None:
    """Copy what the tests need, without caches."""
    for name in ("onchip", "tests"):
        shutil.copytree(ROOT / name, target / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy2(ROOT / "pyproject.toml", target)


def run_tests(folder: Path, tests: list[str], cache: Path) -> subprocess.CompletedProcess[str]:
    """Return pytest's run: exit code 0 passed, 1 failed, others could not run."""
    environment = {**os.environ, "PYTHONPATH": str(folder), "NUMBA_CACHE_DIR": str(cache), "CI": "1"}
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-p", "no:randomly", *tests]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def verdict_of(mutant: Mutant, folder: Path, cache: Path) -> str:
    """Return caught, survived, or why it could not be tried."""
    path = folder / mutant.file
    text = path.read_text(encoding="utf-8")
    try:
        path.write_text(mutant.apply(text), encoding="utf-8")
    except ValueError as error:
        return f"does not apply: {error}"
    own = folder / "own-cache"
    code = run_tests(folder, mutant.tests.split(), own if mutant.file in COMPILED else cache).returncode
    shutil.rmtree(own, ignore_errors=True)
    path.write_text(text, encoding="utf-8")
    return {0: "survived", 1: "caught"}.get(code, f"pytest ended with {code}")


def main(words: list[str]) -> int:
    """Try the faults whose names hold one of the words, or all of them."""
    chosen = [m for m in MUTANTS if not words or any(word in m.name for word in words)]
    with tempfile.TemporaryDirectory() as name:
        folder, cache = Path(name), Path(name) / "cache"
        copy_package(folder)
        sound = run_tests(folder, sorted({t for m in chosen for t in m.tests.split()}), cache)
        if sound.returncode != 0:
            print(f"{sound.stdout[-3000:]}{sound.stderr[-1000:]}the tests fail without a fault")
            return 1
        verdicts: list[str] = []
        for mutant in chosen:
            start = time.monotonic()
            verdicts.append(verdict_of(mutant, folder, cache))
            print(f"{verdicts[-1]:<9} {time.monotonic() - start:5.1f} s  {mutant.name}", flush=True)
    print(f"{verdicts.count('caught')} of {len(verdicts)} caught")
    return 0 if verdicts.count("caught") == len(verdicts) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
