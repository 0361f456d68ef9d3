"""The explorer's row of panels in plain Python: a trait is set, and the row is what compare_views draws."""

import gc
import weakref

import numpy as np
import pytest
from PIL import Image

import vitattn_widgets as va
from vitattn_widgets.capture.capture import AttentionCapture
from vitattn_widgets.comparison.compare import compare_views, difference_view
from vitattn_widgets.comparison.panels import Panel
from vitattn_widgets.explorer.comparison import along
from vitattn_widgets.view.drawing import color_table

from .lab import PHOTOS, decoded, photo, small_model


@pytest.fixture(scope="module")
def model():
    return small_model()


@pytest.fixture
def explorer(model):
    with_two = va.AttentionExplorer(model, PHOTOS)
    yield with_two
    with_two.close()


def panels_of(model, *settings, picture="first"):
    """Panels made without the explorer."""
    made = []
    for one in settings:
        capture = va.complete_capture(model, va.capture_attention(model, PHOTOS[picture]), one)
        made.append(Panel(capture, one, picture))
    return made


def assert_row(explorer, panels, scale="shared"):
    """Assert that the browser's row shows these panels."""
    wanted = compare_views(panels, scale)
    row = explorer._row
    assert [panel["title"] for panel in row["panels"]] == list(wanted.titles)
    assert [panel["caption"] for panel in row["panels"]] == [view.caption for view in wanted.views]
    for panel, view in zip(row["panels"], wanted.views, strict=True):
        assert np.array_equal(decoded(panel["image"]), view.image)
    assert (row["common"], row["range"], row["unit"]) == (wanted.common, wanted.limits, wanted.unit)
    assert row["colors"] == color_table(wanted.cmap).tobytes()
    assert [panel["panel"] for panel in row["panels"]] == explorer.panels


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
    assert explorer._row["difference"] == {"reason": ""}


def test_one_view_is_kept_once(explorer):
    explorer.pin()
    explorer.pin()
    explorer.opacity = 0.3  # not the panel's own
    explorer.pin()
    assert len(explorer.panels) == 1


def test_a_control_moves_only_the_picture_and_what_all_panels_share_moves_the_row(explorer, model):
    explorer.compare(layers=[0, 2])
    drawn = explorer._row
    explorer.head, explorer.layer, explorer.query = 1, 1, (0, 2)
    assert explorer._row is drawn
    for look in ({"opacity": 0.9}, {"cmap": "viridis"}, {"median": False}, {"gaussian": False}, {"on": "original"}):
        for name, value in look.items():
            setattr(explorer, name, value)
        current = {name: getattr(explorer, name) for name in ("opacity", "cmap", "median", "gaussian", "on")}
        assert_row(explorer, panels_of(model, *(va.ViewSettings(layer=layer, **current) for layer in (0, 2))))
    explorer.arrangement = "map"
    alone = current | {"opacity": 1.0}
    assert_row(explorer, panels_of(model, *(va.ViewSettings(layer=layer, **alone) for layer in (0, 2))))


def test_a_browser_has_the_picture_first_and_asks_for_the_row(explorer, model, monkeypatch):
    explorer.compare(layers=[0, 2])
    drawn, turn = explorer._row, explorer._row_wanted
    messages = []
    monkeypatch.setattr(explorer, "_send", lambda message, buffers=None: messages.append(message))
    explorer.set_state({"opacity": 0.8})
    updates = [message["state"] for message in messages if message["method"] == "update"]
    assert [set(state) >= {"_shown", "_row_wanted"} for state in updates] == [True]
    assert explorer._row is drawn
    explorer.set_state({"opacity": 0.7})
    assert explorer._row_wanted == turn + 2
    explorer._receive(None, {"kind": "row"}, [])
    assert explorer._row["version"] == explorer._row_wanted
    assert_row(explorer, panels_of(model, *(va.ViewSettings(layer=layer, opacity=0.7) for layer in (0, 2))))
    again = explorer._row
    explorer._receive(None, {"kind": "row"}, [])
    assert explorer._row is again
    messages.clear()
    explorer.set_state({"layer": 1})
    assert [message for message in messages if "_row_wanted" in message["state"]] == []


def test_the_scale_of_the_row_can_be_robust(explorer, model):
    explorer.compare(heads=[0, 1, 2])
    explorer.panel_scale = "robust"
    assert_row(explorer, panels_of(model, *(va.ViewSettings(layer=2, head=head) for head in range(3))), "robust")
    assert explorer.comparison.limits == explorer._row["range"]


