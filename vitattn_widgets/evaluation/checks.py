"""Is this map worth anything? Three tests of one picture's map, each with its numbers and a plain sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

from ..capture.capture import AttentionCapture
from ..capture.forward import capture_again, require_same_model
from ..maps.attribution import grid_map
from ..maps.completion import complete_capture
from ..view.settings import ViewSettings
from .interventions import first_shuffled_block, probabilities_of, shuffled_copy, silence_heads
from .perturbation import BASELINE_ORDERS, altered_pictures, area, baseline_order, blurred, map_order, removed_counts

if TYPE_CHECKING:
    from ..models.loading import AttentionModel

STEPS = 10
"""Points of a curve, not counting the first."""

RANDOM_ORDERS = 3
"""How many random orders the random curve averages."""

HARDLY_CHANGED = 0.7
"""Rank correlation from which two maps count as nearly the same."""

CLEARLY = 0.02
"""Difference between two areas, or two probabilities, from which one counts as larger."""


@dataclass(frozen=True, eq=False)
class MapCheck:
    """The results of testing one map.

    Attributes:
        settings: of the map.
        class_name: the class whose probability was followed.
        probability: of that class for the whole picture.
        removed: share of the patches removed (deletion) or restored (insertion) at each point, ``(points,)``.
        deletion: by order, ``"map"`` or one of `perturbation.BASELINE_ORDERS`: the class's probability as patches are
            removed in that order, float ``(points,)``.
        insertion: the same as they are restored on a blurred picture.
        shuffled_from: number of the first block whose weights were shuffled.
        similarity: Spearman's rank correlation between the map and the shuffled model's; NaN where one is constant.
        layer: number of the layer whose heads were silenced.
        silenced: the class's probability with each head of that layer silenced in turn, float ``(heads,)``.
    """

    settings: ViewSettings
    class_name: str
    probability: float
    removed: np.ndarray
    deletion: Mapping[str, np.ndarray]
    insertion: Mapping[str, np.ndarray]
    shuffled_from: int
    similarity: float
    layer: int
    silenced: np.ndarray

    def deletion_area(self, order: str = "map") -> float:
        """Mean probability while patches are removed in an order; the lower, the more the early ones mattered."""
        return area(self.deletion[order])

    def insertion_area(self, order: str = "map") -> float:
        """Mean probability while patches are restored in an order; the higher, the more the early ones mattered."""
        return area(self.insertion[order])

    @property
    def sentences(self) -> tuple[str, ...]:
        """What the numbers say, in plain words."""
        return (_deletion_words(self), _insertion_words(self), _shuffled_words(self), _silence_words(self))

    def __str__(self) -> str:
        head = f"{'order':<8}{'deletion':>10}{'insertion':>11}"
        lines = [
            f"{order:<8}{self.deletion_area(order):>10.3f}{self.insertion_area(order):>11.3f}"
            for order in self.deletion
        ]
        return "\n".join([*self.sentences, "", head, *lines])


def check_map(model: AttentionModel, capture: AttentionCapture, settings: ViewSettings | None = None) -> MapCheck:
    """Test the map of one picture; takes a few seconds for a tiny model on two cores.

    - **Deletion and insertion** (Petsiuk, Das and Saenko 2018, RISE, arXiv:1806.07421): how the class's probability
      falls as patches are removed in the order of the raw grid map, and rises as they are restored on a blurred
      picture. Removed patches show the model's mean colour. The baselines are random order (the mean of
      `RANDOM_ORDERS`), from the centre outwards and from the edge inwards. The model never saw pictures with missing
      patches in training, so only the comparison between orders counts.
    - **Shuffled weights** (Adebayo et al. 2018, "Sanity Checks for Saliency Maps", arXiv:1810.03292): the same map,
      for the same class, from a copy of the model whose weights are shuffled from the last third of the blocks, or
      from the map's own block, up to the classifier. A map that hardly changes does not show what was learnt there.
    - **Silenced heads**: the class's probability while one head of the map's layer passes nothing on.

    Args:
        model: the capture's model; it is left unchanged.
        capture: from `capture_attention`.
        settings: of the map; the class followed is theirs, else the predicted one.

    Returns:
        The numbers, with sentences that state what they mean.

    Raises:
        SettingsError: the model has no classifier, or the capture does not have what the settings name.
        ModelError: the capture is of another model.
    """
    settings = settings or ViewSettings()
    require_same_model(model, capture)
    target = capture.class_or_predicted(settings.target)
    settings = replace(settings, target=target)
    capture = complete_capture(model, capture, settings)
    strength = np.abs(grid_map(capture, settings))
    layer = capture.layer_index(settings.layer)
    name = capture.layer_names[layer]

    deletion, insertion = _curves(model, capture, strength, target)
    first_block = first_shuffled_block(model, name)
    shuffled = _shuffled_map(model, capture, settings, first_block)
    constant = np.ptp(strength) == 0 or np.ptp(shuffled) == 0
    return MapCheck(
        settings=settings,
        class_name=capture.class_names[target],
        probability=float(deletion["map"][0]),
        removed=removed_counts(strength.size, _steps(strength)) / strength.size,
        deletion=deletion,
        insertion=insertion,
        shuffled_from=first_block,
        similarity=np.nan if constant else float(stats.spearmanr(strength.ravel(), shuffled.ravel()).statistic),
        layer=layer,
        silenced=silence_heads(model, capture.pixels, name, capture.num_heads(layer))[:, target],
    )


def _steps(strength: np.ndarray) -> int:
    return min(STEPS, strength.size)


def _curves(
    model: AttentionModel, capture: AttentionCapture, strength: np.ndarray, target: int
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """The deletion and the insertion curve of each order."""
    picture, grid = capture.pixels, capture.layout.grid
    counts = removed_counts(strength.size, _steps(strength))
    grey = np.broadcast_to(np.rint(255 * np.array(model.preprocessing.mean)).astype(np.uint8), picture.shape)
    blank = blurred(picture, capture.layout.patch_size)
    orders = [("map", map_order(strength))]
    orders += [("random", baseline_order("random", grid, seed)) for seed in range(RANDOM_ORDERS)]
    orders += [(name, baseline_order(name, grid)) for name in BASELINE_ORDERS if name != "random"]
    # every curve shares its end points: the whole, the empty and the blurred picture run only once
    pictures = [picture[None], grey[None], blank[None]]
    for _, order in orders:
        pictures.append(altered_pictures(picture, grey, order, counts[1:-1], grid))
        pictures.append(altered_pictures(blank, picture, order, counts[1:-1], grid))
    answers = probabilities_of(model, np.concatenate(pictures))[:, target].astype(float)
    (on_whole, on_grey, on_blank), between = answers[:3], answers[3:].reshape(len(orders), 2, -1)
    deletion: dict[str, np.ndarray] = {}
    insertion: dict[str, np.ndarray] = {}
    for name in ("map", *BASELINE_ORDERS):
        same_name = [index for index, (other, _) in enumerate(orders) if other == name]
        removing, restoring = between[same_name].mean(0)
        deletion[name] = np.array([on_whole, *removing, on_grey])
        insertion[name] = np.array([on_blank, *restoring, on_whole])
    return deletion, insertion


def _shuffled_map(
    model: AttentionModel, capture: AttentionCapture, settings: ViewSettings, first_block: int
) -> np.ndarray:
    other = shuffled_copy(model, first_block)
    again = complete_capture(other, capture_again(other, capture), settings)
    return np.abs(grid_map(again, settings))


_STARTS = {"random": "at random", "centre": "from the centre", "edge": "from the edge"}


def _ranking(gains: Mapping[str, float], doing: str) -> str:
    """Which baselines the map beats, equals and falls behind; positive differences are in its favour."""
    groups: dict[str, list[str]] = {}
    for order, gain in gains.items():
        verdict = "about as much as" if abs(gain) < CLEARLY else "more than" if gain > 0 else "less than"
        groups.setdefault(verdict, []).append(_STARTS[order])
    return "; ".join(f"{verdict} {doing} {_listed(starts)}" for verdict, starts in groups.items())


def _listed(names: Sequence[str]) -> str:
    return " or ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def _deletion_words(check: MapCheck) -> str:
    gains = {order: check.deletion_area(order) - check.deletion_area() for order in BASELINE_ORDERS}
    ranking = _ranking(gains, "removing them")
    return f"Removing patches in the order of this map hurts {check.class_name} {ranking}."


def _insertion_words(check: MapCheck) -> str:
    gains = {order: check.insertion_area() - check.insertion_area(order) for order in BASELINE_ORDERS}
    ranking = _ranking(gains, "restoring them")
    return f"Restoring patches in this order helps {check.class_name} {ranking}."


def _shuffled_words(check: MapCheck) -> str:
    start = f"With the weights shuffled from block {check.shuffled_from} on,"
    if np.isnan(check.similarity):
        return f"{start} there is nothing to compare: one of the two maps is constant."
    number = f"(rank correlation {check.similarity:.2f})"
    if check.similarity >= HARDLY_CHANGED:
        return f"{start} the map hardly changes {number}: it does not show what these blocks have learnt."
    return f"{start} the map changes {number}: it depends on what these blocks have learnt."


def _silence_words(check: MapCheck) -> str:
    where, name, before = f"layer {check.layer}", check.class_name, check.probability
    chosen = None if check.settings.source_info.no_head else check.settings.head
    head = int(np.abs(check.silenced - before).argmax()) if chosen is None else chosen % len(check.silenced)
    change = f"{name} goes from {before:.1%} to {check.silenced[head]:.1%}"
    if chosen is not None:
        return f"With head {head} of {where} silenced, {change}."
    if abs(check.silenced[head] - before) < CLEARLY:
        return f"Silencing any one head of {where} leaves {name} at about {before:.1%}."
    return f"Of the heads of {where}, head {head} matters most: with it silenced, {change}."
