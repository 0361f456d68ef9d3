"""The explorer's comparison: views kept side by side, on one scale, and what one of two has more than the other."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any
from weakref import WeakKeyDictionary

from ..capture.capture import AttentionCapture
from ..comparison.compare import Comparison, DifferenceView, compare_views, difference_view
from ..comparison.panels import Panel
from ..comparison.presets import PRESETS
from ..errors import SettingsError
from ..figures.paper import comparison_figure, figure_bytes
from ..maps.settings import MAP_FIELDS, fit_settings
from ..view.arrange import screen_capture
from ..view.drawing import color_table
from ..view.encode import encode_for_screen
from ..view.settings import ViewSettings, with_look, without_look
from .library import Library, Notify
from .state import Choice, Shown

PANEL_SIDE = 512
"""Longest side in pixels of a photo in the row; a panel is seldom shown larger."""

AXES = ("models", "pictures", "sources", "layers", "heads", "aggregations", "queries", "targets", "sinks")
"""What a comparison can be asked for along, outermost first; each is the plural of a control."""

_PLURALS = dict(
    zip(AXES, ("model", "picture", "source", "layer", "head", "aggregation", "query", "target", "sinks"), strict=True)
)


@dataclass(frozen=True)
class KeptView:
    """A kept view: a photo, a model, and what is shown of it. How it is drawn is the row's.

    Attributes:
        model: name of the model.
        picture: name of the picture.
        settings: fitted to the capture; those of `LOOK` are without meaning.
    """

    model: str
    picture: str
    settings: ViewSettings

    @classmethod
    def of(cls, choice: Choice) -> KeptView:
        """What the controls show."""
        return cls(choice.model, choice.picture, without_look(choice.settings))

    def as_dict(self) -> dict[str, Any]:
        """As the trait `panels` has it, and the controls that show it again."""
        own = {name: getattr(self.settings, name) for name in MAP_FIELDS}
        return {"model": self.model, "picture": self.picture, **own}


@dataclass(frozen=True, eq=False)
class ComparisonRow:
    """Kept views drawn side by side.

    Attributes:
        kept_views: the kept views.
        comparison: their pictures; None where nothing is kept.
        difference: what the first of two has more than the second; None where no two are chosen, or there is none.
        pair: the numbers of the two; empty where no two are chosen.
        reason: why two chosen ones have no difference.
    """

    kept_views: tuple[KeptView, ...] = ()
    comparison: Comparison | None = None
    difference: DifferenceView | None = None
    pair: tuple[int, ...] = ()
    reason: str = ""


class Comparing:
    """Makes panels of kept views, and a row of panels.

    Args:
        library: has the models, the pictures and their captures. Captures that it dropped are run again.
        notify: hears what takes a while.
    """

    def __init__(self, library: Library, notify: Notify) -> None:
        self._library = library
        self._notify = notify
        # while the shelf keeps a capture, so that a map is smoothed once and not for every opacity
        self._small: WeakKeyDictionary[AttentionCapture, AttentionCapture] = WeakKeyDictionary()

    def kept_views(self, wanted: Iterable[Mapping[str, Any]], shown: Shown) -> tuple[KeptView, ...]:
        """Views to keep, each from some of a pin's values; the others are those of what is shown, as far as they fit.

        Raises:
            SettingsError: no such layer, head, query, class, or no such control.
            PictureError, ModelError: no such picture or model.
        """
        return tuple(dict.fromkeys(self._kept_view(values, shown) for values in wanted))

    def _kept_view(self, values: Mapping[str, Any], shown: Shown) -> KeptView:
        present = KeptView.of(shown.choice)
        possible = present.as_dict()
        if not isinstance(values, Mapping) or set(values) - set(possible):
            raise SettingsError(f"a panel is a dict with some of the keys {', '.join(possible)}; got {values!r}")
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
        """The values of a row that one click fills: a preset of settings, all pictures, or all models.

        Raises:
            SettingsError: there is no such preset, or nothing to compare.
        """
        if name in PRESETS:
            panels = PRESETS[name].panels(shown.capture, shown.choice.settings)
            return [{setting: getattr(panel, setting) for setting in MAP_FIELDS} for panel in panels]
        every = {"pictures": self._library.pictures, "models": self._library.models}
        if name not in every:
            raise SettingsError(f"there is no preset {name!r}; possible: {', '.join((*PRESETS, *every))}")
        if len(every[name]) < 2:
            raise SettingsError(f"there is nothing to compare here: the explorer has one of {name}")
        return along({name: list(every[name])})

    def panels(
        self, kept_views: Sequence[KeptView], look: ViewSettings, longest: int | None = None
    ) -> tuple[Panel, ...]:
        """Panels for `compare_views`, with their captures.

        Args:
            kept_views: the kept views.
            look: smoothing, opacity, colours and ground of all of them.
            longest: longest side of the photos in pixels; None is their full size.

        Raises:
            VitattnError: a capture was dropped and cannot be made again.
        """
        drawn = []
        for kept in kept_views:
            model, plain = self._library.capture(kept.model, kept.picture, self._notify)
            capture = self._library.completed(model, plain, kept.picture, kept.settings, self._notify)
            if longest is not None:
                capture = self._at_size(capture, longest)
            drawn.append(Panel(capture, with_look(kept.settings, look)))
        names = _names(kept_views, [panel.capture.model_name for panel in drawn])
        return tuple(replace(panel, name=name) for panel, name in zip(drawn, names, strict=True))

    def _at_size(self, capture: AttentionCapture, longest: int) -> AttentionCapture:
        small = self._small.get(capture) or screen_capture(capture, longest)
        if small is not capture:  # else it would keep itself alive
            self._small[capture] = small
        return small

    def row(self, kept_views: Sequence[KeptView], look: ViewSettings, scale: str, pair: Sequence[int]) -> ComparisonRow:
        """Draw kept views in a row, for a screen.

        Args:
            kept_views: the kept views.
            look: smoothing, opacity, colours and ground of all of them.
            scale: ``"shared"`` or ``"robust"``.
            pair: numbers of two of them, whose difference is drawn too; empty is none, or both where there are two.

        Raises:
            VitattnError: as `panels`, or no such scale or pair.
        """
        if not kept_views:
            return ComparisonRow()
        pair = _checked_pair(pair, len(kept_views))
        panels = self.panels(kept_views, look, PANEL_SIDE)
        compared = compare_views(panels, scale)
        if not pair:
            return ComparisonRow(tuple(kept_views), compared)
        try:
            return ComparisonRow(tuple(kept_views), compared, difference_view(*(panels[i] for i in pair), scale), pair)
        except SettingsError as error:  # as of two photos; the row is good all the same
            return ComparisonRow(tuple(kept_views), compared, None, pair, str(error))


def along(axes: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """Every combination of values, the first axis outermost: ``{"layers": [0, 5], "heads": [1]}`` gives two views.

    Raises:
        SettingsError: no such axis.
    """
    unknown = set(axes) - set(AXES)
    if unknown:
        raise SettingsError(f"{sorted(unknown)} cannot be compared along; possible: {', '.join(AXES)}")
    chosen = [name for name in AXES if axes.get(name)]
    return [
        {_PLURALS[name]: value for name, value in zip(chosen, values, strict=True)}
        for values in product(*(axes[name] for name in chosen))
    ]


def moved_pair(pair: Collection[int], before: Sequence[KeptView], after: Sequence[KeptView]) -> tuple[int, ...]:
    """The numbers of the same two views after some were removed, added or moved; empty where one is gone."""
    here = {kept: number for number, kept in enumerate(after)}
    found = [here.get(before[number]) for number in pair if number < len(before)]
    return tuple(found) if len(found) == 2 and None not in found else ()


def row_facts(row: ComparisonRow, version: int) -> dict[str, Any]:
    """What the browser shows of a row; `version` says which of its looks this is."""
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
    made = row.difference
    if made is None:
        return {"reason": row.reason}
    return {
        "title": made.title,
        "caption": made.caption,
        "range": made.value_range,
        "unit": made.unit,
        "colors": color_table(made.cmap).tobytes(),
        **_picture(made.image),
    }


def _picture(image: Any) -> dict[str, Any]:
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
        raise SettingsError(f"a difference is of two panels of 0..{count - 1}, got {list(pair)}")
    return tuple(pair)


def _names(kept_views: Sequence[KeptView], model_names: Sequence[str]) -> list[str]:
    """What each panel's photo is called; and its model, where models of one name are told apart here alone."""
    if len({kept.model for kept in kept_views}) == len(set(model_names)):
        return [kept.picture for kept in kept_views]
    if len({kept.picture for kept in kept_views}) == 1:
        return [kept.model for kept in kept_views]
    return [f"{kept.picture}, {kept.model}" for kept in kept_views]
