"""Loading models: a timm name, a local checkpoint or your own module becomes an `AttentionModel`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from timm.models import PretrainedCfg, get_pretrained_cfg
from torch import Tensor, nn

from ..errors import DownloadError, ModelError
from . import DEFAULT_MODEL
from .building import DEMO, create_module, imagenet_names, require_known
from .checkpoints import Card, read_card, read_weights
from .families import (
    attention_sites,
    is_flat,
    model_inside,
    nominal_size,
    read_queries,
    require_supported,
    require_whole_patches,
    token_layout,
)
from .partitions import Partition
from .preprocess import Preprocessing
from .stage_sites import kind_of
from .stages import stage_layout, traced
from .tokens import TokenLayout
from .tracing import prefix_names

ImageSize = int | tuple[int, int]

DEMO_CHECKPOINT = Path(__file__).parent / "weights" / "demo.safetensors"
"""Weights of the embedded model, made by ``python -m vitattn_widgets.training.embedded``; their card is beside them."""


@dataclass(frozen=True, eq=False)
class AttentionModel:
    """A Vision Transformer ready to be captured. If the structure of its module changes, load it again.

    Attributes:
        name: timm's name, with the tag of its weights if it has pretrained ones.
        module: the model itself, as timm builds it.
        preprocessing: its own evaluation transform.
        layout: its tokens.
        sites: its attention modules by name, in the order of the forward pass.
        parts: every module of it, itself included.
        partitions: what the queries of each layer reach, by name, in a model with windows or stages; empty in a flat
            one.
        class_names: one name per class; empty without a classifier.
        loaded_with: the arguments with which `load_model` loads it again, as JSON values; None for a module of your
            own and for random weights, which no arguments bring back.
        unsure_below: the score below which the model's card says that it does not know a photo (`is_unsure`); minus
            infinity without such a card.
        note: one sentence that says why this is the embedded model, where the default one was wanted; else empty.
    """

    name: str
    module: nn.Module = field(repr=False)
    preprocessing: Preprocessing
    layout: TokenLayout
    sites: Mapping[str, nn.Module] = field(repr=False)
    parts: tuple[nn.Module, ...] = field(repr=False)
    class_names: tuple[str, ...] = field(repr=False)
    loaded_with: Mapping[str, Any] | None = field(default=None, repr=False)
    unsure_below: float = -math.inf
    note: str = ""
    partitions: Mapping[str, Partition] = field(default_factory=dict, repr=False)

    @property
    def device(self) -> torch.device:
        return next(self.module.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        return next(self.module.parameters()).dtype

    def probabilities(self, logits: Tensor) -> np.ndarray:
        """Softmax of the model's output, float32 ``(batch, classes)``; ``(batch, 0)`` without a classifier."""
        if not self.class_names:
            return np.zeros((len(logits), 0), np.float32)
        return logits.float().softmax(-1).cpu().numpy()

    def is_unsure(self, logits: Tensor) -> bool:
        """Whether a photo probably shows none of the classes: all of them together score low.

        The score is the logarithm of the sum of the exponentials of the logits (Liu et al. 2020, "Energy-based
        Out-of-distribution Detection", arXiv:2010.03759). Unlike a probability, it says how much speaks for any class
        at all.

        Args:
            logits: float32 ``(classes,)``.
        """
        return self.unsure_below > -math.inf and bool(logits.float().logsumexp(-1) < self.unsure_below)

    def describe(self) -> str:
        """The model in one line: layers, heads, width, patches, weights."""
        rows, cols = self.layout.grid
        heads = sorted({getattr(site, "num_heads", getattr(site, "heads", 1)) for site in self.sites.values()})
        width = getattr(self.module, "embed_dim", None)
        millions = sum(parameter.numel() for parameter in self.module.parameters()) / 1e6
        if self.partitions:
            grids = dict.fromkeys(partition.key_grid for partition in self.partitions.values())
            return (
                f"{self.name}: {len(self.sites)} layers, {' or '.join(map(str, heads))} heads, patches in "
                f"{', '.join(f'{down} x {across}' for down, across in grids)}, {millions:.1f} M parameters"
            )
        kind = " (the embedded model, trained on photos and drawn pictures)" if self.name == DEMO else ""
        return (
            f"{self.name}{kind}: {len(self.sites)} layers, {' or '.join(map(str, heads))} heads, width {width}, "
            f"{rows} x {cols} patches of {self.layout.patch_size} px, {millions:.1f} M parameters"
        )


