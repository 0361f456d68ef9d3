"""Starting and stopping the server, and who may use it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import httpx
import pytest

import vitattn_widgets as va
from vitattn_widgets.demo.server import ServerOptions, _start, read_auth

from ..lab import ROOT
from .lab import free_port


def test_users_come_from_the_command_line_a_file_and_the_environment(tmp_path: Path) -> None:
    file = tmp_path / "users"
    file.write_text("# a comment\nanna:a:b\n\nben:c\n")
    wanted = (("class", "x"), ("anna", "a:b"), ("ben", "c"), ("eve", "y"))
    assert read_auth(["class:x"], file, {"VITATTN_AUTH": "eve:y"}) == wanted
    assert read_auth(environment={}) == ()
    for bad in ("class", ":secret", "class:"):
        with pytest.raises(va.errors.SettingsError, match="must be USER:PASSWORD") as caught:
            read_auth([bad], environment={})
        assert "secret" not in str(caught.value)
    with pytest.raises(va.errors.SettingsError, match="cannot be read"):
        read_auth([], tmp_path / "missing", {})
    file.write_text("# nobody\n")
    with pytest.raises(va.errors.SettingsError, match="names no user"):
        read_auth([], file, {})


def test_a_port_that_does_not_exist_is_one_line(wide_model: va.models.AttentionModel) -> None:
    page = va.build_demo(wide_model)
    try:
        with pytest.raises(
            va.errors.SettingsError, match=r"port 99999999: .* outside 0\.\.65535; choose another --port"
        ):
            _start(page, ServerOptions(port=99999999))
    finally:
        page.close(verbose=False)


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_the_command_serves_without_a_share_link_and_ends_cleanly(tmp_path: Path, stop: signal.Signals) -> None:
    import timm
    import torch
    from safetensors.torch import save_file

    torch.manual_seed(0)
    weights = tmp_path / "tiny.safetensors"
    save_file(timm.create_model("vit_tiny_patch16_224", num_classes=4).state_dict(), weights)
    port, temporary = free_port(), tmp_path / "tmp"
    temporary.mkdir()
    command = [sys.executable, "-m", "vitattn_widgets", "demo", "--port", str(port), "--share"]
    command += ["--model", "vit_tiny_patch16_224", "--checkpoint", str(weights)]
    environment = os.environ | {
        "TMPDIR": str(temporary),
        "HF_HOME": str(tmp_path / "hf"),  # where Gradio would install the tunnel's program; it is empty
        "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
        "VITATTN_AUTH": "class:secret",
        "https_proxy": "http://127.0.0.1:9",  # no tunnel, wherever this test runs
        "no_proxy": "127.0.0.1,localhost",
    }
    with (tmp_path / "log").open("w") as log:
        # a shell makes background jobs ignore Ctrl-C, which the processes of such a test run would inherit
        heard = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
        server = subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT, preexec_fn=heard)
    try:
        deadline = time.monotonic() + 60
        while "No share link" not in (tmp_path / "log").read_text() and time.monotonic() < deadline:
            time.sleep(0.2)
        assert httpx.get(f"http://127.0.0.1:{port}/config").status_code == 401
        server.send_signal(stop)
        assert server.wait(60) == 130
    finally:
        server.kill()
        server.wait()
    said = (tmp_path / "log").read_text()
    assert f"The page runs on http://127.0.0.1:{port}/" in said
    assert "start it with --host 0.0.0.0" in said
    assert said.splitlines()[-1] == "vitattn: stopped"
    assert "Traceback" not in said
    assert "secret" not in said
    assert [path.name for path in temporary.iterdir() if path.name.startswith("vitattn")] == []
