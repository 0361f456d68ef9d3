"""Training views: a photo, varied at random, as the pixels that a model sees."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image, ImageEnhance

from .preprocess import Preprocessing

_SMALLEST = {"crop": 0.5, "strong": 0.35}
_RESAMPLING = {"bilinear": Image.Resampling.BILINEAR, "lanczos": Image.Resampling.LANCZOS}


def augment_photo(
    photo: Image.Image, preprocessing: Preprocessing, augmentation: str, rng: np.random.Generator
) -> np.ndarray:
    """A view of a photo for training.

    Args:
        photo: upright RGB picture.
        preprocessing: the model's; it gives the size, and for ``none`` and ``flip`` the crop.
        augmentation: one of `training_recipes.AUGMENTATIONS`.
        rng: the only source of chance: the same generator gives the same view.

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
    if augmentation == "strong":
        for enhance in (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color):
            view = enhance(view).enhance(rng.uniform(0.7, 1.3))
    pixels = np.asarray(view)
    if augmentation == "strong" and height == width:
        pixels = np.rot90(pixels, int(rng.integers(4)))
    return (pixels[:, ::-1] if mirrored else pixels).copy()


def random_box(
    size: tuple[int, int], ratio: float, smallest: float, rng: np.random.Generator
) -> tuple[float, float, float, float]:
    """A random part of a photo (Szegedy et al. 2015, as in torchvision's ``RandomResizedCrop``).

    Args:
        size: ``(width, height)`` of the photo.
        ratio: width by height of the view; the part's own lies within a factor of 4/3 of it.
        smallest: the smallest share of the photo's area, 0..1.
        rng: the source of chance.

    Returns:
        ``(left, top, right, bottom)`` inside the photo; where no such part fits, the largest central one.
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
