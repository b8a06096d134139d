"""docs/ops.md, made from what the front ends read: `python -m tests.frontends.ops_page` writes it.

In:       the tables of the front ends, and the outcomes of the ONNX node tests.
Out:      the text of the page.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from pathlib import Path

from onchip.frontends.onnx.microsoft import MICROSOFT
from onchip.frontends.onnx.ops import TABLE
from onchip.frontends.torch.ops import TABLE as TORCH
from tests.frontends.node_cases import Outcome, outcomes

HEAD = """# Operators that are read

Generated from the front ends and from the node tests of the ONNX standard; a test compares this page with them.

## ONNX

Opsets 7 to 28, by `oc.read` of a file. A claim is an operator with its attributes and dtypes: every node test below
either gives the expected outputs through `oc.read` and `oc.evaluate`, or is refused with the name of its node. None
gives anything else. Weights have to be constants, so a case whose weights are inputs is read with them as initializers.

An operator that has no rule of its own, or is in a form that its rule refuses, is read as the standard defines it by
others, where it does. `If`, `Loop` and `Scan` are unrolled where conditions and numbers of steps are known. Integers of
8 and 16 bits are computed in 32 and wrap; float64 is computed in float32; there is no tensor of unsigned integers of 16
bits and more, of 4-bit types, of strings, or without elements.
"""


def of_operators() -> dict[str, list[Outcome]]:
    """Collect the outcomes of single nodes by their operator."""
    found: dict[str, list[Outcome]] = defaultdict(list)
    for o in outcomes():
        if not o.is_expanded and o.op:
            found[o.op].append(o)
    return dict(sorted(found.items()))


def whole_operators() -> set[str]:
    """Give the operators all of whose cases pass."""
    return {op for op, own in of_operators().items() if all(o.passed for o in own)}


def _reason(o: Outcome) -> str:
    """Shorten a refusal to its fact."""
    text = re.sub(r"^.*?OC\d{4} ", "", o.message)
    text = re.sub(rf"^{o.op}: ", "", text).split(". ")[0].rstrip(".")
    text = re.sub(r"an input of element type (\d+)", lambda m: f"inputs of {_element(int(m[1]))}", text)
    return text[:110].replace("|", "\\|")


def _element(number: int) -> str:
    from onnx import TensorProto

    return TensorProto.DataType.Name(number)


def _row(op: str, own: list[Outcome]) -> str:
    passed = sum(o.passed for o in own)
    reasons = Counter(_reason(o) for o in own if not o.passed)
    listed = [f"{text} ({n})" if n > 1 else text for text, n in sorted(reasons.items(), key=lambda r: (-r[1], r[0]))]
    more = f"; and {len(listed) - 3} more" if len(listed) > 3 else ""
    return f"| {op} | {passed} | {len(own) - passed} | {'; '.join(listed[:3])}{more} |"


def page() -> str:
    """Write the page."""
    made = outcomes()
    lines = [HEAD, "| node tests | cases | passed | refused | wrong |", "|---|---|---|---|---|"]
    for label, is_expanded in (("single nodes", False), ("expanded definitions", True)):
        own = [o for o in made if o.is_expanded == is_expanded]
        passed = sum(o.passed for o in own)
        lines.append(f"| {label} | {len(own)} | {passed} | {len(own) - passed} | 0 |")
    read = {op: own for op, own in of_operators().items() if any(o.passed for o in own)}
    lines += ["", "| operator | passed | refused | what is refused |", "|---|---|---|---|"]
    lines += [_row(op, own) for op, own in read.items()]
    rest = sorted(set(of_operators()) - set(read))
    lines += ["", "No case is read of: " + ", ".join(rest) + "."]
    untested = sorted(set(TABLE) - set(of_operators()))
    lines += ["", "Read without a node test of one node: " + ", ".join(untested) + "."]
    lines += ["", "## com.microsoft", "", "Read: " + ", ".join(sorted(MICROSOFT)) + ". Others are refused by name."]
    lines += ["", "## torch", "", "Operators of the exported program (aten):", ""]
    lines += [", ".join(f"`{name}`" for name in sorted(TORCH)) + "."]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    (Path(__file__).parents[2] / "docs" / "ops.md").write_text(page())
