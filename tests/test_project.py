"""The project's own files agree with each other; what the documents say is tested in tests/docs."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[1]
CONDA_NAMES = {"torch": "pytorch", "matplotlib": "matplotlib-base", "lazy-loader": "lazy_loader"}


def test_the_conda_environment_has_the_same_names_and_bounds_as_pyproject() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    expected = {f"python{project['requires-python']}", "pip"}
    for requirement in project["dependencies"]:
        name, bound = re.fullmatch(r"([\w-]+)(>=[\d.]+)", requirement).groups()
        expected.add(CONDA_NAMES.get(name, name) + bound)
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    assert environment["channels"] == ["conda-forge"]
    *packages, last = environment["dependencies"]
    assert set(packages) == expected
    assert len(packages) == len(expected)
    assert last == {"pip": ["-e ."]}


def test_importing_the_package_loads_neither_front_ends_nor_timm() -> None:
    code = "import sys, vitattn_widgets; print([m for m in sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    for name in ("gradio", "matplotlib.pyplot", "timm", "torch", "ipywidgets"):
        assert f"'{name}'" not in loaded


def test_drawing_a_map_loads_neither_gradio_nor_pyplot() -> None:
    code = """
import sys, numpy as np, timm, vitattn_widgets as va
model = va.load_model(timm.models.VisionTransformer(img_size=32, patch_size=8, embed_dim=12, depth=1, num_heads=2))
va.render_view(va.capture_attention(model, np.zeros((40, 40, 3), np.uint8)))
print([m for m in sys.modules])
"""
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "'matplotlib.colors'" in loaded
    for name in ("gradio", "matplotlib.pyplot"):
        assert f"'{name}'" not in loaded


def test_no_machine_path_or_registry_is_written_anywhere() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git checkout")
    for name in listed.stdout.split():
        if Path(name).suffix in {".py", ".md", ".toml", ".yml", ".js", ".css", ""}:
            text = (ROOT / name).read_text(encoding="utf-8")
            assert "/wo" + "rk/" not in text, name
