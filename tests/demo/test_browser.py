"""The page in headless Chromium, on a desktop and on a phone: what a visitor does, and the pixels that appear."""

from __future__ import annotations

import io
import json
import time
from base64 import b64decode
from dataclasses import replace
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest
from PIL import Image

import vitattn_widgets as va
from vitattn_widgets.comparison.compare import compare_views, difference_view
from vitattn_widgets.comparison.panels import Panel

from .. import model_zoo
from ..conftest import SAMPLES, noise_photo
from ..lab import CHROMIUM, running_browser
from .test_server import photo_file, running_page

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here; install it with apt install chromium")

SIZES = {"desktop": (1400, 1000), "phone": (390, 844)}


@pytest.fixture(scope="module")
def model() -> va.models.AttentionModel:
    return va.load_model(model_zoo.build("vit", model_zoo.WIDE))


@pytest.fixture(scope="module")
def served(model: va.models.AttentionModel, tmp_path_factory: pytest.TempPathFactory):
    with running_page(model, tmp_path_factory.mktemp("gradio")) as (address, _), running_browser() as browser:
        yield address, browser


class Visitor:
    """A window with the page, its network requests and its errors."""

    def __init__(self, served, size: str) -> None:
        self.address, browser = served
        width, height = SIZES[size]
        phone = size == "phone"
        self.context = browser.new_context(
            viewport={"width": width, "height": height}, has_touch=phone, is_mobile=phone
        )
        self.page = self.context.new_page()
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("console", lambda said: self.complaints.append(said.text) if said.type == "error" else None)

    def open(self, query: str = "") -> None:
        self.page.goto(f"{self.address}/{query}")
        self.page.wait_for_selector(".va-shown", timeout=30000)

    def wait_until(self, **settings) -> None:
        """Wait until the picture with these settings is shown."""
        self.page.wait_for_function(
            """(wanted) => {
                const shown = JSON.parse(document.querySelector(".va-shown").dataset.shown);
                return Object.entries(wanted).every(([k, v]) => JSON.stringify(shown[k]) === JSON.stringify(v));
            }""",
            arg=settings,
            timeout=10000,
        )

    def settings(self) -> va.ViewSettings:
        shown = json.loads(self.page.locator(".va-shown").get_attribute("data-shown"))
        return va.ViewSettings(**{name: value for name, value in shown.items() if name not in ("model", "arrangement")})

    def pixels(self) -> np.ndarray:
        source = self.page.locator(".va-frame img").get_attribute("src")
        return np.asarray(Image.open(io.BytesIO(b64decode(source.partition(",")[2]))))

    def click_patch(self, row: int, col: int, grid: tuple[int, int] = (4, 6)) -> None:
        frame = self.page.locator(".va-frame img")
        frame.scroll_into_view_if_needed()
        bounds = frame.bounding_box()
        position = {"x": (col + 0.5) / grid[1] * bounds["width"], "y": (row + 0.5) / grid[0] * bounds["height"]}
        frame.click(position=position)

    def wait_for_picture(self, wanted: np.ndarray, seconds: float = 10) -> None:
        """Wait until these pixels are shown."""
        deadline = time.monotonic() + seconds
        while not np.array_equal(self.pixels(), wanted):
            assert time.monotonic() < deadline
            self.page.wait_for_timeout(50)

    def upload(self, path) -> None:
        self.page.locator("input[type=file]").first.set_input_files(path)


@pytest.fixture(params=list(SIZES))
def visitor(served, request: pytest.FixtureRequest):
    visitor = Visitor(served, request.param)
    visitor.open()
    yield visitor
    visitor.context.close()


def assert_shown(visitor: Visitor, capture: va.capture.AttentionCapture, settings: va.ViewSettings) -> None:
    assert visitor.settings() == settings
    np.testing.assert_array_equal(visitor.pixels(), va.render_view(capture, settings).image)


