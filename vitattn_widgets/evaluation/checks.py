"""Is this map worth anything? Three tests of one picture's map, with a verdict, plain sentences and the numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import stats

from ..capture.cache import remembered
from ..capture.capture import AttentionCapture
from ..capture.forward import capture_again, require_same_model
from ..errors import SettingsError
from ..maps.attribution import grid_map
from ..maps.completion import complete_capture
from ..view.settings import ViewSettings
from .findings import outcomes, ranking, shuffled_words, silenced_words, verdict_words
from .interventions import first_shuffled_block, one_worker, probabilities_of, shuffled_copy, silence_heads
from .perturbation import BASELINE_ORDERS, altered_pictures, area, baseline_order, blurred, map_order, removed_counts

if TYPE_CHECKING:
    from ..models.loading import AttentionModel

STEPS = 6
"""Points of a curve, not counting the first; what fewer or more would change, ``docs/maps.md`` says."""

RANDOM_ORDERS = 7
"""Random orders, whose areas say how much chance alone decides."""


@dataclass(frozen=True, eq=False)
class MapCheck:
    """The results of testing one map.

    Attributes:
        settings: of the map.
        class_name: the class whose probability was followed.
        probability: of that class for the whole picture.
        removed: share of the patches removed (deletion) or restored (insertion) at each point, ``(points,)``.
        deletion: by order, ``"map"`` or one of `perturbation.BASELINE_ORDERS`: the class's probability as patches are
            removed in that order, float ``(points,)``; of the random orders, the mean.
        insertion: the same as they are restored on a blurred picture.
        random_deletion: the deletion curve of each random order, float ``(orders, points)``.
        random_insertion: the insertion curve of each random order, float ``(orders, points)``.
        shuffled_from: number of the first block whose weights were shuffled; of a model with windows or stages, of the
            first layer.
        similarity: Spearman's rank correlation between the map and the shuffled model's; NaN where one is constant.
        layer: number of the layer whose heads were silenced.
        silenced: the class's probability with each head of that layer silenced in turn, float ``(heads,)``.
        shuffled_part: what `shuffled_from` counts, ``"block"`` or ``"layer"``.
    """

    settings: ViewSettings
    class_name: str
    probability: float
    removed: np.ndarray
    deletion: Mapping[str, np.ndarray]
    insertion: Mapping[str, np.ndarray]
    random_deletion: np.ndarray
    random_insertion: np.ndarray
    shuffled_from: int
    similarity: float
    layer: int
    silenced: np.ndarray
    shuffled_part: str = "block"

    def deletion_area(self, order: str = "map") -> float:
        """Mean probability while patches are removed in an order; the lower, the more the early ones mattered."""
        return area(self.deletion[order])

    def insertion_area(self, order: str = "map") -> float:
        """Mean probability while patches are restored in an order; the higher, the more the early ones mattered."""
        return area(self.insertion[order])

    @property
    def deletion_interval(self) -> tuple[float, float]:
        """The smallest and the largest deletion area of the random orders."""
        return _interval(self.random_deletion)

    @property
    def insertion_interval(self) -> tuple[float, float]:
        """The smallest and the largest insertion area of the random orders."""
        return _interval(self.random_insertion)

    @property
    def verdict(self) -> str:
        """One short sentence that sums up all tests of the map."""
        return verdict_words(self._deletion_outcomes, self._insertion_outcomes, self.similarity)

    @property
    def sentences(self) -> tuple[str, ...]:
        """What the numbers say, in plain words: of deletion, insertion, shuffled weights and silenced heads."""
        removing = ranking(self._deletion_outcomes, "removing them")
        restoring = ranking(self._insertion_outcomes, "restoring them")
        deletion = self._areas_words(self.deletion_area(), self.deletion_interval)
        insertion = self._areas_words(self.insertion_area(), self.insertion_interval)
        head = None if self.settings.source_info.no_head else self.settings.head
        return (
            f"Removing patches in the order of this map hurts {self.class_name} {removing} ({deletion}).",
            f"Restoring patches in this order helps {self.class_name} {restoring} ({insertion}).",
            shuffled_words(self.shuffled_from, self.shuffled_part, self.similarity),
            silenced_words(self.class_name, self.layer, self.probability, self.silenced, head),
        )

    @property
    def _deletion_outcomes(self) -> dict[str, int]:
        gains = {order: self.deletion_area(order) - self.deletion_area() for order in BASELINE_ORDERS}
        return outcomes(gains, self.deletion_area(), self.deletion_interval)

    @property
    def _insertion_outcomes(self) -> dict[str, int]:
        gains = {order: self.insertion_area() - self.insertion_area(order) for order in BASELINE_ORDERS}
        return outcomes(gains, self.insertion_area(), self.insertion_interval)

    def _areas_words(self, own: float, interval: tuple[float, float]) -> str:
        low, high = interval
        return f"area {own:.2f}; {len(self.random_deletion)} random orders: {low:.2f} to {high:.2f}"

    def as_json(self) -> dict[str, Any]:
        """Everything but the settings as JSON values, for a page; NaN becomes None.

        Returns:
            The fields of this class under their names, besides: ``random_low`` and ``random_high``, for
            ``"deletion"`` and ``"insertion"`` the smallest and largest probability of the random orders at each point;
            ``areas``, for both by order, and ``intervals``, of the random orders; ``verdict`` and ``sentences``.
        """
        random = {"deletion": self.random_deletion, "insertion": self.random_insertion}
        return {
            "class_name": self.class_name,
            "probability": self.probability,
            "removed": self.removed.tolist(),
            "deletion": {order: curve.tolist() for order, curve in self.deletion.items()},
            "insertion": {order: curve.tolist() for order, curve in self.insertion.items()},
            "random_low": {test: curves.min(0).tolist() for test, curves in random.items()},
            "random_high": {test: curves.max(0).tolist() for test, curves in random.items()},
            "areas": {
                "deletion": {order: self.deletion_area(order) for order in self.deletion},
                "insertion": {order: self.insertion_area(order) for order in self.insertion},
            },
            "intervals": {"deletion": list(self.deletion_interval), "insertion": list(self.insertion_interval)},
            "shuffled_from": self.shuffled_from,
            "shuffled_part": self.shuffled_part,
            "similarity": None if np.isnan(self.similarity) else self.similarity,
            "layer": self.layer,
            "silenced": self.silenced.tolist(),
            "verdict": self.verdict,
            "sentences": list(self.sentences),
        }

    def __str__(self) -> str:
        head = f"{'order':<8}{'deletion':>10}{'insertion':>11}"
        lines = [
            f"{order:<8}{self.deletion_area(order):>10.3f}{self.insertion_area(order):>11.3f}"
            for order in self.deletion
        ]
        return "\n".join([self.verdict, "", *self.sentences, "", head, *lines])


def _interval(curves: np.ndarray) -> tuple[float, float]:
    areas = [area(curve) for curve in curves]
    return min(areas), max(areas)


def check_map(
    model: AttentionModel,
    capture: AttentionCapture,
    settings: ViewSettings | None = None,
    *,
    workers: Callable[[], int] = one_worker,
) -> MapCheck:
    """Test the map of one picture; takes a few seconds for a tiny model on two cores.

    - **Deletion and insertion** (Petsiuk, Das and Saenko 2018, RISE, arXiv:1806.07421): how the class's probability
      falls as patches of the map's own grid are removed in its order, and rises as they are restored on a blurred
      picture. Removed patches show the model's mean colour. The baselines are random order (`RANDOM_ORDERS` of them),
      from the centre outwards and from the edge inwards. The model never saw pictures with missing patches in
      training, so only the comparison between orders counts; which differences count, `findings.outcomes` defines.
    - **Shuffled weights** (Adebayo et al. 2018, "Sanity Checks for Saliency Maps", arXiv:1810.03292): the same map,
      for the same class, from a copy of the model whose weights are shuffled from the last third of the blocks, or
      from the map's own block, up to the classifier. A map that hardly changes does not show what was learnt there.
    - **Silenced heads**: the class's probability while one head of the map's layer passes nothing on.

    Args:
        model: the capture's model; it is left unchanged.
        capture: from `capture_attention`.
        settings: of the map; the class followed is theirs, else the predicted one.
        workers: how many passes on the model may run at the same time, for a server that keeps torch to one core a
            request; asked between passes.

    Returns:
        The numbers, with sentences that state what they mean.

    Raises:
        SettingsError: the model has no classifier, the capture does not have what the settings name, or the layer has a
            single patch.
        ModelError: the capture is of another model, or the model cannot give the map.
    """
    settings = settings or ViewSettings()
    require_same_model(model, capture)
    target = capture.class_or_predicted(settings.target)
    settings = replace(settings, target=target)
    capture = complete_capture(model, capture, settings)
    strength = _strength(capture, settings)
    layer = capture.layer_index(settings.layer)
    if strength.size == 1:
        raise SettingsError(
            f"{capture.layer_words(layer)} of {model.name} has a single patch, so its map has no order to test; choose "
            "another layer"
        )
    name = capture.layer_names[layer]

    deletion, insertion = _curves(model, capture, strength, layer, target, workers)
    first_block = first_shuffled_block(model, name)
    shuffled = _shuffled_map(model, capture, settings, first_block)
    constant = np.ptp(strength) == 0 or np.ptp(shuffled) == 0
    return MapCheck(
        settings=settings,
        class_name=capture.class_names[target],
        probability=float(deletion["map"][0, 0]),
        removed=removed_counts(strength.size, _steps(strength)) / strength.size,
        deletion={order: curves.mean(0) for order, curves in deletion.items()},
        insertion={order: curves.mean(0) for order, curves in insertion.items()},
        random_deletion=deletion["random"],
        random_insertion=insertion["random"],
        shuffled_from=first_block,
        shuffled_part="layer" if capture.staged else "block",
        similarity=np.nan if constant else float(stats.spearmanr(strength.ravel(), shuffled.ravel()).statistic),
        layer=layer,
        silenced=silence_heads(model, capture.pixels, name, capture.num_heads(layer))[:, target],
    )


def _strength(capture: AttentionCapture, settings: ViewSettings) -> np.ndarray:
    """The map by whose values patches are ranked: contributions for the class come first, those against it last."""
    values = grid_map(capture, settings)
    return values if settings.source_info.signed else np.abs(values)


def _steps(strength: np.ndarray) -> int:
    return min(STEPS, strength.size)


def _curves(
    model: AttentionModel,
    capture: AttentionCapture,
    strength: np.ndarray,
    layer: int,
    target: int,
    workers: Callable[[], int],
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """The deletion and the insertion curves by name of the order, each float ``(orders of this name, points)``."""
    picture, grid, shape = capture.pixels, (strength.shape[0], strength.shape[1]), capture.patch_shape(layer)
    counts = removed_counts(strength.size, _steps(strength))
    grey = np.broadcast_to(np.rint(255 * np.array(model.preprocessing.mean)).astype(np.uint8), picture.shape)
    blank = blurred(picture, capture.layout.patch_size)
    orders = {"map": [map_order(strength)]}
    for name in BASELINE_ORDERS:
        seeds = range(RANDOM_ORDERS if name == "random" else 1)
        orders[name] = [baseline_order(name, grid, seed) for seed in seeds]

    def altered(names: Iterable[str]) -> list[np.ndarray]:
        return [
            altered_pictures(under, over, order, counts[1:-1], grid, shape)
            for order in chain.from_iterable(orders[name] for name in names)
            for under, over in ((picture, grey), (blank, picture))
        ]

    def run_baselines() -> np.ndarray:
        # every curve shares its end points: the whole, the empty and the blurred picture run only once
        ends = [picture[None], grey[None], blank[None]]
        return probabilities_of(model, np.concatenate(ends + altered(BASELINE_ORDERS)), workers)

    # nine tenths of the pictures are the same for every map on a grid: kept with what completed captures share
    baselines = remembered(capture.layers[0], "baselines of a check", grid, run_baselines)
    own = probabilities_of(model, np.concatenate(altered(["map"])), workers)
    answers = np.concatenate([baselines[:3], own, baselines[3:]])[:, target].astype(float)
    on_whole, on_grey, on_blank = answers[:3]
    between = iter(answers[3:].reshape(-1, 2, len(counts) - 2))
    deletion: dict[str, np.ndarray] = {}
    insertion: dict[str, np.ndarray] = {}
    for name, same_name in orders.items():
        inner = [next(between) for _ in same_name]
        deletion[name] = np.array([[on_whole, *removing, on_grey] for removing, _ in inner])
        insertion[name] = np.array([[on_blank, *restoring, on_whole] for _, restoring in inner])
    return deletion, insertion


def _shuffled_map(
    model: AttentionModel, capture: AttentionCapture, settings: ViewSettings, first_block: int
) -> np.ndarray:
    other = shuffled_copy(model, first_block)
    again = complete_capture(other, capture_again(other, capture), settings)
    return _strength(again, settings)
