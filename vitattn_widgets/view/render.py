"""The composition that every front end calls: a capture and settings in, a picture and its caption out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..capture.capture import AttentionCapture
from ..maps.attribution import RawMap, raw_map
from ..maps.resolve import ResolvedMap
from ..maps.settings import OUTLINED
from ..maps.sinks import find_sinks
from ..models.partitions import cell_pixels
from .captions import caption_of
from .drawing import (
    ValueRange,
    draw_frame,
    glow_strength,
    outline_patches,
    overlay,
    overlay_difference,
    place_on_source,
    scale_map,
    value_range,
)
from .settings import ViewSettings
from .smooth import smooth_map


@dataclass(frozen=True, eq=False)
class RenderedView:
    """One finished picture.

    Attributes:
        image: uint8 ``(H, W, 3)``, of the view's or the photo's size.
        grid_map: float32 ``(rows, cols)``, the raw map, one value per patch.
        heat: float32 ``(H, W)`` of the view, smoothed and scaled to 0..1; of signed values, 0.5 is zero.
        value_range: the raw values that became 0 and 1.
        caption: what exactly is shown, in one line.
        settings: those it was drawn with.
    """

    image: np.ndarray
    grid_map: np.ndarray
    heat: np.ndarray
    value_range: ValueRange
    caption: str
    settings: ViewSettings


@dataclass(frozen=True, eq=False)
class PreparedView:
    """A picture before colouring: everything that does not depend on scale, opacity, colour map and ground.

    Attributes:
        raw: the map and what it was computed from.
        sinks: bool ``(rows, cols)``, the sinks of its layer.
        heat: float32 ``(H, W)`` of the view, smoothed, in raw units.
        caption: what is shown.
        reached: bool ``(H, W)`` of the view, the pixels that the query can reach; None if that is all of them.
    """

    raw: RawMap
    sinks: np.ndarray
    heat: np.ndarray
    caption: str
    reached: np.ndarray | None = None

    def scaled_over(self, scale: str) -> np.ndarray:
        """The heat of the pixels that a scale is taken over: ``"robust"`` leaves out what the query cannot reach.

        A window can be less than 5% of the picture, and its percentiles would all be zero.
        """
        return self.heat if self.reached is None or scale != "robust" else self.heat[self.reached]


def render_view(
    capture: AttentionCapture, settings: ViewSettings | None = None, limits: ValueRange | None = None
) -> RenderedView:
    """Draw one picture: aggregate, smooth, scale, lay over, caption.

    Args:
        capture: from `capture_attention`.
        settings: what to show; None is the paper's map of the last layer.
        limits: raw values to map to 0 and 1, instead of the choice of ``settings.scale``.

    Returns:
        The finished picture; the same capture and settings always give the same one.

    Raises:
        SettingsError: a layer, head, query or class that this capture does not have, or a capture without
            what the source needs (`complete_capture`).
    """
    settings = settings or ViewSettings()
    return draw_view(capture, settings, prepare_view(capture, settings), limits)


def render_aggregations(capture: AttentionCapture, settings: ViewSettings) -> list[RenderedView]:
    """Draw every aggregation of the layer and the source, each as `render_view` does.

    Side by side they form the paper's figures; a source without heads has a single map.
    """
    settings = replace(settings, head=None)
    possible = settings.source_info.possible(capture.num_heads(settings.layer))
    if not possible:
        return [render_view(capture, settings)]
    return [render_view(capture, replace(settings, aggregation=aggregation)) for aggregation in possible]


def render_views(capture: AttentionCapture, panels: Sequence[ViewSettings]) -> list[RenderedView]:
    """Draw several panels of one capture; those whose scale is ``"shared"`` share one range of raw values.

    If one of these has signs, all of these are drawn as values for and against, as only then can they be compared.
    """
    prepared = [prepare_view(capture, settings) for settings in panels]
    shared = [one.heat for settings, one in zip(panels, prepared, strict=True) if settings.scale == "shared"]
    signed = any(settings.source_info.signed for settings in panels if settings.scale == "shared")
    limits = value_range(np.stack(shared), "shared", signed) if shared else None
    return [
        draw_view(capture, settings, one, limits, signed or None)
        if settings.scale == "shared"
        else draw_view(capture, settings, one)
        for settings, one in zip(panels, prepared, strict=True)
    ]


def prepare_view(capture: AttentionCapture, settings: ViewSettings) -> PreparedView:
    """The first steps of `render_view`: the raw map, its sinks, its smoothed heat and its caption, each computed once.

    Raises:
        SettingsError: as `render_view` does.
    """
    raw = raw_map(capture, settings)
    sinks = find_sinks(capture, raw.resolved.layer)
    layer = raw.resolved.layer
    heat = smooth_map(
        raw.grid_map,
        capture.covered(layer),
        max(capture.patch_shape(layer)),
        median=settings.median,
        gaussian=settings.gaussian,
        bilinear=settings.bilinear,
    )
    height, width = capture.view.shape[:2]
    heat = heat[:height, :width]
    return PreparedView(raw, sinks, heat, caption_of(capture, raw, sinks), _reached(capture, raw.resolved))


def _reached(capture: AttentionCapture, resolved: ResolvedMap) -> np.ndarray | None:
    """The pixels that the query can reach, if it is a patch of a layer with windows."""
    partition = capture.layers[resolved.layer].tokens.partition
    if partition is None or isinstance(resolved.query, str) or resolved.source.span != "layer":
        return None
    cells = partition.reach(*resolved.query)
    return None if cells.all() else cell_pixels(cells, capture.view.shape[:2], capture.covered(resolved.layer))


def draw_view(
    capture: AttentionCapture,
    settings: ViewSettings,
    prepared: PreparedView,
    limits: ValueRange | None = None,
    signed: bool | None = None,
) -> RenderedView:
    """The last steps of `render_view`, for callers that already hold the smoothed map.

    Args:
        capture: from `capture_attention`.
        settings: what is shown.
        prepared: from `prepare_view`, with settings that differ at most in scale, opacity, colour map and ground.
        limits: raw values to map to 0 and 1; None is the choice of ``settings.scale``.
        signed: whether the middle of the limits is zero and the map is drawn as values for and against; None is what
            its source says.
    """
    if limits is None:
        limits = _own_limits(settings, prepared)
    signed = prepared.raw.resolved.source.signed if signed is None else signed
    heat = scale_map(prepared.heat, limits, signed)
    strength = glow_strength(1 - prepared.raw.share)

    def lay_over(pixels: np.ndarray, values: np.ndarray) -> np.ndarray:
        if signed:
            return overlay_difference(pixels, values * np.float32(2) - np.float32(1), settings.opacity, settings.blend)
        return overlay(pixels, values, settings.opacity, settings.cmap, settings.blend, strength)

    height, width = capture.view.shape[:2]
    box = (0.0, 0.0, float(width), float(height))
    if settings.on == "view":
        image = lay_over(capture.view, heat)
    else:
        box = capture.crop_box
        placed, where = place_on_source(heat, capture.crop_box, capture.source.shape[:2])
        image = capture.source.copy()
        image[where] = lay_over(image[where], placed)
        image = draw_frame(image, where)
    if settings.sinks in OUTLINED:
        down, across = capture.covered(prepared.raw.resolved.layer)
        if (down, across) != (height, width):  # the last patches lie partly beyond the view
            left, top, right, bottom = box
            box = (left, top, left + (right - left) * across / width, top + (bottom - top) * down / height)
        image = outline_patches(image, prepared.sinks, box)
    return RenderedView(image, prepared.raw.grid_map, heat, limits, prepared.caption, settings)


def _own_limits(settings: ViewSettings, prepared: PreparedView) -> ValueRange:
    resolved = prepared.raw.resolved
    signed = resolved.source.signed
    if settings.scale != "shared":
        return value_range(prepared.scaled_over(settings.scale), settings.scale, signed)
    # alone, a shared scale is the range of all heads of the layer, if the map has their unit
    ratio = resolved.head is None and resolved.aggregation == "mean_over_std"
    if ratio or resolved.source.no_head:
        return value_range(prepared.heat, "map", signed)
    return value_range(prepared.raw.heads, signed=signed)
