"""A folder of photos with drawn masks: ``images/NAME.jpg`` with ``masks/NAME.png``."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from ..errors import DataError
from .layouts import SUFFIXES
from .photos import DatasetInfo, FolderPhotos

_TURNED = (5, 6, 7, 8)
"""EXIF orientations that exchange width and height."""


def load_masked_folder(path: str | Path) -> FolderPhotos:
    """Photos with masks of the thing they show, to ask whether a map lies on it.

    The folder holds ``images`` and ``masks``; a mask has its photo's name and size, and one channel: 0 is background,
    255 is a boundary that counts as neither, every other value is the thing.

    Args:
        path: the folder.

    Returns:
        A split named ``"test"`` of one class.

    Raises:
        DataError: no such folders, a photo without a mask, a mask of another size.
    """
    root = Path(path).expanduser()
    for part in ("images", "masks"):
        if not (root / part).is_dir():
            raise DataError(f"{root / part}: no such folder; photos belong in images, masks of the same name in masks")
    photos = sorted(file.name for file in (root / "images").iterdir() if file.suffix.lower() in SUFFIXES)
    if not photos:
        raise DataError(f"{root / 'images'}: no photos in this folder")
    masks = {file.stem: file.name for file in sorted((root / "masks").iterdir()) if file.suffix.lower() in SUFFIXES}
    without = [photo for photo in photos if Path(photo).stem not in masks]
    if without:
        raise DataError(f"{root}: no mask for {', '.join(without[:3])}; a mask has its photo's name, as a PNG")
    found = [masks[Path(photo).stem] for photo in photos]
    for photo, mask in zip(photos, found, strict=True):
        sizes = _size(root / "images" / photo), _size(root / "masks" / mask)
        if sizes[0] != sizes[1]:
            raise DataError(f"{root / 'masks' / mask}: is {sizes[1]} px, its photo is {sizes[0]} px; they must agree")
    return FolderPhotos(
        info=DatasetInfo("masked", f"Photos with masks in {root.name}", ("object",), "", "", ""),
        split="test",
        class_names=("object",),
        stand_in=False,
        names=tuple(f"images/{photo}" for photo in photos),
        labels=(0,) * len(photos),
        root=root,
        masks=tuple(f"masks/{mask}" for mask in found),
    )


def _size(path: Path) -> tuple[int, int]:
    """Width and height of the upright picture, from its header."""
    try:
        with Image.open(path) as opened:
            turned = opened.getexif().get(0x0112) in _TURNED
            return opened.size[::-1] if turned else opened.size
    except (OSError, SyntaxError, ValueError) as error:
        raise DataError(f"{path}: cannot be read ({error})") from error
