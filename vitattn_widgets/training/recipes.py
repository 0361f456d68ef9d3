"""Fine-tuning recipes: the paper's, with the choices that it leaves open, and the kit's own."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from ..errors import TrainingError

OPTIMIZERS = ("adam", "adamw", "sgd")

SCHEDULES = ("constant", "cosine")

HEADS = ("new", "further", "keep")

TRAINED = ("all", "head")

PRECISIONS = ("no", "bf16", "fp16")

AUGMENTATIONS = ("none", "flip", "crop", "strong", "broad")
"""``none``: the model's own view; ``flip``: mirrored with probability 0.5; ``crop``: mirrored, and a random part of at
least half of the photo; ``strong``: at least a third of it, mirrored, rotated by quarter turns, with changed
brightness, contrast and saturation (the hue is kept: brown spots stay brown); ``broad``: at least a quarter of it,
mirrored, with brightness, contrast and saturation changed more, now and then grey, or coarse as after a small JPEG."""

PAPER = "Calderaro, Lo Bosco, Rizzo, Vella 2023"


@dataclass(frozen=True)
class TrainingRecipe:
    """How a model is trained on a data set; together with the data it determines the result.

    Attributes:
        name: ``"paper"``, ``"recommended"`` or a name of your choice.
        source: where the values come from.
        model: timm name of the model to start from.
        pretrained: start from its published weights; False starts from random weights.
        model_args: further arguments of the timm model (``{"embed_dim": 128, "depth": 6}``).
        head: ``"new"`` replaces the classifier; ``"further"`` puts a linear layer on top of it; ``"keep"`` trains the
            classifier of the checkpoint.
        trained: ``"all"`` parameters, or the ``"head"`` alone (with a further layer: that layer alone).
        optimizer: ``"adam"``, ``"adamw"`` or ``"sgd"``.
        learning_rate: the maximum of the schedule.
        momentum: of SGD.
        weight_decay: of weights with two or more axes; biases and norms have none.
        schedule: ``"constant"``, or ``"cosine"`` down to zero.
        warmup: share of all steps in which the learning rate rises linearly from zero, 0..1.
        label_smoothing: 0..1.
        clip_norm: largest norm of the gradient; None does not clip.
        batch_size: photos per step, over all processes together.
        epochs: passes over the training photos; a smaller last batch of an epoch is dropped.
        augmentation: one of `AUGMENTATIONS`.
        photos_per_class: largest number of training photos per class; None takes all.
        seed: of new weights, of the order of the photos and of their augmentation.
        chosen: choices of the kit where the source leaves something open, one line each.
        changed: names of the values that differ from the named recipe.
    """

    name: str
    source: str
    model: str
    epochs: int
    learning_rate: float
    pretrained: bool = True
    model_args: Mapping[str, Any] = field(default_factory=dict)
    head: str = "new"
    trained: str = "all"
    optimizer: str = "adam"
    momentum: float = 0.9
    weight_decay: float = 0.0
    schedule: str = "constant"
    warmup: float = 0.0
    label_smoothing: float = 0.0
    clip_norm: float | None = None
    batch_size: int = 32
    augmentation: str = "flip"
    photos_per_class: int | None = None
    seed: int = 0
    chosen: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name, allowed in (
            ("optimizer", OPTIMIZERS),
            ("schedule", SCHEDULES),
            ("head", HEADS),
            ("trained", TRAINED),
            ("augmentation", AUGMENTATIONS),
        ):
            if getattr(self, name) not in allowed:
                raise TrainingError(f"{name} {getattr(self, name)!r} does not exist; possible: {', '.join(allowed)}")
        for name in ("epochs", "batch_size", "photos_per_class"):
            value = getattr(self, name)
            if not (value is None and name == "photos_per_class") and not (_is_whole(value) and value >= 1):
                raise TrainingError(f"{name} must be a whole number of at least 1, got {value!r}")
        if not _is_whole(self.seed) or self.seed < 0:
            raise TrainingError(f"seed must be a whole number of at least 0, got {self.seed!r}")
        if not _is_number(self.learning_rate) or not 0 < self.learning_rate < float("inf"):
            raise TrainingError(f"learning_rate must be above 0, got {self.learning_rate!r}")
        for name in ("momentum", "warmup", "label_smoothing"):
            if not _is_number(getattr(self, name)) or not 0 <= getattr(self, name) < 1:
                raise TrainingError(f"{name} must be in 0..1 and below 1, got {getattr(self, name)!r}")
        if not _is_number(self.weight_decay) or not 0 <= self.weight_decay < float("inf"):
            raise TrainingError(f"weight_decay must be at least 0, got {self.weight_decay!r}")
        if self.clip_norm is not None and not (_is_number(self.clip_norm) and self.clip_norm > 0):
            raise TrainingError(f"clip_norm must be above 0 or None, got {self.clip_norm!r}")

    def change(self, **values: Any) -> TrainingRecipe:
        """The recipe with some values replaced; those that differ are added to `changed`.

        Raises:
            TrainingError: there is no such value, or it is out of range.
        """
        known = [item.name for item in fields(self) if item.name not in ("name", "source", "chosen", "changed")]
        for name in values:
            if name not in known:
                near = difflib.get_close_matches(name, known, n=1)
                hint = f"did you mean {near[0]!r}? " if near else ""
                raise TrainingError(f"a recipe has no value {name!r}; {hint}possible: {', '.join(known)}")
        different = {name for name, value in values.items() if value != getattr(self, name)}
        return replace(self, **values, changed=tuple(sorted(different | set(self.changed))))

    def values(self) -> dict[str, Any]:
        """Everything that determines the result, for JSON."""
        notes = ("source", "chosen", "changed")
        return {name: value for name, value in asdict(self).items() if name not in notes}

    def describe(self) -> str:
        """The recipe in one line."""
        schedule = f"{self.schedule}{f' after {self.warmup:.0%} warm-up' if self.warmup else ''}"
        momentum = f" momentum {self.momentum:g}" if self.optimizer == "sgd" else ""
        changed = f"; changed: {', '.join(self.changed)}" if self.changed else ""
        return (
            f"{self.name}: {self.model}, {self.head} head, {self.optimizer}{momentum}, learning rate "
            f"{self.learning_rate:g} ({schedule}), batch {self.batch_size}, epochs {self.epochs}, augmentation "
            f"{self.augmentation}, seed {self.seed}{changed}"
        )


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


_OPEN = "constant learning rate, no weight decay, mirrored photos as the only augmentation"

RECIPES: Mapping[tuple[str, str], TrainingRecipe] = {
    ("imagenet", "paper"): TrainingRecipe(
        name="paper",
        source=f"{PAPER}, the ImageNet experiment: a further layer of 10 classes on top of the classifier",
        model="vit_tiny_patch16_224",
        head="further",
        trained="head",
        optimizer="adam",
        learning_rate=0.001,
        epochs=5,
        chosen=(
            "ViT-Tiny, Adam, learning rate 0.001 and batch 32, as in the FruitsGB experiment; 5 epochs",
            "only the further layer is trained; the model below it is the published one",
            "the further layer is linear, with no nonlinearity before it, so the checkpoint holds both layers as one",
            _OPEN,
        ),
    ),
    ("imagenet", "recommended"): TrainingRecipe(
        name="recommended",
        source="vitattn_widgets",
        model="vit_tiny_patch16_224",
        optimizer="adam",
        learning_rate=1e-4,
        schedule="cosine",
        warmup=0.1,
        augmentation="crop",
        epochs=3,
    ),
    ("fruitsgb", "paper"): TrainingRecipe(
        name="paper",
        source=f"{PAPER}, the FruitsGB experiment: ViT-Tiny, Adam, learning rate 0.001, batch 32, 20 epochs",
        model="vit_tiny_patch16_224",
        optimizer="adam",
        learning_rate=0.001,
        batch_size=32,
        epochs=20,
        chosen=("published ImageNet weights with a new classifier, all parameters trained", _OPEN),
    ),
    ("fruitsgb", "recommended"): TrainingRecipe(
        name="recommended",
        source="vitattn_widgets",
        model="vit_tiny_patch16_224",
        optimizer="adam",
        learning_rate=1e-4,
        schedule="cosine",
        batch_size=16,
        epochs=3,
        chosen=(
            "seven recipes were tried on 1,046 photos of good and bad apples, bananas and oranges, three of them on "
            "three splits: this one had the lowest mean validation loss",
        ),
    ),
    ("cassava", "paper"): TrainingRecipe(
        name="paper",
        source=f"{PAPER}, the Cassava experiment: ViT-Base, SGD, learning rate 0.001, momentum 0.9, 100 epochs",
        model="vit_base_patch16_224",
        optimizer="sgd",
        learning_rate=0.001,
        momentum=0.9,
        batch_size=32,
        epochs=100,
        chosen=("published ImageNet weights with a new classifier, all parameters trained", "batch 32", _OPEN),
    ),
    ("cassava", "recommended"): TrainingRecipe(
        name="recommended",
        source="vitattn_widgets",
        model="vit_tiny_patch16_224",
        optimizer="adam",
        learning_rate=1e-4,
        schedule="cosine",
        warmup=0.1,
        label_smoothing=0.1,
        augmentation="strong",
        epochs=15,
    ),
    ("demo", "recommended"): TrainingRecipe(
        name="recommended",
        source="vitattn_widgets",
        model="vit_tiny_patch16_224",
        pretrained=False,
        # uncropped, since evidence may be at the edge; in the same time, 160 px learns more than 224 px
        model_args={
            "img_size": 160,
            "embed_dim": 128,
            "depth": 6,
            "num_heads": 4,
            "pretrained_cfg_overlay": {"crop_pct": 1.0},
        },
        optimizer="adamw",
        learning_rate=1.5e-3,
        weight_decay=0.05,
        schedule="cosine",
        warmup=0.1,
        label_smoothing=0.1,
        clip_norm=1.0,
        batch_size=64,
        augmentation="flip",
        epochs=18,
    ),
}
"""By data set and name of the recipe."""


def training_recipe(dataset: str, name: str | None = None) -> TrainingRecipe:
    """The recipe of a data set.

    Args:
        dataset: its name.
        name: ``"paper"`` or ``"recommended"``; None is the paper's if the data set has one, else the recommended one.

    Raises:
        TrainingError: there is no recipe of that name.
    """
    if name is None:
        name = "paper" if (dataset, "paper") in RECIPES else "recommended"
    if (dataset, name) in RECIPES:
        return RECIPES[dataset, name]
    names = [known for data, known in RECIPES if data == dataset]
    if names:
        raise TrainingError(f"there is no recipe {name!r} for {dataset}; possible: {', '.join(names)}")
    raise TrainingError(
        f"there is no recipe for the data set {dataset!r}; possible: "
        f"{', '.join(dict.fromkeys(known for known, _ in RECIPES))}, or a TrainingRecipe of your own"
    )
