"""The report of a finished run: test accuracy, recall, confusion and curves, as values, in a file and as figures."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..figures.paper import figure_bytes
from ..files import write_file
from .folder import FIGURES, FORMAT, EpochRecord, RunFolder, best_epoch, parse_run, unreadable
from .loop import Predictions
from .recipes import TrainingRecipe

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ..datasets.photos import Dataset


@dataclass(frozen=True, eq=False)
class FinetuneResult:
    """A finished run.

    Attributes:
        best: checkpoint of the highest validation accuracy, to which all test results belong.
        last: checkpoint of the last epoch.
        title: data set and recipe, and whether the photos are stand-ins.
        stand_in: the photos were generated.
        class_names: one per class.
        test_accuracy: share of the test photos classified correctly, 0..1.
        test_loss: mean cross-entropy over the test photos.
        confusion: int64 ``(true class, predicted class)``, numbers of test photos.
        history: one record per epoch.
    """

    best: Path
    last: Path
    title: str
    stand_in: bool
    class_names: tuple[str, ...] = field(repr=False)
    test_accuracy: float
    test_loss: float
    confusion: np.ndarray = field(repr=False)
    history: tuple[EpochRecord, ...] = field(repr=False)

    @classmethod
    def of(
        cls,
        folder: Path,
        dataset: Dataset,
        recipe: TrainingRecipe,
        history: tuple[EpochRecord, ...],
        predictions: Predictions,
    ) -> FinetuneResult:
        """The result of a run, from the test predictions of its best checkpoint."""
        origin = ", STAND-IN: pictures drawn by code" if dataset.stand_in else ""
        changed = " (changed)" if recipe.changed else ""
        return cls(
            best=folder / "best.safetensors",
            last=folder / "last.safetensors",
            title=f"{dataset.info.title}{origin}; recipe: {recipe.name}{changed}",
            stand_in=dataset.stand_in,
            class_names=tuple(dataset.class_names),
            test_accuracy=predictions.accuracy,
            test_loss=predictions.loss,
            confusion=predictions.confusion(len(dataset.class_names)),
            history=history,
        )

    @property
    def recall(self) -> np.ndarray:
        """Share of each class's test photos classified correctly, float64 ``(classes,)``; NaN without photos."""
        totals = self.confusion.sum(1)
        return np.where(totals > 0, self.confusion.diagonal() / np.maximum(totals, 1), np.nan)

    def recall_words(self, label: int) -> str:
        """The recall of one class, with the number of its photos."""
        total = self.confusion[label].sum()
        return f"{self.recall[label]:.3f} ({self.confusion[label, label]} of {total})" if total else "no test photos"

    def describe(self) -> str:
        """Test accuracy, recall per class, and where the files are, in a few lines."""
        best = best_epoch(self.history)
        width = max(len(name) for name in self.class_names)
        lines = [
            self.title,
            f"test accuracy {self.test_accuracy:.3f} on {self.confusion.sum()} photos (epoch {best.epoch} of "
            f"{len(self.history)}, validation accuracy {best.validation_accuracy:.3f}); recall by class:",
        ]
        lines += [f"  {name:{width}}  {self.recall_words(label)}" for label, name in enumerate(self.class_names)]
        lines.append(f"checkpoint {self.best}; figures and metrics.json beside it")
        return "\n".join(lines)


def write_report(folder: RunFolder, result: FinetuneResult, identity: Mapping[str, Any]) -> None:
    """Write the figures, then the numbers, whose file marks the run as finished.

    Raises:
        SettingsError: the disk is full or the folder cannot be written to.
    """
    figures = draw_curves(result), draw_confusion(result), draw_recall(result)
    for name, figure in zip(FIGURES, figures, strict=True):
        write_file(folder.path / name, figure_bytes(figure))
    numbers = {
        "format": FORMAT,
        "title": result.title,
        "stand_in": result.stand_in,
        "class_names": list(result.class_names),
        "test_accuracy": result.test_accuracy,
        "test_loss": result.test_loss,
        "recall": [None if np.isnan(value) else float(value) for value in result.recall],
        "confusion": result.confusion.tolist(),
        "history": [asdict(record) for record in result.history],
        "identity": identity,
    }
    write_file(folder.metrics, f"{json.dumps(numbers, indent=2, ensure_ascii=False)}\n".encode())


