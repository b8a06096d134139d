"""onchip: deep learning, on chip.

In:       a network (ONNX, PyTorch, or one of ours) and a chip (one TOML file).
Out:      what it costs, why, and the program that runs it bit for bit.
Promises: `import onchip` loads nothing heavy; a name is imported from its room when it is first used.
Names:    read, check, estimate, quantize, compile, simulate, evaluate, evaluate_steps, report, compare;
          Chip, Graph, Plan, Program, Runner, Trace, Report, Check.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onchip.chip import Chip
    from onchip.errors import OnchipError
    from onchip.ir.check import Check
    from onchip.ir.evaluate import evaluate, evaluate_steps
    from onchip.ir.graph import Graph
    from onchip.ir.plan import Plan
    from onchip.ir.program import Program
    from onchip.ir.report import Report
    from onchip.ir.trace import Trace
    from onchip.pipeline import check, compare, compile, estimate, quantize, read, report, simulate
    from onchip.simulator.values import Runner
    from onchip.units import Quantity

__version__ = "0.1.0"

__all__ = [
    "read",
    "check",
    "estimate",
    "quantize",
    "compile",
    "simulate",
    "evaluate",
    "evaluate_steps",
    "report",
    "compare",
    "Chip",
    "Graph",
    "Plan",
    "Program",
    "Runner",
    "Trace",
    "Report",
    "Check",
    "Quantity",
    "OnchipError",
    "__version__",
]

_HOMES = {
    "read": "onchip.pipeline",
    "check": "onchip.pipeline",
    "quantize": "onchip.pipeline",
    "estimate": "onchip.pipeline",
    "compile": "onchip.pipeline",
    "simulate": "onchip.pipeline",
    "report": "onchip.pipeline",
    "compare": "onchip.pipeline",
    "evaluate": "onchip.ir.evaluate",
    "evaluate_steps": "onchip.ir.evaluate",
    "Runner": "onchip.simulator.values",
    "Chip": "onchip.chip",
    "Graph": "onchip.ir.graph",
    "Plan": "onchip.ir.plan",
    "Program": "onchip.ir.program",
    "Trace": "onchip.ir.trace",
    "Report": "onchip.ir.report",
    "Check": "onchip.ir.check",
    "Quantity": "onchip.units",
    "OnchipError": "onchip.errors",
}


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'onchip' has no attribute '{name}'")
    import importlib

    return getattr(importlib.import_module(home), name)


def __dir__() -> list[str]:
    return sorted(__all__)
