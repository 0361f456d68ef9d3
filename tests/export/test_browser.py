"""The offline page in headless Chromium without a network: what a reader does, and the pixels that appear."""

import io
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from timm.models.vision_transformer import VisionTransformer

import vitattn_widgets as va
from vitattn_widgets.export import page as page_module
from vitattn_widgets.maps.attribution import raw_map
from vitattn_widgets.view.drawing import glow_strength
from vitattn_widgets.view.recipe import make_recipe
from vitattn_widgets.view.settings import VIEW_FIELDS
from vitattn_widgets.viewer.settings import START

from ..conftest import noise_photo
from ..lab import CHROMIUM, running_browser

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here; install it with apt install chromium")

VIEWER = ".va-viewer[data-shown]"
NASTY = "<img src=x onerror=document.title='owned'>&\"'</script><script>document.title='owned'</script>"
NASTY_FILE = NASTY.replace("/", "") + ".jpg"
ROUNDED = 2
"""Display levels by which a browser's blending may differ: a canvas keeps colours multiplied by their opacity."""


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
def content(model, capture):
    return va.export.make_page(model, capture, name=NASTY_FILE).content


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
        context = browser.new_context(offline=True, **({"viewport": {"width": 1440, "height": 900}} | options))
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda message: message.type == "error" and complaints.append(message.text))
        page.on("request", lambda request: request.url.startswith("http") and complaints.append(request.url))
        page.goto(f"file://{tmp_path}/page.html{address}")
        if options.get("java_script_enabled", True):
            page.wait_for_selector(VIEWER)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []


@pytest.fixture
def page(opened, content):
    return opened(content)


def wait_until(page, **settings):
    """Wait until a picture with these settings is on the screen."""
    page.wait_for_function(
        """([selector, wanted]) => {
            const shown = JSON.parse(document.querySelector(selector).dataset.shown);
            const same = ([name, value]) => JSON.stringify(shown[name]) === JSON.stringify(value);
            return Object.entries(wanted).every(same);
        }""",
        arg=[VIEWER, settings],
        timeout=10000,
    )


def settings_shown(page):
    shown = json.loads(page.locator(VIEWER).get_attribute("data-shown"))
    return va.ViewSettings(**{name: shown[name] for name in VIEW_FIELDS})


def difference(page, model, capture, edge=0.02):
    """Largest difference between the map on the photo and what `render_view` draws; the captions must be equal.

    ``edge`` is how close to the edge between two colours a heat may fall to either, in levels of 255.
    """
    settings = settings_shown(page)
    capture = va.complete_capture(model, capture, settings)
    expected = va.render_view(capture, settings)
    assert page.locator(".va-caption").text_content() == expected.caption
    assert page.locator(".va-sentence").text_content() == va.view.sentence(capture, settings)
    size, data = page.evaluate(
        """() => {
            const canvas = document.querySelector(".va-viewer canvas.va-map");
            const image = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
            return [[canvas.height, canvas.width], Array.from(image.data)];
        }"""
    )
    layer = np.array(data, float).reshape(*size, 4)
    assert layer.shape[:2] == capture.view.shape[:2]
    opacity = layer[..., 3:] / 255
    signed = settings.source_info.signed
    ground = va.view.drawing.light_grey(capture.view) if signed else capture.view
    picture = (1 - opacity) * ground + opacity * layer[..., :3]
    # the frames of sinks are the page's own elements, not pixels
    treatment = {"mark": "leave_out", "outline": "show"}.get(settings.sinks, settings.sinks)
    drawn = va.render_view(capture, replace(settings, sinks=treatment))
    look = (settings.opacity, settings.cmap, settings.blend, glow_strength(1 - raw_map(capture, settings).share))
    nearly = [np.clip(drawn.heat + step / 255, 0, 1) for step in (-edge, 0, edge)]
    if signed:
        look = (settings.opacity, settings.blend)
        pictures = [va.view.drawing.overlay_difference(capture.view, 2 * heat - 1, *look) for heat in nearly]
    else:
        pictures = [va.view.overlay(capture.view, heat, *look) for heat in nearly]
    away = [np.abs(picture - drawn).max(-1) for drawn in pictures]
    return np.min(away, 0).max()


