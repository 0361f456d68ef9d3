"""Figures for papers and slides, drawn with matplotlib from what `render_view` returns."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Sequence
from math import ceil
from typing import TYPE_CHECKING, Any

import numpy as np

from ..capture.capture import AttentionCapture, layer_words
from ..comparison.compare import compare_views, difference_view
from ..comparison.panels import Panel
from ..errors import SettingsError
from ..maps.aggregate import TITLES
from ..maps.settings import resolve
from ..models.tokens import query_words
from ..view.arrange import ground
from ..view.drawing import DIFFERENCE_CMAP, ValueRange
from ..view.render import render_aggregations
from ..view.settings import ViewSettings

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from ..evaluation.checks import MapCheck

PANEL_INCHES = 2.3

MOST_COLUMNS = 8
"""Panels of a comparison in one row; more fill several."""

CURVES = {
    "map": ("this map", "#c1272d", "-", 2.4),
    "centre": ("centre outwards", "#1f6fb4", "--", 1.4),
    "edge": ("edge inwards", "#4d9a3a", "-.", 1.4),
    "random": ("at random", "#7f7f7f", ":", 1.8),
}
"""How the curves of a check are named and drawn; told apart by their dashes too."""


def paper_figure(captures: Sequence[AttentionCapture], settings: ViewSettings | None = None, note: str = "") -> Figure:
    """Figures 2 to 4 of Calderaro et al. 2023: a row a photo; the view, then mean, max and mean / std over the heads.

    Args:
        captures: one a row, of one model, with what the settings' source needs (`complete_capture`).
        settings: layer, query, source, class, sinks, smoothing, scale and colours; head and aggregation are the
            figure's own, as far as the source has them.
        note: what the photos are, if that must be said; it stands above the figure.

    Returns:
        A matplotlib figure with one colour bar; each map on the scale that the settings name.

    Raises:
        SettingsError: no capture, or a layer, query or class that one of them does not have.
    """
    from matplotlib.cm import ScalarMappable
    from matplotlib.figure import Figure

    if not captures:
        raise SettingsError("a figure needs at least one photo")
    settings = settings or ViewSettings()
    rows = [render_aggregations(capture, settings) for capture in captures]
    columns = 1 + max(len(row) for row in rows)
    figure = Figure((PANEL_INCHES * columns + 0.7, PANEL_INCHES * len(rows) + 0.9), layout="compressed", dpi=150)
    axes = figure.subplots(len(rows), columns, squeeze=False)
    for line, capture, row in zip(axes, captures, rows, strict=True):
        best = capture.top(1)
        line[0].set_ylabel(f"{best[0][0]}\n{best[0][1]:.0%}" if best else "no classifier", fontsize=9)
        _show(line[0], ground(capture, settings))
        for axis, view in zip(line[1:], row, strict=True):
            _show(axis, view.image)
    axes[0, 0].set_title("what the model saw" if settings.on == "view" else "photo", fontsize=10)
    source = settings.source_info
    for axis, view in zip(axes[0, 1:], rows[0], strict=True):
        axis.set_title(TITLES[view.settings.aggregation] if source.aggregations else source.title, fontsize=10)
    bar = figure.colorbar(ScalarMappable(cmap=settings.cmap), ax=axes, shrink=0.6, ticks=[0, 0.5, 1])
    bar.set_label(f"{source.title}, scale: {settings.scale}", fontsize=9)
    figure.suptitle("\n".join(filter(None, (note, _title(captures[0], settings)))), fontsize=8, wrap=True)
    return figure


def _title(capture: AttentionCapture, settings: ViewSettings) -> str:
    place = resolve(capture, settings)
    source = place.source
    parts = [capture.model_name, layer_words(capture, place.layer)]
    if not source.plain:
        parts.append(f"{source.title} ({source.reference})")
    if place.target is not None:
        name = "each photo's predicted class"
        if settings.target is not None:
            name = f"the class {capture.class_names[place.target]}"
        parts[-1] += f" for {name}"
    if settings.sinks != "show":
        parts.append({"outline": "sinks outlined", "leave_out": "sinks left out"}[settings.sinks])
    parts.append(f"query: {query_words(place.query)}")
    return ", ".join(parts)


def comparison_figure(
    panels: Sequence[Panel],
    scale: str = "shared",
    difference: bool = False,
    columns: int | None = None,
    note: str = "",
) -> Figure:
    """Panels in one row on one scale, with one colour bar; on request the difference of two, with a bar of its own.

    Args:
        panels: see `compare_views`; more than eight fill several rows.
        scale: ``"shared"`` or ``"robust"``.
        difference: draw what the first has more than the second as well; for two panels of one photo.
        columns: panels in a row; None is all of them, up to eight.
        note: what the photos are, if that must be said; it stands above the figure.

    Returns:
        A matplotlib figure; each panel's title says what tells it from the others, the line above what all share.

    Raises:
        SettingsError: as `compare_views`; a difference of more or fewer than two panels.
    """
    from matplotlib.figure import Figure

    if difference and len(panels) != 2:
        raise SettingsError(f"a difference is of two panels, got {len(panels)}")
    compared = compare_views(panels, scale)
    found = difference_view(*panels, scale=scale) if difference else None
    pictures = [view.image for view in compared.views] + ([found.image] if found else [])
    columns = min(columns or ceil(len(pictures) / ceil(len(pictures) / MOST_COLUMNS)), len(pictures))
    rows = ceil(len(pictures) / columns)
    shapes = [min(max(picture.shape[1] / picture.shape[0], 0.6), 2.0) for picture in pictures]
    widths = [max(shapes[column::columns]) for column in range(columns)]  # of each column, where a panel's height is 1
    titles = [*compared.titles, *([found.title] if found else [])]
    titles = [_wrapped(title, PANEL_INCHES * widths[place % columns]) for place, title in enumerate(titles)]
    above = 0.17 * max(title.count("\n") + 1 for title in titles)
    across = PANEL_INCHES * max(sum(widths), 2.0) + 0.9 * (1 + difference)
    figure = Figure((across, (PANEL_INCHES + above) * rows + 0.25), layout="compressed", dpi=150)
    axes = figure.subplots(rows, columns, squeeze=False, width_ratios=widths)
    for axis, picture, title in zip(axes.flat, pictures, titles, strict=False):
        _show(axis, picture, title)
    for axis in axes.flat[len(pictures) :]:
        axis.set_axis_off()
    clipped = scale == "robust"
    beside = axes.flat[: len(panels)] if found else axes
    _value_bar(figure, beside, compared.limits, compared.cmap, compared.unit, clipped)
    if found:
        _value_bar(figure, axes.flat[2], found.value_range, found.cmap, "first minus second", clipped)
    figure.suptitle("\n".join(filter(None, (note, compared.common))), fontsize=8, wrap=True)
    return figure


def figure_bytes(figure: Figure, file_type: str = "png") -> bytes:
    """A figure as a file that matplotlib writes: ``"png"``, ``"pdf"``, ``"svg"``, ``"jpg"``."""
    stream = io.BytesIO()
    figure.savefig(stream, format=file_type)
    return stream.getvalue()


def _show(axis: Axes, picture: np.ndarray, title: str = "") -> None:
    axis.imshow(picture)
    axis.set(xticks=[], yticks=[])
    if title:
        axis.set_title(title, fontsize=9)


def _wrapped(title: str, inches: float) -> str:
    return textwrap.fill(title, max(12, round(inches * 14)))


def _value_bar(figure: Figure, axes: Any, limits: ValueRange, cmap: str, words: str, clipped: bool) -> None:
    """A colour bar from the value of the first colour to that of the last; arrows where values lie beyond."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    low, high = limits
    constant = low == high
    norm = Normalize(low - (cmap == DIFFERENCE_CMAP), low + 1) if constant else Normalize(low, high)
    ticks = [low] if constant else np.linspace(low, high, 5)
    place = {"shrink": 0.9, "pad": 0.012, "aspect": 16, "extend": "both" if clipped and not constant else "neither"}
    bar = figure.colorbar(ScalarMappable(norm, cmap), ax=axes, ticks=ticks, format="%.3g", **place)
    bar.ax.tick_params(labelsize=8)
    bar.set_label(words, fontsize=8)


