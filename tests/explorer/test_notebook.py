"""The explorer in an executed notebook: no output has an error, and the widget's state holds the right picture."""

import io
import subprocess
import sys

import nbformat
import numpy as np
from PIL import Image

import vitattn_widgets as va
from vitattn_widgets.explorer import widget
from vitattn_widgets.viewer import assets

from ..lab import ROOT, execute_notebook, explorer_states, write_notebook
from .lab import CELL, cell_capture

CELLS = (
    CELL,
    "explorer.layer, explorer.head, explorer.query = 1, 2, (3, 5)",
    'explorer.layer = 99\nassert "layer 99" in explorer.status\nexplorer.layer = 0',
)


def test_an_executed_notebook_shows_the_picture_without_any_error(tmp_path, monkeypatch):
    notebook = write_notebook(tmp_path / "explore.ipynb", *CELLS)
    execute_notebook(notebook, tmp_path, monkeypatch)
    outputs = [output for cell in notebook.cells for output in cell.outputs]
    assert [output for output in outputs if output.output_type == "error" or output.get("name") == "stderr"] == []

    (state,) = explorer_states(notebook)
    assert state["status"] == ""
    assert (state["layer"], state["head"], state["query"]) == (0, 2, [3, 5])
    wanted = va.render_view(cell_capture(), va.ViewSettings(layer=0, head=2, query=(3, 5)))
    image = np.array(Image.open(io.BytesIO(state["_shown"]["image"])).convert("RGB"))
    assert np.abs(image.astype(int) - wanted.image).max() <= 1
    assert state["_shown"]["caption"] == wanted.caption
    nbformat.validate(notebook)


def test_importing_the_package_loads_no_widget_library():
    heavy = ("torch", "timm", "anywidget", "ipywidgets", "matplotlib")
    code = f"import sys, vitattn_widgets; print([name for name in {heavy} if name in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT).stdout
    assert out.strip() == "[]"


def test_every_sheet_and_script_of_the_page_is_sent():
    explorer = va.AttentionExplorer("demo")
    sent = explorer._esm + explorer._css
    files = [*assets.SHARED.iterdir(), *widget.STATIC.iterdir()]
    assert {path.suffix for path in files} == {".js", ".css"}
    assert len(files) > 10
    assert [path.name for path in files if path.read_text(encoding="utf-8") not in sent] == []
    assert sent.count("export ") == 1
    explorer.close()
