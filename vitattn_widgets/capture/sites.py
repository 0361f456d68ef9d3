"""The torch calls of one attention module in a forward pass, and the attention that follows from them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ..errors import ModelError
from ..models.families import SUPPORTED
from ..models.tokens import LayerTokens, TokenLayout
from .attention import (
    Attention,
    Bias,
    DenseBias,
    DifferentialAttention,
    GatedPositionAttention,
    Scores,
    SoftmaxAttention,
    TalkingHeadsAttention,
    compact_bias,
)


class Call(NamedTuple):
    """One torch function called inside an attention module: its operands and its result."""

    operands: tuple[Tensor, ...]
    result: Tensor
    mask: Tensor | None = None
    scale: float | None = None
    is_causal: bool = False
    grouped: bool = False


class SiteCalls(NamedTuple):
    """What one attention module called in one forward pass, in order."""

    fused: list[Call]
    matmuls: list[Call]
    softmaxes: list[Call]


@dataclass(frozen=True)
class SiteAttention:
    """The attention that one module used, for a whole batch.

    Attributes:
        attention: operands with axes ``batch head ...``.
        shape: numbers of photos, heads and keys.
        read_values: gives `values`, which takes time where they lie in windows.
        read_output: gives `output`, likewise.
    """

    attention: Attention
    shape: tuple[int, int, int]
    read_values: Callable[[], Tensor]
    read_output: Callable[[], Tensor]

    @property
    def values(self) -> Tensor:
        """``(batch, head, key, width)``."""
        return self.read_values()

    @property
    def output(self) -> Tensor:
        """``(batch, head, query, width)``, what the module's own kernel computed from attention and values."""
        return self.read_output()

    @classmethod
    def of(cls, attention: Attention, values: Tensor, output: Tensor) -> SiteAttention:
        """With values and output as they are."""
        batch, heads, keys = values.shape[:3]
        return cls(attention, (batch, heads, keys), lambda: values, lambda: output)


@lru_cache(maxsize=256)
def layer_tokens(pools: bool, queries: int, keys: int, layout: TokenLayout, name: str) -> LayerTokens:
    """Which tokens one layer's queries and keys are, inferred from their numbers.

    Args:
        pools: whether the layer is an attention pool with latent queries (`is_latent_pool`).
        queries: number of queries.
        keys: number of keys.
        layout: the model's tokens.
        name: layer and model, for the message.

    Raises:
        ModelError: the numbers fit neither the patches alone nor the patches with the model's prefix tokens.
    """
    # some layers drop the prefix tokens from their keys: the first blocks of CaiT, the pools of some models
    key_prefix = {layout.num_patches: (), layout.num_patches + len(layout.prefix): layout.prefix}.get(keys)
    if key_prefix is not None and pools:
        latents = ("pool",) if queries == 1 else tuple(f"pool{i}" for i in range(queries))
        return LayerTokens(latents, False, key_prefix, layout.grid)
    if key_prefix is not None and queries == keys:
        return LayerTokens(key_prefix, True, key_prefix, layout.grid)
    if key_prefix is not None and queries == 1:
        return LayerTokens(("class",), False, key_prefix, layout.grid)
    raise ModelError(
        f"{name} has {queries} queries and {keys} keys, which fits neither its {layout.num_patches} patches nor these "
        f"with the prefix tokens {layout.prefix}"
    )


def read_site(site: nn.Module, calls: SiteCalls, layout: TokenLayout, name: str) -> SiteAttention:
    """Turn the calls of an attention module into the attention that it used.

    Raises:
        ModelError: the module computes attention in a way that this kit does not know.
    """
    if calls.fused:
        return _read_fused(site, calls.fused, layout, name)
    if len(calls.matmuls) >= 2 and calls.softmaxes:  # q k^T comes first, attention times values last
        product, weighting = calls.matmuls[0], calls.matmuls[-1]
        q, k = product.operands[0], product.operands[1].transpose(-2, -1)
        return SiteAttention.of(_read_eager(site, q, k, calls, layout, name), weighting.operands[1], weighting.result)
    raise ModelError(
        f"{name} ({type(site).__name__}) ran without an attention that this kit can see; "
        f"it knows scaled_dot_product_attention and the attention modules of {', '.join(SUPPORTED)}"
    )


