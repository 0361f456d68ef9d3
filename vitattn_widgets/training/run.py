"""Fine-tuning: from a data set and a recipe to a folder with a checkpoint, its figures and its numbers."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from accelerate import Accelerator
from torch.optim import Optimizer
from tqdm.auto import tqdm

from ..errors import TrainingError, WeightsError
from ..models.checkpoints import read_card, write_checkpoint
from ..models.loading import AttentionModel, load_model
from ..runs import loading_processes, require_same
from .card import checkpoint_card
from .folder import EpochRecord, RunFolder, RunState, best_epoch, state_sizes
from .loop import learning_rate, make_optimizer, plain_attention, predict, seeded, train_epoch
from .photos import Batches, EpochOrder, PhotoTensors, photo_batches, require_trainable, training_indices
from .recipes import TrainingRecipe, training_recipe
from .report import FinetuneResult, read_report, write_report
from .start import choose_trained, exported_weights, locked, make_accelerator, start_model

if TYPE_CHECKING:
    from ..datasets.photos import Dataset, PhotoSet


def finetune(
    dataset: Dataset | str,
    recipe: TrainingRecipe | str | None = None,
    out: str | Path | None = None,
    model: str | None = None,
    checkpoint: str | Path | None = None,
    mixed_precision: str | None = None,
    workers: int | None = None,
    cpu: bool = False,
    progress: bool = True,
    **changes: Any,
) -> FinetuneResult:
    """Train a model on a data set, or resume a run that was stopped, and measure it on the test photos.

    After every epoch the folder holds ``best.safetensors`` (of the highest validation accuracy) and
    ``last.safetensors``, each with a card, and the state that the next epoch needs. Called again with the same
    arguments, a run that was stopped resumes after its last finished epoch, with the same result as an uninterrupted
    run; of a finished run, the result is returned.

    Args:
        dataset: from `load_dataset`, or its name.
        recipe: ``"paper"``, ``"recommended"``, or a recipe of your own; None is the default of `training_recipe`.
        out: the run's folder, which all processes must see; None is ``runs/DATASET-RECIPE``.
        model: timm name of a model that replaces the recipe's.
        checkpoint: local weights to start from, which must have the data's number of classes unless `head` is
            ``"new"`` or ``"further"``.
        mixed_precision: ``"no"``, ``"bf16"`` or ``"fp16"``; None is as `accelerate` is configured.
        workers: processes that load photos; None is 8, or one fewer than there are cores.
        cpu: train on the CPU even if there is a GPU.
        progress: show a progress bar and one line per epoch.
        changes: values that replace the recipe's (`TrainingRecipe`), such as ``epochs=3``; the card lists them.

    Returns:
        The paths of the checkpoints, and the results.

    Raises:
        TrainingError: the recipe, the data, the folder or the disk does not allow the run, or the loss became NaN or
            infinite.
        ModelError: the model does not exist, or has no attention that this kit can read.
        WeightsError: its weights are unavailable.
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
        previous = folder.read_identity()
        if previous is not None:
            require_same(previous, identity, folder.path, TrainingError)
        finished = read_report(folder)
        if finished is not None:
            folder.state.unlink(missing_ok=True)  # left if the run was killed between its last two steps
            notify(f"{folder.path}: this run is finished; nothing was trained")
            return finished
        notify(plan.describe())
        for choice in plan.chosen:
            notify(f"  left open by the source, chosen here: {choice}")
        # a resumed run gets its weights from its state
        attention = start_model(dataset, plan, checkpoint, weights=previous is None)
        workers = loading_processes(workers, accelerator.num_processes, TrainingError)
        run = _Run(accelerator, dataset, plan, folder, identity, workers, progress, notify)
        return run.report(run.train(attention))


def default_folder(dataset: Dataset, recipe: str) -> Path:
    """The folder of a run for which none is given."""
    return Path("runs") / f"{dataset.info.name}-{recipe}{'-stand-in' if dataset.stand_in else ''}"


def _plan(
    dataset: Dataset,
    recipe: TrainingRecipe | str | None,
    model: str | None,
    checkpoint: str | Path | None,
    changes: Mapping[str, Any],
) -> TrainingRecipe:
    if recipe is None or isinstance(recipe, str):
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
        raise TrainingError("head 'keep' keeps the classifier of a checkpoint; give a checkpoint, or use head 'new'")
    return plan


