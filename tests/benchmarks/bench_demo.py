"""A class on the page: 200 visitors open it, 32 of them upload a photo, and all move controls.

Run by hand: ``python -m tests.benchmarks.bench_demo`` (weights are random, which changes no time; a server and its
visitors on this computer alone, which share its cores). Controls draw in the visitors' browsers: one of them, a real
one, moves them all the time while the uploads are measured again, and the server's CPU time shows what the moves cost
it. It prints the times that visitors waited, errors, wrong capsules (each is compared with the visitor's own capture),
and the server's memory. It stops by itself.
"""

import argparse
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path

import httpx
import numpy as np
import safetensors.numpy
import timm
from PIL import Image
from safetensors.torch import save_file

import vitattn_widgets as va
from tests.demo.lab import Visitor
from tests.lab import end, running_browser

ROOT = Path(__file__).resolve().parents[2]

TICKS = os.sysconf("SC_CLK_TCK")


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


def cpu_seconds(process):
    """CPU time that a process has taken so far."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


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


class Class:
    """The visitors of one server, each with a connection of its own."""

    def __init__(self, address):
        self.address, self.errors = address, []

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

    def upload(self, path):
        """One visitor uploads a photo; gives the seconds until its capsule is there, and the capsule."""
        with httpx.Client(timeout=300, verify=False) as client:
            model = self.timed(client, "GET", "open")[0].json()["state"]["model"]
            content, name = path.read_bytes(), path.name
            options = {"params": {"name": name, "model": model}, "content": content}
            brought, first = self.timed(client, "POST", "upload", **options)
            subject = {"model": model, "photo": brought.json()["photo"], "name": name}
            capsule, second = self.timed(client, "GET", "capsule", params=subject)
            return first + second, capsule.content


@contextmanager
def moving(address, moved):
    """A browser that moves controls all the time; counts the moves and the requests in `moved`."""
    stop = threading.Event()

    def run():
        # other visitors have computers of their own: here, the browser takes what the server and the uploads leave
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 19)
        with running_browser() as browser:
            visitor = Visitor(browser, address)
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

    thread = threading.Thread(target=run)
    thread.start()
    try:
        while not moved.get("ready") and thread.is_alive():
            time.sleep(0.1)
        yield
    finally:
        stop.set()
        thread.join()


def said(label, times):
    """Print the median and the 95th percentile of some times."""
    p50, p95 = 1000 * np.percentile(times, (50, 95))
    print(f"{label}: p50 {p50:.0f} ms, p95 {p95:.0f} ms ({len(times)} of them)")


def wrong_capsules(model, paths, capsules):
    """How many capsules do not hold the rows of their visitor's own photo."""
    wrong = 0
    for path, content in zip(paths, capsules, strict=True):
        capture = va.capture_attention(model, path)
        row = f"layer{capture.num_layers - 1}.row.{capture.query_or_default(-1)}"
        wrong += not np.allclose(safetensors.numpy.load(content)[row], capture.attention(-1), atol=1e-5)
    return wrong


def main():
    """Start a server, let the class in, and print what it met."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="vit_tiny_patch16_224")
    parser.add_argument("--visitors", type=int, default=200, help="who open the page at once")
    parser.add_argument("--uploads", type=int, default=32, help="photos that are uploaded at once")
    parser.add_argument("--rest", type=float, default=10.0, help="seconds in which a browser moves controls alone")
    options = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        weights = folder / "random.safetensors"
        save_file(timm.create_model(options.model).state_dict(), weights)
        address, process = stack.enter_context(running_server(options.model, weights))
        visitors = Class(address)
        paths = [photo(folder, number) for number in range(2 * options.uploads + 1)]
        visitors.upload(paths.pop())  # first times warm up
        before, watch = memory(process), Watch(process)
        watch.start()
        print(f"{options.model}, {os.cpu_count()} cores shared with the visitors")

        start, used = time.perf_counter(), cpu_seconds(process)
        with ThreadPoolExecutor(options.visitors) as pool:
            opened = list(pool.map(visitors.open, range(options.visitors)))
        took = time.perf_counter() - start
        used = cpu_seconds(process) - used
        print(f"{options.visitors} visitors opened the page at once: {took:.1f} s, server CPU {used:.1f} s")
        said("settings", [first for first, _ in opened])
        said("capsule of a sample", [second for _, second in opened])

        used = cpu_seconds(process)
        time.sleep(options.rest)
        print(f"{options.rest:.0f} s without anybody: server CPU {1000 * (cpu_seconds(process) - used):.0f} ms")
        moved = {"moves": 0, "requests": 0}
        halves, capsules = (paths[: options.uploads], paths[options.uploads :]), []
        for half, beside in zip(halves, (nullcontext(), moving(address, moved)), strict=True):
            with beside, ThreadPoolExecutor(options.uploads) as pool:
                if half is halves[1]:
                    used, count = cpu_seconds(process), moved["moves"]
                    time.sleep(options.rest)
                    used, count = cpu_seconds(process) - used, moved["moves"] - count
                    print(f"{options.rest:.0f} s with {count} moves of controls: server CPU {1000 * used:.0f} ms")
                uploaded = list(pool.map(visitors.upload, half))
            said(
                f"upload to capsule{' beside a browser that moves controls' * (half is halves[1])}",
                [t for t, _ in uploaded],
            )
            capsules += [content for _, content in uploaded]
        print(f"requests of {moved['moves']} moves: {moved['requests']}")
        print(f"errors: {len(visitors.errors)}{f' ({visitors.errors[0]})' if visitors.errors else ''}")
        watch.stopped.set()
        print(f"server memory: {before:.0f} MB before, {watch.peak:.0f} MB at peak, {memory(process):.0f} MB after")
        model = va.load_model(options.model, checkpoint=weights)
        print(f"wrong capsules: {wrong_capsules(model, paths, capsules)} of {len(capsules)}")


if __name__ == "__main__":
    main()
