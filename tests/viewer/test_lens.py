"""Layer by layer, and the tables of the heads, as somebody uses them; their numbers are compared with Python's."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Literal

import numpy as np
import pytest
import torch
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Locator
from timm.models.vision_transformer import VisionTransformer

import vitattn_widgets as va
from vitattn_widgets.capture import LayerAnswers, capture_head_contributions, capture_layer_answers
from vitattn_widgets.evaluation.interventions import silence_every_head
from vitattn_widgets.viewer.answers import answers_sentence, followed_classes

from ..conftest import SAMPLES
from ..lab import CHROMIUM
from .test_drawers import Drawers
from .twin_lab import Subject

pytestmark = [pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium"), pytest.mark.usefixtures("one_thread")]

KINDS = ("direct", "silenced")


class Lens(Drawers):
    """A viewer, its chart of the layers, and its tables of the heads."""

    def open_tables(self) -> None:
        self.page.locator("[data-drawer=heads]").click()

    def wait_for_tables(self, title: str) -> None:
        """Wait until both tables of a class are there."""
        self.page.wait_for_function(
            """title => document.querySelector(".va-tables-title").textContent.endsWith(title)
              && document.querySelectorAll(".va-table-scroll:not([hidden])").length === 2""",
            arg=title,
        )

    def frame(self, kind: str) -> Locator:
        """The table of a kind, with its legend and its sentence."""
        return self.page.locator(".va-table-frame").nth(KINDS.index(kind))

    def table(self, kind: str) -> np.ndarray:
        """The numbers of a table as its cells say them, ``(layers, heads)``."""
        cells = self.frame(kind).locator("button[role=gridcell]")
        labels = cells.evaluate_all("cells => cells.map((cell) => cell.getAttribute('aria-label'))")
        rows = self.frame(kind).locator("[role=row]").count() - 1
        numbers = [float(label.split(": ")[1].replace("\N{MINUS SIGN}", "-")) for label in labels]
        return np.array(numbers).reshape(rows, -1).T

    def cell(self, kind: str, layer: int, head: int) -> Locator:
        return self.frame(kind).locator(f"button[aria-label^='layer {layer}, head {head}:']")

    def percents(self) -> dict[str, str]:
        """What the chart's legend says of each class at the layer on the screen."""
        names = self.page.locator(".va-lens-legend .va-class-name").all_inner_texts()
        return dict(zip(names, self.page.locator(".va-lens-legend .va-percent").all_inner_texts(), strict=True))


Open = Callable[..., Lens]


@pytest.fixture(scope="module")
def subjects() -> list[Subject]:
    """Two photos of the embedded model, and two of a model whose classifier reads an attention pool."""
    torch.manual_seed(0)
    pooled = VisionTransformer(
        img_size=64, embed_dim=32, depth=3, num_heads=2, num_classes=4, class_token=False, global_pool="map"
    )
    photos = [SAMPLES / name for name in ("chelsea.jpg", "coffee.jpg")]
    models = (va.load_model("demo"), va.load_model(pooled, class_names=["cat", "cup", "<b>dog</b>", "bird"]))
    return [Subject(model, photo, seed=3) for model in models for photo in photos]


@pytest.fixture
def open_viewer(browser: Browser, subjects: list[Subject]) -> Iterator[Open]:
    opened: list[Lens] = []

    def open_one(size: tuple[int, int] = (1440, 900), kind: type[Lens] = Lens) -> Lens:
        opened.append(kind(browser, subjects, size))
        return opened[-1]

    yield open_one
    for one in opened:
        one.close()


def answers_of(subject: Subject) -> LayerAnswers:
    answers = capture_layer_answers(subject.model, subject.capture).answers
    assert answers is not None
    return answers


def share(text: str) -> float:
    return float(text.strip("<%")) / 100


# --- layer by layer ---


