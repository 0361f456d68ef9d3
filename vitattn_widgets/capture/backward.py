"""Gradients of a class: a forward and a backward pass, of which only the gradients at the attention outputs are kept.

A layer multiplies its values by its attention, ``O = A V``, so the gradient with respect to every entry of the
attention matrix follows from the one with respect to `O` alone: ``dy/dA = dy/dO V^T``. The model therefore runs as it
is, fused attention included; no matrix is ever built, and a class takes a quarter of the memory of its capture.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from ..errors import ModelError
from .directions import reading_answer
from .forward import arrangement, require_same_model
from .recorder import model_lock, watched_forward
from .sites import SiteCalls, weighted_values
from .targets import ClassGradients

if TYPE_CHECKING:
    from ..models.loading import AttentionModel
    from .capture import AttentionCapture

MAX_CLASSES = 8
"""Number of classes whose gradients a capture keeps; the oldest are dropped first."""


def capture_gradients(model: AttentionModel, capture: AttentionCapture, target: int | None = None) -> AttentionCapture:
    """Add the gradients of a class to a capture: one forward and one backward pass.

    It works in whatever mode it is called: frozen weights and ``torch.inference_mode`` around the call are fine, and no
    parameter gets a gradient.

    Args:
        model: the model of the capture.
        capture: from `capture_attention`.
        target: as in `conservative.capture_contributions`.

    Returns:
        The same capture with the gradients; the capture itself if it has them already.

    Raises:
        SettingsError: no such class or direction.
        ModelError: another model than the capture's, or one that no gradient flows through.
    """
    target = capture.resolve_target(target)
    if any(added.target == target for added in capture.gradients):
        return capture
    require_same_model(model, capture)
    names: list[str] = []
    products: list[Tensor] = []  # attention times values, where it joins the graph
    arranged: list[Callable[[Tensor], Tensor]] = []

    def keep(name: str, calls: SiteCalls) -> None:
        names.append(name)
        products.append(weighted_values(calls))
        arranged.append(arrangement(model, name, calls))

    with model_lock(model.module), torch.inference_mode(False), torch.enable_grad():
        free_from_inference_mode(model)
        # asking for the input's gradient makes everything after it part of the graph, frozen weights or not
        tensor = model.preprocessing.tensor(capture.pixels)[None].to(model.device, model.dtype).requires_grad_()
        with reading_answer(model, capture, target) as answer:
            logits = watched_forward(model.module, model.parts, model.sites, tensor, keep, gradients=True)
        require_gradient(model, (logits, *products))
        require_same_answer(model, capture, logits)
        # unused is allowed: a layer that the logit does not depend on has a gradient of zero
        gradients = torch.autograd.grad(answer(logits), products, allow_unused=True)
    by_name = {
        name: arrange(torch.zeros_like(product) if gradient is None else gradient)
        for name, arrange, product, gradient in zip(names, arranged, products, gradients, strict=True)
    }
    outputs = tuple(by_name[layer.name].detach().to("cpu", torch.float32) for layer in capture.layers)
    return replace(capture, gradients=(*capture.gradients, ClassGradients(target, outputs))[-MAX_CLASSES:])


def require_gradient(model: AttentionModel, results: Iterable[Tensor]) -> None:
    """Raise if a result of a pass that was to be recorded is no part of autograd's graph.

    Raises:
        ModelError: for that reason, with what can be chosen instead.
    """
    if not all(result.requires_grad for result in results):
        raise ModelError(
            f"no gradient flows through {model.name}: its forward pass runs under torch.no_grad or detaches its "
            "tokens; choose what needs none: the sources 'attention', 'norm' and 'rollout', or heads silenced one by "
            "one"
        )


def require_same_answer(model: AttentionModel, capture: AttentionCapture, logits: Tensor) -> None:
    """Raise if the logits of a second pass are not those of the capture.

    Raises:
        ModelError: the weights have changed since.
    """
    now = model.probabilities(logits.detach())[0]
    # far above the noise of other kernels and half precision, far below what another set of weights does
    if not np.allclose(now, capture.probabilities, rtol=0, atol=0.02):
        raise ModelError(
            f"{model.name} predicts something else than when the capture was made; its weights were changed since: "
            "capture the photo again"
        )


def free_from_inference_mode(model: AttentionModel) -> None:
    """Copy what a model cached during a capture: tensors created in inference mode cannot take part in a graph."""
    if any(parameter.is_inference() for parameter in model.module.parameters()):
        raise ModelError(
            f"{model.name} was made inside torch.inference_mode, so no gradient can flow through it; create it outside"
        )
    for part in model.parts:
        for owner in (vars(part), part._buffers):
            for name, value in list(owner.items()):
                if isinstance(value, Tensor) and value.is_inference():
                    owner[name] = value.clone()
