"""The panels of a comparison, and the titles that tell them apart."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from ..capture.capture import AttentionCapture, layer_words
from ..maps.aggregate import FORMULAS, TITLES
from ..maps.settings import resolve
from ..models.tokens import query_words
from ..view.settings import ViewSettings


class Facet(NamedTuple):
    """One thing that a panel is.

    Attributes:
        short: in few words.
        full: in full, for a line of its own.
        marked: whether it must be said of a panel where others do not have it.
    """

    short: str
    full: str
    marked: bool = False


def same_photo(first: AttentionCapture, second: AttentionCapture) -> bool:
    """Whether two captures are of one photo, pixel by pixel."""
    return first.source is second.source or np.array_equal(first.source, second.source)


def panel_titles(panels: Sequence[Panel]) -> tuple[tuple[str, ...], str]:
    """A short title for each panel, of nothing but what differs, and one line of what all share.

    What a panel does not have, as a map without heads has no aggregation, tells it from no other. Panels that nothing
    tells apart are numbered.

    Returns:
        The titles, empty for a single panel; the line.
    """
    photos = _photo_numbers(panels)
    facets: list[list[Facet | None]] = [
        [Facet(panel.name, panel.name) for panel in panels],
        *_models(panels, photos),
        _photos(panels, photos),
        *zip(*map(_facets, panels), strict=True),
    ]
    parts: list[list[str]] = [[] for _ in panels]
    common = []
    for facet in facets:
        present = [found for found in facet if found]
        shorts, fulls = {found.short for found in present}, {found.full for found in present}
        if len(shorts) > 1 or (len(present) < len(panels) and any(found.marked for found in present)):
            for part, found in zip(parts, facet, strict=True):
                if found and found.short not in part:
                    part.append(found.short)
        elif present:
            common.append(fulls.pop() if len(fulls) == 1 else shorts.pop())
    titles = [", ".join(filter(None, part)) for part in parts]
    return _numbered(titles) if len(panels) > 1 else ("",), ", ".join(filter(None, common))


def difference_words(first: Panel, second: Panel, largest: float) -> tuple[str, str]:
    """What is subtracted from what, short; and the caption of a difference of at most `largest`."""
    (one, other), common = panel_titles([first, second])
    one, other = (f"({words})" if {",", "/"} & set(words) else words for words in (one, other))
    title = f"{one} minus {other}"
    if not largest:
        return title, f"{title}: no difference; {common}"
    colors = f"red is more in {one}, blue more in {other}, by up to {largest:.3g} times the average patch of each map"
    return title, f"{title}: {colors}; {common}"


def _facets(panel: Panel) -> list[Facet | None]:
    """Source, layer, head or aggregation, query, class, sinks and smoothing of a panel; None for what it lacks."""
    capture, settings = panel.capture, panel.settings
    place = resolve(capture, settings)
    source, layer, head = place.source, place.layer, place.head
    heads = None
    if head is not None:
        heads = Facet(f"head {head}", f"head {head} of 0..{place.heads - 1}", marked=True)
    elif not source.no_head:
        heads = Facet(TITLES[settings.aggregation], FORMULAS[settings.aggregation].format(heads=place.heads))
    elif source.fuses_heads:
        heads = Facet(TITLES[settings.aggregation], f"heads fused by {settings.aggregation}")
    query = query_words(place.query)
    target = None
    if place.target is not None:
        name = capture.class_names[place.target]
        target = Facet(name, f"class {name}")
    left_out = settings.sinks == "leave_out"
    sinks = Facet("without sinks", "sinks left out") if left_out else Facet("with sinks", "")
    return [
        Facet(source.title, source.title),
        Facet(f"layer {layer}", layer_words(capture, layer)),
        heads,
        Facet(query, f"query: {query}"),
        target,
        sinks,
        _smoothing(panel),
    ]


def _smoothing(panel: Panel) -> Facet:
    steps = ("bilinear", "median", "gaussian")
    off = [step for step in steps if not getattr(panel.settings, step)]
    if not off:
        return Facet("smoothed", "")
    words = "one square a patch" if len(off) == len(steps) else f"without {' and '.join(off)}"
    return Facet(words, words)


def _tell_apart(names: Sequence[Any], things: Sequence[Any]) -> bool:
    """Whether no two different things have the same name."""
    return len(set(zip(names, things, strict=True))) == len(set(names))


def _models(panels: Sequence[Panel], photos: Sequence[int]) -> tuple[list[Facet], list[Facet]]:
    """Architecture and weights of the panels' models; the weights only where nothing else tells models apart."""
    full = [panel.capture.model_name for panel in panels]
    architectures, weights = zip(*map(_split_name, full), strict=True)
    if _tell_apart(architectures, full):
        return [Facet(*names) for names in zip(architectures, full, strict=True)], [Facet("", "")] * len(panels)
    if len(set(photos)) == 1 and _tell_apart([panel.name for panel in panels], full):  # so names are not the photos'
        weights = [""] * len(panels)
    elif not _tell_apart([*zip(architectures, weights, strict=True)], full):
        weights = full
    return [Facet(name, name) for name in architectures], [Facet(name, name) for name in weights]


def _split_name(model_name: str) -> tuple[str, str]:
    """Architecture and weights of a model's name: ``vit_a.tag``, ``vit_a (file)``, ``vit_a.tag (file)``."""
    published, _, file = model_name.removesuffix(")").partition(" (")
    architecture, _, tag = published.partition(".")
    return (architecture, file or tag or architecture) if architecture else (model_name, model_name)


def _photo_numbers(panels: Sequence[Panel]) -> list[int]:
    """Which of the photos each panel shows, from 0 on."""
    photos: list[AttentionCapture] = []
    numbers = []
    for panel in panels:
        same = (number for number, photo in enumerate(photos) if same_photo(panel.capture, photo))
        numbers.append(next(same, len(photos)))
        if numbers[-1] == len(photos):
            photos.append(panel.capture)
    return numbers


def _photos(panels: Sequence[Panel], numbers: Sequence[int]) -> list[Facet]:
    """The photo's number where names do not tell photos apart."""
    if _tell_apart([panel.name for panel in panels], numbers):
        return [Facet("", "")] * len(panels)
    return [Facet(words, words) for words in (f"photo {number + 1}" for number in numbers)]


def _numbered(titles: Sequence[str]) -> tuple[str, ...]:
    """The titles; a number after those that occur several times."""
    counts, seen = Counter(titles), Counter()
    numbered = []
    for number, title in enumerate(titles, start=1):
        seen[title] += 1
        if not title:
            title = f"panel {number}"
        elif counts[title] > 1:
            title = f"{title} ({seen[title]})"
        numbered.append(title)
    return tuple(numbered)


@dataclass(frozen=True, eq=False)
class Panel:
    """One picture of a comparison.

    Attributes:
        capture: from `capture_attention`, with what the settings' source needs (`complete_capture`).
        settings: what to show of it. Its ``scale`` is without effect, for the panels share one.
        name: what its photo, model or checkpoint is called; may be empty.
    """

    capture: AttentionCapture
    settings: ViewSettings = field(default_factory=ViewSettings)
    name: str = ""
