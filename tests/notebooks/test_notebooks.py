"""The notebooks: each pair is one notebook, in the form that was agreed, and runs from top to bottom, offline."""

from __future__ import annotations

import ast
import re
import shutil
from pathlib import Path
from xml.etree import ElementTree

import jupytext
import nbformat
import pandas
import pytest
from nbformat import NotebookNode

from ..hub import refusing_address
from ..lab import ROOT, execute_notebook, explorer_states

NAMES = ("imagenet", "fruitsgb", "cassava")
FOLDER = ROOT / "notebooks"

SMALL = {"MADE": "(4, 2, 2)", "EPOCHS": "1", "PHOTOS_PER_CLASS": "6", "TABLE_PHOTOS": "4"}
"""What a test run changes: these values of the parameters cell and where the data lie, and nothing else."""

MAX_LINES = 10

ATTENTION = ["mean", "max", "mean / std"]
EVERY_SOURCE = ["mean", "max", "norm, mean", "norm, max", "rollout, mean", "rollout, max"]
EVERY_SOURCE += ["gradient_late", "relevance", "contribution_sum"]


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


def read_pair(name: str) -> tuple[NotebookNode, NotebookNode]:
    return jupytext.read(FOLDER / f"{name}.py"), nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)


def code_cells(notebook: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def parameters_cell(notebook: NotebookNode) -> NotebookNode:
    (cell,) = (cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", ()))
    return cell


def parsed(cell: NotebookNode) -> ast.Module:
    return ast.parse("\n".join(line for line in cell.source.splitlines() if not line.startswith("%")))


def test_every_notebook_is_a_pair() -> None:
    found = sorted(path.name for path in FOLDER.iterdir() if path.is_file())
    assert found == sorted(f"{name}.{suffix}" for name in NAMES for suffix in ("ipynb", "py"))


def test_the_pair_is_one_notebook_cell_by_cell(name: str) -> None:
    source, notebook = read_pair(name)
    assert len(source.cells) == len(notebook.cells)
    for ours, theirs in zip(source.cells, notebook.cells, strict=True):
        assert (ours.cell_type, ours.source) == (theirs.cell_type, theirs.source)
        assert ours.metadata == theirs.metadata
    for one in (source, notebook):
        assert one.metadata.jupytext.formats == "ipynb,py:percent"
        assert one.metadata.kernelspec.name == "python3"


def test_the_notebook_is_stored_without_outputs_and_with_ids_of_its_own(name: str) -> None:
    _, notebook = read_pair(name)
    nbformat.validate(notebook)
    assert all(cell.outputs == [] and cell.execution_count is None for cell in code_cells(notebook))
    assert "widgets" not in notebook.metadata
    assert len({cell.id for cell in notebook.cells}) == len(notebook.cells)


def test_cells_are_short_define_nothing_and_look_at_no_environment(name: str) -> None:
    for cell in code_cells(read_pair(name)[1]):
        assert len(cell.source.splitlines()) <= MAX_LINES, cell.source
        assert "environ" not in cell.source
        for node in ast.walk(parsed(cell)):
            assert not isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Lambda | ast.Global), cell.source


def test_there_is_one_parameters_cell_of_plain_values_and_each_is_used(name: str) -> None:
    _, notebook = read_pair(name)
    cell = parameters_cell(notebook)
    parameters = {}
    for statement in parsed(cell).body:
        assert isinstance(statement, ast.Assign)
        parameters[statement.targets[0].id] = ast.literal_eval(statement.value)
    assert {"DATA", "CHECKPOINT", "MODEL", "EPOCHS", "SEED", "MADE"} <= set(parameters)
    below = code_cells(notebook)[code_cells(notebook).index(cell) + 1 :]
    used = {node.id for other in below for node in ast.walk(parsed(other)) if isinstance(node, ast.Name)}
    assert set(parameters) <= used
    assert all("#" in line for line in cell.source.splitlines())


def test_a_lesson_opens_and_closes_as_lessons_do(name: str) -> None:
    texts = [cell.source for cell in read_pair(name)[1].cells if cell.cell_type == "markdown"]
    for promise in ("**What you'll do.**", "**What you'll learn.**", "**What you need.**"):
        assert promise in texts[0]
    assert f"vitattn finetune {name} --data DIR --recipe paper" in "".join(texts)
    last = texts[-1]
    assert len(re.findall(r"^\*\*\d\. .+?\*\*$", last, flags=re.MULTILINE | re.DOTALL)) == 3
    assert last.count("<details><summary>") == last.count("</details>") == 3
    assert "What was in it" in last
    assert "What attention does not prove" in last


def run(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch, **parameters: str) -> NotebookNode:
    """Run a notebook after changing values in its parameters cell, the only thing that is changed."""
    monkeypatch.delenv("VITATTN_DATA", raising=False)
    _, notebook = read_pair(name)
    cell = parameters_cell(notebook)
    for parameter, value in (SMALL | parameters).items():
        cell.source, changed = re.subn(
            rf"^{parameter} = .*$", f"{parameter} = {value}", cell.source, flags=re.MULTILINE
        )
        assert changed == 1, parameter
    execute_notebook(notebook, folder, monkeypatch, timeout=400)
    return notebook


def printed(notebook: NotebookNode) -> str:
    outputs = [output for cell in code_cells(notebook) for output in cell.outputs]
    return "".join(output.text for output in outputs if output.output_type == "stream")


def tables(notebook: NotebookNode) -> list[pandas.DataFrame]:
    """The tables that a reader sees, of those with one label a row."""
    pages = [output.get("data", {}).get("text/html", "") for cell in code_cells(notebook) for output in cell.outputs]
    found = map(ElementTree.fromstring, re.findall(r"<table.*?</table>", "".join(pages), flags=re.DOTALL))
    return [read_table(table) for table in found if len(table.findall("tbody/tr[1]/th")) == 1]


def read_table(table: ElementTree.Element) -> pandas.DataFrame:
    columns = [cell.text for cell in table.find("thead/tr")][1:]
    rows = [[cell.text for cell in row] for row in table.findall("tbody/tr")]
    return (
        pandas.DataFrame([row[1:] for row in rows], [row[0] for row in rows], columns).replace("-", "nan").astype(float)
    )


def check_a_run(name: str, notebook: NotebookNode, masks: bool) -> None:
    """No error, a figure and an explorer in place, numbers in range, and baselines that are what they must be."""
    outputs = [output for cell in code_cells(notebook) for output in cell.outputs]
    assert [output for output in outputs if output.output_type == "error" or output.get("name") == "stderr"] == []
    assert sum("image/png" in output.get("data", {}) for output in outputs) >= 8
    (explorer,) = explorer_states(notebook)
    assert explorer["status"] == ""
    assert explorer["_capsule"]["content"]

    worth, *_, at_the_end = (
        table for table in tables(notebook) if "on the border" in table and "uniform" in table.index
    )
    rows, cols = map(int, re.search(r"(\d+) x (\d+) patches", printed(notebook)).groups())
    for table, maps in ((worth, ATTENTION), (at_the_end, EVERY_SOURCE)):
        check_a_table(table, maps, masks, border=1 - (rows - 2) * (cols - 2) / (rows * cols))
    check_the_check(notebook)
    differences = next(table for table in tables(notebook) if "difference" in table)
    assert (differences["low"] <= differences["difference"]).all()
    assert (differences["difference"] <= differences["high"]).all()
    by_hand = float(re.search(r"by hand and by the kit differ by at most (\S+)", printed(notebook)).group(1))
    assert by_hand < 1e-6
    by_hand = float(
        re.search(r"by hand and by the kit differ by a factor of at most (\S+)", printed(notebook)).group(1)
    )
    assert by_hand < 1e-3


def check_a_table(table: pandas.DataFrame, maps: list[str], masks: bool, border: float) -> None:
    assert list(table.index) == ["uniform", "centre blob", *maps]
    shares = ["on the mask", "pointing game", "on the mask's outline"]
    assert [column in table for column in shares] == [masks] * 3
    whole = table.drop(columns="heads agree")  # which a map without heads does not have
    assert whole.notna().all(axis=None)
    assert ((whole >= 0) & (whole <= 1)).all(axis=None)
    assert table.loc["uniform", "on the border"] == pytest.approx(border, abs=0.001)
    assert table.loc["uniform", "on flat ground"] == pytest.approx(0.25, abs=0.001)


def check_the_check(notebook: NotebookNode) -> None:
    """Two maps were put to the test, and each was given its numbers, its verdict and its four sentences."""
    areas = re.findall(r"(\w+): deletion ([\d.]+), insertion ([\d.]+)", printed(notebook))
    assert [name for name, *_ in areas] == ["contributions", "attention"]
    assert all(0 <= float(area) <= 1 for _, *both in areas for area in both)
    for words in ("Removing patches in the order", "Restoring patches in this order", "With the weights shuffled"):
        assert printed(notebook).count(f"- {words}") == 2
    assert printed(notebook).count("- Of the heads of layer") == 2
    assert len(re.findall(r"\b(better|worse) .*chance.*\.\n- Removing", printed(notebook), re.IGNORECASE)) == 2


def test_it_runs_on_the_stand_in_with_the_embedded_model_where_the_network_is_blocked(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "no weights here"))
    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.setenv("HTTPS_PROXY", refusing_address())
    notebook = run(name, tmp_path, monkeypatch)
    check_a_run(name, notebook, masks=True)
    assert "STAND-IN, pictures drawn by code" in printed(notebook)
    assert "Model: This is the embedded model, because the weights of vit_tiny_patch16_224" in printed(notebook)
    assert "huggingface.co cannot be reached" in printed(notebook)


@pytest.mark.parametrize(
    ("folder", "per_class", "line"),
    [
        pytest.param("imagenet", None, "as published; these data have too few photos", id="imagenet"),
        pytest.param("fruits", 14, "fine-tuned quickly (1 epochs, at most 6 photos per class)", id="fruitsgb"),
        pytest.param("cassava", None, "fine-tuned quickly (1 epochs, at most 6 photos per class)", id="cassava"),
    ],
)
def test_it_runs_on_real_photos_and_weights(
    folder: str, per_class: int | None, line: str, shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = shared / "data" / folder
    if per_class is not None:  # some photos of each class, to be quick
        for path in sorted(data.glob("*/")):
            (tmp_path / "photos" / path.name).mkdir(parents=True)
            for photo in sorted(path.iterdir())[:per_class]:
                shutil.copy(photo, tmp_path / "photos" / path.name)
        data = tmp_path / "photos"
    name = "fruitsgb" if folder == "fruits" else folder
    notebook = run(name, tmp_path, monkeypatch, DATA=repr(str(data)))
    check_a_run(name, notebook, masks=False)
    assert "STAND-IN" not in printed(notebook)
    assert f"photos in {data}" in printed(notebook)
    assert line in printed(notebook)
