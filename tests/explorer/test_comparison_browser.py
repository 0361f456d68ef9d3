"""The explorer's row of panels in a real JupyterLab in headless Chromium: user actions, and the pixels that appear."""

import io
import json

import numpy as np
import pytest
from PIL import Image

import vitattn_widgets as va
from vitattn_widgets.comparison.compare import compare_views, difference_view
from vitattn_widgets.comparison.panels import Panel

from ..lab import CHROMIUM, canvas_pixels, open_and_run, running_browser, running_lab, write_notebook
from .lab import CELL, cell_capture
from .test_browser import EXPLORER, shown_settings, wait_until

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here; install it with apt install chromium")

ROW = ".va-compare[data-drawn]"


@pytest.fixture(scope="module")
def capture():
    return cell_capture()


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lab")
    write_notebook(folder / "explore.ipynb", CELL)
    with running_lab(folder) as (address, token), running_browser() as browser:
        page = browser.new_page(viewport={"width": 1400, "height": 1800})
        complaints = []
        page.on("pageerror", lambda error: complaints.append(str(error)))
        open_and_run(page, address, token, "explore.ipynb", EXPLORER)
        page.wait_for_selector(".va-cells button")
        yield page, complaints


@pytest.fixture
def page(opened):
    """The page with an empty row and the last layer."""
    page = opened[0]
    page.set_viewport_size({"width": 1400, "height": 1800})
    if page.get_by_role("button", name="Clear").is_visible():
        page.get_by_role("button", name="Clear").click()
    wait_for_row(page, [])
    choose(page, layer=2, head="all")
    page.get_by_label("Opacity", exact=True).fill("0.5")
    wait_until(page, opacity=0.5)
    return page


def choose(page, layer, head):
    page.get_by_label("Layer", exact=True).fill(str(layer))
    page.locator(".va-explorer input[name$=-head]").nth(0 if head == "all" else head + 1).click(force=True)
    wait_until(page, layer=layer, head=None if head == "all" else head)


def wait_for_row(page, titles):
    page.wait_for_function(
        """([selector, wanted]) => {
            const drawn = JSON.parse(document.querySelector(selector).dataset.drawn);
            return JSON.stringify(drawn.titles) === JSON.stringify(wanted);
        }""",
        arg=[ROW, titles],
        timeout=10000,
    )


def drawn(page):
    return json.loads(page.locator(ROW).get_attribute("data-drawn"))


def pin(page, *titles):
    page.get_by_role("button", name="Add to comparison").click()
    wait_for_row(page, list(titles))


def assert_close(pixels, wanted):
    assert pixels.shape == wanted.shape
    assert np.abs(pixels.astype(int) - wanted).max() <= 1  # one level of 255: the kernel may round differently


def assert_panels(page, wanted):
    assert page.locator(".va-panels li").count() == len(wanted.views)
    for number, view in enumerate(wanted.views, 1):
        assert_close(canvas_pixels(page, f".va-panels li:nth-child({number}) canvas"), view.image)


def settings(**changes):
    return va.ViewSettings(**({"layer": 2} | changes))


def test_three_pinned_views_stand_side_by_side_with_one_bar_and_can_be_removed(page, capture):
    assert page.locator(".va-compare .va-bar:visible").count() == 0
    pin(page, "")
    assert page.get_by_role("button", name="In the comparison").is_disabled()
    choose(page, layer=0, head="all")
    pin(page, "layer 2", "layer 0")
    choose(page, layer=0, head=1)
    pin(page, "layer 2, mean", "layer 0, mean", "layer 0, head 1")
    kept = [Panel(capture, settings(**one), "noise") for one in ({}, {"layer": 0}, {"layer": 0, "head": 1})]
    wanted = compare_views(kept)
    assert_panels(page, wanted)
    assert page.locator(".va-compare .va-bar:visible").count() == 1
    words = page.locator(".va-beside").inner_text()
    assert wanted.unit in words
    low, _, high = page.locator(".va-beside .va-ticks span").all_inner_texts()
    assert [float(low), float(high)] == pytest.approx(wanted.limits, rel=5e-3)
    assert wanted.common in words

    page.get_by_role("button", name="Remove panel 2: layer 0, mean").click()
    wait_for_row(page, ["layer 2, mean", "layer 0, head 1"])
    assert_panels(page, compare_views([kept[0], kept[2]]))


def test_two_views_show_their_difference_with_a_bar_of_its_own(page, capture):
    pin(page, "")
    choose(page, layer=1, head=0)
    pin(page, "layer 2, mean", "layer 1, head 0")
    kept = [Panel(capture, settings(), "noise"), Panel(capture, settings(layer=1, head=0), "noise")]
    wanted = difference_view(*kept)
    assert_close(canvas_pixels(page, ".va-difference > canvas"), wanted.image)
    assert page.locator(".va-compare .va-bar:visible").count() == 2
    assert wanted.caption in page.locator(".va-compare").inner_text()
    page.get_by_label("First panel of the difference").select_option("1")  # swaps the two
    turned = difference_view(*kept[::-1])
    page.locator(".va-difference", has_text=turned.title).wait_for()
    assert_close(canvas_pixels(page, ".va-difference > canvas"), turned.image)
    choose(page, layer=0, head="all")
    pin(page, "layer 2, mean", "layer 1, head 0", "layer 0, mean")
    assert page.locator(".va-difference").is_visible()
    page.get_by_label("First panel of the difference").select_option("")
    page.locator(".va-difference").wait_for(state="hidden")


