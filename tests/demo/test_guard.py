"""What every answer says to browsers, what pages of other hosts may do, and how the login defends itself."""

from __future__ import annotations

import base64
import hashlib
import http.server
import re
import socket
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from threading import Thread
from types import SimpleNamespace

import httpx
import pytest

from vitattn_widgets.demo import access, frames
from vitattn_widgets.demo.guard import MAX_JSON
from vitattn_widgets.demo.routes import PREFIX
from vitattn_widgets.errors import SettingsError

from ..lab import CHROMIUM, running_browser
from .lab import MAX_UPLOAD, Visitor, running_page

OTHER = "http://other.example"


@pytest.fixture(scope="module")
def page(wide_model, tmp_path_factory: pytest.TempPathFactory):
    with running_page(wide_model, tmp_path_factory.mktemp("gradio")) as (address, page):
        yield address, page


@pytest.mark.parametrize(
    "path", ["", "/config", f"/{PREFIX}/open", f"/{PREFIX}/viewer.js", "/theme.css", "/no/such/page", "/login"]
)
def test_every_answer_allows_nothing_of_other_hosts(page, path: str) -> None:
    answer = httpx.get(page[0] + path, headers={"Accept": "text/html", "Origin": OTHER})
    rules = dict(rule.split(" ", 1) for rule in answer.headers["Content-Security-Policy"].split("; "))
    assert rules["default-src"] == "'none'"
    for name, values in rules.items():
        assert "http" not in values, name
        assert "*" not in values, name
    assert "unsafe-inline" not in rules["script-src"]
    assert rules["frame-ancestors"] == "'self'"
    assert answer.headers["X-Frame-Options"] == "SAMEORIGIN"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert not [name for name in answer.headers if name.lower().startswith("access-control")]
    scripts = re.findall(r"<script(?![^>]*src=)[^>]*>(.*?)</script>", answer.text, re.DOTALL)
    wanted = {base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts}
    assert set(re.findall(r"'sha256-([^']+)'", rules["script-src"])) == (wanted if not path else set())


def test_what_does_not_exist_is_named_in_one_line(page, caplog) -> None:
    wrong = [
        ("call/v2/unknown", {}, 404, "there is no endpoint 'unknown' here; possible: map"),
        ("call/v2/unknown/", {}, 404, "there is no endpoint 'unknown'"),
        ("call/v2/map", {"nonsense": 1}, 400, "/map has no parameter 'nonsense'; possible: photo, model, layer"),
        ("call/v2/map", {"layer": 1}, 400, "/map needs a value for photo"),
        ("call/unknown", {"data": []}, 404, "there is no endpoint 'unknown'"),
        ("run/unknown", {"data": []}, 404, "there is no endpoint 'unknown'"),
        ("queue/join", {"fn_index": 99, "data": [], "session_hash": "x"}, 404, "there is no function 99"),
        ("queue/join", {"fn_index": [], "data": [], "session_hash": "x"}, 404, "there is no function []"),
        ("component_server", {"component_id": 99, "fn_name": "x", "data": 1, "session_hash": "x"}, 404, "no component"),
    ]
    for path, values, status, words in wrong:
        answer = httpx.post(f"{page[0]}/gradio_api/{path}", json=values)
        assert (answer.status_code, words in answer.json()["detail"]) == (status, True), (path, answer.text)
    assert not [record for record in caplog.records if record.exc_info]


def test_the_login_is_asked_for_before_names_are_told(wide_model, tmp_path: Path) -> None:
    with running_page(wide_model, tmp_path / "gradio", auth=[("class", "secret")]) as (address, _):
        for path in ("call/v2/unknown", "queue/join", "component_server", "call/unknown"):
            assert httpx.post(f"{address}/gradio_api/{path}", json={"data": []}).status_code == 401


@pytest.mark.parametrize(
    "wrong", ["huggingface.co", "https://a.example/page", "*", "https://a.example; script-src *", "'self'", "https://*"]
)
def test_only_origins_can_be_named_for_frames(wrong: str) -> None:
    with pytest.raises(SettingsError, match="is no origin that could show the page in a frame"):
        frames.require_origins([wrong])


