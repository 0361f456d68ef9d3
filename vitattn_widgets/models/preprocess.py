"""From an upright photo to the pixels that a model sees, and their place in the photo."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from PIL import Image
from timm.data.config import resolve_model_data_config
from timm.data.transforms_factory import create_transform
from torch import Tensor

from ..images import CropBox

MAX_ASPECT = 32
"""Photos longer than this multiple of their short side are cropped centrally: resizing them would take gigabytes."""


@dataclass(frozen=True)
class View:
    """The pixels a model sees of a photo.

    Attributes:
        pixels: uint8 ``(H, W, 3)``, after resizing and cropping, before normalisation.
        crop_box: the place of these pixels in the photo.
    """

    pixels: np.ndarray
    crop_box: CropBox

    def part(self, height: int, width: int) -> View:
        """The top left part of the view, of the given size in pixels."""
        left, top, right, bottom = self.crop_box
        right = left + (right - left) * width / self.pixels.shape[1]
        bottom = top + (bottom - top) * height / self.pixels.shape[0]
        return View(self.pixels[:height, :width], (left, top, right, bottom))


@dataclass(frozen=True)
class Preprocessing:
    """A model's own evaluation transform, as timm's data config states it.

    Attributes:
        size: ``(height, width)`` of the input.
        interpolation: ``"bicubic"``, ``"bilinear"``, ...
        crop_pct: share of the resized photo that the crop keeps, 0..1.
        crop_mode: ``"center"``, ``"squash"`` or ``"border"``.
        mean: channel means, 0..1.
        std: channel standard deviations, 0..1.
    """

    size: tuple[int, int]
    interpolation: str
    crop_pct: float
    crop_mode: str
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @classmethod
    def of_model(cls, module: torch.nn.Module, size: tuple[int, int] | None) -> Preprocessing:
        """The data config of a timm model, or timm's defaults (ImageNet's mean and std) if it has none."""
        config = resolve_model_data_config(module)
        return cls(
            size=size or tuple(config["input_size"][-2:]),
            interpolation=config["interpolation"],
            crop_pct=config["crop_pct"],
            crop_mode=config["crop_mode"],
            mean=tuple(config["mean"]),
            std=tuple(config["std"]),
        )

    @cached_property
    def _transforms(self) -> list[Any]:  # torchvision's transforms, which are not typed
        return create_transform(
            input_size=(3, *self.size),
            interpolation=self.interpolation,
            crop_pct=self.crop_pct,
            crop_mode=self.crop_mode,
            mean=self.mean,
            std=self.std,
        ).transforms

    def view(self, photo: Image.Image) -> View:
        """Resize and crop a photo as the model's transform does.

        Args:
            photo: upright RGB picture.
        """
        photo, (left, top) = _trim(photo)
        resize, crop, *_ = self._transforms
        resized = resize(photo)
        cropped = crop(resized)
        scale_x, scale_y = photo.width / resized.width, photo.height / resized.height
        height, width = self.size
        # the corner that torchvision's and timm's centre crops compute; negative where they pad
        crop_left, crop_top = round((resized.width - width) / 2), round((resized.height - height) / 2)
        box = (
            left + crop_left * scale_x,
            top + crop_top * scale_y,
            left + (crop_left + width) * scale_x,
            top + (crop_top + height) * scale_y,
        )
        return View(np.array(cropped), box)

    def tensor(self, pixels: np.ndarray) -> Tensor:
        """Normalise a view: uint8 ``(H, W, 3)`` to float32 ``(3, H, W)``."""
        to_tensor, normalize = self._transforms[2:]
        return normalize(to_tensor(Image.fromarray(pixels)))


def _trim(photo: Image.Image) -> tuple[Image.Image, tuple[int, int]]:
    """The central part of an extremely long photo, and that part's top left corner."""
    width, height = photo.size
    longest = MAX_ASPECT * min(width, height)
    if max(width, height) <= longest:
        return photo, (0, 0)
    left, top = max(0, (width - longest) // 2), max(0, (height - longest) // 2)
    return photo.crop((left, top, min(width, left + longest), min(height, top + longest))), (left, top)
