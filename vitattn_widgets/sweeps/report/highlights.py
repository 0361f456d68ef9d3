"""The photos of a sweep that an expert should look at first: pictures, and the reasons in words."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from ...capture.capture import AttentionCapture
from ...capture.forward import capture_attention
from ...errors import PictureError
from ...view.render import render_view
from ...view.settings import ViewSettings
from ..photos import plain_text
from .html import percent

if TYPE_CHECKING:
    from pandas import DataFrame, Series

    from ...datasets.photos import PhotoSet
    from ...models.loading import AttentionModel
    from ..result import SweepResult

SIDE = 256
"""Longest side of a picture in the report, in pixels."""

SIGNS = {"border_share_without_sinks": "on the border", "flat_share_without_sinks": "on flat ground"}
"""The measures that make a photo worth a look, and their names in a reason."""

HIGH = 0.9
"""A share counts as a reason if more than this part of the set has less."""


@dataclass(frozen=True)
class Highlight:
    """One photo to look at.

    Attributes:
        photo: its name.
        label: its class; empty if unknown.
        predicted: predicted class; empty without a classifier.
        confidence: 0..1.
        right: whether the prediction is the photo's class; None if the model has no such class.
        reasons: for looking at it, one phrase each.
        view: JPEG of what the model saw.
        overlay: JPEG of the map over the view.
        caption: what exactly the map is.
    """

    photo: str
    label: str
    predicted: str
    confidence: float
    right: bool | None
    reasons: tuple[str, ...]
    view: bytes
    overlay: bytes
    caption: str


def draw_highlights(model: AttentionModel, photos: PhotoSet, result: SweepResult, count: int) -> list[Highlight]:
    """Capture and draw the first photos of `look_first`, each with one more forward pass.

    A photo that can no longer be read is skipped.
    """
    table = result.of_layer()
    layer = result.layers[-1]
    settings = ViewSettings(  # the median would remove single patches that were measured
        layer=layer,
        median=False,
        gaussian=False,
        opacity=0.6,
        aggregation=result.state.identity["options"]["aggregation"],
        sinks="leave_out" if result.sinks(layer).any() else "show",
    )
    place = {plain_text(name): index for index, name in enumerate(photos.names)}
    highlights: list[Highlight] = []
    for _, line in table.sort_values("look_first").iterrows():
        if len(highlights) >= count:
            break
        try:
            capture = capture_attention(model, photos.load(place[line["photo"]]))
        except PictureError:
            continue
        highlights.append(_draw(capture, line, reasons(table, line), settings))
    return highlights


def reasons(table: DataFrame, line: Series) -> tuple[str, ...]:
    """Why a photo deserves a look: the shares of its map that few others reach.

    Args:
        table: one row per photo, of one layer.
        line: one of these rows.
    """
    below = {sign: float((table[sign] < line[sign]).mean()) for sign in SIGNS}
    highest = max(below, key=lambda sign: below[sign])
    return tuple(
        f"{percent(line[sign])} {words}, more than {int(100 * below[sign])}% of the set"
        for sign, words in SIGNS.items()
        if sign == highest or below[sign] > HIGH
    )


def _draw(capture: AttentionCapture, line: Series, why: tuple[str, ...], settings: ViewSettings) -> Highlight:
    import pandas

    rendered = render_view(capture, settings)
    texts = {name: "" if pandas.isna(line[name]) else str(line[name]) for name in ("label", "predicted")}
    return Highlight(
        photo=line["photo"],
        confidence=float(line["confidence"]),
        right=None if pandas.isna(line["right"]) else bool(line["right"]),
        reasons=why,
        view=small_jpeg(capture.view),
        overlay=small_jpeg(rendered.image),
        caption=rendered.caption,
        **texts,
    )


def small_jpeg(picture: np.ndarray) -> bytes:
    """The JPEG file of a picture, reduced to `SIDE` pixels."""
    small = Image.fromarray(picture)
    small.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    stream = io.BytesIO()
    small.save(stream, "JPEG", quality=82, optimize=True)
    return stream.getvalue()
