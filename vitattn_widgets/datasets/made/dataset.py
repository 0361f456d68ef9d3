"""Stand-ins: photo sets whose pictures are drawn by code when they are loaded, each from its own seed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from ..catalogue import INFOS
from ..photos import SPLITS, Dataset, PhotoSet
from . import fruits as made_fruits, leaves as made_leaves, objects as made_objects

if TYPE_CHECKING:
    from typing import Self

GENERATOR_VERSION = 1
"""Increased whenever a seed draws another picture than before."""

PER_CLASS = (200, 40, 40)
"""Pictures per class of the train, validation and test splits."""

KINDS = {
    "imagenet": (made_objects.CLASSES, made_objects.draw_object),
    "fruitsgb": (made_fruits.CLASSES, made_fruits.draw_fruit),
    "cassava": (made_leaves.CLASSES, made_leaves.draw_leaf),
}
"""Class names and drawing function of each stand-in."""

PARTS = {"demo": ("imagenet", "fruitsgb", "cassava")} | {name: (name,) for name in KINDS}
"""Which stand-ins a made data set consists of."""


@dataclass(frozen=True)
class MadePhotos(PhotoSet):
    """Pictures drawn by code, with masks.

    Attributes:
        seed: what they are drawn from, together with the generator's version, kind, split and number.
        drawn: one (kind, number) per picture; the number modulo the kind's count of classes is its class there.
    """

    seed: int = 0
    drawn: tuple[tuple[str, int], ...] = field(default=(), repr=False)

    def load(self, index: int) -> Image.Image:
        return Image.fromarray(self._draw(index)[0])

    def mask(self, index: int) -> np.ndarray:
        return self._draw(index)[1].copy()  # the drawing is cached

    def _draw(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        kind, number = self.drawn[index]
        return draw(kind, self.split, self.seed, number)

    def take(self, indices: Sequence[int]) -> Self:
        return replace(super().take(indices), drawn=tuple(self.drawn[index] for index in indices))


@lru_cache(maxsize=4)
def draw(kind: str, split: str, seed: int, number: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw one picture.

    Args:
        kind: of `KINDS`.
        split: of `SPLITS`; each has pictures of its own.
        seed: of the data set.
        number: of the picture; modulo the count of classes it is the class.

    Returns:
        uint8 picture ``(height, width, 3)`` and uint8 mask of the evidence ``(height, width)``.
    """
    classes, function = KINDS[kind]
    key = f"vitattn made pictures {GENERATOR_VERSION} {kind} {split} {seed} {number}"
    rng = np.random.default_rng(list(hashlib.sha256(key.encode()).digest()))
    return function(rng, number % len(classes))


def make_dataset(name: str, seed: int = 0, per_class: tuple[int, int, int] = PER_CLASS) -> Dataset:
    """The stand-in of a data set: balanced splits, one picture of each class in turn.

    Args:
        name: of `PARTS`.
        seed: other seeds give other pictures.
        per_class: pictures per class of the three splits.
    """
    class_names = tuple(class_name for kind in PARTS[name] for class_name in KINDS[kind][0])
    train, validation, test = (
        _made_split(name, class_names, split, seed, count) for split, count in zip(SPLITS, per_class, strict=True)
    )
    what = json.dumps([GENERATOR_VERSION, name, seed, list(per_class), list(class_names)])
    return Dataset(
        info=INFOS[name],
        class_names=class_names,
        train=train,
        validation=validation,
        test=test,
        stand_in=True,
        root=None,
        seed=seed,
        fingerprint=hashlib.sha256(what.encode()).hexdigest(),
    )


def _made_split(name: str, class_names: tuple[str, ...], split: str, seed: int, per_class: int) -> MadePhotos:
    drawn: list[tuple[str, int]] = []
    labels: list[int] = []
    for turn in range(per_class):
        first = 0
        for kind in PARTS[name]:
            count = len(KINDS[kind][0])
            drawn += [(kind, turn * count + label) for label in range(count)]
            labels += range(first, first + count)
            first += count
    return MadePhotos(
        info=INFOS[name],
        split=split,
        class_names=class_names,
        stand_in=True,
        names=tuple(f"made {kind} {number:06d}" for kind, number in drawn),
        labels=tuple(labels),
        seed=seed,
        drawn=tuple(drawn),
    )
