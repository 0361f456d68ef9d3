"""The viewer's routes over HTTP: what they answer, to whom, and what they refuse."""

from __future__ import annotations

import re
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import httpx
import numpy as np
import pytest
import safetensors.numpy

import vitattn_widgets as va
from vitattn_widgets.capture import capture_head_contributions
from vitattn_widgets.demo import routes, service as service_module
from vitattn_widgets.demo.guard import MAX_JSON
from vitattn_widgets.demo.links import open_link
from vitattn_widgets.demo.routes import AT_ONCE, PREFIX, WENT_WRONG
from vitattn_widgets.evaluation import silence_every_head

from ..conftest import SAMPLES, noise_photo
from .lab import MAX_UPLOAD, facts_of, picture_file, png, running_page

ROUTES = {
    "GET": ("viewer.js", "viewer.css", "open", "capsule?sample=chelsea"),
    "POST": ("upload?name=photo.png", "present", "more", "check", "file"),
}


@pytest.fixture(scope="module")
def page(wide_model: va.models.AttentionModel, tmp_path_factory: pytest.TempPathFactory):
    with running_page(wide_model, tmp_path_factory.mktemp("gradio")) as (address, page):
        yield f"{address}/{PREFIX}", page


@pytest.fixture
def http(page):
    with httpx.Client(base_url=page[0], timeout=30) as client:
        yield client


def upload(http: httpx.Client, content: bytes, name: str = "photo.png") -> httpx.Response:
    model = http.get("open").json()["state"]["model"]
    return http.post("upload", params={"name": name, "model": model}, content=content)


def test_a_photo_is_uploaded_and_its_capsule_and_answers_fetched(http: httpx.Client, wide_model) -> None:
    brought = upload(http, png(noise_photo((80, 150))), "my photo.png").json()
    assert brought["name"] == "my photo.png"
    subject = {"model": wide_model.name, "photo": brought["photo"], "name": brought["name"]}
    content = http.get("capsule", params=subject).content
    assert facts_of(content)["picture"]["name"] == "my photo.png"
    capture = va.capture_attention(wide_model, noise_photo((80, 150)))
    np.testing.assert_array_equal(safetensors.numpy.load(content)["layer2.row.class"], capture.attention(2))
    answer = http.post("more", json=subject | {"request": {"need": "row", "layer": 1, "query": "2,3"}})
    np.testing.assert_array_equal(
        safetensors.numpy.load(answer.content)["layer1.row.2,3"], capture.attention(1, (2, 3))
    )
    for need, compute in (("direct", capture_head_contributions), ("silenced", silence_every_head)):
        answer = http.post("more", json=subject | {"request": {"need": need, "target": 3}})
        expected = compute(wide_model, capture, 3)
        heads = expected if need == "silenced" else expected.heads
        np.testing.assert_allclose(safetensors.numpy.load(answer.content)[f"heads/3/{need}"], heads, atol=1e-5)
    settings = {"layer": 1, "head": None, "query": [2, 3], "source": "attention", "sinks": "mark"}
    check = http.post("check", json=subject | {"settings": settings}).json()
    assert len(check["sentences"]) == 4
    recipe = http.post("file", json=subject | {"settings": settings, "what": "recipe"})
    assert recipe.headers["Content-Disposition"].startswith("attachment; filename*=UTF-8''my_photo-")
    again = va.from_recipe(recipe.json(), model=wide_model, picture=noise_photo((80, 150)))
    assert again.settings.query == (2, 3)


def test_capsules_are_cached_by_the_browser_as_long_as_this_process_runs(http: httpx.Client, wide_model) -> None:
    subject = {"model": wide_model.name, "sample": "chelsea"}
    first = http.get("capsule", params=subject)
    assert first.headers["Cache-Control"] == "private, no-cache"
    again = http.get("capsule", params=subject, headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.content) == (304, b"")
    changed = http.get("capsule", params=subject, headers={"If-None-Match": '"of another process"'})
    assert changed.content == first.content


def test_the_script_is_one_file_that_is_fetched_once(page, http: httpx.Client) -> None:
    address = page[1].assets.script_address
    script = http.get(f"{page[0].removesuffix(PREFIX)}{address}")
    assert script.headers["Content-Type"].startswith("text/javascript")
    assert "immutable" in script.headers["Cache-Control"]
    assert re.search(r"^import\b", script.text, re.MULTILINE) is None
    assert "http://" not in re.sub(r"http://www\.w3\.org/\S+", "", script.text)


