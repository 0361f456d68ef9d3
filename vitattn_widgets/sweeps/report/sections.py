"""The sections of a sweep's report that show its maps and its table."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

import numpy as np

from ...evaluation.measures import MEASURES, border_share, uniform_map
from ...view.encode import data_url
from ..measure import SWEPT
from .charts import Group, MapScale, color_bar, map_tile, mirrored
from .highlights import SIGNS, Highlight
from .html import breakable, percent, section

if TYPE_CHECKING:
    from pandas import DataFrame

    from ..result import SweepResult

MAX_CLASSES = 24
"""Largest number of classes with a mean map and with a line in the table by class; the files hold all."""

FEW = 5
"""Number of photos below which a mean map says little."""


def mean_map_section(result: SweepResult) -> str:
    """Mean maps of all photos, of right and wrong predictions, and of the commonest classes."""
    layer = result.layers[-1]
    sinks, cells = result.sinks(layer), result.grid[0] * result.grid[1]
    by_class = result.by_class()
    sizes = by_class["photos"]
    of_class = {name: result.on_grid(maps) * cells for name, maps in result.mean_maps.items()}
    commonest = sizes.sort_values(ascending=False, kind="stable").index[:MAX_CLASSES]
    # in the order of the table: highest border share first
    chosen = [name for name in by_class.index if name in set(commonest) and name in of_class]
    whole = sum(of_class[name] * sizes[name] for name in of_class) / sizes.sum()
    tiles = [("all photos", whole, f"{sizes.sum():,}")]
    verdicts = result.of_layer()["right"].value_counts()
    for verdict, maps in result.right_maps.items():
        tiles.append((f"{verdict} predictions", result.on_grid(maps) * cells, f"{verdicts[verdict == 'right']:,}"))
    tiles += [(name, of_class[name], f"{sizes[name]:,}") for name in chosen]
    scale = MapScale.of([tile for _, tile, _ in tiles], sinks)
    figures = "".join(
        f"<figure>{map_tile(tile, scale, sinks, f'mean map of {name}')}"
        f"<figcaption>{escape(name)} <small>{count}</small></figcaption></figure>"
        for name, tile, count in tiles
    )
    notes = ["One square per patch, one scale for all; highest border share first. The numbers count photos."]
    if sinks.any():
        notes.append("Framed patches are the model's sinks, which the scale ignores.")
    if sizes.median() < FEW:
        notes.append(f"Most classes have fewer than {FEW} photos: their mean maps say little.")
    if len(chosen) < len(of_class):
        notes.append(
            f"These are the {len(chosen)} commonest of {len(of_class):,}; all are in "
            f"{result.folder.name}/mean_maps.npz."
        )
    title = "Mean map by class" if result.has_classes else "Mean map by predicted class"
    return section(
        title, f'<p class="note">{escape(" ".join(notes))}</p>{color_bar(scale)}<div class="maps">{figures}</div>'
    )


def difference_section(result: SweepResult) -> str:
    """Border shares of right and wrong predictions, and their difference."""
    title = "On the border: right and wrong predictions"
    photos = result.of_layer()
    if result.right_and_wrong() is None:
        why = "No photo has a class that the model has, so it is unknown which predictions are right."
        if photos["right"].notna().any():
            only = "right" if photos["right"].dropna().all() else "wrong"
            why = f"All predictions are {only}, so there is nothing to compare."
        return section(title, f"<p>{why}</p>")
    measures = ["border_share"] + ["border_share_without_sinks"] * bool(result.sinks(result.layers[-1]).any())
    figures = []
    for measure in measures:
        gap = result.right_and_wrong(measure)
        if gap is None:
            continue
        known = photos.dropna(subset=["right", measure])
        right, wrong = (
            Group(words, known.loc[known["right"] == verdict, measure].to_numpy(), words)
            for words, verdict in (("right", True), ("wrong", False))
        )
        uniform = border_share(uniform_map(result.grid)) if measure == "border_share" else None
        name = f"Share {MEASURES[measure]}"
        figures.append(
            f"<figure><h3>{name}</h3>{mirrored(right, wrong, name, uniform)}<figcaption>Wrong minus right: "
            f"<b>{gap.difference:+.3f}</b>, {gap.interval} (over photos). Each half shows shares of its own photos."
            "</figcaption></figure>"
        )
    return section(title, f'<div class="plots">{"".join(figures)}</div>')


def highlight_section(result: SweepResult, highlights: Sequence[Highlight]) -> str:
    """The photos to look at first, with the reasons."""
    if not highlights:
        return ""
    sinks = " with the model's sinks left out" if result.sinks(result.layers[-1]).any() else ""
    rule = (
        f"The {len(highlights)} photos whose share on the border or on flat ground{sinks} is furthest above the set's "
        "median, in interquartile ranges: the signs of overfitting named by Calderaro et al. 2023. Some photo always "
        "comes first; being here is a reason to look, not a verdict. The table's column look_first ranks all photos."
    )
    return section(
        "Look at these first", f'<p class="note">{escape(rule)}</p><div class="cards">{_cards(highlights)}</div>'
    )


def _cards(highlights: Sequence[Highlight]) -> str:
    cards = []
    for number, card in enumerate(highlights, 1):
        prediction = f"{escape(card.predicted)} <small>{percent(card.confidence)}</small>" if card.predicted else ""
        verdict = {True: '<i class="right">right</i>', False: '<i class="wrong">wrong</i>', None: ""}[card.right]
        label = f"<dt>class</dt><dd>{escape(card.label)}</dd>" if card.label else ""
        answer = f"<dt>predicted</dt><dd>{prediction} {verdict}</dd>" if prediction else ""
        why = "".join(f"<li>{escape(reason)}</li>" for reason in card.reasons)
        pictures = "".join(
            f'<img src="{data_url(picture, "image/jpeg")}" alt="{escape(words)}">'
            for picture, words in (
                (card.view, f"{card.photo}: what the model saw"),
                (card.overlay, f"its map: {card.caption}"),
            )
        )
        cards.append(
            f'<article><div class="pair">{pictures}</div><h3><span>{number}</span> {breakable(card.photo)}</h3>'
            f'<ul class="why">{why}</ul><dl>{label}{answer}</dl>'
            f"<details><summary>what the map is</summary><p>{escape(card.caption)}</p></details></article>"
        )
    return "".join(cards)


def class_section(result: SweepResult) -> str:
    """The table of means by class."""
    table = result.by_class()
    if len(table) < 2:
        return ""
    top = table.head(MAX_CLASSES)
    without_sinks = not result.sinks(result.layers[-1]).any()
    left_out = [name for name in (*SIGNS, "sink_share") if without_sinks]
    left_out += [] if top["accuracy"].notna().any() else ["accuracy"]
    note = "Means over photos, highest border share first"
    if len(top) < len(table):
        note += f"; {len(table) - len(top):,} more classes in the table file"
    title = "By class" if result.has_classes else "By predicted class"
    return section(title, f'<p class="note">{note}.</p>{_table(top.drop(columns=left_out), "class")}')


def layer_section(result: SweepResult) -> str:
    """The table of means by layer."""
    if len(result.layers) < 2:
        return ""
    names = [name for name in SWEPT if name in result.table]
    return section("By layer", _table(result.table.groupby("layer")[names].mean(), "layer"))


def _table(table: DataFrame, first: str) -> str:
    headings = "".join(f"<th>{escape(MEASURES.get(name, name))}</th>" for name in table)
    cells = {
        name: "".join(f"<td>{_number(column, line[column])}</td>" for column in table)
        for name, line in table.iterrows()
    }
    lines = "".join(f"<tr><th>{breakable(str(name))}</th>{values}</tr>" for name, values in cells.items())
    head = f"<thead><tr><th>{first}</th>{headings}</tr></thead>"
    return f'<div class="wide"><table>{head}<tbody>{lines}</tbody></table></div>'


def _number(column: str, value: float) -> str:
    if np.isnan(value):
        return "–"
    return f"{int(value):,}" if column == "photos" else f"{value:.3f}"
