"""Which map to show: layer, head, aggregation, query, source, class and sinks."""

from __future__ import annotations

from dataclasses import dataclass, fields

from ..errors import SettingsError
from ..models.tokens import Query
from .aggregate import AGGREGATIONS
from .sources import CATALOGUE, SOURCES, Source

SINKS = ("show", "outline", "leave_out", "mark")
"""What to do with patches that draw attention whatever the picture shows; ``"mark"`` leaves out and outlines them."""

LEFT_OUT = ("leave_out", "mark")
"""The treatments that remove sinks from the map."""

OUTLINED = ("outline", "mark")
"""The treatments that frame sinks on the picture."""


@dataclass(frozen=True)
class MapSettings:
    """Which map to show of a capture.

    Attributes:
        layer: layer number; negative ones count from the end.
        head: head number, or None for all heads, aggregated.
        aggregation: ``"mean"``, ``"max"`` or ``"mean_over_std"``; without effect if a head is chosen.
        query: the token whose attention is shown; None is what the classifier reads.
        source: what the map is computed from, a name of `SOURCES`. Head, aggregation and query are without effect if
            the source has none (`Source.no_head`, `Source.no_aggregation`, `Source.no_query`); not every source has
            every aggregation (`Source.possible`).
        target: number of the class for sources that depend on it; None is the predicted class.
        sinks: one of `SINKS`, the treatment of patches that draw attention whatever the picture shows (see
            `sinks.find_sinks`).

    Raises:
        SettingsError: an aggregation, a source or a treatment of sinks that does not exist.
    """

    layer: int = -1
    head: int | None = None
    aggregation: str = "mean"
    query: Query | None = None
    source: str = "attention"
    target: int | None = None
    sinks: str = "show"

    @property
    def source_info(self) -> Source:
        """The source and its properties."""
        return CATALOGUE[self.source]

    def __post_init__(self) -> None:
        require_choices(self, {"aggregation": AGGREGATIONS, "source": SOURCES, "sinks": SINKS})
        query: object = self.query
        if isinstance(query, list):  # JSON has no tuples
            object.__setattr__(self, "query", tuple(query))


def require_choices(settings: MapSettings, choices: dict[str, tuple[str, ...]]) -> None:
    """Check settings that have a fixed set of values.

    Args:
        settings: what to check.
        choices: the possible values, by name of the setting.

    Raises:
        SettingsError: names the first setting with another value.
    """
    for name, possible in choices.items():
        if getattr(settings, name) not in possible:
            raise SettingsError(f"{name} {getattr(settings, name)!r} does not exist; possible: {', '.join(possible)}")


MAP_FIELDS = tuple(field.name for field in fields(MapSettings))
"""The settings that choose a map; all others of `ViewSettings` define how it is drawn."""
