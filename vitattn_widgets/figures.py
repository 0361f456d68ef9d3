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

PANEL_INCHES = 2.3


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
