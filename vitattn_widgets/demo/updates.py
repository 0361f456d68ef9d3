"""What a visitor's browser is to change on the page, by component; `static/follow.js` carries it out.

The server answers with values alone and never with a property update, not even `gradio.skip`: for each of those Gradio
(6.31: `Blocks.postprocess_data` and `preprocess_data`) makes another copy of the component and keeps it as long as it
knows the visitor, some 75 KB for every control that is moved.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..capture.capture import AttentionCapture
from ..maps.aggregate import TITLES, possible_aggregations
from ..maps.sinks import find_sinks
from ..maps.sources import CATALOGUE, FUSIONS, Source
from ..models.classes import likely_classes
from ..models.tokens import query_words
from . import html
from .controls import CONTROLS, NO_PANEL, PREDICTED, Controls, query_text
from .service import DemoService
from .visitor import MAX_KEPT_VIEWS, KeptView, Shown

PARTS = (
    *CONTROLS,
    *("photo", "use", "clear", "picture", "answer"),
    *("try", "check", "add", "comparing", "empty", "panel"),
)
"""The components that an answer may change, in the order of `page_updates`."""

Updates = dict[str, dict[str, Any]]


def page_updates(service: DemoService, shown: Shown, sent: Controls | None) -> Updates:
    """What the page is to change, for each of `PARTS`.

    Args:
        service: that which showed it.
        shown: what the page is to show.
        sent: the controls as they stand in the browser; None where it has only just opened the page.

    Returns:
        By name of a component: under ``"menu"`` what it offers, where it offers anything; under ``"classes"`` the names
        of all classes where the model is another; under ``"value"`` its new value, where it changes. A control that
        stands where it should has none: setting it would take it out of the hand that moves it.
    """
    updates = no_updates() | controls_back(shown.controls, sent)
    for name, menu in menus(shown).items():
        updates[name] = updates[name] | {"menu": menu}
    updates["picture"] = {"value": html.picture(shown)}
    if sent is None or shown.recaptured:
        updates["answer"] = {"value": html.answer(shown)}
    if sent is None or shown.remodelled:  # hundreds or thousands, and always the same for a model
        updates["target"]["classes"] = list(shown.capture.class_names)
    if shown.remapped:  # what is known of another map
        updates["check"] = {"value": ""}
    if shown.panel:
        updates["panel"] = {"value": html.panel(service, shown)}
    return updates


def no_updates() -> Updates:
    """What leaves the whole page as it is."""
    return {name: {} for name in PARTS}


def controls_back(controls: Controls, sent: Controls | None) -> Updates:
    """The updates that put controls where they should be, of those alone that stand elsewhere."""
    updates: Updates = {}
    for name in CONTROLS:
        value = getattr(controls, name)
        value = list(value) if isinstance(value, tuple) else value
        if sent is None or _differs(getattr(sent, name), value):
            updates[name] = {"value": value}
    return updates


def _differs(sent: Any, value: Any) -> bool:
    if isinstance(value, list):
        return not isinstance(sent, list | tuple) or set(map(str, sent)) != set(value)
    return str(sent) != str(value) and sent != value


NO_CLASSIFIER = "this model has no classifier"

Menu = dict[str, Any]


def menus(shown: Shown) -> dict[str, Menu]:
    """Properties of Gradio's components by the component's name; all are plain values that JSON takes."""
    capture, settings = shown.capture, shown.rendered.settings
    source, heads = settings.source_info, capture.num_heads(settings.layer)
    classifies = bool(capture.class_names)
    panels = [(name, name) for name in (NO_PANEL, *(str(number + 1) for number in range(len(shown.row.kept_views))))]
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
        "add": _add(shown.visitor.kept_views, shown.row.here),
        "comparing": {"visible": shown.controls.beside == "compare"},
        "first": {"choices": panels},
        "second": {"choices": panels},
        "empty": {"interactive": bool(shown.visitor.kept_views)},
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


def _add(kept_views: Sequence[KeptView], here: str) -> Menu:
    words = f"Add this view to compare ({len(kept_views)} of {MAX_KEPT_VIEWS})"
    if here in [kept.mark for kept in kept_views]:
        words = "This view is among your own views"
    elif len(kept_views) == MAX_KEPT_VIEWS:
        words = f"You have {MAX_KEPT_VIEWS} own views: remove one to add this"
    return {"value": words, "interactive": words.endswith(")")}


def _queries(shown: Shown, default: str) -> list[tuple[str, str]]:
    query = shown.rendered.settings.query
    queries = [(f"{default} (default)", "default")]
    queries += [(query_words(name), name) for name in shown.capture.queries(shown.rendered.settings.layer)]
    if isinstance(query, tuple):
        queries.append((query_words(query), query_text(query)))
    return queries
