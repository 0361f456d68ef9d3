"""Models and pictures by name; each is loaded, run and completed once, on first use."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..capture.capture import AttentionCapture
from ..datasets.samples import SAMPLES
from ..errors import ModelError, PictureError, SettingsError
from ..images import Picture, load_picture, load_reduced
from ..maps.completion import needs_completion
from ..models.loading import AttentionModel, load_model
from ..view.encode import THUMBNAIL_SIDE, data_url, encode_thumbnail
from ..view.settings import ViewSettings
from ..viewer.store import CaptureStore

Models = AttentionModel | str | Iterable[AttentionModel | str]

Pictures = Picture | Iterable[Picture] | Mapping[str, Picture]

Notify = Callable[[str], None]
"""Called with a line before anything that takes a while."""


class Library:
    """Models and pictures by name, and their captures.

    Args:
        models: `AttentionModel`, names for `load_model`, or several of these; None is the default model, which is
            loaded at once, or the embedded one.
        pictures: a picture, several, or a mapping from names to pictures; None is the samples.
        budget: bytes of captures to keep.
        notify: called before a model is loaded or run.

    Attributes:
        models: by name; the value is a name too until the model is loaded.
        pictures: by name.
        store: the captures.
        note: why the embedded model takes the default's place; empty if it does not.

    Raises:
        SettingsError: `models` is empty.
        VitattnError: the default model cannot be loaded.
    """

    def __init__(self, models: Models | None, pictures: Pictures | None, budget: int, notify: Notify) -> None:
        default = load_model() if models is None else None
        self.note = default.note if default else ""
        self.models = _named_models(default or models or ())
        if pictures is None:
            pictures = {sample.name: sample.path for sample in SAMPLES}
        self.pictures = _named_pictures(pictures)
        self.store = CaptureStore(budget)
        self._notify = notify
        self._thumbnails = {name: _thumbnail(picture) for name, picture in self.pictures.items()}

    def facts(self) -> dict[str, Any]:
        """What the viewer's menus offer, as JSON values; a picture that cannot be read has the reason."""
        pictures = [
            {"name": name, "thumbnail": url, "reason": reason, "credit": ""}
            for name, (url, reason) in self._thumbnails.items()
        ]
        return {"models": list(self.models), "pictures": pictures, "note": self.note}

    def capture(
        self, model: str, picture: str, settings: ViewSettings | None = None, held: AttentionCapture | None = None
    ) -> tuple[AttentionModel, AttentionCapture]:
        """A model, loaded on first use, and its capture of a picture.

        Args:
            model: name of the model.
            picture: name of the picture.
            settings: of a map; the capture gets what their source needs, which can take a backward pass.
            held: this very capture, if the caller has it; the store may have dropped it.

        Raises:
            PictureError: there is no picture of this name, or it cannot be read.
            ModelError: there is no model of this name, or it cannot be loaded, or gives no gradients.
            SettingsError: the settings ask for a class that the model does not have.
        """
        if picture not in self.pictures:
            raise PictureError(f"there is no picture {picture!r}; possible: {_listed(self.pictures)}")
        if model not in self.models:
            raise ModelError(f"there is no model {model!r}; possible: {_listed(self.models)}")
        loaded = self.models[model]
        if isinstance(loaded, str):
            self._notify(f"Loading {loaded} ...")
            loaded = self.models[model] = load_model(loaded)
        if held is None:
            if (loaded, picture) not in self.store:
                self._notify(f"Running {loaded.name} on {picture} ...")
            held = self.store.get(loaded, picture, lambda: self.pictures[picture])
        if settings is None or not needs_completion(held, settings):
            return loaded, held
        self._notify(f"Computing {settings.source_info.title} for {picture} ...")
        return loaded, self.store.get(loaded, picture, lambda: self.pictures[picture], settings)

    def add(self, name: str, picture: Picture) -> str:
        """Add a picture.

        Args:
            name: its name; if it is taken, a number is appended.
            picture: a path is kept as a path, so that recipes and code can name it.

        Returns:
            The name under which it was added.

        Raises:
            PictureError: the picture cannot be read; it is not added.
        """
        photo = load_picture(picture)
        name = _unused(name, self.pictures)
        self.pictures[name] = picture if isinstance(picture, str | os.PathLike) else photo
        self._thumbnails[name] = _url(photo), ""
        return name

    def path(self, picture: str) -> str | None:
        """The path of a picture; None if it was given as pixels."""
        original = self.pictures.get(picture)
        return os.fspath(original) if isinstance(original, str | os.PathLike) else None

    def clear(self) -> None:
        """Forget all models, pictures and captures."""
        for held in (self.store, self.models, self.pictures, self._thumbnails):
            held.clear()


def _thumbnail(picture: Picture) -> tuple[str, str]:
    """URL of a small picture, and why there is none."""
    try:
        if isinstance(picture, str | os.PathLike):
            return _url(load_reduced(picture, 2 * THUMBNAIL_SIDE)), ""
        return _url(load_picture(picture)), ""
    except PictureError as error:
        return "", str(error)


def _url(photo: Image.Image) -> str:
    return data_url(encode_thumbnail(photo), "image/jpeg")


def _named_models(models: Models) -> dict[str, AttentionModel | str]:
    named: dict[str, AttentionModel | str] = {}
    for one in [models] if isinstance(models, AttentionModel | str) else models:
        named[_unused(one if isinstance(one, str) else one.name, named)] = one
    if not named:
        raise SettingsError("the explorer needs at least one model; give a name such as 'vit_tiny_patch16_224'")
    return named


def _named_pictures(pictures: Pictures) -> dict[str, Picture]:
    if isinstance(pictures, Mapping):
        return dict(pictures)
    several: Iterable[Any] = pictures if isinstance(pictures, Iterable) else [pictures]
    if isinstance(pictures, str | os.PathLike | Image.Image | np.ndarray):
        several = [pictures]
    named: dict[str, Picture] = {}
    for number, picture in enumerate(several, 1):
        path = picture if isinstance(picture, str | os.PathLike) else getattr(picture, "filename", "")
        named[_unused(Path(path).name if path else f"picture {number}", named)] = picture
    return named


def _unused(name: str, taken: Mapping[str, Any]) -> str:
    number, free = 1, name
    while free in taken:
        number += 1
        free = f"{name} ({number})"
    return free


def _listed(names: Iterable[str]) -> str:
    return ", ".join(map(repr, names)) or "none"
