"""Patch attention, eq. 3 of Calderaro et al. 2023: an attention row without its prefix keys, and what these took."""

from __future__ import annotations

import numpy as np


def split_prefix(row: np.ndarray, prefix: int, grid: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Patch attention (eq. 3 of the paper) and prefix share of attention rows.

    The softmax over the patch keys alone equals the model's row without its prefix keys, divided by the remainder.

    Convention: shares are of absolute weight. For softmax attention that is the weight itself; if a layer mixes heads
    (CaiT) or subtracts two softmaxes, weights can be negative, and each map's absolute values then sum to 1.

    Args:
        row: ``(..., head, key)``, float32 or float64.
        prefix: number of prefix keys.
        grid: ``(rows, cols)`` of the patches.

    Returns:
        ``(..., head, rows, cols)`` float32, each head's absolute values summing to 1, and ``(..., head)`` float32 in
        0..1, the share of the prefix keys. A head that attends to no patch at all has a map of zeros.
    """
    weight = np.abs(row).sum(-1)  # ... head
    patches = row[..., prefix:]
    left = np.abs(patches).sum(-1)
    share = 1 - np.divide(left, weight, out=np.zeros_like(left), where=weight > 0)
    maps = np.divide(patches, left[..., None], out=np.zeros_like(patches), where=left[..., None] > 0)
    return maps.reshape(*row.shape[:-1], *grid).astype(np.float32), share.clip(0, 1).astype(np.float32)
