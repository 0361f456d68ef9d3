"""What changes when something is taken away: heads silenced, weights shuffled, pictures altered.

The model itself is never changed: heads are silenced in what passes between its modules, weights shuffled in a copy.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from ..capture.cache import remembered
from ..capture.forward import head_factors, require_same_model
from ..capture.recorder import MATMULS, Forward, model_lock, plain_forwards, replaced_forward, watched_forward
from ..capture.sites import SiteCalls
from ..models.families import blocks, trunk

if TYPE_CHECKING:
    from ..capture.capture import AttentionCapture
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

    Args:
        factors: gives the factors of a result, from the number of its axes.
        matmul: see above; 0 if attention is fused.
    """

    def __init__(self, factors: Callable[[int], Tensor], matmul: int) -> None:
        super().__init__()
        self.factors, self.matmul, self.seen = factors, matmul, 0

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if func is F.scaled_dot_product_attention:
            return result * self.factors(result.ndim)
        if func in MATMULS and result.ndim >= 3:  # as `SiteCalls` counts them
            self.seen += 1
            if self.seen == self.matmul:
                return result * self.factors(result.ndim)
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
    tensor = model.preprocessing.tensor(pixels)[None].to(model.device, model.dtype)
    with model_lock(model.module):
        _, clean = _clean_pass(model, tensor, (layer,))
        return model.probabilities(_silenced_logits(model, tensor, layer, range(heads), heads, clean))


def silence_every_head(
    model: AttentionModel, capture: AttentionCapture, target: int | None = None
) -> tuple[np.ndarray, ...]:
    """How much of a class's logit is lost when a head is silenced: each head of each layer in turn.

    Unlike a direct contribution, this counts what later layers make of the head's result, and what they do without it.
    Some heads of a layer are one batch, whose pass starts from the tokens before the layer's block. Others may use the
    model between these passes. The logits of all classes are kept beside the capture, so that a second class is free.

    Args:
        model: the model of the capture.
        capture: from `capture_attention`.
        target: number of the class; None is the predicted one.

    Returns:
        For each layer float32 ``(heads,)``: the logit as it is minus the logit with that head silenced; positive where
        the head speaks for the class.

    Raises:
        SettingsError: no such class, or a model without a classifier.
        ModelError: another model than the capture's.
    """
    target = capture.class_or_predicted(target)
    require_same_model(model, capture)

    def lost() -> tuple[np.ndarray, ...]:
        tensor = model.preprocessing.tensor(capture.pixels)[None].to(model.device, model.dtype)
        with model_lock(model.module):
            logits, clean = _clean_pass(model, tensor, capture.layer_names)
        size = BATCH if model.device.type == "cpu" else GPU_BATCH
        changes = []
        for layer in capture.layers:
            silenced = []
            for first in range(0, layer.num_heads, size):
                heads = range(first, min(first + size, layer.num_heads))
                with model_lock(model.module):
                    silenced.append(_silenced_logits(model, tensor, layer.name, heads, layer.num_heads, clean))
            changes.append((logits - torch.cat(silenced)).float().cpu().numpy())
        return tuple(changes)

    return tuple(change[:, target] for change in remembered(capture, "silenced heads", None, lost))


def silencing_passes(capture: AttentionCapture) -> float:
    """How many forward passes `silence_every_head` takes, about: a layer's heads run from its block on.

    In a model with windows or stages, at most this many.
    """
    if capture.staged:
        return float(sum(layer.num_heads for layer in capture.layers))
    order = list(dict.fromkeys(layer.block for layer in capture.layers))
    return sum(layer.num_heads * (len(order) - order.index(layer.block)) / len(order) for layer in capture.layers)


@dataclass(frozen=True)
class _CleanPass:
    """What a pass with heads silenced needs to know of the one without.

    Attributes:
        outputs: what each block returned, by its name.
        matmuls: by layer, the number of its matrix products, of which the last one multiplies the values; 0 if its
            attention is fused.
    """

    outputs: dict[str, Any]
    matmuls: dict[str, int]


