"""`validate`: a measurements file in, errors per group out.

In:       the path of a measurements file (docs/measurements.md). Out: a Validation.
Promises: whatever the errors are, they are a result; only a file that cannot be read is refused.
"""

from __future__ import annotations

from pathlib import Path

from onchip.silicon.measurements import read_measurements
from onchip.silicon.predict import predict
from onchip.silicon.scores import Validation, score


def validate(path: str | Path) -> Validation:
    """Return the errors of a file's rows. Raises BadFile."""
    return score(predict(read_measurements(path), str(Path(path).parent)))
