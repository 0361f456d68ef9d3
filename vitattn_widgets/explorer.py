"""The notebook explorer: controls become `ViewSettings`, these a picture. It wires and shows; it computes nothing."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import anywidget
import numpy as np
import traitlets
from PIL import Image

from .aggregate import AGGREGATIONS
from .capture import AttentionCapture
from .checks import MapCheck, check_map
from .drawing import CMAPS, DEFAULT_CMAP, SCALES, color_table
from .errors import ModelError, PictureError, SettingsError, VitattnError
from .figures import check_figure
from .files import file_name, map_bytes, picture_bytes
from .fitting import fit_settings
from .gradients import lacks
from .images import Picture, load_picture, read_picture
from .models import AttentionModel, load_model
from .overview import render_overview
from .panels import (
    ARRANGEMENTS,
    arranged_settings,
    encode_for_screen,
    encode_thumbnail,
    render_arranged,
    screen_capture,
    thumbnail,
    value_unit,
    view_boxes,
)
from .recipes import make_recipe, python_code
from .render import RenderedView, query_words
from .settings import GROUNDS, SINKS, ViewSettings
from .sources import CATALOGUE, Source
from .store import DEFAULT_BUDGET, CaptureStore

STATIC = Path(__file__).parent / "static"

UPLOAD_LIMIT = 100 << 20
"""Largest file in bytes that is taken from a browser."""

PREDICTIONS = 10
"""Predicted classes that the class picker offers before the search."""

RECOMMENDED = ("source", "sinks", "layer", "head", "query")
"""The settings in which "What did the classifier use?" puts the recommended ones."""

_SETTINGS = tuple(field.name for field in fields(ViewSettings))
CONTROLS = ("model", "picture", "arrangement", *_SETTINGS)
"""The traits that choose what is shown."""


@dataclass(frozen=True)
class _Choice:
    """The values of all controls."""

    model: str
    picture: str
    arrangement: str
    settings: ViewSettings

    def controls(self) -> dict[str, Any]:
        named = {name: getattr(self, name) for name in ("model", "picture", "arrangement")}
        return named | {name: getattr(self.settings, name) for name in _SETTINGS}


@dataclass(frozen=True, eq=False)
class _Shown:
    """What is on the screen, and from what it was drawn."""

    choice: _Choice
    model: AttentionModel
    capture: AttentionCapture
    screen: AttentionCapture
    rendered: RenderedView
    encoded: bytes


class AttentionExplorer(anywidget.AnyWidget):
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
        status: the last error or progress message; empty when all is well.
        store: the `CaptureStore` of this explorer.

    Raises:
        SettingsError: no model, or a control that does not exist.
    """

    _esm = STATIC / "explorer.js"
    _css = STATIC / "explorer.css"

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

    def __init__(
        self,
        model: AttentionModel | str | Iterable[AttentionModel | str],
        images: Picture | Iterable[Picture] | Mapping[str, Picture] = (),
        *,
        budget: int = DEFAULT_BUDGET,
        **controls: Any,
    ) -> None:
        self._quiet = True  # controls change without a redraw
        self.store = CaptureStore(budget)
        self._models = _named_models(model)
        self._pictures = _named_pictures(images)
        self._uploads: dict[str, list[bytes]] = {}
        self._now: _Shown | None = None
        unknown = set(controls) - set(CONTROLS) - {"layout"}
        if unknown:
            raise SettingsError(f"the explorer has no control {sorted(unknown)}; it has {', '.join(CONTROLS)}")
        first = {"model": next(iter(self._models)), "picture": next(iter(self._pictures), "")}
        super().__init__(**(first | controls))
        self._thumbnails = {name: thumbnail(picture) for name, picture in self._pictures.items()}
        self._send_menus()
        self.on_msg(self._receive)
        self._quiet = False
        if self._pictures:
            self._update(asked=set(controls))
        else:
            self.status = "No picture yet: upload one."

    # --- what is shown, to read ---

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
        return self._shown_now().encoded

    def render(self) -> RenderedView:
        """The picture that is shown, in the photo's full size."""
        shown = self._shown_now()
        if shown.screen is shown.capture:
            return shown.rendered
        return render_arranged(shown.capture, shown.choice.settings, shown.choice.arrangement)

    def png(self) -> bytes:
        """The picture that is shown as a PNG file."""
        return picture_bytes(self.render().image)

    def npz(self) -> bytes:
        """The raw map that is shown as an NPZ file; see `files.map_bytes`."""
        return map_bytes(self._shown_now().capture, self._shown_now().rendered)

    def recipe(self) -> dict[str, Any]:
        """What makes the picture again; see `make_recipe` and `from_recipe`."""
        shown = self._shown_now()
        settings = shown.rendered.settings
        return make_recipe(shown.model, shown.capture, settings, shown.choice.arrangement, self._path(shown.choice))

    def check(self) -> MapCheck:
        """Put the map that is shown to the test (`check_map`); a few seconds. The page shows what it gave."""
        shown = self._shown_now()
        self._tell(f"Checking this map of {shown.choice.picture} ...", busy=True)
        try:
            check = check_map(shown.model, shown.capture, shown.rendered.settings)
            stream = io.BytesIO()
            check_figure(check).savefig(stream, format="png")
        except VitattnError as error:
            self._tell(str(error))
            raise
        with self.hold_sync():
            self._check = {"sentences": check.sentences, "image": stream.getvalue()}
            self._tell("")
        return check

    def code(self) -> str:
        """Five lines of Python that make the picture that is shown."""
        shown = self._shown_now()
        return self._code(shown.model, shown.choice)

    # --- what can be done besides setting traits ---

    def add_picture(self, name: str, picture: Picture) -> None:
        """Add a picture and choose it; one that cannot be read is told in the status line and not added.

        Args:
            name: its name; a number is appended where there is one of this name.
            picture: see `images.load_picture`.
        """
        self._add(name, lambda: load_picture(picture), picture)

    def close(self) -> None:
        """Close the explorer and free its captures, models and pictures."""
        self._quiet = True
        self._now = None
        for held in (self.store, self._models, self._pictures, self._thumbnails, self._uploads):
            held.clear()
        super().close()

    def __del__(self) -> None:
        if hasattr(self, "_thumbnails"):  # else the constructor failed, and there is nothing to free
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
            self._show(asked)
        except VitattnError as error:
            with self.hold_sync():
                self._tell(str(error))
                if self._now:
                    self._set_quietly(self._now.choice.controls())

    def _show(self, asked: set[str]) -> None:
        values = {name: getattr(self, name) for name in _SETTINGS}
        wanted = _Choice(self.model, self.picture, self.arrangement, ViewSettings(**values))
        arranged_settings(wanted.settings, wanted.arrangement)
        before = self._now
        if before and wanted == before.choice:
            return  # one of several controls that changed at once; the first notice drew them all
        model, plain = self._capture(wanted)
        recaptured = before is None or (wanted.model, wanted.picture) != (before.choice.model, before.choice.picture)
        if before and not recaptured:
            # of several controls that changed at once, each was asked for
            values, old = wanted.controls(), before.choice.controls()
            asked = {name for name in CONTROLS if values[name] != old[name]}
        elif before:
            asked = set()
        grid, names = (before.capture.layout.grid, before.capture.class_names) if before else (None, None)
        choice = replace(wanted, settings=fit_settings(wanted.settings, plain, asked, grid, names))
        capture = self._completed(model, plain, choice)
        if recaptured:
            screen = screen_capture(capture)
        else:
            screen = before.screen
            if capture is not before.capture:
                screen = replace(screen, value_norms=capture.value_norms, gradients=capture.gradients)
        rendered = render_arranged(screen, choice.settings, choice.arrangement)
        encoded = encode_for_screen(rendered.image)
        self._now = _Shown(choice, model, capture, screen, rendered, encoded.content)
        with self.hold_sync():
            self._check = {}  # it was of another map
            if recaptured:
                self._classes = list(capture.class_names)
                self._facts = _facts(model, capture)
            self._set_quietly(choice.controls())
            self._shown = _screen_facts(self._now, encoded.mime) | {"code": self._code(model, choice)}
            self._tell("")
        # the picture is on its way; the overview follows, and is drawn anew only for another capture, query or colours
        drawn_for = (self.picture, self.model, self.query, self.cmap)
        if recaptured or drawn_for != self._overview.get("for"):
            self._send_overview(drawn_for)

    def _capture(self, wanted: _Choice) -> tuple[AttentionModel, AttentionCapture]:
        if self._now and (wanted.model, wanted.picture) == (self._now.choice.model, self._now.choice.picture):
            return self._now.model, self._now.capture
        if wanted.picture not in self._pictures:
            raise PictureError(f"there is no picture {wanted.picture!r}; there are {_listed(self._pictures)}")
        if wanted.model not in self._models:
            raise ModelError(f"there is no model {wanted.model!r}; there are {_listed(self._models)}")
        model = self._models[wanted.model]
        if isinstance(model, str):
            self._tell(f"Loading {model} ...", busy=True)
            model = self._models[wanted.model] = load_model(model)
        if (model, wanted.picture) not in self.store:
            self._tell(f"Running {model.name} on {wanted.picture} ...", busy=True)
        return model, self.store.get(model, wanted.picture, lambda: self._pictures[wanted.picture])

    def _completed(self, model: AttentionModel, capture: AttentionCapture, choice: _Choice) -> AttentionCapture:
        """The capture with what the settings' source needs, which can take a backward pass."""
        if not lacks(capture, choice.settings):
            return capture
        self._tell(f"Working out {CATALOGUE[choice.settings.source].title} for {choice.picture} ...", busy=True)
        return self.store.get(model, choice.picture, lambda: self._pictures[choice.picture], choice.settings)

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

    def _tell(self, message: str, busy: bool = False) -> None:
        with self.hold_sync():
            self.status, self._busy = message, busy

    def _shown_now(self) -> _Shown:
        if self._now is None:
            raise RuntimeError("the explorer shows no picture: " + (self.status or "it is closed"))
        return self._now

    def _path(self, choice: _Choice) -> str | None:
        picture = self._pictures[choice.picture]
        return os.fspath(picture) if isinstance(picture, str | os.PathLike) else None

    def _code(self, model: AttentionModel, choice: _Choice) -> str:
        return python_code(model, choice.settings, choice.arrangement, self._path(choice))

    # --- to and from the browser ---

    def _send_menus(self) -> None:
        self._menus = {
            "models": list(self._models),
            "pictures": [{"name": name, "thumbnail": self._thumbnails[name]} for name in self._pictures],
            "aggregations": AGGREGATIONS,
            "sources": {name: _source_facts(source) for name, source in CATALOGUE.items()},
            "sinks": SINKS,
            "recommended": {name: getattr(ViewSettings.recommended(), name) for name in RECOMMENDED},
            "scales": SCALES,
            "cmaps": CMAPS,
            "grounds": GROUNDS,
            "arrangements": ARRANGEMENTS,
        }

    def _send_overview(self, drawn_for: tuple) -> None:
        shown = self._shown_now()
        overview = render_overview(shown.capture, shown.choice.settings.query, shown.choice.settings.cmap)
        encoded = encode_for_screen(overview.image)
        self._overview = {
            "image": encoded.content,
            "mime": encoded.mime,
            "cell": overview.cell,
            "heads": overview.heads,
            "for": drawn_for,
        }

    def _receive(self, _: Any, content: dict[str, Any], buffers: list) -> None:
        match content:
            case {"kind": "download", "what": str(what)}:
                self._send_file(what)
            case {"kind": "check"} if self._now is not None:
                with suppress(VitattnError):  # the status line tells it
                    self.check()
            case {"kind": "upload", "id": str(upload), "name": str(name), "last": bool(last)}:
                self._receive_part(upload, name, bytes(buffers[0]), last)

    def _send_file(self, what: str) -> None:
        if self._now is None:
            return
        suffix, mime, make = {
            "png": (".png", "image/png", self.png),
            "npz": (".npz", "application/octet-stream", self.npz),
            "recipe": (".json", "application/json", lambda: json.dumps(self.recipe(), indent=2).encode()),
        }[what]
        self.send({"kind": "file", "name": self._file_name() + suffix, "mime": mime}, [make()])

    def _file_name(self) -> str:
        choice = self._shown_now().choice
        return file_name(choice.picture, choice.model, choice.settings)

    def _receive_part(self, upload: str, name: str, part: bytes, last: bool) -> None:
        """Files come in parts: notebook servers refuse large messages."""
        parts = self._uploads.setdefault(upload, [])
        parts.append(part)
        if sum(map(len, parts)) > UPLOAD_LIMIT:
            del parts[1:]  # an upload that never ends must not fill the memory; what is left cannot be read
        if last:
            content = b"".join(self._uploads.pop(upload))
            self._add(name, lambda: read_picture(content, name), None)

    def _add(self, name: str, read: Any, original: Picture | None) -> None:
        try:
            photo = read()
        except VitattnError as error:
            self._tell(str(error))
            return
        name = _unused(name, self._pictures)
        # a path is kept as a path, so that recipes and code can name it
        self._pictures[name] = original if isinstance(original, str | os.PathLike) else photo
        self._thumbnails[name] = encode_thumbnail(photo)
        self._send_menus()
        self.picture = name


