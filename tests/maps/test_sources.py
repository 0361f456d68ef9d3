"""Every source against a hand-computed three-token example and an independent slow version with whole matrices."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch

import vitattn_widgets as va
from vitattn_widgets.capture.attention import DenseBias, Scores, SoftmaxAttention
from vitattn_widgets.capture.capture import CapturedLayer
from vitattn_widgets.maps.attribution import gradient_rows, late_gradient_row, late_layers, norm_rows
from vitattn_widgets.maps.propagation import relevance_row, rollout_row
from vitattn_widgets.maps.sources import CATALOGUE
from vitattn_widgets.models.tokens import LayerTokens, TokenLayout

from .. import model_zoo
from ..capture.test_backward import eager_gradients
from ..conftest import SAMPLES, noise_photo


def capture_of(
    attentions: Sequence[np.ndarray], values: Sequence[np.ndarray], **more: object
) -> va.capture.AttentionCapture:
    """A capture of a class token and two patches, with the given matrices ``(head, query, key)``."""
    layout = TokenLayout((1, 2), ("class",), (4, 4), "class", ("class",))
    tokens = LayerTokens(("class",), True, ("class",), (1, 2))
    layers = []
    for number, (matrix, value) in enumerate(zip(attentions, values, strict=True)):
        scores = torch.tensor(matrix, dtype=torch.float32).log()  # softmax of the logarithm gives the matrix back
        empty = torch.zeros(1, len(matrix), 3, 1)
        attention = SoftmaxAttention(Scores(empty, empty, 1.0, DenseBias(scores)))
        value = torch.tensor(value, dtype=torch.float32)[None]
        layers.append(CapturedLayer(f"blocks.{number}.attn", tokens, attention, value, empty))
    view = np.zeros((4, 8, 3), np.uint8)
    return va.capture.AttentionCapture(
        "hand",
        layout,
        tuple(layers),
        view,
        view,
        view,
        (0, 0, 8, 4),
        np.array([0.3, 0.7], np.float32),
        ("a", "b"),
        **more,
    )


FIRST = np.array([[[0.5, 0.25, 0.25], [0.25, 0.5, 0.25], [0.25, 0.25, 0.5]]] * 2)
LAST = np.array(
    [[[0.2, 0.6, 0.2], [0.5, 0.25, 0.25], [0.25, 0.25, 0.5]], [[0.4, 0.2, 0.4], [0.5, 0.25, 0.25], [0.25, 0.25, 0.5]]]
)
ONES = np.ones((2, 3, 1))


def test_rollout_by_hand() -> None:
    capture = capture_of([FIRST, LAST], [ONES, ONES])
    # class row of the last layer, heads averaged: .3 .4 .3; with the identity and halved: .65 .2 .15
    # rows of the first layer with the identity, halved: .75 .125 .125 / .125 .75 .125 / .125 .125 .75
    # .65 * .75 + .2 * .125 + .15 * .125 = .53125 and so on
    np.testing.assert_allclose(rollout_row(capture, -1, None), [0.53125, 0.25, 0.21875], atol=1e-7)
    # max of the class row's heads: .4 .6 .4, sum with the identity 2.4: 1.4 .6 .4 / 2.4
    np.testing.assert_allclose(
        rollout_row(capture, -1, None, "max"),
        (
            1.4 * np.array([0.75, 0.125, 0.125])
            + 0.6 * np.array([0.125, 0.75, 0.125])
            + 0.4 * np.array([0.125, 0.125, 0.75])
        )
        / 2.4,
        atol=1e-7,
    )
    np.testing.assert_allclose(rollout_row(capture, 0, None), [0.75, 0.125, 0.125], atol=1e-7)


def hand_gradients() -> va.capture.ClassGradients:
    """Values are ones of width 1, so the gradient with respect to a row is the same number for all its keys."""
    first = np.array([[[1.0], [2.0], [-1.0]], [[-2.0], [0.0], [4.0]]])
    last = np.array([[[1.0], [0.0], [0.0]], [[-0.5], [0.0], [0.0]]])
    return va.capture.ClassGradients(1, tuple(torch.tensor(part, dtype=torch.float32)[None] for part in (first, last)))


def test_relevance_by_hand() -> None:
    capture = capture_of([FIRST, LAST], [ONES, ONES])
    # last: head 0 gives 1 * (.2 .6 .2), head 1 is negative: mean .1 .3 .1 for the class row, nothing for the others
    # first, class row: head 0 1 * (.5 .25 .25), head 1 negative: mean .25 .125 .125; patch 0: head 0 2 * (.25 .5 .25),
    # head 1 zero: .25 .5 .25; patch 1: head 0 negative, head 1 4 * (.25 .25 .5): .5 .5 1
    # row of R: (1 0 0) C_last = (.1 .3 .1) joins (1 0 0): (1.1 .3 .1); then the same once more through the first layer
    row = np.array([1.1, 0.3, 0.1])
    row = row + 1.1 * np.array([0.25, 0.125, 0.125]) + 0.3 * np.array([0.25, 0.5, 0.25]) + 0.1 * np.array([0.5, 0.5, 1])
    found = relevance_row(capture, -1, None, hand_gradients())
    np.testing.assert_allclose(found, row - [1, 0, 0], atol=1e-7)


def test_gradient_by_hand() -> None:
    capture = capture_of([FIRST, LAST], [ONES, ONES])
    rows = gradient_rows(capture, -1, None, hand_gradients())
    np.testing.assert_allclose(rows, [[0.2, 0.6, 0.2], [0, 0, 0]], atol=1e-7)
    rows = gradient_rows(capture, 0, "mean", hand_gradients())  # positive part first, then the mean over the patches
    np.testing.assert_allclose(rows, [[0.25, 0.5, 0.25], [0.5, 0.5, 1]], atol=1e-7)


def test_late_gradient_by_hand() -> None:
    capture = capture_of([FIRST, FIRST, LAST, LAST], [ONES] * 4)
    assert list(late_layers(capture, -1)) == [2, 3]
    assert list(late_layers(capture, 0)) == [0]
    outputs = hand_gradients().outputs
    gradients = va.capture.ClassGradients(1, (outputs[0], outputs[0], outputs[1], outputs[1]))
    # each of both layers: head 0 gives .2 .6 .2, head 1 is negative
    np.testing.assert_allclose(late_gradient_row(capture, -1, None, gradients), [0.2, 0.6, 0.2], atol=1e-7)
    # layers 0 and 1, the sum of both patches' rows: head 0 .5 1 .5, head 1 1 1 2, halved, twice
    np.testing.assert_allclose(late_gradient_row(capture, 1, "mean", gradients), [1.5, 2, 2.5], atol=1e-7)


def test_norm_by_hand() -> None:
    values = np.array([[[3.0, 4.0], [0.0, 1.0], [0.0, 0.0]], [[1.0, 0.0], [0.0, -2.0], [3.0, 4.0]]])
    norms = (np.array([[5.0, 1.0, 0.0], [1.0, 2.0, 5.0]], np.float32),) * 2
    capture = capture_of([FIRST, LAST], [values, values], value_norms=norms)
    np.testing.assert_allclose(norm_rows(capture, -1, None), [[1.0, 0.6, 0.0], [0.4, 0.4, 2.0]], atol=1e-6)
    maps = va.maps.source_maps(capture, va.ViewSettings(source="norm"))
    # over the patches .6 0 and .4 2: the heads keep their weights, and their mean sums to 1
    np.testing.assert_allclose(maps.maps[:, 0], np.array([[0.6, 0], [0.4, 2]]) / 1.5, atol=1e-6)
    np.testing.assert_allclose(maps.prefix_share, [1.0 / 1.6, 0.4 / 2.8], atol=1e-6)


def whole_matrices(capture: va.capture.AttentionCapture) -> list[np.ndarray]:
    return [
        layer.attention.rows(np.arange(layer.output.shape[2]), torch.float64)[0].numpy() for layer in capture.layers
    ]


@pytest.mark.parametrize("fusion", ["mean", "max"])
@pytest.mark.parametrize("query", ["class", "mean", (2, 3)])
def test_rollout_equals_the_product_of_whole_matrices(fusion: str, query: object) -> None:
    model = va.load_model(model_zoo.build("vit_registers", model_zoo.WIDE), img_size=model_zoo.WIDE)
    capture = va.capture_attention(model, noise_photo((50, 70)))
    rollout = np.eye(29)
    for matrix in whole_matrices(capture):
        fused = getattr(matrix, fusion)(axis=0) + np.eye(29)
        rollout = (fused / fused.sum(axis=-1, keepdims=True)) @ rollout
    expected = {"class": rollout[0], "mean": rollout[5:].mean(0), (2, 3): rollout[5 + 2 * 6 + 3]}[query]
    found = rollout_row(capture, -1, query, fusion)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert found.sum() == pytest.approx(1)
    maps = va.maps.source_maps(capture, va.ViewSettings(source="rollout", aggregation=fusion, query=query))
    np.testing.assert_allclose(maps.maps[0].ravel(), expected[5:] / expected[5:].sum(), atol=1e-6)
    assert maps.prefix_share[0] == pytest.approx(expected[:5].sum(), abs=1e-6)


@pytest.mark.parametrize("query", ["class", "mean", (2, 3)])
def test_gradient_sources_equal_whole_matrices_and_autograd(query: object) -> None:
    module = model_zoo.build("vit_registers", model_zoo.WIDE)
    model = va.load_model(module, img_size=model_zoo.WIDE)
    capture = va.capture.capture_gradients(model, va.capture_attention(model, noise_photo((50, 70))), 2)
    gradients = capture.class_gradients(2)
    eager = eager_gradients(module, model.preprocessing.tensor(capture.pixels)[None], 2)
    products = [(weights * slope)[0].double().numpy() for weights, slope in eager.values()]  # head query key
    pick = {"class": slice(0, 1), "mean": slice(5, None), (2, 3): slice(5 + 2 * 6 + 3, 5 + 2 * 6 + 4)}[query]

    relevance = np.eye(29)
    for product in products:
        relevance = relevance + product.clip(min=0).mean(0) @ relevance
    close = {"rtol": 1e-4, "atol": 1e-5 * np.abs(relevance - np.eye(29)).max()}
    expected = (relevance - np.eye(29))[pick].mean(0)
    np.testing.assert_allclose(relevance_row(capture, -1, query, gradients), expected, **close)
    for layer, product in enumerate(products):
        close = {"rtol": 1e-4, "atol": 1e-5 * np.abs(product).max()}
        rows = gradient_rows(capture, layer, query, gradients)
        np.testing.assert_allclose(rows, product.clip(min=0)[:, pick].mean(1), **close)
        row = late_gradient_row(capture, layer, query, gradients)  # a third of three layers is one
        np.testing.assert_allclose(row, product.clip(min=0)[:, pick].sum(1).mean(0), **close)


def test_norms_equal_the_projected_values_one_by_one() -> None:
    module = model_zoo.build("vit", model_zoo.WIDE)
    model = va.load_model(module, img_size=model_zoo.WIDE)
    capture = va.complete_capture(
        model, va.capture_attention(model, noise_photo((50, 70))), va.ViewSettings(source="norm")
    )
    for layer, block in zip(capture.layers, module.blocks, strict=True):
        index = capture.layer_names.index(layer.name)
        for head in range(3):
            for key in (0, 7, 24):
                alone = torch.zeros(3, 16)
                alone[head] = layer.values[0, head, key]
                with torch.no_grad():
                    projected = block.attn.proj(alone.flatten()) - block.attn.proj.bias
                assert capture.value_norms[index][head, key] == pytest.approx(float(projected.norm()), rel=1e-5)


@pytest.mark.parametrize("family", model_zoo.FAMILIES)
@pytest.mark.parametrize("source", va.SOURCES)
def test_every_source_of_every_family_gives_finite_maps_for_every_query(family: str, source: str) -> None:
    model = va.load_model(model_zoo.build(family), img_size=model_zoo.SQUARE)
    capture = va.capture_attention(model, noise_photo((50, 70)))
    capture = va.complete_capture(model, capture, va.ViewSettings(source=source))
    for layer in range(capture.num_layers):
        patches = [(3, 0)] if "mean" in capture.queries(layer) else []
        for query in (*capture.queries(layer), *patches, None):
            maps = va.maps.source_maps(capture, va.ViewSettings(source=source, layer=layer, query=query))
            heads = 1 if CATALOGUE[source].no_head else capture.num_heads(layer)
            assert maps.maps.shape == (heads, 4, 4)
            assert maps.prefix_share.shape == (heads,)
            assert np.isfinite(maps.maps).all()
            assert ((maps.prefix_share >= 0) & (maps.prefix_share <= 1)).all()
            assert (maps.parts is not None) == CATALOGUE[source].signed
            if maps.parts is not None:
                continue
            assert source == "attention" or (maps.maps >= 0).all()
            total = np.abs(maps.maps).sum((1, 2)).mean()
            assert total == pytest.approx(1, abs=1e-4) or (total == 0 and not CATALOGUE[source].no_class)
    last = va.maps.source_maps(capture, va.ViewSettings(source=source))
    assert last.maps.std() > 0


@pytest.mark.parametrize("source", [name for name, source in CATALOGUE.items() if not source.no_class])
def test_maps_of_two_classes_differ_and_each_is_its_own(
    wide_model: va.models.AttentionModel, wide_capture: va.capture.AttentionCapture, source: str
) -> None:
    capture = wide_capture
    for target in (0, 1):
        capture = va.complete_capture(wide_model, capture, va.ViewSettings(source=source, target=target))
    zero, one, again = (
        va.maps.source_maps(capture, va.ViewSettings(source=source, target=target)).maps for target in (0, 1, 0)
    )
    assert np.abs(zero - one).max() > 1e-3
    np.testing.assert_array_equal(zero, again)


def test_a_source_that_is_not_ready_says_what_to_do(wide_capture: va.capture.AttentionCapture) -> None:
    for source in (name for name in va.SOURCES if name not in ("attention", "rollout")):
        with pytest.raises(va.errors.SettingsError, match=r"complete_capture\(model, capture, settings\)"):
            va.maps.source_maps(wide_capture, va.ViewSettings(source=source))


def test_rollout_has_no_mean_over_std(wide_capture: va.capture.AttentionCapture) -> None:
    with pytest.raises(va.errors.SettingsError, match="mean or max, not by 'mean_over_std'"):
        va.maps.source_maps(wide_capture, va.ViewSettings(source="rollout", aggregation="mean_over_std"))


def test_a_source_that_does_not_exist_is_refused() -> None:
    with pytest.raises(va.errors.SettingsError, match="possible: attention, norm, rollout"):
        va.ViewSettings(source="saliency")


def test_maps_of_contributions_add_up(
    wide_model: va.models.AttentionModel, wide_capture: va.capture.AttentionCapture
) -> None:
    capture = va.complete_capture(wide_model, wide_capture, va.ViewSettings(source="contribution", target=1))
    found = capture.class_contributions(1)
    patches, layers = capture.layout.num_patches, capture.num_layers
    for layer in range(layers):
        for source, whole in (("contribution", found.layers[layer].tokens), ("contribution_heads", None)):
            settings = va.ViewSettings(source=source, target=1, layer=layer, query=(1, 1))  # no query changes anything
            maps = va.maps.source_maps(capture, settings)
            whole = found.layers[layer].heads.sum(0) if whole is None else whole
            assert maps.parts is not None
            assert maps.maps.sum() == pytest.approx(maps.parts.patches, abs=1e-5)
            assert whole[:-patches].sum() == pytest.approx(maps.parts.prefix, abs=1e-5)
            assert maps.parts.logit == pytest.approx(found.logit)
            left_out = va.maps.grid_map(capture, va.ViewSettings(source=source, target=1, layer=layer))
            np.testing.assert_allclose(left_out, maps.maps.mean(0), atol=1e-6)
        tokens = va.maps.source_maps(capture, va.ViewSettings(source="contribution", target=1, layer=layer)).parts
        assert tokens.rest == pytest.approx(found.layers[layer].constants, abs=1e-4)


def test_the_summed_contributions_are_three_maps_of_one_size(
    wide_model: va.models.AttentionModel, wide_capture: va.capture.AttentionCapture
) -> None:
    settings = va.ViewSettings(source="contribution_sum")
    capture = va.complete_capture(wide_model, wide_capture, settings)
    grid, patches = capture.layout.grid, capture.layout.num_patches
    found = capture.class_contributions().layers
    for layer in range(capture.num_layers):
        through = [one.heads[:, -patches:].sum(0) for one in found]
        late = through[max(0, layer + 1 - -(-len(found) // 3)) : layer + 1]
        maps = [found[layer].tokens[-patches:], np.sum(late, 0), np.sum(through[: layer + 1], 0)]
        expected = np.mean([one / np.abs(one).sum() for one in maps], axis=0)
        found_map = va.maps.grid_map(capture, va.ViewSettings(source="contribution_sum", layer=layer))
        np.testing.assert_allclose(found_map, expected.reshape(grid), atol=1e-6)


def test_sinks_left_out_of_contributions_leave_the_others_as_they_are(
    real_model: va.models.AttentionModel,
) -> None:
    capture = va.capture_attention(real_model, SAMPLES / "chelsea.jpg")
    settings = va.ViewSettings(source="contribution")
    capture = va.complete_capture(real_model, capture, settings)
    whole = va.maps.grid_map(capture, settings)
    without = va.maps.grid_map(capture, va.ViewSettings(source="contribution", sinks="mark"))
    sinks = va.find_sinks(capture)
    assert sinks.sum() == 4
    assert (without[sinks] == 0).all()
    np.testing.assert_array_equal(without[~sinks], whole[~sinks])


def test_an_aggregation_that_contributions_do_not_have_is_refused(wide_capture: va.capture.AttentionCapture) -> None:
    with pytest.raises(va.errors.SettingsError, match="no aggregation 'max'; possible: mean"):
        va.maps.source_maps(wide_capture, va.ViewSettings(source="contribution_heads", aggregation="max"))


def test_branches_of_one_block_are_not_one_after_the_other() -> None:
    module = model_zoo.build("vit_parallel_things")
    capture = va.capture_attention(va.load_model(module), noise_photo((40, 40)))
    matrices = whole_matrices(capture)
    rollout = np.eye(17)
    for block in range(3):
        fused = (matrices[2 * block].mean(0) + matrices[2 * block + 1].mean(0)) / 2 + np.eye(17)
        rollout = fused / 2 @ rollout
    np.testing.assert_allclose(rollout_row(capture, -1, None), rollout[0], atol=1e-6)


def test_a_pool_takes_its_patches_place_and_has_no_residual() -> None:
    capture = va.capture_attention(va.load_model(model_zoo.build("vit_attention_pool")), noise_photo((40, 40)))
    *blocks, pool = whole_matrices(capture)
    rollout = np.eye(16)
    for matrix in blocks:
        rollout = (matrix.mean(0) + np.eye(16)) / 2 @ rollout
    np.testing.assert_allclose(rollout_row(capture, -1, None), (pool.mean(0) @ rollout)[0], atol=1e-6)


def test_class_attention_layers_join_the_patches_before_them() -> None:
    capture = va.capture_attention(va.load_model(model_zoo.build("cait")), noise_photo((40, 40)))
    rollout = np.eye(17)
    for matrix in whole_matrices(capture):
        fused = np.abs(matrix.mean(0))
        whole = np.zeros((17, 17))
        if len(fused) == 1:
            whole[:1] = fused
        else:
            whole[1:, 1:] = fused
        whole += np.eye(17)
        rollout = whole / whole.sum(-1, keepdims=True) @ rollout
    np.testing.assert_allclose(rollout_row(capture, -1, None), rollout[0], atol=1e-6)


def test_a_query_that_only_equals_a_valid_one_is_refused_even_after_it(
    wide_model: va.models.AttentionModel, wide_capture: va.capture.AttentionCapture
) -> None:
    settings = va.ViewSettings(source="norm", query=(1, 1))
    capture = va.complete_capture(wide_model, wide_capture, settings)
    va.maps.source_maps(capture, settings)
    with pytest.raises(va.errors.SettingsError, match=r"query \(True, 1\) does not exist"):
        va.maps.source_maps(capture, va.ViewSettings(source="norm", query=(True, 1)))
