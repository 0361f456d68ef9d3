"""Aggregating the maps of several heads into one."""

from __future__ import annotations

import numpy as np

from ..errors import SettingsError

AGGREGATIONS = ("mean", "max", "mean_over_std")

TITLES = {"mean": "mean", "max": "max", "mean_over_std": "mean / std"}
"""The name of each aggregation in menus and headings."""

FORMULAS = {
    "mean": "mean over {heads} heads",
    "max": "max over {heads} heads",
    "mean_over_std": "mean / std over {heads} heads",
}
"""The description of each aggregation in captions."""

STD_FLOOR = 1e-6
"""Smallest standard deviation to divide by, as a share of the mean."""


def possible_aggregations(heads: int) -> tuple[str, ...]:
    """The aggregations of a layer with this many heads: a single head has no mean / std."""
    return AGGREGATIONS if heads > 1 else tuple(name for name in AGGREGATIONS if name != "mean_over_std")


def aggregate_heads(maps: np.ndarray, aggregation: str = "mean") -> np.ndarray:
    """Aggregate raw attention maps over the heads; scaling comes last, never before.

    Convention: the standard deviation is the population's (ddof 0), over the heads. Below `STD_FLOOR` times the mean,
    it is replaced by that floor, so the result is always finite.

    Args:
        maps: ``(heads, rows, cols)``.
        aggregation: ``"mean"``, ``"max"`` or ``"mean_over_std"`` (eq. 4 of Calderaro et al. 2023).

    Returns:
        float32 ``(rows, cols)``.

    Raises:
        SettingsError: unknown aggregation, no head, or mean / std of fewer than two heads.
    """
    maps = np.asarray(maps, np.float64)
    if maps.ndim != 3 or len(maps) == 0:
        raise SettingsError(f"aggregate_heads needs maps of shape (heads, rows, cols), got {maps.shape}")
    match aggregation:
        case "mean":
            return maps.mean(0).astype(np.float32)
        case "max":
            return maps.max(0).astype(np.float32)
        case "mean_over_std":
            return _mean_over_std(maps).astype(np.float32)
    raise SettingsError(f"aggregation {aggregation!r} does not exist; possible: {', '.join(AGGREGATIONS)}")


def _mean_over_std(maps: np.ndarray) -> np.ndarray:
    if len(maps) < 2:
        raise SettingsError("mean_over_std needs at least two heads, this layer has one; choose 'mean' or 'max'")
    mean = maps.mean(0)
    std = np.maximum(maps.std(0), STD_FLOOR * np.abs(mean))
    return np.divide(mean, std, out=np.zeros_like(mean), where=std > 0)
