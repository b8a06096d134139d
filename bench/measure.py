"""How each budget is measured: functions that return samples, one number per repetition.

In: nothing but the installed package. Out: processor seconds (a busy machine hardly changes them), bytes or ratios.
Processes are started with this interpreter and run once before they are timed, so that compiled code comes from
numba's cache; the cold starts are the exception. What is compared runs in turns within one process. Does not: judge;
the budgets stand in `__main__.py`.
"""

from __future__ import annotations

import gc
import importlib.util
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from fractions import Fraction
from functools import cache, partial
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from bench import thousand
from bench.mixed import mixed_rows
from bench.qoperator import qoperator_model
from onchip import pipeline
from onchip.case import Case
from onchip.chip import Chip
from onchip.errors import OnchipError
from onchip.ir.program import Program
from onchip.isa.machine import machine_of
from onchip.planner.plan import plan
from onchip.planner.tile import candidates, price, ranked
from onchip.reports import whatif
from onchip.silicon.predict import predict
from onchip.silicon.scores import score
from onchip.simulator.clock import simulate_cycles
from onchip.simulator.values import Runner

CHIP, MODEL = "edge-npu-16", "@resnet50"
FULL = 1 << 40
Samples = list[float]


def timed(work: Callable[[], object], n: int) -> Samples:
    """Return the processor seconds of n calls after one that does not count."""
    work()
    found: Samples = []
    for _ in range(n):
        gc.collect()
        start = time.process_time()
        work()
        found.append(time.process_time() - start)
    return found


@cache
def bytecode_folder() -> tempfile.TemporaryDirectory[str]:
    """Where processes keep bytecode: an installed package has it, whatever this environment says about writing it."""
    return tempfile.TemporaryDirectory()


def run(*arguments: str, cache_folder: str = "") -> tuple[float, str]:
    """Run this interpreter; return its processor seconds and what it printed."""
    environment = os.environ | {"PYTHONPYCACHEPREFIX": bytecode_folder().name, "PYTHONDONTWRITEBYTECODE": ""}
    if cache_folder:
        environment["NUMBA_CACHE_DIR"] = cache_folder
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, *arguments]
    text = subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime, text


def processes(n: int, *arguments: str) -> Samples:
    """Return the seconds of n processes after one that does not count."""
    run(*arguments)
    return [run(*arguments)[0] for _ in range(n)]


# --- processes --------------------------------------------------------------------------------------------------------
def help_text(n: int) -> Samples:
    return processes(n, "-m", "onchip", "--help")


def import_package(n: int) -> Samples:
    code = "import time; start = time.process_time(); import onchip; print(time.process_time() - start)"
    run("-c", code)
    return [float(run("-c", code)[1]) for _ in range(n)]


def estimate_process(n: int) -> Samples:
    return processes(n, "-m", "onchip", "estimate", MODEL, "--chip", CHIP)


def cold_estimate(_n: int) -> Samples:
    """The first estimate on a fresh machine: everything is compiled."""
    with tempfile.TemporaryDirectory() as folder:
        return [run("-m", "onchip", "estimate", MODEL, "--chip", CHIP, cache_folder=folder)[0]]


def cold_values(_n: int) -> Samples:
    """The first run of values on a fresh machine, without what `simulate` compiles."""
    lines = f"import sys; path = sys.argv[1]\n{LOAD}\nfrom onchip.simulator.values import Runner\nRunner(made).run()"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "program.npz"
        program().save(path)
        return [run("-c", lines, str(path), cache_folder=folder)[0]]


# --- planner and clock ------------------------------------------------------------------------------------------------
def estimate(n: int) -> Samples:
    graph = pipeline.read(MODEL)
    return timed(lambda: pipeline.estimate(graph, CHIP), n)


