"""Photos as batches: their order and augmentation depend on seed, epoch and photo, and on nothing else.

A resumed run, a run with more loading processes and a run on several machines therefore see the same pictures in the
same order.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image, ImageEnhance
from torch import Tensor
from torch.utils.data import DataLoader, Dataset as TorchDataset, Sampler

from ..errors import TrainingError, VitattnError
from ..models.preprocess import Preprocessing
from .recipes import TrainingRecipe

if TYPE_CHECKING:
    from ..datasets.photos import Dataset, PhotoSet

Key = tuple[int, int]
"""``(epoch, index)`` of a photo."""

Batches = DataLoader[tuple[Tensor, int]]
"""A loader of batches ``(photos, labels)``: float32 ``(batch, 3, H, W)`` and int64 ``(batch,)``."""

# first number of each seed, so that the three streams differ: numpy ignores trailing zeros, so (0,) and (0, 0) are one
_ORDER, _PHOTO, _CHOICE = 1, 2, 3


class PhotoTensors(TorchDataset[tuple[Tensor, int]]):
    """The photos of a split as input of a model, normalised float32 ``(3, H, W)``, with their labels.

    Args:
        photos: the split.
        preprocessing: the model's own; without augmentation, exactly its evaluation transform.
        augmentation: one of `AUGMENTATIONS`.
        seed: of the augmentation.
    """

    def __init__(
        self, photos: PhotoSet, preprocessing: Preprocessing, augmentation: str = "none", seed: int = 0
    ) -> None:
        self.photos = photos
        self.preprocessing = preprocessing
        self.augmentation = augmentation
        self.seed = seed

    def __len__(self) -> int:
        return len(self.photos)

    def __getitem__(self, key: Key) -> tuple[Tensor, int]:
        epoch, index = key
        photo = self.photos.load(index)
        rng = np.random.default_rng((_PHOTO, self.seed, epoch, index))
        pixels = augment_photo(photo, self.preprocessing, self.augmentation, rng)
        return self.preprocessing.tensor(pixels), self.photos.labels[index]


class EpochOrder(Sampler[Key]):
    """The order of the photos in each epoch, reshuffled every time if there is a seed.

    Args:
        indices: of the photos.
        seed: of the order; None keeps the order of `indices`.

    Attributes:
        epoch: number of the next pass; set it before the pass.
    """

    def __init__(self, indices: Sequence[int], seed: int | None = None) -> None:
        self.indices = tuple(indices)
        self.seed = seed
        self.epoch = 0

    def __len__(self) -> int:
        return len(self.indices)

    def __iter__(self) -> Iterator[Key]:
        order: Iterable[int] = range(len(self.indices))
        if self.seed is not None:
            order = np.random.default_rng((_ORDER, self.seed, self.epoch)).permutation(len(self.indices))
        return ((self.epoch, self.indices[place]) for place in order)


def training_indices(labels: Sequence[int], per_class: int | None, seed: int) -> tuple[int, ...]:
    """The indices of the training photos: all, or a random choice of at most `per_class` per class."""
    if per_class is None:
        return tuple(range(len(labels)))
    classes = np.asarray(labels)
    rng = np.random.default_rng((_CHOICE, seed, per_class))
    chosen = [rng.permutation(np.flatnonzero(classes == label))[:per_class] for label in np.unique(classes)]
    return tuple(int(index) for index in np.sort(np.concatenate(chosen)))


def photo_batches(photos: PhotoTensors, order: EpochOrder, batch_size: int, workers: int, full: bool) -> Batches:
    """Batches in an order; `full` drops a smaller last batch."""
    return DataLoader(
        photos,
        batch_size,
        sampler=order,
        drop_last=full,
        num_workers=workers,
        persistent_workers=workers > 0,
        pin_memory=torch.cuda.is_available(),
    )


def each_batch(batches: Batches) -> Iterator[tuple[Tensor, Tensor]]:
    """The batches of a pass; a photo that a loading process cannot read is reported in one line.

    Raises:
        TrainingError: a photo can no longer be read.
    """
    try:
        yield from batches
    except VitattnError as error:  # the text of an error from another process is that process's whole traceback
        last = str(error).strip().rpartition("\n")[2].removeprefix(f"{type(error).__module__}.{type(error).__name__}: ")
        raise TrainingError(
            f"a photo could not be loaded: {last}; start the run again, and it resumes after its last finished epoch"
        ) from error


def require_trainable(dataset: Dataset, recipe: TrainingRecipe) -> None:
    """Check that a data set can be trained on.

    Raises:
        TrainingError: fewer than two classes, a class without training photos, an empty split, too few photos.
    """
    names = dataset.class_names
    where = f"{dataset.info.name} ({'stand-in' if dataset.stand_in else dataset.root})"
    if len(names) < 2:
        raise TrainingError(
            f"{where} has {len(names)} class{'' if len(names) == 1 else 'es'} ({', '.join(names)}); training needs two "
            "or more"
        )
    empty = [name for label, name in enumerate(names) if label not in set(dataset.train.labels)]
    if empty:
        raise TrainingError(f"{where} has no training photos of {', '.join(empty)}; add some, or leave the class out")
    for split in (dataset.validation, dataset.test):
        if not len(split):
            raise TrainingError(f"{where} has no {split.split} photos; add photos")
    count = len(training_indices(dataset.train.labels, recipe.photos_per_class, recipe.seed))
    if count < recipe.batch_size:
        raise TrainingError(
            f"{where} has {count} training photos, fewer than one batch of {recipe.batch_size}; reduce the batch size"
        )


_SMALLEST = {"crop": 0.5, "strong": 0.35, "broad": 0.25}
"""The smallest share of a photo's area that an augmentation keeps."""

