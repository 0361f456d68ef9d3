"""What to show and how: the settings that every front end builds from its controls."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

from ..errors import SettingsError
from ..maps.settings import MAP_FIELDS, MapSettings, require_choices
from .drawing import BLENDS, CMAPS, DEFAULT_CMAP, DIFFERENCE_CMAP, SCALES, color_table

GROUNDS = ("view", "original")
"""The picture under a map: the pixels that the model saw, or the whole photo."""

STEP_TITLES = {"bilinear": "bilinear", "median": "median", "gaussian": "Gaussian"}
"""The smoothing steps as labels and titles name them, in their order."""

SMOOTHING_STEPS = tuple(STEP_TITLES)
"""The smoothing steps, each a switch of `ViewSettings`."""


@dataclass(frozen=True)
class ViewSettings(MapSettings):
    """What to show of a capture, and how.

    Attributes:
        layer, head, aggregation, query, source, target, sinks: which map; see `MapSettings`.
        bilinear: interpolate between patches; otherwise plain squares.
        median: median over a disk of half a patch.
        gaussian: Gaussian of a quarter patch.
        scale: ``"map"`` (the map's own smallest to largest value), ``"shared"`` (one range over several panels; alone,
            the range of all heads of the layer) or ``"robust"`` (percentiles).
        opacity: 0 is the picture alone, 1 the map alone.
        cmap: name of a matplotlib colour map; contributions have their own (`colors`).
        on: ``"view"``, the pixels that the model saw, or ``"original"``, the whole photo with the crop framed.
        blend: ``"even"``, the same opacity everywhere, as in the paper, or ``"glow"``, in proportion to the heat and
            dimmed where little of the attention reaches patches (see `drawing.overlay`).

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
    blend: str = "even"

    def __post_init__(self) -> None:
        super().__post_init__()
        require_choices(self, {"scale": SCALES, "on": GROUNDS, "blend": BLENDS})
        if not isinstance(self.opacity, int | float) or not 0 <= self.opacity <= 1:
            raise SettingsError(f"opacity must lie in 0..1, got {self.opacity!r}")
        if self.cmap not in CMAPS:  # those exist, and asking matplotlib for the others loads it
            color_table(self.cmap)

    @property
    def colors(self) -> str:
        """The colour map that the map is drawn in: `cmap`, or one that is neutral at zero for values with signs."""
        return DIFFERENCE_CMAP if self.source_info.signed else self.cmap

    @classmethod
    def recommended(cls) -> ViewSettings:
        """The view that best shows what the classifier used: its contributions, summed, sinks outlined.

        Chosen by deletion and insertion and by the masks of four data sets; see ``tests/benchmarks/bench_maps.py``.
        Sinks are not left out, as a small object can look like one.
        """
        return cls(source="contribution_sum", sinks="outline")


VIEW_FIELDS = tuple(field.name for field in fields(ViewSettings))
"""The names of all settings, those of `MapSettings` first."""

LOOK = tuple(name for name in VIEW_FIELDS if name not in (*MAP_FIELDS, "scale"))
"""The settings that all panels of a row share, so that they can be compared; the others distinguish the panels."""


def with_look(settings: ViewSettings, look: ViewSettings) -> ViewSettings:
    """A panel's settings in the look of its row: smoothing, opacity, colours, ground and blend (`LOOK`) of `look`."""
    return replace(settings, **{name: getattr(look, name) for name in LOOK})
