"""The part of the explorer that keeps views side by side: its traits, and what can be asked of it."""

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
"""The traits that choose what stands side by side."""


class KeepsPanels(traitlets.HasTraits):
    """Views kept side by side on one shared colour scale.

    The view that is shown is kept by `pin`, several at once by `compare`. Layer, head, aggregation, query, source,
    class, sinks, model and picture stay as they were; smoothing, opacity, colour map and ground are the explorer's, for
    only then can panels be compared. As with the controls, what does not exist is told in the status line, and the last
    good row comes back.

    Attributes:
        panels: the kept views in their order, each a dict of controls (``{"layer": 3, "head": 1, ...}``); what is not
            in it is taken from what is shown. Assign another list to add, remove or reorder.
        panel_scale: ``"shared"``, one scale from the smallest to the largest value of all, or ``"robust"``.
        difference: numbers of two panels, whose difference is shown as well; without numbers it is shown where there
            are exactly two panels.
    """

    panels = traitlets.List().tag(sync=True)
    panel_scale = traitlets.Unicode("shared").tag(sync=True)
    difference = traitlets.List().tag(sync=True)

    # for the browser, which asks for the row anew when its look is behind and it can be seen
    _row = traitlets.Dict().tag(sync=True)
    _row_wanted = traitlets.Int(0).tag(sync=True)

    # the explorer's
    _now: Shown | None
    _quiet: bool
    _shown_now: Callable[[], Shown]
    _set_quietly: Callable[[Mapping[str, Any]], None]
    _notify: Callable[[str], None]
    _notifying_errors: Callable[[], AbstractContextManager[None]]

    _comparing: Comparing
    _drawn: ComparisonRow
    _drawn_look: ViewSettings | None = None

    def _start_comparing(self, comparing: Comparing) -> None:
        self._comparing = comparing
        self._drawn = ComparisonRow()
        self._drawn_for = {"panels": [], "panel_scale": self.panel_scale, "difference": []}

    # --- what is kept, to read ---

    @property
    def comparison(self) -> Comparison | None:
        """The panels as `compare_views` draws them, in the photos' full size; None where there are none."""
        panels = self.comparison_panels()
        return compare_views(panels, self.panel_scale) if panels else None

    def comparison_panels(self) -> tuple[Panel, ...]:
        """The panels with their captures, for `compare_views`, `difference_view` and `comparison_figure`."""
        if not self._drawn.kept_views:
            return ()
        with self._notifying_errors():
            return self._comparing.panels(self._drawn.kept_views, self._look())

    def comparison_png(self) -> bytes:
        """The row as a figure, a PNG file; with the difference where there are two panels that have one."""
        both = len(self._drawn.kept_views) == 2 and self._drawn.difference is not None
        return row_png(self.comparison_panels(), self.panel_scale, both)

    # --- what can be done besides setting traits ---

    def pin(self) -> None:
        """Keep what is shown as a further panel. Of two views that are the same, one is kept."""
        shown = self._shown_now()
        with self._notifying_errors():
            self._keep([*self.panels, KeptView.of(shown.choice).as_dict()], shown)

    def compare(self, preset: str = "", **axes: Sequence[Any]) -> None:
        """Put a row of panels in place of those that are kept.

        ``explorer.compare(layers=[0, 5, 11])`` keeps three layers of what is shown, ``explorer.compare("sources")``
        every source, ``explorer.compare("heads", pictures=["cat.jpg", "dog.jpg"])`` every head for each of two photos.

        Args:
            preset: a name of `comparison_presets.PRESETS`, ``"pictures"`` (all of them) or ``"models"``.
            axes: values of ``models``, ``pictures``, ``sources``, ``layers``, ``heads``, ``aggregations``, ``queries``,
                ``targets`` or ``sinks``; of several, every combination.

        Raises:
            VitattnError: there is no such thing, or nothing to compare.
        """
        shown = self._shown_now()
        with self._notifying_errors():
            if not preset and not any(map(len, axes.values())):
                raise SettingsError("say what to compare: a preset such as 'layers', or values such as layers=[0, 5]")
            views = self._comparing.preset(preset, shown) if preset else [{}]
            self._keep([view | values for values in along(axes) for view in views], shown)

    def draw_panels(self) -> None:
        """Draw the row anew where its look is not that of the controls, as after another opacity."""
        if self._row.get("version", 0) == self._row_wanted:
            return
        try:
            self._show_row(self._drawn.kept_views, self.difference)
        except VitattnError as error:  # the row stays as it is
            self._row = self._row | {"version": self._row_wanted}
            self._notify(str(error))

    # --- from kept views to a row of pictures ---

    @traitlets.observe(*KEPT)
    def _panels_moved(self, _: dict[str, Any]) -> None:
        # of several that changed at once, the first notice drew them all
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
        pair = self.difference
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
        """Smoothing, opacity, colours and ground of what is shown."""
        settings = self._shown_now().rendered.settings
        return ViewSettings(**{name: getattr(settings, name) for name in LOOK})

    def _row_is_behind(self) -> bool:
        return bool(self._drawn.kept_views) and self._drawn_look != self._look()

    def _kept(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in KEPT}
