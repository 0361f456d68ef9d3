"""Photos, answer, comparison, check and keep, as somebody uses them; what they show is compared with Python's."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from axe_playwright_python.sync_playwright import Axe
from PIL import Image
from playwright.sync_api import Browser, FilePayload, Locator
from timm.models.vision_transformer import VisionTransformer

import vitattn_widgets as va
from vitattn_widgets.comparison.presets import PRESETS
from vitattn_widgets.maps.sources import CATALOGUE
from vitattn_widgets.models.classes import likely_classes
from vitattn_widgets.view.captions import sentence
from vitattn_widgets.view.encode import map_bytes
from vitattn_widgets.view.recipe import python_code

from ..conftest import SAMPLES
from ..lab import CHROMIUM
from .twin_lab import Subject
from .viewer_lab import Viewing

pytestmark = [pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium"), pytest.mark.usefixtures("one_thread")]


class Drawers(Viewing):
    """A viewer whose front end can do all that one may."""

    script = "drawers_page.js"

    @property
    def picture(self) -> Subject:
        """The photo and model that it starts with."""
        return self.subjects[0]

    def settings(self, **changes: Any) -> va.ViewSettings:
        """The settings on the screen, for Python."""
        fields = {name: self.shown[name] for name in va.ViewSettings.__dataclass_fields__}
        return replace(va.ViewSettings(**fields), **changes)

    def drawer(self, name: str) -> Locator:
        """Open a drawer."""
        self.page.locator(f"[data-drawer={name}]").click()
        return self.page.locator(f".va-{'comparison' if name == 'compare' else name}")

    def compared(self) -> dict[str, Any]:
        """What the comparison has drawn, once all of its panels are there."""
        self.page.wait_for_function("""() => {
          const cards = [...document.querySelectorAll(".va-card")];
          return cards.length && cards.every((card) => card.dataset.status === "ready");
        }""")
        self.page.wait_for_timeout(150)
        return dict(json.loads(self.page.get_attribute(".va-comparison", "data-drawn") or "{}"))

    def row(self, name: str) -> Locator:
        """The button that fills the row by one click."""
        return self.page.locator(".va-presets").get_by_role("button", name=name, exact=True)

    def preset(self, name: str) -> dict[str, Any]:
        self.row(name).click()
        return self.compared()

    def file(self, label: str, tmp_path: Path) -> tuple[str, bytes]:
        """Name and content of the file that a button saves."""
        with self.page.expect_download() as download:
            self.page.get_by_role("button", name=label).click()
        download.value.save_as(tmp_path / "saved")
        return download.value.suggested_filename, (tmp_path / "saved").read_bytes()

    def hand_over(self, kind: str, name: str, content: str = "photo") -> None:
        """Drop a file on the viewer, or paste it."""
        self.page.evaluate(
            """([kind, name, content]) => {
              const data = new DataTransfer();
              data.items.add(new File([content], name, { type: "image/png" }));
              const options = { bubbles: true, cancelable: true };
              const event = kind === "drop" ? new DragEvent(kind, { dataTransfer: data, ...options })
                : new ClipboardEvent(kind, { clipboardData: data, ...options });
              document.querySelector(".va-stage").dispatchEvent(event);
            }""",
            [kind, name, content],
        )


class Without(Drawers):
    """A viewer whose front end can do none of it."""

    query = "?without=check,file,link,upload"


Open = Callable[..., Drawers]


@pytest.fixture(scope="module")
def subjects() -> list[Subject]:
    """Two photos of the embedded model, and the first one of a model with fewer layers."""
    torch.manual_seed(0)
    flat = VisionTransformer(img_size=64, embed_dim=32, depth=3, num_heads=2, num_classes=4)
    photos = [SAMPLES / name for name in ("chelsea.jpg", "coffee.jpg")]
    models = (va.load_model("demo"), va.load_model(flat, class_names=["cat", "cup", "catamaran", "bobcat"]))
    return [Subject(model, photo, seed=3) for model in models for photo in photos]


@pytest.fixture
def open_viewer(browser: Browser, subjects: list[Subject]) -> Iterator[Open]:
    opened: list[Drawers] = []

    def open_one(kind: type[Drawers] = Drawers, **options: Any) -> Drawers:
        opened.append(kind(browser, subjects, **options))
        return opened[-1]

    yield open_one
    for one in opened:
        one.close()


# --- photos ---


def test_photos_by_keys_and_one_that_cannot_be_read(open_viewer: Open) -> None:
    viewing = open_viewer()
    keyboard, strip = viewing.page.keyboard, viewing.page.locator(".va-strip button")
    strip.nth(0).focus()
    keyboard.press("ArrowRight")
    keyboard.press("Enter")
    viewing.wait_for(picture="coffee.jpg", target=None)
    assert viewing.page.locator(".va-credit").inner_text() == "Photo: somebody, CC0"
    assert [button.get_attribute("tabindex") for button in strip.all()] == ["-1", "0", "-1"]
    assert "broken.jpg: <b>not</b> an image" in strip.nth(2).inner_text()
    keyboard.press("End")
    keyboard.press("Enter")
    assert "broken.jpg: <b>not</b> an image" in viewing.page.locator(".va-note-error").inner_text()
    assert viewing.shown["picture"] == "coffee.jpg"


@pytest.mark.parametrize("way", ["button", "drop", "paste"])
def test_photos_are_added(open_viewer: Open, way: str) -> None:
    viewing = open_viewer()
    viewing.lab("listener({target: 1})")
    viewing.wait_for(target=1)
    if way == "button":
        files: list[FilePayload] = [
            {"name": name, "mimeType": "image/png", "buffer": b"photo"} for name in ("a.png", "b.png")
        ]
        viewing.page.locator("input[type=file]").set_input_files(files)
    else:
        viewing.hand_over(way, "a.png")
    viewing.wait_for(picture="a.png", target=None)
    assert viewing.lab("uploaded") == (["a.png", "b.png"] if way == "button" else ["a.png"])
    viewing.hand_over("drop", "<i>none</i>.png", content="")
    assert viewing.page.locator(".va-note-error").inner_text().startswith("<i>none</i>.png: an empty file")


# --- the answer ---


def test_predictions_are_pythons(open_viewer: Open) -> None:
    viewing = open_viewer()
    rows = [row.inner_text().split("\n") for row in viewing.page.locator(".va-class").all()]
    capture = viewing.picture.capture
    (direction,) = capture.directions
    assert rows.pop() == ["likeness to other.jpg", f"cosine {direction.cosine:.2f}"]
    for (name, share), (expected, probability) in zip(rows, capture.top(5), strict=True):
        assert name == expected
        if share.startswith("<"):
            assert probability < float(share.strip("<%")) / 100
        else:
            assert float(share.strip("%")) / 100 == pytest.approx(
                probability, abs=0.0051 if probability > 0.1 else 0.0006
            )


def test_a_class_is_shown_by_a_source_that_knows_it(open_viewer: Open) -> None:
    viewing = open_viewer()
    target = likely_classes(viewing.picture.capture.probabilities, 5)[2]
    assert viewing.page.locator(".va-class[aria-pressed=true]").count() == 0  # attention depends on no class
    viewing.page.locator(".va-class").nth(2).click()
    viewing.wait_for(target=target, source="contribution_sum")
    assert viewing.question("use").get_attribute("aria-selected") == "true"
    assert viewing.page.locator(".va-class[aria-pressed=true]").get_attribute("data-class") == str(target)


def test_search_by_keys_finds_word_starts_first(open_viewer: Open) -> None:
    viewing = open_viewer()
    viewing.lab("listener({model: 'flat'})")
    viewing.wait_for(model="flat")
    search = viewing.page.get_by_role("combobox", name="Search a class")
    search.press_sequentially("cat")
    options = viewing.page.locator(".va-options [role=option]")
    assert [option.inner_text().split("\n")[0] for option in options.all()] == ["cat", "catamaran", "bobcat"]
    search.press("ArrowDown")
    active = viewing.page.locator(f"#{search.get_attribute('aria-activedescendant')}")
    assert active.get_attribute("aria-selected") == "true"
    search.press("Enter")
    viewing.wait_for(target=2)
    assert search.get_attribute("aria-expanded") == "false"
    search.press_sequentially("nothing")
    assert options.all_inner_texts() == ["No class with “nothing”"]
    search.press("Escape")
    assert not options.first.is_visible()


@pytest.mark.parametrize("way", ["shift", "button", "search"])
def test_difference_of_two_classes(open_viewer: Open, way: str) -> None:
    viewing = open_viewer()
    first, second = likely_classes(viewing.picture.capture.probabilities, 2)
    names = [viewing.picture.capture.class_names[target] for target in (first, second)]
    if way == "shift":
        viewing.page.locator(".va-class").nth(1).click(modifiers=["Shift"])
    elif way == "button":
        viewing.page.get_by_role("button", name=f"Why {names[0]} and not …?").click()
        viewing.page.locator(".va-class").nth(1).click()
    else:
        viewing.page.locator(".va-search").press_sequentially(names[1])
        viewing.page.keyboard.press("Shift+Enter")
    drawn = viewing.compared()
    one, other = (viewing.settings(target=target) for target in (first, second))
    panels = [va.Panel(viewing.picture.complete(settings), settings) for settings in (one, other)]
    expected = va.difference_view(panels[0], panels[1], "robust")
    assert drawn["difference"] == expected.title == f"{names[0]} minus {names[1]}"
    assert "red is more in" in expected.caption.lower()
    words = viewing.page.locator(".va-difference-words").inner_text().lower().rstrip(".")
    assert words in expected.caption.lower()
    signs = [row.get_attribute("data-sign") for row in viewing.page.locator(".va-class").all()[:2]]
    assert signs == ["plus", "minus"]


def test_a_difference_is_in_sight_on_a_phone(open_viewer: Open) -> None:
    viewing = open_viewer(size=(390, 844))
    viewing.page.locator(".va-other").click()
    viewing.page.locator(".va-class").nth(1).click()
    viewing.compared()
    [picture, sticky, tabs] = [
        viewing.page.locator(part).bounding_box()
        for part in (".va-difference figure > canvas", ".va-sticky", ".va-questions")
    ]
    assert picture["y"] >= sticky["y"] + sticky["height"] - 1
    assert picture["y"] + 0.6 * picture["height"] <= tabs["y"]


# --- the comparison ---


@pytest.mark.parametrize("name", ["layers", "heads", "aggregations"])
def test_rows_are_pythons(open_viewer: Open, name: str) -> None:
    viewing = open_viewer()
    viewing.drawer("compare")
    viewing.page.wait_for_timeout(1500)  # what is asked ahead is asked by now
    before = viewing.lab("asked.length")
    drawn = viewing.preset(name)
    assert viewing.lab("asked.length") == before
    capture = viewing.picture.capture
    panels = [va.Panel(capture, one, "chelsea.jpg") for one in PRESETS[name].panels(capture, viewing.settings())]
    expected = va.compare_views(panels, "robust")
    assert drawn["titles"] == list(expected.titles)
    np.testing.assert_allclose(drawn["limits"], expected.limits, rtol=1e-4)
    common = viewing.page.locator(".va-common").inner_text()
    assert common == f"All: {expected.common}."
    labels = [card.get_attribute("title") or "" for card in viewing.page.locator(".va-card-show").all()]
    for label, panel in zip(labels, panels, strict=True):
        assert label.startswith(sentence(capture, panel.settings))


def test_panels_are_moved_and_removed(open_viewer: Open) -> None:
    viewing = open_viewer()
    viewing.drawer("compare")
    titles = viewing.preset("layers")["titles"]
    menus = viewing.page.locator(".va-difference-choice select")
    menus.nth(0).select_option("4")
    menus.nth(1).select_option("1")
    assert viewing.compared()["difference"] == f"{titles[4]} minus {titles[1]}"
    viewing.page.locator(".va-card-show").nth(0).focus()
    viewing.page.keyboard.press("Shift+ArrowRight")
    moved = viewing.compared()
    assert moved["titles"][:2] == [titles[1], titles[0]]
    assert moved["difference"] == f"{titles[4]} minus {titles[1]}"  # the same two views
    viewing.page.keyboard.press("Delete")
    assert viewing.compared()["titles"] == [titles[1], *titles[2:]]
    viewing.page.locator(".va-card").nth(0).drag_to(viewing.page.locator(".va-card").nth(2))
    assert viewing.compared()["titles"][:3] == [titles[2], titles[3], titles[1]]
    viewing.page.locator(".va-card-show").nth(0).click()
    viewing.wait_for(layer=2)
    viewing.page.get_by_role("button", name="Clear").click()
    viewing.page.wait_for_selector(".va-compare-row", state="hidden")


def test_rows_of_photos_skip_what_cannot_be_read(open_viewer: Open) -> None:
    viewing = open_viewer()
    viewing.drawer("compare")
    viewing.row("photos").click()
    assert viewing.compared()["titles"] == ["chelsea.jpg", "coffee.jpg"]
    assert "two photos" in viewing.page.locator(".va-difference-problem").inner_text()


def test_models_are_compared_at_the_same_depth(open_viewer: Open) -> None:
    viewing = open_viewer()
    deep, flat = (viewing.subjects[place].capture.num_layers for place in (0, 2))
    layer = deep // 2
    same = round(layer * (flat - 1) / (deep - 1))
    assert same != min(layer, flat - 1)  # the nearest number would be another layer
    viewing.layer_slider().fill(str(layer))
    viewing.wait_for(layer=layer)
    viewing.drawer("compare")
    titles = viewing.preset("models")["titles"]
    assert [title.rsplit(", ", 1)[-1] for title in titles] == [f"layer {layer}", f"layer {same}"]
    assert f"{deep} and {flat} layers" in viewing.page.locator(".va-common").inner_text()


def test_rows_that_do_not_apply_say_why(open_viewer: Open) -> None:
    viewing = open_viewer()
    viewing.question("use").click()
    viewing.wait_for(source="contribution_sum")
    viewing.drawer("compare")
    button = viewing.row("heads")
    assert button.get_attribute("aria-disabled") == "true"
    button.click(force=True)
    assert CATALOGUE["contribution_sum"].no_head in viewing.page.locator(".va-compare-line").inner_text()
    assert viewing.page.locator(".va-card").count() == 0


# --- check ---

VERDICT = "Better than chance, no better than the centre."

FACTS = {
    "class_name": "<b>cat</b>",
    "probability": 0.9,
    "removed": [0, 0.5, 1],
    "deletion": {order: [0.9, 0.4, 0.1] for order in ("map", "random", "centre", "edge")},
    "insertion": {order: [0.1, 0.6, 0.9] for order in ("map", "random", "centre", "edge")},
    "random_low": {"deletion": [0.9, 0.3, 0.1], "insertion": [0.1, 0.3, 0.9]},
    "random_high": {"deletion": [0.9, 0.6, 0.1], "insertion": [0.1, 0.7, 0.9]},
    "areas": {test: dict.fromkeys(("map", "random", "centre", "edge"), 0.5) for test in ("deletion", "insertion")},
    "intervals": {"deletion": [0.41, 0.52], "insertion": [0.3, 0.6]},
    "verdict": VERDICT,
    "sentences": ["One sentence.", "Another."],
}


def test_a_result_stays_when_controls_move(open_viewer: Open) -> None:
    viewing = open_viewer()
    viewing.page.evaluate("facts => { lab.facts = facts; }", FACTS)
    check = viewing.drawer("check")
    check.get_by_role("button", name="Check this map").click()
    result = check.locator(".va-result")
    result.get_by_text(VERDICT).wait_for()
    checked = viewing.lab("checked[0]")
    assert {name: checked[name] for name in ("picture", "layer", "source")} == {
        name: viewing.shown[name] for name in ("picture", "layer", "source")
    }
    assert result.locator(".va-chart").count() == 2
    assert "0.41 to 0.52" in result.locator(".va-areas").inner_text()
    assert result.locator("b").count() == 0  # the class's name is text
    assert check.get_by_role("button", name="Check this map").is_disabled()
    layer = viewing.shown["layer"]
    viewing.layer_slider().fill("0")
    viewing.wait_for(layer=0)
    assert result.locator(".va-result-place").inner_text().startswith("Another map")
    check.get_by_role("button", name="Show this map").click()
    viewing.wait_for(layer=layer)
    assert result.locator(".va-result-place").inner_text() == "The map shown"


# --- keep ---


def test_numbers_are_pythons(open_viewer: Open, tmp_path: Path) -> None:
    viewing = open_viewer()
    viewing.drawer("keep")
    name, content = viewing.file("Numbers: NPZ", tmp_path)
    assert name.endswith(".npz")
    capture, settings = viewing.picture.capture, viewing.settings()
    with (
        np.load(io.BytesIO(content)) as own,
        np.load(io.BytesIO(map_bytes(capture, va.render_view(capture, settings)))) as expected,
    ):
        assert set(own) == set(expected)
        assert str(own["caption"]) == str(expected["caption"])
        for part in ("grid_map", "heat", "value_range", "crop_box"):
            assert own[part].shape == expected[part].shape
            np.testing.assert_allclose(own[part], expected[part], rtol=1e-5, atol=1e-5)


def test_pictures_and_figures(open_viewer: Open, tmp_path: Path) -> None:
    viewing = open_viewer()
    viewing.drawer("keep")
    _, picture = viewing.file("Picture: PNG", tmp_path)
    view = viewing.picture.capture.view
    opened = Image.open(io.BytesIO(picture))
    assert opened.width / opened.height == pytest.approx(view.shape[1] / view.shape[0], rel=0.02)
    _, figure = viewing.file("Figure: SVG", tmp_path)
    texts = " ".join(
        part.text or "" for part in ElementTree.fromstring(figure).iter("{http://www.w3.org/2000/svg}text")
    )
    assert sentence(viewing.picture.capture, viewing.settings()) in texts
    assert "times the average patch" in texts
    _, figure = viewing.file("Figure: PNG", tmp_path)
    pixels = np.asarray(Image.open(io.BytesIO(figure)).convert("RGB"))
    assert (pixels[0, 0] == 255).all()
    assert pixels.std() > 20


def test_code_recipe_page_and_link(open_viewer: Open, tmp_path: Path) -> None:
    viewing = open_viewer()
    keep = viewing.drawer("keep")
    viewing.layer_slider().fill("1")
    viewing.wait_for(layer=1)
    assert keep.locator("pre").inner_text() == python_code(viewing.picture.model, viewing.settings())
    for label, what in (("Recipe: JSON", "recipe"), ("Offline page: HTML", "page")):
        assert viewing.file(label, tmp_path) == (f"{what}.txt", what.encode())
    assert viewing.lab("files") == [{"what": what, "layer": 1} for what in ("recipe", "page")]
    keep.get_by_role("button", name="Link: Copy link").click()
    assert keep.locator(".va-address").inner_text() == "https://viewer.test/?layer=1"


def test_what_a_front_end_cannot_do_says_so(open_viewer: Open) -> None:
    viewing = open_viewer(Without)
    assert viewing.page.get_by_role("button", name="Add a photo").count() == 0
    viewing.hand_over("drop", "a.png")
    assert "not in a test" in viewing.page.locator(".va-note-error").inner_text()
    check = viewing.drawer("check")
    assert "not in a test" in check.inner_text()
    assert check.get_by_role("button", name="Check this map").is_disabled()
    keep = viewing.drawer("keep")
    for label in ("Recipe: JSON", "Offline page: HTML", "Link: Copy link"):
        assert keep.get_by_role("button", name=label).get_attribute("aria-disabled") == "true"
    assert keep.get_by_text("Not in a test.").count() == 3


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [(1440, 900), (390, 844)])
def test_axe_finds_nothing(open_viewer: Open, scheme: Literal["light", "dark"], size: tuple[int, int]) -> None:
    axe = Axe()
    viewing = open_viewer(size=size)
    viewing.page.emulate_media(color_scheme=scheme)
    viewing.page.evaluate("facts => { lab.facts = facts; }", FACTS)

    def found() -> list[tuple[str, str]]:
        violations = axe.run(viewing.page).response["violations"]
        own = [one for one in violations if one["id"] != "page-has-heading-one"]  # that is up to the page around it
        return [(one["id"], node["html"]) for one in own for node in one["nodes"]]

    viewing.page.locator(".va-class").nth(1).click(modifiers=["Shift"])
    viewing.compared()
    assert found() == []
    viewing.drawer("check").get_by_role("button", name="Check this map").click()
    viewing.page.get_by_text(VERDICT).wait_for()
    assert found() == []
    viewing.drawer("keep")
    viewing.page.locator(".va-search").click()
    assert found() == []
