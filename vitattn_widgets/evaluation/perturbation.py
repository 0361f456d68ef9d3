"""Removing a picture patch by patch and restoring it: orders, altered pictures, areas under curves."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

BASELINE_ORDERS = ("random", "centre", "edge")
"""Orders that know nothing of the model: random, from the centre outwards, from the edge inwards."""


def map_order(grid_map: np.ndarray, seed: int = 0) -> np.ndarray:
    """The patches from the highest to the lowest value, ties in random order: int64 ``(patches,)``."""
    values = grid_map.ravel()
    shuffled = np.random.default_rng(seed).permutation(values.size)
    return shuffled[np.argsort(-values[shuffled], kind="stable")]


def baseline_order(name: str, grid: tuple[int, int], seed: int = 0) -> np.ndarray:
    """The patches in the order of one of `BASELINE_ORDERS`, int64 ``(patches,)``."""
    row, col = np.indices(grid)
    # distances are shares of the sides, so that on a wide picture the centre grows as wide as the picture is
    off_centre = np.maximum(
        *(np.abs((index + 0.5) / count - 0.5) for index, count in zip((row, col), grid, strict=True))
    )
    maps = {"random": np.zeros(grid), "centre": -off_centre, "edge": off_centre}
    return map_order(maps[name], seed)


def removed_counts(patches: int, steps: int) -> np.ndarray:
    """How many patches are removed at each point of a curve, evenly from 0 to all: int64 ``(steps + 1,)``."""
    return np.round(np.linspace(0, patches, steps + 1)).astype(int)


def altered_pictures(
    picture: np.ndarray,
    ground: np.ndarray,
    order: np.ndarray,
    counts: np.ndarray,
    grid: tuple[int, int],
    patch_shape: tuple[int, int],
) -> np.ndarray:
    """A picture with the first patches of an order replaced, once for each count.

    Args:
        picture: uint8 ``(H, W, 3)``.
        ground: uint8 ``(H, W, 3)``, what a replaced patch shows.
        order: the patches in the order in which they are replaced.
        counts: how many to replace.
        grid: ``(rows, cols)``.
        patch_shape: height and width of a patch in pixels; of pixels that are left over, the last row and column take
            care, and patches may exceed the picture.

    Returns:
        uint8 ``(len(counts), H, W, 3)``.
    """
    rank = np.empty(order.size, int)
    rank[order] = np.arange(order.size)
    height, width = picture.shape[:2]
    rows = np.minimum(np.arange(height) // patch_shape[0], grid[0] - 1)
    cols = np.minimum(np.arange(width) // patch_shape[1], grid[1] - 1)
    replaced = rank.reshape(grid)[rows][:, cols] < counts[:, None, None]  # (count, H, W)
    return np.where(replaced[..., None], ground, picture)


def blurred(picture: np.ndarray, sigma: float) -> np.ndarray:
    """A picture blurred until only rough colours and places remain, uint8 of the same shape."""
    smooth = ndimage.gaussian_filter(picture.astype(np.float32), (sigma, sigma, 0), mode="nearest")
    return np.rint(smooth).astype(np.uint8)


def area(probabilities: np.ndarray) -> float:
    """Area under a curve of evenly spaced points over a width of 1 (trapezoids): 0..1 for probabilities."""
    return float((probabilities[:-1] + probabilities[1:]).mean() / 2)
