"""``vitattn demo`` in a process of its own that starts within a second: a copy of one that has imported everything."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.context import ForkServerProcess
from pathlib import Path

from ..lab import ROOT, end
from .lab import free_port

_PRELOADED = ["tests.demo.commands", "vitattn_widgets.cli", "vitattn_widgets.demo.app", "vitattn_widgets.demo.server"]

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(_PRELOADED)


class Command:
    """A running command, with the methods of `subprocess.Popen` that tests need.

    Attributes:
        address: of its page.
        log: the file that holds what it said.
    """

    def __init__(self, process: ForkServerProcess, address: str, log: Path) -> None:
        self._process, self.address, self.log = process, address, log

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired("vitattn demo", timeout or 0)
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        os.kill(self._process.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self._process.kill()


def _run(options: list[str], environment: dict[str, str], log: str) -> None:
    """What the new process does."""
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(output, 1)
    os.dup2(output, 2)
    sys.stdout, sys.stderr = (open(number, "w", buffering=1) for number in (1, 2))  # noqa: SIM115 until it ends
    os.environ.update(environment)
    tempfile.tempdir = None  # to be found again, by this environment
    signal.signal(signal.SIGINT, signal.default_int_handler)
    from vitattn_widgets.cli import main

    sys.exit(main(["demo", *options]))


def start(folder: Path, *options: str) -> Command:
    """Start ``vitattn demo`` with temporary files below `folder`."""
    port, log = free_port(), folder / f"log{time.monotonic_ns()}"
    (folder / "tmp").mkdir(exist_ok=True)
    log.touch()
    environment = {"PYTHONPATH": str(ROOT), "TMPDIR": str(folder / "tmp")}
    if "--port" in options:
        port = int(options[options.index("--port") + 1])
    else:
        options = ("--port", str(port), *options)
    process = _context.Process(target=_run, args=(["--no-browser", *options], environment, str(log)))
    process.start()
    return Command(process, f"http://127.0.0.1:{port}", log)


@contextmanager
def running_command(folder: Path, *options: str) -> Iterator[Command]:
    """``vitattn demo`` with the embedded model and temporary files below `folder`, once its page runs."""
    command = start(folder, "--model", "demo", *options)
    try:
        deadline = time.monotonic() + 60
        while "The page runs" not in command.log.read_text() and command.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        assert "The page runs" in command.log.read_text(), command.log.read_text()
        yield command
    finally:
        if command.poll() is None:
            end(command)
