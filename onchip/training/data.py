"""The handwritten digits of scikit-learn: 1,797 images of 8x8 pixels, split once and for all.

In:       nothing is downloaded; the data set ships inside the scikit-learn package.
Out:      `Digits`: images float32 [N, 1, 8, 8] in [-1, 1] and labels int64, 70 % to train and 30 % held out.
Promises: the split is stratified by label and has a fixed seed: every run and machine has the same 540 test images.
Does not: augment (train.py does).
Sources:  UCI ML repository, "Optical recognition of handwritten digits" (Alpaydin and Kaynak 1998);
          a pixel is a count 0..16.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from onchip.errors import NotSupported

SPLIT_SEED = 0
TEST_SHARE = 0.3


@dataclass(frozen=True, slots=True)
class Digits:
    """Images [N, 1, 8, 8] float32 in [-1, 1] and labels [N] int64 in 0..9; all arrays are read-only."""

    train_images: NDArray[np.float32]
    train_labels: NDArray[np.int64]
    test_images: NDArray[np.float32]
    test_labels: NDArray[np.int64]


@cache
def digits() -> Digits:
    """Load and split the digits."""
    try:
        from sklearn.datasets import load_digits
        from sklearn.model_selection import train_test_split
    except ImportError as error:
        raise NotSupported(
            "OC1014", "digits", "scikit-learn is not installed", next="pip install 'onchip[torch]'"
        ) from error
    bunch = cast("Any", load_digits())
    pixels = (np.asarray(bunch.images, np.float32) / 8.0 - 1.0)[:, None]  # counts 0..16 -> [-1, 1]
    labels = np.asarray(bunch.target, np.int64)
    parts = cast(
        "list[NDArray[Any]]",
        train_test_split(pixels, labels, test_size=TEST_SHARE, random_state=SPLIT_SEED, stratify=labels),
    )
    for part in parts:
        part.setflags(write=False)
    return Digits(train_images=parts[0], train_labels=parts[2], test_images=parts[1], test_labels=parts[3])


def as_rows(images: NDArray[np.float32]) -> NDArray[np.float32]:
    """Read images [N, 1, 8, 8] as sequences of rows [N, 8, 8]."""
    return images.reshape(len(images), images.shape[-2], images.shape[-1])
