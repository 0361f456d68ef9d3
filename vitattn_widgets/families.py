"""What the kit knows about timm's model families: which are supported, where their attention is, what their head reads.

Everything is asked of the model itself; names of classes are compared, not imported, so that a family that this timm
does not have costs nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor, nn

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
from .errors import ModelError
from .tokens import LayerTokens, TokenLayout

SUPPORTED = (
    "VisionTransformer",
    "VisionTransformerDistilled",
    "Eva",
    "Beit",
    "VisionTransformerRelPos",
    "NaFlexVit",
    "Cait",
    "ConVit",
    "TNT",
    "Qwen3VitClassifier",
    "Qwen3VitEncoder",
    "DeepseekVitClassifier",
    "DeepseekVitEncoder",
    "Gemma4VitClassifier",
    "Gemma4VitEncoder",
)
"""timm's families with one patch-by-patch attention matrix a layer."""

FAMILY_MODULES = frozenset(
    {
        "beit",
        "cait",
        "convit",
        "deepseek_vit",
        "deit",
        "eva",
        "gemma4_vit",
        "naflexvit",
        "qwen3_vit",
        "tnt",
        "vision_transformer",
        "vision_transformer_hybrid",
        "vision_transformer_relpos",
    }
)
"""timm's modules that build nothing but these families."""

_REASONS = {
    "VisionTransformerSAM": "its blocks attend inside windows with a decomposed position bias",
    "Xcit": "its attention is between channels, not between patches",
}


class Call(NamedTuple):
    """One torch function that ran inside an attention module: its operands and its result."""

    operands: tuple[Tensor, ...]
    result: Tensor
    mask: Tensor | None = None
    scale: float | None = None
    is_causal: bool = False
    grouped: bool = False


class SiteCalls(NamedTuple):
    """What one attention module called in one forward pass, in order."""

    fused: Sequence[Call]
    matmuls: Sequence[Call]
    softmaxes: Sequence[Call]


@dataclass(frozen=True)
class SiteAttention:
    """The attention that one module used, for a whole batch.

    Attributes:
        attention: operands with axes ``batch head ...``.
        values: ``(batch, head, key, width)``.
        output: ``(batch, head, query, width)``, what the module's own kernel made of attention and values.
    """

    attention: Attention
    values: Tensor
    output: Tensor


def _class_names(module: nn.Module) -> set[str]:
    return {cls.__name__ for cls in type(module).__mro__ if cls.__module__.startswith("timm.")}


def require_supported(module: nn.Module, name: str) -> None:
    """Raise where a model has no patch-by-patch attention that this kit can read.

    Raises:
        ModelError: names the model, says why and what is supported.
    """
    if isinstance(module, torch.jit.ScriptModule):
        raise ModelError(f"{name} is a traced or scripted model, whose attention cannot be seen; pass the original")
    if any(getattr(part, "_compiled_call_impl", None) is not None for part in module.modules()):
        raise ModelError(f"{name} was compiled in place, which hides its attention; pass it before .compile()")
    if _class_names(module) & set(SUPPORTED):
        return
    kind = type(module).__name__
    reason = next((_REASONS[cls.__name__] for cls in type(module).__mro__ if cls.__name__ in _REASONS), None)
    if reason is None:
        kinds = [type(part).__name__ for part in module.modules()]
        attends = any("attention" in kind.lower() or "Attn" in kind for kind in kinds)
        reason = (
            "its attention runs inside windows, on a changing grid or on other axes, so no layer has one "
            "patch-by-patch matrix"
            if attends
            else "it has no attention layers"
        )
    raise ModelError(
        f"{name} ({kind}) has no attention map to show: {reason}. Supported are timm's flat Vision Transformers: "
        f"{', '.join(SUPPORTED)}; try 'vit_tiny_patch16_224'"
    )


def trunk(module: nn.Module) -> tuple[str, nn.Module]:
    """The part of a model that holds its blocks, with its name prefix (``"encoder."`` for wrapped encoders)."""
    encoder = getattr(module, "encoder", None)
    if isinstance(encoder, nn.Module) and hasattr(encoder, "blocks"):
        return "encoder.", encoder
    return "", module


