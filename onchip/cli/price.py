"""`estimate` and `compare`: what a network costs, from shapes alone.

In:       what the user asked for. Out: texts, JSON, files.
Promises: advice is priced by estimating again, in text only; how much of it there is depends on the network, never on
          the machine; `compare` names each chip that it leaves out, with the reason.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onchip.cli.options import Request, bind, case_of, chip_words, load_graph, setting, settled
from onchip.cli.output import dump, show, show_json, working, write_file
from onchip.cli.report import is_page, write_page
from onchip.cli.views import Views
from onchip.errors import DoesNotFit, NotSupported, OnchipError, UsageError

if TYPE_CHECKING:
    from onchip.chip import Chip
    from onchip.cli.advise import Asked
    from onchip.ir.explanation import Explanation
    from onchip.ir.graph import Graph
    from onchip.ir.report import Json, Report


def estimate(
    request: Request,
    chip_name: str,
    sets: list[str] | None,
    views: Views,
    *,
    why: str | None = None,
    actions: str | None = None,
    as_json: bool,
    output: Path | None,
    quiet: bool,
    verbose: bool,
) -> None:
    """Print the report of a network on a chip; with `why` (a layer, or "" for the longest) what made its numbers."""
    from onchip import pipeline

    begin = time.perf_counter()
    request, sets = settled(request, sets)
    case, explanation = case_of(request, chip_name, sets), None
    seen: dict[str, Any] = {}
    if why is None:
        watch = seen.__setitem__
        report = pipeline.estimate(case.bound, case.chip, dtype=case.dtype, effort=case.effort, watch=watch)
    else:
        from onchip.explain import explain

        asked: Any = {"dtype": case.dtype, "effort": case.effort, "layer": why or None}
        report, explanation = explain(case.bound, case.chip, **asked, seen=seen)
    spent = time.perf_counter() - begin
    from onchip.cli.advise import advise, page_parts

    verb = "estimate" if request.rewrites else "whatif"  # whose settings are changes of the network as it is read
    words = f"onchip {verb} {request.words} {chip_words(chip_name, sets)}"
    for_page, is_text = is_page(output), not (as_json or quiet)
    asked = advise(case, report, seen, words, actions, is_page=for_page, is_text=is_text)
    action = f"Next:  onchip compare {request.words}   (no change that was priced here saves 2 %; see other chips)"
    publish(
        report, action, asked, explanation=explanation, spent=spent, as_json=as_json, output=output, quiet=quiet,
        verbose=verbose, chip=case.chip, seen=seen, views=views,
        parts=page_parts(case, asked) if for_page else {},
    )  # fmt: skip


def publish(
    report: Report,
    action: str,
    asked: Asked | None = None,
    *,
    explanation: Explanation | None = None,
    spent: float,
    as_json: bool,
    output: Path | None,
    quiet: bool,
    verbose: bool,
    chip: Chip | None = None,
    seen: Mapping[str, Any] | None = None,
    views: Views | None = None,
    parts: Mapping[str, Json] | None = None,
) -> None:
    """Print a report and write it to a file: JSON or a page where its name ends so, text otherwise.

    The page has the parts that `chip` and the nouns in `seen` allow; `views` are files for other viewers.
    """
    from onchip import pages
    from onchip.reports.text import report_text

    made = report.to_json(timing={"wall_s": round(spent, 6)})
    made |= {"explain": explanation.to_json()} if explanation is not None else {}
    made |= {"actions": asked.json} if asked is not None and asked.json is not None else {}
    if output is not None and is_page(output):
        write_page(output, pages.page(report, chip, seen, **parts or {}))
    elif output is not None:
        whole = report_text(report, layers=0, why=explanation)
        write_file(output, dump(made) if output.suffix == ".json" else whole)
    written = views.write(seen or {}, report) if views is not None else []
    if as_json:
        show_json(made)
    elif quiet:
        show(report.verdict)
    else:
        lines = asked.lines if asked is not None else ()
        show(report_text(report, lines, action=action, layers=0 if verbose else 12, why=explanation))
    for line in () if quiet else written:
        print(line, file=sys.stderr if as_json else sys.stdout)


def whatif(
    request: Request, chip_name: str, sets: list[str], *, knobs: bool, as_json: bool, output: Path | None, quiet: bool
) -> None:
    """Print what changes of a chip are worth, and which of its numbers the time reacts to."""
    from onchip.reports import whatif as work
    from onchip.reports.compare_view import whatif_page

    case = case_of(request, chip_name)
    base = case.price()

    def priced(texts: list[str]) -> work.Variant:
        told = " and ".join(texts)
        try:
            return work.Variant(told, case.changed(dict(map(setting, texts))).price())
        except (NotSupported, DoesNotFit) as error:
            return work.Variant(told, None, str(error), error.code)

    def reprice(change: dict[str, str]) -> Report | None:
        try:
            return case.changed(change).price()
        except OnchipError:
            return None

    with working(f"{request.model}: what if"):
        variants = [priced([text]) for text in sets] + ([priced(sets)] if len(sets) > 1 else [])
        turned = work.knobs(base, case.chip, reprice) if knobs or not sets else ()
    told = next((variant.text for variant in reversed(variants) if variant.report is not None), "")
    action = f"Next:  onchip estimate {request.words} {_taken(chip_name, told.split(' and ') if told else [])}"
    text = work.whatif_text(base, variants, turned, action=action)
    made = work.whatif_json(base, variants, turned)
    if output is not None and is_page(output):
        changed = [(v.text, v.report) for v in variants if v.report is not None]
        left = [(v.text, v.code, v.refused) for v in variants if v.report is None]
        command = f"onchip whatif {request.words} {chip_words(chip_name, None)}"
        knob = {"knobs": work.knobs_part(base, turned, command)} if turned else {}
        write_page(output, whatif_page(base, changed, left, work.verdict(base, variants, turned)).with_parts(**knob))
    elif output is not None:
        write_file(output, dump(made) if output.suffix == ".json" else text)
    if as_json:
        show_json(made)
    else:
        show(work.verdict(base, variants, turned) if quiet else text)


def _taken(chip_name: str, settings: Sequence[str]) -> str:
    """Return settings as words of `estimate`, whose chip is no setting."""
    chip = next((text.removeprefix("chip=") for text in settings if text.startswith("chip=")), chip_name)
    own = "".join(f" --set {text}" for text in settings if not text.startswith("chip="))
    return chip_words(chip, None) + own


def compare(request: Request, chips: list[str] | None, *, as_json: bool, output: Path | None, quiet: bool) -> None:
    """Print one table of chips for a network, fastest first."""
    from onchip.chip import Chip
    from onchip.ir.comparison import comparison_text, comparison_verdict
    from onchip.reports.compare_view import comparison_page

    begin = time.perf_counter()
    names = [name for text in chips for name in text.split(",") if name] if chips else list(Chip.names())
    loaded = [Chip.load(name) for name in dict.fromkeys(names)]
    if not loaded:
        hint = "Name chips with --chip, or leave it away for all"
        raise UsageError("OC1008", "compare", "no chip to compare", next=hint)
    with working(f"{request.model}: estimate on {len(loaded)} chips"):
        reports, refused = price_all(bind(load_graph(request), request), loaded, request)
    if not reports:
        raise refused[0][1]
    made = comparison_json(reports, refused, spent=time.perf_counter() - begin)
    action = f"Next:  onchip estimate {request.words} --chip {reports[0].chip.name}   (where its time goes)"
    text = comparison_text(reports, [left_out(name, error) for name, error in refused], action=action)
    if output is not None and is_page(output):
        left = [(name, error.code, left_out(name, error)) for name, error in refused]
        write_page(output, comparison_page(reports, left))
    elif output is not None:
        write_file(output, dump(made) if output.suffix == ".json" else text)
    if as_json:
        show_json(made)
    else:
        show(comparison_verdict(reports) if quiet else text)


def left_out(chip: str, error: OnchipError) -> str:
    """Return why a chip is not compared, with its name once."""
    return str(error) if error.where == chip else f"{chip}: {error}"


def comparison_json(reports: Sequence[Report], refused: Sequence[tuple[str, OnchipError]], *, spent: float) -> Json:
    """Return the object of `compare --json`."""
    from onchip.ir.report import SCHEMA_VERSION

    return {
        "schema_version": SCHEMA_VERSION,
        "tool": reports[0].tool,
        "reports": [report.to_json() for report in reports],
        "refused": [{"chip": name, "error": str(error), "code": error.code} for name, error in refused],
        "timing": {"wall_s": round(spent, 6)},
    }


def price_all(
    graph: Graph, chips: Sequence[Chip], request: Request
) -> tuple[list[Report], list[tuple[str, OnchipError]]]:
    """Return the reports of the chips that can run the network, fastest first, and the errors of those that cannot."""
    from onchip import pipeline
    from onchip.case import effort_of

    effort = effort_of(request.effort)
    graph = pipeline.bind_batch(graph)  # once, not for every chip
    reports: list[Report] = []
    refused: list[tuple[str, OnchipError]] = []
    for chip in chips:
        try:
            reports.append(pipeline.on_silicon(graph, chip, dtype=request.dtype, effort=effort))
        except OnchipError as error:
            if error.exit_code not in (3, 4):
                raise
            refused.append((chip.name, error))
    return sorted(reports, key=lambda report: (report.latency_s.value, report.chip.name)), refused
