"""An AI chip in one file: int8 convolutions on a systolic array: tiles, double buffers, semaphores, exact cycles.

Run it: `python docs/onchip_in_300_lines.py`. It needs numpy. It compiles two layers into four instruction streams,
runs them on a machine that knows bytes and cycles, and asserts that the bytes are what numpy says.
onchip itself is the same with more of everything: docs/isa.md has its instructions, docs/architecture.md its rooms.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from fractions import Fraction
from math import ceil, floor, frexp
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

# --- 1. the array -----------------------------------------------------------------------------------------------------
# Weights stand still in R x C cells. Inputs enter on the left, each row of the array a cycle later than the one above,
# and move one cell to the right a cycle. Sums move one cell down a cycle and leave at the bottom. Every cell multiplies
# what passes by what it holds. The first sum is complete after R cycles, the last one after m + R + C - 2.


def systolic(x: Array, w: Array) -> tuple[Array, int]:
    """Multiply m x R inputs by R x C weights, cell by cell; return the sums and how many cycles it took."""
    (m, rows), cols = x.shape, w.shape[1]
    inputs, sums = np.zeros((rows, cols), int), np.zeros((rows, cols), int)
    out, last = np.zeros((m, cols), int), 0
    for cycle in range(m + rows + cols - 1):
        entering = [x[cycle - r, r] if 0 <= cycle - r < m else 0 for r in range(rows)]
        inputs = np.column_stack([entering, inputs[:, :-1]])  # everything moves right
        sums = np.vstack([np.zeros(cols, int), sums[:-1]]) + inputs * w  # and down, adding on the way
        for c in range(cols):  # row i leaves column c at cycle i + (R - 1) + c
            i = cycle - (rows - 1) - c
            if 0 <= i < m:
                out[i, c], last = sums[-1, c], cycle
    return out, last + 1


# --- 2. the numbers of the chip ---------------------------------------------------------------------------------------
R = C = 8  # cells of the array: 8 inputs deep, 8 output channels wide
LANES, VECTOR_PIPELINE = 8, 4  # the vector unit does one element a lane and cycle, the result comes 4 cycles later
DRAM_RATE = Fraction(16, 5)  # bytes per cycle, a fraction: what is left of a cycle goes to the next request
DRAM_LATENCY = 20  # cycles
LOCAL_BYTES, ACC_WORDS = 4096, 1024
LOAD, MATRIX, VECTOR, STORE = range(4)
UNITS = ("LOAD", "MATRIX", "VECTOR", "STORE")


@dataclass(frozen=True)
class Op:
    """It takes a token from each semaphore in `wait` to start, and gives one to each in `signal` at its end."""

    name: str
    args: dict[str, int] = field(default_factory=dict[str, int])
    wait: tuple[str, ...] = ()
    signal: tuple[str, ...] = ()


# --- 3. the machine ---------------------------------------------------------------------------------------------------


@dataclass
class Machine:
    """Three memories, the weights in the array, and the clock of every unit."""

    dram: Array
    parameters: Array  # one row (bias, q, e) per output channel
    zero_out: int
    local: Array = field(default_factory=lambda: np.zeros(LOCAL_BYTES, np.int8))
    acc: Array = field(default_factory=lambda: np.zeros(ACC_WORDS, np.int64))
    weights: Array = field(default_factory=lambda: np.zeros((R, C), np.int64))
    shadow: Array = field(default_factory=lambda: np.zeros((R, C), np.int64))
    port_free: Fraction = Fraction(0)
    array_free: int = 0
    shadow_ready: int = 0
    macs: int = 0
    dram_bytes: int = 0

    # What each instruction does to the memories. An address is a number; nothing is hidden behind it.
    def do(self, op: Op) -> None:
        a = op.args
        match op.name:
            case "LD":  # a box of an image; what lies outside of the image becomes `fill`
                for i in range(a["rows"]):
                    line = self.local[a["near"] + i * a["width"] : a["near"] + (i + 1) * a["width"]]
                    line[:] = a["fill"]
                    low, high = max(0, -a["left"]), min(a["width"], a["limit"] - a["left"])
                    if 0 <= a["top"] + i < a["height"]:
                        start = a["far"] + (a["top"] + i) * a["limit"] + a["left"]
                        line[low:high] = self.dram[start + low : start + high]
            case "WLD":  # k x n weights into the shadow registers, while the array works with the old ones
                self.shadow = np.zeros((R, C), np.int64)
                for i in range(a["k"]):
                    start = a["near"] + i * a["pitch"]
                    self.shadow[i, : a["n"]] = self.local[start : start + a["n"]]
            case "MM":  # p x q rows of k inputs each, from wherever they lie: no im2col in memory
                self.weights = self.shadow
                for i in range(a["p"] * a["q"]):
                    at = a["near"] + i // a["q"] * a["down"] + i % a["q"] * a["right"]
                    x = self.local[at : at + a["k"]].astype(np.int64)
                    to = a["acc"] + i * a["n"]
                    sums = x @ self.weights[: a["k"], : a["n"]]
                    self.acc[to : to + a["n"]] = sums + (0 if a["first"] else self.acc[to : to + a["n"]])
            case "RQ":  # int32 sums to int8: one multiplication, one rounding
                n, size = a["n"], a["rows"] * a["n"]
                bias, q, e = self.parameters[a["channel"] : a["channel"] + n].T
                sums = self.acc[a["acc"] : a["acc"] + size].reshape(-1, n)
                y = np.clip(requantize(sums + bias, q, e) + self.zero_out, -128, 127)
                self.local[a["near"] : a["near"] + size] = y.ravel()
            case _:  # ST
                for i in range(a["rows"]):
                    to, at = a["far"] + i * a["pitch"], a["near"] + i * a["n"]
                    self.dram[to : to + a["n"]] = self.local[at : at + a["n"]]

    # How long it takes, in closed form.
    def may_start(self, op: Op) -> int:
        return {"WLD": self.shadow_ready, "MM": max(self.array_free, self.shadow_ready)}.get(op.name, 0)

    def time(self, op: Op, now: int) -> tuple[int, int]:  # when its stream goes on, and when it is complete
        a = op.args
        match op.name:
            case "LD" | "ST":
                n_bytes = a["rows"] * a["n"] if op.name == "ST" else a["inside"]  # the border costs no bandwidth
                self.dram_bytes += n_bytes
                self.port_free = max(self.port_free, Fraction(now)) + n_bytes / DRAM_RATE
                moved = max(now + 1, ceil(self.port_free))
                return moved, moved + (DRAM_LATENCY if op.name == "LD" else 0)
            case "WLD":
                self.shadow_ready = now + R  # one row of weights a cycle
                return now, self.shadow_ready
            case "MM":
                rows = a["p"] * a["q"]  # one row of inputs a cycle; the last sum leaves along the diagonal
                self.macs += rows * a["k"] * a["n"]
                self.array_free = now + rows
                return now, now + rows + R + C - 2
            case _:  # RQ
                end = now + a["rows"] * ceil(a["n"] / LANES) + VECTOR_PIPELINE
                return end, end

    def run(self, streams: list[list[Op]], tokens: dict[str, int]) -> tuple[int, list[tuple[int, int, int, str]]]:
        """Play the streams; return the cycles and the events (unit, start, end, name)."""
        times = {name: deque([0] * n) for name, n in tokens.items()}  # when each token came
        pc, free, done = [0] * 4, [0] * 4, [0] * 4
        events: list[tuple[int, int, int, str]] = []
        while any(pc[u] < len(streams[u]) for u in range(4)):
            heads = [(u, streams[u][pc[u]]) for u in range(4) if pc[u] < len(streams[u])]
            able = [(u, op) for u, op in heads if all(times[s] for s in op.wait)]
            ready = [(max(free[u], self.may_start(op), *(times[s][0] for s in op.wait), 0), u) for u, op in able]
            assert ready, "deadlock"
            now, u = min(ready)  # whoever can start first does; nothing that comes later starts earlier
            op = streams[u][pc[u]]
            for s in op.wait:
                times[s].popleft()
            self.do(op)
            free[u], end = self.time(op, now)
            done[u] = max(done[u], end)  # a stream completes in order
            for s in op.signal:
                times[s].append(done[u])
            events.append((u, now, done[u], op.name))
            pc[u] += 1
        assert {s: len(t) for s, t in times.items()} == tokens, "semaphores end as they began"
        return max(done), events


def multiplier(real: float) -> tuple[int, int]:
    """Write a real number as q * 2^(e - 31) with 31 bits of q."""
    f, e = frexp(real)
    q = floor(f * 2**31 + 0.5)
    return (q // 2, e + 1) if q == 2**31 else (q, e)


def requantize(acc: Array, q: Array | int, e: Array | int) -> Array:
    """Multiply by q * 2^(e - 31), halves up."""
    return (acc * q + (1 << (30 - np.int64(e)))) >> (31 - np.int64(e))


# --- 4. the compiler --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Layer:
    """A convolution; a product of m x c by c x k is the one over an image m x 1 x c with a window of 1 x 1."""

    x: Array  # int8 [h, w, c]
    w: Array  # int8 [k, r, s, c]
    bias: Array  # int32 [k]
    pad: int
    zero_in: int
    zero_out: int
    scale: float  # sx * sw / sy

    @property
    def out(self) -> tuple[int, int, int]:
        (h, w, _), (k, r, s, _) = self.x.shape, self.w.shape
        return h + 2 * self.pad - r + 1, w + 2 * self.pad - s + 1, k


def compile_layer(layer: Layer, tp: int, tn: int, slots: int) -> tuple[Machine, list[list[Op]], dict[str, int], int]:
    """Cut the output into tiles of tp rows x tn channels, and write each tile's instructions into the four streams.

    Buffers have `slots` slots: with two, a unit fills one while the next one empties the other. Semaphores count slots:
    `full` ones for the consumer, `free` ones for the producer, who starts with all of them.
    """
    (h, w, c), (k, r, s, _), (p, q, _) = layer.x.shape, layer.w.shape, layer.out
    weights = layer.w.reshape(k, -1).T  # [r*s*c, k]
    far_w, far_y = layer.x.size, layer.x.size + weights.size
    dram = np.concatenate([layer.x.ravel(), weights.ravel(), np.zeros(p * q * k, np.int8)])
    width = (w + 2 * layer.pad) * c
    size_x, size_w, size_y = (tp + r - 1) * width, weights.shape[0] * tn, tp * q * tn
    base_w, base_y = slots * size_x, slots * (size_x + size_w)
    assert base_y + slots * size_y <= LOCAL_BYTES and slots * size_y <= ACC_WORDS, "the tile does not fit"
    streams: list[list[Op]] = [[], [], [], []]
    for t, (row, channel) in enumerate((row, n) for n in range(0, k, tn) for row in range(0, p, tp)):
        rows, n, slot = min(tp, p - row), min(tn, k - channel), t % slots
        seen = min(row - layer.pad + rows + r - 1, h) - max(row - layer.pad, 0)  # rows of the box inside of the image
        x, wt, y, acc = slot * size_x, base_w + slot * size_w, base_y + slot * size_y, slot * size_y
        box = {"far": 0, "near": x, "rows": rows + r - 1, "width": width, "top": row - layer.pad, "height": h}
        box |= {"left": -layer.pad * c, "limit": w * c, "fill": layer.zero_in, "inside": seen * w * c}
        part = {"far": far_w, "near": wt, "rows": weights.shape[0], "width": n, "top": 0, "height": weights.shape[0]}
        part |= {"left": channel, "limit": k, "fill": 0, "inside": weights.shape[0] * n}
        streams[LOAD] += [Op("LD", box, wait=("source free",)), Op("LD", part, signal=("source full",))]
        passes = [(i, j, d) for i in range(r) for j in range(s) for d in range(0, c, R)]
        for number, (i, j, d) in enumerate(passes):  # one pass of the array for each tap and each R input channels
            depth, is_first, is_last = min(R, c - d), number == 0, number == len(passes) - 1
            load = {"near": wt + ((i * s + j) * c + d) * n, "k": depth, "n": n, "pitch": n}
            mul = {"near": x + i * width + j * c + d, "p": rows, "q": q, "down": width, "right": c, "k": depth, "n": n}
            mul |= {"acc": acc, "first": int(is_first)}
            streams[MATRIX].append(Op("WLD", load, wait=("source full", "sums free") if is_first else ()))
            streams[MATRIX].append(Op("MM", mul, signal=("sums full", "source free") if is_last else ()))
        scale = {"acc": acc, "near": y, "rows": rows * q, "n": n, "channel": channel}
        streams[VECTOR].append(Op("RQ", scale, ("sums full", "output free"), ("output full", "sums free")))
        back = {"near": y, "far": far_y + row * q * k + channel, "rows": rows * q, "n": n, "pitch": k}
        streams[STORE].append(Op("ST", back, ("output full",), ("output free",)))
    bias = layer.bias - layer.zero_in * weights.sum(axis=0, dtype=np.int64)  # sum (x - z) w = sum x w - z sum w
    parameters = np.array([(b, *multiplier(layer.scale)) for b in bias], np.int64)
    tokens = {f"{b} {state}": n for b in ("source", "sums", "output") for state, n in (("free", slots), ("full", 0))}
    return Machine(dram, parameters, layer.zero_out), streams, tokens, far_y


# --- 5. the checks ----------------------------------------------------------------------------------------------------


def expected(layer: Layer) -> Array:
    """Say in numpy what the layer is."""
    (p, q, k), (_, r, s, _) = layer.out, layer.w.shape
    x = np.pad(layer.x.astype(np.int64) - layer.zero_in, ((layer.pad, layer.pad), (layer.pad, layer.pad), (0, 0)))
    acc = np.zeros((p, q, k), np.int64) + layer.bias
    for i in range(r):
        for j in range(s):
            acc += x[i : i + p, j : j + q] @ layer.w[:, i, j].T.astype(np.int64)
    return np.clip(requantize(acc, *multiplier(layer.scale)) + layer.zero_out, -128, 127).astype(np.int8)


def timeline(events: list[tuple[int, int, int, str]], step: int) -> str:
    """Draw a row a unit, with a # for every `step` cycles in which it works; weight loads are left out."""
    rows = np.full((4, 97), " ")
    for unit, start, end, name in events:
        if name != "WLD":
            rows[unit, start // step : -(-end // step)] = "#"
    return "\n".join(f"  {name:<7}|{''.join(row)}|" for name, row in zip(UNITS, rows, strict=True))


def main() -> None:
    """Check the array, then two layers, with double and with single buffers."""
    random = np.random.default_rng(0)
    x, w = random.integers(-128, 128, (5, R)), random.integers(-127, 128, (R, C))
    sums, n = systolic(x, w)
    assert (sums == x @ w).all() and n == 5 + R + C - 2
    print(f"array       5 rows leave a {R} x {C} array after {n} cycles = 5 + {R} + {C} - 2")

    def layer(h: int, w: int, c: int, k: int, r: int, pad: int) -> Layer:
        image, weights = random.integers(-128, 128, (h, w, c)), random.integers(-127, 128, (k, r, r, c))
        bias = random.integers(-2000, 2000, k).astype(np.int32)
        return Layer(image.astype(np.int8), weights.astype(np.int8), bias, pad, 11, -5, 0.6 / (127 * r * c**0.5 * 4))

    for name, made, tp in (("conv 3x3", layer(12, 12, 12, 16, 3, 1), 3), ("matmul", layer(64, 1, 40, 24, 1, 0), 16)):
        cycles: dict[int, int] = {}
        for slots in (1, 2):
            machine, streams, tokens, far_y = compile_layer(made, tp, 8, slots)
            cycles[slots], events = machine.run(streams, tokens)
            result = machine.dram[far_y:].reshape(made.out)
            assert (result == expected(made)).all(), "not the same bits"
            bound = max(Fraction(machine.macs, R * C), machine.dram_bytes / DRAM_RATE)
            assert cycles[slots] >= bound
        assert cycles[2] < cycles[1]
        told = f"{cycles[2]} cycles, at least {ceil(bound)}; {machine.macs / (R * C * cycles[2]):.0%} of peak"
        print(f"{name:<11} {told}; {cycles[1]} cycles with single buffers")
        print(timeline(events, -(-cycles[2] // 96)))


if __name__ == "__main__":
    main()
