"""The endpoint `/map` through gradio_client and plain requests: what programs get, and what nobody gets."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

import httpx
import numpy as np
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image

import vitattn_widgets as va
from vitattn_widgets.demo.controls import DEFAULTS
from vitattn_widgets.demo.routes import PREFIX

from ..lab import ROOT
from .lab import MAX_UPLOAD, picture_file, running_page


@pytest.fixture(scope="module")
def page(wide_model: va.models.AttentionModel, tmp_path_factory: pytest.TempPathFactory):
    with running_page(wide_model, tmp_path_factory.mktemp("gradio")) as (address, page):
        yield address, page


@pytest.fixture(scope="module")
def client(page) -> Client:
    return Client(page[0], verbose=False)


@pytest.fixture(scope="module")
def model(wide_model: va.models.AttentionModel) -> va.models.AttentionModel:
    return wide_model


def test_map_gives_what_render_view_draws(client: Client, model: va.models.AttentionModel, tmp_path: Path) -> None:
    path = picture_file(tmp_path)
    picture, raw, caption = client.predict(
        photo=handle_file(path), model=model.name, layer=1, head="2", query="3,5", cmap="gray", api_name="/map"
    )
    settings = va.ViewSettings(layer=1, head=2, query=(3, 5), cmap="gray")
    wanted = va.render_view(va.capture_attention(model, path), settings)
    np.testing.assert_array_equal(np.asarray(Image.open(picture)), wanted.image)
    with np.load(raw) as found:
        np.testing.assert_array_equal(found["grid_map"], wanted.grid_map)
        np.testing.assert_array_equal(found["heat"], wanted.heat)
    assert caption == wanted.caption


def test_map_takes_source_class_and_sinks(client: Client, model: va.models.AttentionModel, tmp_path: Path) -> None:
    path = picture_file(tmp_path)
    asked = {"source": "gradient_late", "target": "3", "sinks": "leave_out", "layer": 1}
    picture, _, caption = client.predict(photo=handle_file(path), model=model.name, **asked, api_name="/map")
    settings = va.ViewSettings(source="gradient_late", target=3, sinks="leave_out", layer=1)
    capture = va.complete_capture(model, va.capture_attention(model, path), settings)
    wanted = va.render_view(capture, settings)
    np.testing.assert_array_equal(np.asarray(Image.open(picture)), wanted.image)
    assert caption == wanted.caption


def test_map_takes_the_blend(client: Client, model: va.models.AttentionModel, tmp_path: Path) -> None:
    path = picture_file(tmp_path)
    picture, *_ = client.predict(photo=handle_file(path), model=model.name, blend="glow", api_name="/map")
    wanted = va.render_view(va.capture_attention(model, path), va.ViewSettings(blend="glow"))
    np.testing.assert_array_equal(np.asarray(Image.open(picture)), wanted.image)


@pytest.mark.parametrize("given", [(), ("VisionTransformer",), ("VisionTransformer", 1), ("VisionTransformer", 1, "2")])
def test_a_plain_request_with_fewer_values_uses_the_defaults(page, model, tmp_path: Path, given: tuple) -> None:
    """The two requests of the API page's cURL tab."""
    api = f"{page[0]}/gradio_api"
    (path,) = httpx.post(f"{api}/upload", files={"files": picture_file(tmp_path).open("rb")}).json()
    photo = {"path": path, "meta": {"_type": "gradio.FileData"}}
    values = dict(zip(("model", "layer", "head"), given, strict=False))
    for route, body in (
        ("call/map", {"data": [photo, *given]}),
        ("call/v2/map", {"photo": photo} | values),
    ):
        event = httpx.post(f"{api}/{route}", json=body).json()["event_id"]
        answer = httpx.get(f"{api}/call/map/{event}", timeout=30).text
        settings = {name: int(value) for name, value in values.items() if name != "model"}
        wanted = va.render_view(va.capture_attention(model, tmp_path / "photo.png"), va.ViewSettings(**settings))
        assert "event: complete" in answer
        assert json.loads(answer.split("data: ")[1])[-1] == wanted.caption


def test_the_api_page_shows_calls_that_the_server_accepts(page, client: Client, model, tmp_path, monkeypatch) -> None:
    picture_file(tmp_path, name="photo.jpg")
    monkeypatch.chdir(tmp_path)
    info = httpx.get(f"{page[0]}/gradio_api/info").json()["named_endpoints"]["/map"]
    values = {part["parameter_name"]: part.get("parameter_default", None) for part in info["parameters"]}
    shown = next(part["example_input"] for part in info["parameters"] if part["parameter_name"] == "photo")
    assert "http" not in str(shown)
    values["photo"] = handle_file(shown["path"])
    assert client.predict(**values, api_name="/map")[2]


