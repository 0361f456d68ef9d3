"""The viewer as somebody uses it: with the mouse, with keys alone, on a phone, and after Python has gone."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser

import vitattn_widgets as va
from vitattn_widgets.maps.sources import CATALOGUE

from ..conftest import SAMPLES
from ..lab import CHROMIUM
from .twin_lab import Subject
from .viewer_lab import Viewing

pytestmark = [pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium"), pytest.mark.usefixtures("one_thread")]

Open = Callable[..., Viewing]


@pytest.fixture(scope="module")
def subjects() -> list[Subject]:
    """Two photos of the embedded model, with patches that count as sinks."""
    model = va.load_model("demo")
    return [Subject(model, SAMPLES / name, seed=3) for name in ("chelsea.jpg", "coffee.jpg")]


@pytest.fixture
def open_viewer(browser: Browser, subjects: list[Subject]) -> Iterator[Open]:
    opened: list[Viewing] = []

    def open_one(**options: Any) -> Viewing:
        opened.append(Viewing(browser, subjects, **options))
        return opened[-1]

    yield open_one
    for one in opened:
        one.close()


# --- controls ---


def test_first_picture_is_the_viewers_start(open_viewer: Open) -> None:
    shown = open_viewer().shown
    assert (shown["blend"], shown["scale"], shown["sinks"], shown["opacity"]) == ("glow", "robust", "mark", 0.7)
    assert shown["layer"] >= 0  # fitted: the number of the last layer, not -1


def test_controls_ask_python_for_nothing(open_viewer: Open) -> None:
    viewing = open_viewer()
    viewing.unfold()
    page = viewing.page
    page.wait_for_timeout(1500)  # what is asked ahead is asked by now

    def move_all() -> None:
        viewing.layer_slider().fill("1")
        viewing.wait_for(layer=1)
        page.get_by_role("radio", name="maximum").check(force=True)
        viewing.wait_for(aggregation="max")
        page.get_by_role("gridcell", name="layer 2, head 1").click()
        viewing.wait_for(layer=2, head=1)
        page.get_by_label("median").uncheck()
        viewing.wait_for(median=False)
        page.get_by_role("radio", name="lowest to highest").check(force=True)
        viewing.wait_for(scale="map")
        page.get_by_role("radio", name="viridis").check(force=True)
        viewing.wait_for(cmap="viridis")

    viewing.asks_nothing(move_all)
    written = {name: value for changes in viewing.lab("written") for name, value in changes.items()}
    assert {"layer": 2, "head": 1, "aggregation": "max", "median": False, "cmap": "viridis"}.items() <= written.items()
    assert "question" not in written


def test_moves_of_one_slider_are_undone_together(open_viewer: Open) -> None:
    viewing = open_viewer()
    first = viewing.shown
    for layer in ("2", "1", "0"):
        viewing.layer_slider().fill(layer)
    viewing.wait_for(layer=0)
    viewing.page.keyboard.press("Control+z")
    assert viewing.wait_for(layer=first["layer"]) == first
    viewing.page.keyboard.press("Control+Shift+z")
    viewing.wait_for(layer=0)
    viewing.page.get_by_role("button", name="Reset all settings").click()
    assert viewing.wait_for(layer=first["layer"]) == first


def test_questions_give_back_the_former_settings(open_viewer: Open) -> None:
    viewing = open_viewer()
    viewing.unfold()
    viewing.page.get_by_role("radio", name="lowest to highest").check(force=True)
    viewing.wait_for(scale="map")
    viewing.question("use").click()
    viewing.wait_for(source="contribution_sum", scale="robust")
    viewing.question("look").click()
    viewing.wait_for(source="attention", scale="map")
    assert viewing.question("look").get_attribute("aria-selected") == "true"


def test_a_class_opens_its_question_and_the_former_one_gives_back_its_settings(open_viewer: Open) -> None:
    viewing = open_viewer()
    viewing.unfold()
    viewing.page.get_by_role("radio", name="lowest to highest").check(force=True)
    viewing.wait_for(scale="map")
    viewing.page.locator(".va-class").nth(1).click()
    viewing.wait_for(source="contribution_sum", scale="robust")
    assert viewing.question("use").get_attribute("aria-selected") == "true"
    viewing.question("look").click()
    viewing.wait_for(source="attention", scale="map")


def test_contributions_lie_over_a_light_grey_photo(open_viewer: Open) -> None:
    viewing = open_viewer()

    def colourless() -> float:
        """The share of the ground's pixels without colour; those of the map are not in it."""
        return viewing.page.evaluate(
            """() => {
                const canvas = document.querySelector(".va-ground");
                const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
                let grey = 0;
                for (let at = 0; at < data.length; at += 4) {
                    const color = data.slice(at, at + 3);
                    grey += Math.max(...color) - Math.min(...color) < 12;
                }
                return grey / (data.length / 4);
            }"""
        )

    assert colourless() < 0.5
    viewing.question("use").click()
    viewing.wait_for(source="contribution_sum")
    assert colourless() > 0.99
    assert viewing.page.locator(".va-stage").get_attribute("aria-label").count("(red)") == 1
    viewing.question("look").click()
    viewing.wait_for(source="attention")
    assert colourless() < 0.5


