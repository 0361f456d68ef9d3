"""How good a map is, in numbers: plain formulas on arrays, and the two baselines to compare them with.

A map is an array of finite, non-negative values in any unit, since each formula divides by the map's own sum. It is a
grid map ``(rows, cols)`` or a raw heat map ``(H, W)`` of the view. A map scaled for display is the wrong input: its
smallest value has become 0, which changes every share.

A mask says where the evidence is: 0 is elsewhere, 255 is not counted (a boundary that nobody could draw exactly, or
the padding around a photo), anything else is the evidence. A measure that is undefined is NaN, never a guess; means
over photos leave those out.
"""

from __future__ import annotations

import numpy as np

from ..datasets.masks import IGNORE

MEASURES = {
    "mass_on_mask": "on the mask",
    "pointing_game": "pointing game",
    "mass_on_outline": "on the mask's outline",
    "mask_area": "the mask's share of the picture",
    "prefix_share": "on prefix tokens",
    "border_share": "on the border",
    "border_share_without_sinks": "on the border, sinks left out",
    "flat_share": "on flat ground",
    "flat_share_without_sinks": "on flat ground, sinks left out",
    "entropy": "entropy",
    "head_agreement": "heads agree",
    "sink_share": "on sinks",
}
"""The columns of evaluations and sweeps that hold measures, and their headings."""

FLAT_PART = 0.25
"""The share of a photo's patches that counts as flat ground: those in which brightness varies least."""

LUMA = np.array([299, 587, 114], np.float32)
"""Weights of red, green and blue in brightness, in thousandths (ITU-R BT.601)."""


def mass_on_mask(heat: np.ndarray, mask: np.ndarray) -> float:
    """Share of a map on the evidence.

    ``sum of heat over the evidence / sum of heat over all counted pixels``; the energy-based pointing game of Wang et
    al. 2020 (Score-CAM, doi:10.1109/CVPRW50498.2020.00020), with masks instead of boxes.

    Args:
        heat: map.
        mask: of the map's shape.

    Returns:
        0..1; NaN where the mask holds no evidence or the counted part of the map is all zeros.

    Raises:
        ValueError: the shapes differ, or the map has negative or non-finite values.
    """
    heat, evidence, counted = _on_mask(heat, mask)
    return _ratio(heat[evidence].sum(), heat[counted].sum()) if evidence.any() else np.nan


def pointing_game(heat: np.ndarray, mask: np.ndarray) -> float:
    """Whether a map's maximum lies on the evidence (Zhang et al. 2018, doi:10.1007/s11263-017-1059-x).

    Its mean over photos is ``hits / (hits + misses)``. Convention: no tolerance around the evidence; a maximum on an
    ignored pixel is neither hit nor miss; several equal maxima count by their share on the evidence, so that a constant
    map scores as a pixel drawn at random would.

    Args:
        heat: map.
        mask: of the map's shape.

    Returns:
        1 for a hit, 0 for a miss, between them for ties; NaN where the mask holds no evidence or the maximum is
        ignored.

    Raises:
        ValueError: the shapes differ, or the map has negative or non-finite values.
    """
    heat, evidence, counted = _on_mask(heat, mask)
    highest = heat == heat.max()
    return _ratio((highest & evidence).sum(), (highest & counted).sum()) if evidence.any() else np.nan


def border_share(grid_map: np.ndarray, width: int = 1) -> float:
    """Share of a map in its outermost cells: ``sum of the ring / sum``.

    Calderaro et al. 2023, in their conclusion, read attention along the border as a sign of overfitting.

    Args:
        grid_map: map; on a grid map, a cell is a patch.
        width: of the ring, in cells.

    Returns:
        0..1; NaN for an all-zero map. A uniform 14 x 14 map has 0.265.

    Raises:
        ValueError: the map has negative or non-finite values, or the width is below 1.
    """
    if width < 1:
        raise ValueError(f"the border must be at least one cell wide, got {width}")
    grid_map = _map(grid_map)
    inner = grid_map[width:-width, width:-width].sum()
    return _ratio(grid_map.sum() - inner, grid_map.sum())


