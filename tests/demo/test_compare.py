"""Comparisons on the page, as plain calls: presets, kept views, differences."""

from __future__ import annotations

from dataclasses import replace
from html import unescape
from pathlib import Path
from urllib.parse import parse_qsl

import numpy as np
import pytest

import vitattn_widgets as va
from vitattn_widgets.comparison.compare import compare_views, difference_view
from vitattn_widgets.comparison.panels import Panel
from vitattn_widgets.comparison.presets import PRESETS
from vitattn_widgets.demo.clicks import follow_click
from vitattn_widgets.demo.controls import NO_PANEL, OWN_VIEWS, Controls
from vitattn_widgets.demo.html import panel
from vitattn_widgets.demo.service import DemoService
from vitattn_widgets.demo.updates import menus, page_updates
from vitattn_widgets.demo.visitor import MAX_KEPT_VIEWS, Shown, Visitor

from ..conftest import SAMPLES
from .lab import MAX_PIXELS, MAX_UPLOAD, picture_file
from .test_sources import NAMES, completed, named_model


@pytest.fixture(scope="module")
def cats() -> va.models.AttentionModel:
    return named_model("cats", NAMES)


@pytest.fixture(scope="module")
def turned() -> va.models.AttentionModel:
    return named_model("turned", ("cup", "star", "tabby cat", "fish", "dog"), seed=1)


@pytest.fixture
def service(cats: va.models.AttentionModel, turned: va.models.AttentionModel):
    service = DemoService([cats, turned], max_upload=MAX_UPLOAD, max_pixels=MAX_PIXELS, keep_seconds=3600)
    yield service
    service.close()


def add(service: DemoService, shown: Shown, **changed) -> Shown:
    """Keep the view of other controls for comparison; gives the page after that."""
    return follow_click(service, shown.visitor, {"add": True}, replace(shown.controls, **changed))


def opened(service: DemoService, **controls) -> Shown:
    return service.take_sample(Visitor(), "chelsea", Controls("cats", **controls))


@pytest.mark.parametrize("scale", ["map", "robust"])
@pytest.mark.parametrize("row", list(PRESETS))
def test_a_presets_row_is_the_comparison_of_its_panels(
    service: DemoService, cats: va.models.AttentionModel, row: str, scale: str
):
    shown = opened(service, beside="compare", row=row, layer=1, target="key", opacity=0.8, cmap="gray", scale=scale)
    settings = va.ViewSettings(layer=1, target=2, opacity=0.8, cmap="gray", scale=scale)
    capture = va.capture_attention(cats, SAMPLES / "chelsea.jpg")
    wanted_panels = [
        Panel(va.complete_capture(cats, capture, one), one, "chelsea") for one in PRESETS[row].panels(capture, settings)
    ]
    wanted = compare_views(wanted_panels, "robust" if scale == "robust" else "shared")
    found = service.compared(shown)
    assert found.places == tuple(range(len(wanted.views)))
    assert found.comparison.titles == wanted.titles
    assert found.comparison.limits == pytest.approx(wanted.limits)
    for one, other in zip(found.comparison.views, wanted.views, strict=True):
        np.testing.assert_array_equal(one.image, other.image)
    html = unescape(panel(service, shown))
    assert all(title in html for title in wanted.titles)
    assert all(f"{value:.3g}" in html for value in wanted.limits)
    assert wanted.unit in html


def test_where_there_is_nothing_to_compare_the_panel_says_why(service: DemoService) -> None:
    shown = opened(service, beside="compare", row="heads", source="relevance")
    assert shown.row.kept_views == ()
    assert "there is nothing to compare here: relevance averages" in panel(service, shown)
    assert "You have no views of your own yet" in panel(service, opened(service, beside="compare", row=OWN_VIEWS))


