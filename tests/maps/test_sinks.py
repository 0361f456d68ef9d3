"""Sinks: planted ones are found, objects and noise are not, and leaving them out keeps what is left in proportion."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

import vitattn_widgets as va
from vitattn_widgets.maps.attribution import grid_map
from vitattn_widgets.maps.sinks import (
    NEIGHBOURS,
    QUANTILE,
    SINK_RATIO,
    SINK_SHARE,
    drawn_attention,
    leave_out,
    share_of,
    sink_patches,
)

from .. import model_zoo
from ..conftest import noise_photo


def noise_maps(heads: int = 3, grid: tuple[int, int] = (9, 12), seed: int = 0) -> np.ndarray:
    maps = np.random.default_rng(seed).gamma(4.0, size=(heads, *grid))
    return maps / maps.sum((1, 2), keepdims=True)


def slow_sinks(drawn: np.ndarray) -> np.ndarray:
    """The rule with scipy's filter and loops."""
    footprint = np.ones((2 * NEIGHBOURS + 1,) * 2, bool)
    footprint[NEIGHBOURS, NEIGHBOURS] = False

    def quartile(values: np.ndarray) -> float:
        inside = sorted(values[~np.isnan(values)])
        return inside[int(QUANTILE * (len(inside) - 1))]

    ratios = [
        head / ndimage.generic_filter(head, quartile, footprint=footprint, mode="constant", cval=np.nan)
        for head in drawn.astype(np.float64)
    ]
    return (np.median(ratios, 0) >= SINK_RATIO) & (drawn.mean(0) >= SINK_SHARE / drawn[0].size)


@pytest.mark.parametrize("seed", range(5))
def test_the_rule_equals_a_slow_one(seed: int) -> None:
    rng = np.random.default_rng(seed)
    maps = rng.pareto(1.0, size=(4, 7, 10)) + 0.01
    maps[:, 3, 9] *= 100
    maps /= maps.sum((1, 2), keepdims=True)
    found = sink_patches(maps)
    assert found.any()
    np.testing.assert_array_equal(found, slow_sinks(maps))


def test_planted_sinks_are_found_and_nothing_else() -> None:
    maps = noise_maps()
    assert not sink_patches(maps).any()
    maps[:, 0, 0] *= 20
    maps[:, 4, 7] *= 20
    maps /= maps.sum((1, 2), keepdims=True)
    assert set(map(tuple, np.argwhere(sink_patches(maps)))) == {(0, 0), (4, 7)}


def test_what_one_head_looks_at_is_no_sink() -> None:
    maps = noise_maps()
    maps[0, 4, 7] *= 50
    assert not sink_patches(maps / maps.sum((1, 2), keepdims=True)).any()


def test_an_object_of_many_patches_is_no_sink() -> None:
    maps = noise_maps()
    maps[:, 2:7, 3:9] *= 20
    assert not sink_patches(maps / maps.sum((1, 2), keepdims=True)).any()


def test_all_zero_and_constant_maps_have_no_sinks() -> None:
    assert not sink_patches(np.zeros((2, 4, 6))).any()
    assert not sink_patches(np.full((2, 4, 6), 1 / 24)).any()


def test_what_is_drawn_is_the_mean_over_the_patches(wide_capture: va.capture.AttentionCapture) -> None:
    expected = wide_capture.patch_attention(1, "mean")
    np.testing.assert_allclose(drawn_attention(wide_capture, 1), expected, atol=1e-6)


@pytest.mark.parametrize("family", ["vit_attention_pool", "cait", "vit_differential"])
def test_layers_without_patch_queries_and_negative_attention_are_fine(family: str) -> None:
    capture = va.capture_attention(va.load_model(model_zoo.build(family)), noise_photo((40, 40)))
    for layer in range(capture.num_layers):
        assert va.find_sinks(capture, layer).shape == (4, 4)