def weighted_values(calls: SiteCalls) -> Tensor:
    """The product of attention and values in the forward pass: ``(batch, head, query, width)``.

    Its gradient is that of the layer's attention times values, also in differential attention: of the difference that
    follows, the first product is a term with factor 1.
    """
    return calls.fused[0].result if calls.fused else calls.matmuls[-1].result


def values_first(calls: SiteCalls) -> bool:
    """Whether values stand before eager attention in their product, so that results lie ``(width, query)``."""
    return calls.matmuls[-1].operands[1].data_ptr() == calls.softmaxes[-1].result.data_ptr()


def eager_values(calls: SiteCalls) -> Tensor:
    """The values of attention that is written out, as its product gets them."""
    return calls.matmuls[-1].operands[0 if values_first(calls) else 1]


def _read_fused(site: nn.Module, calls: Sequence[Call], layout: TokenLayout, name: str) -> SiteAttention:
    scores = [_fused_scores(call, layout) for call in calls]
    values = _ungrouped(calls[0], calls[0].operands[2])
    if len(calls) == 1:
        return SiteAttention.of(SoftmaxAttention(scores[0]), values, calls[0].result)
    compute_factor: Callable[[], Tensor] | None = getattr(site, "_compute_lambda", None)
    if len(calls) == 2 and compute_factor is not None:
        factor = float(compute_factor())
        output = calls[0].result - factor * calls[1].result
        return SiteAttention.of(DifferentialAttention(scores[0], scores[1], factor), values, output)
    raise ModelError(
        f"{name} ({type(site).__name__}) attends {len(calls)} times in one layer, which this kit does not support"
    )


def _fused_scores(call: Call, layout: TokenLayout) -> Scores:
    q, k, _ = call.operands
    scale = q.shape[-1] ** -0.5 if call.scale is None else call.scale
    return Scores(q, _ungrouped(call, k), scale, _mask_bias(call, layout))


def _ungrouped(call: Call, keys_or_values: Tensor) -> Tensor:
    """Grouped-query attention: give every query head its key or value head."""
    if not call.grouped:
        return keys_or_values
    groups = call.operands[0].shape[-3] // keys_or_values.shape[-3]
    return keys_or_values.repeat_interleave(groups, -3)


def _mask_bias(call: Call, layout: TokenLayout) -> Bias | None:
    mask = call.mask
    if call.is_causal:
        q, k, _ = call.operands
        mask = torch.ones(q.shape[-2], k.shape[-2], dtype=torch.bool).tril()
    if mask is None:
        return None
    if mask.dtype == torch.bool:
        mask = torch.zeros(mask.shape).masked_fill(~mask.cpu(), float("-inf"))
    while mask.ndim < 3:
        mask = mask[None]
    # a bias per photo stays as it is; one for the whole batch, such as a position bias, may have a compact form
    if mask.ndim == 4 and mask.shape[0] == 1:
        mask = mask[0]
    if mask.ndim == 4:
        return DenseBias(mask)
    return compact_bias(mask.float().cpu(), layout.grid)


def _read_eager(site: Any, q: Tensor, k: Tensor, calls: SiteCalls, layout: TokenLayout, name: str) -> Attention:
    match type(site).__name__:  # by name, not imported; what is read of each is its own, hence Any
        case "TalkingHeadAttn":  # its q is scaled before the product
            before, after = (_weights_of(layer) for layer in (site.proj_l, site.proj_w))
            return TalkingHeadsAttention(Scores(q, k, 1.0), before, after)
        case "GPSA":  # the content softmax runs first, then that of the positions
            position = calls.softmaxes[1].operands[0]
            gate = torch.sigmoid(site.gating_param.detach())
            return GatedPositionAttention(
                Scores(q, k, site.scale), compact_bias(position[0].float().cpu(), layout.grid), gate
            )
        case "MHSA" | "Attention":
            return SoftmaxAttention(Scores(q, k, site.scale))
    raise ModelError(f"{name}: the attention module {type(site).__name__} is not known to this kit")


def _weights_of(layer: nn.Linear) -> tuple[Tensor, Tensor]:
    return layer.weight.detach().clone(), layer.bias.detach().clone()
