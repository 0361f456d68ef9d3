"""A class on the page: what its visitors wait, and what the server takes.

    python -m tests.benchmarks.bench_demo opening uploads checks heavy

- ``opening``: 200 visitors open the page at once.
- ``uploads``: 32 visitors upload a photo at once; then again, while 200 visitors move controls.
- ``checks``: 30 visitors check a map of their own photo at once.
- ``heavy``: 20 programs ask at once for the map of a 143 kB file of 49 megapixels, drawn on the whole photo.

Beside the checks and the heavy calls, one more visitor opens the page and fetches a capsule and a layer of it, again
and again; beside the checks, a program asks for the map of a small photo, too. Weights are random, which changes no
time. The server and its visitors are on this computer, whose cores they share. Every capsule is compared with the
visitor's own capture.
"""

import argparse
import os
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, nullcontext
from itertools import count
from pathlib import Path

import httpx
import numpy as np
import safetensors.numpy
import timm
from gradio_client import Client, handle_file
from PIL import Image
from safetensors.torch import save_file

import vitattn_widgets as va
from tests.demo.lab import Visitor
from tests.lab import running_browser

from .demo_server import Watch, cpu_seconds, memory, photo, running_server

SAMPLE = "chelsea"


class Class:
    """The visitors of one server, each with a connection of its own."""

    def __init__(self, address, process):
        self.address, self.process, self.errors = address, process, []
        self.model = httpx.get(f"{address}/vitattn/open", timeout=60).json()["state"]["model"]

    def timed(self, client, method, path, **options):
        """The answer to a request, None if it is an error, and the seconds that it took."""
        start = time.perf_counter()
        answer = client.request(method, f"{self.address}/vitattn/{path}", **options)
        if answer.status_code != 200:
            self.errors.append(answer.text)
            return None, time.perf_counter() - start
        return answer, time.perf_counter() - start

    def open(self, _):
        """One visitor opens the page; gives the seconds until the settings and until the sample's capsule are there."""
        with httpx.Client(timeout=300, verify=False) as client:
            opened, first = self.timed(client, "GET", "open")
            state = opened.json()["state"]
            subject = {"model": state["model"], "sample": state["picture"]}
            return first, self.timed(client, "GET", "capsule", params=subject)[1]

    def bring(self, client, path):
        """A photo of a visitor: what names it in requests, and the seconds that its upload took."""
        options = {"params": {"name": path.name, "model": self.model}, "content": path.read_bytes()}
        brought, seconds = self.timed(client, "POST", "upload", **options)
        return {"model": self.model, "photo": brought.json()["photo"], "name": path.name}, seconds

    def upload(self, path):
        """One visitor uploads a photo; gives the seconds until its capsule is there, and the capsule."""
        with httpx.Client(timeout=300, verify=False) as client:
            subject, first = self.bring(client, path)
            capsule, second = self.timed(client, "GET", "capsule", params=subject)
            return first + second, capsule.content

    def layer(self, client, number):
        """The queries and keys of a layer of the sample: all that moving controls ever asks, once for each layer."""
        request = {"model": self.model, "sample": SAMPLE, "request": {"need": "operands", "layer": number % 12}}
        return self.timed(client, "POST", "more", json=request)[1]

    @contextmanager
    def measured(self, what):
        """Print what the server takes meanwhile."""
        used, start = cpu_seconds(self.process), time.perf_counter()
        yield
        took, used = time.perf_counter() - start, cpu_seconds(self.process) - used
        print(f"{what}: {took:.1f} s, server CPU {used:.1f} s, load of the computer {os.getloadavg()[0]:.1f}")


