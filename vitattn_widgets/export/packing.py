"""Compressing the heat maps of an exported page, with the error measured.

The page has to undo this in the browser, so the arithmetic is simple: differences of neighbours, then deflate. If all
pixels of all maps are too many bytes, a map is kept as the coefficients of a cubic B-spline. Smoothed maps have no
detail finer than a quarter of a patch, so far fewer coefficients than pixels reproduce them.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from ..errors import SettingsError

LEVELS = 255
"""Largest heat code: heat has the 256 levels of its colour map."""

CLOSE = 1
"""A spline is close to its map if no pixel is off by more than this many of `LEVELS`."""

STEPS = (16, 12, 10, 8, 7, 6, 5, 4, 3, 2, 1.5)
"""Pixels per spline coefficient, fewest coefficients first."""

COARSE_STEPS = (14, 20, 24, 32, 48, 64)
"""Further steps, tried if there is no room for close maps."""

CODES = (255, 127, 63, 31, 15)
"""Numbers of steps to which coefficients may be quantised; fewer take fewer bytes."""

MIN_BYTES = 0.15
"""Lower bound of the bytes that a packed coefficient takes; sizes that exceed the room even so are not tried."""

PROBED = 6
"""Maps that are packed to estimate the bytes of all."""


@dataclass(frozen=True, eq=False)
class Sheet:
    """The maps of one layer and source, which a page unpacks together.

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
        blocks: one deflated block per sheet. It holds, little-endian: two float32 per map, the lowest coefficient and
            the step between codes, in levels of heat; then uint8 ``(map, *samples)``, the codes as `differences`;
            then the raw values as ``(byte, map, rows, cols)``, see `value_bytes`.
        samples: ``(height, width)`` of the codes: spline coefficients, or pixels if `exact`.
        exact: whether every pixel is kept as drawn.
        error: largest difference from a drawn map, in levels of heat.
        value_digits: significant digits of the raw values; 0 if they are left out.
    """

    blocks: tuple[bytes, ...]
    samples: tuple[int, int]
    exact: bool
    error: int
    value_digits: int


def pack_sheets(sheets: Sequence[Sheet], room: int, text: float = 4 / 3) -> PackedSheets:
    """Pack all maps of a page into the bytes that are left for them.

    Every pixel is kept if there is room. Else the fewest spline coefficients that reproduce every pixel within `CLOSE`
    are kept; if there is no room even for these, as many as fit, and `PackedSheets.error` reports the error.

    Args:
        sheets: the maps, all of one size.
        room: bytes of text that the blocks may take.
        text: bytes of text per byte of a block.

    Raises:
        SettingsError: too many maps for the room, however coarse.
    """
    digits = _affordable_digits(sheets, room / text)
    size = sheets[0].codes.shape[1:]
    probes = _probes(sheets)
    count = sum(len(sheet.codes) for sheet in sheets)
    room_of_probes = room * len(probes) / count * 1.25 + 2000  # a single map packs worse than a layer of them

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
    candidates: list[tuple[PackedSheets, tuple[int, int], int]] = []
    for samples in (_coarse(size, step) for step in (*STEPS, *COARSE_STEPS)):
        if samples[0] * samples[1] * MIN_BYTES * text <= room / count:
            guesses = ((guess(samples, codes, LEVELS), codes) for codes in CODES)
            candidates += [(probed, samples, codes) for probed, codes in guesses if probed]
    for _, samples, codes in sorted(candidates, key=lambda candidate: candidate[0].error):
        packed = fit(samples, codes, LEVELS)
        if packed:
            return packed
    raise SettingsError(f"{count} maps of {size[0]} x {size[1]} pixels do not fit one page; export fewer sources")


def _probes(sheets: Sequence[Sheet]) -> list[Sheet]:
    """About `PROBED` of the maps, each as a sheet."""
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
    """Pack all sheets; None as soon as a pixel is off by more than `worst`."""
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
    """Per sheet: the codes, float32 ``(map, 2)`` with the lowest coefficient and the step, and the largest error."""
    size = sheets[0].codes.shape[1:]
    if samples == size:
        for sheet in sheets:
            yield sheet.codes, np.tile(np.array([0, 1], np.float32), (len(sheet.codes), 1)), 0
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
    """`spline_basis`, and the matrix that fits coefficients to pixels by least squares."""
    basis = spline_basis(pixels, count)
    return basis, np.linalg.pinv(basis)


def spline_basis(pixels: int, count: int) -> np.ndarray:
    """Weight of each coefficient of a uniform cubic B-spline in each pixel; half-pixel centres, clamped at the ends.

    Returns:
        float64 ``(pixels, count)``; rows sum to 1 and have at most four entries that are not 0.
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
    """Each code minus its prediction from the left, upper and upper left neighbours, modulo 256; running sums undo it.

    Args:
        codes: uint8 ``(map, height, width)``.
    """
    down = np.diff(codes, axis=1, prepend=np.uint8(0))
    return np.diff(down, axis=2, prepend=np.uint8(0))


_CUT_BITS = {3: 12, 2: 16}
"""Bits that are cut off a float32, by the significant digits that remain."""


def bytes_per_value(digits: int) -> int:
    """The bytes that `value_bytes` keeps of each value."""
    return 4 - _CUT_BITS[digits] // 8 if digits else 0


def value_bytes(values: np.ndarray, digits: int) -> bytes:
    """Raw values as the upper bytes of float32, rounded to a number of significant digits.

    Args:
        values: float32 ``(map, rows, cols)``.
        digits: 3, 2 or 0.

    Returns:
        The first bytes of all values, then the second ones, then the third ones if needed.
    """
    if digits == 0:
        return b""
    cut = _CUT_BITS[digits]
    bits = (np.ascontiguousarray(values, "<f4").view(np.uint32) + np.uint32(1 << (cut - 1))) >> cut << cut
    return bits.astype(">u4").view(np.uint8).reshape(-1, 4).T[: bytes_per_value(digits)].tobytes()


def _affordable_digits(sheets: Sequence[Sheet], room: float) -> int:
    """The most significant digits with which the raw values take at most a quarter of the room."""
    for digits in sorted(_CUT_BITS, reverse=True):
        if sum(len(_deflate(value_bytes(sheet.values, digits))) for sheet in sheets) <= room / 4:
            return digits
    return 0


def _deflate(content: bytes) -> bytes:
    # level 9 takes ten times as long to save a twentieth
    packer = zlib.compressobj(6, zlib.DEFLATED, -zlib.MAX_WBITS, 9, zlib.Z_FILTERED)
    return packer.compress(content) + packer.flush()
