"""What the viewer starts with, and its questions: plain data that every capsule carries to the browser."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any, TypedDict

from ..maps.settings import MapSettings
from ..view.settings import ViewSettings

START = replace(ViewSettings(), sinks="mark", scale="robust", opacity=0.7, blend="glow")
"""The viewer's first picture: the photo keeps its colours, and sink patches do not take the scale."""


class Question(TypedDict):
    """A question that the viewer answers: a tab.

    Attributes:
        name: ``"look"``, ``"use"`` or ``"believe"``.
        title: the question.
        settings: what the tab sets.
    """

    name: str
    title: str
    settings: dict[str, str]


def _question(name: str, title: str, settings: ViewSettings) -> Question:
    chosen = {name: getattr(settings, name) for name in ("source", "sinks", "scale")}
    return {"name": name, "title": title, "settings": chosen}


QUESTIONS = (
    _question("look", "Where does it look?", START),
    # a contribution counts wherever it lies: sinks are framed, and stay in the map that the check judges
    _question("use", "What did it use?", replace(START, source="contribution_sum", sinks="outline")),
    _question("believe", "Can I believe it?", replace(START, source="contribution_sum", sinks="outline")),
)
"""The viewer's tabs, in their order."""


def json_settings(settings: MapSettings) -> dict[str, Any]:
    """Settings as JSON values under their Python names; a patch query is a list ``[row, col]``."""
    values = asdict(settings)
    if isinstance(settings.query, tuple):
        values["query"] = list(settings.query)
    return values
