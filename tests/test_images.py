"""Reading photos: every ordinary kind becomes upright and RGB, every bad one raises one clear message."""

from __future__ import annotations

import io
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import vitattn_widgets as va
from vitattn_widgets.images import MAX_PIXELS, load_reduced

from .conftest import noise_photo


def gradient(size: tuple[int, int] = (40, 60)) -> np.ndarray:
    """A smooth picture, so that lossy formats keep it: red grows to the right, green downwards."""
    rows, cols = np.mgrid[0 : size[0], 0 : size[1]]
    return np.stack([cols * 255 // size[1], rows * 255 // size[0], np.full(size, 100)], -1).astype(np.uint8)


@pytest.mark.parametrize(
    ("suffix", "tolerance"), [("png", 0), ("jpg", 6), ("webp", 8), ("bmp", 0), ("tif", 0), ("ppm", 0)]
)
def test_common_formats_are_read(tmp_path: Path, suffix: str, tolerance: int) -> None:
    path = tmp_path / f"photo.{suffix}"
    Image.fromarray(gradient()).save(path, quality=98)
    found = np.asarray(va.load_picture(path)).astype(int)
    assert np.abs(found - gradient()).max() <= tolerance


def test_the_format_is_recognised_by_content_and_not_by_name(tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    Image.fromarray(gradient()).save(path, "PNG")
    np.testing.assert_array_equal(np.asarray(va.load_picture(path)), gradient())


def test_a_pure_red_photo_stays_red(tmp_path: Path) -> None:
    path = tmp_path / "red.png"
    Image.new("RGB", (8, 8), (255, 0, 0)).save(path)
    np.testing.assert_array_equal(np.asarray(va.load_picture(str(path)))[0, 0], [255, 0, 0])


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_rotation_is_honoured(tmp_path: Path, orientation: int) -> None:
    stored = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.swapaxes(0, 1),
        6: lambda a: np.rot90(a, 1),
        7: lambda a: a.swapaxes(0, 1)[::-1, ::-1],
        8: lambda a: np.rot90(a, -1),
    }[orientation](gradient())
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "turned.png"
    Image.fromarray(np.ascontiguousarray(stored)).save(path, exif=exif)
    np.testing.assert_array_equal(np.asarray(va.load_picture(path)), gradient())


def test_the_first_frame_of_an_animation_counts(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (8, 8), color) for color in ("red", "blue")]
    path = tmp_path / "two.gif"
    frames[0].save(path, save_all=True, append_images=frames[1:])
    np.testing.assert_array_equal(np.asarray(va.load_picture(path))[0, 0], [255, 0, 0])


def test_a_phones_multi_picture_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "phone.jpg"
    Image.fromarray(gradient()).save(path, "MPO", save_all=True, append_images=[Image.new("RGB", (9, 9))], quality=98)
    assert np.abs(np.asarray(va.load_picture(path)).astype(int) - gradient()).max() <= 6


def test_transparency_lies_on_white() -> None:
    rgba = np.zeros((2, 3, 4), np.uint8)
    rgba[0] = [0, 0, 255, 255]
    rgba[1] = [10, 20, 30, 0]
    for picture in (rgba, Image.fromarray(rgba)):
        found = np.asarray(va.load_picture(picture))
        np.testing.assert_array_equal(found[0, 0], [0, 0, 255])
        np.testing.assert_array_equal(found[1, 0], [255, 255, 255])


def test_a_transparent_palette_lies_on_white(tmp_path: Path) -> None:
    picture = Image.new("P", (4, 4), 0)
    picture.putpalette([255, 0, 0, 0, 255, 0])
    picture.putpixel((1, 1), 1)
    path = tmp_path / "palette.png"
    picture.save(path, transparency=0)
    found = np.asarray(va.load_picture(path))
    np.testing.assert_array_equal(found[0, 0], [255, 255, 255])
    np.testing.assert_array_equal(found[1, 1], [0, 255, 0])


def test_cmyk_black_and_white_and_grey_are_read(tmp_path: Path) -> None:
    Image.fromarray(gradient()).convert("CMYK").save(tmp_path / "cmyk.jpg", quality=98)
    assert np.abs(np.asarray(va.load_picture(tmp_path / "cmyk.jpg")).astype(int) - gradient()).mean() < 4
    for picture in (Image.new("1", (4, 4), 1), Image.new("L", (4, 4), 255), np.full((4, 4), 255, np.uint8)):
        np.testing.assert_array_equal(np.asarray(va.load_picture(picture)), 255)


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_16_bit_greys_are_scaled_and_not_clipped(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"deep.{suffix}"
    Image.fromarray(np.array([[0, 257 * 200, 65535]], np.uint16)).save(path)
    np.testing.assert_array_equal(np.asarray(va.load_picture(path))[0, :, 0], [0, 200, 255])


def test_float_greys_of_0_to_1_are_scaled(tmp_path: Path) -> None:
    path = tmp_path / "float.tif"
    Image.fromarray(np.array([[0, 0.5, 1]], np.float32)).save(path)
    np.testing.assert_array_equal(np.asarray(va.load_picture(path))[0, :, 0], [0, 128, 255])


def test_the_picture_given_is_not_changed_and_not_shared() -> None:
    array = noise_photo((4, 4))
    copy = array.copy()
    picture = va.load_picture(array)
    picture.putpixel((0, 0), (0, 0, 0))
    np.testing.assert_array_equal(array, copy)


def truncated_png(path: Path) -> None:
    stream = io.BytesIO()
    Image.fromarray(noise_photo((64, 64))).save(stream, "PNG")
    path.write_bytes(stream.getvalue()[:3000])


def truncated_jpeg(path: Path) -> None:
    stream = io.BytesIO()
    Image.fromarray(noise_photo((64, 64))).save(stream, "JPEG")
    path.write_bytes(stream.getvalue()[:2000])


def bomb(path: Path) -> None:
    """A PNG of a few bytes that claims 60,000 x 60,000 pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        body = kind + data
        return len(data).to_bytes(4, "big") + body + zlib.crc32(body).to_bytes(4, "big")

    header = (60_000).to_bytes(4, "big") * 2 + bytes([8, 2, 0, 0, 0])
    data = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + data)


def just_too_large(path: Path) -> None:
    Image.new("1", (10_000, MAX_PIXELS // 10_000 + 1)).save(path)


BAD_FILES = {
    "empty.png": (lambda path: path.write_bytes(b""), "empty"),
    "text.jpg": (lambda path: path.write_text("not a picture"), "not a picture"),
    "vector.svg": (lambda path: path.write_text("<svg xmlns='http://www.w3.org/2000/svg'/>"), "not a picture"),
    "page.eps": (lambda path: path.write_text("%!PS-Adobe-3.0 EPSF-3.0\n"), "not a picture"),
    "half.png": (truncated_png, "damaged or truncated"),
    "half.jpg": (truncated_jpeg, "damaged or truncated"),
    "bomb.png": (bomb, "more than 80,000,000 pixels"),
    "large.png": (just_too_large, "more than 80,000,000 pixels"),
    "folder.png": (lambda path: path.mkdir(), "is a folder"),
    "missing.png": (lambda path: None, "no such file"),
}


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("name", BAD_FILES)
def test_a_bad_file_is_reported_by_name_and_reason(tmp_path: Path, name: str) -> None:
    make, reason = BAD_FILES[name]
    make(tmp_path / name)
    with pytest.raises(va.errors.PictureError, match=reason) as caught:
        va.load_picture(tmp_path / name)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_damaged_bytes_never_raise_anything_but_a_picture_error(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    path = tmp_path / "damaged"
    outcomes = set()
    for kind in ("PNG", "JPEG", "GIF", "TIFF", "WEBP", "BMP"):
        stream = io.BytesIO()
        Image.fromarray(gradient()).save(stream, kind)
        for _ in range(40):
            data = bytearray(stream.getvalue())
            for position in rng.integers(0, len(data), rng.integers(0, 4)):
                data[position] = rng.integers(0, 256)
            path.write_bytes(bytes(data[: rng.integers(1, len(data))] if rng.random() < 0.5 else data))
            try:
                outcomes.add(va.load_picture(path).mode)
            except va.errors.PictureError:
                outcomes.add("refused")
    assert outcomes == {"RGB", "refused"}


@pytest.mark.parametrize(
    ("picture", "words"),
    [
        (np.zeros((4, 4, 3), np.float32), "must be uint8"),
        (np.zeros((4, 4, 2), np.uint8), "must have shape"),
        (np.zeros((2, 4, 4, 3), np.uint8), "must have shape"),
        (np.zeros((0, 4, 3), np.uint8), "must have shape"),
        (3, "must be a path, a PIL picture or a uint8 array, got int"),
        (None, "got NoneType"),
        (b"bytes", "got bytes"),
    ],
)
def test_other_things_than_pictures_are_refused(picture: object, words: str) -> None:
    with pytest.raises(va.errors.PictureError, match=words):
        va.load_picture(picture)


def test_a_jpeg_is_read_reduced_and_upright(tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6  # shown after a quarter turn
    Image.fromarray(gradient((800, 1200))).save(path, exif=exif)
    assert load_reduced(path, 192).size == (200, 300)
    assert load_reduced(path, 900).size == (800, 1200)
    Image.fromarray(gradient((800, 1200))).save(tmp_path / "photo.png")
    assert load_reduced(tmp_path / "photo.png", 192).size == (1200, 800)


def test_reading_reduced_says_what_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "text.jpg").write_text("no picture")
    with pytest.raises(va.errors.PictureError, match="not a picture of a known type"):
        load_reduced(tmp_path / "text.jpg", 192)
    with pytest.raises(va.errors.PictureError, match="no such file"):
        load_reduced(tmp_path / "missing.jpg", 192)


@pytest.mark.parametrize("name", ["x" * 5000 + ".jpg", "a\0b.jpg"], ids=["too long", "null"])
def test_a_name_that_no_file_can_have_is_reported(name: str) -> None:
    with pytest.raises(va.errors.PictureError, match="is not the name of a file"):
        va.load_picture(name)
