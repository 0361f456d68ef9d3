"""The photos of a sweep as batches: read, cropped to the model's view and prepared in loading processes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils import data as loading
from torch.utils.data import DataLoader

from ..datasets.folders import load_photo_folder
from ..datasets.loading import DATASETS, load_dataset
from ..datasets.masks import IGNORE, mask_on_view
from ..datasets.photos import SPLITS, Dataset, PhotoSet
from ..errors import DataError, PictureError, SettingsError
from ..evaluation.measures import flat_ground
from ..models.partitions import Grid
from ..models.preprocess import Preprocessing
from ..models.stages import PatchGrid

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..models.loading import AttentionModel


@dataclass(frozen=True, eq=False)
class Ground:
    """What a photo's maps on one grid are measured on.

    Attributes:
        flat: float64 ``(rows, cols)``, see `flat_ground`.
        evidence: float64 ``(rows, cols)``, the share of each patch's pixels on the mask; None without a mask.
        counted: likewise, the share of the pixels that the mask does not leave open.
    """

    flat: np.ndarray
    evidence: np.ndarray | None = None
    counted: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class Prepared:
    """One photo, ready for the model, or the reason why it is not.

    Attributes:
        index: its number in the set.
        tensor: normalised float32 ``(3, H, W)``; None where the photo cannot be read.
        grounds: by grid; empty where it is not measured.
        problem: one line about what could not be read; empty if there is nothing.
    """

    index: int
    tensor: Tensor | None
    grounds: Mapping[Grid, Ground] = field(default_factory=dict)
    problem: str = ""


class Batch(NamedTuple):
    """Some photos: those that were read, their tensors stacked, and the problems with the others."""

    photos: tuple[Prepared, ...]
    tensor: Tensor | None
    problems: tuple[tuple[int, str], ...]


class SweepPhotos(loading.Dataset[Prepared]):
    """The photos of a set as input of a model, with the ground that their maps are measured on.

    Args:
        photos: the set.
        preprocessing: the model's own.
        grids: on which flat ground and masks are prepared; without any, the tensors alone are, as plain inference
            needs them.
    """

    def __init__(self, photos: PhotoSet, preprocessing: Preprocessing, grids: Iterable[PatchGrid] = ()) -> None:
        self.photos = photos
        self.preprocessing = preprocessing
        self.grids = tuple(dict.fromkeys(grids))

    def __len__(self) -> int:
        return len(self.photos)

    def __getitem__(self, index: int) -> Prepared:
        try:
            photo = self.photos.load(index)
            view = self.preprocessing.view(photo)
        except PictureError as error:
            return Prepared(index, None, problem=plain_text(str(error)))
        tensor = self.preprocessing.tensor(view.pixels)
        if not self.grids:
            return Prepared(index, tensor)
        covered = view.part(*self.grids[0].size)  # patches may leave a margin of the view uncovered
        mask, problem = self._mask(index, photo.size)
        if mask is not None:
            mask = mask_on_view(mask, covered.crop_box, covered.pixels.shape[:2])
        grounds = {}
        for grid, _ in self.grids:
            measured = () if mask is None else mask_on_patches(mask, grid)
            grounds[grid] = Ground(flat_ground(covered.pixels, grid), *measured)
        return Prepared(index, tensor, grounds, problem)

    def _mask(self, index: int, size: tuple[int, int]) -> tuple[np.ndarray | None, str]:
        """The mask of a photo of this width and height, if it has one that fits, and why one is not used."""
        try:
            mask = self.photos.mask(index)
        except DataError as error:
            return None, plain_text(f"{error}; the photo is measured without it")
        if mask is None or mask.shape[::-1] == size:
            return mask, ""
        sizes = f"its mask has {mask.shape[1]} x {mask.shape[0]} px, the photo {size[0]} x {size[1]} px"
        return None, plain_text(f"{self.photos.names[index]}: {sizes}; the photo is measured without it")


def mask_on_patches(mask: np.ndarray, grid: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """The share of each patch's pixels on the evidence, and the share of those that count at all.

    Args:
        mask: uint8 ``(H, W)`` of the view: 0 is elsewhere, `IGNORE` is not counted, anything else is the evidence.
        grid: ``(rows, cols)``, which must divide the view.

    Returns:
        Two float64 ``(rows, cols)`` in 0..1.
    """
    rows, cols = grid
    patches = mask.reshape(rows, mask.shape[0] // rows, cols, mask.shape[1] // cols)
    counted = patches != IGNORE
    return (counted & (patches != 0)).mean((1, 3)), counted.mean((1, 3))


def prepared_batches(photos: SweepPhotos, batches: Sequence[list[int]], workers: int) -> DataLoader[Prepared]:
    """A loader that yields a `Batch` for each list of photo numbers, in order, using `workers` processes."""
    return DataLoader(
        photos,
        batch_sampler=batches,
        num_workers=workers,
        collate_fn=_collate,
        pin_memory=torch.cuda.is_available(),
    )


def _collate(photos: list[Prepared]) -> Batch:
    read = tuple(photo for photo in photos if photo.tensor is not None)
    tensors = [photo.tensor for photo in photos if photo.tensor is not None]
    problems = tuple((photo.index, photo.problem) for photo in photos if photo.problem)
    # the stacked copy is enough: without their own tensors, photos cost little to send to the main process
    return Batch(
        tuple(replace(photo, tensor=None) for photo in read), torch.stack(tensors) if tensors else None, problems
    )


def plain_text(name: str) -> str:
    """A file's name as text; undecodable bytes, which some systems allow in names, become question marks."""
    return name.encode(errors="replace").decode()


def find_photos(
    photos: Dataset | PhotoSet | str | Path,
    model: AttentionModel,
    split: str | None,
    limit: int | None,
    notify: Callable[[str], None],
    data: str | Path | None = None,
    stand_in: bool | None = None,
) -> PhotoSet:
    """The photos of a folder, or a split of a data set that is given by its name or as it is.

    Args:
        photos: a folder, a name in `DATASETS`, a data set or one of its splits.
        model: its classes are searched for in the names of folders.
        split: of a data set; None is its test split.
        limit: largest number of photos, evenly spread over the set; None takes all.
        notify: called with the lines of `load_dataset`.
        data: folder of the named data set.
        stand_in: see `load_dataset`.

    Raises:
        DataError: no such folder, or no photo in it.
        SettingsError: no such split, a split of something other than a data set, or a limit below 1.
    """
    if limit is not None and limit < 1:
        raise SettingsError(f"limit must be at least 1 photo, got {limit}")
    if split not in (None, *SPLITS):
        raise SettingsError(f"split {split!r} does not exist; possible: {', '.join(SPLITS)}")
    if isinstance(photos, str) and photos in DATASETS:
        photos = load_dataset(photos, data, stand_in=stand_in, notify=notify)
    elif (data, stand_in) != (None, None):
        raise SettingsError("data and stand_in belong to the name of a data set; leave them out")
    elif split is not None and not isinstance(photos, Dataset):
        raise SettingsError("a split belongs to a data set, not to a folder of photos; leave it out")
    if isinstance(photos, Dataset):
        photo_set: PhotoSet = getattr(photos, split or "test")
    elif isinstance(photos, PhotoSet):
        photo_set = photos
    else:
        photo_set = load_photo_folder(photos, model.class_names, notify)
    if not len(photo_set):
        raise DataError(f"{photo_set.title}: no photos; choose another split or data set")
    if limit is not None and limit < len(photo_set):
        photo_set = photo_set.take(np.linspace(0, len(photo_set) - 1, limit).round().astype(int).tolist())
    return photo_set
