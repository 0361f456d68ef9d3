"""Measures of maps, against their formulas written out in plain Python, properties, and figures measured elsewhere."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

import vitattn_widgets as va
from vitattn_widgets.datasets.masks import IGNORE
from vitattn_widgets.models.preprocess import Preprocessing

GRID = (4, 6)


@pytest.fixture
def heat() -> np.ndarray:
    return np.random.default_rng(0).gamma(0.3, size=GRID)


@pytest.fixture
def mask() -> np.ndarray:
    return np.random.default_rng(1).choice([0, 1, 2, IGNORE], size=GRID, p=[0.5, 0.2, 0.1, 0.2]).astype(np.uint8)


def cells(shape: tuple[int, int] = GRID) -> list[tuple[int, int]]:
    return [(row, col) for row in range(shape[0]) for col in range(shape[1])]


def test_mass_is_the_evidences_part_of_what_counts(heat: np.ndarray, mask: np.ndarray) -> None:
    on = sum(heat[cell] for cell in cells() if mask[cell] in (1, 2))
    off = sum(heat[cell] for cell in cells() if mask[cell] == 0)
    assert va.evaluation.mass_on_mask(heat, mask) == pytest.approx(on / (on + off), rel=1e-12)


def test_mass_of_a_uniform_map_is_the_evidences_share_of_the_picture(mask: np.ndarray) -> None:
    share = ((mask == 1) | (mask == 2)).sum() / (mask != IGNORE).sum()
    assert va.evaluation.mass_on_mask(va.evaluation.uniform_map(GRID), mask) == pytest.approx(share)
    assert va.evaluation.pointing_game(va.evaluation.uniform_map(GRID), mask) == pytest.approx(share)


@pytest.mark.parametrize(("cell", "value", "hit"), [((1, 2), 1, 1.0), ((1, 2), 0, 0.0), ((3, 5), 2, 1.0)])
def test_pointing_asks_where_the_maximum_lies(cell: tuple[int, int], value: int, hit: float) -> None:
    heat, mask = np.ones(GRID), np.zeros(GRID, np.uint8)
    mask[0, 0] = 1
    heat[cell], mask[cell] = 2, value
    assert va.evaluation.pointing_game(heat, mask) == hit


def test_an_ignored_maximum_is_neither_hit_nor_miss_and_ties_are_shared() -> None:
    heat, mask = np.zeros(GRID), np.zeros(GRID, np.uint8)
    mask[0, 0], mask[2, 2] = 1, IGNORE
    heat[2, 2] = 1
    assert math.isnan(va.evaluation.pointing_game(heat, mask))
    heat[0, 0] = heat[0, 1] = heat[0, 2] = heat[0, 3] = 1
    assert va.evaluation.pointing_game(heat, mask) == 0.25


def test_a_photo_without_evidence_has_no_value(heat: np.ndarray) -> None:
    for nothing in (np.zeros(GRID, np.uint8), np.full(GRID, IGNORE, np.uint8)):
        assert math.isnan(va.evaluation.mass_on_mask(heat, nothing))
        assert math.isnan(va.evaluation.pointing_game(heat, nothing))


@pytest.mark.parametrize("width", [1, 2])
def test_the_border_is_a_ring(heat: np.ndarray, width: int) -> None:
    ring = [heat[r, c] for r, c in cells() if min(r, c, GRID[0] - 1 - r, GRID[1] - 1 - c) < width]
    assert va.evaluation.border_share(heat, width) == pytest.approx(sum(ring) / heat.sum(), rel=1e-12)


def test_the_border_of_a_uniform_map_is_the_rings_share_of_the_patches() -> None:
    assert va.evaluation.border_share(va.evaluation.uniform_map((14, 14))) == pytest.approx(52 / 196)
    assert va.evaluation.border_share(va.evaluation.centre_blob((14, 14))) < 52 / 196


def test_entropy_equals_the_formula(heat: np.ndarray) -> None:
    shares = [heat[cell] / heat.sum() for cell in cells()]
    wanted = -sum(share * math.log(share) for share in shares) / math.log(24)
    assert va.evaluation.entropy(heat) == pytest.approx(wanted, rel=1e-12)
    assert va.evaluation.entropy(5 * va.evaluation.uniform_map(GRID)) == pytest.approx(1)
    assert va.evaluation.entropy(np.eye(1, 24).reshape(GRID)) == 0


def test_head_agreement_is_one_minus_the_mean_divergence_from_the_mean_head() -> None:
    maps = np.random.default_rng(2).gamma(0.3, size=(3, *GRID))
    heads = [[head[cell] / head.sum() for cell in cells()] for head in maps]
    middle = [sum(values) / 3 for values in zip(*heads, strict=True)]
    divergences = [sum(p * math.log(p / m) for p, m in zip(head, middle, strict=True) if p > 0) for head in heads]
    assert va.evaluation.head_agreement(maps) == pytest.approx(1 - sum(divergences) / 3 / math.log(3), rel=1e-9)


def test_heads_agree_fully_or_not_at_all(heat: np.ndarray) -> None:
    assert va.evaluation.head_agreement(np.stack([heat, 7 * heat, heat])) == pytest.approx(1)
    assert va.evaluation.head_agreement(np.eye(3, 24).reshape(3, *GRID)) == pytest.approx(0, abs=1e-12)
    assert math.isnan(va.evaluation.head_agreement(heat[None]))
    assert math.isnan(va.evaluation.head_agreement(np.stack([heat, 0 * heat])))


@pytest.mark.parametrize("scale", [1e-9, 1e6])
def test_the_unit_of_a_map_does_not_matter(heat: np.ndarray, mask: np.ndarray, scale: float) -> None:
    for measure in (
        lambda values: va.evaluation.mass_on_mask(values, mask),
        lambda values: va.evaluation.pointing_game(values, mask),
        va.evaluation.border_share,
        va.evaluation.entropy,
        lambda values: va.evaluation.share_on(values, mask / 255),
    ):
        assert measure(scale * heat) == pytest.approx(measure(heat), rel=1e-9)


def test_flat_patches_are_those_in_which_brightness_varies_least() -> None:
    rng = np.random.default_rng(3)
    spreads = rng.permutation(24).reshape(GRID)
    noise = rng.uniform(-1, 1, (*GRID, 8, 8)) * (3 + 4 * spreads)[..., None, None]
    luma = (128 + noise).transpose(0, 2, 1, 3).reshape(32, 48)
    view = np.repeat(luma[..., None], 3, axis=2).round().clip(0, 255).astype(np.uint8)
    np.testing.assert_array_equal(va.evaluation.flat_ground(view, GRID), spreads < 6)


def test_a_plain_background_shares_its_flatness() -> None:
    colors = np.random.default_rng(6).integers(0, 256, (*GRID, 3), dtype=np.uint8)
    view = colors.repeat(8, axis=0).repeat(8, axis=1)  # each patch plain, of its own colour
    np.testing.assert_allclose(va.evaluation.flat_ground(view, GRID), 0.25)
    view[:8, :8] = np.random.default_rng(0).integers(0, 255, (8, 8, 3))
    flat = va.evaluation.flat_ground(view, GRID, part=0.5)
    assert flat[0, 0] == 0
    np.testing.assert_allclose(flat.ravel()[1:], 12 / 23)


@pytest.mark.parametrize("part", [0, 0.1, 0.25, 1])
def test_flat_ground_is_as_large_as_asked_and_so_is_a_uniform_maps_share_on_it(part: float) -> None:
    view = np.random.default_rng(4).integers(0, 255, (32, 48, 3), dtype=np.uint8)
    flat = va.evaluation.flat_ground(view, GRID, part)
    assert flat.sum() == pytest.approx(part * 24)
    assert va.evaluation.share_on(va.evaluation.uniform_map(GRID), flat) == pytest.approx(part)


def test_patches_of_the_same_pixels_are_equally_flat() -> None:
    """To the last bit, in whatever order the pixels come, also where patches are large and bright."""
    rng = np.random.default_rng(5)
    pixels = rng.integers(200, 256, (64 * 64, 3), dtype=np.uint8)
    patches = np.stack([rng.permutation(pixels) for _ in range(24)]).reshape(*GRID, 64, 64, 3)
    view = patches.swapaxes(1, 2).reshape(256, 384, 3)
    np.testing.assert_allclose(va.evaluation.flat_ground(view, GRID), 0.25, rtol=1e-12)


def test_the_centre_blob_is_a_gaussian_around_the_middle() -> None:
    blob = va.evaluation.centre_blob(GRID, sigma=2)
    assert blob.sum() == pytest.approx(1)
    for row, col in cells():
        distance = (row - 1.5) ** 2 + (col - 2.5) ** 2
        assert blob[row, col] / blob[1, 2] == pytest.approx(math.exp((0.5 - distance) / 8))


@pytest.mark.parametrize("photo_size", [(101, 121), (301, 97), (63, 65), (51, 901)])
@pytest.mark.parametrize("crop", [("center", 0.9), ("center", 1.0), ("squash", 1.0)])
def test_a_mask_is_resized_and_cropped_as_pillow_does_it_to_the_photo(
    photo_size: tuple[int, int], crop: tuple[str, float]
) -> None:
    # odd sides: no centre of a view's pixel falls between two pixels of the photo, where Pillow takes either
    mode, share = crop
    transform = Preprocessing((48, 64), "nearest", share, mode, (0.5,) * 3, (0.5,) * 3)
    mask = np.random.default_rng(5).integers(0, 4, photo_size, dtype=np.uint8)
    photo = Image.fromarray(mask).convert("RGB")
    crop_box = replace(transform, interpolation="bicubic").view(photo).crop_box
    expected = transform.view(photo).pixels[:, :, 0]
    np.testing.assert_array_equal(va.datasets.mask_on_view(mask, crop_box, (48, 64)), expected)


def test_a_view_that_reaches_beyond_the_photo_is_ignored_there() -> None:
    seen = va.datasets.mask_on_view(np.ones((10, 20), np.uint8), (-5, 0, 25, 10), (10, 30))
    np.testing.assert_array_equal(seen[:, :5], IGNORE)
    np.testing.assert_array_equal(seen[:, 5:25], 1)
    np.testing.assert_array_equal(seen[:, 25:], IGNORE)


@pytest.mark.parametrize("width", [1, 2.5])
def test_an_outline_is_the_band_on_both_sides_of_the_edge(width: float) -> None:
    mask = (np.random.default_rng(7).random((12, 15)) > 0.9).astype(np.uint8)
    mask[4:9, 3:11] = 2
    mask[0, 5], mask[11, 11] = IGNORE, IGNORE
    evidence = mask % IGNORE > 0
    expected = np.zeros_like(mask)
    for cell in cells(mask.shape):
        others = np.argwhere(evidence != evidence[cell])
        expected[cell] = (np.hypot(*(others - cell).T) <= width).any()
    expected[mask == IGNORE] = IGNORE
    np.testing.assert_array_equal(va.datasets.mask_outline(mask, width), expected)


@pytest.mark.parametrize("value", [0, 1])
def test_a_mask_without_an_edge_has_no_outline(value: int) -> None:
    assert not va.datasets.mask_outline(np.full(GRID, value, np.uint8), 2).any()


def test_wrong_input_is_refused_with_the_way_out(heat: np.ndarray, mask: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"\(4, 6\) does not fit a mask of shape \(4, 5\); bring a map"):
        va.evaluation.mass_on_mask(heat, mask[:, :5])
    with pytest.raises(ValueError, match="none of them negative"):
        va.evaluation.entropy(heat - 1)
    with pytest.raises(ValueError, match="finite"):
        va.evaluation.border_share(np.full(GRID, np.nan))
    with pytest.raises(ValueError, match="at least one cell"):
        va.evaluation.border_share(heat, 0)
    with pytest.raises(ValueError, match="4 x 6 does not divide a view of 30 x 48"):
        va.evaluation.flat_ground(np.zeros((30, 48, 3), np.uint8), GRID)
    with pytest.raises(ValueError, match=r"part must lie in 0\.\.1"):
        va.evaluation.flat_ground(np.zeros((32, 48, 3), np.uint8), GRID, 25)


def test_an_all_zero_map_has_no_shares(mask: np.ndarray) -> None:
    nothing = np.zeros(GRID)
    values = (
        va.evaluation.mass_on_mask(nothing, mask),
        va.evaluation.border_share(nothing),
        va.evaluation.entropy(nothing),
        va.evaluation.share_on(nothing, nothing),
    )
    assert all(math.isnan(value) for value in values)
