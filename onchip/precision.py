"""What quantization costs each layer in precision, and which layers in int16 buy it back.

In:       a float network, samples, how to quantize, a chip to price int16 on.
Out:      a Sensitivity.
Promises: every ratio is measured on samples, every cost is that of programs.
          A part of the pipeline beside `explain.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

from onchip import __version__
from onchip.chip import Chip
from onchip.ir.graph import Graph
from onchip.ir.sensitivity import Raise, Sensitivity
from onchip.passes import quantize as int8
from onchip.passes.calibrate import METHODS, calibrate
from onchip.passes.fold import fold
from onchip.passes.sensitivity import Measure, layer_sensitivities, layers_of, raise_to_int16
from onchip.passes.twice import twice
from onchip.pipeline import Samples, bind_batch, estimate_trace

INT16_COST = (
    "int16 cycles are a bound, not those of an int16 program, which chips do not run yet: each such layer runs twice "
    "in int8, for the high and the low byte, and the two are added"
)


def _no_progress(_done: int, _total: int) -> None:
    """Tell nobody."""


def sensitivity(
    graph: Graph, samples: Samples, *, measured: Samples | None = None, method: str = "minmax",
    percentile: float | None = None, per_channel: bool = True, keep_float: Collection[str] = (),
    int16: Collection[str] = (), target_db: float | None = None, chip: Chip | str | None = None,
    rounding: str = "single", progress: Callable[[int, int], None] = _no_progress,
) -> Sensitivity:  # fmt: skip
    """Return what quantization costs each layer in precision, and which layers in int16 reach `target_db`.

    `measured` are the samples that the ratios are measured on, by default those that calibrate. With a chip, what int16
    adds is priced there. Raises as `quantize` does.
    """
    folded, kept, on = fold(graph), frozenset(keep_float), samples if measured is None else measured
    cut = {"percentile": percentile, **dict.fromkeys(("minmax", "mse"))}
    ranges = {m: calibrate(folded, samples, method=m, percentile=p) for m, p in sorted(cut.items())}

    def make(floats: frozenset[str], more: frozenset[str], by: str = method) -> Graph:
        wide = (frozenset(int16) | more) - floats
        return int8.rewritten(
            folded, ranges[by], per_channel=per_channel, keep_float=floats, int16=wide, rounding=rounding
        )  # fmt: skip

    int8.quantize(folded, None, method=method, keep_float=kept, rounding=rounding)  # whatever is refused
    n = len(layers_of(folded))
    measure = Measure(folded, on, progress, total=1 + 2 * (n - len(kept)) + len(ranges))
    layers = layer_sensitivities(folded, make, kept, measure)
    methods = tuple((m, measure.db(make(kept, frozenset(), m))) for m in METHODS)
    own = dict(methods)[method]
    raises, refused = list[tuple[str, float | None]](), list[str]()
    if target_db is not None and own is not None and own < target_db:
        raises, refused = raise_to_int16(folded, make, kept, measure, target_db)
    on_chip = Chip.load(chip) if isinstance(chip, str) else chip
    is_priced = on_chip is not None and not kept and not int16
    cycles = _cycles_of_int16(make(kept, frozenset()), on_chip, [n for n, _ in raises]) if is_priced else []
    added = [more - cycles[0] for more in cycles[1:]] if cycles else [None] * len(raises)
    notes = [INT16_COST] if len(cycles) > 1 else []
    notes += [f"not raised, their sums may leave 32 bits: {', '.join(refused)}"] if refused else []
    steps = tuple(Raise(name, db, more) for (name, db), more in zip(raises, added, strict=True))
    return Sensitivity(
        graph.name, bind_batch(graph).hash, method, sum(_rows(folded, s) for s in on), own, tuple(layers), methods,
        target_db, steps, on_chip.name if on_chip is not None and cycles else "", cycles[0] if cycles else None,
        tuple(notes), f"onchip {__version__}",
    )  # fmt: skip


def _rows(graph: Graph, sample: Mapping[str, NDArray[Any]]) -> int:
    first = sample[graph.inputs[0]]
    return len(first) if first.ndim else 1


def _cycles_of_int16(quantized: Graph, chip: Chip | None, names: Sequence[str]) -> list[int]:
    """Return the cycles of the network, and with the first, the first two, .. of the layers doubled (twice.py)."""
    assert chip is not None
    graphs = [quantized, *(twice(quantized, names[: i + 1]) for i in range(len(names)))]
    return [estimate_trace(graph, chip).cycles for graph in graphs]