def run_identity(
    dataset: Dataset, recipe: TrainingRecipe, checkpoint: str | Path | None, mixed_precision: str
) -> dict[str, Any]:
    """Everything that determines a run's result; a folder belongs to one identity."""
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
    """One run at work: its settings, and the devices and folder that it uses."""

    accelerator: Accelerator
    dataset: Dataset
    recipe: TrainingRecipe
    folder: RunFolder
    identity: Mapping[str, Any]
    workers: int
    progress: bool
    notify: Callable[[str], None]

    def train(self, attention: AttentionModel) -> tuple[EpochRecord, ...]:
        """Train to the recipe's last epoch, starting from the state in the folder if there is one."""
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
        hidden = not (self.progress and accelerator.is_main_process)
        total, start = recipe.epochs * len(batches), len(history) * len(batches)
        with (
            plain_attention(module, accelerator),
            tqdm(total=total, initial=start, unit="batch", disable=hidden, dynamic_ncols=True) as bar,
        ):
            for epoch in range(len(history), recipe.epochs):
                start_time = time.perf_counter()
                bar.set_description(f"epoch {epoch + 1} of {recipe.epochs}")
                order.epoch = epoch
                loss, accuracy = train_epoch(accelerator, model, stepper, batches, recipe, epoch, bar)
                predictions = predict(accelerator, model, validation)
                seconds = time.perf_counter() - start_time
                rate = learning_rate(recipe, (epoch + 1) * len(batches) - 1, total)
                record = EpochRecord(epoch + 1, rate, loss, accuracy, predictions.loss, predictions.accuracy, seconds)
                history = (*history, record)
                self._save(attention, optimizer, history)
                self.notify(_epoch_line(record, recipe.epochs))
        return history

    def report(self, history: tuple[EpochRecord, ...]) -> FinetuneResult:
        """Measure the best checkpoint, loaded as a user would load it, on the test photos, and write the report."""
        self.accelerator.wait_for_everyone()
        attention = load_model(None, checkpoint=self.folder.best, device=self.accelerator.device)
        batches = self.accelerator.prepare(self._test_batches(self.dataset.test, attention))
        predictions = predict(self.accelerator, attention.module, batches)
        card = self._card(attention, best_epoch(history)) | {
            "test": {"photos": len(predictions.labels), "loss": predictions.loss, "accuracy": predictions.accuracy}
        }
        self.accelerator.wait_for_everyone()  # the checkpoint is replaced only after every process has loaded it
        result = FinetuneResult.of(self.folder.path, self.dataset, self.recipe, history, predictions)
        if self.accelerator.is_main_process:
            write_checkpoint(self.folder.best, exported_weights(attention.module), card)
            write_report(self.folder, result, self.identity)
            self.folder.state.unlink(missing_ok=True)
        self.accelerator.wait_for_everyone()
        return result

    def _test_batches(self, photos: PhotoSet, attention: AttentionModel) -> Batches:
        tensors = PhotoTensors(photos, attention.preprocessing)
        return photo_batches(tensors, EpochOrder(range(len(photos))), self.recipe.batch_size, self.workers, full=False)

    def _restore(self, attention: AttentionModel, optimizer: Optimizer) -> tuple[EpochRecord, ...]:
        """Load the state in the folder, if any, and rewrite the checkpoints, which may be older after a kill."""
        state = self.folder.read_state()
        self.accelerator.wait_for_everyone()
        if state is None:
            return ()
        attention.module.load_state_dict(state.weights)
        optimizer.load_state_dict(dict(state.optimizer))
        if self.accelerator.scaler is not None and state.scaler:
            self.accelerator.scaler.load_state_dict(dict(state.scaler))
        self._export(attention, state.history)
        self.notify(f"{self.folder.path}: resumes after epoch {len(state.history)} of {self.recipe.epochs}")
        return state.history

    def _save(self, attention: AttentionModel, optimizer: Optimizer, history: tuple[EpochRecord, ...]) -> None:
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
        return checkpoint_card(
            attention, self.dataset, self.recipe, record, self.identity, self.accelerator.num_processes
        )


def _epoch_line(record: EpochRecord, epochs: int) -> str:
    return (
        f"epoch {record.epoch} of {epochs}: training loss {record.train_loss:.3f}, accuracy "
        f"{record.train_accuracy:.3f}; validation loss {record.validation_loss:.3f}, accuracy "
        f"{record.validation_accuracy:.3f}; {record.seconds:.0f} s"
    )
