"""Figures for papers and slides, drawn with matplotlib from what `render_view` returns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from .aggregate import TITLES
from .capture import AttentionCapture
from .errors import SettingsError
from .render import layer_words, query_words, render_aggregations
from .settings import ViewSettings

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from .checks import MapCheck

PANEL_INCHES = 2.3

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
        captures: one a row, of one model.
        settings: layer, query, smoothing, scale and colours; head and aggregation are the figure's own.
        note: what the photos are, if that must be said; it stands above the figure.

    Returns:
        A matplotlib figure with one colour bar; each map on the scale that the settings name.

    Raises:
        SettingsError: no capture, or a layer or query that one of them does not have.
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
        line[0].imshow(capture.view if settings.on == "view" else capture.source)
        for axis, view in zip(line[1:], row, strict=True):
            axis.imshow(view.image)
        for axis in line:
            axis.set(xticks=[], yticks=[])
    axes[0, 0].set_title("what the model saw" if settings.on == "view" else "photo", fontsize=10)
    for axis, view in zip(axes[0, 1:], rows[0], strict=True):
        axis.set_title(TITLES[view.settings.aggregation], fontsize=10)
    bar = figure.colorbar(ScalarMappable(cmap=settings.cmap), ax=axes, shrink=0.6, ticks=[0, 0.5, 1])
    bar.set_label(f"attention, scale: {settings.scale}", fontsize=9)
    figure.suptitle("\n".join(filter(None, (note, _title(captures[0], settings)))), fontsize=8, wrap=True)
    return figure


def _title(capture: AttentionCapture, settings: ViewSettings) -> str:
    query = query_words(capture.query_or_default(settings.layer, settings.query))
    return f"{capture.model_name}, {layer_words(capture, settings)}, query: {query}"


def check_figure(check: MapCheck) -> Figure:
    """The curves of a check, small: the class's probability as patches are removed, and as they are given back.

    Args:
        check: from `check_map`.

    Returns:
        A matplotlib figure of two panels; the legend gives each curve's area.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import PercentFormatter

    figure = Figure((6.4, 2.5), layout="constrained", dpi=130)
    left, right = figure.subplots(1, 2, sharey=True)
    panels = ((left, check.deletion, check.deletion_area), (right, check.insertion, check.insertion_area))
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
    left.set_ylabel(f"probability of {check.class_name}"[:40], fontsize=8)
    left.set_xlabel("patches removed (lower is better)", fontsize=8)
    right.set_xlabel("patches given back (higher is better)", fontsize=8)
    return figure
