"""A run's folder: what is in it, whether there is room, and the one file from which a killed run resumes.

``state.safetensors`` holds everything that the next epoch needs: weights, optimizer, history and what the run is. It is
replaced in one step, and the checkpoints ``best`` and ``last`` are written after it: whatever a killed run left half
done can be made again from it. Order, augmentation and learning rate are functions of seed and epoch, so they are not
stored.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from ..errors import TrainingError, WeightsError
from ..files import write_file
from ..models.checkpoints import read_header
from ..runs import prepare_folder, without_format

FORMAT = 1
"""Version of ``state.safetensors`` and ``metrics.json``, written in both; a file without a number is read as 1."""

NAMES = ("best.safetensors", "best.json", "last.safetensors", "last.json", "state.safetensors", "metrics.json")

FIGURES = ("curves.png", "confusion.png", "recall.png")

_RUN_KEY = "run"

_SLACK = 16 << 20  # cards, figures, headers, file system


@dataclass(frozen=True)
class EpochRecord:
    """What was measured in one epoch.

    Attributes:
        epoch: from 1.
        learning_rate: at its last step.
        train_loss: mean over its augmented photos, while the weights changed.
        train_accuracy: likewise, 0..1.
        validation_loss: mean over the validation photos, after the epoch.
        validation_accuracy: likewise, 0..1.
        seconds: of training and validation.
    """

    epoch: int
    learning_rate: float
    train_loss: float
    train_accuracy: float
    validation_loss: float
    validation_accuracy: float
    seconds: float


@dataclass(frozen=True)
class RunState:
    """A run after some epochs.

    Attributes:
        identity: what the run is (`run_identity`); a run with another identity may not use its folder.
        history: its finished epochs.
        weights: of the model as it is trained.
        optimizer: its ``state_dict``.
        scaler: ``state_dict`` of the gradient scaler of fp16; empty without one.
    """

    identity: Mapping[str, Any]
    history: tuple[EpochRecord, ...]
    weights: Mapping[str, Tensor]
    optimizer: Mapping[str, Any]
    scaler: Mapping[str, Any]


def best_epoch(history: tuple[EpochRecord, ...]) -> EpochRecord:
    """The epoch of the highest validation accuracy; ties go to the lower loss, then to the earlier epoch."""
    return min(history, key=lambda record: (-record.validation_accuracy, record.validation_loss, record.epoch))


@dataclass(frozen=True)
class RunFolder:
    """The files of one run.

    Attributes:
        path: the folder.
    """

    path: Path

    @property
    def best(self) -> Path:
        return self.path / "best.safetensors"

    @property
    def last(self) -> Path:
        return self.path / "last.safetensors"

    @property
    def state(self) -> Path:
        return self.path / "state.safetensors"

    @property
    def metrics(self) -> Path:
        return self.path / "metrics.json"

    def prepare(self) -> None:
        """Make the folder, and check before any work that files can be written there.

        Raises:
            TrainingError: it cannot be made or written to, or it is not a folder.
        """
        prepare_folder(self.path, TrainingError)

    def remove_leftovers(self) -> None:
        """Remove half-written files of a killed process; call it only while no other process uses the folder."""
        for name in (*NAMES, *FIGURES):
            for path in self.path.glob(f".{name}.*"):
                path.unlink(missing_ok=True)

    def require_room(self, weights: int, optimizer: int) -> None:
        """Check before any work that the disk has room for the checkpoints.

        Args:
            weights: bytes of the model's weights.
            optimizer: bytes of the optimizer's state.

        Raises:
            TrainingError: there is too little; the message says how much is needed and how much is free.
        """
        state = weights + optimizer
        needed = 2 * weights + state + state + _SLACK  # best, last, the state, and the state that replaces it
        # what is already in the folder will be replaced, so its space counts as free
        replaced = sum(path.stat().st_size for name in NAMES if (path := self.path / name).is_file())
        free = shutil.disk_usage(self.path).free + replaced
        if free < needed:
            raise TrainingError(
                f"{self.path}: the checkpoints of this run need {_size(needed)}, the disk has {_size(free)} free; make "
                "room or choose another folder"
            )

    def read_identity(self) -> Mapping[str, Any] | None:
        """What the run in this folder is; None where there is none.

        Raises:
            TrainingError: its state is damaged, or of a format that this version does not read.
        """
        path = self.state if self.state.is_file() else self.metrics
        if not path.is_file():
            return None
        try:
            text = read_header(path)[_RUN_KEY] if path == self.state else path.read_bytes()
            return parse_run(text, path)["identity"]
        except (WeightsError, ValueError, KeyError, TypeError) as error:
            raise unreadable(path, error) from error

    def write_state(self, state: RunState) -> None:
        """Replace the state in one step.

        Raises:
            SettingsError: the disk is full or the folder cannot be written to; the previous state is kept.
        """
        # safetensors holds tensors only: the optimizer's other values (step counts, hyperparameters) go into the header
        tensors = {f"model.{name}": tensor.detach().cpu().contiguous() for name, tensor in state.weights.items()}
        plain: dict[str, dict[str, Any]] = {}
        for number, values in state.optimizer["state"].items():
            plain[str(number)] = {}
            for key, value in values.items():
                if isinstance(value, Tensor):
                    tensors[f"optimizer.{number}.{key}"] = value.detach().cpu().contiguous()
                elif value is not None:
                    plain[str(number)][key] = value
        run = {
            "format": FORMAT,
            "identity": state.identity,
            "history": [asdict(record) for record in state.history],
            "optimizer": {"state": plain, "param_groups": state.optimizer["param_groups"]},
            "scaler": state.scaler,
        }
        write_file(self.state, safetensors.torch.save(tensors, {_RUN_KEY: json.dumps(run)}))

    def read_state(self) -> RunState | None:
        """The state after the last finished epoch; None where there is none.

        Raises:
            TrainingError: it is damaged, or of a format that this version does not read.
        """
        if not self.state.is_file():
            return None
        try:
            run = parse_run(read_header(self.state)[_RUN_KEY], self.state)
            tensors = safetensors.torch.load_file(self.state)
            optimizer: dict[int, dict[str, Any]] = {
                int(number): dict(values) for number, values in run["optimizer"]["state"].items()
            }
            for name in tensors:
                if name.startswith("optimizer."):
                    _, number, key = name.split(".", 2)
                    optimizer[int(number)][key] = tensors[name]
            return RunState(
                identity=run["identity"],
                history=tuple(EpochRecord(**record) for record in run["history"]),
                weights={name[6:]: tensor for name, tensor in tensors.items() if name.startswith("model.")},
                optimizer={"state": optimizer, "param_groups": run["optimizer"]["param_groups"]},
                scaler=run["scaler"],
            )
        except (WeightsError, ValueError, KeyError, TypeError, OSError) as error:
            raise unreadable(self.state, error) from error


def parse_run(text: str | bytes, path: Path) -> dict[str, Any]:
    """The JSON of a run's file, where it is of a format that this version reads.

    Raises:
        TrainingError: it is of another format.
        TypeError: it is not a JSON object, or its format is not a number.
        ValueError: it is not JSON.
    """
    return without_format(json.loads(text), path, FORMAT, TrainingError)


def unreadable(path: Path, error: Exception) -> TrainingError:
    """The error for a file of a run that does not hold what it should."""
    reason = f"it has no {error}" if isinstance(error, KeyError) else str(error)
    return TrainingError(
        f"{path}: damaged, or not of format {FORMAT} ({reason}); remove the folder or choose another one"
    )


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"


def state_sizes(module: nn.Module, optimizer: Optimizer) -> tuple[int, int]:
    """Bytes of a model's weights, and at most of its optimizer's state."""
    weights = sum(tensor.numel() * tensor.element_size() for tensor in module.state_dict().values())
    trained = sum(p.numel() * p.element_size() for group in optimizer.param_groups for p in group["params"])
    copies = 1 if isinstance(optimizer, torch.optim.SGD) else 2  # momentum; Adam's two moments
    return weights, copies * trained
