"""Measures over a whole split: every map of a model beside two baselines, one row per photo and map."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from types import EllipsisType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from ..capture.batches import AttentionRows, capture_rows_tensor
from ..capture.capture import AttentionCapture
from ..capture.forward import capture_attention, seen_part
from ..datasets.masks import mask_on_view, mask_outline
from ..errors import DataError, SettingsError
from ..maps.aggregate import AGGREGATIONS, TITLES, aggregate_heads, possible_aggregations
from ..maps.attribution import grid_map, source_maps
from ..maps.completion import complete_capture
from ..maps.sources import SOURCES
from ..models.classes import class_key, is_right
from ..models.stages import PatchGrid, patch_grids
from ..view.settings import ViewSettings
from ..view.smooth import smooth_map
from .measures import (
    border_share,
    centre_blob,
    entropy,
    flat_ground,
    head_agreement,
    mass_on_mask,
    pointing_game,
    share_on,
    uniform_map,
)
from .result import MapEvaluation

if TYPE_CHECKING:
    from ..datasets.photos import PhotoSet
    from ..images import CropBox
    from ..models.loading import AttentionModel

BASELINES = {"uniform": uniform_map, "centre blob": centre_blob}

PLAIN = ("attention", "show")
"""Source and sinks of the map that can be read from a batch's rows; any other needs a photo's whole capture."""


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

    Convention: the mass on the evidence and on its outline, and the pointing game, are measured on the raw smoothed
    map at the size of the view, with the mask resized and cropped as the photo was. Border, flat ground, entropy and
    agreement are measured on the raw grid map, because smoothing would blur them. Where a layer mixes heads (CaiT) or
    subtracts two softmaxes, weights can be negative, and the absolute values of the finished map are measured; of
    contributions those for the class. The heads of a baseline are copies of it and agree fully. In a model with stages
    each layer is measured on its own grid, beside baselines on the same.

    Args:
        model: from `load_model`.
        photos: a split of a data set, with or without masks.
        layers: layer numbers; negative ones count from the end.
        aggregations: of `AGGREGATIONS`; mean / std is left out for a layer with one head.
        batch_size: photos per forward pass, where only plain attention with its sinks is measured.
        progress: show a progress bar.
        sources: of `SOURCES`, each with those of the aggregations that it has, for the predicted class. With any but
            plain attention each photo is captured on its own, once, and all its maps come from that capture; the
            sources that depend on the class share one more forward and backward pass per photo.
        sinks: ``"show"``, ``"leave_out"`` or both, each a map of its own; leaving sinks out needs such a capture too.

    Returns:
        One row per photo, layer and map, and the table of their means.

    Raises:
        DataError: the split has no photos.
        SettingsError: a layer, aggregation or source does not exist, or a layer's patches do not divide the input.
    """
    import pandas
    from tqdm.auto import tqdm

    if not len(photos):
        raise DataError(f"the {photos.split} split of {photos.info.title} has no photos to measure maps on")
    unknown = [source for source in sources if source not in SOURCES]
    if unknown:
        raise SettingsError(f"source {unknown[0]!r} does not exist; possible: {', '.join(SOURCES)}")
    grids = patch_grids(model.name, model.layout, model.partitions, model.preprocessing.size, layers)
    variants = [(source, sink) for source in sources for sink in sinks]
    passes = _full_passes(model, photos, sources) if {*variants} - {PLAIN} else _row_passes(model, photos, batch_size)
    known_keys = frozenset(map(class_key, model.class_names))
    # baselines are the same for every photo, so they are smoothed only once
    baselines = {patches: _baselines(patches) for patches in grids}
    rows: list[dict[str, Any]] = []
    with tqdm(total=len(photos), unit="photo", disable=not progress, leave=False) as bar:
        for index, photo in enumerate(passes):
            prediction = _prediction(photos, index, photo, known_keys)
            grounds = {patches: _ground(photo, patches) for patches in dict.fromkeys(grids)}
            for layer, patches in zip(layers, grids, strict=True):
                ground = grounds[patches]
                own = ((map_, None) for map_ in _maps(photo, layer, variants, aggregations))
                for map_, heat in chain(baselines[patches], own):
                    if heat is None and ground.evidence is not None:
                        heat = _heat(map_.grid_map, patches)
                    place = {"layer": photo.capture.layer_index(layer), "map": map_.name}
                    rows.append(prediction | place | _measure(map_, heat, ground))
            bar.update()
    return MapEvaluation(f"{model.name} on {photos.title}", pandas.DataFrame(rows))


@dataclass(frozen=True)
class _Map:
    """A raw map, its name, and how far the heads that it was made of agree."""

    name: str
    grid_map: np.ndarray
    agreement: float
    signed: bool = False

    def strength(self, values: np.ndarray) -> np.ndarray:
        """The size of its values; of contributions, of those for the class alone."""
        return values.clip(min=0) if self.signed else np.abs(values)


class _Evidence(NamedTuple):
    """A photo's mask on the view, and the mask's outline: both uint8 ``(H, W)``."""

    mask: np.ndarray
    outline: np.ndarray


@dataclass(frozen=True)
class _Ground:
    """What a photo's maps on one grid are measured on: its flat patches, and its evidence where the data has a mask."""

    flat: np.ndarray
    evidence: _Evidence | None


@dataclass(frozen=True, eq=False)
class _PhotoPass:
    """One photo after its forward pass: one entry of a batch's rows, or the whole of its own capture.

    `entry` indexes the first axis of what a batch holds; the Ellipsis leaves the arrays of a single capture as they
    are, so that both are read in the same way.
    """

    view: np.ndarray
    mask: np.ndarray | None
    capture: AttentionRows | AttentionCapture
    entry: int | EllipsisType = ...


