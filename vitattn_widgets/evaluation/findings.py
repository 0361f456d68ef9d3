"""What the numbers of a check mean: which differences count, in plain words."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..view.captions import listed

HARDLY_CHANGED = 0.7
"""Rank correlation from which two maps count as nearly the same."""

CLEARLY = 0.02
"""Difference between two areas, or two probabilities, up to which they count as equal in any case."""

_STARTS = {"random": "at random", "centre": "from the centre", "edge": "from the edge"}

_RANKS = {1: "more than", 0: "about as much as", -1: "less than"}

_TOGETHER = {
    (1, 1): "better than",
    (0, 1): "better by one of two tests than",
    (0, 0): "no better than",
    (-1, 1): "better by one test and worse by the other than",
    (-1, 0): "worse by one of two tests than",
    (-1, -1): "worse than",
}
"""What the results of both tests, the lesser first, say together."""

_RIVALS = {"random": "chance", "centre": "the centre", "edge": "the edge"}


def outcomes(gains: Mapping[str, float], own: float, interval: tuple[float, float]) -> dict[str, int]:
    """Whether a map is better than each baseline (1), as good (0) or worse (-1).

    Convention: the areas of several random orders show how far apart orders are by luck alone. A map differs from
    chance if its area lies outside their interval; it differs from another order if the two areas are further apart
    than any two of the random orders. Differences up to `CLEARLY` never count.

    Args:
        gains: by baseline order, how much better the map's area is.
        own: the map's area.
        interval: smallest and largest area of the random orders.
    """
    low, high = interval
    results = {}
    for order, gain in gains.items():
        by_luck = low <= own <= high if order == "random" else abs(gain) <= high - low
        results[order] = 0 if by_luck or abs(gain) <= CLEARLY else 1 if gain > 0 else -1
    return results


def ranking(results: Mapping[str, int], doing: str) -> str:
    """Which baselines a map beats, equals and falls behind in one test, such as "more than removing them at random"."""
    groups: dict[int, list[str]] = {}
    for order, result in results.items():
        groups.setdefault(result, []).append(_STARTS[order])
    return "; ".join(f"{_RANKS[result]} {doing} {listed(starts, 'or')}" for result, starts in groups.items())


def verdict_words(deletion: Mapping[str, int], insertion: Mapping[str, int], similarity: float) -> str:
    """What both tests of the order and the shuffled weights say together, in one short sentence.

    Convention: a map is better than a baseline if both tests say so. Of the centre and the edge, one is not named if
    the map wins against it alone.

    Args:
        deletion: the results of `outcomes` for this test.
        insertion: the same for this one.
        similarity: rank correlation with the map of the shuffled model; may be NaN.
    """
    pairs = {order: (deletion[order], insertion[order]) for order in _RIVALS}
    results = {order: (min(pair), max(pair)) for order, pair in pairs.items()}
    won = [order for order in ("centre", "edge") if results[order] in ((0, 1), (1, 1))]
    groups: dict[str, list[str]] = {}
    for order, rival in _RIVALS.items():
        if won != [order]:
            groups.setdefault(_TOGETHER[results[order]], []).append(rival)
    parts = [
        f"{words} {listed(rivals, 'and' if words.startswith('better') else 'or')}" for words, rivals in groups.items()
    ]
    verdict = ", ".join(parts)
    if similarity >= HARDLY_CHANGED:
        verdict += ", and hardly changed by shuffled weights"
    return f"{verdict[0].upper()}{verdict[1:]}."


def shuffled_words(first: int, part: str, similarity: float) -> str:
    """What the map of the model with shuffled weights says.

    Args:
        first: number of the first part with shuffled weights.
        part: ``"block"`` or ``"layer"``.
        similarity: rank correlation of the two maps; may be NaN.
    """
    start = f"With the weights shuffled from {part} {first} on,"
    if np.isnan(similarity):
        return f"{start} there is nothing to compare: one of the two maps is constant."
    number = f"(rank correlation {similarity:.2f})"
    if similarity >= HARDLY_CHANGED:
        return f"{start} the map hardly changes {number}: it does not show what these {part}s have learnt."
    return f"{start} the map changes {number}: it depends on what these {part}s have learnt."


def silenced_words(name: str, layer: int, before: float, silenced: np.ndarray, head: int | None) -> str:
    """What the silenced heads say: of the given head, or of the one whose silencing costs most.

    Args:
        name: of the class.
        layer: number of the layer.
        before: the class's probability with all heads.
        silenced: its probability with each head silenced in turn, ``(heads,)``.
        head: number of the map's head; None if it has none.
    """
    if head is not None:
        head %= len(silenced)
        return f"With head {head} of layer {layer} silenced, {name} goes from {before:.1%} to {silenced[head]:.1%}."
    lowest, highest = int(silenced.argmin()), int(silenced.argmax())
    fall, rise = before - silenced[lowest], silenced[highest] - before
    whole, left = f"{before:.1%}", f"{silenced[lowest]:.1%}"
    start = f"Of the heads of layer {layer},"
    if fall >= CLEARLY:
        return f"{start} head {lowest} matters most: with it silenced, {name} goes from {whole} to {left}."
    words = f"{start} none matters much to {name}: "
    if fall > 0 and left != whole:
        words += f"at most, with head {lowest} silenced, it falls from {whole} to {left}."
    else:
        words += f"with any one silenced, it stays at {whole} or above."
    if rise >= CLEARLY:
        words += f" With head {highest} silenced, it rises to {silenced[highest]:.1%}."
    return words
