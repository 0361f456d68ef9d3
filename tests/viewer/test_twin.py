"""The engine draws what Python draws: every pixel, limit, caption and sentence, of every family, in Chromium."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import vitattn_widgets as va
from vitattn_widgets.comparison.presets import PRESETS
from vitattn_widgets.maps.resolve import fit_settings
from vitattn_widgets.view.arrange import ARRANGEMENTS
from vitattn_widgets.view.captions import sentence
from vitattn_widgets.view.recipe import python_code
from vitattn_widgets.view.render import draw_view, prepare_view
from vitattn_widgets.viewer.settings import json_settings

from .. import model_zoo, stage_zoo
from ..conftest import SAMPLES, noise_photo
from ..lab import CHROMIUM
from .twin_lab import Subject, Twin, decoded, laid_over, plain_look, random_settings, rounded, running_twin

pytestmark = [pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium"), pytest.mark.usefixtures("one_thread")]

STAGED = ("swin", "swin_padded", "hiera", "hieradet", "maxvit", "sam", "pvt_v2", "mvitv2_class", "levit", "pit", "volo")
"""Models with each kind of window and of grid."""

REACHING = ("swin", "swin_padded", "hiera", "hieradet", "maxvit", "sam", "halonet", "pvt_v2")
"""Models with each kind of partition."""

EACH = 8
"""Random settings for each family and size: 584 in all."""

OF_THE_REAL = 15
"""Random settings for each photo of the real model."""

CLOSE = 0.05
"""Largest difference of two heats, in levels of 255."""

MEDIAN_STEP = 0.7
"""The same after a median without a Gaussian: one of its 384 levels."""


@pytest.fixture(scope="module")
def twin() -> Iterator[Twin]:
    with running_twin() as running:
        yield running
        assert running.errors == []


# --- one picture ---


def differences(one: Subject, wanted: va.ViewSettings, drawn: dict[str, Any]) -> list[str]:
    """What is different about a picture of the engine's; empty if nothing is.

    Rounding may turn a heat between two colours into either of them. So a pixel is right if it lies within 1 of 255 of
    what Python draws from the same heat, or one that is `CLOSE`; almost all must be so of the very same heat.
    """
    capture = one.reference(wanted)
    prepared = prepare_view(capture, wanted)
    look = plain_look(wanted)
    expected = draw_view(capture, look, prepared)
    low, high = expected.value_range
    close = MEDIAN_STEP if wanted.median and not wanted.gaussian else CLOSE
    step = np.float32(close / 255 * (high - low))
    near = [replace(prepared, heat=prepared.heat + change) for change in (-step, step)]
    pictures = np.stack([expected.image, *(draw_view(capture, look, each, (low, high)).image for each in near)])
    image = drawn["image"]
    outside = np.maximum(pictures.min(0) - image, image - pictures.max(0))
    equal = {
        "heat": np.abs(drawn["heat"] - expected.heat).max() * 255 <= close,
        "limits": np.allclose(drawn["limits"], (low, high), rtol=1e-6, atol=close / 255 * (high - low)),
        "pixels": outside.max() <= 1 and (np.abs(image - expected.image) > 1).mean() < 1e-3,
        "caption": drawn["caption"] == prepared.caption,
        "sentence": drawn["sentence"] == sentence(capture, wanted),
        "code": drawn["code"] == [python_code(one.model, wanted, arrangement) for arrangement in ARRANGEMENTS],
    }
    return [f"{name} of {wanted}" for name, same in equal.items() if not same]


def check(twin: Twin, one: Subject, settings: Sequence[va.ViewSettings]) -> None:
    drawn = twin.draw(twin.add(one), list(settings))
    found = [line for wanted, got in zip(settings, drawn, strict=True) for line in differences(one, wanted, got)]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(("family", "size"), model_zoo.CASES)
def test_every_family_is_drawn_as_python_draws_it(twin: Twin, family: str, size: tuple[int, int]) -> None:
    number = model_zoo.CASES.index((family, size))
    model = va.load_model(model_zoo.build(family, size), img_size=size)
    one = Subject(model, noise_photo((70, 110), number), seed=number if number % 2 else None)
    chance = random.Random(number)
    check(twin, one, [random_settings(one.capture, chance) for _ in range(EACH)])


@pytest.mark.parametrize("key", STAGED)
def test_models_with_windows_and_stages_are_drawn_as_python_draws_them(twin: Twin, key: str) -> None:
    number = list(STAGED).index(key)
    model = va.load_model(stage_zoo.build(key), img_size=stage_zoo.MODELS[key].size)
    one = Subject(model, noise_photo((70, 110), number), seed=number if number % 2 else None)
    chance = random.Random(number)
    check(twin, one, [random_settings(one.capture, chance) for _ in range(EACH)])


@pytest.mark.parametrize("key", ["swin_padded", "hiera"])
def test_rounded_queries_and_keys_inside_windows_are_drawn_as_python_draws_them(twin: Twin, key: str) -> None:
    model = va.load_model(stage_zoo.build(key), img_size=stage_zoo.MODELS[key].size)
    one = Subject(model, noise_photo((70, 110)), bits=16)
    chance = random.Random(0)
    layers = [chance.randrange(one.capture.num_layers) for _ in range(4)]
    check(twin, one, [va.ViewSettings(layer=layer, query=(1, chance.randrange(4))) for layer in layers])


@pytest.mark.parametrize("key", REACHING)
def test_patches_reach_in_the_browser_what_they_reach_in_python(twin: Twin, key: str) -> None:
    size = stage_zoo.MODELS[key].size
    one = Subject(va.load_model(stage_zoo.build(key), img_size=size), noise_photo(size))
    number = twin.add(one)
    for layer, captured in enumerate(one.capture.layers):
        partition = captured.tokens.partition
        assert partition is not None
        rows, cols = partition.query_grid
        reached = twin.call("reached", number, layer)
        assert len(reached) == rows * cols
        for patch, cells in enumerate(reached):
            expected = np.flatnonzero(partition.reach(*divmod(patch, cols)))
            assert np.array_equal(np.arange(np.prod(partition.key_grid)) if cells is None else cells, expected)


@pytest.mark.parametrize("photo", ["chelsea.jpg", "coffee.jpg"])
def test_the_real_vit_tiny_is_drawn_as_python_draws_it(
    twin: Twin, real_model: va.models.AttentionModel, photo: str
) -> None:
    one = Subject(real_model, SAMPLES / photo)
    chance = random.Random(photo)
    check(twin, one, [random_settings(one.capture, chance) for _ in range(OF_THE_REAL)])


def test_the_browser_decodes_the_view_to_the_very_pixels(twin: Twin, real_model: va.models.AttentionModel) -> None:
    one = Subject(real_model, SAMPLES / "coffee.jpg")
    key = twin.add(one)
    pixels = decoded(twin.call("viewPixels", key), np.uint8).reshape(*one.capture.view.shape[:2], 4)
    assert np.array_equal(pixels[..., :3], one.capture.view)


@pytest.mark.parametrize("bits", [16, 13])
@pytest.mark.parametrize("family", ["vit_registers", "beit", "eva_grouped_query"])
def test_rounded_queries_and_keys_are_computed_as_python_computes_them(twin: Twin, family: str, bits: int) -> None:
    model = va.load_model(model_zoo.build(family, model_zoo.WIDE), img_size=model_zoo.WIDE)
    one = Subject(model, noise_photo((70, 110)), bits=bits)
    chance = random.Random(bits)
    settings = [random_settings(one.capture, chance) for _ in range(6)]
    patches = [replace(each, query=(chance.randrange(4), chance.randrange(6))) for each in settings]
    check(twin, one, [replace(each, source=chance.choice(["attention", "norm"])) for each in patches])


@pytest.mark.parametrize(("bits", "most"), [(16, 0.5), (13, 4.0)])
def test_rounding_moves_heats_little(real_model: va.models.AttentionModel, bits: int, most: float) -> None:
    capture = va.capture_attention(real_model, SAMPLES / "coffee.jpg")
    near = rounded(capture, bits)
    chance = random.Random(0)
    for _ in range(20):
        # of the median, a single level would show
        settings = replace(random_settings(capture, chance), source="attention", median=False, sinks="show")
        settings = replace(settings, query=(chance.randrange(14), chance.randrange(14)))
        exact, moved = va.render_view(capture, settings), va.render_view(near, settings)
        assert np.abs(exact.heat - moved.heat).max() * 255 < most


# --- several pictures ---


@pytest.fixture(scope="module")
def photo() -> np.ndarray:
    return noise_photo((70, 110))


@pytest.fixture(scope="module")
def pair(photo: np.ndarray) -> list[Subject]:
    """Two models with other grids, crops, heads and layers, on one photo."""
    made = []
    for seed, (family, size) in enumerate([("vit_registers", model_zoo.SQUARE), ("cait", model_zoo.WIDE)]):
        made.append(Subject(va.load_model(model_zoo.build(family, size), img_size=size), photo, seed))
    return made


def panels_of(
    twin: Twin, subjects: Sequence[Subject], chance: random.Random, count: int
) -> tuple[list[tuple[str, va.ViewSettings, str]], list[va.comparison.Panel]]:
    """Random panels as the page gets them, and as Python does."""
    keys = [twin.add(one) for one in subjects]
    ours, theirs = [], []
    for _ in range(count):
        place = chance.randrange(len(subjects))
        settings = random_settings(subjects[place].capture, chance)
        name = chance.choice(["", "left", "right"])
        theirs.append((keys[place], settings, name))
        ours.append(va.comparison.Panel(subjects[place].reference(settings), settings, name))
    return theirs, ours


@pytest.mark.parametrize("scale", ["shared", "robust"])
@pytest.mark.parametrize("seed", range(6))
def test_panels_are_compared_as_python_compares_them(twin: Twin, pair: list[Subject], seed: int, scale: str) -> None:
    chance = random.Random(seed)
    theirs, ours = panels_of(twin, pair, chance, 1 + seed % 4)
    expected = va.compare_views([replace(one, settings=plain_look(one.settings)) for one in ours], scale)
    compared = twin.call("compareAll", theirs, scale)
    assert tuple(compared["titles"]) == expected.titles
    assert compared["common"] == expected.common
    assert np.allclose(compared["limits"], expected.limits, rtol=1e-5)
    signed = any(settings.source_info.signed for _, settings, _ in theirs)
    for (key, _, _), layer, view in zip(theirs, compared["layers"], expected.views, strict=True):
        assert np.abs(twin.laid_over_view(key, layer, signed) - view.image).max() <= 1


@pytest.mark.parametrize("scale", ["shared", "robust"])
def test_patches_with_windows_are_compared_as_python_compares_them(twin: Twin, scale: str) -> None:
    size = stage_zoo.MODELS["swin"].size
    one = Subject(va.load_model(stage_zoo.build("swin"), img_size=size), noise_photo(size))
    both = [va.ViewSettings(layer=0, query=(3, 7)), va.ViewSettings(layer=1, query=(3, 7), head=1)]
    expected = va.compare_views([va.comparison.Panel(one.capture, settings) for settings in both], scale)
    compared = twin.call("compareAll", [(twin.add(one), settings, "") for settings in both], scale)
    assert np.allclose(compared["limits"], expected.limits, rtol=1e-5)


@pytest.mark.parametrize("scale", ["shared", "robust"])
@pytest.mark.parametrize("seed", range(8))
def test_differences_are_drawn_as_python_draws_them(twin: Twin, pair: list[Subject], seed: int, scale: str) -> None:
    chance = random.Random(seed)
    theirs, ours = panels_of(twin, pair[: 1 + seed % 2], chance, 2)
    expected = va.difference_view(*ours, scale)
    drawn = twin.call("subtract", theirs, scale)
    assert (drawn["title"], drawn["caption"]) == (expected.title, expected.caption)
    assert np.allclose(drawn["limits"], expected.value_range, rtol=1e-5)
    heat = decoded(drawn["heat"], np.float32).reshape(expected.heat.shape)
    assert np.abs(heat - expected.heat).max() * 255 < CLOSE
    rows, cols = expected.where
    assert drawn["where"] == [cols.start, rows.start, cols.stop, rows.stop]
    capture = ours[0].capture
    ground = capture.view if drawn["ground"] == "view" else capture.source
    assert expected.image.shape == ground.shape
    shown = laid_over(ground[expected.where], drawn["layer"], signed=True)
    edge = 0 if drawn["ground"] == "view" else 3  # Python's frame of what both saw
    inside = np.s_[edge : len(shown) - edge, edge : shown.shape[1] - edge]
    assert np.abs(shown - expected.image[expected.where])[inside].max() <= 1
    assert (drawn["grid"] is None) == (expected.grid_map is None)
    if expected.grid_map is not None:
        assert np.allclose(decoded(drawn["grid"], np.float32), expected.grid_map.ravel(), atol=1e-4)


def test_two_photos_have_no_difference(twin: Twin, pair: list[Subject]) -> None:
    other = twin.add(Subject(pair[0].model, noise_photo((70, 110), 9)))
    panels = [(key, va.ViewSettings(), "") for key in (twin.add(pair[0]), other)]
    with pytest.raises(Exception, match="a difference needs two maps of one photo"):
        twin.call("subtract", panels, "shared")


# --- settings ---


def test_settings_are_fitted_as_python_fits_them(twin: Twin, pair: list[Subject], real_model: Any) -> None:
    subjects = [*pair, Subject(real_model, SAMPLES / "chelsea.jpg")]
    chance = random.Random(0)
    for here in subjects:
        key = twin.add(here)
        for there in subjects:
            settings = [random_settings(there.capture, chance) for _ in range(20)]
            grid, names = there.capture.layout.grid, there.capture.class_names
            fitted = twin.call("fitAll", key, settings, {"grid": grid, "classes": names})
            for before, after in zip(settings, fitted, strict=True):
                expected = fit_settings(before, here.capture, grid=grid, class_names=names)
                assert after == json_settings(expected), before


def test_presets_are_pythons(twin: Twin, pair: list[Subject]) -> None:
    chance = random.Random(0)
    for one in pair:
        key = twin.add(one)
        for _ in range(10):
            settings = random_settings(one.capture, chance)
            for name, title, words, panels in twin.call("presetsOf", key, settings):
                preset = PRESETS[name]
                assert (title, words) == (preset.title, preset.words)
                try:
                    expected: Any = [json_settings(panel) for panel in preset.panels(one.capture, settings)]
                except va.errors.SettingsError as error:
                    expected = str(error)
                assert panels == expected, (name, settings)
