"""The texts of an exported page and the data of its scripts, gathered from the drawn maps."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from .. import __version__
from ..capture.capture import AttentionCapture
from ..maps.aggregate import AGGREGATIONS
from ..maps.sources import CATALOGUE
from ..models.tokens import query_words
from ..view.arrange import ground, view_boxes
from ..view.captions import value_unit
from ..view.drawing import color_table, tick_text
from ..view.encode import file_name
from ..view.overview import Overview
from ..view.recipe import python_code
from ..view.render import RenderedView
from ..view.settings import SMOOTHING_STEPS, STEP_TITLES, ViewSettings
from .document import PageText
from .maps import LayerMaps, choice_of, region
from .packing import PackedSheets, bytes_per_value

if TYPE_CHECKING:
    from ..models.loading import AttentionModel

PREDICTIONS = 5

SCALE_WORDS = {
    "map": "each map on its own scale",
    "shared": "all heads of a layer on one scale",
    "robust": "each map on its own scale, without its extreme values",
}

SINK_WORDS = {"show": "shown as they are", "outline": "outlined", "leave_out": "left out"}

_ANY_OPACITY = 0.123456789
"""Placeholder in a line of code for the opacity that the reader chooses."""


@dataclass(frozen=True, eq=False)
class PageContents:
    """The contents of a page.

    Attributes:
        model: the model, without folder names.
        capture: the capture, its photo scaled down for the screen.
        first: the first map.
        layers: all maps.
        name: file name of the photo; empty if it has none.
        recipe: recipe of the first map.
    """

    model: AttentionModel
    capture: AttentionCapture
    first: RenderedView
    layers: Sequence[LayerMaps]
    name: str
    recipe: dict[str, Any]

    @property
    def sources(self) -> list[str]:
        return list(dict.fromkeys(layer.source for layer in self.layers))


def page_facts(
    contents: PageContents, packed: PackedSheets, overview: Overview, marks: Sequence[bytes]
) -> dict[str, Any]:
    """The data of the scripts as JSON values; `static/page.js` reads it."""
    capture, settings = contents.capture, contents.first.settings
    height, width = ground(capture, settings).shape[:2]
    rows, cols = region(capture, settings)
    size = rows.stop - rows.start, cols.stop - cols.start
    return {
        "size": [width, height],
        "region": [cols.start, rows.start, size[1], size[0]],
        "box": view_boxes(capture, settings, "overlay")[0],
        "grid": capture.layout.grid,
        "valueDigits": packed.value_digits,
        "colors": b64encode(color_table(settings.cmap).tobytes()).decode(),
        "maps": {
            "samples": packed.samples,
            "size": size,
            "exact": packed.exact,
            "valueBytes": bytes_per_value(packed.value_digits),
            "grid": capture.layout.grid,
        },
        "aggregations": AGGREGATIONS,
        "layers": [{"name": layer.name, "heads": layer.num_heads} for layer in capture.layers],
        "sources": {name: CATALOGUE[name].facts() for name in contents.sources},
        "sheets": [_sheet_facts(contents, layer, marks) for layer in contents.layers],
        "start": {name: getattr(settings, name) for name in ("source", "layer", "head", "aggregation", "opacity")},
        "overview": {"heads": overview.heads, "cell": overview.cell},
        "recipe": contents.recipe,
        "code": {
            "before": _code(contents, settings)[0],
            "after": {name: _code(contents, replace(settings, source=name))[2] for name in contents.sources},
        },
    }


def _sheet_facts(contents: PageContents, layer: LayerMaps, marks: Sequence[bytes]) -> dict[str, Any]:
    return {
        "source": layer.source,
        "layer": layer.layer,
        "choices": layer.choices,
        "query": layer.views[0].settings.query,
        "marks": marks.index(layer.marks) if layer.marks else -1,
        "shares": [round(float(share), 4) for share in layer.prefix_share],
        "ranges": [[float(f"{value:.6g}") for value in view.value_range] for view in layer.views],
        "captions": [view.caption for view in layer.views],
        "units": [value_unit(view.settings) for view in layer.views],
        "names": [file_name(contents.name or "photo", contents.model.name, view.settings) for view in layer.views],
        "code": [_code(contents, view.settings)[1] for view in layer.views],
    }


def _code(contents: PageContents, settings: ViewSettings) -> tuple[str, str, str]:
    """Python that draws a map: the lines before its settings, those with any opacity, and the lines after them."""
    text = python_code(contents.model, replace(settings, opacity=_ANY_OPACITY), path=contents.name or None)
    lines = text.split("\n")
    return "\n".join(lines[:3]), lines[3].replace(repr(_ANY_OPACITY), "{opacity}"), "\n".join(lines[4:])


def page_text(contents: PageContents, kept: str) -> PageText:
    """The texts of the page before any script runs.

    Args:
        contents: the contents of the page.
        kept: how accurately pictures and maps are kept, in words.
    """
    settings = contents.first.settings
    layer = next(layer for layer in contents.layers if (layer.source, layer.layer) == (settings.source, settings.layer))
    view = layer.views[layer.choices.index(choice_of(settings, contents.capture))]
    before, line, after = _code(contents, view.settings)
    name = contents.name or "a photo"
    height, width = ground(contents.capture, settings).shape[:2]
    sources = [CATALOGUE[source] for source in contents.sources]
    generator = f"vitattn_widgets {__version__}"
    return PageText(
        title=f"{name}: what {contents.model.name} attends to",
        heading=name,
        model=contents.model.describe(),
        generator=generator,
        caption=view.caption,
        low=tick_text(view.value_range[0], view.value_range),
        high=tick_text(view.value_range[1], view.value_range),
        unit=value_unit(view.settings),
        predictions=contents.capture.top(PREDICTIONS),
        code="\n".join([before, line.replace("{opacity}", repr(settings.opacity)), after]),
        recipe=json.dumps(contents.recipe, indent=2),
        choosing="layer, head, aggregation and opacity" if len(sources) == 1 else "source, layer, head and opacity",
        about=(
            f"{sum(len(layer.choices) for layer in contents.layers)} maps: every layer, head and aggregation of "
            f"{', '.join(f'{source.title} ({source.reference})' for source in sources)}. Each was drawn by "
            f"{generator}; this page only chooses among them and blends them with the photo. It loads nothing from the "
            "network.",
            kept,
            f"Drawn with {_steps(settings)}, {SCALE_WORDS[settings.scale]}, colour map {settings.cmap}, on "
            f"{'the pixels that the model saw' if settings.on == 'view' else 'the whole photo with the crop framed'}. "
            f"Query: {_query(contents)}. Patches that draw attention in any photo: {SINK_WORDS[settings.sinks]}.",
        ),
        ratio=(width, height),
    )


def _steps(settings: ViewSettings) -> str:
    return ", ".join(STEP_TITLES[step] for step in SMOOTHING_STEPS if getattr(settings, step)) or "no smoothing"


def _query(contents: PageContents) -> str:
    settings = contents.first.settings
    if settings.query is None:
        return "what the classifier reads"
    return f"{query_words(settings.query)}; a layer without it shows its default query"
