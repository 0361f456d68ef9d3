"""All maps of one photo that the reader of an exported page can choose, each drawn by `render_view`."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from PIL import Image

from ..capture.capture import AttentionCapture
from ..maps.attribution import source_maps
from ..maps.resolve import fit_settings
from ..maps.sources import CATALOGUE
from ..view.arrange import ground
from ..view.drawing import crop_slices, place_on_source
from ..view.render import RenderedView, render_view
from ..view.settings import ViewSettings
from .packing import LEVELS, Sheet

Choice = str | int | None
"""An aggregation, a head, or None if the source has neither."""


@dataclass(frozen=True, eq=False)
class LayerMaps:
    """All maps of one layer and source.

    Attributes:
        source: name of the source.
        layer: number of the layer.
        choices: the choices of this layer, in the order of the maps.
        views: the drawn views without their large arrays: settings, caption, value range.
        sheet: heat of the maps on the pixels of the picture, and their raw values.
        prefix_share: one share per head, or a single one for a source without heads.
        marks: PNG file of the marks over the layer's maps (frame, sinks), transparent elsewhere; empty without marks.
    """

    source: str
    layer: int
    choices: tuple[Choice, ...]
    views: tuple[RenderedView, ...]
    sheet: Sheet
    prefix_share: np.ndarray
    marks: bytes


def choices_of(capture: AttentionCapture, source: str, layer: int) -> tuple[Choice, ...]:
    """The aggregations and heads that a source has in a layer; a single None if it has neither."""
    known, heads = CATALOGUE[source], capture.num_heads(layer)
    return known.possible(heads) + (() if known.no_head else tuple(range(heads))) or (None,)


def chosen_settings(settings: ViewSettings, choice: Choice) -> ViewSettings:
    """The settings of one choice of a layer."""
    match choice:
        case str():
            return replace(settings, head=None, aggregation=choice)
        case int():
            return replace(settings, head=choice, aggregation="mean")
    return replace(settings, head=None, aggregation="mean")


def choice_of(settings: ViewSettings, capture: AttentionCapture) -> Choice:
    """The choice that some settings make in their layer."""
    choices = choices_of(capture, settings.source, settings.layer)
    return next(wanted for wanted in (settings.head, settings.aggregation, choices[0]) if wanted in choices)


def region(capture: AttentionCapture, settings: ViewSettings) -> tuple[slice, slice]:
    """The pixels of the picture that maps cover, ``(rows, cols)``."""
    size = ground(capture, settings).shape[:2]
    if settings.on == "view":
        return slice(0, size[0]), slice(0, size[1])
    return crop_slices(capture.crop_box, size)


def draw_layers(
    capture: AttentionCapture,
    settings: ViewSettings,
    sources: Sequence[str],
    progress: Callable[[Iterable[Any]], Iterable[Any]] = iter,
) -> list[LayerMaps]:
    """Draw every layer, head and aggregation of some sources.

    Args:
        capture: completed for all sources (`complete_capture`).
        settings: how to draw; a layer without their query shows its default query.
        sources: names of sources.
        progress: wraps the iterable of layers, like `tqdm`.

    Returns:
        All layers of the first source, then those of the next.
    """
    places = [(source, layer) for source in sources for layer in range(capture.num_layers)]
    marks: dict[int, bytes] = {}  # of a layer, whatever the source
    drawn = []
    for source, layer in progress(places):
        if layer not in marks:
            marks[layer] = _marks(capture, replace(settings, layer=layer))
        drawn.append(_draw_layer(capture, settings, source, layer, marks[layer]))
    return drawn


def _draw_layer(capture: AttentionCapture, settings: ViewSettings, source: str, layer: int, marks: bytes) -> LayerMaps:
    wanted = replace(settings, source=source, layer=layer, head=None, aggregation="mean")
    fitted = fit_settings(wanted, capture, asked=("layer", "source", "target"))
    choices = choices_of(capture, source, layer)
    views, codes, values = [], [], []
    for choice in choices:
        view = render_view(capture, chosen_settings(fitted, choice))
        codes.append(_heat_codes(capture, view))
        values.append(view.grid_map)
        nothing = np.empty(0, np.float32)
        views.append(replace(view, image=nothing, heat=nothing))  # hundreds of pictures would fill the memory
    return LayerMaps(
        source,
        layer,
        choices,
        tuple(views),
        Sheet(np.stack(codes), np.stack(values)),
        source_maps(capture, views[0].settings).prefix_share,
        marks,
    )


def _heat_codes(capture: AttentionCapture, view: RenderedView) -> np.ndarray:
    """Heat on the pixels of the picture, as the numbers of its colours: uint8 ``(height, width)``."""
    heat = view.heat
    if view.settings.on != "view":
        heat, _ = place_on_source(heat, capture.crop_box, capture.source.shape[:2])
    return (heat * LEVELS + 0.5).astype(np.uint8)


def _marks(capture: AttentionCapture, settings: ViewSettings) -> bytes:
    """The marks that `render_view` draws over a layer's maps, as a PNG file; empty if there are none.

    The pixels of marks are those that look the same over a black and a white picture.
    """
    if settings.on == "view" and settings.sinks != "outline":
        return b""
    drawing = ViewSettings(layer=settings.layer, on=settings.on, sinks=settings.sinks, opacity=0.0)
    name = "view" if settings.on == "view" else "source"
    black, white = (
        render_view(replace(capture, **{name: np.full_like(getattr(capture, name), level)}), drawing).image
        for level in (0, LEVELS)
    )
    drawn = (black == white).all(-1)
    if not drawn.any():
        return b""
    stream = io.BytesIO()
    alpha = np.where(drawn, np.uint8(LEVELS), np.uint8(0))
    Image.fromarray(np.dstack([np.where(drawn[..., None], black, 0), alpha])).save(stream, "PNG", optimize=True)
    return stream.getvalue()
