"""Smoothing, against scipy in float64 and against properties of the definition."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage
from skimage.morphology import disk

import vitattn_widgets as va
from vitattn_widgets.view.smooth import disk_median, upscale

DISPLAY_LEVEL = 0.004
SIZE, PATCH = (224, 224), 16


def slow_upscale(grid: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Bilinear by the definition: half-pixel centres, clamped edges; float64."""
    rows, cols = grid.shape

    def weights(length: int, count: int) -> np.ndarray:
        matrix = np.zeros((length, count))
        for pixel in range(length):
            position = (pixel + 0.5) * count / length - 0.5
            below = int(np.floor(position))
            part = position - below
            matrix[pixel, min(max(below, 0), count - 1)] += 1 - part
            matrix[pixel, min(max(below + 1, 0), count - 1)] += part
        return matrix

    return weights(size[0], rows) @ grid.astype(np.float64) @ weights(size[1], cols).T


def slow_smooth(
    grid: np.ndarray, size: tuple[int, int], patch: int, median: bool = True, gaussian: bool = True
) -> np.ndarray:
    heat = slow_upscale(grid, size)
    if median:
        heat = ndimage.median_filter(heat, footprint=disk(patch // 2), mode="reflect")
    if gaussian:
        heat = ndimage.gaussian_filter(heat, patch / 4, mode="reflect", truncate=4.0)
    return heat


def scaled(heat: np.ndarray) -> np.ndarray:
    span = heat.max() - heat.min()
    return (heat.astype(np.float64) - heat.min()) / span if span > 0 else np.zeros(heat.shape)


def grids() -> dict[str, np.ndarray]:
    """Maps that are hard for a median of few levels: sinks, spikes, steps, long tails."""
    rng = np.random.default_rng(0)
    flat = rng.random((14, 14))
    sinks = flat.copy()
    sinks[[0, 0, -1, -1], [0, -1, 0, -1]] = 1000
    spike = flat.copy()
    spike[5, 7] = 1e4
    one_hot, block, corner = np.zeros((3, 14, 14))
    one_hot[5, 5] = block[5:7, 5:7] = corner[0, 0] = 1
    step = 1e-6 * rng.random((14, 14))
    step[:, :7] += 1
    return {
        "uniform noise": flat,
        "skewed": flat**8,
        "long tail": np.exp(3 * rng.standard_normal((14, 14))),
        "four sinks": sinks,
        "one spike": spike,
        "one patch": one_hot,
        "a block": block,
        "a corner": corner,
        "a ramp": np.add.outer(np.arange(14.0), np.zeros(14)),
        "a step": step,
        "tiny values": 1e-12 * flat,
        "negative values": flat - 0.7,
    }


@pytest.mark.parametrize("gaussian", [True, False])
@pytest.mark.parametrize("name", grids())
def test_the_smoothed_map_is_within_a_display_level_of_scipy(name: str, gaussian: bool) -> None:
    grid = grids()[name]
    found = va.smooth_map(grid, SIZE, PATCH, gaussian=gaussian)
    assert found.dtype == np.float32
    difference = np.abs(scaled(found) - scaled(slow_smooth(grid, SIZE, PATCH, gaussian=gaussian)))
    assert difference.max() < DISPLAY_LEVEL


def test_real_maps_are_within_a_display_level_of_scipy(shared, real_model: va.models.AttentionModel) -> None:
    worst = 0.0
    for path in sorted((shared / "data" / "imagenet").iterdir())[::12]:
        capture = va.capture_attention(real_model, path)
        for layer in (0, 5, 11):
            maps = capture.patch_attention(layer)
            for grid in (*(va.aggregate_heads(maps, name) for name in va.AGGREGATIONS), maps[0]):
                expected = scaled(slow_smooth(grid, SIZE, PATCH))
                worst = max(worst, np.abs(scaled(va.smooth_map(grid)) - expected).max())
    assert worst < DISPLAY_LEVEL


@pytest.mark.parametrize(
    ("grid", "size", "patch"),
    [
        ((4, 6), (32, 48), 8),
        ((37, 37), (518, 518), 14),
        ((3, 9), (96, 288), 32),
        ((5, 4), (10, 8), 2),
        ((1, 1), (16, 16), 16),
    ],
)
def test_other_patch_sizes_and_oblong_grids_agree_with_scipy(
    grid: tuple[int, int], size: tuple[int, int], patch: int
) -> None:
    values = np.random.default_rng(1).random(grid)
    difference = np.abs(scaled(va.smooth_map(values, size, patch)) - scaled(slow_smooth(values, size, patch)))
    assert difference.max() < DISPLAY_LEVEL


@pytest.mark.parametrize("median", [True, False])
@pytest.mark.parametrize("gaussian", [True, False])
def test_each_step_can_be_switched_off(median: bool, gaussian: bool) -> None:
    grid = np.random.default_rng(2).random((14, 14))
    found = va.smooth_map(grid, SIZE, PATCH, median=median, gaussian=gaussian)
    expected = slow_smooth(grid, SIZE, PATCH, median, gaussian)
    assert np.abs(scaled(found) - scaled(expected)).max() < (DISPLAY_LEVEL if median else 1e-5)


def test_without_any_step_patches_are_plain_squares() -> None:
    grid = np.arange(6.0).reshape(2, 3)
    found = va.smooth_map(grid, (8, 12), 4, bilinear=False, median=False, gaussian=False)
    np.testing.assert_array_equal(found, np.kron(grid, np.ones((4, 4))))


def test_bilinear_upscaling_equals_the_definition() -> None:
    grid = np.random.default_rng(3).random((4, 7))
    np.testing.assert_allclose(upscale(grid, (32, 56)), slow_upscale(grid, (32, 56)), atol=1e-6)


@pytest.mark.parametrize("patch", [(1, 1), (0, 0), (6, 2), (13, 13), (7, 12)])
@pytest.mark.parametrize("steps", [(True, False, False), (True, False, True), (False, False, True)])
def test_a_hot_patch_lands_with_its_centroid_on_the_patch(patch: tuple[int, int], steps: tuple[bool, ...]) -> None:
    row, col = patch
    grid = np.zeros((14, 14))
    grid[row, col] = 1
    heat = va.smooth_map(grid, SIZE, PATCH, bilinear=steps[0], median=steps[1], gaussian=steps[2]).astype(float)
    # reflection at the border pulls a border patch's centroid inwards; only the patch's own square counts there
    if 0 < row < 13 and 0 < col < 13:
        centroid = [(heat.sum(axis=1 - axis) * np.arange(224)).sum() / heat.sum() for axis in (0, 1)]
        np.testing.assert_allclose(centroid, [row * 16 + 7.5, col * 16 + 7.5], atol=0.5)
    peak = np.unravel_index(heat.argmax(), heat.shape)
    assert row * 16 <= peak[0] < row * 16 + 16
    assert col * 16 <= peak[1] < col * 16 + 16


def test_the_median_erases_a_single_patch_and_keeps_a_block_of_two_by_two() -> None:
    hot, block = np.zeros((2, 14, 14))
    hot[5, 5] = block[5:7, 5:7] = 1
    peaks = [va.smooth_map(grid, gaussian=False).max() for grid in (hot, block)]
    exact = [slow_smooth(grid, SIZE, PATCH, gaussian=False).max() for grid in (hot, block)]
    np.testing.assert_allclose(peaks, exact, atol=0.004)
    assert peaks[0] < 0.6 < 0.9 < peaks[1]


@pytest.mark.parametrize("value", [0.0, 1.0, -3.0, 1e-30])
def test_a_constant_map_stays_constant_up_to_its_edges(value: float) -> None:
    np.testing.assert_allclose(va.smooth_map(np.full((14, 14), value)), value, rtol=1e-6)


def test_smoothing_never_leaves_the_range_of_the_raw_map() -> None:
    grid = np.random.default_rng(4).random((14, 14)).astype(np.float32) ** 4
    heat = va.smooth_map(grid)
    assert grid.min() - 1e-6 <= heat.min()
    assert heat.max() <= grid.max() + 1e-6


@pytest.mark.parametrize("radius", [1, 2, 4, 7, 8, 16])
def test_the_fast_median_is_within_half_a_level_of_the_exact_one_even_for_noise_a_pixel(radius: int) -> None:
    heat = np.random.default_rng(radius).random((60, 45)).astype(np.float32)
    exact = ndimage.median_filter(heat, footprint=disk(radius), mode="reflect")
    span = exact.max() - exact.min()
    assert np.abs(disk_median(heat, radius) - exact).max() <= 0.51 * 2 * span / 383


def test_the_input_is_not_changed() -> None:
    grid = np.random.default_rng(5).random((14, 14)).astype(np.float32)
    copy = grid.copy()
    va.smooth_map(grid)
    np.testing.assert_array_equal(grid, copy)
