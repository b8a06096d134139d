"""Rows as a stranger's file may have them: every chip of the catalog x networks and single operations.

In: how many. Out: measurements with a value of 1, the same ones each time. Does not: know what silicon takes.
"""

from __future__ import annotations

from random import Random

from onchip.chip import Chip
from onchip.silicon.measurements import Measurement
from onchip.zoo.catalog import ZOO

NETWORK_SHARE = 0.1  # of the rows: the public file has 1 in 20
# exponents of two, from and to, by parameter
OPS = {
    "gemm": {"M": (0, 13), "N": (5, 14), "K": (5, 14)},
    "bmm": {"B": (0, 8), "M": (4, 11), "N": (4, 11), "K": (4, 8)},
    "conv2d": {"N": (0, 5), "C": (2, 10), "H": (3, 7), "W": (3, 7), "K": (4, 10), "R": (0, 2), "S": (0, 2)},
    "lstm": {"hidden": (7, 11), "batch": (0, 7), "timesteps": (0, 9)},
    "gru": {"hidden": (7, 11), "batch": (0, 7), "timesteps": (0, 9)},
    "attention": {"batch": (0, 5), "heads": (3, 6), "q_len": (0, 12), "kv_len": (12, 13), "head_dim": (6, 7)},
    "softmax": {"M": (4, 14), "N": (5, 15)},
    "layernorm": {"M": (4, 14), "N": (5, 14)},
    "gelu": {"n": (10, 28)},
    "add": {"n": (10, 28)},
}


def mixed_rows(n: int) -> list[Measurement]:
    """Return n rows."""
    rng = Random(1)
    chips = [Chip.load(name) for name in Chip.names()]
    return [_row(number, chips[rng.randrange(len(chips))], rng) for number in range(2, n + 2)]


def _row(number: int, chip: Chip, rng: Random) -> Measurement:
    if rng.random() < NETWORK_SHARE:
        kind, params = "network", {"name": rng.choice(sorted(ZOO)), "batch": str(1 << rng.randint(0, 5))}
    else:
        kind = rng.choice(sorted(OPS))
        params = {key: str(1 << rng.randint(*powers)) for key, powers in OPS[kind].items()}
    metric, timing = rng.choice(("latency_ms", "throughput_per_s")), rng.choice(("device", "host", "end_to_end"))
    return Measurement(number, chip.name, kind, tuple(params.items()), rng.choice(chip.dtypes), metric, 1.0, timing)
