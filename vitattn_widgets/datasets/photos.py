"""The values that data sets consist of: what a set is, the photos of one split, and the three splits together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from ..errors import DataError
from ..images import load_picture, picture_size
from .masks import IGNORE, Box, box_mask

if TYPE_CHECKING:
    from typing import Self

SPLITS = ("train", "validation", "test")


UNLABELLED = ""
"""The class of photos of which no folder says a class."""

WHOLE = "all"
"""The split that a folder without splits is."""


@dataclass(frozen=True)
class DatasetInfo:
    """What a data set is and where it comes from.

    Attributes:
        name: what `load_dataset` calls it.
        title: what people call it.
        class_names: its classes, or None where they follow from the folder.
        how_to_get: how to have it on this computer.
        licence: what may be done with it, as far as known.
        citation: whom to cite.
    """

    name: str
    title: str
    class_names: tuple[str, ...] | None
    how_to_get: str
    licence: str
    citation: str


@dataclass(frozen=True)
class PhotoSet:
    """The photos of one split: names and labels at once, pixels one at a time. Can be pickled.

    Attributes:
        info: the data set that it belongs to.
        split: ``"train"``, ``"validation"`` or ``"test"``.
        class_names: one name a label.
        stand_in: made by code in place of absent photos.
        names: one a photo: its path under the data set's folder, or ``"made fruitsgb 000123"``.
        labels: one a photo: the number of its class.
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
        """The set as people read it, with its split; a stand-in is called so."""
        split = "" if self.split == WHOLE else f", {self.split} split"
        return f"{'STAND-IN for ' if self.stand_in else ''}{self.info.title}{split}"

    def load(self, index: int) -> Image.Image:
        """The photo at `index`: upright, mode ``RGB``."""
        raise NotImplementedError

    def mask(self, index: int) -> np.ndarray | None:
        """Where the evidence lies in that photo.

        Returns:
            uint8 ``(height, width)`` in the photo's own pixels: 1 evidence, 0 elsewhere, 255 not said; None where
            the data has no masks.
        """
        raise NotImplementedError

    def take(self, indices: Sequence[int]) -> Self:
        """The same split with only these photos, in this order."""
        return replace(
            self,
            names=tuple(self.names[index] for index in indices),
            labels=tuple(self.labels[index] for index in indices),
        )

    def counts(self) -> tuple[int, ...]:
        """How many photos each class has."""
        found = Counter(self.labels)
        return tuple(found[label] for label in range(len(self.class_names)))


@dataclass(frozen=True)
class FolderPhotos(PhotoSet):
    """Photos that lie in a folder, of which some data sets say where the evidence is.

    Attributes:
        root: the folder.
        masks: a mask file a photo, under the same folder; an empty name says nothing of that photo.
        boxes: the boxes of each photo, which count as its mask; none says nothing of that photo.
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
            with Image.open(path) as opened:
                values = np.array(opened)
        except (OSError, SyntaxError, ValueError) as error:
            raise DataError(f"{path}: this mask cannot be read ({error})") from error
        if values.ndim != 2:
            raise DataError(f"{path}: a mask must have one channel of class numbers, got shape {values.shape}")
        evidence = (values > 0).astype(np.uint8)
        evidence[values == IGNORE] = IGNORE
        return evidence

    def take(self, indices: Sequence[int]) -> Self:
        masks, boxes = (
            None if values is None else tuple(values[index] for index in indices) for values in (self.masks, self.boxes)
        )
        return replace(super().take(indices), masks=masks, boxes=boxes)


@dataclass(frozen=True)
class Dataset:
    """Three splits of one data set.

    Attributes:
        info: what it is.
        class_names: one name a label.
        train: the photos to learn from.
        validation: the photos to choose by.
        test: the photos to report on, once.
        stand_in: made by code in place of absent photos.
        root: the folder that the photos lie in; None for a stand-in.
        seed: what the split, or the stand-in, was drawn with.
        fingerprint: SHA-256 over classes, names, labels and split, in hex.
        skipped: one line a file that could not be read and is left out.
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
        """The data set in one line: what it is, where it lies, classes, counts."""
        where = "STAND-IN, pictures made by code" if self.stand_in else f"photos in {self.root}"
        counts = f"{len(self.train)} train, {len(self.validation)} validation, {len(self.test)} test"
        left_out = f", {len(self.skipped)} unreadable left out" if self.skipped else ""
        return f"{self.info.title}: {where}; {len(self.class_names)} classes; {counts}{left_out}"
