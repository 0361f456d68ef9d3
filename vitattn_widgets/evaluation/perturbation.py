"""Removing a picture patch by patch and restoring it: orders, altered pictures, areas under curves, SaCo."""

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


def without_groups(
    picture: np.ndarray,
    ground: np.ndarray,
    order: np.ndarray,
    groups: int,
    grid: tuple[int, int],
    patch_shape: tuple[int, int],
) -> tuple[np.ndarray, list[np.ndarray]]:
    """A picture without each of some groups of patches in turn; the groups are of one size, in an order.

    Args:
        picture: uint8 ``(H, W, 3)``.
        ground: uint8 ``(H, W, 3)``, what a replaced patch shows.
        order: the patches, from the first to the last.
        groups: how many.
        grid: ``(rows, cols)``.
        patch_shape: height and width of a patch in pixels.

    Returns:
        uint8 ``(groups, H, W, 3)``, and the patches of each group.
    """
    members = np.array_split(order, groups)
    rest = [np.concatenate([group, np.setdiff1d(order, group)]) for group in members]
    pictures = [
        altered_pictures(picture, ground, first, np.array([len(group)]), grid, patch_shape)
        for first, group in zip(rest, members, strict=True)
    ]
    return np.concatenate(pictures), members


def salience_coefficient(salience: np.ndarray, fall: np.ndarray) -> float:
    """How well the salience of groups of patches agrees with what the answer loses without them.

    SaCo of Wu et al. 2024, "On the Faithfulness of Vision Transformer Explanations" (arXiv:2404.01415), algorithm 1:
    of each two groups, the difference of their salience counts for the map if the more salient one matters at least as
    much, and against it otherwise; the sum is divided by that of all sizes.

    Args:
        salience: of each group, ``(groups,)``, the sum of the map over its patches.
        fall: of each group, ``(groups,)``, how much the class's probability falls without it.

    Returns:
        -1 (the more salient, the less it matters) .. 1; about 0 for a map that knows nothing; NaN for a constant one.
    """
    more, less = np.triu_indices(len(salience), 1)
    swap = salience[more] < salience[less]
    more, less = np.where(swap, less, more), np.where(swap, more, less)
    weight = salience[more] - salience[less]
    total = weight.sum()
    return float(np.where(fall[more] >= fall[less], weight, -weight).sum() / total) if total > 0 else np.nan


def blurred(picture: np.ndarray, sigma: float) -> np.ndarray:
    """A picture blurred until only rough colours and places remain, uint8 of the same shape."""
    smooth = ndimage.gaussian_filter(picture.astype(np.float32), (sigma, sigma, 0), mode="nearest")
    return np.rint(smooth).astype(np.uint8)


def area(probabilities: np.ndarray) -> float:
    """Area under a curve of evenly spaced points over a width of 1 (trapezoids): 0..1 for probabilities."""
    return float((probabilities[:-1] + probabilities[1:]).mean() / 2)
