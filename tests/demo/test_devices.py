"""The page elsewhere: at another address of this computer, below a proxy's path, behind a login, without its server."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from urllib.parse import urlsplit

import httpx
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

import vitattn_widgets as va

from ..conftest import noise_photo
from ..lab import CHROMIUM, ROOT, end, running_browser
from .commands import running_command
from .lab import Visitor, free_port, picture_file, png, running_page
from .test_browser import caption_of

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here; install it with apt install chromium")

NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
TEMPORARY = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")


@pytest.fixture(scope="module")
def browser():
    with running_browser() as browser:
        yield browser


def own_address() -> str | None:
    """An address of this computer other than the loopback."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("198.51.100.1", 9))  # sends nothing, only selects the address that would be used
            return probe.getsockname()[0]
        except OSError:
            return None


@pytest.mark.parametrize("size", ["desktop", "phone"])
def test_the_page_works_on_another_address_of_this_computer(browser, wide_model, tmp_path: Path, size: str) -> None:
    """Browsers allow no clipboard button there, as the page is neither HTTPS nor localhost."""
    host = own_address()
    if host is None:
        pytest.skip("this computer has no address but the loopback")
    with running_page(wide_model, tmp_path / "gradio", host="0.0.0.0") as (address, _):
        visitor = Visitor(browser, address.replace("localhost", host), size)
        visitor.open()
        assert not visitor.page.evaluate("window.isSecureContext")
        path = picture_file(tmp_path, seed=6)
        visitor.upload(path)
        visitor.wait_until(picture="photo.png")
        visitor.click_patch(1, 3)
        visitor.wait_until(query=[1, 3])
        assert visitor.caption() == caption_of(wide_model, path, visitor.settings())
        visitor.paste(png(noise_photo((70, 110), 3)))
        visitor.wait_until(picture="image.png")
        assert visitor.caption() == caption_of(wide_model, noise_photo((70, 110), 3), visitor.settings())
        assert {urlsplit(url).hostname for _, url in visitor.requests if url.startswith("http")} == {host}
        assert visitor.complaints == []
        visitor.close()


@contextmanager
def running_proxy(address: str, below: str) -> Iterator[str]:
    """A reverse proxy that offers a server below a path, as nginx does; gives the address of the page there."""

    async def forward(request: Request) -> Response:
        async with httpx.AsyncClient(base_url=address, timeout=60) as client:
            target = request.url.path.removeprefix(below) or "/"
            headers = {**request.headers, "x-forwarded-host": request.headers["host"]}
            answer = await client.request(
                request.method, target, params=request.query_params, content=await request.body(), headers=headers
            )
        dropped = ("content-length", "content-encoding", "transfer-encoding", "connection")
        kept = {name: value for name, value in answer.headers.items() if name not in dropped}
        return Response(answer.content, answer.status_code, kept)

    app = Starlette(routes=[Route(f"{below}/{{path:path}}", forward, methods=["GET", "POST"])])
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="error"))
    thread = Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{port}{below}"
    finally:
        server.should_exit = True
        thread.join(10)


@contextmanager
def running_nginx(address: str, below: str, folder: Path) -> Iterator[str]:
    """A server behind nginx as the operators' page configures it; gives the address of the page there."""
    text = (ROOT / "docs" / "operators.md").read_text(encoding="utf-8")
    location = text.partition("```nginx\n")[2].partition("```")[0]
    location = location.replace("/attention", below).replace("http://127.0.0.1:7860", address)
    port, folder = free_port(), folder / "nginx"
    folder.mkdir()
    (folder / "nginx.conf").write_text(
        f"{'user root; ' * (os.getuid() == 0)}daemon off; worker_processes 1; events {{}}\n"
        f"pid {folder}/pid; error_log {folder}/error.log;\n"
        + f"http {{ access_log off; {''.join(f'{kind}_temp_path {folder}/{kind}; ' for kind in TEMPORARY)}\n"
        + f"server {{ listen 127.0.0.1:{port}; {location} }} }}\n"
    )
    server = subprocess.Popen([NGINX, "-p", str(folder), "-c", str(folder / "nginx.conf")], stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 10
        while not (folder / "pid").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}{below}"
    finally:
        end(server)


