"""`forecast`: a network on a chip as the vendor's own program would run it.

In:       a folded Graph with numbers as dimensions, a Chip, a dtype, what is on the chip at first.
Out:      a Forecast.
Promises: kernels in order, each priced by the function that PRICES names for its anchor, with its launch; an op without
          a price is refused by name (OC1506).
Does not: look at a chip's name or family.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from onchip.chip import Chip, chip_dtype
from onchip.errors import NotSupported
from onchip.forecast.attention import price_attention
from onchip.forecast.conv import price_conv
from onchip.forecast.cost import Cost
from onchip.forecast.energy import energy_of
from onchip.forecast.kernels import ELEMENTWISE, PRODUCTS, Kernel, kernels_of
from onchip.forecast.lanes import MOVES, REDUCED, WINDOWED
from onchip.forecast.machine import Machine, machine
from onchip.forecast.products import price_products
from onchip.forecast.recurrent import RECURRENT, price_recurrent
from onchip.forecast.row_stationary import price_row_stationary
from onchip.forecast.rows import NORMS, SOFTMAX, price_rows
from onchip.forecast.traffic import Start, Traffic, traffic_of
from onchip.ir.forecast import Forecast, Step
from onchip.ir.graph import Graph
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
    kernels, alias = kernels_of(graph)
    traffics = [replace(traffic, zeros=zeros) for traffic in traffic_of(kernels, alias, m, start)]
    steps = tuple(_step(kernel, traffic, m) for kernel, traffic in zip(kernels, traffics, strict=True))
    told = model or Model(graph.name, graph.hash, graph.macs(), graph.parameters())
    return Forecast(told, chip, m.dtype, steps, float(chip.launch.per_run_s))


def _step(kernel: Kernel, traffic: Traffic, m: Machine) -> Step:
    anchor = kernel.anchor
    price = FLOWS.get(m.chip.matrix.dataflow, PRICES).get(anchor.op, PRICES.get(anchor.op))
    if price is None:
        raise NotSupported(
            "OC1506", anchor.name, f"no forecast for op {anchor.op}", limit="What is modelled: docs/accuracy.md"
        )
    cost = price(kernel, traffic, m)
    far = traffic.far if cost.far_bytes is None else cost.far_bytes
    causes = (*cost.causes, ("launch", m.launch_s * cost.launches))
    names = tuple(node.name for node in kernel.nodes)
    energy = energy_of(kernel, traffic, cost, sum(seconds for _, seconds in causes), m)
    return Step(
        anchor.name,
        names,
        anchor.op,
        kernel.macs,
        far,
        causes,
        cost.how,
        energy,
        cost.launches,
        near_bytes=cost.near_bytes,
    )
