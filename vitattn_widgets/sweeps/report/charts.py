"""The figures of a sweep's report as SVG: mean maps on one scale, and histograms of two groups, back to back."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
from PIL import Image

from ...view.drawing import DEFAULT_CMAP, color_map, css_colors, scale_map
from ...view.encode import data_url

BINS = 24
"""Bars of a histogram."""

WIDTH, HALF = 640, 96
"""Width of a figure of histograms and height of each half, in SVG units."""

SCALE_PERCENTILE = 99.0
"""Percentile of all values, except those of sinks, that the brightest colour of mean maps stands for."""

MIN_TOP = 2.0
"""Smallest value of the brightest colour, in times the average patch, so that nearly uniform maps look uniform."""


@dataclass(frozen=True)
class MapScale:
    """One scale for several mean maps, in times the average patch.

    Attributes:
        top: value of the brightest colour; the darkest is 0.
        clipped: some values are above `top`.
    """

    top: float
    clipped: bool

    @classmethod
    def of(cls, maps: Sequence[np.ndarray], sinks: np.ndarray) -> MapScale:
        """The scale of maps in times the average patch; sinks are ignored, as they would make all else black."""
        values = np.stack(maps)
        counted = values[:, ~sinks] if not sinks.all() else values
        top = max(float(np.percentile(counted, SCALE_PERCENTILE)), MIN_TOP)
        return cls(top, bool(values.max() > top * 1.005))


def map_tile(relative: np.ndarray, scale: MapScale, sinks: np.ndarray, words: str) -> str:
    """One mean map, one square per patch, with the sinks framed.

    Args:
        relative: ``(rows, cols)``, in times the average patch.
        scale: shared by all tiles.
        sinks: bool ``(rows, cols)``.
        words: text alternative for screen readers.
    """
    rows, cols = relative.shape
    stream = io.BytesIO()
    Image.fromarray(color_map(scale_map(relative, (0.0, scale.top)))).save(stream, "PNG", optimize=True)
    frames = "".join(
        f'<rect x="{col + 0.2}" y="{row + 0.2}" width="0.6" height="0.6" class="{line}"/>'
        for row, col in np.argwhere(sinks)
        for line in ("under sink", "sink")
    )
    return (
        f'<svg viewBox="0 0 {cols} {rows}" role="img" aria-label="{escape(words)}" class="map">'
        f'<image href="{data_url(stream.getvalue(), "image/png")}" width="{cols}" height="{rows}" '
        f'preserveAspectRatio="none"/>{frames}</svg>'
    )


def color_bar(scale: MapScale) -> str:
    """The colours of all tiles with their values."""
    colors = css_colors(DEFAULT_CMAP)
    one = 100 / scale.top
    mark = f'<span style="left:{one:.2f}%">1, uniform</span>' if one > 8 else ""
    top = f"{scale.top:.1f}{' or more' if scale.clipped else ''}"
    return (
        f'<div class="bar"><div class="colors" style="background:linear-gradient(90deg,{colors})"></div>'
        f'<div class="ticks"><span style="left:0">0</span>{mark}<span style="right:0">{top}</span></div>'
        "<p>attention of a patch, in times the average patch of its map</p></div>"
    )


@dataclass(frozen=True)
class Group:
    """Values of some photos, as one half of a figure.

    Attributes:
        words: name of the group.
        values: float ``(photos,)``, finite.
        name: CSS class of the colour.
    """

    words: str
    values: np.ndarray
    name: str


def mirrored(above: Group, below: Group, unit: str, uniform: float | None = None) -> str:
    """Histograms of two groups back to back, each as shares of its own photos, with their means.

    Args:
        above: drawn upwards.
        below: drawn downwards.
        unit: name of the quantity.
        uniform: value of a uniform map, drawn as a dashed line.
    """
    top = _round_up(max(float(group.values.max()) for group in (above, below)))
    edges = np.linspace(0, top, BINS + 1)
    shares = [np.histogram(group.values, edges)[0] / len(group.values) for group in (above, below)]
    highest = max(float(share.max()) for share in shares)
    left, right, middle = 8, WIDTH - 8, HALF + 26
    step = (right - left) / BINS

    def across(value: float) -> float:
        return left + (right - left) * min(value, top) / top

    parts = [f'<line x1="{left}" x2="{right}" y1="{middle}" y2="{middle}" class="axis"/>']
    for group, share, sign in ((above, shares[0], -1), (below, shares[1], 1)):
        for place, value in enumerate(share):
            height = HALF * value / highest
            y = middle - height if sign < 0 else middle
            parts.append(
                f'<rect x="{left + place * step + 0.75:.2f}" y="{y:.2f}" width="{step - 1.5:.2f}" '
                f'height="{height:.2f}" class="{group.name}"/>'
            )
        mean = float(group.values.mean())
        end = middle + sign * (HALF + 6)
        anchor = "start" if across(mean) < WIDTH / 2 else "end"
        shift = 5 if anchor == "start" else -5
        photos = f"{len(group.values):,} photo{'' if len(group.values) == 1 else 's'}"
        x = across(mean)
        parts.append(
            f'<line x1="{x:.2f}" x2="{x:.2f}" y1="{middle}" y2="{end}" class="mean {group.name}"/>'
            f'<text x="{x + shift:.2f}" y="{end + (10 if sign > 0 else 0)}" text-anchor="{anchor}">'
            f"<tspan class='{group.name} strong'>{escape(group.words)}</tspan> {photos}, mean {mean:.2f}</text>"
        )
    bottom = middle + HALF + 24
    if uniform is not None and uniform < top:
        x = across(uniform)
        parts.append(
            f'<line x1="{x:.2f}" x2="{x:.2f}" y1="{middle - HALF}" y2="{bottom}" class="uniform"/>'
            f'<text x="{x:.2f}" y="{bottom + 38}" text-anchor="middle" class="faint">uniform map {uniform:.2f}</text>'
        )
    for value in np.linspace(0, top, 5):
        anchor = "start" if value == 0 else "end" if value == top else "middle"
        parts.append(f'<text x="{across(value):.2f}" y="{bottom + 16}" text-anchor="{anchor}">{value:.2g}</text>')
    words = f"{unit}: {above.words}, mean {above.values.mean():.2f}; {below.words}, mean {below.values.mean():.2f}"
    return (
        f'<svg viewBox="0 0 {WIDTH} {bottom + 44}" role="img" aria-label="{escape(words)}" class="plot">'
        f"{''.join(parts)}</svg>"
    )


def _round_up(value: float) -> float:
    """The next multiple of 0.2, for round ticks; at most 1."""
    return float(min(1.0, max(0.2, np.ceil(value / 0.2 - 1e-9) * 0.2)))
