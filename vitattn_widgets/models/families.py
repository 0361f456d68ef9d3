"""What the kit knows about timm's flat families: which they are, where their attention is, what their head reads.

Everything is read from the model itself. Classes are compared by name and not imported, so that a family which the
installed timm lacks does no harm.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ..errors import ModelError
from .stage_sites import kind_of
from .tokens import TokenLayout
from .tracing import prefix_names

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
"""timm's families with one patch-by-patch attention matrix per layer."""

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
"""timm's Python modules that build only these families."""


def _class_names(module: nn.Module) -> set[str]:
    return {cls.__name__ for cls in type(module).__mro__ if cls.__module__.startswith("timm.")}


def require_supported(module: nn.Module, name: str) -> None:
    """Raise if a model has no patch-by-patch attention that this kit can read.

    Raises:
        ModelError: names the model, the reason and the supported families.
    """
    if isinstance(module, torch.jit.ScriptModule):
        raise ModelError(f"{name} is a traced or scripted model, whose attention cannot be observed; pass the original")
    if any(getattr(part, "_compiled_call_impl", None) is not None for part in module.modules()):
        raise ModelError(f"{name} was compiled in place, which hides its attention; pass it before calling .compile()")
    if any("_orig_mod" in part._modules for part in module.modules()):
        raise ModelError(f"{name} holds a compiled part, which hides its attention; pass it before torch.compile")
    if is_flat(model_inside(module)[1]) or any(kind_of(part) for part in module.modules()):
        return
    kinds = [type(part).__name__ for part in module.modules()]
    attends = any("attention" in kind.lower() or "Attn" in kind for kind in kinds)
    reason = "its attention is not between patches, or of a kind not known to this kit"
    raise ModelError(
        f"{name} ({type(module).__name__}) has no attention map to show: "
        f"{reason if attends else 'it has no attention layers'}. Supported are timm's flat Vision Transformers "
        f"({', '.join(SUPPORTED)}) and most of its models with windows or stages (Swin, MaxViT, Hiera, ...); "
        "docs/models.md lists all; try 'vit_tiny_patch16_224'"
    )


def is_flat(module: nn.Module) -> bool:
    """Whether a model is of a family with one patch-by-patch attention matrix per layer."""
    return bool(_class_names(module) & set(SUPPORTED))


def model_inside(module: nn.Module) -> tuple[str, nn.Module]:
    """The timm model in a module of your own, preceded by its name prefix; the module itself if it is one.

    Raises:
        ModelError: there are several.
    """
    if _is_model(module):
        return "", module
    found: dict[str, nn.Module] = {}
    for name, part in module.named_modules():
        if _is_model(part) and not any(name.startswith(f"{outer}.") for outer in found):
            found[name] = part
    if len(found) > 1:
        raise ModelError(
            f"{type(module).__name__} holds several timm models: {', '.join(found)}; which one is meant? Pass that one"
        )
    return next(((f"{name}.", part) for name, part in found.items()), ("", module))


def _is_model(module: nn.Module) -> bool:
    # every model of timm's has these, and no layer or block does
    return is_flat(module) or (
        bool(_class_names(module)) and hasattr(module, "forward_features") and hasattr(module, "get_classifier")
    )


def trunk(module: nn.Module) -> tuple[str, nn.Module]:
    """The part of a model that holds its blocks, preceded by its name prefix (``"encoder."`` for wrapped encoders)."""
    prefix, inside = model_inside(module)
    encoder = getattr(inside, "encoder", None)
    if isinstance(encoder, nn.Module) and hasattr(encoder, "blocks"):
        return f"{prefix}encoder.", encoder
    return prefix, inside


def blocks(module: nn.Module) -> dict[str, nn.Module]:
    """The blocks of a model by qualified name, in the order of the forward pass."""
    prefix, body = trunk(module)
    groups = ("blocks", "blocks_token_only")
    return {
        f"{prefix}{group}.{number}": block for group in groups for number, block in enumerate(getattr(body, group, ()))
    }


