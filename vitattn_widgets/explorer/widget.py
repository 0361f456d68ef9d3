"""The notebook explorer: its controls become `ViewSettings`, and these a picture. It wires; it computes nothing."""

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
"""The scripts, joined into one module: their functions see each other, and `explorer.js` exports the widget."""

SHEETS = tuple(
    f"{name}.css" for name in ("theme", "photos", "controls", "body", "overview", "check", "compare", "foot", "narrow")
)


class AttentionExplorer(KeepsPanels, anywidget.AnyWidget):
    """Explore what a Vision Transformer attends to, in a notebook.

    Every control is a trait, so ``explorer.layer = 3`` moves the slider, ``explorer.observe(...)`` reacts to it, and
    ``traitlets.link((one, "layer"), (other, "layer"))`` links two explorers. The status line reports a choice that does
    not exist (`VitattnError`), and the last good picture and its controls come back.

    Args:
        model: an `AttentionModel`, a name for `load_model`, or several of these. A name is loaded when it is first
            chosen.
        images: a picture, several, or a mapping from names to pictures (see `images.load_picture`); you can upload
            more.
        budget: bytes of captures to keep; beyond that, the least recently used are dropped.
        controls: initial values of the traits below.

    Attributes:
        model: name of the chosen model.
        picture: name of the chosen picture.
        arrangement: ``"overlay"``, ``"map"`` or ``"side by side"``.
        layer, head, aggregation, query, source, target, sinks, bilinear, median, gaussian, scale, opacity, cmap, on:
            see `ViewSettings`. Negative layers and heads become numbers from 0 on. None as the query is what the
            classifier reads; None as the target is the predicted class.
        panels, panel_scale, difference: the comparison; see `KeepsPanels`.
        status: the last error or progress message; empty when all is well.

    Raises:
        SettingsError: no model, or an unknown control.
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

    # for the browser; one dict per message, so that a picture and its caption always arrive together
    _busy = traitlets.Bool(False).tag(sync=True)
    _menus = traitlets.Dict().tag(sync=True)
    _classes: traitlets.List[str] = traitlets.List().tag(sync=True)
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
        self._start_comparing(Comparing(self._library, self._notify_busy))
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
        """The current capture; None before the first good picture and after `close`."""
        return self._now.capture if self._now else None

    @property
    def settings(self) -> ViewSettings:
        """The current settings: ``render_view(explorer.capture, explorer.settings)`` draws this map."""
        return self._shown_now().rendered.settings

    @property
    def screen(self) -> bytes:
        """The picture on the screen as a BMP, WebP or JPEG file (see `encode.encode_for_screen`)."""
        return self._shown_now().encoded.content

    def render(self) -> RenderedView:
        """The current picture at the photo's full size."""
        return self._shown_now().full_size()

    def png(self) -> bytes:
        """The current picture as a PNG file."""
        return picture_bytes(self.render().image)

    def npz(self) -> bytes:
        """The current raw map as an NPZ file; see `encode.map_bytes`."""
        return map_bytes(self._shown_now().capture, self._shown_now().rendered)

    def recipe(self) -> dict[str, Any]:
        """Everything needed to draw the picture again; see `make_recipe` and `from_recipe`."""
        shown, path = self._shown_now(), self._path()
        return make_recipe(shown.model, shown.capture, shown.rendered.settings, shown.choice.arrangement, path)

    def page(self) -> bytes:
        """An HTML page with every layer and head, which needs neither Python nor a network; see `export_page`."""
        shown = self._shown_now()
        self._notify_busy(f"Drawing every map of {shown.choice.picture} ...")
        with self._notifying_errors():
            return make_page(shown.model, shown.capture, shown.rendered.settings, name=shown.choice.picture).content

    def code(self) -> str:
        """A few lines of Python that draw the current picture."""
        return code_of(self._shown_now(), self._path())

    def _shown_now(self) -> Shown:
        if self._now is None:
            raise RuntimeError("the explorer shows no picture: " + (self.status or "it is closed"))
        return self._now

    def _path(self) -> str | None:
        return self._library.path(self._shown_now().choice.picture)

    # --- what can be done besides setting traits ---

    def check(self) -> MapCheck:
        """Check the current map (`check_map`), which takes a few seconds, and show the result."""
        shown = self._shown_now()
        self._notify_busy(f"Checking this map of {shown.choice.picture} ...")
        with self._notifying_errors():
            check = check_map(shown.model, shown.capture, shown.rendered.settings)
        self._check = {"sentences": check.sentences, "image": figure_bytes(check_figure(check))}
        return check

    def add_picture(self, name: str, picture: Picture) -> None:
        """Add a picture and choose it; the status line reports one that cannot be read, and it is not added.

        Args:
            name: its name; if it is taken, a number is appended.
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
        if "_library" in vars(self):  # else the constructor failed before there was anything to free
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
        """Show what the controls choose; if that fails, report why and put the controls back."""
        try:
            wanted = Choice.of(self)
            if self._now is None or wanted != self._now.choice:
                # else several controls changed at once, and the first notification has drawn them all
                self._display(show(self._library, wanted, self._now, asked, self._notify_busy))
        except VitattnError as error:
            with self.hold_sync():
                self._notify(str(error))
                if self._now:
                    self._set_quietly(self._now.choice.controls())

    def _display(self, shown: Shown) -> None:
        before, self._now = self._now, shown
        photo = shown.choice.model, shown.choice.picture
        another = before is None or photo != (before.choice.model, before.choice.picture)
        with self.hold_sync():
            self._check = {}  # it was of the last map
            if another:
                self._classes = list(shown.capture.class_names)
                self._facts = capture_facts(shown.model, shown.capture)
            self._set_quietly(shown.choice.controls())
            self._shown = shown_facts(shown, self._path())
            if self._row_is_behind():
                self._row_wanted += 1
            self._notify("")
        # the picture is under way; the overview follows, redrawn only for another capture, query or colour map
        if overview_for(shown) != self._overview.get("for"):
            self._overview = overview_facts(shown)
        if not self._from_browser:  # a browser asks for the row itself, once the controls rest
            self.draw_panels()

    def set_state(self, sync_data: dict[str, Any]) -> None:
        """Take the traits that a browser sends."""
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

    def _notify_busy(self, message: str) -> None:
        """Show a line while something takes a while."""
        self._notify(message, busy=True)

    @contextmanager
    def _notifying_errors(self) -> Iterator[None]:
        """Show errors in the status line as well, and clear it at the end."""
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

    def _receive(self, _: Any, content: dict[str, Any], buffers: list[Any]) -> None:
        answer(self, self._uploads, content, buffers)
