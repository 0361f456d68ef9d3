"""Fine-tuning: a data set, a recipe and a folder become a checkpoint, its figures and its numbers."""

from __future__ import annotations

import hashlib
import platform
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import accelerate
import timm
import torch
from accelerate import Accelerator
from torch.optim import Optimizer
from torch.utils.data import DataLoader
from tqdm.auto import tqdm

from .. import __version__
from ..errors import TrainingError, WeightsError
from ..models.checkpoints import read_card, write_checkpoint
from ..models.loading import AttentionModel, load_model
from ..runs import loading_processes, require_same
from .folder import EpochRecord, RunFolder, RunState, best_epoch, state_sizes
from .loop import answer, learning_rate, make_optimizer, plain_attention, seeded, train_epoch
from .photos import EpochOrder, PhotoTensors, photo_batches, require_trainable, training_indices
from .recipes import TrainingRecipe, training_recipe
from .report import FinetuneResult, read_report, write_report
from .start import architecture_name, choose_trained, exported_weights, locked, make_accelerator, start_model

if TYPE_CHECKING:
    from ..datasets.photos import Dataset, PhotoSet


def finetune(
    dataset: Dataset | str,
    recipe: TrainingRecipe | str = "paper",
    out: str | Path | None = None,
    model: str | None = None,
    checkpoint: str | Path | None = None,
    mixed_precision: str | None = None,
    workers: int | None = None,
    cpu: bool = False,
    progress: bool = True,
    **changes: Any,
) -> FinetuneResult:
    """Train a model on a data set, or go on with a run that was stopped, and measure it on the test photos.

    After every epoch the folder holds ``best.safetensors`` (of the highest validation accuracy) and
    ``last.safetensors``, each with a card, and what the next epoch needs. A run that was killed goes on from its last
    finished epoch when it is called again with the same arguments, with the result of an unbroken one; a finished one
    is reported.

    Args:
        dataset: from `load_dataset`, or its name.
        recipe: ``"paper"``, ``"recommended"``, or one of yours.
        out: the run's folder, which all processes must see; else ``runs/DATASET-RECIPE``.
        model: another timm model than the recipe's.
        checkpoint: local weights to start from, which must have the data's number of classes unless `head` is
            ``"new"`` or ``"further"``.
        mixed_precision: ``"no"``, ``"bf16"`` or ``"fp16"``; else as `accelerate` is configured.
        workers: processes that load photos; else 8, or one fewer than there are cores.
        cpu: train on the CPU even where there is a GPU.
        progress: show a bar and a line an epoch.
        changes: other values than the recipe's (`TrainingRecipe`), such as ``epochs=3``; the card says which.

    Returns:
        Paths of the checkpoints and what was measured.

    Raises:
        TrainingError: the recipe, the data, the folder or the disk does not allow it, or the loss is no number.
        ModelError: the model does not exist or has no attention that this kit can read.
        WeightsError: its weights cannot be had.
    """
    if isinstance(dataset, str):
        from ..datasets.loading import load_dataset

        dataset = load_dataset(dataset)
    plan = _plan(dataset, recipe, model, checkpoint, changes)
    folder = RunFolder(Path(out) if out is not None else default_folder(dataset, plan.name))
    require_trainable(dataset, plan)
    accelerator = make_accelerator(mixed_precision, cpu, plan.batch_size)
    notify = tqdm.write if progress and accelerator.is_main_process else _silent
    identity = run_identity(dataset, plan, checkpoint, accelerator.mixed_precision)
    folder.prepare()
    with locked(folder, accelerator), seeded(plan.seed):
        accelerator.wait_for_everyone()
        there = folder.read_identity()
        if there is not None:
            require_same(there, identity, folder.path, TrainingError)
        finished = read_report(folder)
        if finished is not None:
            folder.state.unlink(missing_ok=True)  # of a run that was killed between its numbers and its end
            notify(f"{folder.path}: this run is finished; nothing was trained")
            return finished
        notify(plan.describe())
        for choice in plan.chosen:
            notify(f"  chosen here, left open there: {choice}")
        attention = start_model(dataset, plan, checkpoint, weights=there is None)
        workers = loading_processes(workers, accelerator.num_processes, TrainingError)
        run = _Run(accelerator, dataset, plan, folder, identity, workers, progress, notify)
        return run.report(run.train(attention))


def default_folder(dataset: Dataset, recipe: str) -> Path:
    """Where a run lies that was given no folder."""
    return Path("runs") / f"{dataset.info.name}-{recipe}{'-stand-in' if dataset.stand_in else ''}"


