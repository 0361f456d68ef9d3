"""The explorer in a real JupyterLab in headless Chromium: what users do, and what Python and browser agree on."""

import io
import json
import urllib.request
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

import vitattn_widgets as va
from vitattn_widgets.viewer.settings import START

from ..lab import CHROMIUM, open_and_run, running_browser, running_lab, write_notebook
from .lab import CELL, VIEWER, cell_capture, cell_model, run_cell, shown, slide, wait_for

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here; install it with apt install chromium")

REST = 600
"""Milliseconds after which a moved control has come to rest and Python was told, with a margin."""

CELLS = (
    CELL,
    "explorer.layer = 1",
    "print(explorer.layer, explorer.head, explorer.query, round(explorer.opacity, 2), explorer.picture)",
    "explorer.layer = 99",
    "print(len(explorer.panels), explorer.status)",
    "explorer.source = 'gradient_late'; explorer.add_direction((1, 2))",
)
SHOW, SET_LAYER, PRINT, WRONG_LAYER, PANELS, DIRECTION = range(len(CELLS))


class Opened:
    """JupyterLab with a running explorer.

    Attributes:
        page: the browser's page.
        address, token: of JupyterLab.
        requests: addresses of everything that was fetched.
        complaints: errors of the page.
        frames: what the page sent to the kernel, as text or bytes.
    """

    def __init__(self, page, address, token):
        self.page, self.address, self.token = page, address, token
        self.requests, self.complaints, self.frames = [], [], []
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("websocket", lambda socket: socket.on("framesent", self._sent))

    def _sent(self, payload):
        text = payload.decode("utf-8", "replace") if isinstance(payload, bytes) else payload
        if "comm_msg" in text:
            self.frames.append(text)

    def call(self, method, path):
        """Ask JupyterLab's own interface."""
        headers = {"Authorization": f"token {self.token}"}
        request = urllib.request.Request(f"{self.address}{path}", method=method, headers=headers)
        with urllib.request.urlopen(request, timeout=20) as reply:
            return json.loads(reply.read() or b"null")


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lab")
    write_notebook(folder / "explore.ipynb", *CELLS)
    with running_lab(folder) as (address, token), running_browser() as browser:
        opened = Opened(browser.new_page(viewport={"width": 1400, "height": 1200}), address, token)
        open_and_run(opened.page, address, token, "explore.ipynb", f"{VIEWER}[data-shown]")
        yield opened


@pytest.fixture
def page(opened):
    """The page with the first picture."""
    page = opened.page
    slide(page, 2)
    wait_for(page, layer=2)
    page.wait_for_timeout(REST)
    return page


def test_the_notebook_shows_the_map_that_python_would_draw(page):
    assert shown(page) == json.loads(
        json.dumps(
            vars(START) | {"layer": 2, "model": "VisionTransformer", "picture": "noise", "arrangement": "overlay"}
        )
    )
    wanted = va.render_view(cell_capture(), va.ViewSettings(**(vars(START) | {"layer": 2})))
    assert page.locator(f"{VIEWER} .va-caption").text_content() == wanted.caption


def test_a_moved_control_is_drawn_without_a_message_and_python_hears_of_it_once(opened, page):
    page.wait_for_timeout(2 * REST)  # what the viewer fetches ahead is here
    opened.frames.clear()
    drawn = slide(page, 1, 0, 1, 0, 1, 0)
    assert drawn == [1, 0, 1, 0, 1, 0]
    assert opened.frames == []
    page.wait_for_timeout(REST)
    told = [frame for frame in opened.frames if '"method": "update"' in frame or '"method":"update"' in frame]
    assert len(told) == 1
    assert run_cell(page, PRINT).startswith("0 None None 0.7 noise")
    assert shown(page)["layer"] == 0


def test_what_python_sets_is_shown(page):
    run_cell(page, SET_LAYER)
    wait_for(page, layer=1)
    page.wait_for_timeout(REST)
    assert run_cell(page, PRINT).startswith("1 ")


def test_a_wrong_value_of_python_is_reported_and_the_picture_stays(page):
    run_cell(page, WRONG_LAYER)
    page.get_by_text("layer 99 does not exist").wait_for()
    assert shown(page)["layer"] == 2
    slide(page, 1)
    page.wait_for_timeout(REST)
    assert run_cell(page, PRINT).startswith("1 ")
    page.get_by_text("layer 99 does not exist").wait_for(state="hidden")


def test_a_clicked_patch_is_the_query(page):
    stage = page.locator(f"{VIEWER} .va-stage").first
    box = stage.bounding_box()
    stage.click(position={"x": 5.5 / 6 * box["width"], "y": 3.5 / 4 * box["height"]})
    wait_for(page, query=[3, 5])
    page.wait_for_timeout(REST)
    assert "(3, 5)" in run_cell(page, PRINT)
    wanted = va.render_view(cell_capture(), va.ViewSettings(**(vars(START) | {"layer": 2, "query": (3, 5)})))
    assert page.locator(f"{VIEWER} .va-caption").text_content() == wanted.caption
    stage.focus()
    page.keyboard.press("Escape")
    wait_for(page, query=None)


