"""Measures over a whole split: every map of a model beside the two baselines, a row a photo and map."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from .aggregate import AGGREGATIONS, TITLES, aggregate_heads, possible_aggregations
from .attribution import source_maps
from .capture import AttentionCapture, capture_attention, seen_part
from .errors import DataError, SettingsError
from .gradients import complete_capture
from .measures import (
    border_share,
    centre_blob,
    entropy,
    flat_ground,
    head_agreement,
    mask_on_view,
    mask_outline,
    mass_on_mask,
    pointing_game,
    share_on,
    uniform_map,
)
from .render import grid_map
from .rows import AttentionRows, capture_rows_tensor
from .settings import ViewSettings
from .smooth import smooth_map
from .sources import CATALOGUE, SOURCES

if TYPE_CHECKING:
    from pandas import DataFrame, Series

    from .datasets.photos import PhotoSet
    from .models import AttentionModel

MEASURES = {
    "mass": "on the evidence",
    "pointing": "pointing game",
    "outline": "on its outline",
    "border": "on the border",
    "flat": "on flat ground",
    "entropy": "entropy",
    "agreement": "heads agree",
}
"""The measures of an evaluation and their headings; the first three need masks."""

BASELINES = {"uniform": uniform_map, "centre blob": centre_blob}


@dataclass(frozen=True, eq=False)
class MapEvaluation:
    """What every map of a model was worth on a set of photos.

    Attributes:
        title: model and data in words; a stand-in is called so.
        photos: a row a photo, layer and map: ``photo``, ``label``, ``predicted``, ``confidence`` (0..1), ``right``,
            ``layer``, ``map``, then the `MEASURES`, NaN where a measure has no meaning. Not to be changed.
    """

    title: str
    photos: DataFrame

    def table(self) -> DataFrame:
        """The mean of each measure over the photos where it has a meaning: a row a map (and layer, if several).

        Measures that no photo has, as without masks, are left out.
        """
        keys = ["map"] if self.photos["layer"].nunique() == 1 else ["layer", "map"]
        return self.photos.groupby(keys, sort=False)[list(MEASURES)].mean().dropna(axis=1, how="all")

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
        self, measure: str = "mass", baseline: str = "uniform", resamples: int = 2000, seed: int = 0
    ) -> DataFrame:
        """How much more of a measure each map has than a baseline, photo by photo, and how sure that is.

        Args:
            measure: of `MEASURES`.
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
        for what, given, possible in (("measure", measure, list(MEASURES)), ("map", baseline, names)):
            if given not in possible:
                raise SettingsError(f"{what} {given!r} does not exist; possible: {', '.join(possible)}")
        if self.photos["layer"].nunique() > 1:
            raise SettingsError("differences are those of one layer; choose it with only(...)")
        values = self.photos.pivot(index="photo", columns="map", values=measure)[names].dropna()
        if values.empty:
            raise SettingsError(f"no photo has the measure {measure!r}, which needs masks of the evidence")
        gains = values.drop(columns=baseline).sub(values[baseline], axis=0)
        drawn = np.random.default_rng(seed).integers(len(gains), size=(resamples, len(gains)))
        low, high = np.percentile(gains.to_numpy()[drawn].mean(1), [2.5, 97.5], axis=0)
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


def evaluate_maps(
    model: AttentionModel,
    photos: PhotoSet,
    layers: Sequence[int] = (-1,),
    aggregations: Sequence[str] = AGGREGATIONS,
    batch_size: int = 16,
    progress: bool = True,
    sources: Sequence[str] = ("attention",),
    sinks: Sequence[str] = ("show",),
) -> MapEvaluation:
    """Measure the maps of a model on every photo of a split, beside a uniform map and a centre blob.

    Convention: what lies on the evidence or its outline, and the pointing game, are measured on the raw smoothed map
    at the size of the view, with the mask resized and cropped as the photo was. Border, flat ground, entropy and
    agreement are measured on the raw grid map, for smoothing would blur them. The heads of a baseline are copies of it,
    which agree fully.

    Args:
        model: from `load_model`.
        photos: a split of a data set, with or without masks.
        layers: layer numbers; negative ones count from the end.
        aggregations: of `AGGREGATIONS`; mean / std is left out for a layer with one head.
        batch_size: photos a forward pass.
        progress: show a progress bar.
        sources: of `SOURCES`, each with those of the aggregations that it has; classes are the predicted ones. All but
            plain attention take a forward pass a photo more, gradients a backward pass.
        sinks: ``"show"``, ``"leave_out"`` or both, each a map of its own.

    Returns:
        A row a photo, layer and map, and the table of their means.

    Raises:
        DataError: there is no photo.
        SettingsError: a layer, aggregation or source that does not exist, or a source that needs a classifier.
    """
    import pandas
    from tqdm.auto import tqdm

    if not len(photos):
        raise DataError(f"the {photos.split} split of {photos.info.title} has no photo to measure maps on")
    unknown = [source for source in sources if source not in SOURCES]
    if unknown:
        raise SettingsError(f"source {unknown[0]!r} does not exist; possible: {', '.join(SOURCES)}")
    baselines = [_Map(name, make(model.layout.grid), 1.0) for name, make in BASELINES.items()]
    heats = {map_.name: _heat(model, map_.grid_map) for map_ in baselines}
    lines: list[dict[str, Any]] = []
    with tqdm(total=len(photos), unit="photo", disable=not progress, leave=False) as bar:
        for start in range(0, len(photos), batch_size):
            indices = range(start, min(start + batch_size, len(photos)))
            grounds, rows = _look(model, photos, indices)
            for place, (index, ground) in enumerate(zip(indices, grounds, strict=True)):
                answer = _answer(rows, photos, place, index)
                wanted = [(source, shown) for source in sources for shown in sinks]
                plain = set(wanted) <= {("attention", "show")}
                capture = None if plain else capture_attention(model, photos.load(index))
                for layer in layers:
                    maps = []
                    for source, shown in wanted:
                        if (source, shown) == ("attention", "show"):
                            maps += _maps(rows.patch_attention(layer)[place], aggregations)
                        else:
                            settings = ViewSettings(source=source, layer=layer, sinks=shown)
                            capture = complete_capture(model, capture, settings)
                            maps += _source_maps(capture, settings, aggregations)
                    for map_ in (*baselines, *maps):
                        heat = heats.get(map_.name)
                        if heat is None and ground.mask is not None:
                            heat = _heat(model, map_.grid_map)
                        measured = _measure(map_, heat, ground)
                        lines.append(answer | {"layer": rows.layer_index(layer), "map": map_.name} | measured)
                bar.update()
    return MapEvaluation(f"{model.name} on {split_words(photos)}", pandas.DataFrame(lines))


