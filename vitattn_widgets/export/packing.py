"""Finished heat maps become few bytes, as an exported page carries them; how far they are from the maps is measured.

A page undoes here what is done here, so the arithmetic is kept plain: differences of neighbours, then deflate. Where
all pixels of all maps are too many bytes, a map is kept as the coefficients of a cubic B-spline. Smoothed maps hold
nothing finer than a quarter of a patch, so far fewer coefficients than pixels give them again.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from ..errors import SettingsError

LEVELS = 255
"""Largest heat code: heat is kept in the 256 levels in which it is coloured."""

CLOSE = 1
"""A map kept as a spline is close where no pixel is off by more than this many of `LEVELS`."""

STEPS = (16, 12, 10, 8, 7, 6, 5, 4, 3, 2, 1.5)
"""Pixels a spline coefficient, fewest coefficients first."""

COARSE_STEPS = (14, 20, 24, 32, 48, 64)
"""What is left to try beside `STEPS` where there is no room for maps that are close."""

CODES = (255, 127, 63, 31, 15)
"""The numbers of steps between a map's lowest and highest coefficient that may be told apart; fewer are fewer bytes."""

LEAST_BYTES = 0.15
"""What a coefficient takes at least when packed; what takes more even so is not tried."""

PROBED = 6
"""Maps by which the bytes of all are guessed, before all are packed."""


@dataclass(frozen=True, eq=False)
class Sheet:
    """The maps that a page unpacks together: those of one layer and source.

    Attributes:
        codes: uint8 ``(map, height, width)``, heat in `LEVELS`.
        values: float32 ``(map, rows, cols)``, raw grid maps.
    """

    codes: np.ndarray
    values: np.ndarray


@dataclass(frozen=True, eq=False)
class PackedSheets:
    """All maps of a page, as bytes.

    Attributes:
        blocks: one deflated block a sheet. In it, little-endian: for each map two float32, the lowest coefficient and
            the step between codes, in levels of heat; then uint8 ``(map, *samples)``, the codes as `differences`;
            then the raw values as ``(byte, map, rows, cols)``, see `value_bytes`.
        samples: ``(height, width)`` of the codes: coefficients of a spline, or pixels where `exact`.
        exact: whether every pixel is kept as it was drawn.
        error: largest difference from a drawn map, in levels of heat.
        value_digits: significant digits of the raw values; 0 where they are left out.
    """

    blocks: tuple[bytes, ...]
    samples: tuple[int, int]
    exact: bool
    error: int
    value_digits: int


def pack_sheets(sheets: Sequence[Sheet], room: int, text: float = 4 / 3) -> PackedSheets:
    """Pack all maps of a page into the bytes that are left for them.

    Every pixel is kept where there is room for it. Else as few spline coefficients as give every pixel within `CLOSE`;
    where there is no room even for these, as many as there is room for, and `PackedSheets.error` says what it costs.

    Args:
        sheets: the maps, all of one size.
        room: bytes of text that the blocks may take.
        text: bytes of text that a byte of a block takes.

    Raises:
        SettingsError: too many maps for the room, however coarsely they are kept.
    """
    digits = _affordable_digits(sheets, room / text)
    size = sheets[0].codes.shape[1:]
    probes = _probes(sheets)
    count = sum(len(sheet.codes) for sheet in sheets)
    room_of_probes = room * len(probes) / count * 1.25 + 2000  # single maps pack worse than those of a layer

    def guess(samples: tuple[int, int], codes: int, worst: int) -> PackedSheets | None:
        packed = _pack(probes, samples, codes, digits, worst)
        return packed if packed is not None and _text_bytes(packed, text) <= room_of_probes else None

    def fit(samples: tuple[int, int], codes: int, worst: int) -> PackedSheets | None:
        packed = _pack(sheets, samples, codes, digits, worst)
        return packed if packed is not None and _text_bytes(packed, text) <= room else None

    for samples, worst in [(size, 0), *((_coarse(size, step), CLOSE) for step in STEPS)]:
        packed = guess(samples, CODES[0], worst) and fit(samples, CODES[0], worst)
        if packed:
            return packed
    tried = []
    for samples in (_coarse(size, step) for step in (*STEPS, *COARSE_STEPS)):
        if samples[0] * samples[1] * LEAST_BYTES * text <= room / count:
            fitting = ((guess(samples, codes, LEVELS), samples, codes) for codes in CODES)
            tried += [one for one in fitting if one[0]]
    for _, samples, codes in sorted(tried, key=lambda one: one[0].error):
        packed = fit(samples, codes, LEVELS)
        if packed:
            return packed
    raise SettingsError(f"{count} maps of {size[0]} x {size[1]} pixels do not fit one page; export fewer sources")