def _row_passes(model: AttentionModel, photos: PhotoSet, batch_size: int) -> Iterator[_PhotoPass]:
    """Every photo in order; a batch keeps only the rows that plain attention is made of."""
    for start in range(0, len(photos), batch_size):
        indices = range(len(photos))[start : start + batch_size]
        views = [model.preprocessing.view(photos.load(index)) for index in indices]
        tensor = torch.stack([model.preprocessing.tensor(view.pixels) for view in views])
        rows = capture_rows_tensor(model, tensor.to(model.device, model.dtype))
        for entry, (index, view) in enumerate(zip(indices, views, strict=True)):
            seen = seen_part(model, view)
            yield _PhotoPass(seen.pixels, _mask(photos, index, seen.crop_box, seen.pixels), rows, entry)


def _full_passes(model: AttentionModel, photos: PhotoSet, sources: Sequence[str]) -> Iterator[_PhotoPass]:
    """Every photo in order, captured whole, with what the sources need."""
    for index in range(len(photos)):
        capture = capture_attention(model, photos.load(index))
        for source in sources:
            capture = complete_capture(model, capture, ViewSettings(source=source))
        yield _PhotoPass(capture.view, _mask(photos, index, capture.crop_box, capture.view), capture)


def _mask(photos: PhotoSet, index: int, crop_box: CropBox, view: np.ndarray) -> np.ndarray | None:
    """The photo's mask on the view, if the data has one."""
    mask = photos.mask(index)
    return None if mask is None else mask_on_view(mask, crop_box, view.shape[:2])


def _ground(photo: _PhotoPass, patches: PatchGrid) -> _Ground:
    evidence = None
    if photo.mask is not None:
        evidence = _Evidence(photo.mask, mask_outline(photo.mask, max(patches.patch_shape) // 2))
    return _Ground(flat_ground(photo.view, patches.grid), evidence)


def _baselines(patches: PatchGrid) -> list[tuple[_Map, np.ndarray | None]]:
    """The baselines on a grid, and the same smoothed."""
    maps = [_Map(name, make(patches.grid), 1.0) for name, make in BASELINES.items()]
    return [(map_, _heat(map_.grid_map, patches)) for map_ in maps]


def _maps(
    photo: _PhotoPass, layer: int, variants: Sequence[tuple[str, str]], aggregations: Sequence[str]
) -> Iterator[_Map]:
    if isinstance(photo.capture, AttentionRows):
        yield from _row_maps(photo.capture.patch_attention(layer)[photo.entry], aggregations)
        return
    for source, sinks in variants:
        settings = ViewSettings(source=source, layer=layer, sinks=sinks)
        yield from _source_maps(photo.capture, settings, aggregations)


def _row_maps(heads: np.ndarray, aggregations: Sequence[str]) -> Iterator[_Map]:
    agreement = head_agreement(np.abs(heads))
    for aggregation in _available(aggregations, possible_aggregations(len(heads))):
        yield _Map(TITLES.get(aggregation, aggregation), aggregate_heads(heads, aggregation), agreement)


def _available(aggregations: Sequence[str], possible: Collection[str]) -> list[str]:
    """The aggregations that are possible; unknown names stay, to be refused where they are used."""
    return [name for name in aggregations if name in possible or name not in AGGREGATIONS]


def _source_maps(capture: AttentionCapture, settings: ViewSettings, aggregations: Sequence[str]) -> Iterator[_Map]:
    known = settings.source_info.aggregations
    possible = settings.source_info.possible(capture.num_heads(settings.layer))
    for aggregation in _available(aggregations, possible) if known else ("mean",):
        one = replace(settings, aggregation=aggregation)
        words = [settings.source] * (not settings.source_info.plain) + [TITLES[aggregation]] * bool(known)
        words += ["no sinks"] * (settings.sinks == "leave_out")
        heads, signed = source_maps(capture, one).maps, settings.source_info.signed
        agreement = head_agreement(heads.clip(min=0) if signed else np.abs(heads))
        yield _Map(", ".join(words), grid_map(capture, one), agreement, signed)


def _heat(grid_map: np.ndarray, patches: PatchGrid) -> np.ndarray:
    return smooth_map(grid_map, patches.size, max(patches.patch_shape))


def _prediction(photos: PhotoSet, index: int, photo: _PhotoPass, known_keys: frozenset[str]) -> dict[str, Any]:
    label = photos.class_names[photos.labels[index]]
    unknown = {"photo": photos.names[index], "label": label, "predicted": None, "confidence": np.nan, "right": None}
    names = photo.capture.class_names
    if not names:
        return unknown
    probabilities = photo.capture.probabilities[photo.entry]
    best = int(probabilities.argmax())
    right = is_right(names[best], label, known_keys)
    return unknown | {"predicted": names[best], "confidence": float(probabilities[best]), "right": right}


def _measure(map_: _Map, heat: np.ndarray | None, ground: _Ground) -> dict[str, float]:
    strength = map_.strength(map_.grid_map)
    on_mask = pointing = on_outline = np.nan
    if heat is not None and ground.evidence is not None:
        heat = map_.strength(heat)
        on_mask = mass_on_mask(heat, ground.evidence.mask)
        pointing = pointing_game(heat, ground.evidence.mask)
        on_outline = mass_on_mask(heat, ground.evidence.outline)
    return {
        "mass_on_mask": on_mask,
        "pointing_game": pointing,
        "mass_on_outline": on_outline,
        "border_share": border_share(strength),
        "flat_share": share_on(strength, ground.flat),
        "entropy": entropy(strength),
        "head_agreement": map_.agreement,
    }
