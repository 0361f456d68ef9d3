"""The attention of one layer with its own grid or windows, from the torch calls of its module."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import ModelError
from ..models.partitions import Partition, windows_of
from ..models.stage_sites import ALL_FOLDED, HEADS_FIRST, HEADS_FOLDED, WINDOWS_APART, Kind, kind_of
from ..models.tokens import LayerTokens
from .attention import Attention, Bias, DenseBias, Scores, SoftmaxAttention, TalkingHeadsAttention, compact_bias
from .sites import Call, SiteAttention, SiteCalls, eager_values, values_first, weighted_values
from .window_attention import MASKED, WindowAttention, added_on_keys, on_keys, on_queries


class _Operands(NamedTuple):
    """What one attention module multiplied, as it laid it out.

    Attributes:
        q: queries.
        k: keys.
        values: values.
        scale: factor of the products, a number or ``(head, 1, 1)``.
        scores: the input of the softmax; None where attention is fused.
        mask: what the fused call added to the scores, if anything.
    """

    q: Tensor
    k: Tensor
    values: Tensor
    scale: Any
    scores: Tensor | None
    mask: Tensor | None


@dataclass(frozen=True)
class _Layout:
    """How a module lays out its operands: from these to ``(batch, window, head, token, width)``."""

    axes: str
    windows: int
    heads: int

    def windowed(self, tensor: Tensor) -> Tensor:
        if self.axes == ALL_FOLDED:
            return tensor.reshape(-1, self.windows, self.heads, *tensor.shape[1:])
        if self.axes == HEADS_FOLDED:
            return tensor.reshape(-1, self.heads, *tensor.shape[1:]).transpose(1, 2)
        if self.axes == WINDOWS_APART:
            return tensor
        if self.axes == HEADS_FIRST and tensor.ndim == 5:
            return tensor.transpose(1, 2)
        return tensor.reshape(-1, self.windows, *tensor.shape[1:])

    def factors(self, by_head: Tensor, axes: int) -> Tensor:
        """One number for each photo and head, ``(batch, head)``, as factors of a tensor with so many axes."""
        whole = by_head[:, None].expand(-1, self.windows, -1)  # batch window head
        if self.axes == ALL_FOLDED:
            whole = whole.reshape(-1)
        elif self.axes == HEADS_FOLDED:
            whole = by_head.reshape(-1, 1)
        elif self.axes == HEADS_FIRST and axes == 5:
            whole = by_head[:, :, None]
        elif self.axes != WINDOWS_APART:
            whole = whole.flatten(0, 1)
        return whole[..., None, None]


def read_stage_site(
    site: nn.Module, calls: SiteCalls, partition: Partition, prefix: tuple[str, ...], name: str
) -> tuple[SiteAttention, LayerTokens]:
    """Turn the calls of an attention module into the attention that it used, and its tokens.

    Args:
        site: the module.
        calls: what it called.
        partition: of its grid.
        prefix: names of the model's prefix tokens.
        name: layer and model, for messages.

    Raises:
        ModelError: the module computes attention in a way that this kit does not know.
    """
    kind = kind_of(site)
    if kind is None or not (calls.fused or (len(calls.matmuls) >= 2 and calls.softmaxes)):
        raise ModelError(f"{name} ({type(site).__name__}) ran without an attention that this kit can see")
    operands = _operands(site, kind, calls)
    windows = windows_of(partition)
    layout = _Layout(kind.axes, len(windows.queries), _heads(site))
    q, k, values = (layout.windowed(part) for part in (operands.q, operands.k, operands.values))
    if k.shape[2] != q.shape[2]:  # one head of keys and values for all heads of queries
        k, values = (part.expand(-1, -1, q.shape[2], -1, -1) for part in (k, values))
    scale = operands.scale
    if isinstance(scale, Tensor):
        q, scale = q * scale, 1.0
    bias = None
    if kind.bias_by_axis:
        q, k = _with_axes(q, k, scale, _added(operands, layout, q, k, scale), partition)
        scale = 1.0
    else:
        bias = _bias(site, kind, operands, layout, (q, k, scale), partition)
    if _apart(partition):
        factor = torch.full((1, 1, 1), scale, dtype=q.dtype, device=q.device)
        attention: Attention = WindowAttention(q, k, factor, bias, partition)
        tokens = LayerTokens((), True, (), partition.key_grid, partition)
    else:
        attention = _whole(site, kind, q[:, 0], k[:, 0], scale, bias, partition)
        tokens = _tokens(q.shape[3], k.shape[3], partition, prefix, name)

    def on_grid() -> Tensor:
        return on_keys(values, partition) if _apart(partition) else _in_grid(values[:, 0], windows.keys[0])

    def output() -> Tensor:
        return arranged_by(site, calls, partition)(weighted_values(calls))

    shape = (values.shape[0], values.shape[2], windows.num_keys if _apart(partition) else values.shape[3])
    return SiteAttention(attention, shape, on_grid, output), tokens


def arranged_by(site: nn.Module, calls: SiteCalls, partition: Partition) -> Callable[[Tensor], Tensor]:
    """What brings a module's results, or their gradient, into the order of its queries.

    Returns:
        From `weighted_values` of the calls to ``(batch, head, query, width)``.
    """
    windowed = _windowed_by(site, calls, partition)

    def arrange(result: Tensor) -> Tensor:
        whole = windowed(result)
        if _apart(partition):
            return on_queries(whole, partition)
        return _in_grid(whole[:, 0], windows_of(partition).queries[0])

    return arrange


def added_by_key(site: nn.Module, calls: SiteCalls, partition: Partition) -> Callable[[Tensor], Tensor]:
    """What adds up parts of a module's values, laid out as these, by key.

    Returns:
        From such parts to ``(batch, head, key)``; where windows overlap, the parts of a key in all of them are added.
    """
    windowed = _windowed_by(site, calls, partition)

    def add(parts: Tensor) -> Tensor:
        whole = windowed(parts).sum(-1, keepdim=True)
        if _apart(partition):
            return added_on_keys(whole, partition)[..., 0]
        return _in_grid(whole[:, 0], windows_of(partition).keys[0])[..., 0]

    return add


def laid_out(site: nn.Module, partition: Partition, by_head: Tensor, axes: int) -> Tensor:
    """One number for each photo and head, ``(batch, head)``, as factors of a module's results with so many axes."""
    return _layout(site, partition).factors(by_head, axes)


