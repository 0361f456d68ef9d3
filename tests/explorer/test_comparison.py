"""The explorer's comparison in plain Python: views are kept, held to their captures, and drawn when somebody asks."""

import gc
import weakref

import numpy as np
import pytest
from PIL import Image

import vitattn_widgets as va
from vitattn_widgets.capture.capture import AttentionCapture
from vitattn_widgets.comparison.compare import compare_views
from vitattn_widgets.comparison.panels import Panel
from vitattn_widgets.explorer.views import along
from vitattn_widgets.maps.sources import CATALOGUE
from vitattn_widgets.view.settings import with_look
from vitattn_widgets.viewer.settings import START

from .lab import PHOTOS, photo, small_model


@pytest.fixture(scope="module")
def model():
    return small_model()


@pytest.fixture
def explorer(model):
    with_two = va.AttentionExplorer(model, PHOTOS, sinks="show")
    yield with_two
    with_two.close()


def panels_of(model, *settings, picture="first", look=START):
    """Panels made without the explorer."""
    made = []
    for one in settings:
        capture = va.complete_capture(model, va.capture_attention(model, PHOTOS[picture]), one)
        made.append(Panel(capture, with_look(one, look), picture))
    return made


def assert_row(explorer, panels, scale="robust"):
    """Assert that the explorer's comparison is that of these panels."""
    wanted, row = compare_views(panels, scale), explorer.comparison
    assert (row.titles, row.common, row.limits, row.unit) == (wanted.titles, wanted.common, wanted.limits, wanted.unit)
    for view, other in zip(row.views, wanted.views, strict=True):
        assert view.caption == other.caption
        assert np.array_equal(view.image, other.image)
    for panel, values in zip(explorer.comparison_panels(), explorer.panels, strict=True):
        assert {name: getattr(panel.settings, name) for name in values if name not in ("model", "picture")} == {
            name: value for name, value in values.items() if name not in ("model", "picture")
        }


def test_pinned_views_are_what_compare_views_draws_of_them(explorer, model):
    explorer.pin()
    assert_row(explorer, panels_of(model, va.ViewSettings(layer=2)))
    explorer.set_state({"layer": 0, "head": 1})
    explorer.pin()
    explorer.set_state({"source": "gradient", "target": 3, "head": None, "query": [1, 4], "layer": 1})
    explorer.pin()
    settings = (
        va.ViewSettings(layer=2),
        va.ViewSettings(layer=0, head=1),
        va.ViewSettings(layer=1, source="gradient", target=3, query=(1, 4)),
    )
    assert_row(explorer, panels_of(model, *settings))
    assert explorer.status == ""


def test_one_view_is_kept_once(explorer):
    explorer.pin()
    explorer.pin()
    explorer.opacity = 0.3  # not the panel's own
    explorer.pin()
    assert len(explorer.panels) == 1


def test_the_row_keeps_its_maps_and_follows_the_look_of_the_picture(explorer, model):
    explorer.compare(layers=[0, 2])
    kept = explorer.panels
    explorer.head, explorer.layer, explorer.query = 1, 1, (0, 2)
    assert explorer.panels is kept
    look = {"opacity": 0.9, "cmap": "viridis", "median": False, "gaussian": False, "on": "original", "blend": "even"}
    explorer.set_state(look)
    both = [va.ViewSettings(layer=layer) for layer in (0, 2)]
    assert_row(explorer, panels_of(model, *both, look=va.ViewSettings(**look)))
    explorer.arrangement = "map"
    assert_row(explorer, panels_of(model, *both, look=explorer.settings))
    assert explorer.settings.opacity == 1


def test_the_scale_of_the_row_can_be_shared(explorer, model):
    explorer.compare(heads=[0, 1, 2])
    explorer.panel_scale = "shared"
    assert_row(explorer, panels_of(model, *(va.ViewSettings(layer=2, head=head) for head in range(3))), "shared")


def test_panels_are_removed_and_reordered_by_assigning_a_list(explorer, model):
    explorer.compare(layers=[0, 1, 2])
    one, two, three = explorer.panels
    explorer.panels = [three, one, two]
    assert_row(explorer, panels_of(model, *(va.ViewSettings(layer=layer) for layer in (2, 0, 1))))
    explorer.panels = [three, two]
    assert_row(explorer, panels_of(model, *(va.ViewSettings(layer=layer) for layer in (2, 1))))
    explorer.panels = []
    assert explorer.comparison is None


