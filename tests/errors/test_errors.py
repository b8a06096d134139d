"""The shape of every error: one line, all parts, an exit code, and it survives pickling."""

from __future__ import annotations

import pickle
from itertools import permutations

import pytest

from onchip.errors import (
    BadFile,
    DoesNotFit,
    InternalError,
    Interrupted,
    Mismatch,
    NotSupported,
    OnchipError,
    UnknownName,
    UsageError,
    did_you_mean,
    nearest,
)

EXIT_CODES: dict[type[OnchipError], int] = {
    InternalError: 1,
    UsageError: 2,
    UnknownName: 2,
    BadFile: 2,
    NotSupported: 3,
    DoesNotFit: 4,
    Mismatch: 5,
    Interrupted: 130,
}


def test_the_message_of_the_house_style() -> None:
    error = DoesNotFit(
        "OC2101",
        "conv1 (layer1.0.conv1)",
        "smallest tile needs 294 912 bytes of local memory, chip 'edge-npu-16' has 262 144",
        next="Try --set local.size=288KiB, or int8 weights",
    )
    assert str(error) == (
        "conv1 (layer1.0.conv1): OC2101 smallest tile needs 294 912 bytes of local memory, "
        "chip 'edge-npu-16' has 262 144. Try --set local.size=288KiB, or int8 weights."
    )


def test_absent_parts_leave_no_trace_and_line_breaks_become_spaces() -> None:
    assert str(BadFile("OC1101", "", "is\nno  file")) == "OC1101 is no file."
    assert str(BadFile("OC1101", "x", "a.", limit="b", next="Did you mean 'c'?")) == "x: OC1101 a. b. Did you mean 'c'?"


@pytest.mark.parametrize("kind", list(EXIT_CODES))
def test_exit_codes_and_pickling(kind: type[OnchipError]) -> None:
    error = kind("OC1203", "here", "fact", limit="limit", next="next")
    assert error.exit_code == EXIT_CODES[kind]
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is kind
    assert str(copy) == str(error) == "here: OC1203 fact. limit. next."


def test_nearest_names_do_not_depend_on_order() -> None:
    names = ["edge-npu-16", "tiny-npu-4", "tpu-v1", "tpu-v4"]
    found = {nearest("tpu-v", order) for order in permutations(names)}
    assert len(found) == 1
    assert set(found.pop()[:2]) == {"tpu-v1", "tpu-v4"}
    assert did_you_mean("zzzz", names) == ""
    assert did_you_mean("EDGE-NPU-16", names, n=1) == "Did you mean 'edge-npu-16'?"
