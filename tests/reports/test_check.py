"""The text of a Check made by hand: who is named, what is grouped, and which shares are dashes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from onchip.chip import Chip
from onchip.errors import DoesNotFit, InternalError
from onchip.ir.check import Cause, Check, Placed
from onchip.ir.program import Model
from onchip.reports.check import check_text, verdict

CAUSE = Cause.of(DoesNotFit("OC2101", "c", "needs 9 bytes.", limit="chip has 8", next="Try --set local.size=1KiB"))
ACTION = "Next:  onchip estimate @net"


def placed(name: str, unit: str, macs: int = 0, vector_ops: int = 0, cause: Cause | None = None) -> Placed:
    kernel = {"matrix": name, "vector": name, "fused": "a"}.get(unit, "")
    return Placed(name, "conv2d", "conv2d", unit, kernel, macs, vector_ops, f"why {unit}", cause)


def check(*nodes: Placed, network: tuple[Cause, ...] = ()) -> Check:
    model = Model("net", "ab" * 32, 400, 7, 1, ())
    return Check(model, Chip.load("edge-npu-16"), "int8", nodes, network, "onchip test")


RUNS = check(placed("a", "matrix", 300, 10), placed("b", "fused", 0, 20), placed("d", "vector", 100, 10))
REFUSED = check(*RUNS.nodes, *(placed(name, "refused", 50, 1, CAUSE) for name in ("c", "e", "f", "g")))


def test_the_verdict_counts_every_unit() -> None:
    assert verdict(RUNS) == (
        "net on edge-npu-16 in int8: every one of 3 ops runs: 1 on the matrix unit, 1 on the vector unit, "
        "1 fused into them."
    )
    assert verdict(REFUSED) == "net on edge-npu-16 in int8: 4 of 7 ops are refused, first: c (conv2d): needs 9 bytes."
    one = check(placed("c", "refused", cause=CAUSE))
    assert verdict(one) == "net on edge-npu-16 in int8: 1 of 1 ops is refused, first: c (conv2d): needs 9 bytes."


def test_shares_are_of_all_nodes_and_of_nothing_a_dash() -> None:
    rows = {line.split("  ")[1]: line.split() for line in check_text(RUNS, action=ACTION).splitlines()[3:7]}
    assert rows["matrix unit"] == ["matrix", "unit", "1", "300", "MAC", "75", "%", "10.0", "OP", "25", "%"]
    assert rows["vector unit"] == ["vector", "unit", "1", "100", "MAC", "25", "%", "10.0", "OP", "25", "%"]
    assert rows["fused"] == ["fused", "1", "–", "–", "20.0", "OP", "50", "%"]


def test_equal_refusals_stand_there_once_with_their_way_out() -> None:
    lines = check_text(REFUSED, action=ACTION).splitlines()
    assert lines[1] == "Next:  Try --set local.size=1KiB   (onchip explain OC2101)"
    at = lines.index("refused")
    assert lines[at + 1] == "  4 conv2d: OC2101 needs 9 bytes. chip has 8. Try --set local.size=1KiB."
    assert lines[at + 2] == "      c, e, f and 1 more"


def test_a_cause_without_a_way_out_is_explained() -> None:
    lone = check(placed("c", "refused", cause=replace(CAUSE, next="")))
    assert check_text(lone, action=ACTION).splitlines()[1] == "Next:  onchip explain OC2101   (chip has 8)"


def test_a_network_may_not_fit_although_every_op_does() -> None:
    whole = check(*RUNS.nodes, network=(CAUSE,))
    lines = check_text(whole, action=ACTION).splitlines()
    assert whole.is_refused and not RUNS.is_refused
    assert lines[0] == "net on edge-npu-16 in int8: every op runs, the network does not: needs 9 bytes."
    assert "  the network: OC2101 needs 9 bytes. chip has 8. Try --set local.size=1KiB." in lines


def test_every_op_has_a_line_where_it_is_asked_for() -> None:
    lines = check_text(REFUSED, action=ACTION, nodes=True).split("every op\n")[1].splitlines()
    assert [line.split()[0] for line in lines[1:]] == ["a", "b", "d", "c", "e", "f", "g"]
    assert lines[2].split() == ["b", "conv2d", "fused", "a"]


@pytest.mark.parametrize("changes", [{"unit": "gpu"}, {"cause": CAUSE}, {"kernel": ""}, {"unit": "refused"}])
def test_a_node_without_a_proper_place_is_our_bug(changes: dict[str, str]) -> None:
    with pytest.raises(InternalError, match="OC9028"):
        replace(placed("a", "matrix"), **changes)  # pyright: ignore[reportArgumentType]
