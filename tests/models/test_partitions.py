"""The geometry of windows: properties that hold for every kind, and Swin's and Hiera's own functions as references."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from timm.models.hiera import Reroll, Unroll
from timm.models.swin_transformer import SwinTransformerBlock, window_partition, window_reverse

from vitattn_widgets.models.partition_kinds import (
    Dilated,
    Global,
    Local,
    MaskUnits,
    Pooled,
    PooledTiled,
    Shifted,
    Tiled,
)
from vitattn_widgets.models.partitions import Partition, cell_pixels, cell_shape, windows_of

TWO = (2, 2)

PARTITIONS = [
    Global((5, 7)),
    Pooled((6, 4), (3, 2)),
    Pooled((2, 3), (4, 6)),
    Tiled((8, 12), (4, 4)),
    Tiled((7, 11), (4, 3)),
    Shifted((8, 12), (4, 4), (2, 2)),
    Shifted((7, 11), (4, 4), (2, 2)),
    Shifted((8, 4), (4, 4), (2, 0)),
    Dilated((8, 12), (2, 4)),
    PooledTiled((8, 12), (4, 4), TWO),
    PooledTiled((14, 20), (8, 8), TWO),
    MaskUnits((16, 24), (TWO, TWO, TWO), 6),
    MaskUnits((16, 24), (TWO, TWO, TWO), 6, TWO),
    MaskUnits((4, 6), (TWO,), 1, TWO),
    Local((8, 12), (4, 4), 2),
]
TILING = [one for one in PARTITIONS if not isinstance(one, Local)]
MUTUAL = [one for one in TILING if one.query_grid == one.key_grid]
WHOLE = [one for one in PARTITIONS if isinstance(one, Global | Pooled)]


@pytest.fixture(params=PARTITIONS, ids=str)
def partition(request: pytest.FixtureRequest) -> Partition:
    return request.param


def reach_matrix(partition: Partition) -> np.ndarray:
    """The matrix ``(query, key)`` of `Partition.reach`, query by query."""
    rows, cols = partition.query_grid
    return np.array([partition.reach(*divmod(query, cols)).ravel() for query in range(rows * cols)])


def test_every_query_is_in_one_window_and_every_key_in_at_least_one(partition: Partition) -> None:
    windows = windows_of(partition)
    queries = windows.queries[windows.queries >= 0]
    assert sorted(queries) == list(range(partition.query_grid[0] * partition.query_grid[1]))
    assert set(windows.keys.ravel()) == set(range(windows.num_keys))
    assert windows.num_keys == windows.padding + partition.key_grid[0] * partition.key_grid[1]


@pytest.mark.parametrize("partition", TILING, ids=str)
def test_windows_tile(partition: Partition) -> None:
    keys = windows_of(partition).keys.ravel()
    assert len(np.unique(keys)) == len(keys)


def test_places_undo_the_tables(partition: Partition) -> None:
    windows = windows_of(partition)
    for query, (window, slot) in enumerate(windows.places):
        assert windows.queries[window, slot] == query
    for key, (window, slot) in enumerate(windows.key_places):
        assert windows.keys[window, slot] == key


def test_every_query_reaches_a_key_and_every_key_is_reached(partition: Partition) -> None:
    reach = reach_matrix(partition)
    assert reach.any(1).all()
    assert reach.any(0).all()


@pytest.mark.parametrize("partition", WHOLE, ids=str)
def test_every_key_of_a_global_layer_is_reached(partition: Partition) -> None:
    assert reach_matrix(partition).all()
    assert partition.words == ""


@pytest.mark.parametrize("partition", MUTUAL, ids=str)
def test_attention_among_cells_of_one_grid_is_mutual(partition: Partition) -> None:
    reach = reach_matrix(partition)
    np.testing.assert_array_equal(reach, reach.T)
    assert reach.diagonal().all()


def test_a_shift_by_nothing_is_no_shift_and_a_shift_and_its_undoing_are_the_identity() -> None:
    np.testing.assert_array_equal(reach_matrix(Shifted((8, 12), (4, 4), (0, 0))), reach_matrix(Tiled((8, 12), (4, 4))))
    windows = windows_of(Shifted((7, 11), (4, 4), (2, 2)))
    numbers = torch.arange(77.0).view(1, 7, 11, 1)
    padded = torch.nn.functional.pad(numbers.roll((-2, -2), (1, 2)), (0, 0, 0, 1, 0, 1), value=-1)
    cut = window_partition(padded, (4, 4))
    np.testing.assert_array_equal(cut.flatten(1).numpy().astype(int), windows.queries)
    back = window_reverse(cut, (4, 4), 8, 12)[:, :7, :11].roll((2, 2), (1, 2))
    torch.testing.assert_close(back, numbers)


@pytest.mark.parametrize("grid", [(8, 12), (7, 11), (6, 9), (13, 5)])
def test_a_shifted_mask_is_swins(grid: tuple[int, int]) -> None:
    block = SwinTransformerBlock(8, grid, num_heads=2, window_size=4, shift_size=2, always_partition=True)
    allowed = windows_of(Shifted(grid, tuple(block.window_size), tuple(block.shift_size))).allowed
    np.testing.assert_array_equal(allowed, (block.attn_mask == 0).numpy())


@pytest.mark.parametrize(("left", "stride"), [(3, (1, 1)), (3, TWO), (2, (1, 1)), (1, TWO)])
def test_mask_units_are_in_hieras_order(left: int, stride: tuple[int, int]) -> None:
    grid, strides = (16, 24), [TWO] * left
    numbers = torch.arange(float(16 * 24))[None, :, None]
    sequence = Unroll(grid, (1, 1), strides)(numbers)[0, :, 0].numpy().astype(int)
    units = 6
    partition = MaskUnits(grid, tuple(strides), units, stride)
    np.testing.assert_array_equal(partition.key_cells(), sequence.reshape(-1, units).T)
    # a pooled sequence, brought back by timm, holds at each cell the largest number of the cells that it pools
    pooled = torch.from_numpy(sequence.astype(np.float32))[None, :, None]
    if stride != (1, 1):
        pooled = pooled.view(1, 4, -1, 1).amax(1)
    spatial = Reroll(grid, (1, 1), strides, [0, 1], 1)(pooled, int(stride != (1, 1)))[0, :, :, 0].numpy()
    order = np.empty(partition.query_cells().size, np.float32)
    order[partition.query_cells().T.ravel()] = pooled[0, :, 0].numpy()
    np.testing.assert_array_equal(order.reshape(partition.query_grid), spatial)


def test_pooled_windows_hold_the_cells_of_their_queries() -> None:
    for partition in (PooledTiled((8, 12), (4, 4), TWO), MaskUnits((16, 24), (TWO,) * 3, 6, TWO)):
        for row, col in np.ndindex(partition.query_grid):
            assert partition.reach(row, col)[2 * row : 2 * row + 2, 2 * col : 2 * col + 2].all()


def test_a_halo_reaches_its_rim_and_no_further() -> None:
    reached = Local((8, 12), (4, 4), 2).reach(5, 5)
    assert reached[2:8, 2:10].all()
    assert reached.sum() == 6 * 8


@pytest.mark.parametrize(
    ("size", "grid", "shape"),
    [
        ((224, 224), (7, 7), (32, 32)),
        ((56, 84), (14, 21), (4, 4)),
        ((56, 84), (7, 11), (8, 8)),  # of the last column, half lies beyond the edge
        ((224, 224), (27, 27), (8, 8)),  # overlapping patches
        ((64, 96), (2, 4), (32, 24)),
    ],
)
def test_the_size_of_a_cell(size: tuple[int, int], grid: tuple[int, int], shape: tuple[int, int]) -> None:
    assert cell_shape(size, grid) == shape


def test_the_pixels_of_cells_that_lie_partly_beyond_the_edge() -> None:
    cells = np.random.default_rng(0).random((7, 11)) < 0.4
    whole = np.kron(cells, np.ones((8, 8), bool))
    np.testing.assert_array_equal(cell_pixels(cells, (56, 84), (56, 88)), whole[:, :84])
