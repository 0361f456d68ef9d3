"""The page's service and handlers as plain calls: what visitors see, and what they cannot do."""

from __future__ import annotations

import io
import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import parse_qsl

import gradio as gr
import numpy as np
import pytest
from PIL import Image

import vitattn_widgets as va
from vitattn_widgets.demo import (
    events as events_module,
    html as html_module,
    layout as layout_module,
    service as service_module,
)
from vitattn_widgets.demo.clicks import follow_click
from vitattn_widgets.demo.controls import BESIDES, CONTROLS, Controls, parse_query, query_text
from vitattn_widgets.demo.service import DemoService
from vitattn_widgets.demo.updates import PARTS, page_updates
from vitattn_widgets.demo.uploads import Uploads
from vitattn_widgets.demo.visitor import Visitor
from vitattn_widgets.view.arrange import screen_capture

from ..conftest import SAMPLES
from .lab import MAX_PIXELS, MAX_UPLOAD, picture_file


def test_a_photo_is_shown_as_render_view_draws_it(
    service: DemoService, wide_model: va.models.AttentionModel, controls: Controls, tmp_path: Path
) -> None:
    path = picture_file(tmp_path)
    shown = service.bring(
        Visitor(), path, "my/photo.png", replace(controls, layer=1, head="1", query="2,3", opacity=0.7)
    )
    wanted = va.render_view(
        va.capture_attention(wide_model, path), va.ViewSettings(layer=1, head=1, query=(2, 3), opacity=0.7)
    )
    np.testing.assert_array_equal(shown.rendered.image, wanted.image)
    assert shown.rendered.caption == wanted.caption
    assert shown.visitor.name == "photo.png"


def test_what_is_remembered_of_a_visitor_is_small(service: DemoService, controls: Controls, tmp_path: Path) -> None:
    shown = service.bring(Visitor(), picture_file(tmp_path), "photo.png", controls)
    assert len(repr(shown.visitor)) < 1000


def test_two_visitors_see_their_own_photos(
    service: DemoService, wide_model: va.models.AttentionModel, controls: Controls, tmp_path
) -> None:
    paths = [picture_file(tmp_path, seed, name=f"{seed}.png") for seed in range(2)]
    visits = [service.bring(Visitor(), path, "same name.png", controls).visitor for path in paths]
    for path, visit in zip(paths, visits, strict=True):
        shown = service.change(visit, replace(controls, layer=0))
        wanted = va.render_view(va.capture_attention(wide_model, path), va.ViewSettings(layer=0))
        np.testing.assert_array_equal(shown.rendered.image, wanted.image)


def test_what_was_dropped_from_the_store_is_silently_computed_again(
    wide_model: va.models.AttentionModel, tmp_path: Path
) -> None:
    service = DemoService(wide_model, max_upload=MAX_UPLOAD, max_pixels=MAX_PIXELS, keep_seconds=600, budget=0)
    first = service.bring(Visitor(), picture_file(tmp_path), "photo.png", Controls(wide_model.name))
    assert service.store.nbytes == 0
    again = service.change(first.visitor, first.controls)
    np.testing.assert_array_equal(first.rendered.image, again.rendered.image)
    service.close()


def test_a_large_photo_is_kept_at_a_screens_size_and_downloaded_in_its_own(
    wide_model: va.models.AttentionModel, tmp_path: Path
) -> None:
    service = DemoService(wide_model, max_upload=20_000_000, max_pixels=3_000_000, keep_seconds=600)
    path = picture_file(tmp_path, size=(1100, 1500))
    shown = service.bring(Visitor(), path, "large.png", Controls(wide_model.name, on="original"))
    capture = va.capture_attention(wide_model, path)
    wanted = va.render_view(screen_capture(capture), va.ViewSettings(on="original"))
    np.testing.assert_array_equal(shown.rendered.image, wanted.image)
    assert service.store.nbytes < capture.nbytes
    name, content = service.download(shown.visitor, shown.controls, "png")
    assert name.startswith("large-")
    assert name.endswith("-mean.png")
    full = va.render_view(capture, va.ViewSettings(on="original")).image
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(content))), full)
    service.close()


def test_downloads_are_the_map_and_a_recipe_that_makes_it_again(
    service: DemoService, wide_model: va.models.AttentionModel, controls: Controls, tmp_path: Path
) -> None:
    path = picture_file(tmp_path)
    shown = service.bring(Visitor(), path, "photo.png", replace(controls, layer=0, aggregation="max"))
    _, npz = service.download(shown.visitor, shown.controls, "npz")
    with np.load(io.BytesIO(npz)) as found:
        np.testing.assert_array_equal(found["grid_map"], shown.rendered.grid_map)
    _, recipe = service.download(shown.visitor, shown.controls, "json")
    again = va.from_recipe(json.loads(recipe), model=wide_model, picture=path)
    np.testing.assert_array_equal(again.image, shown.rendered.image)
    with pytest.raises(va.errors.SettingsError, match="there is no download"):
        service.download(shown.visitor, shown.controls, "exe")