def attention_sites(module: nn.Module) -> dict[str, nn.Module]:
    """The modules in which attention happens, by qualified name, in the order of the forward pass.

    TNT's inner attention, between the pixels of one patch, is not among them.
    """
    prefix, body = trunk(module)
    sites: dict[str, nn.Module] = {}
    for group in ("blocks", "blocks_token_only"):
        for number, block in enumerate(getattr(body, group, ())):
            where = f"{prefix}{group}.{number}"
            if hasattr(block, "attn_out"):
                sites[f"{where}.attn_out"] = block.attn_out
            elif hasattr(block, "attns"):
                sites |= {f"{where}.attns.{i}.attn": branch.attn for i, branch in enumerate(block.attns)}
            elif hasattr(block, "attn"):
                sites[f"{where}.attn"] = block.attn
            else:
                sites[where] = block
    if isinstance(getattr(body, "attn_pool", None), nn.Module):
        sites[f"{prefix}attn_pool"] = body.attn_pool
    return sites


def _patch_embed(body: nn.Module) -> nn.Module:
    for name in ("patch_embed", "embeds", "pixel_embed"):
        if isinstance(getattr(body, name, None), nn.Module):
            return getattr(body, name)
    raise ModelError(f"{type(body).__name__} has no patch embedding that this kit knows")


def nominal_size(module: nn.Module) -> tuple[int, int] | None:
    """The input size ``(height, width)`` that a model was made for, where it says so."""
    embed = _patch_embed(trunk(module)[1])
    size = getattr(embed, "img_size", None) or getattr(module, "_traits", {}).get("img_size")
    return (int(size[0]), int(size[1])) if size is not None else None


def patch_shape(module: nn.Module) -> tuple[int, int]:
    """Height and width of a patch in input pixels; a hybrid's convolutional stem counts in."""
    embed = _patch_embed(trunk(module)[1])
    if hasattr(embed, "feat_ratio"):
        height, width = embed.feat_ratio(as_scalar=False)
    else:
        height, width = embed.patch_size
    return int(height), int(width)


