"""Folders of photos in which somebody drew where the evidence lies: with masks, or with boxes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from ..errors import DataError
from ..images import picture_size
from .annotations import boxes_of_photos, some
from .layouts import SUFFIXES, walk_photos
from .photos import DatasetInfo, FolderPhotos

PHOTO_FOLDERS = ("images", "JPEGImages")

BOX_PLACES = ("boxes.csv", "boxes.json", "annotations/xmls", "annotations", "Annotations")
"""Where boxes are looked for, in this order."""


def find_boxes(root: Path) -> Path | None:
    """Where the boxes of a folder lie; None where there are none."""
    return next((root / place for place in BOX_PLACES if (root / place).exists()), None)


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
        PictureError: a photo or mask that cannot be read.
    """
    root = Path(path).expanduser()
    for part in ("images", "masks"):
        if not (root / part).is_dir():
            raise DataError(
                f"{root / part}: no such folder; photos belong in images, masks of the same name in masks; "
                "boxes are read by load_boxed_folder"
            )
    photos = sorted(file.name for file in (root / "images").iterdir() if file.suffix.lower() in SUFFIXES)
    if not photos:
        raise DataError(f"{root / 'images'}: no photos in this folder")
    masks = {file.stem: file.name for file in sorted((root / "masks").iterdir()) if file.suffix.lower() in SUFFIXES}
    without = [photo for photo in photos if Path(photo).stem not in masks]
    if without:
        raise DataError(f"{root}: no mask for {', '.join(without[:3])}; a mask has its photo's name, as a PNG")
    found = [masks[Path(photo).stem] for photo in photos]
    for photo, mask in zip(photos, found, strict=True):
        sizes = picture_size(root / "images" / photo), picture_size(root / "masks" / mask)
        if sizes[0] != sizes[1]:
            raise DataError(f"{root / 'masks' / mask}: is {sizes[1]} px, its photo is {sizes[0]} px; they must agree")
    return _split(
        root, "masks", [f"images/{photo}" for photo in photos], masks=tuple(f"masks/{mask}" for mask in found)
    )


def load_boxed_folder(
    path: str | Path, boxes: str | Path | None = None, say: Callable[[str], None] = print
) -> FolderPhotos:
    """Photos with boxes around the thing they show, to ask whether a map lies on it; a box counts as a mask.

    Boxes are a folder of Pascal VOC XML files (also ImageNet's localisation and Oxford's pets), a COCO JSON file, or a
    CSV file with a row a box and the columns ``name, left, top, right, bottom`` in pixels of the upright photo, where
    the first pixel is ``0, 0, 1, 1``. A photo may have several; what one reaches beyond the photo is cut off. VOC's
    difficult objects and COCO's crowds are counted neither way.

    Args:
        path: the folder: its photos, with those in folders below, or ``images`` or ``JPEGImages`` where it has them.
        boxes: file or folder of the boxes; None looks in the folder for `BOX_PLACES`.
        say: takes a line about photos without boxes, which are left out, and one about boxes without a photo.

    Returns:
        A split named ``"test"`` of one class.

    Raises:
        DataError: nothing found, a box that is none or lies outside its photo, boxes drawn on another size.
        PictureError: a photo that cannot be read.
    """
    root = Path(path).expanduser()
    if not root.is_dir():
        raise DataError(f"{root}: no such folder")
    place = find_boxes(root) if boxes is None else Path(boxes).expanduser()
    if place is None or not place.exists():
        looked = ", ".join(BOX_PLACES) if boxes is None else boxes
        raise DataError(f"{root}: found no boxes ({looked}); name their file or folder with boxes=...")
    below = next((folder for folder in PHOTO_FOLDERS if (root / folder).is_dir()), "")
    listed = (
        (Path(below) / folder / photo).as_posix() for folder, names in walk_photos(root / below) for photo in names
    )
    photos = sorted(listed)
    found = boxes_of_photos(root, photos, place, say)
    kept = [number for number, boxes in enumerate(found) if boxes]
    if not kept:
        raise DataError(f"{place}: no box belongs to one of the {len(photos)} photos in {root / below}")
    without = [photo for photo, boxes in zip(photos, found, strict=True) if not boxes]
    if without:
        say(f"left out: {some(without)}; {place} has no box of {'them' if len(without) > 1 else 'it'}")
    return _split(root, "boxes", [photos[number] for number in kept], boxes=tuple(found[number] for number in kept))


def _split(root: Path, what: str, names: Sequence[str], **evidence: object) -> FolderPhotos:
    return FolderPhotos(
        info=DatasetInfo("masked", f"Photos with {what} in {root.name}", ("object",), "", "", ""),
        split="test",
        class_names=("object",),
        stand_in=False,
        names=tuple(names),
        labels=(0,) * len(names),
        root=root,
        **evidence,
    )
