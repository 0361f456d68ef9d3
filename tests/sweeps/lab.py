"""A folder of coloured noise, some of it unreadable, and a small ViT that sweeps it, for tests and their processes."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image

import vitattn_widgets as va

from .. import model_zoo

CLASSES = ("red", "green", "dark blue", "grey", "black")
FOLDERS = {"red": 9, "Green": 8, "dark_blue": 7, "other/unknown": 6}
"""Photos a folder; the model knows three of them by name."""


def colour_model() -> va.models.AttentionModel:
    """A random ViT of five classes on a grid of 4 x 6."""
    torch.manual_seed(0)
    return va.load_model(model_zoo.build("vit", model_zoo.WIDE), class_names=CLASSES)


def write_photos(root: Path) -> Path:
    """30 photos of several sizes in four folders, one of them no picture."""
    rng = np.random.default_rng(3)
    for folder, count in FOLDERS.items():
        (root / folder).mkdir(parents=True)
        for number in range(count):
            height, width = rng.integers(30, 70, 2)
            pixels = rng.integers(0, 256, (height // 4, width // 4, 3), dtype=np.uint8)
            photo = Image.fromarray(pixels).resize((width, height), Image.Resampling.NEAREST)
            photo.save(root / folder / f"{number:02d}.png")
    (root / "red" / "04.png").write_bytes(b"no picture")
    return root


def run(root: Path, out: Path, **options: object) -> va.sweeps.SweepResult:
    """Sweep a folder in small batches in this process."""
    options = {"batch_size": 4, "workers": 0, "progress": False, "layers": (0, -1), "pictures": 3} | options
    return va.sweep(colour_model(), root, out, **options)


if __name__ == "__main__":
    torch.set_num_threads(1)
    print("ready", flush=True)
    run(Path(sys.argv[1]), Path(sys.argv[2]))