def test_own_views_are_of_any_photo_and_model_and_keep_their_settings(
    service: DemoService, cats: va.models.AttentionModel, turned: va.models.AttentionModel, tmp_path: Path
) -> None:
    path = picture_file(tmp_path, seed=3)
    shown = add(service, opened(service, layer=0, head="1"))
    assert (shown.controls.beside, shown.controls.row) == ("compare", OWN_VIEWS)
    shown = service.bring(
        shown.visitor, path, "own.png", replace(shown.controls, source="gradient", target="key", head="all")
    )
    shown = add(service, shown)
    shown = add(service, shown, model="turned", source="rollout", query="1,2", opacity=0.9)
    first = va.ViewSettings(layer=0, head=1, opacity=0.9)
    second = va.ViewSettings(layer=0, source="gradient", target=2, opacity=0.9)
    third = va.ViewSettings(layer=0, source="rollout", query=(1, 2), opacity=0.9)
    wanted = compare_views([
        Panel(completed(cats, SAMPLES / "chelsea.jpg", first), first, "chelsea"),
        Panel(completed(cats, path, second), second, "own.png"),
        Panel(completed(turned, path, third), third, "own.png"),
    ])  # fmt: skip
    found = service.compared(shown)
    assert found.comparison.titles == wanted.titles
    for one, other in zip(found.comparison.views, wanted.views, strict=True):
        np.testing.assert_array_equal(one.image, other.image)


def test_a_view_is_there_once_and_no_more_than_the_limit(service: DemoService) -> None:
    shown = add(service, opened(service))
    again = add(service, shown, opacity=0.1, cmap="gray", scale="robust", smoothing=["median"])
    assert again.visitor.kept_views == shown.visitor.kept_views  # the same map with another look
    assert menus(again)["add"] == {"value": "This view is one of your own views", "interactive": False}
    for layer in range(3):
        for head in ("all", "0", "1", "2"):
            again = add(service, again, layer=layer, head=head)
    assert len(again.visitor.kept_views) == MAX_KEPT_VIEWS == 12
    other = service.take_sample(again.visitor, "coffee", again.controls)
    assert menus(other)["add"] == {
        "value": "You have 12 views of your own: remove one to add this",
        "interactive": False,
    }
    with pytest.raises(va.errors.SettingsError, match="you can keep at most 12 views"):
        add(service, other)
    assert len(repr(again.visitor)) < 1000 + 600 * MAX_KEPT_VIEWS  # text and numbers


def test_views_are_taken_out_one_by_one_or_all(service: DemoService) -> None:
    shown = opened(service)
    for head in ("0", "1", "2"):
        shown = add(service, shown, head=head)
    shown = service.change(shown.visitor, replace(shown.controls, first="3", second="1"))
    marks = [kept_view.mark for kept_view in shown.visitor.kept_views]
    left = follow_click(service, shown.visitor, {"remove": marks[1]}, shown.controls)
    assert [kept_view.mark for kept_view in left.visitor.kept_views] == [marks[0], marks[2]]
    assert (left.controls.first, left.controls.second) == (NO_PANEL, NO_PANEL)  # they were numbers in another row
    again = follow_click(service, left.visitor, {"remove": marks[1]}, left.controls)
    assert again.visitor.kept_views == left.visitor.kept_views
    none = follow_click(service, left.visitor, {"remove": "all"}, left.controls)
    assert none.visitor.kept_views == ()
    assert not menus(none)["empty"]["interactive"]


def test_a_difference_is_that_of_the_two_chosen_views(service: DemoService, cats: va.models.AttentionModel) -> None:
    shown = opened(service, beside="compare", row="layers", first="3", second=1, opacity=0.6)
    assert (shown.controls.first, shown.controls.second) == ("3", "1")
    capture = va.capture_attention(cats, SAMPLES / "chelsea.jpg")
    one, other = (Panel(capture, va.ViewSettings(layer=layer, opacity=0.6)) for layer in (2, 0))
    wanted, found = difference_view(one, other), service.compared(shown).difference
    np.testing.assert_array_equal(found.image, wanted.image)
    html = unescape(panel(service, shown))
    assert "3 minus 1" in html
    assert f"{wanted.value_range[1]:.3g}" in html
    assert [name for _, name in menus(shown)["first"]["choices"]] == [NO_PANEL, "1", "2", "3"]
    fewer = service.change(shown.visitor, replace(shown.controls, row="aggregations"))
    assert (fewer.controls.first, fewer.controls.second) == (NO_PANEL, NO_PANEL)
    beyond = opened(service, beside="compare", row="layers", first="9", second="1")
    assert beyond.controls.first == NO_PANEL


