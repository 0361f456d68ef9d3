"""The raw maps of every source: arithmetic on a capture and on what `complete_capture` added to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch

from ..capture.attention import query_chunks
from ..capture.cache import remembered
from ..capture.capture import AttentionCapture
from ..capture.contributions import ClassContributions
from ..capture.targets import ClassGradients
from ..errors import SettingsError
from ..models.partitions import spread
from ..models.tokens import Query
from .aggregate import aggregate_heads
from .propagation import positive_terms, relevance_row, rollout_row
from .resolve import ResolvedMap, resolve
from .settings import LEFT_OUT, MapSettings
from .sinks import find_sinks, leave_out


class LogitParts(NamedTuple):
    """How a logit is divided, in its points; biases, and what passes the maps' layer by, are the rest.

    Attributes:
        patches: what lies on patches.
        prefix: what lies on prefix tokens.
        logit: the whole.
    """

    patches: float
    prefix: float
    logit: float

    @property
    def rest(self) -> float:
        return self.logit - self.patches - self.prefix


@dataclass(frozen=True, eq=False)
class SourceMaps:
    """The raw maps of one source, before aggregation.

    Attributes:
        maps: float32 ``(heads, rows, cols)``; a single one if the source has no heads. Over all patches their mean sums
            to 1, and for plain attention each of them does; all zeros if there is nothing to show.
            In a source of contributions (`Source.signed`) they are in its unit and have signs.
        prefix_share: float32 ``(heads,)`` in 0..1, the share of the prefix tokens, which the maps leave out; of
            contributions 0, as `parts` says more.
        parts: of contributions, how the logit is divided; None for other sources.
    """

    maps: np.ndarray
    prefix_share: np.ndarray
    parts: LogitParts | None = None


@dataclass(frozen=True, eq=False)
class RawMap:
    """The map that settings choose, before smoothing, and what it was computed from.

    Attributes:
        resolved: the settings, resolved.
        heads: float32 ``(heads, rows, cols)``, the source's maps; without the sinks if these are left out.
        prefix_share: see `SourceMaps`.
        parts: see `SourceMaps`.
        grid_map: float32 ``(rows, cols)``, one value per patch.
        with_sinks: `grid_map` before sinks were left out.
    """

    resolved: ResolvedMap
    heads: np.ndarray
    prefix_share: np.ndarray
    parts: LogitParts | None
    grid_map: np.ndarray
    with_sinks: np.ndarray

    @property
    def share(self) -> float:
        """The prefix share of the map, 0..1: of its head, or the mean over the heads."""
        head = self.resolved.head
        return float(self.prefix_share.mean() if head is None else self.prefix_share[head])


def raw_map(capture: AttentionCapture, settings: MapSettings) -> RawMap:
    """The raw map that settings choose.

    Raises:
        SettingsError: a layer, head, query or class that this capture does not have, an aggregation that the source
            does not have, or a capture without what the source needs (`complete_capture`).
    """
    resolved = resolve(capture, settings)
    source = _source_maps(capture, resolved)
    whole = _one_map(source.maps, resolved)
    if resolved.sinks not in LEFT_OUT:
        return RawMap(resolved, source.maps, source.prefix_share, source.parts, whole, whole)
    # before aggregation: a sink of one head must not decide a maximum or a standard deviation over the heads
    sinks = find_sinks(capture, resolved.layer)
    if resolved.source.signed:  # points of the logit stay what they are
        heads = np.where(sinks, np.float32(0), source.maps)
    else:
        heads = leave_out(source.maps, sinks, each=resolved.source.plain)
    return RawMap(resolved, heads, source.prefix_share, source.parts, _one_map(heads, resolved), whole)


def grid_map(capture: AttentionCapture, settings: MapSettings) -> np.ndarray:
    """The raw map that settings choose, one value per patch: float32 ``(rows, cols)``; raises as `raw_map` does."""
    return raw_map(capture, settings).grid_map


def _one_map(maps: np.ndarray, resolved: ResolvedMap) -> np.ndarray:
    if resolved.source.no_head:
        return maps[0]
    return aggregate_heads(maps, resolved.aggregation) if resolved.head is None else maps[resolved.head]


def source_maps(capture: AttentionCapture, settings: MapSettings) -> SourceMaps:
    """The raw maps of the settings' source, layer, query and class, before a head or an aggregation is applied.

    Raises:
        SettingsError: as `raw_map` does.
    """
    return _source_maps(capture, resolve(capture, settings))


def _source_maps(capture: AttentionCapture, resolved: ResolvedMap) -> SourceMaps:
    layer, query = resolved.layer, resolved.query
    if resolved.source.plain:
        return SourceMaps(*capture.split_attention(layer, query))
    fusion = resolved.aggregation if resolved.source.fuses_heads else None
    # only what these maps depend on, so that a new head or aggregation finds them again
    question = (layer, query, resolved.target, fusion)
    return remembered(capture, ("maps", resolved.source.name), question, lambda: _compute(capture, resolved))


def _compute(capture: AttentionCapture, resolved: ResolvedMap) -> SourceMaps:
    layer, query = resolved.layer, resolved.query
    match resolved.source.name:
        case "norm":
            rows = norm_rows(capture, layer, query)
        case "gradient":
            rows = gradient_rows(capture, layer, query, capture.class_gradients(resolved.target))
        case "rollout":
            rows = rollout_row(capture, layer, query, resolved.aggregation)[None]
        case "gradient_late":
            rows = late_gradient_row(capture, layer, query, capture.class_gradients(resolved.target))[None]
        case "contribution" | "contribution_heads" | "contribution_sum":
            return contribution_maps(capture, resolved)
        case "relevance":
            rows = relevance_row(capture, layer, query, capture.class_gradients(resolved.target))[None]
        case other:
            raise NotImplementedError(f"no arithmetic for the source {other!r}")
    grid = capture.layers[layer].tokens.grid
    return _split(rows, rows.shape[-1] - grid[0] * grid[1], grid)


def norm_rows(capture: AttentionCapture, layer: int, query: Query | None) -> np.ndarray:
    """Each head's attention times the length of its projected values: ``|A_qj| ||v_j W_o^h||``.

    Kobayashi et al. 2020, "Attention is Not Only a Weight", eq. 5 (doi:10.18653/v1/2020.emnlp-main.574), head by head.

    Returns:
        float64 ``(head, key)``.

    Raises:
        SettingsError: no such layer or query, or a capture without value norms.
    """
    if not capture.value_norms:
        raise SettingsError(
            "this capture holds no value norms, which come from the model's output projections; add them first: "
            "capture = va.complete_capture(model, capture, settings)"
        )
    return np.abs(capture.attention(layer, query).astype(np.float64)) * capture.value_norms[capture.layer_index(layer)]


def gradient_rows(capture: AttentionCapture, layer: int, query: Query | None, gradients: ClassGradients) -> np.ndarray:
    """Positive part of gradient times attention in each head, ``max(0, dy/dA * A)``, averaged over the query's rows.

    ``dy/dA * A`` is, to first order, what the class's logit would lose without that attention weight; Chefer, Gur and
    Wolf 2021 (arXiv:2103.15679) sum this term over the layers.

    Returns:
        float64 ``(head, key)``.

    Raises:
        SettingsError: no such layer or query.
    """
    index = capture.layer_index(layer)
    captured = capture.layers[index]
    queries = capture.query_indices(index, query)
    total = np.zeros((captured.num_heads, captured.num_keys))
    for chunk in query_chunks(queries, captured.num_heads, captured.num_keys):
        # each row's positive part is taken before the mean: opposite signs of two queries must not cancel
        terms = positive_terms(capture, index, chunk, gradients)
        total += terms.sum(1, dtype=torch.float64).numpy()
    return total / len(queries)


def late_gradient_row(
    capture: AttentionCapture, layer: int, query: Query | None, gradients: ClassGradients
) -> np.ndarray:
    """`gradient_rows` averaged over the heads and summed over the last third of the layers, up to `layer`.

    A compromise between one layer's term and relevance, which runs through all layers: one layer alone misses what
    earlier ones brought to the tokens, and the first two thirds mostly look at colours and edges everywhere. A layer
    without the query contributes its own default query; rows of several tokens are summed, as their effects add up.
    Layers of other grids are brought onto that of `layer`, each patch's value spread evenly over its area.

    Returns:
        float64 ``(other keys + patches,)``, never negative.

    Raises:
        SettingsError: no such layer or query.
    """
    last = capture.layer_index(layer)
    grid = capture.layers[last].tokens.grid
    firsts = [capture.layers[index].tokens.first_patch for index in late_layers(capture, last)]
    others = max(len(capture.layout.prefix), *firsts)
    total = np.zeros(others + grid[0] * grid[1])
    for index in late_layers(capture, last):
        tokens = capture.layers[index].tokens
        known = query in tokens.names
        if not isinstance(query, str):  # a patch is another one on another grid
            known = tokens.query_patches and tokens.query_grid == capture.layers[last].tokens.query_grid
        # in the last layer, which the settings name, an unknown query is an error
        own_query = capture.query_or_default(index, query if known or index == last else None)
        rows = gradient_rows(capture, index, own_query, gradients).mean(0)
        if tokens.grid != grid:
            patches = spread(rows[tokens.first_patch :].reshape(tokens.grid), grid).ravel()
            rows = np.concatenate([rows[: tokens.first_patch], patches])
        # keys are aligned at the end: layers may lack prefix keys, but all of them have the patches
        total[-len(rows) :] += rows * len(capture.query_indices(index, own_query))
    return total


def late_layers(capture: AttentionCapture, layer: int) -> range:
    """The layers that `late_gradient_row` sums: up to `layer`, as many as a third of the model's, rounded up."""
    last = capture.layer_index(layer)
    return range(max(0, last + 1 - -(-capture.num_layers // 3)), last + 1)


def contribution_maps(capture: AttentionCapture, resolved: ResolvedMap) -> SourceMaps:
    """Contributions to the logit of a class (Ali et al. 2022), by one of the three sources of them.

    - ``"contribution"``: of the tokens that enter the layer's block; with prefix tokens and constants they add up to
      the logit.
    - ``"contribution_heads"``: the part of each head of the layer.
    - ``"contribution_sum"``: the sum of three maps, each divided by the sum of its absolute values: of the tokens that
      enter the layer's block; through the attention of the late layers up to this one (`late_layers`); through that
      of all layers up to this one. Where a token enters late it has seen more, and what passes through attention shows
      where that came from; which sum serves best, ``docs/maps.md`` measures. Layers of other grids are brought onto
      that of this layer (`spread`).

    Raises:
        SettingsError: a capture without the contributions of the class.
    """
    found = capture.class_contributions(resolved.target)
    layer, grid = resolved.layer, capture.layers[resolved.layer].tokens.grid
    patches = grid[0] * grid[1]
    whole = found.layers[layer]
    by_head, tokens = whole.heads.astype(np.float64), whole.tokens.astype(np.float64)
    match resolved.source.name:
        case "contribution":
            maps = tokens[None, -patches:]
        case "contribution_heads":
            maps = by_head[:, -patches:]
        case _:
            maps = _summed(capture, found, late_layers(capture, layer)).reshape(1, -1)
    # of the summed source, the parts of its first map: that one alone divides the whole logit
    told = by_head.sum(0) if resolved.source.name == "contribution_heads" else tokens
    # in single precision, which a browser holds too: both then write the same sentence
    parts = np.array([told[-patches:].sum(), told[:-patches].sum(), found.logit], np.float32)
    return SourceMaps(
        maps.reshape(-1, *grid).astype(np.float32),
        np.zeros(len(maps), np.float32),
        LogitParts(*map(float, parts)),
    )


def _summed(capture: AttentionCapture, contributions: ClassContributions, late: range) -> np.ndarray:
    """The values of ``"contribution_sum"``, float64 ``(rows, cols)``: prefix tokens are no part of it."""
    layer = late[-1]
    grid = capture.layers[layer].tokens.grid

    def on_patches(values: np.ndarray, index: int) -> np.ndarray:
        own = capture.layers[index].tokens.grid
        return spread(values[-own[0] * own[1] :].reshape(own), grid)

    def through(layers: range) -> np.ndarray:
        maps = (on_patches(contributions.layers[index].heads.sum(0, dtype=np.float64), index) for index in layers)
        return sum(maps, np.zeros(grid))

    tokens = on_patches(contributions.layers[layer].tokens.astype(np.float64), layer)
    maps = (tokens, through(late), through(range(layer + 1)))
    return sum((_by_size(one) for one in maps), np.zeros(grid)) / len(maps)


def _by_size(values: np.ndarray) -> np.ndarray:
    size = np.abs(values).sum()
    return values / size if size > 0 else np.zeros_like(values)


def _split(rows: np.ndarray, prefix: int, grid: tuple[int, int]) -> SourceMaps:
    """Remove the prefix tokens and divide all heads by the same number, so that they keep their weights."""
    left = rows[:, prefix:].sum(-1)  # head
    whole = rows.sum(-1)
    share = 1 - np.divide(left, whole, out=np.ones_like(left), where=whole > 0)
    mean = left.mean()
    maps = rows[:, prefix:] / mean if mean > 0 else np.zeros_like(rows[:, prefix:])
    return SourceMaps(maps.reshape(-1, *grid).astype(np.float32), share.clip(0, 1).astype(np.float32))
