"""The explorer's script over a model of the test's own, in headless Chromium: who is told what, and when."""

import base64
import json

import numpy as np
import pytest

import vitattn_widgets as va
from vitattn_widgets.viewer.capsule import make_capsule
from vitattn_widgets.viewer.requests import answer

from ..lab import CHROMIUM, running_browser
from .lab import PHOTOS, small_model

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here; install it with apt install chromium")

REST = 400
"""Milliseconds after which a moved control has come to rest, with a margin."""

PAGE = """async ([script, style, state]) => {
    const listeners = new Map();
    const model = {
        attributes: state, sent: [], saved: [], changed: {}, comm_live: true,
        get: (name) => model.attributes[name],
        set(name, value) {
            if (JSON.stringify(model.attributes[name]) === JSON.stringify(value)) return;
            model.attributes[name] = value;
            model.changed[name] = value;
            for (const listener of listeners.get(`change:${name}`) ?? []) listener();
        },
        save_changes() { model.saved.push(model.changed); model.changed = {}; },
        send(content, _, buffers) {
            if (content.request?.need === "operands") return; // fetched ahead, so that patches answer at once
            model.sent.push({ ...content, bytes: (buffers ?? []).map((one) => one.byteLength) });
        },
        on(event, listener) { listeners.set(event, [...(listeners.get(event) ?? []), listener]); },
        off(event, listener) { listeners.set(event, (listeners.get(event) ?? []).filter((one) => one !== listener)); },
        widget_manager: { get_model: async () => model },
        // what comes from Python: a message, or values under the names of traits
        answer(content, buffers) { for (const listener of listeners.get("msg:custom")) listener(content, buffers); },
        receive(values) {
            for (const [name, value] of Object.entries(values)) model.set(name, value);
            model.changed = {};
        },
        silent: () => [...listeners.values()].every((left) => left.length === 0),
    };
    window.bytesOf = (text) => new DataView(Uint8Array.from(atob(text), (one) => one.charCodeAt(0)).buffer);
    for (const one of [state._capsule, state._maps]) if (one.content) one.content = window.bytesOf(one.content);
    const sheet = document.createElement("style");
    sheet.textContent = style;
    document.head.append(sheet);
    const { default: widget } = await import(`data:text/javascript;base64,${script}`);
    const el = document.createElement("div");
    document.body.replaceChildren(el);
    window.model = model;
    window.stop = widget.render({ model, el });
}"""


def encoded(content):
    return base64.b64encode(content).decode()


@pytest.fixture(scope="module")
def browser():
    with running_browser() as browser:
        yield browser


@pytest.fixture(scope="module")
def explorer():
    explorer = va.AttentionExplorer(small_model(), PHOTOS)
    yield explorer
    explorer.close()


@pytest.fixture
def state(explorer):
    """The traits as a browser has them."""
    state = {name: value for name, value in explorer.get_state().items() if name not in ("_esm", "_css", "layout")}
    return state | {"_capsule": state["_capsule"] | {"content": encoded(state["_capsule"]["content"])}}


@pytest.fixture
def start(browser, explorer):
    """Show a state; gives the page, whose errors are those of the test."""
    errors, pages = [], []

    def start(state):
        page = browser.new_page(viewport={"width": 1400, "height": 1000})
        pages.append(page)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda message: message.type == "error" and errors.append(message.text))
        page.evaluate(PAGE, [encoded(explorer._esm.encode()), str(explorer._css), state])
        page.wait_for_selector(".va-viewer[data-shown]")
        return page

    yield start
    for page in pages:
        page.close()
    assert errors == []


def shown(page):
    return json.loads(page.locator(".va-viewer").get_attribute("data-shown"))


def wait_for(page, **settings):
    page.wait_for_function(
        """(wanted) => {
            const shown = JSON.parse(document.querySelector(".va-viewer").dataset.shown);
            return Object.entries(wanted).every(([k, v]) => JSON.stringify(shown[k]) === JSON.stringify(v));
        }""",
        arg=settings,
        timeout=10000,
    )


def slide(page, *layers):
    """Drag the layer slider over some layers, one frame each."""
    page.evaluate(
        """async (layers) => {
            const slider = document.querySelector(".va-viewer input[type=range]");
            for (const layer of layers) {
                slider.value = layer;
                slider.dispatchEvent(new Event("input", { bubbles: true }));
                await new Promise((done) => requestAnimationFrame(done));
            }
        }""",
        layers,
    )


def test_a_dragged_control_draws_every_frame_and_python_hears_once_when_it_rests(start, state):
    page = start(state)
    frames = page.evaluate(
        """() => {
            window.frames_ = [];
            const root = document.querySelector(".va-viewer");
            new MutationObserver(() => window.frames_.push(JSON.parse(root.dataset.shown).layer))
                .observe(root, { attributeFilter: ["data-shown"] });
        }"""
    )
    slide(page, 1, 0, 1, 0)
    assert page.evaluate("[model.saved, model.sent]") == [[], []]
    wait_for(page, layer=0)
    frames = page.evaluate("window.frames_")
    assert frames == [1, 0, 1, 0]
    page.wait_for_timeout(REST)
    assert page.evaluate("[model.saved, model.sent]") == [[{"layer": 0}], []]


def test_what_python_sets_is_shown_and_not_told_back(start, state):
    page = start(state)
    page.evaluate("model.receive({ layer: 1, head: 2, query: 'mean' })")
    wait_for(page, layer=1, head=2, query="mean")
    page.wait_for_timeout(REST)
    assert page.evaluate("model.saved") == []


