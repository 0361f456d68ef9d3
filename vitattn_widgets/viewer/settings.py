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
    _question("use", "What did it use?", replace(START, source="gradient_late")),
    # the check ranks all patches, sinks too, so these stay in the map that it judges
    _question("believe", "Can I believe it?", replace(START, source="gradient_late", sinks="outline")),
)
"""The viewer's tabs, in their order."""


def json_settings(settings: MapSettings) -> dict[str, Any]:
    """Settings as JSON values under their Python names; a patch query is a list ``[row, col]``."""
    values = asdict(settings)
    if isinstance(settings.query, tuple):
        values["query"] = list(settings.query)
    return values
