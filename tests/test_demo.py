"""The demo's desk and its handlers as plain calls: what visitors see, and what no visitor can do."""

from __future__ import annotations

import io
import json
import zlib
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import parse_qsl

import numpy as np
import pytest
from PIL import Image

import vitattn_widgets as va
from vitattn_widgets import demo_desk, demo_html
from vitattn_widgets.demo_controls import BESIDES, CONTROLS, Controls, parse_query, query_text
from vitattn_widgets.demo_desk import Desk, Visit
from vitattn_widgets.demo_updates import PARTS, page_updates
from vitattn_widgets.panels import screen_capture
from vitattn_widgets.uploads import Uploads

from . import model_zoo
from .conftest import SAMPLES, noise_photo

gr = pytest.importorskip("gradio")

from vitattn_widgets import demo_events, demo_layout  # noqa: E402
from vitattn_widgets.demo_photo import uploaded_file  # noqa: E402

MAX_UPLOAD, MAX_PIXELS = 300_000, 200_000
BAD_INPUTS = 220


def picture_file(folder: Path, seed: int = 0, size: tuple[int, int] = (80, 150), name: str = "photo.png") -> Path:
    path = folder / name
    Image.fromarray(noise_photo(size, seed)).save(path)
    return path


@pytest.fixture(scope="module")
def model() -> va.AttentionModel:
    return va.load_model(model_zoo.build("vit", model_zoo.WIDE))


@pytest.fixture(scope="module")
def whole_desk(model: va.AttentionModel):
    desk = Desk([model, "vit_tiny_patch16_384"], max_upload=MAX_UPLOAD, max_pixels=MAX_PIXELS, keep_seconds=600)
    yield desk
    desk.close()


@pytest.fixture
def desk(whole_desk: Desk) -> Desk:
    for key in list(whole_desk.uploads._used):
        whole_desk.uploads.drop(key)
    whole_desk.store.clear()
    return whole_desk


@pytest.fixture
def controls(model: va.AttentionModel) -> Controls:
    return Controls(model.name)


def test_a_photo_is_shown_as_render_view_draws_it(desk: Desk, model: va.AttentionModel, controls: Controls, tmp_path):
    path = picture_file(tmp_path)
    shown = desk.bring(Visit(), path, "my/photo.png", replace(controls, layer=1, head="1", query="2,3", opacity=0.7))
    wanted = va.render_view(
        va.capture_attention(model, path), va.ViewSettings(layer=1, head=1, query=(2, 3), opacity=0.7)
    )
    np.testing.assert_array_equal(shown.rendered.image, wanted.image)
    assert shown.rendered.caption == wanted.caption
    assert shown.visit.name == "photo.png"


def test_what_is_remembered_of_a_visitor_is_small(desk: Desk, controls: Controls, tmp_path: Path) -> None:
    shown = desk.bring(Visit(), picture_file(tmp_path), "photo.png", controls)
    assert len(repr(shown.visit)) < 1000


def test_two_visitors_see_their_own_photos(desk: Desk, model: va.AttentionModel, controls: Controls, tmp_path) -> None:
    paths = [picture_file(tmp_path, seed, name=f"{seed}.png") for seed in range(2)]
    visits = [desk.bring(Visit(), path, "same name.png", controls).visit for path in paths]
    for path, visit in zip(paths, visits, strict=True):
        shown = desk.change(visit, replace(controls, layer=0))
        wanted = va.render_view(va.capture_attention(model, path), va.ViewSettings(layer=0))
        np.testing.assert_array_equal(shown.rendered.image, wanted.image)


def test_what_was_dropped_from_the_store_is_silently_computed_again(model: va.AttentionModel, tmp_path: Path) -> None:
    desk = Desk(model, max_upload=MAX_UPLOAD, max_pixels=MAX_PIXELS, keep_seconds=600, budget=0)
    first = desk.bring(Visit(), picture_file(tmp_path), "photo.png", Controls(model.name))
    assert desk.store.nbytes == 0
    again = desk.change(first.visit, first.controls)
    np.testing.assert_array_equal(first.rendered.image, again.rendered.image)
    desk.close()


