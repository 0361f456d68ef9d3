"""Rows of panels that one click fills, such as "all sources" or "layers": settings in, settings out."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import numpy as np

from ..capture.capture import AttentionCapture
from ..errors import SettingsError
from ..maps.resolve import fit_settings
from ..maps.sources import CATALOGUE
from ..view.settings import ViewSettings

LAYERS = 6
"""Largest number of layers that the preset of layers shows."""

Panels = tuple[ViewSettings, ...]


@dataclass(frozen=True)
class Preset:
    """A row of panels that one click fills.

    Attributes:
        title: its name in menus.
        words: what the panels are, in a few words.
        panels: ``(capture, settings) -> settings of each panel``, at least two, each fitted to the capture; if there
            are fewer, a `SettingsError` says why.
    """

    title: str
    words: str
    panels: Callable[[AttentionCapture, ViewSettings], Panels]


def all_aggregations(capture: AttentionCapture, settings: ViewSettings) -> Panels:
    """Every aggregation of the layer and the source.

    Raises:
        SettingsError: the layer has one head, or the source has no heads to aggregate.
    """
    source = settings.source_info
    heads = capture.num_heads(settings.layer)
    # every aggregation of a single head is that head
    possible = source.possible(heads) if heads > 1 else ()
    why = source.no_aggregation or "the layer has a single head"
    return _several(_fitted(capture, [replace(settings, head=None, aggregation=name) for name in possible]), why)


def all_sources(capture: AttentionCapture, settings: ViewSettings) -> Panels:
    """Every source that the model has, of contributions or of the others, whichever the settings show.

    The two have scales of their own: one has signs.
    """
    alike = [source.name for source in CATALOGUE.values() if source.signed == settings.source_info.signed]
    # those that the model lacks are fitted to one that it has, which is kept once
    return _fitted(capture, [replace(settings, source=name) for name in alike])


def even_layers(capture: AttentionCapture, settings: ViewSettings, count: int = LAYERS) -> Panels:
    """At most `count` layers, evenly spaced from the first to the last.

    Raises:
        SettingsError: the model has a single layer.
    """
    chosen = np.linspace(0, capture.num_layers - 1, min(count, capture.num_layers)).round().astype(int).tolist()
    return _several(
        _fitted(capture, [replace(settings, layer=layer) for layer in chosen]), "the model has a single layer"
    )


def every_head(capture: AttentionCapture, settings: ViewSettings) -> Panels:
    """Every head of the layer.

    Raises:
        SettingsError: the layer has one head, or the source has no single heads.
    """
    heads = 0 if settings.source_info.no_head else capture.num_heads(settings.layer)
    why = settings.source_info.no_head or "the layer has a single head"
    return _several(_fitted(capture, [replace(settings, head=head) for head in range(heads)]), why)


PRESETS: dict[str, Preset] = {
    "sources": Preset(
        "all sources",
        "one panel per source with the same layer: those with signs, or those without",
        all_sources,
    ),
    "layers": Preset("layers", f"up to {LAYERS} layers, evenly from the first to the last", even_layers),
    "heads": Preset("heads", "every head of this layer", every_head),
    "aggregations": Preset("aggregations", "every aggregation of this layer's heads", all_aggregations),
}
"""The presets by name."""


def _fitted(capture: AttentionCapture, panels: Iterable[ViewSettings]) -> Panels:
    """Settings fitted to the capture (`fit_settings`), in order and without duplicates."""
    return tuple(dict.fromkeys(fit_settings(panel, capture) for panel in panels))


def _several(panels: Panels, why: str) -> Panels:
    if len(panels) < 2:
        raise SettingsError(f"there is nothing to compare here: {why}")
    return panels
