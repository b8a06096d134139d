"""Words: every instruction decodes to itself, and words that are no instruction are refused."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest

from onchip.ir.program import decode_stream
from onchip.isa import RECORD, VOP, Affine
from onchip.isa.fields import FIELD_BITS, encode_record
from tests.strategies import kernel


def test_streams_read_back() -> None:
    for seed in range(50):
        for code in kernel(Random(seed)).streams:
            records = np.array([x.record() for x in code], RECORD)
            words = [word for record in records for word in encode_record(record)]
            assert decode_stream(words).tobytes() == records.tobytes()


def test_a_marked_field_is_there_and_not_zero() -> None:
    words = encode_record(VOP(n=3, a=Affine(8, (4, 0, 0, 0))).record())
    assert len(words) > 1
    with pytest.raises(ValueError, match="zero or missing"):
        decode_stream(words[:-1])
    zeroed = words[1] & ~(((1 << FIELD_BITS) - 1) << 8)
    with pytest.raises(ValueError, match="zero or missing"):
        decode_stream([words[0], zeroed, *words[2:]])
    with pytest.raises(ValueError, match="expected a CFG word"):
        decode_stream([words[0], 0, *words[2:]])
