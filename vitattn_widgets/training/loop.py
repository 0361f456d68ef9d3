"""Epochs: gradient steps, and predictions of a model on a whole split."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import timm.optim
import torch
import torch.nn.functional as F
from torch import nn
from torch.optim import Optimizer

from ..errors import TrainingError
from .photos import Batches, each_batch
from .recipes import TrainingRecipe

if TYPE_CHECKING:
    from accelerate import Accelerator
    from tqdm.auto import tqdm

_READ_EVERY = 10
"""Steps between two readings of loss and accuracy; each reading waits for the device."""


def make_optimizer(module: nn.Module, recipe: TrainingRecipe) -> Optimizer:
    """The recipe's optimizer over the trained parameters; biases and norms have no weight decay."""
    if recipe.weight_decay:
        groups = timm.optim.param_groups_weight_decay(  # type: ignore[attr-defined]  # public, but not in an __all__
            module, recipe.weight_decay
        )
    else:
        groups = [{"params": [parameter for parameter in module.parameters() if parameter.requires_grad]}]
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(groups, recipe.learning_rate, momentum=recipe.momentum)
    kind = torch.optim.Adam if recipe.optimizer == "adam" else torch.optim.AdamW
    return kind(groups, recipe.learning_rate, weight_decay=0.0)


def learning_rate(recipe: TrainingRecipe, step: int, steps: int) -> float:
    """The learning rate of one step: linear warm-up, then constant, or half a cosine down to zero.

    Args:
        recipe: gives the schedule.
        step: number of the step in the run, from 0.
        steps: number of steps of the whole run.
    """
    warm = round(recipe.warmup * steps)
    if step < warm:
        return recipe.learning_rate * (step + 1) / (warm + 1)
    if recipe.schedule == "constant":
        return recipe.learning_rate
    return recipe.learning_rate * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm))) / 2


def train_epoch(
    accelerator: Accelerator,
    model: nn.Module,
    optimizer: Optimizer,
    batches: Batches,
    recipe: TrainingRecipe,
    epoch: int,
    bar: tqdm,
) -> tuple[float, float]:
    """One pass over the training photos.

    Args:
        accelerator: devices and precision.
        model: prepared by `accelerator`, like the optimizer and the batches.
        optimizer: its learning rate is set at every step.
        batches: of this epoch.
        recipe: gives the schedule and the loss.
        epoch: from 0.
        bar: advances by one per batch.

    Returns:
        Mean loss and accuracy, over all processes.

    Raises:
        TrainingError: the loss became NaN or infinite.
    """
    model.train()
    # summed on the device: reading a number at every step would make the host wait for it
    sums = torch.zeros(3, device=accelerator.device, dtype=torch.float64 if _has_doubles(accelerator) else None)
    with seeded(recipe.seed, epoch, accelerator.process_index):
        for number, (photos, labels) in enumerate(each_batch(batches)):
            rate = learning_rate(recipe, epoch * len(batches) + number, recipe.epochs * len(batches))
            for group in optimizer.param_groups:
                group["lr"] = rate
            with accelerator.autocast():
                logits = model(photos)
                loss = F.cross_entropy(logits.float(), labels, label_smoothing=recipe.label_smoothing)
            accelerator.backward(loss)
            if recipe.clip_norm is not None:
                accelerator.clip_grad_norm_(model.parameters(), recipe.clip_norm)
            optimizer.step()
            optimizer.zero_grad()
            correct = (logits.argmax(-1) == labels).sum()
            sums += torch.stack([loss.detach() * len(labels), correct, torch.full_like(correct, len(labels))])
            bar.update()
            if number % _READ_EVERY == 0 or number + 1 == len(batches):
                loss_sum, hits, count = sums.tolist()
                _require_finite(loss_sum, recipe, epoch)
                bar.set_postfix(loss=f"{loss_sum / count:.3f}", accuracy=f"{hits / count:.3f}", refresh=False)
    loss_sum, hits, count = accelerator.reduce(sums, "sum").tolist()
    return loss_sum / count, hits / count


def _has_doubles(accelerator: Accelerator) -> bool:
    return accelerator.device.type != "mps"


def _require_finite(loss: float, recipe: TrainingRecipe, epoch: int) -> None:
    if not math.isfinite(loss):
        raise TrainingError(
            f"the loss became {loss} in epoch {epoch + 1}; lower the learning rate ({recipe.learning_rate:g}), or "
            "train without mixed precision"
        )


@dataclass(frozen=True, eq=False)
class Predictions:
    """What a model predicted for every photo of a split, each counted once.

    Attributes:
        labels: int64 ``(photos,)``, the true classes.
        predicted: int64 ``(photos,)``, the predicted classes.
        loss: mean cross-entropy.
    """

    labels: np.ndarray
    predicted: np.ndarray
    loss: float

    @property
    def accuracy(self) -> float:
        """The share of photos classified correctly, 0..1."""
        return float((self.labels == self.predicted).mean())

    def confusion(self, num_classes: int) -> np.ndarray:
        """Counts int64 ``(true class, predicted class)``."""
        counts = np.bincount(self.labels * num_classes + self.predicted, minlength=num_classes**2)
        return counts.reshape(num_classes, num_classes)


def predict(accelerator: Accelerator, model: nn.Module, batches: Batches) -> Predictions:
    """The predictions for every photo of prepared batches; each of several processes gets all of them."""
    model.eval()
    labels: list[np.ndarray] = []
    predicted: list[np.ndarray] = []
    losses: list[np.ndarray] = []
    with torch.inference_mode():
        for photos, truth in each_batch(batches):
            logits = model(photos).float()
            loss = F.cross_entropy(logits, truth, reduction="none")
            # leaves out the photos that fill up the last batch of several processes, so none is counted twice
            parts = accelerator.gather_for_metrics((truth, logits.argmax(-1), loss))
            for column, part in zip((labels, predicted, losses), parts, strict=True):
                column.append(part.cpu().numpy())
    return Predictions(
        np.concatenate(labels), np.concatenate(predicted), float(np.concatenate(losses).astype(np.float64).mean())
    )


@contextmanager
def plain_attention(module: nn.Module, accelerator: Accelerator) -> Iterator[None]:
    """Compute attention as separate matrix products while a CPU trains in bfloat16.

    The backward pass of PyTorch's fused kernel takes more than half of such a step: a ViT of width 128 trains on 230
    photos of 160 px per second with it, on 500 without (two cores, torch 2.15). In float32 it makes no difference.
    """
    slow = accelerator.device.type == "cpu" and accelerator.mixed_precision == "bf16"
    fused: list[Any] = [part for part in module.modules() if getattr(part, "fused_attn", False)] if slow else []
    try:
        for part in fused:
            part.fused_attn = False
        yield
    finally:
        for part in fused:
            part.fused_attn = True


@contextmanager
def seeded(*seed: int) -> Iterator[None]:
    """Make torch's random numbers (new weights, dropout) a function of `seed`; the previous state is restored."""
    devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices):
        torch.manual_seed(int(np.random.SeedSequence(seed).generate_state(1, np.uint64)[0]))
        yield
