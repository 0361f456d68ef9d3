"""Which photos a folder holds and which class each one has, from the names of folders and files alone."""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ..errors import DataError
from .catalogue import CASSAVA_CLASSES

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".gif", ".tif", ".tiff", ".bmp"})

WORDNET_ID = re.compile(r"n\d{8}(?!\d)")

QUALITIES = {
    "good": ("good", "fresh", "healthy"),
    "bad": ("bad", "rotten", "rotted", "spoiled", "spoilt", "stale", "defective", "damaged"),
}

OTHER_WORDS = frozenset({
    "quality", "qualities", "qualit", "fruit", "fruits", "image", "images", "photo", "photos", "picture", "pictures",
    "data", "dataset", "set", "train", "training", "test", "testing", "val", "valid", "validation", "of", "and", "all",
})  # fmt: skip
"""Words in the names of folders that name neither a quality nor a fruit."""


@dataclass(frozen=True)
class Listing:
    """What a folder holds, before any photo is opened.

    Attributes:
        class_names: one name per label.
        names: paths of the photos relative to the folder, with ``/``.
        labels: one per photo.
        held_out: numbers of the photos that the data set's authors set apart for testing.
        skipped: one line for everything left out.
    """

    class_names: tuple[str, ...]
    names: tuple[str, ...]
    labels: tuple[int, ...]
    held_out: frozenset[int] = frozenset()
    skipped: tuple[str, ...] = ()


def list_photos(name: str, root: Path) -> Listing:
    """The photos of a data set in a folder, sorted by name.

    Args:
        name: of the data set.
        root: the folder.

    Raises:
        DataError: the folder does not hold this data set, a class has no photos, or there is only one class.
    """
    listing = LAYOUTS[name](root)
    require_classes(listing.class_names, listing.labels, root)
    return listing


def require_classes(class_names: tuple[str, ...], labels: tuple[int, ...], root: Path) -> None:
    """Raise unless there are two or more classes, each with photos.

    Raises:
        DataError: a class has no photos, or there is only one class.
    """
    present = set(labels)
    empty = [class_name for label, class_name in enumerate(class_names) if label not in present]
    if empty:
        raise DataError(f"{root}: no photos of {', '.join(empty)}; add some or remove the empty folder")
    if len(class_names) < 2:
        raise DataError(f"{root}: only one class ({', '.join(class_names)}); two or more are needed")


def walk_photos(root: Path) -> Iterator[tuple[PurePosixPath, list[str]]]:
    """The root and every folder below it, relative to the root, with the names of its photos; hidden ones left out."""
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(part for part in folders if not part.startswith((".", "__")))
        photos = sorted(file for file in files if Path(file).suffix.lower() in SUFFIXES and not file.startswith("."))
        yield PurePosixPath(Path(folder).relative_to(root).as_posix()), photos


def _collect(root: Path, class_of: Callable[[PurePosixPath], str | None], expected: str) -> Listing:
    """List the photos whose folder has a class.

    Args:
        root: the folder.
        class_of: the class of a folder below the root, or None.
        expected: what the error for an empty result says is missing.
    """
    class_by_photo: dict[str, str] = {}
    classes: set[str] = set()
    without: dict[PurePosixPath, int] = {}
    for folder, photos in walk_photos(root):
        class_name = class_of(folder)
        if class_name is not None:
            classes.add(class_name)
            class_by_photo |= {(folder / photo).as_posix(): class_name for photo in photos}
        elif photos:
            without[folder] = len(photos)
    if not class_by_photo:
        raise DataError(f"{root}: {expected} are not in this folder; {folder_content(root)}")
    skipped = tuple(f"{folder}: {count} photos of no known class left out" for folder, count in sorted(without.items()))
    return _listing(tuple(sorted(classes)), class_by_photo, skipped)


def _listing(class_names: tuple[str, ...], class_by_photo: dict[str, str], skipped: tuple[str, ...] = ()) -> Listing:
    label = {class_name: number for number, class_name in enumerate(class_names)}
    names = tuple(sorted(class_by_photo))
    return Listing(class_names, names, tuple(label[class_by_photo[name]] for name in names), skipped=skipped)


def existing_folder(path: str | Path, hint: str) -> Path:
    """A path as a folder that exists.

    Args:
        path: may start with ``~``.
        hint: what the error says to do.

    Raises:
        DataError: no such folder, or not a folder.
    """
    root = Path(path).expanduser()
    if not root.is_dir():
        raise DataError(f"{root}: {'is not a folder' if root.exists() else 'no such folder'}; {hint}")
    return root


def folder_content(root: Path) -> str:
    """What a folder holds, in words, for messages."""
    entries = sorted(entry.name for entry in root.iterdir())
    return f"it holds {listed(entries, 5)}" if entries else "it is empty"


def listed(names: Sequence[str], most: int) -> str:
    """The first of some names, and how many more there are."""
    return f"{', '.join(names[:most])}{f' and {len(names) - most} more' if len(names) > most else ''}"


def list_fruits(root: Path) -> Listing:
    """Good and bad fruits: folders that name a quality and a fruit, on one level or two, in either order."""
    return _collect(root, fruit_class, "folders of good and bad fruits (Good_Apple, Bad_Apple, Good/Apple, ...)")


def fruit_class(folder: PurePosixPath) -> str | None:
    """``"good apple"`` from ``Good_Apple``, ``apple-good``, ``Apples/Good quality`` or ``freshapples``; else None."""
    quality, fruit = None, None
    for part in reversed(folder.parts):  # the name nearest to the photo counts
        part_quality, rest = _quality_and_rest(part)
        quality = quality or part_quality
        fruit = fruit or _singular(" ".join(rest)) or None
    return f"{quality} {fruit}" if quality and fruit else None


