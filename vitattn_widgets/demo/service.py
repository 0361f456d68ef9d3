"""Everything the page does for its visitors, as plain calls: names and raw values in, bytes and JSON values out."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any

from PIL import Image

from ..capture.capture import AttentionCapture
from ..capture.forward import capture_attention
from ..datasets.samples import SAMPLES
from ..errors import ModelError, PictureError, SettingsError, VitattnError
from ..export.page import make_page
from ..images import read_picture
from ..maps.completion import complete_capture
from ..maps.resolve import fit_settings, resolve
from ..models import DEFAULT_MODEL
from ..models.loading import AttentionModel, load_model
from ..view.arrange import render_arranged, screen_capture
from ..view.encode import data_url, encode_thumbnail, file_name
from ..view.recipe import make_recipe
from ..view.render import RenderedView
from ..view.settings import VIEW_FIELDS, ViewSettings
from ..viewer.capsule import make_capsule, without_folders
from ..viewer.requests import answer
from ..viewer.store import DEFAULT_BUDGET, CaptureStore
from .checks import Checks
from .controls import MAX_TEXT, Choice, short_text
from .uploads import RemovedError, Uploads

MAX_SIDE = 2048
"""Longest side in pixels of the whole photo in a picture for a program."""

FILES = {"recipe": "application/json", "page": "text/html"}
"""The files that can be downloaded, with their MIME types."""


@dataclass(frozen=True)
class Photo:
    """A photo of a request.

    Attributes:
        key: of an upload, or the name of a sample.
        name: for people.
        sample: whether it is a sample.
    """

    key: str
    name: str
    sample: bool = False


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
        notify: receives a line before each model is loaded.

    Attributes:
        models: the available models by name.
        unavailable: the other models by name, with the reason.
        note: why the embedded model replaces the default one; empty if it does not.
        samples: paths of the sample pictures by name.
        pictures: the samples as the viewer's library lists them.
        uploads: the photos of the visitors.
        store: the captures.
        checks: the checks of maps.
        classroom: whether windows tell that they are open, for the page for the projector.

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
        notify: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.models: dict[str, AttentionModel] = {}
        self.unavailable: dict[str, str] = {}
        self.note = ""
        self.classroom = False
        if models is None:
            notify(f"loading {DEFAULT_MODEL}")
            self._add_default()
        else:
            models = [models] if isinstance(models, str | AttentionModel) else list(models)
            for number, model in enumerate(models, 1):
                if isinstance(model, str):
                    notify(f"loading {model} ({number} of {len(models)})")
                self._add_model(model)
        if not self.models and not self.unavailable:
            raise SettingsError("the page needs at least one model; give a name such as 'vit_tiny_patch16_224'")
        if samples is None:
            samples = {sample.name: sample.path for sample in SAMPLES}
        self.samples = {name: Path(path) for name, path in samples.items()}
        self._sizes: dict[str, tuple[int, int]] = {}  # of the photos, whose captures are kept smaller
        self.pictures = [self._sample_facts(name) for name in self.samples]
        self.store = CaptureStore(budget, finish=screen_capture)
        self.uploads = Uploads(max_upload, max_pixels, keep_seconds, on_drop=self._forget)
        self._running = Lock()  # one photo is decoded and run at a time, which bounds the memory that a class needs
        self.checks = Checks()
        self._capsules: dict[tuple[AttentionModel, Photo], bytes] = {}

    def _add_default(self) -> None:
        try:
            model = load_model()
        except VitattnError as error:
            self.unavailable[DEFAULT_MODEL] = str(error)
            return
        self.models[model.name if model.note else DEFAULT_MODEL] = model
        self.note = model.note

    def _add_model(self, model: AttentionModel | str) -> None:
        if isinstance(model, AttentionModel):
            self.models[model.name] = model
            return
        try:
            self.models[model] = load_model(model)
        except VitattnError as error:
            self.unavailable[model] = str(error)

    def _sample_facts(self, name: str) -> dict[str, str]:
        """A sample as the viewer's library lists it, with the reason if it cannot be read."""
        credit = next((f"Photo: {one.credit}" for one in SAMPLES if one.path == self.samples[name]), "")
        facts = {"name": name, "thumbnail": "", "reason": "", "credit": credit}
        try:
            return facts | {"thumbnail": _thumbnail(self._read(Photo(name, name, sample=True)))}
        except PictureError as error:
            return facts | {"reason": str(error)}

    def close(self) -> None:
        """Remove every upload and capture."""
        self.uploads.close()
        self.store.clear()

    def _forget(self, key: str) -> None:
        """Drop everything that was computed from an upload."""
        self.store.discard(key)
        self._sizes.pop(key, None)
        self.checks.forget(key)

    # --- what a request names ---

    def model(self, name: Any) -> AttentionModel:
        """An available model.

        Raises:
            ModelError: no such model here. Visitors cannot make the server load one.
        """
        if isinstance(name, str) and name in self.models:
            return self.models[name]
        if isinstance(name, str) and name in self.unavailable:
            raise ModelError(f"{name} is not available: {self.unavailable[name]}")
        raise ModelError(f"there is no model {short_text(name)} here; possible: {', '.join(self.models) or 'none'}")

    def photo(self, values: Mapping[str, Any]) -> Photo:
        """The photo that a request names: a ``sample``, or the key of an upload as ``photo`` with its ``name``.

        Raises:
            RemovedError: not an upload that is still there.
            PictureError: no such sample.
        """
        sample, key = values.get("sample"), values.get("photo")
        if sample is not None:
            if not isinstance(sample, str) or sample not in self.samples:
                raise PictureError(f"there is no sample {short_text(sample)}; possible: {', '.join(self.samples)}")
            return Photo(sample, sample, sample=True)
        name = safe_name(values.get("name"))
        if not isinstance(key, str) or key not in self.uploads:
            minutes = self.uploads.keep_seconds / 60
            raise RemovedError(
                f"{name}: is not here, or was removed {minutes:.0f} minutes after its last use; add it again"
            )
        return Photo(key, name)

    # --- what visitors do ---

    async def receive(self, chunks: AsyncIterator[bytes], name: Any, address: str = "") -> Photo:
        """Keep a file that a visitor sends from an address, see `Uploads.receive`."""
        name = safe_name(name)
        return Photo(await self.uploads.receive(chunks, name, address), name)

    def admit(self, model: AttentionModel, photo: Photo) -> dict[str, str]:
        """Capture a photo that has just been received.

        Returns:
            JSON values: its key as ``photo``, its ``name`` and its ``thumbnail``, as a data URL.

        Raises:
            PictureError: the photo cannot be read; it is then removed.
        """
        try:
            capture = self.capture(model, photo)
        except PictureError:
            self.uploads.drop(photo.key)
            raise
        return {"photo": photo.key, "name": photo.name, "thumbnail": _thumbnail(Image.fromarray(capture.source))}

    def capsule(self, model: AttentionModel, photo: Photo) -> bytes:
        """What a browser needs to draw the maps of a photo, see `make_capsule`.

        Raises:
            PictureError: the photo cannot be read.
        """
        if photo.sample and (model, photo) in self._capsules:
            return self._capsules[model, photo]
        capture = self.capture(model, photo)
        content = make_capsule(without_folders(model), capture, photo.name, size=self._sizes.get(_store_key(photo)))
        if photo.sample:  # everybody opens these, whereas an upload is opened once
            self._capsules[model, photo] = content
        return content

    def more(self, model: AttentionModel, photo: Photo, request: Any) -> bytes:
        """What a capsule does not hold, see `requests.answer`.

        Raises:
            VitattnError: the photo cannot be read, or does not have what is requested.
        """
        capture = self.capture(model, photo)
        answered = answer(model, capture, request)
        self.store.replace(model, _store_key(photo), capture, answered.capture)
        return answered.content

    def check(self, model: AttentionModel, photo: Photo, choice: Choice) -> dict[str, Any]:
        """Check a map, see `check_map`. It takes seconds, so one runs at a time, on the cores that others leave.

        Returns:
            `MapCheck.as_json`.

        Raises:
            VitattnError: the photo cannot be read, or does not have the map; or the model has no classifier.
        """
        return self.checks.check(model, photo.key, self.capture(model, photo, choice.settings), choice.settings)

    def file(self, model: AttentionModel, photo: Photo, choice: Choice, what: Any) -> tuple[str, bytes]:
        """The recipe (``"recipe"``, see `make_recipe`) or the offline page (``"page"``, see `make_page`) of a picture.

        Returns:
            File name and content.

        Raises:
            VitattnError: no such file, the photo cannot be read, or it does not have the map.
        """
        if what not in FILES:
            raise SettingsError(f"there is no file {short_text(what)}; possible: {', '.join(FILES)}")
        with self._running:
            capture = capture_attention(model, self._read(photo))
        resolve(capture, choice.settings)
        name = file_name(photo.name, model.name, choice.settings)
        path = self.samples[photo.key].name if photo.sample else photo.name
        if what == "page":
            return f"{name}.html", make_page(model, capture, choice.settings, name=path).content
        recipe = make_recipe(model, capture, choice.settings, choice.arrangement, path)
        recipe["model"]["load"] = without_folders(model).loaded_with  # visitors see none of the server's folders
        return f"{name}.json", json.dumps(recipe, indent=2).encode()

    def map(
        self, path: Path, name: str, model: Any, values: Mapping[str, Any]
    ) -> tuple[AttentionCapture, RenderedView]:
        """The map of a photo that a program sends. The photo is not kept, and every setting must fit as it is.

        Args:
            path: the photo's file.
            name: its name for messages.
            model: name of the model.
            values: see `Choice.with_values`.

        Returns:
            The capture and the picture. A whole photo is drawn with at most `MAX_SIDE` pixels on its longest side, and
            the caption says so.

        Raises:
            VitattnError: the photo, the model or a setting does not exist.
        """
        chosen = self.model(model)
        choice = Choice(ViewSettings()).with_values(values, chosen.class_names)
        with self.checks.stepping_aside(), self._running:
            photo = self.uploads.read_once(path, safe_name(name))
            capture = capture_attention(chosen, photo)
            del photo  # a large one takes 150 MB
            settings = fit_settings(choice.settings, capture, asked=VIEW_FIELDS)
            full, capture = capture.source.shape, screen_capture(capture, MAX_SIDE)
            capture = complete_capture(chosen, capture, settings)
            rendered = render_arranged(capture, settings, choice.arrangement)
        if settings.on == "original" and capture.source.shape != full:
            (height, width), (full_height, full_width) = capture.source.shape[:2], full[:2]
            scaled = f"the photo of {full_width} x {full_height} pixels is drawn at {width} x {height}"
            rendered = replace(rendered, caption=f"{rendered.caption}, {scaled}")
        return capture, rendered

    # --- internals ---

    def capture(self, model: AttentionModel, photo: Photo, settings: ViewSettings | None = None) -> AttentionCapture:
        """The capture of a photo, completed for the source of any settings.

        Raises:
            VitattnError: the photo cannot be read, or does not have what the settings name.
        """
        key = _store_key(photo)
        if not photo.sample:
            self.uploads.touch(photo.key)
        stored = partial(self.store.get, model, key, partial(self._read, photo))
        with self.checks.stepping_aside():
            if (model, key) in self.store:
                return stored(settings)  # without the lock: visitors whose photo is captured wait for nobody
            with self._running:
                return stored(settings)

    def _read(self, photo: Photo) -> Image.Image:
        if photo.sample:
            try:
                image = read_picture(self.samples[photo.key].read_bytes(), photo.name)
            except OSError as error:  # the message does not name the folder, which is the operator's own affair
                raise PictureError(f"{photo.name}: the file of this sample cannot be read") from error
        else:
            image = self.uploads.read(photo.key, photo.name)
        self._sizes[_store_key(photo)] = image.size
        return image


def _store_key(photo: Photo) -> str:
    """The photo's key among captures: of samples, whose names anybody may choose, one that no upload has."""
    return f"sample {photo.key}" if photo.sample else photo.key


def _thumbnail(photo: Image.Image) -> str:
    return data_url(encode_thumbnail(photo), "image/jpeg")


def safe_name(name: Any) -> str:
    """A file's name without folders and unprintable characters, cut to `MAX_TEXT`, as messages repeat it."""
    text = str(name or "").replace("\\", "/").rstrip("/").rpartition("/")[2]
    printable = "".join(character for character in text if character.isprintable())
    return printable[-MAX_TEXT:] or "the picture"
