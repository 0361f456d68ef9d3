"""The explorer in a real JupyterLab in headless Chromium: what a user does, and the pixels that appear."""

import io
import json

import numpy as np
import pytest
from PIL import Image

import vitattn_widgets as va

from ..lab import CHROMIUM, canvas_pixels, open_and_run, running_browser, running_lab, write_notebook
from .lab import CELL, cell_capture, cell_model

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here; install it with apt install chromium")

EXPLORER = ".va-explorer[data-shown]"


@pytest.fixture(scope="module")
def capture():
    return cell_capture()


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    """The page with the running explorer, its network requests and its errors."""
    folder = tmp_path_factory.mktemp("lab")
    write_notebook(folder / "explore.ipynb", CELL)
    with running_lab(folder) as (address, token), running_browser() as browser:
        page = browser.new_page(viewport={"width": 1400, "height": 1200})
        requests, complaints = [], []
        page.on("request", lambda request: requests.append(request.url))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        open_and_run(page, address, token, "explore.ipynb", EXPLORER)
        page.wait_for_selector(".va-cells button")
        yield page, address, requests, complaints


@pytest.fixture
def page(opened):
    page = opened[0]
    page.set_viewport_size({"width": 1400, "height": 1200})
    page.locator("[aria-label='layer 2, head 0']").click()
    page.locator(".va-explorer label", has_text="all").first.click()
    wait_until(page, layer=2, head=None)
    if page.get_by_role("button", name="Back to the class token").is_enabled():
        page.get_by_role("button", name="Back to the class token").click()
    wait_until(page, query=None)
    return page


def wait_until(page, **settings):
    """Wait until the picture with these settings is shown."""
    page.wait_for_function(
        """([selector, wanted]) => {
            const shown = JSON.parse(document.querySelector(selector).dataset.shown);
            return Object.entries(wanted).every(([k, v]) => JSON.stringify(shown[k]) === JSON.stringify(v));
        }""",
        arg=[EXPLORER, settings],
        timeout=10000,
    )


def shown_settings(page):
    settings = json.loads(page.locator(EXPLORER).get_attribute("data-shown"))
    settings.pop("arrangement")
    return va.ViewSettings(**settings)


def assert_shown(page, capture, settings):
    assert shown_settings(page) == settings
    pixels = canvas_pixels(page, ".va-stage canvas")
    wanted = va.render_view(capture, settings).image
    assert pixels.shape == wanted.shape
    assert np.abs(pixels.astype(int) - wanted).max() <= 1  # one level of 255: the kernel may round differently


def click_patch(page, row, col):
    bounds = page.locator(".va-stage").bounding_box()
    x, y = (col + 0.5) / 6 * bounds["width"], (row + 0.5) / 4 * bounds["height"]
    page.locator(".va-stage").click(position={"x": x, "y": y})


def test_the_notebook_shows_the_paper_s_map_of_the_last_layer(page, capture):
    assert_shown(page, capture, va.ViewSettings(layer=2))
    assert page.locator(".va-caption").inner_text() == va.render_view(capture, va.ViewSettings(layer=2)).caption


def test_moving_the_layer_slider_shows_that_layer(page, capture):
    before = canvas_pixels(page, ".va-stage canvas")
    page.get_by_label("Layer", exact=True).focus()
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    wait_until(page, layer=0)
    assert_shown(page, capture, va.ViewSettings(layer=0))
    assert not np.array_equal(canvas_pixels(page, ".va-stage canvas"), before)
    assert "0 of 0–2 · blocks.0.attn" in page.locator(".va-explorer").inner_text()


def test_clicking_a_patch_makes_it_the_query_and_one_click_goes_back(page, capture):
    click_patch(page, 3, 5)
    wait_until(page, query=[3, 5])
    assert_shown(page, capture, va.ViewSettings(layer=2, query=(3, 5)))
    assert page.locator(".va-query").count() == 1
    page.get_by_role("button", name="Back to the class token").click()
    wait_until(page, query=None)
    assert_shown(page, capture, va.ViewSettings(layer=2))
    assert page.locator(".va-query").count() == 0


def test_hovering_tells_a_patch_and_its_raw_value(page, capture):
    bounds = page.locator(".va-stage").bounding_box()
    page.mouse.move(bounds["x"] + bounds["width"] * 4.5 / 6, bounds["y"] + bounds["height"] * 1.5 / 4)
    text = page.locator(".va-reading").inner_text()
    assert text.startswith("Patch row 1, col 4: ")
    value = va.render_view(capture, va.ViewSettings(layer=2)).grid_map[1, 4]
    assert float(text.rpartition(" ")[2]) == pytest.approx(float(value), rel=5e-3)


