"""What the page does for its visitors, as plain calls: raw controls in, what is to be shown out. No Gradio here."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from threading import Lock
from typing import Any

from PIL import Image

from .capture import AttentionCapture, capture_attention
from .demo_controls import CONTROLS, MAX_NAME, Controls, link_query, short_text, value_from_link, whole_number
from .errors import ModelError, PictureError, SettingsError, VitattnError
from .files import file_name, map_bytes, picture_bytes
from .fitting import fit_settings
from .images import load_picture
from .models import AttentionModel, load_model
from .panels import render_arranged, screen_capture
from .recipes import make_recipe
from .render import RenderedView, render_aggregations, render_views
from .settings import ViewSettings
from .store import DEFAULT_BUDGET, CaptureStore
from .uploads import Uploads

SAMPLES = Path(__file__).parent / "samples"


@dataclass(frozen=True)
class Visit:
    """All that the server remembers of one visitor: words and numbers, never pixels.

    Attributes:
        photo: key of the photo; empty before there is one.
        name: what the visitor calls it.
        sample: whether it is one of the samples.
        grid: ``(rows, cols)`` that a patch query was chosen on.
        beside: what the panel below the picture was drawn for.
    """

    photo: str = ""
    name: str = ""
    sample: bool = False
    grid: tuple[int, int] | None = None
    beside: tuple = ()


@dataclass(frozen=True, eq=False)
class Shown:
    """One state of the page.

    Attributes:
        visit: what to remember.
        controls: fitted to the capture.
        capture: what is shown, its photo at a screen's size.
        rendered: the picture.
        link: query string that opens the page like this; of a photo that is no sample, without the photo.
        recaptured: another photo or model than what the visitor was shown last.
        panel: the panel below the picture must be drawn anew.
    """

    visit: Visit
    controls: Controls
    capture: AttentionCapture
    rendered: RenderedView
    link: str
    recaptured: bool
    panel: bool


class Desk:
    """Models, samples, uploads and captures of one page. May be shared between threads.

    Args:
        models: loaded models or names for `load_model`. One that cannot be loaded is listed with the reason.
        samples: pictures to choose from, by name.
        max_upload: largest file in bytes.
        max_pixels: largest picture that is decoded.
        budget: bytes of captures to keep, see `CaptureStore`.
        keep_seconds: how long an uploaded photo is kept after it was last used.

    Attributes:
        models: the models that can be chosen, by name.
        unavailable: the reason for each that cannot.

    Raises:
        SettingsError: no model at all.
    """

    def __init__(
        self,
        models: AttentionModel | str | Iterable[AttentionModel | str],
        samples: Mapping[str, str | os.PathLike] | None = None,
        *,
        max_upload: int,
        max_pixels: int,
        budget: int = DEFAULT_BUDGET,
        keep_seconds: float,
    ) -> None:
        self.models: dict[str, AttentionModel] = {}
        self.unavailable: dict[str, str] = {}
        for model in [models] if isinstance(models, str | AttentionModel) else models:
            self._add_model(model)
        if not self.models and not self.unavailable:
            raise SettingsError("the page needs at least one model; give a name such as 'vit_tiny_patch16_224'")
        if samples is None:
            samples = {path.stem: path for path in sorted(SAMPLES.glob("*.jpg"))}
        self.samples = {name: Path(path) for name, path in samples.items()}
        self.store = CaptureStore(budget, finish=screen_capture)
        self.uploads = Uploads(max_upload, max_pixels, keep_seconds, on_drop=self.store.discard)
        self._running = Lock()  # one photo is decoded and run at a time, so that a whole class needs no more memory

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
        """Every model of the operator's list, those that can be chosen first."""
        return [*self.models, *self.unavailable]

    def close(self) -> None:
        """Remove every upload and capture."""
        self.uploads.close()
        self.store.clear()

    # --- what visitors do ---

    def open(self, parameters: Mapping[str, str]) -> tuple[Shown | None, str]:
        """The page as a link describes it; an unknown or bad part of the link falls back to its default.

        Returns:
            What to show, None where no model is available; and what to tell the visitor, mostly nothing.
        """
        told = []
        names = [name for name in CONTROLS if name in parameters]
        controls = Controls(next(iter(self.names)))
        for name in names:
            value: Any = parameters[name]
            try:
                changed = replace(controls, **{name: value_from_link(name, value)})
                changed.settings()
                self._model(changed.model)
                controls = changed
            except VitattnError as error:
                told.append(str(error))
        sample = parameters.get("sample", next(iter(self.samples), ""))
        if sample not in self.samples:
            told.append(f"there is no sample {short_text(sample)}; possible: {', '.join(self.samples)}")
            sample = next(iter(self.samples), "")
        if not self.samples or controls.model not in self.models:
            return None, " ".join([*told, *(f"{name}: {why}" for name, why in self.unavailable.items())])
        return self.take_sample(Visit(), sample, controls), " ".join(told)

    def take_sample(self, visit: Visit, sample: Any, controls: Controls) -> Shown:
        """Show one of the samples.

        Raises:
            PictureError: no such sample.
        """
        if not isinstance(sample, str) or sample not in self.samples:
            raise PictureError(f"there is no sample {short_text(sample)}; possible: {', '.join(self.samples)}")
        return self.change(replace(visit, photo=f"sample {sample}", name=sample, sample=True), controls)

    def bring(self, visit: Visit, path: Path, name: str, controls: Controls) -> Shown:
        """Show a photo that a visitor brings.

        Args:
            visit: from the last call.
            path: the file as it arrived.
            name: what the visitor calls it.
            controls: as they stand.

        Raises:
            PictureError: the photo cannot be read; it is not kept then.
        """
        name = _safe_name(name)
        key = self.uploads.add(path, name)
        try:
            return self.change(replace(visit, photo=key, name=name, sample=False), controls)
        except PictureError:
            self.uploads.drop(key)
            raise

    def change(self, visit: Visit, controls: Controls, asked: Sequence[str] = ()) -> Shown:
        """Show the visitor's photo with other controls.

        Args:
            visit: from the last call.
            controls: as they stand now.
            asked: settings that must fit as they are; the others are brought within reach.

        Raises:
            VitattnError: the photo, the model or a setting does not exist.
        """
        wanted = controls.settings()
        capture = self._capture(self._model(controls.model), visit)
        settings = fit_settings(wanted, capture, asked, visit.grid)
        controls = controls.with_settings(settings)
        rendered = render_arranged(capture, settings, controls.arrangement)
        beside = self._drawn_for(visit, controls, settings)
        recaptured = beside[1:3] != visit.beside[1:3]
        now = replace(visit, grid=capture.layout.grid, beside=beside)
        return Shown(
            now,
            controls,
            capture,
            rendered,
            link_query(controls, now.name if now.sample else None),
            recaptured,
            beside != visit.beside,
        )

    def choose(self, visit: Visit, chosen: Any, controls: Controls) -> Shown:
        """Follow a click: on a patch (``row``, ``col``), a head or cell (``head``, ``layer``), or a ``sample``.

        Raises:
            SettingsError: the click names something that does not exist.
        """
        match chosen:
            case {"sample": sample}:
                return self.take_sample(visit, sample, controls)
            case {"row": row, "col": col}:
                changed, asked = {"query": f"{whole_number(row, 'row')},{whole_number(col, 'col')}"}, ["query"]
            case {"layer": layer, "head": head}:
                changed, asked = {"layer": layer, "head": head}, ["layer", "head"]
            case {"head": head}:
                changed, asked = {"head": head}, ["head"]
            case {"query": None}:
                changed, asked = {"query": "default"}, []
            case _:
                raise SettingsError(f"a click that means nothing here: {short_text(chosen)}")
        return self.change(visit, replace(controls, **changed), asked)

    def download(self, visit: Visit, controls: Controls, what: str) -> tuple[str, bytes]:
        """The picture (``"png"``), the raw map (``"npz"``) or the recipe (``"json"``), of the photo in its full size.

        Returns:
            File name and content.
        """
        if what not in ("png", "npz", "json"):
            raise SettingsError(f"there is no download {short_text(what)}; possible: png, npz, json")
        wanted = controls.settings()
        model = self._model(controls.model)
        with self._running:
            capture = capture_attention(model, self._photo(visit))
        settings = fit_settings(wanted, capture, (), visit.grid)
        name = f"{file_name(visit.name, str(controls.model), settings)}.{what}"
        if what == "json":
            recipe = make_recipe(model, capture, settings, controls.arrangement, visit.name)
            return name, json.dumps(recipe, indent=2).encode()
        rendered = render_arranged(capture, settings, controls.arrangement)
        if what == "npz":
            return name, map_bytes(capture, rendered)
        return name, picture_bytes(rendered.image)

    def map(self, path: Path, name: str, controls: Controls) -> tuple[AttentionCapture, RenderedView]:
        """The map of a photo that a program brings; it is not kept, and every setting must fit as it is.

        Raises:
            VitattnError: the photo, the model or a setting does not exist.
        """
        wanted = controls.settings()
        model = self._model(controls.model)
        with self._running:
            capture = capture_attention(model, self.uploads.read_once(path, _safe_name(name)))
        settings = fit_settings(wanted, capture, asked=CONTROLS)
        return capture, render_arranged(capture, settings, controls.arrangement)

    # --- the panels below the picture ---

    def heads(self, shown: Shown) -> list[RenderedView]:
        """Every head of the layer that is shown, on one shared scale; small, and so without the costly median."""
        settings = replace(_settings_of(shown), scale="shared", median=False)
        count = shown.capture.num_heads(settings.layer)
        return render_views(shown.capture, [replace(settings, head=head) for head in range(count)])

    def compared(self, shown: Shown) -> list[RenderedView]:
        """Mean, max and mean / std of the layer that is shown; mean and max alone where it has one head."""
        return render_aggregations(shown.capture, _settings_of(shown))

    # --- within ---

    def _model(self, name: Any) -> AttentionModel:
        if isinstance(name, str) and name in self.models:
            return self.models[name]
        if isinstance(name, str) and name in self.unavailable:
            raise ModelError(f"{name} is not available: {self.unavailable[name]}")
        raise ModelError(f"there is no model {short_text(name)} here; possible: {', '.join(self.models) or 'none'}")

    def _capture(self, model: AttentionModel, visit: Visit) -> AttentionCapture:
        if not visit.photo:
            raise PictureError("there is no picture yet; upload one or choose a sample")
        if not visit.sample:
            self.uploads.touch(visit.photo)
        if (model, visit.photo) in self.store:
            return self.store.get(model, visit.photo, lambda: self._photo(visit))
        with self._running:
            return self.store.get(model, visit.photo, lambda: self._photo(visit))

    def _photo(self, visit: Visit) -> Image.Image:
        if visit.sample:
            return load_picture(self.samples[visit.name])
        return self.uploads.read(visit.photo, visit.name)

    @staticmethod
    def _drawn_for(visit: Visit, controls: Controls, settings: ViewSettings) -> tuple:
        """What the panel below the picture depends on."""
        place = (controls.beside, visit.photo, controls.model)
        if controls.beside == "all layers and heads":
            return (*place, settings.query, settings.cmap, settings.layer, settings.head)
        if controls.beside == "every head":
            return (*place, replace(settings, aggregation="mean", scale="shared"))
        return (*place, replace(settings, aggregation="mean", head=None))


def _settings_of(shown: Shown) -> ViewSettings:
    return shown.rendered.settings


def _safe_name(name: Any) -> str:
    """The last part of a file's name, as messages repeat it."""
    text = str(name).replace("\\", "/").rstrip("/").rpartition("/")[2]
    printable = "".join(character for character in text if character.isprintable())
    return printable[-MAX_NAME:] or "the picture"


def shown_settings(shown: Shown) -> dict[str, Any]:
    """The settings of what is shown as values that JSON takes, with the model and the arrangement."""
    return asdict(shown.rendered.settings) | {"model": shown.controls.model, "arrangement": shown.controls.arrangement}
