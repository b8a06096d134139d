"""Where tensors lie on a chip whose memory a compiler manages: what stays on the chip between kernels, what spills.

In:       kernels in order, a Machine.
Out:      a `Traffic` for each kernel, as from `traffic_of`.
Promises: at every kernel the kept shares of live tensors fit in the pool; what does not fit crosses far memory once a
          write and once a read; inputs and outputs of the network are far; the pool is the first shared level, or the
          local memories where there is none.
          Weights come from far memory in every run. Where [execution] says that they are resident, the room that
          activations leave keeps a share of them from run to run.
Does not: reorder kernels, or cut them into stripes: the share of a tensor that spills is a fraction.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from onchip.forecast.kernels import Kernel, root
from onchip.forecast.machine import Machine
from onchip.forecast.traffic import Start, Traffic, tensor_bytes

COPIES = ("concat", "slice")  # a compiler that places tensors writes the parts where the whole will be read


def place(
    kernels: Sequence[Kernel], alias: Mapping[str, str], m: Machine, start: Start = "warm"
) -> tuple[tuple[Traffic, ...], float]:
    """Return the traffic of each kernel, and the bytes of the pool that no activation needs.

    Only a run that is repeated (`warm`) finds resident weights.
    """
    sizes = {name: tensor_bytes(k, name, m) for k in kernels for name in (*k.inputs, *k.outputs)}
    kept, peak = _kept(kernels, alias, sizes, pool_bytes(m))
    weights = sum(tensor_bytes(k, name, m) for k in kernels for name in k.weights)
    resident = _resident(weights, peak, m) if start == "warm" else 0.0
    room = max(0.0, pool_bytes(m) - peak - weights * resident)
    return tuple(_traffic(kernel, sizes, kept, resident, m) for kernel in kernels), room


def batch_of(kernels: Sequence[Kernel]) -> int:
    """Return the inferences of a run: the first dimension of the network's first input."""
    graph = kernels[0].graph if kernels else None
    shape = graph.tensor(graph.inputs[0]).shape if graph and graph.inputs else ()
    return int(shape[0]) if shape else 1


def pool_bytes(m: Machine) -> int:
    """Return the memory that keeps tensors between kernels."""
    return m.shared_bytes or m.chip.local.size_bytes * m.cores


def _resident(weights: float, peak: float, m: Machine) -> float:
    """Return the share of the weights that stays from run to run; the parts of a pipeline replace each other whole."""
    if m.chip.execution.weights == "streamed" or not weights:
        return 0.0
    if m.chip.execution.mode == "pipeline":
        return float(weights <= pool_bytes(m))
    return min(1.0, max(0.0, pool_bytes(m) - peak) / weights)


def _traffic(
    kernel: Kernel, sizes: Mapping[str, float], kept: Mapping[str, float], resident: float, m: Machine
) -> Traffic:
    if kernel.anchor.op in COPIES:
        return Traffic(0.0, 0.0, 0.0, 0.0)
    weights = sum(tensor_bytes(kernel, name, m) for name in kernel.weights)
    inputs, outputs = sum(sizes[n] for n in kernel.inputs), sum(sizes[n] for n in kernel.outputs)
    near_in, near_out = (sum(sizes[n] * kept[n] for n in names) for names in (kernel.inputs, kernel.outputs))
    near = near_in + near_out + weights * resident
    return Traffic(weights * (1 - resident), inputs - near_in, outputs - near_out, near)


def _kept(
    kernels: Sequence[Kernel], alias: Mapping[str, str], sizes: Mapping[str, float], pool: float
) -> tuple[dict[str, float], float]:
    """Return the share of each tensor that stays, in order of making, and the most bytes that do at once."""
    made = {name: step for step, kernel in enumerate(kernels) for name in kernel.outputs}
    last = {name: step for step, kernel in enumerate(kernels) for name in kernel.inputs}
    ends = {root(name, alias) for name in kernels[-1].graph.kept} if kernels else set[str]()
    free, kept = [pool] * len(kernels), dict.fromkeys(sizes, 0.0)
    for name, step in made.items():
        if name in ends or name not in last:
            continue
        first = step + 1 if kernels[step].anchor.op in COPIES else step
        room = min(free[first : last[name] + 1], default=pool)
        share = min(1.0, max(0.0, room) / sizes[name]) if sizes[name] else 1.0
        kept[name] = share
        for at in range(first, last[name] + 1):
            free[at] -= share * sizes[name]
    return kept, pool - min(free, default=pool)
