"""The composition of a view: it draws what its parts compute, and its caption says exactly that."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from timm.models.vision_transformer import VisionTransformer

import vitattn_widgets as va
from vitattn_widgets.maps.settings import SINKS
from vitattn_widgets.view.render import render_aggregations

from .. import model_zoo
from ..conftest import noise_photo


def test_a_view_is_its_parts_one_after_the_other(wide_capture: va.capture.AttentionCapture) -> None:
    settings = va.ViewSettings(layer=1, aggregation="max", query=(2, 3), opacity=0.3, cmap="viridis")
    rendered = va.render_view(wide_capture, settings)
    grid = va.aggregate_heads(wide_capture.patch_attention(1, (2, 3)), "max")
    heat = va.smooth_map(grid, wide_capture.view.shape[:2], 8)
    scaled = va.view.scale_map(heat, (heat.min(), heat.max()))
    np.testing.assert_array_equal(rendered.grid_map, grid)
    np.testing.assert_array_equal(rendered.heat, scaled)
    np.testing.assert_array_equal(rendered.image, va.overlay(wide_capture.view, scaled, 0.3, "viridis"))
    assert rendered.value_range == (heat.min(), heat.max())
    assert rendered.image.shape == (32, 48, 3)


def test_without_settings_the_papers_map_of_the_last_layer_is_drawn(wide_capture: va.capture.AttentionCapture) -> None:
    default = va.render_view(wide_capture)
    explicit = va.render_view(wide_capture, va.ViewSettings(layer=2, aggregation="mean", query="class"))
    np.testing.assert_array_equal(default.image, explicit.image)


def test_head_0_is_a_head_and_not_all_heads(wide_capture: va.capture.AttentionCapture) -> None:
    rendered = va.render_view(wide_capture, va.ViewSettings(head=0))
    np.testing.assert_array_equal(rendered.grid_map, wide_capture.patch_attention()[0])
    assert "head 0 of 0..2" in rendered.caption


@pytest.mark.parametrize("step", ["bilinear", "median", "gaussian"])
def test_every_smoothing_step_changes_the_picture(wide_capture: va.capture.AttentionCapture, step: str) -> None:
    on = va.render_view(wide_capture, va.ViewSettings())
    off = va.render_view(wide_capture, replace(va.ViewSettings(), **{step: False}))
    assert not np.array_equal(on.heat, off.heat)


def test_given_limits_replace_the_scale(wide_capture: va.capture.AttentionCapture) -> None:
    rendered = va.render_view(wide_capture, va.ViewSettings(), limits=(0.0, 10.0))
    assert rendered.value_range == (0.0, 10.0)
    assert rendered.heat.max() < 0.1


def test_alone_the_shared_scale_is_the_range_of_all_heads_of_the_layer(
    wide_capture: va.capture.AttentionCapture,
) -> None:
    maps = wide_capture.patch_attention()
    ranges = {
        va.render_view(wide_capture, va.ViewSettings(head=head, scale="shared")).value_range for head in (0, 1, 2, None)
    }
    assert ranges == {(maps.min(), maps.max())}


def test_panels_with_the_shared_scale_share_one_range(wide_capture: va.capture.AttentionCapture) -> None:
    panels = [va.ViewSettings(head=head, scale="shared") for head in range(3)] + [va.ViewSettings(head=0)]
    views = va.render_views(wide_capture, panels)
    assert len({view.value_range for view in views[:3]}) == 1
    assert max(view.heat.max() for view in views[:3]) == 1
    np.testing.assert_array_equal(views[3].image, va.render_view(wide_capture, panels[3]).image)


def test_beside_a_map_with_signs_the_shared_scale_draws_all_panels_with_signs(
    wide_model: va.models.AttentionModel, wide_capture: va.capture.AttentionCapture
) -> None:
    panels = [va.ViewSettings(scale="shared"), va.ViewSettings(source="contribution", scale="shared")]
    capture = va.complete_capture(wide_model, wide_capture, panels[1])
    plain, signed = va.render_views(capture, panels)
    assert plain.value_range == signed.value_range
    low, high = plain.value_range
    assert low == -high
    assert plain.heat.min() >= 0.5  # zero is in the middle of the colours, and attention is never below it
    red, blue = (plain.image[..., channel].astype(int) for channel in (0, 2))
    assert (red >= blue - 2).all()  # greys and reds alone, where the map's own colours begin with blue
    assert (red > blue + 20).any()


def test_on_the_original_only_the_crop_is_drawn_on(wide_model: va.models.AttentionModel) -> None:
    photo = noise_photo((100, 200))
    capture = va.capture_attention(wide_model, photo)
    left, top, right, bottom = (round(value) for value in capture.crop_box)
    rendered = va.render_view(capture, va.ViewSettings(on="original"))
    assert rendered.image.shape == photo.shape
    outside = np.ones(photo.shape[:2], bool)
    outside[top:bottom, left:right] = False
    assert outside.any()
    np.testing.assert_array_equal(rendered.image[outside], photo[outside])
    assert (rendered.image[top, left:right] == 0).all()
    assert not np.array_equal(rendered.image[~outside], photo[~outside])


def test_rendering_changes_neither_capture_nor_later_pictures(wide_capture: va.capture.AttentionCapture) -> None:
    before = va.render_view(wide_capture).image
    source, view = wide_capture.source.copy(), wide_capture.view.copy()
    va.render_view(wide_capture, va.ViewSettings(on="original", layer=0, head=1))
    np.testing.assert_array_equal(wide_capture.source, source)
    np.testing.assert_array_equal(wide_capture.view, view)
    np.testing.assert_array_equal(va.render_view(wide_capture).image, before)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("aggregation", "median", "possible: mean, max, mean_over_std"),
        ("source", "saliency", "possible: attention, norm"),
        ("sinks", "hide", "possible: show, outline, leave_out"),
        ("scale", "own", "possible: map, shared, robust"),
        ("on", "photo", "possible: view, original"),
        ("opacity", 2, "0..1"),
        ("opacity", "half", "0..1"),
        ("cmap", "jetset", "good ones"),
        ("cmap", 3, "good ones"),
    ],
)
def test_settings_that_do_not_exist_are_refused_at_once(name: str, value: object, words: str) -> None:
    with pytest.raises(va.errors.SettingsError) as caught:
        va.ViewSettings(**{name: value})
    assert words in str(caught.value)


@pytest.mark.parametrize("head", [3, -4, 0.0, "1"])
def test_a_head_that_does_not_exist_is_reported_with_the_possible_ones(
    wide_capture: va.capture.AttentionCapture, head: object
) -> None:
    with pytest.raises(va.errors.SettingsError, match=r"head.*layer 2 of 0\.\.2 \(blocks\.2\.attn\) has heads 0\.\.2"):
        va.render_view(wide_capture, va.ViewSettings(head=head))


def test_a_query_from_json_may_be_a_list() -> None:
    assert va.ViewSettings(query=[1, 2]) == va.ViewSettings(query=(1, 2))


def test_the_caption_names_model_layer_formula_query_and_share(wide_capture: va.capture.AttentionCapture) -> None:
    share = wide_capture.prefix_share(1).mean()
    assert va.view.caption(wide_capture, va.ViewSettings(layer=1, aggregation="mean_over_std")) == (
        "VisionTransformer, layer 1 of 0..2 (blocks.1.attn), mean / std over 3 heads, query: class token, which the "
        f"classifier reads after the last layer, {share:.1%} of this attention went to prefix tokens and is left out"
    )


@pytest.mark.parametrize(
    ("family", "query", "words"),
    [
        ("vit", (1, 2), "query: patch at row 1, col 2 (the classifier reads the class token instead)"),
        ("eva", "class", "query: class token (the classifier reads the mean of the patches instead)"),
        ("eva", None, "query: mean of the patches, which the classifier reads"),
        ("distilled", None, "query: class token, which the classifier reads"),
        ("distilled", "class+dist", "query: mean of class and distillation token, which the classifier reads"),
        ("vit_attention_pool", None, "query: pooling latent, which the classifier reads"),
        ("vit_registers", "reg2", "query: token reg2 (the classifier reads the class token instead)"),
        ("qwen3_encoder", None, "query: mean of the patches (this model has no classifier)"),
    ],
)
def test_the_caption_says_whether_the_classifier_reads_the_query(family: str, query: object, words: str) -> None:
    capture = va.capture_attention(va.load_model(model_zoo.build(family)), noise_photo((40, 40)))
    assert words in va.view.caption(capture, va.ViewSettings(query=query))


def test_without_prefix_keys_the_caption_does_not_speak_of_them() -> None:
    capture = va.capture_attention(va.load_model(model_zoo.build("relpos_mlp")), noise_photo((40, 40)))
    assert "prefix" not in va.view.caption(capture, va.ViewSettings())


def test_every_source_draws_its_aggregated_map(
    wide_model: va.models.AttentionModel, wide_capture: va.capture.AttentionCapture
) -> None:
    for source in va.SOURCES:
        aggregation = "max" if "max" in va.ViewSettings(source=source).source_info.aggregations else "mean"
        settings = va.ViewSettings(source=source, aggregation=aggregation, layer=1)
        capture = va.complete_capture(wide_model, wide_capture, settings)
        maps = va.maps.source_maps(capture, settings).maps
        drawn = va.render_view(capture, settings)
        np.testing.assert_array_equal(
            drawn.grid_map, maps[0] if len(maps) == 1 else va.aggregate_heads(maps, aggregation)
        )
        one = va.render_view(capture, replace(settings, head=2))
        assert np.array_equal(one.grid_map, drawn.grid_map) == (len(maps) == 1)
        if len(maps) > 1:
            np.testing.assert_array_equal(one.grid_map, maps[2])


def test_maps_of_two_classes_are_two_pictures(
    wide_model: va.models.AttentionModel, wide_capture: va.capture.AttentionCapture
) -> None:
    views = []
    for target in (0, 1):
        settings = va.ViewSettings(source="gradient", target=target)
        views.append(va.render_view(va.complete_capture(wide_model, wide_capture, settings), settings))
    assert not np.array_equal(views[0].image, views[1].image)
    assert "for the class class 0 (" in views[0].caption


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"source": "norm", "head": 1},
            "blocks.2.attn), attention times the length of the projected values (Kobayashi et al. 2020), head 1 of "
            "0..2, query: class token, which the classifier reads, {share} of this attention x value norm went to "
            "prefix tokens and is left out",
        ),
        (
            {"source": "rollout", "aggregation": "max", "layer": 1, "head": 0},
            "layer 1 of 0..2 (blocks.1.attn), attention rollout from layer 0 up to this one, heads fused by max "
            "(Abnar and Zuidema 2020), query: class token, which the classifier reads after the last layer, {share} of "
            "this rollout went to prefix tokens and is left out",
        ),
        (
            {"source": "gradient", "target": 3},
            "positive part of gradient times attention (the layer's term of Chefer et al. 2021), for the class class 3 "
            "({probability}), mean over 3 heads, query",
        ),
        (
            {"source": "relevance"},
            "relevance from layer 0 up to this one (Chefer et al. 2021), for the class {predicted} "
            "({probability}, the prediction), query",
        ),
        (
            {"source": "gradient_late"},
            "positive part of gradient times attention, summed over layers 2..2 (summed terms of Chefer et al. 2021), "
            "for the class {predicted} ({probability}, the prediction), query",
        ),
    ],
    ids=lambda part: part["source"] if isinstance(part, dict) else "",
)
def test_the_caption_says_exactly_what_a_source_shows(
    wide_model: va.models.AttentionModel, wide_capture: va.capture.AttentionCapture, changes: dict, words: str
) -> None:
    settings = va.ViewSettings(**changes)
    capture = va.complete_capture(wide_model, wide_capture, settings)
    shares = va.maps.source_maps(capture, settings).prefix_share
    share = shares[settings.head] if len(shares) > 1 and settings.head is not None else shares.mean()
    target = capture.class_or_predicted(settings.target)
    facts = {"share": f"{share:.1%}", "probability": f"{capture.probabilities[target]:.1%}"}
    wanted = words.format(predicted=capture.class_names[target], **facts)
    assert wanted in va.view.caption(capture, settings)


def test_a_source_without_heads_has_one_panel_and_rollout_two(
    wide_model: va.models.AttentionModel, wide_capture: va.capture.AttentionCapture
) -> None:
    counts = {}
    for source in va.SOURCES:
        settings = va.ViewSettings(source=source)
        counts[source] = len(render_aggregations(va.complete_capture(wide_model, wide_capture, settings), settings))
    expected = {"attention": 3, "norm": 3, "rollout": 2, "gradient": 3, "relevance": 1, "gradient_late": 1}
    assert counts == expected | {"contribution": 1, "contribution_heads": 1, "contribution_sum": 1}


def test_the_shared_scale_of_a_class_map_is_the_range_of_its_heads(
    wide_model: va.models.AttentionModel, wide_capture: va.capture.AttentionCapture
) -> None:
    settings = va.ViewSettings(source="gradient", scale="shared")
    capture = va.complete_capture(wide_model, wide_capture, settings)
    maps = va.maps.source_maps(capture, settings).maps
    assert va.render_view(capture, settings).value_range == (maps.min(), maps.max())


def _with_sink(capture: va.capture.AttentionCapture) -> va.capture.AttentionCapture:
    """The capture with keys by which one patch draws nearly all attention of every query."""
    layers = []
    for layer in capture.layers:
        scores = layer.attention.scores
        k = scores.k.clone()
        k[..., -1, :] = 30 * scores.q.mean(-2)  # the key of the last patch, along the mean query
        layers.append(replace(layer, attention=replace(layer.attention, scores=replace(scores, k=k))))
    return replace(capture, layers=tuple(layers))


def test_marked_sinks_are_left_out_and_outlined(wide_capture: va.capture.AttentionCapture) -> None:
    capture = _with_sink(wide_capture)
    layer = next(layer for layer in range(3) if va.find_sinks(capture, layer).any())
    views = {sinks: va.render_view(capture, va.ViewSettings(layer=layer, sinks=sinks)) for sinks in SINKS}
    np.testing.assert_array_equal(views["mark"].grid_map, views["leave_out"].grid_map)
    inside = np.kron(va.find_sinks(capture, layer), np.ones((8, 8), bool))
    np.testing.assert_array_equal(views["mark"].image[~inside], views["leave_out"].image[~inside])
    frame = views["outline"].image != views["show"].image
    assert frame.any()
    np.testing.assert_array_equal(views["mark"].image[frame], views["outline"].image[frame])
    assert "(outlined) with" in views["mark"].caption
    assert views["mark"].caption.endswith("left out")


def test_a_glow_leaves_the_photo_where_the_map_is_lowest(wide_capture: va.capture.AttentionCapture) -> None:
    view = va.render_view(wide_capture, va.ViewSettings(scale="robust", blend="glow", opacity=1.0))
    assert (view.heat == 0).sum() > 10
    np.testing.assert_array_equal(view.image[view.heat == 0], wide_capture.view[view.heat == 0])
    assert (view.image != wide_capture.view).any()


def test_a_glow_is_dimmer_where_the_class_token_looks_at_itself(wide_capture: va.capture.AttentionCapture) -> None:
    layers = []
    for layer in wide_capture.layers:
        scores = layer.attention.scores
        k = scores.k.clone()
        k[..., 0, :] = 30 * scores.q[..., 0, :]
        layers.append(replace(layer, attention=replace(layer.attention, scores=replace(scores, k=k))))
    capture = replace(wide_capture, layers=tuple(layers))
    assert capture.prefix_share(-1).min() > 0.9
    settings = va.ViewSettings(blend="glow", opacity=0.8)
    view = va.render_view(capture, settings)
    np.testing.assert_array_equal(view.image, va.overlay(capture.view, view.heat, 0.8, blend="glow", strength=0.25))
    assert "Only 0% of it reaches patches" in va.view.sentence(capture, settings)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({}, "Last layer, average of 3 heads: where the class token looked."),
        ({"layer": 0, "head": 1}, "First layer, head 1: where the class token looked."),
        ({"layer": 1, "aggregation": "max"}, "Layer 1 of 0 to 2, strongest of 3 heads: where the class token looked."),
        ({"query": (1, 2)}, "Last layer, average of 3 heads: where the patch at row 1, col 2 looked."),
        (
            {"source": "gradient_late", "target": 3},
            "Last layer: what the class token used for “3”.",
        ),
    ],
)
def test_the_sentence_is_for_a_person(
    wide_model: va.models.AttentionModel, wide_capture: va.capture.AttentionCapture, settings: dict, words: str
) -> None:
    wanted = va.ViewSettings(**settings)
    capture = va.complete_capture(wide_model, replace(wide_capture, class_names=tuple("01234")), wanted)
    assert va.view.sentence(capture, wanted).startswith(words)


@pytest.mark.parametrize(("layer", "place"), [(6, "Layers 4 to 6"), (1, "Layers 0 to 1"), (0, "First layer")])
def test_the_sentence_names_the_layers_that_a_map_is_summed_over(layer: int, place: str) -> None:
    torch.manual_seed(0)
    shape = {"img_size": 32, "patch_size": 8, "embed_dim": 12, "depth": 7, "num_heads": 2, "num_classes": 3}
    model = va.load_model(VisionTransformer(**shape).eval())
    settings = va.ViewSettings(source="gradient_late", layer=layer, target=1)
    capture = va.complete_capture(model, va.capture_attention(model, np.zeros((40, 40, 3), np.uint8)), settings)
    assert va.view.sentence(capture, settings).startswith(f"{place}: what the class token used for")


def test_the_sentence_counts_sinks_and_says_when_they_are_left_out(wide_capture: va.capture.AttentionCapture) -> None:
    capture = _with_sink(wide_capture)
    layer = next(layer for layer in range(3) if va.find_sinks(capture, layer).any())
    shown = va.view.sentence(capture, va.ViewSettings(layer=layer))
    share = va.render_view(capture, va.ViewSettings(layer=layer)).grid_map[va.find_sinks(capture, layer)].sum()
    assert 0 < share < 0.005
    assert shown.endswith(" Less than 1% goes to one sink patch.")
    marked = va.view.sentence(capture, va.ViewSettings(layer=layer, sinks="mark"))
    assert marked.endswith(" Less than 1% goes to one sink patch, set apart.")
    gone = va.view.sentence(capture, va.ViewSettings(layer=layer, sinks="leave_out"))
    assert gone.endswith(" Less than 1% goes to one sink patch, left out here.")
