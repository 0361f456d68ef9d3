"""What changes when something is taken away: heads silenced, weights shuffled, pictures altered.

The model itself is never changed: heads are silenced in what passes between its modules, weights shuffled in a copy.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from ..capture.recorder import MATMULS, Forward, model_lock, plain_forwards, replaced_forward, watched_forward
from ..capture.sites import SiteCalls
from ..models.families import attention_sites, block_names, trunk

if TYPE_CHECKING:
    from ..models.loading import AttentionModel

BATCH = 4
"""Altered pictures per forward pass on a CPU: more are no faster, and whoever needs the model waits longer for them."""

GPU_BATCH = 32
"""Altered pictures per forward pass on a GPU."""


def one_worker() -> int:
    """Passes one after the other, each on as many cores as torch uses."""
    return 1


_AFTER_BLOCKS = ("norm", "fc_norm", "attn_pool", "head", "head_dist", "classifier")


def probabilities_of(model: AttentionModel, pixels: np.ndarray, workers: Callable[[], int] = one_worker) -> np.ndarray:
    """The model's probabilities for prepared pictures. Between its passes, others may use the model.

    Args:
        model: from `load_model`.
        pixels: uint8 ``(pictures, H, W, 3)`` of the model's input size.
        workers: how many passes may run at the same time, each in a thread of its own; asked again and again.

    Returns:
        float32 ``(pictures, classes)``.
    """
    size = BATCH if model.device.type == "cpu" else GPU_BATCH
    answers, start = [], 0
    while start < len(pixels):
        stop = start + size * workers()
        tensors = torch.stack([model.preprocessing.tensor(picture) for picture in pixels[start:stop]])
        tensors = tensors.to(model.device, model.dtype)
        batches = [tensors[first : first + size] for first in range(0, len(tensors), size)]
        answers += [model.probabilities(logits) for logits in plain_forwards(model.module, model.parts, batches)]
        start = stop
    return np.concatenate(answers)


class _Silence(TorchFunctionMode):
    """Multiplies what attention computes from the values by 0 or 1, per picture and head.

    Fused attention is a single call. Where attention is written out, its product with the values is the `matmul`-th
    matrix product of the layer, counting from 1.
    """

    def __init__(self, keep: Tensor, matmul: int) -> None:
        super().__init__()
        self.keep, self.matmul, self.seen = keep, matmul, 0

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if func is F.scaled_dot_product_attention:
            return result * self.keep
        if func in MATMULS and result.ndim == 4:
            self.seen += 1
            if self.seen == self.matmul:
                return result * self.keep
        return result


def silence_heads(model: AttentionModel, pixels: np.ndarray, layer: str, heads: int) -> np.ndarray:
    """The model's probabilities with one head of a layer silenced: each head in turn, in one batch.

    Args:
        model: from `load_model`.
        pixels: uint8 ``(H, W, 3)`` of the model's input size.
        layer: name of the layer.
        heads: number of its heads.

    Returns:
        float32 ``(heads, classes)``.
    """
    matmuls = 0

    def count(_: str, calls: SiteCalls) -> None:
        nonlocal matmuls
        matmuls = 0 if calls.fused else len(calls.matmuls)

    site = model.sites[layer]
    tensor = model.preprocessing.tensor(pixels)[None].to(model.device, model.dtype)
    with model_lock(model.module):
        # a first pass counts the layer's matrix products: the last one multiplies the values
        watched_forward(model.module, model.parts, {layer: site}, tensor, count)
        keep = (1 - torch.eye(heads, device=model.device, dtype=model.dtype))[:, :, None, None]  # (picture, head, 1, 1)

        def silence(_: str, forward: Forward) -> Forward:
            def silenced(*args: Any, **kwargs: Any) -> Any:
                with _Silence(keep, matmuls):
                    return forward(*args, **kwargs)

            return silenced

        with replaced_forward({layer: site}, silence):
            batch = tensor.expand(heads, -1, -1, -1).contiguous()
            logits = watched_forward(model.module, model.parts, {layer: site}, batch, lambda *_: None)
    return model.probabilities(logits)


def first_shuffled_block(model: AttentionModel, layer: str) -> int:
    """Where `shuffled_copy` starts for a map of a layer: at the last third of the blocks, or at its own if earlier."""
    names = block_names(model.module)
    own = next((number for number, name in enumerate(names) if _inside(layer, name)), len(names) - 1)
    return min(len(names) - -(-len(names) // 3), own)


def shuffled_copy(model: AttentionModel, first_block: int, seed: int = 0) -> AttentionModel:
    """A copy of a model whose weights are shuffled from a block on, up to the classifier.

    Shuffling the entries of each tensor is a random initialisation that keeps their distribution, whatever the
    architecture.

    Args:
        model: from `load_model`; it is left unchanged.
        first_block: number of the first shuffled block.
        seed: of the shuffling.
    """
    with model_lock(model.module):
        module = copy.deepcopy(model.module)
    prefix = trunk(module)[0]
    parts = [*block_names(module)[first_block:], *_AFTER_BLOCKS, *(f"{prefix}{name}" for name in _AFTER_BLOCKS)]
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if any(_inside(name, part) for part in parts):
                order = torch.randperm(parameter.numel(), generator=generator).to(parameter.device)
                parameter.copy_(parameter.flatten()[order].view_as(parameter))
    return replace(model, module=module, sites=attention_sites(module), parts=tuple(module.modules()), loaded_with=None)


def _inside(name: str, part: str) -> bool:
    return name == part or name.startswith(f"{part}.")