@contextmanager
def light_visitor(visitors, path=None):
    """One more visitor, whose waiting is printed at the end; with a `path`, also a program that asks for its map."""
    stop, waited = threading.Event(), {"settings": [], "capsule": [], "layer": []}
    if path:
        waited["map for a program"] = []

    def run():
        program = Client(visitors.address, verbose=False)
        with httpx.Client(timeout=300) as client:
            for number in count():
                waited["settings"].append(visitors.timed(client, "GET", "open")[1])
                subject = {"model": visitors.model, "sample": SAMPLE}
                waited["capsule"].append(visitors.timed(client, "GET", "capsule", params=subject)[1])
                waited["layer"].append(visitors.layer(client, number))
                if path:
                    start = time.perf_counter()
                    program.predict(photo=handle_file(path), api_name="/map")
                    waited["map for a program"].append(time.perf_counter() - start)
                if stop.wait(0.3):
                    return

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        for label, times in waited.items():
            said(f"  meanwhile, {label}", times)


@contextmanager
def moving(visitors, people):
    """Visitors who move controls: one in a browser all the time, the others by what their moves may ask of the server.

    Gives what is counted: the ``moves`` of the browser and its ``requests``.
    """
    stop, moved = threading.Event(), {"moves": 0, "requests": 0}

    def browse():
        # other visitors have computers of their own: here, the browser takes what the server and the uploads leave
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 19)
        with running_browser() as browser:
            visitor = Visitor(browser, visitors.address)
            visitor.open()
            for layer in range(12):
                visitor.slide(layer)
                visitor.page.wait_for_timeout(400)  # queries and keys are fetched ahead
            visitor.rest()
            before, moved["ready"] = len(visitor.requests), True
            while not stop.is_set():
                visitor.slide(moved["moves"] % 12)
                visitor.wait_until(layer=moved["moves"] % 12)
                moved["moves"] += 1
                moved["requests"] = len(visitor.requests) - before
            visitor.close()

    def fetch(number):
        with httpx.Client(timeout=300) as client:
            for layer in range(12):
                if stop.wait(np.random.default_rng(12 * number + layer).uniform(0, 2)):
                    break
                visitors.layer(client, layer)

    thread = threading.Thread(target=browse)
    thread.start()
    with ThreadPoolExecutor(people) as pool:
        try:
            while not moved.get("ready") and thread.is_alive():
                time.sleep(0.1)
            for number in range(people):
                pool.submit(fetch, number)
            yield moved
        finally:
            stop.set()
            thread.join()


def said(label, times):
    """Print the median, the 95th percentile and the largest of some times."""
    p50, p95, most = 1000 * np.percentile(times, (50, 95, 100))
    print(f"{label}: p50 {p50:.0f} ms, p95 {p95:.0f} ms, at most {most:.0f} ms ({len(times)} of them)")


def wrong_capsules(model, paths, capsules):
    """How many capsules do not hold the rows of their visitor's own photo."""
    wrong = 0
    for path, content in zip(paths, capsules, strict=True):
        capture = va.capture_attention(model, path)
        row = f"layer{capture.num_layers - 1}.row.{capture.query_or_default(-1)}"
        wrong += not np.allclose(safetensors.numpy.load(content)[row], capture.attention(-1), atol=1e-5)
    return wrong


def opening(visitors, options, folder):
    """The class opens the page."""
    with visitors.measured(f"{options.visitors} visitors open the page"), ThreadPoolExecutor(options.visitors) as pool:
        opened = list(pool.map(visitors.open, range(options.visitors)))
    said("  settings", [first for first, _ in opened])
    said("  capsule of a sample", [second for _, second in opened])
    with visitors.measured("  nobody asks anything"):
        time.sleep(options.rest)


