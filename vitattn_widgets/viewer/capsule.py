"""The capsule: what a browser needs to draw any map of one photo, as one safetensors file (see ``docs/capsule.md``).

The light capsule holds the rows of every named query. What else a map may need is added by `requests.answer`, whose
answers are capsules too; `file_capsule.make_file_capsule` is for files that stand alone.
"""

from __future__ import annotations

import io
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from .. import __version__
from ..capture.capture import AttentionCapture
from ..capture.value_norms import capture_value_norms
from ..errors import ModelError
from ..maps.aggregate import AGGREGATIONS, FORMULAS, TITLES
from ..maps.resolve import fit_settings, unavailable as unavailable_source
from ..maps.settings import SINKS, MapSettings
from ..maps.sinks import find_sinks
from ..maps.sources import CATALOGUE, Source
from ..models.tokens import QUERY_WORDS
from ..view.arrange import ARRANGEMENTS, screen_capture
from ..view.captions import windows_words
from ..view.drawing import BLENDS, CMAPS, DIFFERENCE_CMAP, SCALES
from ..view.recipe import python_code
from ..view.settings import GROUNDS, STEP_TITLES, ViewSettings
from .answers import answer_parts, with_answers
from .settings import QUESTIONS, START, Question, json_settings
from .tensors import Tensors, color_tensors, has_operands, norm_tensors, pack, row_tensors, window_tensors

if TYPE_CHECKING:
    from ..models.loading import AttentionModel

FORMAT = 1
"""Version of the capsule's form."""

PHOTO_QUALITY = 90
"""JPEG quality of the photo, which is for looking at; the view, which maps are drawn on, is lossless."""

Facts = dict[str, Any]
"""JSON values about model, photo, layers and controls."""


def make_capsule(
    model: AttentionModel,
    capture: AttentionCapture,
    name: str = "",
    path: str | None = None,
    size: tuple[int, int] | None = None,
) -> bytes:
    """The light capsule of a photo: 125 kB for ViT-Tiny at 224 px, and the photo's pixels. Equal input, equal bytes.

    Args:
        model: the model of the capture. Code in the capsule names a checkpoint with its folders, unless the model is
            `without_folders`.
        capture: from `capture_attention`.
        name: of the photo, for people.
        path: of the photo's file, for code; None if it has none, or if readers must not see it.
        size: width and height of the photo, where the capture holds a smaller one (`screen_capture`).
    """
    answers, answer_tensors = answer_parts(*with_answers(model, capture))
    capture, no_norms = with_norms(model, capture)
    picture, pixels = picture_parts(capture, name, path)
    picture["size"] = size or picture["size"]
    tensors = first_tensors(capture) | pixels | answer_tensors
    for layer in range(capture.num_layers):
        for query in reversed(capture.queries(layer)):  # "mean" first: the sinks needed it too, so it is remembered
            tensors |= row_tensors(capture, layer, query)
        tensors |= norm_tensors(capture, layer)
    return pack(capsule_facts(model, capture, no_norms, picture, answers), tensors)


def without_folders(model: AttentionModel) -> AttentionModel:
    """The model as others may see it: its checkpoint is named without the folders of this computer."""
    arguments = model.loaded_with
    if not arguments or not arguments.get("checkpoint"):
        return model
    return replace(model, loaded_with={**arguments, "checkpoint": Path(arguments["checkpoint"]).name})


def with_norms(model: AttentionModel, capture: AttentionCapture) -> tuple[AttentionCapture, str]:
    """The capture with value norms, or why there are none."""
    try:
        return capture_value_norms(model, capture), ""
    except ModelError as error:
        return capture, str(error)


def first_tensors(capture: AttentionCapture) -> Tensors:
    """What every capsule holds beside pictures: predictions, colours, each layer's windows, default row and sinks."""
    tensors: Tensors = {"probabilities": capture.probabilities.astype(np.float32)}
    for cmap in (*CMAPS, DIFFERENCE_CMAP):
        tensors |= color_tensors(cmap)
    for layer in range(capture.num_layers):
        tensors |= row_tensors(capture, layer, capture.query_or_default(layer))
        tensors |= window_tensors(capture, layer)
        tensors[f"layer{layer}.sinks"] = find_sinks(capture, layer).astype(np.uint8)
    return tensors


