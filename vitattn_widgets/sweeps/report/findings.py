"""What a sweep found, in plain sentences, and what its numbers are and are not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ...evaluation.measures import FLAT_PART, border_share, uniform_map
from ...maps.aggregate import FORMULAS
from ...models.tokens import query_words
from ..measure import SINK_PHOTOS
from ..result import LEAST, Difference

if TYPE_CHECKING:
    from ..result import SweepResult

FEW = 20
"""Fewer photos than this in a group make a rough interval."""

CAVEATS = (
    "A bright patch was looked at by one token in one layer. That does not make it the reason for the answer; vitattn "
    "map --source gradient_late asks what the classifier used.",
    "Sinks draw attention whatever the picture shows. Where a model has them on the border, a high border share says "
    "little, so each share is given without them as well.",
    "Right and wrong predictions differ in more than their maps: classes, framing and difficulty differ too. A "
    "difference is a reason to look, not its cause.",
    "Intervals take photos as drawn one by one. Copies of one photo, or photos of one session, make them too narrow.",
    "Attention on the border or on flat ground is as it should be where the thing itself reaches the border or is "
    "smooth: flat are the patches in which brightness varies least, whatever they show.",
)


def percent(share: float) -> str:
    """A share as people read it; its sign does not part from it at the end of a line."""
    return f"{100 * share:.{1 if share < 0.0995 else 0}f}\u00a0%"


GLOSSARY = {
    "confidence": "the model's probability of its prediction",
    "right": "whether the prediction is the photo's class, by name; empty where the model has no such class",
    "prefix_share": "what went to class token and registers and is left out of the map (mean over heads); all other "
    "numbers are of the patches alone",
    "border_share": "share of the map in its outermost patches",
    "border_share_without_sinks": "likewise, of what is left when the model's sinks are taken away",
    "flat_share": f"share of the map on the {percent(FLAT_PART)} of the photo's patches whose brightness varies least",
    "flat_share_without_sinks": "likewise, of what is left when the model's sinks are taken away",
    "entropy": "0 for a map on one patch, 1 for one that is the same everywhere (Shannon)",
    "head_agreement": "1 minus the Jensen-Shannon divergence of the heads: 1 where all look at the same patches",
    "sink_share": f"share of the map on the model's sinks: patches that are sinks (va.find_sinks) in at least half of "
    f"{SINK_PHOTOS} photos spread over the set",
    "mass_on_mask": "share of the map on the mask, before smoothing; pixels that the mask leaves open do not count",
    "mask_area": "what a uniform map would have there",
    "look_first": "1 for the photo whose border or flat share, sinks left out, lies furthest above the set's median, "
    "in interquartile ranges",
}
"""The columns of the table that need a word."""


def shown_words(result: SweepResult) -> str:
    """Which map was measured."""
    facts, options = result.state.facts, result.state.identity["options"]
    layer = result.layers[-1]
    others = f" (also measured: {', '.join(map(str, result.layers[:-1]))})" if len(result.layers) > 1 else ""
    how = FORMULAS[options["aggregation"]].format(heads="the").replace("the heads", "all heads")
    rows, cols = result.grid
    return (
        f"Plain attention of layer {layer} of 0..{facts['num_layers'] - 1}{others}, {how}, query: "
        f"{query_words(facts['query'])}, {rows} x {cols} patches."
    )


def findings(result: SweepResult) -> list[str]:
    """What the numbers say, a sentence each."""
    photos = result.of_layer()
    uniform = border_share(uniform_map(result.grid))
    lines = [
        f"On average {percent(photos['border_share'].mean())} of a map lies on the outermost patches; a map that is "
        f"the same everywhere has {percent(uniform)} there. {_sink_words(result)}"
    ]
    found = result.right_and_wrong()
    if found is not None:
        lines.append(_difference_words("on the border", found))
        if result.sinks(result.layers[-1]).any():
            kept = result.right_and_wrong("border_share_without_sinks")
            lines.append(_difference_words("on the border, sinks left out,", kept))
        counts = photos["right"].value_counts()
        if LEAST <= counts.min() < FEW:
            fewer = "right" if counts[True] < counts[False] else "wrong"
            lines.append(f"With only {counts.min()} {fewer} predictions such an interval is rough.")
    flat = photos["flat_share"].mean()
    lines.append(
        f"{percent(flat)} lies on the flattest quarter of each photo, where a map that is the same everywhere has "
        f"{percent(FLAT_PART)}: {_compared(flat, FLAT_PART)}."
    )
    if "mass_on_mask" in photos:
        masked = photos.dropna(subset=["mass_on_mask"])
        mass, area = masked["mass_on_mask"].mean(), masked["mask_area"].mean()
        lines.append(
            f"In {len(masked):,} photos with a mask, {percent(mass)} of a map lies on it; it covers {percent(area)} "
            f"of what the model saw: {_compared(mass, area)}."
        )
    return lines


def _compared(share: float, uniform: float) -> str:
    if abs(share - uniform) < 0.02:
        return "about what chance gives"
    return f"{'more' if share > uniform else 'less'} than chance gives"


def _sink_words(result: SweepResult) -> str:
    sinks, photos = result.sinks(result.layers[-1]), result.of_layer()
    if not sinks.any():
        return "The model has no sink patches in this layer that lie in the same place in every picture."
    inside = sinks[1:-1, 1:-1].sum()
    where = (
        "on the border"
        if not inside
        else "inside"
        if inside == sinks.sum()
        else f"{sinks.sum() - inside} on the border"
    )
    kept = percent(photos["border_share_without_sinks"].mean())
    many = sinks.sum() > 1
    return (
        f"The model has {sinks.sum()} sink patch{'es' if many else ''} ({where}), which hold{'' if many else 's'} "
        f"{percent(photos['sink_share'].mean())} of a map whatever the picture; of the rest, {kept} lies on the border."
    )


def _difference_words(where: str, found: Difference) -> str:
    right, wrong = percent(found.right), percent(found.wrong)
    words = f"{right} of a map lies {where} where the prediction is right, {wrong} where it is wrong"
    if np.isnan(found.low):
        return f"{words}: {found.interval}."
    if found.low <= 0 <= found.high:
        return f"{words}: no difference that these photos could show ({found.interval})."
    return f"{words}: wrong predictions have {'more' if found.low > 0 else 'less'} there ({found.interval})."
