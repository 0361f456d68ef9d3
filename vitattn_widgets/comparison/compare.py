"""Maps side by side on one scale, and the difference of two: captures and settings in, pictures out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..capture.cache import remembered
from ..capture.capture import AttentionCapture
from ..errors import SettingsError
from ..view.drawing import (
    DEFAULT_CMAP,
    DIFFERENCE_CMAP,
    ValueRange,
    draw_frame,
    overlay_difference,
    place_on_source,
    value_range,
)
from ..view.render import PreparedView, RenderedView, draw_view, prepare_view
from ..view.settings import ViewSettings
from .panels import Panel, difference_words, panel_titles, same_photo

COMPARED_SCALES = ("shared", "robust")
"""Scales that several panels can share."""

UNIT = "times the average patch of its map"
"""The unit of compared maps, whatever their source."""

NOISE = 1e-5
"""Values that differ by less, in `UNIT`, count as equal: float32 maps that should be equal differ by about 1e-6."""

NOT_ONE_PHOTO = (
    "a difference needs two maps of one photo, and these are of two photos, whose patches show different things; "
    "compare them side by side instead"
)

KEPT_PANELS = 16
"""Smoothed maps kept per capture, 0.2 MB each at 224 px: enough for a row of panels and the one that moves."""


@dataclass(frozen=True, eq=False)
class Comparison:
    """Several pictures on one scale.

    Attributes:
        views: one per panel, each what `render_view` draws with its ``value_range`` as limits.
        titles: one per panel, what distinguishes it from the others; empty for a single panel.
        common: what all panels share, in one line.
        limits: the values that became 0 and 1 in every panel, in `unit`.
        unit: unit of the values.
        cmap: the colour map of every panel.
    """

    views: tuple[RenderedView, ...]
    titles: tuple[str, ...]
    common: str
    limits: ValueRange
    unit: str
    cmap: str


@dataclass(frozen=True, eq=False)
class DifferenceView:
    """The difference of two maps.

    Attributes:
        image: uint8 ``(H, W, 3)``, of the view's or the photo's size.
        grid_map: float32 ``(rows, cols)``, the difference of the raw maps in `unit`; None if the grids or the
            parts of the photo that they cover differ.
        heat: float32 ``(h, w)`` in -1..1, the difference of the smoothed maps, at `where`.
        where: the pixels ``(rows, cols)`` of `image` that both models saw.
        value_range: ``(-m, m)``, the differences that became -1 and 1, in `unit`.
        unit: unit of the values.
        cmap: the colour map, neutral at 0.
        title: what is subtracted from what, in short.
        caption: the same in full, and the meaning of the colours, in one line.
        settings: those of the first panel, from which opacity and ground are taken.
    """

    image: np.ndarray
    grid_map: np.ndarray | None
    heat: np.ndarray
    where: tuple[slice, slice]
    value_range: ValueRange
    unit: str
    cmap: str
    title: str
    caption: str
    settings: ViewSettings


@dataclass(frozen=True, eq=False)
class _Prepared:
    """A panel before colouring, and the number of raw units in one `UNIT`."""

    view: PreparedView
    factor: float

    def in_unit(self) -> np.ndarray:
        return self.view.heat / np.float32(self.factor)

    def grid_in_unit(self) -> np.ndarray:
        return self.view.raw.grid_map / np.float32(self.factor)


def shared_scale(scale: str) -> str:
    """The scale of a comparison that corresponds to a single picture's scale (`drawing.SCALES`)."""
    return "robust" if scale == "robust" else "shared"


def compare_views(panels: Sequence[Panel], scale: str = "shared") -> Comparison:
    """Draw panels of any sources, aggregations, layers, heads, models and photos on one scale.

    Convention: raw maps of different sources, aggregations and grids have different units, so each is divided by the
    mean of the absolute values of its grid map over all patches. Then 3 is three times the average patch of its map,
    whatever the map; a map of zeros stays zero. Smoothing commutes with this division, so the raw map is smoothed, as
    everywhere. The scale is taken over the smoothed maps of all panels.

    Args:
        panels: at least one. All are drawn in the colour map of the first.
        scale: ``"shared"``, from the smallest to the largest value of all panels, or ``"robust"``, percentiles of all
            their pixels that the queries can reach.

    Returns:
        The panels in their order.

    Raises:
        SettingsError: no panel, an unknown scale, or settings that a panel's capture does not have.
    """
    if not panels:
        raise SettingsError("a comparison needs at least one panel")
    if scale not in COMPARED_SCALES:
        raise SettingsError(f"scale {scale!r} cannot be shared by panels; possible: {', '.join(COMPARED_SCALES)}")
    prepared = [_prepare(panel) for panel in panels]
    signed = any(panel.settings.source_info.signed for panel in panels)
    heats = [one.view.scaled_over(scale).ravel() / np.float32(one.factor) for one in prepared]
    low, high = value_range(np.concatenate(heats), scale, signed)
    if high - low < NOISE:  # constant maps, which differ by rounding alone: an empty range draws them as zeros
        low = high = 0.0 if signed else low
    cmap = DIFFERENCE_CMAP if signed else panels[0].settings.cmap
    views = [
        draw_view(
            panel.capture,
            replace(panel.settings, cmap=cmap, scale=scale),
            one.view,
            (low * one.factor, high * one.factor),
            signed,
        )
        for panel, one in zip(panels, prepared, strict=True)
    ]
    titles, common = panel_titles(panels)
    return Comparison(tuple(views), titles, common, (low, high), UNIT, cmap)


