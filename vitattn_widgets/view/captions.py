"""Captions: what a picture shows, in words, and the unit of its values."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..capture.capture import AttentionCapture
from ..maps.aggregate import FORMULAS
from ..maps.attribution import LogitParts, RawMap, late_layers, raw_map
from ..maps.resolve import ResolvedMap
from ..maps.settings import LEFT_OUT, OUTLINED, MapSettings
from ..maps.sinks import find_sinks, share_of
from ..maps.sources import Source
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
    if resolved.head is not None:
        parts.append(f"head {resolved.head} of 0..{resolved.heads - 1}")
    elif not resolved.source.no_head:
        words = FORMULAS[resolved.aggregation] if resolved.heads > 1 else ONE_HEAD
        parts.append(words.format(heads=resolved.heads))
    if not resolved.source.no_query:
        parts.append(_query_words(capture, resolved))
    if windows := windows_words(capture, resolved.layer):
        parts.append(f"attention inside {windows}")
    if raw.parts is not None:
        parts.append(_logit_words(capture, raw.parts, resolved))
    elif _has_prefix(capture, resolved):
        parts.append(f"{raw.share:.1%} of this {resolved.source.title} went to prefix tokens and is left out")
    elif raw.share > NOTHING and capture.layers[resolved.layer].tokens.padding:
        parts.append(
            f"{raw.share:.1%} of this {resolved.source.title} went to padding beyond the edges and is left out"
        )
    if sinks.any():
        parts.append(_sink_words(raw, sinks))
    return ", ".join(parts)


NOTHING = 0.0005
"""Share of the attention up to which a caption does not mention padding: windows inside the grid hold none."""


def _has_prefix(capture: AttentionCapture, resolved: ResolvedMap) -> bool:
    """Whether a map leaves out prefix tokens: of its own layer, or of the model if it is computed from several."""
    layer = capture.layers[resolved.layer]
    if resolved.source.span == "layer":
        return bool(layer.tokens.key_prefix)
    if not layer.staged:
        return bool(capture.layout.prefix)
    return any(capture.layers[index].tokens.key_prefix for index in late_layers(capture, resolved.layer))


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
    target = [] if source.no_class else [_class_words(capture, resolved.target)]
    return [f"{description} ({source.reference})", *target]


def _class_words(capture: AttentionCapture, target: int | None) -> str:
    if target is None:
        return f"for {capture.answer_words(target)} (this model has no classifier)"
    direction = capture.direction(target)
    if direction is not None:
        return f"for the {capture.answer_words(target)} (cosine {direction.cosine:.2f})"
    predicted = ", the prediction" if target == capture.class_or_predicted() else ""
    return f"for the class {capture.class_names[target]} ({capture.probabilities[target]:.1%}{predicted})"


def _sink_words(raw: RawMap, sinks: np.ndarray) -> str:
    count, many = int(sinks.sum()), sinks.sum() > 1
    share = share_words(share_of(raw.with_sinks, sinks))
    patches = f"{count} sink {'patches' if many else 'patch'}"
    outlined = " (outlined)" if raw.resolved.sinks in OUTLINED else ""
    if raw.resolved.sinks in LEFT_OUT:
        return f"{patches}{outlined} with {share} of the map {'are' if many else 'is'} left out"
    return f"{patches}{outlined} {'hold' if many else 'holds'} {share} of the map"


def share_words(share: float) -> str:
    """A share in 0..1 as a whole percentage; below half of one, ``"less than 1%"``."""
    return "less than 1%" if 0 < share < 0.005 else f"{share:.0%}"


def _logit_words(capture: AttentionCapture, parts: LogitParts, resolved: ResolvedMap) -> str:
    """How the logit is divided: what a map of contributions shows of it, and what it leaves out."""
    whole = bool(resolved.source.no_head)
    padded = capture.layers[resolved.layer].tokens.padding and not whole  # no padding enters a block
    others = "prefix tokens" if capture.layout.prefix else "padding" if padded else ""
    tokens = f", {parts.prefix:.2f} on {others}" if others else ""
    rest = "on biases" if whole else "past this attention"
    return f"of the logit {parts.logit:.2f}, {parts.patches:.2f} on patches{tokens}, {parts.rest:.2f} {rest}"


def _query_words(capture: AttentionCapture, resolved: ResolvedMap) -> str:
    query = resolved.query
    words = f"query: {query_words(query)}{_grid_words(capture, resolved)}"
    read = capture.layout.read
    if not read:
        return f"{words} (this model has no classifier)"
    rows, cols = capture.layout.grid
    if capture.layers[resolved.layer].tokens.query_grid != (rows, cols):
        names = " and the ".join(query_words(name) for name in read)
        return f"{words} (the classifier reads the {names} of the last layer, on {rows} x {cols} patches)"
    if all(part in read for part in (query.split("+") if isinstance(query, str) else [query])):
        last = resolved.layer == capture.num_layers - 1
        return f"{words}, which the classifier reads{'' if last else ' after the last layer'}"
    return f"{words} (the classifier reads the {' and the '.join(query_words(name) for name in read)} instead)"


def _grid_words(capture: AttentionCapture, resolved: ResolvedMap) -> str:
    """The grid of the queries, in a layer that has one of its own; else empty."""
    captured = capture.layers[resolved.layer]
    if not captured.staged or (isinstance(resolved.query, str) and resolved.query != "mean"):
        return ""
    rows, cols = captured.tokens.query_grid
    return f" of {rows} x {cols}"


def windows_words(capture: AttentionCapture, layer: int) -> str:
    """Where the attention of a layer stays; empty if every query reaches every key."""
    tokens = capture.layers[layer].tokens
    return tokens.partition.words if tokens.partition is not None and tokens.query_patches else ""


COUNT_WORDS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
"""Numbers of sinks as a sentence writes them; larger ones are digits."""

LITTLE = 0.5
"""Share of the attention below which a sentence says how much of it reaches patches."""

ONE_HEAD = "its only head"

HEADS = {
    "mean": "average of {heads} heads",
    "max": "strongest of {heads} heads",
    "mean_over_std": "mean / std of {heads} heads",
}
"""The aggregations as a sentence names them."""


def sentence(capture: AttentionCapture, settings: MapSettings) -> str:
    """What a picture shows, for a person: layer and heads, who looked where, and how much of it went elsewhere.

    `caption` is the complete line; this one leaves out model, module names, formulas and references.

    Raises:
        SettingsError: as `caption` does.
    """
    raw = raw_map(capture, settings)
    return sentence_of(capture, raw, find_sinks(capture, raw.resolved.layer))


def sentence_of(capture: AttentionCapture, raw: RawMap, sinks: np.ndarray) -> str:
    """`sentence` for callers that already hold the raw map and the sinks of its layer."""
    resolved = raw.resolved
    source = resolved.source
    place = [_layer_place(capture, resolved)]
    if resolved.head is not None:
        place.append(f"head {resolved.head}")
    elif not source.no_head:
        words = HEADS[resolved.aggregation] if resolved.heads > 1 else ONE_HEAD
        place.append(words.format(heads=resolved.heads))
    target = "" if source.no_class else capture.answer_words(resolved.target)
    query = query_words(resolved.query)
    text = f"{', '.join(place)}: {source.sentence.format(query=query, target=target)}."
    if windows := windows_words(capture, resolved.layer):
        text += f" Attention stays inside {windows}."
    if raw.parts is not None:
        text += f" {_logit_sentence(raw.parts, source, capture.layout.prefix)}"
    elif raw.share > LITTLE:
        text += f" Only {1 - raw.share:.0%} of it reaches patches."
    if sinks.any():
        count = int(sinks.sum())
        number = COUNT_WORDS[count] if count < len(COUNT_WORDS) else str(count)
        patches = f"{number} sink {'patches' if count > 1 else 'patch'}"
        treated = ", set apart" if resolved.sinks == "mark" else ", left out here" if resolved.sinks in LEFT_OUT else ""
        share = share_words(share_of(raw.with_sinks, sinks))
        text += f" {share[0].upper()}{share[1:]} {'lies on' if source.signed else 'goes to'} {patches}{treated}."
    return text


def _logit_sentence(parts: LogitParts, source: Source, prefix: Sequence[str]) -> str:
    whole, patches = _points(parts.logit), _points(parts.patches)
    if not source.no_head:
        return f"All heads of this layer bring {patches} of its score of {whole} from patches."
    others = "the class token" if tuple(prefix) == ("class",) else "other tokens"
    tokens = f"{_points(parts.prefix)} on {others}, " if prefix else ""
    return f"Of its score of {whole}, {patches} lies on patches, {tokens}{_points(parts.rest)} on biases."


def _points(value: float) -> str:
    """A part of a score with one digit, without a sign before zero."""
    text = f"{value:.1f}"
    return "0.0" if text == "-0.0" else text.replace("-", "−")


def _layer_place(capture: AttentionCapture, resolved: ResolvedMap) -> str:
    layer, last = resolved.layer, capture.num_layers - 1
    first = late_layers(capture, layer)[0] if resolved.source.span == "late layers" else layer
    if first < layer:
        return f"Layers {first} to {layer}"
    if layer == last:
        return "Last layer"
    return "First layer" if layer == 0 else f"Layer {layer} of 0 to {last}"


def listed(words: Sequence[str], last: str = "and") -> str:
    """``"a, b and c"``; `last` stands before the last one."""
    return f" {last} ".join(filter(None, (", ".join(words[:-1]), words[-1])))