def test_map_is_named_typed_and_described(client: Client) -> None:
    described = client.view_api(return_format="dict")["named_endpoints"]
    assert list(described) == ["/map"]
    types = {part["parameter_name"]: part["python_type"]["type"] for part in described["/map"]["parameters"]}
    assert types["photo"] == "filepath"
    assert types["layer"] == "int"
    assert types["opacity"] == "float"
    assert types["smoothing"] == "list[str]"
    assert "mean_over_std" in described["/map"]["description"]
    assert all(source in described["/map"]["description"] for source in va.SOURCES)
    assert list(types)[:2] == ["photo", "model"]
    assert list(types)[-5:] == ["cmap", "source", "target", "sinks", "blend"]  # new ones come last


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"layer": 99}, "layer 99 does not exist"),
        ({"layer": "first"}, "layer must be a whole number"),
        ({"head": "7"}, "head 7 does not exist"),
        ({"query": "dist"}, "query 'dist' does not exist"),
        ({"opacity": 2}, "opacity must lie in 0..1"),
        ({"cmap": "jetset"}, "colour map 'jetset' does not exist"),
        ({"smoothing": "all"}, "smoothing must be some of"),
        ({"model": "vit_base_patch16_224"}, "there is no model 'vit_base_patch16_224' here"),
        ({"model": None}, "there is no model None here"),
        ({"source": "saliency"}, "source 'saliency' does not exist"),
        ({"sinks": "drown"}, "sinks 'drown' does not exist"),
        ({"target": "zebra"}, "there is no class 'zebra'"),
        ({"target": "99"}, "class 99 does not exist"),
        ({"source": "rollout", "aggregation": "mean_over_std"}, "rollout"),
    ],
)
def test_a_programs_mistake_is_one_clean_error(client: Client, model, tmp_path: Path, changed, words) -> None:
    arguments = {"model": model.name} | changed
    with pytest.raises(AppError, match=words) as caught:
        client.predict(photo=handle_file(picture_file(tmp_path)), **arguments, api_name="/map")
    assert "Traceback" not in str(caught.value)


@pytest.mark.parametrize(
    "content", [b"", b"not a picture", b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"\x89PNG\r\n"]
)
def test_a_bad_file_is_one_clean_error(
    client: Client, model: va.models.AttentionModel, tmp_path: Path, content
) -> None:
    path = tmp_path / "photo.png"
    path.write_bytes(content)
    with pytest.raises(AppError, match=r"photo\.png") as caught:
        client.predict(photo=handle_file(path), model=model.name, api_name="/map")
    assert str(tmp_path) not in str(caught.value)


@pytest.mark.parametrize("photo", [3, "x", [], {"path": 1}, {"path": "/etc/passwd"}, {"nothing": 1}])
def test_what_is_no_upload_is_one_clean_error(client: Client, model: va.models.AttentionModel, photo) -> None:
    with pytest.raises(AppError, match="a picture must be an uploaded file"):
        client.predict(photo=photo, model=model.name, api_name="/map")


def test_no_file_at_all_is_one_clean_error(client: Client, model: va.models.AttentionModel) -> None:
    with pytest.raises(AppError, match="the picture did not arrive"):
        client.predict(photo=None, model=model.name, api_name="/map")


def test_a_file_over_the_limit_is_refused_before_it_is_read(page, tmp_path: Path) -> None:
    answer = httpx.post(f"{page[0]}/gradio_api/upload", files={"files": ("a.png", b"\0" * (MAX_UPLOAD + 1000))})
    assert answer.status_code == 413


def test_the_server_is_well_after_all_this(client: Client, model: va.models.AttentionModel, tmp_path: Path) -> None:
    assert client.predict(photo=handle_file(picture_file(tmp_path)), model=model.name, api_name="/map")


def call(address: str, payload: list, number: int) -> str:
    """Send a request to the page's own queue, as a browser does, and return the whole answer."""
    with httpx.Client(base_url=f"{address}/gradio_api", timeout=20) as http:
        session = {"session_hash": os.urandom(6).hex()}
        joined = http.post("/queue/join", json={"data": payload, "fn_index": number, **session})
        if joined.status_code != 200:
            return joined.text
        with http.stream("GET", "/queue/data", params=session) as stream:
            lines = []
            for line in stream.iter_lines():
                lines.append(line)
                if "process_completed" in line:
                    break
            return "\n".join(lines)


