"""The model that comes with the kit, ``load_model("demo")``, and how it was made.

``python -m vitattn_widgets.training.embedded`` trains it again from scratch, with the kit's own training code and its
recipe for the data set ``"demo"``, pictures drawn by code. It replaces the files in
``vitattn_widgets/models/weights``.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from ..datasets.photos import PhotoSet
from ..errors import ModelError, VitattnError
from ..models.loading import DEMO_CHECKPOINT, AttentionModel, load_model
from .recipes import PRECISIONS

if TYPE_CHECKING:
    import torch

    from ..models.preprocess import Preprocessing

TRAINING_SEED = 1

PER_CLASS = (700, 20, 40)
"""Pictures per class for training, for choosing the best epoch, and for testing."""

FRESH_SEED = 20231
"""Seed of pictures used neither for training nor for choosing anything; the card states the accuracy on them."""

FRESH_PER_CLASS = 200

MAX_BYTES = 4_000_000


def measure(model: AttentionModel, photos: PhotoSet, batch_size: int = 54) -> float:
    """Accuracy: the share of photos classified correctly, 0..1."""
    import torch

    hits = 0
    for start in range(0, len(photos), batch_size):
        numbers = range(start, min(start + batch_size, len(photos)))
        views = [model.preprocessing.view(photos.load(number)).pixels for number in numbers]
        batch = torch.stack([model.preprocessing.tensor(view) for view in views]).to(model.device)
        with torch.inference_mode():
            predicted = model.module(batch).argmax(-1).tolist()
        hits += sum(label == photos.labels[number] for label, number in zip(predicted, numbers, strict=True))
    return hits / len(photos)


def make_embedded(out: Path, checkpoint: Path = DEMO_CHECKPOINT, **how: Any) -> float | None:
    """Train the embedded model and write its checkpoint and card.

    Args:
        out: folder of the run; a run that was stopped resumes.
        checkpoint: file to write, with weights in half precision.
        how: further arguments of `finetune`, such as ``mixed_precision="bf16"``.

    Returns:
        The accuracy of the written file on pictures of another seed, 0..1; None in a process that does not write.
    """
    from accelerate import PartialState

    from ..datasets.loading import load_dataset
    from ..runs import is_main_process
    from .recipes import training_recipe
    from .run import finetune
    from .start import start_model

    data = load_dataset("demo", seed=TRAINING_SEED, per_class=PER_CLASS)
    view = start_model(data, training_recipe("demo", "recommended"), None).preprocessing
    out.mkdir(parents=True, exist_ok=True)
    with PartialState(cpu=how.get("cpu", False)).main_process_first():
        views = keep_views(data.train, view, out / f"views-{data.fingerprint[:12]}.npy")
    best = finetune(replace(data, train=views), "recommended", out, **how).best
    return embed(best, checkpoint) if is_main_process() else None


@dataclass(frozen=True)
class KeptViews(PhotoSet):
    """Photos as a model sees them, stored in a file: drawn once instead of in every epoch."""

    path: Path = Path()

    def load(self, index: int) -> Image.Image:
        return Image.fromarray(np.load(self.path, mmap_mode="r")[index])

    def mask(self, index: int) -> None:  # noqa: ARG002
        return None


def keep_views(photos: PhotoSet, view: Preprocessing, path: Path) -> KeptViews:
    """Write what a model sees of every photo to a file, uint8 ``(photos, H, W, 3)``, unless the file exists.

    The view of a view is the view itself, so training on the stored views is the same as training on the photos.
    """
    from tqdm.auto import tqdm

    if not path.exists():
        unfinished = path.with_suffix(".unfinished")
        views = np.lib.format.open_memmap(unfinished, "w+", np.uint8, (len(photos), *view.size, 3))
        for number in tqdm(range(len(photos)), unit="picture", desc="drawing"):
            views[number] = view.view(photos.load(number)).pixels
        views.flush()
        unfinished.replace(path)
    plain = {item.name: getattr(photos, item.name) for item in fields(PhotoSet)}
    return KeptViews(**plain, path=path)


def embed(best: Path, checkpoint: Path) -> float:
    """Write a run's best weights as the embedded model, in half precision, with its accuracy on fresh pictures.

    Raises:
        ModelError: the file would be larger than `MAX_BYTES`.
    """
    from ..datasets.loading import load_dataset
    from ..models.checkpoints import read_weights, write_checkpoint

    card = json.loads(best.with_suffix(".json").read_text(encoding="utf-8"))
    card["architecture"] = card["architecture"].partition(".")[
        0
    ]  # the tag names published weights, which were not used
    weights = {name: _halved(tensor) for name, tensor in read_weights(best).items()}
    size = sum(tensor.numel() * tensor.element_size() for tensor in weights.values())
    if size > MAX_BYTES:
        raise ModelError(f"the embedded model would take {size:,} bytes; the package allows {MAX_BYTES:,}")
    checkpoint.parent.mkdir(exist_ok=True)
    write_checkpoint(checkpoint, weights, card)
    fresh = load_dataset("demo", seed=FRESH_SEED, per_class=(1, 1, FRESH_PER_CLASS)).test
    accuracy = measure(load_model(None, checkpoint=checkpoint, device="cpu"), fresh)
    card["title"] = "embedded model, trained from scratch on made pictures"
    card["fresh"] = {"seed": FRESH_SEED, "split": "test", "pictures": len(fresh), "accuracy": accuracy}
    write_checkpoint(checkpoint, weights, card)
    return accuracy


def _halved(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.half() if tensor.is_floating_point() else tensor


def main(arguments: list[str] | None = None) -> int:
    """Train the embedded model again."""
    parser = argparse.ArgumentParser(prog="python -m vitattn_widgets.training.embedded", description=main.__doc__)
    parser.add_argument("-o", "--output", type=Path, default=Path("runs/embedded"), help="folder of the run")
    parser.add_argument("--mixed-precision", choices=PRECISIONS, default="bf16")
    parser.add_argument("--workers", type=int, help="processes that draw pictures")
    options = parser.parse_args(arguments)
    try:
        accuracy = make_embedded(
            options.output, mixed_precision=options.mixed_precision, workers=options.workers, cpu=True
        )
    except VitattnError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if accuracy is not None:
        print(f"wrote {DEMO_CHECKPOINT}: {accuracy:.1%} correct on {FRESH_PER_CLASS} fresh pictures per class")
    return 0


if __name__ == "__main__":
    sys.exit(main())
