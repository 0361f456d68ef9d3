"""What the page remembers of a visitor and what it shows one: words, numbers and keys, all of them values."""

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
    """All that the server remembers of one visitor: words and numbers, never pixels.

    Attributes:
        photo: key of the photo; empty before there is one.
        name: what the visitor calls it.
        sample: whether it is one of the samples.
        grid: ``(rows, cols)`` that a patch query was chosen on.
        controls: as they stood when something was shown last; None before that.
        map: which map was shown last, see `map_mark`.
        kept_views: the views that the visitor keeps to compare.
        shown: the keys of photo and model that were shown last.
        beside: what the panel below the picture was drawn for.
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
        visitor: what to remember.
        controls: fitted to the capture.
        capture: what is shown, its photo at a screen's size.
        rendered: the picture.
        row: what is compared, where that is shown.
        link: query string that opens the page like this; of a photo that is no sample, without the photo.
        remodelled: another model than what the visitor was shown last.
        recaptured: another photo or model than what the visitor was shown last.
        remapped: another map than that; other colours of the same map are not.
        panel: the panel below the picture must be drawn anew.
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
    """What tells one raw map of one photo from all others; how it is drawn does not count.

    Args:
        visitor: of which photo.
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
    """What the panel below the picture depends on.

    Args:
        visitor: of which photo.
        controls: fitted to the capture.
        settings: what these ask for.
        row: what is compared.
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
"""Views that a visitor can keep to compare."""

NO_KEPT_VIEWS = "You have no views of your own yet: show one above and press “Add this view to compare”, then another."


@dataclass(frozen=True)
class KeptView:
    """One view of a row: a key, words and numbers, never pixels.

    Attributes:
        photo, name, sample: of its photo, as in `Visitor`.
        model: name of the model.
        settings: fitted to the capture; how it is drawn is the whole row's and stands at its defaults.
    """

    photo: str
    name: str
    sample: bool
    model: str
    settings: ViewSettings

    @property
    def mark(self) -> str:
        """What tells this view from all others, and tells nothing else."""
        return digest(self)


@dataclass(frozen=True, eq=False)
class ComparedRow:
    """What is drawn of a row.

    Attributes:
        comparison: of the views that can be had; None where none can.
        places: for each view of the row its place in the comparison, or why it cannot be had.
        difference: what one view has more than another, or why there is no difference; None where none was asked for.
    """

    comparison: Comparison | None
    places: tuple[int | str, ...]
    difference: DifferenceView | str | None


@dataclass(frozen=True)
class ComparisonRow:
    """What is compared below the picture.

    Attributes:
        kept_views: its views, in their order.
        why: why there is none; else empty.
        here: the view that stands above, as `KeptView.mark`.
    """

    kept_views: tuple[KeptView, ...] = ()
    why: str = ""
    here: str = ""


def kept_view_of(visitor: Visitor, model: str, settings: ViewSettings) -> KeptView:
    """A view of the visitor's photo, to be kept or compared.

    Args:
        visitor: of which photo.
        model: name of the model.
        settings: fitted to the capture.
    """
    return KeptView(visitor.photo, visitor.name, visitor.sample, model, without_look(settings))


def row_of(visitor: Visitor, controls: Controls, capture: AttentionCapture, settings: ViewSettings) -> ComparisonRow:
    """What the controls compare; an empty row while something else stands below the picture."""
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
    """Controls whose panels to be subtracted are there, and are those that were chosen.

    Args:
        controls: as they stand now.
        row: what they compare.
        before: as they stood when something was shown last.
    """
    chosen = {name: panel_index(getattr(controls, name)) for name in ("first", "second")}
    count = len(row.kept_views) if before is None or before.row == controls.row else 0
    return replace(
        controls,
        **{name: NO_PANEL if place is None or place >= count else str(place + 1) for name, place in chosen.items()},
    )


def compare_row(found: Sequence[Panel | str], controls: Controls) -> ComparedRow:
    """Draw a row on one scale, and the difference that the controls ask for.

    Args:
        found: the panels of the row, or why one cannot be had.
        controls: fitted to the row.
    """
    scale = shared_scale(controls.scale)
    panels = [panel for panel in found if isinstance(panel, Panel)]
    places = iter(range(len(panels)))
    return ComparedRow(
        compare_views(panels, scale) if panels else None,
        tuple(one if isinstance(one, str) else next(places) for one in found),
        _difference(found, controls, scale),
    )


def _difference(found: Sequence[Panel | str], controls: Controls, scale: str) -> DifferenceView | str | None:
    first, second = panel_index(controls.first), panel_index(controls.second)
    if first is None or second is None:
        return None
    one, other = found[first], found[second]
    if isinstance(one, str) or isinstance(other, str):
        return "one of the two views cannot be had any more"
    try:
        return difference_view(one, other, scale)
    except SettingsError as error:
        return str(error)


def digest(value: Any) -> str:
    """A short text that differs for other words and numbers, and from which these cannot be read."""
    return hashlib.sha256(repr(value).encode()).hexdigest()[:16]
