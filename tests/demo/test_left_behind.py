"""What a server leaves on the disk and in its log: after a kill, after uploads and visits that were broken off."""

from __future__ import annotations

import asyncio
import io
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
from PIL import Image

import vitattn_widgets as va
from vitattn_widgets.demo.folders import OwnFolder, drop_older
from vitattn_widgets.demo.quota import Limits, Quota
from vitattn_widgets.demo.service import DemoService
from vitattn_widgets.demo.uploads import Uploads

from ..conftest import SAMPLES, noise_photo
from ..lab import ROOT
from .commands import running_command
from .lab import MAX_UPLOAD, chunks, png, running_page

# --- a real server ---


def everything(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock"}


def break_off(
    address: str, path: str, kind: str = "application/json", method: str = "POST", body: int = 60_000
) -> None:
    """Begin a request, and leave."""
    url = httpx.URL(address)
    head = f"{method} {path} HTTP/1.1\r\nHost: {url.host}\r\nContent-Type: {kind}\r\nContent-Length: {body + 9}\r\n\r\n"
    with socket.create_connection((url.host, url.port), timeout=10) as plain:
        plain.sendall(head.encode() + b"--x\r\n" + b"x" * (body - 100))
        time.sleep(0.1)


def test_after_a_kill_the_next_server_removes_what_was_left(tmp_path: Path) -> None:
    with running_command(tmp_path) as server:
        address = server.address
        content = SAMPLES.joinpath("coffee.jpg").read_bytes()
        sent = httpx.post(f"{address}/vitattn/upload", params={"name": "a.jpg", "model": "demo"}, content=content)
        assert sent.status_code == 200
        assert httpx.post(f"{address}/gradio_api/upload", files={"files": ("b.jpg", content)}).status_code == 200
        before = everything(tmp_path / "tmp")
        assert len([path for path in before if path.stat().st_size == len(content)]) == 2
        server.send_signal(signal.SIGKILL)
        server.wait()
        assert before <= everything(tmp_path / "tmp")
    with running_command(tmp_path):
        assert before & everything(tmp_path / "tmp") == set()
        assert not [path for path in everything(tmp_path / "tmp") if path.stat().st_size == len(content)]
    left = {path.name for path in (tmp_path / "tmp").iterdir() if path.name.startswith("vitattn")}
    assert left == set()


def test_who_leaves_prints_nothing_and_leaves_no_file(tmp_path: Path) -> None:
    with running_command(tmp_path) as server:
        address, log = server.address, server.log
        before, said = everything(tmp_path / "tmp"), log.read_text()
        for _ in range(5):
            break_off(address, "/vitattn/upload?name=a.png&model=demo", "image/png", body=2_000_000)
            break_off(address, "/gradio_api/upload", "multipart/form-data; boundary=x", body=2_000_000)
        routes = (
            "vitattn/check",
            "vitattn/more",
            "vitattn/file",
            "gradio_api/queue/join",
            "gradio_api/call/map",
            "login",
        )
        for path in (f"/{route}" for route in routes):
            break_off(address, path)
        url = httpx.URL(address)
        paths = (
            "/vitattn/capsule?model=demo&sample=coffee",
            "/gradio_api/heartbeat/x",
            "/",
            "/gradio_api/queue/data?session_hash=x",
        )
        for path in paths:
            with socket.create_connection((url.host, url.port), timeout=10) as plain:
                plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
                plain.sendall(f"GET {path} HTTP/1.1\r\nHost: {url.host}\r\nAccept: text/html\r\n\r\n".encode())
                plain.recv(100)
        deadline = time.monotonic() + 20
        while everything(tmp_path / "tmp") != before and time.monotonic() < deadline:
            time.sleep(0.1)
        assert everything(tmp_path / "tmp") == before
        assert httpx.get(f"{address}/vitattn/open").status_code == 200
        assert log.read_text() == said
        server.send_signal(signal.SIGTERM)
        server.wait(30)
        assert "Traceback" not in log.read_text()


# --- folders ---


def test_the_folder_of_a_living_process_stays_and_that_of_a_dead_one_goes(tmp_path: Path) -> None:
    code = (
        "import sys, os, pathlib; from vitattn_widgets.demo.folders import OwnFolder\n"
        "own = OwnFolder('demo', pathlib.Path(sys.argv[1])); (own.path / 'photo').write_text('x')\n"
        "print(own.path, flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    other = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
    path = Path(other.stdout.readline().strip())
    (tmp_path / "vitattn-is-a-file").write_text("x")
    for name in ("something-else", "vitattn-my-results"):  # people's own
        (tmp_path / name).mkdir()
    OwnFolder("demo", tmp_path).close()
    assert (path / "photo").exists()
    assert path.stat().st_mode & 0o077 == 0
    other.kill()
    other.wait()
    mine = OwnFolder("demo", tmp_path)
    assert {one.name for one in tmp_path.iterdir() if one.suffix != ".lock"} == {
        "vitattn-is-a-file", "something-else", "vitattn-my-results", mine.path.name
    }  # fmt: skip
    mine.close()
    assert not mine.path.exists()


def test_old_files_at_any_depth_are_dropped(tmp_path: Path) -> None:
    old, new = tmp_path / "deep" / "old", tmp_path / "deep" / "new"
    old.parent.mkdir()
    for path in (old, new):
        path.write_text("x")
    os.utime(old, (time.time() - 3700, time.time() - 3700))
    drop_older(tmp_path, 3600)
    assert (old.exists(), new.exists()) == (False, True)


# --- limits ---


def test_the_quota_counts_what_is_kept_and_refuses_more() -> None:
    quota = Quota(Limits(total=100, address=60, files=3), keep_seconds=3600)
    quota.add_file("a")
    quota.add_bytes("a", 60)
    with pytest.raises(va.errors.PictureError, match=r"no more room .* removed 60 minutes after its last use"):
        quota.add_bytes("a", 1)
    quota.add_bytes("b", 40)
    with pytest.raises(va.errors.PictureError, match="no more room"):
        quota.add_bytes("c", 1)
    quota.remove("a", 60)
    quota.add_bytes("c", 60)
    for _ in range(3):
        quota.add_file("d")
    with pytest.raises(va.errors.PictureError, match="3 photos from your address"):
        quota.add_file("d")


def test_uploads_are_counted_once_for_as_long_as_they_are_kept() -> None:
    quota = Quota(Limits(total=1000, address=1000, files=2), keep_seconds=60)
    uploads = Uploads(MAX_UPLOAD, keep_seconds=60, quota=quota)

    def send(content: bytes, address: str = "a") -> str:
        return asyncio.run(uploads.receive(chunks(content, 100), "photo.png", address))

    key = send(b"x" * 500)
    assert send(b"x" * 500) == key  # of the same file, nothing is added
    assert quota.nbytes == 500
    with pytest.raises(va.errors.PictureError, match="no more room"):
        send(b"y" * 501)
    assert quota.nbytes == 500
    send(b"z" * 100)
    with pytest.raises(va.errors.PictureError, match="2 photos from your address"):
        send(b"w")
    uploads.drop(key)
    assert quota.nbytes == 100
    assert len(list(uploads._folder.path.iterdir())) == 1
    uploads.close()


def test_an_upload_that_never_ends_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    from vitattn_widgets.demo import uploads as module

    monkeypatch.setattr(module, "ARRIVAL_SECONDS", 0.2)

    async def slow():
        while True:
            yield b"x"
            await asyncio.sleep(0.01)

    uploads = Uploads(MAX_UPLOAD)
    with pytest.raises(va.errors.PictureError, match=r"photo\.png: did not arrive within 0\.2 seconds"):
        asyncio.run(uploads.receive(slow(), "photo.png"))
    assert (list(uploads._folder.path.iterdir()), uploads.quota.nbytes) == ([], 0)
    uploads.close()


def test_the_whole_photo_is_drawn_at_a_size_that_is_said(wide_model, tmp_path: Path) -> None:
    service = DemoService(wide_model, max_upload=10**7, max_pixels=10**8, keep_seconds=60)
    stream = io.BytesIO()
    Image.new("RGB", (5000, 2500), "teal").save(stream, "PNG")
    (tmp_path / "large.png").write_bytes(stream.getvalue())
    _, drawn = service.map(tmp_path / "large.png", "large.png", wide_model.name, {"on": "original"})
    assert drawn.image.shape == (1024, 2048, 3)
    assert drawn.caption.endswith(", the photo of 5000 x 2500 pixels is drawn at 2048 x 1024")
    _, drawn = service.map(tmp_path / "large.png", "large.png", wide_model.name, {})
    assert "drawn at" not in drawn.caption
    service.close()


def test_who_waits_for_a_map_takes_no_place_from_the_others(wide_model, tmp_path, monkeypatch) -> None:
    from concurrent.futures import ThreadPoolExecutor
    from threading import Event

    from gradio_client import Client, handle_file

    finish, at_once = Event(), []

    def slow(*_: object) -> None:
        at_once.append(1)
        assert finish.wait(30)
        raise va.errors.PictureError(f"{sum(at_once)} at once {at_once.pop()}")

    monkeypatch.setattr(DemoService, "map", slow)
    (tmp_path / "a.png").write_bytes(png(noise_photo((40, 60))))
    with running_page(wide_model, tmp_path / "gradio") as (address, _), ThreadPoolExecutor(8) as pool:
        clients = [Client(address, verbose=False) for _ in range(8)]
        photo = handle_file(tmp_path / "a.png")
        calls = [pool.submit(client.predict, photo=photo, api_name="/map") for client in clients]
        deadline = time.monotonic() + 10
        while not at_once and time.monotonic() < deadline:
            time.sleep(0.05)
        start = time.monotonic()
        for _ in range(20):
            assert httpx.get(f"{address}/vitattn/capsule?model={wide_model.name}&sample=coffee").status_code == 200
        assert time.monotonic() - start < 5
        assert len(at_once) == 1
        finish.set()
        assert all("1 at once" in str(call.exception(30)) for call in calls)
