"""Boxes that people drew on photos, read from the usual formats (Pascal VOC, COCO, CSV) and matched to the photos."""

from __future__ import annotations

import csv
import json
import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path, PurePosixPath
from typing import Any
from xml.etree import ElementTree

from ..errors import DataError
from ..images import picture_size
from .layouts import SUFFIXES, listed
from .masks import Box

COLUMNS = ("name", "left", "top", "right", "bottom")
"""The columns of a CSV file of boxes."""

VOC_SIDES = ("xmin", "ymin", "xmax", "ymax")


@dataclass(frozen=True)
class Annotation:
    """The boxes drawn on one photo.

    Attributes:
        where: file and line or number, for messages.
        boxes: empty for a photo in which nothing was found.
        size: width and height of the photo that the boxes were drawn on; None where the file does not give it.
    """

    where: str
    boxes: tuple[Box, ...]
    size: tuple[int, int] | None = None


def read_annotations(path: Path) -> dict[str, Annotation]:
    """All annotations in a file or folder, by the photo's name (with ``/``, without its ending).

    Args:
        path: a folder of Pascal VOC XML files, one per photo and named like it, as in ImageNet's localisation challenge
            and Oxford's pets; a COCO JSON file; or a CSV file with the columns `COLUMNS`, one row per box.

    Raises:
        DataError: not found, another format, or an invalid box.
    """
    if path.is_dir():
        annotations = dict(_read_voc(file, path) for file in sorted(path.rglob("*.xml")))
        if not annotations:
            raise DataError(f"{path}: no XML files in this folder; name a folder of Pascal VOC files")
        return annotations
    if not path.is_file():
        raise DataError(f"{path}: no such file or folder of boxes")
    readers = {".csv": _read_csv, ".json": _read_coco}
    if path.suffix.lower() not in readers:
        raise DataError(f"{path}: boxes are read from a folder of Pascal VOC XML, a COCO .json or a .csv")
    return readers[path.suffix.lower()](path)


def match_annotations(
    names: Sequence[str], annotations: Mapping[str, Annotation]
) -> tuple[dict[str, Annotation], list[str]]:
    """Which annotation belongs to which photo.

    A photo's annotation has its name without the ending; of several, as where folders of classes repeat names, it is
    the one that shares most of the path, counted from the end.

    Args:
        names: of the photos, with ``/``.
        annotations: from `read_annotations`.

    Returns:
        Annotations by the photo's name, and the names of annotations without a photo.

    Raises:
        DataError: the match is ambiguous.
    """
    by_stem = defaultdict(list)
    for key in annotations:
        by_stem[PurePosixPath(key).name].append(key)
    photo_of: dict[str, str] = {}
    for name in names:
        shared = {key: _shared_parts(_without_ending(name), key) for key in by_stem[_stem(name)]}
        best = [key for key, count in shared.items() if count == max(shared.values())]
        if len(best) > 1:
            places = " and in ".join(annotations[key].where for key in best[:2])
            raise DataError(f"{name}: has boxes in {places}; keep one of them")
        if best and best[0] in photo_of:
            raise DataError(
                f"{annotations[best[0]].where}: its boxes could be those of {photo_of[best[0]]} or of {name}; give "
                "more of the path"
            )
        if best:
            photo_of[best[0]] = name
    unknown = [key for key in annotations if key not in photo_of]
    return {name: annotations[key] for key, name in photo_of.items()}, unknown


def boxes_of_photos(
    root: Path, names: Sequence[str], place: Path, notify: Callable[[str], None]
) -> tuple[tuple[Box, ...], ...]:
    """The boxes of some photos, clipped to the photos.

    Args:
        root: folder of the photos.
        names: of the photos below it.
        place: file or folder for `read_annotations`.
        notify: takes one line about boxes of other photos, if there are any.

    Returns:
        One entry per photo, empty where it has no annotation.

    Raises:
        DataError: see `read_annotations`, `match_annotations` and `boxes_on_photo`.
        PictureError: a photo that has boxes cannot be read.
    """
    annotations, unknown = match_annotations(names, read_annotations(place))
    if unknown:
        notify(f"left out: boxes of {listed(unknown, 3)}; there are no such photos in {root}")
    return tuple(boxes_on_photo(annotations[name], root / name) if name in annotations else () for name in names)


def boxes_on_photo(annotation: Annotation, photo: Path) -> tuple[Box, ...]:
    """A photo's boxes, clipped to it.

    Raises:
        DataError: a box is outside the photo, or the boxes were drawn on a photo of another size.
        PictureError: the photo cannot be read.
    """
    width, height = size = picture_size(photo)
    if annotation.size not in (None, size):
        raise DataError(
            f"{annotation.where}: was drawn on {annotation.size[0]} x {annotation.size[1]} px, but {photo} has {width} "
            f"x {height} px; scale the boxes to it"
        )
    clipped = []
    for box in annotation.boxes:
        left, top, right, bottom = max(box.left, 0), max(box.top, 0), min(box.right, width), min(box.bottom, height)
        if left >= right or top >= bottom:
            raise DataError(f"{annotation.where}: {_words(box)} is outside {photo}, which has {width} x {height} px")
        clipped.append(Box(left, top, right, bottom, box.counted))
    return tuple(clipped)


