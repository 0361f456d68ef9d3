"""What a sweep measures: numbers for each photo's map, mean maps by class, and which photos to look at first."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from ..capture.batches import AttentionRows
from ..capture.forward import capture_attention
from ..errors import PictureError
from ..evaluation.measures import border_share, entropy, head_agreement, share_on
from ..maps.aggregate import aggregate_heads
from ..maps.sinks import find_sinks, share_of
from ..models.classes import class_key, is_right
from ..models.partitions import Grid
from .photos import Prepared, plain_text

if TYPE_CHECKING:
    from pandas import DataFrame, Series

    from ..datasets.photos import PhotoSet
    from ..models.loading import AttentionModel

SWEPT = (
    "prefix_share",
    "border_share",
    "border_share_without_sinks",
    "flat_share",
    "flat_share_without_sinks",
    "entropy",
    "head_agreement",
    "sink_share",
    "mass_on_mask",
    "mask_area",
)
"""The measures of a sweep, a subset of `MEASURES`, in the order of its table; the last two need masks."""

SINK_PHOTOS = 8
"""Number of photos, evenly spread over the set, that determine the model's sinks."""

RIGHT, WRONG, UNKNOWN = 1, 0, -1
"""Whether a prediction is the photo's class; unknown where the model has no such class."""

NO_CLASS = "no class"
"""Heading of the photos whose class is unknown."""

_CODES = {True: RIGHT, False: WRONG, None: UNKNOWN}

GroupKey = tuple[int, int]
"""Number of a class, and one of `RIGHT`, `WRONG`, `UNKNOWN`."""


def model_sinks(
    model: AttentionModel, photos: PhotoSet, layers: Sequence[int], grids: Sequence[Grid]
) -> dict[int, np.ndarray]:
    """The patches that are sinks whatever the picture: in at least half of a few photos spread over the set.

    Convention: `find_sinks` needs the attention of all patches, which a capture of single rows does not hold, so
    `SINK_PHOTOS` photos are captured completely before the sweep. Sinks at other places in every picture do not count.

    Args:
        model: the model.
        photos: the set; those that cannot be read are skipped.
        layers: layer numbers, 0 or more.
        grids: of these layers.

    Returns:
        The sinks of each layer, bool ``(rows, cols)``; all False where no photo could be read.
    """
    count = min(SINK_PHOTOS, len(photos))
    sinks: list[list[np.ndarray]] = []
    for index in np.linspace(0, len(photos) - 1, count).round().astype(int).tolist():
        try:
            capture = capture_attention(model, photos.load(index))
        except PictureError:
            continue
        sinks.append([find_sinks(capture, layer) for layer in layers])
    of_layers = zip(*sinks, strict=True) if sinks else ([np.zeros(grid)] for grid in grids)
    return {layer: np.mean(votes, 0) >= 0.5 for layer, votes in zip(layers, of_layers, strict=True)}


@dataclass
class Sums:
    """Sums of the maps of some photos, by class and by whether the prediction is right.

    Each map is divided by its own sum first, so that all have the same weight. All-zero maps count as zeros.

    Attributes:
        counts: number of photos per group.
        totals: sum of the maps per group, float64 ``(layers, rows, cols)``, of the largest grid; NaN beyond that of a
            layer.
    """

    counts: dict[GroupKey, int] = field(default_factory=lambda: defaultdict(int))
    totals: dict[GroupKey, np.ndarray] = field(default_factory=dict)

    def add(self, key: GroupKey, maps: np.ndarray, count: int = 1) -> None:
        self.counts[key] += count
        self.totals[key] = self.totals[key] + maps if key in self.totals else maps

    def mean(self, key: GroupKey) -> np.ndarray:
        """The mean map of a group."""
        return self.totals[key] / self.counts[key]


@dataclass(frozen=True)
class Measurement:
    """What is measured in every photo.

    Attributes:
        layers: layer numbers, 0 or more.
        aggregation: how heads are combined into one map.
        sinks: of each layer, bool ``(rows, cols)``.
    """

    layers: tuple[int, ...]
    aggregation: str
    sinks: Mapping[int, np.ndarray]


def measure_photos(
    rows: AttentionRows, photos: Sequence[Prepared], measurement: Measurement
) -> tuple[list[dict[str, float]], np.ndarray]:
    """Measure the maps of one batch: every layer of every photo.

    Convention: the grid map is measured before any smoothing. Where a layer mixes heads (CaiT) or subtracts two
    softmaxes, weights can be negative; then the absolute values of the aggregated map are measured.

    Args:
        rows: of the measured layers only, in their order.
        photos: of this batch.
        measurement: what is measured.

    Returns:
        One line per photo and layer: ``index``, ``layer``, ``predicted`` (number; -1 without a classifier),
        ``confidence`` and the `SWEPT` measures; and the maps, float64 ``(photos, layers, rows, cols)``, each with
        sum 1; of the largest grid, and NaN beyond that of a layer.

    Raises:
        ValueError: a photo was prepared without its grounds.
    """
    lines: list[dict[str, float]] = []
    largest = np.max([tokens.grid for tokens in rows.tokens], 0)
    maps = np.full((len(photos), len(measurement.layers), *largest), np.nan)
    predicted = rows.probabilities.argmax(1) if rows.class_names else np.full(len(photos), -1)
    for position, layer in enumerate(measurement.layers):
        of_heads = rows.patch_attention(position)  # (photos, heads, rows, cols)
        prefix = rows.prefix_share(position).mean(1)
        for place, (photo, heads) in enumerate(zip(photos, of_heads, strict=True)):
            grid_map = np.abs(aggregate_heads(heads, measurement.aggregation), dtype=np.float64)
            height, width = grid_map.shape
            maps[place, position, :height, :width] = grid_map / max(grid_map.sum(), np.finfo(np.float64).tiny)
            label = int(predicted[place])
            confidence = float(rows.probabilities[place, label]) if label >= 0 else np.nan
            line = {"index": photo.index, "layer": layer, "predicted": label, "confidence": confidence}
            line |= {"prefix_share": float(prefix[place]), "head_agreement": head_agreement(np.abs(heads))}
            lines.append(line | _measure(grid_map, photo, measurement.sinks[layer]))
    return lines, maps


