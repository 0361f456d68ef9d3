"""Folders of photos: a class per folder, with masks or boxes where somebody drew them."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path, PurePosixPath

from ..errors import DataError, PictureError
from ..images import picture_size
from ..models.classes import class_key
from .annotations import Annotation, boxes_of_photos, boxes_on_photo, match_annotations, read_annotations, some
from .catalogue import INFOS
from .layouts import OTHER_WORDS, SUFFIXES, WORDNET_ID, folder_content, walk_photos, wordnet_names
from .masks import Box
from .photos import UNLABELLED, WHOLE, DatasetInfo, FolderPhotos


def photo_folder(path: str | Path) -> Path:
    """A folder that is there.

    Raises:
        DataError: no such folder.
    """
    root = Path(path).expanduser()
    if not root.is_dir():
        what = "is not a folder" if root.exists() else "no such folder"
        raise DataError(f"{root}: {what}; give a folder of photos, or the name of a data set: {', '.join(INFOS)}")
    return root


def load_photo_folder(
    path: str | Path, class_names: Sequence[str] = (), notify: Callable[[str], None] = print
) -> FolderPhotos:
    """All photos below a folder, sorted by name; an unreadable one is told when it is asked for, not before.

    A photo's class is the name of the nearest folder above it that is one of `class_names` (compared by `class_key`; a
    WordNet id stands for its name, also at the start of a file's name). Where none is, it is the name of the nearest
    folder that says more than ``images`` or ``train``; else the photo is `UNLABELLED`. Hidden folders are left out.

    Evidence is taken where it lies there: a folder ``masks`` beside ``images`` (masks have their photos' names, see
    `load_masked_folder`), else boxes in one of `BOX_PLACES` (see `load_boxed_folder`). Photos may lack either.

    Args:
        path: the folder.
        class_names: those that a model tells apart.
        notify: takes a line where boxes lie there that cannot be used.

    Returns:
        One split, named `WHOLE`.

    Raises:
        DataError: no such folder, or no photo in it.
    """
    root = photo_folder(path)
    masked = (root / "images").is_dir() and (root / "masks").is_dir()
    listed = walk_photos(root / "images" if masked else root)
    below = PurePosixPath("images" if masked else "")
    names = tuple(sorted((below / folder / photo).as_posix() for folder, photos in listed for photo in photos))
    if not names:
        raise DataError(f"{root}: no photos in this folder or below; {folder_content(root)}")
    known = {class_key(name): name for name in class_names}
    of_photos = [class_of_photo(PurePosixPath(name), known) for name in names]
    classes = tuple(sorted(set(of_photos)))
    number = {name: place for place, name in enumerate(classes)}
    return FolderPhotos(
        info=DatasetInfo("folder", f"Photos in {root.resolve().name or root}", None, "", "", ""),
        split=WHOLE,
        class_names=classes,
        stand_in=False,
        names=names,
        labels=tuple(number[name] for name in of_photos),
        root=root,
        masks=_masks(root, names) if masked else None,
        boxes=None if masked else _boxes(root, names, notify),
    )


def _masks(root: Path, names: Sequence[str]) -> tuple[str, ...]:
    """The mask of each photo; empty where it has none."""
    below = root / "masks"
    files = sorted(file for file in below.rglob("*") if file.suffix.lower() in SUFFIXES)
    found = {file.relative_to(below).with_suffix(""): file.relative_to(root).as_posix() for file in files}
    return tuple(found.get(Path(name).relative_to("images").with_suffix(""), "") for name in names)


def _boxes(root: Path, names: Sequence[str], notify: Callable[[str], None]) -> tuple[tuple[Box, ...], ...] | None:
    """The boxes of each photo; None where there are none that could be used."""
    place = find_boxes(root)
    if place is None:
        return None
    try:
        found, _ = match_annotations(names, read_annotations(place))
        return tuple(_boxes_of(root / name, found[name]) if name in found else () for name in names)
    except DataError as error:
        notify(f"boxes are left out: {error}")
        return None


def _boxes_of(photo: Path, annotation: Annotation) -> tuple[Box, ...]:
    try:
        return boxes_on_photo(annotation, photo)
    except PictureError:
        return ()  # reading the photo will say why


def class_of_photo(name: PurePosixPath, known: dict[str, str]) -> str:
    """The class that a photo's path says; see `load_photo_folder`.

    Args:
        name: relative to the folder of the data.
        known: class names by their `class_key`.
    """
    named = [_folder_name(part) for part in reversed(name.parts[:-1])]
    if WORDNET_ID.match(name.name):
        named.insert(0, _folder_name(name.name))
    for part in named:
        if class_key(part) in known:
            return known[class_key(part)]
    return next((part for part in named if not _is_generic(part)), UNLABELLED)


@lru_cache(maxsize=4096)
def _folder_name(part: str) -> str:
    return wordnet_names((part[:9],))[0] if WORDNET_ID.match(part) else part


def _is_generic(part: str) -> bool:
    words = re.findall(r"[a-z]+|\d+", part.lower())
    return all(word in OTHER_WORDS or word.isdigit() for word in words)


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
    path: str | Path, boxes: str | Path | None = None, notify: Callable[[str], None] = print
) -> FolderPhotos:
    """Photos with boxes around the thing they show, to ask whether a map lies on it; a box counts as a mask.

    Boxes are a folder of Pascal VOC XML files (also ImageNet's localisation and Oxford's pets), a COCO JSON file, or a
    CSV file with a row a box and the columns ``name, left, top, right, bottom`` in pixels of the upright photo, where
    the first pixel is ``0, 0, 1, 1``. A photo may have several; what one reaches beyond the photo is cut off. VOC's
    difficult objects and COCO's crowds are counted neither way.

    Args:
        path: the folder: its photos, with those in folders below, or ``images`` or ``JPEGImages`` where it has them.
        boxes: file or folder of the boxes; None looks in the folder for `BOX_PLACES`.
        notify: takes a line about photos without boxes, which are left out, and one about boxes without a photo.

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
    found = boxes_of_photos(root, photos, place, notify)
    kept = [number for number, boxes in enumerate(found) if boxes]
    if not kept:
        raise DataError(f"{place}: no box belongs to one of the {len(photos)} photos in {root / below}")
    without = [photo for photo, boxes in zip(photos, found, strict=True) if not boxes]
    if without:
        notify(f"left out: {some(without)}; {place} has no box of {'them' if len(without) > 1 else 'it'}")
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