def test_a_direction_is_a_target_beside_the_classes(page):
    run_cell(page, DIRECTION)
    wait_for(page, target=5, source="gradient_late")
    row = page.locator(f"{VIEWER} .va-class[data-class='5']")
    assert row.get_attribute("aria-pressed") == "true"
    assert row.inner_text().startswith("likeness to patch 1, 2")
    model, settings = cell_model(), va.ViewSettings(**(vars(START) | {"source": "gradient_late", "target": 5}))
    capture = va.capture.add_direction(model, cell_capture(), (1, 2))
    settings = replace(settings, layer=shown(page)["layer"])
    capture = va.complete_capture(model, capture, settings)
    assert page.locator(f"{VIEWER} .va-caption").text_content() == va.render_view(capture, settings).caption
    run_cell(page, DIRECTION, "explorer.source, explorer.target = 'attention', None")
    wait_for(page, target=None, source="attention")


def test_a_kept_view_is_the_same_for_python(page):
    page.get_by_role("button", name="Compare", exact=True).click()
    page.get_by_role("button", name="Keep this view").click()
    page.wait_for_timeout(REST)
    assert run_cell(page, PANELS).startswith("1 ")


def test_arrow_keys_belong_to_the_explorer(page):
    page.locator(f"{VIEWER} input[type=range]").first.focus()
    page.keyboard.press("ArrowLeft")
    wait_for(page, layer=1)
    page.keyboard.press("ArrowLeft")
    wait_for(page, layer=0)


def test_jupyters_shortcuts_leave_its_keys_alone(page):
    cells = page.locator(".jp-NotebookPanel .jp-CodeCell")
    count = cells.count()
    for control in (".va-layers input[type=range]", ".va-play", ".va-stage"):
        page.locator(f"{VIEWER} {control}").focus()
        for key in ("x", "b", "ArrowDown"):  # cut, insert below, next cell
            page.keyboard.press(key)
        page.wait_for_timeout(300)
        assert cells.count() == count
        assert page.evaluate("document.querySelector('.va-viewer').contains(document.activeElement)")
    page.keyboard.press("Escape")
    wait_for(page, query=None)


def test_uploaded_pictures_are_added_and_shown_and_broken_ones_are_reported(page):
    stream = io.BytesIO()
    Image.fromarray(np.random.default_rng(2).integers(0, 256, (1200, 1200, 3), np.uint8)).save(stream, "PNG")
    assert len(stream.getvalue()) > 3 << 20  # sent in several parts
    page.locator(f"{VIEWER} input[type=file]").set_input_files(
        [
            {"name": "large.png", "mimeType": "image/png", "buffer": stream.getvalue()},
            {"name": "broken.png", "mimeType": "image/png", "buffer": b"no picture"},
        ]
    )
    page.get_by_text("broken.png: not a picture").first.wait_for(timeout=20000)
    wait_for(page, picture="large.png")
    page.wait_for_timeout(REST)
    assert run_cell(page, PRINT).rstrip().endswith("large.png")
    page.locator(f"{VIEWER} .va-strip button", has_text="noise").click()
    wait_for(page, picture="noise")


def test_nothing_came_from_the_network_and_nothing_failed(opened):
    assert len(opened.requests) > 10
    assert [url for url in opened.requests if not url.startswith((opened.address, "blob:", "data:"))] == []
    assert opened.complaints == []


def save(page):
    page.click(".jp-NotebookPanel .jp-CodeCell .cm-content >> nth=0")
    page.keyboard.press("Control+S")
    page.wait_for_selector(".jp-mod-dirty", state="detached")


def test_a_page_that_is_loaded_again_shows_what_was_set(opened, page):
    slide(page, 1)
    page.wait_for_timeout(REST)
    save(page)
    page.reload()
    page.wait_for_selector(f"{VIEWER}[data-shown]", timeout=60000)
    wait_for(page, layer=1)
    assert slide(page, 0, 2) == [0, 2]


def test_running_the_cell_again_leaves_one_explorer(page):
    count = "from ipywidgets.widgets.widget import _instances as made\n"
    count += "print(sum(type(one).__name__ == 'AttentionExplorer' for one in made.values()))"
    for _ in range(3):
        run_cell(page, SHOW)
        page.wait_for_selector(f"{VIEWER}[data-shown]")
    page.keyboard.press("Escape")
    assert run_cell(page, PANELS, count).strip() == "1"


def test_a_dead_kernel_leaves_an_explorer_that_steers(opened, page):
    (kernel,) = opened.call("GET", "/api/kernels")
    opened.call("DELETE", f"/api/kernels/{kernel['id']}")
    page.wait_for_timeout(1000)
    assert slide(page, 1, 0) == [1, 0]
    page.get_by_label("Add a photo")
    page.locator(f"{VIEWER} input[type=file]").set_input_files(
        [{"name": "late.png", "mimeType": "image/png", "buffer": b"late"}]
    )
    page.get_by_text("no kernel answers").first.wait_for(timeout=10000)
    assert slide(page, 2) == [2]


def test_a_saved_notebook_opened_again_shows_the_picture_and_no_error(opened, page):
    save(page)
    page.goto(f"{opened.address}/lab/tree/explore.ipynb?token={opened.token}&reset")
    picture = page.locator("[data-va-still] img")
    picture.wait_for(timeout=60000)
    assert picture.evaluate("(image) => image.naturalWidth") == 48
    page.wait_for_timeout(2000)
    assert not page.get_by_text("Error displaying widget").is_visible()
