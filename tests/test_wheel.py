"""The built wheel, installed away from the source tree: what it needs at run time travels with it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

OPEN_EVERYTHING = """
import json, socket, urllib.request
from importlib.resources import files

import vitattn_widgets as va

explorer = va.AttentionExplorer("demo", SAMPLE)
with socket.socket() as probe:
    probe.bind(("127.0.0.1", 0))
    port = probe.getsockname()[1]
page = va.build_demo("demo")
_, address, _ = page.launch(server_name="127.0.0.1", server_port=port, prevent_thread_lock=True, quiet=True)
with urllib.request.urlopen(address) as answer:
    html = answer.read().decode()
page.close(verbose=False)
model = va.load_model("demo")
print(json.dumps({
    "package": va.__file__,
    "status": explorer.status,
    "script": explorer._esm,
    "style": explorer._css,
    "page": html,
    "samples": list(page.service.samples),
    "export": len(va.export.make_page(model, va.capture_attention(model, SAMPLE)).content),
    "sheet": (files("vitattn_widgets.sweeps.report") / "page.css").read_text(),
}))
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The scripts of a fresh environment with the wheel; its dependencies are those of the running one."""
    environment = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(environment)], check=True)
    python = environment / "bin" / "python"
    places = 'import sysconfig; print(sysconfig.get_path("purelib"))'
    packages = Path(subprocess.run([python, "-c", places], check=True, capture_output=True, text=True).stdout.strip())
    # a folder that a .pth file adds brings its packages, but not its own .pth files, and so no editable install
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--no-index", "--no-deps", str(wheel)]
    subprocess.run(pip, check=True, capture_output=True)
    return environment / "bin"


def run(*command: str | Path, folder: Path) -> str:
    """What a command prints, away from the source tree and without a network."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment |= {"HF_HUB_OFFLINE": "1", "GRADIO_TEMP_DIR": str(folder / "gradio")}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_wheel_brings_its_types_and_no_tests(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {"vitattn_widgets/py.typed", "vitattn_widgets/__init__.pyi"} <= names
    assert {name.split("/")[0].split("-")[0] for name in names} == {"vitattn_widgets"}
    tracked = subprocess.run(["git", "ls-files", "vitattn_widgets"], cwd=ROOT, capture_output=True, text=True)
    if tracked.returncode == 0:
        assert set(tracked.stdout.split()) <= names


def test_the_installed_command_maps_a_sample_with_the_embedded_model(installed: Path, tmp_path: Path) -> None:
    sample = ROOT / "vitattn_widgets" / "samples" / "coffee.jpg"
    printed = run(installed / "vitattn", "map", sample, "--model", "demo", "-o", "map.png", folder=tmp_path)
    assert "demo" in printed
    assert (tmp_path / "map.png").stat().st_size > 1000


def test_the_installed_package_shows_the_explorer_and_opens_the_page(installed: Path, tmp_path: Path) -> None:
    sample = ROOT / "vitattn_widgets" / "samples" / "coffee.jpg"
    code = OPEN_EVERYTHING.replace("SAMPLE", repr(str(sample)))
    found = json.loads(run(installed / "python", "-c", code, folder=tmp_path).splitlines()[-1])
    assert Path(found["package"]).is_relative_to(installed.parent)
    assert found["status"] == ""
    assert "export default" in found["script"]
    assert ".va-" in found["style"]
    assert "What a Vision Transformer attends to" in found["page"]
    assert len(found["samples"]) >= 2
    assert found["export"] > 10_000
    assert "{" in found["sheet"]
