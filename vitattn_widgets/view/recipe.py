"""A picture's recipe: what is needed to make it again, as JSON to keep and as a few lines of Python to learn from."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, fields
from importlib.metadata import version
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import __version__
from ..capture.capture import AttentionCapture
from ..capture.directions import add_direction
from ..capture.forward import capture_attention
from ..errors import PictureError, RecipeError
from ..images import Picture, load_picture
from ..maps.completion import complete_capture
from ..models.loading import load_model
from .arrange import arranged_settings, render_arranged
from .render import RenderedView
from .settings import ViewSettings

if TYPE_CHECKING:
    from ..models.loading import AttentionModel

FORMAT = 1
"""Version of the recipe's form; others are refused."""

LIKENESS = "capture = va.capture.add_direction(model, capture, like)  # another capture, a patch or a vector"
"""The line of code for a target that is a direction, whose origin a capture does not know."""


def make_recipe(
    model: AttentionModel,
    capture: AttentionCapture,
    settings: ViewSettings,
    arrangement: str = "overlay",
    path: str | os.PathLike[str] | None = None,
) -> dict[str, Any]:
    """Everything needed to make a picture again, as JSON values.

    Args:
        model: the model of the capture.
        capture: from `capture_attention`.
        settings: what is shown.
        arrangement: see `arrange.render_arranged`.
        path: the photo's file; None if it has none, and then `from_recipe` needs the photo as an argument.

    Returns:
        ``format``; ``model`` (name, arguments of `load_model`, grid, layers, digest of a local checkpoint);
        ``picture`` (path, size, SHA-256 of its pixels); ``directions``, if there are any, with their vectors;
        ``settings``; ``arrangement``; ``versions``.
    """
    arguments = dict(model.loaded_with) if model.loaded_with is not None else None
    checkpoint = arguments.get("checkpoint") if arguments else None
    height, width = capture.source.shape[:2]
    directions = [{"name": one.name, "vector": one.vector.tolist()} for one in capture.directions]
    return {
        "format": FORMAT,
        "model": {
            **_facts(model.name, model.layout.grid, len(model.sites)),
            "load": arguments,
            "checkpoint_sha256": _file_digest(Path(checkpoint)) if checkpoint else None,
        },
        "picture": {
            "path": os.fspath(path) if path is not None else None,
            "size": [width, height],
            "sha256": pixel_digest(capture.source),
        },
        **({"directions": directions} if directions else {}),
        "settings": asdict(settings),
        "arrangement": arrangement,
        "versions": {"vitattn_widgets": __version__} | {name: version(name) for name in ("numpy", "timm", "torch")},
    }


def from_recipe(
    recipe: str | os.PathLike[str] | Mapping[str, Any],
    model: AttentionModel | None = None,
    picture: Picture | None = None,
) -> RenderedView:
    """Make a recipe's picture again.

    Args:
        recipe: path of a JSON file, or the result of `make_recipe`.
        model: the model, if it is already loaded or the recipe cannot load it; None loads it.
        picture: the photo, if the recipe has no path for it or it was moved; None reads it from its path, which may be
            relative to the recipe's folder.

    Returns:
        The picture, from one forward pass.

    Raises:
        RecipeError: not a recipe, of another version, or for another model or photo than these.
        PictureError: the photo cannot be read.
        ModelError: the model cannot be loaded.
        WeightsError: its weights are unavailable.
    """
    content, folder = _read_recipe(recipe)
    try:
        wanted = {name: content["model"][name] for name in ("name", "load", "checkpoint_sha256", "grid", "layers")}
        path, digest = content["picture"]["path"], content["picture"]["sha256"]
        settings, arrangement = ViewSettings(**content["settings"]), content["arrangement"]
        directions = [(one["name"], np.array(one["vector"], np.float32)) for one in content.get("directions", ())]
        _require_arguments(wanted["load"])
    except (KeyError, TypeError, ValueError) as error:
        raise RecipeError(
            f"the recipe lacks a part, or has one that this version does not know ({error}); make it again with "
            "va.view.make_recipe, or with the version that wrote it"
        ) from error
    photo = load_picture(picture if picture is not None else _find_picture(path, folder))
    if pixel_digest(np.asarray(photo)) != digest:
        raise RecipeError(
            f"the photo is not the recipe's: its pixels differ from those of {path!r} when the recipe was made; "
            "give the original with picture=..."
        )
    if model is None:
        model = _load_model(wanted)
    for fact, value in _facts(model.name, model.layout.grid, len(model.sites)).items():
        if value != wanted[fact]:
            raise RecipeError(f"the model is not the recipe's: its {fact} is {value!r}, not {wanted[fact]!r}")
    capture = capture_attention(model, photo)
    for name, vector in directions:
        capture = add_direction(model, capture, vector, name)
    capture = complete_capture(model, capture, settings)
    return render_arranged(capture, settings, arrangement)


