"""Helpers of the page's tests."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from ..conftest import noise_photo

MAX_UPLOAD, MAX_PIXELS = 300_000, 200_000


def picture_file(folder: Path, seed: int = 0, size: tuple[int, int] = (80, 150), name: str = "photo.png") -> Path:
    """A picture file of seeded noise."""
    path = folder / name
    Image.fromarray(noise_photo(size, seed)).save(path)
    return path