def load_model(
    model: str | nn.Module | None = None,
    pretrained: bool = True,
    checkpoint: str | Path | None = None,
    class_names: Sequence[str] | None = None,
    img_size: ImageSize | None = None,
    device: str | torch.device | None = None,
) -> AttentionModel:
    """Load a model by name, from a local checkpoint, or wrap one that you made.

    Published weights come from huggingface_hub's cache, without a look at the network, or from the hub. Its variables
    count: ``HF_HOME``, ``HF_ENDPOINT``, ``HF_HUB_OFFLINE`` and others.

    Args:
        model: timm name, with or without tag (``"vit_small_patch14_reg4_dinov2.lvd142m"``), ``"hf-hub:..."``,
            ``"local-dir:..."``, or a module of one of timm's flat ViT families; ``"demo"`` is the embedded model, a
            small one trained on photos and drawn pictures. None is the model that the checkpoint's card names; without
            a checkpoint `DEFAULT_MODEL` or, if its weights can neither be found here nor downloaded, the embedded
            model, whose `note` then says so. A model that is named is never replaced.
        pretrained: load the published weights; False leaves them random. Ignored with a checkpoint, a module or
            ``"demo"``.
        checkpoint: safetensors or torch file with weights for the named model.
        class_names: one name per class; else from the checkpoint's card, else timm's ImageNet names.
        img_size: input size in pixels, ``side`` or ``(height, width)``; else the model's own.
        device: where the model runs. None: a named model runs on CUDA if available, a module stays where it is.

    Returns:
        The model, in eval mode; a module of your own keeps its mode.

    Raises:
        ModelError: unknown name, unsupported family, a checkpoint or size that does not fit.
        WeightsError: the weights are unavailable.
        TypeError: `model` is neither a name nor a module.
    """
    if isinstance(model, nn.Module):
        return _wrap_module(model, class_names, img_size, device)
    if not isinstance(model, str | None):
        raise TypeError(f"model must be a timm name or a torch module, got {type(model).__name__}")
    size = _image_size(img_size)
    card = Card()
    if checkpoint is not None:
        name, module, names, card = _from_checkpoint(model, Path(checkpoint), size)
    elif model is None:
        return _default(pretrained, class_names, img_size, device)
    elif model == DEMO:
        _, module, names, card = _from_checkpoint(None, DEMO_CHECKPOINT, size)
        name = DEMO
    else:
        name, module = create_module(model, pretrained, size)
        names = imagenet_names(module) if pretrained else None
    if device is None:
        device = "cuda" if torch.cuda.is_available() else "cpu"
    loaded = _assemble(name, _to_device(module, device).eval(), class_names or names, size)
    loaded = replace(loaded, unsure_below=card.unsure_below)
    if checkpoint is None and not pretrained and name != DEMO:
        return loaded
    arguments: dict[str, Any] = {
        "model": model if checkpoint is not None else name,
        "checkpoint": checkpoint and str(checkpoint),
        "class_names": class_names and list(class_names),
        "img_size": img_size,
    }
    return replace(loaded, loaded_with={key: value for key, value in arguments.items() if value is not None})


def _default(
    pretrained: bool,
    class_names: Sequence[str] | None,
    img_size: ImageSize | None,
    device: str | torch.device | None,
) -> AttentionModel:
    """The default model, or the embedded one: the one place that decides between them."""
    options: dict[str, Any] = {"class_names": class_names, "img_size": img_size, "device": device}
    try:
        return load_model(DEFAULT_MODEL, pretrained, **options)
    except DownloadError as error:
        if class_names is not None:  # they are names of the default model's classes
            raise
        note = f"This is the embedded model, because {error.reason}."
        return replace(load_model(DEMO, **options), note=note)


def _wrap_module(
    module: nn.Module,
    class_names: Sequence[str] | None,
    img_size: ImageSize | None,
    device: str | torch.device | None,
) -> AttentionModel:
    module = getattr(module, "_orig_mod", module)  # torch.compile's wrapper hides the attention calls
    if device is not None:
        module = _to_device(module, device)
    config = getattr(model_inside(module)[1], "pretrained_cfg", None) or {}
    name = config.get("architecture") or type(module).__name__
    return _assemble(name, module, class_names, _image_size(img_size))


