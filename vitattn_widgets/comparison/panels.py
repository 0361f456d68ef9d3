"""The panels of a comparison, and the titles that distinguish them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from ..capture.capture import AttentionCapture
from ..maps.aggregate import FORMULAS, TITLES
from ..maps.resolve import resolve
from ..maps.settings import LEFT_OUT
from ..models.tokens import query_words
from ..view.settings import SMOOTHING_STEPS, STEP_TITLES, ViewSettings


class Facet(NamedTuple):
    """One property of a panel, in words.

    Attributes:
        short: in few words, for a title.
        full: in full, for the line that panels share.
        marked: whether a title must name it if other panels lack it.
    """

    short: str
    full: str
    marked: bool = False


def same_photo(first: AttentionCapture, second: AttentionCapture) -> bool:
    """Whether two captures are of the same photo, pixel by pixel."""
    return first.source is second.source or np.array_equal(first.source, second.source)


def panel_titles(panels: Sequence[Panel]) -> tuple[tuple[str, ...], str]:
    """A short title for each panel, of what differs alone, and one line of what all share.

    A property that a panel lacks, such as the aggregation of a map without heads, does not distinguish it. Panels with
    equal titles are numbered.

    Returns:
        The titles, empty for a single panel, and the line.
    """
    photos = _photo_numbers(panels)
    facets: list[Sequence[Facet | None]] = [
        [Facet(panel.name, panel.name) for panel in panels],
        *_models(panels, photos),
        _photos(panels, photos),
        *zip(*map(_facets, panels), strict=True),
    ]
    parts: list[list[str]] = [[] for _ in panels]
    common = []
    for facet in facets:
        present = [own for own in facet if own]
        shorts, fulls = {own.short for own in present}, {own.full for own in present}
        if len(shorts) > 1 or (len(present) < len(panels) and any(own.marked for own in present)):
            for part, own in zip(parts, facet, strict=True):
                if own and own.short not in part:  # a name may repeat the model's
                    part.append(own.short)
        elif present:
            common.append(fulls.pop() if len(fulls) == 1 else shorts.pop())
    titles = [", ".join(filter(None, part)) for part in parts]
    return _numbered(titles) if len(panels) > 1 else ("",), ", ".join(filter(None, common))


def difference_words(first: Panel, second: Panel, largest: float) -> tuple[str, str]:
    """Title and caption of a difference of at most `largest`: what is subtracted from what, in short and in full."""
    (one, other), common = panel_titles([first, second])
    one, other = (f"({words})" if {",", "/"} & set(words) else words for words in (one, other))
    title = f"{one} minus {other}"
    if not largest:
        return title, f"{title}: no difference; {common}"
    colors = f"red is more in {one}, blue more in {other}, by up to {largest:.3g} times the average patch of each map"
    return title, f"{title}: {colors}; {common}"


def _facets(panel: Panel) -> list[Facet | None]:
    """Source, layer, head or aggregation, query, class, sinks and smoothing of a panel; None for those it lacks."""
    capture, settings = panel.capture, panel.settings
    resolved = resolve(capture, settings)
    source, layer, head = resolved.source, resolved.layer, resolved.head
    heads = None
    if head is not None:
        heads = Facet(f"head {head}", f"head {head} of 0..{resolved.heads - 1}", marked=True)
    elif not source.no_head:
        heads = Facet(TITLES[settings.aggregation], FORMULAS[settings.aggregation].format(heads=resolved.heads))
    elif source.fuses_heads:
        heads = Facet(TITLES[settings.aggregation], f"heads fused by {settings.aggregation}")
    query = query_words(resolved.query)
    target = None
    if resolved.target is not None:
        name = capture.answer_words(resolved.target)
        kind = "class " if capture.direction(resolved.target) is None else ""
        target = Facet(name, f"{kind}{name}")
    left_out = settings.sinks in LEFT_OUT
    sinks = Facet("without sinks", "sinks left out") if left_out else Facet("with sinks", "")
    return [
        Facet(source.title, source.title),
        Facet(f"layer {layer}", capture.layer_words(layer)),
        heads,
        None if source.no_query else Facet(query, f"query: {query}"),
        target,
        sinks,
        _smoothing(panel),
    ]


def _smoothing(panel: Panel) -> Facet:
    off = [STEP_TITLES[step] for step in SMOOTHING_STEPS if not getattr(panel.settings, step)]
    if not off:
        return Facet("smoothed", "")
    words = "one square per patch" if len(off) == len(SMOOTHING_STEPS) else f"without {' and '.join(off)}"
    return Facet(words, words)


def _distinguish(names: Sequence[Hashable], things: Sequence[Hashable]) -> bool:
    """Whether different things always have different names."""
    return len(set(zip(names, things, strict=True))) == len(set(names))


def _models(panels: Sequence[Panel], photos: Sequence[int]) -> tuple[list[Facet], list[Facet]]:
    """Architecture and weights of the panels' models; the weights only if nothing else distinguishes the models."""
    full = [panel.capture.model_name for panel in panels]
    architectures = [_split_name(name)[0] for name in full]
    weights = [_split_name(name)[1] for name in full]
    if _distinguish(architectures, full):
        return [Facet(*names) for names in zip(architectures, full, strict=True)], [Facet("", "")] * len(panels)
    # of one photo, names that distinguish the models are the models' names; of several, they are the photos'
    if len(set(photos)) == 1 and _distinguish([panel.name for panel in panels], full):
        weights = [""] * len(panels)
    elif not _distinguish([*zip(architectures, weights, strict=True)], full):
        weights = full
    return [Facet(name, name) for name in architectures], [Facet(name, name) for name in weights]


