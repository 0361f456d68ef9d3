"""Small models of every supported family, with weights strong enough that a wrong attention formula shows."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from timm.layers import Attention, DiffAttention
from timm.models.beit import Beit
from timm.models.cait import Cait
from timm.models.convit import ConVit
from timm.models.deepseek_vit import DeepseekVitClassifier, DeepseekVitEncoder
from timm.models.deit import VisionTransformerDistilled
from timm.models.eva import Eva
from timm.models.gemma4_vit import Gemma4VitClassifier, Gemma4VitEncoder
from timm.models.naflexvit import NaFlexVit, NaFlexVitCfg
from timm.models.qwen3_vit import Qwen3VitClassifier, Qwen3VitEncoder
from timm.models.tnt import TNT
from timm.models.vision_transformer import (
    DiffParallelScalingBlock,
    ParallelScalingBlock,
    ParallelThingsBlock,
    VisionTransformer,
)
from timm.models.vision_transformer_relpos import VisionTransformerRelPos
from torch import nn

SQUARE, WIDE = (32, 32), (32, 48)
PATCH = 8


class GatedAttention(Attention):
    """timm's attention with a sigmoid gate on its output."""

    def __init__(self, *args: object, **options: object) -> None:
        super().__init__(*args, gated=True, **options)


class GroupedQueryAttention(nn.Module):
    """An attention of a user's own: one key and value head for all query heads, expanded inside the fused kernel."""

    def __init__(self, dim: int, num_heads: int, **_: object) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.q = nn.Linear(dim, dim)
        self.kv = nn.Linear(dim, 2 * dim // num_heads)

    def forward(self, x: torch.Tensor, **_: object) -> torch.Tensor:
        batch, tokens, dim = x.shape
        q = self.q(x).view(batch, tokens, self.num_heads, -1).transpose(1, 2)
        k, v = self.kv(x)[:, None].chunk(2, -1)
        mixed = F.scaled_dot_product_attention(q, k, v, scale=0.3, enable_gqa=True)
        return mixed.transpose(1, 2).reshape(batch, tokens, dim)


_vit = {"patch_size": PATCH, "embed_dim": 48, "depth": 3, "num_heads": 3, "num_classes": 5}
_eva = {"patch_size": PATCH, "embed_dim": 48, "depth": 3, "num_heads": 3, "num_classes": 5, "mlp_ratio": 2.0}
_tnt = {"patch_size": PATCH, "embed_dim": 48, "depth": 3, "num_classes": 5}
_tnt |= {"inner_dim": 8, "num_heads_inner": 2, "num_heads_outer": 3}
_vlm = {"patch_size": PATCH, "embed_dim": 48, "depth": 3, "num_heads": 3, "num_classes": 5}

# name -> a function of the image size (height, width)
FAMILIES: dict[str, Callable[[tuple[int, int]], nn.Module]] = {
    "vit": lambda size: VisionTransformer(img_size=size, **_vit),
    "vit_qk_norm": lambda size: VisionTransformer(img_size=size, qk_norm=True, **_vit),
    "vit_registers": lambda size: VisionTransformer(img_size=size, reg_tokens=4, **_vit),
    "vit_registers_average": lambda size: VisionTransformer(
        img_size=size, class_token=False, reg_tokens=4, global_pool="avg", **_vit
    ),
    "vit_attention_pool": lambda size: VisionTransformer(img_size=size, class_token=False, global_pool="map", **_vit),
    "vit_attention_pool_class": lambda size: VisionTransformer(img_size=size, global_pool="map", **_vit),
    "vit_refining_pool": lambda size: VisionTransformer(img_size=size, global_pool="prr", **_vit),
    "vit_refining_pool_average": lambda size: VisionTransformer(
        img_size=size, class_token=False, global_pool="prr", **_vit
    ),
    "vit_dynamic": lambda size: VisionTransformer(img_size=size, dynamic_img_size=True, **_vit),
    "vit_gated": lambda size: VisionTransformer(img_size=size, attn_layer=GatedAttention, **_vit),
    "vit_parallel_scaling": lambda size: VisionTransformer(img_size=size, block_fn=ParallelScalingBlock, **_vit),
    "vit_parallel_things": lambda size: VisionTransformer(img_size=size, block_fn=ParallelThingsBlock, **_vit),
    "vit_differential": lambda size: VisionTransformer(img_size=size, attn_layer=DiffAttention, **_vit),
    "vit_differential_parallel": lambda size: VisionTransformer(
        img_size=size, block_fn=DiffParallelScalingBlock, **_vit
    ),
    "distilled": lambda size: VisionTransformerDistilled(img_size=size, **_vit),
    "eva": lambda size: Eva(img_size=size, use_rot_pos_emb=True, **_eva),
    "eva_class": lambda size: Eva(img_size=size, use_rot_pos_emb=True, global_pool="token", **_eva),
    "eva_separate_qkv": lambda size: Eva(
        img_size=size, use_rot_pos_emb=True, qkv_fused=False, scale_attn_inner=True, **_eva
    ),
    "eva_rope_registers": lambda size: Eva(
        img_size=size, use_rot_pos_emb=True, attn_type="rope", num_reg_tokens=4, qk_norm=True, **_eva
    ),
    "eva_grouped_query": lambda size: Eva(
        img_size=size, use_rot_pos_emb=True, attn_type="rope", qkv_fused=False, num_kv_heads=1, **_eva
    ),
    "eva_attention_pool": lambda size: Eva(img_size=size, use_rot_pos_emb=True, global_pool="map", **_eva),
    "beit": lambda size: Beit(img_size=size, use_abs_pos_emb=False, use_rel_pos_bias=True, **_vit),
    "beit_shared": lambda size: Beit(img_size=size, use_shared_rel_pos_bias=True, **_vit),
    "relpos_mlp": lambda size: VisionTransformerRelPos(img_size=size, rel_pos_type="mlp", **_vit),
    "relpos_bias_class": lambda size: VisionTransformerRelPos(
        img_size=size, rel_pos_type="bias", class_token=True, global_pool="token", **_vit
    ),
    "relpos_shared": lambda size: VisionTransformerRelPos(
        img_size=size, rel_pos_type="mlp", shared_rel_pos=True, **_vit
    ),
    "naflex": lambda size: _naflex(size, class_token=True, global_pool="token"),
    "naflex_attention_pool": lambda size: _naflex(size, class_token=False, reg_tokens=2, global_pool="map"),
    "cait": lambda size: Cait(img_size=size, **_vit),
    "convit": lambda size: ConVit(img_size=size, **(_vit | {"embed_dim": 16}), local_up_to_layer=2),
    "tnt": lambda size: TNT(img_size=size, **_tnt),
    "qwen3": lambda size: Qwen3VitClassifier(img_size=size, pos_embed_grid_size=4, **_vlm),
    "qwen3_encoder": lambda size: _encoder(Qwen3VitEncoder, size, pos_embed_grid_size=4, global_pool="avg"),
    "deepseek": lambda size: DeepseekVitClassifier(img_size=size, **_vlm),
    "deepseek_encoder": lambda size: _encoder(DeepseekVitEncoder, size, global_pool=""),
    "gemma4": lambda size: Gemma4VitClassifier(
        img_size=size, head_dim=16, intermediate_size=64, position_embedding_size=16, **_vlm
    ),
    "gemma4_encoder": lambda size: _encoder(
        Gemma4VitEncoder, size, head_dim=16, intermediate_size=64, position_embedding_size=16, global_pool=""
    ),
}

SQUARE_ONLY = {"convit"}
"""Families whose position scores assume a square grid."""

CASES = [
    (family, size) for family in FAMILIES for size in (SQUARE, WIDE) if size == SQUARE or family not in SQUARE_ONLY
]


def _naflex(size: tuple[int, int], **options: object) -> NaFlexVit:
    config = NaFlexVitCfg(patch_size=PATCH, embed_dim=48, depth=3, num_heads=3, pos_embed_grid_size=(4, 4), **options)
    return NaFlexVit(config, num_classes=5, img_size=size)


def _encoder(kind: type[nn.Module], size: tuple[int, int], **options: object) -> nn.Module:
    arguments = {key: value for key, value in _vlm.items() if key != "num_classes"}
    return kind(img_size=size, **arguments, **options)


def build(family: str, size: tuple[int, int] = SQUARE, seed: int = 0) -> nn.Module:
    """A small model of a family in eval mode, with attention far from uniform."""
    torch.manual_seed(seed)
    module = FAMILIES[family](size).eval()
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if parameter.ndim < 2:
                parameter.add_(0.1 * torch.randn_like(parameter))
            elif "relative_position_bias_table" in name or "rel_pos" in name:
                parameter.normal_(0, 1.0)
            else:
                parameter.normal_(0, 1.5 * max(parameter.shape[1:]) ** -0.5)
    return module


def photo(size: tuple[int, int], seed: int = 0) -> torch.Tensor:
    """A normalised random input ``(1, 3, height, width)``."""
    return torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(seed))
