"""A sweep at work: its settings, the processes that share it, and the stream of batches that each one measures."""

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
from ..models.stages import PatchGrid, patch_grids
from ..models.tokens import resolve_index
from .folder import TABLES, Part, Plan, SweepFolder, sinks_at
from .measure import Classes, Measurement, measure_photos
from .photos import SweepPhotos, prepared_batches

if TYPE_CHECKING:
    from accelerate import PartialState
    from tqdm.auto import tqdm

    from ..models.loading import AttentionModel

PATIENCE = timedelta(days=7)
"""How long processes wait for each other: long enough for the slowest."""


@dataclass(frozen=True)
class Team:
    """The processes that share a sweep.

    Attributes:
        number: of this process, from 0; only the first prints and writes the common files.
        count: of all processes.
        state: of accelerate; None if there is only one process.
    """

    number: int = 0
    count: int = 1
    state: PartialState | None = None

    @property
    def first(self) -> bool:
        return self.number == 0

    def wait(self) -> None:
        """Wait until all processes have called this."""
        if self.state is not None:
            self.state.wait_for_everyone()


def processes() -> int:
    """The number of processes started by `accelerate launch`."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def gather_team(model: AttentionModel) -> Team:
    """The processes started by `accelerate launch`; the model is moved to this process's device."""
    if processes() < 2:
        return Team()
    from accelerate import PartialState

    cpu = model.device.type == "cpu" or not torch.accelerator.is_available()
    state = PartialState(cpu=cpu, timeout=PATIENCE)
    model.module.to(state.device)
    return Team(state.process_index, state.num_processes, state)


@dataclass(frozen=True)
class Request:
    """The settings of a sweep, except for its photos.

    Attributes:
        model: the model.
        layers: layer numbers; after `checked` 0 or more, in order.
        aggregation: how heads are combined into one map.
        batch_size: photos per forward pass.
        table: one of `TABLES`.
        pictures: number of photos in the report that an expert should look at first.
    """

    model: AttentionModel
    layers: tuple[int, ...]
    aggregation: str
    batch_size: int
    table: str
    pictures: int

    def checked(self) -> Request:
        """The same request with layers 0 or more, in order.

        Raises:
            SettingsError: a setting that does not exist or is out of range.
        """
        for name, value, allowed in (("aggregation", self.aggregation, AGGREGATIONS), ("table", self.table, TABLES)):
            if value not in allowed:
                raise SettingsError(f"{name} {value!r} does not exist; possible: {', '.join(allowed)}")
        if self.batch_size < 1 or self.pictures < 0:
            raise SettingsError(
                f"batch_size must be at least 1 photo and pictures at least 0, got {self.batch_size} and "
                f"{self.pictures}"
            )
        if not self.layers:
            raise SettingsError("a sweep needs at least one layer; -1 is the last")
        count = len(self.model.sites)
        layers = {resolve_index(layer, count, "layer", self.model.name) for layer in self.layers}
        checked = replace(self, layers=tuple(sorted(layers)))
        # of the grids nothing is needed yet, but one that cannot be measured is refused here
        for layer, site, _ in zip(checked.layers, checked.sites, checked.grids, strict=True):
            heads = getattr(self.model.sites[site], "num_heads", None)
            if heads is not None and self.aggregation not in possible_aggregations(heads):
                raise SettingsError(
                    f"layer {layer} of {self.model.name} has one head, and {self.aggregation} needs more; use 'mean' "
                    "or 'max'"
                )
        return checked

    @property
    def grids(self) -> list[PatchGrid]:
        """The grids of the layers.

        Raises:
            SettingsError: the patches of a layer do not divide the input.
        """
        model = self.model
        return patch_grids(model.name, model.layout, model.partitions, model.preprocessing.size, self.layers)

    @property
    def sites(self) -> list[str]:
        """The names of the layers."""
        names = list(self.model.sites)
        return [names[layer] for layer in self.layers]

    def options(self) -> dict[str, Any]:
        """The settings that determine the files, for JSON."""
        return {
            "layers": list(self.layers),
            "aggregation": self.aggregation,
            "batch_size": self.batch_size,
            "table": self.table,
            "pictures": self.pictures,
        }

    def measurement(self, sinks: Mapping[str, Sequence[Sequence[int]]]) -> Measurement:
        """What is measured in every photo, given the places of the sinks in a state."""
        pairs = zip(self.layers, self.grids, strict=True)
        of_layers = {layer: sinks_at(sinks[str(layer)], patches.grid) for layer, patches in pairs}
        return Measurement(self.layers, self.aggregation, of_layers)


@dataclass(frozen=True, eq=False)
class Work:
    """One process's share of a sweep.

    Attributes:
        request: the settings.
        folder: where parts are written.
        photos: the set.
        team: the processes that share it.
        measurement: what is measured.
        workers: processes that load photos.
        progress: show a bar.
        notify: called with single lines.
    """

    request: Request
    folder: SweepFolder
    photos: PhotoSet
    team: Team
    measurement: Measurement
    workers: int
    progress: bool
    notify: Callable[[str], None]

    def measure(self, plan: Plan) -> None:
        """Measure this process's share of the missing parts, and wait for the other processes."""
        from tqdm.auto import tqdm

        missing = self.folder.missing(plan)
        self.team.wait()  # all processes must see the same parts missing before any of them writes one
        mine = missing[self.team.number :: self.team.count]
        if missing and len(missing) < plan.parts:
            left = sum(len(batch) for part in missing for batch in plan.batches(part))
            self.notify(f"{self.folder.path}: resumes after {plan.photos - left} of {plan.photos} photos")
        count = sum(len(batch) for part in mine for batch in plan.batches(part))
        title = f"process 1 of {self.team.count}" if self.team.count > 1 else None
        hidden = not (self.progress and self.team.first)
        with tqdm(total=count, unit="photo", desc=title, disable=hidden, dynamic_ncols=True) as bar:
            for part, measured in self._measured(plan, mine, bar):
                self.folder.write_part(part, measured)
        self.team.wait()

    def _measured(self, plan: Plan, parts: Sequence[int], bar: tqdm) -> Iterator[tuple[int, Part]]:
        """The measured parts, from one stream of batches: loading does not pause between parts."""
        model = self.request.model
        classes = Classes.of(self.photos, model.class_names)
        batches = [list(indices) for part in parts for indices in plan.batches(part)]
        tensors = SweepPhotos(self.photos, model.preprocessing, self.request.grids)
        loader = iter(prepared_batches(tensors, batches, self.workers))
        for part in parts:
            measured = Part()
            for indices in plan.batches(part):
                batch = next(loader)
                measured.problems.extend(batch.problems)
                for _, problem in batch.problems:
                    self.notify(problem)
                if batch.tensor is not None:
                    lines, maps = measure_photos(self._capture(batch.tensor), batch.photos, self.measurement)
                    measured.lines.extend(lines)
                    for line, of_photo in zip(lines, maps, strict=False):  # the lines of the first layer: one per photo
                        group = classes.group(int(line["index"]), int(line["predicted"]))
                        measured.sums.add(group, of_photo)
                bar.update(len(indices))
            yield part, measured

    def _capture(self, tensor: Tensor) -> AttentionRows:
        model = self.request.model
        prepared = tensor.to(model.device, model.dtype, non_blocking=True)
        return capture_rows_tensor(model, prepared, self.request.sites)
