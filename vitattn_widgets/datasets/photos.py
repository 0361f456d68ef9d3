"""The values of data sets: what a set is, the photos of one split, and the three splits together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from PIL import Image

from ..errors import DataError
from ..images import FORMATS, load_picture, picture_size
from .catalogue import DatasetInfo
from .masks import IGNORE, Box, box_mask

if TYPE_CHECKING:
    from typing import Self

_Value = TypeVar("_Value")

SPLITS = ("train", "validation", "test")

UNLABELLED = ""
"""The class of photos that no folder names a class for."""

WHOLE = "all"
"""The only split of a folder that is not divided into splits."""


@dataclass(frozen=True)
class PhotoSet:
    """The photos of one split: names and labels in memory, pixels read one photo at a time. Can be pickled.

    Attributes:
        info: the data set that it belongs to.
        split: one of `SPLITS`, or `WHOLE`.
        class_names: one name per label.
        stand_in: whether the pictures are drawn by code in place of missing photos.
        names: one per photo: its path below the data set's folder, or ``"made fruitsgb 000123"``.
        labels: one per photo: the number of its class.
    """

    info: DatasetInfo
    split: str
    class_names: tuple[str, ...]
    stand_in: bool
    names: tuple[str, ...] = field(repr=False)
    labels: tuple[int, ...] = field(repr=False)

    def __len__(self) -> int:
        return len(self.names)

    @property
    def title(self) -> str:
        """The set's title with its split; a stand-in is named as one."""
        split = "" if self.split == WHOLE else f", {self.split} split"
        return f"{'STAND-IN for ' if self.stand_in else ''}{self.info.title}{split}"

    def load(self, index: int) -> Image.Image:
        """The photo at `index`: upright, mode ``RGB``."""
        raise NotImplementedError

    def mask(self, index: int) -> np.ndarray | None:
        """Where the evidence is in that photo.

        Returns:
            uint8 ``(height, width)`` in the photo's own pixels: 1 evidence, 0 elsewhere, 255 not counted; None where
            the data has no mask of it.
        """
        raise NotImplementedError

    def take(self, indices: Sequence[int]) -> Self:
        """The same split with only these photos, in this order."""
        return replace(self, names=_pick(self.names, indices), labels=_pick(self.labels, indices))

    def counts(self) -> tuple[int, ...]:
        """How many photos each class has."""
        counter = Counter(self.labels)
        return tuple(counter[label] for label in range(len(self.class_names)))


def _pick(values: Sequence[_Value], indices: Sequence[int]) -> tuple[_Value, ...]:
    return tuple(values[index] for index in indices)


@dataclass(frozen=True)
class FolderPhotos(PhotoSet):
    """Photos in a folder; some data sets also mark where the evidence is.

    Attributes:
        root: the folder.
        masks: one mask file per photo, below the same folder; an empty name for a photo without one.
        boxes: the boxes of each photo, which serve as its mask; empty for a photo without any.
    """

    root: Path = Path()
    masks: tuple[str, ...] | None = field(default=None, repr=False)
    boxes: tuple[tuple[Box, ...], ...] | None = field(default=None, repr=False)

    def load(self, index: int) -> Image.Image:
        return load_picture(self.root / self.names[index])

    def mask(self, index: int) -> np.ndarray | None:
        if self.boxes is not None and self.boxes[index]:
            return box_mask(self.boxes[index], picture_size(self.root / self.names[index]))
        if self.masks is None or not self.masks[index]:
            return None
        path = self.root / self.masks[index]
        try:
            with Image.open(path, formats=FORMATS) as opened:
                values = np.array(opened)
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            raise DataError(f"{path}: this mask cannot be read ({error}); replace or remove it") from error
        if values.ndim != 2:
            raise DataError(f"{path}: a mask must have one channel of class numbers, got shape {values.shape}")
        evidence = (values > 0).astype(np.uint8)
        evidence[values == IGNORE] = IGNORE
        return evidence

    def take(self, indices: Sequence[int]) -> Self:
        return replace(
            super().take(indices),
            masks=None if self.masks is None else _pick(self.masks, indices),
            boxes=None if self.boxes is None else _pick(self.boxes, indices),
        )


@dataclass(frozen=True)
class Dataset:
    """Three splits of one data set.

    Attributes:
        info: what it is.
        class_names: one name per label.
        train: the photos to learn from.
        validation: the photos to choose a model by.
        test: the photos for the final report, used once.
        stand_in: whether the pictures are drawn by code in place of missing photos.
        root: the photos' folder; None for a stand-in.
        seed: of the split, or of the stand-in's pictures.
        fingerprint: SHA-256 over classes, names, labels and split, in hex.
        skipped: one line for each file that is left out, such as an unreadable one.
    """

    info: DatasetInfo
    class_names: tuple[str, ...]
    train: PhotoSet
    validation: PhotoSet
    test: PhotoSet
    stand_in: bool
    root: Path | None
    seed: int
    fingerprint: str
    skipped: tuple[str, ...] = ()

    def describe(self) -> str:
        """The data set in one line: what it is, where it is, classes, counts."""
        where = "STAND-IN, pictures drawn by code" if self.stand_in else f"photos in {self.root}"
        counts = f"{len(self.train)} train, {len(self.validation)} validation, {len(self.test)} test"
        left_out = f", {len(self.skipped)} left out" if self.skipped else ""
        return f"{self.info.title}: {where}; {len(self.class_names)} classes; {counts}{left_out}"