def test_a_large_photo_is_kept_at_a_screens_size_and_downloaded_in_its_own(
    model: va.AttentionModel, tmp_path: Path
) -> None:
    desk = Desk(model, max_upload=20_000_000, max_pixels=3_000_000, keep_seconds=600)
    path = picture_file(tmp_path, size=(1100, 1500))
    shown = desk.bring(Visit(), path, "large.png", Controls(model.name, on="original"))
    capture = va.capture_attention(model, path)
    wanted = va.render_view(screen_capture(capture), va.ViewSettings(on="original"))
    np.testing.assert_array_equal(shown.rendered.image, wanted.image)
    assert desk.store.nbytes < capture.nbytes
    name, content = desk.download(shown.visit, shown.controls, "png")
    assert name.startswith("large-")
    assert name.endswith("-mean.png")
    full = va.render_view(capture, va.ViewSettings(on="original")).image
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(content))), full)
    desk.close()


def test_downloads_are_the_map_and_a_recipe_that_makes_it_again(
    desk: Desk, model: va.AttentionModel, controls: Controls, tmp_path: Path
) -> None:
    path = picture_file(tmp_path)
    shown = desk.bring(Visit(), path, "photo.png", replace(controls, layer=0, aggregation="max"))
    _, npz = desk.download(shown.visit, shown.controls, "npz")
    with np.load(io.BytesIO(npz)) as found:
        np.testing.assert_array_equal(found["grid_map"], shown.rendered.grid_map)
    _, recipe = desk.download(shown.visit, shown.controls, "json")
    again = va.from_recipe(json.loads(recipe), model=model, picture=path)
    np.testing.assert_array_equal(again.image, shown.rendered.image)
    with pytest.raises(va.SettingsError, match="there is no download"):
        desk.download(shown.visit, shown.controls, "exe")


def test_a_link_restores_sample_model_and_settings(desk: Desk, controls: Controls) -> None:
    moved = replace(
        controls, layer=0, head="2", query="1,4", smoothing=("median",), scale="shared", opacity=0.25, cmap="gray"
    )
    shown = desk.take_sample(Visit(), "coffee", replace(moved, beside=BESIDES[2], on="original"))
    again, told = desk.open(dict(parse_qsl(shown.link)))
    assert told == ""
    assert again.controls == shown.controls
    assert again.visit.name == "coffee"
    np.testing.assert_array_equal(again.rendered.image, shown.rendered.image)


def test_a_link_to_an_upload_carries_no_photo(desk: Desk, controls: Controls, tmp_path: Path) -> None:
    shown = desk.bring(Visit(), picture_file(tmp_path), "secret name.png", replace(controls, layer=0))
    assert "sample" not in shown.link
    assert "secret" not in shown.link
    assert shown.visit.photo not in shown.link


def test_the_bad_parts_of_a_link_fall_back_and_are_told(desk: Desk) -> None:
    bad = {"model": "vit_huge", "sample": "../../etc/passwd", "layer": "x", "opacity": "9", "scale": "shared"}
    shown, told = desk.open(bad)
    assert shown.controls.scale == "shared"
    assert shown.visit.name == "chelsea"
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
def test_a_click_sets_what_was_clicked(desk: Desk, controls: Controls, chosen, wanted) -> None:
    visit = desk.take_sample(Visit(), "chelsea", controls).visit
    shown = desk.choose(visit, chosen, replace(controls, layer=1, head="0", query="0,0"))
    settings = {"layer": 1, "head": 0, "query": (0, 0)} | wanted
    assert {name: getattr(shown.rendered.settings, name) for name in settings} == settings


def test_the_panels_are_the_heads_on_one_scale_and_the_three_aggregations(
    desk: Desk, model: va.AttentionModel, controls: Controls
) -> None:
    shown = desk.take_sample(Visit(), "chelsea", replace(controls, layer=0))
    capture = va.capture_attention(model, SAMPLES / "chelsea.jpg")
    count = capture.num_heads(0)
    heads = va.render_views(
        capture, [va.ViewSettings(layer=0, head=head, scale="shared", median=False) for head in range(count)]
    )
    for found, wanted in zip(desk.heads(shown), heads, strict=True):
        np.testing.assert_array_equal(found.image, wanted.image)
        assert found.value_range == heads[0].value_range
    for found, aggregation in zip(desk.compared(shown), va.AGGREGATIONS, strict=True):
        wanted = va.render_view(capture, va.ViewSettings(layer=0, aggregation=aggregation))
        np.testing.assert_array_equal(found.image, wanted.image)


