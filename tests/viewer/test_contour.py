"""The outline of what a patch reaches, in Chromium."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from ..lab import CHROMIUM
from .twin_lab import Twin, running_twin

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")


@pytest.fixture(scope="module")
def twin() -> Iterator[Twin]:
    with running_twin() as running:
        yield running


def contour(twin: Twin, cells: np.ndarray) -> list[np.ndarray]:
    """The closed lines around some cells, each int ``(corner, 2)``."""
    lines = twin.call("outline", cells.astype(int).ravel().tolist(), list(cells.shape))
    return [np.array(line) for line in lines]


def inside(lines: list[np.ndarray], shape: tuple[int, int]) -> np.ndarray:
    """The cells inside an odd number of lines, by counting what a ray from each cell's middle to the left crosses."""
    crossed = np.zeros(shape, int)
    for line in lines:
        for (row, col), (to, _) in zip(line, np.roll(line, -1, 0), strict=True):
            crossed[min(row, to) : max(row, to), col:] += 1
    return crossed % 2 == 1


@pytest.mark.parametrize("seed", range(20))
def test_lines_enclose_the_cells_and_turn_at_every_corner(twin: Twin, seed: int) -> None:
    chance = np.random.default_rng(seed)
    cells = chance.random((chance.integers(1, 9), chance.integers(1, 9))) < chance.uniform(0.2, 0.9)
    lines = contour(twin, cells)
    np.testing.assert_array_equal(inside(lines, cells.shape), cells)
    length = 0
    for line in lines:
        steps = np.roll(line, -1, 0) - line
        assert ((steps == 0).sum(1) == 1).all()  # along a row or a column
        assert ((steps[:, 0] == 0) != (np.roll(steps, 1, 0)[:, 0] == 0)).all()  # the next one along the other
        length += np.abs(steps).sum()
    padded = np.pad(cells.astype(int), 1)
    assert length == sum(np.abs(np.diff(padded, axis=axis)).sum() for axis in (0, 1))


def test_a_window_is_one_line_of_four_corners(twin: Twin) -> None:
    cells = np.zeros((6, 8), bool)
    cells[1:4, 2:7] = True
    (line,) = contour(twin, cells)
    assert line.tolist() == [[1, 2], [1, 7], [4, 7], [4, 2]]


def test_cells_that_touch_at_a_corner_are_two_pieces_and_a_hole_has_its_own_line(twin: Twin) -> None:
    assert len(contour(twin, np.eye(3, dtype=bool))) == 3
    ring = np.ones((3, 3), bool)
    ring[1, 1] = False
    assert [len(line) for line in contour(twin, ring)] == [4, 4]
    assert contour(twin, np.zeros((2, 2), bool)) == []