def ten_what_ifs(n: int) -> Samples:
    """Ten other chips, each planned, lowered and run anew; what the planner kept of the round before is dropped."""
    case = Case(pipeline.read(MODEL), Chip.load(CHIP))
    keys = ("dram.bandwidth", "local.size", "local.accumulator", "clock.core", "local.read")
    found = whatif.values(case.chip, case.chip.default_dtype)
    turned = [whatif.overrides(found, factor) for factor in (Fraction(1, 2), Fraction(2))]
    settings = [{key: side[key]} for side in turned for key in keys]

    def work() -> None:
        ranked.cache_clear()
        for setting in settings:
            case.changed(setting).price()

    return timed(work, n)


@cache
def thousand_folder() -> tempfile.TemporaryDirectory[str]:
    """Where the files of a thousand nodes are, once written."""
    folder = tempfile.TemporaryDirectory()
    thousand.convolutions(Path(folder.name) / "convolutions.onnx")
    thousand.transformer(Path(folder.name) / "transformer.onnx")
    return folder


def read_and_estimate(name: str, n: int) -> Samples:
    """Read a file of a thousand nodes and estimate it, in a process that has done so before."""
    path, sizes = Path(thousand_folder().name) / f"{name}.onnx", {"sequence": 64}

    def work() -> None:
        graph = pipeline.read(path)
        pipeline.estimate(graph.bind(**{s: sizes[s] for s in graph.symbols if s in sizes}), CHIP)

    return timed(work, n)


def read_and_estimate_process(name: str, n: int) -> Samples:
    path = str(Path(thousand_folder().name) / f"{name}.onnx")
    more = ("--seq", "64") if name == "transformer" else ()
    return processes(n, "-m", "onchip", "estimate", path, "--chip", CHIP, *more)


def estimate_full(n: int) -> Samples:
    graph = pipeline.read(MODEL)
    return timed(lambda: pipeline.estimate(graph, CHIP, effort=FULL), n)


def compare_catalog(n: int) -> Samples:
    """All chips that can price the network."""
    graph, able = pipeline.read(MODEL), list[str]()
    for name in sorted(path.stem for path in (Path(pipeline.__file__).parent / "chips").glob("*.toml")):
        try:
            pipeline.estimate(graph, name)
            able.append(name)
        except OnchipError:
            continue
    return timed(lambda: pipeline.compare(graph, able), n)


def validate_mixed(n: int) -> Samples:
    """3,000 rows of all chips, networks among them, scored once: a first time, as a user's is."""
    rows = mixed_rows(3000)
    start = time.process_time()
    score(predict(rows))
    return [time.process_time() - start]


def mappings_per_second(n: int) -> Samples:
    """The formula on the mappings of one convolution, repeated to a table of some 100,000."""
    chip, found = Chip.load(CHIP), list[Any]()
    graph = pipeline.compile_graph(pipeline.read(MODEL), chip, dtype="int8")
    kernels = plan(graph, chip, "int8").kernels
    shape = max((k.shape for k in kernels if k.shape.window == (3, 3)), key=lambda s: s.grid[1] * s.grid[3])
    m = machine_of(chip, "int8")
    found.append(candidates(shape, chip, m))
    table = found[0].take(np.resize(np.arange(len(found[0].tb)), 1000))
    return [100 * len(table.tb) / s for s in timed(lambda: [price(shape, chip, m, table, 2) for _ in range(100)], n)]


@cache
def program() -> Program:
    return pipeline.compile(pipeline.read(MODEL, weights="random"), CHIP, dtype="int8")


def simulate(n: int) -> Samples:
    made = program()
    return timed(lambda: simulate_cycles(made), n)


# the kernel's own high-water mark: what getrusage reports may be the parent's, from before the new program was loaded
PEAK = "print(1024 * int(open('/proc/self/status').read().split('VmHWM:')[1].split()[0]))"


