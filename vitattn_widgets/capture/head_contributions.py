"""What each head gives to a class's logit directly: along the residual stream, past all later layers.

The tokens that the classifier reads are a sum: what enters the blocks, plus what each attention and each MLP adds. The
final norm, with its normaliser held constant for this photo, pooling and head are linear. So the logit is a sum, too,
and each head has its own term in it (direct logit attribution: Elhage et al. 2021, "A Mathematical Framework for
Transformer Circuits"; Gandelsman et al. 2024, arXiv:2310.05916, for ViTs).

One backward pass finds the factors of all terms at once: what every linear layer inside the blocks returns becomes a
leaf of the graph, which leaves the residual stream alone between the leaves and the logit.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import ModelError
from ..models.families import blocks, projection_layer
from .backward import free_from_inference_mode, require_gradient, require_same_answer
from .forward import require_flat, require_same_model
from .linearised import LinearisedForward
from .recorder import Forward, model_lock, replaced_forward, watched_forward

if TYPE_CHECKING:
    from ..models.loading import AttentionModel
    from .capture import AttentionCapture

TOLERANCE = 1e-3
"""Largest difference between logit and sum, as a share of the sum of all terms' sizes, of a model that adds up."""


@dataclass(frozen=True, eq=False)
class HeadContributions:
    """The terms whose sum is a class's logit. All are in units of the logit and signed: positive speaks for the class.

    A head's term is what it gives through its columns of the output projection, whatever gate or norm lies before it,
    to the tokens that the classifier reads. What later layers make of a head's result is in their terms, not in its
    own. Normalisers and gates on the way are held constant.

    Attributes:
        target: number of the class.
        heads: for each layer float32 ``(heads,)``.
        mlps: float32 ``(layers,)``, what each layer's block adds otherwise: its MLP with its biases. Of layers in one
            block, the first has it.
        start: what the tokens hold before the first block: patch and position embeddings, class token.
        biases: the biases of the output projections, of the norms on the way and of the head.
        logit: the model's own logit of the class.
    """

    target: int
    heads: tuple[np.ndarray, ...]
    mlps: np.ndarray
    start: float
    biases: float
    logit: float

    @property
    def total(self) -> float:
        """The sum of all terms; equals `logit` up to rounding."""
        return float(sum(row.sum() for row in self.heads) + self.mlps.sum() + self.start + self.biases)


@dataclass(frozen=True)
class _Leaves:
    """Tensors at which the graph begins, and what each stands for."""

    tensors: list[Tensor] = field(default_factory=list)
    terms: list[tuple[str, str]] = field(default_factory=list)

    def cut(self, tensor: Tensor, term: str, place: str = "") -> Tensor:
        """The same values without their history, as a leaf.

        Args:
            tensor: of the forward pass.
            term: ``"heads"``, ``"mlps"``, ``"start"`` or ``"biases"``.
            place: name of the layer or of the block.
        """
        leaf = tensor.detach().requires_grad_()
        self.tensors.append(leaf)
        self.terms.append((term, place))
        return leaf


class _Linearised(LinearisedForward):
    """Makes the way past the blocks linear, and collects what joins it there."""

    def __init__(self, leaves: _Leaves) -> None:
        super().__init__()
        self.leaves = leaves

    def add(self, constant: Tensor) -> Tensor:
        return self.leaves.cut(constant, "biases")

    def join(self, tokens: Tensor) -> Tensor:
        return self.leaves.cut(tokens, "start")


def capture_head_contributions(
    model: AttentionModel, capture: AttentionCapture, target: int | None = None
) -> HeadContributions:
    """The direct contributions of all heads to a class's logit: one forward and one short backward pass.

    Args:
        model: the model of the capture.
        capture: from `capture_attention`.
        target: number of the class; None is the predicted one.

    Raises:
        SettingsError: no such class, or a model without a classifier.
        ModelError: another model than the capture's, or one whose logit is not such a sum: its classifier reads an
            attention pool, or something that is not linear lies on the way.
    """
    target = capture.class_or_predicted(target)
    require_same_model(model, capture)
    require_flat(model, "the parts of heads in the answer")
    projections = _projections(model, capture)
    leaves = _Leaves()
    reads: dict[str, Tensor] = {}  # what each projection is given, by layer
    with model_lock(model.module), torch.inference_mode(False), torch.enable_grad():
        free_from_inference_mode(model)
        tensor = model.preprocessing.tensor(capture.pixels)[None].to(model.device, model.dtype)
        with _cuts(model, projections, leaves, reads), _Linearised(leaves):
            logits = watched_forward(model.module, model.parts, {}, tensor, lambda *_: None, gradients=True)
        require_same_answer(model, capture, logits)
        logit = logits[0, target]
        require_gradient(model, (logit,))
        gradients = torch.autograd.grad(logit, leaves.tensors, allow_unused=True)
    return _summed(model, capture, target, float(logit.detach()), leaves, gradients, reads)