def test_frames_are_allowed_where_the_page_is_known_to_be_shown_in_one(monkeypatch) -> None:
    assert frames.origins_of_place({}) == ()
    assert frames.origins_of_place({"SPACE_ID": "someone/attention"}) == ("https://huggingface.co",)
    shell = SimpleNamespace(get_ipython=lambda: SimpleNamespace())
    monkeypatch.setitem(sys.modules, "IPython", shell)
    assert frames.origins_of_place({}) == ()  # a terminal
    shell.get_ipython = lambda: SimpleNamespace(kernel=1)
    assert "http://localhost:*" in frames.origins_of_place({})
    assert frames.require_origins(["https://a.example/", "http://[::1]:80", "https://*.a.example:*"])


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here; install it with apt install chromium")
def test_a_page_is_shown_in_the_frames_that_are_allowed_and_in_no_other(wide_model, tmp_path: Path) -> None:
    (tmp_path / "frame.html").write_text("<iframe width=1000 height=800></iframe>")
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as other, running_browser() as browser:
        Thread(target=other.serve_forever, daemon=True).start()
        origin = f"http://localhost:{other.server_port}"  # another host than 127.0.0.1
        for allowed, place in (((), "gradio"), ((origin,), "framed")):
            with running_page(wide_model, tmp_path / place, frame_ancestors=allowed) as (address, _):
                window = browser.new_page()
                window.goto(f"{origin}/frame.html")
                window.evaluate("(address) => { document.querySelector('iframe').src = address; }", address)
                viewer = window.frame_locator("iframe").locator(".va-viewer[data-shown]")
                if allowed:
                    viewer.wait_for(timeout=30000)
                    headers = httpx.get(address).headers
                    assert f"frame-ancestors 'self' {origin}" in headers["Content-Security-Policy"]
                    assert "X-Frame-Options" not in headers
                else:
                    window.wait_for_timeout(1500)
                    assert viewer.count() == 0
                window.close()
        other.shutdown()


def test_assistants_and_a_login_exclude_each_other(wide_model, tmp_path: Path) -> None:
    pytest.importorskip("mcp")
    with (
        pytest.raises(SettingsError, match="cannot be behind a login"),
        running_page(wide_model, tmp_path / "gradio", mcp=True, auth=[("class", "secret")]),
    ):
        pass


def test_pages_of_other_hosts_are_not_invited(page) -> None:
    asked = {"Origin": OTHER, "Access-Control-Request-Method": "POST"}
    answer = httpx.options(f"{page[0]}/{PREFIX}/check", headers=asked)
    assert not [name for name in answer.headers if name.lower().startswith("access-control")]
    sent = httpx.post(f"{page[0]}/{PREFIX}/upload", content=b"x", headers={"Sec-Fetch-Site": "cross-site"})
    assert (sent.status_code, len(page[1].service.uploads)) == (403, 0)