def _layout(site: nn.Module, partition: Partition) -> _Layout:
    kind = kind_of(site)
    return _Layout("" if kind is None else kind.axes, len(windows_of(partition).queries), _heads(site))


def _windowed_by(site: nn.Module, calls: SiteCalls, partition: Partition) -> Callable[[Tensor], Tensor]:
    """What brings values or results of a module to ``(batch, window, head, token, width)``."""
    layout = _layout(site, partition)
    turned = not calls.fused and values_first(calls)
    return lambda tensor: layout.windowed(tensor.mT if turned else tensor)


def _apart(partition: Partition) -> bool:
    """Whether some query cannot reach some key, or reaches padding."""
    windows = windows_of(partition)
    return len(windows.queries) > 1 or windows.padding > 0 or windows.allowed is not None


def _heads(site: nn.Module) -> int:
    return int(getattr(site, "num_heads", getattr(site, "heads", 1)))


def _operands(site: nn.Module, kind: Kind, calls: SiteCalls) -> _Operands:
    if calls.fused:
        call: Call = calls.fused[0]
        q, k, values = call.operands
        scale = q.shape[-1] ** -0.5 if call.scale is None else call.scale
        return _Operands(q, k, values, scale, None, call.mask)
    product, softmax = calls.matmuls[0], calls.softmaxes[0]
    q, k = product.operands[0], product.operands[1].mT
    values = eager_values(calls).mT if values_first(calls) else eager_values(calls)
    return _Operands(q, k, values, kind.scale(site), softmax.operands[0], None)


def _added(operands: _Operands, layout: _Layout, q: Tensor, k: Tensor, scale: float) -> Tensor | None:
    """What a module added to its scaled products, ``(batch, window, head, query, key)``."""
    if operands.scores is None:
        return None if operands.mask is None else layout.windowed(operands.mask)
    return layout.windowed(operands.scores) - (q * scale) @ k.mT


