"""The card beside a checkpoint: what it is, what it was trained on and how, and what its epoch measured."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import accelerate
import timm
import torch

from .. import __version__
from ..models.loading import AttentionModel
from .folder import EpochRecord
from .recipes import TrainingRecipe
from .start import architecture_name

if TYPE_CHECKING:
    from ..datasets.photos import Dataset


def checkpoint_card(
    attention: AttentionModel,
    dataset: Dataset,
    recipe: TrainingRecipe,
    record: EpochRecord,
    identity: Mapping[str, Any],
    processes: int,
) -> dict[str, Any]:
    """The card of a checkpoint, for JSON; it is the same however often the run was stopped.

    Args:
        attention: the trained model.
        dataset: what it was trained on.
        recipe: how it was trained.
        record: the epoch of the checkpoint; its seconds are left out.
        identity: of the run (`run_identity`).
        processes: number of processes that trained.
    """
    base, preprocessing = _base(attention, recipe, identity), attention.preprocessing
    return {
        "architecture": base["model"],
        "model_args": dict(recipe.model_args),
        "num_classes": len(dataset.class_names),
        "class_names": list(dataset.class_names),
        "base": base,
        "preprocessing": {
            "interpolation": preprocessing.interpolation,
            "crop_pct": preprocessing.crop_pct,
            "crop_mode": preprocessing.crop_mode,
            "mean": list(preprocessing.mean),
            "std": list(preprocessing.std),
        },
        "data": {
            "name": dataset.info.name,
            "title": dataset.info.title,
            "stand_in": dataset.stand_in,
            "fingerprint": dataset.fingerprint,
            "seed": dataset.seed,
            "photos": {split.split: len(split) for split in (dataset.train, dataset.validation, dataset.test)},
        },
        "recipe": recipe.values() | {"source": recipe.source, "changed": list(recipe.changed)},
        "mixed_precision": identity["mixed_precision"],
        "processes": processes,
        "metrics": {name: value for name, value in asdict(record).items() if name != "seconds"},
        "versions": {
            "vitattn_widgets": __version__,
            "python": platform.python_version(),
            "torch": torch.__version__,
            "timm": timm.__version__,
            "accelerate": accelerate.__version__,
        },
    }


def _base(attention: AttentionModel, recipe: TrainingRecipe, identity: Mapping[str, Any]) -> dict[str, Any]:
    """The model and the weights that the run started from."""
    sha256 = identity["checkpoint"]
    weights = "checkpoint" if sha256 else "published" if recipe.pretrained else "random"
    name = architecture_name(attention.module, pretrained=weights != "random")
    return {"model": name, "weights": weights, "checkpoint_sha256": sha256}
