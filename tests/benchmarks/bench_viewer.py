"""How long a moved control takes until its picture is on the screen, in headless Chromium, by the browser's own clock.

    python -m tests.benchmarks.bench_viewer
    python -m tests.benchmarks.bench_viewer --doors notebook --panels 4

The doors are an offline page opened from a disk, the page of a server, and a real JupyterLab.

A time runs from the control's event to the end of the frame in which ``data-shown`` of ``.va-viewer`` is set. Frames
come as fast as they can be made, so that the time is the viewer's own; a screen adds its wait for the next refresh, and
with ``--refresh`` the browser waits for 60 of them a second too. All steps of smoothing are on. Every map is one that
was not drawn before: between two moves, which are not timed, another patch becomes the query. With ``--panels`` the row
of a comparison is open below the picture. Requests and messages to the kernel are counted for all the moves of a
control; in a notebook besides, while the layers are dragged for twenty frames and until they have rested for a second.

Weights are the published ones where they are in the cache, else random ones: maps of these are noise, for which the
median over a disk takes longest. A model without sinks has no times for their control. The limit on the size of a file
is lifted, so that patches can be measured at 518 px.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.conftest import SAMPLES  # sets the offline cache before timm is imported

# isort: split
import numpy as np
import safetensors.numpy
from playwright.sync_api import Browser, Page

import vitattn_widgets as va
from tests.benchmarks.bench_export import load
from tests.lab import CHROMIUM, open_and_run, running_browser, running_lab, write_notebook
from vitattn_widgets.export import page as page_module
from vitattn_widgets.viewer import make_capsule

MODELS = ("vit_tiny_patch16_224", "vit_small_patch14_dinov2.lvd142m")
VIEWER = ".va-viewer[data-shown]"
CONTROLS = ("layer", "head", "aggregation", "opacity", "smoothing", "sinks", "patch")
SIZE = {"width": 1440, "height": 900}
UNLIMITED = ("--disable-frame-rate-limit", "--disable-gpu-vsync")

WATCH_FIRST = """addEventListener("DOMContentLoaded", () => new MutationObserver((_, observer) => {
    if (!document.querySelector(".va-viewer[data-shown]")) return;
    observer.disconnect();
    globalThis.firstPicture = performance.now();
}).observe(document.body, { subtree: true, attributeFilter: ["data-shown"] }))"""

MOVE = """async ([control, count]) => {
    const root = document.querySelector(".va-viewer");
    const stage = root.querySelector(".va-stage");
    const fieldOf = (label) =>
        [...root.querySelectorAll(".va-field")].find((one) => one.textContent.trim().startsWith(label));
    const slide = (input, value) => {
        input.value = value;
        input.dispatchEvent(new Event("input", { bubbles: true }));
    };
    const next = (label) => {
        const inputs = [...fieldOf(label).querySelectorAll("input:enabled")];
        inputs[(inputs.findIndex((one) => one.checked) + 1) % inputs.length].click();
    };
    const layer = root.querySelector(".va-layers input[type=range]");
    let patch = 0;
    const other = () => {
        patch += 1;
        const { left, top, width, height } = stage.getBoundingClientRect();
        const place = {
            clientX: left + (((5 * patch) % 13) + 0.5) / 14 * width,
            clientY: top + (((3 * patch + Math.floor(patch / 13)) % 13) + 0.5) / 14 * height,
        };
        for (const kind of ["pointerdown", "pointerup"]) {
            stage.dispatchEvent(new PointerEvent(kind, { ...place, pointerId: 1, bubbles: true }));
        }
    };
    const moves = {
        layer: () => slide(layer, (Number(layer.value) + 5) % (Number(layer.max) + 1)),
        head: () => next("Head"),
        aggregation: () => next("Heads together"),
        opacity: () => slide(fieldOf("Opacity").querySelector("input"), 0.3 + (patch % 60) / 100),
        smoothing: () => fieldOf("Smoothing").querySelectorAll("input")[patch % 3].click(),
        sinks: () => next("Sink patches"),
        patch: other,
    };
    const timed = (move) => new Promise((done, fail) => {
        const late = setTimeout(() => fail(new Error(`${control}: no picture`)), 10000);
        const observer = new MutationObserver(() => {
            observer.disconnect();
            clearTimeout(late);
            // this message comes after the frame is painted
            const { port1, port2 } = new MessageChannel();
            port1.onmessage = () => done(performance.now() - start);
            port2.postMessage(null);
        });
        observer.observe(root, { attributeFilter: ["data-shown"] });
        const start = performance.now();
        move();
    });
    fieldOf("Head").querySelector("input").click(); // all heads, or there is nothing to aggregate
    for (let number = Number(layer.max); number >= 0; number -= 1) {
        slide(layer, number);
        await new Promise((go) => setTimeout(go, 300));
        if (control !== "sinks" || fieldOf("Sink patches").querySelector("input:enabled")) break;
        if (number === 0) return [];
    }
    const times = [];
    for (let turn = 0; turn < count; turn += 1) {
        if (control !== "patch") await timed(other);
        await new Promise((go) => setTimeout(go, 150 + 10 * Math.random()));
        times.push(await timed(moves[control]));
        if (control === "smoothing") await timed(moves[control]);
    }
    return times;
}"""

CELL = """
import vitattn_widgets as va
model = va.load_model({model!r}, pretrained={pretrained})
explorer = va.AttentionExplorer(model, {photo!r}, panels=[{{"layer": layer}} for layer in range({panels})])
explorer
"""

DRAG = """async () => {
    const slider = document.querySelector(".va-viewer .va-layers input[type=range]");
    for (let step = 0; step < 20; step += 1) {
        slider.value = (7 * step) % (Number(slider.max) + 1);
        slider.dispatchEvent(new Event("input", { bubbles: true }));
        await new Promise((done) => requestAnimationFrame(done));
    }
}"""


@dataclass(frozen=True)
class Subject:
    """What is looked at."""

    model: va.models.AttentionModel
    published: bool  # weights
    photo: Path
    panels: int


Door = Callable[[Page, Subject, Path], AbstractContextManager[None]]


@contextmanager
def file_door(page: Page, subject: Subject, folder: Path) -> Iterator[None]:
    path = folder / "page.html"
    written = va.export_page(subject.model, subject.photo, path)
    print(f"file: {len(written.content) / 1e6:.2f} MB")
    page.context.set_offline(True)
    page.goto(path.as_uri())
    yield


@contextmanager
def page_door(page: Page, subject: Subject, _: Path) -> Iterator[None]:
    demo = va.build_demo(subject.model, samples={subject.photo.name: subject.photo})
    try:
        _, address, _ = demo.launch(prevent_thread_lock=True, quiet=True)
        page.goto(address)
        yield
    finally:
        demo.close()


@contextmanager
def notebook_door(page: Page, subject: Subject, folder: Path) -> Iterator[None]:
    facts = {"model": subject.model.name, "pretrained": subject.published, "photo": str(subject.photo)}
    write_notebook(folder / "bench.ipynb", CELL.format(**facts, panels=subject.panels))
    with running_lab(folder) as (address, token):
        open_and_run(page, address, token, "bench.ipynb", VIEWER)
        yield


DOORS: dict[str, Door] = {"file": file_door, "page": page_door, "notebook": notebook_door}
"""How to open the viewer, by the name of the door: each shows a page whose first ``.va-viewer`` is to be measured."""


def light_sizes(model: va.models.AttentionModel, photo: Path) -> str:
    """The size of the light capsule, in words."""
    content = make_capsule(model, va.capture_attention(model, photo), photo.name)
    tensors = safetensors.numpy.load(content)
    pixels = sum(tensors[name].nbytes for name in ("view", "photo"))
    return f"{(len(content) - pixels) / 1000:.0f} kB, and {pixels / 1000:.0f} kB of pixels"


def sent_by(page: Page) -> list[str]:
    """The addresses of requests and the messages from widgets to the kernel, as they are sent."""
    sent: list[str] = []

    def note(payload: str | bytes) -> None:
        text = payload.decode("utf-8", "replace") if isinstance(payload, bytes) else payload
        if "comm_msg" in text:
            sent.append("message")

    page.on("request", lambda request: sent.append(request.url))
    page.on("websocket", lambda socket: socket.on("framesent", note))
    return sent


def measure(door: str, browser: Browser, subject: Subject, count: int) -> None:
    """Print a line per control."""
    context = browser.new_context(viewport=SIZE, locale="en")
    context.add_init_script(WATCH_FIRST)
    page = context.new_page()
    sent = sent_by(page)
    with tempfile.TemporaryDirectory() as folder, DOORS[door](page, subject, Path(folder)):
        page.wait_for_selector(VIEWER, timeout=60_000)
        if door != "notebook":
            print(f"{door}: first picture after {page.evaluate('firstPicture'):.0f} ms")
        if subject.panels:
            page.get_by_role("button", name="Compare").first.click()
        page.wait_for_timeout(3000)  # what the viewer fetches ahead is here
        page.mouse.move(600, 400)  # the pointer that the scripts move must be there
        for control in CONTROLS:
            page.evaluate(MOVE, [control, 5])
            page.wait_for_timeout(1000)
            sent.clear()
            times = page.evaluate(MOVE, [control, count])
            line = f"{door} | {subject.model.name} | {control} | "
            if times:
                median, late = np.percentile(times, (50, 95))
                line += f"median {median:.1f} ms | 95 %: {late:.1f} ms | {count_words(door, sent)}"
            print(line if times else f"{line}none in any layer", flush=True)
        if door == "notebook":
            page.wait_for_timeout(2000)
            sent.clear()
            page.evaluate(DRAG)
            dragged = sent.count("message")
            page.wait_for_timeout(1000)
            print(f"dragged over 20 layers: {dragged} messages; when it rests: {sent.count('message') - dragged}")
    context.close()


def count_words(door: str, sent: list[str]) -> str:
    """How many requests, or messages where JupyterLab makes requests of its own, in words."""
    messages = sent.count("message")
    return f"{messages} messages" if door == "notebook" else f"{len(sent) - messages} requests"


def main() -> None:
    """Measure each door with each model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=MODELS, help="timm names")
    parser.add_argument("--doors", nargs="+", choices=DOORS, default=[*DOORS])
    parser.add_argument("--photo", type=Path, default=SAMPLES / "chelsea.jpg", help="picture file")
    parser.add_argument("--count", type=int, default=60, help="moves per control")
    parser.add_argument("--panels", type=int, default=0, help="panels of a comparison below the picture of a notebook")
    parser.add_argument(
        "--refresh", action="store_true", help="frames wait for a screen that refreshes 60 times a second"
    )
    options = parser.parse_args()
    if CHROMIUM is None:
        raise SystemExit("no Chromium here")
    page_module.MAX_BYTES = 1 << 30
    for name in options.models:
        model, weights = load(name)
        subject = Subject(model, weights == "published", options.photo, options.panels)
        print(f"{name}, {weights} weights; light capsule: {light_sizes(model, options.photo)}")
        for door in options.doors:
            with running_browser(*() if options.refresh else UNLIMITED) as browser:
                measure(door, browser, subject, options.count)


if __name__ == "__main__":
    main()