def test_nobody_gets_anything_without_the_login(wide_model, tmp_path: Path) -> None:
    with running_page(wide_model, tmp_path, auth=[("class", "secret")]) as (address, page):
        for method, paths in ROUTES.items():
            for path in paths:
                answer = httpx.request(
                    method, f"{address}/{PREFIX}/{path}", content=b"{}" if method == "POST" else None
                )
                assert answer.status_code == 401, path
                cookies = {f"access-token-unsecure-{page.app.cookie_id}": "guessed"}
                assert httpx.request(method, f"{address}/{PREFIX}/{path}", cookies=cookies).status_code == 401, path
        assert len(page.service.uploads) == 0
        with httpx.Client(base_url=f"{address}/{PREFIX}") as client:
            assert client.post(f"{address}/login", data={"username": "class", "password": "secret"}).status_code == 200
            assert client.get("open").json()["message"] == ""
            assert client.get("capsule", params={"model": wide_model.name, "sample": "chelsea"}).status_code == 200
            brought = upload(client, png(noise_photo((80, 150)))).json()
            client.get(f"{address}/logout")
            assert client.get("capsule", params={"model": wide_model.name, **brought}).status_code == 401


def test_the_login_may_be_a_function_of_the_operator(wide_model, tmp_path: Path) -> None:
    def user(request) -> str | None:
        return request.headers.get("X-User")

    with running_page(wide_model, tmp_path, auth_dependency=user) as (address, _):
        assert httpx.get(f"{address}/{PREFIX}/open").status_code == 401
        assert httpx.get(f"{address}/{PREFIX}/open", headers={"X-User": "anna"}).status_code == 200


def test_the_page_works_below_another_path(wide_model, tmp_path: Path) -> None:
    with running_page(wide_model, tmp_path, root_path="/deep/er") as (address, page):
        assert httpx.get(f"{address}/{PREFIX}/open").status_code == 200
        assert not page.assets.script_address.startswith("/")  # relative to wherever the page is


@pytest.mark.parametrize("auth", [None, ("class", "secret")])
def test_the_page_can_be_mounted_in_an_application_of_ones_own(wide_model, auth) -> None:
    import gradio as gr
    from fastapi import FastAPI
    from fastapi.testclient import TestClient

    page = va.build_demo(wide_model)
    app = gr.mount_gradio_app(FastAPI(), page, "/deep", app_kwargs=page.app_kwargs(), auth=auth)
    client = TestClient(app)
    assert client.get(f"/deep/{PREFIX}/open").status_code == (401 if auth else 200)
    page.service.close()


# --- refusals ---


@pytest.mark.parametrize(
    ("subject", "words"),
    [
        ({}, "there is no model None here"),
        ({"model": "vit_base_patch16_224"}, "there is no model 'vit_base_patch16_224' here"),
        ({"sample": "../../../etc/passwd"}, "there is no sample '../../../etc/passwd'"),
        ({"photo": "../../../etc/passwd", "name": "x"}, "x: is not here, or was removed"),
        ({"photo": "0" * 40, "name": "<script>alert(1)</script>"}, "is not here"),
        ({}, "the picture: is not here"),
    ],
)
def test_what_does_not_exist_is_one_line(http: httpx.Client, wide_model, subject: dict, words: str) -> None:
    if words != "there is no model None here":
        subject = {"model": wide_model.name} | subject
    answer = http.get("capsule", params=subject)
    assert answer.status_code == (410 if "is not here" in words else 400)
    assert answer.headers["Content-Type"] == "application/json"
    assert words in answer.json()["detail"]
    assert "\n" not in answer.json()["detail"]


def test_a_photo_over_the_limit_is_refused_and_not_kept(page, http: httpx.Client) -> None:
    folder = page[1].service.uploads._folder.path
    before = set(folder.iterdir())
    answer = upload(http, b"\0" * (MAX_UPLOAD + 1))
    assert answer.status_code == 400
    assert answer.json()["detail"] == "photo.png: at most 0.3 MB are accepted; scale the picture down"
    assert upload(http, b"").json()["detail"] == "photo.png: the file is empty"
    assert "not a picture of a known type" in upload(http, b"no picture").json()["detail"]
    assert set(folder.iterdir()) == before


def test_of_an_upload_that_is_broken_off_nothing_stays(page) -> None:
    folder = page[1].service.uploads._folder.path
    before = set(folder.iterdir())
    url = httpx.URL(page[0])
    head = f"POST {url.path}/upload?name=a.png HTTP/1.1\r\nHost: {url.host}\r\nContent-Length: 200000\r\n\r\n"
    with socket.create_connection((url.host, url.port), timeout=10) as plain:
        plain.sendall(head.encode() + b"x" * 100_000)
        deadline = time.monotonic() + 10
        while set(folder.iterdir()) == before and time.monotonic() < deadline:
            time.sleep(0.01)
        assert len(set(folder.iterdir()) - before) == 1
    while set(folder.iterdir()) != before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert set(folder.iterdir()) == before