def test_the_panel_is_drawn_anew_only_when_it_changes(desk: Desk, controls: Controls) -> None:
    shown = desk.take_sample(Visit(), "chelsea", controls)
    assert shown.panel
    assert not desk.change(shown.visit, replace(controls, aggregation="max")).panel
    assert desk.change(shown.visit, replace(controls, layer=0)).panel
    overview = desk.change(shown.visit, replace(controls, beside="all layers and heads"))
    assert not desk.change(overview.visit, replace(overview.controls, opacity=0.1)).panel
    assert desk.change(overview.visit, replace(overview.controls, query="0,0")).panel


def test_a_control_that_stands_right_is_left_alone(desk: Desk, controls: Controls) -> None:
    first = desk.take_sample(Visit(), "chelsea", controls)
    assert all("value" in page_updates(desk, first, None)[name] for name in PARTS if name not in ("clear", "photo"))
    sent = replace(controls, layer=0.0, smoothing=["gaussian", "bilinear", "median"], opacity=1)
    updates = page_updates(desk, desk.change(first.visit, sent), sent)
    assert list(updates) == list(PARTS)
    assert [name for name in PARTS if "value" in updates[name]] == ["picture", "panel"]
    sent = replace(controls, layer=99)
    assert page_updates(desk, desk.change(first.visit, sent), sent)["layer"]["value"] == 2


def test_the_menus_offer_what_the_capture_has(desk: Desk, controls: Controls) -> None:
    first = desk.take_sample(Visit(), "chelsea", controls)

    def menus(**changed) -> dict:
        sent = replace(controls, **changed)
        return {
            name: part.get("menu") for name, part in page_updates(desk, desk.change(first.visit, sent), sent).items()
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
    assert alone["info"] == "head 1 alone is shown"
    patch = menus(query="2,3")
    assert patch["query"]["choices"][-1][1] == "2,3"
    assert patch["clear"]["interactive"]
    assert menus(arrangement="map")["opacity"] == {"interactive": False}
    json.dumps(usual)


def test_the_photos_time_is_up(model: va.AttentionModel, controls: Controls, tmp_path: Path) -> None:
    desk = Desk(model, max_upload=MAX_UPLOAD, max_pixels=MAX_PIXELS, keep_seconds=3600)
    visit = desk.bring(Visit(), picture_file(tmp_path), "photo.png", controls).visit
    folder = Path(desk.uploads._folder.name)
    assert folder.stat().st_mode & 0o077 == 0
    desk.uploads.drop_old()
    assert len(list(folder.iterdir())) == len(desk.store) == 1
    desk.uploads._used[visit.photo] -= 3601
    desk.uploads.drop_old()
    assert list(folder.iterdir()) == []
    assert len(desk.store) == 0
    with pytest.raises(va.PictureError, match="was removed 60 minutes after it was last used"):
        desk.change(visit, controls)
    desk.close()
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


def test_a_model_that_cannot_be_loaded_is_listed_with_the_reason(desk: Desk, controls: Controls) -> None:
    assert desk.names[1] == "vit_tiny_patch16_384"
    assert "could not be downloaded" in demo_layout.introduction(desk)
    visit = desk.take_sample(Visit(), "chelsea", controls).visit
    with pytest.raises(va.ModelError, match="is not available: the weights"):
        desk.change(visit, replace(controls, model="vit_tiny_patch16_384"))


def test_the_page_starts_without_any_model() -> None:
    page = va.build_demo(["vit_tiny_patch16_384", "vit_tinny"])
    shown, told = page.desk.open({})
    assert shown is None
    assert "could not be downloaded" in told
    assert "near names" in told
    page.desk.close()
    with pytest.raises(va.SettingsError, match="at least one model"):
        va.build_demo([])


def test_no_visitor_can_make_the_server_load_a_model(desk: Desk, controls: Controls, monkeypatch) -> None:
    monkeypatch.setattr(demo_desk, "load_model", lambda *_: pytest.fail("loaded"))
    visit = desk.take_sample(Visit(), "chelsea", controls).visit
    for name in ("vit_base_patch16_224", "hf-hub:timm/vit_base_patch16_224.dino", "local-dir:/", None, 3, [], {}):
        with pytest.raises(va.ModelError, match="there is no model"):
            desk.change(visit, replace(controls, model=name))


class TagChecker(HTMLParser):
    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list) -> None:
        self.tags.append(tag)
        assert not any(name.startswith("on") and name != "on" for name, _ in attrs)


