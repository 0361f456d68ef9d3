"""Epochs: gradient steps, and counting what a model gets right."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import timm.optim
import torch
import torch.nn.functional as F
from torch import nn
from torch.optim import Optimizer
from torch.utils.data import DataLoader

from ..errors import TrainingError
from .photos import each_batch
from .recipes import TrainingRecipe

if TYPE_CHECKING:
    from accelerate import Accelerator
    from tqdm.auto import tqdm

_SHOWN_EVERY = 10
"""Steps between two readings of loss and accuracy, each of which waits for the device."""


def make_optimizer(module: nn.Module, recipe: TrainingRecipe) -> Optimizer:
    """The recipe's optimizer over the parameters that are trained; weight decay spares biases and norms."""
    if recipe.weight_decay:
        groups = timm.optim.param_groups_weight_decay(module, recipe.weight_decay)
    else:
        groups = [{"params": [parameter for parameter in module.parameters() if parameter.requires_grad]}]
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(groups, recipe.learning_rate, momentum=recipe.momentum)
    kind = torch.optim.Adam if recipe.optimizer == "adam" else torch.optim.AdamW
    return kind(groups, recipe.learning_rate, weight_decay=0.0)


def learning_rate(recipe: TrainingRecipe, step: int, steps: int) -> float:
    """The learning rate of one step: linear warm-up, then constant or half a cosine down to zero.

    Args:
        recipe: names the schedule.
        step: from 0.
        steps: of the whole run.
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
    batches: DataLoader,
    recipe: TrainingRecipe,
    epoch: int,
    bar: tqdm,
) -> tuple[float, float]:
    """One pass over the training photos.

    Args:
        accelerator: devices and precision.
        model: prepared by it, like the optimizer and the batches.
        optimizer: its learning rate is set at every step.
        batches: of this epoch.
        recipe: the schedule and the loss.
        epoch: from 0.
        bar: moves one step a batch.

    Returns:
        Mean loss and accuracy, over all processes.

    Raises:
        TrainingError: the loss is no longer a number.
    """
    model.train()
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
            if number % _SHOWN_EVERY == 0 or number + 1 == len(batches):
                loss_sum, right, count = sums.tolist()
                _require_number(loss_sum, recipe, epoch)
                bar.set_postfix(loss=f"{loss_sum / count:.3f}", accuracy=f"{right / count:.3f}", refresh=False)
    loss_sum, right, count = accelerator.reduce(sums, "sum").tolist()
    return loss_sum / count, right / count


def _has_doubles(accelerator: Accelerator) -> bool:
    return accelerator.device.type != "mps"


def _require_number(loss: float, recipe: TrainingRecipe, epoch: int) -> None:
    if not math.isfinite(loss):
        raise TrainingError(
            f"the loss became {loss} in epoch {epoch + 1}; lower the learning rate ({recipe.learning_rate:g}), or "
            "train without mixed precision"
        )


@dataclass(frozen=True, eq=False)
class Answers:
    """What a model said of every photo of a split, each counted once.

    Attributes:
        labels: int64 ``(photos,)``, the true classes.
        predicted: int64 ``(photos,)``.
        loss: mean cross-entropy.
    """

    labels: np.ndarray
    predicted: np.ndarray
    loss: float

    @property
    def accuracy(self) -> float:
        return float((self.labels == self.predicted).mean())

    def confusion(self, num_classes: int) -> np.ndarray:
        """Counts int64 ``(true class, predicted class)``."""
        counts = np.bincount(self.labels * num_classes + self.predicted, minlength=num_classes**2)
        return counts.reshape(num_classes, num_classes)


def answer(accelerator: Accelerator, model: nn.Module, batches: DataLoader) -> Answers:
    """Ask a model about every photo of prepared batches; of several processes, each gets all answers."""
    model.eval()
    labels, predicted, losses = [], [], []
    with torch.inference_mode():
        for photos, truth in each_batch(batches):
            logits = model(photos).float()
            loss = F.cross_entropy(logits, truth, reduction="none")
            parts = accelerator.gather_for_metrics((truth, logits.argmax(-1), loss))
            for kept, part in zip((labels, predicted, losses), parts, strict=True):
                kept.append(part.cpu().numpy())
    return Answers(
        np.concatenate(labels), np.concatenate(predicted), float(np.concatenate(losses).astype(np.float64).mean())
    )


@contextmanager
def plain_attention(module: nn.Module, accelerator: Accelerator) -> Iterator[None]:
    """Let attention run as matrix products of its own while a CPU trains in bfloat16.

    PyTorch's fused kernel takes more than half of such a step, in its backward pass: a ViT of width 128 learns from 230
    photos of 160 px a second with it, from 500 without (two cores, torch 2.15). In float32 it makes no difference.
    """
    wanted = accelerator.device.type == "cpu" and accelerator.mixed_precision == "bf16"
    fused = [part for part in module.modules() if getattr(part, "fused_attn", False)] if wanted else []
    try:
        for part in fused:
            part.fused_attn = False
        yield
    finally:
        for part in fused:
            part.fused_attn = True


@contextmanager
def seeded(*seed: int) -> Iterator[None]:
    """Make torch's own chance (new weights, dropout) a function of some numbers; what was before is put back."""
    devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices):
        torch.manual_seed(int(np.random.SeedSequence(seed).generate_state(1, np.uint64)[0]))
        yield