def _measure(grid_map: np.ndarray, photo: Prepared, sinks: np.ndarray) -> dict[str, float]:
    rows, cols = grid_map.shape
    ground = photo.grounds.get((rows, cols))
    if ground is None:
        raise ValueError(f"photo {photo.index} was prepared without its grounds and cannot be measured")
    border, flat = border_share(grid_map), share_on(grid_map, ground.flat)
    border_left, flat_left = border, flat
    if sinks.any():
        left = np.where(sinks, 0, grid_map)
        border_left, flat_left = border_share(left), share_on(left, ground.flat)
    mass = area = np.nan
    if ground.evidence is not None and ground.counted is not None and ground.evidence.any():
        mass = mass_on_patches(grid_map, ground.evidence, ground.counted)
        area = float(ground.evidence.sum() / ground.counted.sum())
    return {
        "border_share": border,
        "border_share_without_sinks": border_left,
        "flat_share": flat,
        "flat_share_without_sinks": flat_left,
        "entropy": entropy(grid_map),
        "sink_share": share_of(grid_map, sinks),
        "mass_on_mask": mass,
        "mask_area": area,
    }


def mass_on_patches(grid_map: np.ndarray, evidence: np.ndarray, counted: np.ndarray) -> float:
    """`mass_on_mask` of the map before smoothing: each patch is spread evenly over its pixels.

    Args:
        grid_map: map ``(rows, cols)``.
        evidence: of its shape, share of each patch's pixels on the mask (`mask_on_patches`).
        counted: likewise, share of the pixels that the mask does not leave open.

    Returns:
        0..1; NaN where the counted part of the map is all zeros.
    """
    whole = float((grid_map * counted).sum())
    return float((grid_map * evidence).sum()) / whole if whole > 0 else np.nan


@dataclass(frozen=True)
class Classes:
    """The classes of photos and of a model, and which predictions are right.

    Attributes:
        labels: class name of each photo; `UNLABELLED` where it is unknown.
        predicted: names of the model's classes; empty without a classifier.
        keys: `class_key` of each of the model's classes.
    """

    labels: tuple[str, ...]
    predicted: tuple[str, ...]
    keys: frozenset[str]

    @classmethod
    def of(cls, photos: PhotoSet, class_names: Sequence[str]) -> Classes:
        """The classes of a set and of a model."""
        names = [plain_text(name) for name in photos.class_names]
        labels = tuple(names[label] for label in photos.labels)
        return cls(labels, tuple(class_names), frozenset(class_key(name) for name in class_names))

    @cached_property
    def known(self) -> tuple[str, ...]:
        """The classes of the data, sorted; empty if no photo has one."""
        return tuple(sorted(set(self.labels))) if any(self.labels) else ()

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {label: number for number, label in enumerate(self.known)}

    @property
    def groups(self) -> tuple[str, ...]:
        """The groups of the mean maps: the classes of the data, else those of the model, else one group."""
        return self.known or self.predicted or ("all",)

    def right(self, index: int, predicted: int) -> int:
        """Whether a prediction is the photo's class (`is_right`): `RIGHT`, `WRONG` or `UNKNOWN`."""
        if predicted < 0:
            return UNKNOWN
        return _CODES[is_right(self.predicted[predicted], self.labels[index], self.keys)]

    def group(self, index: int, predicted: int) -> GroupKey:
        """The group of a photo's map: its number in `groups`, and whether the prediction is right."""
        number = self._numbers[self.labels[index]] if self.known else max(predicted, 0)
        return number, self.right(index, predicted)


def unusual(values: Series) -> Series:
    """How far each value is above the median of the set, in interquartile ranges.

    Values below the median count as 0, as do all values of a set without spread.
    """
    low, middle, high = values.quantile([0.25, 0.5, 0.75])
    spread = high - low
    return ((values - middle) / spread).clip(lower=0).fillna(0) if spread > 0 else values * 0


def look_first(table: DataFrame) -> Series:
    """The order in which an expert should look at the photos of one layer, from 1.

    Calderaro et al. 2023, in their conclusion, interpret attention along the border or on flat ground as a sign of
    overfitting. A photo's urgency is how far its border share or its flat share, whichever is more unusual, is above
    the set's median, in interquartile ranges (`unusual`). The model's sinks are left out, since their places do not
    depend on the picture.

    Args:
        table: one row per photo.

    Returns:
        int64, with the table's index; ties keep the table's order.
    """
    urgency = np.maximum(unusual(table["border_share_without_sinks"]), unusual(table["flat_share_without_sinks"]))
    return urgency.rank(method="first", ascending=False).astype("int64")
