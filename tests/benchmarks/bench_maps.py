"""What each source's map is worth: on masks, and by deletion, insertion and SaCo where there are none.

    python -m tests.benchmarks.bench_maps --masks FOLDER
    python -m tests.benchmarks.bench_maps --photos FOLDER
    python -m tests.benchmarks.bench_maps --stand-in demo --model demo

`FOLDER` of ``--masks`` holds ``images`` and ``masks`` (`va.datasets.load_masked_folder`). With ``--variants`` stand,
beside the sources of the kit, the contributions among which the recommended view was chosen. Means over photos, with
95% intervals of a bootstrap over photos.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

from tests.conftest import SAMPLES  # noqa: F401 sets the offline cache before timm is imported

# isort: split
import numpy as np
from tqdm import tqdm

import vitattn_widgets as va
from vitattn_widgets.evaluation import perturbation
from vitattn_widgets.evaluation.interventions import probabilities_of
from vitattn_widgets.evaluation.result import bootstrap_interval
from vitattn_widgets.maps.attribution import grid_map
from vitattn_widgets.maps.sources import CATALOGUE

STEPS = 6
GROUPS = 10
"""Groups of patches of SaCo, as in its paper."""


def maps_of(
    model: va.models.AttentionModel, capture: va.capture.AttentionCapture, variants: bool
) -> dict[str, np.ndarray]:
    """The grid map of every source, without and with its sinks, and of every variant."""
    maps = {}
    for source in va.SOURCES:
        for sinks, words in (("show", ""), ("leave_out", ", no sinks")):
            settings = va.ViewSettings(source=source, sinks=sinks)
            capture = va.complete_capture(model, capture, settings)
            values = grid_map(capture, settings)
            maps[source + words] = values if CATALOGUE[source].signed else np.abs(values)
    if variants:
        maps |= variants_of(capture)
    return maps


def variants_of(capture: va.capture.AttentionCapture) -> dict[str, np.ndarray]:
    """Contributions of tokens at single layers, through the attention of the last layers, and sums of both."""
    grid, patches, count = capture.layout.grid, capture.layout.num_patches, capture.num_layers
    found = capture.class_contributions().layers
    tokens = [layer.tokens[-patches:].reshape(grid) for layer in found]
    through = [layer.heads[:, -patches:].sum(0).reshape(grid) for layer in found]
    third, most = -(-count // 3), -(-2 * count // 3)
    maps = {f"tokens of layer {layer}": tokens[layer] for layer in sorted({count // 3, count // 2, most, count - 2})}
    maps[f"tokens of layers {count // 3} to {count - 1}"] = np.sum(tokens[count // 3 :], 0)
    for last in sorted({2, third, count // 2, most, count}):
        maps[f"attention of the last {last}"] = np.sum(through[-last:], 0)

    def summed(*parts: np.ndarray) -> np.ndarray:
        return np.sum([part / np.abs(part).sum() for part in parts], 0)

    late, all_of, many = (np.sum(through[-last:], 0) for last in (third, count, most))
    maps["tokens of the last layer + late attention"] = summed(tokens[-1], late)
    maps["tokens of the last layer + all attention"] = summed(tokens[-1], all_of)
    maps[f"tokens of the last layer + attention of the last {most}"] = summed(tokens[-1], many)
    maps["late tokens + all attention"] = summed(np.sum(tokens[-third:], 0), all_of)
    return maps


def faithfulness(
    model: va.models.AttentionModel, capture: va.capture.AttentionCapture, maps: dict[str, np.ndarray]
) -> dict[str, tuple[float, float, float]]:
    """Deletion and insertion area and SaCo of each map and baseline for the predicted class."""
    grid, shape, target = capture.layout.grid, capture.layout.patch_shape, capture.class_or_predicted()
    counts = perturbation.removed_counts(grid[0] * grid[1], STEPS)
    picture = capture.pixels
    grey = np.broadcast_to(np.rint(255 * np.array(model.preprocessing.mean)).astype(np.uint8), picture.shape)
    blank = perturbation.blurred(picture, capture.layout.patch_size)
    centre = va.evaluation.centre_blob(grid)
    chance = np.random.default_rng(capture.source.size).random(grid)
    maps = {"random": chance, "centre blob": centre, **maps}
    pictures, members = [np.stack([picture, grey, blank])], {}
    for name, values in maps.items():
        order = perturbation.map_order(values)
        for under, over in ((picture, grey), (blank, picture)):
            pictures.append(perturbation.altered_pictures(under, over, order, counts[1:-1], grid, shape))
        without, members[name] = without_groups(picture, grey, order, GROUPS, grid, shape)
        pictures.append(without)
    answers = probabilities_of(model, np.concatenate(pictures))[:, target].astype(float)
    (whole, empty, blind), rest = answers[:3], answers[3:].reshape(len(maps), -1)
    found = {}
    for (name, values), row in zip(maps.items(), rest, strict=True):
        taken, given, lacking = np.split(row, [STEPS - 1, 2 * (STEPS - 1)])
        salience = np.array([values.ravel()[group].sum() for group in members[name]])
        found[name] = (
            perturbation.area(np.array([whole, *taken, empty])),
            perturbation.area(np.array([blind, *given, whole])),
            salience_coefficient(salience, whole - lacking),
        )
    return found


def measures_of_folder(
    model: va.models.AttentionModel, folder: Path, every: int, variants: bool
) -> Iterator[dict[str, tuple[float, ...]]]:
    for path in tqdm(sorted(folder.rglob("*.[jJ][pP]*[gG]"))[::every]):
        capture = va.capture.capture_gradients(model, va.capture_attention(model, path))
        yield faithfulness(model, capture, maps_of(model, capture, variants))


def measures_on_masks(
    model: va.models.AttentionModel, photos: va.datasets.PhotoSet, every: int, variants: bool
) -> Iterator[dict[str, tuple[float, ...]]]:
    for index in tqdm(range(0, len(photos), every)):
        capture = va.capture.capture_gradients(model, va.capture_attention(model, photos.load(index)))
        size = capture.view.shape[:2]
        mask = va.datasets.mask_on_view(photos.mask(index), capture.crop_box, size)
        if not (mask == 1).any():
            continue  # a whole fruit has no blemish
        grid = capture.layout.grid
        maps = {
            "uniform": va.evaluation.uniform_map(grid),
            "centre blob": va.evaluation.centre_blob(grid),
            **maps_of(model, capture, variants),
        }
        heats = {
            name: va.smooth_map(grid_map, size, capture.layout.patch_size).clip(min=0)
            for name, grid_map in maps.items()
        }
        yield {
            name: (va.evaluation.mass_on_mask(heat, mask), va.evaluation.pointing_game(heat, mask))
            for name, heat in heats.items()
        }


def print_means(rows: list[dict[str, tuple[float, ...]]], heads: dict[str, int]) -> None:
    """Means and intervals; `heads` are the measures, 1 if more of it is better and -1 if less is."""
    values = {name: np.array([row[name] for row in rows]) for name in rows[0]}

    def interval(name: str) -> tuple[np.ndarray, np.ndarray]:
        own = values[name]
        return bootstrap_interval(lambda rng: np.nanmean(own[rng.integers(len(own), size=len(own))], 0))

    print(f"{len(rows)} photos\n{'':<52}" + "".join(f"{head:>24}" for head in heads))
    for name, own in values.items():
        low, high = interval(name)
        cells = zip(np.nanmean(own, 0), low, high, strict=True)
        print(f"{name:<52}" + "".join(f"{mean:>10.3f} {f'{least:.3f}..{most:.3f}':>13}" for mean, least, most in cells))
    if "random" not in values:
        return
    for place, (head, sign) in enumerate(heads.items()):
        means = {name: sign * np.nanmean(own[:, place]) for name, own in values.items()}
        worse = [name for name, mean in means.items() if mean < means["random"]]
        if worse:
            print(f"{head} cannot tell: a random map does better than {', '.join(worse)}")


def without_groups(
    picture: np.ndarray,
    ground: np.ndarray,
    order: np.ndarray,
    groups: int,
    grid: tuple[int, int],
    patch_shape: tuple[int, int],
) -> tuple[np.ndarray, list[np.ndarray]]:
    """A picture without each of some groups of patches in turn; the groups are of one size, in an order.

    Args:
        picture: uint8 ``(H, W, 3)``.
        ground: uint8 ``(H, W, 3)``, what a replaced patch shows.
        order: the patches, from the first to the last.
        groups: how many.
        grid: ``(rows, cols)``.
        patch_shape: height and width of a patch in pixels.

    Returns:
        uint8 ``(groups, H, W, 3)``, and the patches of each group.
    """
    members = np.array_split(order, groups)
    rest = [np.concatenate([group, np.setdiff1d(order, group)]) for group in members]
    pictures = [
        perturbation.altered_pictures(picture, ground, first, np.array([len(group)]), grid, patch_shape)
        for first, group in zip(rest, members, strict=True)
    ]
    return np.concatenate(pictures), members


def salience_coefficient(salience: np.ndarray, fall: np.ndarray) -> float:
    """How well the salience of groups of patches agrees with what the answer loses without them.

    SaCo of Wu et al. 2024, "On the Faithfulness of Vision Transformer Explanations" (arXiv:2404.01415), algorithm 1:
    of each two groups, the difference of their salience counts for the map if the more salient one matters at least as
    much, and against it otherwise; the sum is divided by that of all sizes.

    Args:
        salience: of each group, ``(groups,)``, the sum of the map over its patches.
        fall: of each group, ``(groups,)``, how much the class's probability falls without it.

    Returns:
        -1 (the more salient, the less it matters) .. 1; about 0 for a map that knows nothing; NaN for a constant one.
    """
    more, less = np.triu_indices(len(salience), 1)
    swap = salience[more] < salience[less]
    more, less = np.where(swap, less, more), np.where(swap, more, less)
    weight = salience[more] - salience[less]
    total = weight.sum()
    return float(np.where(fall[more] >= fall[less], weight, -weight).sum() / total) if total > 0 else np.nan


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--masks", type=Path, help="folder with images and masks")
    which.add_argument("--photos", type=Path, help="folder of photos, for deletion, insertion and SaCo")
    which.add_argument("--stand-in", help="name of a data set whose stand-in has masks of the evidence")
    parser.add_argument("--model", help="name for load_model; else ViT-Tiny, or what the checkpoint's card names")
    parser.add_argument("--checkpoint", type=Path, help="weights of the model; else its published ones")
    parser.add_argument("--every", type=int, default=1, help="measure only every so many photos")
    parser.add_argument("--variants", action="store_true", help="measure other sums of contributions too")
    options = parser.parse_args()
    name = options.model or (None if options.checkpoint else "vit_tiny_patch16_224")
    loaded = va.load_model(name, checkpoint=options.checkpoint)
    print(loaded.describe())
    if options.photos:
        found = measures_of_folder(loaded, options.photos, options.every, options.variants)
        print_means(list(found), {"deletion": -1, "insertion": 1, "SaCo": 1})
    else:
        photos = (
            va.datasets.load_masked_folder(options.masks)
            if options.masks
            else va.load_dataset(options.stand_in, stand_in=True).test
        )
        found = measures_on_masks(loaded, photos, options.every, options.variants)
        print_means(list(found), {"mass": 1, "pointing": 1})