@pytest.mark.parametrize(
    ("address", "settings"),
    [
        ("", {"source": "attention", "layer": 2, "head": None, "aggregation": "mean", "opacity": 0.7, "blend": "glow"}),
        ("#layer=0&head=1&opacity=1&blend=even", {"layer": 0, "head": 1, "opacity": 1, "blend": "even"}),
        ("#layer=1&aggregation=mean_over_std&opacity=0.77&scale=map", {"layer": 1, "aggregation": "mean_over_std"}),
        ("#opacity=0&cmap=viridis", {"opacity": 0, "cmap": "viridis"}),
        ("#source=rollout&layer=1&aggregation=max&median=false", {"source": "rollout", "aggregation": "max"}),
        ("#source=gradient_late&opacity=0.3&sinks=show", {"source": "gradient_late", "sinks": "show"}),
        ("#source=contribution&opacity=0.4&blend=even", {"source": "contribution", "blend": "even"}),
        ("#source=contribution_heads&head=1&scale=map", {"source": "contribution_heads", "head": 1}),
        ("#source=norm&scale=shared&head=2&query=%5B1%2C2%5D", {"source": "norm", "head": 2, "query": [1, 2]}),
        ("#layer=99&head=7&opacity=5&source=x&cmap=__proto__&blend=&query=%7B", {"source": "attention", "layer": 2}),
        ("#constructor=1&median=1&target=-1.5&query=nobody&layer=x", {"layer": 2, "median": True, "query": None}),
    ],
)
def test_an_address_shows_render_views_picture_or_is_ignored(opened, content, model, capture, address, settings):
    page = opened(content, address)
    wait_until(page, **settings)
    assert difference(page, model, capture) <= ROUNDED


def test_every_layer_head_and_aggregation_is_shown(page, model, capture):
    for layer in range(3):
        page.get_by_role("slider", name="Layer").fill(str(layer))
        for head in (0, 1, 2):
            page.get_by_role("gridcell", name=f"layer {layer}, head {head}").click()
            wait_until(page, layer=layer, head=head)
            assert difference(page, model, capture) <= ROUNDED
        page.get_by_role("gridcell", name=f"layer {layer}, all heads").click()
        for name in ("max", "mean_over_std", "mean"):
            page.evaluate("(name) => document.querySelector(`.va-viewer input[value=${name}]`).click()", name)
            wait_until(page, layer=layer, head=None, aggregation=name)
            assert difference(page, model, capture) <= ROUNDED


def test_any_patch_can_be_the_query(page, model, capture):
    bounds = page.locator(".va-stage").bounding_box()
    for row, col in ((0, 0), (1, 4), (3, 5)):
        x = bounds["x"] + (col + 0.5) / 6 * bounds["width"]
        page.mouse.click(x, bounds["y"] + (row + 0.5) / 4 * bounds["height"])
        wait_until(page, query=[row, col])
        # a file keeps queries and keys with 13 bits
        assert difference(page, model, capture, edge=0.5) <= ROUNDED


def test_predicted_classes_have_maps_and_others_are_said_to_be_absent(page, model, capture):
    order = np.argsort(-capture.probabilities, kind="stable")
    buttons = page.locator(".va-answer button.va-class")
    for place in (1, 2, 0):
        buttons.nth(place).click()
        wait_until(page, target=int(order[place]), source="contribution_sum")
        assert difference(page, model, capture) <= ROUNDED
    present = buttons.evaluate_all("(all) => all.map((one) => one.getAttribute('aria-disabled'))")
    assert present == [None, None, None, "true", "true"]
    buttons.nth(4).click(force=True)
    line = f"not in this file: the maps of the source contribution_sum for class number {order[4]}"
    page.get_by_text(line).wait_for()
    assert settings_shown(page).target == order[0]
    assert difference(page, model, capture) <= ROUNDED
    buttons.nth(1).click()
    page.get_by_text(line).wait_for(state="detached")  # it is past


