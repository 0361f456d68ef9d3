"""The viewer with a model of stages and windows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Browser

import vitattn_widgets as va

from .. import stage_zoo
from ..conftest import noise_photo
from ..lab import CHROMIUM
from .twin_lab import Subject
from .viewer_lab import Viewing

pytestmark = [pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium"), pytest.mark.usefixtures("one_thread")]

Open = Callable[..., Viewing]


@pytest.fixture(scope="module")
def subject() -> Subject:
    """Swin: two stages of two layers, 16 x 24 patches with 2 heads and 8 x 12 patches with 3."""
    size = stage_zoo.MODELS["swin"].size
    return Subject(va.load_model(stage_zoo.build("swin"), img_size=size), noise_photo(size))


@pytest.fixture
def open_viewer(browser: Browser, subject: Subject) -> Iterator[Open]:
    opened: list[Viewing] = []

    def open_one(**options: Any) -> Viewing:
        opened.append(Viewing(browser, [subject, subject], **options))
        return opened[-1]

    yield open_one
    for one in opened:
        one.close()


def choose(viewing: Viewing, layer: int, query: list[int]) -> None:
    """Choose a layer, then a patch of its grid."""
    for name, value in (("layer", layer), ("query", query)):
        viewing.lab(f"listener({{{name}: {value}}})")
        viewing.wait_for(**{name: value})


def pieces(viewing: Viewing) -> np.ndarray:
    """The corners of each outline, int ``(piece, corner, 2)``, as multiples of the first layer's patches."""
    path = viewing.page.locator(".va-pane").first.locator(".va-mark-reach").get_attribute("d")
    assert path is not None
    lines = [line.removeprefix("M").split("L") for line in path.split("Z") if line]
    corners = np.array([[[float(number) for number in corner.split()] for corner in line] for line in lines])
    return np.rint(corners * 24 / 1000).astype(int)


def test_the_window_of_a_query_is_outlined_and_named(open_viewer: Open) -> None:
    viewing = open_viewer()
    reach = viewing.page.locator(".va-reach")
    assert reach.is_hidden()
    choose(viewing, 0, [5, 9])
    assert pieces(viewing).tolist() == [[[8, 4], [12, 4], [12, 8], [8, 8]]]
    assert reach.inner_text() == "Sees only its window: 4 x 4 patches"
    choose(viewing, 1, [0, 9])  # shifted windows, cut by the edge
    assert pieces(viewing).tolist() == [[[6, 0], [10, 0], [10, 2], [6, 2]]]
    assert reach.inner_text() == "Sees only its window: 2 x 4 patches"
    viewing.lab("listener({query: null})")
    viewing.wait_for(query=None)
    assert reach.is_hidden()
    assert viewing.page.locator(".va-mark-reach").count() == 0


def test_words_leave_the_place_of_a_window_that_lies_below_them(open_viewer: Open) -> None:
    viewing = open_viewer()
    for row, above in ((2, False), (15, True)):
        choose(viewing, 0, [row, 9])
        words, picture = (viewing.page.locator(name).first.bounding_box() for name in (".va-reach", ".va-pane"))
        assert words
        assert picture
        assert (words["y"] < picture["y"] + picture["height"] / 2) == above


def test_patches_ask_python_once_for_each_layer(open_viewer: Open) -> None:
    viewing = open_viewer()
    choose(viewing, 0, [5, 9])
    viewing.page.wait_for_timeout(1500)  # what is asked ahead is asked by now

    def move() -> None:
        for col in range(10, 14):
            viewing.lab(f"listener({{query: [5, {col}]}})")
            viewing.wait_for(query=[5, col])

    viewing.asks_nothing(move)
    assert all(request["need"] != "row" for request in viewing.lab("asked"))


@pytest.mark.parametrize("size", [(1440, 900), (390, 844)])
def test_layers_stand_in_stages(open_viewer: Open, size: tuple[int, int]) -> None:
    viewing = open_viewer(size=size)
    page = viewing.page
    heads = page.locator(".va-stages [title]")
    assert [head.get_attribute("title") for head in heads.all()] == [
        "16 x 24 patches, 2 heads",
        "8 x 12 patches, 3 heads",
    ]
    assert page.evaluate("document.documentElement.scrollWidth") == size[0]
    cells = [page.get_by_role("gridcell", name=f"layer {layer}, all heads").bounding_box() for layer in range(4)]
    boxes = [head.bounding_box() for head in heads.all()]
    # the words of a stage stand above its columns, which have a gap to the next ones
    for box, (first, last) in zip(boxes, [(0, 1), (2, 3)], strict=True):
        assert box["x"] == pytest.approx(cells[first]["x"], abs=0.1)
        assert box["x"] + box["width"] == pytest.approx(cells[last]["x"] + cells[last]["width"], abs=0.1)
    lefts = [cell["x"] for cell in cells]
    assert lefts[2] - lefts[1] > lefts[1] - lefts[0] + 4
    canvas = page.locator(".va-plane canvas").bounding_box()
    assert canvas
    assert canvas["x"] == pytest.approx(lefts[0], abs=0.1)
    assert canvas["x"] + canvas["width"] == pytest.approx(lefts[3] + cells[3]["width"], abs=0.1)


def test_keys_go_from_stage_to_stage_and_the_frame_with_them(open_viewer: Open) -> None:
    viewing = open_viewer()
    page = viewing.page
    page.get_by_role("gridcell", name="layer 1, head 1").click()
    for key, place in (("ArrowRight", (2, 1)), ("ArrowDown", (2, 2)), ("ArrowLeft", (2, 2)), ("ArrowRight", (3, 2))):
        page.keyboard.press(key)
        viewing.wait_for(layer=place[0], head=place[1])
    page.wait_for_timeout(400)  # the frame glides
    frame, cell = page.locator(".va-here").bounding_box(), page.locator(".va-cells [aria-selected=true]").bounding_box()
    assert frame == pytest.approx(cell)
    assert page.locator(".va-note-line").inner_text() == "Layers 2 and 3 have 8 x 12 patches and 3 heads."


def test_the_matrix_shows_the_patch_at_the_same_place_in_every_stage(open_viewer: Open) -> None:
    viewing = open_viewer()
    choose(viewing, 3, [5, 9])
    choose(viewing, 1, [11, 19])  # the capsule holds the queries and keys of both layers now
    viewing.page.wait_for_timeout(300)
    note = viewing.page.locator(".va-note-line").inner_text()
    assert note.startswith("2 of 4 layers show the chosen query")


def test_on_a_phone_many_heads_scroll_below_the_numbers_of_the_layers(open_viewer: Open) -> None:
    viewing = open_viewer(size=(390, 844))
    page = viewing.page
    page.add_style_tag(content=".va-viewer.va-narrow .va-scroll.va-scroll { max-height: 160px }")  # few heads are many
    page.wait_for_function("document.querySelector('.va-scroll').clientHeight <= 160")
    for head in (2, 0):
        viewing.lab(f"listener({{layer: 3, head: {head}}})")
        viewing.wait_for(layer=3, head=head)
        box, cell, numbers = (
            page.locator(place).first.bounding_box()
            for place in (".va-scroll", ".va-cells [aria-selected=true]", ".va-columns")
        )
        assert box
        assert cell
        assert numbers
        assert box["y"] <= numbers["y"] < numbers["y"] + numbers["height"] <= cell["y"]
        assert cell["y"] + cell["height"] <= box["y"] + box["height"]
