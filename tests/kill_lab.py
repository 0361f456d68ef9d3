"""A process that is killed while it writes, without a process: whoever resumes must not mind."""

from __future__ import annotations

from pathlib import Path

from vitattn_widgets import files


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
