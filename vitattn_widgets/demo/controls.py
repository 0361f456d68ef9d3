"""The values of the page's controls as a browser, a link or a program sends them, and the settings they stand for."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any
from urllib.parse import urlencode

from ..comparison.presets import PRESETS
from ..errors import SettingsError
from ..models.classes import find_class
from ..models.tokens import Query
from ..view.arrange import arranged_settings
from ..view.drawing import DEFAULT_CMAP
from ..view.settings import SMOOTHING_STEPS, ViewSettings

BESIDES = ("every head", "all layers and heads", "compare")
"""The panels that can be shown below the picture."""

OWN_VIEWS = "own views"
"""The row of the views that the visitor kept."""

ROWS = ("aggregations", *(name for name in PRESETS if name != "aggregations"), OWN_VIEWS)
"""The rows that can be compared, the paper's figure first."""

NO_PANEL = "none"
"""The choice of no panel in the two menus of the difference."""

MAX_NAME = 80
"""Longest file name or value that is repeated in a message, in characters."""

MAX_CLASS = 160
"""Longest text that is searched for among the class names, in characters."""

PREDICTED = "predicted"
"""The choice of the predicted class in the class menu, whichever class that is."""


@dataclass(frozen=True)
class Controls:
    """The values of the page's controls as the browser or a client sends them, unchecked.

    Attributes:
        model: one of the operator's models, by name.
        layer, aggregation, scale, opacity, cmap, on: as in `ViewSettings`.
        head: ``"all"`` or a number.
        query: ``"default"``, a name such as ``"class"``, or a patch as ``"row,col"``.
        arrangement: see `arrange.render_arranged`.
        smoothing: the steps of `SMOOTHING_STEPS` that are on.
        source, sinks: as in `ViewSettings`.
        target: `PREDICTED`, or a class by number, name or part of its name (`classes.find_class`).
        beside: one of `BESIDES`.
        row: one of `ROWS`.
        first, second: the panels of the difference, as numbers in the row from 1 on, or `NO_PANEL`.
    """

    model: Any
    layer: Any = -1
    head: Any = "all"
    aggregation: Any = "mean"
    query: Any = "default"
    arrangement: Any = "overlay"
    on: Any = "view"
    scale: Any = "map"
    smoothing: Any = SMOOTHING_STEPS
    opacity: Any = 0.5
    cmap: Any = DEFAULT_CMAP
    source: Any = "attention"
    target: Any = PREDICTED
    sinks: Any = "show"
    beside: Any = BESIDES[0]
    row: Any = ROWS[0]
    first: Any = NO_PANEL
    second: Any = NO_PANEL

    def settings(self, class_names: Sequence[str] = ()) -> ViewSettings:
        """The settings that the controls stand for.

        Args:
            class_names: the classes that were offered; empty for a model without a classifier.

        Raises:
            SettingsError: a value of the wrong type or one that does not exist; an unknown or ambiguous class.
        """
        smoothing = self.smoothing
        if not isinstance(smoothing, list | tuple) or not set(map(str, smoothing)) <= set(SMOOTHING_STEPS):
            raise SettingsError(f"smoothing must be some of {', '.join(SMOOTHING_STEPS)}, got {short_text(smoothing)}")
        for name in ("aggregation", "arrangement", "on", "scale", "cmap", "source", "sinks"):
            if not isinstance(getattr(self, name), str) or len(getattr(self, name)) > MAX_NAME:
                raise SettingsError(f"{name} must be a word, got {short_text(getattr(self, name))}")
        if isinstance(self.opacity, bool) or not isinstance(self.opacity, int | float):
            raise SettingsError(f"opacity must be a number in 0..1, got {short_text(self.opacity)}")
        settings = ViewSettings(
            layer=whole_number(self.layer, "layer"),
            head=None if self.head in (None, "all", "") else whole_number(self.head, "head"),
            aggregation=self.aggregation,
            query=parse_query(self.query),
            source=self.source,
            target=_parse_class(self.target, class_names),
            sinks=self.sinks,
            **{step: step in smoothing for step in SMOOTHING_STEPS},
            scale=self.scale,
            opacity=float(self.opacity),
            cmap=self.cmap,
            on=self.on,
        )
        arranged_settings(settings, self.arrangement)
        if self.beside not in BESIDES:
            raise SettingsError(f"there is no panel {short_text(self.beside)}; possible: {', '.join(BESIDES)}")
        if self.row not in ROWS:
            raise SettingsError(f"there is no row {short_text(self.row)}; possible: {', '.join(ROWS)}")
        for name in ("first", "second"):
            if panel_index(getattr(self, name)) == -1:
                raise SettingsError(f"{name} must be {NO_PANEL} or a number from 1 on, got {getattr(self, name)}")
        return settings

    def with_settings(self, settings: ViewSettings) -> Controls:
        """These controls, moved to some settings."""
        return replace(
            self,
            layer=settings.layer,
            head="all" if settings.head is None else str(settings.head),
            aggregation=settings.aggregation,
            query=query_text(settings.query),
            target=PREDICTED if settings.target is None else str(settings.target),
            smoothing=tuple(step for step in SMOOTHING_STEPS if getattr(settings, step)),
            **{name: getattr(settings, name) for name in ("scale", "opacity", "cmap", "on", "source", "sinks")},
        )