def test_two_photos_are_not_subtracted_and_that_is_told(service: DemoService) -> None:
    shown = add(service, opened(service))
    shown = add(service, service.take_sample(shown.visitor, "coffee", shown.controls), first="1", second="2")
    shown = service.change(shown.visitor, replace(shown.controls, first="1", second="2"))
    found = service.compared(shown)
    assert "a difference needs two maps of one photo" in found.difference
    assert len(found.comparison.views) == 2
    assert "a difference needs two maps of one photo" in panel(service, shown)


def test_a_view_whose_photo_was_removed_is_told_in_its_place(service: DemoService, tmp_path: Path) -> None:
    shown = service.bring(Visitor(), picture_file(tmp_path), "own.png", Controls("cats"))
    shown = add(service, shown)
    key = shown.visitor.photo
    shown = add(service, service.take_sample(shown.visitor, "chelsea", shown.controls))
    service.uploads.drop(key)
    sent = replace(shown.controls, opacity=0.7)
    shown = service.change(shown.visitor, sent)
    assert shown.panel
    found = service.compared(shown)
    assert found.places == ("own.png: was removed 60 minutes after it was last used; upload it again", 0)
    html = page_updates(service, shown, sent)["panel"]["value"]
    assert "own.png: was removed 60 minutes" in html
    assert html.count("Remove view") == 4  # one label and one title each
    shown = follow_click(service, shown.visitor, {"remove": shown.visitor.kept_views[0].mark}, shown.controls)
    assert service.compared(shown).places == (0,)


def test_what_is_compared_counts_as_used(service: DemoService, tmp_path: Path) -> None:
    shown = service.bring(Visitor(), picture_file(tmp_path), "own.png", Controls("cats"))
    key, shown = shown.visitor.photo, add(service, shown)
    shown = service.take_sample(shown.visitor, "chelsea", shown.controls)
    service.uploads._used[key] -= 3000
    before = service.uploads._used[key]
    service.compared(shown)
    assert service.uploads._used[key] > before + 2000


def test_a_click_on_a_view_of_the_row_shows_it(service: DemoService, tmp_path: Path) -> None:
    shown = opened(service, beside="compare", row="sources", cmap="gray", scale="robust")
    mark = shown.row.kept_views[4].mark
    there = follow_click(service, shown.visitor, {"view": mark}, shown.controls)
    assert there.rendered.settings == va.ViewSettings(layer=2, source="gradient_late", cmap="gray", scale="robust")
    assert there.row.here == mark
    assert panel(service, there).count('aria-pressed="true"') == 1

    shown = service.bring(
        Visitor(), picture_file(tmp_path), "own.png", Controls("cats", source="gradient", target="key")
    )
    shown = add(service, shown)
    other = service.take_sample(shown.visitor, "coffee", replace(shown.controls, model="turned", layer=0))
    other = service.change(other.visitor, replace(other.controls, target="dog"))
    back = follow_click(service, other.visitor, {"view": other.visitor.kept_views[0].mark}, other.controls)
    assert back.visitor.name == "own.png"
    assert back.controls.model == "cats"
    assert back.rendered.settings == va.ViewSettings(layer=2, source="gradient", target=2)
    np.testing.assert_array_equal(back.rendered.image, shown.rendered.image)
    with pytest.raises(va.errors.SettingsError, match="no longer in the row"):
        follow_click(service, replace(other.visitor, kept_views=()), {"view": mark}, other.controls)


def test_a_row_is_drawn_anew_only_when_it_changes(service: DemoService) -> None:
    shown = add(service, opened(service, head="1"))

    def drawn(**changed) -> bool:
        return service.change(shown.visitor, replace(shown.controls, **changed)).panel

    assert not drawn()
    assert drawn(opacity=0.9)
    assert drawn(head="2")  # the view above is no longer one of the row
    moved = service.change(shown.visitor, replace(shown.controls, head="2"))
    assert not service.change(moved.visitor, replace(moved.controls, layer=0)).panel


def test_a_link_restores_the_row_and_the_difference_but_no_views_of_ones_own(service: DemoService) -> None:
    shown = opened(service, beside="compare", row="layers", first="2", second="1")
    again, told = service.open(dict(parse_qsl(shown.link)))
    assert told == ""
    assert again.controls == shown.controls
    assert panel(service, again) == panel(service, shown)
    own = add(service, shown)
    again, _ = service.open(dict(parse_qsl(own.link)))
    assert again.visitor.kept_views == ()