def test_the_query_rests_where_contributions_are_summed_over_all(open_viewer: Open) -> None:
    viewing = open_viewer()
    viewing.question("use").click()
    viewing.wait_for(source="contribution_sum")
    viewing.unfold()
    assert viewing.page.get_by_text(CATALOGUE["contribution_sum"].no_query).count() == 1


def test_chips_take_back_what_is_set_deep_down(open_viewer: Open) -> None:
    viewing = open_viewer()
    first = viewing.shown
    viewing.unfold()
    viewing.page.get_by_role("button", name="Exactly the paper’s drawing").click()
    paper = viewing.wait_for(blend="even")
    assert {name: paper[name] for name in ("scale", "sinks", "opacity")} == {
        "scale": va.ViewSettings().scale,
        "sinks": va.ViewSettings().sinks,
        "opacity": va.ViewSettings().opacity,
    }
    chips = viewing.page.locator(".va-chip")
    assert chips.count() == 1  # one chip for all of it
    chips.click()
    assert viewing.wait_for(blend="glow") == first


def test_changes_from_outside_are_drawn_and_not_sent_back(open_viewer: Open) -> None:
    viewing = open_viewer()
    before = viewing.lab("written.length")
    viewing.lab("listener({layer: 1, opacity: 0.3})")
    viewing.wait_for(layer=1, opacity=0.3)
    assert viewing.lab("written.length") == before


def test_newest_of_several_photos_stays(open_viewer: Open) -> None:
    viewing = open_viewer()
    viewing.lab("delays.push(0, 400)")  # the answer for the photo that is left again comes last
    viewing.lab("listener({picture: '1'})")
    viewing.lab("listener({picture: '0'})")
    viewing.page.wait_for_timeout(800)
    assert viewing.shown["picture"] == "0"


def test_a_new_photo_starts_from_its_own_prediction(open_viewer: Open) -> None:
    viewing = open_viewer()
    viewing.lab("listener({target: 1, source: 'gradient'})")
    viewing.wait_for(target=1)
    viewing.click_patch(1, 1)
    viewing.wait_for(query=[1, 1])
    viewing.page.locator(".va-strip button").nth(1).click()
    viewing.wait_for(picture="1", target=None, query=None, source="gradient")


def test_what_is_chosen_outside_is_kept_or_fitted(open_viewer: Open, subjects: list[Subject]) -> None:
    viewing = open_viewer()
    viewing.lab("listener({target: 1, picture: '1', layer: 99})")
    last = subjects[0].capture.num_layers - 1
    viewing.wait_for(picture="1", target=1, layer=last)
    viewing.lab("listener({picture: '0', head: 99})")  # its capsule is here: fitted at once
    viewing.wait_for(picture="0", target=1)
    assert viewing.lab("written.at(-1).head") == subjects[0].capture.num_heads(last) - 1


# --- the picture ---


