"""The compiled formula against its plain form: equal prices, and so the same choice, on random shapes and chips."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import numpy as np

from onchip.chip import Chip
from onchip.errors import NotSupported
from onchip.ir.plan import Shape
from onchip.isa.machine import machine_of
from onchip.planner.tile import candidates, price
from tests.networks import small_chip
from tests.planner.plain_price import plain_price


def _shape(rng: Random, dtype: str) -> Shape:
    kind = rng.choice(("matmul", "matmul", "vector"))
    window = rng.choice(((1, 1), (3, 3), (1, 7), (5, 2)))
    stride, dilation = (rng.choice((1, 2)), rng.choice((1, 2, 3))), (rng.choice((1, 2)), 1)
    pool = rng.choice(((1, 1), (1, 1), (2, 2), (3, 2)))
    b, p, q = rng.choice((1, 1, 2, 7)), pool[0] * rng.randint(1, 60), pool[1] * rng.randint(1, 60)
    n, c = rng.choice((1, 3, 10, 64, 1000, 4096)), rng.choice((1, 3, 16, 100, 2048))
    return Shape(
        kind, dtype, {"int8": 1, "fp32": 4}.get(dtype, 2), (b, p, q, n), (b, p * stride[0], q * stride[1], c), window,
        stride, dilation, passes=rng.randint(0, 30), scratch=rng.randint(0, 2), side_bytes=rng.choice((1, 2)),
        side_inputs=rng.randint(0, 2), table_bytes=rng.choice((0, 1024)), pool=pool, whole_lanes=rng.random() < 0.2,
        parameters_per_lane=rng.random() < 0.7, loads_source=rng.random() < 0.9,
        levels=(rng.randint(0, 1), rng.randint(0, 1)), unshared=rng.choice(("", "", "n", "p", "b")),
    )  # fmt: skip


def _chip(rng: Random) -> Chip:
    """Draw a chip of the catalog or a small random one, with either way to pack rows and to load weights."""
    chip = Chip.load(rng.choice(Chip.names())) if rng.random() < 0.5 else small_chip(rng)
    matrix = replace(chip.matrix, row_packing=rng.choice(("CRS", "C")), weight_load=rng.choice(("hidden", "serial")))
    return replace(chip, matrix=matrix)


def test_the_compiled_formula_is_the_plain_one() -> None:
    n, dataflows = 0, set[str]()
    for seed in range(400):
        rng = Random(seed)
        chip = _chip(rng)
        dtype = rng.choice(chip.dtypes)
        try:
            m = machine_of(chip, dtype)
        except NotSupported:
            continue
        shape = _shape(rng, dtype)
        table = candidates(shape, chip, m)
        table = table.take(np.array(sorted(rng.sample(range(len(table.tb)), min(len(table.tb), 300))), np.int64))
        for slots in (1, 2):
            prices, plain = price(shape, chip, m, table, slots), plain_price(shape, chip, m, table, slots)
            assert prices.tolist() == plain.tolist(), (seed, chip.name, shape)
        n, dataflows = n + len(table.tb), dataflows | {chip.matrix.dataflow}
    assert n > 20_000 and len(dataflows) == 3, (n, dataflows)
