"""A data set by name: your photos if they are there, else its stand-in."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from ..errors import DataError, PictureError
from .annotations import boxes_of_photos
from .catalogue import INFOS
from .inspection import copy_groups, inspect_photos
from .layouts import existing_folder, list_photos, require_classes
from .made.dataset import PER_CLASS, make_dataset
from .masks import Box
from .photos import SPLITS, Dataset, FolderPhotos
from .splits import fingerprint, split_photos

DATASETS = tuple(INFOS)
"""The names that `load_dataset` takes; ``"demo"`` is the three stand-ins together, which the embedded model learned
besides photos."""

FOLDER_VARIABLE = "VITATTN_DATA"


def load_dataset(
    name: str,
    data: str | Path | None = None,
    seed: int = 0,
    stand_in: bool | None = None,
    per_class: tuple[int, int, int] = PER_CLASS,
    download: bool = False,
    notify: Callable[[str], None] = print,
) -> Dataset:
    """Load a data set with its train, validation and test split.

    The photos are read from `data`, else from ``$VITATTN_DATA/<name>``. If there are none, one line says so and the
    stand-in is used: pictures drawn by code, with masks of the evidence. Every photo is opened once, to leave out
    unreadable ones and to keep copies of one photo in one split; the results are kept in your cache folder, so that
    only files that have changed are opened again. ImageNet's own boxes are read if its folder ``Annotations`` is beside
    the photos.

    Args:
        name: of `DATASETS`.
        data: folder with the photos.
        seed: of the split, or of the stand-in's pictures.
        stand_in: True uses the stand-in without looking for photos, False never uses it.
        per_class: pictures per class in the stand-in's train, validation and test splits.
        download: fetch Imagenette into `data` first, if it is not there; only for ``"imagenet"``.
        notify: takes one line if the stand-in is used, and one for each file that is left out.

    Returns:
        The data set. Pixels are read only when a photo is loaded.

    Raises:
        DataError: no such data set, `data` does not exist or does not hold it, or a class has no photos.
    """
    if name not in INFOS:
        raise DataError(f"there is no data set {name!r}; possible: {', '.join(DATASETS)}")
    _require_counts(per_class)
    if name == "demo" and (data is not None or stand_in is False):
        raise DataError("demo is drawn by code and has no photos; leave data out")
    if stand_in or name == "demo":
        return make_dataset(name, seed, per_class)
    if download:
        _download(name, data)
    root = _find(name, data)
    if root is not None:
        return _read(name, root, seed, notify)
    remedy = f"give its folder with data=..., or set {FOLDER_VARIABLE}"
    if os.environ.get(FOLDER_VARIABLE):
        remedy = f"it is not in {Path(os.environ[FOLDER_VARIABLE]) / name}; give its folder with data=..."
    if stand_in is False:
        raise DataError(
            f"{INFOS[name].title} is not on this computer: {remedy}. How to get it: {INFOS[name].how_to_get}"
        )
    notify(f"{INFOS[name].title} is not on this computer ({remedy}); using its STAND-IN, pictures drawn by code")
    return make_dataset(name, seed, per_class)


def _require_counts(per_class: tuple[int, int, int]) -> None:
    if len(per_class) != len(SPLITS) or not all(isinstance(count, int) and count > 0 for count in per_class):
        raise DataError(f"per_class must be three whole numbers above 0 (train, validation, test), got {per_class!r}")


def _find(name: str, data: str | Path | None) -> Path | None:
    """The folder of a data set's photos; None if it is neither named nor in the usual place."""
    if data is not None:
        return existing_folder(data, f"give the folder of {INFOS[name].title}, or leave data out")
    home = os.environ.get(FOLDER_VARIABLE)
    usual = Path(home).expanduser() / name if home else None
    return usual if usual is not None and usual.is_dir() else None


def _download(name: str, data: str | Path | None) -> None:
    """Fetch Imagenette with torchvision's own class."""
    if name != "imagenet" or data is None:
        raise DataError(
            "only Imagenette can be downloaded, with load_dataset('imagenet', data=FOLDER, download=True); how to get "
            f"{INFOS[name].title}: {INFOS[name].how_to_get}"
        )
    from torchvision.datasets import Imagenette

    root = Path(data).expanduser()
    try:
        root.mkdir(parents=True, exist_ok=True)
        Imagenette(root, size="320px", download=True)
    except (OSError, RuntimeError) as error:  # no network, a full disk, a wrong checksum
        raise DataError(
            f"Imagenette could not be downloaded to {root}: {error}; check the network and the disk, then try again"
        ) from error


def _read(name: str, root: Path, seed: int, notify: Callable[[str], None]) -> Dataset:
    listing = list_photos(name, root)
    inspection = inspect_photos(root, listing.names)
    readable = [number for number, problem in enumerate(inspection.problems) if not problem]
    skipped = listing.skipped + tuple(problem for problem in inspection.problems if problem)
    for line in skipped:
        notify(f"left out: {line}")
    labels = tuple(listing.labels[number] for number in readable)
    require_classes(listing.class_names, labels, root)
    groups = copy_groups(inspection, listing.labels)[readable]
    # from here on, photos are numbered among the readable ones
    held_out = frozenset(index for index, number in enumerate(readable) if number in listing.held_out)
    numbers = split_photos(labels, groups, seed, held_out)
    names = tuple(listing.names[number] for number in readable)
    boxes = _boxes(name, root, names, notify)
    splits = {
        split: FolderPhotos(
            info=INFOS[name],
            split=split,
            class_names=listing.class_names,
            stand_in=False,
            names=tuple(names[number] for number in members),
            labels=tuple(labels[number] for number in members),
            root=root,
            boxes=None if boxes is None else tuple(boxes[number] for number in members),
        )
        for split, members in zip(SPLITS, numbers, strict=True)
    }
    return Dataset(
        info=INFOS[name],
        class_names=listing.class_names,
        **splits,
        stand_in=False,
        root=root,
        seed=seed,
        fingerprint=fingerprint(
            listing.class_names, {split: (photos.names, photos.labels) for split, photos in splits.items()}
        ),
        skipped=skipped,
    )


def _boxes(
    name: str, root: Path, names: Sequence[str], notify: Callable[[str], None]
) -> tuple[tuple[Box, ...], ...] | None:
    """The boxes of ImageNet's localisation challenge, if they are beside the photos."""
    place = root / "Annotations"
    if name != "imagenet" or not place.is_dir():
        return None
    try:
        return boxes_of_photos(root, names, place, notify)
    except (DataError, PictureError) as error:
        notify(f"continuing without boxes: {error}")
        return None
