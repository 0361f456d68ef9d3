"""A data set of coloured noise and a ViT that learns it in a second, for tests and for the processes they start."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

import vitattn_widgets as va
from vitattn_widgets.datasets.catalogue import DatasetInfo
from vitattn_widgets.datasets.photos import Dataset, PhotoSet

COLOURS = {"red": (200, 60, 60), "green": (60, 200, 60), "blue": (60, 60, 200)}
INFO = DatasetInfo("fruitsgb", "Colours", None, "made by a test", "none", "none")
SMALL = {"img_size": 32, "patch_size": 8, "embed_dim": 48, "depth": 2, "num_heads": 3}


@dataclass(frozen=True)
class ColourPhotos(PhotoSet):
    """Noise with a tint, wider than high."""

    def load(self, index: int) -> Image.Image:
        rng = np.random.default_rng(list(self.names[index].encode()))
        tint = np.array(tuple(COLOURS.values())[self.labels[index] % 3])
        noise = rng.normal(0, 60, (40, 52, 3))
        return Image.fromarray((0.5 * tint + 60 + noise).clip(0, 255).astype(np.uint8))


def colours(
    train: Sequence[int] = (0, 1, 2) * 14,
    validation: Sequence[int] = (0, 1, 2) * 3,
    test: Sequence[int] = (0, 1, 2, 0, 1, 2, 2),
    class_names: Sequence[str] = tuple(COLOURS),
    stand_in: bool = True,
) -> Dataset:
    """The data set, from the labels of each split."""
    splits = {}
    for name, labels in (("train", train), ("validation", validation), ("test", test)):
        names = tuple(f"{name} {number}" for number in range(len(labels)))
        splits[name] = ColourPhotos(INFO, name, tuple(class_names), stand_in, names, tuple(labels))
    text = repr((train, validation, test, class_names))
    fingerprint = hashlib.sha256(text.encode()).hexdigest()
    return Dataset(INFO, tuple(class_names), **splits, stand_in=stand_in, root=None, seed=0, fingerprint=fingerprint)


def recipe(**changes: object) -> va.training.TrainingRecipe:
    """A recipe under which the small ViT learns the colours in a few epochs."""
    small = va.training.TrainingRecipe(
        name="small",
        source="a test",
        model="vit_tiny_patch16_224",
        pretrained=False,
        model_args=SMALL,
        optimizer="adam",
        learning_rate=3e-3,
        batch_size=8,
        epochs=4,
        augmentation="crop",
    )
    return small.change(**changes)


def run(out: Path, **changes: object) -> va.training.FinetuneResult:
    """Train the small ViT on the colours, on the CPU, in this process."""
    return va.finetune(colours(), recipe(**changes), out, workers=0, cpu=True, progress=False)


if __name__ == "__main__":
    print("ready", flush=True)
    run(Path(sys.argv[1]), epochs=int(sys.argv[2]))