def _read_voc(file: Path, folder: Path) -> tuple[str, Annotation]:
    """Read a Pascal VOC file. Its numbers are a box's first and last pixel, counted from 1."""
    try:
        root = ElementTree.parse(file).getroot()
    except (ElementTree.ParseError, OSError, ValueError) as error:
        raise DataError(f"{file}: cannot be read as XML ({error})") from error
    boxes = []
    for number, thing in enumerate(root.iter("object"), start=1):
        values = [thing.findtext(f"bndbox/{side}", "") for side in VOC_SIDES]
        left, top, right, bottom = _numbers(values, VOC_SIDES, f"{file}, object {number}")
        counted = thing.findtext("difficult", "0").strip() != "1"
        boxes.append(_box(f"{file}, object {number}", left - 1, top - 1, right, bottom, counted))
    sides = [root.findtext(f"size/{side}", "0") for side in ("width", "height")]
    width, height = map(int, _numbers(sides, ("width", "height"), str(file)))
    size = _known((width, height))
    return _without_ending(file.relative_to(folder).as_posix()), Annotation(str(file), tuple(boxes), size)


def _read_csv(file: Path) -> dict[str, Annotation]:
    annotations: dict[str, Annotation] = {}
    try:
        with file.open(newline="", encoding="utf-8-sig") as lines:
            rows = list(csv.DictReader(lines))
    except (csv.Error, OSError, UnicodeDecodeError) as error:
        raise DataError(f"{file}: cannot be read as CSV ({error})") from error
    missing = [column for column in COLUMNS if not rows or column not in rows[0]]
    if missing:
        raise DataError(f"{file}: needs the columns {', '.join(COLUMNS)} and one row per box; {missing[0]} is missing")
    for number, row in enumerate(rows, start=2):
        where = f"{file}, line {number}"
        left, top, right, bottom = _numbers([row[side] for side in COLUMNS[1:]], COLUMNS[1:], where)
        box = _box(where, left, top, right, bottom)
        key = _without_ending((row["name"] or "").strip())
        first = annotations.get(key, Annotation(where, ()))
        annotations[key] = Annotation(first.where, (*first.boxes, box))
    return annotations


def _read_coco(file: Path) -> dict[str, Annotation]:
    """Read a COCO file. A box is left, top, width and height."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        images = {image["id"]: image for image in content["images"]}
        boxes: dict[str, list[Box]] = {number: [] for number in images}
        for thing in content["annotations"]:
            where = f"{file}, annotation {thing.get('id')}"
            left, top, width, height = _numbers(thing["bbox"], ("left", "top", "width", "height"), where)
            box = _box(where, left, top, left + width, top + height, not thing.get("iscrowd"))
            boxes[thing["image_id"]].append(box)
        return {
            _without_ending(image["file_name"]): Annotation(
                f"{file}, image {number}",
                tuple(boxes[number]),
                _known((image.get("width", 0), image.get("height", 0))),
            )
            for number, image in images.items()
        }
    except (KeyError, TypeError, AttributeError, OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        problem = f"{type(error).__name__}: {error}"
        raise DataError(f"{file}: cannot be read as COCO annotations with images and boxes ({problem})") from error


def _box(where: str, left: float, top: float, right: float, bottom: float, counted: bool = True) -> Box:
    box = Box(left, top, right, bottom, counted)
    if left >= right or top >= bottom:
        raise DataError(f"{where}: {_words(box)} is not a box; left must be less than right, top less than bottom")
    return box


def _numbers(values: Sequence[Any], names: Sequence[str], where: str) -> list[float]:
    try:
        numbers = [float(value) for value in values]
    except (TypeError, ValueError):
        numbers = []
    if len(numbers) != len(names) or not all(map(math.isfinite, numbers)):
        raise DataError(f"{where}: {', '.join(names)} must be numbers, got {', '.join(map(repr, values))}")
    return numbers


def _words(box: Box) -> str:
    return "left {:g}, top {:g}, right {:g}, bottom {:g}".format(*box[:4])


def _known(size: tuple[int, int]) -> tuple[int, int] | None:
    return size if all(size) else None


def _without_ending(name: str) -> str:
    path = PurePosixPath(name.replace("\\", "/"))
    return str(path.with_suffix("") if path.suffix.lower() in SUFFIXES | {".xml"} else path)


def _stem(name: str) -> str:
    return PurePosixPath(_without_ending(name)).name


def _shared_parts(name: str, key: str) -> int:
    """How many parts two paths share, counted from their ends."""
    ours, theirs = (PurePosixPath(path).parts[::-1] for path in (name, key))
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(ours, theirs, strict=False)))
