"""Small measurements files and chips for them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from onchip.silicon.measurements import COLUMNS, Measurement, parse_measurements

HEADER = ",".join(COLUMNS)


@pytest.fixture
def rows() -> Callable[..., tuple[Measurement, ...]]:
    """Give what parses rows of a file without its header."""

    def parse(*lines: str) -> tuple[Measurement, ...]:
        return parse_measurements("\n".join((HEADER, *lines)) + "\n", "m.csv")

    return parse
