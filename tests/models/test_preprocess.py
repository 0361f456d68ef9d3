"""What the model sees is what timm's own transform gives, and the crop box says where it is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import timm
import torch
from PIL import Image

import vitattn_widgets as va
from vitattn_widgets.models.preprocess import MAX_ASPECT, Preprocessing

from ..conftest import noise_photo

CENTER = Preprocessing((224, 224), "bicubic", 0.9, "center", (0.5,) * 3, (0.5,) * 3)
SQUASH = replace(CENTER, crop_mode="squash", crop_pct=1.0)
BORDER = replace(CENTER, crop_mode="border", crop_pct=1.0)
OBLONG = replace(CENTER, size=(96, 160))
SIZES = [(480, 640), (640, 480), (224, 224), (37, 91), (1, 1), (3000, 700)]


@pytest.mark.parametrize(
    "preprocessing", [CENTER, SQUASH, BORDER, OBLONG], ids=["center", "squash", "border", "oblong"]
)
@pytest.mark.parametrize("size", SIZES)
def test_view_and_tensor_equal_timms_own_transform(preprocessing: Preprocessing, size: tuple[int, int]) -> None:
    photo = Image.fromarray(noise_photo(size))
    transform = timm.data.create_transform(
        input_size=(3, *preprocessing.size),
        interpolation=preprocessing.interpolation,
        crop_pct=preprocessing.crop_pct,
        crop_mode=preprocessing.crop_mode,
        mean=preprocessing.mean,
        std=preprocessing.std,
    )
    view = preprocessing.view(photo)
    assert view.pixels.shape == (*preprocessing.size, 3)
    torch.testing.assert_close(preprocessing.tensor(view.pixels), transform(photo), rtol=0, atol=0)


@pytest.mark.parametrize(
    "preprocessing", [CENTER, SQUASH, OBLONG, BORDER], ids=["center", "squash", "oblong", "border"]
)
@pytest.mark.parametrize("size", [(480, 640), (640, 480), (901, 333)])
def test_the_crop_box_maps_view_pixels_to_the_photo(preprocessing: Preprocessing, size: tuple[int, int]) -> None:
    # a photo whose red is its x and whose green is its y, both smooth, shows where each view pixel came from
    height, width = size
    rows, cols = np.mgrid[0:height, 0:width]
    photo = np.stack([(cols + 0.5) / width * 250, (rows + 0.5) / height * 250, 0 * rows], -1).round().astype(np.uint8)
    view = preprocessing.view(Image.fromarray(photo))
    left, top, right, bottom = view.crop_box
    for row, col in [(40, 60), (20, 90), (80, 40)]:
        y = top + (row + 0.5) / preprocessing.size[0] * (bottom - top)
        x = left + (col + 0.5) / preprocessing.size[1] * (right - left)
        if 5 < x < width - 5 and 5 < y < height - 5:
            expected = [x / width * 250, y / height * 250]
            np.testing.assert_allclose(view.pixels[row, col, :2], expected, atol=1.5)


def test_the_crop_of_a_640_by_480_photo_is_the_one_measured_by_hand() -> None:
    box = CENTER.view(Image.fromarray(noise_photo((480, 640)))).crop_box
    np.testing.assert_allclose(box, [103, 23, 537, 457], atol=1)


@pytest.mark.parametrize("size", [(4, 30_000), (30_000, 4), (1, 2000)])
def test_an_extremely_long_photo_is_trimmed_centrally(size: tuple[int, int]) -> None:
    photo = noise_photo(size)
    view = CENTER.view(Image.fromarray(photo))
    left, top, right, bottom = view.crop_box
    assert view.pixels.shape == (224, 224, 3)
    np.testing.assert_allclose([(left + right) / 2, (top + bottom) / 2], [size[1] / 2, size[0] / 2], atol=1)
    assert 0.8 * min(size) < right - left < 1.0 * min(size)
    assert MAX_ASPECT * min(size) < max(size)


def test_pixels_beyond_the_last_whole_patch_are_not_shown_as_seen() -> None:
    # SigLIP's so400m models take 384 px and look at 27 x 27 patches of 14 px, which is 378
    module = timm.models.VisionTransformer(img_size=(50, 66), patch_size=16, embed_dim=12, depth=1, num_heads=2)
    photo = noise_photo((100, 132))
    model = va.load_model(module)
    capture = va.capture_attention(model, photo)
    view = model.preprocessing.view(va.load_picture(photo))
    assert capture.layout.grid == (3, 4)
    np.testing.assert_array_equal(capture.view, view.pixels[:48, :64])
    left, top, right, bottom = view.crop_box
    expected = (left, top, left + (right - left) * 64 / 66, top + (bottom - top) * 48 / 50)
    np.testing.assert_allclose(capture.crop_box, expected)
    assert va.render_view(capture).image.shape == (48, 64, 3)


def test_the_data_config_of_the_model_is_used() -> None:
    tiny = va.load_model("vit_tiny_patch16_224", pretrained=False).preprocessing
    assert (tiny.mean, tiny.std, tiny.crop_pct) == ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5), 0.9)
    deit = va.load_model("deit_tiny_patch16_224", pretrained=False).preprocessing
    assert deit.mean == timm.data.IMAGENET_DEFAULT_MEAN


def test_a_module_of_your_own_is_seen_at_the_size_it_was_made_for() -> None:
    module = timm.models.VisionTransformer(img_size=(48, 80), patch_size=16, embed_dim=12, depth=1, num_heads=2)
    assert va.load_model(module).preprocessing.size == (48, 80)
