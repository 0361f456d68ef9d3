"""Distillation: a pruned copy of the teacher learns its tokens, its answers and the labels.

In most epochs the model sees a random half of the patches, which doubles the views per second; in the last ones, all.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm.auto import tqdm

from ..errors import TrainingError
from ..runs import require_same
from .folder import EpochRecord, RunFolder, RunState
from .loop import plain_attention, seeded
from .teacher import Kept, normalised

if TYPE_CHECKING:
    from accelerate import Accelerator


@dataclass(frozen=True)
class Distillation:
    """How the embedded model is distilled; together with the lessons it determines the result.

    Attributes:
        epochs: of `views_per_epoch` stored views each.
        views_per_epoch: per epoch, drawn anew each time.
        shares: of the views, by group, 0..1; they add up to 1.
        batch_size: views per step, over all processes together.
        learning_rate: its constant value after the warm-up.
        warmup: number of epochs in which it rises.
        decay: share of the epochs, at the end, in which it falls to zero, half a cosine.
        weight_decay: of weights with two or more axes.
        clip_norm: largest norm of the gradient.
        kept_patches: share of the patches that the model sees (PatchDropout, Liu et al. 2023).
        whole: share of the epochs, at the end, in which it sees all of them.
        mixed: share of the steps with mixed pairs of views (mixup, Zhang et al. 2018), without tokens to match.
        mix: parameter of the Beta distribution of the mixing share.
        teacher_answers: weight of the teacher's answers in the targets of photos, 0..1; made pictures have labels
            alone.
        label_smoothing: of the labels.
        match_class: weight of the squared difference of the class tokens.
        match_patches: weight of that of the patch tokens.
        seed: of everything random.
    """

    epochs: int = 8
    views_per_epoch: int = 16384
    shares: Mapping[str, float] = field(default_factory=lambda: {"kinds": 0.66, "fruit": 0.12, "made": 0.22})
    batch_size: int = 64
    learning_rate: float = 5e-4
    warmup: int = 1
    decay: float = 0.875
    weight_decay: float = 0.05
    clip_norm: float = 1.0
    kept_patches: float = 0.5
    whole: float = 0.25
    mixed: float = 0.2
    mix: float = 0.8
    teacher_answers: float = 0.5
    label_smoothing: float = 0.05
    match_class: float = 1.0
    match_patches: float = 0.5
    seed: int = 1

    @property
    def decay_from(self) -> int:
        """The first epoch, from 0, in which the learning rate falls."""
        return self.epochs - round(self.decay * self.epochs)

    @property
    def whole_from(self) -> int:
        """The first epoch, from 0, in which the model sees all patches."""
        return self.epochs - round(self.whole * self.epochs)

    def rate(self, epoch: int, step: int, steps: int) -> float:
        """The learning rate of a step of an epoch of `steps` steps, all from 0."""
        done = epoch * steps + step
        warm, start, end = self.warmup * steps, self.decay_from * steps, self.epochs * steps
        if done < start:
            return self.learning_rate * min(1.0, (done + 1) / (warm + 1))
        return self.learning_rate * (1 + math.cos(math.pi * (done - start) / (end - start))) / 2


class Student(nn.Module):
    """A timm ViT that also returns its tokens, and can be given some of the patches alone.

    Args:
        module: timm's ``VisionTransformer`` with a class token first; other prefix tokens are registers.
    """

    def __init__(self, module: Any) -> None:
        super().__init__()
        self.module = module

    def forward(self, pictures: Tensor, patches: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Logits and tokens of pictures.

        Args:
            pictures: ``(batch, 3, H, W)``.
            patches: int64 ``(batch, kept)``, the patches that it sees; None is all of them.

        Returns:
            Logits ``(batch, classes)`` and tokens after the last norm, without registers, ``(batch, 1 + kept, width)``.
        """
        prefix = self.module.num_prefix_tokens
        tokens = self.module._pos_embed(self.module.patch_embed(pictures))
        if patches is not None:
            tokens = torch.cat([tokens[:, :prefix], _of_patches(tokens[:, prefix:], patches)], 1)
        tokens = self.module.norm(self.module.blocks(self.module.norm_pre(tokens)))
        return self.module.forward_head(tokens), torch.cat([tokens[:, :1], tokens[:, prefix:]], 1)


@dataclass(frozen=True, eq=False)
class _Batch:
    pictures: Tensor
    targets: Tensor
    tokens: Tensor
    patches: Tensor | None
    mixed: bool