def _projections(model: AttentionModel, capture: AttentionCapture) -> dict[str, nn.Linear]:
    """The output projection of each layer.

    Raises:
        ModelError: a layer that is no block's, or a projection that this kit does not know.
    """
    found = {}
    for name, site in model.sites.items():
        if not any(f"{name}.".startswith(f"{block}.") for block in blocks(model.module)):
            raise ModelError(
                f"the classifier of {capture.model_name} reads an attention pool ({name}), through which the heads of "
                "the blocks do not act directly: only silencing shows what they give"
            )
        projection = projection_layer(site)
        if not isinstance(projection, nn.Linear):
            raise ModelError(
                f"the output projection of {name} ({type(site).__name__}) is not known to this kit, so what its heads "
                "give directly cannot be told apart: only silencing shows what they give"
            )
        found[name] = projection
    return found


@contextmanager
def _cuts(
    model: AttentionModel, projections: Mapping[str, nn.Linear], leaves: _Leaves, reads: dict[str, Tensor]
) -> Iterator[None]:
    """Make leaves of what enters the first block and of what every linear layer of the blocks returns."""
    own = blocks(model.module)
    layers = {projection: layer for layer, projection in projections.items()}
    linears: dict[str, nn.Module] = {
        f"{block}.{name}": part
        for block, module in own.items()
        for name, part in module.named_modules()
        if isinstance(part, nn.Linear)
    }

    def cut(name: str, forward: Forward) -> Forward:
        layer = layers.get(linears[name])  # type: ignore[call-overload]
        block = next(block for block in own if name.startswith(f"{block}."))

        def returned(x: Tensor) -> Tensor:
            if layer is None:
                return leaves.cut(forward(x), "mlps", block)
            reads[layer] = x.detach()
            return leaves.cut(forward(x), "heads", layer)

        return returned

    def enter(_: str, forward: Forward) -> Forward:
        def entered(*args: Any, **kwargs: Any) -> Any:
            return forward(
                *(leaves.cut(part, "start") if isinstance(part, Tensor) else part for part in args), **kwargs
            )

        return entered

    first = next(iter(own))
    with replaced_forward(linears, cut), replaced_forward({first: own[first]}, enter):
        yield


def _summed(
    model: AttentionModel,
    capture: AttentionCapture,
    target: int,
    logit: float,
    leaves: _Leaves,
    gradients: Sequence[Tensor | None],
    reads: Mapping[str, Tensor],
) -> HeadContributions:
    """Multiply what was found with its factors, and check that the sum is the logit.

    Raises:
        ModelError: it is not.
    """
    layers = {layer.name: number for number, layer in enumerate(capture.layers)}
    heads = [np.zeros(layer.num_heads) for layer in capture.layers]
    sums = {"start": 0.0, "biases": 0.0}
    mlps = np.zeros(len(layers))
    for leaf, (term, place), gradient in zip(leaves.tensors, leaves.terms, gradients, strict=True):
        if gradient is None:  # it does not reach the logit directly
            continue
        factor = _plain(gradient)
        if term == "heads":
            number, projection = layers[place], projection_layer(model.sites[place])
            by_column = ((factor @ _plain(projection.weight)) * _plain(reads[place])).flatten(0, -2).sum(0)
            width = capture.layers[number].num_heads * capture.layers[number].values.shape[3]
            heads[number] += by_column[:width].view(len(heads[number]), -1).sum(-1).numpy()
            mlps[number] += float(by_column[width:].sum())  # of a projection that the MLP shares
            if projection.bias is not None:
                sums["biases"] += float((factor * _plain(projection.bias)).sum())
            continue
        value = float((factor * _plain(leaf)).sum())
        if term == "mlps":
            mlps[next(number for name, number in layers.items() if f"{name}.".startswith(f"{place}."))] += value
        else:
            sums[term] += value
    found = HeadContributions(
        target, tuple(row.astype(np.float32) for row in heads), mlps.astype(np.float32), **sums, logit=logit
    )
    size = float(np.abs(np.concatenate((*heads, mlps, list(sums.values())))).sum())
    if abs(found.total - logit) > max(TOLERANCE, 4 * torch.finfo(model.dtype).eps) * size:
        raise ModelError(
            f"the logit of {capture.class_names[target]} is {logit:.3f}, and what heads, MLPs, embedding and biases of "
            f"{capture.model_name} give directly adds up to {found.total:.3f}: something on the way is not linear, so "
            "direct contributions are not defined; only silencing shows what heads give"
        )
    return found


def _plain(tensor: Tensor) -> Tensor:
    return tensor.detach().to("cpu", torch.float64)
