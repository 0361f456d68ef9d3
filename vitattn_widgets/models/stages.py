"""Models with windows or stages: their layers' partitions, and the tokens that their classifier reads."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from torch import nn

from ..errors import SettingsError
from .partitions import Grid, Partition, cell_shape
from .stage_sites import kind_of
from .tokens import TokenLayout, resolve_index
from .tracing import SiteCall, Trace, trace

UNDIVIDED = {
    "IFormer": "its attention adds up gates of the tokens, which contributions hold constant",
    "MobileNetV5": "its last layers are one of several ways to its classifier, which reads earlier stages too",
    "MobileNetV5Encoder": "its last layers are one of several ways to its features, which earlier stages are in too",
}
"""Models with stages whose answer contributions cannot divide at every layer, by the name of timm's class, and why."""


CHAINED = frozenset(
    {
        "Hiera",
        "HieraDet",
        "MaxxVit",
        "Nest",
        "PyramidVisionTransformerV2",
        "SwinTransformer",
        "SwinTransformerV2",
        "SwinTransformerV2Cr",
        "Twins",
        "VisionTransformerSAM",
    }
)
"""Models whose attention layers follow one another, with residual connections, poolings of whole patches between them,
and convolutions, which look at neighbours; by the name of timm's class."""


def is_chained(module: nn.Module) -> bool:
    """Whether a model's attention can be followed from layer to layer, as far as its kind says; see `CHAINED`.

    Args:
        module: timm's model.
    """
    if not any(cls.__name__ in CHAINED for cls in type(module).__mro__):
        return False  # every capture asks; the parts of a flat model need not be gone through
    return not any(type(part).__name__ == "ParallelPartitionAttention" for part in module.modules())


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


class PatchGrid(NamedTuple):
    """The patches of a layer's keys, on which its maps are measured.

    Attributes:
        grid: ``(rows, cols)``.
        patch_shape: height and width of a patch in pixels; whole patches cover what the model sees.
    """

    grid: Grid
    patch_shape: tuple[int, int]

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels of what the patches cover."""
        return self.grid[0] * self.patch_shape[0], self.grid[1] * self.patch_shape[1]


def patch_grids(
    name: str,
    layout: TokenLayout,
    partitions: Mapping[str, Partition],
    size: tuple[int, int],
    layers: Iterable[int],
) -> list[PatchGrid]:
    """The grids on which the maps of some layers are measured, as those of many photos are.

    Args:
        name: of the model.
        layout: of its last layer's tokens.
        partitions: of its layers; none in a flat model.
        size: height and width of its input.
        layers: layer numbers; negative ones count from the end.

    Raises:
        SettingsError: no such layer, or one whose patches do not divide the input.
    """
    if not partitions:
        return [PatchGrid(layout.grid, layout.patch_shape) for _ in layers]
    found = []
    for layer in layers:
        layer = resolve_index(layer, len(partitions), "layer", name)
        rows, cols = list(partitions.values())[layer].key_grid
        if size[0] % rows or size[1] % cols:
            raise SettingsError(
                f"the {rows} x {cols} patches of layer {layer} of {name} do not divide its input of {size[0]} x "
                f"{size[1]} pixels, and photos are measured on whole patches; choose another layer or img_size"
            )
        found.append(PatchGrid((rows, cols), (size[0] // rows, size[1] // cols)))
    return found
