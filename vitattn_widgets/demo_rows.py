"""What a visitor compares: a preset's views of what is shown, or views of any photos that were kept."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from .capture import AttentionCapture
from .comparison import Comparison, DifferenceView, Panel, compare_views, difference_view, shared_scale
from .comparison_presets import PRESETS, without_look
from .demo_controls import NO_PANEL, OWN_VIEWS, Controls, panel_index
from .errors import SettingsError
from .settings import ViewSettings

if TYPE_CHECKING:
    from .demo_visit import Visit

MAX_PINS = 12
"""Views that a visitor can keep to compare."""

NO_PINS = "You have no views of your own yet: show one above and press “Add this view to compare”, then another."


@dataclass(frozen=True)
class Pin:
    """One view of a row: a key, words and numbers, never pixels.

    Attributes:
        photo, name, sample: of its photo, as in `Visit`.
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
class Row:
    """What is compared below the picture.

    Attributes:
        pins: its views, in their order.
        why: why there is none; else empty.
        here: the view that stands above, as `Pin.mark`.
    """

    pins: tuple[Pin, ...] = ()
    why: str = ""
    here: str = ""


def pin_of(visit: Visit, model: str, settings: ViewSettings) -> Pin:
    """A view of the visitor's photo, to be kept or compared.

    Args:
        visit: of which photo.
        model: name of the model.
        settings: fitted to the capture.
    """
    return Pin(visit.photo, visit.name, visit.sample, model, without_look(settings))


def row_of(visit: Visit, controls: Controls, capture: AttentionCapture, settings: ViewSettings) -> Row:
    """What the controls compare; an empty row while something else stands below the picture."""
    here = pin_of(visit, controls.model, settings).mark
    if controls.beside != "compare":
        return Row(here=here)
    if controls.row == OWN_VIEWS:
        return Row(visit.pins, "" if visit.pins else NO_PINS, here)
    try:
        panels = PRESETS[controls.row].panels(capture, settings)
    except SettingsError as error:
        return Row(why=str(error), here=here)
    return Row(tuple(pin_of(visit, controls.model, panel) for panel in panels), here=here)


def with_row(controls: Controls, row: Row, before: Controls | None) -> Controls:
    """Controls whose panels to be subtracted are there, and are those that were chosen.

    Args:
        controls: as they stand now.
        row: what they compare.
        before: as they stood when something was shown last.
    """
    chosen = {name: panel_index(getattr(controls, name)) for name in ("first", "second")}
    count = len(row.pins) if before is None or before.row == controls.row else 0
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