@pytest.mark.parametrize("body", [b"", b"x", b"[]", b"3", b"[" * 10_000, b'{"a":' * 10_000, b"\xff\xfe"])
@pytest.mark.parametrize("route", ["more", "check", "file"])
def test_what_is_no_json_object_is_refused(http: httpx.Client, route: str, body: bytes) -> None:
    answer = http.post(route, content=body)
    assert answer.status_code == 400
    assert answer.json()["detail"].startswith("the request is not")


def test_a_large_json_body_is_not_read(http: httpx.Client) -> None:
    assert http.post("more", content=b" " * (MAX_JSON + 1)).status_code == 413


@pytest.mark.parametrize(
    "settings",
    [
        {"layer": 99}, {"layer": "first"}, {"head": 7}, {"head": [1]}, {"query": [9, 9, 9]}, {"query": {"a": 1}},
        {"query": "x" * 5000}, {"opacity": "much"}, {"cmap": "x" * 5000}, {"source": None}, {"target": "zebra"},
        {"sinks": ["show"]}, {"smoothing": 3},
    ],
)  # fmt: skip
def test_wrong_settings_are_one_short_line(http: httpx.Client, wide_model, settings: dict) -> None:
    for route in ("check", "file"):
        values = {"model": wide_model.name, "sample": "chelsea", "settings": settings, "what": "recipe"}
        answer = http.post(route, json=values)
        assert answer.status_code == 400, route
        assert len(answer.json()["detail"]) < 400
        assert "\n" not in answer.json()["detail"]


@pytest.mark.parametrize(
    "request_values", [None, 3, [], {}, {"need": "root"}, {"need": "row", "layer": 99}, {"need": []}]
)
def test_wrong_requests_are_one_short_line(http: httpx.Client, wide_model, request_values) -> None:
    answer = http.post("more", json={"model": wide_model.name, "sample": "chelsea", "request": request_values})
    assert answer.status_code == 400
    assert len(answer.json()["detail"]) < 400


def test_errors_of_the_server_are_logged_and_not_shown(
    page, http: httpx.Client, wide_model, monkeypatch, caplog
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("/secret/path")

    monkeypatch.setattr(service_module, "make_capsule", fail)
    page[1].service._capsules.clear()
    answer = http.get("capsule", params={"model": wide_model.name, "sample": "chelsea"})
    assert (answer.status_code, answer.json()["detail"]) == (500, WENT_WRONG)
    assert "/secret/path" in caplog.text


# --- many at once ---


def test_two_visitors_never_get_each_others_photo(http: httpx.Client, wide_model, tmp_path: Path) -> None:
    def visit(seed: int) -> None:
        path = picture_file(tmp_path, seed, name=f"{seed}.png")
        brought = upload(http, path.read_bytes()).json()
        subject = {"model": wide_model.name, "photo": brought["photo"], "name": "photo.png"}
        capture = va.capture_attention(wide_model, path)
        for layer in range(3):
            found = safetensors.numpy.load(http.get("capsule", params=subject).content)
            np.testing.assert_array_equal(found[f"layer{layer}.row.class"], capture.attention(layer))

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(visit, range(6)))


def test_who_waits_for_a_check_takes_no_place_from_the_others(http: httpx.Client, wide_model, monkeypatch) -> None:
    finish, subject = Event(), {"model": wide_model.name, "sample": "coffee"}

    def slow(*_: object) -> dict:
        assert finish.wait(30)
        return {}

    monkeypatch.setattr(service_module.DemoService, "check", slow)
    with ThreadPoolExecutor(60) as pool:
        checks = [pool.submit(http.post, "check", json=subject) for _ in range(60)]
        time.sleep(0.3)
        start = time.monotonic()
        for _ in range(AT_ONCE + 1):
            assert http.get("capsule", params=subject).status_code == 200
        assert time.monotonic() - start < 5
        finish.set()
        assert [check.result(30).json() for check in checks] == [{}] * 60


def test_the_names_of_samples_and_models_come_as_text(wide_model, tmp_path: Path) -> None:
    from dataclasses import replace

    evil = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>"
    named = replace(wide_model, name=evil, class_names=(evil,) * len(wide_model.class_names))
    page = va.build_demo(named, samples={evil: SAMPLES / "chelsea.jpg"})
    opened = open_link(page.service, {"layer": evil})
    assert opened["library"]["models"] == [evil]
    assert evil not in str(page.get_config_file())  # what Gradio sends holds nothing from outside
    assert routes.PREFIX in str(page.get_config_file())
    page.service.close()