def test_leaving_out_keeps_the_rest_in_proportion() -> None:
    maps, sinks = noise_maps(2, (2, 3)), np.array([[True, False, False], [False, False, False]])
    maps[1] *= 3
    each = leave_out(maps, sinks, each=True)
    together = leave_out(maps, sinks, each=False)
    for left in (each, together):
        assert (left[:, 0, 0] == 0).all()
        np.testing.assert_allclose(left[:, 1, 2] / left[:, 0, 1], maps[:, 1, 2] / maps[:, 0, 1], rtol=1e-5)
    np.testing.assert_allclose(each.sum((1, 2)), 1, rtol=1e-6)
    assert together.mean(0).sum() == pytest.approx(1)
    assert together[1].sum() > 2 * together[0].sum()
    np.testing.assert_array_equal(leave_out(maps, np.ones((2, 3), bool), each=True), 0)


def test_the_real_models_corners_are_sinks(chelsea: va.capture.AttentionCapture) -> None:
    assert not va.find_sinks(chelsea, 0).any()
    sinks = va.find_sinks(chelsea)
    assert sinks[[0, 0, -1, -1], [0, -1, 0, -1]].all()
    shown = grid_map(chelsea, va.ViewSettings())
    share = share_of(shown, sinks)
    assert share == pytest.approx(shown[sinks].sum(), rel=1e-5)
    patches = f"{sinks.sum()} sink patches"
    assert va.view.caption(chelsea, va.ViewSettings()).endswith(f"{patches} hold {share:.0%} of the map")
    assert f"{patches} (outlined) hold {share:.0%}" in va.view.caption(chelsea, va.ViewSettings(sinks="outline"))
    left_out = va.render_view(chelsea, va.ViewSettings(sinks="leave_out"))
    assert f"{patches} with {share:.0%} of the map are left out" in left_out.caption
    np.testing.assert_array_equal(left_out.grid_map[sinks], 0)
    np.testing.assert_allclose(left_out.grid_map.sum(), 1, rtol=1e-5)


def test_outlined_sinks_are_framed_where_they_are_and_nothing_else_changes(
    chelsea: va.capture.AttentionCapture,
) -> None:
    sinks = va.find_sinks(chelsea)
    for on in ("view", "original"):
        plain = va.render_view(chelsea, va.ViewSettings(on=on))
        framed = va.render_view(chelsea, replace(plain.settings, sinks="outline"))
        np.testing.assert_array_equal(framed.heat, plain.heat)
        changed = (framed.image != plain.image).any(-1)
        box = (0, 0, 224, 224) if on == "view" else chelsea.crop_box
        rows, cols = np.nonzero(changed)
        row = ((rows + 0.5 - box[1]) / (box[3] - box[1]) * 14).astype(int).clip(0, 13)
        col = ((cols + 0.5 - box[0]) / (box[2] - box[0]) * 14).astype(int).clip(0, 13)
        inside = np.zeros((14, 14), bool)
        inside[row, col] = True
        assert (inside[sinks]).all()
        near = ndimage.binary_dilation(sinks) if on == "original" else sinks  # whole pixels of the photo
        assert not inside[~near].any()


def test_sinks_of_a_class_map_are_stated_too(
    real_model: va.models.AttentionModel, chelsea: va.capture.AttentionCapture
) -> None:
    settings = va.ViewSettings(source="relevance", sinks="leave_out")
    rendered = va.render_view(va.complete_capture(real_model, chelsea, settings), settings)
    np.testing.assert_array_equal(rendered.grid_map[va.find_sinks(chelsea)], 0)
    assert "are left out" in rendered.caption


def test_without_sinks_the_heads_of_a_class_map_keep_their_weights(
    real_model: va.models.AttentionModel, chelsea: va.capture.AttentionCapture
) -> None:
    settings = va.ViewSettings(source="gradient", sinks="leave_out")
    capture = va.complete_capture(real_model, chelsea, settings)
    kept = va.maps.source_maps(capture, settings).maps * ~va.find_sinks(capture)
    np.testing.assert_allclose(grid_map(capture, settings), kept.mean(0) / kept.mean(0).sum(), rtol=1e-4)
    one = grid_map(capture, replace(settings, head=1))
    np.testing.assert_allclose(one, kept[1] / kept.mean(0).sum(), rtol=1e-4)
    plain = va.ViewSettings(sinks="leave_out", head=1)
    np.testing.assert_allclose(grid_map(chelsea, plain).sum(), 1, rtol=1e-5)
