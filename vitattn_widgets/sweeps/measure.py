"""What a sweep measures: numbers of each photo's map, mean maps by class, and which photos to look at first."""

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
"""The `MEASURES` of a sweep, in the order of its table; the last two need masks."""

SINK_PHOTOS = 8
"""How many photos, evenly spread over the set, say where the model's sinks lie."""

RIGHT, WRONG, NOT_SAID = 1, 0, -1
"""Whether a prediction is the photo's class."""

_CODES = {True: RIGHT, False: WRONG, None: NOT_SAID}

GroupKey = tuple[int, int]
"""Number of a class and one of `RIGHT`, `WRONG`, `NOT_SAID`."""


def model_sinks(model: AttentionModel, photos: PhotoSet, layers: Sequence[int]) -> dict[int, np.ndarray]:
    """The patches that are sinks whatever the picture: those of at least half of a few photos spread over the set.

    Convention: `find_sinks` asks what all patches look at, which rows-only capture does not hold; so `SINK_PHOTOS`
    photos are captured whole, once, before the sweep. Sinks that lie elsewhere in every picture are none of the
    model's.

    Args:
        model: the model.
        photos: the set; those that cannot be read are passed over.
        layers: layer numbers, 0 or more.

    Returns:
        A layer's sinks, bool ``(rows, cols)``; none where no photo could be read.
    """
    count = min(SINK_PHOTOS, len(photos))
    seen: list[list[np.ndarray]] = []
    for index in np.linspace(0, len(photos) - 1, count).round().astype(int).tolist():
        try:
            capture = capture_attention(model, photos.load(index))
        except PictureError:
            continue
        seen.append([find_sinks(capture, layer) for layer in layers])
    nowhere = np.zeros(model.layout.grid, bool)
    votes = np.array(seen).mean(0) if seen else np.array([nowhere] * len(layers))
    return {layer: of_layer >= 0.5 for layer, of_layer in zip(layers, votes, strict=True)}