def test_a_visit_from_the_sample_to_an_own_photo(visitor: Visitor, model: va.models.AttentionModel, tmp_path) -> None:
    assert_shown(visitor, va.capture_attention(model, SAMPLES / "chelsea.jpg"), va.ViewSettings(layer=2))

    visitor.page.locator("#va-layer input[type=range]").focus()
    for _ in range(2):
        visitor.page.keyboard.press("ArrowLeft")
    visitor.wait_until(layer=0)

    path = photo_file(tmp_path, seed=7)
    capture = va.capture_attention(model, path)
    visitor.upload(path)
    visitor.page.wait_for_function("!document.querySelector('.va-shown').dataset.link.includes('sample')")
    assert_shown(visitor, capture, va.ViewSettings(layer=0))

    visitor.click_patch(3, 4)
    visitor.wait_until(query=[3, 4])
    assert_shown(visitor, capture, va.ViewSettings(layer=0, query=(3, 4)))
    assert visitor.page.locator(".va-query").count() == 1
    visitor.page.get_by_role("button", name="Back to the class token").click()
    visitor.wait_until(query=None)
    assert visitor.page.locator(".va-query").count() == 0

    visitor.page.locator("#va-panel button", has_text="head 1").click()
    visitor.wait_until(head=1)
    assert_shown(visitor, capture, va.ViewSettings(layer=0, head=1))

    visitor.page.get_by_label("all layers and heads").check()
    visitor.page.get_by_role("button", name="layer 2, head 0").click()
    visitor.wait_until(layer=2, head=0)
    visitor.page.get_by_role("radio", name="compare", exact=True).check()
    visitor.page.wait_for_selector(".va-compared figure")
    assert visitor.page.locator(".va-compared figure").count() == 3

    overflowing = visitor.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert overflowing <= 1
    assert [url for url in visitor.requests if not url.startswith((visitor.address, "blob:", "data:"))] == []
    assert visitor.complaints == []


def picked(visitor: Visitor, label: str, option: str) -> None:
    """Choose an option of a menu."""
    visitor.page.get_by_role("combobox", name=label, exact=True).click()
    visitor.page.get_by_role("option", name=option, exact=True).last.click()  # a closing menu may still be fading


def test_what_the_classifier_used_for_which_class_and_what_that_is_worth(visitor: Visitor, model) -> None:
    capture = va.capture_attention(model, SAMPLES / "chelsea.jpg")
    visitor.page.get_by_text("plain attention does not depend on the class").wait_for()
    assert visitor.page.locator("#va-target input").is_disabled()
    visitor.page.get_by_role("button", name="What did the classifier use?").click()
    visitor.wait_until(source="gradient_late", sinks="outline")
    settings = va.ViewSettings(layer=2, source="gradient_late", sinks="outline")
    capture = va.complete_capture(model, capture, settings)
    assert_shown(visitor, capture, settings)
    visitor.page.get_by_text("the heads of several layers are averaged and summed").first.wait_for()
    assert visitor.page.get_by_role("radio", name="mean / std").is_disabled()
    assert visitor.page.get_by_role("radio", name="1", exact=True).is_disabled()

    picker = visitor.page.locator("#va-target input")
    picker.click()
    visitor.page.keyboard.type("4")  # typing replaces the current text
    visitor.page.keyboard.press("Enter")
    visitor.wait_until(target=4)
    settings = replace(settings, target=4)
    capture = va.complete_capture(model, capture, settings)
    assert_shown(visitor, capture, settings)
    picker.click()
    visitor.page.keyboard.type("zebra")
    visitor.page.keyboard.press("Enter")
    visitor.page.get_by_text("there is no class 'zebra'").wait_for()
    visitor.page.wait_for_function("document.querySelector('#va-target input').value.startsWith('class 4')")
    assert_shown(visitor, capture, settings)

    visitor.page.get_by_role("button", name="Is this map worth anything?").click()
    visitor.page.wait_for_selector(".va-checked img", timeout=30000)
    found = visitor.page.locator(".va-checked li").all_inner_texts()
    assert tuple(found) == va.check_map(model, capture, settings).sentences
    visitor.page.wait_for_function("document.querySelector('.va-checked img').naturalWidth > 0")
    visitor.page.locator("#va-opacity input[type=range]").focus()
    visitor.page.keyboard.press("ArrowRight")
    visitor.wait_until(opacity=0.51)
    assert visitor.page.locator(".va-checked").count() == 1  # the same map
    visitor.page.locator("#va-layer input[type=range]").focus()
    visitor.page.keyboard.press("ArrowLeft")
    visitor.wait_until(layer=1)
    visitor.page.wait_for_function("!document.querySelector('.va-checked')")

    visitor.page.get_by_role("button", name="Is this map worth anything?").click()
    visitor.page.locator("#va-layer input[type=range]").focus()
    visitor.page.keyboard.press("ArrowLeft")  # the result is of a map that is no longer shown
    visitor.wait_until(layer=0)
    visitor.page.wait_for_function("!document.querySelector('.va-busy')", timeout=30000)
    assert visitor.page.locator(".va-checked").count() == 0
    assert visitor.complaints == []


