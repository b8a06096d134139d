"""Train our networks, the same way every time: three on the digits, a translator of dates.

In:       the name of a network ("cnn", "lstm", "attention", "dates") and a seed.
Out:      `TrainedNetwork`: the module in eval mode, its accuracy on held-out data, the images (dates: the texts) as
          the module takes them, and example inputs for torch.export.
Promises: same name, seed and torch build give the same weights; one thread; the caller's random state and thread
          count are left as they were.
          The test images take no part in training or in choosing when to stop: the number of epochs is fixed.
Does not: quantize, export or print; `progress(epoch, epochs, loss)` is called after each epoch.
Sources:  Adam: Kingma and Ba 2015; decoupled weight decay: Loshchilov and Hutter 2019;
          one-cycle rate: Smith and Topin 2018.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from onchip.errors import UnknownName, did_you_mean
from onchip.training.data import as_rows, digits
from onchip.training.dates import ALPHABET, DIGITS, dates
from onchip.training.networks import AttentionClassifier, Cnn, LstmClassifier, Translator

Progress = Callable[[int, int, float], None]
Data = tuple[NDArray[Any], NDArray[np.int64], NDArray[Any], NDArray[np.int64]]  # to train: given, labels; to test


def _images() -> Data:
    data = digits()
    return data.train_images, data.train_labels, data.test_images, data.test_labels


def _rows() -> Data:
    images, labels, test_images, test_labels = _images()
    return as_rows(images), labels, as_rows(test_images), test_labels


def _dates() -> Data:
    data = dates()
    return data.train_texts, data.train_digits, data.test_texts, data.test_digits


@dataclass(frozen=True, slots=True)
class Recipe:
    """How one network is made and trained."""

    build: Callable[[], nn.Module]
    data: Callable[[], Data]
    epochs: int
    rate: float
    batch: int = 64
    weight_decay: float = 0.01


RECIPES: dict[str, Recipe] = {
    "cnn": Recipe(Cnn, _images, epochs=15, rate=4e-3),
    "lstm": Recipe(LstmClassifier, _rows, epochs=40, rate=8e-3),
    "attention": Recipe(AttentionClassifier, _rows, epochs=30, rate=3e-3),
    "dates": Recipe(lambda: Translator(len(ALPHABET), symbols=DIGITS), _dates, epochs=4, rate=5e-3),
}


@dataclass(frozen=True, slots=True, eq=False)
class TrainedNetwork:
    """A trained module with the data it was trained and tested on; `train_images[:n]` are calibration samples."""

    name: str
    module: nn.Module
    float_accuracy: float  # share of the held-out images (dates: of those with all digits right), 0..1
    train_images: NDArray[Any]
    train_labels: NDArray[np.int64]
    test_images: NDArray[Any]
    test_labels: NDArray[np.int64]
    seed: int
    losses: tuple[float, ...]  # mean training loss of each epoch

    @property
    def example(self) -> tuple[Tensor, ...]:
        """Give the example inputs for torch.export: a batch of two test images."""
        return (torch.tensor(self.test_images[:2]),)

    def score(self, logits: NDArray[np.float32]) -> float:
        """Give the share of the held-out images that these logits [540, 10] (dates: [540, 8, 10]) have right."""
        return share_right(logits, self.test_labels)


def train(name: str, *, seed: int = 0, progress: Progress | None = None) -> TrainedNetwork:
    """Train one of the demo networks on the digits.

    Raises UnknownName for a name that is not in RECIPES.
    """
    if name not in RECIPES:
        known = ", ".join(RECIPES)
        raise UnknownName(
            "OC1013", "train", f"no network '{name}'", limit=f"There are {known}", next=did_you_mean(name, RECIPES)
        )
    recipe = RECIPES[name]
    train_images, train_labels, test_images, test_labels = recipe.data()
    with reproducible(seed):
        module = recipe.build()
        losses = fit(module, recipe, torch.tensor(train_images), torch.tensor(train_labels), progress)
        logits = predict(module, test_images)
    accuracy = share_right(logits, test_labels)
    return TrainedNetwork(
        name,
        module,
        accuracy,
        train_images,
        train_labels,
        test_images,
        test_labels,
        seed=seed,
        losses=tuple(losses),
    )


def share_right(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    """Give the share of rows whose every label is the largest of its logits."""
    right = logits.argmax(axis=-1) == labels
    return float(np.mean(right.reshape(len(labels), -1).all(axis=1)))


def predict(module: nn.Module, images: NDArray[Any]) -> NDArray[np.float32]:
    """Give the module's logits for a batch of images."""
    with torch.no_grad():
        return np.asarray(module.eval()(torch.tensor(images)).numpy(), np.float32)


def fit(
    module: nn.Module,
    recipe: Recipe,
    images: Tensor,
    labels: Tensor,
    progress: Progress | None,
    *,
    around: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> list[float]:
    """Train a module in place by a recipe; gives the mean loss of each epoch.

    `around` encloses each forward and backward run: what it does to the weights is undone before they are updated.
    """
    module.train()
    steps = -(-len(images) // recipe.batch)
    optimizer = torch.optim.AdamW(module.parameters(), lr=recipe.rate, weight_decay=recipe.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, recipe.rate, total_steps=recipe.epochs * steps)
    losses: list[float] = []
    for epoch in range(recipe.epochs):
        total = 0.0
        for batch in torch.randperm(len(images)).split(recipe.batch):
            optimizer.zero_grad()
            with around():
                loss = functional.cross_entropy(module(images[batch]).flatten(0, -2), labels[batch].flatten())
                loss.backward()  # pyright: ignore[reportUnknownMemberType]  torch's stub is untyped here
            nn.utils.clip_grad_norm_(module.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            total += float(loss.detach()) * len(batch)
        losses.append(total / len(images))
        if progress is not None:
            progress(epoch + 1, recipe.epochs, losses[-1])
    module.eval()
    return losses


@contextmanager
def reproducible(seed: int) -> Generator[None, None, None]:
    """Run on one thread with deterministic kernels and this seed; put everything back afterwards."""
    threads, strict = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    with torch.random.fork_rng(devices=[]):
        torch.set_num_threads(1)
        torch.use_deterministic_algorithms(True)
        torch.manual_seed(seed)  # pyright: ignore[reportUnknownMemberType]
        try:
            yield
        finally:
            torch.set_num_threads(threads)
            torch.use_deterministic_algorithms(strict)
