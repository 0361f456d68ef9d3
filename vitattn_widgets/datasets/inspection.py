"""Opening every photo of a folder once: can it be read, is it a copy of another one? The results are cached."""

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
"""Colour likeness (0..1) above which two photos of a class count as copies of one photo. Measured on 1,046 photos with
rotated, mirrored, shifted and noisy copies: above 0.97 nearly all pairs are copies, around 0.95 half are."""

STRICT_LIKENESS = 0.985
"""The likeness demanded instead where more than `MAX_COPIES` photos are alike."""

MAX_COPIES = 16
"""More similar photos than this share a style (one table, one light) rather than being copies."""

_WORDS = (
    r"(?:rotated?_by|rotated?|flipped|(?:vertical_|horizontal_|[hv])?flip|mirrored|mirror|saltandpepper|noisy|noise|"
    r"translation|translated|shifted|sheared|blurred|augmented|aug|rot(?=_?(?:90|180|270)(?!\d)))"
)  # without a quarter turn, "rot" is what happens to fruit

_AUGMENTED = re.compile(rf"^(?:{_WORDS}(?:_?\d+(?:_degrees)?)?[_\- ]+)+", re.IGNORECASE)

_AUGMENTED_END = re.compile(rf"(?:[_\- ]+(?:{_WORDS}|copy)(?:[_\- ]?\d+)?)+$", re.IGNORECASE)


_Facts = tuple[str, np.ndarray, str]
"""What `open_photo` returns."""


@dataclass(frozen=True)
class Inspection:
    """What opening the photos showed; every field has one entry per photo.

    Attributes:
        names: paths relative to the folder.
        stamps: int64 ``(photos, 2)``: size in bytes, and time of the last change in nanoseconds.
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
    """Open every photo that an earlier call has not opened, or that has changed since.

    Args:
        root: folder.
        names: photos in it.
    """
    stamps = np.array([_stamp(root / name) for name in names], np.int64).reshape(-1, 2)
    cache = cache_file(root)
    cached = _read_cache(cache)
    known = {} if cached is None else _facts_by_name(cached)
    facts: list[_Facts | None] = []
    for name, stamp in zip(names, stamps, strict=True):
        before = known.get(name)
        facts.append(before[1] if before is not None and np.array_equal(before[0], stamp) else None)
    new = [number for number, one in enumerate(facts) if one is None]
    for number, one in zip(new, _open_all([root / names[number] for number in new]), strict=True):
        facts[number] = one
    digests, colors, problems = zip(*facts, strict=True) if facts else ((), (), ())
    inspection = Inspection(names, stamps, digests, np.array(colors, np.float16).reshape(-1, 512), problems)
    if new or cached is None or cached.names != names:
        _write_cache(cache, inspection)
    return inspection


def _facts_by_name(cached: Inspection) -> dict[str, tuple[np.ndarray, _Facts]]:
    """The stamp of each photo, and what `open_photo` returned for it."""
    facts = zip(cached.digests, cached.colors, cached.problems, strict=True)
    return dict(zip(cached.names, zip(cached.stamps, facts, strict=True), strict=True))


def _stamp(path: Path) -> tuple[int, int]:
    try:
        status = path.stat()
    except OSError:
        return -1, -1  # opening the photo will say why
    return status.st_size, status.st_mtime_ns


def _open_all(paths: list[Path]) -> list[_Facts]:
    from tqdm.auto import tqdm

    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:  # threads suffice: decoding releases the GIL
        progress = tqdm(
            pool.map(open_photo, paths), total=len(paths), unit="photo", desc="checking", disable=len(paths) < 2000
        )
        return list(progress)


def open_photo(path: Path) -> _Facts:
    """The file's hash, the picture's colour signature, and why it cannot be read (empty where it can)."""
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
    """Square roots of the shares of 8 x 8 x 8 colours; the dot product of two signatures is their likeness, 0..1.

    Rotating, mirroring, shifting or stretching a photo changes it little, because black corners and white backgrounds
    are left out.

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

    Copies are files with the same bytes, files whose names differ only in a word of augmentation
    (``rotated_by_15_X``, ``X_flip``), and photos of one class with nearly the same colours.

    Args:
        inspection: of the photos.
        labels: one per photo.

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
    original = _AUGMENTED_END.sub("", _AUGMENTED.sub("", stem))
    return original.lower() or stem.lower()


def _alike(colors: np.ndarray, members: np.ndarray) -> list[tuple[int, int]]:
    """Pairs of photos of one class that look like copies of each other."""
    rows, cols = _similar(colors, LIKENESS)
    groups = _components(np.stack([rows, cols], 1), len(members))
    crowd = np.bincount(groups)[groups] > MAX_COPIES
    # within a crowd only the strict likeness counts; a crowd that even so stays large has no copies at all
    strict_rows, strict_cols = rows[crowd[rows]], cols[crowd[rows]]
    likeness = (colors[strict_rows] * colors[strict_cols]).sum(1)
    strict = np.stack([strict_rows, strict_cols], 1)[likeness > STRICT_LIKENESS]
    crowds = _components(strict, len(members))
    small = np.bincount(crowds)[crowds] <= MAX_COPIES
    pairs = np.concatenate([np.stack([rows, cols], 1)[~crowd[rows]], strict[small[strict[:, 0]]]])
    return [(int(members[row]), int(members[col])) for row, col in pairs]


def _similar(colors: np.ndarray, likeness: float) -> tuple[np.ndarray, np.ndarray]:
    """Index pairs, the lower first, whose dot product exceeds a likeness; in blocks, to bound the memory."""
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
    """The file in your cache folder that keeps the inspection of a folder, named by a hash of the folder's path."""
    key = hashlib.sha256(str(root.resolve()).encode()).hexdigest()[:16]
    return Path(platformdirs.user_cache_dir("vitattn_widgets", appauthor=False)) / f"photos-{key}.npz"


def _read_cache(path: Path) -> Inspection | None:
    """The inspection of an earlier call; None where there is none, or none that can be read."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            if int(arrays["version"]) != CACHE_VERSION:
                return None
            texts = {key: tuple(arrays[key].tolist()) for key in ("names", "digests", "problems")}
            inspection = Inspection(stamps=arrays["stamps"], colors=arrays["colors"], **texts)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
    count = len(inspection.names)
    whole = inspection.stamps.shape == (count, 2) and inspection.colors.shape == (count, 512)
    return inspection if whole and len(inspection.digests) == len(inspection.problems) == count else None


def _write_cache(path: Path, inspection: Inspection) -> None:
    stream = io.BytesIO()
    np.savez_compressed(
        stream,
        version=CACHE_VERSION,
        names=np.array(inspection.names, dtype=np.str_),
        stamps=inspection.stamps,
        digests=np.array(inspection.digests, dtype=np.str_),
        colors=inspection.colors,
        problems=np.array(inspection.problems, dtype=np.str_),
    )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_file(path, stream.getvalue())
    except (OSError, SettingsError):
        return  # without a cache the next call takes longer, nothing else
