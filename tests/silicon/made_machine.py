"""A made-up machine whose numbers are known: what probes and runs of it should find can be worked by hand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from onchip.forecast.kernels import kernels_of
from onchip.ir.graph import Graph
from onchip.silicon.desk import Desk
from onchip.silicon.probes import CHANNELS, MIB, POINTS, THIN, Times

DESK = Desk("Made-up 9000", private_bytes=MIB, last_bytes=16 * MIB, memory_bytes=8 << 30, free_bytes=6 << 30)


@dataclass
class MadeNetwork:
    """Every kernel takes `each_s`, but twice that in two runs of three; kernels in `reasons` do not run."""

    names: tuple[str, ...]
    reasons: Mapping[str, str]
    each_s: float = 1e-3
    runs: int = 0

    def run(self) -> list[float]:
        self.runs += 1
        each = self.each_s * (1 if self.runs % 3 == 0 else 2)
        return [0.0 if name in self.reasons else each for name in self.names]


@dataclass
class Made:
    """Two cores: 10 GB/s each from memory, 50 GB/s each up to 1 MiB and 25 up to 8 MiB, 100 Gop/s in fp32, no bf16."""

    threads: int = 2
    launch: float = 2e-6
    sync: float = 5e-6
    slower: float = 1.0  # median over fastest
    name: str = "made 1.0"
    gone: float = 0.566  # of a core's own memory behind the thin convolution: 1.91 MiB a core, so (1.91 - 0.5) / 2.5
    reasons: Mapping[str, str] = field(default_factory=dict[str, str])

    def times(self, kind: str, size: int, dtype: str, threads: int) -> Times | None:
        seconds = self.seconds(kind, size, dtype, threads)
        return None if seconds is None else Times(seconds, self.slower * seconds)

    def seconds(self, kind: str, size: int, dtype: str, threads: int) -> float | None:
        if kind == "read":
            return size / (threads * 10e9)
        if kind == "copy":  # `size` bytes are read and as many written
            return 2 * size / (threads * (50e9 if 2 * size <= MIB else 25e9 if 2 * size <= 8 * MIB else 10e9))
        if kind in {"product", "convolution"}:
            if kind == "convolution" and size < CHANNELS:
                return self.launch + 10e-6
            operations = 2 * size**3 if kind == "product" else 2 * 14 * 14 * 9 * size**2
            return {"fp32": operations / (threads * 100e9), "int8": operations / (threads * 400e9)}.get(dtype)
        if kind == "cold":
            return 3 * (self.launch + 10e-6)
        if kind == "thin":  # half of the memory's time shows
            moved, macs = 4 * POINTS * 5 * THIN, POINTS * 4 * THIN**2
            return 12e-6 * (1 + 2 * self.gone) + 2 * macs / 200e9 + 0.5 * moved / 50e9
        if kind == "rows":
            return {1: 1e-3, 4: 1.1e-3, 16: 3e-3}[size]
        if kind in {"exp", "add"}:
            return self.launch + size / {"exp": 1e9, "add": 8e9}[kind]
        forked = self.launch + 6e-6 / threads + (self.sync if threads > 1 else 0.0)
        return {"empty": self.launch, "forked": forked, "vector": 0.01, "both": 2e-4 + 0.012}.get(kind)

    def network(self, graph: Graph, dtype: str) -> MadeNetwork:
        assert dtype == "fp32"
        return MadeNetwork(tuple(kernel.anchor.name for kernel in kernels_of(graph)[0]), self.reasons)
