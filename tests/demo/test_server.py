"""The running page through gradio_client and plain requests: what programs get, and what nobody gets."""

from __future__ import annotations

import gc
import io
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import httpx
import numpy as np
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image

import vitattn_widgets as va
from vitattn_widgets.demo.controls import BELOW, BESIDES, CONTROLS, ROWS, Controls
from vitattn_widgets.demo.server import ServerOptions, _start, read_auth
from vitattn_widgets.maps.settings import SINKS

from .. import model_zoo
from ..conftest import noise_photo
from ..lab import ROOT

MAX_UPLOAD = 200_000


@contextmanager
def running_page(
    model: va.models.AttentionModel, folder: Path, host: str = "127.0.0.1", max_pixels: int = 200_000, **options
):
    """Serve the page on a free port; gives its address and its folder of uploads."""
    before = os.environ.get("GRADIO_TEMP_DIR")
    os.environ["GRADIO_TEMP_DIR"] = str(folder)
    page = va.build_demo(model, max_upload=MAX_UPLOAD, max_pixels=max_pixels)
    try:
        _, address, _ = page.launch(server_name=host, prevent_thread_lock=True, quiet=True, **options)
        yield address.rstrip("/"), page
    finally:
        page.close(verbose=False)
        if before is None:
            del os.environ["GRADIO_TEMP_DIR"]
        else:
            os.environ["GRADIO_TEMP_DIR"] = before


@pytest.fixture(scope="module")
def model() -> va.models.AttentionModel:
    return va.load_model(model_zoo.build("vit", model_zoo.WIDE))


@pytest.fixture(scope="module")
def page(model: va.models.AttentionModel, tmp_path_factory: pytest.TempPathFactory):
    with running_page(model, tmp_path_factory.mktemp("gradio")) as (address, page):
        yield address, page


@pytest.fixture(scope="module")
def client(page) -> Client:
    return Client(page[0], verbose=False)


def photo_file(folder: Path, seed: int = 0) -> Path:
    path = folder / f"photo{seed}.png"
    Image.fromarray(noise_photo((80, 150), seed)).save(path)
    return path


def shown_picture(html: str) -> np.ndarray:
    """The pixels of the page's picture."""
    import base64

    content = html.partition("base64,")[2].partition('"')[0]
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(content))))


def values(model: va.models.AttentionModel, **changed) -> list:
    controls = Controls(model.name, **changed)
    return [list(value) if isinstance(value := getattr(controls, name), tuple) else value for name in CONTROLS]


def picture_of(updates: dict) -> str:
    """The picture in an answer of the page."""
    return updates["picture"]["value"]


def test_map_gives_what_render_view_draws(client: Client, model: va.models.AttentionModel, tmp_path: Path) -> None:
    path = photo_file(tmp_path)
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
    path = photo_file(tmp_path)
    asked = {"source": "gradient_late", "target": "3", "sinks": "leave_out", "layer": 1}
    picture, _, caption = client.predict(photo=handle_file(path), model=model.name, **asked, api_name="/map")
    settings = va.ViewSettings(source="gradient_late", target=3, sinks="leave_out", layer=1)
    capture = va.complete_capture(model, va.capture_attention(model, path), settings)
    wanted = va.render_view(capture, settings)
    np.testing.assert_array_equal(np.asarray(Image.open(picture)), wanted.image)
    assert caption == wanted.caption


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
    names = list(types)
    assert names[-4:] == ["cmap", "source", "target", "sinks"]  # after the previous files


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
        client.predict(photo=handle_file(photo_file(tmp_path)), **arguments, api_name="/map")
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
    assert client.predict(photo=handle_file(photo_file(tmp_path)), model=model.name, api_name="/map")


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
        said = call(address, [file, *values(model)[: -len(BELOW)]], number)
        assert '"success":false' in said
        assert "root:" not in said
        assert "Traceback" not in said


def test_the_server_fetches_no_address_for_a_visitor(page, model: va.models.AttentionModel) -> None:
    address, blocks = page
    number = next(key for key, function in blocks.fns.items() if function.api_name == "map")
    file = {"path": f"{address}/config", "meta": {"_type": "gradio.FileData"}}
    assert "addresses are not accepted" in call(address, [file, *values(model)[: -len(BELOW)]], number)


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
    ],
)
def test_no_file_of_the_server_can_be_read(page, client: Client, model, tmp_path: Path, request_path: str) -> None:
    address, blocks = page
    client.predict(handle_file(photo_file(tmp_path)), *values(model), api_name="/bring")
    uploads = Path(blocks.service.uploads._folder.name)
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


def test_two_visitors_never_see_each_others_picture(page, model: va.models.AttentionModel, tmp_path: Path) -> None:
    from concurrent.futures import ThreadPoolExecutor

    def visit(seed: int) -> None:
        path = photo_file(tmp_path, seed)
        capture = va.capture_attention(model, path)
        visitor = Client(page[0], verbose=False)
        visitor.predict(handle_file(path), *values(model), api_name="/bring")
        for layer in (0, 1, 2, 0, 1):
            html = picture_of(visitor.predict(*values(model, layer=layer), api_name="/change"))
            wanted = va.render_view(capture, va.ViewSettings(layer=layer)).image
            np.testing.assert_array_equal(shown_picture(html), wanted)

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(visit, range(6)))


