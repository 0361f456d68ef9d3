"""What is trained of a model: a new classifier, a further layer on top of the old one, everything or the head alone."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .errors import TrainingError


class FurtherLayer(nn.Module):
    """A linear layer on top of a linear classifier, without a nonlinearity between them.

    Args:
        classifier: the model's own.
        num_classes: outputs of the further layer.
    """

    def __init__(self, classifier: nn.Linear, num_classes: int) -> None:
        super().__init__()
        self.classifier = classifier
        self.further = nn.Linear(classifier.out_features, num_classes, device=classifier.weight.device)

    def forward(self, features: Tensor) -> Tensor:
        """Features ``(batch, width)`` to logits ``(batch, num_classes)``."""
        return self.further(self.classifier(features))

    def folded(self) -> tuple[Tensor, Tensor]:
        """Both layers as one, weight and bias: ``W2 (W1 x + b1) + b2 = (W2 W1) x + (W2 b1 + b2)``, in float64."""
        first, second = self.classifier, self.further
        weight = second.weight.double() @ first.weight.double()
        bias = second.bias.double()
        if first.bias is not None:
            bias = bias + second.weight.double() @ first.bias.double()
        return weight.to(first.weight.dtype), bias.to(first.weight.dtype)


def add_further_layer(module: nn.Module, num_classes: int, name: str) -> None:
    """Put a further layer on top of a model's classifier.

    Raises:
        TrainingError: the model has no classifier, or not one linear layer.
    """
    classifier = module.get_classifier() if hasattr(module, "get_classifier") else None
    where = next((key for key, part in module.named_children() if part is classifier), None)
    if not isinstance(classifier, nn.Linear) or where is None:
        raise TrainingError(
            f"{name} has no single linear classifier on which a further layer could be put; use head 'new'"
        )
    setattr(module, where, FurtherLayer(classifier, num_classes))
    module.num_classes = num_classes


def choose_trained(module: nn.Module, trained: str, name: str) -> None:
    """Let gradients flow to all parameters, or to the head alone.

    Raises:
        TrainingError: the head alone, of a model whose classifier has no parameters.
    """
    if trained == "all":
        module.requires_grad_(True)
        return
    classifier = module.get_classifier()
    parts = classifier if isinstance(classifier, tuple | list) else (classifier,)
    heads = [part.further if isinstance(part, FurtherLayer) else part for part in parts]
    parameters = [parameter for head in heads for parameter in head.parameters()]
    if not parameters:
        raise TrainingError(f"{name} has no classifier that could be trained alone; use trained 'all'")
    module.requires_grad_(False)
    for parameter in parameters:
        parameter.requires_grad_(True)


def exported_weights(module: nn.Module) -> dict[str, Tensor]:
    """The weights as plain timm loads them, on the CPU; a further layer is folded into the classifier."""
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in module.state_dict().items()}
    for name, part in module.named_modules():
        if isinstance(part, FurtherLayer):
            weights = {key: value for key, value in weights.items() if not key.startswith(f"{name}.")}
            with torch.no_grad():
                weight, bias = part.folded()
            weights |= {f"{name}.weight": weight.cpu(), f"{name}.bias": bias.cpu()}
    return weights
