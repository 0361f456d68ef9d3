"""Figures for papers and slides, drawn with matplotlib from the results of `render_view`."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Sequence
from math import ceil
from typing import TYPE_CHECKING, Any

import numpy as np

from ..capture.capture import AttentionCapture
from ..comparison.compare import compare_views, difference_view
from ..comparison.panels import Panel
from ..errors import SettingsError
from ..maps.aggregate import TITLES
from ..maps.resolve import resolve
from ..models.tokens import query_words
from ..view.arrange import ground
from ..view.drawing import DIFFERENCE_CMAP, ROBUST_PERCENTILES, ValueRange
from ..view.render import RenderedView, render_aggregations
from ..view.settings import ViewSettings

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from ..evaluation.checks import MapCheck

PANEL_INCHES = 2.3

MAX_COLUMNS = 8
"""Panels in one row of a comparison; more fill several rows."""

CURVES = {
    "map": ("this map", "#c1272d", "-", 2.4),
    "centre": ("centre outwards", "#1f6fb4", "--", 1.4),
    "edge": ("edge inwards", "#4d9a3a", "-.", 1.4),
    "random": ("at random", "#7f7f7f", ":", 1.8),
}
"""Name, colour, dashes and width of a check's curves; the dashes distinguish them without colour."""


def paper_figure(captures: Sequence[AttentionCapture], settings: ViewSettings | None = None, note: str = "") -> Figure:
    """Figures 2 to 4 of Calderaro et al. 2023: for each photo the view, then mean, max and mean / std over the heads.

    Args:
        captures: one per row, all of one model, with what the settings' source needs (`complete_capture`).
        settings: layer, query, source, class, sinks, smoothing, scale and colours. Their head and aggregation are not
            used: the figure shows every aggregation that the source has.
        note: a line above the figure that says what the photos are, if needed.

    Returns:
        A matplotlib figure with one colour bar; each map on the scale that the settings name.

    Raises:
        SettingsError: no capture, or one of them does not have the layer, query or class.
    """
    from matplotlib.cm import ScalarMappable
    from matplotlib.figure import Figure

    if not captures:
        raise SettingsError("a figure needs at least one photo, got none; give one capture per row")
    settings = settings or ViewSettings()
    rows = [render_aggregations(capture, settings) for capture in captures]
    columns = 1 + max(len(row) for row in rows)
    shapes = [row[0].image.shape[:2] for row in rows]
    heights = [min(max(height / width, 0.5), 1.7) for height, width in shapes]  # in widths of a panel
    panels = PANEL_INCHES * sum(heights)
    title = "\n".join(filter(None, (note, _title(captures[0], settings))))
    label = _wrapped(f"{settings.source_info.title}, {_span(settings, rows[0])}", panels)
    across = (PANEL_INCHES + 0.08) * columns + 0.95 + 0.15 * label.count("\n")
    above = 0.35 + 0.14 * sum(ceil(len(line) / (16 * across)) for line in title.split("\n"))
    figure = Figure((across, panels + 0.1 * len(rows) + above), layout="compressed", dpi=150)
    axes = figure.subplots(len(rows), columns, squeeze=False, height_ratios=heights)
    for line, capture, row in zip(axes, captures, rows, strict=True):
        top = capture.top(1)
        line[0].set_ylabel(f"{top[0][0]}\n{top[0][1]:.0%}" if top else "no classifier", fontsize=9)
        _show(line[0], ground(capture, settings))
        for axis, view in zip(line[1:], row, strict=True):
            _show(axis, view.image)
    axes[0, 0].set_title("what the model saw" if settings.on == "view" else "photo", fontsize=10)
    source = settings.source_info
    for axis, view in zip(axes[0, 1:], rows[0], strict=True):
        axis.set_title(TITLES[view.settings.aggregation] if source.aggregations else source.title, fontsize=10)
    bar = figure.colorbar(
        ScalarMappable(cmap=settings.colors),
        ax=axes,
        ticks=[0, 0.5, 1],
        shrink=0.9,
        pad=0.012,
        aspect=20 * len(rows),
    )
    bar.ax.tick_params(labelsize=8)
    bar.set_label(label, fontsize=8)
    figure.suptitle(title, fontsize=8, wrap=True)
    return figure


def _span(settings: ViewSettings, row: Sequence[RenderedView]) -> str:
    """What the colours of one row span."""
    if settings.scale == "robust":
        low, high = ROBUST_PERCENTILES
        return f"from each map's {low:.0f}th to {high:.0f}th percentile"
    if settings.scale == "map" or settings.source_info.no_head:
        return "from each map's lowest to its highest value"
    ratio = any(view.settings.aggregation == "mean_over_std" for view in row)
    return f"from the lowest to the highest value of the layer's heads{' (mean / std: its own)' if ratio else ''}"


def _title(capture: AttentionCapture, settings: ViewSettings) -> str:
    resolved = resolve(capture, settings)
    source = resolved.source
    parts = [capture.model_name, capture.layer_words(resolved.layer)]
    if not source.plain:
        parts.append(f"{source.title} ({source.reference})")
    if resolved.target is not None:
        name = "each photo's predicted class"
        if settings.target is not None:
            kind = "class " if capture.direction(resolved.target) is None else ""
            name = f"the {kind}{capture.answer_words(resolved.target)}"
        parts[-1] += f" for {name}"
    treatments = {"outline": "outlined", "leave_out": "left out", "mark": "marked and left out"}
    if settings.sinks in treatments:
        parts.append(f"sinks {treatments[settings.sinks]}")
    parts.append(f"query: {query_words(resolved.query)}")
    return ", ".join(parts)


