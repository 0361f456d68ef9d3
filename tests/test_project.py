"""The project's own files: they agree with each other, and what the README says can be run."""

from __future__ import annotations

import itertools
import re
import shlex
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import vitattn_widgets as va
from vitattn_widgets import cli

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
CONDA_NAMES = {"torch": "pytorch", "matplotlib": "matplotlib-base", "lazy-loader": "lazy_loader"}


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, flags=re.DOTALL | re.MULTILINE)


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


def test_every_public_name_can_be_imported_and_has_a_docstring() -> None:
    for name in va.__all__:
        value = getattr(va, name)
        assert isinstance(value, tuple | dict) or (callable(value) and value.__doc__), name


def test_ci_runs_the_readmes_test_command() -> None:
    command = 'pip install -e ".[test]" && pytest'
    assert f"\n{command}\n" in README
    assert command in (ROOT / ".ci" / "run").read_text()


def test_every_command_of_the_readme_runs(shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [line for block in blocks("sh") for line in block.splitlines()]
    commands = [line.partition("&& ")[2] or line for line in lines if "vitattn " in line]
    commands.remove("vitattn demo")  # runs until it is stopped; the snippet that calls it is run below
    assert len(commands) >= 3
    (tmp_path / "vitattn_widgets").symlink_to(ROOT / "vitattn_widgets")
    (tmp_path / ".readme").mkdir()
    monkeypatch.chdir(tmp_path)
    for command in commands:
        program, *arguments = shlex.split(command, comments=True)
        assert program == "vitattn"
        assert cli.main(arguments) == 0
        outputs = [Path(value) for option, value in itertools.pairwise(arguments) if option == "-o"]
        files = [file for output in outputs for file in ([output] if output.is_file() else output.iterdir())]
        assert files
        assert max(file.stat().st_size for file in files) > 1000


def test_every_python_snippet_of_the_readme_runs(shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    snippets = blocks("python")
    assert snippets
    (tmp_path / "vitattn_widgets").symlink_to(ROOT / "vitattn_widgets")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "gradio"))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    page = va.build_demo()
    page.launch(server_name="127.0.0.1", server_port=port, prevent_thread_lock=True, quiet=True)
    namespace: dict[str, object] = {}
    try:
        for snippet in snippets:
            exec(compile(snippet.replace(":7860", f":{port}"), "README.md", "exec"), namespace)
    finally:
        page.close(verbose=False)
    explorer = namespace["explorer"]
    assert explorer.status == ""
    assert explorer.capture is not None
    assert "head 2 of 0..2, query: patch at row 5, col 8" in namespace["caption"]


def test_every_picture_and_link_of_the_readme_exists() -> None:
    targets = re.findall(r"\]\(([^)#]+)\)", README) + re.findall(r'src="([^"]+)"', README)
    assert targets
    for target in targets:
        assert target.startswith("https://doi.org/") or (ROOT / target).exists(), target


def test_no_machine_path_or_registry_is_written_anywhere() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git checkout")
    for name in listed.stdout.split():
        if Path(name).suffix in {".py", ".md", ".toml", ".yml", ".js", ".css", ""}:
            text = (ROOT / name).read_text(encoding="utf-8")
            assert "/wo" + "rk/" not in text, name
