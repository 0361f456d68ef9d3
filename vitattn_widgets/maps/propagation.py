"""Attention followed through the layers: what one token's last state is made of, down to the first layer's tokens.

Rollout and relevance are products of one matrix a layer, of which one row is shown. So a row vector goes down through
the layers, and of no matrix does more than a few rows exist at once. Its positions are the model's prefix tokens, then
the patches, then the latents of a pool; a token that a layer does not ask for passes it unchanged.
"""

from __future__ import annotations

from collections.abc import Callable
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


def rollout_row(capture: AttentionCapture, layer: int, query: Query | None, fusion: str = "mean") -> np.ndarray:
    """Attention rollout (Abnar and Zuidema 2020, arXiv:2005.00928), the row of a query.

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
            f"rollout fuses the heads of every layer by {' or '.join(FUSIONS)}, not by {fusion!r}; take one of these"
        )

    def rows(index: int, queries: np.ndarray) -> np.ndarray:
        heads = capture.layers[index].attention.rows(queries, torch.float32)[0]  # head query key
        return np.abs((heads.mean(0) if fusion == "mean" else heads.amax(0)).double().numpy())

    def step(weights: np.ndarray, mixed: list[np.ndarray], residual: bool) -> tuple[np.ndarray, np.ndarray]:
        matrix = sum(mixed) / len(mixed)
        total = matrix.sum(-1) + residual
        share = np.divide(weights, total, out=np.zeros_like(weights), where=total > 0)
        return share * residual, share @ matrix

    return _descend(capture, layer, _start(capture, layer, query), rows, step)


def relevance_row(capture: AttentionCapture, layer: int, query: Query | None, gradients: ClassGradients) -> np.ndarray:
    """Relevance of every token for a class (Chefer, Gur and Wolf 2021, arXiv:2103.15679, eq. 5 and 6), a query's row.

    ``R <- R + C R`` from layer 0 to `layer`, starting from the identity, ``C`` the mean over the heads of the positive
    part of gradient times attention. The identity, which says that a token is relevant for itself, is taken off again.

    Args:
        capture: from `capture_attention`.
        layer: the last layer.
        query: see `AttentionCapture.attention`.
        gradients: of the class.

    Returns:
        float64 ``(prefix + patches,)``, not negative.

    Raises:
        SettingsError: no such layer or query.
    """

    def rows(index: int, queries: np.ndarray) -> np.ndarray:
        seen = capture.layers[index]
        product = seen.attention.rows(queries, torch.float32) * gradients.rows(index, seen.values, queries)
        return product[0].clamp_min(0).mean(0).double().numpy()

    def step(weights: np.ndarray, mixed: list[np.ndarray], residual: bool) -> tuple[np.ndarray, np.ndarray]:
        return weights * residual, weights @ sum(mixed)

    start = _start(capture, layer, query)
    row = _descend(capture, layer, start, rows, step)
    return row - start[: len(row)] if capture.layers[capture.layer_index(layer)].residual else row


def _key_positions(capture: AttentionCapture, layer: CapturedLayer) -> np.ndarray:
    """Where a layer's keys stand among the model's prefix tokens and patches."""
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
    seen = capture.layers[index]
    query = capture.query_or_default(index, query)
    queries = seen.tokens.query_indices(query, f"layer {index} ({seen.name}) of {capture.model_name}")
    positions = _query_positions(capture, seen)
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
    """Multiply a row vector with the layers' matrices, from `layer` down to layer 0."""
    down = range(capture.layer_index(layer), -1, -1)
    for _, members in groupby(down, lambda index: capture.layers[index].block):
        block = list(members)
        seen = capture.layers[block[0]]
        positions, keys = _query_positions(capture, seen), _key_positions(capture, seen)
        asked = np.flatnonzero(row[positions])
        weights = row[positions[asked]]
        row = row.copy()
        row[positions[asked]] = 0
        for part in query_chunks(np.arange(len(asked)), seen.num_heads, seen.num_keys):
            stays, passed = step(weights[part], [rows(index, asked[part]) for index in block], seen.residual)
            row[positions[asked[part]]] += stays
            row[keys] += passed
    return row[: len(capture.layout.prefix) + capture.layout.num_patches]
