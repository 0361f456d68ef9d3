"""Opening every photo of a folder once: is it readable, is it a copy of another one? What was seen is kept."""

from __future__ import annotations

import hashlib
import io
import os
import re
import zipfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import platformdirs
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from ..errors import PictureError, SettingsError
from ..files import write_file
from ..images import read_picture

CACHE_VERSION = 1

LIKENESS = 0.95
"""Colour likeness (0..1) from which two photos of a class count as copies of one photo. Measured on a set of 1,046
photos with turned, mirrored, shifted and noisy copies: above 0.97 nearly all pairs are copies, around 0.95 half are."""

STRICT_LIKENESS = 0.985

MOST_COPIES = 16
"""More photos than this that are alike are a style (one table, one light), not copies: then only the strict likeness
counts."""

_WORDS = (
    r"(?:rotated?_by|rotated?|flipped|(?:vertical_|horizontal_|[hv])?flip|mirrored|mirror|saltandpepper|noisy|noise|"
    r"translation|translated|shifted|sheared|blurred|augmented|aug|rot(?=_?(?:90|180|270)(?!\d)))"
)  # "rot" without a quarter turn is what befalls fruit

_AUGMENTED = re.compile(rf"^(?:{_WORDS}(?:_?\d+(?:_degrees)?)?[_\- ]+)+", re.IGNORECASE)

_AUGMENTED_END = re.compile(rf"(?:[_\- ]+(?:{_WORDS}|copy)(?:[_\- ]?\d+)?)+$", re.IGNORECASE)


@dataclass(frozen=True)
class Inspection:
    """What was seen of photos; one entry a photo in every field.

    Attributes:
        names: paths relative to the folder.
        stamps: int64 ``(photos, 2)``: bytes, and time of the last change in nanoseconds.
        digests: hash of the file's bytes, in hex.
        colors: float16 ``(photos, 512)``: `color_signature`.
        problems: why a photo cannot be read; empty where it can.
    """

    names: tuple[str, ...]
    stamps: np.ndarray
    digests: tuple[str, ...]
    colors: np.ndarray
    problems: tuple[str, ...]


def inspect_photos(root: Path, names: tuple[str, ...]) -> Inspection:
    """Open every photo, but for those that a former call opened and that have not changed since.

    Args:
        root: folder.
        names: photos in it.
    """
    stamps = np.array([_stamp(root / name) for name in names], np.int64).reshape(-1, 2)
    cache = cache_file(root)
    known = _read_cache(cache)
    old = {} if known is None else {name: number for number, name in enumerate(known.names)}
    seen: list[tuple[str, np.ndarray, str] | None] = []
    for name, stamp in zip(names, stamps, strict=True):
        number = old.get(name)
        same = number is not None and np.array_equal(known.stamps[number], stamp)
        seen.append((known.digests[number], known.colors[number], known.problems[number]) if same else None)
    new = [number for number, facts in enumerate(seen) if facts is None]
    for number, facts in zip(new, _open_all([root / names[number] for number in new]), strict=True):
        seen[number] = facts
    digests, colors, problems = zip(*seen, strict=True) if seen else ((), (), ())
    inspection = Inspection(names, stamps, digests, np.array(colors, np.float16).reshape(-1, 512), problems)
    if new or known is None or known.names != names:
        _write_cache(cache, inspection)
    return inspection


def _stamp(path: Path) -> tuple[int, int]:
    try:
        facts = path.stat()
    except OSError:
        return -1, -1  # opening it says why
    return facts.st_size, facts.st_mtime_ns


def _open_all(paths: list[Path]) -> list[tuple[str, np.ndarray, str]]:
    from tqdm.auto import tqdm

    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:  # decoding releases the interpreter's lock
        progress = tqdm(
            pool.map(open_photo, paths), total=len(paths), unit="photo", desc="checking", disable=len(paths) < 2000
        )
        return list(progress)


def open_photo(path: Path) -> tuple[str, np.ndarray, str]:
    """Hash of the file, colour signature of the picture, and why it cannot be read (empty where it can)."""
    try:
        content = path.read_bytes()
        picture = read_picture(content, str(path))
    except PictureError as error:
        return "", np.zeros(512, np.float16), str(error)
    except OSError as error:
        return "", np.zeros(512, np.float16), f"{path}: cannot be read ({error.strerror})"
    picture.thumbnail((128, 128))
    return hashlib.blake2b(content, digest_size=16).hexdigest(), color_signature(np.asarray(picture)), ""


