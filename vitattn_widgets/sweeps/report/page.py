"""A sweep's report: one web page that needs no other file, for screens, phones and paper."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from importlib.resources import files
from typing import TYPE_CHECKING

import numpy as np

from ...evaluation.measures import FLAT_PART, border_share, uniform_map
from .findings import CAVEATS, GLOSSARY, findings, map_words
from .highlights import Highlight
from .html import breakable, bullet_list, percent, section
from .recipe import recipe_section
from .sections import class_section, difference_section, highlight_section, layer_section, mean_map_section

if TYPE_CHECKING:
    from ..result import SweepResult

MAX_SKIPPED = 40
"""Largest number of lines about files that could not be read; ``skipped.txt`` holds all."""


def report_page(result: SweepResult, highlights: Sequence[Highlight]) -> str:
    """The whole report as HTML.

    Args:
        result: of the sweep; its report need not exist yet.
        highlights: from `draw_highlights`.
    """
    style = (files(__package__) / "page.css").read_text(encoding="utf-8")
    sections = [
        _head(result),
        _headline(result),
        section("Findings", bullet_list(findings(result))),
        section("Limits of these findings", bullet_list(CAVEATS)),
        mean_map_section(result),
        difference_section(result),
        highlight_section(result, highlights),
        class_section(result),
        layer_section(result),
        _skipped(result),
        section("What the numbers mean", _glossary(result)),
        recipe_section(result),
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(result.title)}</title><style>{style}</style></head><body><main>"
        f"{''.join(sections)}</main></body></html>\n"
    )


def _head(result: SweepResult) -> str:
    identity = result.state.identity
    warning = ""
    if result.state.facts["stand_in"]:
        warning = (
            '<p class="made"><b>Stand-in.</b> These pictures were drawn by code, in place of a data set that was not '
            "on this computer. The findings say nothing about real photos.</p>"
        )
    return (
        f"<header><h1>Where {breakable(identity['model']['name'])} looks</h1>"
        f"<p class='lead'>{escape(identity['data']['title'])}. {escape(map_words(result))}</p>{warning}</header>"
    )


def _headline(result: SweepResult) -> str:
    photos = result.of_layer()
    uniform = border_share(uniform_map(result.grid))
    sinks = result.sinks(result.layers[-1])
    verdicts = photos["right"].dropna()
    tiles = [("photos", f"{len(photos):,}", f"{len(result.mean_maps):,} {_group_words(result)}")]
    if len(verdicts):
        low, high = wilson(int(verdicts.sum()), len(verdicts))
        tiles.append(("accuracy", percent(verdicts.mean()), f"95% interval {percent(low)} to {percent(high)}"))
    tiles.append(("on the border", percent(photos["border_share"].mean()), f"a uniform map has {percent(uniform)}"))
    if sinks.any():
        rest = photos["border_share_without_sinks"].mean()
        share = photos["sink_share"].mean()
        places = f"{sinks.sum()} patches, the same in every picture"
        tiles += [("on sinks", percent(share), places), ("border, sinks left out", percent(rest), "of the rest")]
    flat = photos["flat_share"].mean()
    tiles.append(("on flat ground", percent(flat), f"a uniform map has {percent(FLAT_PART)}"))
    if "mass_on_mask" in photos:
        area = percent(photos["mask_area"].mean())
        tiles.append(("on the mask", percent(photos["mass_on_mask"].mean()), f"the mask covers {area}"))
    content = "".join(f"<div><dt>{name}</dt><dd>{value}</dd><p>{escape(note)}</p></div>" for name, value, note in tiles)
    return f'<dl class="tiles">{content}</dl>'


def wilson(hits: int, count: int, z: float = 1.96) -> tuple[float, float]:
    """95% interval of a share (Wilson 1927, doi:10.1080/01621459.1927.10502953)."""
    share, spread = hits / count, z * z / count
    middle = (share + spread / 2) / (1 + spread)
    half = z / (1 + spread) * np.sqrt(share * (1 - share) / count + spread / (4 * count))
    return max(0.0, float(middle - half)), min(1.0, float(middle + half))


def _group_words(result: SweepResult) -> str:
    group = "class" if result.has_classes else "predicted class"
    return group if len(result.mean_maps) == 1 else f"{group}es"


def _skipped(result: SweepResult) -> str:
    if not result.skipped:
        return ""
    more = len(result.skipped) - MAX_SKIPPED
    lines = list(result.skipped[:MAX_SKIPPED]) + [f"and {more:,} more, in skipped.txt"] * (more > 0)
    return section(f"Problems with files: {len(result.skipped):,}", bullet_list(lines))


def _glossary(result: SweepResult) -> str:
    words = {name: text for name, text in GLOSSARY.items() if name in result.table}
    return (
        f"<dl class='terms'>{''.join(f'<dt>{name}</dt><dd>{escape(text)}</dd>' for name, text in words.items())}</dl>"
    )