@pytest.mark.skipif(NGINX is None, reason="no nginx here; install it with apt install nginx-light")
def test_the_page_works_behind_nginx_with_its_login(browser, wide_model, tmp_path: Path) -> None:
    below = "/attention"
    with (
        running_page(wide_model, tmp_path / "gradio", root_path=below, auth=[("class", "secret")]) as (address, _),
        running_nginx(address, below, tmp_path) as outside,
    ):
        visitor = Visitor(browser, outside)
        visitor.page.goto(f"{outside}/")
        visitor.page.get_by_label("username").fill("class")
        visitor.page.get_by_label("password").fill("secret")
        visitor.page.get_by_role("button", name="Login").click()
        visitor.wait_until(picture="chelsea")
        path = picture_file(tmp_path, seed=6)
        visitor.upload(path)
        visitor.wait_until(picture="photo.png")
        assert visitor.caption() == caption_of(wide_model, path, visitor.settings())
        visitor.page.get_by_role("button", name="Check", exact=True).click()
        visitor.page.get_by_role("button", name="Check this map").click()
        visitor.page.locator(".va-result-class").wait_for(timeout=30000)
        visitor.page.get_by_role("link", name="Log out").click()
        visitor.page.get_by_label("username").wait_for(timeout=20000)
        assert [url for _, url in visitor.requests if "vitattn" in url and not url.startswith(outside)] == []
        visitor.close()


def test_the_page_works_below_the_path_of_a_proxy(browser, wide_model, tmp_path: Path) -> None:
    with (
        running_page(wide_model, tmp_path / "gradio", root_path="/deep/er") as (address, _),
        running_proxy(address, "/deep/er") as outside,
    ):
        visitor = Visitor(browser, outside)
        visitor.open()
        path = picture_file(tmp_path, seed=6)
        visitor.upload(path)
        visitor.wait_until(picture="photo.png")
        assert visitor.caption() == caption_of(wide_model, path, visitor.settings())
        visitor.page.get_by_role("button", name="coffee").click()
        visitor.page.wait_for_function("location.search.includes('coffee')")
        assert visitor.page.url.startswith(f"{outside}/?")
        assert [url for _, url in visitor.requests if "vitattn" in url and not url.startswith(outside)] == []
        visitor.close()


def test_behind_a_login_the_page_opens_after_it(browser, wide_model, tmp_path: Path) -> None:
    with running_page(wide_model, tmp_path, auth=[("class", "secret")]) as (address, page):
        visitor = Visitor(browser, address)
        visitor.page.goto(f"{address}/?layer=0")
        visitor.page.get_by_label("username").fill("class")
        visitor.page.get_by_label("password").fill("secret")
        assert not any("vitattn" in url for _, url in visitor.requests)
        visitor.page.get_by_role("button", name="Login").click()
        visitor.wait_until(layer=0)
        page.app.tokens.clear()  # as when the server was started again
        visitor.page.get_by_role("button", name="coffee").click()
        assert visitor.message() == "your login has ended: reload the page to log in again"
        visitor.close()


@pytest.mark.parametrize("size", ["desktop", "phone"])
def test_without_its_server_the_controls_continue_and_the_rest_says_why(browser, tmp_path: Path, size: str) -> None:
    with running_command(tmp_path) as server:
        visitor = Visitor(browser, server.address, size)
        visitor.open()
        server.send_signal(signal.SIGKILL)
        server.wait()
    page, before = visitor.page, visitor.shown()
    capture = va.capture_attention(va.load_model("demo"), va.datasets.samples.SAMPLES[0].path)
    for layer in (0, 3):
        visitor.slide(layer)
        visitor.wait_until(layer=layer)
        assert visitor.caption() == va.render_view(capture, visitor.settings()).caption
    visitor.slide(before["layer"])
    visitor.click_patch(2, 5, capture.layout.grid)  # the queries and keys of this layer were fetched ahead
    visitor.wait_until(query=[2, 5])
    assert visitor.caption() == va.render_view(capture, visitor.settings()).caption
    silent = "the page's server does not answer"
    page.get_by_role("button", name="coffee").click()
    assert visitor.message() == silent
    assert visitor.shown()["picture"] == "chelsea"
    for ask in (
        lambda: visitor.upload(picture_file(tmp_path)),
        lambda: page.get_by_role("tab", name="What did it use?").click(),
    ):
        page.get_by_role("button", name="Close this message").click()
        ask()
        assert silent in visitor.message()
    page.get_by_role("button", name="Check", exact=True).click()
    page.get_by_role("button", name="Check this map").click()
    page.locator(".va-drawer, .va-note").get_by_text(silent).first.wait_for(timeout=10000)
    page.locator(".va-stage").press("Escape")  # back to the default query, whose rows of every layer are here
    visitor.slide(1)
    visitor.wait_until(layer=1, query=None)
    assert page.locator(".toast-wrap *").count() == 0
    visitor.close()
