"""`python -m bench`: the budgets of the project, measured.

In: the installed package with its development extra. Out: one line a budget: measured (median), limit, ok or MISS;
`--json` prints the same as JSON with all samples, `-n` sets the repetitions, words pick lines by their name.
Promises: exit code 0 whether budgets are met or not: they are for people to read. Nothing is written but compiled code.
Does not: compare machines. Ratios hold on any, seconds are meant for one core of a current server or laptop.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from bench import measure, pages
from onchip.errors import OnchipError


@dataclass(frozen=True, slots=True)
class Budget:
    """What is measured and its limit; None is information. `at_least` turns the comparison round."""

    name: str
    work: Callable[[int], list[float]]
    unit: str
    limit: float | None = None
    at_least: bool = False

    def is_met(self, value: float) -> bool:
        return self.limit is None or (value >= self.limit if self.at_least else value <= self.limit)


BUDGETS = (
    Budget("--help", measure.help_text, "s", 0.2),
    Budget("import onchip", measure.import_package, "s", 0.15),
    Budget("estimate resnet50, warm", measure.estimate, "s", 0.3),
    Budget("ten what-ifs of resnet50, warm", measure.ten_what_ifs, "s", 1.0),
    Budget("estimate resnet50, process", measure.estimate_process, "s", 1.0),
    Budget("estimate --effort full", measure.estimate_full, "s", 2.0),
    Budget("1,000 convs of ONNX, warm", partial(measure.read_and_estimate, "convolutions"), "s", 1.0),
    Budget("1,000 convs of ONNX, process", partial(measure.read_and_estimate_process, "convolutions"), "s", 1.0),
    Budget("1,000 transformer nodes, warm", partial(measure.read_and_estimate, "transformer"), "s", 1.0),
    Budget("1,000 transformer nodes, process", partial(measure.read_and_estimate_process, "transformer"), "s", 1.0),
    Budget("compare, all chips", measure.compare_catalog, "s", 5.0),
    Budget("validate 3,000 mixed rows", measure.validate_mixed, "s", 60.0),
    Budget("mapping search", measure.mappings_per_second, "/s", 5e6, at_least=True),
    Budget("simulate resnet50, cycles", measure.simulate, "s", 2.0),
    Budget("simulate resnet50, peak memory", measure.peak_of_simulate, "MB", 300.0),
    Budget("  of it numba and numpy", measure.peak_of_imports, "MB"),
    Budget("values resnet50 / onnxruntime", measure.values_ratio, "x", 10.0),
    Budget("values repeated / onnxruntime", measure.repeated_ratio, "x", 3.0),
    Budget("  values, onchip, one core", measure.values, "s"),
    Budget("  values, onchip, repeated", measure.repeated_values, "s"),
    Budget("  values, onnxruntime int8", measure.onnxruntime_values, "s"),
    Budget("  values, evidence to repeat", measure.evidence, "s"),
    Budget("page of 1 M events", pages.page_bytes, "MB", 2.5),
    Budget("page of 1 M events, opened", pages.opened, "s", 1.0),
    Budget("page of 1 M events, worst frame", pages.frames, "s", 0.05),
    Budget("core install", measure.core_install, "MB", 400.0),
    Budget("first estimate, all compiled", measure.cold_estimate, "s"),
    Budget("first values, all compiled", measure.cold_values, "s"),
)


def show(value: float, unit: str) -> str:
    return f"{value:,.0f} {unit}" if value >= 1000 else f"{value:.3g} {unit}"


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench", description="Measure the budgets.")
    parser.add_argument("names", nargs="*", help="only lines that contain one of these words")
    parser.add_argument("-n", type=int, default=7, help="repetitions (default 7)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    given = parser.parse_args()
    rows: list[dict[str, object]] = []
    for budget in BUDGETS:
        if given.names and not any(word in budget.name for word in given.names):
            continue
        try:
            samples = [s / 1e6 if budget.unit == "MB" else s for s in budget.work(given.n)]
        except OnchipError as error:
            rows.append({"name": budget.name.strip(), "verdict": "MISS", "error": str(error)})
            print(f"{budget.name:<32} MISS: {error}", file=sys.stderr, flush=True)
            continue
        value = statistics.median(samples)
        verdict = "" if budget.limit is None else "ok" if budget.is_met(value) else "MISS"
        rows.append({"name": budget.name.strip(), "value": value, "limit": budget.limit, "unit": budget.unit})
        rows[-1] |= {"verdict": verdict, "samples": samples}
        if not given.json:
            limit = (
                "" if budget.limit is None else f"{'>=' if budget.at_least else '<='} {show(budget.limit, budget.unit)}"
            )
            print(
                f"{budget.name:<32} {show(value, budget.unit):>16}  {limit:<16} {verdict:<4} n={len(samples)}",
                flush=True,
            )
    if given.json:
        print(json.dumps(rows, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