def _with_axes(q: Tensor, k: Tensor, scale: float, added: Tensor | None, partition: Partition) -> tuple[Tensor, Tensor]:
    """Move a bias that is a sum over the two axes of the keys into queries and keys, whose products then hold it.

    Of the bias itself, an entry per pair, nothing is kept. Prefix keys have none.
    """
    q = q * scale
    if added is None:
        return q, k
    rows, cols = partition.key_window
    prefix = added.shape[-1] - rows * cols
    pairs = added[..., prefix:].reshape(*added.shape[:-1], rows, cols)
    by_row = pairs[..., 0] - pairs[..., :1, 0]
    cells = torch.arange(rows * cols, device=k.device)
    axes = torch.cat(
        [
            (cells[:, None] // cols == torch.arange(rows, device=k.device)).to(k.dtype),
            (cells[:, None] % cols == torch.arange(cols, device=k.device)).to(k.dtype),
        ],
        dim=-1,
    )
    axes = torch.cat([axes.new_zeros((prefix, rows + cols)), axes])  # key axis
    return torch.cat([q, by_row, pairs[..., 0, :]], -1), torch.cat([k, axes.expand(*k.shape[:-1], -1)], -1)


def _bias(
    site: nn.Module,
    kind: Kind,
    operands: _Operands,
    layout: _Layout,
    scaled: tuple[Tensor, Tensor, float],
    partition: Partition,
) -> Tensor | None:
    """What is added to the scores of every photo, ``(window or 1, head or 1, query slot, key slot)``.

    The masks of a partition are left out, as it says them itself.
    """
    if operands.scores is None:
        mask = operands.mask
        if mask is None:
            return None
        if mask.dtype == torch.bool:
            mask = torch.zeros(mask.shape, device=mask.device).masked_fill(~mask, float("-inf"))
        mask = mask.reshape(-1, *mask.shape[-3:])
        if len(mask) == 1:
            return mask.clone()
        mask = layout.windowed(mask)[0]  # the same for each photo
        if windows_of(partition).allowed is None:
            return mask.clone()
        return mask.amax(0, keepdim=True)  # every pair is unmasked in some window
    if kind.bias is not None:
        bias: Tensor = kind.bias(site).detach()
        return bias[None]
    if not kind.bias_from_scores:
        return None
    q, k, scale = scaled
    scores = layout.windowed(operands.scores)[0]  # window head query key
    allowed = windows_of(partition).allowed
    if allowed is None or allowed[0].all():
        return (scores[:1] - (q[0, :1] * scale) @ k[0, :1].mT).clone()
    masked = torch.from_numpy(~allowed)[:, None].to(scores.device, scores.dtype)
    return (scores - MASKED * masked - (q[0] * scale) @ k[0].mT).mean(0, keepdim=True)


def _whole(
    site: Any, kind: Kind, q: Tensor, k: Tensor, scale: float, bias: Tensor | None, partition: Partition
) -> Attention:
    """The attention of a layer in which every query reaches every key."""
    windows = windows_of(partition)
    added: Bias | None = None
    if bias is not None:
        added = compact_bias(bias[0].float().cpu(), partition.key_grid)
        if not isinstance(added, DenseBias) and partition.query_grid != partition.key_grid:
            added = DenseBias(bias[0].float().cpu())
    scores = Scores(_in_grid(q, windows.queries[0]), _in_grid(k, windows.keys[0]), float(scale), added)
    if kind.talking is None:
        return SoftmaxAttention(scores)
    before, after = (_mix(getattr(site, name)) for name in kind.talking)
    return TalkingHeadsAttention(scores, before, after)


def _mix(layer: Any) -> tuple[Tensor, Tensor]:
    """Weight ``(head, head)`` and bias of a convolution over heads."""
    return layer.weight.detach()[:, :, 0, 0].clone(), layer.bias.detach().clone()


def _in_grid(tensor: Tensor, order: np.ndarray) -> Tensor:
    """Tokens in the order of the grid, after the prefix tokens; the tensor itself where they are in it already."""
    prefix = tensor.shape[-2] - len(order)
    if prefix < 0 or np.array_equal(order, np.arange(len(order))):
        return tensor
    places = np.concatenate([np.arange(prefix), prefix + np.argsort(order)])
    return tensor[..., torch.from_numpy(places).to(tensor.device), :]


def _tokens(queries: int, keys: int, partition: Partition, prefix: tuple[str, ...], name: str) -> LayerTokens:
    """The tokens of a layer whose queries all reach every key."""
    (rows, cols), key_grid = partition.query_grid, partition.key_grid
    extra = keys - key_grid[0] * key_grid[1]
    names = (prefix or ("class", "dist"))[:extra]
    if 0 <= extra == len(names):
        if queries == rows * cols + extra:
            return LayerTokens(names, True, names, key_grid, partition)
        if queries == rows * cols and not extra:
            return LayerTokens((), True, (), key_grid, partition)
        if queries == 1:
            return LayerTokens(("class",), False, names, key_grid, partition)
    raise ModelError(
        f"{name} has {queries} queries and {keys} keys, which does not fit its grids of {rows} x {cols} and "
        f"{key_grid[0]} x {key_grid[1]} patches"
    )
