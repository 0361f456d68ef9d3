"""A class opens the page at once: 32 visitors, each an upload and then 20 changes of control, one every two seconds.

Run by hand: ``python -m tests.benchmarks.bench_demo`` (weights are random, which changes no time; a server and its
visitors on this computer alone, which share its cores). It prints the times that visitors waited, errors, wrong
pictures (each answer is compared with the visitor's own `render_view`), and the server's memory before, at its peak,
after, and after 2,000 further changes. It stops by itself.
"""

import argparse
import io
import itertools
import os
import random
import socket
import subprocess
import sys
import tempfile
import threading
import time
from base64 import b64decode
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import httpx
import numpy as np
import timm
from gradio_client import Client, handle_file
from PIL import Image
from safetensors.torch import save_file

import vitattn_widgets as va
from tests.lab import end
from vitattn_widgets.demo.controls import Controls

ROOT = Path(__file__).resolve().parents[2]

START = {"layer": 11, "head": "all", "aggregation": "mean", "query": "default", "arrangement": "overlay", "on": "view"}
START |= {"scale": "map", "smoothing": ["bilinear", "median", "gaussian"], "opacity": 0.5, "cmap": "inferno"}
START |= {"source": "attention", "target": "predicted", "sinks": "show"}
START |= {"beside": "every head", "row": "aggregations", "first": "none", "second": "none"}


@contextmanager
def running_server(model, weights):
    """``vitattn demo`` in a process of its own; gives its address and process number."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "vitattn_widgets", "demo", "--port", str(port), "--model", model]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    server = subprocess.Popen(
        [*command, "--checkpoint", str(weights)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        if not server.stdout.readline().startswith("The page runs"):
            raise SystemExit("the server did not start")
        yield f"http://127.0.0.1:{port}", server.pid
    finally:
        end(server)


def memory(process):
    """Megabytes that a process holds now."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024


class Watch(threading.Thread):
    """Notes the largest memory of a process."""

    def __init__(self, process):
        super().__init__(daemon=True)
        self.process, self.peak, self.stopped = process, 0.0, threading.Event()

    def run(self):
        while not self.stopped.wait(0.2):
            self.peak = max(self.peak, memory(self.process))


def photo(folder, number):
    """A photo as a phone takes it, smaller: smooth, so that its file is small, and another one for every visitor."""
    rng = np.random.default_rng(number)
    small = Image.fromarray(rng.integers(0, 256, (9, 12, 3), np.uint8))
    path = folder / f"{number}.jpg"
    small.resize((1600, 1200), Image.Resampling.BICUBIC).save(path, quality=85)
    return path


def changed(controls, dice, sources=False):
    """One control moved, as a hand does; with ``sources`` also those that need a backward pass or draw a row."""
    match dice.randrange(9 if sources else 6):
        case 0 | 1:
            return controls | {"layer": dice.randrange(12)}
        case 2:
            return controls | {"head": dice.choice(["all", "0", "1", "2"])}
        case 3:
            return controls | {"aggregation": dice.choice(["mean", "max", "mean_over_std"]), "head": "all"}
        case 4:
            return controls | {"query": dice.choice(["default", "mean", f"{dice.randrange(14)},{dice.randrange(14)}"])}
        case 6:
            source = dice.choice(["attention", "norm", "rollout", "gradient", "gradient_late", "relevance"])
            return controls | {"source": source}
        case 7:
            return controls | {"target": dice.choice(["predicted", "281", "285", "967"])}
        case 8:
            row = dice.choice(["aggregations", "sources", "layers", "heads"])
            return controls | {"beside": dice.choice(["every head", "compare"]), "row": row}
    return controls | {"opacity": dice.randrange(21) / 20}