def token_layout(module: nn.Module, size: tuple[int, int], name: str) -> TokenLayout:
    """The tokens of a model on an input of `size` ``(height, width)``.

    A last part of the input that is smaller than a patch, as in some SigLIP models' own size, is not looked at.

    Raises:
        ModelError: the model has prefix tokens that this kit does not know.
    """
    _, body = trunk(module)
    patch = patch_shape(module)
    prefix = _prefix_names(body)
    expected = getattr(body, "num_prefix_tokens", len(prefix))
    if len(prefix) != expected:
        raise ModelError(f"{name} has {expected} prefix tokens, of which only {prefix} are known to this kit")
    read = _read_queries(module, prefix)
    return TokenLayout(
        grid=(size[0] // patch[0], size[1] // patch[1]),
        prefix=prefix,
        patch_shape=patch,
        default_query=read[0],
        read=read if getattr(module, "num_classes", 0) else (),
    )


def require_whole_patches(module: nn.Module, size: tuple[int, int], name: str) -> None:
    """Raise where an input of `size` ``(height, width)`` does not hold whole patches.

    Raises:
        ModelError: with the nearest sizes that do.
    """
    for pixels, side, axis in zip(size, patch_shape(module), ("height", "width"), strict=True):
        if pixels < side or pixels % side:
            below = max(side, pixels // side * side)
            raise ModelError(
                f"{name} takes an image {axis} that is a multiple of its patch {axis} {side}, got {pixels}; "
                f"nearest: {below} or {below + side}"
            )


def _prefix_names(body: nn.Module) -> tuple[str, ...]:
    holder = body.embeds if hasattr(body, "embeds") else body
    names = []
    if getattr(holder, "cls_token", None) is not None:
        names.append("class")
    if getattr(holder, "dist_token", None) is not None:
        names.append("dist")
    registers = getattr(holder, "reg_token", None)
    if registers is not None:
        names += [f"reg{i}" for i in range(registers.shape[1])]
    return tuple(names)


def _read_queries(module: nn.Module, prefix: tuple[str, ...]) -> tuple[str, ...]:
    """What the pooling before the classifier reads, as queries of the last layer."""
    pool = getattr(module, "attn_pool", None)
    if pool is not None and is_latent_pool(pool):
        return ("pool",)
    if pool is not None:
        return ("class",) if getattr(pool, "pool", "") == "token" else ("mean",)
    if "dist" in prefix:
        return ("class", "dist")
    pooling = getattr(module, "global_pool", "")
    if pooling == "token" or (not pooling and "class" in prefix):
        return ("class",)
    return ("mean",)


@lru_cache(maxsize=256)
def layer_tokens(pools: bool, queries: int, keys: int, layout: TokenLayout, name: str) -> LayerTokens:
    """Which tokens one layer's queries and keys are, from their numbers.

    Args:
        pools: whether the layer is an attention pool with latent queries (`is_latent_pool`).
        queries: number of queries.
        keys: number of keys.
        layout: the model's tokens.
        name: layer and model, for the message.

    Raises:
        ModelError: the numbers fit neither the patches alone nor the patches with the model's prefix tokens.
    """
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


def is_latent_pool(site: nn.Module) -> bool:
    """Whether an attention module pools the patches with learned queries (SigLIP)."""
    return hasattr(site, "latent")


def read_site(site: nn.Module, calls: SiteCalls, layout: TokenLayout, name: str) -> SiteAttention:
    """Turn what an attention module called into the attention that it used.

    Raises:
        ModelError: the module computes attention in a way that this kit does not know.
    """
    if calls.fused:
        return _read_fused(site, calls.fused, layout, name)
    if len(calls.matmuls) >= 2 and calls.softmaxes:
        product, weighting = calls.matmuls[0], calls.matmuls[-1]
        q, k = product.operands[0], product.operands[1].transpose(-2, -1)
        return SiteAttention(_read_eager(site, q, k, calls, layout, name), weighting.operands[1], weighting.result)
    raise ModelError(
        f"{name} ({type(site).__name__}) ran without an attention that this kit can see; "
        f"known are scaled_dot_product_attention and the attention modules of {', '.join(SUPPORTED)}"
    )


def weighted_values(calls: SiteCalls) -> Tensor:
    """The tensor of the forward pass in which attention met the values: ``(batch, head, query, width)``.

    Its gradient is that of the layer's attention times values, also where two softmaxes are subtracted afterwards.
    """
    return calls.fused[0].result if calls.fused else calls.matmuls[-1].result


def output_projection(site: nn.Module, heads: int, width: int) -> Tensor | None:
    """What a layer's heads are multiplied with after attention: ``(head, width, out)``, detached.

    The weight of a normalisation between attention and projection is part of it; that normalisation's own scale and a
    gate, which depend on the query, are not. None where the heads' results go on as they are.

    Raises:
        ModelError: an attention module whose projection this kit does not know.
    """
    known = ("proj", "o_proj", "attn_out_proj", "out_proj")
    layer = next((found for name in known if (found := getattr(site, name, None)) is not None), None)
    layer = getattr(layer, "linear", layer)
    if isinstance(layer, nn.Identity) or type(site).__name__ == "AttentionPoolPrr":
        return None
    if not isinstance(layer, nn.Linear) or layer.in_features < heads * width:
        raise ModelError(
            f"the output projection of {type(site).__name__} is not known to this kit, which the source 'norm' needs; "
            "take another source"
        )
    weight = layer.weight.detach()[:, : heads * width].T  # head*width out
    for name in ("sub_norm", "norm"):  # SigLIP's pool has a norm after its projection instead
        scale = None if is_latent_pool(site) else getattr(getattr(site, name, None), "weight", None)
        if scale is not None:
            weight = weight * scale.detach().repeat(heads * width // len(scale))[:, None]
    return weight.reshape(heads, width, -1)


def _read_fused(site: nn.Module, calls: Sequence[Call], layout: TokenLayout, name: str) -> SiteAttention:
    scores = [_fused_scores(call, layout) for call in calls]
    values = _ungrouped(calls[0], calls[0].operands[2])
    if len(calls) == 1:
        return SiteAttention(SoftmaxAttention(scores[0]), values, calls[0].result)
    if len(calls) == 2 and hasattr(site, "_compute_lambda"):
        factor = float(site._compute_lambda())
        output = calls[0].result - factor * calls[1].result
        return SiteAttention(DifferentialAttention(scores[0], scores[1], factor), values, output)
    raise ModelError(f"{name} ({type(site).__name__}) attends {len(calls)} times in one layer, which is not supported")


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
    if mask.ndim == 4 and mask.shape[0] == 1:
        mask = mask[0]
    if mask.ndim == 4:
        return DenseBias(mask)
    return compact_bias(mask.float().cpu(), layout.grid)


def _read_eager(site: nn.Module, q: Tensor, k: Tensor, calls: SiteCalls, layout: TokenLayout, name: str) -> Attention:
    match type(site).__name__:
        case "TalkingHeadAttn":  # its q is scaled before the product
            before, after = (_weights_of(layer) for layer in (site.proj_l, site.proj_w))
            return TalkingHeadsAttention(Scores(q, k, 1.0), before, after)
        case "GPSA":
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
