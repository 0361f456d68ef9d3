"""Models with windows or stages: their layers' partitions, and the tokens that their classifier reads."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from torch import nn

from ..errors import SettingsError
from .partitions import Partition, cell_shape
from .stage_sites import kind_of
from .tokens import TokenLayout
from .tracing import SiteCall, Trace, trace

UNDIVIDED = {
    "IFormer": "its attention adds up gates of the tokens, which contributions hold constant",
    "MobileNetV5": "its last layers are one of several ways to its classifier, which reads earlier stages too",
    "MobileNetV5Encoder": "its last layers are one of several ways to its features, which earlier stages are in too",
}
"""Models with stages whose answer contributions cannot divide at every layer, by the name of timm's class, and why."""


def undivided(module: nn.Module) -> str:
    """Why the answer of a model cannot be divided into contributions of tokens; empty if nothing is known against it.

    Args:
        module: timm's model.
    """
    return next((UNDIVIDED[cls.__name__] for cls in type(module).__mro__ if cls.__name__ in UNDIVIDED), "")


def traced(module: nn.Module, size: tuple[int, int]) -> Trace:
    """The partition of each attention layer of a model with windows or stages, from a forward pass of shapes.

    Args:
        module: the model.
        size: height and width of its input.

    Raises:
        ModelError: it does not run on this size.
    """

    def partition_of(part: nn.Module) -> Callable[[SiteCall], Partition | None] | None:
        kind = kind_of(part)
        return None if kind is None else kind.partition

    return trace(module, size, partition_of)


def stage_layout(
    partitions: Mapping[str, Partition], size: tuple[int, int], prefix: tuple[str, ...], read: tuple[str, ...]
) -> TokenLayout:
    """The tokens of the last layer of a model with windows or stages, which its classifier reads.

    Args:
        partitions: of its layers.
        size: height and width of its input.
        prefix: names of its prefix tokens.
        read: what its classifier reads; empty if it has none.
    """
    grid = list(partitions.values())[-1].key_grid
    return TokenLayout(
        grid=grid,
        prefix=prefix,
        patch_shape=cell_shape(size, grid),
        default_query=read[0] if read else ("class" if prefix else "mean"),
        read=read,
    )


def require_one_grid(
    name: str, partitions: Mapping[str, Partition], size: tuple[int, int], layers: Iterable[int]
) -> None:
    """Raise if the maps of some layers cannot be measured on one grid of whole patches, as those of many photos are.

    Args:
        name: of the model.
        partitions: of its layers; none in a flat model.
        size: height and width of its input.
        layers: layer numbers; negative ones count from the end.

    Raises:
        SettingsError: the last layer's patches do not divide the input, or a layer lies on another grid than that one.
    """
    grids = [partition.key_grid for partition in partitions.values()]
    if grids and (size[0] % grids[-1][0] or size[1] % grids[-1][1]):
        raise SettingsError(
            f"the {grids[-1][0]} x {grids[-1][1]} patches of the last layer of {name} do not divide its input of "
            f"{size[0]} x {size[1]} pixels, and photos are measured on whole patches; choose another img_size"
        )
    for layer in layers if grids else ():
        (rows, cols), (last_rows, last_cols) = grids[layer], grids[-1]
        if (rows, cols) != grids[-1]:
            same = ", ".join(str(number) for number, grid in enumerate(grids) if grid == grids[-1])
            raise SettingsError(
                f"layer {layer} of {name} has {rows} x {cols} patches, and the last one {last_rows} x {last_cols}; "
                f"photos are measured on the last one's: layers {same}"
            )
