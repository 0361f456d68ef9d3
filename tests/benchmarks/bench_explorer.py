"""How long a moved control takes until its picture is shown, in a real JupyterLab in headless Chromium.

Run by hand: ``python tests/benchmarks/bench_explorer.py``; it needs Chromium and the model's weights. With ``--random``
the weights are random, which is the slow case: the median over a disk takes longer where a map is noise.

Shown: from the control's event to the first frame after the picture was drawn, as the browser's clock has it; and of
that the kernel's part, from the message's arrival until everything was sent. A new query draws the overview anew, after
the picture is sent; the kernel's part has it, what is waited for has not.

With ``--panels 4`` the same is measured in turns without panels and with four, all on the screen, and the ratio is
shown: the row of panels follows the picture and must not hold it up.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np
from playwright.sync_api import Page

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from lab import CHROMIUM, ROOT, open_and_run, running_browser, running_lab, write_notebook

CELL = """
import time, vitattn_widgets as va
model = va.load_model("{model}", pretrained={pretrained})
explorer = va.AttentionExplorer(model, "{photo}")
handle = explorer._handle_msg
def timed(message):
    start = time.perf_counter()
    handle(message)
    took = time.perf_counter() - start
    with open("kernel.txt", "a") as file:
        print(1000 * took, file=file)
explorer.comm.on_msg(timed)
explorer
"""

SCENARIOS = {
    "layer slider": """(turn) => slide("Layer", turn % layers)""",
    "opacity slider": """(turn) => slide("Opacity", 0.2 + (turn % 50) / 100)""",
    "head": """(turn) => root.querySelectorAll("input[name$=-head]")[(turn + 1) % heads].click()""",
    "overview cell": """(turn) => root.querySelectorAll(".va-cells button")[(7 * turn) % cells].click()""",
    "smoothing step": """() => root.querySelectorAll("input[type=checkbox]")[2].click()""",
    "clicked patch": """(turn) => {
        const box = root.querySelector(".va-stage").getBoundingClientRect();
        const x = box.left + ((5 * turn) % 13 + 0.5) / 14 * box.width;
        const y = box.top + ((3 * turn) % 13 + 0.5) / 14 * box.height;
        const click = new MouseEvent("click", { clientX: x, clientY: y, bubbles: true });
        root.querySelector(".va-stage").dispatchEvent(click);
    }""",
}

MEASURE = """async ([action, count]) => {
    const root = document.querySelector(".va-explorer");
    const layers = Number(root.querySelector("input[aria-label=Layer]").max) + 1;
    const heads = root.querySelectorAll("input[name$=-head]").length;
    const cells = root.querySelectorAll(".va-cells button").length;
    const slide = (label, value) => {
        const slider = root.querySelector(`input[aria-label=${label}]`);
        slider.value = value;
        slider.dispatchEvent(new Event("input", { bubbles: true }));
    };
    const act = eval(action);
    const times = [];
    for (let turn = 0; turn < count; turn += 1) {
        const shown = new Promise((done) => {
            const observer = new MutationObserver(() => {
                observer.disconnect();
                requestAnimationFrame(() => setTimeout(done)); // after the frame that holds the picture
            });
            observer.observe(root, { attributeFilter: ["data-shown"] });
        });
        const start = performance.now();
        act(turn);
        await Promise.race([shown, new Promise((_, fail) => setTimeout(() => fail("no picture"), 10000))]);
        times.push(performance.now() - start);
        await new Promise((done) => setTimeout(done, 60));
    }
    return times;
}"""


ADD_PANELS = """async (count) => {
    const root = document.querySelector(".va-explorer");
    const slider = root.querySelector("input[aria-label=Layer]");
    const until = async (done) => { while (!done()) await new Promise((next) => setTimeout(next, 20)); };
    for (let layer = 0; layer < count; layer += 1) {
        slider.value = layer;
        slider.dispatchEvent(new Event("input", { bubbles: true }));
        await until(() => JSON.parse(root.dataset.shown).layer === layer);
        root.querySelector(".va-pin").click();
        await until(() => root.querySelectorAll(".va-panels li").length === layer + 1);
    }
}"""

CLEAR_PANELS = """async () => {
    document.querySelector(".va-tools button:last-child").click();
    while (document.querySelectorAll(".va-panels li").length) await new Promise((next) => setTimeout(next, 20));
}"""


def main() -> None:
    """Measure every scenario and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="vit_tiny_patch16_224")
    parser.add_argument("--random", action="store_true", help="random weights")
    parser.add_argument("--count", type=int, default=60, help="changes a scenario")
    parser.add_argument("--panels", type=int, default=0, help="panels of a comparison that stand below the picture")
    options = parser.parse_args()
    if CHROMIUM is None:
        raise SystemExit("no Chromium here")
    photo = ROOT / "vitattn_widgets" / "samples" / "chelsea.jpg"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_notebook(
            folder / "bench.ipynb", CELL.format(model=options.model, pretrained=not options.random, photo=photo)
        )
        with running_lab(folder) as (address, token), running_browser() as browser:
            page = browser.new_page(viewport={"width": 1400, "height": 1900 if options.panels else 1000})
            open_and_run(page, address, token, "bench.ipynb", ".va-explorer[data-shown]")
            page.wait_for_selector(".va-cells button")
            page.evaluate(MEASURE, [SCENARIOS["layer slider"], 10])  # first times warm up
            page.wait_for_timeout(500)
            weights = "random" if options.random else "published"
            print(f"{options.model}, {weights} weights: milliseconds, median and p95 of {options.count} changes")
            if options.panels:
                _measure_with_panels(page, options.count, options.panels)
            else:
                _measure(page, folder, options.count)


def _measure(page: Page, folder: Path, count: int) -> None:
    print(f"{'control':<16}{'shown':>8}{'p95':>8}{'kernel':>10}{'p95':>8}")
    for scenario, action in SCENARIOS.items():
        before = len(_kernel_times(folder))
        shown = page.evaluate(MEASURE, [f"({action})", count])
        page.wait_for_timeout(300)
        kernel = _kernel_times(folder)[before:]
        row = [*np.percentile(shown, (50, 95)), *np.percentile(kernel, (50, 95))]
        print("{:<16}{:>8.1f}{:>8.1f}{:>10.1f}{:>8.1f}".format(scenario, *row), flush=True)


def _measure_with_panels(page: Page, count: int, panels: int, rounds: int = 4) -> None:
    print(f"{'control':<16}{'alone':>8}{'p95':>8}{f'{panels} panels':>12}{'p95':>8}{'ratio':>8}")
    for scenario, action in SCENARIOS.items():
        alone, beside = [], []
        for _ in range(rounds):
            alone += page.evaluate(MEASURE, [f"({action})", count // rounds])
            page.evaluate(ADD_PANELS, panels)
            page.wait_for_timeout(500)
            beside += page.evaluate(MEASURE, [f"({action})", count // rounds])
            page.evaluate(CLEAR_PANELS)
            page.wait_for_timeout(500)
        row = [*np.percentile(alone, (50, 95)), *np.percentile(beside, (50, 95))]
        row.append(row[2] / row[0])
        print("{:<16}{:>8.1f}{:>8.1f}{:>12.1f}{:>8.1f}{:>8.2f}".format(scenario, *row), flush=True)


def _kernel_times(folder: Path) -> list[float]:
    return [float(line) for line in (folder / "kernel.txt").read_text().split()]


if __name__ == "__main__":
    main()
