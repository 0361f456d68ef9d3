"""The rows that one click fills, against settings written out by hand."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from timm.models.vision_transformer import VisionTransformer

import vitattn_widgets as va
from vitattn_widgets.comparison.presets import PRESETS, even_layers
from vitattn_widgets.maps.sources import CATALOGUE
from vitattn_widgets.view.settings import with_look


def captured(**changes):
    torch.manual_seed(0)
    shape = {"img_size": 32, "patch_size": 16, "embed_dim": 12, "depth": 3, "num_heads": 3, "num_classes": 4}
    model = va.load_model(VisionTransformer(**(shape | changes)).eval())
    return va.capture_attention(model, np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8))


@pytest.fixture(scope="module")
def capture():
    return captured()


def panels(name, capture, **settings):
    return PRESETS[name].panels(capture, va.ViewSettings(**settings))


def test_sources_are_all_six_and_keep_layer_head_and_class(capture):
    made = panels("sources", capture, layer=1, head=2, target=3, opacity=0.3)
    assert [panel.source for panel in made] == [name for name, source in CATALOGUE.items() if not source.signed]
    assert {replace(panel, source="attention") for panel in made} == {
        va.ViewSettings(layer=1, head=2, target=3, opacity=0.3)
    }


def test_sources_of_a_model_without_a_classifier_are_the_same():
    made = panels("sources", captured(num_classes=0))
    assert [panel.source for panel in made] == [name for name, source in CATALOGUE.items() if not source.signed]
    made = panels("sources", captured(num_classes=0), source="contribution")
    assert [panel.source for panel in made] == ["contribution", "contribution_heads", "contribution_sum"]


def test_rollout_among_all_sources_takes_the_mean_where_mean_over_std_was_chosen(capture):
    made = panels("sources", capture, aggregation="mean_over_std")
    assert {panel.source: panel.aggregation for panel in made} == {
        source.name: "mean" if source.name == "rollout" else "mean_over_std"
        for source in CATALOGUE.values()
        if not source.signed
    }


def test_contributions_are_compared_with_contributions(capture):
    made = panels("sources", capture, source="contribution_sum")
    assert [panel.source for panel in made] == ["contribution", "contribution_heads", "contribution_sum"]


@pytest.mark.parametrize(
    ("depth", "count", "wanted"),
    [(12, 6, [0, 2, 4, 7, 9, 11]), (3, 6, [0, 1, 2]), (7, 2, [0, 6]), (24, 4, [0, 8, 15, 23])],
)
def test_layers_lie_evenly_from_the_first_to_the_last(depth, count, wanted):
    made = even_layers(captured(depth=depth), va.ViewSettings(head=1), count)
    assert [panel.layer for panel in made] == wanted
    assert {panel.head for panel in made} == {1}


def test_a_query_that_a_layer_does_not_have_becomes_its_default():
    pooled = captured(class_token=False, global_pool="map")
    made = panels("layers", pooled, query=(1, 0))
    assert [(panel.layer, panel.query) for panel in made] == [(0, (1, 0)), (1, (1, 0)), (2, (1, 0)), (3, None)]


def test_heads_are_those_of_the_layer(capture):
    assert [panel.head for panel in panels("heads", capture, layer=0, aggregation="max")] == [0, 1, 2]


def test_aggregations_are_those_of_the_source_over_all_heads(capture):
    made = panels("aggregations", capture, head=2)
    assert [(panel.head, panel.aggregation) for panel in made] == [(None, name) for name in va.AGGREGATIONS]
    assert [panel.aggregation for panel in panels("aggregations", capture, source="rollout")] == ["mean", "max"]


@pytest.mark.parametrize(
    ("name", "settings", "shape", "words"),
    [
        ("heads", {"source": "relevance"}, {}, "relevance averages"),
        ("heads", {}, {"num_heads": 1}, "a single head"),
        ("aggregations", {"source": "gradient_late"}, {}, "the heads are already one"),
        ("aggregations", {}, {"num_heads": 1}, "a single head"),
        ("layers", {}, {"depth": 1}, "a single layer"),
    ],
)
def test_where_there_is_nothing_to_compare_it_says_why(name, settings, shape, words):
    with pytest.raises(va.errors.SettingsError, match=words):
        panels(name, captured(**shape), **settings)


@pytest.mark.parametrize("name", PRESETS)
def test_every_panel_of_every_preset_can_be_drawn(name, capture):
    torch.manual_seed(0)
    shape = {"img_size": 32, "patch_size": 16, "embed_dim": 12, "depth": 3, "num_heads": 3, "num_classes": 4}
    model = va.load_model(VisionTransformer(**shape).eval())
    made = panels(name, capture)
    assert len(set(made)) == len(made) >= 2
    for panel in made:
        va.render_view(va.complete_capture(model, capture, panel), panel)


def test_a_row_has_one_look_and_panels_keep_what_tells_them_apart():
    panel = va.ViewSettings(layer=3, head=1, source="norm", sinks="leave_out", query=(0, 1), scale="robust")
    look = va.ViewSettings(median=False, bilinear=False, gaussian=False, opacity=0.1, cmap="viridis", on="original")
    wanted = va.ViewSettings(
        layer=3,
        head=1,
        source="norm",
        sinks="leave_out",
        query=(0, 1),
        scale="robust",
        median=False,
        bilinear=False,
        gaussian=False,
        opacity=0.1,
        cmap="viridis",
        on="original",
    )
    assert with_look(panel, look) == wanted