def test_views_of_ones_own_are_compared_and_subtracted(visitor: Visitor, model: va.models.AttentionModel) -> None:
    page = visitor.page
    page.get_by_role("button", name="Add this view to compare (0 of 12)").click()
    page.wait_for_selector(".va-compared figure")
    assert page.get_by_role("button", name="This view is one of your own views").is_disabled()
    picked(visitor, "Source", "rollout")
    visitor.wait_until(source="rollout")
    page.get_by_role("button", name="Add this view to compare (1 of 12)").click()
    page.wait_for_function("document.querySelectorAll('.va-compared figure').length === 2")
    capture = va.capture_attention(model, SAMPLES / "chelsea.jpg")
    panels = [Panel(capture, va.ViewSettings(layer=2, source=name), "chelsea") for name in ("attention", "rollout")]
    wanted = compare_views(panels)
    texts = page.locator(".va-compared button span").all_inner_texts()
    assert texts == [f"{number} {title}" for number, title in enumerate(wanted.titles, 1)]
    assert f"{wanted.limits[1]:.3g}" in page.locator("#va-panel .va-ticks").inner_text()

    picked(visitor, "Difference: view", "2")
    picked(visitor, "minus view", "1")
    page.wait_for_selector(".va-difference img")
    assert page.get_by_text("2 minus 1").count() == 1
    assert difference_view(*panels[::-1]).caption in page.locator("#va-panel").inner_text()

    page.locator(".va-compared button[data-choose*=view]").first.click()
    visitor.wait_until(source="attention")
    page.wait_for_function("document.querySelector('.va-compared [aria-pressed=true]')?.textContent.startsWith('1')")
    page.get_by_role("button", name="Remove view 1").click()
    page.wait_for_function("document.querySelectorAll('.va-compared figure').length === 1")
    assert page.locator(".va-difference").count() == 0
    page.get_by_role("button", name="Remove all of your views").click()
    page.get_by_text("You have no views of your own yet").wait_for()

    page.get_by_role("radio", name="sources", exact=True).check()
    page.wait_for_function("document.querySelectorAll('.va-compared figure').length === 6")
    overflowing = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert overflowing <= 1
    page.get_by_role("radio", name="every head", exact=True).check()
    page.wait_for_selector(".va-all")
    assert not page.get_by_role("radio", name="sources", exact=True).is_visible()
    assert visitor.complaints == []


def test_the_link_in_the_address_restores_what_was_shown(
    visitor: Visitor, served, model: va.models.AttentionModel
) -> None:
    visitor.page.locator("#va-samples button", has_text="coffee").click()
    visitor.page.wait_for_function("document.querySelector('.va-shown').dataset.link.includes('coffee')")
    visitor.click_patch(1, 2)
    visitor.wait_until(query=[1, 2])
    visitor.page.get_by_label("robust").check()
    visitor.wait_until(scale="robust")
    link = urlsplit(visitor.page.url).query
    assert parse_qs(link)["query"] == ["1,2"]

    other = Visitor(served, "desktop")
    other.open(f"?{link}")
    settings = va.ViewSettings(layer=2, query=(1, 2), scale="robust")
    assert_shown(other, va.capture_attention(model, SAMPLES / "coffee.jpg"), settings)
    assert other.page.get_by_label("robust").is_checked()
    assert other.page.url == visitor.page.url
    assert other.complaints == []
    other.context.close()


def test_a_bad_file_is_told_in_the_page_and_the_picture_stays(visitor: Visitor, tmp_path) -> None:
    before = visitor.pixels()
    bad = tmp_path / "broken.png"
    bad.write_bytes(b"no picture")
    visitor.upload(bad)
    visitor.page.get_by_text("broken.png: not a picture of a known type").wait_for(timeout=10000)
    assert "Traceback" not in visitor.page.locator("body").inner_text()
    np.testing.assert_array_equal(visitor.pixels(), before)
    visitor.upload(photo_file(tmp_path, seed=3))
    visitor.page.wait_for_function("!document.querySelector('.va-shown').dataset.link.includes('sample')")


def test_the_downloads_are_the_picture_the_map_and_the_recipe(
    visitor: Visitor, model: va.models.AttentionModel
) -> None:
    wanted = va.render_view(va.capture_attention(model, SAMPLES / "chelsea.jpg"), va.ViewSettings(layer=2))
    contents = {}
    for label in ("PNG", "NPZ", "Recipe"):
        with visitor.page.expect_download(timeout=10000) as download:
            visitor.page.get_by_role("button", name=label, exact=True).click()
        contents[label] = download.value.path().read_bytes()
        assert download.value.suggested_filename.startswith("chelsea-VisionTransformer-layer2-mean")
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(contents["PNG"]))), wanted.image)
    with np.load(io.BytesIO(contents["NPZ"])) as found:
        np.testing.assert_array_equal(found["grid_map"], wanted.grid_map)
    recipe = json.loads(contents["Recipe"])
    again = va.from_recipe(recipe, model=model, picture=SAMPLES / "chelsea.jpg")
    np.testing.assert_array_equal(again.image, wanted.image)


