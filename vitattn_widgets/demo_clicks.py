"""What a visitor's clicks mean: on a patch, a small map, a kept view, a button."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from .demo_controls import MAP, NO_PANEL, OWN_VIEWS, Controls, short_text, whole_number
from .demo_desk import Desk
from .demo_rows import MAX_PINS, pin_of, row_of
from .demo_visit import Shown, Visit
from .errors import SettingsError
from .settings import RECOMMENDED, ViewSettings


def follow_click(desk: Desk, visit: Visit, chosen: Any, controls: Controls) -> Shown:
    """Follow a click: on a patch (``row``, ``col``), a head or cell (``head``, ``layer``), or a ``sample``.

    ``{"use": "recommended"}`` asks what the classifier used, ``{"add": True}`` adds the view to those to compare,
    ``{"view": mark}`` shows one of the row, ``{"remove": mark}`` takes one out, ``"all"`` all of them.

    Raises:
        SettingsError: the click names something that does not exist.
    """
    match chosen:
        case {"sample": sample}:
            return desk.take_sample(visit, sample, controls)
        case {"row": row, "col": col}:
            changed, asked = {"query": f"{whole_number(row, 'row')},{whole_number(col, 'col')}"}, ["query"]
        case {"layer": layer, "head": head}:
            changed, asked = {"layer": layer, "head": head}, ["layer", "head"]
        case {"head": head}:
            changed, asked = {"head": head}, ["head"]
        case {"query": None}:
            changed, asked = {"query": "default"}, []
        case {"add": True}:
            return _add(desk, visit, controls)
        case {"remove": str(mark)}:
            pins = tuple(pin for pin in visit.pins if mark not in (pin.mark, "all"))
            return desk.change(replace(visit, pins=pins), replace(controls, first=NO_PANEL, second=NO_PANEL))
        case {"view": str(mark)}:
            return _go_to(desk, visit, mark, controls)
        case {"use": "recommended"}:
            recommended = controls.with_settings(ViewSettings.recommended())
            changed, asked = {name: getattr(recommended, name) for name in RECOMMENDED}, ["source"]
        case _:
            raise SettingsError(f"a click that means nothing here: {short_text(chosen)}")
    return desk.change(visit, replace(controls, **changed), asked)


def _add(desk: Desk, visit: Visit, controls: Controls) -> Shown:
    """Add what is shown to the views to compare, and show these."""
    _, settings = desk.prepared(visit, controls, ())
    pin = pin_of(visit, controls.model, settings)
    pins = visit.pins if pin in visit.pins else (*visit.pins, pin)
    if len(pins) > MAX_PINS:
        raise SettingsError(f"you have {MAX_PINS} own views, which is the limit; remove one first")
    return desk.change(replace(visit, pins=pins), replace(controls, beside="compare", row=OWN_VIEWS))


def _go_to(desk: Desk, visit: Visit, mark: str, controls: Controls) -> Shown:
    """Show one of the views of the row above."""
    pins = visit.pins
    if controls.row != OWN_VIEWS:
        capture, settings = desk.prepared(visit, controls, ())
        pins = row_of(visit, controls, capture, settings).pins
    pin = next((pin for pin in pins if pin.mark == mark), None)
    if pin is None:
        raise SettingsError("this view is not in the row any more")
    there = controls.with_settings(pin.settings)
    moved = replace(visit, photo=pin.photo, name=pin.name, sample=pin.sample)
    if pin.model != controls.model:  # layers, patches and classes are numbers of that model
        moved = replace(moved, grid=None, controls=None)
    return desk.change(moved, replace(controls, model=pin.model, **{name: getattr(there, name) for name in MAP}))