def check_figure(check: MapCheck, columns: int = 2) -> Figure:
    """The curves of a check, small: the class's probability as patches are removed, and as they are given back.

    Args:
        check: from `check_map`.
        columns: 2 for the panels side by side, 1 for one below the other.

    Returns:
        A matplotlib figure of two panels; the legend gives each curve's area.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import PercentFormatter

    figure = Figure((3.2 * columns, 2.5 * (2 // columns)), layout="constrained", dpi=130)
    first, second = figure.subplots(2 // columns, columns, sharey=True)
    panels = ((first, check.deletion, check.deletion_area), (second, check.insertion, check.insertion_area))
    for axis, curves, area in panels:
        for order, (words, color, dashes, width) in CURVES.items():
            label = f"{words}, {area(order):.2f}"
            axis.plot(check.removed, curves[order], dashes, color=color, linewidth=width, label=label)
        axis.set(xlim=(0, 1), ylim=(0, 1.02))
        axis.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        axis.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        axis.tick_params(labelsize=7)
        axis.grid(alpha=0.25, linewidth=0.6)
        axis.legend(fontsize=6.5, title="order, area", title_fontsize=6.5, framealpha=0.85)
    for axis in (first, second)[: 3 - columns]:
        axis.set_ylabel(f"probability of {check.class_name}"[:40], fontsize=8)
    first.set_xlabel("patches removed (lower is better)", fontsize=8)
    second.set_xlabel("patches given back (higher is better)", fontsize=8)
    return figure