def picture_parts(capture: AttentionCapture, name: str, path: str | None) -> tuple[Facts, Tensors]:
    """The facts of the photo, and view and photo as encoded files, uint8 ``(bytes,)``."""
    screen = screen_capture(capture)
    facts = {
        "name": name,
        "path": path,
        "size": _size(capture.source),
        "photo_size": _size(screen.source),
        "photo_type": "image/jpeg",
        "crop_box": screen.crop_box,
        "view_size": _size(screen.view),
        "view_type": "image/webp",
    }
    view = _encoded(screen.view, "WEBP", lossless=True, quality=0, method=0)
    return facts, {"view": view, "photo": _encoded(screen.source, "JPEG", quality=PHOTO_QUALITY)}


def _encoded(pixels: np.ndarray, kind: str, **options: Any) -> np.ndarray:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, kind, **options)
    return np.frombuffer(stream.getvalue(), np.uint8)


def capsule_facts(
    model: AttentionModel, capture: AttentionCapture, no_norms: str, picture: Facts, answers: Facts
) -> Facts:
    """The facts of a capsule.

    Args:
        model: the model of the capture.
        capture: from `capture_attention`.
        no_norms: why there are no value norms; empty if there are.
        picture: the facts of the photo.
        answers: the facts of the answers after every layer.
    """
    return {
        "format": FORMAT,
        "generator": f"vitattn_widgets {__version__}",
        "model": _model_facts(model, capture),
        "picture": picture,
        "layers": [_layer_facts(capture, layer) for layer in range(capture.num_layers)],
        "answers": answers,
        "sources": [_source_facts(source, capture, no_norms) for source in CATALOGUE.values()],
        "words": {"queries": QUERY_WORDS, "formulas": FORMULAS, "titles": TITLES, "steps": STEP_TITLES},
        "choices": {
            "aggregations": AGGREGATIONS,
            "sinks": SINKS,
            "scales": SCALES,
            "cmaps": CMAPS,
            "grounds": GROUNDS,
            "blends": BLENDS,
            "arrangements": ARRANGEMENTS,
        },
        "start": json_settings(START),
        "questions": _questions(capture),
        "doubt": capture.doubt,
        "left_out": [],
    }


def _questions(capture: AttentionCapture) -> list[Question]:
    """The questions. Where an answer cannot be divided, another source than contributions answers."""

    def fitted(one: Question) -> Question:
        source = fit_settings(MapSettings(source=one["settings"]["source"]), capture).source
        return {**one, "settings": {**one["settings"], "source": source}}

    return [fitted(one) for one in QUESTIONS]


def _size(pixels: np.ndarray) -> tuple[int, int]:
    """Width and height of ``(H, W, 3)``."""
    return pixels.shape[1], pixels.shape[0]


def _model_facts(model: AttentionModel, capture: AttentionCapture) -> Facts:
    layout = capture.layout
    return {
        "name": capture.model_name,
        "description": model.describe(),
        "code": python_code(model, ViewSettings()).split("\n")[:2],
        "grid": layout.grid,
        "followed": capture.followed,
        "divisible": not capture.undivided,
        "prefix": layout.prefix,
        "patch_size": layout.patch_size,
        "default_query": layout.default_query,
        "read": layout.read,
        "classes": capture.class_names,
        "directions": [{"name": one.name, "cosine": one.cosine} for one in capture.directions],
    }


def _layer_facts(capture: AttentionCapture, layer: int) -> Facts:
    captured = capture.layers[layer]
    return {
        "name": captured.name,
        "words": capture.layer_words(layer),
        "grid": captured.tokens.grid,
        "query_grid": captured.tokens.query_grid,
        "patch_size": max(capture.patch_shape(layer)),
        "covered": capture.covered(layer),
        "padding": captured.tokens.padding,
        "staged": captured.staged,
        "windows": windows_words(capture, layer),
        "heads": captured.num_heads,
        "key_prefix": captured.tokens.key_prefix,
        "queries": captured.tokens.names,
        "query_patches": captured.tokens.query_patches,
        "default_query": capture.query_or_default(layer),
        "operands": has_operands(capture, layer),
    }


def _source_facts(source: Source, capture: AttentionCapture, no_norms: str) -> Facts:
    unavailable = no_norms if source.norms else unavailable_source(capture, source)
    values = {field.name: getattr(source, field.name) for field in fields(source)}
    derived = ("no_aggregation", "plain", "fuses_heads")
    return values | {name: getattr(source, name) for name in derived} | {"unavailable": unavailable}
