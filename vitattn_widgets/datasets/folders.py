"""Any folder of photos as it is: subfolders at any depth, which may name classes or not, with evidence or without."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path, PurePosixPath

from ..errors import DataError, PictureError
from .annotations import Annotation, boxes_on_photo, match_annotations, read_annotations
from .boxes import Box
from .catalogue import INFOS
from .layouts import OTHER_WORDS, SUFFIXES, WORDNET_ID, folder_content, walk_photos, wordnet_names
from .masked import find_boxes
from .photos import DatasetInfo, FolderPhotos

UNLABELLED = ""
"""The class of photos of which no folder says a class."""

WHOLE = "all"
"""The split that a folder without splits is."""

_ID_IN_BRACKETS = re.compile(r" \(n\d{8}\)$")


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
    path: str | Path, class_names: Sequence[str] = (), say: Callable[[str], None] = print
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
        say: takes a line where boxes lie there that cannot be used.

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
        boxes=None if masked else _boxes(root, names, say),
    )


def _masks(root: Path, names: Sequence[str]) -> tuple[str, ...]:
    """The mask of each photo; empty where it has none."""
    below = root / "masks"
    files = sorted(file for file in below.rglob("*") if file.suffix.lower() in SUFFIXES)
    found = {file.relative_to(below).with_suffix(""): file.relative_to(root).as_posix() for file in files}
    return tuple(found.get(Path(name).relative_to("images").with_suffix(""), "") for name in names)


def _boxes(root: Path, names: Sequence[str], say: Callable[[str], None]) -> tuple[tuple[Box, ...], ...] | None:
    """The boxes of each photo; None where there are none that could be used."""
    place = find_boxes(root)
    if place is None:
        return None
    try:
        found, _ = match_annotations(names, read_annotations(place))
        return tuple(_boxes_of(root / name, found[name]) if name in found else () for name in names)
    except DataError as error:
        say(f"boxes are left out: {error}")
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
def class_key(name: str) -> str:
    """What class names are compared by: neither case counts, nor how words are joined, nor a WordNet id behind them."""
    return re.sub(r"[\s_\-]+", " ", _ID_IN_BRACKETS.sub("", name)).strip().casefold()


@lru_cache(maxsize=4096)
def _folder_name(part: str) -> str:
    return wordnet_names((part[:9],))[0] if WORDNET_ID.match(part) else part


def _is_generic(part: str) -> bool:
    words = re.findall(r"[a-z]+|\d+", part.lower())
    return all(word in OTHER_WORDS or word.isdigit() for word in words)