def attention_sites(module: nn.Module) -> dict[str, nn.Module]:
    """The modules that compute attention, by qualified name, in the order of the forward pass.

    TNT's inner attention, between the pixels of one patch, is not included.
    """
    prefix, body = trunk(module)
    sites: dict[str, nn.Module] = {}
    for group in ("blocks", "blocks_token_only"):
        for number, block in enumerate(getattr(body, group, ())):
            where = f"{prefix}{group}.{number}"
            if hasattr(block, "attn_out"):  # TNT, whose `attn_in` is the inner attention
                sites[f"{where}.attn_out"] = block.attn_out
            elif hasattr(block, "attns"):  # several attentions side by side on the same tokens
                sites |= {f"{where}.attns.{i}.attn": branch.attn for i, branch in enumerate(block.attns)}
            elif hasattr(block, "attn"):
                sites[f"{where}.attn"] = block.attn
            else:  # the block computes attention itself
                sites[where] = block
    pool = getattr(body, "attn_pool", None)
    if isinstance(pool, nn.Module):
        sites[f"{prefix}attn_pool"] = pool
    return sites


def block_of(module: nn.Module, layer: str) -> str:
    """The name of the block that holds an attention module; a pool after the blocks is its own."""
    return next((name for name in blocks(module) if f"{layer}.".startswith(f"{name}.")), layer)


def _patch_embed(body: nn.Module) -> Any:  # timm's patch embeddings have no type in common
    for name in ("patch_embed", "embeds", "pixel_embed"):
        embed = getattr(body, name, None)
        if isinstance(embed, nn.Module):
            return embed
    raise ModelError(f"{type(body).__name__} has no patch embedding that this kit knows")


def nominal_size(module: nn.Module) -> tuple[int, int] | None:
    """The input size ``(height, width)`` that a model was built for; None if it does not state one."""
    inside = model_inside(module)[1]
    if not is_flat(inside):
        return None
    embed = _patch_embed(trunk(module)[1])
    size = getattr(embed, "img_size", None) or getattr(inside, "_traits", {}).get("img_size")
    return (int(size[0]), int(size[1])) if size is not None else None


def patch_shape(module: nn.Module) -> tuple[int, int]:
    """Height and width of a patch in input pixels, including the stride of a hybrid's convolutional stem."""
    embed = _patch_embed(trunk(module)[1])
    if hasattr(embed, "feat_ratio"):
        height, width = embed.feat_ratio(as_scalar=False)
    else:
        height, width = embed.patch_size
    return int(height), int(width)


