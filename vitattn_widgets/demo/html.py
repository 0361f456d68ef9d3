"""The picture and what is shown around it, as HTML; every text from outside is escaped."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..comparison.compare import DifferenceView
from ..evaluation.checks import MapCheck
from ..figures.paper import check_figure, figure_bytes
from ..view.arrange import view_boxes
from ..view.captions import value_unit
from ..view.drawing import css_colors, tick_text
from ..view.encode import data_url, encode_for_screen, picture_bytes, thumbnail
from ..view.overview import render_overview
from ..view.render import RenderedView
from .controls import OWN_VIEWS, Controls
from .service import DemoService, shown_settings
from .visitor import ComparedRow, ComparisonRow, Shown


def jpeg(image: np.ndarray) -> str:
    """A picture as a JPEG data URL."""
    return data_url(picture_bytes(image, ".jpg"), "image/jpeg")


def image_tag(source: str, image: np.ndarray, alternative: str) -> str:
    """An image element of the picture's own size."""
    height, width = image.shape[:2]
    # decoded with the page, not after it: a picture that follows a slider must not blink
    return f'<img src="{source}" width="{width}" height="{height}" alt="{escape(alternative)}" decoding="sync">'


def json_text(value: Any) -> str:
    """A value as JSON, escaped for an HTML attribute."""
    return escape(json.dumps(value), quote=True)


def picture(shown: Shown) -> str:
    """The picture with its query patch marked, its colour bar and its caption."""
    rendered = shown.rendered
    encoded = encode_for_screen(rendered.image)
    boxes = view_boxes(shown.capture, rendered.settings, shown.controls.arrangement)
    size = rendered.image.shape[1::-1]
    marks = "".join(_mark(rendered, box, size) for box in boxes)
    facts = {"boxes": boxes, "size": size, "grid": rendered.grid_map.shape, "values": _values(rendered)}
    tag = image_tag(data_url(encoded.content, encoded.mime), rendered.image, rendered.caption)
    # the ratio lets the page keep a tall picture within the window without measuring it
    return (
        f'<div class="va-shown" data-shown="{json_text(shown_settings(shown))}" data-link="{escape(shown.link)}" '
        f'data-map="{shown.visitor.map}">'
        f'<div class="va-frame" data-facts="{json_text(facts)}" style="--va-ratio: {size[0] / size[1]:.4f}">'
        f"{tag}{marks}</div>{color_bar(rendered, shown.controls.cmap)}"
        '<p class="va-reading">Click a patch to make it the query.</p>'
        f'<p class="va-caption">{escape(rendered.caption)}</p></div>'
    )


def _values(rendered: RenderedView) -> list[float]:
    return [float(f"{value:.3g}") for value in rendered.grid_map.ravel()]


def _mark(rendered: RenderedView, box: Sequence[float], size: Sequence[int]) -> str:
    query = rendered.settings.query
    if not isinstance(query, tuple):
        return ""
    (rows, cols), (left, top, right, bottom) = rendered.grid_map.shape, box
    step = ((right - left) / cols, (bottom - top) / rows)
    place = ((left + query[1] * step[0]) / size[0], (top + query[0] * step[1]) / size[1])
    style = (
        f"left: {place[0]:.3%}; top: {place[1]:.3%}; width: {step[0] / size[0]:.3%}; height: {step[1] / size[1]:.3%}"
    )
    return f'<i class="va-query" style="{style}"></i>'


def color_bar(rendered: RenderedView, cmap: str) -> str:
    """The colour bar of a picture: from its lowest to its highest value, with their unit."""
    return _scale(cmap, rendered.value_range, value_unit(rendered.settings))


def bar(cmap: str, ticks: Sequence[str], unit: str) -> str:
    """A colour bar with its ticks and their unit."""
    colors = css_colors(cmap)
    marks = "".join(f"<span>{escape(tick)}</span>" for tick in ticks)
    return (
        f'<div class="va-legend"><div class="va-bar" style="background: linear-gradient(90deg, {colors})"></div>'
        f'<div class="va-ticks">{marks}</div><div class="va-unit">{escape(unit)}</div></div>'
    )


def answer(shown: Shown) -> str:
    """The five most probable classes as bars."""
    lines = "".join(
        f'<li><span class="va-class">{escape(name)}</span><span class="va-track">'
        f'<i style="width: {probability:.1%}"></i></span><span class="va-percent">{probability:.1%}</span></li>'
        for name, probability in shown.capture.top(5)
    )
    return f"<h3>The model's answer</h3><ol class='va-answer'>{lines or '<li>This model has no classifier.</li>'}</ol>"


def checked(check: MapCheck) -> str:
    """The result of a check: its sentences and its curves, side by side or, on a phone, one below the other."""
    sentences = "".join(f"<li>{escape(sentence)}</li>" for sentence in check.sentences)
    wide, narrow = (data_url(figure_bytes(check_figure(check, columns)), "image/png") for columns in (2, 1))
    words = "Curves of the class's probability as patches are removed and restored, in four orders"
    return (
        f'<section class="va-checked"><h3>Is this map worth anything?</h3><ul>{sentences}</ul><picture>'
        f'<source media="(max-width: 640px)" srcset="{narrow}"><img src="{wide}" alt="{words}"></picture></section>'
    )


def samples(pictures: Mapping[str, Path]) -> str:
    """The samples as buttons."""
    buttons = "".join(
        f'<button type="button" data-choose="{json_text({"sample": name})}">'
        f'<img src="{data_url(thumbnail(path), "image/jpeg")}" alt=""><span>{escape(name)}</span></button>'
        for name, path in pictures.items()
    )
    return f'<div class="va-samples" role="group" aria-label="Samples">{buttons}</div>'


