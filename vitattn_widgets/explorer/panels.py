"""The part of the explorer that keeps views side by side: its traits and methods."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import traitlets

from ..comparison.compare import COMPARED_SCALES, Comparison, compare_views
from ..comparison.panels import Panel
from ..errors import SettingsError, VitattnError
from ..view.settings import LOOK, ViewSettings
from .comparison import Comparing, ComparisonRow, KeptView, along, moved_pair, row_facts, row_png
from .state import Shown

KEPT = ("panels", "panel_scale", "difference")
"""The traits of the comparison."""


class KeepsPanels(traitlets.HasTraits):
    """Views kept side by side on one shared colour scale.

    `pin` keeps the current view, `compare` keeps several views at once. A kept view has its own layer, head,
    aggregation, query, source, class, sinks, model and picture; smoothing, opacity, colour map and ground are always
    the explorer's, as only then can the panels be compared. As with the controls, the status line reports a value that
    does not exist, and the last good row comes back.

    Attributes:
        panels: the kept views in their order, each a dict of controls (``{"layer": 3, "head": 1, ...}``); missing ones
            are taken from the current view. Assign another list to add, remove or reorder views.
        panel_scale: ``"shared"``, from the smallest to the largest value of all panels, or ``"robust"``, percentiles.
        difference: numbers of two panels whose difference is shown as well; empty shows it if there are exactly two.
    """

    panels: traitlets.List[dict[str, Any]] = traitlets.List().tag(sync=True)
    panel_scale = traitlets.Unicode("shared").tag(sync=True)
    difference: traitlets.List[int] = traitlets.List().tag(sync=True)

    # for the browser, which asks for a new row when the row is outdated and visible
    _row = traitlets.Dict().tag(sync=True)
    _row_wanted = traitlets.Int(0).tag(sync=True)

    # provided by the explorer
    _now: Shown | None
    _quiet: bool
    _shown_now: Callable[[], Shown]
    _set_quietly: Callable[[Mapping[str, Any]], None]
    _notify: Callable[[str], None]
    _notifying_errors: Callable[[], AbstractContextManager[None]]
    hold_sync: Callable[[], AbstractContextManager[None]]

    _comparing: Comparing
    _drawn: ComparisonRow
    _drawn_for: dict[str, Any]
    _drawn_look: ViewSettings | None = None

    def _start_comparing(self, comparing: Comparing) -> None:
        self._comparing = comparing
        self._drawn = ComparisonRow()
        self._drawn_for = {"panels": [], "panel_scale": self.panel_scale, "difference": []}

    # --- what is kept, to read ---

    @property
    def comparison(self) -> Comparison | None:
        """The panels as `compare_views` draws them, at the photos' full size; None if there are none."""
        panels = self.comparison_panels()
        return compare_views(panels, self.panel_scale) if panels else None

    def comparison_panels(self) -> tuple[Panel, ...]:
        """The panels with their captures, for `compare_views`, `difference_view` and `comparison_figure`."""
        if not self._drawn.kept_views:
            return ()
        with self._notifying_errors():
            return self._comparing.panels(self._drawn.kept_views, self._look())

    def comparison_png(self) -> bytes:
        """The row as a figure in a PNG file, with the difference if there are two panels that have one."""
        both = len(self._drawn.kept_views) == 2 and self._drawn.difference is not None
        return row_png(self.comparison_panels(), self.panel_scale, both)

    # --- what can be done besides setting traits ---

    def pin(self) -> None:
        """Keep the current view as a further panel, unless it is kept already."""
        shown = self._shown_now()
        with self._notifying_errors():
            self._keep([*self.panels, KeptView.of(shown.choice).as_dict()], shown)

    def compare(self, preset: str = "", **axes: Sequence[Any]) -> None:
        """Replace the kept views by a new row.

        ``explorer.compare(layers=[0, 5, 11])`` keeps three layers of the current view, ``explorer.compare("sources")``
        every source, ``explorer.compare("heads", pictures=["cat.jpg", "dog.jpg"])`` every head for each of two photos.

        Args:
            preset: a name of `comparison.presets.PRESETS`, ``"pictures"`` (all pictures) or ``"models"`` (all models).
            axes: values of ``models``, ``pictures``, ``sources``, ``layers``, ``heads``, ``aggregations``, ``queries``,
                ``targets`` or ``sinks``; several of these give every combination.

        Raises:
            VitattnError: no such preset, axis or value, or nothing to compare.
        """
        shown = self._shown_now()
        with self._notifying_errors():
            if not preset and not any(map(len, axes.values())):
                raise SettingsError(
                    "there is nothing to compare; give a preset such as 'layers', or values such as layers=[0, 5]"
                )
            views = self._comparing.preset(preset, shown) if preset else [{}]
            self._keep([view | values for values in along(axes) for view in views], shown)

    def draw_panels(self) -> None:
        """Redraw the row if its look differs from that of the controls, for example after a change of opacity."""
        if self._row.get("version", 0) == self._row_wanted:
            return
        try:
            self._show_row(self._drawn.kept_views, self.difference)
        except VitattnError as error:  # the row stays as it is, and counts as up to date
            self._row = self._row | {"version": self._row_wanted}
            self._notify(str(error))

    # --- from kept views to a row of pictures ---

    @traitlets.observe(*KEPT)
    def _panels_moved(self, _: dict[str, Any]) -> None:
        # if several changed at once, the first notification has drawn them all
        if self._quiet or self._now is None or self._kept() == self._drawn_for:
            return
        try:
            self._keep(self.panels, self._now)
        except VitattnError as error:
            with self.hold_sync():
                self._notify(str(error))
                self._set_quietly(self._drawn_for)

    def _keep(self, views: Iterable[Mapping[str, Any]], shown: Shown) -> None:
        kept_views = self._comparing.kept_views(views, shown)
        pair: Sequence[int] = self.difference
        if pair == self._drawn_for["difference"]:
            pair = moved_pair(pair, self._drawn.kept_views, kept_views)
        self._show_row(kept_views, pair)

    def _show_row(self, kept_views: Sequence[KeptView], pair: Sequence[int]) -> None:
        if self.panel_scale not in COMPARED_SCALES:
            possible = ", ".join(COMPARED_SCALES)
            raise SettingsError(f"panel_scale {self.panel_scale!r} does not exist; possible: {possible}")
        look = self._look()
        self._drawn = self._comparing.row(kept_views, look, self.panel_scale, pair)
        self._drawn_look = look
        with self.hold_sync():
            self._set_quietly({"panels": [kept.as_dict() for kept in kept_views], "difference": list(pair)})
            self._drawn_for = self._kept()
            self._row = row_facts(self._drawn, self._row_wanted)
            self._notify("")

    def _look(self) -> ViewSettings:
        """Smoothing, opacity, colours and ground of the current view."""
        settings = self._shown_now().rendered.settings
        return ViewSettings(**{name: getattr(settings, name) for name in LOOK})

    def _row_is_behind(self) -> bool:
        return bool(self._drawn.kept_views) and self._drawn_look != self._look()

    def _kept(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in KEPT}