def test_patches_by_mouse(open_viewer: Open) -> None:
    viewing = open_viewer()
    viewing.click_patch(2, 3)
    viewing.wait_for(query=[2, 3])
    assert viewing.page.locator(".va-pane:not([hidden]) .va-mark-query").count() == 1
    viewing.page.mouse.move(*viewing.patch(2, 3))
    viewing.page.mouse.down()
    viewing.page.mouse.move(*viewing.patch(4, 5), steps=4)
    viewing.wait_for(query=[4, 5])  # follows while the button is down
    viewing.page.mouse.up()
    viewing.click_patch(4, 5)  # once more: back to the default
    viewing.wait_for(query=None)


def test_a_finger_taps_drags_and_scrolls(open_viewer: Open) -> None:
    viewing = open_viewer(size=(390, 844), touch=True)
    session = viewing.page.context.new_cdp_session(viewing.page)

    def drag(*patches: tuple[int, int]) -> None:
        """Put a finger on the first patch and draw it to the others in small steps."""
        places = [viewing.patch(*patch) for patch in patches]
        steps = [places[0]]
        for start, end in itertools.pairwise(places):
            steps += [tuple(a + (b - a) * step / 8 for a, b in zip(start, end, strict=True)) for step in range(1, 9)]
        for kind, (x, y) in [("touchStart", steps[0]), *(("touchMove", step) for step in steps[1:])]:
            session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [{"x": x, "y": y}]})
        session.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})

    drag((3, 2))
    viewing.wait_for(query=[3, 2])
    drag((3, 2), (3, 6), (6, 6))  # aside first, then in any direction
    viewing.wait_for(query=[6, 6])
    assert viewing.page.evaluate("scrollY") == 0
    drag((7, 4), (1, 4))
    viewing.page.wait_for_function("scrollY > 60")
    assert viewing.shown["query"] == [6, 6]


def test_pressing_shows_the_bare_photo(open_viewer: Open) -> None:
    viewing = open_viewer()
    layer_of_map = viewing.page.locator(".va-map").first
    viewing.page.mouse.move(*viewing.patch(1, 1))
    viewing.page.mouse.down()
    viewing.page.wait_for_timeout(600)
    assert not layer_of_map.is_visible()
    viewing.page.mouse.up()
    assert layer_of_map.is_visible()
    assert viewing.shown["query"] is None  # a press that was held is no click


