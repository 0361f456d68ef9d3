"""Attention inside windows, from operands that stay in windows: any row on the whole key grid, zeros outside."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..models.partitions import Partition, windows_of
from .attention import CHUNK_BYTES

MASKED = -100.0
"""What timm adds to the scores of masked pairs; after the softmax, nothing is left of them in float32."""


@dataclass(frozen=True)
class WindowAttention:
    """Softmax attention inside the windows of a partition.

    Its keys are the padding cells of the partition, then the cells of the key grid, row by row; it never holds more
    than the scores inside the windows.

    Attributes:
        q: ``(batch, window, head, query slot, width)``.
        k: ``(batch, window, head, key slot, width)``.
        scale: factor of the dot products, ``(head or 1, 1, 1)``.
        bias: added to the scores, ``(window or 1, head or 1, query slot, key slot)``, if any.
        partition: the windows.
    """

    q: Tensor
    k: Tensor
    scale: Tensor
    bias: Tensor | None
    partition: Partition

    def rows(self, queries: np.ndarray, dtype: torch.dtype) -> Tensor:
        """The rows of some queries, ``(batch, head, len(queries), key)``."""
        windows = windows_of(self.partition)
        window, slot = windows.places[queries].T
        q = self.q[:, window, :, slot].to(dtype).movedim(0, 1)  # batch query head width
        k = self.k[:, window].to(dtype)  # batch query head key width
        scores = (k @ q[..., None])[..., 0] * self.scale[:, 0].to(dtype)  # batch query head key
        if self.bias is not None:
            bias = self.bias[window if len(self.bias) > 1 else np.zeros_like(window), :, slot]  # query head key
            scores = scores + bias.to(dtype)
        if windows.allowed is not None:
            masked = torch.from_numpy(~windows.allowed[window, slot])  # query key
            scores = scores + MASKED * masked[:, None].to(scores.device, dtype)
        weights = scores.softmax(-1).movedim(1, 2)  # batch head query key
        keys = torch.from_numpy(windows.keys[window]).to(weights.device).expand_as(weights)
        whole = weights.new_zeros((*weights.shape[:-1], windows.num_keys))
        return whole.scatter_(-1, keys, weights)

    def sum_rows(self, queries: np.ndarray, dtype: torch.dtype) -> Tensor:
        """The sum of the rows of some queries, ``(batch, head, key)``, window by window: no row is built."""
        windows = windows_of(self.partition)
        counts = np.zeros(self.partition.query_grid[0] * self.partition.query_grid[1] + 1)
        np.add.at(counts, queries, 1)  # the last one, which padding has as -1, stays 0
        weight = torch.from_numpy(counts[windows.queries]).to(self.q.device, dtype)  # window slot
        batch, number, heads, _, _ = self.q.shape
        total = self.q.new_zeros((batch, heads, windows.num_keys), dtype=dtype)
        bytes_each = 8 * batch * heads * windows.queries.shape[1] * windows.keys.shape[1]
        size = max(1, CHUNK_BYTES // bytes_each)
        for start in range(0, number, size):
            part = slice(start, start + size)
            weights = self._weights(part, dtype)  # batch window head query key
            # a product of matrices, which takes a third of the time of the same einsum
            sums = (weight[part, None, None] @ weights).squeeze(-2).transpose(1, 2).flatten(2)  # batch head window*key
            keys = torch.from_numpy(windows.keys[part].ravel()).to(sums.device).expand_as(sums)
            total.scatter_add_(-1, keys, sums)
        return total

    def _weights(self, part: slice, dtype: torch.dtype) -> Tensor:
        """The attention of all query slots of some windows, ``(batch, window, head, query slot, key slot)``."""
        scores = (self.q[:, part].to(dtype) * self.scale.to(dtype)) @ self.k[:, part].to(dtype).mT
        if self.bias is not None:
            scores = scores + (self.bias[part] if len(self.bias) > 1 else self.bias).to(dtype)
        allowed = windows_of(self.partition).allowed
        if allowed is not None:
            masked = torch.from_numpy(~allowed[part]).to(scores.device, dtype)
            scores = scores + MASKED * masked[:, None]
        return scores.softmax(-1)


def on_queries(tensor: Tensor, partition: Partition) -> Tensor:
    """Results in windows, ``(batch, window, head, query slot, width)``, to ``(batch, head, query, width)``."""
    window, slot = windows_of(partition).places.T
    return tensor[:, window, :, slot].permute(1, 2, 0, 3)


def on_keys(tensor: Tensor, partition: Partition) -> Tensor:
    """Values in windows, ``(batch, window, head, key slot, width)``, to ``(batch, head, key, width)``."""
    window, slot = windows_of(partition).key_places.T
    return tensor[:, window, :, slot].permute(1, 2, 0, 3)


def added_on_keys(tensor: Tensor, partition: Partition) -> Tensor:
    """As `on_keys`, but where windows overlap, what a key has in all of them is added up."""
    windows = windows_of(partition)
    slots = tensor.transpose(1, 2).flatten(2, 3)  # batch head (window slot) width
    whole = slots.new_zeros((*slots.shape[:2], windows.num_keys, slots.shape[-1]))
    return whole.index_add_(2, torch.from_numpy(windows.keys.ravel()).to(slots.device), slots)
