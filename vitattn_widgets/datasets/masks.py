"""Where the evidence is in a photo: masks, boxes as masks, and both on the pixels that the model saw."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy import ndimage

if TYPE_CHECKING:
    from ..images import CropBox


IGNORE = 255
"""The value of a mask's pixels that no measure counts."""


class Box(NamedTuple):
    """A rectangle in the upright photo. Its sides run along the edges of pixels: the first pixel is 0, 0, 1, 1.

    `counted` is False for what counts neither as evidence nor as background: VOC's difficult objects, COCO's crowds.
    """

    left: float
    top: float
    right: float
    bottom: float
    counted: bool = True


def box_mask(boxes: Sequence[Box], size: tuple[int, int]) -> np.ndarray:
    """Boxes as a mask of the pixels whose centres are in one.

    Args:
        boxes: of a photo.
        size: width and height of the photo.

    Returns:
        uint8 ``(height, width)``: 1 in a box, `IGNORE` in uncounted boxes only, 0 elsewhere.
    """
    mask = np.zeros(size[::-1], np.uint8)
    # counted boxes are drawn last, over the others
    for box in sorted(boxes, key=lambda box: box.counted):
        left, top, right, bottom = (max(math.ceil(edge - 0.5), 0) for edge in box[:4])
        mask[top:bottom, left:right] = 1 if box.counted else IGNORE
    return mask


def mask_on_view(mask: np.ndarray, crop_box: CropBox, size: tuple[int, int]) -> np.ndarray:
    """Bring a mask of the photo to the pixels that the model saw: resized and cropped as the photo was.

    Convention: nearest neighbour, like Pillow's resize: each pixel of the view takes the value under its centre; of two
    equally near ones, the right or lower.

    Args:
        mask: uint8, of the upright photo's size ``(height, width)``.
        crop_box: where the view is in the photo, ``capture.crop_box``.
        size: ``(height, width)`` of the view.

    Returns:
        uint8 of `size`; `IGNORE` where the view reaches beyond the photo.
    """
    left, top, right, bottom = crop_box
    rows = np.floor(top + (np.arange(size[0]) + 0.5) * (bottom - top) / size[0]).astype(int)
    cols = np.floor(left + (np.arange(size[1]) + 0.5) * (right - left) / size[1]).astype(int)
    height, width = mask.shape
    seen = mask[rows.clip(0, height - 1)][:, cols.clip(0, width - 1)]
    seen[(rows < 0) | (rows >= height)] = IGNORE
    seen[:, (cols < 0) | (cols >= width)] = IGNORE
    return seen


def mask_outline(mask: np.ndarray, width: float) -> np.ndarray:
    """The band along a mask's edge, as a mask: where a model that reads silhouettes would look.

    Convention: the pixels on either side of the edge that are at most `width` away from one on the other side. The
    picture's own frame is not an edge; ignored pixels count as outside but stay ignored.

    Args:
        mask: uint8 ``(H, W)``.
        width: of the band on each side of the edge, in pixels.

    Returns:
        uint8 ``(H, W)``: 1 on the band, `IGNORE` where the mask has it, else 0.
    """
    evidence = (mask != 0) & (mask != IGNORE)
    if evidence.all() or not evidence.any():
        return np.where(mask == IGNORE, mask, 0).astype(np.uint8)
    away = np.where(evidence, ndimage.distance_transform_edt(evidence), ndimage.distance_transform_edt(~evidence))
    return np.where(mask == IGNORE, IGNORE, away <= width).astype(np.uint8)
