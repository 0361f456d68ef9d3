"""The picture and what stands beside it, as HTML; every text from outside is escaped."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from .checks import MapCheck
from .demo_desk import shown_settings
from .demo_visit import Shown
from .drawing import css_colors
from .figures import check_figure, figure_bytes
from .files import data_url, picture_bytes
from .panels import encode_for_screen, thumbnail, value_unit, view_boxes
from .render import RenderedView


def jpeg(image: np.ndarray) -> str:
    """A picture as the address of a JPEG file."""
    return data_url(picture_bytes(image, ".jpg"), "image/jpeg")


def image_tag(source: str, image: np.ndarray, alternative: str) -> str:
    """A picture in its own size."""
    height, width = image.shape[:2]
    # decoded with the page, not after it: a picture that follows a slider must not blink
    return f'<img src="{source}" width="{width}" height="{height}" alt="{escape(alternative)}" decoding="sync">'


def json_text(value: Any) -> str:
    """A value as an attribute holds it."""
    return escape(json.dumps(value), quote=True)


def picture(shown: Shown) -> str:
    """The picture with the patch that is the query, its colour bar and its caption."""
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
        f'data-map="{shown.visit.map}">'
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
    """The colours from the lowest to the highest value, with these values and their unit."""
    low, high = rendered.value_range
    return bar(cmap, (f"{low:.3g}", f"{(low + high) / 2:.3g}", f"{high:.3g}"), value_unit(rendered.settings))


def bar(cmap: str, ticks: Sequence[str], unit: str) -> str:
    """The colours of a map in a row, with numbers below and what they count."""
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
    """What a check of a map gave: its sentences and its curves, side by side, or on a phone one below the other."""
    sentences = "".join(f"<li>{escape(sentence)}</li>" for sentence in check.sentences)
    wide, narrow = (data_url(figure_bytes(check_figure(check, columns)), "image/png") for columns in (2, 1))
    words = "Curves of the class's probability while patches are removed and given back, in four orders"
    return (
        f'<section class="va-checked"><h3>Is this map worth anything?</h3><ul>{sentences}</ul><picture>'
        f'<source media="(max-width: 640px)" srcset="{narrow}"><img src="{wide}" alt="{words}"></picture></section>'
    )


def samples(pictures: Mapping[str, Path]) -> str:
    """The samples to choose from."""
    buttons = "".join(
        f'<button type="button" data-choose="{json_text({"sample": name})}">'
        f'<img src="{data_url(thumbnail(path), "image/jpeg")}" alt=""><span>{escape(name)}</span></button>'
        for name, path in pictures.items()
    )
    return f'<div class="va-samples" role="group" aria-label="Samples">{buttons}</div>'