def test_the_chart_s_curves_and_words_are_pythons(open_viewer: Open) -> None:
    viewing = open_viewer()
    answers, names = answers_of(viewing.picture), viewing.picture.capture.class_names
    followed = followed_classes(answers)
    curves = viewing.page.locator(".va-lens-plot .va-lens-curve")
    top = share(viewing.page.locator(".va-lens-axis span").first.inner_text())
    assert answers.probabilities[:, followed].max() <= top <= answers.probabilities[:, followed].max() + 0.1
    for place, target in enumerate(followed):
        path = curves.nth(len(followed) - 1 - place).get_attribute("d") or ""
        points = np.array([point.split() for point in path.removeprefix("M").split("L")], float)
        np.testing.assert_allclose(points[:, 0], np.arange(len(points)) + 0.5)
        np.testing.assert_allclose(top * (1 - points[:, 1]), answers.probabilities[:, target], atol=1e-4)
    sentence = answers_sentence(answers, names)
    assert viewing.page.locator(".va-lens-sentence").inner_text() == sentence
    label = viewing.page.locator(".va-lens-plot svg").get_attribute("aria-label") or ""
    assert label.endswith(sentence)
    runs = viewing.page.locator(".va-lens-strip > span")
    said = [run.get_attribute("title") or "" for run in runs.all()]
    leaders = answers.leaders
    firsts = [0, *(np.flatnonzero(np.diff(leaders)) + 1)]
    assert [text.split(" would say ")[1] for text in said] == [names[leaders[first]] for first in firsts]


def test_the_legend_follows_the_layer_and_a_click_on_the_chart_moves_it(open_viewer: Open) -> None:
    viewing = open_viewer()
    answers, names = answers_of(viewing.picture), viewing.picture.capture.class_names
    layers = viewing.picture.capture.num_layers
    field = viewing.page.locator(".va-lens-field")
    box = field.bounding_box()
    assert box is not None
    for layer in (2, 0, layers - 1):
        field.click(position={"x": box["width"] * (layer + 0.5) / layers, "y": 20})
        viewing.wait_for(layer=layer)
        viewing.page.wait_for_timeout(50)
        for name, text in viewing.percents().items():
            expected = answers.probabilities[layer, names.index(name)]
            if text.startswith("<"):
                assert expected < share(text)
            else:
                assert share(text) == pytest.approx(expected, abs=0.0051)


def test_the_class_that_is_chosen_gets_its_curve(open_viewer: Open) -> None:
    viewing = open_viewer()
    answers, names = answers_of(viewing.picture), viewing.picture.capture.class_names
    target = int(answers.probabilities[-1].argmin())
    assert target not in followed_classes(answers)
    viewing.lab(f"listener({{target: {target}, source: 'gradient_late'}})")
    viewing.wait_for(target=target)
    viewing.page.wait_for_function(
        "name => document.querySelector('.va-lens-legend .va-class-name').textContent === name", arg=names[target]
    )
    assert {"need": "answers", "target": target} in viewing.lab("asked")
    assert list(viewing.percents())[1:] == [names[one] for one in followed_classes(answers)[:3]]


def test_a_class_s_name_is_text(open_viewer: Open) -> None:
    viewing = open_viewer()
    viewing.lab("listener({model: 'flat'})")
    viewing.wait_for(model="flat")
    viewing.page.wait_for_function("document.querySelectorAll('.va-lens-legend li').length === 4")
    assert "<b>dog</b>" in viewing.percents()
    viewing.lab("listener({target: 2, source: 'gradient_late'})")
    viewing.wait_for(target=2)
    viewing.open_tables()
    viewing.page.wait_for_function("document.querySelector('.va-tables-title').textContent.includes('dog')")
    assert viewing.page.locator(".va-tables-title").inner_text().endswith("of <b>dog</b>")


# --- the tables ---


def test_both_tables_are_pythons(open_viewer: Open) -> None:
    viewing = open_viewer()
    viewing.page.get_by_role("button", name="Which heads made this answer?").click()
    model, capture = viewing.picture.model, viewing.picture.capture
    name = capture.top(1)[0][0]
    viewing.wait_for_tables(f"of {name}")
    parts, lost = capture_head_contributions(model, capture), silence_every_head(model, capture)
    np.testing.assert_allclose(viewing.table("direct"), np.stack(parts.heads), atol=0.0051)
    np.testing.assert_allclose(viewing.table("silenced"), np.stack(lost), atol=0.0051)
    words = viewing.page.locator(".va-tables > .va-help").last.inner_text().replace("\N{MINUS SIGN}", "-")
    numbers = [float(number) for number in re.findall(r"[+-][\d.]*\d", words)]
    assert sum(numbers[:-1]) == pytest.approx(numbers[-1], abs=0.1)
    assert numbers[-1] == pytest.approx(parts.logit, abs=0.051)
    layer, head = np.unravel_index(np.stack(parts.heads).argmax(), np.stack(parts.heads).shape)
    assert viewing.frame("direct").locator(".va-table-line").inner_text().startswith(f"Head {head} of layer {layer} ")
    layer, head = np.unravel_index(np.stack(lost).argmax(), np.stack(lost).shape)
    line = viewing.frame("silenced").locator(".va-table-line").inner_text()
    assert line.startswith(f"Without head {head} of layer {layer}, {name} loses most: ")