def test_panels_are_removed_and_reordered_by_assigning_a_list(explorer, model):
    explorer.compare(layers=[0, 1, 2])
    one, two, three = explorer.panels
    explorer.panels = [three, one, two]
    assert_row(explorer, panels_of(model, *(va.ViewSettings(layer=layer) for layer in (2, 0, 1))))
    explorer.panels = [three, two]
    assert_row(explorer, panels_of(model, *(va.ViewSettings(layer=layer) for layer in (2, 1))))
    explorer.panels = []
    assert explorer._row == {"panels": [], "version": explorer._row_wanted}
    assert explorer.comparison is None


def test_a_panel_takes_what_it_does_not_say_from_what_is_shown(explorer):
    explorer.set_state({"head": 1, "query": [2, 3]})
    explorer.panels = [{"layer": 0}, {"layer": -1, "head": None, "picture": "second"}]
    first = {"model": "small", "picture": "first", "layer": 0, "head": 1, "query": (2, 3), "source": "attention"}
    rest = {"aggregation": "mean", "target": None, "sinks": "show"}
    assert explorer.panels == [first | rest, first | rest | {"layer": 2, "head": None, "picture": "second"}]


def test_first_panels_can_be_given(model):
    explorer = va.AttentionExplorer(model, PHOTOS, panels=[{"layer": 0}, {"layer": 1}], panel_scale="robust")
    assert_row(explorer, panels_of(model, va.ViewSettings(layer=0), va.ViewSettings(layer=1)), "robust")


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
def test_panels_that_cannot_be_are_told_and_the_last_good_row_stays(explorer, panels, words):
    explorer.compare(layers=[0, 1])
    good, row = explorer.panels, explorer._row
    explorer.panels = panels
    assert words in explorer.status
    assert explorer.panels == good
    assert explorer._row is row
    explorer.panels = good[:1]
    assert explorer.status == ""


def test_a_scale_or_a_difference_that_cannot_be_is_told(explorer):
    explorer.compare(layers=[0, 1, 2])
    row = explorer._row
    explorer.panel_scale = "own"
    assert "possible: shared, robust" in explorer.status
    assert explorer.panel_scale == "shared"
    for pair in ([0, 3], [1, 1], [0], [0, 1, 2]):
        explorer.difference = pair
        assert "two different panels from 0..2" in explorer.status
        assert explorer.difference == []
    assert explorer._row is row


PRESETS = {
    "sources": {"sources": list(va.SOURCES)},
    "layers": {"layers": [0, 1, 2]},
    "heads": {"heads": [0, 1, 2]},
    "aggregations": {"aggregations": ["mean", "max", "mean_over_std"]},
    "pictures": {"pictures": ["first", "second"]},
}


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_is_the_row_of_its_values(explorer, preset):
    assert preset in [entry["name"] for entry in explorer._menus["presets"]]
    explorer._receive(None, {"kind": "compare", "preset": preset}, [])
    by_preset, row = explorer.panels, explorer._row
    explorer.panels = []
    explorer.compare(**PRESETS[preset])
    assert explorer.panels == by_preset
    assert [panel["image"] for panel in explorer._row["panels"]] == [panel["image"] for panel in row["panels"]]
    assert len(by_preset) == len(next(iter(PRESETS[preset].values())))


def test_panels_of_several_photos_and_models_are_each_their_own(model):
    other = small_model("other", depth=2, num_heads=2, img_size=(64, 64))
    explorer = va.AttentionExplorer([model, other], PHOTOS, head=2, query=(3, 5))
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


def test_two_models_of_one_name_are_told_apart(model):
    tuned = small_model("small", depth=2)
    explorer = va.AttentionExplorer([model, tuned], photo(1))
    explorer.compare("models", heads=[0])
    titles = [panel["title"] for panel in explorer._row["panels"]]
    assert titles[0].startswith("small, ")
    assert titles[1].startswith("small (2), ")


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
def test_a_comparison_that_cannot_be_is_an_error_and_told(explorer, preset, axes, words):
    explorer.pin()
    good = explorer.panels
    with pytest.raises(va.errors.SettingsError, match=words):
        explorer.compare(preset, **axes)
    assert words in explorer.status
    assert explorer.panels == good


def test_a_preset_that_has_no_meaning_is_told_in_the_status_line(explorer):
    explorer.source = "relevance"
    explorer._receive(None, {"kind": "compare", "preset": "heads"}, [])
    assert "relevance averages the positive parts" in explorer.status
    assert explorer.panels == []


