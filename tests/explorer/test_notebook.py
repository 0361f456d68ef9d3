"""The explorer in an executed notebook, and in what is made of it: a file to read where no Python is."""

import copy
import os
import subprocess
import sys
from base64 import b64decode

import nbformat
import numpy as np
import pytest

import vitattn_widgets as va
from vitattn_widgets.viewer.capsule import make_capsule
from vitattn_widgets.viewer.settings import START

from ..lab import CHROMIUM, ROOT, execute_notebook, explorer_states, running_browser, running_lab, write_notebook
from .lab import CELL, VIEWER, cell_capture, cell_model, decoded, shown, slide, wait_for

CELLS = (
    CELL,
    "explorer.layer, explorer.head, explorer.query = 1, 2, 'mean'",
    'explorer.layer = 99\nassert "layer 99" in explorer.status\nexplorer.layer = 0',
    "explorer.static()",
)

needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here; install it with apt install chromium")


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    """The notebook after its cells were run, and its file."""
    folder = tmp_path_factory.mktemp("notebook")
    path = folder / "explore.ipynb"
    notebook = write_notebook(path, *CELLS)
    with pytest.MonkeyPatch.context() as monkeypatch:
        execute_notebook(notebook, folder, monkeypatch)
    nbformat.write(notebook, path)
    return notebook, path


def outputs(notebook):
    return [output for cell in notebook.cells for output in cell.outputs]


def test_an_executed_notebook_holds_the_picture_and_the_capsule_without_any_error(executed):
    notebook, _ = executed
    nbformat.validate(notebook)
    assert [one for one in outputs(notebook) if one.output_type == "error" or one.get("name") == "stderr"] == []
    (state,) = explorer_states(notebook)
    assert state["status"] == ""
    assert (state["layer"], state["head"], state["query"]) == (0, 2, "mean")
    assert state["_capsule"]["content"] == make_capsule(cell_model(), cell_capture(), "noise")
    (picture,) = [one.data["image/png"] for one in outputs(notebook) if "image/png" in one.get("data", {})]
    first = va.render_view(cell_capture(), START).image
    assert np.abs(decoded(b64decode(picture)).astype(int) - first).max() <= 1  # the kernel may round differently


def test_importing_the_package_loads_no_widget_library():
    heavy = ("torch", "timm", "anywidget", "ipywidgets", "matplotlib")
    code = f"import sys, vitattn_widgets; print([name for name in {heavy} if name in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT).stdout
    assert out.strip() == "[]"


def as_html(path):
    command = [sys.executable, "-m", "jupyter", "nbconvert", "--to", "html", str(path)]
    subprocess.run(command, check=True, capture_output=True, cwd=path.parent)
    return path.with_suffix(".html")


@pytest.fixture(scope="module")
def browser():
    with running_browser() as browser:
        yield browser


@pytest.fixture(scope="module")
def offline(executed, browser):
    """The notebook as HTML, opened from the disk; nothing else can be loaded."""
    html = as_html(executed[1])
    complaints = []
    page = browser.new_context(offline=True, viewport={"width": 1300, "height": 1000}).new_page()
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(html.as_uri())
    yield page
    assert [
        line for line in complaints if "require" not in line
    ] == []  # of nbconvert's own scripts, which are not here


@needs_browser
def test_a_converted_notebook_steers_from_the_disk_without_a_network(offline):
    offline.wait_for_selector(f"{VIEWER}[data-shown]")
    assert shown(offline)["query"] == "mean"
    assert slide(offline, 1, 2) == [1, 2]
    offline.locator(f"{VIEWER} input[type=file]").first.set_input_files(
        [{"name": "late.png", "mimeType": "image/png", "buffer": b"late"}]
    )
    offline.get_by_text("no kernel answers").first.wait_for()


@needs_browser
def test_the_static_explorer_steers_in_its_frame(offline):
    frame = offline.frame_locator("iframe").locator(VIEWER)
    frame.wait_for()
    drawn = frame.evaluate(
        """async (root) => {
            const until = async (layer) => {
                while (JSON.parse(root.dataset.shown ?? "{}").layer !== layer) await new Promise(requestAnimationFrame);
                return layer;
            };
            const slider = root.querySelector("input[type=range]");
            const first = await until(0);
            slider.value = 2;
            slider.dispatchEvent(new Event("input", { bubbles: true }));
            return [first, await until(2)];
        }"""
    )
    assert drawn == [0, 2]


@needs_browser
def test_a_converted_notebook_without_saved_widgets_shows_the_picture_once(executed, browser, tmp_path):
    notebook = copy.deepcopy(executed[0])
    del notebook.metadata["widgets"]
    del notebook.cells[3:]
    nbformat.write(notebook, tmp_path / "plain.ipynb")
    page = browser.new_context(offline=True).new_page()
    page.goto(as_html(tmp_path / "plain.ipynb").as_uri())
    page.wait_for_timeout(5000)
    seen = page.locator("img").evaluate_all("(images) => images.filter((one) => one.offsetWidth).map((one) => one.src)")
    assert len(seen) == 1
    assert seen[0].startswith("data:image/png")


@needs_browser
def test_a_notebook_with_saved_widgets_steers_when_it_is_opened_again(executed, browser):
    _, path = executed
    with running_lab(path.parent) as (address, token):
        page = browser.new_page(viewport={"width": 1400, "height": 1000})
        page.goto(f"{address}/lab/tree/{path.name}?token={token}&reset")
        page.locator(".jp-OutputArea img").first.wait_for(timeout=60000)  # no script runs in what nobody trusts
        page.close()
        trust = [sys.executable, "-m", "jupyter", "trust", str(path)]
        data = path.parent / ".jupyter" / "data"  # where `running_lab` has its signatures
        subprocess.run(trust, check=True, capture_output=True, env=os.environ | {"JUPYTER_DATA_DIR": str(data)})
        page = browser.new_page(viewport={"width": 1400, "height": 1000})
        page.goto(f"{address}/lab/tree/{path.name}?token={token}&reset")
        page.wait_for_selector(f"{VIEWER}[data-shown]", timeout=60000)
        wait_for(page, layer=0, head=2, query="mean")
        assert slide(page, 1, 2) == [1, 2]
