"""What the page's controls offer for what is shown, and why those rest that have no meaning there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .aggregate import TITLES, possible_aggregations
from .capture import AttentionCapture
from .classes import likely_classes
from .demo_controls import NO_PANEL, PREDICTED, query_text
from .demo_rows import MAX_PINS, Pin
from .demo_visit import Shown
from .render import query_words
from .sinks import find_sinks
from .sources import CATALOGUE, FUSIONS, Source

NO_CLASSIFIER = "this model has no classifier"

Menu = dict[str, Any]


def menus(shown: Shown) -> dict[str, Menu]:
    """Properties of Gradio's components by the component's name; all are plain values that JSON takes."""
    capture, settings = shown.capture, shown.rendered.settings
    source, heads = CATALOGUE[settings.source], capture.num_heads(settings.layer)
    classifies = bool(capture.class_names)
    panels = [(name, name) for name in (NO_PANEL, *(str(number + 1) for number in range(len(shown.row.pins))))]
    default = query_words(capture.query_or_default(settings.layer))
    return {
        "source": _sources(source, classifies),
        "target": _classes(capture, source),
        "layer": {"maximum": capture.num_layers - 1},
        "head": {
            "choices": [(name, name) for name in ("all", *map(str, range(heads)))],
            **_rest(source.no_head, "all of them as one map, or one alone"),
        },
        "aggregation": _aggregations(source, heads, settings.head),
        "sinks": _sinks(capture, settings.layer),
        "query": {"choices": _queries(shown, default)},
        "opacity": {"interactive": shown.controls.arrangement == "overlay"},
        "use": {"interactive": classifies},
        "clear": {"value": f"Back to the {default}", "interactive": settings.query is not None},
        "try": {"interactive": classifies},
        "add": _add(shown.visit.pins, shown.row.here),
        "comparing": {"visible": shown.controls.beside == "compare"},
        "first": {"choices": panels},
        "second": {"choices": panels},
        "empty": {"interactive": bool(shown.visit.pins)},
    }


def _rest(why: str, words: str) -> Menu:
    """A control with the reason why it rests, or else with what it is for."""
    return {"interactive": not why, "info": why or words}


def _sources(source: Source, classifies: bool) -> Menu:
    choices = [(made.title, name) for name, made in CATALOGUE.items() if classifies or made.no_class]
    missing = "" if classifies else f"; those made of gradients need a class, and {NO_CLASSIFIER}"
    return {"choices": choices, "info": f"{source.words} ({source.reference}){missing}"}


def _classes(capture: AttentionCapture, source: Source) -> Menu:
    """The most probable classes; the browser puts all others after them."""
    if not capture.class_names:
        return {"choices": [("none", PREDICTED)], **_rest(NO_CLASSIFIER, "")}
    likely = likely_classes(capture.probabilities)
    choices = [(f"predicted: {capture.class_names[likely[0]]}", PREDICTED)]
    choices += [(f"{capture.class_names[index]} {capture.probabilities[index]:.1%}", str(index)) for index in likely]
    return {"choices": choices, **_rest(source.no_class, "Click, and type a part of any class's name.")}


def _aggregations(source: Source, heads: int, head: int | None) -> Menu:
    possible = source.possible(heads) or possible_aggregations(heads)  # those of no aggregation rest
    alone = f"head {head} alone is shown" if head is not None and not source.no_head else ""
    words = "how the heads become one map"
    if source.aggregations == FUSIONS:
        words = "how the heads of each layer become one matrix; a mean over a deviation is none"
    return {
        "choices": [(TITLES[name], name) for name in possible],
        **_rest(source.no_aggregation or alone, words),
    }


def _sinks(capture: AttentionCapture, layer: int) -> Menu:
    count = int(find_sinks(capture, layer).sum())
    words = f"{count} {'patches of this layer draw' if count > 1 else 'patch of this layer draws'} attention from all"
    return _rest("" if count else "no patch of this layer is a sink", words)


def _add(pins: Sequence[Pin], here: str) -> Menu:
    words = f"Add this view to compare ({len(pins)} of {MAX_PINS})"
    if here in [pin.mark for pin in pins]:
        words = "This view is among your own views"
    elif len(pins) == MAX_PINS:
        words = f"You have {MAX_PINS} own views: remove one to add this"
    return {"value": words, "interactive": words.endswith(")")}


def _queries(shown: Shown, default: str) -> list[tuple[str, str]]:
    query = shown.rendered.settings.query
    queries = [(f"{default} (default)", "default")]
    queries += [(query_words(name), name) for name in shown.capture.queries(shown.rendered.settings.layer)]
    if isinstance(query, tuple):
        queries.append((query_words(query), query_text(query)))
    return queries
