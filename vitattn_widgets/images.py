"""Reading photos: a path, a PIL picture or an array becomes an upright RGB picture, or raises one clear error."""

from __future__ import annotations

import io
import os
import stat
import struct
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from .errors import PictureError

Picture = str | os.PathLike[str] | Image.Image | np.ndarray
"""What is accepted as a photo: a path, a PIL picture, or a uint8 array ``(H, W)``, ``(H, W, 3)`` or ``(H, W, 4)``."""

CropBox = tuple[float, float, float, float]
"""``(left, top, right, bottom)`` in pixels of the upright photo; beyond its edges where the model's view is padded."""

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "PPM")
"""Pillow's names of the supported file types (JPEG includes MPO); of an animation, the first frame is read."""

MAX_PIXELS = 80_000_000
"""Largest number of pixels that is decoded; larger pictures are refused before any pixel is read."""

_SIDEWAYS = (5, 6, 7, 8)
"""EXIF orientations that swap width and height."""

# what Pillow's decoders are known to raise on damaged files
_DECODING = (OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError, struct.error, OverflowError)


def load_picture(picture: Picture) -> Image.Image:
    """Read a photo as the upright RGB picture that a viewer would show.

    Convention: EXIF rotation is applied; transparency is laid on white; 16-bit greys are divided by 257; of an
    animation, the first frame is read.

    Args:
        picture: a path, a PIL picture, or a uint8 array (RGB order).

    Returns:
        A PIL picture of mode ``RGB``.

    Raises:
        PictureError: not found, not a picture, truncated, larger than `MAX_PIXELS`, or of an unsupported type.
    """
    if isinstance(picture, np.ndarray):
        return _from_array(picture)
    if isinstance(picture, Image.Image):
        return _decode(picture, "the picture")
    if not isinstance(picture, str | os.PathLike):
        raise PictureError(f"a picture must be a path, a PIL picture or a uint8 array, got {type(picture).__name__}")
    path = _existing(picture)
    return _read(path, str(path))


def picture_size(path: str | os.PathLike[str]) -> tuple[int, int]:
    """Width and height of the upright picture, from its header alone.

    Raises:
        PictureError: not found, or not a picture of a supported type.
    """
    try:
        with Image.open(path, formats=FORMATS) as image:
            sideways = image.getexif().get(0x0112) in _SIDEWAYS
            return image.size[::-1] if sideways else image.size
    except _DECODING as error:
        raise PictureError(f"{path}: cannot be read ({error})") from error


def load_reduced(path: str | os.PathLike[str], side: int) -> Image.Image:
    """Read a file by the rules of `load_picture`, but a JPEG at a fraction of its size: fast, for thumbnails.

    Args:
        path: of the file.
        side: pixels that both sides keep at least, where the photo has them. A JPEG is decoded at 1, 1/2, 1/4 or 1/8
            of its size; other types keep theirs.

    Returns:
        A PIL picture of mode ``RGB``.

    Raises:
        PictureError: as in `load_picture`; `MAX_PIXELS` limits what is decoded, the reduced picture.
    """
    path = _existing(path)
    return _read(path, str(path), reduced_to=side)


def read_picture(content: bytes, name: str, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Read the bytes of a picture file, such as an upload, by the rules of `load_picture`.

    Args:
        content: the whole file.
        name: its name in messages.
        max_pixels: largest number of pixels that is decoded.

    Returns:
        A PIL picture of mode ``RGB``.

    Raises:
        PictureError: empty, not a picture, truncated, larger than `max_pixels`, or of an unsupported type.
    """
    if not content:
        raise PictureError(f"{name}: the file is empty")
    return _read(io.BytesIO(content), name, max_pixels)


def _existing(picture: str | os.PathLike[str]) -> Path:
    path = Path(picture)
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise PictureError(f"{path}: no such file") from error
    except PermissionError as error:
        raise _forbidden(str(path)) from error
    except (OSError, ValueError) as error:  # a name that no file can have
        reason = error.strerror if isinstance(error, OSError) else error
        raise PictureError(f"{str(path)[:60]!r}... is not the name of a file ({reason})") from error
    if stat.S_ISDIR(status.st_mode):
        raise PictureError(f"{path}: is a folder; give the path of one picture")
    if status.st_size == 0:
        raise PictureError(f"{path}: the file is empty")
    return path


def _read(
    source: Path | io.BytesIO, where: str, max_pixels: int = MAX_PIXELS, reduced_to: int | None = None
) -> Image.Image:
    try:
        with Image.open(source, formats=FORMATS) as image:
            if reduced_to is not None:
                image.draft("RGB", (reduced_to, reduced_to))
            return _decode(image, where, max_pixels)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _too_large(where, max_pixels) from error
    except UnidentifiedImageError as error:
        raise PictureError(f"{where}: not a picture of a known type ({', '.join(FORMATS)})") from error
    except PermissionError as error:
        raise _forbidden(where) from error
    except _DECODING as error:
        if isinstance(error, PictureError):  # itself a ValueError: `_decode` has said what is wrong
            raise
        raise PictureError(f"{where}: damaged or truncated ({error})") from error


def _forbidden(where: str) -> PictureError:
    return PictureError(f"{where}: no permission to read it; check the file's permissions")


def _too_large(where: str, max_pixels: int) -> PictureError:
    return PictureError(f"{where}: more than {max_pixels:,} pixels, which is the limit; scale it down first")


def _from_array(array: np.ndarray) -> Image.Image:
    if array.dtype != np.uint8:
        raise PictureError(f"a picture array must be uint8 (0..255), got {array.dtype}; convert it first")
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (3, 4)) or array.size == 0:
        raise PictureError(f"a picture array must have shape (H, W), (H, W, 3) or (H, W, 4), got {array.shape}")
    return _decode(Image.fromarray(np.ascontiguousarray(array)), "the array")


def _decode(image: Image.Image, where: str, max_pixels: int = MAX_PIXELS) -> Image.Image:
    width, height = image.size  # from the header: nothing is decoded yet
    if width * height > max_pixels:
        raise _too_large(where, max_pixels)
    if width * height == 0:
        raise PictureError(f"{where}: has no pixels ({width} x {height})")
    try:
        image.load()
        upright = ImageOps.exif_transpose(image)
        return _to_rgb(upright if upright is not None else image)
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
    """Convert grey values of 16 or 32 bits, or floats in 0..1, to 8 bits."""
    values = values.astype(np.float64)
    if not np.isfinite(values).all():
        raise ValueError("its grey values are not finite")
    # no file says which range its deep greys use: floats are taken as 0..1, values up to 255 as 8 bits, others as 16
    top = values.max()
    factor = 255.0 if top <= 1 and not np.array_equal(values, values.round()) else 1.0 if top <= 255 else 1 / 257
    return Image.fromarray((values * factor).clip(0, 255).round().astype(np.uint8))