def comparison_figure(
    panels: Sequence[Panel],
    scale: str = "shared",
    difference: bool = False,
    columns: int | None = None,
    note: str = "",
) -> Figure:
    """Panels in a row on one scale, with one colour bar; optionally their difference, with a bar of its own.

    Args:
        panels: see `compare_views`; more than eight fill several rows.
        scale: ``"shared"`` or ``"robust"``.
        difference: also draw the first minus the second; for two panels of one photo.
        columns: panels per row; None is all of them, up to eight.
        note: a line above the figure that says what the photos are, if needed.

    Returns:
        A matplotlib figure; each panel's title is what distinguishes it from the others, the line above what all share.

    Raises:
        SettingsError: as in `compare_views`; a difference is requested for more or fewer than two panels.
    """
    from matplotlib.figure import Figure

    if difference and len(panels) != 2:
        raise SettingsError(f"a difference needs exactly two panels, got {len(panels)}")
    comparison = compare_views(panels, scale)
    minus = difference_view(panels[0], panels[1], scale=scale) if difference else None
    pictures = [view.image for view in comparison.views] + ([minus.image] if minus else [])
    columns = min(columns or ceil(len(pictures) / ceil(len(pictures) / MAX_COLUMNS)), len(pictures))
    rows = ceil(len(pictures) / columns)
    shapes = [min(max(picture.shape[1] / picture.shape[0], 0.6), 2.0) for picture in pictures]
    widths = [max(shapes[column::columns]) for column in range(columns)]  # in heights of a panel
    titles = [*comparison.titles, *([minus.title] if minus else [])]
    titles = [_wrapped(title, PANEL_INCHES * widths[number % columns]) for number, title in enumerate(titles)]
    above = 0.17 * max(title.count("\n") + 1 for title in titles)
    across = PANEL_INCHES * max(sum(widths), 2.0) + 0.9 * (1 + difference)
    figure = Figure((across, (PANEL_INCHES + above) * rows + 0.25), layout="compressed", dpi=150)
    axes = figure.subplots(rows, columns, squeeze=False, width_ratios=widths)
    for axis, picture, title in zip(axes.flat, pictures, titles, strict=False):
        _show(axis, picture, title)
    for axis in axes.flat[len(pictures) :]:
        axis.set_axis_off()
    clipped = scale == "robust"
    beside = axes.flat[: len(panels)] if minus else axes
    _value_bar(figure, beside, comparison.limits, comparison.cmap, comparison.unit, clipped)
    if minus:
        _value_bar(figure, axes.flat[2], minus.value_range, minus.cmap, "first minus second", clipped)
    figure.suptitle("\n".join(filter(None, (note, comparison.common))), fontsize=8, wrap=True)
    return figure


def figure_bytes(figure: Figure, file_type: str = "png") -> bytes:
    """A figure as the content of a file: ``"png"``, ``"pdf"``, ``"svg"`` or ``"jpg"``."""
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
    """A colour bar from the value of the first colour to that of the last, with arrows where values lie beyond."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    low, high = limits
    constant = low == high
    # a constant map has the first colour; a constant difference, which is 0, the middle one
    norm = Normalize(low - (cmap == DIFFERENCE_CMAP), low + 1) if constant else Normalize(low, high)
    ticks = [low] if constant else np.linspace(low, high, 5)
    bar = figure.colorbar(
        ScalarMappable(norm, cmap),
        ax=axes,
        ticks=ticks,
        format="%.3g",
        extend="both" if clipped and not constant else "neither",
        shrink=0.9,
        pad=0.012,
        aspect=16,
    )
    bar.ax.tick_params(labelsize=8)
    bar.set_label(words, fontsize=8)


def check_figure(check: MapCheck) -> Figure:
    """The curves of a check: the class's probability as patches are removed, and as they are restored.

    Returns:
        A small matplotlib figure of two panels side by side, with a band from the lowest to the highest of the random
        orders; the legend gives each curve's area, and the smallest and largest of the random ones.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import PercentFormatter

    figure = Figure((6.4, 2.5), layout="constrained", dpi=130)
    first, second = figure.subplots(1, 2, sharey=True)
    panels = (
        (first, check.deletion, check.deletion_area, check.random_deletion, check.deletion_interval),
        (second, check.insertion, check.insertion_area, check.random_insertion, check.insertion_interval),
    )
    for axis, curves, area, random, (low, high) in panels:
        for order, (words, color, dashes, width) in CURVES.items():
            label = f"{words}, {area(order):.2f}"
            if order == "random":
                label = f"{label} ({low:.2f} to {high:.2f})"
                axis.fill_between(check.removed, random.min(0), random.max(0), color=color, alpha=0.2, linewidth=0)
            axis.plot(check.removed, curves[order], dashes, color=color, linewidth=width, label=label)
        axis.set(xlim=(0, 1), ylim=(0, 1.02))
        axis.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        axis.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        axis.tick_params(labelsize=7)
        axis.grid(alpha=0.25, linewidth=0.6)
        axis.legend(fontsize=6.5, title="order, area", title_fontsize=6.5, framealpha=0.85)
    first.set_ylabel(f"probability of {check.class_name}"[:40], fontsize=8)
    first.set_xlabel("patches removed (lower is better)", fontsize=8)
    second.set_xlabel("patches restored (higher is better)", fontsize=8)
    return figure