def _plan(
    dataset: Dataset,
    recipe: TrainingRecipe | str,
    model: str | None,
    checkpoint: str | Path | None,
    changes: Mapping[str, Any],
) -> TrainingRecipe:
    if isinstance(recipe, str):
        recipe = training_recipe(dataset.info.name, recipe)
    changes = dict(changes)
    if checkpoint is not None:
        if not Path(checkpoint).is_file():
            raise WeightsError(f"{checkpoint}: no such checkpoint file")
        card = read_card(Path(checkpoint))
        model = model or card.architecture
        changes = {"head": "keep", "pretrained": False, "model_args": dict(card.model_args)} | changes
    if model is not None:
        changes["model"] = model
    plan = recipe.change(**changes)
    if plan.head == "keep" and checkpoint is None:
        raise TrainingError("head 'keep' keeps the classifier of a checkpoint; name one, or use head 'new'")
    return plan


def run_identity(
    dataset: Dataset, recipe: TrainingRecipe, checkpoint: str | Path | None, mixed_precision: str
) -> dict[str, Any]:
    """What decides a run's result; a folder belongs to one."""
    return {
        "dataset": dataset.info.name,
        "stand_in": dataset.stand_in,
        "data_fingerprint": dataset.fingerprint,
        "class_names": list(dataset.class_names),
        "recipe": recipe.values(),
        "checkpoint": checkpoint and hashlib.sha256(Path(checkpoint).read_bytes()).hexdigest(),
        "mixed_precision": mixed_precision,
    }


def _silent(_: str) -> None:
    pass


