"""Attention sinks: patches that draw attention whatever the picture shows, found, measured and left out."""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from ..capture.cache import remembered
from ..capture.capture import AttentionCapture
from ..capture.patch_attention import split_prefix

NEIGHBOURS = 2
"""Reach of a patch's neighbourhood, in patches."""

QUANTILE = 0.75
"""Quantile of its neighbours with which a patch is compared: high enough that a corner of an object is no sink."""

SINK_RATIO = 5.0
"""A sink draws at least this many times that quantile, in the median over the heads."""

SINK_SHARE = 4.0
"""A sink draws at least this many times the average patch's attention, in the mean over the heads."""


def find_sinks(capture: AttentionCapture, layer: int = -1) -> np.ndarray:
    """Which patches of a layer are attention sinks.

    Convention: what a patch draws in a head is its mean patch attention over all patch queries, so that a patch which
    only one token attends to does not count; in a layer without patch queries, the default query's. A sink draws at
    least `SINK_RATIO` times the upper quartile of its neighbours (up to `NEIGHBOURS` rows and columns away) in the
    median over the heads, and at least `SINK_SHARE` times the average patch in their mean. Darcet et al. 2023, "Vision
    Transformers Need Registers" (arXiv:2309.16588), found such patches by the norms of their tokens; this rule uses
    attention alone. In ViT-Tiny's last four layers, any ratio from 4 to 12 finds the corners and hardly more. An object
    of one or two patches that all tokens attend to is found as well; only other photos can distinguish the two.

    Args:
        capture: from `capture_attention`.
        layer: layer number.

    Returns:
        bool ``(rows, cols)``, read-only.

    Raises:
        SettingsError: no such layer.
    """
    index = capture.layer_index(layer)

    def compute() -> np.ndarray:
        sinks = sink_patches(drawn_attention(capture, index))
        sinks.setflags(write=False)
        return sinks

    return remembered(capture, ("sinks", index), None, compute)


def drawn_attention(capture: AttentionCapture, layer: int) -> np.ndarray:
    """The attention that each patch draws from all patches, float32 ``(head, rows, cols)``; each head sums to 1."""
    captured = capture.layers[layer]
    row = capture.attention(layer, "mean" if captured.tokens.query_patches else None)
    return split_prefix(row, captured.tokens.first_patch, captured.tokens.grid)[0]


def sink_patches(drawn: np.ndarray) -> np.ndarray:
    """The rule of `find_sinks`, from the attention drawn, ``(head, rows, cols)``, to bool ``(rows, cols)``."""
    drawn = np.abs(drawn)
    around = _neighbour_quantile(drawn)
    ratio = np.divide(drawn, around, out=np.where(drawn > 0, np.inf, 0.0), where=around > 0)
    outstanding = np.median(ratio, axis=0) >= SINK_RATIO
    return outstanding & (drawn.mean(0) >= SINK_SHARE * drawn.mean())


def _neighbour_quantile(maps: np.ndarray) -> np.ndarray:
    """The `QUANTILE` of each cell's neighbours inside the grid, without the cell itself; of two values, the lower."""
    side = 2 * NEIGHBOURS + 1
    padded = np.pad(maps, ((0, 0), (NEIGHBOURS,) * 2, (NEIGHBOURS,) * 2), constant_values=np.nan)
    windows = sliding_window_view(padded, (side, side), axis=(1, 2)).reshape(*maps.shape, side * side)
    others = np.sort(np.delete(windows, side * side // 2, axis=-1), axis=-1)  # NaN, beyond the edges, sorts last
    count = np.isfinite(others).sum(-1)
    place = np.floor(QUANTILE * np.maximum(count - 1, 0)).astype(int)
    return np.nan_to_num(np.take_along_axis(others, place[..., None], -1)[..., 0])


def leave_out(maps: np.ndarray, sinks: np.ndarray, each: bool) -> np.ndarray:
    """Set some patches of maps to 0 and divide the rest by its sum.

    Args:
        maps: ``(head, rows, cols)``.
        sinks: bool ``(rows, cols)``.
        each: divide each head by its own sum; otherwise all by the mean of the sums, so that heads keep their weights.

    Returns:
        float32 ``(head, rows, cols)``; all zeros if nothing is left.
    """
    rest = np.where(sinks, 0, maps).astype(np.float64)
    left = np.abs(rest).sum((1, 2), keepdims=True)
    if not each:
        left = left.mean(0, keepdims=True)
    return np.divide(rest, left, out=np.zeros_like(rest), where=left > 0).astype(np.float32)


def share_of(grid_map: np.ndarray, sinks: np.ndarray) -> float:
    """The share of a map in some of its patches, 0..1; 0 for an all-zero map."""
    whole = float(np.abs(grid_map).sum())
    return float(np.abs(grid_map[sinks]).sum()) / whole if whole > 0 else 0.0
