"""Encoding pictures and maps: every file type by its suffix, and raw maps that NumPy alone can read."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

import vitattn_widgets as va
from vitattn_widgets.view import encode

from ..conftest import noise_photo


@pytest.mark.parametrize("suffix", [".png", ".PNG", ".webp", ".jpg"])
def test_pictures_are_encoded_by_suffix(suffix: str) -> None:
    image = noise_photo((8, 9))
    again = Image.open(io.BytesIO(encode.picture_bytes(image, suffix)))
    assert again.format == {".jpg": "JPEG"}.get(suffix.lower(), suffix[1:].upper())
    if suffix.lower() == ".png":
        np.testing.assert_array_equal(np.asarray(again), image)


def test_a_raw_map_is_read_back_without_pickle(wide_capture: va.capture.AttentionCapture) -> None:
    rendered = va.render_view(wide_capture)
    with np.load(io.BytesIO(encode.map_bytes(wide_capture, rendered)), allow_pickle=False) as found:
        np.testing.assert_array_equal(found["grid_map"], rendered.grid_map)
        np.testing.assert_array_equal(found["heat"], rendered.heat)
        assert tuple(found["value_range"]) == rendered.value_range
        assert tuple(found["crop_box"]) == wide_capture.crop_box
        assert str(found["caption"]) == rendered.caption
