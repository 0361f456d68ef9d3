"""How large offline pages are, what fits into them, and how long they take to make.

    python -m tests.benchmarks.bench_export
    python -m tests.benchmarks.bench_export vit_small_patch16_224

Weights are the published ones where they are in the cache, else random ones.
"""

from __future__ import annotations

import argparse
import time

from tests.conftest import SAMPLES  # sets the offline cache before timm is imported

# isort: split
import timm
import torch

import vitattn_widgets as va
from vitattn_widgets.export.page import MAX_BYTES

MODELS = (
    "vit_tiny_patch16_224",
    "vit_base_patch16_224",
    "vit_large_patch16_224",
    "vit_base_patch14_dinov2",
    "swin_tiny_patch4_window7_224",
)


def load(name: str) -> tuple[va.models.AttentionModel, str]:
    """A model, and which weights it has."""
    try:
        return va.load_model(name), "published"
    except va.errors.WeightsError:
        torch.manual_seed(0)
        return va.load_model(timm.create_model(name)), "random"


def main() -> None:
    """Print a few lines a model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=MODELS, help="timm names")
    parser.add_argument("--photo", default=SAMPLES / "coffee.jpg", help="picture file")
    options = parser.parse_args()
    for name in options.models:
        model, weights = load(name)
        capture = va.capture_attention(model, options.photo)
        begun = time.perf_counter()
        page = va.export.make_page(model, capture, name="photo.jpg")
        seconds = time.perf_counter() - begun
        assert len(page.content) <= MAX_BYTES
        print(f"{name}, {weights} weights, {seconds:.1f} s: {page.describe()}", flush=True)


if __name__ == "__main__":
    main()
