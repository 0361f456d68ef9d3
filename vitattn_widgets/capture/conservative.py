"""Conservative propagation: what each token adds to an answer, by one pass forward and back through a linearised model.

In a linear model, an input times its gradient is what it adds to the output, and these products add up to it. So the
states that enter each block, times their gradients, and the constants that join later, times theirs, add up to the
logit, at every layer.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from ..errors import ModelError
from ..models.families import block_of
from .backward import MAX_CLASSES, free_from_inference_mode, require_same_answer
from .contributions import ClassContributions, LayerContributions
from .directions import reading_answer
from .forward import require_flat, require_same_model
from .linearised import LinearisedForward
from .recorder import Forward, model_lock, replaced_forward, watched_forward
from .sites import SiteCalls

if TYPE_CHECKING:
    from ..models.loading import AttentionModel
    from .capture import AttentionCapture

MAX_REST = 1e-4
"""Largest `ClassContributions.rest` that counts as adding up."""


@dataclass(eq=False)
class _State:
    """A tensor that enters a block, on its way through the graph.

    Attributes:
        owner: the tensor that the model passed; several blocks may get the same.
        entry: what this block alone uses of it, a node of the graph.
        values: a copy, as a block may change what it gets.
        part: ``values`` times the gradient of the logit, summed over the width: ``(batch, tokens)``.
    """

    owner: Tensor
    entry: Tensor
    values: Tensor
    part: Tensor


@dataclass(eq=False)
class _Entrance:
    """The states that enter a block, and how many constants had been added by then."""

    states: list[_State]
    constants: int


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
    require_flat(model, "contributions")
    blocks = {layer: block_of(model.module, layer) for layer in capture.layer_names}
    mode = LinearisedForward()
    entrances: dict[str, _Entrance] = {}
    values: dict[str, Tensor] = {}

    def enter(name: str, forward: Forward) -> Forward:
        def entering(*args: Any, **kwargs: Any) -> Any:
            states: list[_State] = []
            args = tuple(_entry(value, states, mode) for value in args)
            kwargs = {key: _entry(value, states, mode) for key, value in kwargs.items()}
            entrances[name] = _Entrance(states, len(mode.constants))
            return forward(*args, **kwargs)

        return entering

    def keep(name: str, calls: SiteCalls) -> None:
        # two attentions in one layer, whose difference is taken, share their values
        values[name] = mode.values[-1] if calls.fused else calls.matmuls[-1].operands[1]

    parts = {name: model.module.get_submodule(name) for name in dict.fromkeys(blocks.values())}
    with model_lock(model.module), torch.inference_mode(False), torch.enable_grad():
        free_from_inference_mode(model)
        tensor = model.preprocessing.tensor(capture.pixels)[None].to(model.device, model.dtype).requires_grad_()
        with reading_answer(model, capture, target) as answer, replaced_forward(parts, enter), mode:
            logits = watched_forward(model.module, model.parts, model.sites, tensor, keep, gradients=True)
        if not logits.requires_grad:
            raise ModelError(
                f"no gradient flows through {model.name}: its forward pass runs under torch.no_grad or detaches its "
                "tokens; choose the source 'attention', 'norm' or 'rollout'"
            )
        require_same_answer(model, capture, logits)
        states = [state for entrance in entrances.values() for state in entrance.states]
        leaves = [*(state.entry for state in states), *values.values(), *mode.constants]
        points = [*(state.values for state in states), *(leaf.detach() for leaf in leaves[len(states) :])]
        explained = answer(logits)
        found = torch.autograd.grad(explained, leaves, allow_unused=True)
    shares = iter(
        [
            torch.zeros(point.shape[:-1]) if gradient is None else (point * gradient).sum(-1, dtype=torch.float64).cpu()
            for point, gradient in zip(points, found, strict=True)
        ]
    )
    for state in states:
        state.part = next(shares)
    heads = {name: next(shares)[0].float().numpy() for name in values}
    constants = np.array([float(share.sum()) for share in shares])
    whole = ClassContributions(
        target,
        float(explained.detach()),
        tuple(
            LayerContributions(
                _by_token(_parts(entrances, blocks[name]), capture.layout.num_patches),
                float(constants[entrances[blocks[name]].constants :].sum()),
                heads[name],
            )
            for name in capture.layer_names
        ),
    )
    if whole.rest > MAX_REST:
        raise ModelError(
            f"the contributions of {model.name} would not add up ({whole.rest:.1%} of its logit is left): it has a "
            "part that is not linear even with attention weights, normalisers and gates held constant; choose "
            "'gradient_late' or 'relevance' instead"
        )
    return replace(capture, contributions=(*capture.contributions, whole)[-MAX_CLASSES:])


def _entry(value: Any, states: list[_State], mode: LinearisedForward) -> Any:
    """What a block gets in place of a state; anything else it gets as it is."""
    if not isinstance(value, Tensor) or value.ndim != 3:
        return value
    if not value.requires_grad:
        if not states or len(value) != 1 or value.shape[-1] != states[0].values.shape[-1]:
            return value  # a bias of the scores or a mask
        value = mode.constant(value)  # a class token that joins here, beside the patches
    entry = value.view_as(value)
    states.append(_State(value, entry, entry.detach().clone(), entry))
    return entry.clone()  # which the block may change in place


def _parts(entrances: dict[str, _Entrance], block: str) -> list[Tensor]:
    """What each state that enters a block adds, here and in the later blocks that get it unchanged (CaiT's patches)."""
    names = list(entrances)
    later = [state for name in names[names.index(block) + 1 :] for state in entrances[name].states]
    return [
        state.part + sum(other.part for other in later if other.owner is state.owner)
        for state in entrances[block].states
    ]


def _by_token(parts: list[Tensor], patches: int) -> np.ndarray:
    """The parts as ``(prefix + patches,)``; states of the pixels inside each patch (TNT) count to the patch."""
    prefix: list[Tensor] = []
    grid = torch.zeros(patches, dtype=torch.float64)
    for part in parts:
        if len(part) == patches:
            grid = grid + part.sum(1)
        elif part.shape[1] < patches:
            prefix.append(part[0])
        else:
            prefix.append(part[0, :-patches])
            grid = grid + part[0, -patches:]
    return torch.cat([*prefix, grid]).float().numpy()
