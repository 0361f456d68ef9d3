"""What a click means: on a patch, a small map, a kept view or a button."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ..errors import SettingsError
from ..maps.settings import MAP_FIELDS
from ..view.settings import RECOMMENDED, ViewSettings
from .controls import NO_PANEL, OWN_VIEWS, Controls, short_text, whole_number
from .service import DemoService
from .visitor import MAX_KEPT_VIEWS, Shown, Visitor, kept_view_of, row_of


def follow_click(service: DemoService, visitor: Visitor, chosen: Any, controls: Controls) -> Shown:
    """Follow a click: on a patch (``row``, ``col``), a head or cell (``head``, ``layer``), or a ``sample``.

    ``{"query": None}`` returns to the default query, ``{"use": "recommended"}`` shows what the classifier used,
    ``{"add": True}`` keeps the view for comparison, ``{"view": mark}`` shows a view of the row, and
    ``{"remove": mark}`` removes a kept view, or all of them if the mark is ``"all"``.

    Raises:
        SettingsError: the click names something that does not exist.
    """
    match chosen:
        case {"sample": sample}:
            return service.take_sample(visitor, sample, controls)
        case {"row": row, "col": col}:
            changed, asked = {"query": f"{whole_number(row, 'row')},{whole_number(col, 'col')}"}, ["query"]
        case {"layer": layer, "head": head}:
            changed, asked = {"layer": layer, "head": head}, ["layer", "head"]
        case {"head": head}:
            changed, asked = {"head": head}, ["head"]
        case {"query": None}:
            changed, asked = {"query": "default"}, []
        case {"add": True}:
            return _add(service, visitor, controls)
        case {"remove": str(mark)}:
            kept_views = tuple(kept for kept in visitor.kept_views if mark not in (kept.mark, "all"))
            return service.change(
                replace(visitor, kept_views=kept_views), replace(controls, first=NO_PANEL, second=NO_PANEL)
            )
        case {"view": str(mark)}:
            return _go_to(service, visitor, mark, controls)
        case {"use": "recommended"}:
            recommended = controls.with_settings(ViewSettings.recommended())
            changed, asked = {name: getattr(recommended, name) for name in RECOMMENDED}, ["source"]
        case _:
            raise SettingsError(f"this click is not understood: {short_text(chosen)}")
    return service.change(visitor, replace(controls, **changed), asked)


def _add(service: DemoService, visitor: Visitor, controls: Controls) -> Shown:
    """Keep the current view for comparison, and show the kept views."""
    _, settings = service.prepared(visitor, controls, ())
    kept = kept_view_of(visitor, controls.model, settings)
    kept_views = visitor.kept_views if kept in visitor.kept_views else (*visitor.kept_views, kept)
    if len(kept_views) > MAX_KEPT_VIEWS:
        raise SettingsError(f"you can keep at most {MAX_KEPT_VIEWS} views; remove one first")
    return service.change(replace(visitor, kept_views=kept_views), replace(controls, beside="compare", row=OWN_VIEWS))


def _go_to(service: DemoService, visitor: Visitor, mark: str, controls: Controls) -> Shown:
    """Show one of the row's views as the picture above."""
    kept_views = visitor.kept_views
    if controls.row != OWN_VIEWS:
        capture, settings = service.prepared(visitor, controls, ())
        kept_views = row_of(visitor, controls, capture, settings).kept_views
    kept = next((kept for kept in kept_views if kept.mark == mark), None)
    if kept is None:
        raise SettingsError("this view is no longer in the row")
    wanted = controls.with_settings(kept.settings)
    moved = replace(visitor, photo=kept.photo, name=kept.name, sample=kept.sample)
    # patch and class are numbers of the kept view's model already, not to be mapped from the model shown before
    if kept.model != controls.model:
        moved = replace(moved, grid=None, controls=None)
    return service.change(
        moved, replace(controls, model=kept.model, **{name: getattr(wanted, name) for name in MAP_FIELDS})
    )