def test_a_question_is_answered_whatever_patch_was_the_query(page, model, capture):
    page.locator(".va-stage").click()
    page.wait_for_function("JSON.parse(document.querySelector('.va-viewer').dataset.shown).query !== null")
    page.get_by_role("tab", name="What did it use?").click()
    wait_until(page, source="contribution_sum")  # which is summed over all queries
    assert "query" not in page.locator(".va-caption").text_content()
    assert difference(page, model, capture) <= ROUNDED


def test_the_screen_shows_the_picture(opened, model, capture, monkeypatch):
    plain = replace(START, sinks="leave_out", blend="even", opacity=0.9)
    page = opened(va.export.make_page(model, capture, plain).content)
    stage = page.locator(".va-stage")
    shot = Image.open(io.BytesIO(stage.screenshot())).convert("RGB")
    wanted = Image.fromarray(va.render_view(capture, plain).image).resize(shot.size, Image.Resampling.BILINEAR)
    small = [np.asarray(one.resize((12, 8), Image.Resampling.BOX)).astype(int) for one in (shot, wanted)]
    # the corners have what lies over the picture, such as the badge
    assert np.median(np.abs(small[0] - small[1])) <= 6


def test_what_did_not_fit_is_said_and_the_picture_stays(opened, model, capture, monkeypatch):
    whole = va.export.make_page(model, capture)
    monkeypatch.setattr(page_module, "MAX_BYTES", len(whole.content) - 12_000)
    written = va.export.make_page(model, capture)
    assert "Every patch" not in " ".join(written.included)
    page = opened(written.content)
    bounds = page.locator(".va-stage").bounding_box()
    page.mouse.click(bounds["x"] + bounds["width"] / 2 + 5, bounds["y"] + bounds["height"] / 2 + 5)
    page.get_by_text("not in this file: the queries and keys of layer 2").wait_for()
    assert settings_shown(page).query is None
    page.get_by_text("About this file").click()
    for sentence in written.left_out:
        assert page.locator(".va-about").get_by_text(sentence).is_visible()


def test_it_works_by_keyboard_alone(page, model, capture):
    page.get_by_role("slider", name="Layer").focus()
    page.keyboard.press("ArrowLeft")
    wait_until(page, layer=1)
    page.locator(".va-stage").focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    wait_until(page, query=[2, 4])
    page.keyboard.press("Escape")
    wait_until(page, query=None)
    page.get_by_role("gridcell", name="layer 1, all heads").focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowRight")
    wait_until(page, layer=2, head=0)
    assert difference(page, model, capture) <= ROUNDED
    # every stop of the tab key is in sight
    page.keyboard.press("Tab")
    seen = set()
    for _ in range(60):
        tag, visible = page.evaluate(
            """() => {
                const { width, height } = document.activeElement.getBoundingClientRect();
                return [document.activeElement.outerHTML.slice(0, 200), width > 0 && height > 0];
            }"""
        )
        assert visible, tag
        if tag in seen:
            break
        seen.add(tag)
        page.keyboard.press("Tab")
    assert len(seen) > 8


def test_the_address_follows_the_choice_and_brings_it_back(page):
    page.get_by_role("gridcell", name="layer 0, head 1").click()
    page.wait_for_function("() => location.hash.includes('layer=0') && location.hash.includes('head=1')")
    page.reload()
    page.wait_for_selector(VIEWER)
    wait_until(page, layer=0, head=1)
    page.evaluate("location.hash = '#layer=1&source=rollout'")
    wait_until(page, layer=1, head=None, source="rollout")


