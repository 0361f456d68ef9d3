"""The kinds of partitions: global and pooled attention, windows (shifted, dilated, pooled), mask units, blocks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from .partitions import Grid, Partition


def cells(grid: Grid) -> np.ndarray:
    """The numbers of a grid's cells, int64 ``(rows, cols)``."""
    return np.arange(grid[0] * grid[1]).reshape(grid)


def pad(numbers: np.ndarray, window: Grid) -> np.ndarray:
    """Extend a grid to whole windows at its bottom and right, by cells with a negative number of their own."""
    rows, cols = (-(-size // side) * side for size, side in zip(numbers.shape, window, strict=True))
    padded = -1 - np.arange(rows * cols).reshape(rows, cols)
    padded[: numbers.shape[0], : numbers.shape[1]] = numbers
    return padded


def tile(numbers: np.ndarray, window: Grid) -> np.ndarray:
    """Cut a grid of whole windows into these, row by row: ``(rows, cols)`` to ``(window, slot)``."""
    (rows, cols), (height, width) = numbers.shape, window
    parts = numbers.reshape(rows // height, height, cols // width, width)
    return parts.transpose(0, 2, 1, 3).reshape(-1, height * width)


def _size(window: Grid) -> str:
    return f"{window[0]} x {window[1]}"


class OneGrid(Partition):
    """Queries and keys are the same patches."""

    grid: Grid

    @property
    def query_grid(self) -> Grid:
        return self.grid

    @property
    def key_grid(self) -> Grid:
        return self.grid


@dataclass(frozen=True)
class Global(OneGrid):
    """Every query reaches every key of the same grid."""

    grid: Grid

    def query_cells(self) -> np.ndarray:
        return cells(self.grid).reshape(1, -1)


@dataclass(frozen=True)
class Pooled(Partition):
    """Every query reaches every key, and keys or queries are pooled: their grids differ."""

    queries: Grid
    keys: Grid

    @property
    def query_grid(self) -> Grid:
        return self.queries

    @property
    def key_grid(self) -> Grid:
        return self.keys

    def query_cells(self) -> np.ndarray:
        return cells(self.query_grid).reshape(1, -1)

    def key_cells(self) -> np.ndarray:
        return cells(self.key_grid).reshape(1, -1)


@dataclass(frozen=True)
class Tiled(OneGrid):
    """Windows side by side (Swin, MaxViT's blocks); padded at the bottom and right where they do not fit.

    Attributes:
        grid: of queries and keys.
        window: height and width of a window in cells.
    """

    grid: Grid
    window: Grid

    @property
    def words(self) -> str:
        one = self.window[0] >= self.grid[0] and self.window[1] >= self.grid[1]
        return "" if one else f"windows of {_size(self.window)} patches"

    @property
    def key_window(self) -> Grid:
        return self.window

    def query_cells(self) -> np.ndarray:
        return tile(pad(cells(self.grid), self.window), self.window)


@dataclass(frozen=True)
class Shifted(Tiled):
    """Windows of a grid that is rolled first (Swin's shifted windows), with a mask between what was not adjacent.

    Attributes:
        shift: rows and columns by which the grid is rolled up and to the left before it is cut.
    """

    shift: Grid

    @property
    def words(self) -> str:
        return f"windows of {_size(self.window)} patches, shifted by {_size(self.shift)}"

    def query_cells(self) -> np.ndarray:
        rolled = np.roll(cells(self.grid), (-self.shift[0], -self.shift[1]), (0, 1))
        return tile(pad(rolled, self.window), self.window)

    def regions(self) -> np.ndarray:
        # Swin numbers regions of the rolled and padded grid; cells see those of their own region alone
        rows, cols = (
            _regions(size, side, shift)
            for size, side, shift in zip(pad(cells(self.grid), self.window).shape, self.window, self.shift, strict=True)
        )
        return tile(3 * rows[:, None] + cols, self.window)


def _regions(size: int, side: int, shift: int) -> np.ndarray:
    """The region of each row (or column): before the last window, in it, or rolled in from the other edge."""
    if not shift:
        return np.zeros(size, int)
    places = np.arange(size)
    return (places >= size - side).astype(int) + (places >= size - shift)


@dataclass(frozen=True)
class Dilated(OneGrid):
    """Every n-th cell: a query reaches the cells at its own place in each step (MaxViT's grid, MobileViT).

    Attributes:
        grid: of queries and keys, a multiple of the step.
        step: rows and columns between two cells of one window.
    """

    grid: Grid
    step: Grid

    @property
    def words(self) -> str:
        return f"grids of one patch in every {_size(self.step)}" if self.step != (1, 1) else ""

    @property
    def key_window(self) -> Grid:
        return self.grid[0] // self.step[0], self.grid[1] // self.step[1]

    def query_cells(self) -> np.ndarray:
        (rows, cols), (down, across) = self.grid, self.step
        parts = cells(self.grid).reshape(rows // down, down, cols // across, across)
        return parts.transpose(1, 3, 0, 2).reshape(down * across, -1)


@dataclass(frozen=True)
class PooledTiled(Partition):
    """Windows whose queries are pooled (HieraDet's first layer of a stage).

    Attributes:
        grid: of the keys.
        window: height and width of a window in key cells.
        stride: key cells per query cell, in both directions; it divides the window.
    """

    grid: Grid
    window: Grid
    stride: Grid

    @property
    def query_grid(self) -> Grid:
        return self.grid[0] // self.stride[0], self.grid[1] // self.stride[1]

    @property
    def key_grid(self) -> Grid:
        return self.grid

    @property
    def words(self) -> str:
        return f"windows of {_size(self.window)} patches"

    @property
    def key_window(self) -> Grid:
        return self.window

    def query_cells(self) -> np.ndarray:
        window = (self.window[0] // self.stride[0], self.window[1] // self.stride[1])
        return tile(pad(cells(self.query_grid), window), window)

    def key_cells(self) -> np.ndarray:
        return tile(pad(cells(self.grid), self.window), self.window)


@dataclass(frozen=True)
class MaskUnits(Partition):
    """Hiera's mask units: windows whose cells lie in the order in which they are pooled.

    Attributes:
        grid: of the keys.
        strides: the poolings that are still to come; their product is the side of the smallest block of cells that
            lie side by side in the sequence.
        units: number of windows; 1 if every query reaches every key.
        stride: key cells per query cell, in both directions; 1 or the first of `strides`.
    """

    grid: Grid
    strides: tuple[Grid, ...]
    units: int
    stride: Grid = (1, 1)

    @property
    def query_grid(self) -> Grid:
        return self.grid[0] // self.stride[0], self.grid[1] // self.stride[1]

    @property
    def key_grid(self) -> Grid:
        return self.grid

    @property
    def words(self) -> str:
        rows = np.ptp(self.key_cells()[0] // self.grid[1]) + 1
        cols = np.ptp(self.key_cells()[0] % self.grid[1]) + 1
        return f"mask units of {rows} x {cols} patches" if self.units > 1 else ""

    def sequence(self) -> np.ndarray:
        return _unrolled(self.grid, self.strides)

    def query_cells(self) -> np.ndarray:
        left = self.strides if self.stride == (1, 1) else self.strides[1:]
        return _unrolled(self.query_grid, left).reshape(-1, self.units).T.copy()

    def key_cells(self) -> np.ndarray:
        return self.sequence().reshape(-1, self.units).T.copy()


def _unrolled(grid: Grid, strides: tuple[Grid, ...]) -> np.ndarray:
    """The cells in Hiera's sequence: after each stride, the cells at the same place of their blocks lie together."""
    numbers = cells(grid)[None]  # batch row col
    for down, across in strides:
        batch, rows, cols = numbers.shape
        parts = numbers.reshape(batch, rows // down, down, cols // across, across)
        numbers = parts.transpose(0, 2, 4, 1, 3).reshape(-1, rows // down, cols // across)
    return numbers.ravel()


@dataclass(frozen=True)
class Local(OneGrid):
    """Blocks that also see a rim around them (HaloNet); beyond the edges of the grid lies padding.

    Attributes:
        grid: of queries and keys, a multiple of the block.
        block: height and width of a block of queries.
        halo: width of the rim in cells.
    """

    grid: Grid
    block: Grid
    halo: int

    @property
    def words(self) -> str:
        return f"blocks of {_size(self.block)} patches and {self.halo} patches around them"

    @property
    def key_window(self) -> Grid:
        return self.block[0] + 2 * self.halo, self.block[1] + 2 * self.halo

    def query_cells(self) -> np.ndarray:
        return tile(cells(self.grid), self.block)

    def key_cells(self) -> np.ndarray:
        (rows, cols), halo = self.grid, self.halo
        around = -1 - np.arange((rows + 2 * halo) * (cols + 2 * halo)).reshape(rows + 2 * halo, -1)
        around[halo : halo + rows, halo : halo + cols] = cells(self.grid)
        windows = sliding_window_view(around, self.key_window)[:: self.block[0], :: self.block[1]]
        return windows.reshape(-1, self.key_window[0] * self.key_window[1]).copy()
