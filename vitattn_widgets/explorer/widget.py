"""The notebook explorer: controls become `ViewSettings`, these a picture. It wires and shows; it computes nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anywidget
import traitlets

from ..capture.capture import AttentionCapture
from ..errors import SettingsError, VitattnError
from ..evaluation.checks import MapCheck, check_map
from ..export.page import make_page
from ..figures.paper import check_figure, figure_bytes
from ..images import Picture, load_picture
from ..view.drawing import DEFAULT_CMAP
from ..view.encode import map_bytes, picture_bytes
from ..view.recipe import make_recipe
from ..view.render import RenderedView
from ..view.settings import ViewSettings
from ..viewer.assets import joined
from ..viewer.store import DEFAULT_BUDGET, CaptureStore
from .comparison import Comparing, ComparisonRow
from .library import Library, Models, Pictures
from .messages import Uploads, answer
from .panels import KEPT, KeepsPanels
from .payload import capture_facts, code_of, menus, overview_facts, overview_for, shown_facts
from .state import CONTROLS, Choice, Shown, show

STATIC = Path(__file__).parent / "static"

SCRIPTS = tuple(
    f"{name}.js"
    for name in (
        *("answer", "check", "choices", "classes", "compare", "controls", "elements", "explorer"),
        *("keep", "legend", "looks", "overview", "patches", "photos", "picture"),
    )
)
"""One module for the browser: the functions see each other, and `explorer.js` exports what a widget needs."""

SHEETS = tuple(
    f"{name}.css" for name in ("theme", "photos", "controls", "body", "overview", "check", "compare", "foot", "narrow")
)


class AttentionExplorer(KeepsPanels, anywidget.AnyWidget):
    """Explore what a Vision Transformer attends to, in a notebook.

    Every control is a trait, so ``explorer.layer = 3`` moves the slider, ``explorer.observe(...)`` hears of it, and
    ``traitlets.link((one, "layer"), (other, "layer"))`` ties two explorers together. A choice that does not exist
    (`VitattnError`) is told in the status line, and the last good picture and its controls come back.

    Args:
        model: an `AttentionModel`, a name for `load_model`, or several of these. A name is loaded when it is first
            chosen, and kept.
        images: a picture, several, or a mapping from names to pictures (see `images.load_picture`); more can be
            uploaded.
        budget: bytes of captures that are kept for going back to; the least recently used are dropped beyond that.
        controls: first values of the traits below.

    Attributes:
        model: name of the chosen model.
        picture: name of the chosen picture.
        arrangement: ``"overlay"``, ``"map"`` or ``"side by side"``.
        layer, head, aggregation, query, source, target, sinks, bilinear, median, gaussian, scale, opacity, cmap, on:
            see `ViewSettings`. The layer and the head are numbers from 0 on once they are shown; a query of None is
            what the classifier reads, a target of None the predicted class.
        panels, panel_scale, difference: what stands side by side; see `KeepsPanels`.
        status: the last error or progress message; empty when all is well.

    Raises:
        SettingsError: no model, or a control that does not exist.
    """

    _esm = joined(STATIC, SCRIPTS)
    _css = joined(STATIC, SHEETS)

    model = traitlets.Unicode().tag(sync=True)
    picture = traitlets.Unicode().tag(sync=True)
    arrangement = traitlets.Unicode("overlay").tag(sync=True)
    layer = traitlets.Int(-1).tag(sync=True)
    head = traitlets.Int(None, allow_none=True).tag(sync=True)
    aggregation = traitlets.Unicode("mean").tag(sync=True)
    query = traitlets.Any(None, allow_none=True).tag(sync=True)
    source = traitlets.Unicode("attention").tag(sync=True)
    target = traitlets.Int(None, allow_none=True).tag(sync=True)
    sinks = traitlets.Unicode("show").tag(sync=True)
    bilinear = traitlets.Bool(True).tag(sync=True)
    median = traitlets.Bool(True).tag(sync=True)
    gaussian = traitlets.Bool(True).tag(sync=True)
    scale = traitlets.Unicode("map").tag(sync=True)
    opacity = traitlets.Float(0.5).tag(sync=True)
    cmap = traitlets.Unicode(DEFAULT_CMAP).tag(sync=True)
    on = traitlets.Unicode("view").tag(sync=True)
    status = traitlets.Unicode().tag(sync=True)

    # for the browser; one dict a message, so that a picture and its caption always arrive together
    _busy = traitlets.Bool(False).tag(sync=True)
    _menus = traitlets.Dict().tag(sync=True)
    _classes = traitlets.List().tag(sync=True)
    _facts = traitlets.Dict().tag(sync=True)
    _shown = traitlets.Dict().tag(sync=True)
    _overview = traitlets.Dict().tag(sync=True)
    _check = traitlets.Dict().tag(sync=True)

    def __init__(self, model: Models, images: Pictures = (), *, budget: int = DEFAULT_BUDGET, **controls: Any) -> None:
        self._quiet = True  # controls change without a redraw
        self._now: Shown | None = None
        self._uploads = Uploads()
        self._from_browser = False
        unknown = set(controls) - {*CONTROLS, *KEPT, "layout"}
        if unknown:
            possible = ", ".join((*CONTROLS, *KEPT))
            raise SettingsError(f"the explorer has no control {sorted(unknown)}; it has {possible}")
        self._library = Library(model, images, budget)
        first = {"model": next(iter(self._library.models)), "picture": next(iter(self._library.pictures), "")}
        super().__init__(**(first | controls))
        self._start_comparing(Comparing(self._library, self._announce))
        self._menus = menus(self._library)
        self.on_msg(self._receive)
        self._quiet = False
        if self._library.pictures:
            self._update(asked=set(controls))
            self._panels_moved({})
        else:
            self.status = "No picture yet: upload one."

    # --- what is shown, to read ---

    @property
    def store(self) -> CaptureStore:
        """The captures of this explorer."""
        return self._library.store

    @property
    def capture(self) -> AttentionCapture | None:
        """The capture that is shown; None before the first good picture and after `close`."""
        return self._now.capture if self._now else None

    @property
    def settings(self) -> ViewSettings:
        """The settings of what is shown: ``render_view(explorer.capture, explorer.settings)`` draws this map."""
        return self._shown_now().rendered.settings

    @property
    def screen(self) -> bytes:
        """The picture on the screen as a BMP, WebP or JPEG file (see `panels.encode_for_screen`)."""
        return self._shown_now().encoded.content

    def render(self) -> RenderedView:
        """The picture that is shown, in the photo's full size."""
        return self._shown_now().full_size()

    def png(self) -> bytes:
        """The picture that is shown as a PNG file."""
        return picture_bytes(self.render().image)

    def npz(self) -> bytes:
        """The raw map that is shown as an NPZ file; see `files.map_bytes`."""
        return map_bytes(self._shown_now().capture, self._shown_now().rendered)

    def recipe(self) -> dict[str, Any]:
        """What makes the picture again; see `make_recipe` and `from_recipe`."""
        shown, path = self._shown_now(), self._path()
        return make_recipe(shown.model, shown.capture, shown.rendered.settings, shown.choice.arrangement, path)

    def page(self) -> bytes:
        """A page that needs no Python and no network, with every layer and head of what is shown; see `export_page`."""
        shown = self._shown_now()
        self._announce(f"Drawing every map of {shown.choice.picture} ...")
        with self._notifying_errors():
            return make_page(shown.model, shown.capture, shown.rendered.settings, name=shown.choice.picture).content

    def code(self) -> str:
        """Five lines of Python that make the picture that is shown."""
        return code_of(self._shown_now(), self._path())

    def _shown_now(self) -> Shown:
        if self._now is None:
            raise RuntimeError("the explorer shows no picture: " + (self.status or "it is closed"))
        return self._now

    def _path(self) -> str | None:
        return self._library.path(self._shown_now().choice.picture)

    # --- what can be done besides setting traits ---

    def check(self) -> MapCheck:
        """Put the map that is shown to the test (`check_map`); a few seconds. The page shows what it gave."""
        shown = self._shown_now()
        self._announce(f"Checking this map of {shown.choice.picture} ...")
        with self._notifying_errors():
            check = check_map(shown.model, shown.capture, shown.rendered.settings)
        self._check = {"sentences": check.sentences, "image": figure_bytes(check_figure(check))}
        return check

    def add_picture(self, name: str, picture: Picture) -> None:
        """Add a picture and choose it; one that cannot be read is told in the status line and not added.

        Args:
            name: its name; a number is appended where there is one of this name.
            picture: see `images.load_picture`.
        """
        try:
            photo = load_picture(picture)
        except VitattnError as error:
            self._notify(str(error))
            return
        name = self._library.add(name, photo, picture)
        self._menus = menus(self._library)
        self.picture = name

    def close(self) -> None:
        """Close the explorer and free its captures, models and pictures."""
        self._quiet = True
        self._now = None
        self._drawn = ComparisonRow()
        self._library.clear()
        self._uploads.clear()
        super().close()

    def __del__(self) -> None:
        if "_library" in vars(self):  # else the constructor failed, and there is nothing to free
            self.close()

    # --- from controls to a picture ---

    @traitlets.validate("query")
    def _tuple_from_json(self, proposal: dict[str, Any]) -> Any:
        value = proposal["value"]
        return tuple(value) if isinstance(value, list) else value

    @traitlets.observe(*CONTROLS)
    def _control_moved(self, change: dict[str, Any]) -> None:
        if not self._quiet:
            self._update(asked={change["name"]})

    def _update(self, asked: set[str]) -> None:
        """Show what the controls ask for; if that cannot be, say why and put the controls back."""
        try:
            wanted = Choice.of(self)
            if self._now is None or wanted != self._now.choice:
                # else it is one of several controls that changed at once; the first notice drew them all
                self._put_up(show(self._library, wanted, self._now, asked, self._announce))
        except VitattnError as error:
            with self.hold_sync():
                self._notify(str(error))
                if self._now:
                    self._set_quietly(self._now.choice.controls())

    def _put_up(self, shown: Shown) -> None:
        before, self._now = self._now, shown
        photo = shown.choice.model, shown.choice.picture
        another = before is None or photo != (before.choice.model, before.choice.picture)
        with self.hold_sync():
            self._check = {}  # it was of another map
            if another:
                self._classes = list(shown.capture.class_names)
                self._facts = capture_facts(shown.model, shown.capture)
            self._set_quietly(shown.choice.controls())
            self._shown = shown_facts(shown, self._path())
            if self._row_is_behind():
                self._row_wanted += 1
            self._notify("")
        # the picture is on its way; the overview follows, and is drawn anew only for another capture, query or colours
        if overview_for(shown) != self._overview.get("for"):
            self._overview = overview_facts(shown)
        if not self._from_browser:  # a browser asks for the row itself, when no control moves any more
            self.draw_panels()

    def set_state(self, sync_data: dict[str, Any]) -> None:
        """Take what a browser sends."""
        self._from_browser = True
        try:
            super().set_state(sync_data)
        finally:
            self._from_browser = False

    @contextmanager
    def _without_redraw(self) -> Iterator[None]:
        before, self._quiet = self._quiet, True
        try:
            yield
        finally:
            self._quiet = before

    def _set_quietly(self, values: Mapping[str, Any]) -> None:
        with self._without_redraw():
            for name, value in values.items():
                setattr(self, name, value)

    def _announce(self, message: str) -> None:
        """Say what is about to be done, where that takes a while."""
        self._notify(message, busy=True)

    @contextmanager
    def _notifying_errors(self) -> Iterator[None]:
        """Tell an error in the status line as well, and end what was announced."""
        try:
            yield
        except VitattnError as error:
            self._notify(str(error))
            raise
        if self._busy:
            self._notify("")

    def _notify(self, message: str, busy: bool = False) -> None:
        with self.hold_sync():
            self.status, self._busy = message, busy

    def _receive(self, _: Any, content: dict[str, Any], buffers: list) -> None:
        answer(self, self._uploads, content, buffers)
