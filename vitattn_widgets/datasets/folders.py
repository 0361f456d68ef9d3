"""Any folder of photos as it is: subfolders at any depth, which may name classes or not, with masks or without."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path, PurePosixPath

from ..errors import DataError
from .layouts import OTHER_WORDS, WORDNET_ID, folder_content, walk_photos, wordnet_names
from .masked import load_masked_folder
from .photos import DatasetInfo, FolderPhotos

UNLABELLED = ""
"""The class of photos of which no folder says a class."""

WHOLE = "all"
"""The split that a folder without splits is."""

_ID_IN_BRACKETS = re.compile(r" \(n\d{8}\)$")


def load_photo_folder(path: str | Path, class_names: Sequence[str] = ()) -> FolderPhotos:
    """All photos below a folder, sorted by name; none is opened.

    A photo's class is the name of the nearest folder above it that is one of `class_names` (upper and lower case,
    ``_`` and ``-`` are the same as in `class_key`; a WordNet id stands for its name, also at the start of a file's
    name). Where none is, it is the name of the nearest folder that says more than ``images`` or ``train``; else the
    photo is `UNLABELLED`. Hidden folders are left out. A folder that holds ``images`` and ``masks`` is read with its
    masks (`load_masked_folder`).

    Args:
        path: the folder.
        class_names: those that a model tells apart.

    Returns:
        One split, named `WHOLE`.

    Raises:
        DataError: no such folder, or no photo in it; masks that do not fit.
    """
    root = Path(path).expanduser()
    if not root.is_dir():
        raise DataError(f"{root}: {'is not a folder' if root.exists() else 'no such folder'}; give a folder of photos")
    if (root / "images").is_dir() and (root / "masks").is_dir():
        found = load_masked_folder(root)
    else:
        names = sorted((folder / photo).as_posix() for folder, photos in walk_photos(root) for photo in photos)
        if not names:
            raise DataError(f"{root}: no photos in this folder or below; {folder_content(root)}")
        info = DatasetInfo("folder", f"Photos in {root.resolve().name or root}", None, "", "", "")
        found = FolderPhotos(info, WHOLE, (), False, tuple(names), (0,) * len(names), root=root)
    known = {class_key(name): name for name in class_names}
    of_photos = [class_of_photo(PurePosixPath(name), known) for name in found.names]
    classes = tuple(sorted(set(of_photos)))
    number = {name: place for place, name in enumerate(classes)}
    return replace(found, split=WHOLE, class_names=classes, labels=tuple(number[name] for name in of_photos))


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


def class_key(name: str) -> str:
    """What class names are compared by: neither case counts, nor how words are joined, nor a WordNet id behind them."""
    return re.sub(r"[\s_\-]+", " ", _ID_IN_BRACKETS.sub("", name)).strip().casefold()


@lru_cache(maxsize=4096)
def _folder_name(part: str) -> str:
    return wordnet_names((part[:9],))[0] if WORDNET_ID.match(part) else part


def _is_generic(part: str) -> bool:
    words = re.findall(r"[a-z]+|\d+", part.lower())
    return all(word in OTHER_WORDS or word.isdigit() for word in words)
