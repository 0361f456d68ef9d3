"""Captions: what a picture shows, in words, and the unit of its values."""

from __future__ import annotations

import numpy as np

from ..capture.capture import AttentionCapture
from ..maps.aggregate import FORMULAS
from ..maps.attribution import RawMap, late_layers, raw_map
from ..maps.resolve import ResolvedMap
from ..maps.settings import MapSettings
from ..maps.sinks import find_sinks, share_of
from ..models.tokens import query_words


def caption(capture: AttentionCapture, settings: MapSettings) -> str:
    """One line that says what a picture shows: model, layer, source and class, head or formula, query, omissions.

    Raises:
        SettingsError: a layer, head, query or class that this capture does not have, or a capture without what the
            source needs (`complete_capture`).
    """
    raw = raw_map(capture, settings)
    return caption_of(capture, raw, find_sinks(capture, raw.resolved.layer))


def caption_of(capture: AttentionCapture, raw: RawMap, sinks: np.ndarray) -> str:
    """`caption` for callers that already hold the raw map and the sinks of its layer."""
    resolved = raw.resolved
    parts = [capture.model_name, capture.layer_words(resolved.layer), *_source_words(capture, resolved)]
    share = float(raw.prefix_share.mean())
    if resolved.head is not None:
        parts.append(f"head {resolved.head} of 0..{resolved.heads - 1}")
        share = float(raw.prefix_share[resolved.head])
    elif not resolved.source.no_head:
        parts.append(FORMULAS[resolved.aggregation].format(heads=resolved.heads))
    parts.append(_query_words(capture, resolved))
    one_layer = resolved.source.span == "layer"
    # the prefix tokens of the map's own layer, or of the whole model if the map is computed from several layers
    if capture.layers[resolved.layer].tokens.key_prefix if one_layer else capture.layout.prefix:
        parts.append(f"{share:.1%} of this {resolved.source.title} went to prefix tokens and is left out")
    if sinks.any():
        parts.append(_sink_words(raw, sinks))
    return ", ".join(parts)


def _source_words(capture: AttentionCapture, resolved: ResolvedMap) -> list[str]:
    """What the map is computed from; empty for plain attention."""
    source = resolved.source
    if source.plain:
        return []
    description = source.words
    if source.span == "late layers":
        layers = late_layers(capture, resolved.layer)
        description = f"{description}, summed over layers {layers[0]}..{layers[-1]}"
    elif source.span == "first to layer":
        description = f"{description} from layer 0 up to this one"
    if source.fuses_heads:
        description = f"{description}, heads fused by {resolved.aggregation}"
    target = [] if resolved.target is None else [_class_words(capture, resolved.target)]
    return [f"{description} ({source.reference})", *target]


def _class_words(capture: AttentionCapture, target: int) -> str:
    predicted = ", the prediction" if target == capture.class_or_predicted() else ""
    return f"for the class {capture.class_names[target]} ({capture.probabilities[target]:.1%}{predicted})"


def _sink_words(raw: RawMap, sinks: np.ndarray) -> str:
    count, many = int(sinks.sum()), sinks.sum() > 1
    share = share_of(raw.with_sinks, sinks)
    patches = f"{count} sink {'patches' if many else 'patch'}"
    if raw.resolved.sinks == "leave_out":
        return f"{patches} with {share:.0%} of the map {'are' if many else 'is'} left out"
    outlined = " (outlined)" if raw.resolved.sinks == "outline" else ""
    return f"{patches}{outlined} {'hold' if many else 'holds'} {share:.0%} of the map"


def _query_words(capture: AttentionCapture, resolved: ResolvedMap) -> str:
    query = resolved.query
    words = f"query: {query_words(query)}"
    read = capture.layout.read
    if not read:
        return f"{words} (this model has no classifier)"
    if all(part in read for part in (query.split("+") if isinstance(query, str) else [query])):
        last = resolved.layer == capture.num_layers - 1
        return f"{words}, which the classifier reads{'' if last else ' after the last layer'}"
    return f"{words} (the classifier reads the {' and the '.join(query_words(name) for name in read)} instead)"


def value_unit(settings: MapSettings) -> str:
    """The unit of a map's raw values, in words."""
    source = settings.source_info
    ratio = settings.head is None and settings.aggregation == "mean_over_std" and not source.no_head
    return "mean / std over the heads" if ratio else source.unit
