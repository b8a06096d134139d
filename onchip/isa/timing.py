"""How long each instruction keeps its unit, in closed form: the one place that knows.

In: sizes of the instruction after clipping, and the chip as a flat array of integers (`machine`). Out: cycles. The
functions are plain integer Python without objects: the event engine compiles them, the planner and the tests call them
as they are.

`occupancy` is how long the next instruction of the same unit has to wait, `latency` how much later the result is there;
a stream completes in order. An empty instruction occupies its unit for one cycle. CFG words are loaded into the address
generators with the kernel's code, before its barrier ends: in a loop an instruction issues in one cycle, whatever its
fields. Rows, columns, units and the native M x N x K stand in `matrix` of the chip file, the rates of the read, write
and weight ports in `local`. Port rates are fractions; `port(n)` is ceil(n / rate).

    class             starts when                          keeps its stream       completes at
    LD, ST            stream free                          until its bytes moved  + latency (LD), at once (ST)
    WLD               last WLD complete; serial: MM too    not                    start + occupancy
    MM                array free, weights loaded           not                    start + occupancy + latency
    RQ VOP RED LUT    stream free                          until completion       start + occupancy + 4
    NOP LOOP HALT     stream free                          one cycle              start + 1

**Far memory.** A transfer of n bytes inside of the tensor asks the DRAM port for ceil(n / sharers) bytes if its level
is 0, and the shared port for n bytes if the chip has a shared memory; both at once. Nothing inside: one cycle, no
request. The row numbers of a gather are not counted. A port serves requests in the order in which they were made. It is
free at a time T that need not be whole:

    T = max(T, start) + bytes / rate          moved = ceil(T)

so what one request leaves of a cycle, the next one in the queue uses, and an idle port saves nothing. The stream is
free again when both ports have moved the bytes, at the earliest one cycle after the start; LD completes a latency
later. The rate of DRAM is min(bandwidth / active, bytes in flight / latency), that of the shared memory bandwidth /
active, in bytes per cycle; the latency is that of the transfer's level (shared: 0), in whole cycles, rounded up.

**Barrier.** Launch time in the graph plus the time to synchronise all cores, each rounded up to whole cycles.

Sources: systolic pass counts: SCALE-Sim (Samajdar 2018) section 3 and its double-buffered variant; the rest is the
definition of our machine. assumed: VECTOR_LATENCY, DOT_LATENCY (pipeline depths, no effect on the schedule's shape).
"""

from __future__ import annotations

VECTOR_LATENCY = 4  # assumed: read, two execute stages, write
DOT_LATENCY = 16  # assumed: depth of a dot-product unit's pipeline

# index of each number in the machine array
DATAFLOW, ROWS, COLUMNS, UNITS, NATIVE_M, NATIVE_N, NATIVE_K, SERIAL = range(8)
READ_NUM, READ_DEN, WRITE_NUM, WRITE_DEN, WEIGHT_NUM, WEIGHT_DEN = range(8, 14)
DRAM_NUM, DRAM_DEN, DRAM_LATENCY, SHARED_NUM, SHARED_DEN, SHARED_LATENCY = range(14, 20)
CORE_NUM, CORE_DEN, BARRIER_CYCLES, LANES, CORES = range(20, 25)
RATES = 32  # elements per cycle of vector operation `sub` stand at RATES + sub
MACHINE_SIZE = RATES + 256
WEIGHT_STATIONARY, OUTPUT_STATIONARY, DOT_PRODUCT = range(3)


def ceil_div(a: int, b: int) -> int:
    return -(-a // b)


def port_cycles(n_bytes: int, numerator: int, denominator: int) -> int:
    """Return the cycles that `n_bytes` need on a port of numerator/denominator bytes per cycle."""
    return ceil_div(n_bytes * denominator, numerator)


def weight_load_occupancy(machine, k: int, n: int, element_bytes: int) -> int:  # type: ignore[no-untyped-def]
    """Return cycles to bring k x n weights to the shadow registers.

    A systolic array shifts one row of weights in per cycle, always all its rows: max(rows, port(k*n*bytes)) on the
    weight port. An output-stationary or dot-product unit reads its weights while it multiplies, so the instruction only
    hands over an address: 1.
    """
    if k <= 0 or n <= 0 or machine[DATAFLOW] != WEIGHT_STATIONARY:
        return 1
    return max(machine[ROWS], port_cycles(k * n * element_bytes, machine[WEIGHT_NUM], machine[WEIGHT_DEN]))


def matmul_occupancy(machine, m: int, k: int, n: int, element_bytes: int) -> int:  # type: ignore[no-untyped-def]
    """Return cycles that a matmul of m x k by k x n keeps the array.

    Weight-stationary: a row a cycle, max(m, port(m*k*bytes)). Output-stationary: k cycles per block of rows x (columns
    of all units), max(ceil(m/rows)*ceil(n/(columns*units))*k, port((m*k + k*n)*bytes)). Dot product: a native shape per
    unit and cycle, max(ceil(ceil(m/M)*ceil(n/N)*ceil(k/K)/units), port((m*k + k*n)*bytes)). Inputs come through the
    read port. In a weight-stationary array k <= rows and n <= columns*units; the others have no limit.
    """
    if m <= 0 or k <= 0 or n <= 0:
        return 1
    if machine[DATAFLOW] == WEIGHT_STATIONARY:
        return max(m, port_cycles(m * k * element_bytes, machine[READ_NUM], machine[READ_DEN]))
    operand_bytes = (m * k + k * n) * element_bytes
    if machine[DATAFLOW] == OUTPUT_STATIONARY:
        blocks = ceil_div(m, machine[ROWS]) * ceil_div(n, machine[COLUMNS] * machine[UNITS])
        return max(blocks * k, port_cycles(operand_bytes, machine[READ_NUM], machine[READ_DEN]))
    shapes = ceil_div(m, machine[NATIVE_M]) * ceil_div(n, machine[NATIVE_N]) * ceil_div(k, machine[NATIVE_K])
    return max(ceil_div(shapes, machine[UNITS]), port_cycles(operand_bytes, machine[READ_NUM], machine[READ_DEN]))


def matmul_latency(machine) -> int:  # type: ignore[no-untyped-def]
    """Return how much later than the array is free the last sum arrives: the array's diagonal, rows + columns - 2, or
    the pipeline of a dot-product unit, 16.
    """
    if machine[DATAFLOW] == DOT_PRODUCT:
        return DOT_LATENCY
    return machine[ROWS] + machine[COLUMNS] - 2


def vector_occupancy(machine, sub: int, rows: int, n: int, read_bytes: int, write_bytes: int) -> int:  # type: ignore[no-untyped-def]
    """Return cycles of a vector instruction on `rows` rows of `n` lanes that moves so many bytes of local memory:
    max(rows*ceil(n/elements per cycle), port(read), port(written)).

    Read are the lanes of a, and of b in VOP without an immediate, once a row where the step is 0; written are the lanes
    of d, one a row in RED. Accumulator words use no port; nor do the d that mac reads, the parameters of RQ and the
    table of LUT.
    """
    if rows <= 0 or n <= 0:
        return 1
    compute = rows * ceil_div(n, machine[RATES + sub])
    reading = port_cycles(read_bytes, machine[READ_NUM], machine[READ_DEN])
    return max(compute, reading, port_cycles(write_bytes, machine[WRITE_NUM], machine[WRITE_DEN]))