def test_a_link_restores_sample_model_and_settings(service: DemoService, controls: Controls) -> None:
    moved = replace(
        controls, layer=0, head="2", query="1,4", smoothing=("median",), scale="shared", opacity=0.25, cmap="gray"
    )
    shown = service.take_sample(Visitor(), "coffee", replace(moved, beside=BESIDES[2], on="original"))
    again, told = service.open(dict(parse_qsl(shown.link)))
    assert told == ""
    assert again.controls == shown.controls
    assert again.visitor.name == "coffee"
    np.testing.assert_array_equal(again.rendered.image, shown.rendered.image)


def test_a_link_to_an_upload_carries_no_photo(service: DemoService, controls: Controls, tmp_path: Path) -> None:
    shown = service.bring(Visitor(), picture_file(tmp_path), "secret name.png", replace(controls, layer=0))
    assert "sample" not in shown.link
    assert "secret" not in shown.link
    assert shown.visitor.photo not in shown.link


def test_the_bad_parts_of_a_link_fall_back_and_are_told(service: DemoService) -> None:
    bad = {"model": "vit_huge", "sample": "../../etc/passwd", "layer": "x", "opacity": "9", "scale": "shared"}
    shown, told = service.open(bad)
    assert shown.controls.scale == "shared"
    assert shown.visitor.name == "chelsea"
    for words in ("there is no model 'vit_huge'", "there is no sample", "layer must be", "opacity must lie"):
        assert words in told


@pytest.mark.parametrize("query", [None, "class", "mean", "class+dist", (0, 0), (3, 5)])
def test_queries_are_written_and_read(query) -> None:
    assert parse_query(query_text(query)) == query


@pytest.mark.parametrize(
    ("chosen", "wanted"),
    [
        ({"row": 1, "col": 5}, {"query": (1, 5)}),
        ({"head": 2}, {"head": 2}),
        ({"head": "all"}, {"head": None}),
        ({"layer": 0, "head": 1}, {"layer": 0, "head": 1}),
        ({"query": None}, {"query": None}),
    ],
)
def test_a_click_sets_what_was_clicked(service: DemoService, controls: Controls, chosen, wanted) -> None:
    visit = service.take_sample(Visitor(), "chelsea", controls).visitor
    shown = follow_click(service, visit, chosen, replace(controls, layer=1, head="0", query="0,0"))
    settings = {"layer": 1, "head": 0, "query": (0, 0)} | wanted
    assert {name: getattr(shown.rendered.settings, name) for name in settings} == settings


def test_every_head_is_drawn_on_one_shared_scale(
    service: DemoService, wide_model: va.models.AttentionModel, controls: Controls
) -> None:
    shown = service.take_sample(Visitor(), "chelsea", replace(controls, layer=0))
    capture = va.capture_attention(wide_model, SAMPLES / "chelsea.jpg")
    count = capture.num_heads(0)
    heads = va.render_views(
        capture, [va.ViewSettings(layer=0, head=head, scale="shared", median=False) for head in range(count)]
    )
    for found, wanted in zip(service.heads(shown), heads, strict=True):
        np.testing.assert_array_equal(found.image, wanted.image)
        assert found.value_range == heads[0].value_range


def test_the_panel_is_drawn_anew_only_when_it_changes(service: DemoService, controls: Controls) -> None:
    shown = service.take_sample(Visitor(), "chelsea", controls)
    assert shown.panel
    assert not service.change(shown.visitor, replace(controls, aggregation="max")).panel
    assert service.change(shown.visitor, replace(controls, layer=0)).panel
    overview = service.change(shown.visitor, replace(controls, beside="all layers and heads"))
    assert not service.change(overview.visitor, replace(overview.controls, opacity=0.1)).panel
    assert service.change(overview.visitor, replace(overview.controls, query="0,0")).panel


def test_a_control_that_stands_right_is_left_alone(service: DemoService, controls: Controls) -> None:
    first = service.take_sample(Visitor(), "chelsea", controls)
    opened = page_updates(service, first, None)
    assert all("value" in opened[name] for name in (*CONTROLS, "picture", "answer", "panel"))
    sent = replace(controls, layer=0.0, smoothing=["gaussian", "bilinear", "median"], opacity=1)
    updates = page_updates(service, service.change(first.visitor, sent), sent)
    assert list(updates) == list(PARTS)
    assert [name for name in PARTS if "value" in updates[name]] == ["picture", "check", "panel"]
    sent = replace(controls, layer=99)
    assert page_updates(service, service.change(first.visitor, sent), sent)["layer"]["value"] == 2


def test_the_menus_offer_what_the_capture_has(service: DemoService, controls: Controls) -> None:
    first = service.take_sample(Visitor(), "chelsea", controls)

    def menus(**changed) -> dict:
        sent = replace(controls, **changed)
        return {
            name: part.get("menu")
            for name, part in page_updates(service, service.change(first.visitor, sent), sent).items()
        }

    usual = menus()
    assert usual["layer"] == {"maximum": first.capture.num_layers - 1}
    assert [value for _, value in usual["head"]["choices"]] == ["all", "0", "1", "2"]
    assert [value for _, value in usual["aggregation"]["choices"]] == ["mean", "max", "mean_over_std"]
    assert usual["aggregation"]["interactive"]
    assert usual["opacity"] == {"interactive": True}
    assert usual["clear"] == {"value": "Back to the class token", "interactive": False}
    alone = menus(head="1")["aggregation"]
    assert not alone["interactive"]
    assert alone["info"] == "only head 1 is shown"
    patch = menus(query="2,3")
    assert patch["query"]["choices"][-1][1] == "2,3"
    assert patch["clear"]["interactive"]
    assert menus(arrangement="map")["opacity"] == {"interactive": False}
    json.dumps(usual)


