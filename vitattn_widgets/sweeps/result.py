"""The result of a sweep: its table, its mean maps, and how right and wrong predictions differ."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ..evaluation.result import RESAMPLES, bootstrap_interval
from .folder import SweepState, sinks_at
from .measure import NO_CLASS, SWEPT

if TYPE_CHECKING:
    from pandas import DataFrame

LEAST = 5
"""Smallest group that gets an interval: resampling fewer photos says next to nothing about others."""

MAX_RESAMPLED = 20_000
"""Largest number of photos whose interval is computed by the bootstrap."""


class Difference(NamedTuple):
    """How much more of a measure wrong predictions have than right ones.

    Attributes:
        right: mean over the right predictions.
        wrong: mean over the wrong predictions.
        difference: wrong minus right.
        low: lower end of its 95% interval; NaN where a group has fewer than `LEAST` photos.
        high: upper end.
    """

    right: float
    wrong: float
    difference: float
    low: float
    high: float

    @property
    def interval(self) -> str:
        """The interval in words."""
        if np.isnan(self.low):
            return f"too few photos for an interval (fewer than {LEAST})"
        return f"95% interval {self.low:+.3f} to {self.high:+.3f}"


@dataclass(frozen=True, eq=False)
class SweepResult:
    """A finished sweep.

    Attributes:
        folder: of all files.
        title: model and data; a stand-in is called one.
        table: one row per photo and layer, as in `table_file`. Do not change it.
        table_file: Parquet or CSV.
        report: a web page that needs no other file.
        mean_maps: of each class, float32 ``(layers, rows, cols)``: the mean of its photos' maps, each divided by its
            sum. The classes are those of the data, or the predicted classes if the data have none. Where layers have
            grids of their own, they are of the largest, and NaN beyond that of a layer (`on_grid`).
        right_maps: likewise for right and wrong predictions (``"right"``, ``"wrong"``), if there are any.
        skipped: one line per file that could not be read.
        state: what the sweep is, and the places of the model's sinks.
    """

    folder: Path
    title: str
    table: DataFrame = field(repr=False)
    table_file: Path
    report: Path
    mean_maps: Mapping[str, np.ndarray] = field(repr=False)
    right_maps: Mapping[str, np.ndarray] = field(repr=False)
    skipped: tuple[str, ...] = field(repr=False)
    state: SweepState = field(repr=False)

    @property
    def layers(self) -> tuple[int, ...]:
        """The measured layers, in order."""
        return tuple(self.state.identity["options"]["layers"])

    @property
    def grid(self) -> tuple[int, int]:
        """``(rows, cols)`` of the maps of the deepest layer."""
        return self.grid_of(self.layers[-1])

    def grid_of(self, layer: int) -> tuple[int, int]:
        """``(rows, cols)`` of the maps of a layer."""
        rows, cols = self.state.facts["grids"][self.layers.index(layer)]
        return rows, cols

    def on_grid(self, maps: np.ndarray, layer: int | None = None) -> np.ndarray:
        """A layer's map in the mean maps of a class, ``(rows, cols)``; None is the deepest, which the report shows."""
        place = self.layers.index(self.layers[-1] if layer is None else layer)
        rows, cols = self.grid_of(self.layers[place])
        return maps[place, :rows, :cols]

    @property
    def has_classes(self) -> bool:
        """Whether any photo has a class."""
        return bool(self.table["label"].notna().any())

    def sinks(self, layer: int) -> np.ndarray:
        """The model's sinks in a layer, bool ``(rows, cols)``."""
        return sinks_at(self.state.sinks[str(layer)], self.grid_of(layer))

    def of_layer(self, layer: int | None = None) -> DataFrame:
        """The rows of one layer, one per photo; None is the deepest layer, which the report shows."""
        return self.table[self.table["layer"] == (self.layers[-1] if layer is None else layer)]

    def by_class(self) -> DataFrame:
        """Means by class in the deepest layer: ``photos``, ``accuracy``, the measures; highest border share first."""
        photos = self.of_layer()
        groups = photos.groupby(photos["label" if self.has_classes else "predicted"].fillna(NO_CLASS))
        table = groups[[name for name in SWEPT if name in photos]].mean()
        table.insert(0, "photos", groups.size())
        table.insert(1, "accuracy", groups["right"].mean().astype("float64"))
        table.insert(2, "confidence", groups["confidence"].mean())
        return table.sort_values("border_share_without_sinks", ascending=False, kind="stable")

    def right_and_wrong(self, measure: str = "border_share") -> Difference | None:
        """The difference of a measure between wrong and right predictions; None if either group is empty."""
        photos = self.of_layer().dropna(subset=["right", measure])
        right, wrong = (photos.loc[photos["right"] == verdict, measure].to_numpy() for verdict in (True, False))
        if not len(right) or not len(wrong):
            return None
        return difference(right, wrong)

    def describe(self) -> str:
        """The results in a few lines, with the paths of the files."""
        photos = self.of_layer()
        lines = [f"{self.title}: {len(photos)} photos, {len(self.skipped)} problems with files"]
        count = photos["right"].notna().sum()
        if count:
            lines.append(f"accuracy {photos['right'].mean():.3f} on the {count} photos whose class the model has")
        border = self.right_and_wrong()
        if border is not None:
            lines.append(
                f"border share {border.right:.3f} for right predictions, {border.wrong:.3f} for wrong ones: difference "
                f"{border.difference:+.3f}, {border.interval}"
            )
        first = photos.sort_values("look_first")["photo"].head(3)
        lines.append(f"look first at {', '.join(first)}")
        lines.append(f"table {self.table_file}, report {self.report}")
        return "\n".join(lines)

    def __repr__(self) -> str:
        return self.describe()


def difference(right: np.ndarray, wrong: np.ndarray, resamples: int = RESAMPLES, seed: int = 0) -> Difference:
    """The difference of two groups' means and its 95% interval.

    The bootstrap over photos, each group resampled by itself (`bootstrap_interval`); for more than `MAX_RESAMPLED`
    photos the normal approximation, which is then practically the same.
    """
    means = float(right.mean()), float(wrong.mean())
    if min(len(right), len(wrong)) >= LEAST and len(right) + len(wrong) > MAX_RESAMPLED:
        half = 1.96 * float(np.sqrt(right.var() / len(right) + wrong.var() / len(wrong)))
        return Difference(*means, means[1] - means[0], means[1] - means[0] - half, means[1] - means[0] + half)
    if min(len(right), len(wrong)) < LEAST:
        return Difference(*means, means[1] - means[0], np.nan, np.nan)

    def resampled_difference(rng: np.random.Generator) -> float:
        wrong_mean = wrong[rng.integers(len(wrong), size=len(wrong))].mean()
        return float(wrong_mean - right[rng.integers(len(right), size=len(right))].mean())

    low, high = bootstrap_interval(resampled_difference, resamples, seed)
    return Difference(*means, means[1] - means[0], float(low), float(high))
