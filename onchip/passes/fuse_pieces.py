"""Read norms and curves that come in pieces as the ops that they are.

In:       a draft of a float graph.
Out:      the same meaning; rms_norm and gelu in the place of their pieces, under the name of the last of them.
Promises: only the exact pattern: constants by value, the pieces read by nobody else.
Sources:  Zhang and Sennrich 2019, eq. 4; Hendrycks and Gimpel 2016 (the tanh form).

Before -> after:
    x * rsqrt(mean(x^2, last axis) + eps) * gamma                      rms_norm(x, gamma)
    0.5 x * (1 + tanh(sqrt(2/pi) * (x + 0.044715 x^3)))                gelu(x), approximate = "tanh"
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isclose, pi

from onchip.ir.graph import Node
from onchip.passes.draft import Draft


def fuse_pieces(draft: Draft) -> None:
    """Rewrite the draft's nodes; what is left of the pieces is dropped with other dead code."""
    pieces = _Pieces(draft, {out: node for node in draft.nodes for out in node.outputs}, draft.uses())
    draft.nodes = [_norm(pieces, node) or _gelu(pieces, node) or node for node in draft.nodes]


@dataclass(slots=True)
class _Pieces:
    """The draft, who makes each tensor, and how often it is read."""

    draft: Draft
    makers: dict[str, Node]
    uses: dict[str, int]

    def maker(self, name: str, op: str, *, uses: int = 1) -> Node | None:
        """Return the node of that op that makes a tensor which is read so often, and carries no activation."""
        node = self.makers.get(name)
        plain = node is not None and node.op == op and node.attribute("activation", "none") == "none"
        return node if plain and self.uses[name] == uses else None

    def scalar(self, name: str) -> float | None:
        data = self.draft.array(name) if self.draft.is_constant(name) else None
        return float(data.reshape(-1)[0]) if data is not None and data.size == 1 else None

    def with_constant(self, node: Node | None, value: float | None = None) -> tuple[str, float] | None:
        """Return the other operand and the constant of a node of two, or None where the constant is another."""
        if node is None:
            return None
        for one, other in (node.inputs[:2], node.inputs[1::-1]):
            constant = self.scalar(other)
            if constant is not None and (value is None or isclose(constant, value, rel_tol=1e-5)):
                return one, constant
        return None

    def power(self, name: str, exponent: float) -> str | None:
        """Return what is raised to a power, or multiplied by itself."""
        node = self.maker(name, "pow")
        if node is not None and self.scalar(node.inputs[1]) == exponent:
            return node.inputs[0]
        node = self.maker(name, "mul")
        return node.inputs[0] if node is not None and exponent == 2 and node.inputs[0] == node.inputs[1] else None


def _norm(p: _Pieces, node: Node) -> Node | None:
    """Match from the product with gamma."""
    if node.op != "mul" or node.attribute("activation", "none") != "none" or node.outputs[0] not in p.uses:
        return None
    for gamma, scaled in (node.inputs[:2], node.inputs[1::-1]):
        shape = p.draft.shape(gamma)
        product = p.maker(scaled, "mul")
        if product is None or not p.draft.is_constant(gamma) or shape != p.draft.shape(scaled)[-1:]:
            continue
        for x, root in (product.inputs[:2], product.inputs[1::-1]):
            eps = _root_of_mean_square(p, x, root)
            if eps is not None:
                return Node(node.name, "rms_norm", (x, gamma), node.outputs, (("eps", eps),))
    return None


def _root_of_mean_square(p: _Pieces, x: str, root: str) -> float | None:
    """Return eps where `root` is rsqrt(mean(x^2, last axis, kept) + eps)."""
    rsqrt = p.maker(root, "rsqrt")
    added = p.with_constant(p.maker(rsqrt.inputs[0], "add")) if rsqrt is not None else None
    mean = p.maker(added[0], "mean") if added is not None else None
    if added is None or mean is None or not mean.attribute("keepdims", False):
        return None
    rank = len(p.draft.shape(mean.inputs[0]))
    axes = mean.attribute("axes", ())
    is_last = isinstance(axes, tuple) and [int(a) % rank for a in axes] == [rank - 1]
    return added[1] if is_last and p.power(mean.inputs[0], 2) == x else None


def _gelu(p: _Pieces, node: Node) -> Node | None:
    """Match from the product of x/2 and 1 + tanh."""
    if node.op != "mul" or node.attribute("activation", "none") != "none":
        return None
    for half, rest in (node.inputs[:2], node.inputs[1::-1]):
        halved = p.with_constant(p.maker(half, "mul"), 0.5)
        one = p.with_constant(p.maker(rest, "add"), 1.0)
        tanh = p.maker(one[0], "tanh") if one is not None else None
        inner = p.with_constant(p.maker(tanh.inputs[0], "mul"), (2.0 / pi) ** 0.5) if tanh is not None else None
        total = p.maker(inner[0], "add") if inner is not None else None
        if halved is None or total is None or halved[0] not in total.inputs:
            continue
        cubic = next((name for name in total.inputs if name != halved[0]), "")
        cube = p.with_constant(p.maker(cubic, "mul"), 0.044715)
        if cube is not None and p.power(cube[0], 3) == halved[0]:
            return Node(node.name, "gelu", (halved[0],), node.outputs, (("approximate", "tanh"),))
    return None
