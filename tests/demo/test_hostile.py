"""What visitors cannot do to the page: bad files and values, generated from seeds."""

from __future__ import annotations

import io
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import vitattn_widgets as va
from vitattn_widgets.demo.controls import DEFAULTS, Choice
from vitattn_widgets.demo.service import DemoService

from ..conftest import noise_photo
from .lab import MAX_UPLOAD, SAMPLE, picture_file
from .test_service import upload

pytest.importorskip("gradio")

from vitattn_widgets.demo.api import uploaded_file


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
    service: DemoService, wide_model: va.models.AttentionModel, tmp_path: Path, seed: int
) -> None:
    path = tmp_path / "upload"
    path.write_bytes(bad_file(seed))
    names = ["../../etc/passwd", "/etc/passwd", "a" * 500, "x\0y.png", "..\\..\\win.ini", "<b>.png", "", "photo.png"]
    name = names[seed // 8 % 8]
    for attempt in (
        lambda: upload(service, path.read_bytes(), name),
        lambda: service.map(path, name, wide_model.name, {}),
    ):
        with pytest.raises(va.errors.PictureError) as caught:
            attempt()
        message = str(caught.value)
        assert len(message) < 400
        assert "\n" not in message
        assert str(tmp_path) not in message
        assert "etc/" not in message
    assert len(service.uploads) == 0
    assert list(service.uploads._folder.path.iterdir()) == []


@pytest.mark.parametrize("seed", range(24))
def test_an_odd_but_whole_picture_has_a_capsule(service: DemoService, wide_model, tmp_path: Path, seed: int) -> None:
    frames = [Image.fromarray(noise_photo((30, 40), seed + step)) for step in range(3)]
    stream = io.BytesIO()
    match seed % 4:
        case 0:
            frames[0].resize((1, 50 + seed)).save(stream, "PNG")
        case 1:
            frames[0].resize((3000 + seed, 1)).save(stream, "PNG")
        case 2:
            frames[0].save(stream, "GIF", save_all=True, append_images=frames[1:])
        case 3:
            frames[0].save(stream, "WEBP", save_all=True, append_images=frames[1:], lossless=True)
    assert service.capsule(wide_model, upload(service, stream.getvalue()))


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


def wrong_value(seed: int) -> tuple[str, object]:
    """A setting and a value that it cannot have."""
    name, value = list(DEFAULTS)[seed % len(DEFAULTS)], WRONG[seed // len(DEFAULTS) % len(WRONG)]
    allowed = {"head": (None, ""), "query": (None, ""), "smoothing": ([], ""), "target": (None, "")}
    if any(value is good or value == good for good in allowed.get(name, ())):
        value = {"not": "possible"}
    return name, value


@pytest.mark.parametrize("seed", range(len(DEFAULTS) * len(WRONG)))
def test_a_wrong_value_is_refused_in_one_short_line(service: DemoService, wide_model, tmp_path, seed: int) -> None:
    name, value = wrong_value(seed)
    with pytest.raises(va.errors.SettingsError) as caught:
        service.check(wide_model, SAMPLE, Choice().with_value(name, value, wide_model.class_names))
    assert len(str(caught.value)) < 400
    assert "\n" not in str(caught.value)
    with pytest.raises(va.errors.SettingsError):
        service.map(picture_file(tmp_path), "photo.png", wide_model.name, {name: value})
    assert len(service.uploads) == 0


@pytest.mark.parametrize(
    "payload",
    [None, "", "photo.png", 3, [], {}, {"path": None}, {"path": "/etc/passwd"}, {"path": "a\0b"}, {"path": ["x"]},
     {"path": "../../etc/passwd"}, {"path": "http://127.0.0.1/x.png"}, {"path": ""}],
)  # fmt: skip
def test_what_is_no_upload_is_refused(payload) -> None:
    with pytest.raises(va.errors.PictureError):
        uploaded_file(payload)