def test_no_text_from_outside_becomes_html(model: va.AttentionModel, controls: Controls, tmp_path: Path) -> None:
    evil = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>"
    named = replace(model, name=evil, class_names=(evil,) * len(model.class_names))
    desk = Desk(named, {evil: SAMPLES / "chelsea.jpg"}, max_upload=MAX_UPLOAD, max_pixels=MAX_PIXELS, keep_seconds=9)
    for beside in BESIDES:
        shown = desk.take_sample(Visit(), evil, replace(controls, model=evil, beside=beside))
        whole = demo_html.picture(shown) + demo_html.answer(shown) + demo_html.panel(desk, shown)
        tags = TagChecker(whole + demo_html.samples(desk.samples)).tags
        assert "script" not in tags
        assert "button" in tags
    desk.close()


def test_handlers_tell_what_a_visitor_can_mend_and_nothing_else(caplog: pytest.LogCaptureFixture) -> None:
    def fail(error: Exception) -> None:
        raise error

    guarded = demo_events.guarded(fail)
    with pytest.raises(gr.Error, match="no such head"):
        guarded(va.SettingsError("no such head"))
    with pytest.raises(gr.Error) as caught:
        guarded(RuntimeError("/secret/path"))
    assert caught.value.message == demo_events.WENT_WRONG
    assert "/secret/path" in caplog.text


# --- bad inputs, generated and seeded ---


def encoded(seed: int, kind: str, size: tuple[int, int] = (40, 60), **options) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(noise_photo(size, seed)).save(stream, kind, **options)
    return stream.getvalue()


def bomb(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")

    header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([8, 2, 0, 0, 0])
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 99)) + chunk(b"IEND", b"")
    )