@dataclass(frozen=True, eq=False)
class _Run:
    """One run at work: what it was asked, and what it works with."""

    accelerator: Accelerator
    dataset: Dataset
    recipe: TrainingRecipe
    folder: RunFolder
    identity: Mapping[str, Any]
    workers: int
    progress: bool
    notify: Callable[[str], None]

    def train(self, attention: AttentionModel) -> tuple[EpochRecord, ...]:
        """Train to the recipe's last epoch, from the state in the folder where there is one."""
        module, recipe, accelerator = attention.module, self.recipe, self.accelerator
        choose_trained(module, recipe.trained, recipe.model)
        optimizer = make_optimizer(module, recipe)
        self.folder.require_room(*state_sizes(module, optimizer))
        labels = self.dataset.train.labels
        order = EpochOrder(training_indices(labels, recipe.photos_per_class, recipe.seed), recipe.seed)
        photos = PhotoTensors(self.dataset.train, attention.preprocessing, recipe.augmentation, recipe.seed)
        batches = photo_batches(photos, order, recipe.batch_size, self.workers, full=True)
        model, stepper, batches, validation = accelerator.prepare(
            module, optimizer, batches, self._test_batches(self.dataset.validation, attention)
        )
        history = self._restore(attention, optimizer)
        shown = not (self.progress and accelerator.is_main_process)
        total, start = recipe.epochs * len(batches), len(history) * len(batches)
        with (
            plain_attention(module, accelerator),
            tqdm(total=total, initial=start, unit="batch", disable=shown, dynamic_ncols=True) as bar,
        ):
            for epoch in range(len(history), recipe.epochs):
                began = time.perf_counter()
                bar.set_description(f"epoch {epoch + 1} of {recipe.epochs}")
                order.epoch = epoch
                loss, accuracy = train_epoch(accelerator, model, stepper, batches, recipe, epoch, bar)
                answers = answer(accelerator, model, validation)
                seconds = time.perf_counter() - began
                rate = learning_rate(recipe, (epoch + 1) * len(batches) - 1, total)
                record = EpochRecord(epoch + 1, rate, loss, accuracy, answers.loss, answers.accuracy, seconds)
                history = (*history, record)
                self._keep(attention, optimizer, history)
                self.notify(_epoch_line(record, recipe.epochs))
        return history

    def report(self, history: tuple[EpochRecord, ...]) -> FinetuneResult:
        """Ask the best checkpoint, loaded as a user would load it, about the test photos; write what it says."""
        self.accelerator.wait_for_everyone()
        attention = load_model(None, checkpoint=self.folder.best, device=self.accelerator.device)
        batches = self.accelerator.prepare(self._test_batches(self.dataset.test, attention))
        answers = answer(self.accelerator, attention.module, batches)
        card = self._card(attention, best_epoch(history)) | {
            "test": {"photos": len(answers.labels), "loss": answers.loss, "accuracy": answers.accuracy}
        }
        self.accelerator.wait_for_everyone()
        result = FinetuneResult.of(self.folder.path, self.dataset, self.recipe, history, answers)
        if self.accelerator.is_main_process:
            write_checkpoint(self.folder.best, exported_weights(attention.module), card)
            write_report(self.folder, result, self.identity)
            self.folder.state.unlink(missing_ok=True)
        self.accelerator.wait_for_everyone()
        return result

    def _test_batches(self, photos: PhotoSet, attention: AttentionModel) -> DataLoader:
        tensors = PhotoTensors(photos, attention.preprocessing)
        return photo_batches(tensors, EpochOrder(range(len(photos))), self.recipe.batch_size, self.workers, full=False)

    def _restore(self, attention: AttentionModel, optimizer: Optimizer) -> tuple[EpochRecord, ...]:
        """Take up the state in the folder, if any, and write again what may not have been written after it."""
        state = self.folder.read_state()
        self.accelerator.wait_for_everyone()
        if state is None:
            return ()
        attention.module.load_state_dict(state.weights)
        optimizer.load_state_dict(state.optimizer)
        if self.accelerator.scaler is not None and state.scaler:
            self.accelerator.scaler.load_state_dict(dict(state.scaler))
        self._export(attention, state.history)
        self.notify(f"{self.folder.path}: goes on after epoch {len(state.history)} of {self.recipe.epochs}")
        return state.history

    def _keep(self, attention: AttentionModel, optimizer: Optimizer, history: tuple[EpochRecord, ...]) -> None:
        if self.accelerator.is_main_process:
            scaler = self.accelerator.scaler.state_dict() if self.accelerator.scaler is not None else {}
            weights = attention.module.state_dict()
            self.folder.write_state(RunState(self.identity, history, weights, optimizer.state_dict(), scaler))
            self._export(attention, history)
        self.accelerator.wait_for_everyone()

    def _export(self, attention: AttentionModel, history: tuple[EpochRecord, ...]) -> None:
        if self.accelerator.is_main_process:
            weights, card = exported_weights(attention.module), self._card(attention, history[-1])
            write_checkpoint(self.folder.last, weights, card)
            if best_epoch(history) == history[-1]:
                write_checkpoint(self.folder.best, weights, card)

    def _card(self, attention: AttentionModel, record: EpochRecord) -> dict[str, Any]:
        data, view = self.dataset, attention.preprocessing
        splits = (data.train, data.validation, data.test)
        return {
            "architecture": self._base(attention)["model"],
            "model_args": dict(self.recipe.model_args),
            "num_classes": len(data.class_names),
            "class_names": list(data.class_names),
            "base": self._base(attention),
            "preprocessing": {
                "interpolation": view.interpolation,
                "crop_pct": view.crop_pct,
                "crop_mode": view.crop_mode,
                "mean": list(view.mean),
                "std": list(view.std),
            },
            "data": {
                "name": data.info.name,
                "title": data.info.title,
                "stand_in": data.stand_in,
                "fingerprint": data.fingerprint,
                "seed": data.seed,
                "photos": {split.split: len(split) for split in splits},
            },
            "recipe": self.recipe.values() | {"source": self.recipe.source, "changed": list(self.recipe.changed)},
            "mixed_precision": self.identity["mixed_precision"],
            "processes": self.accelerator.num_processes,
            "metrics": {name: value for name, value in asdict(record).items() if name != "seconds"},
            "versions": {
                "vitattn_widgets": __version__,
                "python": platform.python_version(),
                "torch": torch.__version__,
                "timm": timm.__version__,
                "accelerate": accelerate.__version__,
            },
        }

    def _base(self, attention: AttentionModel) -> dict[str, Any]:
        sha256 = self.identity["checkpoint"]
        weights = "checkpoint" if sha256 else "published" if self.recipe.pretrained else "random"
        name = architecture_name(attention.module, pretrained=weights != "random")
        return {"model": name, "weights": weights, "checkpoint_sha256": sha256}


def _epoch_line(record: EpochRecord, epochs: int) -> str:
    return (
        f"epoch {record.epoch} of {epochs}: training loss {record.train_loss:.3f}, accuracy "
        f"{record.train_accuracy:.3f}; validation loss {record.validation_loss:.3f}, accuracy "
        f"{record.validation_accuracy:.3f}; {record.seconds:.0f} s"
    )