TILE_SIDE = 448
"""Longest side in pixels of a compared picture: twice its size on most screens."""


def panel(service: DemoService, shown: Shown) -> str:
    """The panel below the picture: every head, the overview, or a row of views to compare."""
    match shown.controls.beside:
        case "every head":
            layer, source = shown.rendered.settings.layer, shown.rendered.settings.source_info
            if source.no_head:
                return f"<h3>Every head of layer {layer}</h3><p>There is only one map: {escape(source.no_head)}.</p>"
            return _heads(service.heads(shown), shown)
        case "compare":
            return _row(service.compared(shown), shown)
    return _overview(shown)


def _heads(views: Sequence[RenderedView], shown: Shown) -> str:
    layer = shown.rendered.settings.layer
    tiles = "".join(
        f'<button type="button" data-choose="{json_text({"head": head})}" '
        f'aria-pressed="{_flag(shown.rendered.settings.head == head)}">'
        f"{image_tag(jpeg(view.image), view.image, '')}<span>head {head}</span></button>"
        for head, view in enumerate(views)
    )
    back = f'<button type="button" class="va-all" data-choose="{json_text({"head": "all"})}">all heads</button>'
    return (
        f"<h3>Every head of layer {layer} "
        "<small>on one shared scale, without the median; click a head to show it</small></h3>"
        f'<div class="va-tiles">{tiles}</div>{color_bar(views[0], shown.controls.cmap)}{back}'
    )


def _row(compared: ComparedRow, shown: Shown) -> str:
    """The views of a row on one scale, with one colour bar, and the difference of two."""
    row, controls = shown.row, shown.controls
    if row.why:
        return f"<h3>Compare</h3><p>{escape(row.why)}</p>"
    tiles = "".join(
        f"<figure>{_tile(number, place, compared, row)}"
        f"{_remove(number, row.kept_views[number].mark) if controls.row == OWN_VIEWS else ''}</figure>"
        for number, place in enumerate(compared.places)
    )
    below, drawn = "", compared.comparison
    if drawn is not None:
        below = f'{_scale(drawn.cmap, drawn.limits, drawn.unit)}<p class="va-caption">{escape(drawn.common)}</p>'
    words = "between percentiles" if controls.scale == "robust" else "on one shared scale"
    return (
        f"<h3>Compare {escape(controls.row)} <small>{words}; click a view to show it above</small></h3>"
        f'<div class="va-tiles va-compared">{tiles}</div>{below}{_difference(compared.difference, controls)}'
    )


def _tile(number: int, place: int | str, compared: ComparedRow, row: ComparisonRow) -> str:
    drawn = compared.comparison
    if drawn is None or isinstance(place, str):
        return f'<p class="va-gone"><b>{number + 1}</b> {escape(str(place))}</p>'
    kept, view = row.kept_views[number], drawn.views[place]
    title = drawn.titles[place] or kept.name
    return (
        f'<button type="button" data-choose="{json_text({"view": kept.mark})}" '
        f'aria-pressed="{_flag(kept.mark == row.here)}">{_small(view.image, view.caption)}'
        f"<span><b>{number + 1}</b> {escape(title)}</span></button>"
    )


def _remove(number: int, mark: str) -> str:
    return (
        f'<button type="button" class="va-remove" data-choose="{json_text({"remove": mark})}" '
        f'aria-label="Remove view {number + 1}" title="Remove view {number + 1}">×</button>'
    )


def _difference(view: DifferenceView | str | None, controls: Controls) -> str:
    if view is None:
        return ""
    numbers = f"{controls.first} minus {controls.second}"
    if isinstance(view, str):
        return f"<h3>{escape(numbers)}</h3><p>{escape(view)}</p>"
    return (
        f'<h3>{escape(numbers)} <small>{escape(view.title)}</small></h3><figure class="va-difference">'
        f"{_small(view.image, view.caption)}</figure>{_scale(view.cmap, view.value_range, view.unit)}"
        f'<p class="va-caption">{escape(view.caption)}</p>'
    )


def _scale(cmap: str, limits: tuple[float, float], unit: str) -> str:
    low, high = limits
    return bar(cmap, [tick_text(value, limits) for value in (low, (low + high) / 2, high)], unit)


def _small(image: np.ndarray, alternative: str) -> str:
    """A picture scaled down to `TILE_SIDE`."""
    small = Image.fromarray(image)
    small.thumbnail((TILE_SIDE, TILE_SIDE))
    pixels = np.asarray(small)
    return image_tag(jpeg(pixels), pixels, alternative)


def _flag(value: bool) -> str:
    return "true" if value else "false"


def _overview(shown: Shown) -> str:
    settings = shown.rendered.settings
    overview = render_overview(shown.capture, settings.query, settings.cmap)
    layers, rows = len(overview.heads), max(overview.heads)
    cells = "".join(
        f'<button type="button" data-choose="{json_text({"layer": layer, "head": head})}" '
        f'aria-label="layer {layer}, head {head}" title="layer {layer}, head {head}" '
        f'aria-pressed="{_flag(layer == settings.layer and settings.head in (None, head))}"></button>'
        if head < overview.heads[layer]
        else "<span></span>"
        for head in range(rows)
        for layer in range(layers)
    )
    plain = "" if settings.source_info.plain else "of plain attention; "
    image = image_tag(data_url(picture_bytes(overview.image), "image/png"), overview.image, "")
    return (
        f"<h3>All layers and heads "
        f"<small>{plain}one column per layer, one row per head; each map on its own scale</small></h3>"
        f'<div class="va-overview">{image}<div class="va-cells" '
        f'style="grid-template-columns: repeat({layers}, 1fr); grid-template-rows: repeat({rows}, 1fr)">{cells}</div>'
        "</div>"
    )
