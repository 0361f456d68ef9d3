"""The findings of a sweep in plain sentences, and what its numbers mean and do not mean."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ...evaluation.measures import FLAT_PART, border_share, uniform_map
from ...maps.aggregate import FORMULAS
from ...models.tokens import query_words
from ..measure import SINK_PHOTOS
from ..result import LEAST, Difference
from .html import percent

if TYPE_CHECKING:
    from ..result import SweepResult

FEW = 20
"""Size of a group below which an interval is rough."""

CAVEATS = (
    "A bright patch received attention from one token in one layer. That does not make it the reason for the "
    "prediction; vitattn map --source contribution_sum shows what the classifier used.",
    "Sinks draw attention whatever the picture shows. If a model has them on the border, a high border share means "
    "little, so each share is also given without them.",
    "Right and wrong predictions differ in more than their maps: in classes, framing and difficulty. A difference is a "
    "reason to look closer, not an explanation.",
    "The intervals assume independent photos. Copies of one photo, or photos from one session, make them too narrow.",
    "Attention on the border or on flat ground is correct where the object itself reaches the border or is smooth: the "
    "flat patches are those in which brightness varies least, whatever they show.",
)


GLOSSARY = {
    "confidence": "the model's probability of its prediction",
    "right": "whether the prediction is the photo's class, by name; empty if the model has no such class",
    "prefix_share": "attention on the class token and registers, which the map leaves out (mean over heads); all other "
    "numbers are about the patches alone",
    "border_share": "share of the map in its outermost patches",
    "border_share_without_sinks": "the same, with the model's sinks left out",
    "flat_share": f"share of the map on the {percent(FLAT_PART)} of the photo's patches whose brightness varies least",
    "flat_share_without_sinks": "the same, with the model's sinks left out",
    "entropy": "0 for a map on a single patch, 1 for a uniform map (Shannon)",
    "head_agreement": "1 minus the Jensen-Shannon divergence of the heads: 1 if all attend to the same patches",
    "sink_share": f"share of the map on the model's sinks: patches that are sinks (va.find_sinks) in at least half of "
    f"{SINK_PHOTOS} photos spread over the set",
    "mass_on_mask": "share of the map on the mask, before smoothing; pixels that the mask leaves open do not count",
    "mask_area": "the same share for a uniform map",
    "look_first": "1 for the photo whose border or flat share, sinks left out, is furthest above the set's median, in "
    "interquartile ranges",
}
"""The columns of the table that need an explanation."""


def map_words(result: SweepResult) -> str:
    """A sentence that says which map was measured."""
    facts, options = result.state.facts, result.state.identity["options"]
    layer = result.layers[-1]
    others = f" (also measured: {', '.join(map(str, result.layers[:-1]))})" if len(result.layers) > 1 else ""
    formula = FORMULAS[options["aggregation"]].format(heads="the").replace("the heads", "all heads")
    rows, cols = result.grid
    return (
        f"Plain attention of layer {layer} of 0..{facts['num_layers'] - 1}{others}, {formula}, query: "
        f"{query_words(facts['query'])}, {rows} x {cols} patches."
    )


def findings(result: SweepResult) -> list[str]:
    """The findings, one sentence each."""
    photos = result.of_layer()
    uniform = border_share(uniform_map(result.grid))
    lines = [
        f"On average {percent(photos['border_share'].mean())} of a map is on the outermost patches; a uniform map "
        f"has {percent(uniform)} there. {_sink_words(result)}"
    ]
    border = result.right_and_wrong()
    if border is not None:
        lines.append(_difference_words("on the border", border))
        without_sinks = result.right_and_wrong("border_share_without_sinks")
        if without_sinks is not None and result.sinks(result.layers[-1]).any():
            lines.append(_difference_words("on the border, sinks left out,", without_sinks))
        counts = photos["right"].value_counts()
        if LEAST <= counts.min() < FEW:
            fewer = "right" if counts[True] < counts[False] else "wrong"
            lines.append(f"With only {counts.min()} {fewer} predictions, such an interval is rough.")
    flat = photos["flat_share"].mean()
    lines.append(
        f"{percent(flat)} is on the flattest quarter of each photo, where a uniform map has {percent(FLAT_PART)}: "
        f"{_compared(flat, FLAT_PART)}."
    )
    if "mass_on_mask" in photos:
        masked = photos.dropna(subset=["mass_on_mask"])
        mass, area = masked["mass_on_mask"].mean(), masked["mask_area"].mean()
        lines.append(
            f"In {len(masked):,} photos with a mask, {percent(mass)} of a map is on it; the mask covers "
            f"{percent(area)} of what the model saw: {_compared(mass, area)}."
        )
    return lines


def _compared(share: float, uniform: float) -> str:
    if abs(share - uniform) < 0.02:
        return "about as much as by chance"
    return f"{'more' if share > uniform else 'less'} than by chance"


def _sink_words(result: SweepResult) -> str:
    sinks, photos = result.sinks(result.layers[-1]), result.of_layer()
    if not sinks.any():
        return "In this layer, the model has no sinks at places that are the same in every picture."
    inside = sinks[1:-1, 1:-1].sum()
    where = (
        "on the border"
        if not inside
        else "inside"
        if inside == sinks.sum()
        else f"{sinks.sum() - inside} on the border"
    )
    rest = percent(photos["border_share_without_sinks"].mean())
    many = sinks.sum() > 1
    return (
        f"The model has {sinks.sum()} sink patch{'es' if many else ''} ({where}), which hold{'' if many else 's'} "
        f"{percent(photos['sink_share'].mean())} of a map whatever the picture; of the rest, {rest} is on the border."
    )


def _difference_words(where: str, gap: Difference) -> str:
    right, wrong = percent(gap.right), percent(gap.wrong)
    words = f"{right} of a map is {where} if the prediction is right, {wrong} if it is wrong"
    if np.isnan(gap.low):
        return f"{words}: {gap.interval}."
    if gap.low <= 0 <= gap.high:
        return f"{words}: these photos show no difference ({gap.interval})."
    return f"{words}: wrong predictions have {'more' if gap.low > 0 else 'less'} there ({gap.interval})."