def _facts(name: str, grid: tuple[int, int], layers: int) -> dict[str, Any]:
    return {"name": name, "grid": list(grid), "layers": layers}


def _read_recipe(recipe: str | os.PathLike[str] | Mapping[str, Any]) -> tuple[Mapping[str, Any], Path]:
    folder = Path()
    if not isinstance(recipe, Mapping):
        path = Path(recipe)
        folder = path.parent
        try:
            recipe = json.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise RecipeError(f"{path}: cannot be read ({error.strerror})") from error
        except ValueError as error:
            raise RecipeError(f"{path}: not a recipe, which is a JSON file ({error})") from error
    if not isinstance(recipe, Mapping) or "format" not in recipe:
        raise RecipeError(
            "not a recipe, which is a JSON object with a format number; make one with va.view.make_recipe"
        )
    recipe_format = recipe["format"]
    if recipe_format != FORMAT:
        newer = isinstance(recipe_format, int) and recipe_format > FORMAT
        raise RecipeError(
            f"the recipe has format {recipe_format!r}, and vitattn_widgets {__version__} reads format {FORMAT}; "
            f"{'update vitattn_widgets' if newer else 'make the recipe again'}, or use the version that wrote it"
        )
    return recipe, folder


def _find_picture(path: str | None, folder: Path) -> Path:
    if path is None:
        raise RecipeError("the recipe's photo had no file; give the photo with picture=...")
    for place in (Path(path), folder / path, folder / Path(path).name):
        if place.is_file():
            return place
    raise PictureError(f"{path}: no such file; give the recipe's photo with picture=...")


def _require_arguments(load: object) -> None:
    """Raise a TypeError for what cannot be arguments of `load_model`; None is a model that has none."""
    if load is not None and not isinstance(load, Mapping):
        raise TypeError(f"model.load is {load!r}, not an object")
    unknown = set(load or ()) - set(signature(load_model).parameters)
    if unknown:
        raise TypeError(f"model.load has {sorted(unknown)}")


def _load_model(wanted: Mapping[str, Any]) -> AttentionModel:
    arguments = wanted["load"]
    if arguments is None:
        raise RecipeError(f"the recipe's {wanted['name']} has no published weights; give the model with model=...")
    checkpoint = arguments.get("checkpoint")
    if checkpoint and Path(checkpoint).is_file() and _file_digest(Path(checkpoint)) != wanted["checkpoint_sha256"]:
        raise RecipeError(
            f"{checkpoint}: holds other weights than when the recipe was made; put the original file there, "
            "or give the model with model=..."
        )
    if isinstance(arguments.get("img_size"), list):  # JSON has no tuples
        arguments = {**arguments, "img_size": tuple(arguments["img_size"])}
    return load_model(**arguments)


def pixel_digest(pixels: np.ndarray) -> str:
    """SHA-256 of a picture's shape and pixels, whatever its file type."""
    digest = hashlib.sha256(repr(pixels.shape).encode())
    digest.update(np.ascontiguousarray(pixels).data)
    return digest.hexdigest()


def _file_digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def python_code(
    model: AttentionModel,
    settings: ViewSettings,
    arrangement: str = "overlay",
    path: str | os.PathLike[str] | None = None,
) -> str:
    """A few lines of Python that make a picture; a comment says so if its weights or photo have no name."""
    if model.loaded_with is not None:
        arguments = dict(model.loaded_with)
        named = "".join(f", {name}={value!r}" for name, value in arguments.items() if name != "model")
        loading = f"model = va.load_model({arguments.get('model')!r}{named})"
    else:
        loading = f"model = va.load_model(your_module)  # {model.name}: your own module, or random weights"
    photo = repr(os.fspath(path)) if path is not None else "your_picture"
    comment = "" if path is not None else "  # the picture has no path"
    drawing = "va.render_view(capture, settings)"
    if arrangement == "side by side":
        drawing = f"va.view.render_arranged(capture, settings, {arrangement!r})"
    source = settings.source_info
    lines = [
        "import vitattn_widgets as va",
        loading,
        f"capture = va.capture_attention(model, {photo}){comment}",
        f"settings = va.ViewSettings({_changed(arranged_settings(settings, arrangement))})",
    ]
    if not source.no_class and settings.target is not None and settings.target >= len(model.class_names):
        lines.append(LIKENESS)
    if source.norms or not source.no_class:
        lines.append("capture = va.complete_capture(model, capture, settings)")
    return "\n".join([*lines, f"picture = {drawing}"])


def _changed(settings: ViewSettings) -> str:
    """The settings that differ from the defaults, and the layer."""
    given = {field.name: getattr(settings, field.name) for field in fields(settings)}
    defaults = {field.name: field.default for field in fields(settings)}
    return ", ".join(f"{name}={value!r}" for name, value in given.items() if name == "layer" or value != defaults[name])
