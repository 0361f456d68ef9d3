"""The notebook explorer: its controls become `ViewSettings`; the browser draws, and Python too when it is asked."""

from __future__ import annotations

import os
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import replace
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..capture.capture import AttentionCapture
from ..capture.directions import add_direction
from ..capture.forward import capture_attention
from ..comparison.compare import Comparison, compare_views
from ..comparison.panels import Panel
from ..errors import SettingsError, VitattnError
from ..evaluation.checks import MapCheck
from ..images import Picture
from ..maps.resolve import fit_settings
from ..view.arrange import screen_capture
from ..view.encode import picture_bytes
from ..view.recipe import python_code
from ..view.render import RenderedView
from ..view.settings import ViewSettings
from ..viewer.assets import bundle, stylesheet
from ..viewer.store import DEFAULT_BUDGET, CaptureStore
from .cells import made_by_this_cell
from .library import Library, Models, Pictures
from .messages import AnsweringExplorer, rendered, row_png
from .state import KEPT
from .still import still_html
from .views import CONTROLS, along, panels_of, preset_views

if TYPE_CHECKING:
    from IPython.display import HTML

STATIC = Path(__file__).parent / "static"


class AttentionExplorer(AnsweringExplorer):
    """Explore what a Vision Transformer attends to, in a notebook.

    Every control is a trait, so ``explorer.layer = 3`` moves the slider, ``explorer.observe(...)`` reacts to it, and
    ``traitlets.link((one, "layer"), (other, "layer"))`` links two explorers. The status line reports a choice that does
    not exist (`VitattnError`), and the last good controls come back. The browser draws, even when the kernel is gone;
    Python draws when it is asked to (`render`, `png`, ...). A cell that runs again closes the explorers of its last
    run.

    Args:
        model: an `AttentionModel`, a name for `load_model`, or several of these. A name is loaded when it is first
            chosen. None is the default model or, if its weights cannot be had, the embedded one; a line then says so.
        images: a picture, several, or a mapping from names to pictures (see `images.load_picture`); you can upload
            more. None is the samples that ship with the kit.
        budget: bytes of captures to keep; beyond that, the least recently used are dropped.
        controls: initial values of the traits below.

    Attributes:
        model: name of the chosen model.
        picture: name of the chosen picture.
        arrangement: ``"overlay"``, ``"map"`` or ``"side by side"``.
        layer, head, aggregation, query, source, target, sinks, bilinear, median, gaussian, scale, opacity, cmap, on,
            blend: see `ViewSettings`; they start as `viewer.settings.START` has them. Negative layers and heads become
            numbers from 0 on. None as the query is what the classifier reads; None as the target is the predicted
            class.
        panels: the kept views in their order, each a dict of the controls that choose a map and a photo (``{"layer": 3,
            "head": 1, ...}``); missing ones are taken from the current view. Smoothing, opacity, colours, ground and
            blend are always the explorer's, as only then can panels be compared.
        panel_scale: ``"robust"``, percentiles of all panels, or ``"shared"``, their smallest to their largest value.
        difference: numbers of two panels whose difference is shown as well; empty shows it if there are exactly two.
        status: the last error or progress message; empty when all is well.

    Raises:
        SettingsError: no model, or an unknown control.
    """

    _esm = bundle(STATIC / "host.js")
    _css = stylesheet()

    def __init__(
        self,
        model: Models | None = None,
        images: Pictures | None = None,
        *,
        budget: int = DEFAULT_BUDGET,
        **controls: Any,
    ) -> None:
        unknown = set(controls) - {*CONTROLS, *KEPT, "layout"}
        if unknown:
            possible = ", ".join((*CONTROLS, *KEPT))
            raise SettingsError(f"the explorer has no control {sorted(unknown)}; it has {possible}")
        made_by_this_cell(self)
        self._uploads = {}
        self._library = Library(model, images, budget, self._notify_busy)
        first = {"model": next(iter(self._library.models)), "picture": next(iter(self._library.pictures), "")}
        super().__init__(**(first | controls))
        self.on_msg(self._receive)
        self._start(asked=set(controls))

    # --- what is shown ---

    @property
    def store(self) -> CaptureStore:
        """The captures of this explorer."""
        return self._library.store

    @property
    def capture(self) -> AttentionCapture | None:
        """The current capture; None before the first good picture and after `close`."""
        return self._completed_now().capture if self._now else None

    @property
    def settings(self) -> ViewSettings:
        """The current settings: ``render_view(explorer.capture, explorer.settings)`` draws this map."""
        return self._shown_now().drawn

    @property
    def screen(self) -> bytes:
        """The current picture as a PNG file, scaled down to a screen: what readers without widgets see."""
        shown = self._completed_now()
        return picture_bytes(rendered(replace(shown, capture=screen_capture(shown.capture))).image)

    def render(self) -> RenderedView:
        """The current picture at the photo's full size."""
        return rendered(self._completed_now())

    def png(self) -> bytes:
        """The current picture as a PNG file."""
        return self._file("png", self._completed_now())

    def npz(self) -> bytes:
        """The current raw map as an NPZ file; see `encode.map_bytes`."""
        return self._file("npz", self._completed_now())

    def recipe(self) -> dict[str, Any]:
        """Everything needed to draw the picture again; see `make_recipe` and `from_recipe`."""
        return self._recipe(self._shown_now())

    def page(self) -> bytes:
        """An HTML page with every layer and head, which needs neither Python nor a network; see `export_page`."""
        with self._notifying():
            return self._file("page", self._completed_now())

    def static(self, height: int = 720) -> HTML:
        """The current photo as an explorer that needs no Python: `page` inside the notebook, to read anywhere.

        Args:
            height: of the frame, in CSS pixels.
        """
        from IPython.display import HTML

        content = escape(self.page().decode(), quote=True)
        style = f"width: 100%; height: {height}px; border: 0"
        return HTML(  # type: ignore[no-untyped-call]
            f'<div><iframe style="{style}" title="Attention maps" srcdoc="{content}"></iframe></div>'
        )

    def code(self) -> str:
        """A few lines of Python that draw the current picture."""
        shown = self._shown_now()
        return python_code(shown.model, shown.settings, shown.values["arrangement"], self._path(shown))

    @property
    def comparison(self) -> Comparison | None:
        """The panels as `compare_views` draws them, at the photos' full size; None if there are none."""
        panels = self.comparison_panels()
        return compare_views(panels, self.panel_scale) if panels else None

    def comparison_panels(self) -> tuple[Panel, ...]:
        """The panels with their captures, for `compare_views`, `difference_view` and `comparison_figure`."""
        if self._now is None:
            return ()
        with self._notifying():
            return panels_of(self._library, self._kept["panels"], self._now.drawn)

    def comparison_png(self) -> bytes:
        """The row as a figure in a PNG file, with the difference if there are two panels that have one."""
        return row_png(self.comparison_panels(), self.panel_scale)

    # --- what can be done besides setting traits ---

    def pin(self) -> None:
        """Keep the current view as a further panel, unless it is kept already."""
        with self._notifying():
            self._keep([*self.panels, self._shown_now().view])

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
        with self._notifying():
            if not preset and not any(map(len, axes.values())):
                raise SettingsError(
                    "there is nothing to compare; give a preset such as 'layers', or values such as layers=[0, 5]"
                )
            views = preset_views(self._library, preset, shown) if preset else [{}]
            self._keep([view | values for values in along(axes) for view in views])

    def check(self) -> MapCheck:
        """Check the current map (`check_map`), which takes a few seconds."""
        with self._notifying():
            return self._check(self._completed_now())

    def add_picture(self, name: str, picture: Picture) -> None:
        """Add a picture and choose it; the status line reports one that cannot be read, and it is not added.

        Args:
            name: its name; if it is taken, a number is appended.
            picture: see `images.load_picture`.
        """
        try:
            name = self._library.add(name, picture)
        except VitattnError as error:
            self._notify(str(error))
            return
        self._menus = self._library.facts()
        self.picture = name

    def add_direction(self, like: Picture | tuple[int, int], name: str = "") -> None:
        """Add a target beside the classes and choose it: what in this photo speaks for a likeness?

        A source that does not depend on the class gives way to the recommended one.

        Args:
            like: another picture, by its name in this explorer or as `images.load_picture` takes it, whose features are
                taken; a patch ``(row, col)``; or a vector ``(width,)``. See `capture.add_direction`.
            name: for people; empty for that of the picture, or the patch's place.

        Raises:
            VitattnError: no such picture or patch, a name that is taken, or a model without a single feature vector.
        """
        shown = self._shown_now()
        model, picture = shown.values["model"], shown.values["picture"]
        with self._notifying():
            other: Any = like
            vector = isinstance(like, np.ndarray) and like.ndim == 1
            if isinstance(like, str) and like in self._library.pictures:
                other, name = self._library.capture(model, like)[1], name or like
            elif not (vector or isinstance(like, tuple)):
                other = capture_attention(shown.model, like)
                name = name or (Path(like).name if isinstance(like, str | os.PathLike) else "")
            completed = add_direction(shown.model, shown.capture, other, name)
            self.store.replace(shown.model, picture, self._library.capture(model, picture)[1], completed)
            self._take(replace(shown, capture=completed))
            source = self.source
            if self._now is not None and self._now.settings.source_info.no_class:
                source = fit_settings(ViewSettings.recommended(), completed).source
        with self.hold_trait_notifications():
            self.source, self.target = source, len(completed.target_names) - 1

    def close(self) -> None:
        """Close the explorer and free its captures, models and pictures."""
        self._quiet = True
        self._now = None
        self._library.clear()
        self._uploads.clear()
        if self.comm is not None:
            self.layout.close()
        super().close()
        self._menus = {}
        self._keep_in_notebook({})

    def __del__(self) -> None:
        if "_library" in vars(self):  # else the constructor failed before there was anything to free
            self.close()

    def _repr_mimebundle_(self, **kwargs: Any) -> tuple[dict[str, Any], dict[str, Any]] | None:
        """The widget, and its picture for readers of the notebook without widgets."""
        bundled = super()._repr_mimebundle_(**kwargs)
        if bundled is not None and self._now is not None:
            bundled[0]["image/png"] = b64encode(self.screen).decode()
        return bundled

    def _ipython_display_(self, **_: Any) -> None:
        """Show the widget, and before it a script for pages where it does not appear."""
        from IPython.display import display

        data, metadata = self._repr_mimebundle_() or ({"text/plain": repr(self)}, {})
        if "image/png" in data:
            display({"text/html": still_html(self.model_id, data["image/png"])}, raw=True)  # type: ignore[no-untyped-call]
        display(data, metadata=metadata, raw=True)  # type: ignore[no-untyped-call]
