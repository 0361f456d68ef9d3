"""The result of an evaluation: one row per photo and map, their means, and differences with intervals."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from ..errors import SettingsError
from .measures import MEASURES

if TYPE_CHECKING:
    from pandas import DataFrame, Series

RESAMPLES = 2000
"""How many samples a bootstrap draws."""

EVALUATED = (
    "mass_on_mask",
    "pointing_game",
    "mass_on_outline",
    "border_share",
    "flat_share",
    "entropy",
    "head_agreement",
)
"""The `MEASURES` of an evaluation; the first three need masks."""


def bootstrap_interval(
    statistic: Callable[[np.random.Generator], np.ndarray | float], resamples: int = RESAMPLES, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """The 95% interval of a statistic by the percentile bootstrap (Efron 1979, doi:10.1214/aos/1176344552).

    Args:
        statistic: draws a sample with replacement and measures it, one number or several.
        resamples: how many samples are drawn.
        seed: of the draws.

    Returns:
        The lower and the upper end, each of the statistic's shape.
    """
    rng = np.random.default_rng(seed)
    low, high = np.percentile([statistic(rng) for _ in range(resamples)], [2.5, 97.5], axis=0)
    return low, high


@dataclass(frozen=True, eq=False)
class MapEvaluation:
    """The measures of every map of a model on a set of photos.

    Attributes:
        title: model and data in words; a stand-in is named as one.
        photos: one row per photo, layer and map: ``photo``, ``label``, ``predicted``, ``confidence`` (0..1), ``right``,
            ``layer``, ``map``, then the `EVALUATED` measures, NaN where a measure is undefined. Do not modify.
    """

    title: str
    photos: DataFrame

    def table(self) -> DataFrame:
        """The mean of each measure over the photos where it is defined: one row per map (and layer, if several).

        Measures that are undefined for every photo, as without masks, are left out.
        """
        keys = ["map"] if self.photos["layer"].nunique() == 1 else ["layer", "map"]
        return self.photos.groupby(keys, sort=False)[list(EVALUATED)].mean().dropna(axis=1, how="all")

    def only(self, which: Series, words: str) -> MapEvaluation:
        """The same evaluation over some of its photos.

        Args:
            which: a condition on ``photos``, such as ``evaluation.photos["right"]``.
            words: what these photos are, for the title.

        Raises:
            SettingsError: no photo meets the condition.
        """
        photos = self.photos[which]
        if photos.empty:
            raise SettingsError(f"no photos are left: {words}")
        return replace(self, title=f"{self.title}, {words}", photos=photos)

    def differences(
        self, measure: str = "mass_on_mask", baseline: str = "uniform", resamples: int = RESAMPLES, seed: int = 0
    ) -> DataFrame:
        """How much higher a measure is for each map than for a baseline, photo by photo, with an interval.

        Args:
            measure: of `EVALUATED`.
            baseline: a map of this evaluation.
            resamples: draws of the percentile bootstrap over photos (Efron 1979, doi:10.1214/aos/1176344552).
            seed: of these draws.

        Returns:
            One row per map: ``difference`` (mean over photos), ``low`` and ``high`` (its 95% interval), ``more``
            (share of the photos where the map's value is higher), ``photos`` (how many have the measure).

        Raises:
            SettingsError: no such measure or map, several layers, or a measure that is undefined for every photo.
        """
        import pandas

        names = list(self.photos["map"].unique())
        for what, name, possible in (("measure", measure, list(EVALUATED)), ("map", baseline, names)):
            if name not in possible:
                raise SettingsError(f"{what} {name!r} does not exist; possible: {', '.join(possible)}")
        if self.photos["layer"].nunique() > 1:
            raise SettingsError("differences are taken within one layer; choose it with only(...)")
        values = self.photos.pivot(index="photo", columns="map", values=measure)[names].dropna()
        if values.empty:
            raise SettingsError(f"{measure!r} is undefined for every photo here: it needs masks of the evidence")
        gains = values.drop(columns=baseline).sub(values[baseline], axis=0)
        matrix, count = gains.to_numpy(), len(gains)
        # whole photos are drawn, so that the maps of one photo stay together
        low, high = bootstrap_interval(lambda rng: matrix[rng.integers(count, size=count)].mean(0), resamples, seed)
        more = (gains > 0).mean()
        columns = {"difference": gains.mean(), "low": low, "high": high, "more": more, "photos": len(gains)}
        return pandas.DataFrame(columns)

    @property
    def heading(self) -> str:
        """The title and the number of photos."""
        return f"{self.title}: {self.photos['photo'].nunique()} photos"

    def __repr__(self) -> str:
        return f"{self.heading}\n{self.table().rename(columns=MEASURES).to_string(float_format='%.3f', na_rep='-')}"

    def _repr_html_(self) -> str:
        table = self.table().rename(columns=MEASURES).to_html(float_format="%.3f", na_rep="-")
        return f"<p>{self.heading}</p>{table}"