def test_one_click_fills_the_row_and_a_panel_puts_the_controls_back(page, capture):
    page.get_by_role("button", name="heads", exact=True).click()
    wait_for_row(page, ["head 0", "head 1", "head 2"])
    assert_panels(page, compare_views([Panel(capture, settings(head=head), "noise") for head in range(3)]))
    page.get_by_role("button", name="Panel 2 of 3: head 1").click()
    wait_until(page, head=1, layer=2)
    assert shown_settings(page) == settings(head=1)
    assert page.locator(".va-panels [aria-current=true]").count() == 1
    assert page.get_by_role("button", name="In the comparison").is_disabled()
    page.get_by_role("button", name="layers", exact=True).click()
    wait_for_row(page, ["layer 0", "layer 1", "layer 2"])


def test_the_row_follows_the_look_of_the_picture(page, capture):
    page.get_by_role("button", name="layers", exact=True).click()
    wait_for_row(page, ["layer 0", "layer 1", "layer 2"])
    before = drawn(page)["version"]
    page.get_by_label("Opacity", exact=True).fill("0.9")
    wait_until(page, opacity=0.9)
    page.wait_for_function(
        "([selector, before]) => JSON.parse(document.querySelector(selector).dataset.drawn).version > before",
        arg=[ROW, before],
    )
    panels = [Panel(capture, settings(layer=layer, opacity=0.9), "noise") for layer in range(3)]
    assert_panels(page, compare_views(panels))


def test_the_scale_of_the_row_can_be_robust(page, capture):
    page.get_by_role("button", name="layers", exact=True).click()
    wait_for_row(page, ["layer 0", "layer 1", "layer 2"])
    panels = [Panel(capture, settings(layer=layer), "noise") for layer in range(3)]
    for scale in ("robust", "shared"):
        wanted = compare_views(panels, scale)
        page.locator(f".va-tools input[value={scale}]").click(force=True)
        page.wait_for_function(
            """([selector, high]) => {
                const { range } = JSON.parse(document.querySelector(selector).dataset.drawn);
                return Math.abs(range[1] - high) < 1e-3;
            }""",
            arg=[ROW, wanted.limits[1]],
        )
        assert_panels(page, wanted)


def test_the_keyboard_goes_through_moves_and_removes_panels(page):
    page.get_by_role("button", name="heads", exact=True).click()
    wait_for_row(page, ["head 0", "head 1", "head 2"])
    page.get_by_role("button", name="Panel 1 of 3: head 0").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Shift+ArrowRight")
    wait_for_row(page, ["head 0", "head 2", "head 1"])
    page.keyboard.press("Delete")
    wait_for_row(page, ["head 0", "head 2"])
    page.keyboard.press("Enter")
    wait_until(page, head=2)


def test_the_row_is_downloaded_as_a_figure(page):
    page.get_by_role("button", name="layers", exact=True).click()
    wait_for_row(page, ["layer 0", "layer 1", "layer 2"])
    with page.expect_download() as download:
        page.get_by_role("button", name="Figure").click()
    image = Image.open(io.BytesIO(download.value.path().read_bytes()))
    assert image.width > 600
    assert download.value.suggested_filename == "comparison.png"


def test_every_control_of_the_row_has_a_name_and_nothing_overflows(page):
    page.get_by_role("button", name="all sources").click()
    page.wait_for_function("document.querySelectorAll('.va-panels li').length === 6")
    page.get_by_label("First panel of the difference").select_option("0")
    page.get_by_label("Second panel of the difference").select_option("5")
    page.locator(".va-difference").wait_for()
    nameless = page.evaluate(
        """() => [...document.querySelectorAll(".va-compare :is(button, input, select, [tabindex])")]
            .filter((node) => !(node.getAttribute("aria-label") || node.closest("label")?.innerText.trim()
                || node.textContent.trim()) || node.tabIndex < 0)
            .map((node) => node.outerHTML)"""
    )
    assert nameless == []
    for width in (1400, 800, 600):
        page.set_viewport_size({"width": width, "height": 1800})
        page.wait_for_timeout(300)
        overflowing = page.evaluate(
            """() => {
                const root = document.querySelector(".va-explorer").getBoundingClientRect();
                return [...document.querySelectorAll(".va-compare *")]
                    .filter((node) => node.getBoundingClientRect().right > root.right + 1)
                    .map((node) => node.outerHTML.slice(0, 200));
            }"""
        )
        assert overflowing == []


def test_nothing_failed(opened):
    assert opened[1] == []
