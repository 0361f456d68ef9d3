"""Writing results: whole files or none, and raw maps that NumPy alone can read."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import vitattn_widgets as va
from vitattn_widgets import files

from .conftest import noise_photo


@pytest.mark.parametrize("suffix", [".png", ".PNG", ".webp", ".jpg"])
def test_pictures_are_encoded_by_suffix(suffix: str) -> None:
    image = noise_photo((8, 9))
    again = Image.open(io.BytesIO(files.picture_bytes(image, suffix)))
    assert again.format == {".jpg": "JPEG"}.get(suffix.lower(), suffix[1:].upper())
    if suffix.lower() == ".png":
        np.testing.assert_array_equal(np.asarray(again), image)


def test_a_raw_map_is_read_back_without_pickle(wide_capture: va.capture.AttentionCapture) -> None:
    rendered = va.render_view(wide_capture)
    with np.load(io.BytesIO(files.map_bytes(wide_capture, rendered)), allow_pickle=False) as found:
        np.testing.assert_array_equal(found["grid_map"], rendered.grid_map)
        np.testing.assert_array_equal(found["heat"], rendered.heat)
        assert tuple(found["value_range"]) == rendered.value_range
        assert tuple(found["crop_box"]) == wide_capture.crop_box
        assert str(found["caption"]) == rendered.caption


def test_a_file_is_replaced_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "out.png"
    files.write_file(path, b"old")
    files.write_file(path, b"new")
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "out.png"
    files.write_file(path, b"old")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(va.errors.SettingsError, match=r"out\.png: could not be written \(No space left on device\)"):
        files.write_file(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("name", "words"),
    [("out.bmp", "possible: .png"), ("none/out.png", "does not exist"), ("folder.png", "is a folder")],
)
def test_an_output_that_cannot_be_written_is_told_before_any_work(tmp_path: Path, name: str, words: str) -> None:
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(va.errors.SettingsError, match=words):
        files.check_writable(tmp_path / name, tuple(files.PICTURE_FORMATS))
