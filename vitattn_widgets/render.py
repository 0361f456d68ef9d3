"""The one composition that every front end calls: a capture and settings in, a picture and its caption out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from .aggregate import FORMULAS, aggregate_heads
from .attribution import late_layers, source_maps
from .capture import AttentionCapture
from .drawing import ValueRange, draw_frame, outline_patches, overlay, place_on_source, scale_map, value_range
from .settings import ViewSettings
from .sinks import find_sinks, leave_out, share_of
from .smooth import smooth_map
from .sources import CATALOGUE
from .tokens import Query, resolve_index


@dataclass(frozen=True, eq=False)
class RenderedView:
    """One finished picture.

    Attributes:
        image: uint8 ``(H, W, 3)``, of the view's or the photo's size.
        grid_map: float32 ``(rows, cols)``, the raw map, one value a patch.
        heat: float32 ``(H, W)`` of the view, smoothed and scaled to 0..1.
        value_range: the raw values that became 0 and 1.
        caption: what exactly is shown, in one line.
        settings: what was asked for.
    """

    image: np.ndarray
    grid_map: np.ndarray
    heat: np.ndarray
    value_range: ValueRange
    caption: str
    settings: ViewSettings


def grid_map(capture: AttentionCapture, settings: ViewSettings) -> np.ndarray:
    """The raw map that settings ask for, one value a patch: float32 ``(rows, cols)``.

    Raises:
        SettingsError: a layer, head, query or class that this capture does not have, an aggregation that the source
            does not have, or a capture without what the source needs (`complete_capture`).
    """
    maps = _head_maps(capture, settings)
    source = CATALOGUE[settings.source]
    if source.no_head:
        return maps[0]
    if settings.head is None:
        return aggregate_heads(maps, settings.aggregation)
    return maps[resolve_index(settings.head, len(maps), "head", layer_words(capture, settings))]


def _head_maps(capture: AttentionCapture, settings: ViewSettings) -> np.ndarray:
    """The source's raw maps, float32 ``(head, rows, cols)``, without the sinks where these are to be left out."""
    maps = source_maps(capture, settings).maps
    if settings.sinks != "leave_out":
        return maps
    return leave_out(maps, find_sinks(capture, settings.layer), each=settings.source == "attention")


def render_view(
    capture: AttentionCapture, settings: ViewSettings | None = None, limits: ValueRange | None = None
) -> RenderedView:
    """Draw one picture: aggregate, smooth, scale, lay over, caption.

    Args:
        capture: from `capture_attention`.
        settings: what to show; None is the paper's map of the last layer.
        limits: raw values to map to 0 and 1, in place of what ``settings.scale`` would choose.

    Returns:
        The finished picture; the same capture and settings always give the same one.

    Raises:
        SettingsError: a layer, head, query or class that this capture does not have, or a capture without
            what the source needs (`complete_capture`).
    """
    settings = settings or ViewSettings()
    grid = grid_map(capture, settings)
    return draw_view(capture, settings, grid, smooth_grid(capture, settings, grid), limits)


def render_aggregations(capture: AttentionCapture, settings: ViewSettings) -> list[RenderedView]:
    """Draw every aggregation that the layer and the source have, each as `render_view` does.

    Side by side they are the paper's figures; of a source without heads there is one map.
    """
    settings = replace(settings, head=None)
    possible = CATALOGUE[settings.source].possible(capture.num_heads(settings.layer))
    if not possible:
        return [render_view(capture, settings)]
    return [render_view(capture, replace(settings, aggregation=aggregation)) for aggregation in possible]


def render_views(capture: AttentionCapture, panels: Sequence[ViewSettings]) -> list[RenderedView]:
    """Draw several panels of one capture; those whose scale is ``"shared"`` share one range of raw values."""
    grids = [grid_map(capture, settings) for settings in panels]
    heats = [smooth_grid(capture, settings, grid) for settings, grid in zip(panels, grids, strict=True)]
    shared = [heat for settings, heat in zip(panels, heats, strict=True) if settings.scale == "shared"]
    limits = value_range(np.stack(shared), "shared") if shared else None
    return [
        draw_view(capture, settings, grid, heat, limits if settings.scale == "shared" else None)
        for settings, grid, heat in zip(panels, grids, heats, strict=True)
    ]


def smooth_grid(capture: AttentionCapture, settings: ViewSettings, grid: np.ndarray) -> np.ndarray:
    """A raw map at the size of the view, smoothed as the settings say: float32 ``(H, W)``, still in raw units."""
    return smooth_map(
        grid,
        capture.view.shape[:2],
        capture.layout.patch_size,
        median=settings.median,
        gaussian=settings.gaussian,
        bilinear=settings.bilinear,
    )