def _quality_and_rest(part: str) -> tuple[str | None, list[str]]:
    words = re.findall(r"[a-z]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", part).lower())
    quality, rest = None, []
    for word in words:
        word_quality = next((known for known, names in QUALITIES.items() if word in names), None)
        if word_quality is None and word not in OTHER_WORDS:
            word_quality, fruit = _split_compound(word)
            rest.append(fruit)
        quality = quality or word_quality
    return quality, rest


def _split_compound(word: str) -> tuple[str | None, str]:
    """Split ``rottenapples`` into its quality and its fruit."""
    for quality, names in QUALITIES.items():
        for name in names:
            if word.startswith(name) and len(word) >= len(name) + 3:
                return quality, word[len(name) :]
            if word.endswith(name) and len(word) >= len(name) + 3:
                return quality, word[: -len(name)]
    return None, word


def _singular(fruit: str) -> str:
    # "ss" and "us" stay, so that grass and citrus do not lose their last letter
    for ending, instead in (("ies", "y"), ("oes", "o"), ("ss", "ss"), ("us", "us"), ("s", "")):
        if fruit.endswith(ending) and len(fruit) > len(ending) + 2:
            return fruit[: -len(ending)] + instead
    return fruit


def list_cassava(root: Path) -> Listing:
    """Cassava leaves: one folder per class, or ``train_images`` with ``train.csv`` (labels 0..4)."""
    for table in (root / "train.csv", *sorted(root.glob("*/train.csv"))):
        if table.is_file() and (table.parent / "train_images").is_dir():
            return _from_table(root, table)
    expected = f"folders {', '.join(CASSAVA_CLASSES)}, or train_images with train.csv"
    listing = _collect(root, _cassava_class, expected)
    class_by_photo = {
        name: listing.class_names[label] for name, label in zip(listing.names, listing.labels, strict=True)
    }
    # skipped folders go unmentioned: they hold the competition's unlabelled photos
    return _listing(CASSAVA_CLASSES, class_by_photo)


def _cassava_class(folder: PurePosixPath) -> str | None:
    for part in reversed(folder.parts):
        words = re.findall(r"[a-z]+", part.lower())
        for class_name in CASSAVA_CLASSES:
            if class_name in words:
                return class_name
    return None


def _from_table(root: Path, table: Path) -> Listing:
    photos = table.parent / "train_images"
    files = {entry.name for entry in photos.iterdir()}
    prefix = photos.relative_to(root).as_posix()
    class_by_photo, skipped = {}, []
    try:
        with table.open(newline="", encoding="utf-8-sig") as file:
            for row in csv.DictReader(file):
                if row["image_id"] in files:
                    label = int(row["label"])
                    if not 0 <= label < len(CASSAVA_CLASSES):
                        raise ValueError(f"label {label}")
                    class_by_photo[f"{prefix}/{row['image_id']}"] = CASSAVA_CLASSES[label]
                else:
                    skipped.append(f"{prefix}/{row['image_id']}: in train.csv, but there is no such file")
    except (KeyError, TypeError, ValueError, csv.Error) as error:
        last = len(CASSAVA_CLASSES) - 1
        raise DataError(f"{table}: columns image_id and label (0..{last}) are needed ({error})") from error
    if not class_by_photo:
        raise DataError(f"{table}: lists no photo that is in {photos}; put the photos there")
    return _listing(CASSAVA_CLASSES, class_by_photo, tuple(skipped))


def list_imagenet(root: Path) -> Listing:
    """ImageNet: folders named by WordNet ids, or files whose names start with one.

    Photos in a folder ``val`` or ``test`` beside ``train`` (as in Imagenette) stay held out.
    """
    id_by_photo, test = {}, set()
    ids_without_photos = set()
    for folder, photos in walk_photos(root):
        ids = [part[:9] for part in folder.parts if WORDNET_ID.match(part)]
        if ids and not photos and not any((root / folder).iterdir()):
            ids_without_photos.add(ids[-1])
        for photo in photos:
            if ids or WORDNET_ID.match(photo):
                id_by_photo[(folder / photo).as_posix()] = ids[-1] if ids else photo[:9]
                if {"val", "valid", "validation", "test"} & set(folder.parts):
                    test.add((folder / photo).as_posix())
    if not id_by_photo:
        raise DataError(
            f"{root}: folders or files named by WordNet ids (n01440764) are not in this folder; {folder_content(root)}"
        )
    listing = _listing(tuple(sorted({*id_by_photo.values(), *ids_without_photos})), id_by_photo)
    held_out = frozenset(number for number, name in enumerate(listing.names) if name in test)
    if len(held_out) == len(listing.names):
        held_out = frozenset()  # with no training photos beside them, these are not a test split
    return Listing(wordnet_names(listing.class_names), listing.names, listing.labels, held_out)


def wordnet_names(ids: tuple[str, ...]) -> tuple[str, ...]:
    """The names of WordNet ids, as in timm's ImageNet models; an unknown id stays as it is."""
    from timm.data.imagenet_info import ImageNetInfo

    known = ImageNetInfo("imagenet-1k")
    lemmas = dict(zip(known.label_names(), known.label_descriptions(), strict=True))
    names = [lemmas.get(wordnet_id, wordnet_id).partition(",")[0] for wordnet_id in ids]
    return tuple(
        name if names.count(name) == 1 else f"{name} ({wordnet_id})"
        for name, wordnet_id in zip(names, ids, strict=True)
    )


LAYOUTS = {"imagenet": list_imagenet, "fruitsgb": list_fruits, "cassava": list_cassava}
