"""What stands below the picture, as HTML: heads, overview, comparison; every text from outside is escaped."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np
from PIL import Image

from .comparison import DifferenceView
from .demo_controls import OWN_VIEWS, Controls
from .demo_desk import Desk
from .demo_html import bar, color_bar, image_tag, jpeg, json_text
from .demo_rows import ComparedRow, Row
from .demo_visit import Shown
from .files import data_url, picture_bytes
from .overview import render_overview
from .render import RenderedView
from .sources import CATALOGUE

TILE_SIDE = 448
"""Longest side in pixels of a compared picture; twice what it takes on most screens."""


def panel(desk: Desk, shown: Shown) -> str:
    """What is shown below the picture: every head, the overview, or a row to compare."""
    match shown.controls.beside:
        case "every head":
            layer, source = shown.rendered.settings.layer, CATALOGUE[shown.rendered.settings.source]
            if source.no_head:
                return f"<h3>Every head of layer {layer}</h3><p>There is one map alone: {escape(source.no_head)}.</p>"
            return _heads(desk.heads(shown), shown)
        case "compare":
            return _row(desk.compared(shown), shown)
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
        f"<h3>Every head of layer {layer} <small>on one shared scale, without the median; click one</small></h3>"
        f'<div class="va-tiles">{tiles}</div>{color_bar(views[0], shown.controls.cmap)}{back}'
    )


def _row(compared: ComparedRow, shown: Shown) -> str:
    """The views of a row on one scale, with one colour bar, and the difference of two."""
    row, controls = shown.row, shown.controls
    if row.why:
        return f"<h3>Compare</h3><p>{escape(row.why)}</p>"
    tiles = "".join(
        f"<figure>{_tile(number, place, compared, row)}"
        f"{_remove(number, row.pins[number].mark) if controls.row == OWN_VIEWS else ''}</figure>"
        for number, place in enumerate(compared.places)
    )
    below, made = "", compared.comparison
    if made is not None:
        below = f'{_scale(made.cmap, made.limits, made.unit)}<p class="va-caption">{escape(made.common)}</p>'
    words = "between percentiles" if controls.scale == "robust" else "on one shared scale"
    return (
        f"<h3>Compare {escape(controls.row)} <small>{words}; click one to see it above</small></h3>"
        f'<div class="va-tiles va-compared">{tiles}</div>{below}{_difference(compared.difference, controls)}'
    )


def _tile(number: int, place: int | str, compared: ComparedRow, row: Row) -> str:
    if isinstance(place, str):
        return f'<p class="va-gone"><b>{number + 1}</b> {escape(place)}</p>'
    pin, view = row.pins[number], compared.comparison.views[place]
    title = compared.comparison.titles[place] or pin.name
    return (
        f'<button type="button" data-choose="{json_text({"view": pin.mark})}" '
        f'aria-pressed="{_flag(pin.mark == row.here)}">{_small(view.image, view.caption)}'
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
    return bar(cmap, [f"{value:.3g}" for value in (low, (low + high) / 2, high)], unit)


def _small(image: np.ndarray, alternative: str) -> str:
    """A picture that many stand beside, at their size."""
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
    plain = "" if settings.source == "attention" else "of plain attention; "
    image = image_tag(data_url(picture_bytes(overview.image), "image/png"), overview.image, "")
    return (
        f"<h3>All layers and heads <small>{plain}a layer a column, a head a row; each map on its own scale</small></h3>"
        f'<div class="va-overview">{image}<div class="va-cells" '
        f'style="grid-template-columns: repeat({layers}, 1fr); grid-template-rows: repeat({rows}, 1fr)">{cells}</div>'
        "</div>"
    )
