"""Settings made for one capture, fitted to another: what still makes sense stays, the rest is brought within reach."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from .aggregate import possible_aggregations
from .capture import AttentionCapture
from .errors import SettingsError
from .settings import ViewSettings
from .sources import CATALOGUE
from .tokens import Query, resolve_index


def fit_settings(
    settings: ViewSettings,
    capture: AttentionCapture,
    asked: Collection[str] = (),
    grid: tuple[int, int] | None = None,
    class_names: Sequence[str] | None = None,
) -> ViewSettings:
    """Fit settings to a capture.

    Convention: a layer or head beyond the last becomes the last; a patch of another grid becomes the one at the same
    place in the picture; a query that the layer does not have becomes the layer's default; mean / std becomes the
    mean where the layer has one head or the source has no mean / std; a class becomes the one of the same name, else
    the predicted one; a source that needs a class becomes plain attention where the model has no classifier.

    Args:
        settings: what to show.
        capture: of which to show it.
        asked: names of settings that somebody has just asked for; these must fit as they are.
        grid: ``(rows, cols)`` that a patch query was chosen on; None is the capture's own.
        class_names: of the model for which the class was chosen; None is the capture's own.

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
    source = settings.source
    if not capture.class_names and not CATALOGUE[source].no_class and "source" not in asked:
        source = "attention"
    aggregation = settings.aggregation
    possible = CATALOGUE[source].possible(heads) or possible_aggregations(heads)
    if aggregation not in possible and "aggregation" not in asked:
        aggregation = "mean"
    return replace(
        settings,
        layer=layer,
        head=head,
        aggregation=aggregation,
        query=_fit_query(settings.query, capture, layer, grid, strict="query" in asked),
        source=source,
        target=_fit_class(settings.target, capture, class_names, strict="target" in asked),
    )


def _fit_class(
    target: int | None, capture: AttentionCapture, chosen_among: Sequence[str] | None, strict: bool
) -> int | None:
    if target is None:
        return None
    if strict:
        return capture.class_or_predicted(target)
    here, there = capture.class_names, capture.class_names if chosen_among is None else tuple(chosen_among)
    if not 0 <= target < len(there) or there[target] not in here:
        return None
    return target if here == there else here.index(there[target])


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
