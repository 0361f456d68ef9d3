"""Helpers of the explorer's tests: a small random model and noise, in Python and in a notebook cell."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import torch
from PIL import Image
from timm.models.vision_transformer import VisionTransformer

import vitattn_widgets as va

SHAPE = {"img_size": (32, 48), "patch_size": 8, "embed_dim": 24, "depth": 3, "num_heads": 3, "num_classes": 5}


def small_model(name: str = "small", **changes: object) -> va.models.AttentionModel:
    """A random ViT with 4 x 6 patches, 3 layers and 3 heads, unless changed."""
    torch.manual_seed(0)
    return replace(va.load_model(VisionTransformer(**(SHAPE | changes)).eval()), name=name)


def photo(seed: int, size: tuple[int, int] = (100, 120)) -> np.ndarray:
    """Noise, uint8 ``(*size, 3)``."""
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)


def decoded(content: bytes) -> np.ndarray:
    """The pixels of a picture file."""
    return np.array(Image.open(io.BytesIO(content)).convert("RGB"))


PHOTOS = {"first": photo(1), "second": photo(2, (90, 200))}
"""Pictures of an explorer."""

CELL = f"""
import numpy as np, torch, vitattn_widgets as va
from timm.models.vision_transformer import VisionTransformer
torch.manual_seed(0)
model = va.load_model(VisionTransformer(**{SHAPE}).eval())
photo = np.random.default_rng(1).integers(0, 256, (100, 120, 3), np.uint8)
explorer = va.AttentionExplorer(model, {{"noise": photo}})
explorer
"""


def cell_model() -> va.models.AttentionModel:
    """The model of `CELL`."""
    return small_model("VisionTransformer")


def cell_capture() -> va.capture.AttentionCapture:
    """The capture that the explorer of `CELL` shows."""
    return va.capture_attention(cell_model(), photo(1))