def test_a_late_echo_does_not_set_the_browser_back_and_the_last_value_wins(start, state):
    page = start(state)
    slide(page, 1)
    page.wait_for_timeout(REST)  # Python is told of layer 1, and will repeat it late
    slide(page, 0)
    page.evaluate("model.receive({ layer: 1 })")
    page.wait_for_timeout(REST)
    assert shown(page)["layer"] == 0
    assert page.evaluate("[model.get('layer'), model.saved.at(-1)]") == [0, {"layer": 0}]
    page.evaluate("model.receive({ layer: 2 })")  # what comes after that counts
    wait_for(page, layer=2)


def test_another_photo_is_asked_for_once_and_shown_when_its_capsule_is_here(start, state, explorer):
    page = start(state)
    page.get_by_role("button", name="second").click()
    page.wait_for_function("model.sent.length === 1")
    (question,) = page.evaluate("model.sent")
    assert {name: question[name] for name in ("kind", "model", "picture")} == {
        "kind": "capsule",
        "model": "small",
        "picture": "second",
    }
    assert page.evaluate("model.saved[0].picture") == "second"  # before the question
    assert shown(page)["picture"] == "first"
    capture = va.capture_attention(explorer._now.model, PHOTOS["second"])
    content = encoded(make_capsule(explorer._now.model, capture, "second"))
    page.evaluate(
        """([id, content]) => {
            model.answer({ id }, []);
            model.receive({ _capsule: { model: "small", picture: "second", content: bytesOf(content) } });
        }""",
        [question["id"], content],
    )
    wait_for(page, picture="second")


def test_an_error_of_python_is_one_line_and_the_picture_stays(start, state):
    page = start(state)
    page.get_by_role("button", name="second").click()
    page.wait_for_function("model.sent.length === 1")
    page.evaluate("model.answer({ id: model.sent[0].id, error: 'second: no such file' }, [])")
    page.get_by_text("second: no such file").wait_for()
    assert shown(page)["picture"] == "first"
    page.wait_for_timeout(REST)
    assert page.evaluate("model.get('picture')") == "first"


def test_why_this_is_the_embedded_model_stands_where_models_are_chosen_until_something_is_wrong(start, state):
    note = "This is the embedded model, because the weights of vit_tiny_patch16_224 are not here."
    page = start(state | {"_menus": state["_menus"] | {"note": note}})
    line = page.locator(".va-photos .va-library-note")
    assert line.inner_text() == note
    page.evaluate("model.receive({ status: 'layer 99 does not exist' })")
    assert line.inner_text() == "layer 99 does not exist"
    page.evaluate("model.receive({ status: '' })")
    assert line.inner_text() == note
    start(state).locator(".va-library-note").wait_for(state="hidden")


def test_what_the_capsule_lacks_is_asked_for_and_kept_for_a_notebook_without_a_kernel(start, state, explorer):
    page = start(state)
    page.evaluate("model.receive({ source: 'gradient' })")
    page.wait_for_function("model.sent.length > 0")
    question = page.evaluate("model.sent[0]")
    assert question["request"]["need"] == "maps"
    content = encoded(answer(explorer._now.model, explorer._now.capture, question["request"]).content)
    kept = {key: question[key] for key in ("id", "model", "picture")} | {"content": content}
    page.evaluate(
        "(kept) => { model.answer({ id: kept.id, kept: true }, []);"
        " model.receive({ _maps: { ...kept, content: bytesOf(kept.content) } }); }",
        kept,
    )
    wait_for(page, source="gradient")
    reopened = start(state | {"_maps": kept, "source": "gradient"})
    wait_for(reopened, source="gradient")
    assert [one for one in reopened.evaluate("model.sent") if one["request"] == question["request"]] == []


def test_without_a_kernel_what_is_here_works_and_the_rest_says_so_in_one_line(start, state):
    page = start(state)
    page.evaluate("model.comm_live = false")
    slide(page, 0)
    wait_for(page, layer=0)
    page.get_by_role("button", name="second").click()
    page.get_by_text("no kernel answers").wait_for()
    assert shown(page)["picture"] == "first"
    assert page.evaluate("model.sent") == []


def test_a_kernel_that_goes_while_it_is_asked_is_noticed(start, state):
    page = start(state)
    page.get_by_role("button", name="second").click()
    page.wait_for_function("model.sent.length === 1")
    page.evaluate("model.comm_live = false")
    page.get_by_text("no kernel answers").wait_for(timeout=8000)


def test_a_photo_is_sent_in_parts(start, state):
    page = start(state)
    noise = np.random.default_rng(0).integers(0, 256, (5 << 19,), np.uint8).tobytes()
    page.locator("input[type=file]").set_input_files([{"name": "large.png", "mimeType": "image/png", "buffer": noise}])
    page.wait_for_function("model.sent.length === 3")
    sent = page.evaluate("model.sent")
    assert len({part["id"] for part in sent}) == 1
    assert [(part["kind"], part["name"], part["last"], part["bytes"]) for part in sent] == [
        ("upload", "large.png", False, [1 << 20]),
        ("upload", "large.png", False, [1 << 20]),
        ("upload", "large.png", True, [1 << 19]),
    ]
    page.evaluate("model.answer({ id: model.sent[0].id, name: 'large.png (2)' }, [])")
    page.wait_for_function("model.get('picture') === 'large.png (2)'")


def test_a_removed_explorer_listens_to_nothing(start, state):
    page = start(state)
    slide(page, 0)
    page.evaluate("stop()")
    assert page.evaluate("model.silent()")
    page.wait_for_function("model.saved.length === 1")  # what was on its way to rest
    assert page.evaluate("model.saved") == [{"layer": 0}]
