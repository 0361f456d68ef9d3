"""The exported page in headless Chromium without a network: what a reader does, and the pixels that appear."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from timm.models.vision_transformer import VisionTransformer

import vitattn_widgets as va
from vitattn_widgets.export import page as page_module
from vitattn_widgets.view.arrange import screen_capture

from ..conftest import noise_photo
from ..lab import CHROMIUM, canvas_pixels, running_browser

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here; install it with apt install chromium")

PAGE = ".va-page[data-shown]"
SOURCES = ("attention", "rollout", "gradient_late")
NASTY = "<img src=x onerror=document.title='owned'>&\"'</script><script>document.title='owned'</script>"
NASTY_FILE = NASTY.replace("/", "") + ".jpg"
BLENDED = 2
"""Display levels by which a browser's blending may differ: it rounds opacity to 1/255, and once more at the end."""


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    shape = {"img_size": (32, 48), "patch_size": 8, "embed_dim": 24, "depth": 3, "num_heads": 3, "num_classes": 5}
    loaded = va.load_model(VisionTransformer(**shape).eval())
    return replace(loaded, class_names=tuple(f"{NASTY} {index}" for index in range(5)))


@pytest.fixture(scope="module")
def capture(model):
    return va.capture_attention(model, noise_photo((100, 120), 1))


@pytest.fixture(scope="module")
def complete(model, capture):
    return va.complete_capture(model, capture, va.ViewSettings(source="gradient_late"))


@pytest.fixture(scope="module")
def browser():
    with running_browser() as opened:
        yield opened


@pytest.fixture
def opened(browser, tmp_path):
    """Opens pages as files without a network; afterwards there must have been no requests and no errors."""
    contexts, complaints = [], []

    def open_page(content, address="", **options):
        (tmp_path / "page.html").write_bytes(content)
        context = browser.new_context(offline=True, **({"viewport": {"width": 1280, "height": 1000}} | options))
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda message: message.type == "error" and complaints.append(message.text))
        page.on("request", lambda request: request.url.startswith("http") and complaints.append(request.url))
        page.goto(f"file://{tmp_path}/page.html{address}")
        if options.get("java_script_enabled", True):
            page.wait_for_selector(PAGE)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []


@pytest.fixture(scope="module")
def content(model, capture):
    return va.export.make_page(model, capture, None, SOURCES, name=NASTY_FILE).content


@pytest.fixture
def page(opened, content):
    return opened(content)


def wait_until(page, **settings):
    page.wait_for_function(
        """([selector, wanted]) => {
            const shown = JSON.parse(document.querySelector(selector).dataset.shown);
            return Object.entries(wanted).every(([name, value]) => shown[name] === value);
        }""",
        arg=[PAGE, settings],
        timeout=10000,
    )


def difference(page, capture):
    """Largest difference between the picture and what `render_view` draws of the page's settings."""
    settings = va.ViewSettings(**json.loads(page.locator(PAGE).get_attribute("data-shown")))
    expected = va.render_view(capture, settings)
    assert page.locator(".va-caption").inner_text() == " ".join(expected.caption.split())
    shown = canvas_pixels(page, ".va-stage canvas")
    assert shown.shape == expected.image.shape
    return np.abs(shown.astype(int) - expected.image).max()


@pytest.mark.parametrize(
    ("address", "settings", "most"),
    [
        ("", {"source": "attention", "layer": 2, "head": None, "aggregation": "mean", "opacity": 0.5}, BLENDED),
        ("#layer=0&head=1&opacity=1", {"layer": 0, "head": 1, "opacity": 1}, 0),
        ("#layer=1&aggregation=mean_over_std&opacity=0.77", {"layer": 1, "aggregation": "mean_over_std"}, BLENDED),
        ("#layer=1&opacity=0", {"layer": 1, "opacity": 0}, 0),
        ("#source=rollout&layer=1&aggregation=max&opacity=1", {"source": "rollout", "aggregation": "max"}, 0),
        ("#source=gradient_late&layer=2&opacity=0.3", {"source": "gradient_late", "layer": 2}, BLENDED),
        ("#layer=99&head=7&opacity=5&source=x", {"source": "attention", "layer": 2, "head": None}, BLENDED),
    ],
)
def test_an_address_shows_render_views_picture(opened, content, complete, address, settings, most):
    page = opened(content, address)
    wait_until(page, **settings)
    assert difference(page, complete) <= most


