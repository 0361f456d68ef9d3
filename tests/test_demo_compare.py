"""Comparing on the page, as plain calls: presets, views of one's own, differences."""

from __future__ import annotations

from dataclasses import replace
from html import unescape
from pathlib import Path
from urllib.parse import parse_qsl

import numpy as np
import pytest

import vitattn_widgets as va
from vitattn_widgets.comparison import Panel, compare_views, difference_view
from vitattn_widgets.comparison_presets import PRESETS
from vitattn_widgets.demo_clicks import follow_click
from vitattn_widgets.demo_controls import NO_PANEL, OWN_VIEWS, Controls
from vitattn_widgets.demo_desk import Desk
from vitattn_widgets.demo_menus import menus
from vitattn_widgets.demo_panels import panel
from vitattn_widgets.demo_rows import MAX_PINS
from vitattn_widgets.demo_updates import page_updates
from vitattn_widgets.demo_visit import Shown, Visit

from .conftest import SAMPLES
from .demo_lab import MAX_PIXELS, MAX_UPLOAD, picture_file
from .test_demo_sources import NAMES, completed, named_model


@pytest.fixture(scope="module")
def cats() -> va.AttentionModel:
    return named_model("cats", NAMES)


@pytest.fixture(scope="module")
def turned() -> va.AttentionModel:
    return named_model("turned", ("cup", "star", "tabby cat", "fish", "dog"), seed=1)


@pytest.fixture
def desk(cats: va.AttentionModel, turned: va.AttentionModel):
    desk = Desk([cats, turned], max_upload=MAX_UPLOAD, max_pixels=MAX_PIXELS, keep_seconds=3600)
    yield desk
    desk.close()


def add(desk: Desk, shown: Shown, **changed) -> Shown:
    """The page after its view, with other controls, was added to those to compare."""
    return follow_click(desk, shown.visit, {"add": True}, replace(shown.controls, **changed))


def opened(desk: Desk, **controls) -> Shown:
    return desk.take_sample(Visit(), "chelsea", Controls("cats", **controls))


@pytest.mark.parametrize("scale", ["map", "robust"])
@pytest.mark.parametrize("row", list(PRESETS))
def test_a_presets_row_is_the_comparison_of_its_panels(desk: Desk, cats: va.AttentionModel, row: str, scale: str):
    shown = opened(desk, beside="compare", row=row, layer=1, target="key", opacity=0.8, cmap="gray", scale=scale)
    settings = va.ViewSettings(layer=1, target=2, opacity=0.8, cmap="gray", scale=scale)
    capture = va.capture_attention(cats, SAMPLES / "chelsea.jpg")
    wanted_panels = [
        Panel(va.complete_capture(cats, capture, one), one, "chelsea") for one in PRESETS[row].panels(capture, settings)
    ]
    wanted = compare_views(wanted_panels, "robust" if scale == "robust" else "shared")
    found = desk.compared(shown)
    assert found.places == tuple(range(len(wanted.views)))
    assert found.comparison.titles == wanted.titles
    assert found.comparison.limits == pytest.approx(wanted.limits)
    for one, other in zip(found.comparison.views, wanted.views, strict=True):
        np.testing.assert_array_equal(one.image, other.image)
    html = unescape(panel(desk, shown))
    assert all(title in html for title in wanted.titles)
    assert all(f"{value:.3g}" in html for value in wanted.limits)
    assert wanted.unit in html


def test_where_there_is_nothing_to_compare_the_panel_says_why(desk: Desk) -> None:
    shown = opened(desk, beside="compare", row="heads", source="relevance")
    assert shown.row.pins == ()
    assert "there is nothing to compare here: relevance averages" in panel(desk, shown)
    assert "You have no views of your own yet" in panel(desk, opened(desk, beside="compare", row=OWN_VIEWS))