def _probes(sheets: Sequence[Sheet]) -> list[Sheet]:
    """Some of the maps, each as a sheet."""
    every = [(sheet, index) for sheet in sheets for index in range(len(sheet.codes))]
    some = every[:: max(1, len(every) // PROBED)]
    return [Sheet(sheet.codes[index : index + 1], sheet.values[index : index + 1]) for sheet, index in some]


def _coarse(size: tuple[int, int], step: float) -> tuple[int, int]:
    height, width = (max(2, round(side / step)) for side in size)
    return height, width


def _text_bytes(packed: PackedSheets, text: float) -> float:
    return sum(len(block) + 3 for block in packed.blocks) * text


def _pack(
    sheets: Sequence[Sheet], samples: tuple[int, int], codes: int, digits: int, worst: int
) -> PackedSheets | None:
    """None as soon as a pixel is off by more than `worst`."""
    blocks, error = [], 0
    for sheet, (kept, scales, off) in zip(sheets, _sampled(sheets, samples, codes), strict=True):
        error = max(error, off)
        if error > worst:
            return None
        blocks.append(_deflate(scales.tobytes() + differences(kept).tobytes() + value_bytes(sheet.values, digits)))
    return PackedSheets(tuple(blocks), samples, samples == sheets[0].codes.shape[1:], error, digits)


def _sampled(
    sheets: Sequence[Sheet], samples: tuple[int, int], codes: int
) -> Iterator[tuple[np.ndarray, np.ndarray, int]]:
    """Of each sheet the codes to keep, float32 ``(map, 2)`` of lowest coefficient and step, and the largest error."""
    size = sheets[0].codes.shape[1:]
    if samples == size:
        for sheet in sheets:
            yield sheet.codes, np.tile(np.float32([0, 1]), (len(sheet.codes), 1)), 0
        return
    (down, fit_down), (across, fit_across) = map(_spline_and_fit, size, samples)
    for sheet in sheets:
        coefficients = fit_down @ sheet.codes.astype(np.float64) @ fit_across.T
        low = coefficients.min((1, 2)).astype(np.float32)
        step = np.maximum((coefficients.max((1, 2)) - low) / codes, 1e-6).astype(np.float32)
        lows, steps = (part.astype(np.float64)[:, None, None] for part in (low, step))
        kept = ((coefficients - lows) / steps + 0.5).clip(0, codes).astype(np.uint8)
        again = down @ (lows + kept * steps) @ across.T
        off = np.abs((again + 0.5).clip(0, LEVELS).astype(np.int16) - sheet.codes).max()
        yield kept, np.stack([low, step], 1), int(off)


@lru_cache(maxsize=64)
def _spline_and_fit(pixels: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """`spline_basis` and what gives the coefficients nearest to some pixels, by least squares."""
    basis = spline_basis(pixels, count)
    return basis, np.linalg.pinv(basis)


def spline_basis(pixels: int, count: int) -> np.ndarray:
    """What each coefficient of a uniform cubic B-spline adds to each pixel; half-pixel centres, clamped at the ends.

    Returns:
        float64 ``(pixels, count)``; rows sum to 1, at most four entries of each are not 0.
    """
    where = (np.arange(pixels) + 0.5) * count / pixels - 0.5
    first = np.floor(where).astype(int)
    t = where - first
    weights = ((1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3)
    basis = np.zeros((pixels, count))
    for offset, weight in enumerate(weights, -1):
        np.add.at(basis, (np.arange(pixels), (first + offset).clip(0, count - 1)), weight / 6)
    return basis


def differences(codes: np.ndarray) -> np.ndarray:
    """Each code less what its left, upper and upper left neighbours let expect, modulo 256; running sums undo it.

    Args:
        codes: uint8 ``(map, height, width)``.
    """
    down = np.diff(codes, axis=1, prepend=np.uint8(0))
    return np.diff(down, axis=2, prepend=np.uint8(0))


_KEPT_BITS = {3: 12, 2: 16}
"""Significant digits of raw values, and the bits that are cut off a float32 for that many."""


def value_bytes(values: np.ndarray, digits: int) -> bytes:
    """Raw values as the upper bytes of float32, rounded to what so many significant digits need.

    Args:
        values: float32 ``(map, rows, cols)``.
        digits: 3, 2 or 0.

    Returns:
        The first bytes of all values, then the second ones, then the third ones where there are any.
    """
    if digits == 0:
        return b""
    cut = _KEPT_BITS[digits]
    bits = (np.ascontiguousarray(values, "<f4").view(np.uint32) + np.uint32(1 << (cut - 1))) >> cut << cut
    return bits.astype(">u4").view(np.uint8).reshape(-1, 4).T[: 4 - cut // 8].tobytes()


def _affordable_digits(sheets: Sequence[Sheet], room: float) -> int:
    """Raw values may take a quarter of the room."""
    for digits in sorted(_KEPT_BITS, reverse=True):
        if sum(len(_deflate(value_bytes(sheet.values, digits))) for sheet in sheets) <= room / 4:
            return digits
    return 0


def _deflate(content: bytes) -> bytes:
    # level 9 takes ten times as long for a twentieth less
    packer = zlib.compressobj(6, zlib.DEFLATED, -zlib.MAX_WBITS, 9, zlib.Z_FILTERED)
    return packer.compress(content) + packer.flush()
