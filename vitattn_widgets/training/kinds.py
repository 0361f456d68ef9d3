"""What the embedded model learns from: photos of 25 everyday kinds, photos of good and bad fruit, and made pictures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path

from ..datasets.catalogue import DatasetInfo
from ..datasets.inspection import Inspection, copy_groups, inspect_photos
from ..datasets.layouts import existing_folder, walk_photos
from ..datasets.loading import load_dataset
from ..datasets.photos import SPLITS, FolderPhotos, PhotoSet
from ..datasets.splits import fingerprint, split_photos
from ..errors import DataError

SEED = 1
"""Of the split of the photos and of the made pictures."""

SHARES = (0.8, 0.1, 0.1)
"""The share of the photos in each split."""

MADE_PER_CLASS = (300, 20, 40)
"""Made pictures per class of the three splits."""

KINDS = (
    "aeroplane", "bicycle", "bird", "car", "cat", "chair", "church", "cup", "daisy", "dandelion", "deer", "dog",
    "drink carton", "garbage truck", "gas pump", "horse", "motorbike", "panda", "parachute", "rose", "shoe",
    "sunflower", "T-shirt", "trousers", "tulip",
)  # fmt: skip
"""The everyday kinds; the photos of each are in a folder of its name, with ``_`` for blanks."""

FOLDERS = {"kinds": ("photos/objects",), "fruit": ("fruits", "photos/fruits_extra")}
"""Where the photos of each group are, below the data folder: one folder per class in each of these."""

GROUPS = ("kinds", "fruit", "made")

_INFO = DatasetInfo(
    name="kinds",
    title="Photos of everyday kinds and of fruit",
    class_names=None,
    how_to_get="A folder with photos/objects/KIND, fruits/QUALITY_FRUIT and photos/fruits_extra/QUALITY_FRUIT.",
    licence="As stated by each source; a source without a statement is for private use, and no photo is passed on.",
    citation="vitattn_widgets",
)


@dataclass(frozen=True)
class Lessons:
    """The splits of the three groups, with one list of classes.

    Attributes:
        class_names: the made pictures' classes in the order of ``load_dataset("demo")``, then the other kinds.
        splits: by split, then by group.
        fingerprint: SHA-256 over classes, names, labels and splits, in hex.
    """

    class_names: tuple[str, ...]
    splits: Mapping[str, Mapping[str, PhotoSet]]
    fingerprint: str


def load_lessons(folder: Path, seed: int = SEED) -> Lessons:
    """Find the photos and divide them by source photo: copies of one photo stay in one split.

    Args:
        folder: holds the folders of `FOLDERS`.
        seed: of the split and of the made pictures.

    Raises:
        DataError: a folder is missing, or a photo's folder names no class.
    """
    root = existing_folder(folder, f"give the folder that holds {', '.join(sum(FOLDERS.values(), ()))}")
    made = load_dataset("demo", seed=seed, per_class=MADE_PER_CLASS)
    class_names = made.class_names + tuple(kind for kind in KINDS if kind not in made.class_names)
    splits: dict[str, dict[str, PhotoSet]] = {split: {} for split in SPLITS}
    found = {group: _find(root, places, class_names) for group, places in FOLDERS.items()}
    # all at once: the inspection of a folder is cached as a whole
    inspection = inspect_photos(root, tuple(name for group in found.values() for name in group))
    unreadable = [problem for problem in inspection.problems if problem]
    if unreadable:
        raise DataError(f"{len(unreadable)} photos cannot be read, the first one: {unreadable[0]}; remove them")
    start = 0
    for group, labels in found.items():
        part = slice(start, start := start + len(labels))
        ours = Inspection(*(getattr(inspection, item.name)[part] for item in fields(Inspection)))
        for split, photos in zip(
            SPLITS, _photo_splits(root, ours, tuple(labels.values()), class_names, seed), strict=True
        ):
            splits[split][group] = photos
    for split, pictures in zip(SPLITS, (made.train, made.validation, made.test), strict=True):
        splits[split]["made"] = replace(pictures, class_names=class_names)
    listed = {
        f"{split} {group}": (photos.names, photos.labels)
        for split, groups in splits.items()
        for group, photos in groups.items()
    }
    return Lessons(class_names, splits, fingerprint(class_names, listed))


def _find(root: Path, places: tuple[str, ...], class_names: tuple[str, ...]) -> dict[str, int]:
    """The class of every photo in some folders, by its path below the root."""
    known = {name.lower().replace("-", " "): label for label, name in enumerate(class_names)}
    found: dict[str, int] = {}
    for place in places:
        for below, files in walk_photos(existing_folder(root / place, "it belongs to the embedded model's lessons")):
            label = known.get(below.name.lower().replace("_", " "))
            if not files:
                continue
            if label is None:
                raise DataError(f"{root / place / below}: no class of the embedded model; move these photos elsewhere")
            found |= {f"{place}/{below}/{file}": label for file in files}
    return found


def _photo_splits(
    root: Path, inspection: Inspection, labels: tuple[int, ...], class_names: tuple[str, ...], seed: int
) -> list[FolderPhotos]:
    numbers = split_photos(labels, copy_groups(inspection, labels), seed, shares=SHARES)
    return [
        FolderPhotos(
            info=_INFO,
            split=split,
            class_names=class_names,
            stand_in=False,
            names=tuple(inspection.names[number] for number in members),
            labels=tuple(labels[number] for number in members),
            root=root,
        )
        for split, members in zip(SPLITS, numbers, strict=True)
    ]
