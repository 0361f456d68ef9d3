"""Figures that explain: the photos of a data set, how a map is made, the measures of a whole split."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from math import ceil
from typing import TYPE_CHECKING, Any

import numpy as np

from ..capture.capture import AttentionCapture
from ..errors import DataError, SettingsError
from ..evaluation.evaluate import BASELINES
from ..evaluation.measures import MEASURES
from ..evaluation.result import MapEvaluation
from ..models.tokens import query_words
from ..view.render import RenderedView, render_view, render_views
from ..view.settings import ViewSettings

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from ..datasets.photos import PhotoSet

PANEL_INCHES = 1.7

MAX_HEADS = 6
"""Heads in one figure; with more, each would be too small to read."""

COLUMNS = 6

BASELINE_COLOR = "0.65"

MAP_COLORS = ("#d1495b", "#edae49", "#00798c", "#7b5ea7", "#66a182", "#e07bb5", "#c97b4a", "#5b8fd6")

LINES = {"uniform": ":", "centre blob": "--"}

SMOOTHING: tuple[tuple[str, dict[str, Any]], ...] = (
    ("1. bilinear", {"bilinear": True}),
    ("2. median over\nhalf a patch", {"median": True}),
    ("3. Gaussian of\na quarter patch", {"gaussian": True}),
    ("4. over the photo", {"opacity": 0.5}),
)
"""The steps from a grid map to the picture, each with the setting that turns it on."""


def photos_figure(photos: PhotoSet, per_class: int = 1, classes: int = 12) -> Figure:
    """The first photos of each class, with the outline of the evidence where the data has masks.

    Args:
        photos: a split of a data set; the title says if it is a stand-in.
        per_class: photos per class.
        classes: the most classes to show, the first ones that have photos.

    Raises:
        DataError: the split has no photos.
    """
    if not len(photos):
        raise DataError(f"{photos.title}: has no photos to show; choose another split")
    labels = [label for label, count in enumerate(photos.counts()) if count][:classes]
    of_class = [[index for index, own in enumerate(photos.labels) if own == label] for label in labels]
    indices = [group[turn] for turn in range(per_class) for group in of_class if turn < len(group)]
    # as many rows as COLUMNS demands, filled evenly
    columns = ceil(len(labels) / ceil(len(labels) / COLUMNS))
    figure, axes = _panels(ceil(len(indices) / columns), columns)
    masked = False
    for axis, index in zip(axes.flat, indices, strict=False):
        mask = photos.mask(index)
        axis.imshow(photos.load(index))
        axis.set_title(photos.class_names[photos.labels[index]], fontsize=8)
        if mask is not None and (evidence := (mask == 1)).any():
            masked = True
            axis.contour(evidence, [0.5], colors="black", linewidths=1.8)
            axis.contour(evidence, [0.5], colors="cyan", linewidths=0.8)
    for axis in axes.flat[len(indices) :]:
        axis.set_visible(False)
    figure.suptitle(f"{photos.title}{'; outlined: the evidence' if masked else ''}", fontsize=9)
    return figure


def heads_figure(capture: AttentionCapture, layer: int = -1) -> Figure:
    """The photo and each head's raw patch attention (eq. 3) on one scale, one square per patch.

    Args:
        capture: from `capture_attention`.
        layer: layer number; if it has more than six heads, the first six are shown.
    """
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    plain = ViewSettings(layer=layer, bilinear=False, median=False, gaussian=False, scale="shared", opacity=1)
    heads = range(min(capture.num_heads(layer), MAX_HEADS))
    views = render_views(capture, [replace(plain, head=head) for head in heads])
    shares = capture.prefix_share(layer)
    figure, axes = _panels(1, 1 + len(views))
    _show(axes[0, 0], capture.view, "what the model saw")
    for head, (axis, view) in enumerate(zip(axes[0, 1:], views, strict=True)):
        _show(axis, view.image, f"head {head}\nprefix share {shares[head]:.0%}")
    scale = ScalarMappable(Normalize(*views[0].value_range), cmap=plain.colors)
    figure.colorbar(scale, ax=axes, shrink=0.7).set_label("share of the attention to patches", fontsize=7)
    query = query_words(capture.query_or_default(layer))
    figure.suptitle(f"{capture.model_name}, {capture.layer_words(plain.layer)}, query: {query}", fontsize=8)
    return figure


def smoothing_figure(capture: AttentionCapture, settings: ViewSettings | None = None) -> Figure:
    """One map through each smoothing step and onto the photo; each panel on its own range of values.

    Args:
        capture: from `capture_attention`.
        settings: layer, head or aggregation, query and colours; their smoothing and opacity are not used.
    """
    step = replace(settings or ViewSettings(), bilinear=False, median=False, gaussian=False, opacity=1)
    figure, axes = _panels(1, 1 + len(SMOOTHING))
    view = render_view(capture, step)
    _show_values(axes[0, 0], view, "one square per patch")
    for axis, (title, change) in zip(axes[0, 1:], SMOOTHING, strict=True):
        step = replace(step, **change)
        view = render_view(capture, step)
        _show_values(axis, view, title)
    figure.suptitle(view.caption, fontsize=7, wrap=True)
    return figure


def measures_figure(evaluation: MapEvaluation) -> Figure:
    """The table of an evaluation of one layer as bars: one panel per measure, baselines grey, missing values a dash.

    Raises:
        SettingsError: the evaluation has several layers; `layers_figure` draws those.
    """
    table = evaluation.table()
    if table.index.nlevels > 1:
        raise SettingsError("measures_figure draws one layer, and this evaluation has several; use layers_figure")
    figure, axes = _panels(1, len(table.columns), height=1.1 + 0.22 * len(table))
    colors = _colors(table.index)
    places = np.arange(len(table))[::-1]
    for axis, measure in zip(axes[0], table, strict=True):
        axis.barh(places, table[measure], color=[colors[name] for name in table.index], height=0.7)
        for place, value in zip(places, table[measure], strict=True):
            axis.text(0.03, place, "-" if np.isnan(value) else f"{value:.2f}", va="center", fontsize=7)
        axis.set(xlim=(0, 1), ylim=(-0.6, len(table) - 0.4), xticks=[0, 0.5, 1], yticks=[])
        axis.tick_params(labelsize=7)
        axis.set_title(MEASURES[measure], fontsize=8)
    axes[0, 0].set_yticks(places, table.index, fontsize=8)
    figure.suptitle(evaluation.heading, fontsize=8)
    return figure


def layers_figure(evaluation: MapEvaluation) -> Figure:
    """The table of an evaluation of several layers as curves over the layers, the baselines dashed.

    Raises:
        SettingsError: the evaluation has one layer; `measures_figure` draws that.
    """
    table = evaluation.table()
    if table.index.nlevels < 2:
        raise SettingsError("layers_figure draws several layers, and this evaluation has one; use measures_figure")
    figure, axes = _panels(1, len(table.columns), height=2.1)
    names = table.index.unique("map")
    colors = _colors(names)
    for axis, measure in zip(axes[0], table, strict=True):
        for name in names:
            curve = table[measure].xs(name, level="map")
            axis.plot(curve.index, curve, LINES.get(name, "-"), color=colors[name], label=name, lw=1.4)
        axis.set(ylim=(0, 1.02), yticks=[0, 0.5, 1], xticks=[curve.index[0], curve.index[-1]])
        axis.tick_params(labelsize=7)
        axis.set_title(MEASURES[measure], fontsize=8)
        axis.set_xlabel("layer", fontsize=7)
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=len(names), fontsize=7)
    figure.suptitle(evaluation.heading, fontsize=8)
    return figure


def _panels(rows: int, columns: int, height: float | None = None) -> tuple[Figure, np.ndarray]:
    from matplotlib.figure import Figure

    size = (PANEL_INCHES * max(columns, 3) + 0.6, height or PANEL_INCHES * 1.2 * rows + 0.7)
    figure = Figure(size, layout="constrained", dpi=110)
    axes = figure.subplots(rows, columns, squeeze=False)
    for axis in axes.flat:
        axis.set(xticks=[], yticks=[])
    return figure, axes


def _show(axis: Axes, picture: np.ndarray, title: str) -> None:
    axis.imshow(picture)
    axis.set_title(title, fontsize=8)


def _show_values(axis: Axes, view: RenderedView, title: str) -> None:
    """A rendered map with the raw values of its darkest and brightest colours."""
    low, high = view.value_range
    _show(axis, view.image, title)
    axis.set_xlabel(f"{low:.2g} to {high:.2g}", fontsize=7)


def _colors(names: Iterable[str]) -> dict[str, str]:
    """Grey for the baselines, a colour of its own for each other map."""
    rest = [name for name in names if name not in BASELINES]
    return dict.fromkeys(BASELINES, BASELINE_COLOR) | dict(zip(rest, MAP_COLORS * len(rest), strict=False))