@pytest.mark.parametrize(
    "settings",
    [
        va.ViewSettings(on="original", sinks="outline", opacity=1.0),
        va.ViewSettings(query=(1, 2), scale="robust", cmap="viridis", opacity=1.0),
    ],
)
def test_other_settings_show_render_views_picture_too(opened, model, capture, settings):
    page = opened(va.export.make_page(model, capture, settings).content)
    assert difference(page, screen_capture(capture)) == 0
    assert page.locator(".va-query").count() == (1 if settings.query else 0)
    page.get_by_label("Layer", exact=True).press("Home")
    wait_until(page, layer=0)
    assert difference(page, screen_capture(capture)) == 0


def test_maps_kept_as_splines_differ_as_little_as_the_page_says(opened, model, capture, content, monkeypatch):
    whole = len(va.export.make_page(model, capture).content)
    monkeypatch.setattr(page_module, "MAX_BYTES", whole - 4_000)
    made = va.export.make_page(model, capture, va.ViewSettings(opacity=1.0))
    assert made.error > 0
    page = opened(made.content)
    worst = 0
    for layer in range(3):
        for head in range(3):
            page.get_by_label(f"layer {layer}, head {head}").click()
            wait_until(page, layer=layer, head=head)
            worst = max(worst, difference(page, capture))
    assert 0 < worst <= made.color_error


def test_controls_choose_among_the_maps_that_there_are(page, complete):
    page.get_by_label("Layer", exact=True).focus()
    page.keyboard.press("ArrowLeft")
    wait_until(page, layer=1)
    page.locator("label", has_text="max").click()
    wait_until(page, aggregation="max")
    page.locator("label", has_text="2").first.click()
    wait_until(page, head=2)
    assert page.get_by_text("only head 2 is shown").is_visible()
    page.get_by_label("Opacity").press("End")
    wait_until(page, opacity=1)
    assert difference(page, complete) == 0

    page.get_by_label("Source", exact=True).select_option("rollout")
    wait_until(page, source="rollout", head=None, aggregation="max")
    assert page.get_by_text("rollout fuses all heads of every layer").is_visible()
    assert page.locator("input[value=mean_over_std]").is_disabled()
    assert difference(page, complete) == 0
    page.get_by_label("Source", exact=True).select_option("gradient_late")
    wait_until(page, source="gradient_late")
    assert page.get_by_text("the heads are already one").is_visible()
    assert difference(page, complete) == 0


def test_a_cell_of_the_overview_leads_to_its_map(page, capture):
    page.get_by_label("layer 1, head 2").click()
    wait_until(page, layer=1, head=2)
    assert difference(page, capture) <= BLENDED
    page.keyboard.press("ArrowLeft")
    wait_until(page, layer=0, head=2)


def test_the_value_under_the_pointer_is_the_raw_one(page, capture):
    expected = va.render_view(capture).grid_map
    bounds = page.locator(".va-stage").bounding_box()
    page.mouse.move(bounds["x"] + 4.5 / 6 * bounds["width"], bounds["y"] + 1.5 / 4 * bounds["height"])
    reading = page.locator(".va-reading")
    value = float(reading.inner_text().removeprefix("Patch row 1, col 4: ").split()[0])
    assert value == pytest.approx(expected[1, 4], rel=0.005)
    assert reading.inner_text().endswith("(share of the attention to patches)")
    assert page.locator(".va-hover").count() == 1
    page.mouse.move(0, 0)
    assert page.locator(".va-hover").count() == 0
    page.locator(".va-stage").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    assert reading.inner_text().startswith("Patch row 2, col 4: ")
    low, _, high = (float(text) for text in page.locator(".va-ticks span").all_inner_texts())
    assert [low, high] == pytest.approx(va.render_view(capture).value_range, rel=0.005)


