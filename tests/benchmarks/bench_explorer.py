"""How long a moved control takes until its picture is on the screen, in a real JupyterLab in headless Chromium.

    python -m tests.benchmarks.bench_explorer
    python -m tests.benchmarks.bench_explorer --panels 4

Times are those of `bench_viewer`, by the browser's own clock. Counted besides: the messages that reach the kernel while
a control is dragged over twenty values, one a frame, and until it has rested for a second. With ``--panels`` the row of
a comparison is open below the picture.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from tests.conftest import SAMPLES  # sets the offline cache before timm is imported

# isort: split
import numpy as np
from playwright.sync_api import Page

from tests.benchmarks.bench_export import load
from tests.benchmarks.bench_viewer import CONTROLS, MOVE, SIZE, UNLIMITED
from tests.lab import CHROMIUM, open_and_run, running_browser, running_lab, write_notebook

CELL = """
import vitattn_widgets as va
model = va.load_model({model!r}, pretrained={pretrained})
explorer = va.AttentionExplorer(model, {photo!r}, panels=[{{"layer": layer}} for layer in range({panels})])
explorer
"""

VIEWER = ".va-viewer[data-shown]"

DRAG = """async () => {
    const slider = document.querySelector(".va-viewer .va-layers input[type=range]");
    for (let step = 0; step < 20; step += 1) {
        slider.value = (7 * step) % (Number(slider.max) + 1);
        slider.dispatchEvent(new Event("input", { bubbles: true }));
        await new Promise((done) => requestAnimationFrame(done));
    }
}"""


def main() -> None:
    """Print a line per control."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default="vit_tiny_patch16_224", help="timm name")
    parser.add_argument("--photo", type=Path, default=SAMPLES / "chelsea.jpg", help="picture file")
    parser.add_argument("--count", type=int, default=60, help="moves per control")
    parser.add_argument("--panels", type=int, default=0, help="panels of a comparison below the picture")
    options = parser.parse_args()
    if CHROMIUM is None:
        raise SystemExit("no Chromium here")
    _, weights = load(options.model)
    cell = CELL.format(
        model=options.model, pretrained=weights == "published", photo=str(options.photo), panels=options.panels
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_notebook(folder / "bench.ipynb", cell)
        with running_lab(folder) as (address, token), running_browser(*UNLIMITED) as browser:
            page = browser.new_page(viewport=SIZE)
            messages = _comm_messages(page)
            open_and_run(page, address, token, "bench.ipynb", VIEWER)
            if options.panels:
                page.get_by_role("button", name="Compare").first.click()
            page.wait_for_timeout(3000)  # what the viewer fetches ahead is here
            print(f"{options.model}, {weights} weights, JupyterLab, {options.panels} panels")
            _measure(page, options.count, messages)


def _measure(page: Page, count: int, messages: list[str]) -> None:
    page.mouse.move(600, 400)  # the pointer that the scripts move must be there
    for control in CONTROLS:
        page.evaluate(MOVE, [control, 5])
        median, late = np.percentile(page.evaluate(MOVE, [control, count]), (50, 95))
        print(f"{control} | median {median:.1f} ms | 95 %: {late:.1f} ms", flush=True)
    page.wait_for_timeout(2000)
    messages.clear()
    page.evaluate(DRAG)
    dragged = len(messages)
    page.wait_for_timeout(1000)
    print(f"dragged over 20 layers: {dragged} messages; when it rests: {len(messages) - dragged}")


def _comm_messages(page: Page) -> list[str]:
    """The messages from widgets to the kernel, as they are sent."""
    messages: list[str] = []

    def note(payload: str | bytes) -> None:
        text = payload.decode("utf-8", "replace") if isinstance(payload, bytes) else payload
        if "comm_msg" in text:
            messages.append(text)

    page.on("websocket", lambda socket: socket.on("framesent", note))
    return messages


if __name__ == "__main__":
    main()
