"""Panels on one scale and differences of two, against loops over the definition and against `render_view`."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pytest
from matplotlib import colormaps
from PIL import Image

import vitattn_widgets as va
from vitattn_widgets.capture import cache
from vitattn_widgets.maps.attribution import RawMap
from vitattn_widgets.view import render
from vitattn_widgets.view.drawing import color_table, crop_slices, overlay_difference

from .. import model_zoo
from ..conftest import noise_photo
from ..view.test_smooth import slow_smooth

PHOTO = noise_photo((80, 150))


@pytest.fixture(scope="module")
def completed(
    wide_model: va.models.AttentionModel, wide_capture: va.capture.AttentionCapture
) -> va.capture.AttentionCapture:
    capture = va.complete_capture(wide_model, wide_capture, va.ViewSettings(source="norm"))
    for target in range(3):
        capture = va.capture.capture_gradients(wide_model, capture, target)
    return va.capture.capture_gradients(wide_model, capture)


@pytest.fixture(scope="module")
def square_capture() -> va.capture.AttentionCapture:
    """The same photo seen by a model with another grid (4 x 4), another input size and another crop."""
    return va.capture_attention(va.load_model(model_zoo.build("vit", model_zoo.SQUARE)), PHOTO)


@pytest.fixture
def grids(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[np.ndarray], va.ViewSettings]]:
    """A function from a raw grid map to the settings under which a comparison finds it."""
    known: dict[tuple[int, int], np.ndarray] = {}
    plain = render.raw_map

    def put(grid: np.ndarray) -> va.ViewSettings:
        query = (len(known) // 6, len(known) % 6)
        known[query] = np.asarray(grid, np.float32)
        return va.ViewSettings(query=query)

    def raw_map(capture: va.capture.AttentionCapture, settings: va.ViewSettings) -> RawMap:
        raw = plain(capture, settings)
        return replace(raw, grid_map=known[settings.query].copy()) if settings.query in known else raw

    monkeypatch.setattr(render, "raw_map", raw_map)
    cache._answers.clear()
    yield put
    cache._answers.clear()


def mean_size(grid: np.ndarray) -> float:
    """The mean of the absolute values, one by one."""
    total = 0.0
    for row in grid.tolist():
        for value in row:
            total += abs(value)
    return total / grid.size


def random_grid(seed: int = 0, low: float = 0.0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(low, 1, (4, 6)).astype(np.float32)


def panels_of(capture: va.capture.AttentionCapture) -> list[va.Panel]:
    """Panels with nothing in common but their photo."""
    every = [
        va.ViewSettings(layer=0),
        va.ViewSettings(layer=1, aggregation="max"),
        va.ViewSettings(aggregation="mean_over_std"),
        va.ViewSettings(head=2, query=(1, 5)),
        va.ViewSettings(source="norm", sinks="leave_out"),
        va.ViewSettings(source="rollout", aggregation="max"),
        va.ViewSettings(source="gradient", target=1, opacity=0.8),
        va.ViewSettings(source="relevance", target=2, on="original"),
    ]
    return [va.Panel(capture, settings) for settings in every]


@pytest.mark.parametrize("scale", ["shared", "robust"])
def test_each_panel_is_render_view_on_the_shared_limits(
    completed: va.capture.AttentionCapture, square_capture: va.capture.AttentionCapture, scale: str
) -> None:
    panels = [*panels_of(completed), va.Panel(square_capture, va.ViewSettings(cmap="gray"))]
    compared = va.compare_views(panels, scale)
    for panel, view in zip(panels, compared.views, strict=True):
        alone = va.render_view(panel.capture, replace(panel.settings, cmap=compared.cmap))
        factor = mean_size(alone.grid_map)
        assert view.value_range == pytest.approx([limit * factor for limit in compared.limits], rel=1e-6)
        again = va.render_view(panel.capture, view.settings, limits=view.value_range)
        np.testing.assert_array_equal(view.image, again.image)
        np.testing.assert_array_equal(view.heat, again.heat)
        np.testing.assert_array_equal(view.grid_map, alone.grid_map)
        assert view.caption == again.caption
        assert view.settings == replace(panel.settings, cmap="inferno", scale=scale)


def test_the_limits_are_those_of_all_maps_by_the_slow_definition(
    wide_capture: va.capture.AttentionCapture, grids: Callable
) -> None:
    raw = [random_grid(0), 1e-4 * random_grid(1), 300 * random_grid(2, -1)]
    compared = va.compare_views([va.Panel(wide_capture, grids(grid)) for grid in raw])
    slow = [slow_smooth(grid, (32, 48), 8) / mean_size(grid) for grid in raw]
    low, high = min(heat.min() for heat in slow), max(heat.max() for heat in slow)
    assert low < 0
    assert compared.limits == pytest.approx((low, high), abs=0.004 * (high - low))
    for view, heat in zip(compared.views, slow, strict=True):
        np.testing.assert_allclose(view.heat, (heat - low) / (high - low), atol=0.006)
    shown = np.stack([view.heat for view in compared.views])
    assert (shown.min(), shown.max()) == pytest.approx((0, 1), abs=1e-6)


def test_the_robust_limits_are_percentiles_of_all_pixels(completed: va.capture.AttentionCapture) -> None:
    panels = panels_of(completed)
    pixels = []
    for panel in panels:
        grid = va.render_view(completed, panel.settings).grid_map
        pixels.append(va.smooth_map(grid, (32, 48), 8).ravel() / mean_size(grid))
    expected = np.percentile(np.concatenate(pixels), (5, 95))
    np.testing.assert_allclose(va.compare_views(panels, "robust").limits, expected, rtol=1e-5)


@pytest.mark.parametrize("factor", [1e-6, 0.125, 3.0, 1e5])
def test_the_size_of_a_raw_map_changes_nothing(
    wide_capture: va.capture.AttentionCapture, grids: Callable, factor: float
) -> None:
    one, other = random_grid(3), random_grid(4, -1)
    before = va.compare_views([va.Panel(wide_capture, grids(grid)) for grid in (one, other)])
    after = va.compare_views([va.Panel(wide_capture, grids(grid)) for grid in (one * factor, other)])
    np.testing.assert_allclose(after.limits, before.limits, rtol=1e-4)
    for view, same in zip(after.views, before.views, strict=True):
        np.testing.assert_allclose(view.heat, same.heat, atol=1e-4)


@pytest.mark.parametrize("factor", [1e-6, 0.3, 7e4])
@pytest.mark.parametrize("low", [0.0, -1.0])
def test_smoothing_a_multiple_is_the_multiple_of_the_smoothed(factor: float, low: float) -> None:
    grid = random_grid(5, low)
    once = va.smooth_map(grid, (32, 48), 8)
    scaled = va.smooth_map(grid * np.float32(factor), (32, 48), 8) / factor
    np.testing.assert_allclose(scaled, once, atol=1e-4 * np.ptp(once))


def test_a_map_of_zeros_stays_zero_on_a_scale_that_others_set(
    wide_capture: va.capture.AttentionCapture, grids: Callable
) -> None:
    zero, signed = np.zeros((4, 6)), random_grid(6, -1)
    compared = va.compare_views([va.Panel(wide_capture, grids(grid)) for grid in (zero, signed)])
    low, high = compared.limits
    assert low < 0 < high
    np.testing.assert_allclose(compared.views[0].heat, -low / (high - low), rtol=1e-6)
    alone = va.compare_views([va.Panel(wide_capture, grids(zero))])
    assert alone.limits == (0, 0)
    np.testing.assert_array_equal(alone.views[0].heat, 0)


def test_maps_that_are_the_same_everywhere_show_no_noise(
    wide_capture: va.capture.AttentionCapture, grids: Callable
) -> None:
    flat = [np.full((4, 6), value) for value in (1 / 24, 0.1, 1e-7, 123.4)]
    flat[0][2, 3] *= 1 + 1e-6  # as float32 sums differ
    compared = va.compare_views([va.Panel(wide_capture, grids(grid)) for grid in flat])
    assert compared.limits == pytest.approx((1, 1), abs=1e-5)
    for view in compared.views:
        np.testing.assert_array_equal(view.heat, 0)


def test_a_class_whose_gradient_vanishes_gives_finite_panels(completed: va.capture.AttentionCapture) -> None:
    dead = replace(completed.gradients[0], outputs=tuple(0 * kept for kept in completed.gradients[0].outputs))
    capture = replace(completed, gradients=(dead,))
    settings = va.ViewSettings(source="gradient", target=dead.target)
    compared = va.compare_views([va.Panel(capture, settings), va.Panel(completed, va.ViewSettings())])
    np.testing.assert_array_equal(compared.views[0].grid_map, 0)
    assert all(np.isfinite(view.heat).all() for view in compared.views)
    assert compared.limits[0] == 0
    difference = va.difference_view(va.Panel(capture, settings), va.Panel(completed, va.ViewSettings()))
    assert np.isfinite(difference.heat).all()
    assert difference.heat.min() == -1
    assert difference.heat.max() <= 0


def test_signed_attention_of_mixed_heads_is_measured_by_its_size() -> None:
    model = va.load_model(model_zoo.build("cait", model_zoo.SQUARE))
    capture = va.capture_attention(model, PHOTO)
    grid = capture.patch_attention(0).mean(0)
    assert grid.min() < 0
    (view,) = (compared := va.compare_views([va.Panel(capture, va.ViewSettings(layer=0))])).views
    assert compared.limits[0] < 0
    raw = view.value_range[1] / compared.limits[1]
    assert raw == pytest.approx(mean_size(grid), rel=1e-5)


def test_drawing_one_panel_elsewhere_leaves_the_others_alone(completed: va.capture.AttentionCapture) -> None:
    """What is kept between drawings has no visible effect."""
    panels = panels_of(completed)
    cache._answers.clear()
    before = va.compare_views(panels)
    moved = [replace(panel, settings=replace(panel.settings, opacity=0.1, cmap="viridis")) for panel in panels]
    va.compare_views(moved)
    again = va.compare_views(panels)
    for view, same in zip(again.views, before.views, strict=True):
        np.testing.assert_array_equal(view.image, same.image)
    assert again.limits == before.limits
    with pytest.raises(va.errors.SettingsError, match="head must be a whole number"):
        va.compare_views([va.Panel(completed, va.ViewSettings(head=2.0, query=(1, 5)))])


def test_what_is_kept_holds_no_capture(wide_model: va.models.AttentionModel) -> None:
    capture = va.capture_attention(wide_model, noise_photo((40, 60), 7))
    va.compare_views([va.Panel(capture)])
    gone = weakref.ref(capture)
    del capture
    gc.collect()
    assert gone() is None


def test_no_panel_and_scales_that_cannot_be_shared_are_reported(wide_capture: va.capture.AttentionCapture) -> None:
    with pytest.raises(va.errors.SettingsError, match="at least one panel"):
        va.compare_views([])
    with pytest.raises(va.errors.SettingsError, match="possible: shared, robust"):
        va.compare_views([va.Panel(wide_capture)], "map")
    with pytest.raises(va.errors.SettingsError, match="possible: shared, robust"):
        va.difference_view(va.Panel(wide_capture), va.Panel(wide_capture), "map")
    with pytest.raises(va.errors.SettingsError, match="layer 9 does not exist"):
        va.compare_views([va.Panel(wide_capture), va.Panel(wide_capture, va.ViewSettings(layer=9))])


def test_titles_say_what_differs_and_the_line_what_does_not(completed: va.capture.AttentionCapture) -> None:
    def titles(*changes: dict) -> tuple[tuple[str, ...], str]:
        compared = va.compare_views([va.Panel(completed, va.ViewSettings(**change)) for change in changes])
        return compared.titles, compared.common

    found, common = titles({"layer": 0}, {"layer": -1}, {"layer": 1})
    assert found == ("layer 0", "layer 2", "layer 1")
    assert common == "VisionTransformer, attention, mean over 3 heads, query: class token"

    found, common = titles({"aggregation": "max"}, {"head": -1}, {"aggregation": "mean_over_std"})
    assert found == ("max", "head 2", "mean / std")
    assert "layer 2 of 0..2 (blocks.2.attn)" in common

    found, common = titles({}, {"source": "relevance", "target": 1}, {"source": "rollout"})
    assert found == ("attention", "relevance", "rollout")
    assert "mean" in common
    assert "class class 1" in common
    found, common = titles({"head": 1}, {"source": "relevance"})
    assert found == ("attention, head 1", "relevance")
    assert "head" not in common

    found, _ = titles({"source": "gradient", "target": 1}, {"source": "gradient", "target": 2})
    assert found == ("class 1", "class 2")
    found, _ = titles({"query": (1, 2)}, {"sinks": "leave_out", "median": False})
    assert found == ("patch at row 1, col 2, with sinks, smoothed", "class token, without sinks, without median")
    assert titles({}, {})[0] == ("panel 1", "panel 2")
    assert titles({"layer": 0}, {"layer": 0}, {"layer": 1})[0] == ("layer 0 (1)", "layer 0 (2)", "layer 1")
    assert titles({})[0] == ("",)


def test_names_models_and_photos_are_distinguished(
    wide_model: va.models.AttentionModel, wide_capture: va.capture.AttentionCapture
) -> None:
    other = va.capture_attention(wide_model, noise_photo((60, 60), 3))

    def titles(*panels: va.Panel) -> tuple[str, ...]:
        return va.compare_views(panels).titles

    assert titles(va.Panel(wide_capture), va.Panel(other)) == ("photo 1", "photo 2")
    assert titles(va.Panel(wide_capture, name="cat"), va.Panel(other, name="cup")) == ("cat", "cup")
    mixed = [va.Panel(wide_capture, name="a"), va.Panel(other, name="a"), va.Panel(wide_capture, name="b")]
    assert titles(*mixed) == ("a, photo 1", "a, photo 2", "b, photo 1")
    assert va.compare_views([va.Panel(wide_capture, name="cat")] * 2).common.startswith("cat, VisionTransformer")

    def named(*names: str) -> tuple[str, ...]:
        return titles(*(va.Panel(replace(wide_capture, model_name=name)) for name in names))

    assert named("vit_a.x_in1k", "vit_b.y") == ("vit_a", "vit_b")
    assert named("vit_a.x_in1k", "vit_a.x_in1k (best.safetensors)") == ("x_in1k", "best.safetensors")
    assert named("vit_a.x", "vit_a.y", "vit_b.y") == ("vit_a, x", "vit_a, y", "vit_b, y")
    assert named("vit_a.x (w.pt)", "vit_a.y (w.pt)") == ("vit_a.x (w.pt)", "vit_a.y (w.pt)")
    assert named("vit_a (w.pt)", "vit_a") == ("w.pt", "vit_a")
    called = [va.Panel(replace(wide_capture, model_name=name), name=name) for name in ("vit_a", "vit_b")]
    assert titles(*called) == ("vit_a", "vit_b")
    assert named("./my.model", "vit_a") == ("./my.model", "vit_a")
    tuned = replace(wide_capture, model_name="VisionTransformer (w.pt)")
    assert titles(va.Panel(wide_capture, name="before"), va.Panel(tuned, name="after")) == ("before", "after")
    of_photos = va.Panel(other, name="cat"), va.Panel(tuned, name="cup")
    assert titles(*of_photos) == ("cat, VisionTransformer", "cup, w.pt")
    assert va.compare_views([va.Panel(wide_capture), va.Panel(tuned)]).common.startswith("VisionTransformer, attention")


def test_a_difference_is_first_minus_second_pixel_by_pixel(
    wide_capture: va.capture.AttentionCapture, grids: Callable
) -> None:
    one, other = random_grid(8), 40 * random_grid(9)
    found = va.difference_view(va.Panel(wide_capture, grids(one)), va.Panel(wide_capture, grids(other)))
    expected = slow_smooth(one, (32, 48), 8) / mean_size(one) - slow_smooth(other, (32, 48), 8) / mean_size(other)
    most = np.abs(expected).max()
    low, high = found.value_range
    assert low == -high
    assert high == pytest.approx(most, rel=0.01)
    np.testing.assert_allclose(found.heat * high, expected, atol=0.01 * most)
    assert np.abs(found.heat).max() == pytest.approx(1)
    np.testing.assert_allclose(found.grid_map, one / mean_size(one) - other / mean_size(other), atol=1e-5)
    np.testing.assert_array_equal(found.image, overlay_difference(wide_capture.view, found.heat, 0.5))
    assert found.title in found.caption
    ratio = va.ViewSettings(aggregation="mean_over_std")
    assert va.difference_view(va.Panel(wide_capture), va.Panel(wide_capture, ratio)).title == "mean minus (mean / std)"
    assert "red is more in (patch at row 0, col 0), blue more in (patch at row 0, col 1), by up to" in found.caption


@pytest.mark.parametrize("on", ["view", "original"])
def test_differences_turn_their_sign_when_turned_round(
    completed: va.capture.AttentionCapture, square_capture: va.capture.AttentionCapture, on: str
) -> None:
    settings = va.ViewSettings(on=on)
    pairs = [
        (va.Panel(completed, settings), va.Panel(completed, replace(settings, source="rollout"))),
        (va.Panel(completed, settings), va.Panel(square_capture, settings)),
    ]
    for first, second in pairs:
        there, back = va.difference_view(first, second), va.difference_view(second, first)
        np.testing.assert_array_equal(there.heat, -back.heat)
        assert there.heat.any()
        assert there.where == back.where
        assert there.value_range == back.value_range


def test_nothing_differs_from_itself(completed: va.capture.AttentionCapture) -> None:
    for panel in panels_of(completed):
        found = va.difference_view(panel, panel)
        np.testing.assert_array_equal(found.heat, 0)
        np.testing.assert_array_equal(found.grid_map, 0)
        assert found.value_range == (0, 0)
        assert "no difference" in found.caption


def test_maps_of_two_views_are_subtracted_where_both_models_saw_the_photo(
    wide_capture: va.capture.AttentionCapture, square_capture: va.capture.AttentionCapture
) -> None:
    panels = va.Panel(wide_capture), va.Panel(square_capture, va.ViewSettings(layer=0))
    found = va.difference_view(*panels)
    assert found.grid_map is None
    assert found.image.shape == PHOTO.shape
    seen = []
    for panel in panels:
        mask = np.zeros(PHOTO.shape[:2], bool)
        mask[crop_slices(panel.capture.crop_box, mask.shape)] = True
        seen.append(mask)
    both = seen[0] & seen[1]
    assert both.any()
    assert (seen[0] != seen[1]).any()
    inside = np.zeros_like(both)
    inside[found.where] = True
    np.testing.assert_array_equal(inside, both)
    np.testing.assert_array_equal(found.image[~both], PHOTO[~both])

    expected = np.zeros(PHOTO.shape[:2])
    for panel, sign in zip(panels, (1, -1), strict=True):
        capture = panel.capture
        grid = va.render_view(capture, panel.settings).grid_map
        heat = va.smooth_map(grid, capture.view.shape[:2], 8) / mean_size(grid)
        left, top, right, bottom = capture.crop_box
        for row, col in np.argwhere(both):
            y = np.clip((row + 0.5 - top) / (bottom - top) * heat.shape[0] - 0.5, 0, heat.shape[0] - 1)
            x = np.clip((col + 0.5 - left) / (right - left) * heat.shape[1] - 0.5, 0, heat.shape[1] - 1)
            below, beside = min(int(y) + 1, heat.shape[0] - 1), min(int(x) + 1, heat.shape[1] - 1)
            up = heat[int(y), int(x)] * (1 - x % 1) + heat[int(y), beside] * (x % 1)
            down = heat[below, int(x)] * (1 - x % 1) + heat[below, beside] * (x % 1)
            expected[row, col] += sign * (up * (1 - y % 1) + down * (y % 1))
    np.testing.assert_allclose(found.heat * found.value_range[1], expected[found.where], atol=1e-4)


def test_on_the_photo_a_difference_lies_in_the_framed_crop(wide_capture: va.capture.AttentionCapture) -> None:
    on_photo = va.ViewSettings(on="original", layer=0)
    found = va.difference_view(va.Panel(wide_capture, on_photo), va.Panel(wide_capture))
    assert found.where == crop_slices(wide_capture.crop_box, PHOTO.shape[:2])
    placed = [
        va.view.place_on_source(
            va.smooth_map(grid := va.render_view(wide_capture, settings).grid_map, (32, 48), 8) / mean_size(grid),
            wide_capture.crop_box,
            PHOTO.shape[:2],
        )[0]
        for settings in (on_photo, va.ViewSettings())
    ]
    np.testing.assert_allclose(found.heat * found.value_range[1], placed[0] - placed[1], atol=1e-5)
    framed = found.image[found.where]
    np.testing.assert_array_equal(framed[0], 0)
    np.testing.assert_array_equal(framed[1, 1:-1], 255)
    np.testing.assert_array_equal(framed[3:-3, 3:-3], overlay_difference(PHOTO[found.where], found.heat)[3:-3, 3:-3])
    assert found.grid_map is not None


def test_views_of_one_size_but_of_other_crops_are_subtracted_on_the_photo(
    wide_capture: va.capture.AttentionCapture,
) -> None:
    left, top, right, bottom = wide_capture.crop_box
    moved = replace(wide_capture, crop_box=(left + 10, top, right + 10, bottom))
    found = va.difference_view(va.Panel(wide_capture), va.Panel(moved))
    assert found.image.shape == PHOTO.shape
    assert found.grid_map is None
    assert found.heat.any()
    rows, cols = crop_slices(wide_capture.crop_box, PHOTO.shape[:2])
    assert found.where == (rows, slice(cols.start + 10, cols.stop))
    halves = [replace(wide_capture, crop_box=(start, 0.0, start + 60.0, 80.0)) for start in (5.0, 75.0)]
    with pytest.raises(va.errors.SettingsError, match="no common part"):
        va.difference_view(*map(va.Panel, halves))


def test_a_robust_difference_is_not_ruled_by_one_patch(
    wide_capture: va.capture.AttentionCapture, grids: Callable
) -> None:
    calm, hot = random_grid(10), random_grid(11)
    hot[0, 0] = 30
    panels = [va.Panel(wide_capture, grids(grid)) for grid in (calm, hot)]
    plain, robust = (va.difference_view(*panels, scale) for scale in ("shared", "robust"))
    sizes = np.abs(plain.heat) * plain.value_range[1]
    assert robust.value_range[1] == pytest.approx(np.percentile(sizes, 95), rel=1e-5)
    assert np.abs(robust.heat).max() == 1
    assert f"by up to {sizes.max():.3g} times" in robust.caption

    turned = np.ones((4, 6))
    turned[1, 2] = -1  # one patch in 24, fewer than the percentile leaves out
    settings = [grids(grid) for grid in (np.ones((4, 6)), turned)]
    squares = [replace(each, bilinear=False, median=False, gaussian=False) for each in settings]
    found = va.difference_view(*(va.Panel(wide_capture, each) for each in squares), scale="robust")
    assert found.value_range == (-2, 2)
    assert found.heat.sum() == 64


def test_two_photos_have_no_difference(
    wide_model: va.models.AttentionModel, wide_capture: va.capture.AttentionCapture
) -> None:
    other = va.capture_attention(wide_model, noise_photo((80, 150), 1))
    with pytest.raises(va.errors.SettingsError, match="two maps of one photo"):
        va.difference_view(va.Panel(wide_capture), va.Panel(other))
    again = va.capture_attention(wide_model, PHOTO.copy())
    assert va.difference_view(va.Panel(wide_capture), va.Panel(again)).value_range == (0, 0)


def test_a_difference_shows_the_photo_where_there_is_none_and_red_above() -> None:
    view = noise_photo((4, 5))
    grey = np.asarray(Image.fromarray(view).convert("L"))[..., None] * 0.6 + 90
    np.testing.assert_allclose(overlay_difference(view, np.zeros((4, 5), np.float32)), np.repeat(grey, 3, 2), atol=0.51)
    red, blue = (overlay_difference(view, np.full((4, 5), sign, np.float32))[0, 0] for sign in (1, -1))
    np.testing.assert_allclose(red, np.multiply(colormaps["RdBu_r"](1.0)[:3], 255), atol=1)
    np.testing.assert_allclose(blue, np.multiply(colormaps["RdBu_r"](0.0)[:3], 255), atol=1)
    assert red[0] > red[2]
    assert blue[2] > blue[0]
    quarter = overlay_difference(view, np.full((4, 5), 0.25, np.float32))
    expected = 0.5 * grey + 0.5 * color_table("RdBu_r")[159].astype(float)
    np.testing.assert_allclose(quarter, expected, atol=1)
    bare = overlay_difference(view, np.ones((4, 5), np.float32), opacity=0)
    np.testing.assert_allclose(bare, np.repeat(grey, 3, 2), atol=0.51)