def draw_view(
    capture: AttentionCapture,
    settings: ViewSettings,
    grid: np.ndarray,
    raw_heat: np.ndarray,
    limits: ValueRange | None = None,
    words: str | None = None,
) -> RenderedView:
    """The end of `render_view`, for who has its beginning already.

    Args:
        capture: from `capture_attention`.
        settings: what is shown.
        grid: from `grid_map`.
        raw_heat: from `smooth_grid`.
        limits: raw values to map to 0 and 1; None is what ``settings.scale`` chooses.
        words: the caption, where it is known.
    """
    if limits is None:
        limits = _own_limits(capture, settings, raw_heat)
    heat = scale_map(raw_heat, limits)
    height, width = capture.view.shape[:2]
    box = (0.0, 0.0, float(width), float(height))
    if settings.on == "view":
        image = overlay(capture.view, heat, settings.opacity, settings.cmap)
    else:
        box = capture.crop_box
        placed, where = place_on_source(heat, capture.crop_box, capture.source.shape[:2])
        image = capture.source.copy()
        image[where] = overlay(image[where], placed, settings.opacity, settings.cmap)
        image = draw_frame(image, where)
    if settings.sinks == "outline":
        image = outline_patches(image, find_sinks(capture, settings.layer), box)
    return RenderedView(image, grid, heat, limits, words or caption(capture, settings), settings)


def _own_limits(capture: AttentionCapture, settings: ViewSettings, raw_heat: np.ndarray) -> ValueRange:
    if settings.scale != "shared":
        return value_range(raw_heat, settings.scale)
    ratio = settings.head is None and settings.aggregation == "mean_over_std"  # another unit than the heads' own
    if ratio or CATALOGUE[settings.source].no_head:
        return value_range(raw_heat, "map")
    return value_range(_head_maps(capture, settings))


def caption(capture: AttentionCapture, settings: ViewSettings) -> str:
    """What a picture shows, in one line: model, layer, source and class, head or formula, query, what is left out."""
    source = CATALOGUE[settings.source]
    shown = _source_words(capture, settings)
    shares = source_maps(capture, settings).prefix_share
    share = float(shares.mean())
    if not source.no_head:
        heads = capture.num_heads(settings.layer)
        if settings.head is None:
            shown.append(FORMULAS[settings.aggregation].format(heads=heads))
        else:
            head = resolve_index(settings.head, heads, "head", layer_words(capture, settings))
            shown.append(f"head {head} of 0..{heads - 1}")
            share = float(shares[head])
    parts = [capture.model_name, layer_words(capture, settings), *shown, _query_words(capture, settings)]
    through = settings.source in ("rollout", "relevance", "gradient_late")
    tokens = capture.layers[capture.layer_index(settings.layer)].tokens
    if capture.layout.prefix if through else tokens.key_prefix:
        parts.append(f"{share:.1%} of this {source.title} went to prefix tokens and is left out")
    sinks = find_sinks(capture, settings.layer)
    if sinks.any():
        parts.append(_sink_words(capture, settings, sinks))
    return ", ".join(parts)


def _source_words(capture: AttentionCapture, settings: ViewSettings) -> list[str]:
    """What the map is made of, where it is not plain attention."""
    source = CATALOGUE[settings.source]
    if settings.source == "attention":
        return []
    what = source.words
    if settings.source == "gradient_late":
        layers = late_layers(capture, settings.layer)
        what = f"{what}, summed over layers {layers[0]}..{layers[-1]}"
    elif source.no_head:
        what = f"{what} from layer 0 up to this one"
    if settings.source == "rollout":
        what = f"{what}, heads fused by {settings.aggregation}"
    return [f"{what} ({source.reference})"] + ([] if source.no_class else [_class_words(capture, settings.target)])


def _class_words(capture: AttentionCapture, target: int | None) -> str:
    index = capture.class_or_predicted(target)
    predicted = ", the prediction" if index == capture.class_or_predicted() else ""
    return f"for the class {capture.class_names[index]} ({capture.probabilities[index]:.1%}{predicted})"


def _sink_words(capture: AttentionCapture, settings: ViewSettings, sinks: np.ndarray) -> str:
    count, many = int(sinks.sum()), sinks.sum() > 1
    share = share_of(grid_map(capture, replace(settings, sinks="show")), sinks)
    patches = f"{count} sink {'patches' if many else 'patch'}"
    if settings.sinks == "leave_out":
        return f"{patches} with {share:.0%} of the map {'are' if many else 'is'} left out"
    return f"{patches}{' (outlined)' if settings.sinks == 'outline' else ''} {'hold' if many else 'holds'} {share:.0%}"


def layer_words(capture: AttentionCapture, settings: ViewSettings) -> str:
    """A layer as people read it: its number, how many there are, its module."""
    layer = capture.layer_index(settings.layer)
    return f"layer {layer} of 0..{capture.num_layers - 1} ({capture.layer_names[layer]})"


QUERY_WORDS = {
    "class": "class token",
    "dist": "distillation token",
    "class+dist": "mean of class and distillation token",
    "mean": "mean of the patches",
    "pool": "pooling latent",
}


def query_words(query: Query) -> str:
    """A query as people read it."""
    if isinstance(query, str):
        return QUERY_WORDS.get(query, f"token {query}")
    row, col = query
    return f"patch at row {row}, col {col}"


def _query_words(capture: AttentionCapture, settings: ViewSettings) -> str:
    query = capture.query_or_default(settings.layer, settings.query)
    words = f"query: {query_words(query)}"
    read = capture.layout.read
    if not read:
        return f"{words} (this model has no classifier)"
    if all(part in read for part in (query.split("+") if isinstance(query, str) else [query])):
        last = capture.layer_index(settings.layer) == capture.num_layers - 1
        return f"{words}, which the classifier reads{'' if last else ' after the last layer'}"
    return f"{words} (the classifier reads the {' and the '.join(query_words(name) for name in read)} instead)"