def _split_name(model_name: str) -> tuple[str, str]:
    """Architecture and weights of a model's name: ``vit_a.tag``, ``vit_a (file)``, ``vit_a.tag (file)``."""
    published, _, file = model_name.removesuffix(")").partition(" (")
    architecture, _, tag = published.partition(".")
    return (architecture, file or tag or architecture) if architecture else (model_name, model_name)


def _photo_numbers(panels: Sequence[Panel]) -> list[int]:
    """The number of the photo that each panel shows, from 0 on."""
    photos: list[AttentionCapture] = []
    numbers = []
    for panel in panels:
        same = (number for number, photo in enumerate(photos) if same_photo(panel.capture, photo))
        numbers.append(next(same, len(photos)))
        if numbers[-1] == len(photos):
            photos.append(panel.capture)
    return numbers


def _photos(panels: Sequence[Panel], numbers: Sequence[int]) -> list[Facet]:
    """The photo's number, if names do not distinguish the photos."""
    if _distinguish([panel.name for panel in panels], numbers):
        return [Facet("", "")] * len(panels)
    return [Facet(words, words) for words in (f"photo {number + 1}" for number in numbers)]


def _numbered(titles: Sequence[str]) -> tuple[str, ...]:
    """The titles, with a number after those that occur several times."""
    counts = Counter(titles)
    used: Counter[str] = Counter()
    numbered = []
    for number, title in enumerate(titles, start=1):
        used[title] += 1
        if not title:
            title = f"panel {number}"
        elif counts[title] > 1:
            title = f"{title} ({used[title]})"
        numbered.append(title)
    return tuple(numbered)


@dataclass(frozen=True, eq=False)
class Panel:
    """One picture of a comparison.

    Attributes:
        capture: from `capture_attention`, with what the settings' source needs (`complete_capture`).
        settings: what to show of it. Its ``scale`` is without effect, as the panels share one.
        name: name of its photo, model or checkpoint; may be empty.
    """

    capture: AttentionCapture
    settings: ViewSettings = field(default_factory=ViewSettings)
    name: str = ""
