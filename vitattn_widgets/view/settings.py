"""What to show and how: the value that every front end builds from its controls."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

from ..errors import SettingsError
from ..maps.settings import MAP_FIELDS, MapSettings, require_choices
from .drawing import DEFAULT_CMAP, SCALES, color_table

GROUNDS = ("view", "original")
"""What a map is laid over: the pixels that the model saw, or the whole photo."""

RECOMMENDED = ("source", "sinks", "layer", "head", "query")
"""The settings of `ViewSettings.recommended` that ask what the classifier used; the others are left as they are."""


@dataclass(frozen=True)
class ViewSettings(MapSettings):
    """What to show of a capture, and how.

    Attributes:
        layer, head, aggregation, query, source, target, sinks: which map; see `MapSettings`.
        bilinear: interpolate between patches, else plain squares.
        median: median over a disk of half a patch.
        gaussian: Gaussian of a quarter patch.
        scale: ``"map"`` (the map's own smallest to largest value), ``"shared"`` (one range over several panels; alone,
            the range of all heads of the layer) or ``"robust"`` (percentiles).
        opacity: 0 is the picture alone, 1 the map alone.
        cmap: name of a matplotlib colour map.
        on: ``"view"``, the pixels that the model saw, or ``"original"``, the whole photo with the crop framed.

    Raises:
        SettingsError: a value that does not exist, or an opacity outside 0..1.
    """

    bilinear: bool = True
    median: bool = True
    gaussian: bool = True
    scale: str = "map"
    opacity: float = 0.5
    cmap: str = DEFAULT_CMAP
    on: str = "view"

    def __post_init__(self) -> None:
        super().__post_init__()
        require_choices(self, {"scale": SCALES, "on": GROUNDS})
        if not isinstance(self.opacity, int | float) or not 0 <= self.opacity <= 1:
            raise SettingsError(f"opacity must lie in 0..1, got {self.opacity!r}")
        color_table(self.cmap)

    @classmethod
    def recommended(cls) -> ViewSettings:
        """The view to ask what the classifier used: gradient times attention of the late layers, sinks outlined.

        Chosen by deletion and insertion and by masks of four data sets, not of one; see
        ``tests/benchmarks/bench_maps.py``. Sinks stay in: a small object can look like one.
        """
        return cls(source="gradient_late", sinks="outline")


VIEW_FIELDS = tuple(field.name for field in fields(ViewSettings))
"""The names of all settings, those of `MapSettings` first."""

LOOK = tuple(name for name in VIEW_FIELDS if name not in (*MAP_FIELDS, "scale"))
"""The settings that all panels of a row have in common, so that they can be compared; the others tell panels apart."""


def with_look(settings: ViewSettings, look: ViewSettings) -> ViewSettings:
    """A panel's settings, drawn as the whole row is: smoothing, opacity, colours and ground (`LOOK`) of `look`."""
    return replace(settings, **{name: getattr(look, name) for name in LOOK})


def without_look(settings: ViewSettings) -> ViewSettings:
    """What a panel has of its own: the settings with their look and scale, which are the row's, at the defaults."""
    return replace(with_look(settings, ViewSettings()), scale=ViewSettings.scale)
