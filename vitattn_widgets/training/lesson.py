"""A model for a lesson on any machine: a checkpoint, a quick fine-tuning, or the embedded model."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ModelError
from ..models import DEFAULT_MODEL
from ..models.loading import DEMO_CHECKPOINT, AttentionModel, load_model
from .recipes import training_recipe
from .run import finetune

if TYPE_CHECKING:
    from ..datasets.photos import Dataset

QUICK_BATCH = 16
"""Batch size of a quick fine-tuning: small, so that few photos still give enough steps."""


def lesson_model(
    data: Dataset,
    checkpoint: str | Path | None = None,
    recipe: str = "recommended",
    model: str | None = None,
    epochs: int = 2,
    photos_per_class: int = 40,
    seed: int = 0,
    runs: str | Path = "runs",
    notify: Callable[[str], None] = print,
) -> AttentionModel:
    """The best model available for a lesson; one line says which it is and why.

    In this order: `checkpoint`, if that file exists; a quick fine-tuning of the published model, stored in `runs` and
    reused the next time; the published model as it is, if the data have too few photos for training. If the weights of
    the default model cannot be had, the embedded model takes its place; on stand-ins, which it was trained on, it is
    not fine-tuned.

    Args:
        data: from `load_dataset`.
        checkpoint: weights that `finetune` wrote for these classes; the file need not exist.
        recipe: name of the recipe of the quick fine-tuning, whose epochs, photos, batch and seed are replaced.
        model: timm name of the published model; None is the default one.
        epochs: of the quick fine-tuning.
        photos_per_class: the largest number of photos per class in the quick fine-tuning.
        seed: of the quick fine-tuning.
        runs: folder for the quick fine-tuning.
        notify: called with the line.

    Returns:
        The model.

    Raises:
        ModelError: the checkpoint has other classes than the data.
        WeightsError: the weights of a model that was named are unavailable.
    """
    if checkpoint is not None and Path(checkpoint).is_file():
        trained = load_model(None, checkpoint=checkpoint)
        if trained.class_names != data.class_names:
            raise ModelError(
                f"{checkpoint} has {_few(trained.class_names)}, the data have {_few(data.class_names)}; name another "
                "checkpoint, or none for a quick fine-tuning"
            )
        notify(f"Model: the checkpoint {checkpoint}.")
        return trained
    start = load_model(model)
    if start.note:
        notify(f"Model: {start.note}")
        if data.stand_in:
            return start
    if not (all(data.train.counts()) and len(data.validation) and len(data.test)):
        notify(f"Model: {start.name} as published; these data have too few photos to fine-tune it on.")
        return start
    per_class = (min(count, photos_per_class) for count in data.train.counts())
    quick: dict[str, Any] = {"epochs": epochs, "photos_per_class": photos_per_class, "seed": seed}
    quick |= {"model": model or DEFAULT_MODEL, "batch_size": min(QUICK_BATCH, sum(per_class))}
    if start.note:
        quick |= {"checkpoint": str(DEMO_CHECKPOINT), "head": training_recipe(data.info.name, recipe).head}
        quick["model"] = None
    digest = hashlib.sha256(json.dumps([data.fingerprint, recipe, quick]).encode()).hexdigest()[:8]
    result = finetune(data, recipe, out=Path(runs) / f"{data.info.name}-quick-{digest}", **quick)
    notify(
        f"Model: {start.name}, fine-tuned quickly ({epochs} epochs, at most {photos_per_class} photos per class); test "
        f"accuracy {result.test_accuracy:.0%} on {result.confusion.sum()} photos."
    )
    return load_model(None, checkpoint=result.best)


def _few(names: tuple[str, ...]) -> str:
    return f"{len(names)} classes ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})"
