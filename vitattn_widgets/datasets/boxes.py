"""A box around the evidence of a photo, and boxes drawn as a mask."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ..measures import IGNORE


class Box(NamedTuple):
    """A rectangle in pixels of the upright photo; its sides are edges of pixels: the first pixel is 0, 0, 1, 1.

    `counted` is False for what its maker wants counted neither way: VOC's difficult objects, COCO's crowds.
    """

    left: float
    top: float
    right: float
    bottom: float
    counted: bool = True


def box_mask(boxes: Sequence[Box], size: tuple[int, int]) -> np.ndarray:
    """Boxes as a mask: the pixels whose centres lie in one.

    Args:
        boxes: of a photo.
        size: width and height of the photo.

    Returns:
        uint8 ``(height, width)``: 1 in a box, `IGNORE` in one that is not counted alone, 0 elsewhere.
    """
    mask = np.zeros(size[::-1], np.uint8)
    for box in sorted(boxes, key=lambda box: box.counted):
        left, top, right, bottom = (max(math.ceil(edge - 0.5), 0) for edge in box[:4])
        mask[top:bottom, left:right] = 1 if box.counted else IGNORE
    return mask