def test_dragging_a_slider_ends_on_its_last_value(visitor: Visitor) -> None:
    slider = visitor.page.locator("#va-opacity input[type=range]")
    slider.focus()
    for _ in range(30):
        visitor.page.keyboard.press("ArrowRight")
    visitor.wait_until(opacity=0.8)
    assert slider.input_value() == "0.8"


def test_of_quick_clicks_the_last_one_counts(visitor: Visitor, model: va.models.AttentionModel) -> None:
    frame = visitor.page.locator(".va-frame img")
    frame.scroll_into_view_if_needed()
    bounds = frame.bounding_box()
    for row, col in ((0, 0), (1, 1), (3, 5), (2, 4)):
        x, y = bounds["x"] + (col + 0.5) / 6 * bounds["width"], bounds["y"] + (row + 0.5) / 4 * bounds["height"]
        visitor.page.mouse.click(x, y)
    visitor.wait_until(query=[2, 4])
    visitor.page.wait_for_timeout(500)
    assert_shown(visitor, va.capture_attention(model, SAMPLES / "chelsea.jpg"), va.ViewSettings(layer=2, query=(2, 4)))


def test_controls_say_why_they_rest(visitor: Visitor) -> None:
    aggregation = visitor.page.get_by_role("radio", name="mean / std")
    assert aggregation.is_enabled()
    visitor.page.get_by_text("how the heads are combined into one map").wait_for()
    visitor.page.get_by_role("radio", name="2", exact=True).check()
    visitor.wait_until(head=2)
    visitor.page.get_by_text("only head 2 is shown").wait_for()
    assert aggregation.is_disabled()
    visitor.page.get_by_role("radio", name="all", exact=True).check()
    visitor.wait_until(head=None)
    visitor.page.get_by_text("how the heads are combined into one map").wait_for()
    assert aggregation.is_enabled()
    opacity = visitor.page.locator("#va-opacity input[type=range]")
    visitor.page.get_by_role("radio", name="map", exact=True).check()
    visitor.wait_until(arrangement="map")
    visitor.page.wait_for_function("document.querySelector('#va-opacity input[type=range]').disabled")
    visitor.page.get_by_role("radio", name="overlay").check()
    visitor.page.wait_for_function("!document.querySelector('#va-opacity input[type=range]').disabled")
    assert opacity.input_value() == "0.5"
    assert visitor.page.get_by_role("button", name="Back to the class token").is_disabled()
    visitor.click_patch(1, 1)
    visitor.wait_until(query=[1, 1])
    assert visitor.page.get_by_label("Query").input_value() == "patch at row 1, col 1"
    assert visitor.complaints == []


def test_every_control_has_a_name(visitor: Visitor) -> None:
    nameless = visitor.page.evaluate(
        """() => [...document.querySelectorAll(".va-samples button, .va-tiles button, .va-cells button, .va-frame img")]
            .filter((node) => !(node.getAttribute("aria-label") || node.alt || node.textContent.trim()))
            .map((node) => node.outerHTML.slice(0, 200))"""
    )
    assert nameless == []


def test_a_dropped_picture_is_shown(served, model: va.models.AttentionModel) -> None:
    visitor = Visitor(served, "desktop")
    visitor.open()
    stream = io.BytesIO()
    Image.fromarray(noise_photo((60, 90), 5)).save(stream, "PNG")
    visitor.page.evaluate(
        """(bytes) => {
            const file = new File([new Uint8Array(bytes)], "dropped.png", { type: "image/png" });
            const items = new DataTransfer();
            items.items.add(file);
            const target = document.querySelector("input[type=file]").closest("button, div");
            target.dispatchEvent(new DragEvent("drop", { dataTransfer: items, bubbles: true, cancelable: true }));
        }""",
        list(stream.getvalue()),
    )
    visitor.page.wait_for_function("!document.querySelector('.va-shown').dataset.link.includes('sample')")
    capture = va.capture_attention(model, noise_photo((60, 90), 5))
    assert_shown(visitor, capture, va.ViewSettings(layer=2))
    visitor.context.close()