@pytest.mark.parametrize(
    "path", ["/etc/passwd", "../../../../etc/passwd", "/proc/self/environ", str(ROOT / "pyproject.toml")]
)
def test_a_made_up_upload_opens_no_file_of_the_server(page, model: va.models.AttentionModel, path: str) -> None:
    address, blocks = page
    number = next(key for key, function in blocks.fns.items() if function.api_name == "map")
    for file in ({"path": path, "meta": {"_type": "gradio.FileData"}}, {"path": path}, {"url": f"file://{path}"}):
        said = call(address, [file, model.name, *DEFAULTS.values()], number)
        assert '"success":false' in said
        assert "root:" not in said
        assert "Traceback" not in said


def test_the_server_fetches_no_address_for_a_visitor(page, model: va.models.AttentionModel) -> None:
    address, blocks = page
    number = next(key for key, function in blocks.fns.items() if function.api_name == "map")
    file = {"path": f"{address}/config", "meta": {"_type": "gradio.FileData"}}
    assert "addresses are not accepted" in call(address, [file, model.name, *DEFAULTS.values()], number)


@pytest.mark.parametrize(
    "request_path",
    [
        "/gradio_api/file=/etc/passwd",
        "/gradio_api/file=../../../../etc/passwd",
        "/gradio_api/file=..%2f..%2f..%2f..%2fetc%2fpasswd",
        "/gradio_api/file={root}/pyproject.toml",
        "/gradio_api/file={root}/vitattn_widgets/demo/server.py",
        "/gradio_api/file={uploads}",
        "/gradio_api/file={upload}",
        "/file={root}/README.md",
        "/static/../../../etc/passwd",
        "/static/%2e%2e/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
        "/assets/..%2f..%2f..%2fpyproject.toml",
        "/gradio_api/stream/../../etc/passwd",
        "/gradio_api/file=http://127.0.0.1:1/x",
        "/../../etc/passwd",
        "/vitattn/capsule?model=VisionTransformer&photo={upload}",
        "/vitattn/capsule?model=VisionTransformer&sample={upload}",
        "/vitattn/../../../etc/passwd",
    ],
)
def test_no_file_of_the_server_can_be_read(page, client: Client, model, tmp_path: Path, request_path: str) -> None:
    address, blocks = page
    brought = {"name": "a.png", "model": model.name}
    httpx.post(f"{address}/{PREFIX}/upload", params=brought, content=picture_file(tmp_path).read_bytes())
    uploads = blocks.service.uploads._folder.path
    upload = next(uploads.iterdir())
    request_path = request_path.format(root=ROOT, uploads=uploads, upload=upload)
    _, named, local = request_path.partition("file=/")
    assert not named or Path(f"/{local}").exists()  # a file that does not exist is refused anyway
    with socket.create_connection(("127.0.0.1", httpx.URL(address).port), timeout=10) as plain:
        # raw: clients would normalise such paths before sending them
        plain.sendall(f"GET {request_path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode())
        answer = b""
        while part := plain.recv(65536):
            answer += part
    status = int(answer.split()[1])
    assert status >= 400 or status in (301, 302, 307), answer[:300]
    assert b"root:" not in answer
    assert b"[project]" not in answer


@pytest.mark.parametrize("path", ["/monitoring", "/monitoring/summary", "/gradio_api/monitoring/summary"])
def test_nothing_tells_what_other_visitors_do(page, path: str) -> None:
    assert httpx.get(page[0] + path).status_code in (403, 404)


def test_the_page_names_no_other_host(page) -> None:
    import re

    html = httpx.get(page[0]).text
    fetched = re.findall(r'<(?:script|link|img|iframe)[^>]*(?:src|href)="(https?://[^"]+)"', html)
    assert [url for url in fetched if not url.startswith(page[0])] == []


def test_a_password_covers_the_page_and_the_api(model: va.models.AttentionModel, tmp_path: Path) -> None:
    with running_page(model, tmp_path / "gradio", auth=[("class", "secret")]) as (address, _):
        for path in ("/config", "/gradio_api/info", "/gradio_api/upload_progress?upload_id=1", "/gradio_api/file=x"):
            assert httpx.get(address + path).status_code == 401, path
        answer = httpx.post(f"{address}/gradio_api/queue/join", json={"data": [], "fn_index": 0, "session_hash": "x"})
        assert answer.status_code == 401
        files = {"files": ("a.png", b"x")}
        assert httpx.post(f"{address}/gradio_api/upload", files=files).status_code == 401
        with pytest.raises(Exception, match=r"(?i)auth|log ?in"):
            Client(address, verbose=False)
        with pytest.raises(Exception, match=r"(?i)auth|log ?in"):
            Client(address, auth=("class", "wrong"), verbose=False)
        client = Client(address, auth=("class", "secret"), verbose=False)
        assert client.predict(photo=handle_file(picture_file(tmp_path)), model=model.name, api_name="/map")