def test_the_photos_time_is_up(wide_model: va.models.AttentionModel, controls: Controls, tmp_path: Path) -> None:
    service = DemoService(wide_model, max_upload=MAX_UPLOAD, max_pixels=MAX_PIXELS, keep_seconds=3600)
    visit = service.bring(Visitor(), picture_file(tmp_path), "photo.png", controls).visitor
    folder = Path(service.uploads._folder.name)
    assert folder.stat().st_mode & 0o077 == 0
    service.uploads.drop_old()
    assert len(list(folder.iterdir())) == len(service.store) == 1
    service.uploads._used[visit.photo] -= 3601
    service.uploads.drop_old()
    assert list(folder.iterdir()) == []
    assert len(service.store) == 0
    with pytest.raises(va.errors.PictureError, match="was removed 60 minutes after it was last used"):
        service.change(visit, controls)
    service.close()
    assert not folder.exists()


def test_uploads_are_swept_without_being_asked(tmp_path: Path) -> None:
    import time

    uploads = Uploads(MAX_UPLOAD, keep_seconds=0.2)
    uploads.add(picture_file(tmp_path), "photo.png")
    deadline = time.monotonic() + 10
    while len(uploads) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert len(uploads) == 0
    uploads.close()


def test_a_model_that_cannot_be_loaded_is_listed_with_the_reason(service: DemoService, controls: Controls) -> None:
    assert service.names[1] == "vit_tiny_patch16_384"
    assert "could not be downloaded" in layout_module.introduction(service)
    visit = service.take_sample(Visitor(), "chelsea", controls).visitor
    with pytest.raises(va.errors.ModelError, match="is not available: the weights"):
        service.change(visit, replace(controls, model="vit_tiny_patch16_384"))


def test_the_page_starts_without_any_model() -> None:
    page = va.build_demo(["vit_tiny_patch16_384", "vit_tinny"])
    shown, told = page.service.open({})
    assert shown is None
    assert "could not be downloaded" in told
    assert "near names" in told
    page.service.close()
    with pytest.raises(va.errors.SettingsError, match="at least one model"):
        va.build_demo([])


def test_no_visitor_can_make_the_server_load_a_model(service: DemoService, controls: Controls, monkeypatch) -> None:
    monkeypatch.setattr(service_module, "load_model", lambda *_: pytest.fail("loaded"))
    visit = service.take_sample(Visitor(), "chelsea", controls).visitor
    for name in ("vit_base_patch16_224", "hf-hub:timm/vit_base_patch16_224.dino", "local-dir:/", None, 3, [], {}):
        with pytest.raises(va.errors.ModelError, match="there is no model"):
            service.change(visit, replace(controls, model=name))


class TagChecker(HTMLParser):
    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list) -> None:
        self.tags.append(tag)
        assert not any(name.startswith("on") and name != "on" for name, _ in attrs)


def test_no_text_from_outside_becomes_html(
    wide_model: va.models.AttentionModel, controls: Controls, tmp_path: Path
) -> None:
    evil = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>"
    named = replace(wide_model, name=evil, class_names=(evil,) * len(wide_model.class_names))
    service = DemoService(
        named, {evil: SAMPLES / "chelsea.jpg"}, max_upload=MAX_UPLOAD, max_pixels=MAX_PIXELS, keep_seconds=9
    )
    for beside in BESIDES:
        shown = service.take_sample(Visitor(), evil, replace(controls, model=evil, beside=beside))
        whole = html_module.picture(shown) + html_module.answer(shown) + html_module.panel(service, shown)
        tags = TagChecker(whole + html_module.samples(service.samples)).tags
        assert "script" not in tags
        assert "button" in tags
    service.close()


def test_a_check_takes_no_place_from_those_who_move_controls() -> None:
    check = events_module.guarded_apart(lambda: "checked")
    with ThreadPoolExecutor(1) as pool, ExitStack() as taken:
        for _ in range(events_module.AT_ONCE):
            taken.enter_context(events_module._slots)
        assert pool.submit(check).result(timeout=5) == "checked"


def test_handlers_tell_what_a_visitor_can_mend_and_nothing_else(caplog: pytest.LogCaptureFixture) -> None:
    def fail(error: Exception) -> None:
        raise error

    guarded = events_module.guarded(fail)
    with pytest.raises(gr.Error, match="no such head"):
        guarded(va.errors.SettingsError("no such head"))
    with pytest.raises(gr.Error) as caught:
        guarded(RuntimeError("/secret/path"))
    assert caught.value.message == events_module.WENT_WRONG
    assert "/secret/path" in caplog.text
