"""What the explorer answers to a browser: capsules, what they lack, files, checks and uploads."""

import io
import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load

import vitattn_widgets as va
from vitattn_widgets.comparison.panels import Panel
from vitattn_widgets.errors import SettingsError
from vitattn_widgets.explorer import messages
from vitattn_widgets.explorer.state import KEPT
from vitattn_widgets.explorer.views import CONTROLS
from vitattn_widgets.figures.paper import comparison_figure, figure_bytes
from vitattn_widgets.view.settings import VIEW_FIELDS
from vitattn_widgets.viewer.capsule import make_capsule
from vitattn_widgets.viewer.requests import answer

from .lab import PHOTOS, decoded, photo, small_model

OPERANDS = {"need": "operands", "layer": 1}
MAPS = {"need": "maps", "source": "gradient", "layers": [0, 2], "query": None, "target": 3, "fusion": None}


@pytest.fixture(scope="module")
def model():
    return small_model()


@pytest.fixture
def explorer(model):
    with_two = va.AttentionExplorer(model, PHOTOS)
    yield with_two
    with_two.close()


@pytest.fixture
def ask(explorer, monkeypatch):
    """Ask as a browser does; gives the reply and its bytes."""
    sent = []
    monkeypatch.setattr(explorer, "send", lambda content, buffers=(): sent.append((content, buffers)))

    def ask(kind, buffers=(), **content):
        sent.clear()
        explorer._handle_custom_msg({"id": "7", "kind": kind, **content}, list(buffers))
        if not sent:
            return None
        ((reply, data),) = sent
        assert reply.pop("id") == "7"
        return reply, bytes(data[0]) if data else None

    return ask


def state_of(explorer, **changes):
    return {name: getattr(explorer, name) for name in (*CONTROLS, *KEPT)} | changes


def test_the_capsule_of_the_current_photo_travels_as_a_trait_and_others_as_messages(explorer, model, ask):
    assert ask("capsule", model="small", picture="first") == ({}, None)
    assert explorer._capsule["picture"] == "first"
    other = make_capsule(model, va.capture_attention(model, PHOTOS["second"]), "second")
    assert ask("capsule", model="small", picture="second") == ({}, other)
    assert (explorer.picture, explorer._capsule["picture"]) == ("first", "first")


PARTS = [{"need": need, "target": 3} for need in ("answers", "direct", "silenced")]


@pytest.mark.parametrize("request_", [OPERANDS, MAPS, *PARTS], ids=lambda request: request["need"])
def test_what_the_current_capsule_lacks_travels_as_a_trait_and_goes_with_its_photo(explorer, model, ask, request_):
    wanted = answer(model, va.capture_attention(model, PHOTOS["first"]), request_).content
    assert ask("more", model="small", picture="first", request=request_) == ({"kept": True}, None)
    kept = f"_{request_['need']}"
    assert getattr(explorer, kept) == {"id": "7", "model": "small", "picture": "first", "content": wanted}
    reply, content = ask("more", model="small", picture="second", request=request_)
    assert reply == {}
    assert set(load(content)) == set(load(wanted))
    assert getattr(explorer, kept)["content"] == wanted
    explorer.picture = "second"
    assert getattr(explorer, kept) == {}


def test_what_an_answer_computed_is_kept(explorer, ask):
    ask("more", model="small", picture="first", request=MAPS)
    settings = va.ViewSettings(source="gradient", target=3)
    kept = explorer.store.get(explorer._now.model, "first", lambda: pytest.fail("the capture is gone"))
    for capture in (kept, explorer._now.capture):
        va.render_view(capture, settings)  # raises without the gradients


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"kind": "capsule", "model": "small", "picture": "third"}, "there is no picture 'third'"),
        ({"kind": "more", "model": "small", "picture": "first", "request": {"need": "all"}}, "possible"),
        ({"kind": "dance"}, "does not know the message 'dance'"),
    ],
)
def test_an_error_is_one_line(explorer, ask, content, words):
    reply, data = ask(**content)
    assert words in reply["error"]
    assert "\n" not in reply["error"]
    assert data is None
    assert (explorer.picture, explorer._busy) == ("first", False)


def test_a_defect_is_reported_to_the_browser_and_raised(explorer, ask, monkeypatch):
    monkeypatch.setattr(messages, "make_capsule", lambda *_: {}["no key"])
    with pytest.raises(KeyError):  # without the dispatcher of callbacks, which logs it
        explorer._receive(None, {"id": "7", "kind": "capsule", "model": "small", "picture": "second"}, [])
    assert ask("capsule", model="small", picture="second") == ({"error": messages.BROKEN}, None)


