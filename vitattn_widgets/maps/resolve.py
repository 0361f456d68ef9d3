"""Settings and a capture: what they mean for it, and how settings made for another capture are fitted to it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

from ..errors import SettingsError
from ..models.tokens import Query, resolve_index
from .aggregate import possible_aggregations
from .settings import MapSettings
from .sources import CATALOGUE, Source

if TYPE_CHECKING:  # settings are read without torch, which takes a second to load
    from ..capture.capture import AttentionCapture

OF_ONE_LAYER = tuple(
    repr(name) for name, source in CATALOGUE.items() if source.span != "first to layer" and not source.signed
)
"""The sources that exist for every model."""

Settings = TypeVar("Settings", bound=MapSettings)


@dataclass(frozen=True)
class ResolvedMap:
    """What `MapSettings` mean for one capture: None and negative numbers are replaced by what they stand for.

    Attributes:
        layer: from 0 on.
        heads: number of heads of that layer.
        head: from 0 on; None if the heads are aggregated or the source has no single heads.
        aggregation: how the heads are aggregated; without effect if there is a head.
        query: the token whose attention is shown; the layer's default if the source does not depend on it.
        source: what the map is computed from.
        target: number of the class or direction; None if the source does not depend on it, or for the features of a
            model without a classifier.
        sinks: one of `SINKS`.
    """

    layer: int
    heads: int
    head: int | None
    aggregation: str
    query: Query
    source: Source
    target: int | None
    sinks: str


def resolve(capture: AttentionCapture, settings: MapSettings) -> ResolvedMap:
    """Resolve once what settings mean for a capture.

    Raises:
        SettingsError: a layer, head, query or class that this capture does not have, or an aggregation that the source
            does not have.
    """
    layer, source = capture.layer_index(settings.layer), settings.source_info
    require_source(capture, source)
    heads = capture.num_heads(layer)
    head = None
    if settings.head is not None and not source.no_head:
        head = resolve_index(settings.head, heads, "head", capture.layer_words(layer))
    elif source.aggregations and not source.no_head and settings.aggregation not in source.aggregations:
        raise SettingsError(
            f"the source {source.name!r} has no aggregation {settings.aggregation!r}; possible: "
            f"{', '.join(source.aggregations)}"
        )
    query = capture.query_or_default(layer, None if source.no_query else settings.query)
    capture.query_indices(layer, query)  # raises for a query that this layer does not have
    return ResolvedMap(
        layer=layer,
        heads=heads,
        head=head,
        aggregation=settings.aggregation,
        query=query if isinstance(query, str) else (int(query[0]), int(query[1])),
        source=source,
        target=None if source.no_class else capture.resolve_target(settings.target),
        sinks=settings.sinks,
    )


def unavailable(capture: AttentionCapture, source: Source) -> str:
    """Why a source does not exist for a capture's model; empty if it does."""
    if source.signed:
        return f"{capture.undivided}; choose one of {', '.join(OF_ONE_LAYER)}" if capture.undivided else ""
    if source.span != "first to layer" or capture.followed:
        return ""
    return (
        "between its layers lie poolings or other steps that attention does not describe, so nothing can "
        f"be followed through all of them; choose one of {', '.join(OF_ONE_LAYER)}"
    )


def fit_settings(
    settings: Settings,
    capture: AttentionCapture,
    asked: Collection[str] = (),
    grid: tuple[int, int] | None = None,
    class_names: Sequence[str] | None = None,
) -> Settings:
    """Fit settings to a capture.

    Convention: a layer or head beyond the last becomes the last; a patch of another grid becomes the one at the same
    place in the picture; a query that the layer does not have becomes the layer's default; mean / std becomes the
    mean if the layer has one head or the source has no mean / std; a class becomes the one of the same name, else
    the predicted one; a source that the model does not have becomes one that it has.

    Args:
        settings: what to show.
        capture: the capture that they must fit.
        asked: names of the settings that the user has just chosen; these must fit as they are.
        grid: ``(rows, cols)`` on which a patch query was chosen; None is the capture's own.
        class_names: targets among which the class was chosen; None is the capture's own.

    Returns:
        Settings that fit, with layer and head as numbers from 0 on.

    Raises:
        SettingsError: one of the settings in `asked` does not exist in this capture.
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
    if "source" not in asked:
        source = _available_source(capture, CATALOGUE[source])
    aggregation = settings.aggregation
    # a source without aggregations leaves the setting for the next source: then only the layer limits it
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


def require_source(capture: AttentionCapture, source: Source) -> None:
    """Raise if a source does not exist for a capture's model.

    Raises:
        SettingsError: with the reason, and the sources that do.
    """
    reason = unavailable(capture, source)
    if reason:
        raise SettingsError(f"the source {source.name!r} does not exist for {capture.model_name}: {reason}")


def _available_source(capture: AttentionCapture, source: Source) -> str:
    """The name of the source, or of the one that takes its place where the model lacks it."""
    if not unavailable(capture, source):
        return source.name
    return "gradient_late" if source.signed else "attention"


def _fit_class(
    target: int | None, capture: AttentionCapture, chosen_among: Sequence[str] | None, strict: bool
) -> int | None:
    if target is None:
        return None
    if strict:
        return capture.resolve_target(target)
    # matched by name, as numbers differ between models; equal lists keep the number, as names may repeat
    here = capture.target_names
    there = here if chosen_among is None else tuple(chosen_among)
    if not 0 <= target < len(there) or there[target] not in here:
        return None
    return target if here == there else here.index(there[target])


def _fit_query(
    query: Query | None, capture: AttentionCapture, layer: int, grid: tuple[int, int] | None, strict: bool
) -> Query | None:
    if query is None:
        return None
    own = capture.layers[layer].tokens.query_grid
    if not isinstance(query, str) and not strict and grid not in (None, own):
        query = _same_place(query, grid, own)
    try:
        capture.query_indices(layer, query)
    except SettingsError:
        if strict:
            raise
        return None
    return query if isinstance(query, str) else (int(query[0]), int(query[1]))


def _same_place(patch: tuple[int, int], old: tuple[int, int], new: tuple[int, int]) -> tuple[int, int]:
    # the new patch that contains the centre of the old one
    row, col = (int((index + 0.5) * after / before) for index, before, after in zip(patch, old, new, strict=True))
    return row, col