def _clean_pass(model: AttentionModel, tensor: Tensor, layers: Sequence[str]) -> tuple[Tensor, _CleanPass]:
    """Run a model as it is; the caller holds its lock."""
    clean = _CleanPass({}, {})

    def count(name: str, calls: SiteCalls) -> None:
        clean.matmuls[name] = 0 if calls.fused else len(calls.matmuls)

    def keep(name: str, forward: Forward) -> Forward:
        def kept(*args: Any, **kwargs: Any) -> Any:
            clean.outputs[name] = forward(*args, **kwargs)
            return clean.outputs[name]

        return kept

    sites = {layer: model.sites[layer] for layer in layers}
    with replaced_forward(blocks(model.module), keep):
        return watched_forward(model.module, model.parts, sites, tensor, count), clean


def _silenced_logits(
    model: AttentionModel, tensor: Tensor, layer: str, heads: range, count: int, clean: _CleanPass
) -> Tensor:
    """Logits ``(heads, classes)`` with each of some heads of a layer silenced in turn, in one batch.

    The caller holds the model's lock.

    Args:
        model: the model.
        tensor: ``(1, channels, height, width)``, the picture.
        layer: name of the layer.
        heads: numbers of the heads to silence.
        count: number of all heads of the layer.
        clean: of the pass of this picture.
    """
    site = {layer: model.sites[layer]}
    keep = 1 - torch.eye(count, device=model.device, dtype=model.dtype)[heads.start : heads.stop]  # picture head
    factors = head_factors(model, layer, keep)
    before: dict[str, nn.Module] = {}
    for name, block in blocks(model.module).items():
        if _inside(layer, name):
            break
        before[name] = block

    def silence(_: str, forward: Forward) -> Forward:
        def silenced(*args: Any, **kwargs: Any) -> Any:
            with _Silence(factors, clean.matmuls[layer]):
                return forward(*args, **kwargs)

        return silenced

    def skip(name: str, _: Forward) -> Forward:
        return lambda *_, **__: _repeated(clean.outputs[name], len(heads))

    batch = tensor.expand(len(heads), -1, -1, -1).contiguous()
    with replaced_forward(site, silence), replaced_forward(before, skip):
        return watched_forward(model.module, model.parts, site, batch, lambda *_: None)


def _repeated(output: Any, count: int) -> Any:
    """What a block returned for one picture, for a batch of the same picture; TNT's and CrossViT's return two."""
    if isinstance(output, tuple | list):
        return type(output)(_repeated(part, count) for part in output)
    return output.repeat(count, *[1] * (output.ndim - 1))


def first_shuffled_block(model: AttentionModel, layer: str) -> int:
    """Where `shuffled_copy` starts for a map of a layer: at the last third of the blocks, or at its own if earlier.

    In a model with windows or stages, layers are counted in place of blocks.
    """
    names = list(model.sites if model.partitions else blocks(model.module))
    own = next((number for number, name in enumerate(names) if _inside(layer, name)), len(names) - 1)
    return min(len(names) - -(-len(names) // 3), own)


def shuffled_copy(model: AttentionModel, first_block: int, seed: int = 0) -> AttentionModel:
    """A copy of a model whose weights are shuffled from a block on, up to the classifier.

    Shuffling the entries of each tensor is a random initialisation that keeps their distribution, whatever the
    architecture.

    Args:
        model: from `load_model`; it is left unchanged.
        first_block: number of the first shuffled block; in a model with windows or stages, of the layer from which on
            all weights are shuffled, in the order in which the model holds them.
        seed: of the shuffling.
    """
    with model_lock(model.module):
        module = copy.deepcopy(model.module)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in _parameters_from(model, module, first_block):
            order = torch.randperm(parameter.numel(), generator=generator).to(parameter.device)
            parameter.copy_(parameter.flatten()[order].view_as(parameter))
    sites = {name: module.get_submodule(name) for name in model.sites}
    return replace(model, module=module, sites=sites, parts=tuple(module.modules()), loaded_with=None)


def _parameters_from(model: AttentionModel, module: nn.Module, first: int) -> list[nn.Parameter]:
    """The parameters of a copy of a model from a block, or a layer of a model with stages, up to the classifier."""
    named = list(module.named_parameters())
    if model.partitions:
        layer = list(model.sites)[first]
        start = next(number for number, (name, _) in enumerate(named) if _inside(name, layer))
        return [parameter for _, parameter in named[start:]]
    prefix = trunk(module)[0]
    parts = [*list(blocks(module))[first:], *_AFTER_BLOCKS, *(f"{prefix}{name}" for name in _AFTER_BLOCKS)]
    return [parameter for name, parameter in named if any(_inside(name, part) for part in parts)]


def _inside(name: str, part: str) -> bool:
    return name == part or name.startswith(f"{part}.")
