"""Pictures and maps as bytes: for a screen, a file, or a self-contained page."""

from __future__ import annotations

import io
import re
from base64 import b64encode
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from ..capture.capture import AttentionCapture
    from .render import RenderedView
    from .settings import ViewSettings

THUMBNAIL_SIDE = 96
"""Height of a thumbnail in pixels."""


def encode_thumbnail(photo: Image.Image) -> bytes:
    """A photo as a small JPEG file."""
    small = photo.copy()
    small.thumbnail((2 * THUMBNAIL_SIDE, THUMBNAIL_SIDE))
    stream = io.BytesIO()
    small.save(stream, "JPEG", quality=85)
    return stream.getvalue()


PICTURE_FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}


def picture_bytes(image: np.ndarray, suffix: str = ".png") -> bytes:
    """Encode uint8 ``(H, W, 3)`` as the file type of a suffix (`PICTURE_FORMATS`)."""
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, PICTURE_FORMATS[suffix.lower()], quality=95)
    return stream.getvalue()


def data_url(content: bytes, mime: str) -> str:
    """A file as a URL that needs no request, for self-contained pages."""
    return f"data:{mime};base64,{b64encode(content).decode()}"


def map_bytes(capture: AttentionCapture, rendered: RenderedView) -> bytes:
    """The raw map behind a picture as an NPZ file, readable with ``numpy.load`` alone.

    Arrays: ``grid_map`` float32 ``(rows, cols)`` in raw units; ``heat`` float32 ``(H, W)`` in 0..1; ``value_range``,
    the raw values of 0 and 1; ``crop_box`` of the view in the photo, ``(left, top, right, bottom)``; ``caption``.
    """
    stream = io.BytesIO()
    np.savez_compressed(
        stream,
        grid_map=rendered.grid_map,
        heat=rendered.heat,
        value_range=np.array(rendered.value_range),
        crop_box=np.array(capture.crop_box),
        caption=np.array(rendered.caption),
    )
    return stream.getvalue()


def file_name(picture: str, model: str, settings: ViewSettings) -> str:
    """A file name, without suffix, that says what the file shows, in characters that every file system accepts."""
    source = settings.source_info
    parts = [Path(picture).stem, model, f"layer{settings.layer}"]
    if not source.plain:
        parts.append(settings.source)
    if settings.target is not None and not source.no_class:
        parts.append(f"class{settings.target}")
    if not source.no_head:
        parts.append(settings.aggregation if settings.head is None else f"head{settings.head}")
    elif source.aggregations:
        parts.append(settings.aggregation)
    return re.sub(r"[^\w.-]+", "_", "-".join(parts))
