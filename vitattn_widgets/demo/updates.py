"""The changes to a visitor's page, by component; `static/follow.js` applies them.

The server sends plain values and never a property update, not even `gradio.skip`: for each of those, Gradio (6.31:
`Blocks.postprocess_data` and `preprocess_data`) copies the component and keeps the copy as long as it remembers the
visitor, about 75 KB for every move of a control.
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
    """The changes for each of `PARTS`.

    Args:
        service: draws the panel below the picture.
        shown: the new state of the page.
        sent: the controls as they stand in the browser; None if it has just opened the page.

    Returns:
        By name of a component, any of: ``"menu"``, its properties; ``"classes"``, all class names if the model changed;
        ``"value"``, its new value. A control that already has its value gets none, as setting it would interrupt
        the visitor who is moving it.
    """
    updates = no_updates() | controls_back(shown.controls, sent)
    for name, menu in menus(shown).items():
        updates[name] = updates[name] | {"menu": menu}
    updates["picture"] = {"value": html.picture(shown)}
    if sent is None or shown.recaptured:
        updates["answer"] = {"value": html.answer(shown)}
    if sent is None or shown.remodelled:  # there can be thousands, so they are sent once per model
        updates["target"]["classes"] = list(shown.capture.class_names)
    if shown.remapped:  # a check of another map
        updates["check"] = {"value": ""}
    if shown.panel:
        updates["panel"] = {"value": html.panel(service, shown)}
    return updates


def no_updates() -> Updates:
    """Updates that change nothing."""
    return {name: {} for name in PARTS}


def controls_back(controls: Controls, sent: Controls | None) -> Updates:
    """Updates that set the controls whose value in the browser is another."""
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
    """Properties of Gradio's components as JSON values, by the component's name."""
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
            **_rest(source.no_head, "all heads as one map, or a single head"),
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
    """A control that is disabled for a reason, or, if there is none, described by some words."""
    return {"interactive": not why, "info": why or words}


def _sources(source: Source, classifies: bool) -> Menu:
    choices = [(one.title, name) for name, one in CATALOGUE.items() if classifies or one.no_class]
    missing = "" if classifies else f"; sources with gradients need a class, and {NO_CLASSIFIER}"
    return {"choices": choices, "info": f"{source.words} ({source.reference}){missing}"}


def _classes(capture: AttentionCapture, source: Source) -> Menu:
    """The most probable classes; the browser appends all others."""
    if not capture.class_names:
        return {"choices": [("none", PREDICTED)], **_rest(NO_CLASSIFIER, "")}
    likely = likely_classes(capture.probabilities)
    choices = [(f"predicted: {capture.class_names[likely[0]]}", PREDICTED)]
    choices += [(f"{capture.class_names[index]} {capture.probabilities[index]:.1%}", str(index)) for index in likely]
    return {"choices": choices, **_rest(source.no_class, "Click, and type part of a class name.")}


def _aggregations(source: Source, heads: int, head: int | None) -> Menu:
    possible = source.possible(heads) or possible_aggregations(heads)  # a disabled control still lists the usual ones
    alone = f"only head {head} is shown" if head is not None and not source.no_head else ""
    words = "how the heads are combined into one map"
    if source.aggregations == FUSIONS:
        words = "how the heads of each layer are combined into one attention matrix; mean / std would not be one"
    return {
        "choices": [(TITLES[name], name) for name in possible],
        **_rest(source.no_aggregation or alone, words),
    }


def _sinks(capture: AttentionCapture, layer: int) -> Menu:
    count = int(find_sinks(capture, layer).sum())
    subject = "patches of this layer draw" if count > 1 else "patch of this layer draws"
    return _rest("" if count else "no patch of this layer is a sink", f"{count} {subject} attention from all patches")


def _add(kept_views: Sequence[KeptView], here: str) -> Menu:
    words = f"Add this view to compare ({len(kept_views)} of {MAX_KEPT_VIEWS})"
    if here in [kept.mark for kept in kept_views]:
        words = "This view is one of your own views"
    elif len(kept_views) == MAX_KEPT_VIEWS:
        words = f"You have {MAX_KEPT_VIEWS} views of your own: remove one to add this"
    return {"value": words, "interactive": words.endswith(")")}


def _queries(shown: Shown, default: str) -> list[tuple[str, str]]:
    query = shown.rendered.settings.query
    queries = [(f"{default} (default)", "default")]
    queries += [(query_words(name), name) for name in shown.capture.queries(shown.rendered.settings.layer)]
    if isinstance(query, tuple):
        queries.append((query_words(query), query_text(query)))
    return queries
