"""Drawing smoothed maps: scaled to 0..1, coloured, laid over the view or the whole photo."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image
from scipy import ndimage

from ..errors import SettingsError

if TYPE_CHECKING:
    from ..images import CropBox

SCALES = ("map", "shared", "robust")

BLENDS = ("even", "glow")
"""How a map is laid over a picture: with one opacity everywhere (the paper's), or more where its value is higher."""

ROBUST_PERCENTILES = (5.0, 95.0)
"""Percentiles that ``"robust"`` maps to 0 and 1, so that a few sink patches do not blacken the rest."""

SIGNED_PERCENTILE = 99.0
"""Percentile of the sizes of signed values that ``"robust"`` maps to the ends of the colours: few patches decide."""

DEFAULT_CMAP = "inferno"

CMAPS = ("inferno", "magma", "plasma", "viridis", "cividis", "gray", "turbo")
"""Colour maps in menus, the perceptually uniform ones first; code may use any other name of matplotlib's."""

DIFFERENCE_CMAP = "RdBu_r"
"""Colours of values with signs: blue below zero, white at zero, red above; colour-blind readers tell them apart."""

ValueRange = tuple[float, float]


def value_range(heat: np.ndarray, scale: str = "map", signed: bool = False) -> ValueRange:
    """The raw values that a scale maps to 0 and 1.

    Args:
        heat: raw smoothed map, or several of one shape for a common range.
        scale: ``"map"`` and ``"shared"`` take the smallest and largest value, ``"robust"`` percentiles.
        signed: of values for and against: the range is symmetric, so that 0.5 is zero; its end is the largest size, or
            for ``"robust"`` the `SIGNED_PERCENTILE` of the sizes.
    """
    if signed:
        size = np.abs(heat)
        most = float(np.percentile(size, SIGNED_PERCENTILE)) if scale == "robust" else value_range(size, scale)[1]
        return 0.0 - most, most
    if scale == "robust":
        low, high = np.percentile(heat, ROBUST_PERCENTILES)
        return float(low), float(high)
    if scale not in SCALES:
        raise SettingsError(f"scale {scale!r} does not exist; possible: {', '.join(SCALES)}")
    return float(heat.min()), float(heat.max())


def scale_map(heat: np.ndarray, limits: ValueRange, signed: bool = False) -> np.ndarray:
    """Map raw values linearly to 0..1, clipped; a constant map becomes zeros, or 0.5, the zero of signed values.

    Returns:
        float32, the shape of `heat`.
    """
    low, high = limits
    span = high - low
    if not span > np.finfo(np.float32).tiny:
        return np.full(heat.shape, 0.5 if signed else 0, np.float32)
    return ((heat - np.float32(low)) / np.float32(span)).clip(0, 1).astype(np.float32)


@lru_cache(maxsize=32)
def color_table(cmap: str) -> np.ndarray:
    """The 256 colours of a matplotlib colour map, uint8 ``(256, 3)``.

    Raises:
        SettingsError: matplotlib has no such map.
    """
    from matplotlib import colormaps

    if not isinstance(cmap, str) or cmap not in colormaps:
        good = "inferno, magma, viridis, cividis, gray"
        raise SettingsError(f"colour map {cmap!r} does not exist; good ones: {good}, or any other name of matplotlib's")
    table = (colormaps[cmap](np.arange(256) / 255)[:, :3] * 255).round().astype(np.uint8)
    table.setflags(write=False)
    return table


def css_colors(cmap: str) -> str:
    """Some colours of a map from lowest to highest, as a CSS gradient lists them."""
    return ", ".join("#{:02x}{:02x}{:02x}".format(*color) for color in color_table(cmap)[::15])


def color_map(heat: np.ndarray, cmap: str = DEFAULT_CMAP) -> np.ndarray:
    """Colour a scaled map: float ``(H, W)`` in 0..1 to uint8 ``(H, W, 3)``."""
    return color_table(cmap).take((heat * 255 + 0.5).astype(np.uint8), axis=0)


MIN_STRENGTH = 0.25
"""Strength of a glow if no attention reaches the patches at all."""


def glow_strength(patch_share: float) -> float:
    """The factor that dims a glow if little of the attention reaches patches: 1 from one half on, never below 0.25.

    Args:
        patch_share: share of the attention that goes to patches, 0..1.
    """
    return min(1.0, max(MIN_STRENGTH, 2 * patch_share))


def overlay(
    view: np.ndarray,
    heat: np.ndarray,
    opacity: float = 0.5,
    cmap: str = DEFAULT_CMAP,
    blend: str = "even",
    strength: float = 1.0,
) -> np.ndarray:
    """Lay a coloured map over a picture.

    Convention: ``(1 - part) * picture + part * colour``, where `part` is the opacity for ``"even"``, and the opacity
    times heat times `strength` for ``"glow"``, so that the picture keeps its colours where the map is low.

    Args:
        view: uint8 ``(H, W, 3)``.
        heat: float ``(H, W)`` in 0..1.
        opacity: 0 is the picture alone, 1 the map alone (for ``"glow"``, where it is highest).
        cmap: name of a matplotlib colour map.
        blend: one of `BLENDS`.
        strength: factor of a glow, 0..1; see `glow_strength`.

    Returns:
        uint8 ``(H, W, 3)``.

    Raises:
        SettingsError: opacity outside 0..1, unknown blend or colour map, or shapes that differ.
    """
    if not 0 <= opacity <= 1:
        raise SettingsError(f"opacity must lie in 0..1, got {opacity!r}")
    if view.shape[:2] != heat.shape:
        raise SettingsError(f"the map {heat.shape} and the picture {view.shape[:2]} differ in size")
    if blend not in BLENDS:
        raise SettingsError(f"blend {blend!r} does not exist; possible: {', '.join(BLENDS)}")
    colors = color_map(heat, cmap)
    part: np.ndarray | np.float32 = np.float32(opacity)
    if blend == "glow":
        part = heat[..., None].astype(np.float32) * np.float32(opacity * strength)
    return (view * (1 - part) + colors * part + np.float32(0.5)).astype(np.uint8)


def overlay_difference(view: np.ndarray, heat: np.ndarray, opacity: float = 0.5, blend: str = "even") -> np.ndarray:
    """Lay values with signs over a picture: where they are zero the picture shows, and all colour is theirs.

    Convention: the picture is turned into light greys. The weight of a pixel's colour in `DIFFERENCE_CMAP` is
    ``|heat| ** ((1 - opacity) / (2 opacity))``; at the usual opacity of 0.5, that is the square root of ``|heat|``. For
    ``"glow"``, whose usual opacity is higher, it is ``|heat| ** ((1 - opacity) / opacity)``.

    Args:
        view: uint8 ``(H, W, 3)``.
        heat: float ``(H, W)`` in -1..1.
        opacity: 0 is the grey picture alone, 1 the coloured map alone.
        blend: one of `BLENDS`.

    Returns:
        uint8 ``(H, W, 3)``.
    """
    grey = light_grey(view)
    colors = color_map((heat + 1) / 2, DIFFERENCE_CMAP)
    part = np.zeros((*heat.shape, 1), np.float32)
    if opacity:
        power = (1 - opacity) / (opacity if blend == "glow" else 2 * opacity)
        part = (np.abs(heat) ** np.float32(power))[..., None]
    return (grey * (1 - part) + colors * part + np.float32(0.5)).astype(np.uint8)


def light_grey(view: np.ndarray) -> np.ndarray:
    """A picture in light greys, 90 to 243: float32 ``(H, W, 1)`` of uint8 ``(H, W, 3)``."""
    return np.asarray(Image.fromarray(view).convert("L"))[..., None] * np.float32(0.6) + np.float32(90)


def crop_slices(crop_box: CropBox, size: tuple[int, int]) -> tuple[slice, slice]:
    """The pixels of a photo of `size` ``(height, width)`` inside a crop, ``(rows, cols)``."""
    left, top, right, bottom = (round(side) for side in crop_box)
    return slice(max(0, top), min(size[0], bottom)), slice(max(0, left), min(size[1], right))


def place_on_source(
    heat: np.ndarray, crop_box: CropBox, size: tuple[int, int]
) -> tuple[np.ndarray, tuple[slice, slice]]:
    """A map of the view in the pixels of the photo.

    Args:
        heat: ``(H, W)`` of the view.
        crop_box: ``(left, top, right, bottom)`` of the view in the photo.
        size: ``(height, width)`` of the photo.

    Returns:
        The map resampled bilinearly to the photo's pixels inside the crop, and their place, ``(rows, cols)``.
    """
    left, top, right, bottom = crop_box
    rows, cols = crop_slices(crop_box, size)
    step = ((bottom - top) / heat.shape[0], (right - left) / heat.shape[1])  # photo pixels per view pixel
    # pixels are squares with their centres at half numbers: the first photo pixel's centre, in view pixels
    start = ((rows.start + 0.5 - top) / step[0] - 0.5, (cols.start + 0.5 - left) / step[1] - 0.5)
    shape = (rows.stop - rows.start, cols.stop - cols.start)
    placed = ndimage.affine_transform(
        heat, np.diag((1 / step[0], 1 / step[1])), offset=start, output_shape=shape, order=1, mode="nearest"
    )
    return placed, (rows, cols)


def draw_frame(picture: np.ndarray, where: tuple[slice, slice]) -> np.ndarray:
    """Frame a part of a picture, inside its edges: a white line between two black ones, visible on any photo.

    Args:
        picture: uint8 ``(H, W, 3)``.
        where: ``(rows, cols)`` of the part.

    Returns:
        uint8 ``(H, W, 3)``, a copy.
    """
    framed = picture.copy()
    _frame(framed[where], max(1, round(min(picture.shape[:2]) / 300)))
    return framed


def _frame(part: np.ndarray, line: int) -> None:
    """Draw the frame onto an array that shares the picture's memory."""
    for depth, color in ((0, 0), (line, 255), (2 * line, 0)):
        ring = part[depth : part.shape[0] - depth, depth : part.shape[1] - depth]
        ring[:line] = ring[-line:] = color
        ring[:, :line] = ring[:, -line:] = color


def outline_patches(picture: np.ndarray, patches: np.ndarray, box: CropBox) -> np.ndarray:
    """Frame some patches of a picture, each as `draw_frame` does.

    Args:
        picture: uint8 ``(H, W, 3)``.
        patches: bool ``(rows, cols)``.
        box: the place of the patch grid in the picture, ``(left, top, right, bottom)``.

    Returns:
        uint8 ``(H, W, 3)``, a copy.
    """
    rows, cols = patches.shape
    left, top, right, bottom = box
    across, down = (right - left) / cols, (bottom - top) / rows
    framed = picture.copy()
    for row, col in np.argwhere(patches):
        cell = (left + col * across, top + row * down, left + (col + 1) * across, top + (row + 1) * down)
        where = crop_slices(cell, picture.shape[:2])
        if framed[where].size:
            _frame(framed[where], max(1, round(min(across, down) / 16)))
    return framed