def _peak_bytes(code: str) -> float:
    """Return the most memory that a process held; the program comes from a file, as for a user who compiled before."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "program.npz"
        program().save(path)
        lines = f"import sys; path = sys.argv[1]\n{code}\n{PEAK}"
        run("-c", lines, str(path))
        return float(run("-c", lines, str(path))[1].split()[-1])


LOAD = "from onchip.ir.program import Program; made = Program.load(path)"


def peak_of_simulate(_n: int) -> Samples:
    return [_peak_bytes(f"import onchip\nfrom onchip.pipeline import simulate\n{LOAD}\nsimulate(made)")]


def peak_of_imports(_n: int) -> Samples:
    return [_peak_bytes("import numba, numpy")]


# --- values -----------------------------------------------------------------------------------------------------------
def image() -> dict[str, NDArray[np.float32]]:
    return {"input": np.random.default_rng(0).standard_normal((1, 224, 224, 3)).astype(np.float32)}


@cache
def values_against_onnxruntime(n: int) -> tuple[Samples, Samples, Samples]:
    """Return the seconds of our bit-exact run, with kernels run whole, and of ONNX Runtime's int8 run, in turns.

    All on one thread. Without torch no kernel runs whole.
    """
    if importlib.util.find_spec("torch") is not None:
        importlib.import_module("torch").set_num_threads(1)
    graph = pipeline.compile_graph(pipeline.read(MODEL, weights="random"), Chip.load(CHIP), dtype="int8")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    model = qoperator_model(graph).SerializeToString()
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    runner, repeated, inputs = Runner(program()), Runner(program(), is_repeated=True), image()
    repeated(inputs)
    outside = {"input": np.ascontiguousarray(inputs["input"].transpose(0, 3, 1, 2))}
    ours, whole, theirs = list[float](), list[float](), list[float]()
    for _ in range(n):
        ours += timed(lambda: runner(inputs), 1)
        whole += timed(lambda: repeated(inputs), 1)
        theirs += timed(partial(session.run, None, outside), 1)
    return ours, whole, theirs


def values(n: int) -> Samples:
    return values_against_onnxruntime(max(n, 9))[0]


def values_ratio(n: int) -> Samples:
    ours, _, theirs = values_against_onnxruntime(max(n, 9))
    return [a / b for a, b in zip(ours, theirs, strict=True)]


def repeated_ratio(n: int) -> Samples:
    """The same for a Runner that is told to repeat, which takes torch where it is installed."""
    _, whole, theirs = values_against_onnxruntime(max(n, 9))
    return [a / b for a, b in zip(whole, theirs, strict=True)]


def repeated_values(n: int) -> Samples:
    return values_against_onnxruntime(max(n, 9))[1]


def evidence(_n: int) -> Samples:
    """What the first call of such a Runner takes, once all is compiled."""
    runner = Runner(program(), is_repeated=True)
    start = time.process_time()
    runner.run()
    return [time.process_time() - start]


def onnxruntime_values(n: int) -> Samples:
    return values_against_onnxruntime(max(n, 9))[2]


# --- installation -----------------------------------------------------------------------------------------------------
def core_install(_n: int) -> Samples:
    """Return the bytes of the files of onchip's core dependencies, and of theirs."""
    seen: set[str] = set()
    waiting = ["onchip"]
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        for requirement in metadata.requires(name) or []:
            if "extra ==" not in requirement and _applies(requirement):
                waiting.append(re.split(r"[^A-Za-z0-9._-]", requirement)[0].lower().replace("_", "-"))
    return [float(sum(_size(name) for name in seen))]


def _applies(requirement: str) -> bool:
    """Return whether a requirement holds here: markers of other platforms name packages that are not installed."""
    try:
        metadata.version(re.split(r"[^A-Za-z0-9._-]", requirement)[0])
    except metadata.PackageNotFoundError:
        return False
    return True


def _size(name: str) -> int:
    if name == "onchip":
        folder = Path(pipeline.__file__).parent
        return sum(p.stat().st_size for p in folder.rglob("*") if p.is_file() and "__pycache__" not in p.parts)
    files = [Path(str(file.locate())) for file in metadata.files(name) or []]
    return sum(path.stat().st_size for path in files if path.is_file())
