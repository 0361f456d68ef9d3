"""Attention followed through the layers: from one token's last state down to the tokens of the first layer.

Rollout and relevance are products of one matrix per layer, of which one row is shown. So a row vector is multiplied
down through the layers, and only a few rows of each matrix exist at once. Its positions are the model's prefix tokens,
then the patches, then the latents of a pool; a token that is not a query of a layer passes it unchanged.

Where pooling leads from one grid to the next (between the stages of Swin, inside a layer of PVT or Hiera), a weight is
spread evenly over the cells that were merged, and what is left at the first layer is brought onto the grid of the layer
that is shown. Weights that go to the padding of windows lead to no token and are left out; convolutions between layers,
which look at neighbours, are not followed.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from itertools import groupby

import numpy as np
import torch

from ..capture.attention import query_chunks
from ..capture.capture import AttentionCapture, CapturedLayer
from ..capture.targets import ClassGradients
from ..errors import SettingsError
from ..models.partitions import Grid, spread, unmerge
from ..models.tokens import Query
from .sources import FUSIONS

_Rows = Callable[[int, np.ndarray], np.ndarray]
"""Rows of a layer's matrix: layer number and queries in, float64 ``(len(queries), key)`` out."""


def positive_terms(
    capture: AttentionCapture, layer: int, queries: np.ndarray, gradients: ClassGradients
) -> torch.Tensor:
    """The positive part of gradient times attention, ``max(0, dy/dA * A)``, in some rows of a layer's matrix.

    Args:
        capture: from `capture_attention`.
        layer: from 0 on.
        queries: which rows.
        gradients: of the class.

    Returns:
        float32 ``(head, len(queries), key)``.
    """
    captured = capture.layers[layer]
    rows = captured.attention.rows(queries, torch.float32) * gradients.rows(layer, captured.values, queries)
    return rows[0].clamp_min(0)


def rollout_row(capture: AttentionCapture, layer: int, query: Query | None, fusion: str = "mean") -> np.ndarray:
    """A query's row of attention rollout (Abnar and Zuidema 2020, arXiv:2005.00928).

    ``A'_layer ... A'_1 A'_0`` with ``A' = (A + I) / row sum``: heads fused, the residual connection as the identity,
    rows renormalised. Layers side by side in one block are averaged; a pool has no residual connection.

    Args:
        capture: from `capture_attention`.
        layer: the last layer of the product; the first is layer 0.
        query: see `AttentionCapture.attention`.
        fusion: ``"mean"`` or ``"max"`` over the heads.

    Returns:
        float64 ``(prefix + patches,)``, which sums to 1.

    Raises:
        SettingsError: no such layer, query or fusion.
    """
    if fusion not in FUSIONS:
        raise SettingsError(
            f"rollout fuses the heads of every layer by {' or '.join(FUSIONS)}, not by {fusion!r}; choose one of these"
        )

    def rows(index: int, queries: np.ndarray) -> np.ndarray:
        heads = capture.layers[index].attention.rows(queries, torch.float32)[0]  # head query key
        # negative entries, which mixed heads have, count by their size: the rows must sum to 1 with the residual
        return np.abs((heads.mean(0) if fusion == "mean" else heads.amax(0)).double().numpy())

    def step(weights: np.ndarray, mixed: list[np.ndarray], residual: bool) -> tuple[np.ndarray, np.ndarray]:
        matrix = reduce(np.add, mixed) / len(mixed)
        total = matrix.sum(-1) + residual
        share = np.divide(weights, total, out=np.zeros_like(weights), where=total > 0)
        return share * residual, share @ matrix

    return _descend(capture, layer, _start(capture, layer, query), rows, step)


def relevance_row(capture: AttentionCapture, layer: int, query: Query | None, gradients: ClassGradients) -> np.ndarray:
    """A query's row of the relevance for a class (Chefer, Gur and Wolf 2021, arXiv:2103.15679, eq. 5 and 6).

    ``R <- R + C R`` from layer 0 to `layer`, starting from the identity, ``C`` the mean over the heads of the positive
    part of gradient times attention. The identity, by which a token is relevant for itself, is subtracted again.

    Args:
        capture: from `capture_attention`.
        layer: the last layer.
        query: see `AttentionCapture.attention`.
        gradients: of the class.

    Returns:
        float64 ``(prefix + patches,)``, never negative.

    Raises:
        SettingsError: no such layer or query.
    """

    def rows(index: int, queries: np.ndarray) -> np.ndarray:
        terms = positive_terms(capture, index, queries, gradients)
        return terms.mean(0).double().numpy()

    def step(weights: np.ndarray, mixed: list[np.ndarray], residual: bool) -> tuple[np.ndarray, np.ndarray]:
        return weights * residual, weights @ reduce(np.add, mixed)

    start = _start(capture, layer, query)
    row = _descend(capture, layer, start, rows, step)
    # without a residual connection, as in a pool, the identity never came down
    return row - _carried(capture, layer, start) if capture.layers[capture.layer_index(layer)].residual else row


