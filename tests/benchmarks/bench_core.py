"""What a capture costs against plain passes, and how long a moved control takes.

    python -m tests.benchmarks.bench_core

Prints four tables. Every variant runs once a round, in random order, so that all see the same machine; a ratio is the
median of the rounds' own ratios. With real ViT-Tiny weights where they are, else with random ones.
"""

from __future__ import annotations

import argparse
import io
import random
import statistics
import time
from collections.abc import Callable

from tests.conftest import SAMPLES  # sets the offline cache before timm is imported

# isort: split
import numpy as np
import timm
import torch
from scipy import ndimage
from skimage.morphology import disk
from timm.layers import set_fused_attn
from timm.utils import AttentionExtract
from torch import Tensor

import vitattn_widgets as va
from vitattn_widgets.capture.batches import capture_rows_tensor
from vitattn_widgets.capture.forward import capture_tensor, read_layer
from vitattn_widgets.capture.recorder import watched_forward
from vitattn_widgets.capture.sites import SiteCalls

MODELS = [
    ("vit_tiny_patch16_224", 224, 120),
    ("vit_small_patch16_224", 224, 60),
    ("vit_base_patch16_224", 224, 24),
    ("vit_small_patch14_dinov2", 518, 12),
]


STAGED = [
    ("swin_tiny_patch4_window7_224", 224, 24),
    ("maxvit_tiny_tf_224", 224, 16),
    ("hiera_tiny_224", 224, 24),
]
"""Models with windows and stages, with random weights where there are no others."""


def load(name: str) -> va.models.AttentionModel:
    torch.manual_seed(0)
    try:
        return va.load_model(name, device="cpu")
    except va.errors.WeightsError:
        return va.load_model(name, pretrained=False, device="cpu")


def eager_twin(model: va.models.AttentionModel, name: str) -> AttentionExtract:
    """Timm's own extractor, which needs the model made with fused attention off."""
    set_fused_attn(False)
    try:
        module = timm.create_model(name)
    finally:
        set_fused_attn(True)
    module.load_state_dict(model.module.state_dict())
    return AttentionExtract(module.eval())


