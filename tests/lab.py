"""A real JupyterLab in a real browser, both local: started for a test or a benchmark and gone with it."""

import base64
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import nbformat
from nbclient import NotebookClient

STATE = "application/vnd.jupyter.widget-state+json"
VIEW = "application/vnd.jupyter.widget-view+json"

ROOT = Path(__file__).resolve().parents[1]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
CHROMIUM_SWITCHES = (
    "--no-sandbox",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
HOST = "127.0.0.1"


def write_notebook(path, *sources):
    """A notebook of code cells."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in sources])
    notebook.metadata.kernelspec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(notebook, path)
    return notebook


def execute_notebook(notebook, folder, monkeypatch, timeout=120):
    """Run a notebook's cells in place, with this checkout's package, in ``folder``; an error in a cell is raised."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("IPYTHONDIR", str(folder / "ipython"))
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(folder / "runtime"))
    NotebookClient(notebook, timeout=timeout, kernel_name="python3", resources={"metadata": {"path": folder}}).execute()


def explorer_states(notebook):
    """The traits of each explorer shown, as a browser has them, with their binary parts in place."""
    shown = [output.get("data", {}).get(VIEW) for cell in notebook.cells for output in cell.get("outputs", ())]
    saved = [notebook.metadata.widgets[STATE]["state"][view["model_id"]] for view in shown if view]
    explorers = [widget for widget in saved if widget["model_module"] == "anywidget"]
    for widget in explorers:
        for buffer in widget.get("buffers", ()):
            place = widget["state"]
            for step in buffer["path"][:-1]:
                place = place[step]
            place[buffer["path"][-1]] = base64.b64decode(buffer["data"])
    return [widget["state"] for widget in explorers]


@contextmanager
def running_lab(folder, theme="JupyterLab Light", **environment):
    """JupyterLab on a free port, with its settings and state in ``folder``; gives ``(address, token)``."""
    own = folder / ".jupyter"
    settings = own / "settings" / "@jupyterlab" / "apputils-extension"
    settings.mkdir(parents=True)
    quiet = {"fetchNews": "false", "checkForUpdates": False, "doNotDisturbMode": True}
    (settings / "notification.jupyterlab-settings").write_text(json.dumps(quiet))
    (settings / "themes.jupyterlab-settings").write_text(json.dumps({"theme": theme}))
    places = {
        "JUPYTER_CONFIG_DIR": "config",
        "JUPYTER_DATA_DIR": "data",
        "JUPYTER_RUNTIME_DIR": "runtime",
        "IPYTHONDIR": "ipython",
        "JUPYTERLAB_SETTINGS_DIR": "settings",
        "JUPYTERLAB_WORKSPACES_DIR": "workspaces",
    }
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port = probe.getsockname()[1]
    token = secrets.token_hex(16)
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", f"--ServerApp.ip={HOST}"]
    command += [f"--ServerApp.port={port}", "--ServerApp.port_retries=0", f"--ServerApp.root_dir={folder}"]
    everything = os.environ | {name: str(own / place) for name, place in places.items()} | environment
    everything |= {"JUPYTER_TOKEN": token, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    with (own / "log.txt").open("w") as log:
        server = subprocess.Popen(command, env=everything, stdout=log, stderr=subprocess.STDOUT)
    try:
        address = f"http://{HOST}:{port}"
        _wait_for(f"{address}/api/status?token={token}", server, own / "log.txt")
        yield address, token
    finally:
        end(server)


def end(server):
    """Let a started process end, or end it."""
    server.terminate()
    try:
        server.wait(20)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()


def _wait_for(address, server, log, seconds=60):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and server.poll() is None:
        if _answers(address):
            return
        time.sleep(0.1)
    raise RuntimeError(f"JupyterLab did not start:\n{log.read_text()[-3000:]}")


def _answers(address):
    try:
        with urllib.request.urlopen(address, timeout=5):
            return True
    except OSError:
        return False


@contextmanager
def running_browser(*switches):
    """Headless Chromium."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=[*CHROMIUM_SWITCHES, *switches])
        try:
            yield browser
        finally:
            browser.close()


def open_and_run(page, address, token, notebook, wait_for):
    """Open a notebook with one cell in JupyterLab, run it, and wait until a selector appears."""
    page.goto(f"{address}/lab/tree/{notebook}?token={token}&reset")
    page.wait_for_selector("text=/[|] Idle$/", timeout=60000)  # the status bar's word on the kernel
    prompt = page.locator(".jp-NotebookPanel .jp-CodeCell .jp-InputPrompt").first
    for _ in range(20):  # a kernel that says idle may still drop what it is asked right then
        page.click(".jp-NotebookPanel .jp-CodeCell .cm-content")
        page.keyboard.press("Shift+Enter")
        page.wait_for_timeout(500)
        if prompt.inner_text() != "[ ]:":
            break
    try:
        page.wait_for_selector(wait_for, timeout=60000)
    except Exception as error:
        raise RuntimeError(f"no {wait_for} in:\n{page.locator('.jp-NotebookPanel').inner_text()}") from error


def canvas_pixels(page, selector):
    """What a canvas shows, as nested lists of red, green and blue."""
    import numpy as np

    size, data = page.evaluate(
        """(selector) => {
            const canvas = document.querySelector(selector);
            const image = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
            return [[canvas.height, canvas.width], Array.from(image.data)];
        }""",
        selector,
    )
    return np.array(data, np.uint8).reshape(*size, 4)[:, :, :3]