def test_clicking_a_cell_of_the_overview_chooses_and_frames_it(page, capture):
    cell = page.get_by_role("gridcell", name="layer 0, head 2")
    cell.click()
    wait_until(page, layer=0, head=2)
    assert_shown(page, capture, va.ViewSettings(layer=0, head=2))
    assert page.locator(".va-cells [aria-selected=true]").count() == 1
    assert cell.get_attribute("aria-selected") == "true"
    assert cell.evaluate("cell => getComputedStyle(cell).borderTopWidth") == "2px"
    aggregation = page.get_by_role("group", name="Aggregation")
    assert [radio.is_disabled() for radio in aggregation.get_by_role("radio").all()] == [True] * 3
    assert "only head 2 is shown" in aggregation.inner_text()


def test_the_keyboard_moves_through_overview_and_picture(page, capture):
    page.get_by_role("gridcell", name="layer 2, head 0").focus()
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowDown")
    wait_until(page, layer=1, head=1)
    page.locator(".va-stage").focus()
    page.keyboard.press("ArrowUp")  # the first key chooses the patch in the middle
    wait_until(page, query=[2, 3])
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowRight")
    wait_until(page, query=[1, 4])
    assert_shown(page, capture, va.ViewSettings(layer=1, head=1, query=(1, 4)))
    page.keyboard.press("Escape")
    wait_until(page, query=None)


def test_every_control_has_a_name_and_can_be_reached_by_keyboard(page):
    nameless = page.evaluate(
        """() => [...document.querySelectorAll(".va-explorer :is(button, input, select, [tabindex])")]
            .filter((node) => !(node.getAttribute("aria-label") || node.closest("label")?.innerText.trim()
                || node.textContent.trim()))
            .map((node) => node.outerHTML)"""
    )
    assert nameless == []
    unreachable = page.evaluate(
        """() => [...document.querySelectorAll(".va-explorer :is(button, input, select)")]
            .filter((node) => node.tabIndex < 0 && node.getAttribute("role") !== "gridcell")
            .map((node) => node.outerHTML)"""
    )
    assert unreachable == []
    assert page.locator(".va-cells button[tabindex='0']").count() == 1  # arrow keys reach the others


def test_dragging_keeps_the_last_value_without_a_backlog_and_without_flicker(page, capture):
    counts = page.evaluate(
        """async () => {
            const root = document.querySelector(".va-explorer");
            const canvas = root.querySelector(".va-stage canvas");
            const slider = root.querySelector("input[aria-label=Opacity]");
            const counts = { pictures: 0, resized: 0, moved: 0, after: 0 };
            const place = JSON.stringify(canvas.getBoundingClientRect());
            new MutationObserver(() => { counts.pictures += 1; }).observe(root, { attributeFilter: ["data-shown"] });
            new MutationObserver(() => { counts.resized += 1; }).observe(canvas, { attributes: true });
            for (let step = 0; step < 100; step += 1) {
                slider.value = 0.2 + step * 0.005;
                slider.dispatchEvent(new Event("input", { bubbles: true }));
                if (JSON.stringify(canvas.getBoundingClientRect()) !== place) counts.moved += 1;
                await new Promise((done) => setTimeout(done, 3));
            }
            const drawn = counts.pictures;
            slider.value = 0.9;
            slider.dispatchEvent(new Event("input", { bubbles: true }));
            await new Promise((done) => setTimeout(done, 1500));
            counts.after = counts.pictures - drawn;
            return counts;
        }"""
    )
    assert 1 < counts["pictures"] < 100
    assert counts["after"] <= 3  # the one under way and the last value, but none of those in between
    assert (counts["resized"], counts["moved"]) == (0, 0)
    assert_shown(page, capture, va.ViewSettings(layer=2, opacity=0.9))
    page.get_by_label("Opacity", exact=True).fill("0.5")
    wait_until(page, opacity=0.5)


def test_the_downloaded_png_is_the_picture(page, capture):
    with page.expect_download() as download:
        page.get_by_role("button", name="PNG").click()
    image = np.array(Image.open(download.value.path()))
    wanted = va.render_view(capture, va.ViewSettings(layer=2)).image
    assert np.abs(image.astype(int) - wanted).max() <= 1
    assert download.value.suggested_filename == "noise-VisionTransformer-layer2-mean.png"


