"""The attention modules of timm's models with windows or stages: what each can reach, and how its operands are read.

One small function for each attention module of timm's gives its `Partition` in a forward pass. Modules are known by the
file and the name of their class, and not imported.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from ..errors import ModelError
from .partition_kinds import (
    Dilated,
    Global,
    Local,
    MaskUnits,
    Pooled,
    PooledTiled,
    Shifted,
    Tiled,
)
from .partitions import Grid, Partition
from .tracing import SiteCall, prefix_names

WINDOWS_FIRST = "(batch window) head token width"
HEADS_FIRST = "batch head window token width"
WINDOWS_APART = "batch window head token width"
ALL_FOLDED = "(batch window head) token width"
HEADS_FOLDED = "(batch head) window token width"
"""How a module lays out its queries, keys and values."""


@dataclass(frozen=True)
class Kind:
    """An attention module of timm's: what it can reach, and how its operands are read.

    Attributes:
        partition: gives its partition in a call; None if its attention is not between patches there.
        axes: how its operands are laid out.
        scale: factor of its products before the softmax, a number or ``(head, 1, 1)``; where attention is fused, the
            fused call says it.
        bias: added to the scores, ``(head, query, key)``; None if there is none, or if the fused call holds it.
        bias_from_scores: the bias is to be read from the scores, as the module keeps it nowhere.
        bias_by_axis: whether the bias depends on the query, as a sum of one term per key row and one per key column.
        heads_last: whether the results of the heads are interleaved before the output projection.
        reads: what the classifier reads of it, if it is the last layer and pools the patches; else empty.
        talking: names of the layers that mix the heads before and after the softmax.
    """

    partition: Callable[[SiteCall], Partition | None]
    axes: str = WINDOWS_FIRST
    scale: Callable[[Any], Any] = field(default=lambda site: site.scale)
    bias: Callable[[Any], Any] | None = None
    bias_from_scores: bool = False
    bias_by_axis: bool = False
    heads_last: bool = False
    reads: str = ""
    talking: tuple[str, str] | None = None


def _swin(call: SiteCall) -> Partition:
    block, (shape, *_) = call.around()
    grid = shape[1:3]
    if any(block.shift_size):
        return Shifted(grid, tuple(block.window_size), tuple(block.shift_size))
    return Tiled(grid, tuple(block.window_size))


def _hiera(call: SiteCall) -> Partition:
    site, model = call.site, call.model
    number = int(call.name.split(".")[-2])
    pools = site.q_stride > 1
    # the schedule of a block is that of its result, which a pooling block has pooled already
    strides, size = model.reroll.schedule[number - pools]
    tokens = call.args[0][1]
    units = tokens // (site.q_stride * site.window_size) if site.use_mask_unit_attn else 1
    stride = tuple(model.q_stride) if pools else (1, 1)
    return MaskUnits(tuple(size), tuple(tuple(step) for step in strides), units, stride)


def _hieradet(call: SiteCall) -> Partition:
    block, (shape, *_) = call.around()
    grid, stride = shape[1:3], tuple(block.q_stride or (1, 1))
    if block.is_windowed:
        window = tuple(block.window_size)
        return Tiled(grid, window) if stride == (1, 1) else PooledTiled(grid, window, stride)
    return Pooled((grid[0] // stride[0], grid[1] // stride[1]), grid)


def _maxxvit(call: SiteCall) -> Partition:
    block, (shape, *_) = call.around()
    if not hasattr(block, "partition_size"):  # CoAtNet's block, which attends to everything
        return Global(call.args[0][2:4])
    grid = shape[2:4] if type(block).__name__ == "PartitionAttention2d" else shape[1:3]
    size = tuple(block.partition_size)
    if call.name.endswith("attn_block") or getattr(block, "partition_block", False):
        return Tiled(grid, size)
    return Dilated(grid, (grid[0] // size[0], grid[1] // size[1]))


def _sam(call: SiteCall) -> Partition:
    block, (shape, *_) = call.around()
    return Tiled(shape[1:3], (block.window_size,) * 2) if block.window_size else Global(shape[1:3])


def _reduced(call: SiteCall) -> Partition:
    site, grid = call.site, tuple(call.args[1])
    if getattr(site, "pool", None) is not None:
        return Pooled(grid, (site.pool.output_size,) * 2)
    return Pooled(grid, convolved(site.sr, grid)) if site.sr is not None else Global(grid)


def _twins(call: SiteCall) -> Partition:
    return Tiled(tuple(call.args[1]), (call.site.ws,) * 2)


def _mvit(call: SiteCall) -> Partition:
    site, grid = call.site, tuple(call.args[1])
    grids = [convolved(pool, grid) if pool is not None else grid for pool in (site.pool_q, site.pool_k)]
    return Pooled(*grids)


def convolved(layer: Any, grid: Grid) -> Grid:
    """The grid after a convolution or a pooling."""

    def pair(value: Any) -> tuple[int, int]:
        return (value, value) if isinstance(value, int) else tuple(value)

    parts = zip(grid, pair(layer.kernel_size), pair(layer.stride), pair(layer.padding), strict=True)
    rows, cols = ((size + 2 * rim - kernel) // step + 1 for size, kernel, step, rim in parts)
    return rows, cols


def _nest(call: SiteCall) -> Partition:
    _, blocks, tokens, _ = call.args[0]
    across, side = round(blocks**0.5), round(tokens**0.5)
    return Tiled((across * side,) * 2, (side,) * 2)


def _resolution(call: SiteCall) -> Partition:
    return Global(tuple(call.site.resolution))


def _levit_down(call: SiteCall) -> Partition:
    (rows, cols), stride = call.site.resolution, call.site.stride
    return Pooled((-(-rows // stride), -(-cols // stride)), (rows, cols))


def _efficient_down(call: SiteCall) -> Partition:
    return Pooled(tuple(call.site.resolution2), tuple(call.site.resolution))


def _tiled_channels_last(call: SiteCall) -> Partition:
    block, (shape, *_) = call.around()
    window = block.window_size
    return Tiled(shape[1:3], (window, window) if isinstance(window, int) else tuple(window))


def _davit(call: SiteCall) -> Partition:
    block, (shape, *_) = call.around()
    return Tiled(shape[2:4], tuple(block.window_size))


def _channels_first(call: SiteCall) -> Partition:
    return Global(call.args[0][2:4])


def _channels_last(call: SiteCall) -> Partition:
    return Global(call.args[0][1:3])


def _sequence(call: SiteCall) -> Partition | None:
    """Attention over a whole sequence of patches, after the model's prefix tokens if it has some."""
    tokens = call.args[0][1]
    if "transformer" in call.name.split("."):  # MobileViT's, inside a block that unfolds the patches
        block, (shape, *_) = call.around(3)
        step = tuple(block.patch_size)
        rows, cols = (-(-size // part) * part for size, part in zip(shape[2:4], step, strict=True))
        return Dilated((rows, cols), step)
    prefix = len(prefix_names(call.model))
    if prefix:
        try:
            return Global(call.grid(tokens, prefix))
        except ModelError:  # before the prefix tokens join
            pass
    return Global(call.grid(tokens))


def _next(call: SiteCall) -> Partition | None:
    # its reduced keys are means of runs of the sequence, which are no patches of a grid
    return _sequence(call) if call.site.sr is None else None


def _multi_query(call: SiteCall) -> Partition:
    grid, site = call.args[0][2:4], call.site
    strides = site.query_strides, (site.kv_stride,) * 2
    query_grid, key_grid = ((-(-grid[0] // down), -(-grid[1] // across)) for down, across in strides)
    return Pooled(query_grid, key_grid)


def _convolved_first(call: SiteCall) -> Partition:
    """Attention after convolutions of its own, on the grid that goes into its output projection."""
    return Global(call.inputs[f"{call.name}.o_proj"][0][2:4])


def _single_head(call: SiteCall) -> Partition:
    grid, window = call.args[0][2:4], call.site.window_size
    return Tiled(grid, (window, window)) if window else Global(grid)


def _halo(call: SiteCall) -> Partition | None:
    site, grid = call.site, call.args[0][2:4]
    if site.block_stride > 1:
        return None
    return Local(grid, (site.block_size,) * 2, site.halo_size)


def _cosine(site: Any) -> Any:
    """The factor of cosine attention, never more than 100."""
    return site.logit_scale.detach().clamp(max=4.605170185988092).exp().reshape(-1, 1, 1)


def _levit_bias(site: Any) -> Any:
    return site.attention_biases.detach()[:, site.attention_bias_idxs]


_sequence_kind = Kind(_sequence)

KINDS: dict[tuple[str, str], Kind] = {
    ("swin_transformer", "WindowAttention"): Kind(_swin),
    ("swin_transformer_v2", "WindowAttention"): Kind(_swin, scale=_cosine, bias_from_scores=True),
    ("swin_transformer_v2_cr", "WindowMultiHeadAttention"): Kind(_swin, scale=_cosine, bias_from_scores=True),
    ("hiera", "MaskUnitAttention"): Kind(_hiera, axes=HEADS_FIRST),
    ("hieradet_sam2", "MultiScaleAttention"): Kind(_hieradet),
    ("maxxvit", "Attention2d"): Kind(_maxxvit),
    ("maxxvit", "AttentionCl"): Kind(_maxxvit),
    ("vision_transformer_sam", "Attention"): Kind(_sam, axes=ALL_FOLDED, bias_by_axis=True),
    ("pvt_v2", "Attention"): Kind(_reduced),
    ("twins", "LocallyGroupedAttn"): Kind(_twins, axes=WINDOWS_APART),
    ("twins", "GlobalSubSampleAttn"): Kind(_reduced),
    ("mvitv2", "MultiScaleAttention"): Kind(_mvit, scale=lambda _: 1.0, bias_by_axis=True),
    ("gcvit", "WindowAttentionGlobal"): Kind(
        _tiled_channels_last, scale=lambda _: 1.0, bias=lambda site: site.rel_pos.get_bias()[0]
    ),
    ("nest", "Attention"): Kind(_nest, axes=HEADS_FIRST, heads_last=True),
    ("levit", "Attention"): Kind(_resolution, bias=_levit_bias),
    ("levit", "AttentionDownsample"): Kind(_levit_down, bias=_levit_bias),
    ("tiny_vit", "Attention"): Kind(_tiled_channels_last),
    ("davit", "WindowAttention"): Kind(_davit),
    ("metaformer", "Attention"): _sequence_kind,
    ("attention", "Attention"): _sequence_kind,
    ("vision_transformer", "Attention"): _sequence_kind,
    ("nextvit", "EfficientAttention"): Kind(_next),
    ("fastvit", "Attention"): Kind(_channels_first),
    ("efficientformer", "Attention"): Kind(_sequence, bias=_levit_bias),
    ("efficientformer_v2", "Attention2d"): Kind(
        _resolution, bias=_levit_bias, talking=("talking_head1", "talking_head2")
    ),
    ("efficientformer_v2", "Attention2dDownsample"): Kind(_efficient_down, bias=_levit_bias),
    ("visformer", "Attention"): Kind(_channels_first),
    ("cait", "ClassAttn"): _sequence_kind,
    ("crossvit", "CrossAttention"): _sequence_kind,
    ("volo", "Attention"): Kind(_channels_last),
    ("volo", "ClassAttention"): Kind(_sequence, scale=lambda _: 1.0),
    ("attention2d", "MultiQueryAttention2d"): Kind(_multi_query),
    ("attention2d", "Attention2d"): Kind(_channels_first),
    ("attention_pool2d", "AttentionPool2d"): Kind(_channels_first, reads="class"),
    ("attention_pool2d", "RotAttentionPool2d"): Kind(_channels_first, reads="class"),
    ("lowformer", "ConvAttention"): Kind(_convolved_first),
    ("cpubone", "ConvAttention"): Kind(_convolved_first),
    ("iformer", "SHMA"): Kind(_single_head),
    ("bottleneck_attn", "BottleneckAttn"): Kind(_channels_first, axes=ALL_FOLDED, bias_by_axis=True),
    ("halo_attn", "HaloAttn"): Kind(_halo, axes=HEADS_FOLDED, bias_by_axis=True),
    ("shvit", "SHSA"): Kind(_channels_first, axes=ALL_FOLDED),
}
"""The attention modules that can be read, by the file and the name of their class."""


def kind_of(site: nn.Module) -> Kind | None:
    """What the kit knows of an attention module; None if it is none that it knows."""
    for cls in type(site).__mro__:
        kind = KINDS.get((cls.__module__.rpartition(".")[2], cls.__name__))
        if kind is not None and cls.__module__.startswith("timm."):
            return kind
    return None
