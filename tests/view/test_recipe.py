"""Recipes and shown code make the same picture again, or say what does not fit."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from timm import create_model
from timm.models.vision_transformer import VisionTransformer

import vitattn_widgets as va
from vitattn_widgets.view.recipe import FORMAT, pixel_digest, python_code

ARCHITECTURE = "vit_tiny_patch16_224"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    save_file(create_model(ARCHITECTURE, num_classes=5).state_dict(), path)
    return path


@pytest.fixture(scope="module")
def model(checkpoint):
    return va.load_model(ARCHITECTURE, checkpoint=checkpoint, class_names=list("abcde"), img_size=(64, 96))


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "photo.png"
    Image.fromarray(np.random.default_rng(1).integers(0, 256, (100, 120, 3), np.uint8)).save(path)
    return path


@pytest.fixture
def capture(model, photo):
    return va.capture_attention(model, photo)


SETTINGS = va.ViewSettings(layer=7, head=2, query=(3, 5), gaussian=False, opacity=0.25, cmap="viridis", on="original")


@pytest.mark.parametrize("arrangement", va.view.ARRANGEMENTS)
def test_a_recipe_file_makes_the_same_picture_with_its_own_model_and_photo(
    model, capture, photo, tmp_path, arrangement
):
    wanted = va.view.render_arranged(capture, SETTINGS, arrangement)
    path = tmp_path / "picture.json"
    path.write_text(json.dumps(va.view.make_recipe(model, capture, wanted.settings, arrangement, photo)))
    again = va.from_recipe(path)
    assert np.array_equal(again.image, wanted.image)
    assert again.settings == wanted.settings
    assert again.caption == wanted.caption


def test_a_photo_that_moved_along_with_its_recipe_is_found(model, capture, photo, tmp_path):
    recipe = va.view.make_recipe(model, capture, SETTINGS, path=photo)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    photo.rename(elsewhere / photo.name)
    (elsewhere / "r.json").write_text(json.dumps(recipe))
    again = va.from_recipe(elsewhere / "r.json", model=model)
    assert np.array_equal(again.image, va.render_view(capture, SETTINGS).image)


@pytest.mark.parametrize("arrangement", va.view.ARRANGEMENTS)
def test_the_shown_code_has_five_lines_and_makes_the_same_picture(model, capture, photo, arrangement):
    code = python_code(model, SETTINGS, arrangement, photo)
    assert len(code.splitlines()) == 5
    names = {}
    exec(code, names)
    assert np.array_equal(names["picture"].image, va.view.render_arranged(capture, SETTINGS, arrangement).image)


def test_another_photo_under_the_same_path_is_refused(model, capture, photo):
    recipe = va.view.make_recipe(model, capture, SETTINGS, path=photo)
    Image.new("RGB", (120, 100), "red").save(photo)
    with pytest.raises(va.errors.RecipeError, match="pixels differ"):
        va.from_recipe(recipe, model=model)


def test_another_model_is_refused(model, capture, photo):
    recipe = va.view.make_recipe(model, capture, SETTINGS, path=photo)
    other = va.load_model(VisionTransformer(img_size=(32, 48), patch_size=8, embed_dim=24, depth=3, num_heads=3).eval())
    with pytest.raises(va.errors.RecipeError, match="its name is 'VisionTransformer'"):
        va.from_recipe(recipe, model=other)


def test_another_input_size_is_refused(checkpoint, model, capture, photo):
    recipe = va.view.make_recipe(model, capture, SETTINGS, path=photo)
    other = va.load_model(ARCHITECTURE, checkpoint=checkpoint, img_size=(96, 96))
    with pytest.raises(va.errors.RecipeError, match=r"its grid is \[6, 6\], not \[4, 6\]"):
        va.from_recipe(recipe, model=other)


def test_a_checkpoint_with_other_weights_is_refused(checkpoint, photo, tmp_path):
    own = tmp_path / "own.safetensors"
    own.write_bytes(checkpoint.read_bytes())
    model = va.load_model(ARCHITECTURE, checkpoint=own, img_size=(64, 96))
    recipe = va.view.make_recipe(model, va.capture_attention(model, photo), SETTINGS, path=photo)
    torch.manual_seed(1)
    save_file(create_model(ARCHITECTURE, num_classes=5).state_dict(), own)
    with pytest.raises(va.errors.RecipeError, match="other weights"):
        va.from_recipe(recipe)


def test_random_weights_and_photos_without_a_file_must_be_given(photo):
    torch.manual_seed(0)
    model = va.load_model(VisionTransformer(img_size=(32, 48), patch_size=8, embed_dim=24, depth=3, num_heads=3).eval())
    settings = va.ViewSettings(layer=1)
    capture = va.capture_attention(model, photo)
    recipe = va.view.make_recipe(model, capture, settings)
    with pytest.raises(va.errors.RecipeError, match="picture="):
        va.from_recipe(recipe, model=model)
    with pytest.raises(va.errors.RecipeError, match="model="):
        va.from_recipe(recipe, picture=photo)
    again = va.from_recipe(recipe, model=model, picture=photo)
    assert np.array_equal(again.image, va.render_view(capture, settings).image)
    assert "your_module" in python_code(model, settings)
    assert "your_picture" in python_code(model, settings)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "not a recipe, which is a JSON file"),
        ("[]", "not a recipe, which is a JSON object with a format number"),
        ("{}", "not a recipe, which is a JSON object with a format number"),
        ('{"format": 1}', "lacks a part"),
        ('{"format": 1, "model": {}}', "lacks a part"),
    ],
)
def test_what_is_no_recipe_is_reported_as_such(tmp_path, content, words):
    path = tmp_path / "r.json"
    path.write_text(content)
    with pytest.raises(va.errors.RecipeError, match=words):
        va.from_recipe(path)


@pytest.mark.parametrize(
    ("version", "remedy"),
    [
        (FORMAT + 1, "update vitattn_widgets, or use the version that wrote it"),
        (FORMAT - 1, "make the recipe again, or use the version that wrote it"),
        ("new", "make the recipe again"),
        (None, "make the recipe again"),
    ],
)
def test_a_recipe_of_another_version_is_refused_with_what_is_read_and_what_to_do(
    model, capture, photo, version, remedy
):
    recipe = va.view.make_recipe(model, capture, SETTINGS, path=photo) | {"format": version}
    message = f"has format {version!r}, and vitattn_widgets {va.__version__} reads format {FORMAT}; {remedy}"
    with pytest.raises(va.errors.RecipeError, match=message):
        va.from_recipe(recipe, model=model)


@pytest.mark.parametrize("load", ["a name", {"model": "vit_tiny_patch16_224", "weights": "x"}])
def test_a_recipe_with_other_arguments_than_load_model_takes_is_reported(model, capture, photo, load):
    recipe = va.view.make_recipe(model, capture, SETTINGS, path=photo)
    recipe["model"] = recipe["model"] | {"load": load}
    with pytest.raises(va.errors.RecipeError, match=r"does not know \(model\.load "):
        va.from_recipe(recipe)


def test_a_missing_recipe_file_is_reported(tmp_path):
    with pytest.raises(va.errors.RecipeError, match="cannot be read"):
        va.from_recipe(tmp_path / "none.json")


def test_settings_of_another_version_are_reported(model, capture, photo):
    recipe = va.view.make_recipe(model, capture, SETTINGS, path=photo)
    recipe["settings"]["hue"] = 1
    with pytest.raises(va.errors.RecipeError, match="hue"):
        va.from_recipe(recipe, model=model)


def test_a_picture_and_its_transpose_have_different_digests():
    pixels = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    assert pixel_digest(pixels) != pixel_digest(pixels.reshape(4, 2, 3))
    assert pixel_digest(pixels) == pixel_digest(pixels.copy())


@pytest.mark.parametrize("source", va.SOURCES)
def test_recipes_and_code_of_every_source_make_the_same_picture(model, capture, photo, source):
    target = None if source in ("attention", "norm", "rollout") else 2
    settings = va.ViewSettings(layer=9, source=source, target=target, sinks="leave_out")
    wanted = va.render_view(va.complete_capture(model, capture, settings), settings)
    recipe = json.loads(json.dumps(va.view.make_recipe(model, capture, settings, path=photo)))
    again = va.from_recipe(recipe, model=model)
    assert again.settings == settings
    assert again.caption == wanted.caption
    assert np.array_equal(again.image, wanted.image)
    names = {}
    exec(python_code(model, settings, "overlay", photo), names)
    assert np.array_equal(names["picture"].image, wanted.image)


def test_a_recipe_from_before_there_were_sources_is_one_of_plain_attention(model, capture, photo):
    recipe = va.view.make_recipe(model, capture, SETTINGS, path=photo)
    for name in ("source", "target", "sinks"):
        del recipe["settings"][name]
    again = va.from_recipe(recipe, model=model)
    assert again.settings == SETTINGS
    assert np.array_equal(again.image, va.render_view(capture, SETTINGS).image)
