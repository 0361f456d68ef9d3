"""Attention followed through the layers: from one token's last state down to the tokens of the first layer.

Rollout and relevance are products of one matrix per layer, of which one row is shown. So a row vector is multiplied
down through the layers, and only a few rows of each matrix exist at once. Its positions are the model's prefix tokens,
then the patches, then the latents of a pool; a token that is not a query of a layer passes it unchanged.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from itertools import groupby

import numpy as np
import torch

from ..capture.attention import query_chunks
from ..capture.capture import AttentionCapture, CapturedLayer, ClassGradients
from ..errors import SettingsError
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
    return row - start[: len(row)] if capture.layers[capture.layer_index(layer)].residual else row


def _key_positions(capture: AttentionCapture, layer: CapturedLayer) -> np.ndarray:
    """Positions of a layer's keys among the model's prefix tokens and patches."""
    prefix = len(capture.layout.prefix)
    return np.arange(prefix - len(layer.tokens.key_prefix), prefix + capture.layout.num_patches)


def _query_positions(capture: AttentionCapture, layer: CapturedLayer) -> np.ndarray:
    prefix, patches = capture.layout.prefix, capture.layout.num_patches
    named = [
        prefix.index(name) if name in prefix else len(prefix) + patches + number
        for number, name in enumerate(layer.tokens.query_prefix)
    ]
    grid = range(len(prefix), len(prefix) + patches) if layer.tokens.query_patches else ()
    return np.array([*named, *grid])


def _start(capture: AttentionCapture, layer: int, query: Query | None) -> np.ndarray:
    index = capture.layer_index(layer)
    captured = capture.layers[index]
    queries = capture.query_indices(index, query)
    positions = _query_positions(capture, captured)
    tokens = len(capture.layout.prefix) + capture.layout.num_patches
    start = np.zeros(max(tokens, positions.max() + 1))
    start[positions[queries]] = 1 / len(queries)
    return start


def _descend(
    capture: AttentionCapture,
    layer: int,
    row: np.ndarray,
    rows: _Rows,
    step: Callable[[np.ndarray, list[np.ndarray], bool], tuple[np.ndarray, np.ndarray]],
) -> np.ndarray:
    """Multiply a row vector by the layers' matrices, from `layer` down to layer 0."""
    down = range(capture.layer_index(layer), -1, -1)
    for _, members in groupby(down, lambda index: capture.layers[index].block):
        block = list(members)
        captured = capture.layers[block[0]]
        positions, keys = _query_positions(capture, captured), _key_positions(capture, captured)
        # Only queries with weight have rows that matter: near the top a handful, further down all tokens. Their weight
        # is taken out first, as keys and queries are the same positions, and then shared out in chunks.
        queries = np.flatnonzero(row[positions])
        weights = row[positions[queries]]
        row = row.copy()
        row[positions[queries]] = 0
        for part in query_chunks(np.arange(len(queries)), captured.num_heads, captured.num_keys):
            stays, passed = step(weights[part], [rows(index, queries[part]) for index in block], captured.residual)
            row[positions[queries[part]]] += stays
            row[keys] += passed
    return row[: len(capture.layout.prefix) + capture.layout.num_patches]
