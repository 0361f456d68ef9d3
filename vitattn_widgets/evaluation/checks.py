"""Is this map worth anything? The map of one picture put to three tests, each with its numbers and a plain sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

from ..capture.backward import require_same_model
from ..capture.capture import AttentionCapture
from ..capture.forward import capture_again
from ..maps.attribution import grid_map
from ..maps.completion import complete_capture
from ..view.settings import ViewSettings
from .interventions import first_shuffled_block, probabilities_of, shuffled_copy, silence_heads
from .perturbation import BASELINES, altered_pictures, area, baseline_order, blurred, map_order, removed_counts

if TYPE_CHECKING:
    from ..models.loading import AttentionModel

STEPS = 10
"""Points of a curve after the first."""

RANDOM_ORDERS = 3
"""Random orders whose curves are averaged."""

HARDLY_CHANGED = 0.7
"""Rank correlation from which on two maps are called nearly the same."""

CLEARLY = 0.02
"""Difference of two areas, or of two probabilities, from which on one is called larger."""


@dataclass(frozen=True, eq=False)
class MapCheck:
    """What the tests of one map gave.

    Attributes:
        settings: of the map.
        class_name: the class whose probability was followed.
        probability: of that class for the whole picture.
        removed: share of the patches removed (deletion) or not yet given back (insertion, reversed), ``(points,)``.
        deletion: by order, ``"map"`` or one of `perturbation.BASELINES`, the class's probability as patches are removed
            in that order, float ``(points,)``.
        insertion: likewise as they are given back to a blurred picture.
        shuffled_from: number of the first block whose weights were shuffled.
        similarity: Spearman's rank correlation of the map with that of the shuffled model; NaN where one is constant.
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
        """Mean probability while patches are removed in an order: the lower, the more these patches mattered."""
        return area(self.deletion[order])

    def insertion_area(self, order: str = "map") -> float:
        """Mean probability while patches are given back in an order: the higher, the more these patches mattered."""
        return area(self.insertion[order])

    @property
    def sentences(self) -> tuple[str, ...]:
        """What the numbers say, in plain words."""
        return (_removal_words(self), _giving_words(self), _shuffled_words(self), _silence_words(self))

    def __str__(self) -> str:
        head = f"{'order':<8}{'deletion':>10}{'insertion':>11}"
        lines = [
            f"{order:<8}{self.deletion_area(order):>10.3f}{self.insertion_area(order):>11.3f}"
            for order in self.deletion
        ]
        return "\n".join([*self.sentences, "", head, *lines])


def check_map(model: AttentionModel, capture: AttentionCapture, settings: ViewSettings | None = None) -> MapCheck:
    """Put the map of one picture to the test; a few seconds for a tiny model on two cores.

    - **Deletion and insertion** (Petsiuk, Das and Saenko 2018, RISE, arXiv:1806.07421): patches are removed in the
      order of the raw grid map, and given back to a blurred picture; how the class's probability falls and rises.
      Removed patches show the model's mean colour. Beside it the same in random order (the mean of `RANDOM_ORDERS`),
      from the centre outwards and from the edge inwards. A removed patch is a picture the model never saw in
      training, so only the comparison between orders counts.
    - **Shuffled weights** (Adebayo et al. 2018, "Sanity Checks for Saliency Maps", arXiv:1810.03292): the same map,
      for the same class, from a copy of the model whose weights are shuffled from the last third of the blocks, or
      from the map's own block, up to the classifier. A map that hardly changes does not show what was learnt there.
    - **Silenced heads**: the class's probability with one head of the map's layer passing nothing on.

    Args:
        model: the model of the capture; it stays as it is.
        capture: from `capture_attention`.
        settings: of the map; its class, else the predicted one, is the one that is followed.

    Returns:
        The numbers, and sentences from them.

    Raises:
        SettingsError: a model without a classifier, or settings that this capture does not have.
        ModelError: another model than the capture's.
    """
    settings = settings or ViewSettings()
    require_same_model(model, capture)
    target = capture.class_or_predicted(settings.target)
    settings = replace(settings, target=target)
    capture = complete_capture(model, capture, settings)
    shown = np.abs(grid_map(capture, settings))
    layer = capture.layer_index(settings.layer)
    name = capture.layer_names[layer]

    deletion, insertion = _curves(model, capture, shown, target)
    first_block = first_shuffled_block(model, name)
    shuffled = _shuffled_map(model, capture, settings, first_block)
    constant = np.ptp(shown) == 0 or np.ptp(shuffled) == 0
    return MapCheck(
        settings=settings,
        class_name=capture.class_names[target],
        probability=float(deletion["map"][0]),
        removed=removed_counts(shown.size, _steps(shown)) / shown.size,
        deletion=deletion,
        insertion=insertion,
        shuffled_from=first_block,
        similarity=np.nan if constant else float(stats.spearmanr(shown.ravel(), shuffled.ravel()).statistic),
        layer=layer,
        silenced=silence_heads(model, capture.pixels, name, capture.num_heads(layer))[:, target],
    )


