"""What a visitor's browser is to change on the page, by component; `static/demo_follow.js` carries it out.

The server answers with values alone and never with a property update, not even `gradio.skip`: for each of those Gradio
(6.31: `Blocks.postprocess_data` and `preprocess_data`) makes another copy of the component and keeps it as long as it
knows the visitor, some 75 KB for every control that is moved.
"""

from __future__ import annotations

from typing import Any

from . import demo_html, demo_panels
from .demo_controls import CONTROLS, Controls
from .demo_desk import Desk
from .demo_menus import menus
from .demo_visit import Shown

PARTS = (
    *CONTROLS,
    *("photo", "use", "clear", "picture", "answer"),
    *("try", "check", "add", "comparing", "empty", "panel"),
)
"""The components that an answer may change, in the order of `page_updates`."""

Updates = dict[str, dict[str, Any]]


def page_updates(desk: Desk, shown: Shown, sent: Controls | None) -> Updates:
    """What the page is to change, for each of `PARTS`.

    Args:
        desk: that which showed it.
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
    updates["picture"] = {"value": demo_html.picture(shown)}
    if sent is None or shown.recaptured:
        updates["answer"] = {"value": demo_html.answer(shown)}
    if sent is None or shown.remodelled:  # hundreds or thousands, and always the same for a model
        updates["target"]["classes"] = list(shown.capture.class_names)
    if shown.remapped:  # what is known of another map
        updates["check"] = {"value": ""}
    if shown.panel:
        updates["panel"] = {"value": demo_panels.panel(desk, shown)}
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
