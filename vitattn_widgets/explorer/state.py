"""The explorer's controls and kept views as traits that Python and browser share, held to what the captures have."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import anywidget
import traitlets

from ..comparison.compare import COMPARED_SCALES
from ..errors import SettingsError, VitattnError
from ..viewer.capsule import make_capsule
from ..viewer.requests import NEEDS
from ..viewer.settings import START
from .library import Library
from .views import CONTROLS, Shown, Values, fitted_pair, kept_views, moved_pair, show

KEPT = ("panels", "panel_scale", "difference")
"""The traits of the comparison."""


class ExplorerState(anywidget.AnyWidget):
    """The traits of an explorer. What is set is checked against its capture, and nothing is drawn.

    A choice that does not exist (`VitattnError`) is reported by `status`, and the last good values come back.
    """

    model = traitlets.Unicode().tag(sync=True)
    picture = traitlets.Unicode().tag(sync=True)
    arrangement = traitlets.Unicode("overlay").tag(sync=True)
    layer = traitlets.Int(START.layer).tag(sync=True)
    head = traitlets.Int(START.head, allow_none=True).tag(sync=True)
    aggregation = traitlets.Unicode(START.aggregation).tag(sync=True)
    query = traitlets.Any(START.query, allow_none=True).tag(sync=True)
    source = traitlets.Unicode(START.source).tag(sync=True)
    target = traitlets.Int(START.target, allow_none=True).tag(sync=True)
    sinks = traitlets.Unicode(START.sinks).tag(sync=True)
    bilinear = traitlets.Bool(START.bilinear).tag(sync=True)
    median = traitlets.Bool(START.median).tag(sync=True)
    gaussian = traitlets.Bool(START.gaussian).tag(sync=True)
    scale = traitlets.Unicode(START.scale).tag(sync=True)
    opacity = traitlets.Float(START.opacity).tag(sync=True)
    cmap = traitlets.Unicode(START.cmap).tag(sync=True)
    on = traitlets.Unicode(START.on).tag(sync=True)
    blend = traitlets.Unicode(START.blend).tag(sync=True)

    panels: traitlets.List[Values] = traitlets.List().tag(sync=True)
    panel_scale = traitlets.Unicode("robust").tag(sync=True)
    difference: traitlets.List[int] = traitlets.List().tag(sync=True)

    status = traitlets.Unicode().tag(sync=True)

    # for the browser alone: its model's id; whether the status is progress; menus; the capsule of model and picture,
    # and by need the last answer that completed it, so that a saved notebook can draw
    _id = traitlets.Unicode().tag(sync=True)
    _busy = traitlets.Bool(False).tag(sync=True)
    _menus = traitlets.Dict().tag(sync=True)
    _capsule = traitlets.Dict().tag(sync=True)
    _operands = traitlets.Dict().tag(sync=True)
    _row = traitlets.Dict().tag(sync=True)
    _maps = traitlets.Dict().tag(sync=True)
    _colors = traitlets.Dict().tag(sync=True)
    _answers = traitlets.Dict().tag(sync=True)
    _direct = traitlets.Dict().tag(sync=True)
    _silenced = traitlets.Dict().tag(sync=True)

    _library: Library
    _now: Shown | None = None
    _kept: Mapping[str, Any]
    """The last good values of the comparison's traits."""
    _quiet = True
    """Whether traits change without being checked."""

    def _start(self, asked: set[str]) -> None:
        """Check the traits and show the first picture; from now on, every change is checked."""
        self._id, self._menus = self.model_id, self._library.facts()
        self._kept = {name: self.trait_defaults(name) for name in KEPT}
        self._quiet = False
        if self._library.pictures:
            self._update(asked)
            self._panels_moved({})
        else:
            self.status = "No picture yet: upload one."

    def _shown_now(self) -> Shown:
        if self._now is None:
            raise RuntimeError("the explorer shows no picture: " + (self.status or "it is closed"))
        return self._now

    @traitlets.validate("query")
    def _tuple_from_json(self, proposal: dict[str, Any]) -> Any:
        value = proposal["value"]
        return tuple(value) if isinstance(value, list) else value

    @traitlets.observe(*CONTROLS)
    def _control_moved(self, _: Any) -> None:
        if self._quiet:
            return
        values = self._values(CONTROLS)
        now = self._now.values if self._now else {}
        same = (values["model"], values["picture"]) == (now.get("model"), now.get("picture"))
        # several may have changed at once; then the first notification takes them all
        self._update({name for name in CONTROLS if same and values[name] != now[name]})

    def _update(self, asked: set[str]) -> None:
        """Take what the controls choose; if that fails, report why and put the controls back."""
        with self._taking(self._now.values if self._now else {}):
            values = self._values(CONTROLS)
            if self._now is None or values != self._now.values:
                self._take(show(self._library, values, self._now, asked))

    def _take(self, shown: Shown) -> None:
        model, picture = shown.values["model"], shown.values["picture"]
        content, directions = None, shown.capture.directions
        if self._now is None or not self._now.is_of(model, picture) or self._now.capture.directions != directions:
            content = make_capsule(shown.model, shown.capture, picture, self._library.path(picture))
        self._now = shown
        with self.hold_sync():
            if content is not None:
                self._keep_in_notebook({"model": model, "picture": picture, "content": content})
            self._set_quietly(shown.values)
            self._notify("")

    def _keep_in_notebook(self, capsule: Values) -> None:
        self._capsule = capsule
        for need in NEEDS:
            setattr(self, f"_{need}", {})

    @traitlets.observe(*KEPT)
    def _panels_moved(self, _: Any) -> None:
        if self._quiet or self._now is None or self._values(KEPT) == self._kept:
            return
        with self._taking(self._kept):
            self._keep(self.panels)

    def _keep(self, wanted: Iterable[Mapping[str, Any]]) -> None:
        """Take views as the row's panels."""
        if self.panel_scale not in COMPARED_SCALES:
            possible = ", ".join(COMPARED_SCALES)
            raise SettingsError(f"panel_scale {self.panel_scale!r} does not exist; possible: {possible}")
        before = self._kept["panels"]
        views = kept_views(self._library, wanted, self._shown_now(), before)
        pair: Sequence[int] = self.difference
        if pair == self._kept["difference"]:
            pair = moved_pair(pair, before, views)
        pair = fitted_pair(pair, len(views))
        with self.hold_sync():
            self._set_quietly({"panels": views, "difference": pair})
            self._kept = self._values(KEPT)
            self._notify("")

    def _values(self, names: tuple[str, ...]) -> Values:
        return {name: getattr(self, name) for name in names}

    def _set_quietly(self, values: Mapping[str, Any]) -> None:
        before, self._quiet = self._quiet, True
        try:
            for name, value in values.items():
                setattr(self, name, value)
        finally:
            self._quiet = before

    def _notify(self, message: str, busy: bool = False) -> None:
        with self.hold_sync():
            self.status, self._busy = message, busy

    def _notify_busy(self, message: str) -> None:
        """Show a line while something takes a while."""
        self._notify(message, busy=True)

    @contextmanager
    def _taking(self, good: Mapping[str, Any]) -> Iterator[None]:
        """Report an error in the status line, and put the last good values back."""
        try:
            yield
        except VitattnError as error:
            with self.hold_sync():
                self._notify(str(error))
                self._set_quietly(good)

    @contextmanager
    def _notifying(self) -> Iterator[None]:
        """Report errors in the status line as well, and clear progress at the end."""
        try:
            yield
        except VitattnError as error:
            self._notify(str(error))
            raise
        if self._busy:
            self._notify("")
