"""The price of one kernel: seconds by cause, and how it was mapped."""

from __future__ import annotations

from dataclasses import dataclass

from onchip.ir.forecast import Causes


@dataclass(frozen=True, slots=True)
class Cost:
    """Seconds by cause without the launch; `far_bytes` differs from the traffic where operands are read again.

    `launches` counts the programs that run; `near_bytes` go through the memory next to the array, where the
    price counts them.
    """

    causes: Causes
    how: str = ""
    far_bytes: float | None = None
    launches: int = 1
    near_bytes: float | None = None

    @property
    def seconds(self) -> float:
        return sum(seconds for _, seconds in self.causes)


def longest(*causes: tuple[str, float], then: Causes = ()) -> Causes:
    """Return overlapped causes as the longest of them, and those that come after."""
    return (max(causes, key=lambda cause: cause[1]), *then)
