"""LSTM, GRU and plain recurrent layers: one product for all inputs, then a product and the gates in every step.

In:       a kernel whose anchor is a recurrent op, its traffic, a Machine.
Out:      `Cost`: input projection + steps x (recurrent products + gates + what a step waits for).
Promises: recurrent weights come from far memory in every step unless something near holds all of them; the products are
          priced as any other, so a step is never faster than its MACs or its bytes.
Does not: keep weights in registers behind a hardware cache: libraries do so only for special sizes (cuDNN's persistent
          algorithms have to be asked for).
"""

from __future__ import annotations

from onchip.forecast.cost import Cost, longest
from onchip.forecast.kernels import Kernel
from onchip.forecast.lanes import step_cycles
from onchip.forecast.machine import Machine
from onchip.forecast.product import Product
from onchip.forecast.products import price_product
from onchip.forecast.rows import cache_bytes
from onchip.forecast.traffic import Traffic
from onchip.ir.graph import attributes_of
from onchip.ops.cells import GATES, products
from onchip.ops.cells import Product as Recurrent
from onchip.ops.registry import look_up_op

RECURRENT = tuple(GATES)
# lane operations of a hidden unit in a step beside its products
CELLS = {
    "lstm": (*("sigmoid",) * 3, *("tanh",) * 2, *("add",) * 9, *("mul",) * 3),
    "gru": (*("sigmoid",) * 2, "tanh", *("add",) * 7, *("mul",) * 3),
    "rnn": ("tanh", "add", "add"),
}
# Beside its product a step runs the gates as programs of their own, on streams that wait for each other; weights that
# come from far memory cost the first steps more. In launches of a kernel, and for how many steps: fitted on LSTM, GRU
# and RNN of V100 (DeepBench), shared by all chips.
STEP, FAR_STEP, FAR_STEPS = 11, 12.5, 190
FULL = 0.5  # of a cache that weights may fill before they push each other out: picked on the same rows, shared
RESIDENT = 0.5  # of local or shared memories, for what stays; assumed


def price_recurrent(kernel: Kernel, traffic: Traffic, m: Machine) -> Cost:
    """Return the cost of all steps of a recurrent layer."""
    node = kernel.anchor
    batch, steps, features = kernel.shape(node.inputs[0])
    given, *each = products(node.op, attributes_of(node, look_up_op(node.op, node.name)), features)
    weights = sum(p.k * p.columns for p in each) * m.bytes
    far = 1 - near_share(weights, m)
    inputs = _inputs(given, batch * steps, weights, traffic, m)
    projection = price_product(Product(1, batch * steps, given.columns, features), inputs, m)
    causes = list(projection.causes)
    for p in each:
        causes += [(cause, steps * seconds) for cause, seconds in _step(batch, p, far, m).causes]
    cycles = batch * each[0].k * sum(step_cycles(m.chip.vector, op) for op in CELLS[node.op])
    first = (1 - far) * (traffic.far_weights - inputs.far_weights)  # weights that stay near come there once
    waits = STEP * steps + FAR_STEP * min(steps, FAR_STEPS) * far
    causes += [
        ("memory", first / m.dram_bytes_per_s),
        ("vector", steps * cycles / m.clock_hz / min(m.cores, batch * each[0].k)),
        ("sync", waits * m.launch_s + steps * m.sync_s),
    ]
    how = f"{steps} steps, {far:.0%} of {weights / 2**20:.3g} MiB of weights read in each"
    return Cost(tuple(causes), how, traffic.far + 2 * inputs.far_outputs + (steps - 1) * far * weights)


def _inputs(given: Recurrent, rows: int, weights: float, traffic: Traffic, m: Machine) -> Traffic:
    """Return the traffic of the product of all inputs; its sums are written and read far where they fit nowhere."""
    own = given.k * given.columns * m.bytes
    sums = rows * given.columns * m.bytes
    far_own = traffic.far_weights * own / (own + weights)
    return Traffic(far_own, traffic.far_inputs, 0.0 if sums <= _room(m) else sums, traffic.near)


def _step(batch: int, p: Recurrent, far: float, m: Machine) -> Cost:
    """Return the cost of a step's product: behind a cache its weights stream past a batch that cores hold."""
    weights = p.k * p.columns * m.bytes
    if not cache_bytes(m):
        traffic = Traffic(far * weights, 0.0, 0.0, (1 - far) * weights)
        return price_product(Product(1, batch, p.columns, p.k), traffic, m)
    stream = far * weights / m.dram_bytes_per_s
    macs = batch * p.k * p.columns / (m.peak_macs_per_s * m.achieved)
    return Cost(longest(("matrix", macs), ("memory", stream), ("shared", weights / m.shared_bytes_per_s)))


def near_share(weights: float, m: Machine) -> float:
    """Return the share of recurrent weights that a step finds near: in a cache, or all in local or shared memories.

    Every step reads all of them in the same order, so a cache that is too small has none of them left.
    """
    if cache := cache_bytes(m):
        return min(max((1 - weights / cache) / (1 - FULL), 0.0), 1.0)
    return 1.0 if weights <= _room(m) else 0.0


def _room(m: Machine) -> float:
    """Return the bytes that stay near between steps, of all local memories or of the shared one."""
    return max(m.cores * m.chip.local.size_bytes, m.shared_bytes) * RESIDENT