def test_a_visitor_who_moves_controls_for_hours_costs_no_more(
    page, model: va.models.AttentionModel, tmp_path: Path
) -> None:
    address, blocks = page
    visitor = Client(address, verbose=False)
    visitor.predict(handle_file(photo_file(tmp_path, seed=9)), *values(model), api_name="/bring")

    def move(count: int) -> tuple[int, int]:
        """Make some changes; gives the components that Gradio keeps for all visitors, and the objects alive."""
        for step in range(count):
            head, query = ("all", "0", "1")[step % 3], f"{step % 4},{step % 6}"
            moved = values(
                model,
                **{"layer": step % 3, "head": head, "query": query, "opacity": step % 10 / 10},
                **{"source": va.SOURCES[step % 6], "target": str(step % 5), "sinks": SINKS[step % 3]},
                **{"beside": BESIDES[step % 3], "row": ROWS[step % 5], "first": "1", "second": "2"},
            )
            visitor.predict(*moved, api_name="/change")
            visitor.predict({"head": step % 3}, *moved, api_name="/choose")
            visitor.predict(*moved, api_name=("/add", "/empty", "/use", "/clear")[step % 4])
        gc.collect()
        kept = blocks.app.state_holder.session_data.values()
        return sum(len(session.blocks_config.blocks) for session in kept), len(gc.get_objects())

    components, objects = move(8)
    for _ in range(2):
        components_then, objects_then = move(10)
        assert components_then == components
    assert objects_then - objects < 60 * 20  # after 60 requests: short-lived objects vary, copies would be more


@pytest.mark.parametrize("path", ["/monitoring", "/monitoring/summary", "/gradio_api/monitoring/summary"])
def test_nothing_tells_what_other_visitors_do(page, path: str) -> None:
    assert httpx.get(page[0] + path).status_code in (403, 404)


def test_a_choice_that_does_not_exist_leaves_the_picture_and_puts_its_control_back(page, model, tmp_path) -> None:
    visitor = Client(page[0], verbose=False)
    visitor.predict(handle_file(photo_file(tmp_path, seed=4)), *values(model), api_name="/bring")
    good = values(model, layer=1, source="gradient", target="2", opacity=0.7)
    visitor.predict(*good, api_name="/change")
    for wrong in ({"target": "zebra"}, {"query": "dist"}, {"source": "saliency"}, {"model": "other"}, {"layer": "x"}):
        sent = {"layer": 1, "source": "gradient", "target": "2", "opacity": 0.7} | wrong
        if wrong == {"query": "dist"}:
            sent["query"] = "9,"
        model_name = sent.pop("model", model.name)
        answer = visitor.predict(model_name, *values(model, **sent)[1:], api_name="/change")
        name = next(iter(wrong))
        wanted = {"target": "2", "query": "default", "source": "gradient", "model": model.name, "layer": 1}[name]
        assert {part: update for part, update in answer.items() if update} == {name: {"value": wanted}}


def test_a_check_says_what_check_map_says_of_which_map(page, model: va.models.AttentionModel, tmp_path: Path) -> None:
    path = photo_file(tmp_path, seed=5)
    visitor = Client(page[0], verbose=False)
    visitor.predict(handle_file(path), *values(model), api_name="/bring")
    sent = values(model, layer=1, source="gradient", target="2")
    shown = visitor.predict(*sent, api_name="/change")
    answer = visitor.predict(*sent, api_name="/check")
    assert f'data-map="{answer["map"]}"' in picture_of(shown)
    settings = va.ViewSettings(layer=1, source="gradient", target=2)
    capture = va.complete_capture(model, va.capture_attention(model, path), settings)
    assert all(sentence in answer["html"] for sentence in va.check_map(model, capture, settings).sentences)
    with pytest.raises(AppError, match="there is no class 'zebra'"):
        visitor.predict(*values(model, target="zebra"), api_name="/check")


def test_a_visitor_without_a_picture_gets_nobodys(page, model: va.models.AttentionModel) -> None:
    with pytest.raises(AppError, match="there is no picture yet"):
        Client(page[0], verbose=False).predict(*values(model), api_name="/change")


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
        assert client.predict(photo=handle_file(photo_file(tmp_path)), model=model.name, api_name="/map")


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


def test_a_port_that_does_not_exist_is_one_line(model: va.models.AttentionModel) -> None:
    page = va.build_demo(model)
    try:
        with pytest.raises(
            va.errors.SettingsError, match=r"port 99999999: .* outside 0\.\.65535; choose another --port"
        ):
            _start(page, ServerOptions(port=99999999))
    finally:
        page.close(verbose=False)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


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
