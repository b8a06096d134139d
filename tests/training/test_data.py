"""The split of the digits: sizes, no image in both parts, every digit in both, the same each time."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
from sklearn.datasets import load_digits

from onchip.training.data import as_rows, digits


def test_split_is_70_30_and_complete() -> None:
    d = digits()
    assert d.train_images.shape == (1257, 1, 8, 8) and d.test_images.shape == (540, 1, 8, 8)
    assert d.train_images.dtype == np.float32 and d.test_labels.dtype == np.int64
    source = cast("Any", load_digits())
    together = np.concatenate([d.train_images, d.test_images]).reshape(1797, 64) * 8 + 8
    assert sorted(map(bytes, together.astype(np.uint8))) == sorted(map(bytes, source.data.astype(np.uint8)))


def test_labels_follow_their_images() -> None:
    source = cast("Any", load_digits())
    label_of = {bytes(row): int(t) for row, t in zip(source.data.astype(np.uint8), source.target, strict=True)}
    d = digits()
    pixels = (d.test_images.reshape(540, 64) * 8 + 8).astype(np.uint8)
    assert [label_of[bytes(row)] for row in pixels] == d.test_labels.tolist()


def test_parts_are_disjoint_and_stratified() -> None:
    d = digits()
    test = {bytes(image) for image in d.test_images}
    assert not any(bytes(image) in test for image in d.train_images)
    share = np.bincount(d.test_labels, minlength=10) / 540 - np.bincount(d.train_labels, minlength=10) / 1257
    assert np.abs(share).max() < 0.005


def test_range_and_immutability() -> None:
    d = digits()
    assert d.train_images.min() == -1.0 and d.train_images.max() == 1.0
    assert not d.train_images.flags.writeable
    assert np.array_equal(as_rows(d.test_images)[3, 5], d.test_images[3, 0, 5])
