"""``vitattn demo`` in a process of its own, and what it takes, for benchmarks."""

import os
import socket
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image

from tests.lab import end

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
    return next((int(line.split()[1]) for line in lines if line.startswith("VmRSS")), 0) / 1024


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
        while not self.stopped.wait(0.2) and Path(f"/proc/{self.process}").exists():
            self.peak = max(self.peak, memory(self.process))


def photo(folder, number):
    """A photo as a phone takes it, smaller: smooth, so that its file is small, and another one for every visitor."""
    rng = np.random.default_rng(number)
    small = Image.fromarray(rng.integers(0, 256, (9, 12, 3), np.uint8))
    path = folder / f"{number}.jpg"
    small.resize((1600, 1200), Image.Resampling.BICUBIC).save(path, quality=85)
    return path
