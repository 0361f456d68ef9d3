"""What each source's map is worth: on masks, and by deletion and insertion where there are none.

    python -m tests.benchmarks.bench_maps --masks FOLDER
    python -m tests.benchmarks.bench_maps --photos FOLDER
    python -m tests.benchmarks.bench_maps --stand-in demo --model demo

`FOLDER` of ``--masks`` holds ``images`` and ``masks`` (`va.datasets.load_masked_folder`). Beside the sources of the kit
stand the variants among which the recommended one was chosen: the sum of gradient times attention over the last 1, 2,
... layers, with its signs or of its positive parts alone, with and without sinks.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

from tests.conftest import SAMPLES  # noqa: F401 sets the offline cache before timm is imported

# isort: split
import numpy as np
import torch

import vitattn_widgets as va
from vitattn_widgets.evaluation import perturbation
from vitattn_widgets.evaluation.interventions import probabilities_of
from vitattn_widgets.maps.attribution import grid_map
from vitattn_widgets.maps.sinks import leave_out

STEPS = 6


def maps_of(model: va.models.AttentionModel, capture: va.capture.AttentionCapture) -> dict[str, np.ndarray]:
    """The grid map of every source, with and without sinks, and of every variant."""
    maps = {}
    for source in va.SOURCES:
        for sinks, words in (("show", ""), ("leave_out", ", no sinks")):
            settings = va.ViewSettings(source=source, sinks=sinks)
            capture = va.complete_capture(model, capture, settings)
            values = grid_map(capture, settings)
            maps[source + words] = values if va.maps.CATALOGUE[source].signed else np.abs(values)
    layers, gradients = capture.num_layers, capture.class_gradients()
    signed, positive = (np.zeros((layers, capture.layout.num_patches)) for _ in range(2))
    for index, layer in enumerate(capture.layers):
        queries = layer.tokens.query_indices(capture.query_or_default(index), layer.name)
        rows = layer.attention.rows(queries, torch.float32) * gradients.rows(index, layer.values, queries)
        prefix = len(layer.tokens.key_prefix)
        signed[index] = rows[0].sum((0, 1))[prefix:].numpy()
        positive[index] = rows[0].clamp_min(0).sum((0, 1))[prefix:].numpy()
    for last in sorted({1, 2, -(-layers // 4), -(-layers // 3), -(-layers // 2), layers}):
        for words, parts in (("with signs", signed), ("positive parts", positive)):
            grid = parts[-last:].sum(0).clip(min=0).reshape(capture.layout.grid)
            maps[f"last {last} of {layers} layers, {words}"] = grid
            without = leave_out(grid[None], va.find_sinks(capture), each=False)[0]
            maps[f"last {last} of {layers} layers, {words}, no sinks"] = without
    return maps


def faithfulness(
    model: va.models.AttentionModel, capture: va.capture.AttentionCapture, maps: dict[str, np.ndarray]
) -> dict[str, tuple[float, float]]:
    """Deletion and insertion area of each map and baseline for the predicted class."""
    grid, target = capture.layout.grid, capture.class_or_predicted()
    counts = perturbation.removed_counts(grid[0] * grid[1], STEPS)
    picture = capture.pixels
    grey = np.broadcast_to(np.rint(255 * np.array(model.preprocessing.mean)).astype(np.uint8), picture.shape)
    blank = perturbation.blurred(picture, capture.layout.patch_size)
    orders = {name: perturbation.map_order(grid_map) for name, grid_map in maps.items()}
    orders |= {f"{name} order": perturbation.baseline_order(name, grid) for name in perturbation.BASELINE_ORDERS}
    pictures = [np.stack([picture, grey, blank])]
    for order in orders.values():
        pictures += [
            perturbation.altered_pictures(*ends, order, counts[1:-1], grid)
            for ends in ((picture, grey), (blank, picture))
        ]
    answers = probabilities_of(model, np.concatenate(pictures))[:, target]
    (whole, empty, blind), between = answers[:3], answers[3:].reshape(len(orders), 2, -1)
    return {
        name: (perturbation.area(np.array([whole, *taken, empty])), perturbation.area(np.array([blind, *given, whole])))
        for name, (taken, given) in zip(orders, between, strict=True)
    }


def measures_of_folder(model: va.models.AttentionModel, folder: Path, every: int) -> Iterator[dict]:
    for path in sorted(folder.rglob("*.[jJ][pP]*[gG]"))[::every]:
        capture = va.capture_attention(model, path)
        yield faithfulness(model, va.capture.capture_gradients(model, capture), maps_of(model, capture))


def measures_on_masks(model: va.models.AttentionModel, photos: va.datasets.PhotoSet, every: int) -> Iterator[dict]:
    for index in range(0, len(photos), every):
        capture = va.capture.capture_gradients(model, va.capture_attention(model, photos.load(index)))
        size = capture.view.shape[:2]
        mask = va.datasets.mask_on_view(photos.mask(index), capture.crop_box, size)
        if not (mask == 1).any():
            continue  # a whole fruit has no blemish
        grid = capture.layout.grid
        maps = {
            "uniform": va.evaluation.uniform_map(grid),
            "centre blob": va.evaluation.centre_blob(grid),
            **maps_of(model, capture),
        }
        heats = {name: va.smooth_map(grid_map, size, capture.layout.patch_size) for name, grid_map in maps.items()}
        yield {
            name: (va.evaluation.mass_on_mask(heat, mask), va.evaluation.pointing_game(heat, mask))
            for name, heat in heats.items()
        }


def print_means(rows: list[dict], heads: tuple[str, str]) -> None:
    print(f"{len(rows)} photos\n{'':<48}{heads[0]:>10}{heads[1]:>10}")
    for name in rows[0]:
        first, second = np.nanmean([row[name] for row in rows], axis=0)
        print(f"{name:<48}{first:>10.3f}{second:>10.3f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--masks", type=Path, help="folder with images and masks")
    which.add_argument("--photos", type=Path, help="folder of photos, for deletion and insertion")
    which.add_argument("--stand-in", help="name of a data set whose stand-in has masks of the evidence")
    parser.add_argument("--model", help="name for load_model; else ViT-Tiny, or what the checkpoint's card names")
    parser.add_argument("--checkpoint", type=Path, help="weights of the model; else its published ones")
    parser.add_argument("--every", type=int, default=1, help="measure only every so many photos")
    options = parser.parse_args()
    name = options.model or (None if options.checkpoint else "vit_tiny_patch16_224")
    loaded = va.load_model(name, checkpoint=options.checkpoint)
    print(loaded.describe())
    if options.photos:
        print_means(list(measures_of_folder(loaded, options.photos, options.every)), ("deletion", "insertion"))
    else:
        found = (
            va.datasets.load_masked_folder(options.masks)
            if options.masks
            else va.load_dataset(options.stand_in, stand_in=True).test
        )
        print_means(list(measures_on_masks(loaded, found, options.every)), ("mass_on_mask", "pointing_game"))
