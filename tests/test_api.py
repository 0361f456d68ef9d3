"""The public names: which there are, that each can be imported, and that none loads more than it needs."""

from __future__ import annotations

import importlib
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from types import ModuleType

import pytest

import vitattn_widgets as va

FLAT = {
    *("AGGREGATIONS", "AttentionExplorer", "Panel", "SOURCES", "ViewSettings", "VitattnError"),
    *("aggregate_heads", "build_demo", "capture_attention", "capture_rows", "check_map", "compare_views"),
    *("complete_capture", "difference_view", "evaluate_maps", "export_page", "find_sinks", "finetune", "from_recipe"),
    *("lesson_model", "load_dataset", "load_model", "load_picture", "overlay", "render_view", "render_views"),
    *("smooth_map", "sweep"),
}
"""What ``import vitattn_widgets as va`` offers by itself; everything else is in a named module."""

PACKAGES = {
    *("capture", "comparison", "datasets", "demo", "evaluation", "explorer", "export", "figures", "maps", "models"),
    *("sweeps", "training", "view", "viewer"),
}
MODULES = {"errors", "files", "images"}


def test_the_flat_names_are_these() -> None:
    assert set(va.__all__) == FLAT | PACKAGES | MODULES


@pytest.mark.parametrize("name", sorted(FLAT))
def test_every_flat_name_can_be_imported_and_has_a_docstring(name: str) -> None:
    value = getattr(va, name)
    assert isinstance(value, tuple) or (callable(value) and value.__doc__)


@pytest.mark.parametrize("name", sorted(PACKAGES))
def test_every_name_of_a_package_is_defined_in_one_of_its_modules(name: str) -> None:
    package = getattr(va, name)
    assert isinstance(package, ModuleType)
    assert package.__doc__
    assert package.__all__
    for public in package.__all__:
        home = getattr(getattr(package, public), "__module__", f"{package.__name__}.")
        assert f"{home}.".startswith(f"{package.__name__}.") or home in ("builtins", "types", "typing"), public


@pytest.mark.parametrize("name", sorted(PACKAGES))
def test_importing_a_package_loads_nothing_heavy(name: str) -> None:
    heavy = ("gradio", "torch", "timm", "anywidget", "pandas", "matplotlib")
    code = f"import sys, vitattn_widgets.{name}; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_default_model_s_name_loads_neither_timm_nor_torch() -> None:
    code = "import sys; from vitattn_widgets.models import DEFAULT_MODEL; print({'timm', 'torch'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_no_package_is_hidden_by_a_function_of_its_name() -> None:
    for name in PACKAGES:
        for public in importlib.import_module(f"vitattn_widgets.{name}").__all__:
            assert public not in PACKAGES | MODULES, f"{name}.{public}"


def test_the_version_is_one_number_in_one_place() -> None:
    assert version("vitattn_widgets") == va.__version__
    root = Path(va.__file__).parents[1]
    for name in ("pyproject.toml", "CITATION.cff", "environment.yml"):
        if (root / name).is_file():
            assert va.__version__ not in (root / name).read_text(encoding="utf-8").split(), name