_COLOURS = {"strong": (0.7, 1.3), "broad": (0.6, 1.4)}
"""Range of the factors by which an augmentation changes brightness, contrast and saturation."""

_RESAMPLING = {"bilinear": Image.Resampling.BILINEAR, "lanczos": Image.Resampling.LANCZOS}


def augment_photo(
    photo: Image.Image, preprocessing: Preprocessing, augmentation: str, rng: np.random.Generator
) -> np.ndarray:
    """A view of a photo for training.

    Args:
        photo: upright RGB picture.
        preprocessing: of the model; gives the size and, for ``none`` and ``flip``, the crop.
        augmentation: one of `AUGMENTATIONS`.
        rng: the only source of randomness: generators in the same state give the same view.

    Returns:
        uint8 ``(H, W, 3)``, before normalisation.
    """
    mirrored = bool(rng.random() < 0.5) and augmentation != "none"
    if augmentation in ("none", "flip"):
        pixels = preprocessing.view(photo).pixels
        return pixels[:, ::-1].copy() if mirrored else pixels
    height, width = preprocessing.size
    box = random_box(photo.size, width / height, _SMALLEST[augmentation], rng)
    resampling = _RESAMPLING.get(preprocessing.interpolation, Image.Resampling.BICUBIC)
    view = photo.resize((width, height), resampling, box=box, reducing_gap=3.0)
    if augmentation == "broad":
        view = _as_another_camera(view, rng)
    if augmentation in _COLOURS:
        for enhance in (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color):
            view = enhance(view).enhance(rng.uniform(*_COLOURS[augmentation]))
    pixels = np.asarray(view)
    if augmentation == "strong" and height == width:
        pixels = np.rot90(pixels, int(rng.integers(4)))
    return (pixels[:, ::-1] if mirrored else pixels).copy()


def _as_another_camera(view: Image.Image, rng: np.random.Generator) -> Image.Image:
    """One view in eight grey, and one in four as coarse as a small or strongly compressed photo."""
    grey, coarse, share, quality = (
        rng.random() < 0.125,
        rng.random() < 0.25,
        rng.uniform(0.4, 0.8),
        rng.integers(30, 80),
    )
    if coarse:
        stream = io.BytesIO()
        small = view.resize((round(view.width * share), round(view.height * share)), Image.Resampling.BILINEAR)
        small.save(stream, "JPEG", quality=int(quality))
        view = Image.open(stream).resize(view.size, Image.Resampling.BICUBIC)
    return view.convert("L").convert("RGB") if grey else view


def random_box(
    size: tuple[int, int], ratio: float, smallest: float, rng: np.random.Generator
) -> tuple[float, float, float, float]:
    """A random part of a photo (Szegedy et al. 2015, as in torchvision's ``RandomResizedCrop``).

    Args:
        size: ``(width, height)`` of the photo.
        ratio: width divided by height of the view; that of the part is within a factor of 4/3 of it.
        smallest: the smallest share of the photo's area, 0..1.
        rng: the source of randomness.

    Returns:
        ``(left, top, right, bottom)`` inside the photo; if no such part fits, the largest central one of this ratio.
    """
    width, height = size
    for _ in range(10):
        area = width * height * rng.uniform(smallest, 1.0)
        shape = ratio * math.exp(rng.uniform(-math.log(4 / 3), math.log(4 / 3)))
        part_width, part_height = math.sqrt(area * shape), math.sqrt(area / shape)
        if part_width <= width and part_height <= height:
            left, top = rng.uniform(0, width - part_width), rng.uniform(0, height - part_height)
            return left, top, left + part_width, top + part_height
    part_width, part_height = min(width, height * ratio), min(height, width / ratio)
    left, top = (width - part_width) / 2, (height - part_height) / 2
    return left, top, left + part_width, top + part_height
