"""What the page remembers of a visitor and what it shows one: words, numbers and keys, all of them values."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from .capture import AttentionCapture
from .comparison_presets import LOOK
from .demo_controls import Controls
from .demo_rows import Pin, Row, digest
from .render import RenderedView
from .settings import ViewSettings
from .sources import CATALOGUE


@dataclass(frozen=True)
class Visit:
    """All that the server remembers of one visitor: words and numbers, never pixels.

    Attributes:
        photo: key of the photo; empty before there is one.
        name: what the visitor calls it.
        sample: whether it is one of the samples.
        grid: ``(rows, cols)`` that a patch query was chosen on.
        controls: as they stood when something was shown last; None before that.
        map: which map was shown last, see `map_mark`.
        pins: the views that the visitor keeps to compare.
        shown: the keys of photo and model that were shown last.
        beside: what the panel below the picture was drawn for.
    """

    photo: str = ""
    name: str = ""
    sample: bool = False
    grid: tuple[int, int] | None = None
    controls: Controls | None = None
    map: str = ""
    pins: tuple[Pin, ...] = ()
    shown: tuple[str, str] = ("", "")
    beside: tuple[Any, ...] = ()


@dataclass(frozen=True, eq=False)
class Shown:
    """One state of the page.

    Attributes:
        visit: what to remember.
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

    visit: Visit
    controls: Controls
    capture: AttentionCapture
    rendered: RenderedView
    row: Row
    link: str
    remodelled: bool
    recaptured: bool
    remapped: bool
    panel: bool


def map_mark(visit: Visit, model: str, settings: ViewSettings) -> str:
    """What tells one raw map of one photo from all others; how it is drawn does not count.

    Args:
        visit: of which photo.
        model: name of the model.
        settings: fitted to the capture.
    """
    source = CATALOGUE[settings.source]
    plain = ViewSettings(
        layer=settings.layer,
        head=None if source.no_head else settings.head,
        aggregation=settings.aggregation if settings.head is None and source.aggregations else "mean",
        query=settings.query,
        source=settings.source,
        target=None if source.no_class else settings.target,
        sinks="leave_out" if settings.sinks == "leave_out" else "show",
    )
    return digest((visit.photo, model, plain))


def panel_mark(visit: Visit, controls: Controls, settings: ViewSettings, row: Row) -> tuple[Any, ...]:
    """What the panel below the picture depends on.

    Args:
        visit: of which photo.
        controls: fitted to the capture.
        settings: what these ask for.
        row: what is compared.
    """
    place = (controls.beside, visit.photo, controls.model)
    if controls.beside == "all layers and heads":
        plain = settings.source == "attention"
        return (*place, settings.query, settings.cmap, settings.layer, settings.head, plain)
    if controls.beside == "every head":
        return (*place, replace(settings, aggregation="mean", scale="shared"))
    marks = tuple(pin.mark for pin in row.pins)
    look = tuple(getattr(settings, name) for name in (*LOOK, "scale"))
    here = row.here if row.here in marks else ""
    return (controls.beside, row.why, marks, here, look, controls.row, controls.first, controls.second)
