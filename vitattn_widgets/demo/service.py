"""Everything the page does for its visitors, as plain calls: raw controls in, what to show out. No Gradio here."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any

from PIL import Image

from ..capture.capture import AttentionCapture
from ..capture.forward import capture_attention
from ..comparison.panels import Panel
from ..errors import ModelError, PictureError, SettingsError, VitattnError
from ..evaluation.checks import MapCheck, check_map
from ..images import load_picture
from ..maps.completion import complete_capture, needs_completion
from ..maps.resolve import fit_settings
from ..models import DEFAULT_MODEL
from ..models.loading import AttentionModel, load_model, load_model_or_demo
from ..view.arrange import render_arranged, screen_capture
from ..view.encode import file_name, map_bytes, picture_bytes
from ..view.recipe import make_recipe
from ..view.render import RenderedView, render_views
from ..view.settings import ViewSettings, with_look
from ..viewer.store import DEFAULT_BUDGET, CaptureStore
from .controls import CONTROLS, MAX_NAME, Controls, link_query, short_text, value_from_link
from .uploads import Uploads
from .visitor import ComparedRow, KeptView, Shown, Visitor, compare_row, map_mark, panel_mark, row_of, with_row

SAMPLES = Path(__file__).parents[1] / "samples"


class DemoService:
    """Models, samples, uploads and captures of one page. May be shared between threads.

    Args:
        models: loaded models or names for `load_model`. One that fails to load is listed with the reason. None is the
            default model, or the embedded one if its weights are unavailable.
        samples: paths of the sample pictures by name; None takes those that ship with the kit.
        max_upload: largest file in bytes.
        max_pixels: largest picture in pixels that is decoded.
        budget: bytes of captures to keep, see `CaptureStore`.
        keep_seconds: how long an uploaded photo is kept after it was last used.

    Attributes:
        models: the available models by name.
        unavailable: the other models by name, with the reason.
        note: why the embedded model replaces the default one; empty if it does not.

    Raises:
        SettingsError: `models` is empty.
    """

    def __init__(
        self,
        models: AttentionModel | str | Iterable[AttentionModel | str] | None = None,
        samples: Mapping[str, str | os.PathLike[str]] | None = None,
        *,
        max_upload: int,
        max_pixels: int,
        budget: int = DEFAULT_BUDGET,
        keep_seconds: float,
    ) -> None:
        self.models: dict[str, AttentionModel] = {}
        self.unavailable: dict[str, str] = {}
        self.note = ""
        if models is None:
            self._add_default()
        else:
            for model in [models] if isinstance(models, str | AttentionModel) else models:
                self._add_model(model)
        if not self.models and not self.unavailable:
            raise SettingsError("the page needs at least one model; give a name such as 'vit_tiny_patch16_224'")
        if samples is None:
            samples = {path.stem: path for path in sorted(SAMPLES.glob("*.jpg"))}
        self.samples = {name: Path(path) for name, path in samples.items()}
        self.store = CaptureStore(budget, finish=screen_capture)
        self.uploads = Uploads(max_upload, max_pixels, keep_seconds, on_drop=self.store.discard)
        self._running = Lock()  # one photo is decoded and run at a time, which bounds the memory that a class needs
        self._checking, self._comparing = Lock(), Lock()

    def _add_default(self) -> None:
        try:
            model, note = load_model_or_demo(DEFAULT_MODEL)
        except VitattnError as error:
            self.unavailable[DEFAULT_MODEL] = str(error)
            return
        self.models[model.name if note else DEFAULT_MODEL] = model
        self.note = note or ""

    def _add_model(self, model: AttentionModel | str) -> None:
        if isinstance(model, AttentionModel):
            self.models[model.name] = model
            return
        try:
            self.models[model] = load_model(model)
        except VitattnError as error:
            self.unavailable[model] = str(error)

    @property
    def names(self) -> list[str]:
        """Every model of the operator's list, the available ones first."""
        return [*self.models, *self.unavailable]

    def close(self) -> None:
        """Remove every upload and capture."""
        self.uploads.close()
        self.store.clear()

    # --- what visitors do ---

    def open(self, parameters: Mapping[str, str]) -> tuple[Shown | None, str]:
        """The page as a link describes it; any part of the link that is invalid falls back to its default.

        Returns:
            What to show, None if no model is available; and a warning to the visitor, empty if the link is good.
        """
        warnings = []
        names = [name for name in CONTROLS if name in parameters]
        controls = Controls(next(iter(self.names)))
        for name in names:
            value: Any = parameters[name]
            try:
                changed = replace(controls, **{name: value_from_link(name, value)})
                changed.settings(self._model(changed.model).class_names)
                controls = changed
            except VitattnError as error:
                warnings.append(str(error))
        sample = parameters.get("sample", next(iter(self.samples), ""))
        if sample not in self.samples:
            warnings.append(f"there is no sample {short_text(sample)}; possible: {', '.join(self.samples)}")
            sample = next(iter(self.samples), "")
        if not self.samples or controls.model not in self.models:
            return None, " ".join([*warnings, *(f"{name}: {why}" for name, why in self.unavailable.items())])
        try:
            shown = self.take_sample(Visitor(), sample, controls)
        except VitattnError as error:  # each part is valid, but not all of them together
            warnings.append(str(error))
            shown = self.take_sample(Visitor(), sample, Controls(controls.model))
        return shown, " ".join(warnings)

    def take_sample(self, visitor: Visitor, sample: Any, controls: Controls) -> Shown:
        """Show a sample.

        Raises:
            PictureError: no such sample.
        """
        if not isinstance(sample, str) or sample not in self.samples:
            raise PictureError(f"there is no sample {short_text(sample)}; possible: {', '.join(self.samples)}")
        return self.change(replace(visitor, photo=f"sample {sample}", name=sample, sample=True), controls)

    def bring(self, visitor: Visitor, path: Path, name: str, controls: Controls) -> Shown:
        """Show a photo that the visitor uploads.

        Args:
            visitor: from the last call.
            path: the file as it arrived.
            name: its name on the visitor's computer.
            controls: as they stand now.

        Raises:
            PictureError: the photo cannot be read; it is then not kept.
        """
        name = _safe_name(name)
        key = self.uploads.add(path, name)
        try:
            return self.change(replace(visitor, photo=key, name=name, sample=False), controls)
        except PictureError:
            self.uploads.drop(key)
            raise

    def change(self, visitor: Visitor, controls: Controls, asked: Sequence[str] = ()) -> Shown:
        """Show the visitor's photo with other controls.

        Args:
            visitor: from the last call.
            controls: as they stand now.
            asked: settings that must fit as they are; the others are fitted to the capture.

        Raises:
            VitattnError: the photo, the model or a setting does not exist.
        """
        capture, settings = self.prepared(visitor, controls, asked)
        controls = controls.with_settings(settings)
        row = row_of(visitor, controls, capture, settings)
        controls = with_row(controls, row, visitor.controls)
        now = replace(
            visitor,
            grid=capture.layout.grid,
            controls=controls,
            map=map_mark(visitor, controls.model, settings),
            shown=(visitor.photo, controls.model),
            beside=panel_mark(visitor, controls, settings, row),
        )
        return Shown(
            visitor=now,
            controls=controls,
            capture=capture,
            rendered=render_arranged(capture, settings, controls.arrangement),
            row=row,
            link=link_query(controls, now.name if now.sample else None),
            remodelled=now.shown[1] != visitor.shown[1],
            recaptured=now.shown != visitor.shown,
            remapped=now.map != visitor.map,
            panel=now.beside != visitor.beside,
        )

    def prepared(
        self, visitor: Visitor, controls: Controls, asked: Sequence[str]
    ) -> tuple[AttentionCapture, ViewSettings]:
        """The capture of the visitor's photo, completed for the source, and the settings fitted to it.

        Raises:
            VitattnError: the photo, the model or a setting does not exist.
        """
        model = self._model(controls.model)
        offered = self._offered(visitor, model)
        wanted = controls.settings(offered)
        if not visitor.photo:
            raise PictureError("there is no picture yet; upload one or choose a sample")
        capture = self._capture(model, visitor)
        settings = fit_settings(wanted, capture, asked, visitor.grid, offered)
        if needs_completion(capture, settings):
            capture = self._capture(model, visitor, settings)
        return capture, settings

    def download(self, visitor: Visitor, controls: Controls, what: str) -> tuple[str, bytes]:
        """The picture (``"png"``), the raw map (``"npz"``) or the recipe (``"json"``), at the photo's full size.

        Returns:
            File name and content.
        """
        if what not in ("png", "npz", "json"):
            raise SettingsError(f"there is no download {short_text(what)}; possible: png, npz, json")
        model = self._model(controls.model)
        wanted = controls.settings(self._offered(visitor, model))
        with self._running:
            capture = capture_attention(model, self._photo(visitor))
            settings = fit_settings(wanted, capture, (), visitor.grid, self._offered(visitor, model))
            capture = complete_capture(model, capture, settings)
        name = f"{file_name(visitor.name, str(controls.model), settings)}.{what}"
        if what == "json":
            recipe = make_recipe(model, capture, settings, controls.arrangement, visitor.name)
            return name, json.dumps(recipe, indent=2).encode()
        rendered = render_arranged(capture, settings, controls.arrangement)
        if what == "npz":
            return name, map_bytes(capture, rendered)
        return name, picture_bytes(rendered.image)

    def map(self, path: Path, name: str, controls: Controls) -> tuple[AttentionCapture, RenderedView]:
        """The map of a photo that a program sends. The photo is not kept, and every setting must fit as it is.

        Raises:
            VitattnError: the photo, the model or a setting does not exist.
        """
        model = self._model(controls.model)
        wanted = controls.settings(model.class_names)
        with self._running:
            capture = capture_attention(model, self.uploads.read_once(path, _safe_name(name)))
            settings = fit_settings(wanted, capture, asked=CONTROLS)
            capture = complete_capture(model, capture, settings)
        return capture, render_arranged(capture, settings, controls.arrangement)

    def check(self, visitor: Visitor, controls: Controls) -> tuple[str, MapCheck]:
        """Check the map that is shown. This takes seconds, so one check runs at a time, beside all other requests.

        Returns:
            The mark of the map (`map_mark`), and the result.

        Raises:
            VitattnError: the photo, the model or a setting does not exist, or the model has no classifier.
        """
        capture, settings = self.prepared(visitor, controls, ())
        with self._checking:
            return map_mark(visitor, controls.model, settings), check_map(
                self._model(controls.model), capture, settings
            )

    # --- the panels below the picture ---

    def heads(self, shown: Shown) -> list[RenderedView]:
        """Every head of the current layer on one shared scale, without the costly median, since they are small."""
        settings = replace(_settings_of(shown), scale="shared", median=False)
        count = shown.capture.num_heads(settings.layer)
        return render_views(shown.capture, [replace(settings, head=head) for head in range(count)])

    def compared(self, shown: Shown) -> ComparedRow:
        """Draw the row that is shown. One row at a time, since each may hold many captures."""
        with self._comparing:
            return compare_row(
                [self._panel(kept, _settings_of(shown)) for kept in shown.row.kept_views], shown.controls
            )

    # --- internals ---

    def _model(self, name: Any) -> AttentionModel:
        if isinstance(name, str) and name in self.models:
            return self.models[name]
        if isinstance(name, str) and name in self.unavailable:
            raise ModelError(f"{name} is not available: {self.unavailable[name]}")
        raise ModelError(f"there is no model {short_text(name)} here; possible: {', '.join(self.models) or 'none'}")

    def _offered(self, visitor: Visitor, model: AttentionModel) -> tuple[str, ...]:
        """The class names that the visitor chose from: those of the model shown last."""
        before = self.models.get(visitor.controls.model) if visitor.controls else None
        return (before or model).class_names

    def _capture(
        self, model: AttentionModel, visitor: Visitor, settings: ViewSettings | None = None
    ) -> AttentionCapture:
        """The capture of the visitor's photo, completed for the source of any settings."""
        if not visitor.sample:
            self.uploads.touch(visitor.photo)
        stored = partial(self.store.get, model, visitor.photo, lambda: self._photo(visitor))
        if (model, visitor.photo) in self.store:
            capture = stored()  # without the lock: visitors whose photo is captured wait for nobody
            if settings is None or not needs_completion(capture, settings):
                return capture
        with self._running:
            return stored(settings)

    def _panel(self, kept: KeptView, look: ViewSettings) -> Panel | str:
        """A view of a row with the look of the row, or why it is unavailable."""
        visitor = Visitor(photo=kept.photo, name=kept.name, sample=kept.sample)
        try:
            capture = self._capture(self._model(kept.model), visitor, kept.settings)
        except VitattnError as error:
            return str(error)
        return Panel(capture, with_look(kept.settings, look), kept.name)

    def _photo(self, visitor: Visitor) -> Image.Image:
        if visitor.sample:
            return load_picture(self.samples[visitor.name])
        return self.uploads.read(visitor.photo, visitor.name)


def _settings_of(shown: Shown) -> ViewSettings:
    return shown.rendered.settings


def _safe_name(name: Any) -> str:
    """A file's name without folders and unprintable characters, cut to `MAX_NAME`, as messages repeat it."""
    text = str(name).replace("\\", "/").rstrip("/").rpartition("/")[2]
    printable = "".join(character for character in text if character.isprintable())
    return printable[-MAX_NAME:] or "the picture"


def shown_settings(shown: Shown) -> dict[str, Any]:
    """The current settings as JSON values, with the model and the arrangement."""
    return asdict(shown.rendered.settings) | {"model": shown.controls.model, "arrangement": shown.controls.arrangement}
