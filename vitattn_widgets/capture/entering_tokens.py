"""Which tokens the numbers of a state belong to: states enter blocks as sequences, as grids or in windows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import ModelError
from ..models.partitions import Grid, Partition, spread, windows_of


def flat_tokens(parts: Sequence[Tensor], patches: int) -> np.ndarray:
    """What the tokens that enter a block of a flat model add, from what each number of their states adds.

    Args:
        parts: of each state, ``(batch, tokens, width)``; states of the pixels inside each patch (TNT),
            ``(patches, pixels, width)``, count to the patch.
        patches: number of patches.

    Returns:
        float64 ``(prefix + patches,)``.
    """
    prefix: list[Tensor] = []
    grid = torch.zeros(patches, dtype=torch.float64)
    for part in (one.sum(-1) for one in parts):
        if len(part) == patches:
            grid = grid + part.sum(1)
        elif part.shape[1] < patches:
            prefix.append(part[0])
        else:
            prefix.append(part[0, :-patches])
            grid = grid + part[0, -patches:]
    return torch.cat([*prefix, grid]).numpy()


def stage_tokens(
    parts: Sequence[Tensor],
    block: nn.Module,
    partition: Partition,
    grids: Iterable[Grid],
    prefix: int,
    windowed: tuple[int, ...],
) -> np.ndarray:
    """What the tokens that enter a block of a model with windows or stages add, on the grid of a layer's keys.

    Args:
        parts: of each state what each of its numbers adds, of the state's shape.
        block: the module that they enter.
        partition: of the layer.
        grids: the grids on which its tokens may lie, the likeliest first.
        prefix: largest number of tokens before the patches.
        windowed: the shape of what enters the attention itself; states of this shape may lie in its windows.

    Returns:
        float64 ``(prefix + patches,)``; where the tokens lie on a finer grid, those of each cell are added up.

    Raises:
        ModelError: the tokens lie on no grid.
    """
    rest: list[np.ndarray] = []
    total = np.zeros(partition.key_grid)
    windows = windows_of(partition)
    for part in parts:
        if not part.any():  # it is read by queries or gates alone, whatever it is
            continue
        if tuple(part.shape) == windowed and tuple(part.shape[-3:-1]) == windows.queries.shape:
            sums = part.sum(-1).reshape(windows.queries.shape).numpy()
            cells = np.zeros(partition.query_grid)
            cells.ravel()[windows.queries[windows.queries >= 0]] = sums[windows.queries >= 0]
        elif part.ndim == 4 and len(part) == 1:
            cells = part.sum(-1 if _channels_last(block) else 1)[0].numpy()
        elif part.ndim == 3 and len(part) == 1:
            sums = part.sum(-1)[0].numpy()
            grid = _grid(len(sums), prefix, grids)
            first = len(sums) - grid[0] * grid[1]
            rest.append(sums[:first])
            cells = np.zeros(grid)
            cells.ravel()[partition.sequence() if grid == partition.key_grid else slice(None)] = sums[first:]
        else:
            raise ModelError(f"{tuple(part.shape)} numbers enter {type(block).__name__}, which lie on no grid")
        total += spread(cells, partition.key_grid)
    return np.concatenate([*rest, total.ravel()])


def _grid(tokens: int, prefix: int, grids: Iterable[Grid]) -> Grid:
    for rows, cols in grids:
        if 0 <= tokens - rows * cols <= prefix:
            return rows, cols
    raise ModelError(f"{tokens} tokens enter a block, which lie on no grid that this kit can see")


def pairs(numbers: Sequence[int]) -> list[Grid]:
    """Neighbouring numbers, of which one pair may be a grid that a block is given."""
    return list(pairwise(numbers))


def _channels_last(block: nn.Module) -> bool:
    """Whether a block takes ``(batch, rows, cols, channels)``: its first layer with weights says it."""
    first = next(part for part in block.modules() if part._parameters.get("weight") is not None)
    return isinstance(first, nn.Linear) or (isinstance(first, nn.LayerNorm) and "2d" not in type(first).__name__)
