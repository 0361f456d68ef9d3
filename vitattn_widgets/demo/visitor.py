"""What the page remembers of a visitor, and what it shows."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..capture.capture import AttentionCapture
from ..comparison.compare import Comparison, DifferenceView, compare_views, difference_view, shared_scale
from ..comparison.panels import Panel
from ..comparison.presets import PRESETS
from ..errors import SettingsError
from ..view.render import RenderedView
from ..view.settings import LOOK, ViewSettings, without_look
from .controls import NO_PANEL, OWN_VIEWS, Controls, panel_index


@dataclass(frozen=True)
class Visitor:
    """Everything that the server remembers of a visitor: text and numbers, never pixels.

    Attributes:
        photo: key of the photo; empty before there is one.
        name: name of the photo.
        sample: whether the photo is a sample.
        grid: ``(rows, cols)`` on which a patch query was chosen.
        controls: the controls of the last picture; None before there is one.
        map: the mark of the last map, see `map_mark`.
        kept_views: the views that the visitor keeps for comparison.
        shown: the keys of the last photo and model.
        beside: the mark of the panel below the picture, see `panel_mark`.
    """

    photo: str = ""
    name: str = ""
    sample: bool = False
    grid: tuple[int, int] | None = None
    controls: Controls | None = None
    map: str = ""
    kept_views: tuple[KeptView, ...] = ()
    shown: tuple[str, str] = ("", "")
    beside: tuple[Any, ...] = ()


@dataclass(frozen=True, eq=False)
class Shown:
    """One state of the page.

    Attributes:
        visitor: what to remember of the visitor.
        controls: fitted to the capture.
        capture: the capture that is shown, its photo scaled down for the screen.
        rendered: the picture.
        row: the views that are compared; empty if the panel below shows something else.
        link: query string that restores the page; without the photo, unless it is a sample.
        remodelled: whether the model has changed since the last picture.
        recaptured: whether the photo or the model has changed.
        remapped: whether the raw map has changed; its colours do not count.
        panel: whether the panel below the picture must be redrawn.
    """

    visitor: Visitor
    controls: Controls
    capture: AttentionCapture
    rendered: RenderedView
    row: ComparisonRow
    link: str
    remodelled: bool
    recaptured: bool
    remapped: bool
    panel: bool


def map_mark(visitor: Visitor, model: str, settings: ViewSettings) -> str:
    """A mark that distinguishes the raw map of a photo from all others, whatever its look.

    Args:
        visitor: whose photo it is of.
        model: name of the model.
        settings: fitted to the capture.
    """
    source = settings.source_info
    plain = ViewSettings(
        layer=settings.layer,
        head=None if source.no_head else settings.head,
        aggregation=settings.aggregation if settings.head is None and source.aggregations else "mean",
        query=settings.query,
        source=settings.source,
        target=None if source.no_class else settings.target,
        sinks="leave_out" if settings.sinks == "leave_out" else "show",
    )
    return digest((visitor.photo, model, plain))


def panel_mark(visitor: Visitor, controls: Controls, settings: ViewSettings, row: ComparisonRow) -> tuple[Any, ...]:
    """Everything on which the panel below the picture depends.

    Args:
        visitor: whose photo it is of.
        controls: fitted to the capture.
        settings: those of the controls.
        row: the views that are compared.
    """
    place = (controls.beside, visitor.photo, controls.model)
    if controls.beside == "all layers and heads":
        plain = settings.source_info.plain
        return (*place, settings.query, settings.cmap, settings.layer, settings.head, plain)
    if controls.beside == "every head":
        return (*place, replace(settings, aggregation="mean", scale="shared"))
    marks = tuple(kept.mark for kept in row.kept_views)
    look = tuple(getattr(settings, name) for name in (*LOOK, "scale"))
    here = row.here if row.here in marks else ""
    return (controls.beside, row.why, marks, here, look, controls.row, controls.first, controls.second)


MAX_KEPT_VIEWS = 12
"""Views that a visitor can keep for comparison."""

NO_KEPT_VIEWS = "You have no views of your own yet: show one above, press “Add this view to compare”, and add another."


@dataclass(frozen=True)
class KeptView:
    """One view of a row: a key, text and numbers, never pixels.

    Attributes:
        photo, name, sample: its photo, as in `Visitor`.
        model: name of the model.
        settings: fitted to the capture; the look is that of the whole row, and here at its defaults.
    """

    photo: str
    name: str
    sample: bool
    model: str
    settings: ViewSettings

    @property
    def mark(self) -> str:
        """A mark that distinguishes this view from all others and reveals nothing about it."""
        return digest(self)


@dataclass(frozen=True, eq=False)
class ComparedRow:
    """A drawn row.

    Attributes:
        comparison: of the available views; None if there are none.
        places: for each view of the row its index in the comparison, or why it is unavailable.
        difference: first minus second view, or why there is no difference; None if none was asked for.
    """

    comparison: Comparison | None
    places: tuple[int | str, ...]
    difference: DifferenceView | str | None


@dataclass(frozen=True)
class ComparisonRow:
    """The views that are compared below the picture.

    Attributes:
        kept_views: the views in their order.
        why: why there are none; empty if there are.
        here: the `KeptView.mark` of the view above.
    """

    kept_views: tuple[KeptView, ...] = ()
    why: str = ""
    here: str = ""


def kept_view_of(visitor: Visitor, model: str, settings: ViewSettings) -> KeptView:
    """A view of the visitor's photo, to be kept or compared.

    Args:
        visitor: whose photo it is of.
        model: name of the model.
        settings: fitted to the capture.
    """
    return KeptView(visitor.photo, visitor.name, visitor.sample, model, without_look(settings))


def row_of(visitor: Visitor, controls: Controls, capture: AttentionCapture, settings: ViewSettings) -> ComparisonRow:
    """The row that the controls ask for; empty while the panel below the picture shows something else."""
    here = kept_view_of(visitor, controls.model, settings).mark
    if controls.beside != "compare":
        return ComparisonRow(here=here)
    if controls.row == OWN_VIEWS:
        return ComparisonRow(visitor.kept_views, "" if visitor.kept_views else NO_KEPT_VIEWS, here)
    try:
        panels = PRESETS[controls.row].panels(capture, settings)
    except SettingsError as error:
        return ComparisonRow(why=str(error), here=here)
    return ComparisonRow(tuple(kept_view_of(visitor, controls.model, panel) for panel in panels), here=here)


def with_row(controls: Controls, row: ComparisonRow, before: Controls | None) -> Controls:
    """The controls without the panels of a difference that the row does not have, or that were chosen in another row.

    Args:
        controls: as they stand now.
        row: the views that they compare.
        before: the controls of the last picture.
    """
    chosen = {name: panel_index(getattr(controls, name)) for name in ("first", "second")}
    count = len(row.kept_views) if before is None or before.row == controls.row else 0
    return replace(
        controls,
        **{name: NO_PANEL if place is None or place >= count else str(place + 1) for name, place in chosen.items()},
    )


def compare_row(row: Sequence[Panel | str], controls: Controls) -> ComparedRow:
    """Draw a row on one scale, and the difference that the controls ask for.

    Args:
        row: each panel, or why it is unavailable.
        controls: fitted to the row.
    """
    scale = shared_scale(controls.scale)
    panels = [panel for panel in row if isinstance(panel, Panel)]
    places = iter(range(len(panels)))
    return ComparedRow(
        compare_views(panels, scale) if panels else None,
        tuple(one if isinstance(one, str) else next(places) for one in row),
        _difference(row, controls, scale),
    )


def _difference(row: Sequence[Panel | str], controls: Controls, scale: str) -> DifferenceView | str | None:
    first, second = panel_index(controls.first), panel_index(controls.second)
    if first is None or second is None:
        return None
    one, other = row[first], row[second]
    if isinstance(one, str) or isinstance(other, str):
        return "one of the two views is no longer available"
    try:
        return difference_view(one, other, scale)
    except SettingsError as error:
        return str(error)


def digest(value: Any) -> str:
    """A short hash of a value made of text and numbers."""
    return hashlib.sha256(repr(value).encode()).hexdigest()[:16]
