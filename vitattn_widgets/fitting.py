"""Settings made for one capture, fitted to another: what still makes sense stays, the rest is brought within reach."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from .capture import AttentionCapture
from .errors import SettingsError
from .settings import ViewSettings
from .tokens import Query, resolve_index


def fit_settings(
    settings: ViewSettings,
    capture: AttentionCapture,
    asked: Collection[str] = (),
    grid: tuple[int, int] | None = None,
) -> ViewSettings:
    """Fit settings to a capture.

    Convention: a layer or head beyond the last becomes the last; a patch of another grid becomes the one at the same
    place in the picture; a query that the layer does not have becomes the layer's default; mean / std of a single head
    becomes the mean.

    Args:
        settings: what to show.
        capture: of which to show it.
        asked: names of settings that somebody has just asked for; these must fit as they are.
        grid: ``(rows, cols)`` that a patch query was chosen on; None is the capture's own.

    Returns:
        Settings that fit, with the layer and the head as numbers from 0 on.

    Raises:
        SettingsError: one of those asked for does not exist in this capture.
    """
    layer = settings.layer
    if "layer" not in asked:
        layer = max(-capture.num_layers, min(layer, capture.num_layers - 1))
    layer = capture.layer_index(layer)
    heads = capture.num_heads(layer)
    head = settings.head
    if head is not None:
        if "head" not in asked:
            head = max(-heads, min(head, heads - 1))
        head = resolve_index(head, heads, "head", f"layer {layer} of {capture.model_name}")
    aggregation = settings.aggregation
    if heads < 2 and "aggregation" not in asked and aggregation == "mean_over_std":
        aggregation = "mean"
    query = _fit_query(settings.query, capture, layer, grid, strict="query" in asked)
    return replace(settings, layer=layer, head=head, aggregation=aggregation, query=query)


def _fit_query(
    query: Query | None, capture: AttentionCapture, layer: int, grid: tuple[int, int] | None, strict: bool
) -> Query | None:
    if query is None:
        return None
    if not isinstance(query, str) and not strict and grid not in (None, capture.layout.grid):
        query = _same_place(query, grid, capture.layout.grid)
    captured = capture.layers[layer]
    try:
        captured.tokens.query_indices(query, f"layer {layer} ({captured.name}) of {capture.model_name}")
    except SettingsError:
        if strict:
            raise
        return None
    return query if isinstance(query, str) else (int(query[0]), int(query[1]))


def _same_place(patch: tuple[int, int], old: tuple[int, int], new: tuple[int, int]) -> tuple[int, int]:
    row, col = (int((index + 0.5) * after / before) for index, before, after in zip(patch, old, new, strict=True))
    return row, col