def bad_file(seed: int) -> bytes:
    """A file that must be refused."""
    rng = np.random.default_rng(seed)
    kind = str(rng.choice(["JPEG", "PNG", "WEBP", "GIF"]))
    match seed % 8:
        case 0:
            return encoded(seed, kind)[: int(rng.integers(1, 24))]
        case 1:
            whole = encoded(seed, "PNG")
            return whole[: int(rng.integers(60, len(whole) // 2))]
        case 2:
            return rng.bytes(int(rng.integers(1, 2000)))
        case 3:
            return bomb(int(rng.integers(3000, 2**31)), int(rng.integers(3000, 2**31)))
        case 4:
            return b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>' + rng.bytes(seed)
        case 5:
            return encoded(seed, "PNG", (500, 401 + seed))
        case 6:
            return b"\0" * (MAX_UPLOAD + 1 + seed)
    return b""


@pytest.mark.parametrize("seed", range(96))
def test_a_bad_file_gets_a_short_message_and_is_not_kept(
    desk: Desk, controls: Controls, tmp_path: Path, seed: int
) -> None:
    path = tmp_path / "upload"
    path.write_bytes(bad_file(seed))
    names = ["../../etc/passwd", "/etc/passwd", "a" * 500, "x\0y.png", "..\\..\\win.ini", "<b>.png", "", "photo.png"]
    before = desk.take_sample(Visit(), "chelsea", controls)
    for attempt in (
        lambda: desk.bring(before.visit, path, names[seed // 8 % 8], controls),
        lambda: desk.map(path, names[seed // 8 % 8], controls),
    ):
        with pytest.raises(va.PictureError) as caught:
            attempt()
        message = str(caught.value)
        assert len(message) < 400
        assert "\n" not in message
        assert str(tmp_path) not in message
        assert "etc/" not in message
    assert len(desk.uploads) == 0
    again = desk.change(before.visit, controls)
    np.testing.assert_array_equal(again.rendered.image, before.rendered.image)


@pytest.mark.parametrize("seed", range(24))
def test_an_odd_but_whole_picture_is_shown(desk: Desk, controls: Controls, tmp_path: Path, seed: int) -> None:
    frames = [Image.fromarray(noise_photo((30, 40), seed + step)) for step in range(3)]
    path = tmp_path / "odd"
    match seed % 4:
        case 0:
            path.write_bytes(encoded(seed, "PNG", (50 + seed, 1)))
        case 1:
            path.write_bytes(encoded(seed, "PNG", (1, 3000 + seed)))
        case 2:
            frames[0].save(path, "GIF", save_all=True, append_images=frames[1:])
        case 3:
            frames[0].save(path, "WEBP", save_all=True, append_images=frames[1:], lossless=True)
    shown = desk.bring(Visit(), path, "odd", controls)
    assert shown.rendered.image.shape == shown.capture.view.shape


WRONG = (
    None,
    True,
    "",
    "x",
    "x" * 5000,
    -1e99,
    1e99,
    float("nan"),
    float("inf"),
    [],
    {},
    [[1]],
    {"a": 1},
    "9,9,9",
    "1,",
)


def wrong_control(seed: int) -> tuple[str, object]:
    """A control and a value that it cannot have."""
    names = [name for name in CONTROLS if name != "model"]
    name, value = names[seed % len(names)], WRONG[seed // len(names) % len(WRONG)]
    allowed = {
        "head": (None, ""),
        "query": (None, "", "x"),  # whether a named query exists shows when it is drawn
        "smoothing": ([],),
    }
    if any(value is good or value == good for good in allowed.get(name, ())):
        value = {"not": "possible"}
    return name, value


@pytest.mark.parametrize("seed", range(BAD_INPUTS - 96 - 24 + 40))
def test_a_wrong_value_of_a_control_is_refused_in_one_short_line(desk: Desk, controls: Controls, tmp_path, seed: int):
    name, value = wrong_control(seed)
    visit = desk.take_sample(Visit(), "chelsea", controls).visit
    with pytest.raises(va.SettingsError) as caught:
        desk.change(visit, replace(controls, **{name: value}))
    assert len(str(caught.value)) < 400
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "chosen",
    [None, 3, "x", [], {}, {"row": 1}, {"row": -1, "col": 0}, {"row": 0, "col": 99}, {"row": "a", "col": {}},
     {"head": 77}, {"layer": 99, "head": 0}, {"sample": "../x"}, {"sample": None}, {"head": [1]}],
)  # fmt: skip
def test_a_made_up_click_is_refused(desk: Desk, controls: Controls, chosen) -> None:
    visit = desk.take_sample(Visit(), "chelsea", controls).visit
    with pytest.raises((va.SettingsError, va.PictureError)):
        desk.choose(visit, chosen, controls)


@pytest.mark.parametrize("changed", [{"layer": 99}, {"head": 9}, {"query": "dist"}, {"query": "99,0"}])
def test_programs_get_what_they_ask_for_or_an_error(desk: Desk, controls: Controls, tmp_path: Path, changed) -> None:
    with pytest.raises(va.SettingsError, match="does not exist"):
        desk.map(picture_file(tmp_path), "photo.png", replace(controls, **changed))
    assert len(desk.uploads) == len(desk.store) == 0


@pytest.mark.parametrize(
    "payload",
    [None, "", "photo.png", 3, [], {}, {"path": None}, {"path": "/etc/passwd"}, {"path": "a\0b"}, {"path": ["x"]},
     {"path": "../../etc/passwd"}, {"path": "http://127.0.0.1/x.png"}, {"path": ""}],
)  # fmt: skip
def test_what_is_no_upload_is_refused(payload) -> None:
    with pytest.raises(va.PictureError):
        uploaded_file(payload)
