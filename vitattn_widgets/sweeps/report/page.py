"""A sweep's report: one web page that needs nothing but itself, on a screen, a phone and paper."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from datetime import date
from html import escape
from importlib.resources import files
from typing import TYPE_CHECKING

import numpy as np

from ...evaluation.measures import FLAT_PART, MEASURES, border_share, uniform_map
from ...view.encode import data_url
from ..measure import SINK_PHOTOS, SWEPT
from .charts import Group, MapScale, color_bar, map_tile, mirrored
from .findings import CAVEATS, GLOSSARY, findings, percent, shown_words
from .highlights import SIGNS, Card

if TYPE_CHECKING:
    from pandas import DataFrame

    from ..result import SweepResult

MOST_CLASSES = 24
"""Classes whose mean map is shown, and lines of the table by class; all are in the files."""

MOST_SKIPPED = 40
"""Lines about files that could not be read; all are in ``skipped.txt``."""

FEW = 5
"""Below so many photos a mean map says little."""


def report_page(result: SweepResult, cards: Sequence[Card]) -> str:
    """The whole report as HTML.

    Args:
        result: of the sweep; its report need not exist yet.
        cards: from `draw_cards`.
    """
    style = (files(__package__) / "page.css").read_text(encoding="utf-8")
    sections = [
        _head(result),
        _headline(result),
        _section("What was found", _list(findings(result))),
        _section("Before you believe it", _list(CAVEATS)),
        _maps(result),
        _right_and_wrong(result),
        _cards(result, cards),
        _by_class(result),
        _by_layer(result),
        _skipped(result),
        _section("What the numbers are", _glossary(result)),
        _recipe(result),
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(result.title)}</title><style>{style}</style></head><body><main>"
        f"{''.join(sections)}</main></body></html>\n"
    )


def _section(title: str, content: str) -> str:
    return f"<section><h2>{escape(title)}</h2>{content}</section>" if content else ""


def _list(lines: Sequence[str]) -> str:
    return f"<ul>{''.join(f'<li>{escape(line)}</li>' for line in lines)}</ul>"


def _head(result: SweepResult) -> str:
    identity = result.state.identity
    made = ""
    if result.state.facts["stand_in"]:
        made = (
            '<p class="made"><b>Stand-in.</b> These pictures were made by code, in place of a data set that was not on '
            "this computer. What is found here says nothing about photos.</p>"
        )
    return (
        f"<header><h1>Where {_breakable(identity['model']['name'])} looks</h1>"
        f"<p class='lead'>{escape(identity['data']['title'])}. {escape(shown_words(result))}</p>{made}</header>"
    )


def _breakable(name: str) -> str:
    """A long name that may break after its joints."""
    return escape(name).replace("_", "_<wbr>").replace(".", ".<wbr>")


def _headline(result: SweepResult) -> str:
    photos = result.of_layer()
    uniform = border_share(uniform_map(result.grid))
    sinks = result.sinks(result.layers[-1])
    counted = photos["right"].dropna()
    tiles = [("photos", f"{len(photos):,}", f"{len(result.mean_maps):,} {_group_words(result)}")]
    if len(counted):
        low, high = wilson(int(counted.sum()), len(counted))
        tiles.append(("accuracy", percent(counted.mean()), f"95\u00a0% interval {percent(low)} to {percent(high)}"))
    tiles.append(("on the border", percent(photos["border_share"].mean()), f"a uniform map has {percent(uniform)}"))
    if sinks.any():
        kept = photos["border_share_without_sinks"].mean()
        hold = photos["sink_share"].mean()
        many = f"{sinks.sum()} patches, whatever the picture"
        tiles += [("on sinks", percent(hold), many), ("border, sinks left out", percent(kept), "of what is left")]
    flat = photos["flat_share"].mean()
    tiles.append(("on flat ground", percent(flat), f"a uniform map has {percent(FLAT_PART)}"))
    if "mass_on_mask" in photos:
        area = percent(photos["mask_area"].mean())
        tiles.append(("on the mask", percent(photos["mass_on_mask"].mean()), f"the mask covers {area}"))
    shown = "".join(f"<div><dt>{name}</dt><dd>{value}</dd><p>{escape(note)}</p></div>" for name, value, note in tiles)
    return f'<dl class="tiles">{shown}</dl>'


def wilson(hits: int, count: int, z: float = 1.96) -> tuple[float, float]:
    """95 % interval of a share (Wilson 1927, doi:10.1080/01621459.1927.10502953)."""
    share, spread = hits / count, z * z / count
    middle = (share + spread / 2) / (1 + spread)
    half = z / (1 + spread) * np.sqrt(share * (1 - share) / count + spread / (4 * count))
    return max(0.0, float(middle - half)), min(1.0, float(middle + half))


def _group_words(result: SweepResult) -> str:
    of = "class" if result.has_classes else "predicted class"
    return of if len(result.mean_maps) == 1 else f"{of}es"


def _maps(result: SweepResult) -> str:
    layer = result.layers[-1]
    sinks, cells = result.sinks(layer), result.grid[0] * result.grid[1]
    by_class = result.by_class()
    sizes = by_class["photos"]
    of_class = {name: maps[-1] * cells for name, maps in result.mean_maps.items()}
    # of the commonest classes, those with most on the border first
    chosen = sizes.sort_values(ascending=False, kind="stable").index[:MOST_CLASSES]
    shown = [name for name in by_class.index if name in set(chosen) and name in of_class]
    whole = sum(of_class[name] * sizes[name] for name in of_class) / sizes.sum()
    tiles = [("all photos", whole, f"{sizes.sum():,}")]
    answers = result.of_layer()["right"].value_counts()
    for answer, maps in result.right_maps.items():
        tiles.append((f"{answer} predictions", maps[-1] * cells, f"{answers[answer == 'right']:,}"))
    tiles += [(name, of_class[name], f"{sizes[name]:,}") for name in shown]
    scale = MapScale.of([tile for _, tile, _ in tiles], sinks)
    drawn = "".join(
        f"<figure>{map_tile(tile, scale, sinks, f'mean map of {name}')}"
        f"<figcaption>{escape(name)} <small>{count}</small></figcaption></figure>"
        for name, tile, count in tiles
    )
    notes = ["One square a patch; one scale for all; most on the border first. Numbers are photos."]
    if sinks.any():
        notes.append("Framed patches are the model's sinks, which the scale leaves out of account.")
    if sizes.median() < FEW:
        notes.append(f"Most classes have fewer than {FEW} photos: their means are little more than single maps.")
    if len(shown) < len(of_class):
        notes.append(
            f"Shown are the {len(shown)} commonest of {len(of_class):,}; all are in {result.folder.name}/mean_maps.npz."
        )
    title = "Mean map by class" if result.has_classes else "Mean map by predicted class"
    return _section(
        title, f'<p class="note">{escape(" ".join(notes))}</p>{color_bar(scale)}<div class="maps">{drawn}</div>'
    )


def _right_and_wrong(result: SweepResult) -> str:
    title = "On the border: right and wrong predictions"
    photos = result.of_layer()
    if result.right_and_wrong() is None:
        why = "No photo has a class that the model knows, so that nothing says which predictions are right."
        if photos["right"].notna().any():
            only = "right" if photos["right"].dropna().all() else "wrong"
            why = f"All predictions are {only}, so that there is nothing to compare them with."
        return _section(title, f"<p>{why}</p>")
    measures = ["border_share"] + ["border_share_without_sinks"] * bool(result.sinks(result.layers[-1]).any())
    drawn = []
    for measure in measures:
        known = photos.dropna(subset=["right", measure])
        groups = [
            Group(words, known.loc[known["right"] == said, measure].to_numpy(), words)
            for words, said in (("right", True), ("wrong", False))
        ]
        found = result.right_and_wrong(measure)
        uniform = border_share(uniform_map(result.grid)) if measure == "border_share" else None
        name = f"Share {MEASURES[measure]}"
        drawn.append(
            f"<figure><h3>{name}</h3>{mirrored(*groups, name, uniform)}<figcaption>Wrong minus right: "
            f"<b>{found.difference:+.3f}</b>, {found.interval} (over photos). Each half is drawn as shares of its own "
            "photos.</figcaption></figure>"
        )
    return _section(title, f'<div class="plots">{"".join(drawn)}</div>')


def _cards(result: SweepResult, cards: Sequence[Card]) -> str:
    if not cards:
        return ""
    sinks = " with the model's sinks left out" if result.sinks(result.layers[-1]).any() else ""
    rule = (
        f"The {len(cards)} photos whose map lies furthest above the set's median, in interquartile ranges, on the "
        f"border or on flat ground{sinks}: the signs of overfitting that Calderaro et al. 2023 name. Some photo is "
        "always first; being here is a reason to look, no verdict. The table's column look_first goes on."
    )
    return _section("Look at these first", f'<p class="note">{escape(rule)}</p><div class="cards">{_each(cards)}</div>')


def _each(cards: Sequence[Card]) -> str:
    shown = []
    for number, card in enumerate(cards, 1):
        answer = f"{escape(card.predicted)} <small>{percent(card.confidence)}</small>" if card.predicted else ""
        verdict = {True: '<i class="right">right</i>', False: '<i class="wrong">wrong</i>', None: ""}[card.right]
        label = f"<dt>class</dt><dd>{escape(card.label)}</dd>" if card.label else ""
        told = f"<dt>says</dt><dd>{answer} {verdict}</dd>" if answer else ""
        why = "".join(f"<li>{escape(reason)}</li>" for reason in card.reasons)
        pictures = "".join(
            f'<img src="{data_url(picture, "image/jpeg")}" alt="{escape(words)}">'
            for picture, words in (
                (card.view, f"{card.photo}: what the model saw"),
                (card.overlay, f"its map: {card.caption}"),
            )
        )
        shown.append(
            f'<article><div class="pair">{pictures}</div><h3><span>{number}</span> {_breakable(card.photo)}</h3>'
            f'<ul class="why">{why}</ul><dl>{label}{told}</dl>'
            f"<details><summary>what the map is</summary><p>{escape(card.caption)}</p></details></article>"
        )
    return "".join(shown)


def _by_class(result: SweepResult) -> str:
    table = result.by_class()
    if len(table) < 2:
        return ""
    shown = table.head(MOST_CLASSES)
    without_sinks = not result.sinks(result.layers[-1]).any()
    left_out = [name for name in (*SIGNS, "sink_share") if without_sinks]
    left_out += [] if shown["accuracy"].notna().any() else ["accuracy"]
    note = "Means over photos, most on the border first"
    if len(shown) < len(table):
        note += f"; {len(table) - len(shown):,} more classes in the table"
    title = "By class" if result.has_classes else "By predicted class"
    return _section(title, f'<p class="note">{note}.</p>{_table(shown.drop(columns=left_out), "class")}')


def _by_layer(result: SweepResult) -> str:
    if len(result.layers) < 2:
        return ""
    names = [name for name in SWEPT if name in result.table]
    return _section("By layer", _table(result.table.groupby("layer")[names].mean(), "layer"))


def _table(table: DataFrame, first: str) -> str:
    headings = "".join(f"<th>{escape(MEASURES.get(name, name))}</th>" for name in table)
    cells = {
        name: "".join(f"<td>{_number(column, line[column])}</td>" for column in table)
        for name, line in table.iterrows()
    }
    lines = "".join(f"<tr><th>{_breakable(str(name))}</th>{values}</tr>" for name, values in cells.items())
    head = f"<thead><tr><th>{first}</th>{headings}</tr></thead>"
    return f'<div class="wide"><table>{head}<tbody>{lines}</tbody></table></div>'


def _number(column: str, value: float) -> str:
    if np.isnan(value):
        return "–"
    return f"{int(value):,}" if column == "photos" else f"{value:.3f}"


def _skipped(result: SweepResult) -> str:
    if not result.skipped:
        return ""
    more = len(result.skipped) - MOST_SKIPPED
    lines = list(result.skipped[:MOST_SKIPPED]) + [f"and {more:,} more, in skipped.txt"] * (more > 0)
    return _section(f"Left out: {len(result.skipped):,} files", _list(lines))


def _glossary(result: SweepResult) -> str:
    known = {name: words for name, words in GLOSSARY.items() if name in result.table}
    return (
        "<dl class='terms'>"
        + "".join(f"<dt>{name}</dt><dd>{escape(words)}</dd>" for name, words in known.items())
        + ("</dl>")
    )


def _recipe(result: SweepResult) -> str:
    identity, facts = result.state.identity, result.state.facts
    options = identity["options"]
    view = identity["model"]
    lines = {
        "model": facts["model"],
        "weights": f"SHA-256 {identity['model']['weights']}",
        "input": f"{' x '.join(map(str, view['size']))} px, {view['interpolation']}, crop {view['crop_pct']:g} "
        f"({view['crop_mode']}), mean {_numbers(view['mean'])}, std {_numbers(view['std'])}",
        "photos": f"{identity['data']['title']}, {identity['data']['photos']:,}; names, classes and files: SHA-256 "
        f"{identity['data']['fingerprint']}",
        "map": f"plain attention, layers {', '.join(map(str, options['layers']))}, heads by {options['aggregation']}, "
        f"batches of {options['batch_size']}",
        "sinks": f"found on {SINK_PHOTOS} photos of the set; " + _sink_places(result.state.sinks),
        "versions": ", ".join(f"{name} {number}" for name, number in facts["versions"].items()),
        "licence of the data": facts["licence"],
        "made": date.today().isoformat(),
    }
    listed = "".join(f"<dt>{name}</dt><dd>{escape(text)}</dd>" for name, text in lines.items() if text)
    again = command(result)
    shown = f"<p>Made by</p><pre>{escape(again)}</pre>" if again else ""
    return _section("Recipe", f"<dl class='terms'>{listed}</dl>{shown}")


def _numbers(values: Sequence[float]) -> str:
    return ", ".join(f"{value:g}" for value in values)


def _sink_places(sinks: Mapping[str, Sequence[Sequence[int]]]) -> str:
    places = [
        f"layer {layer}: {', '.join(f'({r}, {c})' for r, c in of_layer) or 'none'}" for layer, of_layer in sinks.items()
    ]
    return "; ".join(places)


def command(result: SweepResult) -> str:
    """The command that makes a sweep again; empty where its model or photos have no name."""
    facts, options = result.state.facts, result.state.identity["options"]
    source, loaded = facts["source"], facts["loaded_with"]
    if source["photos"] is None or loaded is None:
        return ""
    words = ["vitattn", "sweep", source["photos"]]
    if "checkpoint" in loaded:
        words += ["--checkpoint", loaded["checkpoint"]]
    else:
        words += ["--model", loaded["model"]]
    for name in ("split", "data", "limit"):
        words += [f"--{name}", str(source[name])] if source[name] is not None else []
    if source["stand_in"] is not None:
        words.append("--stand-in" if source["stand_in"] else "--no-stand-in")
    words += ["--layers", *map(str, options["layers"]), "--aggregation", options["aggregation"]]
    words += ["--batch-size", str(options["batch_size"]), "--table", options["table"]]
    words += ["--pictures", str(options["pictures"]), "-o", str(result.folder)]
    return shlex.join(words)
