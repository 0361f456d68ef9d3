"""From the queries and keys that a layer really used to its attention rows.

A layer's attention matrix is never kept. Its operands are, and each class here computes any row of the matrix from them
on demand. Axes, throughout: ``... head query key``; leading axes (a batch) are allowed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.lib.stride_tricks import sliding_window_view
from torch import Tensor


def pick(tensor: Tensor, queries: np.ndarray) -> Tensor:
    """Rows of a ``(..., query, width)`` tensor; a single row, the usual case of rows-only capture, is a view."""
    if len(queries) == 1:
        return tensor.narrow(-2, int(queries[0]), 1)
    return tensor[..., torch.from_numpy(queries), :]


class Bias(Protocol):
    """A term added to the scores."""

    def rows(self, queries: np.ndarray) -> Tensor:
        """The bias of some queries, broadcastable to ``(..., head, len(queries), key)``."""
        ...


@dataclass(frozen=True)
class DenseBias:
    """A bias kept as the layer passed it: ``(..., head or 1, query or 1, key)``."""

    values: Tensor

    def rows(self, queries: np.ndarray) -> Tensor:
        return self.values if self.values.shape[-2] == 1 else pick(self.values, queries)


@dataclass(frozen=True)
class OffsetBias:
    """A bias between patches that depends only on their offset, kept as a table of offsets.

    The table takes ``(2 rows - 1)(2 cols - 1)`` values per head instead of ``patches ** 2``.

    Attributes:
        table: ``(head, 2 rows - 1, 2 cols - 1)``; entry ``[rows - 1 + dr, cols - 1 + dc]`` is for a key `dr` rows and
            `dc` columns from its query.
        from_prefix: ``(head, prefix, key)``, the rows of the prefix queries.
        to_prefix: ``(head, patch, prefix)``, the prefix keys' part of the rows of the patch queries.
    """

    table: Tensor
    from_prefix: Tensor
    to_prefix: Tensor

    def rows(self, queries: np.ndarray) -> Tensor:
        heads, prefix, keys = self.from_prefix.shape
        rows, cols = ((size + 1) // 2 for size in self.table.shape[1:])
        out = self.table.new_empty((heads, len(queries), keys))  # head query key
        for position, query in enumerate(queries.tolist()):
            if query < prefix:
                out[:, position] = self.from_prefix[:, query]
                continue
            row, col = divmod(query - prefix, cols)
            # the key in the grid's first row is `-row` away: the query's keys are one window of the table
            window = self.table[:, rows - 1 - row : 2 * rows - 1 - row, cols - 1 - col : 2 * cols - 1 - col]
            out[:, position, :prefix] = self.to_prefix[:, query - prefix]
            out[:, position, prefix:] = window.reshape(heads, -1)
        return out


def compact_bias(values: Tensor, grid: tuple[int, int]) -> Bias:
    """Keep a score bias in the smallest form that is exactly equal to it.

    Args:
        values: ``(head or 1, query or 1, key)``.
        grid: ``(rows, cols)`` of the patches.

    Returns:
        An `OffsetBias` if patch-to-patch entries depend on the offset alone (checked entry by entry), else a
        `DenseBias`.
    """
    rows, cols = grid
    heads, queries, keys = values.shape
    prefix = keys - rows * cols
    # copies throughout: the bias may be a view of the model's own parameter or buffer
    if queries != keys or prefix < 0:
        return DenseBias(values.clone())
    patches = values[:, prefix:, prefix:].reshape(heads, rows, cols, rows, cols).numpy()  # head row col row col
    # A query in a corner of the grid sees the offsets of one quadrant; the four corners see all of them, so their rows
    # fill the table. Then every query's window of it must equal its row: a learned bias without that structure, or a
    # mask, fails this and stays dense.
    table = np.empty((heads, 2 * rows - 1, 2 * cols - 1), patches.dtype)
    for row in (0, rows - 1):
        for col in (0, cols - 1):
            table[:, rows - 1 - row : 2 * rows - 1 - row, cols - 1 - col : 2 * cols - 1 - col] = patches[:, row, col]
    # the window of the first query is the last one: its keys have the largest offsets
    windows = sliding_window_view(table, (rows, cols), axis=(1, 2))[:, ::-1, ::-1]  # head row col row col
    if not np.array_equal(patches, windows):
        return DenseBias(values.clone())
    return OffsetBias(torch.from_numpy(table), values[:, :prefix].clone(), values[:, prefix:, :prefix].clone())


@dataclass(frozen=True)
class Scores:
    """Scaled dot products of queries and keys: ``q k^T scale + bias``, the input of a layer's softmax.

    Attributes:
        q: ``(..., head, query, width)``, after normalisation and rotary embedding.
        k: ``(..., head, key, width)``, likewise.
        scale: factor that multiplies the dot products.
        bias: position bias or mask, if any.
    """

    q: Tensor
    k: Tensor
    scale: float
    bias: Bias | None = None

    def rows(self, queries: np.ndarray, dtype: torch.dtype) -> Tensor:
        q, k = pick(self.q, queries), self.k
        if k.dtype != dtype:
            q, k = q.to(dtype), k.to(dtype)
        scores = (q * self.scale) @ k.mT  # ... head query key
        if self.bias is not None:
            scores = scores + self.bias.rows(queries).to(scores.device, dtype)
        return scores


class Attention(Protocol):
    """What a layer multiplied its values by, row by row."""

    def rows(self, queries: np.ndarray, dtype: torch.dtype) -> Tensor:
        """The rows of some queries, ``(..., head, len(queries), key)``."""
        ...


@runtime_checkable
class SummedAttention(Protocol):
    """Attention that adds up rows without building them."""

    def sum_rows(self, queries: np.ndarray, dtype: torch.dtype) -> Tensor:
        """The sum of the rows of some queries, ``(..., head, key)``."""
        ...


@dataclass(frozen=True)
class SoftmaxAttention:
    """Ordinary attention: softmax of the scores over the keys."""

    scores: Scores

    def rows(self, queries: np.ndarray, dtype: torch.dtype) -> Tensor:
        return self.scores.rows(queries, dtype).softmax(-1)


@dataclass(frozen=True)
class TalkingHeadsAttention:
    """CaiT's attention: heads are mixed before and after the softmax (Shazeer et al. 2020), so rows need not sum to 1.

    Attributes:
        scores: the scores before mixing.
        before: weight ``(head, head)`` and bias ``(head,)`` of the mix of the scores.
        after: likewise, of the mix of the softmax.
    """

    scores: Scores
    before: tuple[Tensor, Tensor]
    after: tuple[Tensor, Tensor]

    def rows(self, queries: np.ndarray, dtype: torch.dtype) -> Tensor:
        # Both mixes act on each query and key alone, so a few rows need no others. The second one is part of what
        # multiplies the values: its weights and bias have any sign, hence the rows of any sign and sum.
        softmax = _mix_heads(self.scores.rows(queries, dtype), self.before).softmax(-1)
        return _mix_heads(softmax, self.after)


def _mix_heads(maps: Tensor, linear: tuple[Tensor, Tensor]) -> Tensor:
    weight, bias = (part.to(maps.dtype) for part in linear)
    # a linear layer over the head axis: weight is (out head g, in head h), as torch keeps it
    return torch.einsum("gh,...hqk->...gqk", weight, maps) + bias[:, None, None]


@dataclass(frozen=True)
class GatedPositionAttention:
    """ConViT's attention (d'Ascoli et al. 2021): content and position softmax, mixed by one gate per head.

    Attributes:
        scores: the content scores.
        position: the position scores, ``(head, query, key)``.
        gate: ``(head,)`` in 0..1, the share of position.
    """

    scores: Scores
    position: Bias
    gate: Tensor

    def rows(self, queries: np.ndarray, dtype: torch.dtype) -> Tensor:
        gate = self.gate.to(dtype)[:, None, None]
        content = self.scores.rows(queries, dtype).softmax(-1)
        position = self.position.rows(queries).to(content.device, dtype).softmax(-1)
        mixed = (1 - gate) * content + gate * position
        return mixed / mixed.sum(-1, keepdim=True)


@dataclass(frozen=True)
class DifferentialAttention:
    """Differential attention (Ye et al. 2024): one softmax minus `factor` times another; entries can be negative."""

    first: Scores
    second: Scores
    factor: float

    def rows(self, queries: np.ndarray, dtype: torch.dtype) -> Tensor:
        first = self.first.rows(queries, dtype).softmax(-1)
        second = self.second.rows(queries, dtype).softmax(-1)
        return first - self.factor * second


def rebuild(value: Any, leaf: type, change: Callable[[Any], Any]) -> Any:
    """A copy of nested frozen dataclasses and tuples in which `change` replaces every instance of `leaf`."""
    if isinstance(value, leaf):
        return change(value)
    if isinstance(value, tuple):
        return tuple(rebuild(part, leaf, change) for part in value)
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{f.name: rebuild(getattr(value, f.name), leaf, change) for f in fields(value)})
    return value


CHUNK_BYTES = 32 << 20
"""Largest part of an attention matrix held at once while rows are averaged or checked."""


def query_chunks(queries: np.ndarray, heads: int, keys: int) -> Iterator[np.ndarray]:
    """Split queries so that their float64 rows stay within `CHUNK_BYTES`."""
    size = max(1, CHUNK_BYTES // (8 * heads * keys))
    for start in range(0, len(queries), size):
        yield queries[start : start + size]


def mean_row(attention: Attention, queries: np.ndarray, heads: int, keys: int, dtype: torch.dtype) -> Tensor:
    """Mean attention of some queries, ``(..., head, key)``, without ever building the whole matrix."""
    if len(queries) == 1:
        return attention.rows(queries, dtype).squeeze(-2)
    if isinstance(attention, SummedAttention):
        return attention.sum_rows(queries, dtype) / len(queries)
    total: Tensor | None = None
    for chunk in query_chunks(queries, heads, keys):
        part = attention.rows(chunk, dtype).sum(-2)  # ... head key
        total = part if total is None else total + part
    if total is None:
        raise ValueError("mean_row needs at least one query")
    return total / len(queries)