def test_holding_the_button_shows_the_photo_alone(page, capture):
    button = page.get_by_role("button", name="Hold to see the photo")
    before = canvas_pixels(page, ".va-stage canvas")
    button.hover()
    page.mouse.down()
    np.testing.assert_array_equal(canvas_pixels(page, ".va-stage canvas"), capture.view)
    page.mouse.up()
    np.testing.assert_array_equal(canvas_pixels(page, ".va-stage canvas"), before)
    button.focus()
    page.keyboard.down("Space")
    np.testing.assert_array_equal(canvas_pixels(page, ".va-stage canvas"), capture.view)
    page.keyboard.up("Space")
    np.testing.assert_array_equal(canvas_pixels(page, ".va-stage canvas"), before)


def test_what_is_kept_is_what_is_shown(page, model, capture, tmp_path):
    page.get_by_label("layer 1, head 0").click()
    page.get_by_label("Opacity").press("End")
    wait_until(page, layer=1, head=0, opacity=1)
    with page.expect_download() as download:
        page.get_by_role("button", name="Recipe", exact=True).click()
    download.value.save_as(tmp_path / "recipe.json")
    again = va.from_recipe(tmp_path / "recipe.json", model, capture.source)
    with page.expect_download() as download:
        page.get_by_role("button", name="PNG").click()
    download.value.save_as(tmp_path / "shown.png")
    assert "layer1-head0" in download.value.suggested_filename
    np.testing.assert_array_equal(np.asarray(va.load_picture(tmp_path / "shown.png")), again.image)
    page.get_by_text("Show code").click()
    assert "ViewSettings(layer=1, head=0, opacity=1)" in page.locator("#va-code").inner_text()


def test_the_address_follows_the_choice(page):
    page.get_by_label("layer 0, head 1").click()
    page.wait_for_function("() => location.hash.includes('layer=0') && location.hash.includes('head=1')")
    page.reload()
    page.wait_for_selector(PAGE)
    wait_until(page, layer=0, head=1)


def test_text_from_outside_runs_nothing(page):
    assert page.title() == f"{NASTY_FILE}: what VisionTransformer attends to"
    assert page.locator("h1").inner_text() == NASTY_FILE
    assert NASTY in page.locator(".va-class").first.inner_text()


def test_without_scripts_the_page_still_shows_a_map(opened, content, capture):
    page = opened(content, java_script_enabled=False)
    assert page.locator(".va-still").is_visible()
    assert page.locator(".va-still").evaluate("(image) => image.naturalWidth") == 48
    assert page.locator("noscript p").is_visible()
    assert va.render_view(capture).caption in page.locator(".va-caption").inner_text()
    assert page.locator(".va-predictions li").count() == 5


def test_a_browser_that_cannot_unpack_says_so_and_shows_the_first_map(browser, content, tmp_path):
    (tmp_path / "page.html").write_bytes(content)
    context = browser.new_context(offline=True)
    context.add_init_script("delete globalThis.DecompressionStream")
    page = context.new_page()
    page.goto(f"file://{tmp_path}/page.html")
    page.get_by_text("This browser cannot unpack the maps").wait_for()
    assert page.locator(".va-still").is_visible()
    context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone_in_light_and_dark(opened, content, scheme):
    size = {"width": 360, "height": 740}
    page = opened(content, viewport=size, is_mobile=True, has_touch=True, color_scheme=scheme)
    assert page.evaluate("() => document.documentElement.scrollWidth") <= 360
    paper = page.evaluate("() => getComputedStyle(document.querySelector('.va-page')).backgroundColor")
    assert (sum(int(part) for part in paper[4:-1].split(",")) > 384) == (scheme == "light")
    page.locator(".va-stage").tap()
    assert page.locator(".va-reading").inner_text().startswith("Patch row")


def test_on_paper_stand_picture_caption_and_answer_but_no_controls(page):
    page.emulate_media(media="print")
    for shown in (".va-stage canvas", ".va-caption", ".va-answer", ".va-legend"):
        assert page.locator(shown).is_visible()
    for hidden in (".va-controls", ".va-keep"):
        assert not page.locator(hidden).is_visible()