def difference_view(first: Panel, second: Panel, scale: str = "shared") -> DifferenceView:
    """The first map minus the second, each in `UNIT` as in `compare_views`.

    Convention: red means more in the first, blue more in the second, and where they agree the photo shows (see
    `overlay_difference`). The range is symmetric, so that equal strength means an equal difference either way.
    Contributions of one source are both divided by the mean of their two averages, so that "why this class and not
    that one" is the difference of their contributions. Maps of one view are subtracted there; others, from models with
    different crops or sizes, on the part of the photo that both models saw.

    Args:
        first: the picture takes its opacity and ground.
        second: a panel of the same photo.
        scale: ``"shared"``, up to the largest difference, or ``"robust"``, up to a percentile of the differences.

    Raises:
        SettingsError: two photos, no part of the photo that both models saw, an unknown scale, or settings that a
            panel's capture does not have.
    """
    if scale not in COMPARED_SCALES:
        raise SettingsError(f"scale {scale!r} does not exist for a difference; possible: {', '.join(COMPARED_SCALES)}")
    if not same_photo(first.capture, second.capture):
        raise SettingsError(NOT_ONE_PHOTO)
    one, other = _common_unit(_prepare(first), _prepare(second))
    same_view = first.capture.crop_box == second.capture.crop_box and one.view.heat.shape == other.view.heat.shape
    if same_view and first.settings.on == "view":
        ground, where = first.capture.view, (slice(0, one.view.heat.shape[0]), slice(0, one.view.heat.shape[1]))
        difference = one.in_unit() - other.in_unit()
    else:
        ground = first.capture.source
        difference, where = _difference_on_photo(first.capture, one.in_unit(), second.capture, other.in_unit())
    grid = None
    if same_view and one.view.raw.grid_map.shape == other.view.raw.grid_map.shape:
        grid = one.grid_in_unit() - other.grid_in_unit()
    size = np.abs(difference)
    most = largest = float(size.max())
    if scale == "robust":
        most = value_range(size, "robust")[1]
        # if only a few pixels differ, the percentile is noise, and those pixels are what must show
        most = most if most >= NOISE else largest
    if largest < NOISE:
        most = largest = 0.0
    heat = (difference / np.float32(most)).clip(-1, 1) if most else np.zeros_like(difference)
    image = ground.copy()
    image[where] = overlay_difference(ground[where], heat, first.settings.opacity, first.settings.blend)
    if ground is first.capture.source:
        image = draw_frame(image, where)
    title, words = difference_words(first, second, largest)
    return DifferenceView(
        image, grid, heat, where, (0.0 - most, most), UNIT, DIFFERENCE_CMAP, title, words, first.settings
    )


def _common_unit(one: _Prepared, other: _Prepared) -> tuple[_Prepared, _Prepared]:
    """Contributions of one source have a unit of their own: their difference is taken in the mean of their averages."""
    source = one.view.raw.resolved.source
    if not source.signed or source != other.view.raw.resolved.source:
        return one, other
    factor = (one.factor + other.factor) / 2
    return replace(one, factor=factor), replace(other, factor=factor)


def _difference_on_photo(
    first: AttentionCapture, one: np.ndarray, second: AttentionCapture, other: np.ndarray
) -> tuple[np.ndarray, tuple[slice, slice]]:
    """The difference of two views' maps in the pixels of their photo, and the place that both cover."""
    size = first.source.shape[:2]
    one, here = place_on_source(one, first.crop_box, size)
    other, there = place_on_source(other, second.crop_box, size)
    rows, cols = (slice(max(a.start, b.start), min(a.stop, b.stop)) for a, b in zip(here, there, strict=True))
    where = (rows, cols)
    if any(part.stop <= part.start for part in where):
        raise SettingsError(
            "the two models saw no common part of the photo, so there is nothing to subtract; compare them side by "
            "side instead"
        )

    def part_of(place: tuple[slice, slice]) -> tuple[slice, ...]:
        return tuple(
            slice(both.start - own.start, both.stop - own.start) for both, own in zip(where, place, strict=True)
        )

    return one[part_of(here)] - other[part_of(there)], where


def _prepare(panel: Panel) -> _Prepared:
    settings = replace(panel.settings, scale="map", opacity=1.0, cmap=DEFAULT_CMAP, on="view")

    def compute() -> _Prepared:
        view = prepare_view(panel.capture, settings)
        for array in (view.raw.grid_map, view.heat):
            array.setflags(write=False)
        factor = float(np.abs(view.raw.grid_map, dtype=np.float64).mean())
        return _Prepared(view, factor or 1.0)

    # the settings as text: in it, 0 and False differ
    return remembered(panel.capture, "panels", repr(settings), compute, most=KEPT_PANELS)