def flat_ground(view: np.ndarray, grid: tuple[int, int], part: float = FLAT_PART) -> np.ndarray:
    """Which patches of a photo are flat: the `part` of them in which brightness varies least.

    A patch's variation is the standard deviation of the brightness (BT.601) of its pixels. The limit is relative to the
    photo, so that smooth studio photos and leaves in the sun can be compared; patches that tie at the limit share what
    is left of the part, so that a plain background has no preferred corner.

    Args:
        view: uint8 ``(H, W, 3)``, what the model saw; `grid` must divide it.
        grid: ``(rows, cols)``.
        part: share of the patches, 0..1.

    Returns:
        float64 ``(rows, cols)`` in 0..1, how far each patch counts as flat; the sum is ``part * rows * cols``.

    Raises:
        ValueError: the grid does not divide the view, or `part` is outside 0..1.
    """
    rows, cols = grid
    height, width = view.shape[:2]
    if height % rows or width % cols:
        raise ValueError(f"a grid of {rows} x {cols} does not divide a view of {height} x {width} pixels")
    if not 0 <= part <= 1:
        raise ValueError(f"part must lie in 0..1, got {part}")
    # integers throughout, which floats hold exactly at these sizes: equal patches are equal to the last bit
    luma = view.reshape(-1, 3).astype(np.float32) @ LUMA
    patches = luma.reshape(rows, height // rows, cols, width // cols).swapaxes(1, 2).reshape(rows * cols, -1)
    patches = patches.astype(np.float64)
    total, squares = patches.sum(1).astype(np.int64), np.einsum("ij,ij->i", patches, patches).astype(np.int64)
    variation = (patches.shape[1] * squares - total**2).reshape(grid)  # the variance up to a factor
    count = part * rows * cols
    limit = np.sort(variation, axis=None)[min(int(count), variation.size - 1)]
    below, tied = variation < limit, variation == limit
    share = min(1.0, (count - below.sum()) / tied.sum())
    return below + share * tied


def share_on(grid_map: np.ndarray, weights: np.ndarray) -> float:
    """Share of a map on weighted cells: ``sum of map * weights / sum``; with `flat_ground`, the flat share.

    Calderaro et al. 2023, in their conclusion, name flat ground, like the border, as where a model that overfits looks.

    Args:
        grid_map: map.
        weights: of the map's shape, 0..1.

    Returns:
        0..1; NaN for an all-zero map.

    Raises:
        ValueError: the shapes differ, or the map has negative or non-finite values.
    """
    grid_map = _map(grid_map)
    _require_same_shape(grid_map, weights)
    return _ratio((grid_map * weights).sum(), grid_map.sum())


def entropy(grid_map: np.ndarray) -> float:
    """How widely a map is spread: Shannon's entropy as a share of the largest possible.

    ``-sum p log p / log(cells)`` with ``p = map / sum`` (Shannon 1948; of attention, Clark et al. 2019,
    doi:10.18653/v1/W19-4828). On a grid map, cells are patches.

    Returns:
        0 (all on one cell) .. 1 (uniform); NaN for an all-zero map or a map of one cell.

    Raises:
        ValueError: the map has negative or non-finite values.
    """
    grid_map = _map(grid_map)
    total = grid_map.sum()
    if total <= 0 or grid_map.size < 2:
        return np.nan
    return float(_entropy(grid_map[None] / total)[0] / np.log(grid_map.size))


def head_agreement(maps: np.ndarray) -> float:
    """How far the heads of a layer look at the same patches: 1 minus their Jensen-Shannon divergence.

    ``1 - (H(mean of p) - mean of H(p)) / log(heads)``, where ``p`` is each head's map divided by its sum and ``H`` is
    Shannon's entropy: the divergence of several distributions with equal weights (Lin 1991, doi:10.1109/18.61115),
    divided by its largest value.

    Args:
        maps: ``(heads, rows, cols)``.

    Returns:
        0 (no two heads share a patch) .. 1 (all heads alike); NaN for one head or an all-zero head.

    Raises:
        ValueError: the maps have negative or non-finite values.
    """
    maps = _map(maps)
    totals = maps.sum(axis=(1, 2), keepdims=True)
    if len(maps) < 2 or (totals <= 0).any():
        return np.nan
    heads = maps / totals
    divergence = _entropy(heads.mean(0, keepdims=True))[0] - _entropy(heads).mean()
    return float(np.clip(1 - divergence / np.log(len(maps)), 0, 1))


def uniform_map(grid: tuple[int, int]) -> np.ndarray:
    """The baseline that knows nothing: constant, float64 ``(rows, cols)`` with sum 1."""
    return np.full(grid, 1 / np.prod(grid))


def centre_blob(grid: tuple[int, int], sigma: float = 4.0) -> np.ndarray:
    """The baseline that knows only that people put their subject in the middle.

    Args:
        grid: ``(rows, cols)``.
        sigma: standard deviation of the Gaussian, in patches.

    Returns:
        float64 ``(rows, cols)`` with sum 1.
    """
    row, col = (np.exp(-((np.arange(count) - (count - 1) / 2) ** 2) / (2 * sigma**2)) for count in grid)
    blob = row[:, None] * col
    return blob / blob.sum()


def _on_mask(heat: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The map in float64, where the evidence is, and which pixels count."""
    heat = _map(heat)
    _require_same_shape(heat, mask)
    counted = mask != IGNORE
    return heat, counted & (mask != 0), counted


def _map(values: np.ndarray) -> np.ndarray:
    values = np.asarray(values, np.float64)
    if not np.isfinite(values).all() or (values < 0).any():
        raise ValueError("a map must hold finite values, none of them negative; take it as it was before scaling")
    return values


def _require_same_shape(values: np.ndarray, mask: np.ndarray) -> None:
    if values.shape != mask.shape:
        raise ValueError(
            f"a map of shape {values.shape} does not fit a mask of shape {mask.shape}; bring a map to the view's size "
            "with smooth_map, a mask with mask_on_view"
        )


def _entropy(distributions: np.ndarray) -> np.ndarray:
    """Shannon's entropy of each entry of the first axis, in nats; 0 log 0 is 0."""
    logs = np.log(distributions, out=np.zeros_like(distributions), where=distributions > 0)
    return -(distributions * logs).sum(axis=tuple(range(1, distributions.ndim)))


def _ratio(part: float, whole: float) -> float:
    return float(part / whole) if whole > 0 else np.nan
