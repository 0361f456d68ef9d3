"""A grid map becomes a map of the view's size: bilinear, median over a disk, Gaussian.

Everything stays in floating point and in raw attention units; scaling for display comes later.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage
from skimage.filters import rank
from skimage.morphology import disk

MEDIAN_LEVELS = 384
"""Levels of the fast median. Laid over the range of the medians, a level is finer than one display level of 256."""

MAX_PASSES = 8
"""After this many attempts to find the range of the medians, the slow exact filter is used instead."""


def smooth_map(
    grid_map: np.ndarray,
    size: tuple[int, int] = (224, 224),
    patch_size: int = 16,
    median: bool = True,
    gaussian: bool = True,
    bilinear: bool = True,
) -> np.ndarray:
    """Upscale a grid map to the view and smooth it, as in Calderaro et al. 2023, section 3.

    Convention: bilinear upscaling with half-pixel centres and clamped edges; then the median over a disk of radius
    ``patch_size // 2``; then a Gaussian of standard deviation ``patch_size / 4``, truncated at 4 of them. Both filters
    continue the map by reflection. Each step can be switched off; without `bilinear`, patches are plain squares.

    Args:
        grid_map: ``(rows, cols)``, raw.
        size: ``(height, width)`` of the view in pixels.
        patch_size: side of a patch in pixels.
        median: apply the median.
        gaussian: apply the Gaussian.
        bilinear: interpolate between patch centres.

    Returns:
        float32 ``(height, width)``, within the range of `grid_map`.
    """
    heat = upscale(grid_map, size, bilinear)
    if median:
        heat = disk_median(heat, patch_size // 2)
    if gaussian:
        heat = gaussian_blur(heat, patch_size / 4)
    return heat


def upscale(grid_map: np.ndarray, size: tuple[int, int], bilinear: bool = True) -> np.ndarray:
    """Upscale ``(rows, cols)`` to ``size`` with half-pixel centres; nearest patch where not `bilinear`.

    Returns:
        float32 ``(height, width)``.
    """
    # plain float32 products and sums in a fixed order: the viewer's engine does the same ones and gets the same pixels
    heat = np.asarray(grid_map, np.float32)
    for axis in (1, 0):
        first, second, weight = _places_between(heat.shape[axis], size[axis], bilinear)
        weight = weight if axis else weight[:, None]
        heat = heat.take(first, axis) * (1 - weight) + heat.take(second, axis) * weight
    return heat


def _places_between(patches: int, pixels: int, bilinear: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The two patches whose centres each pixel lies between, and the float32 weight of the second."""
    centres = (np.arange(pixels) + 0.5) * (patches / pixels)
    place = np.maximum(centres - 0.5, 0) if bilinear else np.floor(centres)
    first = place.astype(np.intp)
    return first, np.minimum(first + 1, patches - 1), (place - first).astype(np.float32)


def gaussian_blur(heat: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian of standard deviation `sigma` in pixels, cut at 4 of them and continued by reflection; float32."""
    return ndimage.gaussian_filter(heat, sigma, mode="reflect", truncate=4.0)


def disk_median(heat: np.ndarray, radius: int) -> np.ndarray:
    """Median over a disk, continued by reflection; a fast substitute for `scipy.ndimage.median_filter` on floats.

    scikit-image's rank median is exact on whole numbers, but slow for many of them. So the map is rounded to
    `MEDIAN_LEVELS` levels laid over the range of the medians, not of the whole map: a median does not depend on how far
    away a larger value is, so values outside that range may be clipped. The range is estimated on a subsampled map; if
    the result touches a clipped end or fills less than half of the levels, it is computed again over a better range.

    Args:
        heat: ``(height, width)``.
        radius: of the disk, in pixels; below 1 nothing changes.

    Returns:
        float32 ``(height, width)``, off by at most ``1 / MEDIAN_LEVELS`` of the range of the medians.
    """
    heat = np.asarray(heat, np.float32)
    if radius < 1:
        return heat
    footprint = disk(radius)
    padded = np.pad(heat, radius, mode="symmetric")
    lowest, highest = float(heat.min()), float(heat.max())
    low, high = _estimate_range(heat, radius)
    # the subsampled medians may miss the extremes; the second term opens a range that is empty
    margin = 0.02 * (high - low) + 1e-3 * (highest - lowest)
    if highest - lowest < np.finfo(np.float32).tiny:
        return heat
    for _ in range(MAX_PASSES):
        low, high = max(lowest, low - margin), min(highest, high + margin)
        # codes are rounded values: code c stands for low + c * level, and rounding keeps the order, so the median of
        # the codes is the code of the median
        level = (high - low) / (MEDIAN_LEVELS - 1)
        codes = ((padded.clip(low, high) - low) / level + 0.5).astype(np.uint16)
        codes = rank.median(codes, footprint)[radius:-radius, radius:-radius]
        first, last = int(codes.min()), int(codes.max())
        # a median at an end of the range may lie beyond it, unless that end is the map's own extreme
        clipped = (first == 0 and low > lowest) or (last == MEDIAN_LEVELS - 1 and high < highest)
        if clipped:
            margin *= 4
        elif 0 < last - first < MEDIAN_LEVELS // 2:  # levels too coarse: zoom in, with one level to spare at each end
            low, high, margin = low + first * level, low + last * level, level
        else:
            return (codes * np.float32(level) + np.float32(low)).astype(np.float32)
    return ndimage.median_filter(heat, footprint=footprint, mode="reflect")


def _estimate_range(heat: np.ndarray, radius: int) -> tuple[float, float]:
    """Roughly the smallest and the largest median: the exact ones of a subsampled map."""
    step = max(1, radius // 2)
    medians = ndimage.median_filter(heat[::step, ::step], footprint=disk(radius // step), mode="reflect")
    return float(medians.min()), float(medians.max())