def timed_rounds(variants: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Milliseconds of each variant, one entry a round; the order changes from round to round."""
    times: dict[str, list[float]] = {name: [] for name in variants}
    order = list(variants)
    for number in range(rounds + 2):
        random.shuffle(order)
        for name in order:
            start = time.perf_counter()
            result = variants[name]()
            elapsed = time.perf_counter() - start
            del result
            if number >= 2:  # the first rounds warm up
                times[name].append(1000 * elapsed)
    return times


def ratio(times: dict[str, list[float]], name: str) -> float:
    pairs = zip(times[name], times["plain"], strict=True)
    return statistics.median(variant / plain for variant, plain in pairs)


def capture_variants(model: va.models.AttentionModel, tensor: Tensor) -> dict[str, Callable[[], object]]:
    """A plain pass, one that keeps the default query's rows, and one that keeps everything, by name."""

    def plain() -> Tensor:
        with torch.inference_mode():
            return model.module(tensor)

    return {
        "plain": plain,
        "rows": lambda: capture_rows_tensor(model, tensor),
        "all": lambda: capture_tensor(model, tensor),
    }


def bench_capture(scale: float) -> None:
    print("capture over a plain fused forward pass; rows only also over one of eight photos\n")
    print(
        f"{'model':<26}{'size':>5}{'plain':>11}{'rows only':>11}{'of eight':>10}{'all queries':>13}{'timm extract':>14}"
    )
    for name, size, rounds in MODELS:
        model = load(name)
        tensor = torch.randn(1, 3, size, size)
        extract = eager_twin(model, name)

        def extracted(extract: AttentionExtract = extract, tensor: Tensor = tensor) -> dict[str, Tensor]:
            with torch.inference_mode():
                return extract(tensor)

        variants = capture_variants(model, tensor) | {"extract": extracted}
        times = timed_rounds(variants, max(3, round(rounds * scale)))
        eight = tensor.expand(8, -1, -1, -1).contiguous()
        of_eight = {name: run for name, run in capture_variants(model, eight).items() if name != "all"}
        batch_times = timed_rounds(of_eight, max(3, round(rounds * scale / 8)))
        print(
            f"{name:<26}{size:>5}{statistics.median(times['plain']):>8.1f} ms{ratio(times, 'rows'):>11.3f}"
            f"{ratio(batch_times, 'rows'):>10.3f}{ratio(times, 'all'):>13.3f}{ratio(times, 'extract'):>14.3f}",
            flush=True,
        )


def bench_stages(scale: float) -> None:
    """As `bench_capture`, for models whose default query is the mean of all patches, and for one patch alone."""
    print("\nwindows and stages: the same, rows only being the mean over all queries of a layer, or one query\n")
    print(f"{'model':<30}{'size':>5}{'plain':>11}{'mean rows':>11}{'one row':>10}{'all queries':>13}")
    for name, size, rounds in STAGED:
        model = load(name)
        tensor = torch.randn(1, 3, size, size)

        def one_row(model: va.models.AttentionModel = model, tensor: Tensor = tensor) -> list[Tensor]:
            rows: list[Tensor] = []

            def keep(layer: str, calls: SiteCalls) -> None:
                attention = read_layer(model, layer, calls)[0].attention
                rows.append(attention.rows(np.array([5]), torch.float32))

            watched_forward(model.module, model.parts, model.sites, tensor, keep)
            return rows

        variants = capture_variants(model, tensor) | {"one": one_row}
        times = timed_rounds(variants, max(3, round(rounds * scale)))
        print(
            f"{name:<30}{size:>5}{statistics.median(times['plain']):>8.1f} ms{ratio(times, 'rows'):>11.3f}"
            f"{ratio(times, 'one'):>10.3f}{ratio(times, 'all'):>13.3f}",
            flush=True,
        )


def bench_backward(scale: float) -> None:
    """What a class's gradients and contributions cost against a plain forward and backward pass to the input."""
    print("\nof one class, over a plain forward and backward pass\n")
    print(f"{'model':<26}{'size':>5}{'plain':>11}{'gradients':>11}{'contributions':>15}")
    for name, size, rounds in MODELS:
        model = load(name)
        if not model.class_names:
            continue
        capture = va.capture_attention(model, SAMPLES / "coffee.jpg")
        tensor = model.preprocessing.tensor(capture.pixels)[None]

        def plain(model: va.models.AttentionModel = model, tensor: Tensor = tensor) -> Tensor:
            start = tensor.clone().requires_grad_()
            return torch.autograd.grad(model.module(start)[0, 0], start)[0]

        variants: dict[str, Callable[[], object]] = {
            "plain": plain,
            "gradients": lambda model=model, capture=capture: va.capture.capture_gradients(model, capture, 0),
            "contributions": lambda model=model, capture=capture: va.capture.capture_contributions(model, capture, 0),
        }
        times = timed_rounds(variants, max(3, round(rounds * scale / 2)))
        print(
            f"{name:<26}{size:>5}{statistics.median(times['plain']):>8.1f} ms{ratio(times, 'gradients'):>11.3f}"
            f"{ratio(times, 'contributions'):>15.3f}",
            flush=True,
        )


def plain_way(capture: va.capture.AttentionCapture, settings: va.ViewSettings) -> bytes:
    """The same map with scipy's filters, drawn with a matplotlib figure."""
    import matplotlib.pyplot as plt

    maps = capture.patch_attention(settings.layer)
    grid = maps[settings.head] if settings.head is not None else va.aggregate_heads(maps, settings.aggregation)
    heat = ndimage.zoom(grid, 16, order=1, mode="nearest", grid_mode=True)
    heat = ndimage.median_filter(heat, footprint=disk(8))
    heat = ndimage.gaussian_filter(heat, 4)
    figure, axis = plt.subplots(figsize=(3, 3))
    axis.imshow(capture.view)
    axis.imshow(heat, cmap="inferno", alpha=0.5)
    axis.axis("off")
    stream = io.BytesIO()
    figure.savefig(stream, format="raw")
    plt.close(figure)
    return stream.getvalue()


def bench_control(scale: float) -> None:
    model = load("vit_tiny_patch16_224")
    captures = [va.capture_attention(model, path) for path in sorted(SAMPLES.glob("*.jpg"))]
    rng = random.Random(0)
    moves = [
        (
            rng.choice(captures),
            va.ViewSettings(
                layer=rng.randrange(12), head=rng.choice([None, 0, 1, 2]), aggregation=rng.choice(va.AGGREGATIONS)
            ),
        )
        for _ in range(max(10, round(120 * scale)))
    ]
    ours, plain = [], []
    for capture, settings in moves:
        start = time.perf_counter()
        va.render_view(capture, settings)
        middle = time.perf_counter()
        plain_way(capture, settings)
        ours.append(1000 * (middle - start))
        plain.append(1000 * (time.perf_counter() - middle))
    print("\na moved control (layer, head, aggregation) to the finished 224 x 224 overlay, all smoothing on\n")
    print(f"{'':<24}{'median':>10}{'p95':>10}")
    for name, times in (("render_view", ours), ("scipy and matplotlib", plain)):
        print(f"{name:<24}{np.median(times):>7.1f} ms{np.percentile(times, 95):>7.1f} ms")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scale", type=float, default=1.0, help="share of the rounds to run")
    options = parser.parse_args()
    random.seed(0)
    bench_capture(options.scale)
    bench_stages(options.scale)
    bench_backward(options.scale)
    bench_control(options.scale)
