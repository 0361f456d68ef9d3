"""Photos in: a path, a PIL picture or an array becomes an upright RGB picture, or one clear error."""

from __future__ import annotations

import io
import os
import struct
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from .errors import PictureError

Picture = str | os.PathLike | Image.Image | np.ndarray
"""What counts as a photo: a path, a PIL picture, or a uint8 array ``(H, W)``, ``(H, W, 3)`` or ``(H, W, 4)``."""

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "PPM")
"""Pillow's names of the file types that are read (JPEG includes MPO); of an animation, the first frame."""

MAX_PIXELS = 80_000_000
"""Largest picture that is decoded; more is refused before any pixel is read."""

_TURNED = (5, 6, 7, 8)
"""EXIF orientations that exchange width and height."""

_DECODING = (OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError, struct.error, OverflowError)


def load_picture(picture: Picture) -> Image.Image:
    """Read a photo as the upright RGB picture that a viewer would show.

    Convention: EXIF rotation is applied; transparency lies on white; 16-bit greys are divided by 257; of an animation,
    the first frame counts.

    Args:
        picture: a path, a PIL picture, or a uint8 array (RGB order).

    Returns:
        A PIL picture of mode ``RGB``.

    Raises:
        PictureError: not found, not a picture, truncated, larger than `MAX_PIXELS`, or of a type that is not read.
    """
    if isinstance(picture, np.ndarray):
        return _from_array(picture)
    if isinstance(picture, Image.Image):
        return _decode(picture, "the picture")
    if not isinstance(picture, str | os.PathLike):
        raise PictureError(f"a picture must be a path, a PIL picture or a uint8 array, got {type(picture).__name__}")
    path = Path(picture)
    if not path.exists():
        raise PictureError(f"{path}: no such file")
    if path.is_dir():
        raise PictureError(f"{path}: is a folder; give the path of one picture")
    try:
        if path.stat().st_size == 0:
            raise PictureError(f"{path}: the file is empty")
    except PermissionError as error:
        raise _forbidden(str(path)) from error
    return _read(path, str(path))


def picture_size(path: str | os.PathLike) -> tuple[int, int]:
    """Width and height of the upright picture, from its header alone.

    Raises:
        PictureError: not found, or not a picture of a type that is read.
    """
    try:
        with Image.open(path, formats=FORMATS) as opened:
            turned = opened.getexif().get(0x0112) in _TURNED
            return opened.size[::-1] if turned else opened.size
    except _DECODING as error:
        raise PictureError(f"{path}: cannot be read ({error})") from error


def read_picture(content: bytes, name: str, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Read the bytes of a picture file, as an upload brings them; the same rules as `load_picture`.

    Args:
        content: the whole file.
        name: what messages call it.
        max_pixels: largest picture that is decoded.

    Returns:
        A PIL picture of mode ``RGB``.

    Raises:
        PictureError: empty, not a picture, truncated, larger than `max_pixels`, or of a type that is not read.
    """
    if not content:
        raise PictureError(f"{name}: the file is empty")
    return _read(io.BytesIO(content), name, max_pixels)


def _read(source: Path | io.BytesIO, where: str, max_pixels: int = MAX_PIXELS) -> Image.Image:
    try:
        with Image.open(source, formats=FORMATS) as opened:
            return _decode(opened, where, max_pixels)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _too_large(where, max_pixels) from error
    except Image.UnidentifiedImageError as error:
        raise PictureError(f"{where}: not a picture of a known type ({', '.join(FORMATS)})") from error
    except PermissionError as error:
        raise _forbidden(where) from error
    except _DECODING as error:
        if isinstance(error, PictureError):
            raise
        raise PictureError(f"{where}: damaged or truncated ({error})") from error


def _forbidden(where: str) -> PictureError:
    return PictureError(f"{where}: may not be read; check its permissions")


def _too_large(where: str, max_pixels: int) -> PictureError:
    return PictureError(f"{where}: more than {max_pixels:,} pixels, which is refused; scale the picture down first")


def _from_array(array: np.ndarray) -> Image.Image:
    if array.dtype != np.uint8:
        raise PictureError(f"a picture array must be uint8 (0..255), got {array.dtype}; convert it first")
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (3, 4)) or array.size == 0:
        raise PictureError(f"a picture array must have shape (H, W), (H, W, 3) or (H, W, 4), got {array.shape}")
    return _decode(Image.fromarray(np.ascontiguousarray(array)), "the array")


def _decode(opened: Image.Image, where: str, max_pixels: int = MAX_PIXELS) -> Image.Image:
    width, height = opened.size
    if width * height > max_pixels:
        raise _too_large(where, max_pixels)
    if width * height == 0:
        raise PictureError(f"{where}: has no pixels ({width} x {height})")
    try:
        opened.load()
        upright = ImageOps.exif_transpose(opened)
        return _to_rgb(upright if upright is not None else opened)
    except _DECODING as error:
        raise PictureError(f"{where}: damaged or truncated ({error})") from error


def _to_rgb(picture: Image.Image) -> Image.Image:
    if picture.mode == "RGB":
        return picture.copy()
    if picture.mode.startswith(("I", "F")):
        return _deep_grey(np.asarray(picture)).convert("RGB")
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        paper = Image.new("RGBA", picture.size, "white")
        return Image.alpha_composite(paper, picture).convert("RGB")
    return picture.convert("RGB")


def _deep_grey(values: np.ndarray) -> Image.Image:
    """Grey values of 16 or 32 bits, or floats in 0..1, as 8 bits."""
    values = values.astype(np.float64)
    if not np.isfinite(values).all():
        raise ValueError("grey values that are not finite")
    top = values.max()
    factor = 255.0 if top <= 1 and not np.array_equal(values, values.round()) else 1.0 if top <= 255 else 1 / 257
    return Image.fromarray((values * factor).clip(0, 255).round().astype(np.uint8))


CropBox = tuple[float, float, float, float]
"""``(left, top, right, bottom)`` in pixels of the upright photo; beyond its edges where the model's view is padded."""