def _assemble(
    name: str, module: nn.Module, class_names: Sequence[str] | None, size: tuple[int, int] | None
) -> AttentionModel:
    require_supported(module, name)
    inside = model_inside(module)[1]
    flat = is_flat(inside)
    if flat and size is not None:
        require_whole_patches(module, size, name)
    preprocessing = Preprocessing.of_model(inside, size or nominal_size(module))
    count = int(getattr(inside, "num_classes", 0) or 0)
    trace = None
    if inside is not module or not flat:
        trace = traced(module, preprocessing.size)
    if trace is not None and inside is not module:
        if trace.classes:
            count = trace.classes
        else:  # what holds the model gives no logits
            return _assemble(name, inside, class_names, size)
    if class_names is not None and len(class_names) != count:
        raise ModelError(f"{name} has {count} classes, got {len(class_names)} class names; give one name per class")
    if trace is None or flat:
        partitions: Mapping[str, Partition] = {}
        layout = token_layout(module, preprocessing.size, name, count)
        sites = attention_sites(module)
    else:
        partitions = trace.partitions
        if not partitions:
            raise ModelError(f"{name} ran none of its attention modules on a photo; no layer can be shown")
        prefix = prefix_names(inside)
        sites = {name: module.get_submodule(name) for name in partitions}
        last = kind_of(list(sites.values())[-1])
        read = (last.reads,) if last is not None and last.reads else read_queries(inside, prefix)
        layout = stage_layout(partitions, preprocessing.size, prefix, read if count else ())
    return AttentionModel(
        name=name,
        module=module,
        preprocessing=preprocessing,
        layout=layout,
        sites=sites,
        parts=tuple(module.modules()),
        class_names=tuple(class_names) if class_names is not None else tuple(f"class {i}" for i in range(count)),
        partitions=partitions,
    )


def _to_device(module: nn.Module, device: str | torch.device) -> nn.Module:
    try:
        return module.to(device)
    except (RuntimeError, AssertionError) as error:
        possible = ["cpu", *(f"cuda:{i}" for i in range(torch.cuda.device_count()))]
        reason = str(error).partition("\n")[0]
        raise ModelError(
            f"device {str(device)!r} cannot be used here ({reason}); possible: {', '.join(possible)}"
        ) from error


def _image_size(img_size: ImageSize | None) -> tuple[int, int] | None:
    if img_size is None:
        return None
    size = (img_size, img_size) if isinstance(img_size, int) else tuple(img_size)
    if len(size) != 2 or not all(isinstance(side, int) and side > 0 for side in size):
        raise ModelError(f"img_size must be a side or (height, width) in pixels, got {img_size!r}")
    return size


def _from_checkpoint(
    name: str | None, path: Path, size: tuple[int, int] | None
) -> tuple[str, nn.Module, Sequence[str] | None, Card]:
    weights = read_weights(path)
    card = read_card(path)
    name = name or card.architecture
    if name is None:
        raise ModelError(f"{path} has no card that names its architecture; give the name of the model too")
    require_known(name)
    if card.architecture is not None and card.architecture.partition(".")[0] != name.partition(".")[0]:
        raise ModelError(f"{path} holds weights of {card.architecture}, not of {name}")
    config = _architecture_config(name, path)
    count = _checkpoint_classes(config, path, weights, card)
    # timm loads these weights as if they were published, and so adapts them to another input size
    overlay = {"state_dict": weights, "num_classes": count, "custom_load": False} | dict(card.preprocessing)
    arguments = dict(card.model_args) | {"num_classes": count, "pretrained_cfg_overlay": overlay}
    try:
        _, module = create_module(name, True, size, **arguments)
    except RuntimeError as error:
        lines = [line.strip() for line in str(error).splitlines()[1:4]] or [str(error)]
        raise ModelError(
            f"{path} does not fit {name}: {' '.join(lines)} Was it made for another model or size?"
        ) from error
    except KeyError as error:
        raise ModelError(f"{path} does not fit {name}: it has no {error}") from error
    names = card.class_names
    if names is None and count == config.num_classes:
        names = imagenet_names(module)
    return f"{name} ({path.name})", module, names, card


def _architecture_config(name: str, path: Path) -> PretrainedCfg:
    config = get_pretrained_cfg(name)
    if config is None:  # a hub repository or a local folder
        raise ModelError(f"{path} holds weights for an architecture of timm's, not for {name}; name the architecture")
    return config


def _checkpoint_classes(config: PretrainedCfg, path: Path, weights: Mapping[str, Tensor], card: Card) -> int:
    """The number of classes of a checkpoint: the rows of its classifier, with which its card must agree."""
    classifier = config.classifier if isinstance(config.classifier, str) else (config.classifier or ("head",))[0]
    head = weights.get(f"{classifier}.weight")
    if head is None:
        if config.num_classes == 0 and not card.num_classes:
            return 0
        raise ModelError(
            f"{path} has no classifier ({classifier}.weight), so it predicts nothing; fine-tune it first, or name a "
            "model without a classifier"
        )
    if card.num_classes is not None and card.num_classes != len(head):
        raise ModelError(f"{path} has a classifier of {len(head)} classes, its card says {card.num_classes}")
    return len(head)
