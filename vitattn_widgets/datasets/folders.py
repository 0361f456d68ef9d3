"""Folders of photos: one class per folder, with masks or boxes where there are any."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path, PurePosixPath

from ..errors import DataError, PictureError
from ..images import picture_size
from ..models.classes import class_key
from .annotations import Annotation, boxes_of_photos, boxes_on_photo, match_annotations, read_annotations
from .catalogue import INFOS, DatasetInfo
from .layouts import (
    OTHER_WORDS,
    SUFFIXES,
    WORDNET_ID,
    existing_folder,
    folder_content,
    listed,
    walk_photos,
    wordnet_names,
)
from .masks import Box
from .photos import UNLABELLED, WHOLE, FolderPhotos

PHOTO_FOLDERS = ("images", "JPEGImages")

BOX_PLACES = ("boxes.csv", "boxes.json", "annotations/xmls", "annotations", "Annotations")
"""Where boxes are looked for, in this order."""


def photo_folder(path: str | Path) -> Path:
    """A path as a folder of photos that exists.

    Raises:
        DataError: no such folder.
    """
    return existing_folder(path, f"give a folder of photos, or the name of a data set: {', '.join(INFOS)}")


def load_photo_folder(
    path: str | Path, class_names: Sequence[str] = (), notify: Callable[[str], None] = print
) -> FolderPhotos:
    """All photos below a folder, sorted by name; an unreadable one raises when it is loaded, not before.

    A photo's class is the name of the nearest folder above it that is one of `class_names` (compared by `class_key`; a
    WordNet id stands for its name, also at the start of a file's name). If there is none, it is the name of the nearest
    folder that says more than ``images`` or ``train``; else the photo is `UNLABELLED`. Hidden folders are left out.

    Evidence is read if it is there: from a folder ``masks`` beside ``images`` (masks have their photos' names, see
    `load_masked_folder`), else from boxes in one of `BOX_PLACES` (see `load_boxed_folder`). Photos may lack either.

    Args:
        path: the folder.
        class_names: the classes of a model.
        notify: takes one line if there are boxes that cannot be used.

    Returns:
        One split, named `WHOLE`.

    Raises:
        DataError: no such folder, or no photo in it.
    """
    root = photo_folder(path)
    masked = (root / "images").is_dir() and (root / "masks").is_dir()
    names = _photo_names(root, "images" if masked else "")
    if not names:
        raise DataError(f"{root}: no photos in this folder or below; {folder_content(root)}")
    known = {class_key(name): name for name in class_names}
    of_photos = [class_of_photo(PurePosixPath(name), known) for name in names]
    classes = tuple(sorted(set(of_photos)))
    label = {name: number for number, name in enumerate(classes)}
    return FolderPhotos(
        info=DatasetInfo("folder", f"Photos in {root.resolve().name or root}", None, "", "", ""),
        split=WHOLE,
        class_names=classes,
        stand_in=False,
        names=names,
        labels=tuple(label[name] for name in of_photos),
        root=root,
        masks=_masks(root, names) if masked else None,
        boxes=None if masked else _boxes(root, names, notify),
    )


def _photo_names(root: Path, below: str) -> tuple[str, ...]:
    """The photos in a folder below the root, relative to the root, sorted."""
    folders = walk_photos(root / below)
    return tuple(sorted((below / folder / photo).as_posix() for folder, photos in folders for photo in photos))


def _masks(root: Path, names: Sequence[str]) -> tuple[str, ...]:
    """The mask of each photo; empty where it has none."""
    below = root / "masks"
    files = sorted(file for file in below.rglob("*") if file.suffix.lower() in SUFFIXES)
    masks = {file.relative_to(below).with_suffix(""): file.relative_to(root).as_posix() for file in files}
    return tuple(masks.get(Path(name).relative_to("images").with_suffix(""), "") for name in names)


def _boxes(root: Path, names: Sequence[str], notify: Callable[[str], None]) -> tuple[tuple[Box, ...], ...] | None:
    """The boxes of each photo; None where there are none that can be used."""
    place = find_boxes(root)
    if place is None:
        return None
    try:
        annotations, _ = match_annotations(names, read_annotations(place))
        return tuple(_boxes_of(root / name, annotations[name]) if name in annotations else () for name in names)
    except DataError as error:
        notify(f"boxes are left out: {error}")
        return None


def _boxes_of(photo: Path, annotation: Annotation) -> tuple[Box, ...]:
    try:
        return boxes_on_photo(annotation, photo)
    except PictureError:
        return ()  # loading the photo will say why it cannot be read


def class_of_photo(name: PurePosixPath, known: dict[str, str]) -> str:
    """The class that a photo's path gives; see `load_photo_folder`.

    Args:
        name: relative to the folder of the data.
        known: class names by their `class_key`.
    """
    candidates = [_folder_name(part) for part in reversed(name.parts[:-1])]
    if WORDNET_ID.match(name.name):
        candidates.insert(0, _folder_name(name.name))
    for candidate in candidates:
        if class_key(candidate) in known:
            return known[class_key(candidate)]
    return next((candidate for candidate in candidates if not _is_generic(candidate)), UNLABELLED)


@lru_cache(maxsize=4096)
def _folder_name(part: str) -> str:
    return wordnet_names((part[:9],))[0] if WORDNET_ID.match(part) else part


def _is_generic(part: str) -> bool:
    words = re.findall(r"[a-z]+|\d+", part.lower())
    return all(word in OTHER_WORDS or word.isdigit() for word in words)


def find_boxes(root: Path) -> Path | None:
    """The file or folder of a folder's boxes; None if there is none."""
    return next((root / place for place in BOX_PLACES if (root / place).exists()), None)