@dataclass(frozen=True, eq=False)
class Distiller:
    """One run: its plan, what it learns from, and where it goes.

    Attributes:
        accelerator: devices, processes and precision.
        plan: how.
        lessons: stored training views.
        validation: stored validation views.
        answers: float32 ``(entries, classes)``: the teacher's probabilities of every training view.
        folder: of the run.
        identity: what the run is, for resuming.
        notify: takes one line per epoch.
    """

    accelerator: Accelerator
    plan: Distillation
    lessons: Kept
    validation: Kept
    answers: Tensor
    folder: RunFolder
    identity: Mapping[str, Any]
    notify: Callable[[str], None]

    def train(self, module: nn.Module) -> tuple[EpochRecord, ...]:
        """Train a module to the plan's last epoch, from the state in the folder if there is one."""
        plan, accelerator = self.plan, self.accelerator
        student = Student(module)
        decayed = [value for value in module.parameters() if value.ndim > 1]
        plain = [value for value in module.parameters() if value.ndim <= 1]
        optimizer = torch.optim.AdamW(
            [{"params": decayed, "weight_decay": plan.weight_decay}, {"params": plain, "weight_decay": 0.0}],
            plan.learning_rate,
        )
        model, stepper = accelerator.prepare(student, optimizer)
        state = self.folder.read_state()
        history: tuple[EpochRecord, ...] = ()
        if state is not None:
            require_same(state.identity, self.identity, self.folder.path, TrainingError)
            module.load_state_dict(state.weights)
            optimizer.load_state_dict(dict(state.optimizer))
            history = state.history
            self.notify(f"{self.folder.path}: resumes after epoch {len(history)} of {plan.epochs}")
        with plain_attention(module, accelerator):
            for epoch in range(len(history), plan.epochs):
                started = time.perf_counter()
                rate, loss, accuracy = self._epoch(model, stepper, epoch)
                logits = self.logits(module, self.validation)
                labels = torch.from_numpy(self.validation.labels)
                valid = float(F.cross_entropy(logits, labels))
                groups = self.validation.accuracies(logits)
                overall = float((logits.argmax(1) == labels).float().mean())
                seconds = time.perf_counter() - started
                history = (*history, EpochRecord(epoch + 1, rate, loss, accuracy, valid, overall, seconds))
                if accelerator.is_main_process:
                    weights = module.state_dict()
                    self.folder.write_state(RunState(self.identity, history, weights, optimizer.state_dict(), {}))
                accelerator.wait_for_everyone()
                words = ", ".join(f"{group} {value:.3f}" for group, value in groups.items())
                self.notify(f"epoch {epoch + 1}: loss {loss:.3f}; validation {valid:.3f}, {words}; {seconds:.0f} s")
        return history

    def logits(self, module: nn.Module, kept: Kept) -> Tensor:
        """The module's logits for stored views, float32 ``(entries, classes)``; every process computes its share."""
        module.eval()
        views, count = kept.views(), self.accelerator.num_processes
        size = -(-len(views) // count)
        ours = views[self.accelerator.process_index * size :][:size]
        with torch.inference_mode(), self.accelerator.autocast():
            parts = [module(normalised(ours[start : start + 64])).float() for start in range(0, len(ours), 64)]
        padded = F.pad(torch.cat(parts), (0, 0, 0, size - sum(map(len, parts))))
        return self.accelerator.gather(padded)[: len(views)].cpu()

    def _epoch(self, model: nn.Module, optimizer: Any, epoch: int) -> tuple[float, float, float]:
        """One epoch: its last learning rate, its mean loss, and the share of unmixed views classified correctly."""
        model.train()
        sums = torch.zeros(4, dtype=torch.float64)
        steps = self.plan.views_per_epoch // self.plan.batch_size
        bar = tqdm(total=steps, unit="batch", desc=f"epoch {epoch + 1}", mininterval=20,
                   disable=not self.accelerator.is_main_process)  # fmt: skip
        rate = 0.0
        with seeded(self.plan.seed, epoch, self.accelerator.process_index), bar:
            for step, batch in enumerate(self._batches(epoch, steps)):
                rate = self.plan.rate(epoch, step, steps)
                for group in optimizer.param_groups:
                    group["lr"] = rate
                with self.accelerator.autocast():
                    logits, tokens = model(batch.pictures, batch.patches)
                loss = F.cross_entropy(logits.float(), batch.targets)
                if not batch.mixed:
                    loss = loss + self._difference(tokens, batch)
                self.accelerator.backward(loss)
                self.accelerator.clip_grad_norm_(model.parameters(), self.plan.clip_norm)
                optimizer.step()
                optimizer.zero_grad()
                right = 0 if batch.mixed else int((logits.argmax(1) == batch.targets.argmax(1)).sum())
                sums += torch.tensor([loss.item(), 1, right, 0 if batch.mixed else len(logits)])
                if not math.isfinite(float(sums[0])):
                    raise TrainingError(f"the loss became {float(sums[0])} in epoch {epoch + 1}")
                bar.update()
        loss_sum, count, right, seen = self.accelerator.reduce(sums, "sum").tolist()
        return rate, loss_sum / count, right / max(1, seen)

    def _difference(self, tokens: Tensor, batch: _Batch) -> Tensor:
        """Weighted mean squared differences of normalised tokens, class and patches."""
        width = tokens.shape[-1:]
        squares = (F.layer_norm(tokens.float(), width) - F.layer_norm(batch.tokens, width)).square()
        return self.plan.match_class * squares[:, 0].mean() + self.plan.match_patches * squares[:, 1:].mean()

    def _batches(self, epoch: int, steps: int) -> Iterator[_Batch]:
        """This process's part of every batch; what is drawn depends on seed, epoch and step alone."""
        plan, lessons = self.plan, self.lessons
        rng = np.random.default_rng([plan.seed, epoch])
        chosen = []
        for number, group in enumerate(lessons.groups):
            members = np.flatnonzero(lessons.group == number)
            wanted = round(plan.shares[group] * steps * plan.batch_size)
            chosen += [rng.permutation(members) for _ in range(wanted // len(members))]
            chosen.append(rng.permutation(members)[: wanted % len(members)])
        order = rng.permutation(np.concatenate(chosen))
        order = np.resize(order, steps * plan.batch_size)  # rounding may leave a view too few or too many
        views, tokens = lessons.views(), lessons.tokens()
        mine = slice(self.accelerator.process_index, None, self.accelerator.num_processes)
        for step in range(steps):
            rng = np.random.default_rng([plan.seed, epoch, step])
            indices = order[step * plan.batch_size : (step + 1) * plan.batch_size]
            mirrored = rng.random(len(indices)) < 0.5
            light = rng.uniform(0.85, 1.15, (len(indices), 1, 1, 1)).astype(np.float32)
            patches = rng.random((len(indices), tokens.shape[1] - 1)).argsort(1)
            mixed, share = bool(rng.random() < plan.mixed), float(rng.beta(plan.mix, plan.mix))
            indices, mirrored, patches = indices[mine], mirrored[mine], patches[mine]
            pictures = normalised(views[indices]) * torch.from_numpy(light[mine])
            targets = self._targets(indices)
            kept = torch.from_numpy(patches[:, : round(plan.kept_patches * patches.shape[1])])
            some = epoch < plan.whole_from
            where = torch.from_numpy(mirrored)
            pictures = torch.where(where[:, None, None, None], pictures.flip(3), pictures)
            wanted_tokens = torch.empty(0)
            if mixed:
                pictures = share * pictures + (1 - share) * pictures.flip(0)
                targets = share * targets + (1 - share) * targets.flip(0)
            else:
                wanted_tokens = _mirrored(torch.from_numpy(tokens[indices].astype(np.float32)), where)
                if some:
                    wanted_tokens = torch.cat([wanted_tokens[:, :1], _of_patches(wanted_tokens[:, 1:], kept)], 1)
            yield _Batch(pictures, targets, wanted_tokens, kept if some else None, mixed)

    def _targets(self, indices: np.ndarray) -> Tensor:
        """Labels, smoothed, blended with the teacher's answers where the views are photos."""
        classes = self.answers.shape[1]
        labels = F.one_hot(torch.from_numpy(self.lessons.labels[indices]), classes).float()
        labels = labels * (1 - self.plan.label_smoothing) + self.plan.label_smoothing / classes
        photo = torch.from_numpy(self.lessons.group[indices] != self.lessons.groups.index("made"))
        weight = self.plan.teacher_answers * photo[:, None].float()
        return (1 - weight) * labels + weight * self.answers[torch.from_numpy(indices)]


def _of_patches(tokens: Tensor, patches: Tensor) -> Tensor:
    """Tokens ``(batch, patches, width)`` of some patches, int64 ``(batch, kept)``."""
    return tokens.gather(1, patches[..., None].expand(-1, -1, tokens.shape[-1]))


def _mirrored(tokens: Tensor, where: Tensor) -> Tensor:
    """Tokens ``(batch, 1 + rows * rows, width)`` with the patches of some entries mirrored left to right."""
    side = math.isqrt(tokens.shape[1] - 1)
    grid = tokens[:, 1:].reshape(len(tokens), side, side, -1).flip(2).flatten(1, 2)
    return torch.where(where[:, None, None], torch.cat([tokens[:, :1], grid], 1), tokens)
