"""How long a new user waits for the first picture: of ``vitattn map``, of ``vitattn demo``, of the explorer.

    python -m tests.benchmarks.bench_first
    python -m tests.benchmarks.bench_first --doors map --rounds 5

Each door is opened with the default model: with its weights in the cache, and without them where the network refuses
every connection and where it keeps silent, each time in a new process. A map's time ends with the command. The page's
runs from the start of its command to the first picture in headless Chromium, which has been started before; the
explorer's from the moment when JupyterLab runs the first cell, imports included, to its first picture.
"""

from __future__ import annotations

import argparse
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from playwright.sync_api import Browser

from tests.hub import online, refusing_address, silent_address
from tests.lab import CHROMIUM, ROOT, end, open_and_run, running_browser, running_lab, write_notebook

HUB = "https://huggingface.co"

WEIGHTS = ROOT.parent / "shared" / "hf"

VIEWER = ".va-viewer[data-shown]"

WATCH_FIRST = """addEventListener("DOMContentLoaded", () => new MutationObserver((_, observer) => {
    if (!document.querySelector(".va-viewer[data-shown]")) return;
    observer.disconnect();
    globalThis.firstPicture = Date.now() / 1000;
}).observe(document.body, { subtree: true, attributeFilter: ["data-shown"] }))"""

CELL = """
import time
print("started", time.time())
import vitattn_widgets as va
explorer = va.AttentionExplorer()
explorer
"""

Door = Callable[[Path, dict[str, str], Browser], float]


def time_map(folder: Path, environment: dict[str, str], _: Browser) -> float:
    command = [sys.executable, "-m", "vitattn_widgets", "map", "vitattn_widgets/samples/chelsea.jpg"]
    command += ["-o", str(folder / "map.png"), "--source", "relevance", "--sinks", "leave_out"]
    started = time.time()
    subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True)
    return time.time() - started


def time_demo(folder: Path, environment: dict[str, str], browser: Browser) -> float:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    page = browser.new_page()
    page.add_init_script(WATCH_FIRST)
    started = time.time()
    with subprocess.Popen(
        [sys.executable, "-m", "vitattn_widgets", "demo", "--no-browser", "--port", str(port)],
        cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    ) as server:  # fmt: skip
        try:
            server.stdout.readline()  # that the page runs
            page.goto(f"http://127.0.0.1:{port}")
            page.wait_for_selector(VIEWER, timeout=60_000)
            return page.evaluate("firstPicture") - started
        finally:
            page.close()
            end(server)


def time_explorer(folder: Path, environment: dict[str, str], browser: Browser) -> float:
    write_notebook(folder / "first.ipynb", CELL)
    page = browser.new_page()
    page.add_init_script(WATCH_FIRST)
    with running_lab(folder, **environment) as (address, token):
        open_and_run(page, address, token, "first.ipynb", VIEWER)
        shown = page.evaluate("firstPicture")
        started = re.search(r"started ([\d.]+)", page.locator(".jp-NotebookPanel").inner_text())
        page.close()
    return shown - float(started[1])


DOORS: dict[str, Door] = {"map": time_map, "demo": time_demo, "explorer": time_explorer}


@contextmanager
def machines() -> Iterator[dict[str, tuple[Path | None, str]]]:
    """The hub's cache and the proxy of each kind of machine, by its name."""
    with silent_address() as silence:
        yield {
            "weights in the cache": (WEIGHTS, silence),
            "no weights, network refuses": (None, refusing_address()),
            "no weights, network silent": (None, silence),
        }


def main() -> None:
    """Print a line per door and machine."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--doors", nargs="+", choices=DOORS, default=[*DOORS])
    parser.add_argument("--rounds", type=int, default=3, help="of which the median is printed")
    options = parser.parse_args()
    with machines() as places, running_browser() as browser:
        for door in options.doors:
            for machine, (cache, proxy) in places.items():
                if cache is not None and not cache.is_dir():
                    print(f"{door} | {machine} | no weights here")
                    continue
                seconds = []
                for _ in range(options.rounds):
                    with tempfile.TemporaryDirectory() as folder:
                        home = cache or Path(folder) / "hf"
                        environment = online(home, HUB, HTTPS_PROXY=proxy, HF_HUB_OFFLINE="0")
                        seconds.append(DOORS[door](Path(folder), environment, browser))
                each = ", ".join(f"{value:.1f}" for value in seconds)
                print(f"{door} | {machine} | median {median(seconds):.1f} s | {each}", flush=True)


if __name__ == "__main__":
    if CHROMIUM is None:
        raise SystemExit("no Chromium here")
    main()
