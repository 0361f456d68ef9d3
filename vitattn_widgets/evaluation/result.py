"""What maps were worth on a set of photos: a row a photo and map, their means, and differences with intervals."""

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
"""Draws of a bootstrap."""

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
    """The 95 % interval of a statistic by the percentile bootstrap (Efron 1979, doi:10.1214/aos/1176344552).

    Args:
        statistic: draws a sample with replacement and measures it, one number or several.
        resamples: number of draws.
        seed: of the draws.

    Returns:
        The lower and the upper ends.
    """
    rng = np.random.default_rng(seed)
    low, high = np.percentile([statistic(rng) for _ in range(resamples)], [2.5, 97.5], axis=0)
    return low, high


@dataclass(frozen=True, eq=False)
class MapEvaluation:
    """What every map of a model was worth on a set of photos.

    Attributes:
        title: model and data in words; a stand-in is called so.
        photos: a row a photo, layer and map: ``photo``, ``label``, ``predicted``, ``confidence`` (0..1), ``right``,
            ``layer``, ``map``, then the `EVALUATED` measures, NaN where a measure has no meaning. Not to be changed.
    """

    title: str
    photos: DataFrame

    def table(self) -> DataFrame:
        """The mean of each measure over the photos where it has a meaning: a row a map (and layer, if several).

        Measures that no photo has, as without masks, are left out.
        """
        keys = ["map"] if self.photos["layer"].nunique() == 1 else ["layer", "map"]
        return self.photos.groupby(keys, sort=False)[list(EVALUATED)].mean().dropna(axis=1, how="all")

    def only(self, which: Series, words: str) -> MapEvaluation:
        """The same evaluation over some of its photos.

        Args:
            which: a condition on ``photos``, such as ``evaluation.photos["right"]``.
            words: what these photos are, for the title.

        Raises:
            SettingsError: the condition holds for no photo.
        """
        photos = self.photos[which]
        if photos.empty:
            raise SettingsError(f"no photo is left: {words}")
        return replace(self, title=f"{self.title}, {words}", photos=photos)

    def differences(
        self, measure: str = "mass_on_mask", baseline: str = "uniform", resamples: int = RESAMPLES, seed: int = 0
    ) -> DataFrame:
        """How much more of a measure each map has than a baseline, photo by photo, and how sure that is.

        Args:
            measure: of `EVALUATED`.
            baseline: a map of this evaluation.
            resamples: draws of the percentile bootstrap over photos (Efron 1979, doi:10.1214/aos/1176344552).
            seed: of these draws.

        Returns:
            A row a map: ``difference`` (mean over photos), ``low`` and ``high`` (its 95 % interval), ``more`` (share of
            the photos in which the map has more than the baseline), ``photos``.

        Raises:
            SettingsError: no such measure or map, several layers, or no photo that has the measure.
        """
        import pandas

        names = list(self.photos["map"].unique())
        for what, given, possible in (("measure", measure, list(EVALUATED)), ("map", baseline, names)):
            if given not in possible:
                raise SettingsError(f"{what} {given!r} does not exist; possible: {', '.join(possible)}")
        if self.photos["layer"].nunique() > 1:
            raise SettingsError("differences are those of one layer; choose it with only(...)")
        values = self.photos.pivot(index="photo", columns="map", values=measure)[names].dropna()
        if values.empty:
            raise SettingsError(f"no photo has the measure {measure!r}, which needs masks of the evidence")
        gains = values.drop(columns=baseline).sub(values[baseline], axis=0)
        drawn, count = gains.to_numpy(), len(gains)
        low, high = bootstrap_interval(lambda rng: drawn[rng.integers(count, size=count)].mean(0), resamples, seed)
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