def test_own_views_are_of_any_photo_and_model_and_keep_their_settings(
    desk: Desk, cats: va.AttentionModel, turned: va.AttentionModel, tmp_path: Path
) -> None:
    path = picture_file(tmp_path, seed=3)
    shown = add(desk, opened(desk, layer=0, head="1"))
    assert (shown.controls.beside, shown.controls.row) == ("compare", OWN_VIEWS)
    shown = desk.bring(
        shown.visit, path, "own.png", replace(shown.controls, source="gradient", target="key", head="all")
    )
    shown = add(desk, shown)
    shown = add(desk, shown, model="turned", source="rollout", query="1,2", opacity=0.9)
    first = va.ViewSettings(layer=0, head=1, opacity=0.9)
    second = va.ViewSettings(layer=0, source="gradient", target=2, opacity=0.9)
    third = va.ViewSettings(layer=0, source="rollout", query=(1, 2), opacity=0.9)
    wanted = compare_views([
        Panel(completed(cats, SAMPLES / "chelsea.jpg", first), first, "chelsea"),
        Panel(completed(cats, path, second), second, "own.png"),
        Panel(completed(turned, path, third), third, "own.png"),
    ])  # fmt: skip
    found = desk.compared(shown)
    assert found.comparison.titles == wanted.titles
    for one, other in zip(found.comparison.views, wanted.views, strict=True):
        np.testing.assert_array_equal(one.image, other.image)


def test_a_view_is_there_once_and_no_more_than_the_limit(desk: Desk) -> None:
    shown = add(desk, opened(desk))
    again = add(desk, shown, opacity=0.1, cmap="gray", scale="robust", smoothing=["median"])
    assert again.visit.pins == shown.visit.pins  # the same map, only drawn otherwise
    assert menus(again)["add"] == {"value": "This view is among your own views", "interactive": False}
    for layer in range(3):
        for head in ("all", "0", "1", "2"):
            again = add(desk, again, layer=layer, head=head)
    assert len(again.visit.pins) == MAX_PINS == 12
    other = desk.take_sample(again.visit, "coffee", again.controls)
    assert menus(other)["add"] == {"value": "You have 12 own views: remove one to add this", "interactive": False}
    with pytest.raises(va.SettingsError, match="12 own views, which is the limit"):
        add(desk, other)
    assert len(repr(again.visit)) < 1000 + 600 * MAX_PINS  # words and numbers


def test_views_are_taken_out_one_by_one_or_all(desk: Desk) -> None:
    shown = opened(desk)
    for head in ("0", "1", "2"):
        shown = add(desk, shown, head=head)
    shown = desk.change(shown.visit, replace(shown.controls, first="3", second="1"))
    marks = [pin.mark for pin in shown.visit.pins]
    left = follow_click(desk, shown.visit, {"remove": marks[1]}, shown.controls)
    assert [pin.mark for pin in left.visit.pins] == [marks[0], marks[2]]
    assert (left.controls.first, left.controls.second) == (NO_PANEL, NO_PANEL)  # they were numbers of other views
    again = follow_click(desk, left.visit, {"remove": marks[1]}, left.controls)
    assert again.visit.pins == left.visit.pins
    none = follow_click(desk, left.visit, {"remove": "all"}, left.controls)
    assert none.visit.pins == ()
    assert not menus(none)["empty"]["interactive"]


def test_a_difference_is_that_of_the_two_chosen_views(desk: Desk, cats: va.AttentionModel) -> None:
    shown = opened(desk, beside="compare", row="layers", first="3", second=1, opacity=0.6)
    assert (shown.controls.first, shown.controls.second) == ("3", "1")
    capture = va.capture_attention(cats, SAMPLES / "chelsea.jpg")
    one, other = (Panel(capture, va.ViewSettings(layer=layer, opacity=0.6)) for layer in (2, 0))
    wanted, found = difference_view(one, other), desk.compared(shown).difference
    np.testing.assert_array_equal(found.image, wanted.image)
    html = unescape(panel(desk, shown))
    assert "3 minus 1" in html
    assert f"{wanted.value_range[1]:.3g}" in html
    assert [name for _, name in menus(shown)["first"]["choices"]] == [NO_PANEL, "1", "2", "3"]
    fewer = desk.change(shown.visit, replace(shown.controls, row="aggregations"))
    assert (fewer.controls.first, fewer.controls.second) == (NO_PANEL, NO_PANEL)
    beyond = opened(desk, beside="compare", row="layers", first="9", second="1")
    assert beyond.controls.first == NO_PANEL


