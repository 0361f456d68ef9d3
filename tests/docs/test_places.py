"""docs/places.md: each file and cell is run where it can be, and held to what it says of the kit."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import types
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from timm.models import get_pretrained_cfg

import vitattn_widgets as va
from vitattn_widgets import cli
from vitattn_widgets.models import DEFAULT_MODEL

from ..lab import HOST, ROOT, end
from .test_docs import blocks

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PLACES = ROOT / "docs" / "places.md"
EXAMPLES = ROOT / "examples"
SPACE = EXAMPLES / "space"
TITLE = "What a Vision Transformer attends to"
PATIENCE = 120


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def serving(command: list[str], address: str, folder: Path, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """A server in a process of its own, once an address answers."""
    log = folder / "log.txt"
    everything = os.environ | {"GRADIO_TEMP_DIR": str(folder / "gradio")} | environment
    with log.open("wb") as file:
        server = subprocess.Popen(command, env=everything, cwd=folder, stdout=file, stderr=subprocess.STDOUT)
    try:
        deadline = time.monotonic() + PATIENCE
        while not answers(address):
            if server.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{command} does not serve {address}:\n{log.read_text()[-3000:]}")
            time.sleep(0.2)
        yield server
    finally:
        end(server)


def answers(address: str) -> bool:
    try:
        read(address)
    except OSError:
        return False
    return True


def read(address: str) -> str:
    with urllib.request.urlopen(address, timeout=PATIENCE) as answer:
        return str(answer.read().decode())


# --- a Hugging Face Space ---


@pytest.fixture(scope="module")
def settings() -> dict[str, object]:
    """The settings of the Space: the YAML block at the top of its README."""
    _, header, _ = (SPACE / "README.md").read_text(encoding="utf-8").split("---\n", 2)
    found: dict[str, object] = yaml.safe_load(header)
    return found


def test_a_space_is_three_files_and_serves_the_page(tmp_path: Path, settings: dict[str, object]) -> None:
    assert sorted(file.name for file in SPACE.iterdir()) == ["README.md", "app.py", "requirements.txt"]
    shutil.copytree(SPACE, tmp_path / "space")
    (tmp_path / "space" / "vitattn_widgets").symlink_to(ROOT / "vitattn_widgets")
    port = free_port()
    command = [sys.executable, str(tmp_path / "space" / str(settings["app_file"])), "--host", HOST, "--port", str(port)]
    with serving(command, f"http://{HOST}:{port}/", tmp_path, PYTHONPATH="") as server:
        assert TITLE in read(f"http://{HOST}:{port}/")
        server.send_signal(signal.SIGTERM)
        assert server.wait(30) == 130
    assert "Traceback" not in (tmp_path / "log.txt").read_text()


def test_a_space_listens_on_the_port_that_it_must(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[str]] = []
    monkeypatch.setattr(cli, "main", lambda arguments: asked.append(arguments) or 0)
    monkeypatch.setattr(sys, "argv", ["app.py"])
    code = compile((SPACE / "app.py").read_text(encoding="utf-8"), "app.py", "exec")
    with pytest.raises(SystemExit):
        exec(code, {"__name__": "__main__"})
    options = cli._parser().parse_args(asked[0])
    assert (options.host, options.port) == ("0.0.0.0", 7860)


def test_a_space_has_the_requirements_of_the_kit_and_a_gradio_that_meets_them(settings: dict[str, object]) -> None:
    from packaging.requirements import Requirement

    lines = (SPACE / "requirements.txt").read_text(encoding="utf-8").splitlines()
    assert lines == tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    (gradio,) = (Requirement(line) for line in lines if line.startswith("gradio"))
    assert settings["sdk"] == "gradio"
    assert gradio.specifier.contains(str(settings["sdk_version"]))
    assert len(str(settings["short_description"])) <= 60


def test_a_space_is_built_with_the_weights_of_the_default_model(settings: dict[str, object]) -> None:
    assert settings["preload_from_hub"] == [f"{get_pretrained_cfg(DEFAULT_MODEL).hf_hub_id} model.safetensors"]


# --- Binder ---


def test_binder_finds_the_environment_and_the_notebook_that_its_link_names() -> None:
    assert not any((ROOT / name).exists() for name in ("binder", ".binder"))  # either would hide environment.yml
    (link,) = (line.strip() for line in "".join(blocks(PLACES, "text")).splitlines() if "mybinder" in line)
    assert (ROOT / link.partition("lab/tree/")[2]).is_file()


# --- Colab ---


def test_the_cell_for_colab_shows_the_explorer(monkeypatch: pytest.MonkeyPatch) -> None:
    (cell,) = blocks(PLACES, "ipython")
    install, _, code = cell.partition("\n")
    assert install.split()[:2] == ["%pip", "install"]
    assert install.endswith(f" vitattn_widgets-{va.__version__}-py3-none-any.whl")
    enabled: list[bool] = []
    output = types.SimpleNamespace(enable_custom_widget_manager=lambda: enabled.append(True))
    monkeypatch.setitem(sys.modules, "google.colab", types.SimpleNamespace(output=output))
    *statements, last = code.strip().splitlines()
    names: dict[str, object] = {}
    exec("\n".join(statements), names)
    explorer = eval(last, names)
    assert enabled == [True]
    assert isinstance(explorer, va.AttentionExplorer)
    assert explorer.status == ""


# --- JupyterHub ---


def server_config() -> dict[str, dict[str, object]]:
    """What the file sets for jupyter-server-proxy."""
    config = types.SimpleNamespace(ServerProxy=types.SimpleNamespace())
    code = (EXAMPLES / "jupyter_server_config.py").read_text(encoding="utf-8")
    exec(compile(code, "jupyter_server_config.py", "exec"), {"get_config": lambda: config})
    servers: dict[str, dict[str, object]] = config.ServerProxy.servers
    return servers


def test_the_tile_starts_the_page_below_the_users_address() -> None:
    ((name, server),) = server_config().items()
    program, *arguments = [str(part).format(port=8123, base_url="/user/ada/") for part in server["command"]]
    options = cli._parser().parse_args(arguments)
    assert program == "vitattn"
    assert (options.port, options.root_path, options.no_browser) == (8123, f"/user/ada/{name}", True)
    assert "/user/NAME/vitattn/" in PLACES.read_text(encoding="utf-8")


@pytest.mark.skipif(importlib.util.find_spec("jupyter_server_proxy") is None, reason="needs jupyter-server-proxy")
def test_the_page_opens_through_the_users_server(tmp_path: Path) -> None:
    (tmp_path / "config").mkdir()
    shutil.copy(EXAMPLES / "jupyter_server_config.py", tmp_path / "config")
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "vitattn"  # this checkout's, whatever is installed
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m vitattn_widgets "$@"\n')
    program.chmod(0o755)
    port = free_port()
    command = [sys.executable, "-m", "jupyter_server", "--no-browser", "--allow-root", f"--ServerApp.ip={HOST}"]
    command += [f"--ServerApp.port={port}", "--ServerApp.base_url=/user/ada/", f"--ServerApp.root_dir={tmp_path}"]
    command += ["--ServerApp.jpserver_extensions={'jupyter_server_proxy': True}"]
    base = f"http://{HOST}:{port}/user/ada"
    environment = {
        "PATH": os.pathsep.join([str(tmp_path / "bin"), os.environ["PATH"]]),
        "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
        "JUPYTER_CONFIG_DIR": str(tmp_path / "config"),
        "JUPYTER_DATA_DIR": str(tmp_path / "data"),
        "JUPYTER_RUNTIME_DIR": str(tmp_path / "runtime"),
        "JUPYTER_TOKEN": "token",
    }
    with serving(command, f"{base}/api/status?token=token", tmp_path, **environment):
        page = read(f"{base}/vitattn/?token=token")
        assert TITLE in page
        root = re.search(r'"root":\s*"([^"]+)"', page)
        assert root
        assert root[1] == f"{base}/vitattn"
        assert TITLE not in read(f"{base}/vitattn/")  # but Jupyter's login


# --- marimo ---


def test_the_marimo_app_is_python_whose_cell_shows_an_explorer() -> None:
    code = (EXAMPLES / "marimo_app.py").read_text(encoding="utf-8")
    compile(code, "marimo_app.py", "exec")
    assert "va.AttentionExplorer()" in code


@pytest.mark.skipif(importlib.util.find_spec("marimo") is None, reason="needs marimo")
def test_the_marimo_app_shows_the_explorer(tmp_path: Path) -> None:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    out = tmp_path / "app.ipynb"
    command = [sys.executable, "-m", "marimo", "export", "ipynb", "--include-outputs", "-o", str(out)]
    done = subprocess.run(
        [*command, str(EXAMPLES / "marimo_app.py")], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    outputs = [output for cell in json.loads(out.read_text())["cells"] for output in cell.get("outputs", ())]
    assert "anywidget" in json.dumps(outputs)