def _facts(model: AttentionModel, capture: AttentionCapture) -> dict[str, Any]:
    """What the browser must know of a capture to label its controls."""
    layers = []
    for index, layer in enumerate(capture.layers):
        default = capture.query_or_default(index)
        queries = [{"value": name, "label": query_words(name)} for name in layer.tokens.names]
        layers.append(
            {
                "name": layer.name,
                "heads": layer.num_heads,
                "queries": queries,
                "patches": layer.tokens.query_patches,
                "default": query_words(default),
            }
        )
    order = np.argsort(-capture.probabilities, kind="stable")[:PREDICTIONS].tolist()
    return {
        "layers": layers,
        "grid": capture.layout.grid,
        "top": [{"name": name, "probability": probability} for name, probability in capture.top(5)],
        "order": order,
        "likely": capture.probabilities[order].tolist(),
        "model": model.describe(),
    }


def _source_facts(source: Source) -> dict[str, Any]:
    """What the browser must know of a source: its name, and why some controls are without effect."""
    return {
        "title": source.title,
        "aggregations": source.aggregations,
        "noHead": source.no_head,
        "noAggregation": source.no_aggregation,
        "noClass": source.no_class,
    }


def _screen_facts(shown: _Shown, mime: str) -> dict[str, Any]:
    """The picture and everything beside it that changes with it."""
    rendered, settings = shown.rendered, shown.rendered.settings
    return {
        "image": shown.encoded,
        "mime": mime,
        "size": rendered.image.shape[1::-1],
        "boxes": view_boxes(shown.screen, settings, shown.choice.arrangement),
        "values": rendered.grid_map.astype("<f4").tobytes(),
        "grid": rendered.grid_map.shape,
        "range": rendered.value_range,
        "unit": value_unit(settings),
        "colors": color_table(settings.cmap).tobytes(),
        "caption": rendered.caption,
        "query": settings.query if isinstance(settings.query, tuple) else None,
        "settings": asdict(settings) | {"arrangement": shown.choice.arrangement},
    }


