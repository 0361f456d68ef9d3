"""Before a run: devices and processes, the lock on its folder, and the model that it starts from."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import timm
import torch
from accelerate import Accelerator, DataLoaderConfiguration
from accelerate.state import AcceleratorState
from torch import Tensor, nn

from ..errors import TrainingError
from ..models.building import create_module
from ..models.loading import AttentionModel, load_model
from ..runs import lock_folder
from .folder import RunFolder
from .loop import seeded
from .recipes import PRECISIONS, TrainingRecipe

if TYPE_CHECKING:
    from ..datasets.photos import Dataset


def make_accelerator(mixed_precision: str | None, cpu: bool, batch_size: int) -> Accelerator:
    """Devices, precision and processes, as set by `accelerate launch` or found on the machine.

    Raises:
        TrainingError: the precision is unavailable, or the batch does not divide evenly among the processes.
    """
    if mixed_precision is not None and mixed_precision not in PRECISIONS:
        raise TrainingError(f"mixed precision {mixed_precision!r} does not exist; possible: {', '.join(PRECISIONS)}")
    # the state is global: without a reset, a second run in a notebook would get the first one's precision, or an error
    AcceleratorState._reset_state()
    try:
        accelerator = Accelerator(
            mixed_precision=mixed_precision,
            # several CPU processes form a group only if the CPU is requested
            cpu=cpu or not torch.accelerator.is_available(),
            # each batch is divided among the processes, so their number does not change the result
            dataloader_config=DataLoaderConfiguration(split_batches=True),
        )
    except ValueError as error:
        raise TrainingError(f"mixed precision {mixed_precision!r} is unavailable here: {error}") from error
    if accelerator.mixed_precision == "fp16" and accelerator.device.type == "cpu":
        raise TrainingError("mixed precision 'fp16' needs a GPU; on a CPU, choose 'bf16' or 'no'")
    if batch_size % accelerator.num_processes:
        raise TrainingError(
            f"a batch of {batch_size} does not divide evenly among {accelerator.num_processes} processes; choose a "
            "multiple of their number"
        )
    return accelerator


def locked(folder: RunFolder, accelerator: Accelerator) -> AbstractContextManager[object]:
    """Keep a second run out of a folder; the system frees the lock when a process is killed.

    Raises:
        TrainingError: another run is working in it.
    """
    if not accelerator.is_main_process:
        return nullcontext()
    lock = lock_folder(folder.path, TrainingError)
    folder.remove_leftovers()
    return lock


def start_model(
    dataset: Dataset, recipe: TrainingRecipe, checkpoint: str | Path | None, weights: bool = True
) -> AttentionModel:
    """The model that a run starts from, on the CPU, with one output per class of the data.

    Args:
        dataset: gives the classes.
        recipe: gives the model, its head and the seed of new weights.
        checkpoint: local weights to start from.
        weights: load the published weights; False if others will replace them anyway.

    Raises:
        ModelError: the model is unknown or unsupported, or does not accept its arguments.
        WeightsError: its weights are unavailable.
        TrainingError: its head does not fit the classes.
    """
    count = len(dataset.class_names)
    module: Any  # timm's models share methods (reset_classifier), but no class that declares them
    with seeded(recipe.seed):
        if checkpoint is not None:
            module = load_model(recipe.model, checkpoint=checkpoint, device="cpu").module
            if recipe.head == "keep" and module.num_classes != count:
                raise TrainingError(
                    f"{checkpoint} has {module.num_classes} classes, the data have {count}; use head 'new' to replace "
                    "its classifier, or other data"
                )
            if recipe.head == "new":
                module.reset_classifier(count)
        else:
            options = dict(recipe.model_args) | ({"num_classes": count} if recipe.head == "new" else {})
            _, module = create_module(recipe.model, recipe.pretrained and weights, None, **options)
        if recipe.head == "further":
            add_further_layer(module, count, recipe.model)
    if module.num_classes != count:
        raise TrainingError(f"{recipe.model} has no classifier to train; choose another model")
    return load_model(module, class_names=dataset.class_names)


def architecture_name(module: Any, pretrained: bool) -> str:
    """The name of a model in a card: timm's, with the tag of its published weights if these were used."""
    config = module.pretrained_cfg
    architecture = str(config["architecture"])
    name = f"{architecture}.{config.get('tag')}"
    return name if pretrained and name in timm.list_pretrained(f"{architecture}.*") else architecture


class FurtherLayer(nn.Module):
    """A linear layer on top of a linear classifier, with no nonlinearity between them.

    Args:
        classifier: of the model.
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


def add_further_layer(module: Any, num_classes: int, name: str) -> None:
    """Put a further layer on top of a model's classifier.

    Raises:
        TrainingError: the model's classifier is not a single linear layer.
    """
    classifier = module.get_classifier() if hasattr(module, "get_classifier") else None
    where = next((key for key, part in module.named_children() if part is classifier), None)
    if not isinstance(classifier, nn.Linear) or where is None:
        raise TrainingError(f"{name} has no single linear classifier to put a further layer on; use head 'new'")
    setattr(module, where, FurtherLayer(classifier, num_classes))
    module.num_classes = num_classes


def choose_trained(module: Any, trained: str, name: str) -> None:
    """Make all parameters trainable, or those of the head alone.

    Raises:
        TrainingError: the head alone is to be trained, but it has no parameters.
    """
    if trained == "all":
        module.requires_grad_(True)
        return
    classifier = module.get_classifier()
    parts = classifier if isinstance(classifier, tuple | list) else (classifier,)
    heads = [part.further if isinstance(part, FurtherLayer) else part for part in parts]
    parameters = [parameter for head in heads for parameter in head.parameters()]
    if not parameters:
        raise TrainingError(f"{name} has no classifier to train alone; use trained 'all'")
    module.requires_grad_(False)
    for parameter in parameters:
        parameter.requires_grad_(True)


def exported_weights(module: nn.Module) -> dict[str, Tensor]:
    """The weights in the form that timm loads, on the CPU; a further layer is folded into the classifier."""
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in module.state_dict().items()}
    for name, part in module.named_modules():
        if isinstance(part, FurtherLayer):
            weights = {key: value for key, value in weights.items() if not key.startswith(f"{name}.")}
            with torch.no_grad():
                weight, bias = part.folded()
            weights |= {f"{name}.weight": weight.cpu(), f"{name}.bias": bias.cpu()}
    return weights