def test_files_hold_what_the_browser_shows_even_before_the_traits_have_it(explorer, model, ask):
    state = state_of(explorer, head=1, query=[2, 3], layer=0)
    name = "first-small-layer0-head1"
    settings = va.ViewSettings(**{field: state[field] for field in VIEW_FIELDS})
    wanted = va.render_view(explorer.capture, settings)
    reply, content = ask("file", what="png", state=state)
    assert reply == {"name": f"{name}.png", "mime": "image/png"}
    assert np.array_equal(decoded(content), wanted.image)
    reply, content = ask("file", what="npz", state=state)
    assert reply["name"] == f"{name}.npz"
    with np.load(io.BytesIO(content)) as arrays:
        assert np.array_equal(arrays["grid_map"], wanted.grid_map)
        assert str(arrays["caption"]) == wanted.caption
    reply, content = ask("file", what="recipe", state=state)
    assert reply["name"] == f"{name}.json"
    assert np.array_equal(va.from_recipe(json.loads(content), model=model, picture=photo(1)).image, wanted.image)
    reply, content = ask("file", what="page", state=state)
    assert reply == {"name": f"{name}.html", "mime": "text/html"}
    assert content == va.export.make_page(model, explorer.capture, settings, name="first").content
    assert explorer.layer == 2
    assert (explorer.status, explorer._busy) == ("", False)


def test_the_comparison_is_a_figure(explorer, model, ask):
    explorer.compare(layers=[0, 2])
    reply, content = ask("file", what="comparison", state=state_of(explorer))
    assert reply == {"name": "comparison.png", "mime": "image/png"}
    panels = [Panel(explorer.capture, replace(explorer.settings, layer=layer), "first") for layer in (0, 2)]
    figure = comparison_figure(panels, "robust", difference=True)
    assert np.array_equal(decoded(content), decoded(figure_bytes(figure)))
    assert content == explorer.comparison_png()


def test_a_page_that_cannot_be_made_is_an_error_of_one_line(explorer, ask, monkeypatch):
    def refuse(*_, **__):
        raise SettingsError("more maps than fit")

    monkeypatch.setattr("vitattn_widgets.explorer.messages.make_page", refuse)
    assert ask("file", what="page", state=state_of(explorer)) == ({"error": "more maps than fit"}, None)
    assert not explorer._busy


def test_the_check_is_of_what_the_browser_shows(explorer, model, ask):
    state = state_of(explorer, source="gradient", layer=1, target=2)
    reply, _ = ask("check", state=state)
    settings = va.ViewSettings(**{field: state[field] for field in VIEW_FIELDS})
    wanted = va.check_map(model, va.capture_attention(model, PHOTOS["first"]), settings)
    assert reply["facts"] == json.loads(json.dumps(wanted.as_json()))


def upload(ask, name, content, size):
    parts = [content[start : start + size] for start in range(0, len(content), size)] or [b""]
    for number, part in enumerate(parts, 1):
        reply = ask("upload", [memoryview(part)], name=name, last=number == len(parts))
        assert (reply is None) == (number < len(parts))
    return reply[0]


def test_an_uploaded_picture_is_added_under_a_free_name(explorer, ask):
    stream = io.BytesIO()
    Image.fromarray(photo(3)).save(stream, "PNG")
    assert upload(ask, "mine.png", stream.getvalue(), 1000) == {"name": "mine.png"}
    assert [entry["name"] for entry in explorer._menus["pictures"]] == ["first", "second", "mine.png"]
    explorer.picture = "mine.png"  # as the viewer does
    assert np.array_equal(explorer.capture.source, photo(3))
    assert upload(ask, "mine.png", stream.getvalue(), 10**9) == {"name": "mine.png (2)"}


@pytest.mark.parametrize(("content", "words"), [(b"", "the file is empty"), (b"no picture at all", "not a picture")])
def test_an_upload_that_is_no_picture_is_an_error_and_not_added(explorer, ask, content, words):
    assert f"mine.png: {words}" in upload(ask, "mine.png", content, 1000)["error"]
    assert len(explorer._menus["pictures"]) == 2
    assert explorer.picture == "first"


def test_an_upload_without_end_does_not_fill_the_memory(explorer, ask, monkeypatch):
    monkeypatch.setattr(messages, "UPLOAD_LIMIT", 1000)
    for _ in range(50):
        ask("upload", [bytes(300)], name="x", last=False)
    assert sum(map(len, explorer._uploads.values())) <= 1000
    reply, _ = ask("upload", [bytes(300)], name="x", last=True)
    assert "not a picture" in reply["error"]