def _query_positions(capture: AttentionCapture, layer: CapturedLayer) -> np.ndarray:
    """Positions of a layer's queries: the model's prefix tokens, the patches of the layer's queries, latents."""
    prefix, (rows, cols) = capture.layout.prefix, layer.tokens.query_grid
    named = [
        prefix.index(name) if name in prefix else len(prefix) + rows * cols + number
        for number, name in enumerate(layer.tokens.query_prefix)
    ]
    grid = range(len(prefix), len(prefix) + rows * cols) if layer.tokens.query_patches else ()
    return np.array([*named, *grid])


def _start(capture: AttentionCapture, layer: int, query: Query | None) -> np.ndarray:
    index = capture.layer_index(layer)
    captured = capture.layers[index]
    queries = capture.query_indices(index, query)
    positions = _query_positions(capture, captured)
    rows, cols = captured.tokens.query_grid
    start = np.zeros(max(len(capture.layout.prefix) + rows * cols, positions.max() + 1))
    start[positions[queries]] = 1 / len(queries)
    return start


def _descend(
    capture: AttentionCapture,
    layer: int,
    row: np.ndarray,
    rows: _Rows,
    step: Callable[[np.ndarray, list[np.ndarray], bool], tuple[np.ndarray, np.ndarray]],
) -> np.ndarray:
    """Multiply a row vector by the layers' matrices, from `layer` down to layer 0.

    Returns:
        float64 ``(prefix + patches,)``, the patches of the grid of `layer`.
    """
    prefix = len(capture.layout.prefix)
    last = capture.layer_index(layer)
    grid = capture.layers[last].tokens.query_grid
    for _, members in groupby(range(last, -1, -1), lambda index: capture.layers[index].block):
        block = list(members)
        captured = capture.layers[block[0]]
        tokens, padding = captured.tokens, captured.tokens.padding
        row = _unmerged(row, prefix, grid, tokens.query_grid)
        positions = _query_positions(capture, captured)
        keys = np.zeros(prefix + tokens.grid[0] * tokens.grid[1])
        own = keys[prefix - len(tokens.key_prefix) :]  # some layers lack prefix keys
        # Only queries with weight have rows that matter: near the top a handful, further down all tokens. Their weight
        # is taken out first, as keys and queries are the same positions, and then shared out in chunks.
        queries = np.flatnonzero(row[positions])
        weights = row[positions[queries]]
        row = row.copy()
        row[positions[queries]] = 0
        for part in query_chunks(np.arange(len(queries)), captured.num_heads, captured.num_keys):
            # what goes to padding leads to no token
            mixed = [rows(index, queries[part])[:, padding:] for index in block]
            stays, passed = step(weights[part], mixed, captured.residual)
            row[positions[queries[part]]] += stays
            own += passed
        grid = tokens.entering_grid
        row = _unmerged(row, prefix, tokens.query_grid, grid)
        row[: prefix + grid[0] * grid[1]] += _unmerged(keys, prefix, tokens.grid, grid)
    return _on_layer(row, prefix, grid, capture.layers[last].tokens.grid)


def _carried(capture: AttentionCapture, layer: int, row: np.ndarray) -> np.ndarray:
    """A row vector brought down to layer 0 by the poolings alone."""
    prefix, last = len(capture.layout.prefix), capture.layer_index(layer)
    grid = capture.layers[last].tokens.query_grid
    for captured in reversed(capture.layers[: last + 1]):
        for below in (captured.tokens.query_grid, captured.tokens.entering_grid):
            row, grid = _unmerged(row, prefix, grid, below), below
    return _on_layer(row, prefix, grid, capture.layers[last].tokens.grid)


def _on_layer(row: np.ndarray, prefix: int, grid: Grid, own: Grid) -> np.ndarray:
    """What has reached the tokens of layer 0, on the grid of the layer that is shown, without latents."""
    row = row[: prefix + grid[0] * grid[1]]
    if grid == own:
        return row
    return np.concatenate([row[:prefix], spread(row[prefix:].reshape(grid), own).ravel()])


def _unmerged(row: np.ndarray, prefix: int, old: Grid, new: Grid) -> np.ndarray:
    """A row vector whose patches lie on a grid, on the one from which pooling made it."""
    if old == new:
        return row
    return np.concatenate([row[:prefix], unmerge(row[prefix:].reshape(old), new).ravel()])
