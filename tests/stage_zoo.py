"""Small models with windows and stages, with weights strong enough that a wrong formula or a wrong cell shows."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import timm
import torch
from torch import nn


@dataclass(frozen=True)
class Small:
    """A small model: timm's name, the size of its input, the arguments that make it small, and its weights' size."""

    name: str
    size: tuple[int, int]
    options: dict[str, Any] = field(default_factory=dict)
    gain: float = 1.5


_two = {"embed_dim": 24, "depths": (2, 2), "num_heads": (2, 3)}
_pvt = {"depths": (1, 1, 1, 1), "embed_dims": (16, 16, 24, 24), "num_heads": (1, 2, 3, 3)}
_hiera = {"embed_dim": 16, "num_heads": 1, "stages": (1, 2, 2, 1)}

MODELS = {
    "swin": Small("swin_tiny_patch4_window7_224", (64, 96), {**_two, "window_size": 4}),
    "swin_padded": Small("swin_tiny_patch4_window7_224", (56, 84), {**_two, "window_size": 4}),
    "swin_one_window": Small("swin_tiny_patch4_window7_224", (32, 32), {**_two, "window_size": 8}),
    "swinv2": Small("swinv2_tiny_window8_256", (64, 96), {**_two, "window_size": 4}),
    "swinv2_padded": Small("swinv2_tiny_window8_256", (56, 84), {**_two, "window_size": 4}),
    "swinv2_cr": Small("swinv2_cr_tiny_ns_224", (64, 96), {**_two, "window_size": 4}),
    "hiera": Small("hiera_tiny_224", (64, 96), _hiera),
    "hiera_absolute_window": Small("hiera_tiny_224", (96, 64), {**_hiera, "abs_win_pos_embed": True}),
    "hieradet": Small("sam2_hiera_tiny", (64, 96), {**_hiera, "window_spec": (8, 4, 4, 2), "global_att_blocks": (4,)}),
    "maxvit": Small("test_maxvit", (64, 96)),
    "maxvit_parallel": Small("maxvit_tiny_pm_256", (64, 96), {"embed_dim": (32,) * 4, "depths": (1, 1, 1, 1)}),
    "maxvit_channels_first": Small(
        "maxvit_tiny_tf_224", (64, 96), {"embed_dim": (32,) * 4, "depths": (1, 1, 1, 1), "stem_width": 16}
    ),
    "coatnet": Small("test_coatnet", (64, 96)),
    "sam": Small(
        "samvit_base_patch16",
        (64, 96),
        {"patch_size": 8, "embed_dim": 24, "depth": 3, "num_heads": 2, "window_size": 5, "global_attn_indexes": (1,)},
    ),
    "pvt_v2": Small("pvt_v2_b0", (64, 96), _pvt),
    "pvt_v2_linear": Small("pvt_v2_b2_li", (64, 96), _pvt),
    "twins": Small("twins_svt_small", (64, 96), {**_pvt, "wss": (5, 5, 3, 3)}),
    "twins_pyramid": Small("twins_pcpvt_small", (64, 96), _pvt),
    "mvitv2": Small("mvitv2_tiny", (64, 64)),
    "mvitv2_class": Small("mvitv2_small_cls", (64, 64)),
    "gcvit": Small("gcvit_xxtiny", (64, 64), {"window_size": 2}),
    "nest": Small("nest_tiny", (64, 64)),
    "levit": Small("levit_128s", (64, 64)),
    "levit_convolutions": Small("levit_conv_128s", (64, 64)),
    "tiny_vit": Small("tiny_vit_5m_224", (64, 96), gain=1.0),
    "davit": Small("davit_tiny", (64, 96), {"embed_dims": (16,) * 4, "num_heads": (2,) * 4, "depths": (1,) * 4}),
    "caformer": Small("caformer_s18", (64, 96)),
    "pit": Small("pit_ti_224", (64, 96)),
    "pit_distilled": Small("pit_ti_distilled_224", (64, 96)),
    "mobilevit": Small("mobilevit_xxs", (64, 96)),
    "xcit": Small("xcit_nano_12_p16_224", (64, 96), {"depth": 2}),
    "visformer": Small("visformer_tiny", (64, 64)),
    "fastvit": Small("fastvit_sa12", (64, 96)),
    "efficientformer": Small("efficientformer_l1", (224, 224)),
    "efficientformerv2": Small("efficientformerv2_s0", (64, 64)),
    "volo": Small("volo_d1_224", (64, 64)),
    "crossvit": Small("crossvit_9_240", (240, 240)),
    "mobilenetv4": Small("mobilenetv4_hybrid_medium", (64, 96)),
    "shvit": Small("shvit_s1", (64, 96)),
    "botnet": Small("botnet26t_256", (64, 64)),
    "halonet": Small("halonet26t", (256, 256)),
    "nextvit": Small("nextvit_small", (64, 96)),
    "clip_resnet": Small("resnet50_clip", (224, 224)),
    "lowformer": Small("lowformer_b0", (128, 192)),
    "cpubone": Small("cpubone_b0_bfrobust", (128, 192)),
    "iformer": Small("iformer_t", (64, 96)),
}

SIZED = {
    "hieradet",
    "pvt_v2",
    "pvt_v2_linear",
    "davit",
    "caformer",
    "mobilevit",
    "fastvit",
    "mobilenetv4",
    "shvit",
    "nextvit",
}
SIZED |= {"halonet", "tiny_vit", "efficientformer", "clip_resnet", "lowformer", "cpubone", "iformer"}
"""Models that take no input size when they are built, as they run on any."""


def build(key: str, seed: int = 0) -> nn.Module:
    """A small model in eval mode, with attention far from uniform."""
    torch.manual_seed(seed)
    small = MODELS[key]
    options = dict(small.options) if key in SIZED else {"img_size": small.size, **small.options}
    module = timm.create_model(small.name, num_classes=5, **options).eval()
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if "bias_table" in name or "rel_pos" in name or "attention_biases" in name or "height_rel" in name:
                parameter.normal_(0, 1.0)
            elif parameter.ndim == 2:
                parameter.normal_(0, small.gain * parameter.shape[1] ** -0.5)
            elif parameter.ndim == 1:  # some norms start at 0, and their block is no block
                parameter.add_(0.1 * torch.randn_like(parameter))
        # batch norms learn what their features are like, which otherwise fade from layer to layer
        norms = [part for part in module.modules() if isinstance(part, nn.modules.batchnorm._BatchNorm)]
        if norms:
            for norm in norms:
                norm.train().momentum = 1.0
            module(torch.randn(8, 3, *small.size))
            module.eval()
    return module
