"""Work that is killed while it writes, in this process or in another: whoever resumes must not mind."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from vitattn_widgets import files

ROOT = Path(__file__).resolve().parents[1]


def child(*arguments: str) -> subprocess.Popen:
    """A Python of its own, with one thread, that can be killed; it prints to `stdout`."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    return subprocess.Popen([sys.executable, *arguments], cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)


class Killed(BaseException):
    """What stands for a kill inside this process: nothing catches it."""


class KilledWrites:
    """Stands in for `files.write_file`: notes what is written, and is killed at one of the writes.

    Attributes:
        names: of the files written so far.
        deadline: number of the write, from 1, and ``"in"`` its middle, half of it left behind, or ``"after"`` it; None
            is never.
    """

    def __init__(self) -> None:
        self.names: list[str] = []
        self.deadline: tuple[int, str] | None = None
        self._write = files.write_file

    def __call__(self, path: Path, content: bytes) -> None:
        self.names.append(path.name)
        number, moment = self.deadline or (0, "")
        if len(self.names) == number and moment == "in":
            (path.parent / f".{path.name}.half").write_bytes(content[: len(content) // 2])
            raise Killed
        self._write(path, content)
        if len(self.names) == number:
            raise Killed