def token_layout(module: nn.Module, size: tuple[int, int], name: str, classes: int) -> TokenLayout:
    """The tokens of a flat model with so many classes on an input of `size` ``(height, width)``.

    A remainder of the input that is smaller than a patch, as in some SigLIP models' own size, belongs to no token.

    Raises:
        ModelError: the model has prefix tokens that this kit does not know.
    """
    _, body = trunk(module)
    patch = patch_shape(module)
    prefix = prefix_names(body)
    expected = getattr(body, "num_prefix_tokens", len(prefix))
    if len(prefix) != expected:
        raise ModelError(f"{name} has {expected} prefix tokens, of which only {prefix} are known to this kit")
    read = read_queries(model_inside(module)[1], prefix)
    return TokenLayout(
        grid=(size[0] // patch[0], size[1] // patch[1]),
        prefix=prefix,
        patch_shape=patch,
        default_query=read[0],
        read=read if classes else (),
    )


def require_whole_patches(module: nn.Module, size: tuple[int, int], name: str) -> None:
    """Raise if an input of `size` ``(height, width)`` does not consist of whole patches.

    Raises:
        ModelError: names the nearest sizes that do.
    """
    for pixels, side, axis in zip(size, patch_shape(module), ("height", "width"), strict=True):
        if pixels < side or pixels % side:
            below = max(side, pixels // side * side)
            raise ModelError(
                f"{name} takes an image {axis} that is a multiple of its patch {axis} {side}, got {pixels}; "
                f"nearest: {below} or {below + side}"
            )


def read_queries(module: nn.Module, prefix: tuple[str, ...]) -> tuple[str, ...]:
    """What the pooling before the classifier reads, as queries of the last layer."""
    pool = getattr(module, "attn_pool", None)
    if pool is not None and is_latent_pool(pool):
        return ("pool",)
    if pool is not None:  # a pool over the model's own tokens, of which the head reads one or the mean
        return ("class",) if getattr(pool, "pool", "") == "token" else ("mean",)
    if "dist" in prefix:  # two classifiers, one per token, whose logits are averaged
        return ("class", "dist")
    pooling = getattr(module, "global_pool", "")
    if pooling == "token" or (not pooling and "class" in prefix):
        return ("class",)
    return ("mean",)


def is_latent_pool(site: nn.Module) -> bool:
    """Whether an attention module pools the patches with learned queries (SigLIP)."""
    return hasattr(site, "latent")


def read_out(module: nn.Module, tokens: Tensor) -> Tensor:
    """The model's own final norm, pooling and head, on tokens as a block returns them.

    Args:
        module: in eval mode, with a classifier.
        tokens: ``(batch, tokens, width)``, all tokens of the model.

    Returns:
        Logits ``(batch, classes)``.

    Raises:
        ModelError: the model merges its tokens before it classifies them.
    """
    if getattr(module, "encoder_pool", "") not in ("", "none"):
        raise ModelError(
            f"{type(module).__name__} merges its patches between its blocks and its classifier "
            f"(encoder_pool={module.encoder_pool!r}), so its classifier cannot read the tokens of a block"
        )
    norm = getattr(trunk(module)[1], "norm", None)
    forward_head: Any = module.forward_head
    logits: Tensor = forward_head(tokens if norm is None else norm(tokens))
    return logits


def projection_layer(site: nn.Module) -> Any:
    """The module that a layer's heads are sent through after attention; None if it has none that this kit knows."""
    names = ("proj", "o_proj", "attn_out_proj", "out_proj")
    layer = next((part for name in names if (part := getattr(site, name, None)) is not None), None)
    return getattr(layer, "linear", layer)


def output_projection(site: nn.Module, heads: int, width: int) -> Tensor | None:
    """The matrices that a layer's heads are multiplied by after attention: ``(head, width, out)``, detached.

    The weight of a normalisation between attention and projection is included; that normalisation's own scale and a
    gate, which depend on the query, are not. None if the heads' results pass on unchanged.

    Raises:
        ModelError: an attention module whose projection this kit does not know.
    """
    layer = projection_layer(site)
    if isinstance(layer, nn.Identity) or type(site).__name__ == "AttentionPoolPrr":
        return None
    if isinstance(layer, nn.Conv2d) and layer.kernel_size == (1, 1) and layer.in_channels == heads * width:
        return layer.weight.detach()[:, :, 0, 0].T.reshape(heads, width, -1)  # a linear layer of each patch
    if not isinstance(layer, nn.Linear) or layer.in_features < heads * width:
        raise ModelError(
            f"the output projection of {type(site).__name__} is not known to this kit, and the source 'norm' needs it; "
            "choose another source"
        )
    weight = layer.weight.detach()[:, : heads * width].T  # head*width out
    kind = kind_of(site)
    if kind is not None and kind.heads_last:
        weight = weight.reshape(width, heads, -1).transpose(0, 1).reshape(heads * width, -1)
    for name in ("sub_norm", "norm"):  # SigLIP's pool has a norm after its projection instead
        scale = None if is_latent_pool(site) else getattr(getattr(site, name, None), "weight", None)
        if scale is not None:
            weight = weight * scale.detach().repeat(heads * width // len(scale))[:, None]
    return weight.reshape(heads, width, -1)