def visit(address, model, path, number, count, pause, moved=lambda: None, sources=False):
    """One visitor; returns the time of the upload, those of the changes, errors, and what was shown for what.

    ``moved`` is called after each change; ``sources`` as in `changed`.
    """
    dice = random.Random(number)
    # without this, a client reads the certificates of the world for every call, which costs more than the call
    client = Client(address, verbose=False, analytics_enabled=False, ssl_verify=False)
    controls, shown, times, errors = dict(START), [], [], []

    def ask(name, *before):
        start = time.perf_counter()
        try:
            answer = client.predict(*before, model, *controls.values(), api_name=name)
        except Exception as error:
            errors.append(str(error))
            return time.perf_counter() - start
        took = time.perf_counter() - start
        html = answer["picture"]["value"]
        shown.append((dict(controls), html.partition("base64,")[2].partition('"')[0]))
        return took

    upload = ask("/bring", handle_file(path))
    due = time.perf_counter() + pause * dice.random()
    for _ in range(count):
        time.sleep(max(0.0, due - time.perf_counter()))
        due += pause
        controls = changed(controls, dice, sources)
        times.append(ask("/change"))
        moved()
    return upload, times, errors, shown


def wrong_pictures(model, path, shown):
    """How many answers are not this visitor's own picture, to within one level of 255."""
    capture = va.capture_attention(model, path)
    wrong = 0
    for controls, content in shown:
        settings = Controls("", **controls).settings(model.class_names)
        if settings.source == "rollout" and settings.aggregation == "mean_over_std":  # as the page fits it
            settings = replace(settings, aggregation="mean")
        capture = va.complete_capture(model, capture, settings)
        wanted = va.render_view(capture, settings).image
        found = np.asarray(Image.open(io.BytesIO(b64decode(content))))
        wrong += found.shape != wanted.shape or int(np.abs(found.astype(int) - wanted).max()) > 1
    return wrong


def main():
    """Start a server, let the class in, and print what it met."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="vit_tiny_patch16_224")
    parser.add_argument("--visitors", type=int, default=32)
    parser.add_argument("--changes", type=int, default=20, help="changes a visitor")
    parser.add_argument("--pause", type=float, default=2.0, help="seconds from one change to the next")
    parser.add_argument("--further", type=int, default=2000, help="changes after that, as fast as they go")
    parser.add_argument(
        "--sources", action="store_true", help="visitors also choose sources, classes and rows to compare"
    )
    options = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        weights = folder / "random.safetensors"
        save_file(timm.create_model(options.model).state_dict(), weights)
        address, process = stack.enter_context(running_server(options.model, weights))
        name = httpx.get(f"{address}/config").json()["components"]
        name = next(part["props"]["value"] for part in name if part["props"].get("label") == "Model")
        paths = [photo(folder, number) for number in range(options.visitors + 1)]
        visit(address, name, paths.pop(), -1, 5, 0)  # first times warm up
        before, watch = memory(process), Watch(process)
        watch.start()

        def run(count, pause, visitors, moved=lambda: None):
            with ThreadPoolExecutor(visitors) as pool:
                jobs = range(visitors)
                return list(
                    pool.map(lambda i: visit(address, name, paths[i], i, count, pause, moved, options.sources), jobs)
                )

        visits = run(options.changes, options.pause, options.visitors)
        after = memory(process)
        watch.stopped.set()
        print(f"{options.visitors} visitors, {options.model}, {os.cpu_count()} cores shared with the visitors")
        for label, times in (("upload", [v[0] for v in visits]), ("change", [t for v in visits for t in v[1]])):
            p50, p95 = 1000 * np.percentile(times, (50, 95))
            print(f"{label}: p50 {p50:.0f} ms, p95 {p95:.0f} ms ({len(times)} of them)")
        errors = [error for v in visits for error in v[2]]
        print(f"errors: {len(errors)}{f' ({errors[0]})' if errors else ''}")
        print(f"server memory: {before:.0f} MB before, {watch.peak:.0f} MB at peak, {after:.0f} MB after")
        if options.further:
            number, now = itertools.count(1), {}

            def moved():
                done = next(number)
                if done % max(1, options.further // 4) == 0:
                    now[done] = memory(process)

            failed = [error for v in run(options.further // 4, 0, 4, moved) for error in v[2]]
            found = ", ".join(f"{held:.0f} MB after {done}" for done, held in now.items())
            print(f"server memory in further changes: {found}")
            print(f"errors: {len(failed)}{f' ({failed[0]})' if failed else ''}")

        model = va.load_model(options.model, checkpoint=weights)
        wrong = sum(wrong_pictures(model, path, v[3]) for path, v in zip(paths, visits, strict=True))
        print(f"wrong pictures: {wrong} of {sum(len(v[3]) for v in visits)}")


if __name__ == "__main__":
    main()