def read_report(folder: RunFolder) -> FinetuneResult | None:
    """The result of the finished run in a folder; None if there is none.

    Raises:
        TrainingError: its file is damaged, or of a format that this version does not read.
    """
    if not folder.metrics.is_file():
        return None
    try:
        numbers = parse_run(folder.metrics.read_bytes(), folder.metrics)
        return FinetuneResult(
            best=folder.best,
            last=folder.last,
            title=numbers["title"],
            stand_in=numbers["stand_in"],
            class_names=tuple(numbers["class_names"]),
            test_accuracy=numbers["test_accuracy"],
            test_loss=numbers["test_loss"],
            confusion=np.array(numbers["confusion"], np.int64),
            history=tuple(EpochRecord(**record) for record in numbers["history"]),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise unreadable(folder.metrics, error) from error


def draw_curves(result: FinetuneResult) -> Figure:
    """Loss, accuracy and learning rate over the epochs."""
    figure, (left, right) = _figure((9, 3.6), 2, result)
    epochs = [record.epoch for record in result.history]
    best = best_epoch(result.history)
    for axis, quantity in ((left, "loss"), (right, "accuracy")):
        for split, style in (("train", "o--"), ("validation", "o-")):
            values = [getattr(record, f"{split}_{quantity}") for record in result.history]
            label = "training (augmented, during the epoch)" if split == "train" else "validation (after the epoch)"
            axis.plot(epochs, values, style, markersize=4, label=label)
        axis.axvline(best.epoch, color="0.7", linewidth=1, zorder=0)
        axis.set(xlabel="epoch", ylabel=quantity)
        axis.xaxis.get_major_locator().set_params(integer=True)
    left.set_ylim(bottom=0)
    right.plot([best.epoch], [result.test_accuracy], "k*", markersize=10, label=f"test, {result.test_accuracy:.3f}")
    right.legend(fontsize=7)
    return figure


def draw_confusion(result: FinetuneResult) -> Figure:
    """Numbers of test photos by true class (rows) and predicted class (columns); colour: share of the row."""
    count = len(result.class_names)
    side = max(4.0, 0.42 * count + 2.2)
    figure, (axis,) = _figure((side, side), 1, result)
    shares = result.confusion / np.maximum(result.confusion.sum(1, keepdims=True), 1)
    axis.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for row, col in zip(*np.nonzero(result.confusion), strict=True):
        color = "white" if shares[row, col] > 0.6 else "black"
        axis.text(col, row, str(result.confusion[row, col]), ha="center", va="center", fontsize=8, color=color)
    axis.set(xlabel="predicted", ylabel="true", xticks=range(count), yticks=range(count))
    axis.set_xticklabels(result.class_names, rotation=90, fontsize=8)
    axis.set_yticklabels(result.class_names, fontsize=8)
    return figure


def draw_recall(result: FinetuneResult) -> Figure:
    """Recall of each class on the test photos, with the number of photos."""
    count = len(result.class_names)
    figure, (axis,) = _figure((6, max(2.5, 0.28 * count + 1.4)), 1, result)
    places = np.arange(count)
    axis.barh(places, np.nan_to_num(result.recall), color="tab:blue")
    for label, recall in enumerate(np.nan_to_num(result.recall)):
        axis.text(recall + 0.01, label, result.recall_words(label), va="center", fontsize=8)
    axis.axvline(result.test_accuracy, color="0.3", linewidth=1, linestyle=":")
    axis.set(yticks=places, xlim=(0, 1.3), xlabel=f"recall (dotted: accuracy {result.test_accuracy:.3f})")
    axis.set_yticklabels(result.class_names, fontsize=8)
    axis.set_xticks(np.linspace(0, 1, 6))
    axis.invert_yaxis()
    return figure


def _figure(inches: tuple[float, float], columns: int, result: FinetuneResult) -> tuple[Figure, Sequence[Any]]:
    from matplotlib.figure import Figure

    figure = Figure(inches, layout="constrained", dpi=130)
    axes = figure.subplots(1, columns, squeeze=False)[0]
    figure.suptitle(result.title, fontsize=8, wrap=True)
    return figure, axes
