"""Conservative propagation: what each token adds to an answer, by one pass forward and back through a linearised model.

In a linear model, an input times its gradient is what it adds to the output, and these products add up to it. So the
states that enter each block, times their gradients, and the constants that join later, times theirs, add up to the
logit, at every layer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import reduce
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from ..errors import ModelError
from ..models.families import block_of
from .backward import MAX_CLASSES, free_from_inference_mode, require_gradient, require_same_answer
from .contributions import ClassContributions, LayerContributions
from .directions import reading_answer
from .entering_tokens import flat_tokens, pairs, stage_tokens
from .entrances import Entrances, State, modules_around, part_of
from .forward import key_arrangement, require_same_model
from .linearised import LinearisedForward
from .recorder import model_lock, replaced_forward, watched_forward
from .sites import SiteCalls, eager_values

if TYPE_CHECKING:
    from ..models.loading import AttentionModel
    from .capture import AttentionCapture, CapturedLayer

MAX_REST = 1e-4
"""Largest `ClassContributions.rest` that counts as adding up."""


def capture_contributions(
    model: AttentionModel, capture: AttentionCapture, target: int | None = None
) -> AttentionCapture:
    """Add to a capture what each token adds to a class's logit, at every layer: one forward and one backward pass.

    Attention weights, normalisers and the gates of activations are held constant (see `linearised`). As with
    `capture_gradients`, it works in whatever mode it is called, and no parameter gets a gradient.

    Args:
        model: the model of the capture.
        capture: from `capture_attention`.
        target: number of the class or of a direction (`add_direction`); None is the predicted class. Without a
            classifier there is none, and the answer is the model's feature vector along its own direction, so that its
            length is divided.

    Returns:
        The same capture with the contributions; the capture itself if it has them already.

    Raises:
        SettingsError: no such class.
        ModelError: another model than the capture's, one that no gradient flows through, or one with a part that is
            not linear even so: the contributions would not add up.
    """
    target = capture.resolve_target(target)
    if any(added.target == target for added in capture.contributions):
        return capture
    require_same_model(model, capture)
    if capture.undivided:
        raise ModelError(_refusal(model, capture.undivided))
    mode = LinearisedForward()
    around = {
        name: modules_around(name) if model.partitions else [block_of(model.module, name)]
        for name in capture.layer_names
    }
    entrances = Entrances(model.module, around, mode)
    values: dict[str, Tensor] = {}
    arranged: dict[str, Callable[[Tensor], Tensor]] = {}

    def keep(name: str, calls: SiteCalls) -> None:
        # two attentions in one layer, whose difference is taken, share their values
        values[name] = mode.values[-1] if calls.fused else eager_values(calls)
        arranged[name] = key_arrangement(model, name, calls)

    with model_lock(model.module), torch.inference_mode(False), torch.enable_grad():
        free_from_inference_mode(model)
        tensor = model.preprocessing.tensor(capture.pixels)[None].to(model.device, model.dtype).requires_grad_()
        entering_watched = replaced_forward(entrances.modules, entrances.enter)
        with reading_answer(model, capture, target) as answer, entering_watched, mode:
            logits = watched_forward(model.module, model.parts, model.sites, tensor, keep, gradients=True)
        require_gradient(model, (logits,))
        require_same_answer(model, capture, logits)
        explained = answer(logits)
        blocks = {layer: entrances.block(layer, explained, tensor) for layer in capture.layer_names}
        entering = {block: entrances.states(block) for block in dict.fromkeys(blocks.values())}
        states = list(dict.fromkeys(state for block in entering.values() for state in block))
        leaves = [*(state.entry for state in states), *values.values(), *mode.constants]
        found = iter(torch.autograd.grad(explained, leaves, allow_unused=True))
    parts = {state: part_of(state.entry, next(found)) for state in states}
    heads = {name: part_of(value, next(found)) for name, value in values.items()}
    constants = np.array([float(part_of(constant, next(found)).sum()) for constant in mode.constants])
    layers = []
    for layer in capture.layers:
        block = blocks[layer.name]
        added = [
            reduce(torch.add, (parts[state] for state in entering[block] if state.same(one)))
            for one in _different(entrances.entered[block].states)
        ]
        tokens = _by_token(model, entrances, block, layer, added)
        later = float(constants[entrances.entered[block].constants :].sum())
        through = arranged[layer.name](heads[layer.name])[0]
        layers.append(LayerContributions(tokens.astype(np.float32), later, through.float().numpy()))
    whole = ClassContributions(target, float(explained.detach()), tuple(layers))
    if whole.rest > MAX_REST:
        reason = "it has a part that is not linear even with attention weights, normalisers and gates held constant"
        raise ModelError(_refusal(model, f"{100 * whole.rest:.2g}% of its logit is left: {reason}"))
    return replace(capture, contributions=(*capture.contributions, whole)[-MAX_CLASSES:])


def _refusal(model: AttentionModel, reason: str) -> str:
    return f"the contributions of {model.name} would not add up: {reason}; choose 'gradient' or 'gradient_late' instead"


def _different(states: Sequence[State]) -> list[State]:
    return [one for number, one in enumerate(states) if not any(map(one.same, states[:number]))]


def _by_token(
    model: AttentionModel, entrances: Entrances, block: str, layer: CapturedLayer, parts: Sequence[Tensor]
) -> np.ndarray:
    """What each token that enters a block adds, on the grid of a layer's keys."""
    partition = layer.tokens.partition
    if partition is None:
        return flat_tokens(parts, model.layout.num_patches)
    grids = [
        partition.key_grid,
        partition.query_grid,
        *pairs(entrances.entered[block].numbers),
        *(grid for other in model.partitions.values() for grid in (other.key_grid, other.query_grid)),
    ]
    inside = entrances.entered[layer.name].states[0].entry.shape
    prefix = len(model.layout.prefix)
    return stage_tokens(parts, entrances.modules[block], partition, grids, prefix, tuple(inside))