def _steps(shown: np.ndarray) -> int:
    return min(STEPS, shown.size)


def _curves(
    model: AttentionModel, capture: AttentionCapture, shown: np.ndarray, target: int
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Deletion and insertion by order; whole and empty pictures are the same for all and run once."""
    picture, grid = capture.pixels, capture.layout.grid
    counts = removed_counts(shown.size, _steps(shown))
    grey = np.broadcast_to(np.rint(255 * np.array(model.preprocessing.mean)).astype(np.uint8), picture.shape)
    blank = blurred(picture, capture.layout.patch_size)
    orders = [("map", map_order(shown))]
    orders += [("random", baseline_order("random", grid, seed)) for seed in range(RANDOM_ORDERS)]
    orders += [(name, baseline_order(name, grid)) for name in BASELINES if name != "random"]
    pictures = [picture[None], grey[None], blank[None]]
    for _, order in orders:
        pictures.append(altered_pictures(picture, grey, order, counts[1:-1], grid))
        pictures.append(altered_pictures(blank, picture, order, counts[1:-1], grid))
    answers = probabilities_of(model, np.concatenate(pictures))[:, target].astype(float)
    (whole, empty, blind), between = answers[:3], answers[3:].reshape(len(orders), 2, -1)
    curves: tuple[dict, dict] = ({}, {})
    for name in ("map", *BASELINES):
        taken, given = between[[place for place, (other, _) in enumerate(orders) if other == name]].mean(0)
        curves[0][name] = np.array([whole, *taken, empty])
        curves[1][name] = np.array([blind, *given, whole])
    return curves


def _shuffled_map(
    model: AttentionModel, capture: AttentionCapture, settings: ViewSettings, first_block: int
) -> np.ndarray:
    other = shuffled_copy(model, first_block)
    again = complete_capture(other, capture_again(other, capture), settings)
    return np.abs(grid_map(again, settings))


_PLACES = {"random": "patches at random", "centre": "the centre", "edge": "the edge"}


def _ranking(gains: Mapping[str, float], more: str, less: str) -> str:
    """Which baselines the map beats, equals and falls behind; positive differences are in its favour."""
    groups: dict[str, list[str]] = {}
    for order, gain in gains.items():
        words = f"about as much as {more.split(maxsplit=2)[2]}" if abs(gain) < CLEARLY else more if gain > 0 else less
        groups.setdefault(words, []).append(_PLACES[order])
    return "; ".join(f"{words} {_listed(names)}" for words, names in groups.items())


def _listed(names: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def _removal_words(check: MapCheck) -> str:
    gains = {order: check.deletion_area(order) - check.deletion_area() for order in BASELINES}
    ranking = _ranking(gains, "more than removing", "less than removing")
    return f"Removing first what this map marks hurts {check.class_name} {ranking}."


def _giving_words(check: MapCheck) -> str:
    gains = {order: check.insertion_area() - check.insertion_area(order) for order in BASELINES}
    ranking = _ranking(gains, "more than giving back", "less than giving back")
    return f"Giving back first what it marks helps {check.class_name} {ranking}."


def _shuffled_words(check: MapCheck) -> str:
    start = f"With the weights shuffled from block {check.shuffled_from} on"
    if np.isnan(check.similarity):
        return f"{start} there is nothing to compare: one of the two maps is constant."
    number = f"(rank correlation {check.similarity:.2f})"
    if check.similarity >= HARDLY_CHANGED:
        return f"{start} the map hardly changes {number}: it does not show what these blocks have learnt."
    return f"{start} the map becomes another {number}: it depends on what these blocks have learnt."


def _silence_words(check: MapCheck) -> str:
    where, name, before = f"layer {check.layer}", check.class_name, check.probability
    chosen = check.settings.head is not None and not check.settings.source_info.no_head
    head = check.settings.head % len(check.silenced) if chosen else int(np.abs(check.silenced - before).argmax())
    change = f"{name} goes from {before:.1%} to {check.silenced[head]:.1%}"
    if chosen:
        return f"With head {head} of {where} silenced, {change}."
    if abs(check.silenced[head] - before) < CLEARLY:
        return f"Silencing any one head of {where} leaves {name} at about {before:.1%}."
    return f"Of the heads of {where}, head {head} matters most: with it silenced, {change}."