def test_two_photos_are_not_subtracted_and_that_is_told(desk: Desk) -> None:
    shown = add(desk, opened(desk))
    shown = add(desk, desk.take_sample(shown.visit, "coffee", shown.controls), first="1", second="2")
    shown = desk.change(shown.visit, replace(shown.controls, first="1", second="2"))
    found = desk.compared(shown)
    assert "a difference needs two maps of one photo" in found.difference
    assert len(found.comparison.views) == 2
    assert "a difference needs two maps of one photo" in panel(desk, shown)


def test_a_view_whose_photo_was_removed_is_told_in_its_place(desk: Desk, tmp_path: Path) -> None:
    shown = desk.bring(Visit(), picture_file(tmp_path), "own.png", Controls("cats"))
    shown = add(desk, shown)
    key = shown.visit.photo
    shown = add(desk, desk.take_sample(shown.visit, "chelsea", shown.controls))
    desk.uploads.drop(key)
    sent = replace(shown.controls, opacity=0.7)
    shown = desk.change(shown.visit, sent)
    assert shown.panel
    found = desk.compared(shown)
    assert found.places == ("own.png: was removed 60 minutes after it was last used; bring it again", 0)
    html = page_updates(desk, shown, sent)["panel"]["value"]
    assert "own.png: was removed 60 minutes" in html
    assert html.count("Remove view") == 4  # a label and a title each
    shown = follow_click(desk, shown.visit, {"remove": shown.visit.pins[0].mark}, shown.controls)
    assert desk.compared(shown).places == (0,)


def test_what_is_compared_counts_as_used(desk: Desk, tmp_path: Path) -> None:
    shown = desk.bring(Visit(), picture_file(tmp_path), "own.png", Controls("cats"))
    key, shown = shown.visit.photo, add(desk, shown)
    shown = desk.take_sample(shown.visit, "chelsea", shown.controls)
    desk.uploads._used[key] -= 3000
    before = desk.uploads._used[key]
    desk.compared(shown)
    assert desk.uploads._used[key] > before + 2000


def test_a_click_on_a_view_of_the_row_shows_it(desk: Desk, tmp_path: Path) -> None:
    shown = opened(desk, beside="compare", row="sources", cmap="gray", scale="robust")
    mark = shown.row.pins[4].mark
    there = follow_click(desk, shown.visit, {"view": mark}, shown.controls)
    assert there.rendered.settings == va.ViewSettings(layer=2, source="gradient_late", cmap="gray", scale="robust")
    assert there.row.here == mark
    assert panel(desk, there).count('aria-pressed="true"') == 1

    shown = desk.bring(Visit(), picture_file(tmp_path), "own.png", Controls("cats", source="gradient", target="key"))
    shown = add(desk, shown)
    other = desk.take_sample(shown.visit, "coffee", replace(shown.controls, model="turned", layer=0))
    other = desk.change(other.visit, replace(other.controls, target="dog"))
    back = follow_click(desk, other.visit, {"view": other.visit.pins[0].mark}, other.controls)
    assert back.visit.name == "own.png"
    assert back.controls.model == "cats"
    assert back.rendered.settings == va.ViewSettings(layer=2, source="gradient", target=2)
    np.testing.assert_array_equal(back.rendered.image, shown.rendered.image)
    with pytest.raises(va.SettingsError, match="not in the row any more"):
        follow_click(desk, replace(other.visit, pins=()), {"view": mark}, other.controls)


def test_a_row_is_drawn_anew_only_when_it_changes(desk: Desk) -> None:
    shown = add(desk, opened(desk, head="1"))

    def drawn(**changed) -> bool:
        return desk.change(shown.visit, replace(shown.controls, **changed)).panel

    assert not drawn()
    assert drawn(opacity=0.9)
    assert drawn(head="2")  # the view above is no longer one of the row
    moved = desk.change(shown.visit, replace(shown.controls, head="2"))
    assert not desk.change(moved.visit, replace(moved.controls, layer=0)).panel


def test_a_link_restores_the_row_and_the_difference_but_no_views_of_ones_own(desk: Desk) -> None:
    shown = opened(desk, beside="compare", row="layers", first="2", second="1")
    again, told = desk.open(dict(parse_qsl(shown.link)))
    assert told == ""
    assert again.controls == shown.controls
    assert panel(desk, again) == panel(desk, shown)
    own = add(desk, shown)
    again, _ = desk.open(dict(parse_qsl(own.link)))
    assert again.visit.pins == ()