def test_two_panels_show_their_difference_and_of_more_any_two_chosen(explorer, model):
    one, two, three = panels_of(model, *(va.ViewSettings(layer=layer) for layer in range(3)))

    def assert_difference(first, second):
        wanted, facts = difference_view(first, second), explorer._row["difference"]
        assert np.array_equal(decoded(facts["image"]), wanted.image)
        assert (facts["title"], facts["caption"], facts["range"]) == (wanted.title, wanted.caption, wanted.value_range)
        assert facts["colors"] == color_table(wanted.cmap).tobytes()

    explorer.compare(layers=[0, 1])
    assert_difference(one, two)
    explorer.difference = (1, 0)
    assert_difference(two, one)
    explorer.panels = [*explorer.panels, {"layer": 2}]
    assert_difference(two, one)
    explorer.difference = (2, 0)
    assert_difference(three, one)
    explorer.panels = explorer.panels[::-1]  # the same two stay chosen
    assert explorer.difference == [0, 2]
    assert_difference(three, one)
    explorer.panels = explorer.panels[:2]  # one of them is gone; the two that are left are the pair
    assert explorer.difference == []
    assert_difference(three, two)
    explorer.panels = explorer.panels[:1]
    assert explorer._row["difference"] == {"reason": ""}


def test_two_photos_have_no_difference_and_the_row_says_so(explorer):
    explorer.compare("pictures")
    assert "a difference needs two maps of one photo" in explorer._row["difference"]["reason"]
    assert len(explorer._row["panels"]) == 2
    assert explorer.status == ""


def test_the_comparison_can_be_taken_along(explorer, model):
    explorer.compare(layers=[0, 2])
    wanted = compare_views(panels_of(model, va.ViewSettings(layer=0), va.ViewSettings(layer=2)))
    made = explorer.comparison
    assert (made.titles, made.limits, made.common) == (wanted.titles, wanted.limits, wanted.common)
    assert all(np.array_equal(one.image, two.image) for one, two in zip(made.views, wanted.views, strict=True))
    assert [panel.settings.layer for panel in explorer.comparison_panels()] == [0, 2]


def test_large_photos_are_small_in_the_row_and_whole_in_the_comparison(model):
    large = np.array(Image.fromarray(photo(1)).resize((1800, 1500)))
    explorer = va.AttentionExplorer(model, large, on="original", layer=0)
    explorer.compare(layers=[0, 2])
    assert [decoded(panel["image"]).shape for panel in explorer._row["panels"]] == [(427, 512, 3)] * 2
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
    first = [decoded(panel["image"]) for panel in explorer._row["panels"]]
    many = len(passes)
    assert many >= 5
    explorer.opacity = 0.6
    explorer.opacity = 0.5
    assert len(passes) > many
    assert all(np.array_equal(decoded(p["image"]), q) for p, q in zip(explorer._row["panels"], first, strict=True))
    assert (explorer.status, explorer._busy) == ("", False)


def test_a_row_that_cannot_be_drawn_again_is_told_and_stays(model, tmp_path):
    path = tmp_path / "gone.png"
    Image.fromarray(photo(1)).save(path)
    size = va.capture_attention(model, photo(0)).nbytes
    explorer = va.AttentionExplorer(model, {"gone": path, "here": photo(2)}, budget=int(1.5 * size))
    explorer.compare("pictures")
    explorer.picture = "here"
    path.unlink()
    row = explorer._row
    explorer.opacity = 0.2
    assert "no such file" in explorer.status
    assert explorer._row["panels"] == row["panels"]
    assert explorer.settings.opacity == 0.2
    explorer.panels = explorer.panels[1:]
    assert explorer.status == ""


def test_closing_frees_the_captures_of_all_panels():
    explorer = va.AttentionExplorer(small_model(), [np.tile(photo(seed), (8, 8, 1)) for seed in range(3)])
    explorer.compare("pictures", sources=["attention", "gradient"])
    held = [weakref.ref(capture) for capture in explorer.store._kept.values()]
    held += [weakref.ref(capture) for capture in explorer._comparing._small.values()]
    assert len(held) >= 6
    explorer.close()
    gc.collect()
    assert [reference() for reference in held] == [None] * len(held)
    assert explorer.comparison is None
    explorer.panels = [{"layer": 0}]  # without effect, and without an error
    with pytest.raises(RuntimeError, match="no picture"):
        explorer.pin()