def uploads(visitors, options, folder):
    """The class uploads photos, alone and beside controls that move."""
    model = va.load_model(options.model, checkpoint=folder / "random.safetensors")
    for half, beside in enumerate((nullcontext(), moving(visitors, options.visitors))):
        paths = [photo(folder, 1000 * (half + 1) + number) for number in range(options.uploads)]
        with beside as moved, ThreadPoolExecutor(options.uploads) as pool:
            words = f" beside {options.visitors} visitors who move controls" if half else ""
            with visitors.measured(f"{options.uploads} uploads{words}"):
                brought = list(pool.map(visitors.upload, paths))
        said("  upload to capsule", [seconds for seconds, _ in brought])
        print(f"  wrong capsules: {wrong_capsules(model, paths, [content for _, content in brought])}")
        if half:
            print(f"  {moved['moves']} moves in the browser made {moved['requests']} requests")


def checks(visitors, options, folder):
    """The class checks maps."""
    subjects = []
    with httpx.Client(timeout=300) as client:
        for number in range(options.checks + 1):
            subject, _ = visitors.bring(client, photo(folder, 100 + number))
            subjects.append(subject | {"settings": {"layer": number % 12}, "visitor": str(number)})

    one = subjects.pop() | {"visitor": "first"}
    with httpx.Client(timeout=900) as client:
        for words, layer in (("a first check", 3), ("a second check of the same photo", 5)):
            with visitors.measured(words):
                visitors.timed(client, "POST", "check", json=one | {"settings": {"layer": layer, "query": "3,3"}})

    def check(subject):
        with httpx.Client(timeout=900) as client:
            visitors.timed(client, "POST", "check", json=subject)
        return time.perf_counter() - start

    program = photo(folder, 0) if options.program else None
    with light_visitor(visitors, program), visitors.measured(f"{options.checks} checks"):
        start = time.perf_counter()
        with ThreadPoolExecutor(options.checks) as pool:
            done = list(pool.map(check, subjects))
    print(f"  the first after {min(done):.1f} s, the last after {max(done):.1f} s")


def heavy(visitors, options, folder):
    """Programs ask for maps on a large photo."""
    path = folder / "large.png"
    Image.new("RGB", (7000, 7000), (90, 120, 60)).save(path)
    programs = [Client(visitors.address, verbose=False) for _ in range(options.heavy)]

    def call(program):
        program.predict(photo=handle_file(path), on="original", api_name="/map")

    with (
        light_visitor(visitors),
        visitors.measured(f"{options.heavy} heavy calls"),
        ThreadPoolExecutor(options.heavy) as pool,
    ):
        list(pool.map(call, programs))


PARTS = {"opening": opening, "uploads": uploads, "checks": checks, "heavy": heavy}


def main():
    """Start a server, let the class in, and print what it met."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], help="what to measure; all of it")
    parser.add_argument("--model", default="vit_tiny_patch16_224")
    parser.add_argument("--visitors", type=int, default=200, help="who open the page, and move controls, at once")
    parser.add_argument("--uploads", type=int, default=32, help="photos that are uploaded at once")
    parser.add_argument("--checks", type=int, default=30, help="checks at once")
    parser.add_argument("--heavy", type=int, default=20, help="heavy calls at once")
    parser.add_argument(
        "--program",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="a program that asks for maps beside the checks; alone it takes a quarter of a core",
    )
    parser.add_argument("--rest", type=float, default=10.0, help="seconds without any request")
    options = parser.parse_args()
    print(f"{options.model}, {os.cpu_count()} cores shared with the visitors")
    for part in options.parts or PARTS:
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            weights = folder / "random.safetensors"
            save_file(timm.create_model(options.model).state_dict(), weights)
            address, process = stack.enter_context(running_server(options.model, weights))
            visitors = Class(address, process)
            visitors.upload(photo(folder, 0))  # first times warm up
            before, watch = memory(process), Watch(process)
            watch.start()
            PARTS[part](visitors, options, folder)
            watch.stopped.set()
            print(
                f"  server memory: {before:.0f} MB before, {watch.peak:.0f} MB at peak, {memory(process):.0f} MB after"
            )
            print(f"  errors: {len(visitors.errors)}{f' ({visitors.errors[0]})' if visitors.errors else ''}")


if __name__ == "__main__":
    main()
