"""The trained demo networks, once per session."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import pytest

from onchip.training.train import TrainedNetwork, train


@pytest.fixture(scope="session")
def trained() -> Callable[[str], TrainedNetwork]:
    """Give a trained network by name; each is trained once per session."""
    return cache(train)
