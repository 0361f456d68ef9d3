"""A sweep's folder: the finished parts, from which a killed sweep resumes, and its final files.

The set is divided into parts of whole batches, always in the same way. A part is measured, written in one step and
never changed; the result does not depend on the process that measures it. ``state.json`` says which sweep owns the
folder.
"""

from __future__ import annotations

import io
import json
import shutil
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import SweepError
from ..files import write_file
from ..runs import prepare_folder, require_same, without_format
from .measure import GroupKey, Sums

FORMAT = 1
"""Version of ``state.json`` and of the parts, written in the former; a file without a number is read as 1."""

PARTS = 32
"""Approximate number of parts of a sweep: so many that a kill loses little."""

MAX_BATCHES = 64
"""Largest number of batches in a part."""

TABLES = ("parquet", "csv")


@dataclass(frozen=True)
class Plan:
    """How a set is divided: into parts, and these into batches.

    Attributes:
        photos: number of photos in the set.
        batch_size: photos per forward pass.
    """

    photos: int
    batch_size: int

    @property
    def batches_a_part(self) -> int:
        return min(MAX_BATCHES, ceil(ceil(self.photos / self.batch_size) / PARTS))

    @property
    def parts(self) -> int:
        return ceil(self.photos / (self.batch_size * self.batches_a_part))

    def batches(self, part: int) -> list[range]:
        """The photos of each batch of a part."""
        step = self.batch_size * self.batches_a_part
        of_part = range(self.photos)[part * step : (part + 1) * step]
        return [of_part[start : start + self.batch_size] for start in range(0, len(of_part), self.batch_size)]


@dataclass
class Part:
    """The measurements of some photos.

    Attributes:
        lines: one per photo and layer, from `measure_photos`.
        problems: number of a photo, and why it or its mask could not be read.
        sums: of the maps, by class.
    """

    lines: list[dict[str, float]] = field(default_factory=list)
    problems: list[tuple[int, str]] = field(default_factory=list)
    sums: Sums = field(default_factory=Sums)


def sinks_at(places: Sequence[Sequence[int]], grid: tuple[int, int]) -> np.ndarray:
    """The sinks of a layer from their places in a state: bool ``(rows, cols)``."""
    sinks = np.zeros(grid, bool)
    for row, col in places:
        sinks[row, col] = True
    return sinks


@dataclass(frozen=True)
class SweepState:
    """The content of ``state.json``.

    Attributes:
        identity: what the sweep is (`sweep_identity`); a sweep with another identity may not use its folder.
        sinks: places ``(row, col)`` of the model's sinks, one list per layer.
        facts: further information for the report: versions, a description of the model.
        finished: the table and the report are written.
    """

    identity: Mapping[str, Any]
    sinks: Mapping[str, Sequence[Sequence[int]]]
    facts: Mapping[str, Any]
    finished: bool = False


