"""What a sweep costs against plain batched inference of the same photos.

    python -m tests.benchmarks.bench_sweep FOLDER

Both read the same files with the same loader in the same batches; plain inference then takes the most probable class of
each photo, the sweep measures every map as `sweep` does and writes its parts. Rounds alternate, so that both see the
same machine; the ratio is the median of the rounds' own. Below it stands what a whole sweep takes beside its pass:
finding the sinks, the table, the mean maps and the report.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

from tests.conftest import SHARED  # noqa: F401  sets the offline cache before timm is imported

# isort: split
import torch

import vitattn_widgets as va
from vitattn_widgets.runs import loading_processes
from vitattn_widgets.sweeps.folder import Plan, SweepFolder
from vitattn_widgets.sweeps.measure import model_sinks
from vitattn_widgets.sweeps.photos import SweepPhotos, find_photos, prepared_batches
from vitattn_widgets.sweeps.work import Request, Team, Work


def plain(model: va.models.AttentionModel, photos: va.datasets.PhotoSet, plan: Plan, workers: int) -> float:
    """Seconds of plain inference."""
    batches = [list(indices) for part in range(plan.parts) for indices in plan.batches(part)]
    loader = prepared_batches(SweepPhotos(photos, model.preprocessing), batches, workers)
    start = time.perf_counter()
    answers = []
    with torch.inference_mode():
        for batch in loader:
            logits = model.module(batch.tensor.to(model.device, model.dtype, non_blocking=True))
            answers.append(logits.argmax(-1).cpu())
    assert sum(map(len, answers)) == len(photos)
    return time.perf_counter() - start


def swept(request: Request, photos: va.datasets.PhotoSet, plan: Plan, workers: int, sinks: dict) -> float:
    """Seconds of a sweep's pass, parts on the disk."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = SweepFolder(Path(temporary), request.table)
        folder.parts.mkdir()
        work = Work(request, folder, photos, Team(), request.measurement(sinks), workers, progress=False, notify=print)
        start = time.perf_counter()
        work.measure(plan)
        return time.perf_counter() - start


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", help="photos, or the name of a data set for its stand-in")
    parser.add_argument("--model", default="vit_tiny_patch16_224")
    parser.add_argument("--layers", type=int, nargs="+", default=[-1])
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--limit", type=int, help="at most so many photos, evenly spread")
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    model = va.load_model(options.model)
    stand_in = True if options.folder in va.datasets.DATASETS else None
    photos = find_photos(options.folder, model, None, options.limit, print, None, stand_in)
    request = Request(model, tuple(options.layers), "mean", options.batch_size, "parquet", 12).checked()
    plan, workers = Plan(len(photos), options.batch_size), loading_processes(None, 1, va.errors.SweepError)
    found = model_sinks(model, photos, request.layers)
    sinks = {
        str(layer): [(int(r), int(c)) for r, c in zip(*of_layer.nonzero(), strict=True)]
        for layer, of_layer in found.items()
    }
    times: list[tuple[float, float]] = []
    for number in range(options.rounds + 1):
        if number % 2:
            one = plain(model, photos, plan, workers)
            two = swept(request, photos, plan, workers, sinks)
        else:
            two = swept(request, photos, plan, workers, sinks)
            one = plain(model, photos, plan, workers)
        if number:  # the first round warms up
            times.append((one, two))
            print(f"round {number}: plain {len(photos) / one:.1f}, sweep {len(photos) / two:.1f} photos/s", flush=True)
    ratio = statistics.median(one / two for one, two in times)
    print(
        f"{model.name}, {len(photos)} photos, batches of {options.batch_size}, {workers} loading processes, device "
        f"{model.device}\nthroughput of the sweep over plain inference: {ratio:.3f} (median of {len(times)} rounds, "
        f"{min(a / b for a, b in times):.3f} to {max(a / b for a, b in times):.3f})"
    )
    with tempfile.TemporaryDirectory() as temporary:
        start = time.perf_counter()
        va.sweep(
            model,
            photos,
            Path(temporary) / "sweep",
            layers=options.layers,
            batch_size=options.batch_size,
            progress=False,
        )
        whole = time.perf_counter() - start
    one = statistics.median(one for one, _ in times)
    print(
        f"a whole sweep, sinks, table and report of 12 pictures included: {whole:.1f} s; plain inference: {one:.1f} s"
    )