def _named_models(model: AttentionModel | str | Iterable[AttentionModel | str]) -> dict[str, AttentionModel | str]:
    models: dict[str, AttentionModel | str] = {}
    for one in [model] if isinstance(model, AttentionModel | str) else model:
        models[_unused(one if isinstance(one, str) else one.name, models)] = one
    if not models:
        raise SettingsError("the explorer needs at least one model; give a name such as 'vit_tiny_patch16_224'")
    return models


def _named_pictures(images: Picture | Iterable[Picture] | Mapping[str, Picture]) -> dict[str, Picture]:
    if isinstance(images, Mapping):
        return dict(images)
    pictures: dict[str, Picture] = {}
    single = isinstance(images, str | os.PathLike | Image.Image | np.ndarray) or not isinstance(images, Iterable)
    for number, picture in enumerate([images] if single else images, 1):
        path = picture if isinstance(picture, str | os.PathLike) else getattr(picture, "filename", "")
        pictures[_unused(Path(path).name if path else f"picture {number}", pictures)] = picture
    return pictures


def _unused(name: str, taken: Mapping[str, Any]) -> str:
    number, free = 1, name
    while free in taken:
        number += 1
        free = f"{name} ({number})"
    return free


def _listed(names: Iterable[str]) -> str:
    return ", ".join(map(repr, names)) or "none"
