"""How large capsules are, how long they take to make, and how far rounded queries and keys move a map.

    python -m tests.benchmarks.bench_capsule
    python -m tests.benchmarks.bench_capsule vit_small_patch16_224

Weights are the published ones where they are in the cache, else random ones.
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from collections.abc import Callable
from dataclasses import replace

from tests.conftest import SAMPLES  # sets the offline cache before timm is imported

# isort: split
import numpy as np
import safetensors.numpy
import torch

import vitattn_widgets as va
from tests.benchmarks.bench_export import load
from vitattn_widgets.capture.attention import SoftmaxAttention
from vitattn_widgets.viewer.requests import answer
from vitattn_widgets.viewer.tensors import fixed_point

MODELS = ("vit_tiny_patch16_224", "vit_base_patch16_224", "vit_small_patch14_dinov2")

Rounding = Callable[[torch.Tensor], torch.Tensor]


def median_ms(work: Callable[[], object], rounds: int = 9) -> float:
    """The median time of some work in milliseconds."""
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        work()
        times.append(1000 * (time.perf_counter() - start))
    return statistics.median(times)


def sizes(name: str, photo: object) -> None:
    """Print a line about a model's capsule and about the queries and keys of a layer."""
    model, weights = load(name)
    capture = va.capture_attention(model, photo)
    capsule = va.viewer.make_capsule(model, capture)
    tensors = safetensors.numpy.load(capsule)
    pixels = tensors["view"].nbytes + tensors["photo"].nbytes
    operands = len(answer(model, capture, {"need": "operands", "layer": -1}).content)
    duration = median_ms(lambda: va.viewer.make_capsule(model, capture))
    print(
        f"{name} ({weights} weights): {(len(capsule) - pixels) / 1e3:.0f} kB and {pixels / 1e3:.0f} kB of pixels in "
        f"{duration:.0f} ms; queries and keys of a layer {operands / 1e3:.0f} kB"
    )


def fixed(bits: int) -> Rounding:
    def rounded(values: torch.Tensor) -> torch.Tensor:
        integers, scale = fixed_point(values[0].numpy(), bits)
        return torch.from_numpy(integers * scale[..., None].astype(np.float64))[None]

    return rounded


ROUNDINGS: dict[str, Rounding] = {
    "fixed point, 16 bits": fixed(16),
    "fixed point, 13 bits": fixed(13),
    "float16": lambda values: values.half().float(),
}


def with_operands(capture: va.capture.AttentionCapture, change: Rounding) -> va.capture.AttentionCapture:
    """The capture with changed queries and keys."""
    layers = []
    for layer in capture.layers:
        if isinstance(layer.attention, SoftmaxAttention):
            scores = layer.attention.scores
            layer = replace(layer, attention=SoftmaxAttention(replace(scores, q=change(scores.q), k=change(scores.k))))
        layers.append(layer)
    return replace(capture, layers=tuple(layers))


def errors(count: int) -> None:
    """Print how far each rounding moves the maps of random patches of ViT-Tiny on every sample."""
    model, weights = load("vit_tiny_patch16_224")
    moved: dict[tuple[str, str], list[float]] = {}
    chance = random.Random(0)
    photos = sorted(SAMPLES.glob("*.jpg"))
    for photo in photos:
        exact = va.capture_attention(model, photo)
        near = {name: with_operands(exact, change) for name, change in ROUNDINGS.items()}
        for _ in range(count):
            patch = (chance.randrange(14), chance.randrange(14))
            paper = va.ViewSettings(layer=chance.randrange(12), query=patch)
            for kind, settings in (
                ("mean, own scale", paper),
                ("mean, robust scale", replace(paper, scale="robust")),
                ("mean / std", replace(paper, aggregation="mean_over_std")),
            ):
                right = va.render_view(exact, settings).heat
                for name, capture in near.items():
                    heat = va.render_view(capture, settings).heat
                    moved.setdefault((kind, name), []).append(255 * float(np.abs(heat - right).max()))
    print(f"\nViT-Tiny ({weights} weights), {count} random patches and layers of {len(photos)} samples,")
    print("largest difference of the heat in levels of 255: median, 99 %, largest")
    for (kind, name), values in moved.items():
        median, most, largest = np.percentile(values, (50, 99, 100))
        print(f"{kind:20} {name:22} {median:6.2f} {most:6.2f} {largest:6.2f}")


def main() -> None:
    """Print a line for each model, then a table of errors."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=MODELS, help="timm names")
    parser.add_argument("--photo", default=SAMPLES / "coffee.jpg", help="picture file")
    parser.add_argument("--patches", type=int, default=60, help="patches of each sample for the table of errors")
    options = parser.parse_args()
    for name in options.models:
        sizes(name, options.photo)
    if options.patches:
        errors(options.patches)


if __name__ == "__main__":
    main()
