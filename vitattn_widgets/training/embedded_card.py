"""The card of the embedded model: where it comes from, what it was trained on, what it measures, what it cannot do."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import accelerate
import numpy as np
import timm
import torch
from scipy.special import softmax

from .. import __version__
from ..datasets.folders import load_masked_folder
from ..datasets.loading import load_dataset
from ..evaluation.evaluate import evaluate_maps
from ..view.settings import ViewSettings
from .calibration import BINS, calibration_error, unsure_below
from .kinds import KINDS, SEED, SHARES, Lessons
from .teacher import ARCHITECTURE, HEADS, LAYERS, MODEL_ARGS, REGISTERS, TEACHER

if TYPE_CHECKING:
    from ..datasets.photos import PhotoSet
    from ..models.loading import AttentionModel

FRESH_SEED = 20231
"""Seed of made pictures used neither for training nor for choosing anything; the card states the accuracy on them."""

FRESH_PER_CLASS = 200

MASKS = "photos_masks"
"""Folder of photos with masks of the object, below the data folder; without it the card says nothing of maps."""

SOURCES = (
    ("cat, dog, horse, deer", "Handepp/Classification-of-4-animals-using-DenseNet201-...", "none stated"),
    ("horse, deer, bird", "InputBlackBoxOutput/popular-animals-dataset", "MIT, by the collector of web pictures"),
    ("bird", "linlawre/CMPE258_hw1", "none stated"),
    ("bird, car, cup, chair, aeroplane, motorbike", "Caltech-101", "CC BY 4.0, as remembered"),
    ("panda, car, bicycle", "yahyasarhan22/comparative-study-of-image-classification", "none stated"),
    ("daisy, dandelion, rose, sunflower, tulip", "TensorFlow's flower_photos", "CC BY 2.0 by photo, as remembered"),
    ("church, garbage truck, gas pump, parachute", "Imagenette", "none stated for the photos (ImageNet: research)"),
    ("cup, chair", "krish212/vgg", "none stated"),
    ("shoe, T-shirt, trousers", "alexeygrigorev/clothing-dataset", "CC0 1.0"),
    ("drink carton", "marcusklasson/GroceryStoreDataset", "MIT"),
    ("fruit", "photos of good and bad apples, bananas and oranges from public GitHub repositories", "none stated"),
    ("made pictures", "vitattn_widgets", "MIT"),
)  # fmt: skip
"""Classes, source and licence as stated there, of everything that the model was trained on."""

LIMITS = (
    f"It knows {len(KINDS)} everyday kinds, good and bad fruit, and drawn pictures; of anything else it names the "
    "nearest of these, often with a high probability, and unsure_below catches about half of that.",
    "Good and bad are learned from photos of apples, bananas and oranges alone; guavas, limes and pomegranates, and "
    "the classes of leaves, from drawn pictures alone: for photos of them the answer means nothing.",
    "Photos of one kind often come from one source, so a kind may be recognised by its background.",
    "One thing fills most of each photo it was trained on; small or several things are harder.",
)


@dataclass(frozen=True, eq=False)
class Trained:
    """What a run of `train_embedded` gives.

    Attributes:
        module: the trained model, on the CPU.
        lessons: what it learned from.
        temperature: by which its logits are to be divided, chosen on the validation photos.
        teacher: accuracy of a linear classifier on the teacher's class tokens on the test photos, by group, 0..1.
        identity: what the run is.
        processes: number of processes that trained.
    """

    module: Any
    lessons: Lessons
    temperature: float
    teacher: Mapping[str, float]
    identity: Mapping[str, Any]
    processes: int


def embedded_card(trained: Trained) -> dict[str, Any]:
    """The card before anything is measured, for JSON."""
    names = trained.lessons.class_names
    return {
        "title": f"embedded model, distilled from ViT-Tiny on photos of {len(KINDS)} kinds, fruit and drawn pictures",
        "architecture": ARCHITECTURE,
        "model_args": MODEL_ARGS | {"reg_tokens": REGISTERS},
        "num_classes": len(names),
        "class_names": list(names),
        "base": {
            "model": TEACHER,
            "weights": "published",
            "licence": "Apache-2.0",
            "citation": "Steiner et al., How to train your ViT?, 2021, arXiv:2106.10270; by way of timm",
            "layers": list(LAYERS),
            "changed": f"layers left out, its 3 heads of 64 channels divided into {HEADS} of 32, {REGISTERS} registers "
            "added, all weights trained",
        },
        "preprocessing": {
            "interpolation": "bicubic",
            "crop_pct": 1.0,
            "crop_mode": "center",
            "mean": [0.5, 0.5, 0.5],
            "std": [0.5, 0.5, 0.5],
        },
        "data": {
            "fingerprint": trained.lessons.fingerprint,
            "seed": SEED,
            "split": f"{', '.join(f'{share:.0%}' for share in SHARES)} by source photo; copies stay together",
            "photos": {
                split: {group: len(photos) for group, photos in groups.items()}
                for split, groups in trained.lessons.splits.items()
            },
            "sources": [dict(zip(("classes", "from", "licence"), source, strict=True)) for source in SOURCES],
            "passed_on": "no photo is part of the package",
        },
        "recipe": {name: trained.identity[name] for name in ("crops", "stages")},
        "mixed_precision": trained.identity["mixed_precision"],
        "processes": trained.processes,
        "limits": list(LIMITS),
        "versions": {
            "vitattn_widgets": __version__,
            "python": platform.python_version(),
            "torch": torch.__version__,
            "timm": timm.__version__,
            "accelerate": accelerate.__version__,
        },
    }


def measurements(model: AttentionModel, trained: Trained, folder: Path) -> dict[str, Any]:
    """What the written file measures: threshold, calibration, accuracy by group and kind, and maps, for JSON.

    Args:
        model: the file, loaded.
        trained: gives the splits.
        folder: of the photos.
    """
    answers = {
        split: {group: logits_of(model, photos) for group, photos in trained.lessons.splits[split].items()}
        for split in ("validation", "test")
    }
    labels = {
        split: {group: np.array(photos.labels) for group, photos in trained.lessons.splits[split].items()}
        for split in answers
    }
    test, truth = answers["test"], labels["test"]
    confidence = {group: softmax(logits, axis=1) for group, logits in test.items()}
    kinds = test["kinds"].argmax(1) == truth["kinds"]
    fresh = load_dataset("demo", seed=FRESH_SEED, per_class=(1, 1, FRESH_PER_CLASS)).test
    measured = {
        "unsure_below": unsure_below(answers["validation"]["kinds"], labels["validation"]["kinds"]),
        "confidence": {
            "temperature": trained.temperature,
            "meaning": "the temperature, chosen on the validation photos, is part of the classifier's weights",
            "error": f"expected calibration error of the test split, {BINS} bins",
            "calibration_error": {group: calibration_error(confidence[group], truth[group]) for group in test}
            | {"all": calibration_error(np.concatenate([*confidence.values()]), np.concatenate([*truth.values()]))},
        },
        "validation": {"accuracy": _accuracies(answers["validation"], labels["validation"])},
        "test": {
            "accuracy": _accuracies(test, truth),
            "by_kind": {
                model.class_names[label]: float(kinds[truth["kinds"] == label].mean())
                for label in np.unique(truth["kinds"])
            },
            "teacher": {"accuracy": dict(trained.teacher), "what": "a linear classifier on ViT-Tiny's class token"},
        },
        "fresh": {
            "seed": FRESH_SEED,
            "split": "test",
            "pictures": len(fresh),
            "accuracy": float((logits_of(model, fresh).argmax(1) == fresh.labels).mean()),
        },
    }
    if (folder / MASKS).is_dir():
        measured["maps"] = map_measures(model, folder / MASKS)
    return measured


def logits_of(model: AttentionModel, photos: PhotoSet, batch_size: int = 54) -> np.ndarray:
    """What a model answers for every photo, float32 ``(photos, classes)``."""
    answers = []
    for start in range(0, len(photos), batch_size):
        numbers = range(start, min(start + batch_size, len(photos)))
        views = [model.preprocessing.view(photos.load(number)).pixels for number in numbers]
        batch = torch.stack([model.preprocessing.tensor(view) for view in views]).to(model.device)
        with torch.inference_mode():
            answers.append(model.module(batch).float().cpu().numpy())
    return np.concatenate(answers)


def _accuracies(answers: dict[str, np.ndarray], labels: dict[str, np.ndarray]) -> dict[str, float]:
    return {group: float((answers[group].argmax(1) == labels[group]).mean()) for group in answers}


def map_measures(model: AttentionModel, folder: Path) -> dict[str, Any]:
    """How much of maps is on the object of masked photos, beside a blob in the centre.

    The maps are the mean attention of the last layer, which the viewer shows first, and the recommended view.
    """
    photos = load_masked_folder(folder)
    recommended = ViewSettings.recommended().source
    sources = [ViewSettings.source, recommended]
    table = evaluate_maps(model, photos, aggregations=["mean"], sources=sources, progress=False).table()
    rows = {"centre blob": "centre blob", "mean attention": "mean", recommended: recommended}
    measures = ("mass_on_mask", "pointing_game")
    return {"photos": len(photos)} | {
        name: {measure: float(table.loc[row, measure]) for measure in measures} for name, row in rows.items()
    }
