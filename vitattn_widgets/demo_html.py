"""The parts of the page that Gradio has no component for, as HTML; every text from outside is escaped."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from .aggregate import TITLES
from .demo_desk import Desk, Shown, shown_settings
from .drawing import color_table
from .files import picture_bytes
from .overview import render_overview
from .panels import encode_for_screen, thumbnail, value_unit, view_boxes
from .render import RenderedView


def data_url(content: bytes, mime: str) -> str:
    """A file as an address that needs no request."""
    return f"data:{mime};base64,{b64encode(content).decode()}"


def _jpeg(image: np.ndarray) -> str:
    return data_url(picture_bytes(image, ".jpg"), "image/jpeg")


def _image(source: str, image: np.ndarray, alternative: str) -> str:
    height, width = image.shape[:2]
    # decoded with the page, not after it: a picture that follows a slider must not blink
    return f'<img src="{source}" width="{width}" height="{height}" alt="{escape(alternative)}" decoding="sync">'


def _json(value: Any) -> str:
    return escape(json.dumps(value), quote=True)


def picture(shown: Shown) -> str:
    """The picture with the patch that is the query, its colour bar and its caption."""
    rendered = shown.rendered
    encoded = encode_for_screen(rendered.image)
    boxes = view_boxes(shown.capture, rendered.settings, shown.controls.arrangement)
    size = rendered.image.shape[1::-1]
    marks = "".join(_mark(rendered, box, size) for box in boxes)
    facts = {"boxes": boxes, "size": size, "grid": rendered.grid_map.shape, "values": _values(rendered)}
    image = _image(data_url(encoded.content, encoded.mime), rendered.image, rendered.caption)
    # the ratio lets the page keep a tall picture within the window without measuring it
    return (
        f'<div class="va-shown" data-shown="{_json(shown_settings(shown))}" data-link="{escape(shown.link)}">'
        f'<div class="va-frame" data-facts="{_json(facts)}" style="--va-ratio: {size[0] / size[1]:.4f}">'
        f"{image}{marks}</div>{color_bar(rendered, shown.controls.cmap)}"
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
    """The colours from the lowest to the highest value, with these values and their unit."""
    low, high = rendered.value_range
    return _bar(cmap, (f"{low:.3g}", f"{(low + high) / 2:.3g}", f"{high:.3g}"), value_unit(rendered.settings))


def _bar(cmap: str, ticks: Sequence[str], unit: str) -> str:
    colors = ", ".join("#{:02x}{:02x}{:02x}".format(*color) for color in color_table(cmap)[::15])
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


def samples(pictures: Mapping[str, Path]) -> str:
    """The samples to choose from."""
    buttons = "".join(
        f'<button type="button" data-choose="{_json({"sample": name})}">'
        f'<img src="{data_url(thumbnail(path), "image/jpeg")}" alt=""><span>{escape(name)}</span></button>'
        for name, path in pictures.items()
    )
    return f'<div class="va-samples" role="group" aria-label="Samples">{buttons}</div>'


def panel(desk: Desk, shown: Shown) -> str:
    """What is shown below the picture: every head, the overview, or the comparison."""
    match shown.controls.beside:
        case "every head":
            return _heads(desk.heads(shown), shown)
        case "compare":
            return _compared(desk.compared(shown), shown)
    return _overview(shown)


def _heads(views: Sequence[RenderedView], shown: Shown) -> str:
    layer = shown.rendered.settings.layer
    tiles = "".join(
        f'<button type="button" data-choose="{_json({"head": head})}" aria-pressed="{_flag(_chosen(shown) == head)}">'
        f"{_image(_jpeg(view.image), view.image, '')}<span>head {head}</span></button>"
        for head, view in enumerate(views)
    )
    back = f'<button type="button" class="va-all" data-choose="{_json({"head": "all"})}">all heads</button>'
    return (
        f"<h3>Every head of layer {layer} <small>on one shared scale, without the median; click one</small></h3>"
        f'<div class="va-tiles">{tiles}</div>{color_bar(views[0], shown.controls.cmap)}{back}'
    )


def _chosen(shown: Shown) -> int | None:
    return shown.rendered.settings.head


def _flag(value: bool) -> str:
    return "true" if value else "false"


def _compared(views: Sequence[RenderedView], shown: Shown) -> str:
    tiles = "".join(
        f"<figure>{_image(_jpeg(view.image), view.image, view.caption)}"
        f"<figcaption>{escape(TITLES[view.settings.aggregation])}</figcaption></figure>"
        for view in views
    )
    unit = f"attention, scale: {views[0].settings.scale}; each picture from its own lowest to its highest value"
    if views[0].settings.scale == "robust":
        unit = "attention, scale: robust; each picture between its own percentiles"
    return (
        f"<h3>Layer {shown.rendered.settings.layer}, aggregated over its heads <small>as in the paper's figures</small>"
        f'</h3><div class="va-tiles va-compared">{tiles}</div>{_bar(shown.controls.cmap, ("0", "0.5", "1"), unit)}'
    )


def _overview(shown: Shown) -> str:
    settings = shown.rendered.settings
    overview = render_overview(shown.capture, settings.query, settings.cmap)
    layers, rows = len(overview.heads), max(overview.heads)
    cells = "".join(
        f'<button type="button" data-choose="{_json({"layer": layer, "head": head})}" '
        f'aria-label="layer {layer}, head {head}" title="layer {layer}, head {head}" '
        f'aria-pressed="{_flag(layer == settings.layer and settings.head in (None, head))}"></button>'
        if head < overview.heads[layer]
        else "<span></span>"
        for head in range(rows)
        for layer in range(layers)
    )
    image = _image(data_url(picture_bytes(overview.image), "image/png"), overview.image, "")
    return (
        "<h3>All layers and heads <small>a layer a column, a head a row; each map on its own scale</small></h3>"
        f'<div class="va-overview">{image}<div class="va-cells" '
        f'style="grid-template-columns: repeat({layers}, 1fr); grid-template-rows: repeat({rows}, 1fr)">{cells}</div>'
        "</div>"
    )
