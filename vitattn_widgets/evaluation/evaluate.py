"""Measures over a whole split: every map of a model beside the two baselines, a row a photo and map."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from types import EllipsisType
from typing import TYPE_CHECKING, Any

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
"""Source and sinks of the map that a batch's rows hold; every other one needs the whole capture of a photo."""


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
    agreement are measured on the raw grid map, for smoothing would blur them. Where a layer mixes heads (CaiT) or
    subtracts two softmaxes, weights can be negative, and the absolute values of the finished map are measured. The
    heads of a baseline are copies of it, which agree fully.

    Args:
        model: from `load_model`.
        photos: a split of a data set, with or without masks.
        layers: layer numbers; negative ones count from the end.
        aggregations: of `AGGREGATIONS`; mean / std is left out for a layer with one head.
        batch_size: photos a forward pass, where only plain attention with its sinks is measured.
        progress: show a progress bar.
        sources: of `SOURCES`, each with those of the aggregations that it has; classes are the predicted ones. With any
            but plain attention each photo is captured alone, once, and all its maps come from that capture; sources
            that depend on the class share one forward and backward pass a photo more.
        sinks: ``"show"``, ``"leave_out"`` or both, each a map of its own; leaving out takes such a capture too.

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
    wanted = [(source, shown) for source in sources for shown in sinks]
    looks = _whole_looks(model, photos, sources) if {*wanted} - {PLAIN} else _row_looks(model, photos, batch_size)
    known_keys = frozenset(map(class_key, model.class_names))
    baselines = [_Map(name, make(model.layout.grid), 1.0) for name, make in BASELINES.items()]
    heats = {map_.name: _heat(model, map_.grid_map) for map_ in baselines}
    lines: list[dict[str, Any]] = []
    with tqdm(total=len(photos), unit="photo", disable=not progress, leave=False) as bar:
        for index, look in enumerate(looks):
            answer = _answer(photos, index, look, known_keys)
            for layer in layers:
                for map_ in (*baselines, *_maps(look, layer, wanted, aggregations)):
                    heat = heats.get(map_.name)
                    if heat is None and look.ground.mask is not None:
                        heat = _heat(model, map_.grid_map)
                    place = {"layer": look.seen.layer_index(layer), "map": map_.name}
                    lines.append(answer | place | _measure(map_, heat, look.ground))
            bar.update()
    return MapEvaluation(f"{model.name} on {photos.title}", pandas.DataFrame(lines))


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


@dataclass(frozen=True, eq=False)
class _Look:
    """One photo after its one forward pass: its place in a batch's rows, or all of a capture of its own."""

    ground: _Ground
    seen: AttentionRows | AttentionCapture
    place: int | EllipsisType = ...


def _row_looks(model: AttentionModel, photos: PhotoSet, batch_size: int) -> Iterator[_Look]:
    """Every photo in order; batches keep nothing but the rows that plain attention is made of."""
    for start in range(0, len(photos), batch_size):
        indices = range(len(photos))[start : start + batch_size]
        views = [model.preprocessing.view(photos.load(index)) for index in indices]
        tensor = torch.stack([model.preprocessing.tensor(view.pixels) for view in views])
        rows = capture_rows_tensor(model, tensor.to(model.device, model.dtype))
        for place, (index, view) in enumerate(zip(indices, views, strict=True)):
            seen = seen_part(model, view)
            yield _Look(_ground(model, photos.mask(index), seen.pixels, seen.crop_box), rows, place)


def _whole_looks(model: AttentionModel, photos: PhotoSet, sources: Sequence[str]) -> Iterator[_Look]:
    """Every photo in order, captured whole and completed for some sources."""
    for index in range(len(photos)):
        capture = capture_attention(model, photos.load(index))
        for source in sources:
            capture = complete_capture(model, capture, ViewSettings(source=source))
        yield _Look(_ground(model, photos.mask(index), capture.view, capture.crop_box), capture)


def _ground(model: AttentionModel, mask: np.ndarray | None, view: np.ndarray, crop_box: CropBox) -> _Ground:
    outline = None
    if mask is not None:
        mask = mask_on_view(mask, crop_box, view.shape[:2])
        outline = mask_outline(mask, model.layout.patch_size // 2)
    return _Ground(flat_ground(view, model.layout.grid), mask, outline)


def _maps(look: _Look, layer: int, wanted: Sequence[tuple[str, str]], aggregations: Sequence[str]) -> Iterator[_Map]:
    if isinstance(look.seen, AttentionRows):
        yield from _row_maps(look.seen.patch_attention(layer)[look.place], aggregations)
        return
    for source, sinks in wanted:
        yield from _source_maps(look.seen, ViewSettings(source=source, layer=layer, sinks=sinks), aggregations)


def _row_maps(heads: np.ndarray, aggregations: Sequence[str]) -> Iterator[_Map]:
    agreement = head_agreement(np.abs(heads))
    for aggregation in aggregations:
        if aggregation in possible_aggregations(len(heads)) or aggregation not in AGGREGATIONS:
            yield _Map(TITLES.get(aggregation, aggregation), aggregate_heads(heads, aggregation), agreement)


def _source_maps(capture: AttentionCapture, settings: ViewSettings, aggregations: Sequence[str]) -> Iterator[_Map]:
    known = settings.source_info.aggregations
    possible = settings.source_info.possible(capture.num_heads(settings.layer))
    for aggregation in aggregations if known else ("mean",):
        if known and aggregation not in possible and aggregation in AGGREGATIONS:
            continue
        shown = replace(settings, aggregation=aggregation)
        words = [settings.source] * (not settings.source_info.plain) + [TITLES[aggregation]] * bool(known)
        words += ["no sinks"] * (settings.sinks == "leave_out")
        agreement = head_agreement(np.abs(source_maps(capture, shown).maps))
        yield _Map(", ".join(words), grid_map(capture, shown), agreement)


def _heat(model: AttentionModel, grid_map: np.ndarray) -> np.ndarray:
    (rows, cols), (height, width) = model.layout.grid, model.layout.patch_shape
    return smooth_map(grid_map, (rows * height, cols * width), model.layout.patch_size)


def _answer(photos: PhotoSet, index: int, look: _Look, known_keys: frozenset[str]) -> dict[str, Any]:
    label = photos.class_names[photos.labels[index]]
    answer = {"photo": photos.names[index], "label": label, "predicted": None, "confidence": np.nan, "right": None}
    names = look.seen.class_names
    if not names:
        return answer
    probabilities = look.seen.probabilities[look.place]
    best = int(probabilities.argmax())
    right = is_right(names[best], label, known_keys)
    return answer | {"predicted": names[best], "confidence": float(probabilities[best]), "right": right}


def _measure(map_: _Map, heat: np.ndarray | None, ground: _Ground) -> dict[str, float]:
    masked = ground.mask is not None and heat is not None
    heat, strength = np.abs(heat) if masked else None, np.abs(map_.grid_map)
    return {
        "mass_on_mask": mass_on_mask(heat, ground.mask) if masked else np.nan,
        "pointing_game": pointing_game(heat, ground.mask) if masked else np.nan,
        "mass_on_outline": mass_on_mask(heat, ground.outline) if masked else np.nan,
        "border_share": border_share(strength),
        "flat_share": share_on(strength, ground.flat),
        "entropy": entropy(strength),
        "head_agreement": map_.agreement,
    }
