"""What an explorer shows and keeps: a map of a photo by a model, fitted to what its capture has."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

from ..capture.capture import AttentionCapture
from ..comparison.panels import Panel
from ..comparison.presets import PRESETS
from ..errors import SettingsError
from ..maps.resolve import fit_settings, resolve
from ..maps.settings import MAP_FIELDS
from ..models.loading import AttentionModel
from ..view.arrange import arranged_settings
from ..view.settings import VIEW_FIELDS, ViewSettings, with_look
from .library import Library

CONTROLS: tuple[str, ...] = ("model", "picture", "arrangement", *VIEW_FIELDS)
"""The traits that choose what is shown."""

PARTS: tuple[str, ...] = ("model", "picture", *MAP_FIELDS)
"""The parts of a kept view; its look is that of the whole row."""

Values = dict[str, Any]
"""Values by the name of their control, as the viewer writes them: of all controls, or the parts of a kept view."""


@dataclass(frozen=True, eq=False)
class Shown:
    """What is shown, and what it is drawn from.

    Attributes:
        values: of all controls, fitted to the capture.
        settings: those of the controls that are settings.
        model: the model.
        capture: its capture of the photo.
    """

    values: Values
    settings: ViewSettings
    model: AttentionModel
    capture: AttentionCapture

    @property
    def drawn(self) -> ViewSettings:
        """The settings of the map in its arrangement."""
        return arranged_settings(self.settings, self.values["arrangement"])

    @property
    def view(self) -> Values:
        """The parts to keep."""
        return {name: self.values[name] for name in PARTS}

    def is_of(self, model: str, picture: str) -> bool:
        """Whether this is a picture by a model, both given by name."""
        return (model, picture) == (self.values["model"], self.values["picture"])


def show(library: Library, values: Values, before: Shown | None, asked: Collection[str]) -> Shown:
    """What controls choose, fitted to its capture.

    Args:
        library: the models, the pictures and their captures.
        values: of all controls.
        before: what is shown now; patch and class are taken over from its model.
        asked: the controls that must fit as they are.

    Raises:
        VitattnError: a value that the capture does not have, or no such model or picture.
    """
    settings = ViewSettings(**{name: values[name] for name in VIEW_FIELDS})
    arranged_settings(settings, values["arrangement"])  # raises for one that does not exist
    if before is not None and before.is_of(values["model"], values["picture"]):
        model, capture = before.model, before.capture
    else:
        model, capture = library.capture(values["model"], values["picture"])
    last = before.capture if before is not None else capture
    grid = None if before is None else last.layers[last.layer_index(before.settings.layer)].tokens.query_grid
    settings = fit_settings(settings, capture, asked, grid, last.target_names)
    resolved = resolve(capture, settings)  # raises where a class is needed and there is none
    possible = resolved.source.possible(resolved.heads)
    if resolved.head is None and possible and resolved.aggregation not in possible:
        raise SettingsError(
            f"aggregation {resolved.aggregation!r} does not exist for {resolved.source.title} in "
            f"{capture.layer_words(resolved.layer)}; possible: {', '.join(possible)}"
        )
    return Shown({**values, **vars(settings)}, settings, model, capture)


# --- kept views ---


def kept_views(
    library: Library, wanted: Iterable[Mapping[str, Any]], shown: Shown, before: Sequence[Values] = ()
) -> list[Values]:
    """Views to keep, each from some of its parts; the others are taken from what is shown, as far as they fit.

    Args:
        library: the models, the pictures and their captures.
        wanted: parts of each view.
        shown: what is shown.
        before: views that are kept already; their captures are not needed again.

    Raises:
        SettingsError: no such layer, head, query, class or part.
        PictureError, ModelError: no such picture or model.
    """
    views: list[Values] = []
    for parts in wanted:
        if not isinstance(parts, Mapping) or set(parts) - set(PARTS):
            raise SettingsError(f"a panel must be a dict with any of the keys {', '.join(PARTS)}; got {parts!r}")
        view = dict(parts)
        if view not in before:
            view = show(library, shown.values | view, shown, asked=parts).view
        if view not in views:
            views.append(view)
    return views


AXES = {
    "models": "model",
    "pictures": "picture",
    "sources": "source",
    "layers": "layer",
    "heads": "head",
    "aggregations": "aggregation",
    "queries": "query",
    "targets": "target",
    "sinks": "sinks",
}
"""The axes of a comparison, outermost first: each is the plural of a part of a kept view."""


def along(axes: Mapping[str, Sequence[Any]]) -> list[Values]:
    """Every combination of values, the first axis outermost: ``{"layers": [0, 5], "heads": [1]}`` gives two views.

    Raises:
        SettingsError: no such axis.
    """
    unknown = set(axes) - set(AXES)
    if unknown:
        raise SettingsError(f"there is no axis {', '.join(map(repr, sorted(unknown)))}; possible: {', '.join(AXES)}")
    chosen = [name for name in AXES if axes.get(name)]
    return [
        {AXES[name]: value for name, value in zip(chosen, values, strict=True)}
        for values in product(*(axes[name] for name in chosen))
    ]


def preset_views(library: Library, name: str, shown: Shown) -> list[Values]:
    """The views of a preset: one of settings, all pictures, or all models, these at the same relative depth.

    Raises:
        SettingsError: there is no such preset, or nothing to compare.
        VitattnError: a model cannot be loaded.
    """
    if name in PRESETS:
        panels = PRESETS[name].panels(shown.capture, shown.settings)
        return [{part: getattr(panel, part) for part in MAP_FIELDS} for panel in panels]
    every: dict[str, Mapping[str, Any]] = {"pictures": library.pictures, "models": library.models}
    if name not in every:
        raise SettingsError(f"there is no preset {name!r}; possible: {', '.join((*PRESETS, *every))}")
    if len(every[name]) < 2:
        raise SettingsError(f"there is nothing to compare: the explorer has fewer than two {name}")
    if name == "pictures":
        return along({name: list(every[name])})
    depth = shown.settings.layer / max(1, shown.capture.num_layers - 1)
    last = {model: library.capture(model, shown.values["picture"])[1].num_layers - 1 for model in library.models}
    return [{"model": model, "layer": round(depth * last[model])} for model in last]


def fitted_pair(pair: Sequence[int], count: int) -> list[int]:
    """The numbers of two of `count` panels, or none.

    Raises:
        SettingsError: anything else.
    """
    whole = all(isinstance(number, int) and 0 <= number < count for number in pair)
    if len(pair) and (len(pair) != 2 or not whole or pair[0] == pair[1]):
        raise SettingsError(f"a difference needs two different panels from 0..{count - 1}, got {list(pair)}")
    return list(pair)


def moved_pair(pair: Sequence[int], before: Sequence[Values], after: Sequence[Values]) -> list[int]:
    """The numbers of the same two views after some were removed, added or moved; empty if one of them is gone."""
    moved = [after.index(before[number]) for number in pair if number < len(before) and before[number] in after]
    return moved if len(moved) == 2 else []


def panels_of(library: Library, views: Sequence[Values], look: ViewSettings) -> tuple[Panel, ...]:
    """Panels for `compare_views`, with their captures; those that the store dropped are made again.

    Args:
        library: the models, the pictures and their captures.
        views: from `kept_views`.
        look: smoothing, opacity, colours, ground and blend of all panels.

    Raises:
        VitattnError: a capture cannot be made again.
    """
    panels = []
    for view in views:
        settings = with_look(ViewSettings(**{name: view[name] for name in MAP_FIELDS}), look)
        panels.append(Panel(library.capture(view["model"], view["picture"], settings)[1], settings))
    named: tuple[str, ...] = ("picture", "model")
    if len({view["model"] for view in views}) == len({panel.capture.model_name for panel in panels}):
        named = ("picture",)  # the panels' titles name the models
    elif len({view["picture"] for view in views}) == 1:
        named = ("model",)
    return tuple(
        replace(panel, name=", ".join(view[part] for part in named)) for panel, view in zip(panels, views, strict=True)
    )