CONTROLS = tuple(field.name for field in fields(Controls))

BELOW = ("beside", "row", "first", "second")
"""The controls of the panel below the picture."""


def panel_index(chosen: Any) -> int | None:
    """The index of a chosen panel in its row, from 0 on; None for `NO_PANEL`, -1 for any number below 1.

    Raises:
        SettingsError: neither `NO_PANEL` nor a whole number.
    """
    return None if chosen == NO_PANEL else max(-1, whole_number(chosen, "panel") - 1)


def query_text(query: Query | None) -> str:
    """A query as the page's menu and links write it; the inverse of `parse_query`."""
    if query is None:
        return "default"
    return query if isinstance(query, str) else f"{query[0]},{query[1]}"


def parse_query(text: Any) -> Query | None:
    """Read a query: ``"default"`` (or None), a name, or a patch as ``"row,col"``.

    Raises:
        SettingsError: none of these. Whether a layer has the query is checked when it is drawn.
    """
    if text in (None, "", "default"):
        return None
    if isinstance(text, str) and len(text) <= MAX_NAME:
        row, comma, col = text.partition(",")
        return (whole_number(row, "row"), whole_number(col, "col")) if comma else text
    raise SettingsError(f"query must be a token's name or a patch as row,col, got {short_text(text)}")


def _parse_class(text: Any, class_names: Sequence[str]) -> int | None:
    if text in (None, "", PREDICTED):
        return None
    if isinstance(text, str) and len(text) <= MAX_CLASS:
        return find_class(class_names, text)
    return find_class(class_names, whole_number(text, "class"))


def whole_number(value: Any, name: str) -> int:
    """A whole number of at most a million, from a number or its text.

    Raises:
        SettingsError: anything else, such as a fraction, a truth value or infinity.
    """
    try:
        number = float(value) if isinstance(value, str) and len(value) <= MAX_NAME else value
        if isinstance(number, bool) or not math.isfinite(number) or number != int(number) or abs(number) > 10**6:
            raise ValueError
        return int(number)
    except (TypeError, ValueError, OverflowError) as error:
        raise SettingsError(f"{name} must be a whole number, got {short_text(value)}") from error


def short_text(value: Any) -> str:
    """A value as messages repeat it: cut to `MAX_NAME` characters."""
    text = repr(value)
    return text if len(text) <= MAX_NAME else f"{text[:MAX_NAME]}..."


def value_from_link(name: str, text: str) -> Any:
    """A control's value from its text in a link, unchecked; the inverse of `link_query`."""
    if name == "smoothing":
        return [step for step in text.split(" ") if step]
    if name == "opacity":
        try:
            return float(text)
        except ValueError:
            return text
    return text


def link_query(controls: Controls, sample: str | None) -> str:
    """The query string that restores the page: sample, model, layer, and every control not at its default."""
    start = Controls(controls.model)
    values = {} if sample is None else {"sample": sample}
    values |= {"model": controls.model, "layer": controls.layer}
    for name in CONTROLS:
        value = getattr(controls, name)
        if name not in values and value != getattr(start, name):
            values[name] = " ".join(value) if name == "smoothing" else value
    return urlencode(values)
