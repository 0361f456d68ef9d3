"""What the explorer sends to the browser, as plain values: menus, facts about a capture, a picture and its texts."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from ..capture.capture import AttentionCapture
from ..comparison.compare import COMPARED_SCALES
from ..comparison.presets import PRESETS
from ..maps.aggregate import AGGREGATIONS
from ..maps.settings import SINKS
from ..maps.sources import CATALOGUE
from ..models.classes import likely_classes
from ..models.loading import AttentionModel
from ..models.tokens import query_words
from ..view.arrange import ARRANGEMENTS, view_boxes
from ..view.captions import value_unit
from ..view.drawing import CMAPS, SCALES, color_table
from ..view.encode import encode_for_screen
from ..view.overview import render_overview
from ..view.recipe import python_code
from ..view.settings import GROUNDS, RECOMMENDED, ViewSettings
from .library import Library
from .state import Shown


def menus(library: Library) -> dict[str, Any]:
    """The choices that do not depend on the capture."""
    return {
        "models": list(library.models),
        "pictures": [{"name": name, "thumbnail": library.thumbnails[name]} for name in library.pictures],
        "aggregations": AGGREGATIONS,
        "sources": {name: source.facts() for name, source in CATALOGUE.items()},
        "sinks": SINKS,
        "recommended": {name: getattr(ViewSettings.recommended(), name) for name in RECOMMENDED},
        "scales": SCALES,
        "cmaps": CMAPS,
        "grounds": GROUNDS,
        "arrangements": ARRANGEMENTS,
        "presets": _presets(library),
        "panelScales": COMPARED_SCALES,
    }


def _presets(library: Library) -> list[dict[str, str]]:
    """The rows that one click makes; those of photos and models only if there are several."""
    presets = [{"name": name, "title": preset.title, "words": preset.words} for name, preset in PRESETS.items()]
    for name, title, held in (("pictures", "photos", library.pictures), ("models", "models", library.models)):
        if len(held) > 1:
            presets.append({"name": name, "title": title, "words": f"the same view of all {title}"})
    return presets


def capture_facts(model: AttentionModel, capture: AttentionCapture) -> dict[str, Any]:
    """The labels of a capture's controls, and the model's answer."""
    layers = [
        {
            "name": layer.name,
            "heads": layer.num_heads,
            "queries": [{"value": name, "label": query_words(name)} for name in layer.tokens.names],
            "patches": layer.tokens.query_patches,
            "default": query_words(capture.query_or_default(index)),
        }
        for index, layer in enumerate(capture.layers)
    ]
    order = likely_classes(capture.probabilities)
    return {
        "layers": layers,
        "grid": capture.layout.grid,
        "top": [{"name": name, "probability": probability} for name, probability in capture.top(5)],
        "order": order,
        "likely": capture.probabilities[order].tolist(),
        "model": model.describe(),
    }


def shown_facts(shown: Shown, path: str | None) -> dict[str, Any]:
    """The picture and everything that changes with it; `path` is the photo's, for the code."""
    rendered, settings = shown.rendered, shown.rendered.settings
    return {
        "image": shown.encoded.content,
        "mime": shown.encoded.mime,
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
        "code": code_of(shown, path),
    }


def code_of(shown: Shown, path: str | None) -> str:
    """A few lines of Python that draw the current picture."""
    return python_code(shown.model, shown.choice.settings, shown.choice.arrangement, path)


def overview_for(shown: Shown) -> tuple[Any, ...]:
    """Everything on which an overview depends."""
    choice = shown.choice
    return choice.picture, choice.model, choice.settings.query, choice.settings.cmap


def overview_facts(shown: Shown) -> dict[str, Any]:
    """The overview: all layers and heads in one picture."""
    overview = render_overview(shown.capture, shown.choice.settings.query, shown.choice.settings.cmap)
    encoded = encode_for_screen(overview.image)
    return {
        "image": encoded.content,
        "mime": encoded.mime,
        "cell": overview.cell,
        "heads": overview.heads,
        "for": overview_for(shown),
    }