def test_a_cell_leads_to_its_map_by_mouse_and_by_keys(open_viewer: Open) -> None:
    viewing = open_viewer()
    viewing.open_tables()
    viewing.wait_for_tables("")
    viewing.cell("silenced", 2, 1).click()
    viewing.wait_for(layer=2, head=1)
    for kind in KINDS:
        assert viewing.cell(kind, 2, 1).get_attribute("aria-selected") == "true"
        assert viewing.frame(kind).locator("[aria-selected=true]").count() == 1
    viewing.cell("direct", 2, 1).focus()
    for key, layer, head in (("ArrowRight", 3, 1), ("ArrowUp", 3, 0), ("ArrowUp", 3, 0), ("ArrowLeft", 2, 0)):
        viewing.page.keyboard.press(key)
        viewing.wait_for(layer=layer, head=head)
        assert viewing.page.evaluate("document.activeElement.ariaLabel").startswith(f"layer {layer}, head {head}:")
    assert viewing.frame("direct").locator("button[tabindex='0'][role=gridcell]").count() == 1


def test_the_tables_follow_the_class_and_are_asked_for_once(open_viewer: Open) -> None:
    viewing = open_viewer()
    model, capture = viewing.picture.model, viewing.picture.capture
    viewing.open_tables()
    viewing.wait_for_tables(f"of {capture.top(1)[0][0]}")
    target = int(np.argsort(-capture.probabilities)[1])
    viewing.page.locator(".va-class").nth(1).click()
    viewing.wait_for(target=target)
    viewing.wait_for_tables(f"of {capture.class_names[target]}")
    expected = np.stack(capture_head_contributions(model, capture, target).heads)
    np.testing.assert_allclose(viewing.table("direct"), expected, atol=0.0051)
    viewing.page.locator(".va-class").nth(0).click()
    viewing.wait_for_tables(f"of {capture.top(1)[0][0]}")
    asked = [request for request in viewing.lab("asked") if request["need"] in KINDS]
    own = int(capture.probabilities.argmax())
    assert asked == [{"need": kind, "target": one} for one in (own, target) for kind in KINDS]


def test_a_table_that_there_is_not_says_why_and_the_other_one_is_there(open_viewer: Open) -> None:
    viewing = open_viewer()
    viewing.lab("listener({model: 'flat'})")
    viewing.wait_for(model="flat")
    viewing.open_tables()
    viewing.page.wait_for_function("document.querySelectorAll('.va-table-scroll:not([hidden])').length === 1")
    assert viewing.frame("silenced").locator("button[role=gridcell]").count() == 4 * 2
    assert "reads an attention pool" in viewing.frame("direct").locator(".va-table-line").inner_text()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [(1440, 900), (390, 844)])
def test_axe_finds_nothing_and_nothing_is_wider_than_the_screen(
    open_viewer: Open, scheme: Literal["light", "dark"], size: tuple[int, int]
) -> None:
    viewing = open_viewer(size=size)
    viewing.page.emulate_media(color_scheme=scheme)
    viewing.open_tables()
    viewing.wait_for_tables("")
    viewing.cell("direct", 1, 0).click()
    violations = Axe().run(viewing.page).response["violations"]
    own = [one for one in violations if one["id"] != "page-has-heading-one"]  # that is up to the page around it
    assert [(one["id"], node["html"]) for one in own for node in one["nodes"]] == []
    assert viewing.page.evaluate("document.documentElement.scrollWidth") <= size[0]