def split_words(photos: PhotoSet) -> str:
    """A split as people read it; a stand-in is called so."""
    return f"{'STAND-IN for ' if photos.stand_in else ''}{photos.info.title}, {photos.split} split"


@dataclass(frozen=True)
class _Map:
    """A map by its name, raw, and how far the heads that it was made of agree."""

    name: str
    grid_map: np.ndarray
    agreement: float


@dataclass(frozen=True)
class _Ground:
    """What a photo's maps are measured on: its flat patches, and its mask and the mask's outline on the view."""

    flat: np.ndarray
    mask: np.ndarray | None
    outline: np.ndarray | None


def _look(model: AttentionModel, photos: PhotoSet, indices: range) -> tuple[list[_Ground], AttentionRows]:
    """One forward pass over some photos, and what their maps are measured on."""
    grounds, tensors = [], []
    for index in indices:
        view = model.preprocessing.view(photos.load(index))
        tensors.append(model.preprocessing.tensor(view.pixels))
        seen = seen_part(model, view)
        mask, outline = photos.mask(index), None
        if mask is not None:
            mask = mask_on_view(mask, seen.crop_box, seen.pixels.shape[:2])
            outline = mask_outline(mask, model.layout.patch_size // 2)
        grounds.append(_Ground(flat_ground(seen.pixels, model.layout.grid), mask, outline))
    return grounds, capture_rows_tensor(model, torch.stack(tensors).to(model.device, model.dtype))


def _maps(heads: np.ndarray, aggregations: Sequence[str]) -> Iterator[_Map]:
    agreement = head_agreement(heads)
    for aggregation in aggregations:
        if aggregation in possible_aggregations(len(heads)) or aggregation not in AGGREGATIONS:
            yield _Map(TITLES.get(aggregation, aggregation), aggregate_heads(heads, aggregation), agreement)


def _source_maps(capture: AttentionCapture, settings: ViewSettings, aggregations: Sequence[str]) -> Iterator[_Map]:
    known = CATALOGUE[settings.source].aggregations
    possible = [name for name in possible_aggregations(capture.num_heads(settings.layer)) if name in known]
    for aggregation in aggregations if known else ("mean",):
        if known and aggregation not in possible and aggregation in AGGREGATIONS:
            continue
        shown = replace(settings, aggregation=aggregation)
        words = [settings.source] * (settings.source != "attention") + [TITLES[aggregation]] * bool(known)
        words += ["no sinks"] * (settings.sinks == "leave_out")
        agreement = head_agreement(np.abs(source_maps(capture, shown).maps))
        yield _Map(", ".join(words), grid_map(capture, shown), agreement)


def _heat(model: AttentionModel, grid_map: np.ndarray) -> np.ndarray:
    (rows, cols), (height, width) = model.layout.grid, model.layout.patch_shape
    return smooth_map(grid_map, (rows * height, cols * width), model.layout.patch_size)


def _answer(rows: AttentionRows, photos: PhotoSet, place: int, index: int) -> dict[str, Any]:
    label = photos.class_names[photos.labels[index]]
    answer = {"photo": photos.names[index], "label": label, "predicted": None, "confidence": np.nan, "right": None}
    if not rows.class_names:
        return answer
    best = int(rows.probabilities[place].argmax())
    predicted = rows.class_names[best]
    right = predicted == label if label in rows.class_names else None
    return answer | {"predicted": predicted, "confidence": float(rows.probabilities[place, best]), "right": right}


def _measure(map_: _Map, heat: np.ndarray | None, ground: _Ground) -> dict[str, float]:
    masked = ground.mask is not None and heat is not None
    return {
        "mass": mass_on_mask(heat, ground.mask) if masked else np.nan,
        "pointing": pointing_game(heat, ground.mask) if masked else np.nan,
        "outline": mass_on_mask(heat, ground.outline) if masked else np.nan,
        "border": border_share(map_.grid_map),
        "flat": share_on(map_.grid_map, ground.flat),
        "entropy": entropy(map_.grid_map),
        "agreement": map_.agreement,
    }