def test_a_panel_takes_what_it_does_not_say_from_what_is_shown(explorer):
    explorer.set_state({"head": 1, "query": [2, 3]})
    explorer.panels = [{"layer": 0}, {"layer": -1, "head": None, "picture": "second"}]
    first = {"model": "small", "picture": "first", "layer": 0, "head": 1, "query": (2, 3), "source": "attention"}
    rest = {"aggregation": "mean", "target": None, "sinks": "show"}
    assert explorer.panels == [first | rest, first | rest | {"layer": 2, "head": None, "picture": "second"}]


def test_first_panels_can_be_given(model):
    panels = [{"layer": 0}, {"layer": 1}]
    explorer = va.AttentionExplorer(model, PHOTOS, panels=panels, panel_scale="shared", sinks="show")
    assert_row(explorer, panels_of(model, va.ViewSettings(layer=0), va.ViewSettings(layer=1)), "shared")


@pytest.mark.parametrize(
    ("panels", "words"),
    [
        ([{"layer": 99}], "layer 99 does not exist"),
        ([{"layer": 0}, {"head": 7}], "head 7 does not exist"),
        ([{"picture": "third"}], "there is no picture 'third'"),
        ([{"model": "other"}], "there is no model 'other'"),
        ([{"source": "magic"}], "source 'magic' does not exist"),
        ([{"opacity": 0.5}], "a panel must be a dict"),
        ([3], "a panel must be a dict"),
    ],
)
def test_panels_that_cannot_be_are_reported_and_the_last_good_row_stays(explorer, panels, words):
    explorer.compare(layers=[0, 1])
    good = explorer.panels
    explorer.panels = panels
    assert words in explorer.status
    assert explorer.panels == good
    explorer.panels = good[:1]
    assert explorer.status == ""


def test_a_scale_or_a_difference_that_cannot_be_is_reported(explorer):
    explorer.compare(layers=[0, 1, 2])
    explorer.panel_scale = "own"
    assert "possible: shared, robust" in explorer.status
    assert explorer.panel_scale == "robust"
    for pair in ([0, 3], [1, 1], [0], [0, 1, 2], [0, 1.5]):
        explorer.difference = pair
        assert "two different panels from 0..2" in explorer.status
        assert explorer.difference == []


PRESETS = {
    "sources": {"sources": [name for name, source in CATALOGUE.items() if not source.signed]},
    "layers": {"layers": [0, 1, 2]},
    "heads": {"heads": [0, 1, 2]},
    "aggregations": {"aggregations": ["mean", "max", "mean_over_std"]},
    "pictures": {"pictures": ["first", "second"]},
}


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_is_the_row_of_its_values(explorer, preset):
    explorer.compare(preset)
    by_preset = explorer.panels
    explorer.panels = []
    explorer.compare(**PRESETS[preset])
    assert explorer.panels == by_preset
    assert len(by_preset) == len(next(iter(PRESETS[preset].values())))


def test_panels_of_several_photos_and_models_are_each_their_own(model):
    other = small_model("other", depth=2, num_heads=2, img_size=(64, 64))
    explorer = va.AttentionExplorer([model, other], PHOTOS, head=2, query=(3, 5), sinks="show")
    explorer.compare("models", pictures=["second", "first"])
    assert [(panel["picture"], panel["model"], panel["layer"], panel["head"]) for panel in explorer.panels] == [
        ("second", "small", 2, 2),
        ("second", "other", 1, 1),
        ("first", "small", 2, 2),
        ("first", "other", 1, 1),
    ]
    assert [panel["query"] for panel in explorer.panels] == [(3, 5), (7, 7), (3, 5), (7, 7)]
    panels = [
        *panels_of(model, va.ViewSettings(layer=2, head=2, query=(3, 5)), picture="second"),
        *panels_of(other, va.ViewSettings(layer=1, head=1, query=(7, 7)), picture="second"),
        *panels_of(model, va.ViewSettings(layer=2, head=2, query=(3, 5))),
        *panels_of(other, va.ViewSettings(layer=1, head=1, query=(7, 7))),
    ]
    assert_row(explorer, panels)


def test_models_are_compared_at_the_same_relative_depth(model):
    deep, single = small_model("deep", depth=7), small_model("single", depth=1)
    explorer = va.AttentionExplorer([model, deep, single], photo(1), layer=1)
    explorer.compare("models")
    assert [(panel["model"], panel["layer"]) for panel in explorer.panels] == [("small", 1), ("deep", 3), ("single", 0)]
    explorer.compare("models", layers=[0])
    assert [panel["layer"] for panel in explorer.panels] == [0, 0, 0]


def test_two_models_of_one_name_are_distinguished(model):
    tuned = small_model("small", depth=2)
    explorer = va.AttentionExplorer([model, tuned], photo(1))
    explorer.compare("models", heads=[0])
    one, other = explorer.comparison.titles
    assert one.startswith("small, ")
    assert other.startswith("small (2), ")


