"""A cell that runs again frees the explorers of its last run: what stays in memory does not grow."""

import gc
import weakref
from types import SimpleNamespace

import IPython
import pytest
from ipywidgets.widgets import widget as widgets

import vitattn_widgets as va
from vitattn_widgets.explorer import cells

from .lab import photo, small_model


@pytest.fixture
def run_cell(monkeypatch):
    """Run a function as the cell of an id, each time by another message."""
    monkeypatch.setattr(cells, "_made", {})
    runs = []

    def run(cell, make):
        runs.append(cell)
        parent = {"header": {"msg_id": f"message {len(runs)}"}, "metadata": {"cellId": cell} if cell else {}}
        monkeypatch.setattr(IPython, "get_ipython", lambda: SimpleNamespace(get_parent=lambda: parent))
        return make()

    return run


@pytest.fixture(scope="module")
def model():
    return small_model()


def test_running_a_cell_again_closes_what_it_made_before(run_cell, model):
    def make():
        return va.AttentionExplorer(model, photo(1))

    other = run_cell("b", make)
    first = run_cell("a", make)
    second = run_cell("a", make)
    assert first.capture is None
    assert second.capture is not None
    assert other.capture is not None


def test_two_explorers_of_one_run_do_not_close_each_other(run_cell, model):
    def make_two():
        return va.AttentionExplorer(model, photo(1)), va.AttentionExplorer(model, photo(2))

    before = run_cell("a", make_two)
    after = run_cell("a", make_two)
    assert [explorer.capture for explorer in before] == [None, None]
    assert None not in [explorer.capture for explorer in after]


@pytest.mark.parametrize("cell", ["", None])
def test_without_an_id_nothing_is_closed(run_cell, model, cell):
    explorers = [run_cell(cell, lambda: va.AttentionExplorer(model, photo(1))) for _ in range(2)]
    assert None not in [explorer.capture for explorer in explorers]


def test_outside_a_notebook_there_is_no_cell(monkeypatch):
    monkeypatch.setattr(IPython, "get_ipython", lambda: None)
    assert cells.running_cell() == ("", "")


def test_running_a_cell_ten_times_keeps_one_explorer_and_one_capture(run_cell, model):
    captures = []

    def make():
        explorer = va.AttentionExplorer(model, photo(1))
        explorer.compare(layers=[0, 1])
        captures.append(weakref.ref(explorer.capture))

    before = len(widgets._instances)
    for _ in range(10):
        run_cell("a", make)
    gc.collect()
    assert len(widgets._instances) == before + 2  # the explorer and its layout
    assert [reference() is not None for reference in captures] == [False] * 9 + [True]
    assert {cell: len(made) for cell, (_, made) in cells._made.items()} == {"a": 1}
