"""A sweep at work: what was asked, the processes that share it, and the one stream of batches that each measures."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..capture.batches import AttentionRows, capture_rows_tensor
from ..datasets.photos import PhotoSet
from ..errors import SettingsError
from ..maps.aggregate import AGGREGATIONS, possible_aggregations
from ..models.tokens import resolve_index
from .folder import TABLES, Part, Plan, SweepFolder, sinks_at
from .measure import Asked, Classes, measure_photos
from .photos import SweepPhotos, prepared_batches

if TYPE_CHECKING:
    from accelerate import PartialState
    from tqdm.auto import tqdm

    from ..models.loading import AttentionModel

PATIENCE = timedelta(days=7)
"""How long processes wait for each other at the end: a slow one is not given up."""


@dataclass(frozen=True)
class Team:
    """The processes that share a sweep.

    Attributes:
        number: of this one, from 0; the first speaks and writes what is written once.
        count: of all.
        state: accelerate's; None where there is one process.
    """

    number: int = 0
    count: int = 1
    state: PartialState | None = None

    @property
    def first(self) -> bool:
        return self.number == 0

    def wait(self) -> None:
        """Wait until all processes are here."""
        if self.state is not None:
            self.state.wait_for_everyone()


def processes() -> int:
    """How many processes `accelerate launch` started."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def gather_team(model: AttentionModel) -> Team:
    """The processes that `accelerate launch` started; the model moves to this one's device."""
    if processes() < 2:
        return Team()
    from accelerate import PartialState

    cpu = model.device.type == "cpu" or not torch.accelerator.is_available()
    state = PartialState(cpu=cpu, timeout=PATIENCE)
    model.module.to(state.device)
    return Team(state.process_index, state.num_processes, state)


@dataclass(frozen=True)
class Request:
    """What was asked for, but for the photos.

    Attributes:
        model: the model.
        layers: layer numbers; after `checked` 0 or more, in order.
        aggregation: how heads become one map.
        batch_size: photos a forward pass.
        table: of `TABLES`.
        pictures: photos in the report that an expert should look at first.
    """

    model: AttentionModel
    layers: tuple[int, ...]
    aggregation: str
    batch_size: int
    table: str
    pictures: int

    def checked(self) -> Request:
        """The same with layers 0 or more, in order.

        Raises:
            SettingsError: something that does not exist.
        """
        for what, given, possible in (("aggregation", self.aggregation, AGGREGATIONS), ("table", self.table, TABLES)):
            if given not in possible:
                raise SettingsError(f"{what} {given!r} does not exist; possible: {', '.join(possible)}")
        if self.batch_size < 1 or self.pictures < 0:
            raise SettingsError(
                f"a batch has at least 1 photo and a report at least 0 pictures, got {self.batch_size} and "
                f"{self.pictures}"
            )
        if not self.layers:
            raise SettingsError("a sweep needs at least one layer")
        count = len(self.model.sites)
        layers = {resolve_index(layer, count, "layer", self.model.name) for layer in self.layers}
        checked = replace(self, layers=tuple(sorted(layers)))
        for layer, site in zip(checked.layers, checked.sites, strict=True):
            heads = getattr(self.model.sites[site], "num_heads", None)
            if heads is not None and self.aggregation not in possible_aggregations(heads):
                raise SettingsError(
                    f"layer {layer} of {self.model.name} has one head, of which there is no {self.aggregation}; "
                    "take 'mean' or 'max'"
                )
        return checked

    @property
    def sites(self) -> list[str]:
        """The names of the layers."""
        names = list(self.model.sites)
        return [names[layer] for layer in self.layers]

    def options(self) -> dict[str, Any]:
        """What of it decides what is written, as JSON takes it."""
        return {
            "layers": list(self.layers),
            "aggregation": self.aggregation,
            "batch_size": self.batch_size,
            "table": self.table,
            "pictures": self.pictures,
        }

    def asked(self, sinks: Mapping[str, Sequence[Sequence[int]]]) -> Asked:
        """What is measured of every photo, with the sinks that a state names."""
        grid = self.model.layout.grid
        found = {layer: sinks_at(sinks[str(layer)], grid) for layer in self.layers}
        return Asked(self.layers, self.aggregation, found)


@dataclass(frozen=True, eq=False)
class Work:
    """One process's part in a sweep.

    Attributes:
        request: what was asked.
        folder: where parts are written.
        photos: the set.
        team: the processes that share it.
        asked: what is measured.
        workers: processes that load photos.
        progress: show a bar.
        notify: takes a line.
    """

    request: Request
    folder: SweepFolder
    photos: PhotoSet
    team: Team
    asked: Asked
    workers: int
    progress: bool
    notify: Callable[[str], None]

    def measure(self, plan: Plan) -> None:
        """Measure this process's share of the parts that are not there yet, and wait for the others."""
        from tqdm.auto import tqdm

        missing = self.folder.missing(plan)
        self.team.wait()  # nobody writes before everybody has looked
        mine = missing[self.team.number :: self.team.count]
        if missing and len(missing) < plan.parts:
            left = sum(len(batch) for part in missing for batch in plan.batches(part))
            self.notify(f"{self.folder.path}: goes on after {plan.photos - left} of {plan.photos} photos")
        count = sum(len(batch) for part in mine for batch in plan.batches(part))
        words = f"process 1 of {self.team.count}" if self.team.count > 1 else None
        shown = self.progress and self.team.first
        with tqdm(total=count, unit="photo", desc=words, disable=not shown, dynamic_ncols=True) as bar:
            for part, measured in self._measured(plan, mine, bar):
                self.folder.write_part(part, measured)
        self.team.wait()

    def _measured(self, plan: Plan, parts: Sequence[int], bar: tqdm) -> Iterator[tuple[int, Part]]:
        """Each part, from one stream of batches: loading goes on over the ends of parts."""
        model = self.request.model
        classes = Classes.of(self.photos, model.class_names)
        batches = [list(indices) for part in parts for indices in plan.batches(part)]
        tensors = SweepPhotos(self.photos, model.preprocessing, model.layout)
        loader = iter(prepared_batches(tensors, batches, self.workers))
        for part in parts:
            measured = Part()
            for indices in plan.batches(part):
                batch = next(loader)
                measured.problems.extend(batch.problems)
                for _, problem in batch.problems:
                    self.notify(problem)
                if batch.tensor is not None:
                    lines, maps = measure_photos(self._capture(batch.tensor), batch.photos, self.asked)
                    measured.lines.extend(lines)
                    for line, of_photo in zip(lines, maps, strict=False):  # the first layer's lines, one a photo
                        measured.sums.add(classes.group(line["index"], line["predicted"]), of_photo)
                bar.update(len(indices))
            yield part, measured

    def _capture(self, tensor: Tensor) -> AttentionRows:
        model = self.request.model
        prepared = tensor.to(model.device, model.dtype, non_blocking=True)
        return capture_rows_tensor(model, prepared, self.request.sites)
