"""The order of a model's tokens: prefix tokens, the patch grid, and the queries that they offer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import SettingsError
from .partitions import Partition, windows_of

Query = str | tuple[int, int]
"""A prefix token's name (``"class"``), a patch ``(row, col)``, ``"mean"``, ``"pool"``, or names joined by ``+``."""


@dataclass(frozen=True)
class TokenLayout:
    """The tokens of one model on one input size.

    Attributes:
        grid: ``(rows, cols)`` of the patches, row first.
        prefix: names of the tokens before the patches, in timm's order: ``"class"``, ``"dist"``, ``"reg0"``, ...
        patch_shape: height and width of a patch in pixels of the view.
        default_query: the query whose attention the classifier reads; without a classifier, what its pooling reads.
        read: every query that the classifier reads in the last layer (two for a distilled model); empty if the model
            has no classifier.
    """

    grid: tuple[int, int]
    prefix: tuple[str, ...]
    patch_shape: tuple[int, int]
    default_query: str
    read: tuple[str, ...]

    @property
    def patch_size(self) -> int:
        """Side of a patch in pixels of the view, the longer one if they differ; it sets the width of the smoothing."""
        return max(self.patch_shape)

    @property
    def num_patches(self) -> int:
        return self.grid[0] * self.grid[1]


@dataclass(frozen=True)
class LayerTokens:
    """The query and key tokens of one layer: in most layers all of the model's, in CaiT and pooling layers fewer.

    Attributes:
        query_prefix: names of the non-patch queries, in their order.
        query_patches: whether the patches are queries too.
        key_prefix: names of the non-patch keys, in their order; the patches always follow.
        grid: ``(rows, cols)`` of the patches that are keys, on which maps lie.
        partition: which of them each patch query reaches; None if all do and queries and keys have one grid.
    """

    query_prefix: tuple[str, ...]
    query_patches: bool
    key_prefix: tuple[str, ...]
    grid: tuple[int, int]
    partition: Partition | None = None

    @property
    def query_grid(self) -> tuple[int, int]:
        """``(rows, cols)`` of the patches that are queries."""
        return self.grid if self.partition is None else self.partition.query_grid

    @property
    def entering_grid(self) -> tuple[int, int]:
        """``(rows, cols)`` of the patches that enter the layer's block: the finer one of queries and keys."""
        return max(self.query_grid, self.grid)

    @property
    def padding(self) -> int:
        """Number of keys that fill the windows beyond the grid; they stand before the patches."""
        return 0 if self.partition is None else windows_of(self.partition).padding

    @property
    def first_patch(self) -> int:
        """The number of the first key that is a patch."""
        return len(self.key_prefix) + self.padding

    @property
    def names(self) -> tuple[str, ...]:
        """The queries that have a name; each patch ``(row, col)`` may be one too."""
        both = ("class+dist",) if {"class", "dist"} <= set(self.query_prefix) else ()
        return (*self.query_prefix, *both, *(("mean",) if self.query_patches else ()))

    def default(self, wanted: str) -> str:
        """The query that None stands for: `wanted` if this layer has it, else the mean of the patches."""
        if wanted in self.names:
            return wanted
        return "mean" if self.query_patches else self.query_prefix[0]

    def possible(self) -> str:
        """The queries of this layer as messages list them."""
        named = ", ".join(repr(name) for name in self.names)
        if not self.query_patches:
            return named
        rows, cols = self.query_grid
        return f"{named} or a patch (row, col) with row 0..{rows - 1}, col 0..{cols - 1}"

    def query_indices(self, query: Query, where: str) -> np.ndarray:
        """The rows of the attention matrix whose mean is the attention of `query`.

        Args:
            query: a name of `names` or a patch ``(row, col)``.
            where: model and layer, for the message.

        Returns:
            int64 ``(rows to average,)``.

        Raises:
            SettingsError: the query does not exist in this layer.
        """
        rows, cols = self.query_grid
        first_patch = len(self.query_prefix)
        if isinstance(query, str):
            if query == "mean" and self.query_patches:
                return np.arange(first_patch, first_patch + rows * cols)
            parts = query.split("+")
            if all(part in self.query_prefix for part in parts):
                return np.array([self.query_prefix.index(part) for part in parts])
        elif self.query_patches and _is_pair_of_ints(query):
            row, col = (int(value) for value in query)
            if 0 <= row < rows and 0 <= col < cols:
                return np.array([first_patch + row * cols + col])
        reason = " (no class token)" if query == "class" else ""
        raise SettingsError(f"query {query!r} does not exist in {where}{reason}; possible: {self.possible()}")


def _is_pair_of_ints(query: object) -> bool:
    return (  # True and False are ints to Python
        isinstance(query, Sequence)
        and len(query) == 2
        and all(isinstance(value, int | np.integer) and not isinstance(value, bool) for value in query)
    )


def resolve_index(index: int, count: int, noun: str, where: str) -> int:
    """Turn a layer, head or class number into ``0..count-1``; negative numbers count from the end.

    Raises:
        SettingsError: not a whole number, or out of range.
    """
    if isinstance(index, bool) or not isinstance(index, int | np.integer):
        raise SettingsError(f"{noun} must be a whole number, got {index!r}; {where} has {noun}s 0..{count - 1}")
    if not -count <= index < count:
        raise SettingsError(f"{noun} {index} does not exist; {where} has {noun}s 0..{count - 1}")
    return int(index) % count


QUERY_WORDS = {
    "class": "class token",
    "dist": "distillation token",
    "class+dist": "mean of class and distillation token",
    "mean": "mean of the patches",
    "pool": "pooling latent",
}


def query_words(query: Query) -> str:
    """A query as people read it, for captions and titles."""
    if isinstance(query, str):
        return QUERY_WORDS.get(query, f"token {query}")
    row, col = query
    return f"patch at row {row}, col {col}"
