"""Scaling, colouring, laying over, and placing on the photo."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib import colormaps

import vitattn_widgets as va
from vitattn_widgets.view.drawing import color_map, color_table, draw_frame, glow_strength, value_range

from ..conftest import noise_photo


def test_scaling_maps_the_limits_to_0_and_1_and_clips() -> None:
    heat = np.array([[-1.0, 0.0], [2.0, 5.0]], np.float32)
    np.testing.assert_allclose(va.view.scale_map(heat, (0.0, 4.0)), [[0, 0], [0.5, 1]])


@pytest.mark.parametrize("value", [0.0, 0.3, -2.0])
def test_a_constant_map_becomes_zeros(value: float) -> None:
    heat = np.full((3, 3), value, np.float32)
    np.testing.assert_array_equal(va.view.scale_map(heat, value_range(heat)), 0)
    np.testing.assert_array_equal(va.view.scale_map(heat, value_range(heat, "robust")), 0)


def test_the_robust_range_ignores_a_few_extreme_pixels() -> None:
    heat = np.random.default_rng(0).random((100, 100)).astype(np.float32)
    low, high = value_range(heat, "robust")
    heat[:2, :10] = 1e6
    assert value_range(heat, "robust") == pytest.approx((low, high), abs=0.01)
    assert value_range(heat, "map")[1] == 1e6


def test_an_unknown_scale_is_reported_with_the_possible_ones() -> None:
    with pytest.raises(va.errors.SettingsError, match="possible: map, shared, robust"):
        value_range(np.ones((2, 2)), "own")


@pytest.mark.parametrize("opacity", [0.0, 0.25, 0.5, 1.0])
def test_an_overlay_is_the_rounded_mix_of_picture_and_colours(opacity: float) -> None:
    view = noise_photo((20, 30))
    heat = np.random.default_rng(1).random((20, 30)).astype(np.float32)
    colors = np.round(colormaps["viridis"](np.round(heat * 255) / 255)[..., :3] * 255)
    expected = view * (1 - opacity) + colors * opacity
    found = va.overlay(view, heat, opacity, "viridis")
    assert found.dtype == np.uint8
    assert np.abs(found - expected).max() <= 0.5 + 1e-4


def test_colours_are_red_green_blue() -> None:
    red = np.zeros((4, 4, 3), np.uint8)
    red[..., 0] = 255
    np.testing.assert_array_equal(va.overlay(red, np.zeros((4, 4)), 0.0), red)
    assert color_table("Reds")[255, 0] > color_table("Reds")[255, 2]


def test_the_whole_heat_range_reaches_the_whole_colour_table() -> None:
    ramp = np.linspace(0, 1, 256, dtype=np.float32)[None]
    np.testing.assert_array_equal(color_map(ramp, "gray")[0], color_table("gray"))


@pytest.mark.parametrize("opacity", [-0.1, 1.1, float("nan")])
def test_an_opacity_outside_0_to_1_is_refused(opacity: float) -> None:
    with pytest.raises(va.errors.SettingsError, match=r"opacity must lie in 0\.\.1"):
        va.overlay(noise_photo((2, 2)), np.zeros((2, 2)), opacity)


def test_an_unknown_colour_map_is_refused_with_good_ones() -> None:
    with pytest.raises(va.errors.SettingsError, match="colour map 'jetset' does not exist; good ones: inferno"):
        va.overlay(noise_photo((2, 2)), np.zeros((2, 2)), 0.5, "jetset")


def test_a_map_of_another_size_is_refused() -> None:
    with pytest.raises(va.errors.SettingsError, match="differ in size"):
        va.overlay(noise_photo((2, 2)), np.zeros((3, 2)))


def test_a_map_placed_on_the_photo_keeps_every_point_where_the_model_saw_it() -> None:
    # view pixel centre (x + 0.5) lies at left + (x + 0.5) * step in the photo; a plane stays a plane
    ys, xs = np.mgrid[0:20, 0:30] + 0.5
    box, size = (10.0, 5.0, 70.0, 65.0), (80, 100)
    placed, (rows, cols) = va.view.place_on_source((xs + 100 * ys).astype(np.float64), box, size)
    assert (rows, cols) == (slice(5, 65), slice(10, 70))
    photo_ys, photo_xs = np.mgrid[rows, cols] + 0.5
    expected = (photo_xs - 10) / 2 + 100 * (photo_ys - 5) / 3
    inner = (slice(3, -3), slice(3, -3))  # the outermost half patch is clamped
    np.testing.assert_allclose(placed[inner], expected[inner], atol=1e-6)


def test_a_crop_that_reaches_beyond_the_photo_is_placed_inside_it() -> None:
    placed, (rows, cols) = va.view.place_on_source(np.ones((10, 10)), (-5.0, 0.0, 25.0, 30.0), (30, 20))
    assert (rows, cols) == (slice(0, 30), slice(0, 20))
    assert placed.shape == (30, 20)
    np.testing.assert_allclose(placed, 1)


@pytest.mark.parametrize("size", [(1, 1), (3, 4), (40, 60), (900, 1200)])
def test_a_frame_changes_only_the_border_of_its_part(size: tuple[int, int]) -> None:
    picture = np.full((*size, 3), 128, np.uint8)
    where = (slice(0, size[0]), slice(0, size[1]))
    framed = draw_frame(picture, where)
    assert (picture == 128).all()
    assert (framed[0] == 0).all()
    depth = 3 * max(1, round(min(size) / 300))
    assert (framed[depth:-depth, depth:-depth] == 128).all()


@pytest.mark.parametrize("strength", [1.0, 0.4])
def test_a_glow_gives_each_pixel_an_opacity_of_its_own(strength: float) -> None:
    view = noise_photo((20, 30))
    heat = np.random.default_rng(1).random((20, 30)).astype(np.float32)
    heat[0] = 0
    found = va.overlay(view, heat, 0.8, "viridis", "glow", strength)
    for row, col in np.ndindex(heat.shape):
        one = va.overlay(view[row : row + 1, col : col + 1], heat[row : row + 1, col : col + 1], 1.0, "viridis")[0, 0]
        part = 0.8 * strength * heat[row, col]
        np.testing.assert_allclose(found[row, col], view[row, col] * (1 - part) + one * part, atol=0.51)
    np.testing.assert_array_equal(found[0], view[0])


def test_a_glow_is_dimmed_where_little_reaches_patches() -> None:
    assert [glow_strength(share) for share in (0.0, 0.1, 0.25, 0.5, 1.0)] == [0.25, 0.25, 0.5, 1.0, 1.0]


def test_an_unknown_blend_is_reported_with_the_possible_ones() -> None:
    with pytest.raises(va.errors.SettingsError, match="possible: even, glow"):
        va.overlay(noise_photo((2, 2)), np.zeros((2, 2)), blend="veil")
    with pytest.raises(va.errors.SettingsError, match="possible: even, glow"):
        va.ViewSettings(blend="veil")
