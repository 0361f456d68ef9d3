"""What a visitor's browser is to change on the page, by component; `static/demo_follow.js` carries it out.

The server answers with values alone and never with a property update, not even `gradio.skip`: for each of those Gradio
(6.31: `Blocks.postprocess_data` and `preprocess_data`) makes another copy of the component and keeps it as long as it
knows the visitor, some 75 KB for every control that is moved.
"""

from __future__ import annotations

from typing import Any

from . import demo_html
from .aggregate import TITLES, possible_aggregations
from .demo_controls import CONTROLS, Controls, query_text
from .demo_desk import Desk, Shown
from .render import query_words

PARTS = (*CONTROLS, "photo", "clear", "picture", "answer", "panel")
"""The components that an answer may change, in the order of `page_updates`."""


def page_updates(desk: Desk, shown: Shown, sent: Controls | None) -> dict[str, dict[str, Any]]:
    """What the page is to change, for each of `PARTS`.

    Args:
        desk: that which showed it.
        shown: what the page is to show.
        sent: the controls as they stand in the browser; None where it has only just opened the page.

    Returns:
        By name of a component: under ``"menu"`` what it offers, always; under ``"value"`` its new value, where it
        changes. A control that stands where it should has none: setting it would take it out of the hand that moves it.
    """
    updates: dict[str, dict[str, Any]] = {name: {} for name in PARTS}
    for name, menu in _menus(shown).items():
        updates[name]["menu"] = menu
    for name in CONTROLS:
        value = getattr(shown.controls, name)
        value = list(value) if isinstance(value, tuple) else value
        if sent is None or _differs(getattr(sent, name), value):
            updates[name]["value"] = value
    updates["picture"]["value"] = demo_html.picture(shown)
    if sent is None or shown.recaptured:
        updates["answer"]["value"] = demo_html.answer(shown)
    if shown.panel:
        updates["panel"]["value"] = demo_html.panel(desk, shown)
    return updates


def _menus(shown: Shown) -> dict[str, dict[str, Any]]:
    """What the controls offer for what is shown, as properties of Gradio's components."""
    capture, layer, settings = shown.capture, shown.controls.layer, shown.rendered.settings
    heads = capture.num_heads(layer)
    default = query_words(capture.query_or_default(layer))
    queries = [(f"{default} (default)", "default")]
    queries += [(query_words(name), name) for name in capture.queries(layer)]
    if isinstance(settings.query, tuple):
        queries.append((query_words(settings.query), query_text(settings.query)))
    alone = settings.head is not None
    return {
        "layer": {"maximum": capture.num_layers - 1},
        "head": {"choices": [(name, name) for name in ("all", *map(str, range(heads)))]},
        "aggregation": {
            "choices": [(TITLES[name], name) for name in possible_aggregations(heads)],
            "interactive": not alone,
            "info": f"head {settings.head} alone is shown" if alone else "how the heads become one map",
        },
        "query": {"choices": queries},
        "opacity": {"interactive": shown.controls.arrangement == "overlay"},
        "clear": {"value": f"Back to the {default}", "interactive": settings.query is not None},
    }


def _differs(sent: Any, value: Any) -> bool:
    if isinstance(value, list):
        return set(sent) != set(value)
    return str(sent) != str(value) and sent != value
