"""Every layer and head at a glance: small maps of all of them in one picture."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from ..capture.capture import AttentionCapture
from ..errors import SettingsError
from ..models.tokens import Query
from .drawing import DEFAULT_CMAP, color_map

CELL_SIDE = 24
"""Longest side of a cell in pixels; larger grids are averaged down."""


@dataclass(frozen=True, eq=False)
class Overview:
    """All maps of a capture in one picture: one column per layer, one row per head, without gaps.

    Attributes:
        image: uint8 ``(heads * height, layers * width, 3)``; black below a layer with fewer heads than others.
        cell: ``(height, width)`` of a cell in pixels.
        heads: number of heads of each layer.
    """

    image: np.ndarray
    cell: tuple[int, int]
    heads: tuple[int, ...]


def render_overview(capture: AttentionCapture, query: Query | None = None, cmap: str = DEFAULT_CMAP) -> Overview:
    """Draw the raw grid map of every layer and head, each on its own scale from smallest to largest value.

    Args:
        capture: from `capture_attention`.
        query: the token whose attention is shown; a layer without it shows its own default query.
        cmap: name of a matplotlib colour map.

    Raises:
        SettingsError: matplotlib has no such colour map.
    """
    heads = tuple(layer.num_heads for layer in capture.layers)
    maps = [_small(_maps(capture, layer, query)) for layer in range(capture.num_layers)]
    height, width = maps[0].shape[1:]
    image = np.zeros((max(heads), height, len(maps), width, 3), np.uint8)
    for layer, layer_maps in enumerate(maps):
        image[: len(layer_maps), :, layer] = color_map(_scale_each(layer_maps), cmap)
    return Overview(image.reshape(max(heads) * height, len(maps) * width, 3), (height, width), heads)


def _maps(capture: AttentionCapture, layer: int, query: Query | None) -> np.ndarray:
    try:
        return capture.patch_attention(layer, query)
    except SettingsError:
        return capture.patch_attention(layer)


def _small(maps: np.ndarray) -> np.ndarray:
    """``(head, row, col)`` averaged down to cells of at most `CELL_SIDE`."""
    factor = CELL_SIDE / max(maps.shape[1:])
    if factor >= 1:
        return maps
    rows, cols = (max(1, round(side * factor)) for side in maps.shape[1:])
    return F.adaptive_avg_pool2d(torch.from_numpy(maps), (rows, cols)).numpy()


def _scale_each(maps: np.ndarray) -> np.ndarray:
    low = maps.min((1, 2), keepdims=True)
    span = maps.max((1, 2), keepdims=True) - low
    return np.divide(maps - low, span, out=np.zeros_like(maps), where=span > 0)
