"""A whole data set: every photo's map measured in batches, a table, mean maps by class, and a report."""

from __future__ import annotations

import platform
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import __version__
from ..errors import SweepError
from ..files import write_file
from ..runs import loading_processes, lock_folder
from .folder import Plan, SweepFolder, SweepState
from .identity import sweep_identity
from .measure import Classes, model_sinks
from .output import read_result, write_results
from .photos import find_photos, plain_text
from .result import SweepResult
from .work import Request, Team, Work, gather_team, processes

if TYPE_CHECKING:
    from ..datasets.photos import Dataset, PhotoSet
    from ..models.loading import AttentionModel

BATCH = 32
"""Photos per forward pass."""

PICTURES = 12
"""Number of photos in the report that an expert should look at first."""


def sweep(
    model: AttentionModel,
    photos: Dataset | PhotoSet | str | Path,
    out: str | Path | None = None,
    layers: Sequence[int] = (-1,),
    aggregation: str = "mean",
    split: str | None = None,
    data: str | Path | None = None,
    stand_in: bool | None = None,
    limit: int | None = None,
    batch_size: int = BATCH,
    table: str = "parquet",
    pictures: int = PICTURES,
    workers: int | None = None,
    progress: bool = True,
) -> SweepResult:
    """Measure every photo of a set: what a model predicts and where its attention is, as a table and a report.

    The folder gets ``table.parquet`` (or ``.csv``), ``mean_maps.npz``, ``report.html`` and, if a file could not be
    read, ``skipped.txt``. Called again with the same arguments, a sweep that was stopped resumes and ends with the same
    table, bit for bit on a CPU; of a finished sweep, the result is returned. Of each layer only the default query's row
    is computed: the maps are plain attention.

    Processes started by ``accelerate launch`` share the set, each on its own device.

    Args:
        model: from `load_model`.
        photos: a folder of photos at any depth (`load_photo_folder` says how classes, masks and boxes are found), a
            data set or its name in `DATASETS`, or one of its splits.
        out: the sweep's folder, which all processes must see; None is ``runs/sweep-DATA-MODEL``.
        layers: layer numbers; negative ones count from the end. The figures of the report show the deepest.
        aggregation: how heads are combined into one map; one of `AGGREGATIONS`.
        split: of a data set; None is ``"test"``.
        data: folder of a named data set; see `load_dataset`.
        stand_in: see `load_dataset`.
        limit: largest number of photos, evenly spread over the set; None takes all.
        batch_size: photos per forward pass.
        table: ``"parquet"`` or ``"csv"``.
        pictures: number of photos in the report that an expert should look at first.
        workers: processes that load photos; None is 8, or one fewer than there are cores.
        progress: show a bar with the time left, and one line per file that cannot be read.

    Returns:
        The table, the mean maps and the paths of the files.

    Raises:
        DataError: no such folder or data set, or it has no photo that can be read.
        SettingsError: a layer, aggregation, split or limit that does not exist, or a layer whose patches do not divide
            the input.
        SweepError: the folder holds another sweep, or cannot be written to.
    """
    from tqdm.auto import tqdm

    request = Request(model, tuple(layers), aggregation, batch_size, table, pictures).checked()
    workers = loading_processes(workers, processes(), SweepError)
    team = gather_team(model)
    notify = tqdm.write if progress and team.first else _silent
    photo_set = find_photos(photos, model, split, limit, notify, data, stand_in)
    title = photo_set.title + (f", {len(photo_set)} of them" if limit is not None else "")
    folder = SweepFolder(Path(out) if out is not None else default_folder(photo_set, model), table)
    identity = sweep_identity(model, photo_set, title, request.options())
    if team.first:
        folder.prepare()
    with lock_folder(folder.path, SweepError) if team.first else nullcontext():
        name = str(photos) if isinstance(photos, str | Path) else None
        source = {"photos": name, "split": split, "data": data and str(data), "stand_in": stand_in, "limit": limit}
        state = _begin(request, folder, identity, photo_set, source, team)
        if state.finished:
            notify(f"{folder.path}: this sweep is finished; nothing was run")
            return read_result(folder, state)
        plan = Plan(len(photo_set), batch_size)
        measurement = request.measurement(state.sinks)
        Work(request, folder, photo_set, team, measurement, workers, progress, notify).measure(plan)
        if team.first:
            _finish(request, folder, photo_set, plan, state, notify)
        team.wait()
        return read_result(folder, state)


def default_folder(photos: PhotoSet, model: AttentionModel) -> Path:
    """The folder of a sweep for which none is given."""
    return Path("runs") / re.sub(r"[^\w.-]+", "-", f"sweep {photos.title} {model.name}").strip("-")


def _silent(_: str) -> None:
    pass


def _begin(
    request: Request,
    folder: SweepFolder,
    identity: Mapping[str, Any],
    photos: PhotoSet,
    source: Mapping[str, Any],
    team: Team,
) -> SweepState:
    """The state in the folder, or a new one, which the first process writes."""
    if team.first:
        folder.remove_leftovers()
        state = folder.read_state(identity)
        if state is None:
            sinks = model_sinks(request.model, photos, request.layers, [patches.grid for patches in request.grids])
            places = {str(layer): np.argwhere(of_layer).tolist() for layer, of_layer in sinks.items()}
            folder.write_state(SweepState(identity, places, _facts(request, photos, source)))
        if state is not None and state.finished:
            folder.remove_parts()  # left if the sweep was killed between its last two steps
        else:
            folder.parts.mkdir(exist_ok=True)
    team.wait()
    state = folder.read_state(identity)
    if state is None:
        raise SweepError(f"{folder.path}: not every process sees this folder; choose one on a shared disk")
    return state


def _facts(request: Request, photos: PhotoSet, source: Mapping[str, Any]) -> dict[str, Any]:
    """What is recorded about a sweep without determining its result."""
    model = request.model
    return {
        "model": model.describe(),
        "loaded_with": dict(model.loaded_with) if model.loaded_with is not None else None,
        "source": dict(source),
        "stand_in": photos.stand_in,
        "licence": photos.info.licence,
        "layer_names": request.sites,
        "num_layers": len(model.sites),
        "query": model.layout.default_query,
        "grids": [list(patches.grid) for patches in request.grids],
        "versions": {"vitattn_widgets": __version__, "python": platform.python_version()}
        | {name: version(name) for name in ("numpy", "timm", "torch")},
    }


def _finish(
    request: Request,
    folder: SweepFolder,
    photos: PhotoSet,
    plan: Plan,
    state: SweepState,
    notify: Callable[[str], None],
) -> None:
    """Merge the parts, write the report, and remove the parts."""
    from .report.highlights import draw_highlights
    from .report.page import report_page

    parts = [part for number in range(plan.parts) if (part := folder.read_part(number)) is not None]
    if len(parts) < plan.parts:
        raise SweepError(f"{folder.path}: a part is missing or damaged; run the same command again to measure it")
    names = [plain_text(name) for name in photos.names]
    write_results(folder, parts, names, Classes.of(photos, request.model.class_names))
    result = read_result(folder, state)
    notify(f"{folder.path}: drawing the report")
    highlights = draw_highlights(request.model, photos, result, request.pictures)
    write_file(folder.report, report_page(result, highlights).encode())
    folder.finish(state)
