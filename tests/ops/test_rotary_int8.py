"""int8 rotary against the float op, with int8 and int16 angles."""

# pyright: basic

import numpy as np
import pytest

from onchip.ops.types import Refusal
from tests.ops.witness import int8, integers, off, ours, q8, real


@pytest.mark.parametrize("interleaved", [False, True])
@pytest.mark.parametrize("mode", ["single", "double", "fp32"])
@pytest.mark.parametrize(("dtype", "scale"), [(np.int8, 2.0**-7), (np.int16, 2.0**-15)])
def test_within_one_of_float(interleaved, mode, dtype, scale):
    rng = np.random.default_rng(1)
    x, angle = int8(rng, 2, 30, 4 * 10), rng.uniform(-9, 9, (30, 4))
    limit = np.iinfo(dtype).max
    cos, sin = (np.clip(np.rint(f(angle) / scale), -limit, limit).astype(dtype) for f in (np.cos, np.sin))
    px, pa, py = q8(0.04, -9), q8(scale), q8(0.05, 11)
    attributes = {"heads": 4, "interleaved": interleaved}
    (got,) = integers("rotary", {**attributes, "rounding": mode}, [px, pa, pa], [py], x, cos, sin)
    floats = (real(v, p).astype(np.float32) for v, p in ((x, px), (cos, pa), (sin, pa)))
    assert off(got, ours("rotary", attributes, *floats)[0], py) <= (0.76 if mode == "double" else 0.51)
    with pytest.raises(Refusal, match="zero point 0"):
        integers("rotary", attributes, [px, pa, q8(scale, 1)], [py], x, cos, sin)
