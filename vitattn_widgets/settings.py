"""What to show and how: the value that every front end builds from its controls."""

from __future__ import annotations

from dataclasses import dataclass

from .aggregate import AGGREGATIONS
from .drawing import DEFAULT_CMAP, SCALES, color_table
from .errors import SettingsError
from .sources import SOURCES
from .tokens import Query

DEFAULT_MODEL = "vit_tiny_patch16_224"
"""The model that is shown when none is named."""

GROUNDS = ("view", "original")

SINKS = ("show", "outline", "leave_out")
"""What is done with patches that draw attention whatever the picture."""

RECOMMENDED = ("source", "sinks", "layer", "head", "query")
"""The settings of `ViewSettings.recommended` that ask what the classifier used; the others are left as they are."""


@dataclass(frozen=True)
class ViewSettings:
    """What to show of a capture, and how.

    Attributes:
        layer: layer number; negative ones count from the end.
        head: head number, or None for all heads, aggregated.
        aggregation: ``"mean"``, ``"max"`` or ``"mean_over_std"``; without effect while a head is shown.
        query: which token looks; None is what the classifier reads.
        source: what the map is made of, a name of `SOURCES`. Head and aggregation are without effect where a
            source has none (`Source.no_head`, `Source.no_aggregation`); ``"rollout"`` has no ``"mean_over_std"``.
        target: number of the class for sources that depend on it; None is the predicted class.
        sinks: ``"show"``, ``"outline"`` or ``"leave_out"`` the patches that draw attention whatever the picture (see
            `sinks.find_sinks`).
        bilinear: interpolate between patches, else plain squares.
        median: median over a disk of half a patch.
        gaussian: Gaussian of a quarter patch.
        scale: ``"map"`` (the map's own smallest to largest value), ``"shared"`` (one range over several panels; alone,
            the range of all heads of the layer) or ``"robust"`` (percentiles).
        opacity: 0 is the picture alone, 1 the map alone.
        cmap: name of a matplotlib colour map.
        on: ``"view"``, the pixels that the model saw, or ``"original"``, the whole photo with the crop framed.
    """

    layer: int = -1
    head: int | None = None
    aggregation: str = "mean"
    query: Query | None = None
    source: str = "attention"
    target: int | None = None
    sinks: str = "show"
    bilinear: bool = True
    median: bool = True
    gaussian: bool = True
    scale: str = "map"
    opacity: float = 0.5
    cmap: str = DEFAULT_CMAP
    on: str = "view"

    def __post_init__(self) -> None:
        choices = {
            "aggregation": AGGREGATIONS,
            "source": SOURCES,
            "sinks": SINKS,
            "scale": SCALES,
            "on": GROUNDS,
        }
        for name, possible in choices.items():
            if getattr(self, name) not in possible:
                raise SettingsError(f"{name} {getattr(self, name)!r} does not exist; possible: {', '.join(possible)}")
        if not isinstance(self.opacity, int | float) or not 0 <= self.opacity <= 1:
            raise SettingsError(f"opacity must lie in 0..1, got {self.opacity!r}")
        color_table(self.cmap)
        if isinstance(self.query, list):  # as JSON brings it
            object.__setattr__(self, "query", tuple(self.query))

    @classmethod
    def recommended(cls) -> ViewSettings:
        """The view to ask what the classifier used: gradient times attention of the late layers, sinks outlined.

        Chosen by deletion and insertion and by masks of four data sets, not of one; see
        ``tests/benchmarks/bench_maps.py``. Sinks stay in: a small object can look like one.
        """
        return cls(source="gradient_late", sinks="outline")
