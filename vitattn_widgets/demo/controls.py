"""Settings as a link, a program or the viewer sends them: raw values in, checked settings out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..errors import SettingsError
from ..models.classes import find_class
from ..models.tokens import Query
from ..view.arrange import ARRANGEMENTS, arranged_settings
from ..view.drawing import DEFAULT_CMAP
from ..view.settings import SMOOTHING_STEPS, ViewSettings
from ..viewer import requests
from ..viewer.settings import START

DEFAULTS: dict[str, Any] = {
    "layer": -1,
    "head": "all",
    "aggregation": "mean",
    "query": "default",
    "arrangement": ARRANGEMENTS[0],
    "on": "view",
    "scale": "map",
    "smoothing": list(SMOOTHING_STEPS),
    "opacity": 0.5,
    "cmap": DEFAULT_CMAP,
    "source": "attention",
    "target": "predicted",
    "sinks": "show",
    "blend": "even",
}
"""The settings that links and programs can name, in the order of the endpoint ``/map``, with its defaults."""

MAX_TEXT = 80
"""Longest file name or value that is repeated in a message, in characters."""

MAX_CLASS = 160
"""Longest text that is searched for among the class names, in characters."""


@dataclass(frozen=True)
class Choice:
    """What somebody chose to see.

    Attributes:
        settings: which map, and how it is drawn.
        arrangement: see `arrange.render_arranged`.
    """

    settings: ViewSettings = START
    arrangement: str = ARRANGEMENTS[0]

    def with_values(self, values: Mapping[str, Any], class_names: Sequence[str] = ()) -> Choice:
        """The choice with all of `values` whose names are settings; other names are ignored.

        Args:
            values: as for `with_value`, by name.
            class_names: the classes of the model; empty without a classifier.

        Raises:
            SettingsError: see `with_value`.
        """
        choice = self
        for name in (*DEFAULTS, *SMOOTHING_STEPS):
            if name in values:
                choice = choice.with_value(name, values[name], class_names)
        return choice

    def with_value(self, name: str, value: Any, class_names: Sequence[str] = ()) -> Choice:
        """The choice with another value of one setting.

        Args:
            name: a name of `DEFAULTS` or a smoothing step.
            value: a JSON value or text: ``"all"`` or a number for ``head``; ``"default"``, a name, a patch as
                ``"row,col"`` or ``[row, col]`` for ``query``; ``"predicted"``, or a class by number, name or part of
                its name for ``target``; steps in a list or with spaces between them for ``smoothing``.
            class_names: the classes of the model; empty without a classifier.

        Raises:
            SettingsError: a value of the wrong type or one that does not exist; an unknown or ambiguous class. Whether
                a photo has that layer, head or query is checked when it is drawn.
        """
        if name == "arrangement":
            arranged_settings(self.settings, _word(name, value))
            return replace(self, arrangement=value)
        changes: dict[str, Any]
        match name:
            case "layer":
                changes = {name: whole_number(value, name)}
            case "head":
                changes = {name: None if value in (None, "all", "") else whole_number(value, name)}
            case "query":
                changes = {name: _query(value)}
            case "target":
                changes = {name: _class(value, class_names)}
            case "opacity":
                changes = {name: _number(value, name)}
            case "smoothing":
                changes = _smoothing(value)
            case _ if name in SMOOTHING_STEPS:
                changes = {name: bool(value)}
            case _:
                changes = {name: _word(name, value)}
        return replace(self, settings=replace(self.settings, **changes))


def _word(name: str, value: Any) -> str:
    if not isinstance(value, str) or len(value) > MAX_TEXT:
        raise SettingsError(f"{name} must be a word, got {short_text(value)}")
    return value


def _query(value: Any) -> Query | None:
    if value in ("", "default"):
        return None
    if isinstance(value, list | tuple) and len(value) == 2:
        return whole_number(value[0], "row"), whole_number(value[1], "col")
    return requests.parse_query(value)


def _class(value: Any, class_names: Sequence[str]) -> int | None:
    if value in (None, "", "predicted"):
        return None
    if isinstance(value, str) and len(value) <= MAX_CLASS:
        return find_class(class_names, value)
    return find_class(class_names, whole_number(value, "class"))


def _smoothing(value: Any) -> dict[str, bool]:
    steps = value.split() if isinstance(value, str) else value
    if not isinstance(steps, list | tuple) or not set(map(str, steps)) <= set(SMOOTHING_STEPS):
        raise SettingsError(f"smoothing must be some of {', '.join(SMOOTHING_STEPS)}, got {short_text(value)}")
    return {step: step in steps for step in SMOOTHING_STEPS}


def _number(value: Any, name: str) -> float:
    try:
        if isinstance(value, bool) or (isinstance(value, str) and len(value) > MAX_TEXT):
            raise ValueError
        return float(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise SettingsError(f"{name} must be a number, got {short_text(value)}") from error


def whole_number(value: Any, name: str) -> int:
    """A whole number of at most a million, from a number or its text.

    Raises:
        SettingsError: anything else, such as a fraction, a truth value or infinity.
    """
    try:
        number = _number(value, name)
        if not math.isfinite(number) or number != int(number) or abs(number) > 10**6:
            raise SettingsError(f"{number} is not a whole number")
    except SettingsError as error:
        raise SettingsError(f"{name} must be a whole number, got {short_text(value)}") from error
    return int(number)


def short_text(value: Any) -> str:
    """A value as messages repeat it: cut to `MAX_TEXT` characters."""
    text = repr(value)
    return text if len(text) <= MAX_TEXT else f"{text[:MAX_TEXT]}..."
