"""What visitors cannot do to the page: bad files, values, clicks and uploads, generated from seeds."""

from __future__ import annotations

import io
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import vitattn_widgets as va
from vitattn_widgets.demo.clicks import follow_click
from vitattn_widgets.demo.controls import CONTROLS, Controls
from vitattn_widgets.demo.service import DemoService
from vitattn_widgets.demo.visitor import Visitor

from ..conftest import noise_photo
from .lab import MAX_UPLOAD, picture_file

pytest.importorskip("gradio")

from vitattn_widgets.demo.layout import uploaded_file


def encoded(seed: int, kind: str, size: tuple[int, int] = (40, 60), **options) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(noise_photo(size, seed)).save(stream, kind, **options)
    return stream.getvalue()


def bomb(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")

    header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([8, 2, 0, 0, 0])
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 99)) + chunk(b"IEND", b"")
    )


def bad_file(seed: int) -> bytes:
    """A file that must be refused."""
    rng = np.random.default_rng(seed)
    kind = str(rng.choice(["JPEG", "PNG", "WEBP", "GIF"]))
    match seed % 8:
        case 0:
            return encoded(seed, kind)[: int(rng.integers(1, 24))]
        case 1:
            whole = encoded(seed, "PNG")
            return whole[: int(rng.integers(60, len(whole) // 2))]
        case 2:
            return rng.bytes(int(rng.integers(1, 2000)))
        case 3:
            return bomb(int(rng.integers(3000, 2**31)), int(rng.integers(3000, 2**31)))
        case 4:
            return b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>' + rng.bytes(seed)
        case 5:
            return encoded(seed, "PNG", (500, 401 + seed))
        case 6:
            return b"\0" * (MAX_UPLOAD + 1 + seed)
    return b""


@pytest.mark.parametrize("seed", range(96))
def test_a_bad_file_gets_a_short_message_and_is_not_kept(
    service: DemoService, controls: Controls, tmp_path: Path, seed: int
) -> None:
    path = tmp_path / "upload"
    path.write_bytes(bad_file(seed))
    names = ["../../etc/passwd", "/etc/passwd", "a" * 500, "x\0y.png", "..\\..\\win.ini", "<b>.png", "", "photo.png"]
    before = service.take_sample(Visitor(), "chelsea", controls)
    for attempt in (
        lambda: service.bring(before.visitor, path, names[seed // 8 % 8], controls),
        lambda: service.map(path, names[seed // 8 % 8], controls),
    ):
        with pytest.raises(va.errors.PictureError) as caught:
            attempt()
        message = str(caught.value)
        assert len(message) < 400
        assert "\n" not in message
        assert str(tmp_path) not in message
        assert "etc/" not in message
    assert len(service.uploads) == 0
    again = service.change(before.visitor, controls)
    np.testing.assert_array_equal(again.rendered.image, before.rendered.image)


@pytest.mark.parametrize("seed", range(24))
def test_an_odd_but_whole_picture_is_shown(service: DemoService, controls: Controls, tmp_path: Path, seed: int) -> None:
    frames = [Image.fromarray(noise_photo((30, 40), seed + step)) for step in range(3)]
    path = tmp_path / "odd"
    match seed % 4:
        case 0:
            path.write_bytes(encoded(seed, "PNG", (50 + seed, 1)))
        case 1:
            path.write_bytes(encoded(seed, "PNG", (1, 3000 + seed)))
        case 2:
            frames[0].save(path, "GIF", save_all=True, append_images=frames[1:])
        case 3:
            frames[0].save(path, "WEBP", save_all=True, append_images=frames[1:], lossless=True)
    shown = service.bring(Visitor(), path, "odd", controls)
    assert shown.rendered.image.shape == shown.capture.view.shape


WRONG = (
    None,
    True,
    "",
    "x",
    "x" * 5000,
    -1e99,
    1e99,
    float("nan"),
    float("inf"),
    [],
    {},
    [[1]],
    {"a": 1},
    "9,9,9",
    "1,",
)


def wrong_control(seed: int) -> tuple[str, object]:
    """A control and a value that it cannot have."""
    names = [name for name in CONTROLS if name != "model"]
    name, value = names[seed % len(names)], WRONG[seed // len(names) % len(WRONG)]
    allowed = {
        "head": (None, ""),
        "query": (None, "", "x"),  # whether a named query exists is checked when it is drawn
        "smoothing": ([],),
        "target": (None, ""),
    }
    if any(value is good or value == good for good in allowed.get(name, ())):
        value = {"not": "possible"}
    return name, value


@pytest.mark.parametrize("seed", range((len(CONTROLS) - 1) * len(WRONG)))
def test_a_wrong_value_of_a_control_is_refused_in_one_short_line(
    service: DemoService, controls: Controls, tmp_path, seed: int
):
    name, value = wrong_control(seed)
    visit = service.take_sample(Visitor(), "chelsea", controls).visitor
    with pytest.raises(va.errors.SettingsError) as caught:
        service.change(visit, replace(controls, **{name: value}))
    assert len(str(caught.value)) < 400
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "chosen",
    [None, 3, "x", [], {}, {"row": 1}, {"row": -1, "col": 0}, {"row": 0, "col": 99}, {"row": "a", "col": {}},
     {"head": 77}, {"layer": 99, "head": 0}, {"sample": "../x"}, {"sample": None}, {"head": [1]}, {"use": "root"},
     {"add": 2}, {"add": [True]}, {"remove": 1}, {"remove": None}, {"view": "x" * 5000}, {"view": 0}, {"view": ["0"]}],
)  # fmt: skip
def test_a_made_up_click_is_refused(service: DemoService, controls: Controls, chosen) -> None:
    visit = service.take_sample(Visitor(), "chelsea", controls).visitor
    with pytest.raises((va.errors.SettingsError, va.errors.PictureError)):
        follow_click(service, visit, chosen, controls)


@pytest.mark.parametrize("changed", [{"layer": 99}, {"head": 9}, {"query": "dist"}, {"query": "99,0"}])
def test_programs_get_what_they_ask_for_or_an_error(
    service: DemoService, controls: Controls, tmp_path: Path, changed
) -> None:
    with pytest.raises(va.errors.SettingsError, match="does not exist"):
        service.map(picture_file(tmp_path), "photo.png", replace(controls, **changed))
    assert len(service.uploads) == len(service.store) == 0


@pytest.mark.parametrize(
    "payload",
    [None, "", "photo.png", 3, [], {}, {"path": None}, {"path": "/etc/passwd"}, {"path": "a\0b"}, {"path": ["x"]},
     {"path": "../../etc/passwd"}, {"path": "http://127.0.0.1/x.png"}, {"path": ""}],
)  # fmt: skip
def test_what_is_no_upload_is_refused(payload) -> None:
    with pytest.raises(va.errors.PictureError):
        uploaded_file(payload)
