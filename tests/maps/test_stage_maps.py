"""Maps of models with windows and stages: every source against autograd, and what is said about them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import vitattn_widgets as va
from vitattn_widgets.maps.attribution import gradient_rows, late_gradient_row, late_layers
from vitattn_widgets.maps.propagation import relevance_row, rollout_row
from vitattn_widgets.maps.resolve import fit_settings
from vitattn_widgets.models.families import output_projection
from vitattn_widgets.models.partitions import merges, spread, unmerge, windows_of
from vitattn_widgets.models.stages import patch_grids
from vitattn_widgets.view.captions import caption, sentence

from .. import stage_zoo
from ..capture.test_stages import eager_attention, unfused, whole_rows
from ..conftest import noise_photo


def load(key: str) -> va.models.AttentionModel:
    return va.load_model(stage_zoo.build(key), img_size=stage_zoo.MODELS[key].size)


def eager_gradients(model: va.models.AttentionModel, tensor: Tensor, target: int) -> dict[str, Tensor]:
    """The gradient of a logit with respect to each layer's eager attention, by autograd."""
    weights: dict[str, Tensor] = {}

    def keep(name: str) -> Any:
        def hook(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            inputs[0].retain_grad()
            weights[name] = inputs[0]

        return hook

    hooks = [site.attn_drop.register_forward_pre_hook(keep(name)) for name, site in model.sites.items()]
    with unfused(model.module):
        model.module(tensor.requires_grad_())[0, target].backward()
    for hook in hooks:
        hook.remove()
    return {name: weight.grad for name, weight in weights.items()}


@pytest.mark.parametrize(
    "key",
    ["swin", "swin_padded", "swinv2", "maxvit", "maxvit_channels_first", "nest", "sam", "pvt_v2", "gcvit", "volo"],
)
def test_gradient_times_attention_is_autograds(key: str) -> None:
    model = load(key)
    capture = va.capture_attention(model, noise_photo((50, 70)))
    capture = va.complete_capture(model, capture, va.ViewSettings(source="gradient", target=2))
    tensor = model.preprocessing.tensor(capture.pixels)[None]
    attention, gradients = eager_attention(model, tensor), eager_gradients(model, tensor, 2)
    for number, (name, layer) in enumerate(zip(capture.layer_names, capture.layers, strict=True)):
        site, partition = model.sites[name], model.partitions[name]
        terms = [whole_rows(part[name], site, partition, layer.num_keys)[0] for part in (attention, gradients)]
        expected = (terms[0] * terms[1]).clamp_min(0).numpy()  # head query key
        for query in (None, *([(1, 0)] if layer.tokens.query_patches else [])):
            rows = gradient_rows(capture, number, query, capture.class_gradients(2))
            wanted = expected[:, capture.query_indices(number, query)].mean(1)
            np.testing.assert_allclose(rows, wanted, atol=1e-5 * expected.max())


@pytest.mark.parametrize("key", ["swin_padded", "nest", "maxvit", "maxvit_channels_first", "sam", "davit", "visformer"])
def test_the_projected_values_add_up_to_what_the_layer_gives(key: str) -> None:
    model = load(key)
    capture = va.capture_attention(model, noise_photo((50, 70)))
    outputs: dict[str, Tensor] = {}
    hooks = [
        site.register_forward_hook(lambda _, __, output, name=name: outputs.__setitem__(name, output.detach()))
        for name, site in model.sites.items()
    ]
    with torch.no_grad():
        model.module(model.preprocessing.tensor(capture.pixels)[None])
    for hook in hooks:
        hook.remove()
    for layer in capture.layers:
        site, windows = model.sites[layer.name], windows_of(model.partitions[layer.name])
        projection = output_projection(site, layer.num_heads, layer.output.shape[3])
        bias = 0 if site.proj.bias is None else site.proj.bias.detach()
        summed = (layer.output[0] @ projection).sum(0) + bias  # query out
        output = outputs[layer.name]
        width = summed.shape[-1]
        if isinstance(site.proj, nn.Conv2d):
            output = output.movedim(1, -1)
        output = output.reshape(len(windows.queries), -1, width)  # window slot out
        window, slot = windows.places.T
        torch.testing.assert_close(summed, output[window, slot], rtol=1e-4, atol=1e-4)


def test_a_map_on_another_grid_keeps_its_sum_and_its_place() -> None:
    chance = np.random.default_rng(0)
    fine = chance.random((8, 12))
    pooled = fine.reshape(4, 2, 6, 2).sum((1, 3))
    np.testing.assert_allclose(spread(fine, (4, 6)), pooled)
    np.testing.assert_allclose(spread(pooled, (8, 12)), np.kron(pooled, np.full((2, 2), 0.25)))
    odd = spread(fine, (5, 7))
    assert odd.sum() == pytest.approx(fine.sum())
    slow = spread(spread(fine, (40, 84)), (5, 7))  # a grid that both divide
    np.testing.assert_allclose(odd, slow)


def test_late_gradients_cross_stages_on_the_layers_own_grid() -> None:
    model = load("swin")
    capture = va.capture_attention(model, noise_photo((50, 70)))
    capture = va.complete_capture(model, capture, va.ViewSettings(source="gradient_late"))
    gradients = capture.class_gradients()
    assert list(late_layers(capture, 2)) == [1, 2]
    assert [capture.layers[layer].tokens.grid for layer in (1, 2)] == [(16, 24), (8, 12)]
    row = late_gradient_row(capture, 2, None, gradients)
    first = gradient_rows(capture, 1, "mean", gradients).mean(0).reshape(16, 24) * 16 * 24
    second = gradient_rows(capture, 2, "mean", gradients).mean(0).reshape(8, 12) * 8 * 12
    np.testing.assert_allclose(row.reshape(8, 12), first.reshape(8, 2, 12, 2).sum((1, 3)) + second, rtol=1e-6)


@pytest.mark.parametrize("key", stage_zoo.MODELS)
def test_every_source_draws_or_says_why_not(key: str) -> None:
    model = load(key)
    capture = va.capture_attention(model, noise_photo((50, 70)))
    drawn = 0
    for source in va.SOURCES:
        for layer in (0, -1):
            settings = va.ViewSettings(layer=layer, source=source, sinks="mark", on="original")
            reason = ""
            try:
                capture = va.complete_capture(model, capture, settings)
                rendered = va.render_view(capture, settings)
            except va.errors.VitattnError as error:
                reason = str(error)
            if reason:
                assert "choose" in reason
                assert source in (("norm", "rollout", "relevance") if key != "iformer" else va.SOURCES[1:])
                continue
            assert rendered.grid_map.shape == capture.layers[layer].tokens.grid
            assert rendered.heat.shape == capture.view.shape[:2]
            assert np.isfinite(rendered.heat).all()
            if not settings.source_info.signed:
                assert ("prefix" in rendered.caption) == bool(capture.layers[layer].tokens.key_prefix)
            drawn += 1
    assert drawn >= (6 if key == "iformer" else 12)


def test_the_words_name_the_grid_the_windows_and_what_the_classifier_reads() -> None:
    capture = va.capture_attention(load("swin_padded"), noise_photo((50, 70)))
    assert capture.layout.read == ("mean",)
    first = caption(capture, va.ViewSettings(layer=1, head=0, query=(3, 5)))
    assert "query: patch at row 3, col 5 of 14 x 21" in first
    assert "(the classifier reads the mean of the patches of the last layer, on 7 x 11 patches)" in first
    assert first.endswith("attention inside windows of 4 x 4 patches, shifted by 2 x 2")
    last = caption(capture, va.ViewSettings())
    assert "query: mean of the patches of 7 x 11, which the classifier reads" in last
    assert "% of this attention went to padding beyond the edges and is left out" in last
    assert "Attention stays inside windows of 4 x 4 patches" in sentence(capture, va.ViewSettings())


def test_a_robust_scale_is_taken_over_what_the_query_can_reach() -> None:
    capture = va.capture_attention(load("swin"), noise_photo((50, 70)))
    plain = va.ViewSettings(query=(5, 9), layer=0, scale="robust", bilinear=False, median=False, gaussian=False)
    low, high = va.render_view(capture, plain).value_range
    window = capture.patch_attention(0, (5, 9)).mean(0)[4:8, 8:12]  # 4% of the picture: the rest is zero
    assert (low, high) == pytest.approx(tuple(np.percentile(np.kron(window, np.ones((4, 4))), (5, 95))))
    row = va.compare_views([va.comparison.Panel(capture, plain)], "robust")
    assert row.limits == pytest.approx((low * 16 * 24, high * 16 * 24), rel=1e-5)
    everywhere = replace(plain, query=None)
    values = va.maps.grid_map(capture, everywhere)
    expected = np.percentile(np.kron(values, np.ones((4, 4))), (5, 95))
    assert va.render_view(capture, everywhere).value_range == pytest.approx(tuple(expected))


def test_a_patch_that_does_not_exist_is_refused_with_the_layers_own_grid() -> None:
    capture = va.capture_attention(load("pvt_v2"), noise_photo((50, 70)))
    assert capture.patch_attention(0, (15, 23)).shape == (1, 2, 3)
    with pytest.raises(va.errors.SettingsError, match=r"a patch \(row, col\) with row 0..15, col 0..23"):
        capture.patch_attention(0, (16, 0))


def test_settings_of_another_grid_move_to_the_patch_at_the_same_place() -> None:
    capture = va.capture_attention(load("mvitv2"), noise_photo((50, 70)))
    settings = va.ViewSettings(layer=3, query=(10, 14), source="rollout")
    fitted = fit_settings(settings, capture, asked=("layer",), grid=(16, 16))
    assert fitted.query == (2, 3)
    assert fitted.source == "attention"  # nothing can be followed through its pooled keys and queries


@pytest.mark.parametrize("key", ["levit", "pvt_v2_linear", "maxvit_parallel"])
def test_rollout_is_refused_with_the_reason_and_the_way_out(key: str) -> None:
    model = load(key)
    capture = va.capture_attention(model, noise_photo((50, 70)))
    for source in ("rollout", "relevance"):
        with pytest.raises(
            va.errors.SettingsError, match=r"between its layers lie poolings.* choose one of 'attention'"
        ):
            va.render_view(va.complete_capture(model, capture, va.ViewSettings()), va.ViewSettings(source=source))


FOLLOWED = ("swin", "swin_padded", "swinv2", "swinv2_cr", "hiera", "hieradet", "maxvit", "maxvit_channels_first")
FOLLOWED += ("coatnet", "sam", "pvt_v2", "twins", "twins_pyramid", "nest")


def pooled(fine: tuple[int, int], coarse: tuple[int, int]) -> np.ndarray:
    """Which cells of a fine grid were merged into each coarse one, evenly: ``(coarse, fine)``, row sums 1."""
    matrix = np.zeros((coarse[0] * coarse[1], fine[0] * fine[1]))
    down, across = -(-fine[0] // coarse[0]), -(-fine[1] // coarse[1])
    for row, col in np.ndindex(*fine):
        matrix[row // down * coarse[1] + col // across, row * fine[1] + col] = 1
    return matrix / matrix.sum(1, keepdims=True)


def chained(capture: va.capture.AttentionCapture, mixing: list[np.ndarray], rollout: bool) -> np.ndarray:
    """Oracle: the product of dense matrices from the last layer's queries to the first layer's tokens."""
    product, above = None, None
    for layer, matrix in zip(reversed(capture.layers), reversed(mixing), strict=True):
        queries, keys = layer.tokens.query_grid, layer.tokens.grid
        entering = queries if queries[0] >= keys[0] else keys
        attended = matrix[:, layer.tokens.padding :] @ pooled(entering, keys)
        step = pooled(entering, queries) + attended
        if rollout:
            step /= step.sum(1, keepdims=True)
        product = step if product is None else product @ pooled(queries, above) @ step
        above = entering
    return product


@pytest.mark.parametrize("key", FOLLOWED)
def test_rollout_and_relevance_are_products_of_dense_matrices_across_grids(key: str) -> None:
    model = load(key)
    capture = va.capture.capture_gradients(model, va.capture_attention(model, noise_photo((50, 70))), 2)
    assert capture.followed
    whole = [
        layer.attention.rows(np.arange(layer.output.shape[2]), torch.float64)[0].numpy() for layer in capture.layers
    ]
    slopes = [
        (one[0] @ layer.values[0].mT).double().numpy()
        for one, layer in zip(capture.class_gradients(2).outputs, capture.layers, strict=True)
    ]
    first, last = capture.layers[0].tokens.entering_grid, capture.layers[-1].tokens
    rolled = chained(capture, [matrix.mean(0) for matrix in whole], rollout=True)
    terms = [(one * other).clip(min=0).mean(0) for one, other in zip(whole, slopes, strict=True)]
    relevant = chained(capture, terms, rollout=False)
    relevant -= chained(capture, [np.zeros_like(one) for one in terms], rollout=False)
    place = last.query_grid[1] + 1 if min(last.query_grid) > 1 else 0  # the patch at row 1, col 1
    for query, rows in ((None, slice(None)), (divmod(place, last.query_grid[1]), slice(place, place + 1))):
        for found, matrix in (
            (rollout_row(capture, -1, query), rolled),
            (relevance_row(capture, -1, query, capture.class_gradients(2)), relevant),
        ):
            expected = spread(matrix[rows].mean(0).reshape(first), last.grid).ravel()
            np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())
    assert rollout_row(capture, -1, None).sum() == pytest.approx(1)
    if capture.num_layers > 3:  # a layer in the middle, on its own grid
        assert rollout_row(capture, 1, None).shape == (np.prod(capture.layers[1].tokens.grid),)


def test_pooling_is_undone_evenly_and_only_where_it_was_pooling() -> None:
    chance = np.random.default_rng(0)
    coarse = chance.random((4, 6))
    np.testing.assert_allclose(unmerge(coarse, (7, 11)).ravel(), coarse.ravel() @ pooled((7, 11), (4, 6)))
    assert unmerge(coarse, (7, 11)).sum() == pytest.approx(coarse.sum())
    assert merges((16, 24), (8, 12))
    assert merges((7, 11), (4, 6))
    assert merges((4, 6), (4, 6))
    assert not merges((16, 24), (7, 7))
    assert not merges((8, 12), (16, 24))


def test_the_map_of_a_padded_grid_lies_where_its_patches_are() -> None:
    """Of 11 columns of 8 pixels on 84, half of the last one lies beyond the edge: columns keep their 8 pixels."""
    capture = va.capture_attention(load("swin_padded"), noise_photo((56, 84)))
    assert capture.patch_shape() == (8, 8)
    assert capture.covered() == (56, 88)
    plain = {"bilinear": False, "median": False, "gaussian": False}
    heat = va.render_view(capture, va.ViewSettings(**plain)).heat
    for col in range(11):
        column = heat[:, 8 * col : 8 * col + 8]
        np.testing.assert_array_equal(column, column[:, :1].repeat(column.shape[1], 1))


def test_each_layer_is_measured_over_many_photos_on_its_own_grid_of_whole_patches() -> None:
    model = load("swin")
    found = patch_grids(model.name, model.layout, model.partitions, (64, 96), [-1, 0])
    assert found == [((8, 12), (8, 8)), ((16, 24), (4, 4))]
    assert found[1].size == (64, 96)
    padded = load("swin_padded")
    assert patch_grids(padded.name, padded.layout, padded.partitions, (56, 84), [1])[0].grid == (14, 21)
    with pytest.raises(va.errors.SettingsError, match=r"7 x 11 patches of layer 3 .* do not divide its input"):
        patch_grids(padded.name, padded.layout, padded.partitions, (56, 84), [1, -1])


def test_what_is_known_of_flat_models_alone_is_said() -> None:
    model = load("swin")
    capture = va.capture_attention(model, noise_photo((50, 70)))
    with pytest.raises(va.errors.ModelError, match=r"for flat models alone, and .* has windows or stages"):
        va.capture.capture_head_contributions(model, capture)
    with pytest.raises(va.errors.ModelError, match="classifier reads the last stage alone"):
        va.capture.capture_layer_answers(model, capture)
