"""Starting and stopping the server, and who may use it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import httpx
import pytest

import vitattn_widgets as va
from vitattn_widgets.demo.server import ServerOptions, _start, is_desktop, read_auth

from ..lab import ROOT
from .commands import running_command, start
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


def test_a_service_managers_stop_removes_the_files_too(tmp_path: Path) -> None:
    with running_command(tmp_path) as server:
        folder = tmp_path / "tmp"
        assert [path.name for path in folder.iterdir() if path.name.startswith("vitattn")]
        server.send_signal(signal.SIGTERM)
        assert server.wait(60) == 130
    assert server.log.read_text().splitlines()[-1] == "vitattn: stopped"
    assert "Traceback" not in server.log.read_text()
    assert [path.name for path in folder.iterdir() if path.name.startswith("vitattn")] == []


def test_the_command_serves_without_a_share_link_and_ends_cleanly(tmp_path: Path) -> None:
    import timm
    import torch
    from safetensors.torch import save_file

    torch.manual_seed(0)
    weights = tmp_path / "tiny.safetensors"
    save_file(timm.create_model("test_vit", num_classes=4).state_dict(), weights)
    port, temporary = free_port(), tmp_path / "tmp"
    temporary.mkdir()
    command = [sys.executable, "-m", "vitattn_widgets", "demo", "--port", str(port), "--share"]
    command += ["--model", "test_vit", "--checkpoint", str(weights)]
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
        server.send_signal(signal.SIGINT)
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


def command(*options: str, **environment: str) -> tuple[int, str, float]:
    """Run ``vitattn demo`` to its end; gives its status, what it said and the seconds until then."""
    start = time.monotonic()
    environment = os.environ | {"PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"} | environment
    done = subprocess.run(
        [sys.executable, "-m", "vitattn_widgets", "demo", *options], env=environment, capture_output=True, text=True,
        timeout=120,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr, time.monotonic() - start


def test_what_cannot_work_is_one_line_before_any_model_loads(tmp_path: Path) -> None:
    (tmp_path / "users").write_text("nobody")
    (tmp_path / "file").write_text("")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        for options, environment, words in (
            (["--port", port], {}, f"cannot listen on 127.0.0.1, port {port}: taken"),
            (["--port", "80000"], {}, "must be a whole number from 0 to 65535, got '80000'"),
            (["--host", "no.such.host.invalid"], {}, "cannot listen on no.such.host.invalid"),
            (["--auth-file", str(tmp_path / "users")], {}, "users: must be USER:PASSWORD"),
            (["--auth-file", str(tmp_path / "missing")], {}, "cannot be read"),
            ([], {"TMPDIR": str(tmp_path / "file")}, "is no folder that can be written"),
            ([], {"TMPDIR": str(tmp_path / "missing")}, "is no folder that can be written"),
            (["--mcp", "--auth", "a:b"], {}, "--mcp cannot be behind a login"),
            (["--frame-ancestors", "example.org/page"], {}, "is no origin that could show the page in a frame"),
        ):
            status, said, seconds = command("--model", "demo", "--port", "0", *options, **environment)
            assert status == 2, options
            assert words in said
            assert "Loading" not in said
            assert "Traceback" not in said
            assert said.count("error:") == 1
            assert seconds < 10  # on a busy computer; 0.5 on an idle one


def test_without_any_model_the_command_ends_with_the_reason(tmp_path: Path) -> None:
    ended = start(tmp_path, "--model", "vit_nope")
    assert ended.wait(60) == 2
    lines = ended.log.read_text().splitlines()
    assert lines[0] == "Loading ..."
    assert lines[1] == "vitattn: loading vit_nope (1 of 1)"
    assert lines[2].startswith("vitattn: error: vit_nope is not available: timm has no model 'vit_nope'")
    assert len(lines) == 3


def test_a_browser_opens_on_a_desktop_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    assert is_desktop({"DISPLAY": ":0"})
    assert is_desktop({"WAYLAND_DISPLAY": "wayland-0"})
    assert not is_desktop({})
    assert not is_desktop({"DISPLAY": "localhost:10.0", "SSH_CONNECTION": "x"})
    monkeypatch.setattr(sys, "platform", "darwin")
    assert is_desktop({})
    monkeypatch.setattr(sys.stdout, "isatty", lambda: False, raising=False)
    assert not is_desktop({})
