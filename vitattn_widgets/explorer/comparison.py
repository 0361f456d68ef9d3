"""The explorer's comparison: views kept side by side on one scale, and the difference of two of them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from ..capture.capture import AttentionCapture
from ..comparison.compare import Comparison, DifferenceView, compare_views, difference_view
from ..comparison.panels import Panel
from ..comparison.presets import PRESETS
from ..errors import SettingsError
from ..figures.paper import comparison_figure, figure_bytes
from ..maps.resolve import fit_settings
from ..maps.settings import MAP_FIELDS
from ..view.arrange import screen_capture
from ..view.drawing import color_table
from ..view.encode import encode_for_screen
from ..view.settings import ViewSettings, with_look, without_look
from .library import Library, Notify
from .state import Choice, Shown

PANEL_SIDE = 512
"""Longest side in pixels of a photo in the row; panels are seldom shown larger."""

AXES = ("models", "pictures", "sources", "layers", "heads", "aggregations", "queries", "targets", "sinks")
"""The axes of a comparison, outermost first; each is the plural of a control."""

_PLURALS = dict(
    zip(AXES, ("model", "picture", "source", "layer", "head", "aggregation", "query", "target", "sinks"), strict=True)
)


@dataclass(frozen=True)
class KeptView:
    """A kept view: a photo, a model and a map. The look is that of the whole row.

    Attributes:
        model: name of the model.
        picture: name of the picture.
        settings: fitted to the capture; those of `LOOK` are at their defaults.
    """

    model: str
    picture: str
    settings: ViewSettings

    @classmethod
    def of(cls, choice: Choice) -> KeptView:
        """The view that the controls show."""
        return cls(choice.model, choice.picture, without_look(choice.settings))

    def as_dict(self) -> dict[str, Any]:
        """The view as an entry of the trait `panels`, that is, the controls that show it again."""
        own = {name: getattr(self.settings, name) for name in MAP_FIELDS}
        return {"model": self.model, "picture": self.picture, **own}


@dataclass(frozen=True, eq=False)
class ComparisonRow:
    """Kept views drawn side by side.

    Attributes:
        kept_views: the kept views.
        comparison: their pictures; None if nothing is kept.
        difference: first minus second of the two chosen views; None if none are chosen, or they have no difference.
        pair: numbers of the two chosen views; empty if none are chosen.
        reason: why the chosen views have no difference; empty if they have one.
    """

    kept_views: tuple[KeptView, ...] = ()
    comparison: Comparison | None = None
    difference: DifferenceView | None = None
    pair: tuple[int, ...] = ()
    reason: str = ""


class Comparing:
    """Turns kept views into panels, and panels into a row.

    Args:
        library: the models, the pictures and their captures; captures that it dropped are made again.
        notify: called with a line before anything that takes a while.
    """

    def __init__(self, library: Library, notify: Notify) -> None:
        self._library = library
        self._notify = notify
        # as long as the library keeps a capture, so that its maps are smoothed once and not for every opacity
        self._small: WeakKeyDictionary[AttentionCapture, AttentionCapture] = WeakKeyDictionary()

    def kept_views(self, wanted: Iterable[Mapping[str, Any]], shown: Shown) -> tuple[KeptView, ...]:
        """Views to keep, each from some of its values; the others are taken from the current view, as far as they fit.

        Raises:
            SettingsError: no such layer, head, query, class or control.
            PictureError, ModelError: no such picture or model.
        """
        return tuple(dict.fromkeys(self._kept_view(values, shown) for values in wanted))

    def _kept_view(self, values: Mapping[str, Any], shown: Shown) -> KeptView:
        present = KeptView.of(shown.choice)
        possible = present.as_dict()
        if not isinstance(values, Mapping) or set(values) - set(possible):
            raise SettingsError(f"a panel must be a dict with any of the keys {', '.join(possible)}; got {values!r}")
        settings = {name: value for name, value in values.items() if name in MAP_FIELDS}
        model, picture = values.get("model", present.model), values.get("picture", present.picture)
        _, capture = self._library.capture(model, picture, self._notify)
        grid, names = shown.capture.layout.grid, shown.capture.class_names
        same = model == present.model
        return KeptView(
            model,
            picture,
            fit_settings(
                replace(present.settings, **settings),
                capture,
                asked=settings,
                grid=None if "query" in settings or same else grid,
                class_names=None if "target" in settings or same else names,
            ),
        )

    def preset(self, name: str, shown: Shown) -> list[dict[str, Any]]:
        """The values of a row that one click makes: a preset of settings, all pictures, or all models.

        Raises:
            SettingsError: there is no such preset, or nothing to compare.
        """
        if name in PRESETS:
            panels = PRESETS[name].panels(shown.capture, shown.choice.settings)
            return [{setting: getattr(panel, setting) for setting in MAP_FIELDS} for panel in panels]
        every: dict[str, Mapping[str, Any]] = {"pictures": self._library.pictures, "models": self._library.models}
        if name not in every:
            raise SettingsError(f"there is no preset {name!r}; possible: {', '.join((*PRESETS, *every))}")
        if len(every[name]) < 2:
            raise SettingsError(f"there is nothing to compare: the explorer has fewer than two {name}")
        return along({name: list(every[name])})

    def panels(
        self, kept_views: Sequence[KeptView], look: ViewSettings, longest: int | None = None
    ) -> tuple[Panel, ...]:
        """Panels for `compare_views`, with their captures.

        Args:
            kept_views: the kept views.
            look: smoothing, opacity, colours and ground of all panels.
            longest: longest side of the photos in pixels; None is their full size.

        Raises:
            VitattnError: a dropped capture cannot be made again.
        """
        panels = []
        for kept in kept_views:
            model, plain = self._library.capture(kept.model, kept.picture, self._notify)
            capture = self._library.completed(model, plain, kept.picture, kept.settings, self._notify)
            if longest is not None:
                capture = self._at_size(capture, longest)
            panels.append(Panel(capture, with_look(kept.settings, look)))
        names = _names(kept_views, [panel.capture.model_name for panel in panels])
        return tuple(replace(panel, name=name) for panel, name in zip(panels, names, strict=True))

    def _at_size(self, capture: AttentionCapture, longest: int) -> AttentionCapture:
        small = self._small.get(capture) or screen_capture(capture, longest)
        if small is not capture:  # else the value would keep its own key alive
            self._small[capture] = small
        return small

    def row(self, kept_views: Sequence[KeptView], look: ViewSettings, scale: str, pair: Sequence[int]) -> ComparisonRow:
        """Draw kept views in a row, for a screen.

        Args:
            kept_views: the kept views.
            look: smoothing, opacity, colours and ground of all panels.
            scale: ``"shared"`` or ``"robust"``.
            pair: numbers of two views whose difference is drawn too; empty is none, or both if there are just two.

        Raises:
            VitattnError: as `panels`; or no such scale or pair.
        """
        if not kept_views:
            return ComparisonRow()
        pair = _checked_pair(pair, len(kept_views))
        panels = self.panels(kept_views, look, PANEL_SIDE)
        compared = compare_views(panels, scale)
        if not pair:
            return ComparisonRow(tuple(kept_views), compared)
        first, second = pair
        try:
            difference = difference_view(panels[first], panels[second], scale)
            return ComparisonRow(tuple(kept_views), compared, difference, pair)
        except SettingsError as error:  # such as two photos; the row is good all the same
            return ComparisonRow(tuple(kept_views), compared, None, pair, str(error))


def along(axes: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """Every combination of values, the first axis outermost: ``{"layers": [0, 5], "heads": [1]}`` gives two views.

    Raises:
        SettingsError: no such axis.
    """
    unknown = set(axes) - set(AXES)
    if unknown:
        raise SettingsError(f"there is no axis {', '.join(map(repr, sorted(unknown)))}; possible: {', '.join(AXES)}")
    chosen = [name for name in AXES if axes.get(name)]
    return [
        {_PLURALS[name]: value for name, value in zip(chosen, values, strict=True)}
        for values in product(*(axes[name] for name in chosen))
    ]


def moved_pair(pair: Collection[int], before: Sequence[KeptView], after: Sequence[KeptView]) -> tuple[int, ...]:
    """The numbers of the same two views after some were removed, added or moved; empty if one of them is gone."""
    here = {kept: number for number, kept in enumerate(after)}
    moved = [here[before[number]] for number in pair if number < len(before) and before[number] in here]
    return tuple(moved) if len(moved) == 2 else ()


def row_facts(row: ComparisonRow, version: int) -> dict[str, Any]:
    """A row as the browser shows it; `version` counts its looks."""
    if row.comparison is None:
        return {"panels": [], "version": version}
    compared = row.comparison
    pictures = zip(row.kept_views, compared.views, compared.titles, strict=True)
    return {
        "panels": [
            {"panel": kept.as_dict(), "title": title, "caption": view.caption, **_picture(view.image)}
            for kept, view, title in pictures
        ],
        "common": compared.common,
        "range": compared.limits,
        "unit": compared.unit,
        "colors": color_table(compared.cmap).tobytes(),
        "pair": row.pair,
        "difference": _difference_facts(row),
        "version": version,
    }


def _difference_facts(row: ComparisonRow) -> dict[str, Any]:
    difference = row.difference
    if difference is None:
        return {"reason": row.reason}
    return {
        "title": difference.title,
        "caption": difference.caption,
        "range": difference.value_range,
        "unit": difference.unit,
        "colors": color_table(difference.cmap).tobytes(),
        **_picture(difference.image),
    }


def _picture(image: np.ndarray) -> dict[str, Any]:
    encoded = encode_for_screen(image)
    return {"image": encoded.content, "mime": encoded.mime}


def row_png(panels: Sequence[Panel], scale: str, difference: bool) -> bytes:
    """The row as a figure for papers and slides: a PNG file."""
    return figure_bytes(comparison_figure(panels, scale, difference))


def _checked_pair(pair: Sequence[int], count: int) -> tuple[int, ...]:
    if not len(pair):
        return (0, 1) if count == 2 else ()
    whole = all(isinstance(number, int) and 0 <= number < count for number in pair)
    if len(pair) != 2 or not whole or pair[0] == pair[1]:
        raise SettingsError(f"a difference needs two different panels from 0..{count - 1}, got {list(pair)}")
    return tuple(pair)


def _names(kept_views: Sequence[KeptView], model_names: Sequence[str]) -> list[str]:
    """The name of each panel: its photo, and its model if only the explorer's names distinguish the models."""
    if len({kept.model for kept in kept_views}) == len(set(model_names)):
        return [kept.picture for kept in kept_views]
    if len({kept.picture for kept in kept_views}) == 1:
        return [kept.model for kept in kept_views]
    return [f"{kept.picture}, {kept.model}" for kept in kept_views]