@dataclass
class Sums:
    """The maps of some photos added up by class and by whether the prediction is right.

    Each map counts alike: it is divided by its own sum first. All-zero maps count as zeros.

    Attributes:
        counts: photos a group.
        totals: float64 ``(layers, rows, cols)`` a group.
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
class Asked:
    """What is measured of every photo.

    Attributes:
        layers: layer numbers, 0 or more.
        aggregation: how heads become one map.
        sinks: of each layer, bool ``(rows, cols)``.
    """

    layers: tuple[int, ...]
    aggregation: str
    sinks: Mapping[int, np.ndarray]


def measure_photos(
    rows: AttentionRows, photos: Sequence[Prepared], asked: Asked
) -> tuple[list[dict[str, float]], np.ndarray]:
    """Measure the maps of one batch: every layer of every photo.

    Convention: the grid map is measured as it is, before any smoothing; where a layer mixes heads (CaiT) or subtracts
    two softmaxes, weights can be negative, and the absolute values of the aggregated map are measured.

    Args:
        rows: of the asked layers alone, in their order.
        photos: of this batch.
        asked: what is measured.

    Returns:
        A line a photo and layer: ``index``, ``layer``, ``predicted`` (number; -1 without a classifier),
        ``confidence`` and the `SWEPT` measures; and the maps, float64 ``(photos, layers, rows, cols)``, each summing to
        1.
    """
    lines: list[dict[str, float]] = []
    maps = np.zeros((len(photos), len(asked.layers), *rows.layout.grid))
    predicted = rows.probabilities.argmax(1) if rows.class_names else np.full(len(photos), -1)
    for position, layer in enumerate(asked.layers):
        of_heads = rows.patch_attention(position)  # photo head row col
        prefix = rows.prefix_share(position).mean(1)
        for place, (photo, heads) in enumerate(zip(photos, of_heads, strict=True)):
            grid_map = np.abs(aggregate_heads(heads, asked.aggregation), dtype=np.float64)
            maps[place, position] = grid_map / max(grid_map.sum(), np.finfo(np.float64).tiny)
            label = int(predicted[place])
            confidence = float(rows.probabilities[place, label]) if label >= 0 else np.nan
            line = {"index": photo.index, "layer": layer, "predicted": label, "confidence": confidence}
            line |= {"prefix_share": float(prefix[place]), "head_agreement": head_agreement(np.abs(heads))}
            lines.append(line | _measure(grid_map, photo, asked.sinks[layer]))
    return lines, maps


def _measure(grid_map: np.ndarray, photo: Prepared, sinks: np.ndarray) -> dict[str, float]:
    border, flat = border_share(grid_map), share_on(grid_map, photo.flat)
    kept_border, kept_flat = border, flat
    if sinks.any():
        kept = np.where(sinks, 0, grid_map)
        kept_border, kept_flat = border_share(kept), share_on(kept, photo.flat)
    masked = photo.evidence is not None and photo.evidence.any()
    return {
        "border_share": border,
        "border_share_without_sinks": kept_border,
        "flat_share": flat,
        "flat_share_without_sinks": kept_flat,
        "entropy": entropy(grid_map),
        "sink_share": share_of(grid_map, sinks),
        "mass_on_mask": mass_on_patches(grid_map, photo) if masked else np.nan,
        "mask_area": float(photo.evidence.sum() / photo.counted.sum()) if masked else np.nan,
    }


def mass_on_patches(grid_map: np.ndarray, photo: Prepared) -> float:
    """`mass_on_mask` of the map before smoothing: each patch spreads what it has evenly over its pixels."""
    counted = float((grid_map * photo.counted).sum())
    return float((grid_map * photo.evidence).sum()) / counted if counted > 0 else np.nan


@dataclass(frozen=True)
class Classes:
    """What the data call each photo, and which predictions are right.

    Attributes:
        labels: one a photo; `UNLABELLED` where nothing says its class.
        predicted: names of the model's classes; empty without a classifier.
        keys: `class_key` of each of them.
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
        """The classes of the data, in order; empty where no photo has one."""
        return tuple(sorted(set(self.labels))) if any(self.labels) else ()

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {label: number for number, label in enumerate(self.known)}

    @property
    def groups(self) -> tuple[str, ...]:
        """What mean maps are made by: the classes of the data, else those of the model, else one group."""
        return self.known or self.predicted or ("all",)

    def right(self, index: int, predicted: int) -> int:
        """Whether a prediction is the photo's class (`classes.is_right`): `RIGHT`, `WRONG` or `NOT_SAID`."""
        if predicted < 0:
            return NOT_SAID
        return _CODES[is_right(self.predicted[predicted], self.labels[index], self.keys)]

    def group(self, index: int, predicted: int) -> GroupKey:
        """The group of a photo's map: number in `groups`, and whether the prediction is right."""
        number = self._numbers[self.labels[index]] if self.known else max(predicted, 0)
        return number, self.right(index, predicted)


def unusual(values: Series) -> Series:
    """How far above the middle of the set each value lies: distance to the median over the interquartile range.

    Values below the median count as 0, and so does a set without spread.
    """
    low, middle, high = values.quantile([0.25, 0.5, 0.75])
    spread = high - low
    return ((values - middle) / spread).clip(lower=0).fillna(0) if spread > 0 else values * 0


def look_first(table: DataFrame) -> Series:
    """In which order an expert should look at the photos of one layer, 1 first.

    Calderaro et al. 2023, in their conclusion, read attention along the border or on flat ground as a sign of
    overfitting. A photo is the more urgent the further its border share or its flat share, the larger of the two,
    lies above the set's median, in interquartile ranges (`unusual`). The model's sinks are left out, for they lie where
    they lie whatever the picture.

    Args:
        table: a row a photo.

    Returns:
        int64, of the table's index; ties keep the table's order.
    """
    urgent = np.maximum(unusual(table["border_share_without_sinks"]), unusual(table["flat_share_without_sinks"]))
    return urgent.rank(method="first", ascending=False).astype("int64")