def test_values_of_several_kinds_give_every_combination():
    assert along({"heads": [0, None], "layers": [5]}) == [{"layer": 5, "head": 0}, {"layer": 5, "head": None}]
    assert along({}) == [{}]


@pytest.mark.parametrize(
    ("preset", "axes", "words"),
    [
        ("", {}, "there is nothing to compare; give a preset"),
        ("", {"layers": []}, "there is nothing to compare; give a preset"),
        ("everything", {}, "there is no preset 'everything'; possible: sources, layers"),
        ("models", {}, "fewer than two models"),
        ("", {"layer": [1]}, "there is no axis 'layer'; possible: models"),
        ("", {"layers": [7]}, "layer 7 does not exist"),
    ],
)
def test_a_comparison_that_cannot_be_is_an_error_and_reported(explorer, preset, axes, words):
    explorer.pin()
    good = explorer.panels
    with pytest.raises(va.errors.SettingsError, match=words):
        explorer.compare(preset, **axes)
    assert words in explorer.status
    assert explorer.panels == good


def test_a_chosen_pair_stays_the_same_two_views(explorer):
    explorer.compare(layers=[0, 1])
    assert explorer.difference == []  # with two views, both
    explorer.difference = (1, 0)
    explorer.panels = [*explorer.panels, {"layer": 2}]
    assert explorer.difference == [1, 0]
    explorer.difference = (2, 0)
    explorer.panels = explorer.panels[::-1]
    assert explorer.difference == [0, 2]
    explorer.panels = explorer.panels[:2]  # one of them is gone
    assert explorer.difference == []


def test_a_browser_s_row_and_pair_count_as_they_come(explorer):
    explorer.compare(layers=[0, 1, 2])
    one, _, three = explorer.panels
    explorer.set_state({"panels": [three, one], "difference": [1, 0]})
    assert (explorer.panels, explorer.difference) == ([three, one], [1, 0])
    assert explorer.status == ""


def test_two_photos_are_a_figure_without_a_difference(explorer):
    explorer.compare("pictures")
    assert explorer.comparison_png().startswith(b"\x89PNG")
    assert explorer.status == ""


def test_large_photos_are_whole_in_the_comparison(model):
    large = np.array(Image.fromarray(photo(1)).resize((1800, 1500)))
    explorer = va.AttentionExplorer(model, large, on="original", layer=0)
    explorer.compare(layers=[0, 2])
    assert [view.image.shape for view in explorer.comparison.views] == [(1500, 1800, 3)] * 2


def test_captures_stay_within_the_budget_and_dropped_ones_are_run_again(model, passes):
    size = va.capture_attention(model, photo(0)).nbytes
    explorer = va.AttentionExplorer(model, [photo(seed, (101, 120)) for seed in range(5)], budget=int(2.5 * size))
    passes.clear()
    explorer.compare("pictures")
    assert explorer.store.nbytes <= explorer.store.budget
    gc.collect()
    kept = [found for found in gc.get_objects() if type(found) is AttentionCapture and found.source.shape[0] == 101]
    assert len(kept) <= 3  # the two that fit into the budget, and the one that is shown
    many = len(passes)
    assert many == 4
    explorer.panels = explorer.panels[::-1]  # nothing is needed to put kept views in another order
    assert len(passes) == many
    assert len(explorer.comparison.views) == 5
    assert len(passes) > many
    assert (explorer.status, explorer._busy) == ("", False)


def test_a_row_that_cannot_be_drawn_again_is_an_error_and_stays(model, tmp_path):
    path = tmp_path / "gone.png"
    Image.fromarray(photo(1)).save(path)
    size = va.capture_attention(model, photo(0)).nbytes
    explorer = va.AttentionExplorer(model, {"gone": path, "here": photo(2)}, budget=int(1.5 * size))
    explorer.compare("pictures")
    explorer.picture = "here"
    path.unlink()
    with pytest.raises(va.errors.PictureError, match="no such file"):
        explorer.comparison_panels()
    assert "no such file" in explorer.status
    assert len(explorer.panels) == 2
    explorer.panels = explorer.panels[1:]
    assert explorer.status == ""


def test_closing_frees_the_captures_of_all_panels():
    explorer = va.AttentionExplorer(small_model(), [photo(seed) for seed in range(3)])
    explorer.compare("pictures", sources=["attention", "gradient"])
    held = [weakref.ref(panel.capture) for panel in explorer.comparison_panels()]
    assert len(held) == 6
    explorer.close()
    gc.collect()
    assert [reference() for reference in held] == [None] * len(held)
    assert explorer.comparison is None
    explorer.panels = [{"layer": 0}]  # without effect, and without an error
    with pytest.raises(RuntimeError, match="no picture"):
        explorer.pin()