def test_its_recipe_draws_the_picture_again(page, model, capture, tmp_path):
    page.locator(".va-layers input[type=range]").fill("1")
    wait_until(page, layer=1)
    page.get_by_role("button", name="Keep").click()
    with page.expect_download() as download:
        page.get_by_role("button", name="Recipe: JSON").click()
    download.value.save_as(tmp_path / "recipe.json")
    settings = settings_shown(page)
    recipe = json.loads((tmp_path / "recipe.json").read_text())
    expected = json.loads(json.dumps(make_recipe(model, capture, settings, path=NASTY_FILE)))
    assert recipe == expected


def test_text_from_outside_runs_nothing(page):
    page.locator(".va-answer button.va-class").first.click()
    wait_until(page, source="contribution_sum")
    assert page.title() == f"{NASTY_FILE}: what VisionTransformer attends to"
    assert NASTY in page.locator(".va-answer").text_content()
    assert NASTY in page.locator(".va-caption").text_content()


def test_without_scripts_the_page_still_shows_a_map(opened, content, capture):
    page = opened(content, java_script_enabled=False)
    still = page.locator("#va-still img")
    assert still.is_visible()
    assert still.evaluate("(image) => image.naturalWidth") == 48
    assert page.locator("noscript p").is_visible()
    assert page.get_by_text(va.view.sentence(capture, START)).is_visible()
    assert page.get_by_text(va.render_view(capture, START).caption).is_visible()


def test_with_scripts_the_viewer_takes_the_place_of_the_still_picture(page):
    assert not page.locator("#va-still").is_visible()
    assert page.locator(VIEWER).is_visible()


def test_a_browser_that_cannot_unpack_says_so_and_shows_the_first_map(browser, content, tmp_path):
    (tmp_path / "page.html").write_bytes(content)
    context = browser.new_context(offline=True)
    context.add_init_script("delete globalThis.DecompressionStream")
    page = context.new_page()
    page.goto(f"file://{tmp_path}/page.html")
    page.get_by_text("This browser cannot run the viewer (DecompressionStream is not defined)").wait_for()
    assert page.locator("#va-still img").is_visible()
    context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone_in_light_and_dark(opened, content, model, capture, scheme):
    size = {"width": 360, "height": 740}
    page = opened(content, viewport=size, is_mobile=True, has_touch=True, color_scheme=scheme)
    assert page.evaluate("() => document.documentElement.scrollWidth") <= 360
    paper = page.evaluate("() => getComputedStyle(document.body).backgroundColor")
    assert (sum(int(part) for part in paper[4:-1].split(",")) > 384) == (scheme == "light")
    page.locator(".va-stage").tap()
    page.wait_for_function("(selector) => JSON.parse(document.querySelector(selector).dataset.shown).query", arg=VIEWER)
    assert difference(page, model, capture, edge=0.5) <= ROUNDED
    stage = page.locator(".va-stage").bounding_box()
    assert stage["x"] >= 0
    assert stage["x"] + stage["width"] <= 360


def test_the_parts_of_the_heads_are_in_the_file_for_its_classes_alone(page, model, capture):
    page.get_by_role("button", name="Heads", exact=True).click()
    page.wait_for_function("document.querySelectorAll('.va-table-scroll:not([hidden])').length === 2")
    lost = va.evaluation.silence_every_head(model, capture)
    cells = page.locator(".va-table").nth(1).locator("button[role=gridcell]")
    labels = cells.evaluate_all("cells => cells.map((cell) => cell.getAttribute('aria-label'))")
    numbers = [float(label.split(": ")[1].replace("\N{MINUS SIGN}", "-")) for label in labels]
    np.testing.assert_allclose(np.reshape(numbers, (3, 3)).T, np.stack(lost), atol=0.0051)
    others = np.argsort(-capture.probabilities)[3:]
    page.evaluate("(target) => { location.hash = `target=${target}`; }", int(others[0]))
    page.wait_for_function("document.querySelectorAll('.va-table-scroll:not([hidden])').length === 0")
    lines = page.locator(".va-table-line").all_inner_texts()
    assert lines == [f"The table of {NASTY} {others[0]} is not in this file."] * 2
    assert page.locator(".va-lens-legend li").count() == 4