def test_uploaded_pictures_are_added_and_shown_and_broken_ones_are_told(page):
    stream = io.BytesIO()
    Image.fromarray(np.random.default_rng(2).integers(0, 256, (1200, 1200, 3), np.uint8)).save(stream, "PNG")
    assert len(stream.getvalue()) > 3 << 20  # sent in several parts
    page.get_by_label("Upload pictures").set_input_files(
        [
            {"name": "large.png", "mimeType": "image/png", "buffer": stream.getvalue()},
            {"name": "broken.png", "mimeType": "image/png", "buffer": b"no picture"},
        ]
    )
    page.locator(".va-status", has_text="broken.png: not a picture").wait_for(timeout=20000)
    assert page.locator(".va-thumbnails button").count() == 2
    assert page.locator(".va-thumbnails [aria-pressed=true]").inner_text() == "large.png"
    page.locator(".va-thumbnails button", has_text="noise").click()
    page.wait_for_function("document.querySelector('.va-status').textContent === ''")
    page.wait_for_function("document.querySelector('.va-thumbnails [aria-pressed=true]').innerText === 'noise'")


@pytest.mark.parametrize("width", [1400, 800, 600])
def test_nothing_overflows_at_any_width(page, width):
    page.set_viewport_size({"width": width, "height": 1000})
    page.wait_for_timeout(300)
    overflowing = page.evaluate(
        """() => {
            const root = document.querySelector(".va-explorer").getBoundingClientRect();
            return [...document.querySelectorAll(".va-explorer *")]
                .filter((node) => !node.closest(".va-hidden, .va-strip, .va-code, .va-marks"))
                .filter((node) => node.getBoundingClientRect().right > root.right + 1)
                .map((node) => node.outerHTML.slice(0, 200));
        }"""
    )
    assert overflowing == []


def test_nothing_came_from_the_network_and_nothing_failed(opened):
    _, address, requests, complaints = opened
    assert len(requests) > 10
    assert [url for url in requests if not url.startswith((address, "blob:", "data:"))] == []
    assert complaints == []


def test_choosing_a_source_and_a_class_by_its_name_shows_that_map(page, capture):
    page.get_by_label("Source", exact=True).select_option("gradient")
    wait_until(page, source="gradient")
    model = cell_model()
    predicted = va.ViewSettings(layer=2, source="gradient")
    assert_shown(page, va.complete_capture(model, capture, predicted), predicted)
    page.get_by_label("Search for a class by name").fill("SS 3")
    page.keyboard.press("Enter")
    wait_until(page, target=3)
    chosen = va.ViewSettings(layer=2, source="gradient", target=3)
    assert_shown(page, va.complete_capture(model, capture, chosen), chosen)
    assert page.get_by_label("Class", exact=True).input_value() == "3"
    page.get_by_label("Class", exact=True).select_option("")
    wait_until(page, target=None)
    page.get_by_label("Source", exact=True).select_option("attention")
    wait_until(page, source="attention")


def test_what_has_no_meaning_for_a_source_is_greyed_with_the_reason(page):
    searched = page.get_by_label("Search for a class by name")
    words = page.locator(".va-explorer")
    assert searched.is_disabled()
    assert "plain attention does not depend on the class" in words.inner_text()
    page.get_by_label("Source", exact=True).select_option("relevance")
    wait_until(page, source="relevance")
    assert searched.is_enabled()
    assert page.locator(".va-explorer input[type=radio][value='1']").is_disabled()
    assert "relevance averages the positive parts of all heads of every layer" in words.inner_text()
    page.get_by_label("Source", exact=True).select_option("rollout")
    wait_until(page, source="rollout")
    assert page.locator(".va-explorer input[value=max]").is_enabled()
    assert page.locator(".va-explorer input[value=mean_over_std]").is_disabled()
    page.get_by_label("Source", exact=True).select_option("attention")
    wait_until(page, source="attention")


def test_one_button_puts_the_map_to_the_test_and_the_answer_goes_with_the_map(page):
    page.get_by_role("button", name="Is this map worth anything?").click()
    page.wait_for_selector(".va-checked img", timeout=60000)
    sentences = page.locator(".va-checked li").all_inner_texts()
    assert len(sentences) == 4
    assert sentences[0].startswith("Removing patches in the order of this map hurts class ")
    page.get_by_label("Layer", exact=True).focus()
    page.keyboard.press("ArrowLeft")
    wait_until(page, layer=1)
    page.wait_for_selector(".va-checked:empty", state="attached")


def test_one_button_asks_what_the_classifier_used(page):
    click_patch(page, 1, 1)
    wait_until(page, query=[1, 1])
    page.get_by_role("button", name="What did the classifier use?").click()
    wait_until(page, source="gradient_late", sinks="outline", query=None, layer=2, head=None)
    page.get_by_label("Source", exact=True).select_option("attention")
    page.locator(".va-explorer label", has_text="show").first.click()
    wait_until(page, source="attention", sinks="show")