@dataclass(frozen=True)
class SweepFolder:
    """The files of one sweep.

    Attributes:
        path: the folder.
        table_type: of `TABLES`.
    """

    path: Path
    table_type: str

    @property
    def table(self) -> Path:
        return self.path / f"table.{self.table_type}"

    @property
    def report(self) -> Path:
        return self.path / "report.html"

    @property
    def mean_maps(self) -> Path:
        return self.path / "mean_maps.npz"

    @property
    def skipped(self) -> Path:
        return self.path / "skipped.txt"

    @property
    def state(self) -> Path:
        return self.path / "state.json"

    @property
    def parts(self) -> Path:
        return self.path / "parts"

    def prepare(self) -> None:
        """Make the folder, and check before any work that files can be written there.

        Raises:
            SweepError: it cannot be made or written to, it is not a folder, or it holds files of these names that no
                sweep wrote.
        """
        if self.path.exists() and not self.path.is_dir():
            raise SweepError(f"{self.path}: is a file; give the name of a folder for the sweep")
        prepare_folder(self.path, SweepError)
        ours = (*(f"table.{kind}" for kind in TABLES), "report.html", "mean_maps.npz", "skipped.txt", "parts")
        foreign = [name for name in ours if (self.path / name).exists()]
        if foreign and not self.state.exists():
            raise SweepError(f"{self.path}: holds {', '.join(foreign)}, which no sweep wrote; choose another folder")

    def remove_leftovers(self) -> None:
        """Remove half-written files of a killed process; call it only while no other process uses the folder."""
        for path in (self.table, self.report, self.mean_maps, self.skipped, self.state, self.parts / "*.npz"):
            for leftover in path.parent.glob(f".{path.name}.*"):
                leftover.unlink(missing_ok=True)

    def read_state(self, identity: Mapping[str, Any]) -> SweepState | None:
        """The state of the sweep in this folder; None where there is none.

        Raises:
            SweepError: it is another sweep's, damaged, or of a format that this version does not read.
        """
        if not self.state.is_file():
            return None
        try:
            state = _parsed_state(self.state)
        except (ValueError, TypeError) as error:
            raise SweepError(
                f"{self.state}: damaged, or not a sweep's of format {FORMAT} ({error}); remove the folder or choose "
                "another one"
            ) from error
        require_same(state.identity, identity, self.path, SweepError)
        return state

    def write_state(self, state: SweepState) -> None:
        """Replace the state in one step."""
        content = {"format": FORMAT} | asdict(state)
        write_file(self.state, f"{json.dumps(content, indent=2, ensure_ascii=False)}\n".encode())

    def part_file(self, part: int) -> Path:
        return self.parts / f"{part:06d}.npz"

    def write_part(self, part: int, measured: Part) -> None:
        """Write a part whole, or nothing of it.

        Raises:
            SettingsError: the disk is full or the folder cannot be written to.
        """
        groups = list(measured.sums.totals)
        arrays = {
            "problem_index": np.array([index for index, _ in measured.problems], np.int64),
            "problem_text": np.array([text for _, text in measured.problems], np.str_),
            "groups": np.array(groups, np.int64).reshape(-1, 2),
            "counts": np.array([measured.sums.counts[group] for group in groups], np.int64),
            "totals": np.array([measured.sums.totals[group] for group in groups]),
        }
        names = measured.lines[0] if measured.lines else ()
        arrays |= {f"line {name}": np.array([line[name] for line in measured.lines]) for name in names}
        stream = io.BytesIO()
        np.savez(stream, **arrays)  # type: ignore[arg-type]  # an array is never named allow_pickle
        write_file(self.part_file(part), stream.getvalue())

    def read_part(self, part: int) -> tuple[dict[str, np.ndarray], Part] | None:
        """The columns of a part's lines, and its problems and sums; None if it is missing or incomplete."""
        try:
            with np.load(self.part_file(part), allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
            sums = Sums()
            for group, count, total in zip(arrays["groups"], arrays["counts"], arrays["totals"], strict=True):
                sums.add(_key(group), total, int(count))
            problems = zip(arrays["problem_index"].tolist(), arrays["problem_text"].tolist(), strict=True)
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            return None
        lines = {name.removeprefix("line "): array for name, array in arrays.items() if name.startswith("line ")}
        return lines, Part(problems=list(problems), sums=sums)

    def missing(self, plan: Plan) -> list[int]:
        """The parts that are still to be measured."""
        return [part for part in range(plan.parts) if self.read_part(part) is None]

    def finish(self, state: SweepState) -> None:
        """Mark the sweep as finished, and remove the parts."""
        self.write_state(replace(state, finished=True))
        self.remove_parts()

    def remove_parts(self) -> None:
        """Remove the parts, whose content is in the final files."""
        shutil.rmtree(self.parts, ignore_errors=True)


def _parsed_state(path: Path) -> SweepState:
    """The state in a file, where it is of a format that this version reads.

    Raises:
        SweepError: it is of another format.
        TypeError: it is not an object with the fields of a state, or its format is not a number.
        ValueError: it is not JSON.
    """
    content = json.loads(path.read_bytes())
    # a file without a number may have one inside its identity, which is no part of what the sweep is
    identity = content.get("identity") if isinstance(content, dict) else None
    if isinstance(identity, dict) and "format" in identity:
        content.setdefault("format", identity.pop("format"))
    return SweepState(**without_format(content, path, FORMAT, SweepError))


def _key(group: np.ndarray) -> GroupKey:
    return int(group[0]), int(group[1])