def color_signature(pixels: np.ndarray) -> np.ndarray:
    """Square roots of the shares of 8 x 8 x 8 colours; the dot product of two is their likeness, 0..1.

    Turning, mirroring, shifting or stretching a photo changes it little, for black corners and white ground are left
    out.

    Args:
        pixels: uint8 ``(height, width, 3)``.

    Returns:
        float16 ``(512,)`` of length 1.
    """
    flat = pixels.reshape(-1, 3)
    inside = (flat.max(1) > 24) & (flat.min(1) < 238)
    bins = (flat[inside] // 32).astype(np.int64) if inside.any() else (flat // 32).astype(np.int64)
    counts = np.bincount(bins @ (64, 8, 1), minlength=512)
    return np.sqrt(counts / counts.sum()).astype(np.float16)


def copy_groups(inspection: Inspection, labels: tuple[int, ...]) -> np.ndarray:
    """Number the photos so that copies of one photo have the same number.

    Copies are files of the same bytes, files whose names differ only in a word of augmentation
    (``rotated_by_15_X``, ``X_flip``), and photos of one class with nearly the same colours.

    Args:
        inspection: of the photos.
        labels: one a photo.

    Returns:
        int64 ``(photos,)``.
    """
    pairs: list[tuple[int, int]] = []
    first: dict[tuple[object, ...], int] = {}
    for number, (name, digest) in enumerate(zip(inspection.names, inspection.digests, strict=True)):
        path = PurePosixPath(name)
        keys = [("name", labels[number], path.parent, original_stem(path.stem))] + [("bytes", digest)] * bool(digest)
        pairs += [(first.setdefault(key, number), number) for key in keys]
    for label in set(labels):
        members = np.flatnonzero(np.asarray(labels) == label)
        pairs += _alike(inspection.colors[members].astype(np.float32), members)
    return _components(np.array(pairs).reshape(-1, 2), len(labels))


def original_stem(stem: str) -> str:
    """The name without words of augmentation: ``rotated_by_15_apple 7`` and ``apple 7_flip`` give ``apple 7``."""
    without = _AUGMENTED_END.sub("", _AUGMENTED.sub("", stem))
    return without.lower() or stem.lower()


def _alike(colors: np.ndarray, members: np.ndarray) -> list[tuple[int, int]]:
    """Pairs of photos of one class that look like copies of one another."""
    rows, cols = _likely(colors, LIKENESS)
    groups = _components(np.stack([rows, cols], 1), len(members))
    crowd = np.bincount(groups)[groups] > MOST_COPIES
    strict_rows, strict_cols = rows[crowd[rows]], cols[crowd[rows]]
    likeness = (colors[strict_rows] * colors[strict_cols]).sum(1)
    strict = np.stack([strict_rows, strict_cols], 1)[likeness > STRICT_LIKENESS]
    crowds = _components(strict, len(members))
    small = np.bincount(crowds)[crowds] <= MOST_COPIES
    kept = np.concatenate([np.stack([rows, cols], 1)[~crowd[rows]], strict[small[strict[:, 0]]]])
    return [(int(members[row]), int(members[col])) for row, col in kept]


def _likely(colors: np.ndarray, likeness: float) -> tuple[np.ndarray, np.ndarray]:
    """Index pairs whose dot product exceeds a likeness, found in blocks."""
    rows, cols = [], []
    for start in range(0, len(colors), 2048):
        block = colors[start : start + 2048] @ colors.T
        row, col = np.nonzero(block > likeness)
        rows.append((row + start)[row + start < col])
        cols.append(col[row + start < col])
    return np.concatenate(rows), np.concatenate(cols)


def _components(pairs: np.ndarray, count: int) -> np.ndarray:
    links = coo_array((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(count, count))
    return connected_components(links, directed=False)[1]


def cache_file(root: Path) -> Path:
    """Where what was seen of a folder is kept: in the user's cache folder, by the folder's path."""
    key = hashlib.sha256(str(root.resolve()).encode()).hexdigest()[:16]
    return Path(platformdirs.user_cache_dir("vitattn_widgets", appauthor=False)) / f"photos-{key}.npz"


def _read_cache(path: Path) -> Inspection | None:
    """What a former call has seen; None where there is nothing, or nothing that can be read."""
    try:
        with np.load(path, allow_pickle=False) as kept:
            if int(kept["version"]) != CACHE_VERSION:
                return None
            texts = {key: tuple(kept[key].tolist()) for key in ("names", "digests", "problems")}
            inspection = Inspection(stamps=kept["stamps"], colors=kept["colors"], **texts)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
    count = len(inspection.names)
    whole = inspection.stamps.shape == (count, 2) and inspection.colors.shape == (count, 512)
    return inspection if whole and len(inspection.digests) == len(inspection.problems) == count else None


def _write_cache(path: Path, inspection: Inspection) -> None:
    stream = io.BytesIO()
    texts = {key: np.array(getattr(inspection, key), dtype=np.str_) for key in ("names", "digests", "problems")}
    np.savez_compressed(stream, version=CACHE_VERSION, stamps=inspection.stamps, colors=inspection.colors, **texts)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_file(path, stream.getvalue())
    except (OSError, SettingsError):
        return  # a cache that cannot be kept costs time, nothing else