def load_masked_folder(path: str | Path) -> FolderPhotos:
    """Photos with masks of the object they show, to measure how much of a map is on it.

    The folder holds ``images`` and ``masks``; a mask has its photo's name and size, and one channel: 0 is background,
    255 is a boundary that counts as neither, every other value is the object.

    Args:
        path: the folder.

    Returns:
        A split named ``"test"`` of one class.

    Raises:
        DataError: no such folders, a photo has no mask, or a mask has another size.
        PictureError: a photo or mask cannot be read.
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
        raise DataError(f"{root / 'images'}: no photos in this folder; {folder_content(root / 'images')}")
    masks = {file.stem: file.name for file in sorted((root / "masks").iterdir()) if file.suffix.lower() in SUFFIXES}
    without = [photo for photo in photos if Path(photo).stem not in masks]
    if without:
        raise DataError(f"{root}: no mask for {listed(without, 3)}; a mask has its photo's name, as a PNG")
    of_photos = [masks[Path(photo).stem] for photo in photos]
    for photo, mask in zip(photos, of_photos, strict=True):
        size, mask_size = picture_size(root / "images" / photo), picture_size(root / "masks" / mask)
        if size != mask_size:
            raise DataError(
                f"{root / 'masks' / mask}: has {mask_size[0]} x {mask_size[1]} px, its photo has {size[0]} x {size[1]} "
                "px; they must agree"
            )
    names = tuple(f"images/{photo}" for photo in photos)
    return _split(root, "masks", names, masks=tuple(f"masks/{mask}" for mask in of_photos))


def load_boxed_folder(
    path: str | Path, boxes: str | Path | None = None, notify: Callable[[str], None] = print
) -> FolderPhotos:
    """Photos with boxes around the object they show, to measure how much of a map is on it; boxes serve as masks.

    Boxes come from a folder of Pascal VOC XML files (also ImageNet's localisation and Oxford's pets), a COCO JSON file,
    or a CSV file with one row per box and the columns ``name, left, top, right, bottom`` in pixels of the upright
    photo, where the first pixel is ``0, 0, 1, 1``. A photo may have several; each is clipped to the photo. VOC's
    difficult objects and COCO's crowds count as neither object nor background.

    Args:
        path: the folder; photos are read from its ``images`` or ``JPEGImages`` if there is one, else from the folder,
            always with the folders below.
        boxes: file or folder of the boxes; None looks in the folder for `BOX_PLACES`.
        notify: takes one line about photos without boxes, which are left out, and one about boxes without a photo.

    Returns:
        A split named ``"test"`` of one class.

    Raises:
        DataError: nothing found, a box is invalid or outside its photo, or the boxes were drawn on another size.
        PictureError: a photo cannot be read.
    """
    root = existing_folder(path, "give a folder of photos with boxes")
    place = find_boxes(root) if boxes is None else Path(boxes).expanduser()
    if place is None or not place.exists():
        places = ", ".join(BOX_PLACES) if boxes is None else boxes
        raise DataError(f"{root}: found no boxes ({places}); name their file or folder with boxes=...")
    below = next((folder for folder in PHOTO_FOLDERS if (root / folder).is_dir()), "")
    photos = _photo_names(root, below)
    of_photos = boxes_of_photos(root, photos, place, notify)
    boxed = {photo: own for photo, own in zip(photos, of_photos, strict=True) if own}
    if not boxed:
        raise DataError(
            f"{place}: no box belongs to one of the {len(photos)} photos in {root / below}; name boxes by their photos"
        )
    without = [photo for photo in photos if photo not in boxed]
    if without:
        notify(f"left out: {listed(without, 3)}; {place} has no box of {'them' if len(without) > 1 else 'it'}")
    return _split(root, "boxes", tuple(boxed), boxes=tuple(boxed.values()))


def _split(
    root: Path,
    what: str,
    names: tuple[str, ...],
    masks: tuple[str, ...] | None = None,
    boxes: tuple[tuple[Box, ...], ...] | None = None,
) -> FolderPhotos:
    return FolderPhotos(
        info=DatasetInfo("masked", f"Photos with {what} in {root.name}", ("object",), "", "", ""),
        split="test",
        class_names=("object",),
        stand_in=False,
        names=names,
        labels=(0,) * len(names),
        root=root,
        masks=masks,
        boxes=boxes,
    )
