"""Results out: bytes of a picture or a raw map, and writing them so that nothing is ever left half-written."""

from __future__ import annotations

import io
import os
import re
import tempfile
from base64 import b64encode
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from .errors import SettingsError
from .sources import CATALOGUE

if TYPE_CHECKING:
    from .capture import AttentionCapture
    from .render import RenderedView
    from .settings import ViewSettings

PICTURE_FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}

PAGE_SUFFIXES = (".html", ".htm")


def picture_bytes(image: np.ndarray, suffix: str = ".png") -> bytes:
    """Encode uint8 ``(H, W, 3)`` as the file type of a suffix (`PICTURE_FORMATS`)."""
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, PICTURE_FORMATS[suffix.lower()], quality=95)
    return stream.getvalue()


def data_url(content: bytes, mime: str) -> str:
    """A file as an address that needs no request, for pages that stand alone."""
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
    """A name without suffix that says what a file shows, of characters that every file system takes."""
    source = CATALOGUE[settings.source]
    parts = [Path(picture).stem, model, f"layer{settings.layer}"]
    if settings.source != "attention":
        parts.append(settings.source)
    if settings.target is not None and not source.no_class:
        parts.append(f"class{settings.target}")
    if not source.no_head:
        parts.append(settings.aggregation if settings.head is None else f"head{settings.head}")
    elif source.aggregations:
        parts.append(settings.aggregation)
    return re.sub(r"[^\w.-]+", "_", "-".join(parts))


def check_writable(path: Path, suffixes: tuple[str, ...]) -> Path:
    """Find out before any work whether a file can be written there.

    Raises:
        SettingsError: a file type that is not written, no such folder, or a folder that may not be written to.
    """
    if path.suffix.lower() not in suffixes:
        raise SettingsError(f"{path}: cannot write this type of file; possible: {', '.join(suffixes)}")
    if path.is_dir():
        raise SettingsError(f"{path}: is a folder; give the name of a file")
    if not path.parent.is_dir():
        raise SettingsError(f"{path}: the folder {path.parent} does not exist; make it first")
    if not os.access(path.parent, os.W_OK):
        raise SettingsError(f"{path}: the folder {path.parent} may not be written to")
    return path


def write_file(path: Path, content: bytes) -> None:
    """Write a whole file or none: to a temporary neighbour first, then renamed over.

    Raises:
        SettingsError: the disk is full or the place cannot be written to; what was there before stays.
    """
    temporary = None
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
            temporary = Path(file.name)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())  # on the disk before it replaces what was there, should the power fail
        mask = os.umask(0)
        os.umask(mask)
        temporary.chmod(0o666 & ~mask)  # temporary files are private; results are ordinary files
        temporary.replace(path)
    except OSError as error:
        raise SettingsError(f"{path}: could not be written ({error.strerror})") from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