def test_patches_by_keys(open_viewer: Open) -> None:
    viewing = open_viewer()
    viewing.page.locator(".va-stage").focus()
    rows, cols = viewing.subjects[0].capture.layout.grid
    for key in ("ArrowDown", "ArrowDown", "ArrowRight"):  # the first press goes to the middle
        viewing.page.keyboard.press(key)
    assert "times the average patch" in viewing.page.locator(".va-hover").inner_text()
    viewing.page.keyboard.press("Enter")
    viewing.wait_for(query=[rows // 2 + 1, cols // 2 + 1])
    viewing.page.keyboard.press("Escape")
    viewing.wait_for(query=None)
    assert viewing.lab("shownKeys") == []  # no shortcut of the page around it fires


def test_sinks_are_named_on_the_picture(open_viewer: Open, subjects: list[Subject]) -> None:
    viewing = open_viewer()
    count = int(subjects[0].sinks[viewing.shown["layer"]].sum())
    assert viewing.page.locator(".va-sinks").inner_text().startswith(f"{count} sink patch")
    assert viewing.page.locator(".va-pane:not([hidden]) .va-mark-sink").count() == count


def test_film_runs_through_the_layers(open_viewer: Open, subjects: list[Subject]) -> None:
    viewing = open_viewer()
    last = viewing.shown["layer"]
    viewing.page.get_by_role("button", name="Play a film through the layers").click()
    viewing.wait_for(layer=1)
    viewing.wait_for(layer=last)


def test_matrix_by_keys(open_viewer: Open) -> None:
    viewing = open_viewer()
    last = viewing.shown["layer"]
    viewing.page.get_by_role("gridcell", name=f"layer {last}, all heads").focus()
    viewing.page.keyboard.press("ArrowLeft")
    viewing.page.keyboard.press("ArrowDown")
    viewing.wait_for(layer=last - 1, head=0)


# --- when Python does not answer ---


def test_after_the_kernel_has_gone(open_viewer: Open) -> None:
    viewing = open_viewer()
    viewing.lab("failing = 'the kernel is gone'")
    viewing.layer_slider().fill("1")
    viewing.wait_for(layer=1)
    viewing.question("use").click()
    error = viewing.page.locator(".va-note-error")
    error.wait_for()
    assert "the kernel is gone" in error.inner_text()
    # the controls say what the picture shows
    assert viewing.shown["source"] == "attention"
    assert viewing.question("look").get_attribute("aria-selected") == "true"
    viewing.layer_slider().fill("2")
    viewing.wait_for(layer=2)


def test_markup_in_messages_is_text(open_viewer: Open) -> None:
    viewing = open_viewer()
    viewing.lab("failing = '<img src=x onerror=lab.broken=1>'")
    viewing.lab("listener({picture: '<img src=x onerror=lab.broken=1>'})")
    viewing.page.get_by_text("<img src=x").first.wait_for()
    assert viewing.page.locator(".va-viewer img[src=x]").count() == 0


def test_an_ended_viewer_leaves_nothing(open_viewer: Open) -> None:
    viewing = open_viewer()
    viewing.lab("viewer.destroy()")
    assert viewing.lab("root.childElementCount") == 0
    viewing.lab("listener({layer: 0})")
    viewing.page.wait_for_timeout(200)


# --- in sight ---

SIGHT = """() => {
  const controls = [...document.querySelectorAll(".va-viewer :is(button, input, select, summary)")];
  const picture = document.querySelector(".va-sheet");
  const hidden = [];
  for (const control of controls) {
    if (!control.getClientRects().length || control.closest(".va-header")) continue;
    control.scrollIntoView({ block: "nearest" });
    const own = picture.getBoundingClientRect();
    const high = Math.min(own.bottom, innerHeight) - Math.max(own.top, 0);
    if (high < 0.6 * own.height) hidden.push(control.outerHTML.slice(0, 90));
  }
  return hidden;
}"""


@pytest.mark.parametrize("size", [(390, 844), (1024, 768)])
def test_picture_stays_in_sight_of_every_control(open_viewer: Open, size: tuple[int, int]) -> None:
    viewing = open_viewer(size=size)
    viewing.unfold()
    for drawer in ("compare", "check", "keep"):
        viewing.page.locator(f"[data-drawer={drawer}]").click()
        assert viewing.page.evaluate(SIGHT) == []


def test_targets_on_a_phone(open_viewer: Open) -> None:
    viewing = open_viewer(size=(390, 844))
    viewing.unfold()
    small = viewing.page.evaluate("""() => {
      const targets = document.querySelectorAll(".va-viewer :is(button:not(.va-term, .va-chip), select, summary)");
      return [...targets].filter((one) => one.getClientRects().length && one.getBoundingClientRect().height < 43.5)
        .map((one) => one.outerHTML.slice(0, 120));
    }""")
    assert small == []
    picture = viewing.page.locator(".va-picture").bounding_box()
    slider = viewing.layer_slider().bounding_box()
    assert picture
    assert slider
    assert picture["height"] <= 0.4 * 844 + 1
    assert slider["y"] - (picture["y"] + picture["height"]) < 60


def test_nothing_moves_while_layers_are_drawn(open_viewer: Open) -> None:
    viewing = open_viewer()
    viewing.page.evaluate("""() => {
      lab.shifts = 0;
      new PerformanceObserver((list) => { for (const one of list.getEntries()) lab.shifts += one.value; })
        .observe({ type: "layout-shift" });
    }""")
    last = viewing.shown["layer"]
    for layer in range(last):
        viewing.layer_slider().fill(str(layer))
        viewing.wait_for(layer=layer)
    viewing.page.wait_for_timeout(200)
    assert viewing.lab("shifts") < 0.001