@pytest.mark.parametrize(
    "path", ["/gradio_api/queue/join", "/gradio_api/call/map", "/gradio_api/api/map", f"/{PREFIX}/check"]
)
@pytest.mark.parametrize("stated", [True, False])
def test_a_large_body_is_refused_wherever_it_is_sent(page, path: str, stated: bool) -> None:
    size = MAX_JSON + 1
    content = b'{"data":["' + b"x" * size if stated else (b"x" * 1000 for _ in range(size // 1000 + 1))
    answer = httpx.post(page[0] + path, content=content, headers={"Content-Type": "application/json"})
    assert answer.status_code == 413


def test_a_large_upload_is_refused_before_it_is_read(page) -> None:
    for path in (f"/{PREFIX}/upload", "/gradio_api/upload"):
        head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {50 * MAX_UPLOAD}\r\n\r\n"
        with socket.create_connection(("127.0.0.1", httpx.URL(page[0]).port), timeout=10) as plain:
            plain.sendall(head.encode())
            assert plain.recv(100).startswith(b"HTTP/1.1 413")


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here; install it with apt install chromium")
def test_the_page_and_its_api_page_work_under_the_policy(page) -> None:
    with running_browser() as browser:
        visitor = Visitor(browser, page[0])
        visitor.page.goto(page[0])
        visitor.wait_until()
        visitor.page.get_by_role("button", name="Use via API").click()
        visitor.page.get_by_text("gradio_client").first.wait_for(timeout=20000)
        # Gradio asks whether this page serves MCP and statistics, which it does not
        assert [line for line in visitor.complaints if not line.startswith("Failed to load resource")] == []
        assert [url for _, url in visitor.requests if not url.startswith((page[0], "data:", "blob:"))] == []
        # injected, as it were: none of these runs, and nothing leaves
        visitor.page.evaluate(
            """() => {
                document.body.insertAdjacentHTML("beforeend", "<img src=x onerror='window.harmed = 1'>");
                const script = document.createElement("script");
                script.textContent = "window.harmed = 2";
                document.body.append(script);
            }"""
        )
        assert (
            visitor.page.evaluate("fetch('http://127.0.0.1:9/').then(() => 'sent', (error) => error.name)")
            == "TypeError"
        )
        visitor.page.wait_for_timeout(300)
        assert visitor.page.evaluate("window.harmed") is None
        assert any("Content Security Policy" in line for line in visitor.complaints)
        visitor.close()


# --- the login ---


@pytest.fixture
def locked(wide_model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    monkeypatch.setattr(access, "sleep", sleep)
    with running_page(wide_model, tmp_path, auth=[("class", "secret"), ("anna", "other")]) as (address, _):
        waits.clear()
        yield address, waits


def log_in(address: str, password: str, user: str = "class", client=httpx) -> httpx.Response:
    return client.post(f"{address}/login", data={"username": user, "password": password})


def test_after_five_wrong_passwords_each_attempt_waits_seconds(locked) -> None:
    address, waits = locked
    for _ in range(9):
        assert log_in(address, "guess").status_code == 400
    assert waits == [0.0] * 5 + [2.0, 4.0, 8.0, 10.0]
    assert log_in(address, "secret").status_code == 200  # who knows the password waits, and enters
    waits.clear()
    assert log_in(address, "secret").status_code == 200
    assert waits == [0.0]


def test_attempts_at_the_same_time_take_turns(wide_model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access, "delay_after", lambda wrong: 0.1 if wrong >= 5 else 0.0)
    with running_page(wide_model, tmp_path, auth=[("class", "secret")]) as (address, _):
        start = time.monotonic()
        with ThreadPoolExecutor(15) as pool:
            list(pool.map(lambda _: log_in(address, "guess"), range(15)))
        assert time.monotonic() - start > 0.9


def test_the_cookie_is_for_this_site_alone_and_logout_ends_one_login(locked) -> None:
    address, _ = locked
    with httpx.Client() as mine, httpx.Client() as another:
        for client in (mine, another):
            cookie = log_in(address, "secret", client=client).headers["Set-Cookie"]
            assert "SameSite=lax" in cookie
            assert "HttpOnly" in cookie
        token = next(iter(mine.cookies.jar)).value
        answer = mine.get(f"{address}/logout")
        assert (answer.status_code, answer.headers["Location"]) == (302, "./")
        assert mine.get(f"{address}/config").status_code == 401
        names = {cookie.name: token for cookie in another.cookies.jar}
        assert httpx.get(f"{address}/config", cookies=names).status_code == 401  # the token itself has ended
        assert another.get(f"{address}/config").status_code == 200  # a classmate with the same name stays


def test_over_https_the_cookie_is_secure(locked) -> None:
    cookie = httpx.post(
        f"{locked[0]}/login", data={"username": "anna", "password": "other"}, headers={"X-Forwarded-Proto": "https"}
    ).headers["Set-Cookie"]
    assert "Secure" in cookie
    assert "SameSite=lax" in cookie


@pytest.mark.parametrize(
    "form", [{}, {"username": "class"}, {"password": "secret"}, {"username": "é", "password": "ü"}]
)
def test_half_a_login_is_a_wrong_one(locked, form: dict) -> None:
    assert httpx.post(f"{locked[0]}/login", data=form).status_code == 400
