"""Which keys a query can reach: the geometry of a layer's attention, as data.

A layer has a grid of queries and a grid of keys, which differ where one of them is pooled, and its attention runs
inside windows: each query sees the keys of its own window. A `Partition` says which cells each window holds; everything
else follows from that table. Cells are numbered row by row.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

Grid = tuple[int, int]
"""``(rows, cols)``."""


@dataclass(frozen=True, eq=False)
class Windows:
    """The windows of a partition, as tables.

    Attributes:
        queries: int64 ``(window, slot)``, the number of the query cell; -1 for padding, whose result is dropped.
        keys: int64 ``(window, slot)``, the number of the key: first the padding cells, then the cells of the key grid.
        padding: number of padding cells, which fill windows that the grid does not.
        regions: int64 ``(window, slot)``, the region of each slot; pairs of two regions are masked. None if none is.
    """

    queries: np.ndarray
    keys: np.ndarray
    padding: int
    regions: np.ndarray | None

    @property
    def num_keys(self) -> int:
        """Number of keys, padding included."""
        return int(self.keys.max()) + 1

    @cached_property
    def allowed(self) -> np.ndarray | None:
        """Which pairs are not masked, bool ``(window, query slot, key slot)``; None if none is."""
        return None if self.regions is None else self.regions[:, :, None] == self.regions[:, None, :]

    @cached_property
    def places(self) -> np.ndarray:
        """The window and the slot of each query, int64 ``(query, 2)``."""
        window, slot = np.nonzero(self.queries >= 0)
        places = np.empty((len(window), 2), np.int64)
        places[self.queries[window, slot]] = np.stack([window, slot], 1)
        return places

    @cached_property
    def key_places(self) -> np.ndarray:
        """One window and slot of each key, int64 ``(key, 2)``; overlapping windows hold a key several times."""
        places = np.empty((self.num_keys, 2), np.int64)
        places[self.keys.ravel()] = np.stack(np.unravel_index(np.arange(self.keys.size), self.keys.shape), 1)
        return places


class Partition(ABC):
    """Which keys each query of a layer can reach."""

    @property
    @abstractmethod
    def query_grid(self) -> Grid:
        """The grid of the queries."""

    @property
    @abstractmethod
    def key_grid(self) -> Grid:
        """The grid of the keys, on which maps lie."""

    @property
    def words(self) -> str:
        """Where attention stays, for captions: ``"windows of 7 x 7 patches"``; empty if it reaches every key."""
        return ""

    @property
    def key_window(self) -> Grid:
        """The keys of one window, ``(rows, cols)``."""
        return self.key_grid

    @abstractmethod
    def query_cells(self) -> np.ndarray:
        """The number of the query cell, int64 ``(window, slot)``; negative for padding."""

    def key_cells(self) -> np.ndarray:
        """The number of the key cell, int64 ``(window, slot)``; negative, different for each one, for padding."""
        return self.query_cells()

    def sequence(self) -> np.ndarray:
        """The number of the key cell at each place of the sequence that enters the layer's block, int64 ``(key,)``."""
        return np.arange(self.key_grid[0] * self.key_grid[1])

    def regions(self) -> np.ndarray | None:
        """The region of each slot, int64 ``(window, slot)``; pairs of two regions are masked. None if none is."""
        return None

    def reach(self, row: int, col: int) -> np.ndarray:
        """The cells of the key grid that a query reaches, bool ``(rows, cols)``."""
        windows = windows_of(self)
        window, slot = windows.places[row * self.query_grid[1] + col]
        keys = windows.keys[window]
        if windows.allowed is not None:
            keys = keys[windows.allowed[window, slot]]
        reached = np.zeros(windows.num_keys, bool)
        reached[keys] = True
        return reached[windows.padding :].reshape(self.key_grid)


@lru_cache(maxsize=256)
def windows_of(partition: Partition) -> Windows:
    """The tables of a partition."""
    queries, keys = partition.query_cells(), partition.key_cells()
    padding = len(np.unique(keys[keys < 0]))
    _, outside = np.unique(-keys[keys < 0], return_inverse=True)
    numbers = keys + padding
    numbers[keys < 0] = outside
    return Windows(np.maximum(queries, -1), numbers, padding, partition.regions())


def cell_shape(size: tuple[int, int], grid: Grid) -> tuple[int, int]:
    """Height and width in pixels of a grid's cells on an input of `size`.

    Convention: layers halve their grid and round up, so a cell is the power of two that gives this many of them, and
    the last ones may lie beyond the edge; where none does, the grid covers the input evenly.
    """
    height, width = (_cell(pixels, count) for pixels, count in zip(size, grid, strict=True))
    return height, width


def cell_pixels(cells: np.ndarray, size: tuple[int, int], covered: tuple[int, int]) -> np.ndarray:
    """The pixels of an input of `size` whose middle lies in some cells of a grid, bool ``(H, W)``.

    Args:
        cells: bool ``(rows, cols)``.
        size: height and width of the input in pixels.
        covered: height and width in pixels of what the grid covers, at least the input.
    """
    rows, cols = (
        ((np.arange(pixels) + 0.5) * count / whole).astype(int)
        for pixels, count, whole in zip(size, cells.shape, covered, strict=True)
    )
    return cells[np.ix_(rows, cols)]


def _cell(pixels: int, count: int) -> int:
    if pixels % count == 0:
        return pixels // count
    power = 1 << round(float(np.log2(pixels / count)))
    return power if -(-pixels // power) == count else max(1, round(pixels / count))


def merges(fine: Grid, coarse: Grid) -> bool:
    """Whether pooling whole cells of one grid gives another: so many along each axis, fewer in the last ones."""
    return all(new <= old and -(-old // _step(old, new)) == new for old, new in zip(fine, coarse, strict=True))


def _step(old: int, new: int) -> int:
    return -(-old // new)


def unmerge(grid_map: np.ndarray, grid: Grid) -> np.ndarray:
    """A map on the grid from which pooling made its own: each value is spread evenly over the cells that were merged.

    Args:
        grid_map: float64 ``(rows, cols)``.
        grid: ``(rows, cols)`` of the result, for which `merges` holds.
    """
    values = grid_map
    for axis, (old, new) in enumerate(zip(grid, grid_map.shape, strict=True)):
        owner = np.arange(old) // _step(old, new)
        shares = np.bincount(owner, minlength=new)[owner].reshape((-1, 1) if axis == 0 else (1, -1))
        values = values.take(owner, axis) / shares
    return values


def spread(grid_map: np.ndarray, grid: tuple[int, int]) -> np.ndarray:
    """A map on another grid of the same area: each patch's value is spread evenly over its area, so the sum stays.

    Args:
        grid_map: float64 ``(rows, cols)``.
        grid: ``(rows, cols)`` of the result.
    """
    down, across = (_overlaps(old, new) for old, new in zip(grid_map.shape, grid, strict=True))
    return np.asarray(down @ grid_map @ across.T)


def _overlaps(old: int, new: int) -> np.ndarray:
    """The share of each old cell of a line that lies in each new one, ``(new, old)``."""
    starts, ends = np.arange(new) / new, np.arange(1, new + 1) / new
    from_, to = np.arange(old) / old, np.arange(1, old + 1) / old
    common = np.minimum(ends[:, None], to) - np.maximum(starts[:, None], from_)
    return np.asarray(common.clip(0) * old)
