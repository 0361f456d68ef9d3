"""A sweep's folder: the parts that are done, from which a killed sweep goes on, and its finished files.

The set is cut into parts of whole batches, always at the same places. A part is measured, written in one step and never
touched again; whichever process measures it, it comes out the same. ``state.json`` says whose folder it is.
"""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ..datasets.photos import FolderPhotos, PhotoSet
from ..errors import SweepError
from ..files import write_file
from ..runs import prepare_folder, require_same
from .measure import GroupKey, Sums

if TYPE_CHECKING:
    from ..models.loading import AttentionModel

FORMAT = 1
"""Number of the folder's form; another one is another run."""

PARTS = 32
"""About so many parts a sweep has, so that a killed one loses little."""

MOST_BATCHES = 64
"""A part has at most so many batches."""

TABLES = ("parquet", "csv")


@dataclass(frozen=True)
class Plan:
    """How a set is cut: into batches, and these into parts.

    Attributes:
        photos: of the set.
        batch_size: photos a forward pass.
    """

    photos: int
    batch_size: int

    @property
    def batches_a_part(self) -> int:
        return min(MOST_BATCHES, ceil(ceil(self.photos / self.batch_size) / PARTS))

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
    """What was measured of some photos.

    Attributes:
        lines: a line a photo and layer, as `measure_photos` gives them.
        problems: number of a photo and why it, or its mask, could not be read.
        sums: the maps by class.
    """

    lines: list[dict[str, float]] = field(default_factory=list)
    problems: list[tuple[int, str]] = field(default_factory=list)
    sums: Sums = field(default_factory=Sums)


def sinks_at(places: Sequence[Sequence[int]], grid: tuple[int, int]) -> np.ndarray:
    """The sinks of a layer from their places in a state: bool ``(rows, cols)``."""
    found = np.zeros(grid, bool)
    for row, col in places:
        found[row, col] = True
    return found


@dataclass(frozen=True)
class SweepState:
    """What ``state.json`` says.

    Attributes:
        identity: what the sweep is; another one may not go on in its folder.
        sinks: places ``(row, col)`` of the model's sinks, a list a layer.
        facts: what is written beside it for people: versions, the model in words.
        finished: the table and the report are there.
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
        """Make the folder, or find out that it is not ours to write to.

        Raises:
            SweepError: it cannot be made or written to, it is no folder, or files of these names lie in it that no
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
        """Remove what a killed process left half-written; only while no other process uses the folder."""
        for path in (self.table, self.report, self.mean_maps, self.skipped, self.state, self.parts / "*.npz"):
            for leftover in path.parent.glob(f".{path.name}.*"):
                leftover.unlink(missing_ok=True)

    def read_state(self, identity: Mapping[str, Any]) -> SweepState | None:
        """The state of the sweep in this folder; None where there is none.

        Raises:
            SweepError: it is another sweep's, or damaged.
        """
        if not self.state.is_file():
            return None
        try:
            state = SweepState(**json.loads(self.state.read_bytes()))
        except (ValueError, TypeError) as error:
            raise SweepError(
                f"{self.state}: damaged, or not a sweep's ({error}); remove the folder or choose another one"
            ) from error
        require_same(state.identity, identity, self.path, SweepError)
        return state

    def write_state(self, state: SweepState) -> None:
        """Replace the state in one step."""
        write_file(self.state, f"{json.dumps(asdict(state), indent=2, ensure_ascii=False)}\n".encode())

    def part_file(self, part: int) -> Path:
        return self.parts / f"{part:06d}.npz"

    def write_part(self, part: int, measured: Part) -> None:
        """Write a part whole, or nothing of it.

        Raises:
            SettingsError: the disk is full or the place cannot be written to.
        """
        columns = {f"line {name}": [line[name] for line in measured.lines] for name in (measured.lines or [{}])[0]}
        groups = list(measured.sums.totals)
        stream = io.BytesIO()
        np.savez(
            stream,
            problem_index=np.array([index for index, _ in measured.problems], np.int64),
            problem_text=np.array([text for _, text in measured.problems], np.str_),
            groups=np.array(groups, np.int64).reshape(-1, 2),
            counts=np.array([measured.sums.counts[group] for group in groups], np.int64),
            totals=np.array([measured.sums.totals[group] for group in groups]),
            **columns,
        )
        write_file(self.part_file(part), stream.getvalue())

    def read_part(self, part: int) -> tuple[dict[str, np.ndarray], Part] | None:
        """The columns of a part's lines, and its problems and sums; None where it is not there or not whole."""
        try:
            with np.load(self.part_file(part), allow_pickle=False) as kept:
                arrays = {name: kept[name] for name in kept.files}
            sums = Sums()
            for group, count, total in zip(arrays["groups"], arrays["counts"], arrays["totals"], strict=True):
                sums.add(_key(group), total, int(count))
            problems = zip(arrays["problem_index"].tolist(), arrays["problem_text"].tolist(), strict=True)
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            return None
        lines = {name.removeprefix("line "): array for name, array in arrays.items() if name.startswith("line ")}
        return lines, Part(problems=list(problems), sums=sums)

    def missing(self, plan: Plan) -> list[int]:
        """The parts that are not there yet."""
        return [part for part in range(plan.parts) if self.read_part(part) is None]

    def finish(self, state: SweepState) -> None:
        """Say that all is there, and remove the parts."""
        self.write_state(replace(state, finished=True))
        self.remove_parts()

    def remove_parts(self) -> None:
        """Remove what the finished files replace."""
        shutil.rmtree(self.parts, ignore_errors=True)


def _key(group: np.ndarray) -> GroupKey:
    return int(group[0]), int(group[1])


def sweep_identity(
    model: AttentionModel, photos: PhotoSet, title: str, options: Mapping[str, Any]
) -> dict[str, dict[str, Any]]:
    """What decides a sweep's result; a folder belongs to one.

    Args:
        model: the model.
        photos: the set.
        title: of the set.
        options: layers, aggregation and whatever else changes what is written.
    """
    view = asdict(model.preprocessing) | {"patches": list(model.layout.grid)}
    return {
        "format": FORMAT,
        "model": {"name": model.name, "weights": weights_digest(model), "dtype": str(model.dtype), **view},
        "data": {"title": title, "photos": len(photos), "fingerprint": photos_fingerprint(photos)},
        "options": dict(options),
    }


def weights_digest(model: AttentionModel) -> str:
    """SHA-256 in hex over every weight and buffer of a model, by name, and over the names of its classes."""
    digest = hashlib.sha256(json.dumps(model.class_names).encode())
    for name, tensor in model.module.state_dict().items():
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()


def photos_fingerprint(photos: PhotoSet) -> str:
    """SHA-256 in hex over names and classes of photos; of files also over their sizes and times of change."""
    labels = [photos.class_names[label] for label in photos.labels]
    what: list[Any] = [photos.info.name, photos.split, photos.stand_in, photos.names, labels]
    if isinstance(photos, FolderPhotos):
        files = (*photos.names, *filter(None, photos.masks or ()))
        what += [photos.boxes]
        what += [_stamp(photos.root / name) for name in files]
    else:
        what.append(getattr(photos, "seed", None))
    return hashlib.sha256(json.dumps(what).encode()).hexdigest()


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        facts = path.stat()
    except OSError:
        return None  # reading it will say why
    return facts.st_size, facts.st_mtime_ns
