"""`forecast`: a network on a chip as the vendor's own program would run it.

In:       a folded Graph with numbers as dimensions, a Chip, a dtype, what is on the chip at first.
Out:      a Forecast.
Promises: kernels in order, each priced by the function that PRICES names for its anchor, with its launch; an op without
          a price is refused by name (OC1506).
Does not: look at a chip's name or family.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from onchip.chip import Chip, chip_dtype
from onchip.errors import NotSupported
from onchip.forecast.attention import price_attention
from onchip.forecast.cold import cold_starts
from onchip.forecast.conv import price_conv
from onchip.forecast.cost import Cost
from onchip.forecast.energy import buffer_bytes, energy_of
from onchip.forecast.kernels import ELEMENTWISE, PRODUCTS, Kernel, kernels_of
from onchip.forecast.lanes import MOVES, REDUCED, WINDOWED
from onchip.forecast.layers import layer_of
from onchip.forecast.machine import Machine, machine
from onchip.forecast.placement import batch_of, place
from onchip.forecast.products import price_products
from onchip.forecast.recurrent import RECURRENT, price_recurrent
from onchip.forecast.row_stationary import price_row_stationary
from onchip.forecast.rows import NORMS, SOFTMAX, price_rows
from onchip.forecast.stages import price_stages
from onchip.forecast.timeline import run_in_order
from onchip.forecast.traffic import Start, Traffic, traffic_of
from onchip.ir.forecast import Forecast, Step
from onchip.ir.graph import Graph, Node
from onchip.ir.program import Model

Price = Callable[[Kernel, Traffic, Machine], Cost]
ROWS = (
    *ELEMENTWISE,
    *SOFTMAX,
    *NORMS,
    *WINDOWED,
    *REDUCED,
    *MOVES,
    *("lrn", "resize", "rotary", "where", "pow", "mod", "squared_difference", "equal", "greater", "greater_equal"),
    *("less", "less_equal", "logical_and", "logical_or", "logical_not", "logical_xor"),
)
PRICES: dict[str, Price] = {
    **dict.fromkeys(ROWS, price_rows),
    **dict.fromkeys(PRODUCTS, price_products),
    **dict.fromkeys(RECURRENT, price_recurrent),
    "conv2d": price_conv,
    "attention": price_attention,
}
# dataflows whose products are priced as a whole
FLOWS: dict[str, dict[str, Price]] = {
    "row_stationary": dict.fromkeys(("conv2d", "linear", "matmul"), price_row_stationary),
}


def forecast(
    graph: Graph,
    chip: Chip,
    dtype: str,
    *,
    start: Start = "warm",
    zeros: float | None = None,
    model: Model | None = None,
) -> Forecast:
    """Return what silicon is expected to take. Raises NotSupported.

    `zeros` is the share of activations that are zero, where it is known; `model` what a report says of the network.
    """
    m = machine(chip, chip_dtype(dtype))
    kernels, alias = kernels_of(graph, sums_apart=chip.execution.sums == "apart")
    for kernel in kernels:
        _check(kernel.anchor)
    traffics, costs = _managed(kernels, alias, m, start) if m.is_managed else _cached(kernels, alias, m, start, zeros)
    cold = cold_starts(kernels, traffics, costs, m)
    steps = tuple(_step(*parts, m) for parts in zip(kernels, traffics, costs, cold, strict=True))
    told = model or Model(graph.name, graph.hash, graph.macs(), graph.parameters())
    return Forecast(told, chip, m.dtype, steps, float(chip.launch.per_run_s))


def _cached(
    kernels: Sequence[Kernel], alias: Mapping[str, str], m: Machine, start: Start, zeros: float | None
) -> tuple[Sequence[Traffic], Sequence[Cost]]:
    """Return the traffic and the cost of each kernel by itself."""
    traffics = [replace(traffic, zeros=zeros) for traffic in traffic_of(kernels, alias, m, start)]
    flow = FLOWS.get(m.chip.matrix.dataflow, PRICES)
    prices = [flow.get(kernel.anchor.op, PRICES[kernel.anchor.op]) for kernel in kernels]
    return traffics, [price(k, t, m) for price, k, t in zip(prices, kernels, traffics, strict=True)]


def _managed(
    kernels: Sequence[Kernel], alias: Mapping[str, str], m: Machine, start: Start
) -> tuple[Sequence[Traffic], Sequence[Cost]]:
    """Return the traffic and the cost of each kernel in the chip's mode of execution."""
    batch = batch_of(kernels)
    if m.chip.execution.mode == "pipeline":
        traffics, _ = place(kernels, alias, m, start)
        return traffics, price_stages(kernels, traffics, m, batch)
    if m.chip.execution.mode == "independent":
        m = replace(m, cores=min(m.cores, batch))
    traffics, room = place(kernels, alias, m, start)
    layers = [layer_of(kernel, traffic, m) for kernel, traffic in zip(kernels, traffics, strict=True)]
    return traffics, run_in_order(layers, m, room)


def _check(anchor: Node) -> None:
    if anchor.op not in PRICES:
        fact, limit = f"no forecast for op {anchor.op}", "What is modelled: docs/accuracy.md"
        raise NotSupported("OC1506", anchor.name, fact, limit=limit)


def _step(kernel: Kernel, traffic: Traffic, cost: Cost, cold_s: float, m: Machine) -> Step:
    causes = (*cost.causes, ("launch", m.launch_s * cost.launches + cold_s)) if cost.causes else ()
    return Step(
        name=kernel.anchor.name,
        nodes=tuple(node.name for node in kernel.nodes),
        op=kernel.anchor.op,
        macs=kernel.macs,
        dram_bytes=traffic.far if cost.far_bytes is None else cost.far_bytes,
        causes=causes,
        how=cost.how,
        energy=energy_of(kernel, traffic, cost, sum(seconds for _, seconds in causes), m),
        launches=cost.launches,
        near_bytes=buffer_bytes(kernel, traffic, cost, m),
    )
