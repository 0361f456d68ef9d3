"""Ways to arrange a map and its photo: overlaid, alone, side by side, at a screen's size."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from PIL import Image

from ..capture.capture import AttentionCapture
from ..errors import SettingsError
from .drawing import crop_slices, draw_frame
from .render import RenderedView, render_view
from .settings import ViewSettings

ARRANGEMENTS = ("overlay", "map", "side by side")

SCREEN_SIDE = 1024
"""Longest side in pixels of a photo on a screen; larger ones are scaled down before drawing."""


def render_arranged(
    capture: AttentionCapture, settings: ViewSettings | None = None, arrangement: str = "overlay"
) -> RenderedView:
    """`render_view`, laid over the photo, alone, or beside the photo.

    Args:
        capture: from `capture_attention`.
        settings: what to show.
        arrangement: ``"overlay"``; ``"map"``, which has opacity 1; or ``"side by side"``, the photo left of that map.

    Returns:
        What `render_view` returns; side by side, its image is uint8 ``(H, 2 W + gap, 3)``.

    Raises:
        SettingsError: an unknown arrangement, or a layer, head or query that this capture does not have.
    """
    settings = arranged_settings(settings or ViewSettings(), arrangement)
    rendered = render_view(capture, settings)
    if arrangement != "side by side":
        return rendered
    photo = capture.view
    if settings.on != "view":
        photo = draw_frame(capture.source, crop_slices(capture.crop_box, capture.source.shape[:2]))
    gap = np.full((len(photo), _gap(photo.shape[1]), 3), 255, np.uint8)
    return replace(rendered, image=np.hstack([photo, gap, rendered.image]))


def arranged_settings(settings: ViewSettings, arrangement: str) -> ViewSettings:
    """The settings of the map in an arrangement: unless it is an overlay, no photo shows through, so opacity is 1."""
    if arrangement not in ARRANGEMENTS:
        raise SettingsError(f"arrangement {arrangement!r} does not exist; possible: {', '.join(ARRANGEMENTS)}")
    return settings if arrangement == "overlay" else replace(settings, opacity=1.0)


def ground(capture: AttentionCapture, settings: ViewSettings) -> np.ndarray:
    """The picture that maps are laid over, uint8 ``(H, W, 3)``: what the model saw, or the whole photo."""
    return capture.view if settings.on == "view" else capture.source


def _gap(width: int) -> int:
    return max(2, round(width / 40))


def screen_capture(capture: AttentionCapture, longest: int = SCREEN_SIDE) -> AttentionCapture:
    """The same capture with its photo scaled down to a screen's size; the model's view is unchanged.

    Args:
        capture: from `capture_attention`.
        longest: longest side of the photo in pixels.
    """
    height, width = capture.source.shape[:2]
    factor = longest / max(height, width)
    if factor >= 1:
        return capture
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    small = Image.fromarray(capture.source).resize(size, Image.Resampling.BOX, reducing_gap=2.0)
    # not `factor` itself: sizes are whole pixels
    scale_x, scale_y = size[0] / width, size[1] / height
    left, top, right, bottom = capture.crop_box
    box = (left * scale_x, top * scale_y, right * scale_x, bottom * scale_y)
    return replace(capture, source=np.array(small), crop_box=box)
