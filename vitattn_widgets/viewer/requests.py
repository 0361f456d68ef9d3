"""What a viewer asks for when a capsule does not hold it, such as rows and maps, answered as capsules."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ..capture.capture import AttentionCapture
from ..capture.forward import capture_layer_answers
from ..errors import SettingsError
from ..maps.settings import MapSettings
from ..maps.sources import SOURCES
from ..models.tokens import Query
from .answers import answer_tensors, direct_tensors, silenced_tensors
from .tensors import color_tensors, has_operands, map_tensors, operand_tensors, pack, row_tensors

if TYPE_CHECKING:
    from ..models.loading import AttentionModel

NEEDS = ("operands", "row", "maps", "colors", "answers", "direct", "silenced")
"""What can be asked for."""

SLOW = ("silenced",)
"""What takes many forward passes: about 20 of ViT-Tiny, 78 of ViT-Base."""

MAX_TEXT = 100
"""Longest name or query in a request, and longest part of one that a message repeats."""

MAX_NUMBER = 1_000_000
"""Largest layer or class number that is looked up, and whose digits a message repeats."""

_PATCH = re.compile(r"(\d{1,5}),(\d{1,5})", re.ASCII)


@dataclass(frozen=True, eq=False)
class Answer:
    """The answer to a request.

    Attributes:
        content: a capsule that holds the tensors asked for and no facts.
        capture: the capture with what the answer needed, for a store to keep; the capture itself if nothing was
            missing.
    """

    content: bytes
    capture: AttentionCapture


def answer(model: AttentionModel, capture: AttentionCapture, request: object) -> Answer:
    """Answer a viewer's request, which may come from a stranger.

    Args:
        model: the model of the capture.
        capture: from `capture_attention`.
        request: JSON values: an object with ``need``, one of `NEEDS`, and what belongs to it; see
            ``docs/capsule.md``.

    Raises:
        SettingsError: not a request, or one for something that this capture does not have.
        ModelError: maps, answers or contributions that this model cannot give.
    """
    if not isinstance(request, Mapping):
        raise SettingsError(f"a request must be an object, got {type(request).__name__}")
    match _choice("need", request.get("need"), NEEDS):
        case "operands":
            layer = _layer(capture, request.get("layer"))
            if not has_operands(capture, layer):
                raise SettingsError(
                    f"{capture.layer_words(layer)} of {capture.model_name} has no queries and keys that a browser "
                    "could use; ask for a row"
                )
            tensors = operand_tensors(capture, layer)
        case "row":
            layer = _layer(capture, request.get("layer"))
            tensors = row_tensors(capture, layer, capture.query_or_default(layer, parse_query(request.get("query"))))
        case "colors":
            tensors = color_tensors(_text("cmap", request.get("cmap")))
        case "answers":
            capture = capture_layer_answers(model, capture)
            tensors = answer_tensors(capture, _target(request))
        case "direct":
            tensors = direct_tensors(model, capture, _target(request))
        case "silenced":
            tensors = silenced_tensors(model, capture, _target(request))
        case _:
            tensors, capture = map_tensors(model, capture, _requested_maps(capture, request))
    return Answer(pack(None, tensors), capture)


def _requested_maps(capture: AttentionCapture, request: Mapping[str, Any]) -> list[MapSettings]:
    layers = request.get("layers")
    if not isinstance(layers, list) or not 0 < len(layers) <= capture.num_layers:
        raise SettingsError(f"layers must list 1 to {capture.num_layers} layers, got {_short(layers)}")
    numbers = [_layer(capture, layer) for layer in layers]
    settings = MapSettings(
        query=parse_query(request.get("query")),
        source=_choice("source", request.get("source"), SOURCES),
        target=_target(request),
    )
    source, fusion = settings.source_info, request.get("fusion")
    if source.fuses_heads and fusion is not None:
        settings = replace(settings, aggregation=_choice("fusion", fusion, source.aggregations))
    return [replace(settings, layer=layer) for layer in dict.fromkeys(numbers)]


def parse_query(text: object) -> Query | None:
    """A query from its text in requests and tensor names: ``"3,4"`` is a patch, None the layer's default.

    Raises:
        SettingsError: neither text nor None, or longer than any query.
    """
    if text is None:
        return None
    name = _text("query", text)
    patch = _PATCH.fullmatch(name)
    return (int(patch[1]), int(patch[2])) if patch else name


def _target(request: Mapping[str, Any]) -> int | None:
    target = request.get("target")
    return None if target is None else _number("target", target)


def _layer(capture: AttentionCapture, layer: object) -> int:
    return capture.layer_index(_number("layer", layer))


def _number(name: str, value: object) -> int:
    noun = "class" if name == "target" else name
    if isinstance(value, bool) or not isinstance(value, int) or not -MAX_NUMBER <= value <= MAX_NUMBER:
        raise SettingsError(f"{name} must be the number of a {noun}, got {_short(value)}")
    return value


def _text(name: str, value: object) -> str:
    if not isinstance(value, str) or len(value) > MAX_TEXT:
        raise SettingsError(f"{name} must be a name, got {_short(value)}")
    return value


def _choice(name: str, value: object, possible: Sequence[str]) -> str:
    if not isinstance(value, str) or value not in possible:
        raise SettingsError(f"{name} {_short(value)} does not exist; possible: {', '.join(possible)}")
    return value


def _short(value: object) -> str:
    """What came, for a message: names and numbers as they are, cut; of anything else the type."""
    if not isinstance(value, str | int | float | None) or (isinstance(value, int) and abs(value) > 10**MAX_TEXT):
        return type(value).__name__
    text = repr(value)
    return text if len(text) <= MAX_TEXT else f"{text[:MAX_TEXT]}..."
