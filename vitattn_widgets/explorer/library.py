"""Models and pictures by name; each is loaded, run and completed once, on first use."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..capture.capture import AttentionCapture
from ..errors import ModelError, PictureError, SettingsError
from ..images import Picture
from ..maps.completion import needs_completion
from ..models.loading import AttentionModel, load_model
from ..view.encode import encode_thumbnail, thumbnail
from ..view.settings import ViewSettings
from ..viewer.store import CaptureStore

Models = AttentionModel | str | Iterable[AttentionModel | str]

Pictures = Picture | Iterable[Picture] | Mapping[str, Picture]

Notify = Callable[[str], None]
"""Called with a line before anything that takes a while."""


class Library:
    """Models and pictures by name, and their captures.

    Args:
        models: `AttentionModel`, names for `load_model`, or several of these.
        pictures: a picture, several, or a mapping from names to pictures.
        budget: bytes of captures to keep.

    Attributes:
        models: by name; the value is a name too until the model is loaded.
        pictures: by name.
        thumbnails: small JPEG files by name of the picture; empty if the picture cannot be read.
        store: the captures.

    Raises:
        SettingsError: `models` is empty.
    """

    def __init__(self, models: Models, pictures: Pictures, budget: int) -> None:
        self.models = _named_models(models)
        self.pictures = _named_pictures(pictures)
        self.thumbnails = {name: thumbnail(picture) for name, picture in self.pictures.items()}
        self.store = CaptureStore(budget)

    def model(self, name: str, notify: Notify) -> AttentionModel:
        """The model of a name, loaded on first use.

        Raises:
            ModelError: there is no model of this name, or it cannot be loaded.
        """
        if name not in self.models:
            raise ModelError(f"there is no model {name!r}; possible: {_listed(self.models)}")
        model = self.models[name]
        if isinstance(model, str):
            notify(f"Loading {model} ...")
            model = self.models[name] = load_model(model)
        return model

    def capture(self, model: str, picture: str, notify: Notify) -> tuple[AttentionModel, AttentionCapture]:
        """A model, and its capture of a picture.

        Raises:
            PictureError: there is no picture of this name, or it cannot be read.
            ModelError: there is no model of this name, or it cannot be loaded.
        """
        if picture not in self.pictures:
            raise PictureError(f"there is no picture {picture!r}; possible: {_listed(self.pictures)}")
        loaded = self.model(model, notify)
        if (loaded, picture) not in self.store:
            notify(f"Running {loaded.name} on {picture} ...")
        return loaded, self.store.get(loaded, picture, lambda: self.pictures[picture])

    def completed(
        self, model: AttentionModel, capture: AttentionCapture, picture: str, settings: ViewSettings, notify: Notify
    ) -> AttentionCapture:
        """The capture of a picture, completed for the settings' source, which can take a backward pass.

        Raises:
            SettingsError: the settings ask for a class that the model does not have.
            ModelError: the source needs gradients, and none flow through the model.
        """
        if not needs_completion(capture, settings):
            return capture
        notify(f"Computing {settings.source_info.title} for {picture} ...")
        return self.store.get(model, picture, lambda: self.pictures[picture], settings)

    def add(self, name: str, photo: Image.Image, original: Picture | None) -> str:
        """Add a picture.

        Args:
            name: its name; if it is taken, a number is appended.
            photo: the picture.
            original: what it was read from; a path is kept as a path, so that recipes and code can name it.

        Returns:
            The name under which it was added.
        """
        name = _unused(name, self.pictures)
        self.pictures[name] = original if isinstance(original, str | os.PathLike) else photo
        self.thumbnails[name] = encode_thumbnail(photo)
        return name

    def path(self, picture: str) -> str | None:
        """The path of a picture; None if it was given as pixels."""
        original = self.pictures[picture]
        return os.fspath(original) if isinstance(original, str | os.PathLike) else None

    def clear(self) -> None:
        """Forget all models, pictures and captures."""
        for held in (self.store, self.models, self.pictures, self.thumbnails):
            held.clear()


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
    named: dict[str, Picture] = {}
    several: Iterable[Any]
    if isinstance(pictures, str | os.PathLike | Image.Image | np.ndarray) or not isinstance(pictures, Iterable):
        several = [pictures]
    else:
        several = pictures
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
