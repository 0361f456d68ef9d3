"""Models in: a timm name, a local checkpoint or a module of the user's becomes an `AttentionModel`."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, RepositoryNotFoundError
from timm.data import ImageNetInfo, infer_imagenet_subset
from timm.models import get_pretrained_cfg
from torch import Tensor, nn

from ..errors import ModelError, WeightsError
from . import DEFAULT_MODEL
from .checkpoints import Card, read_card, read_weights
from .families import (
    FAMILY_MODULES,
    attention_sites,
    nominal_size,
    require_supported,
    require_whole_patches,
    token_layout,
)
from .preprocess import Preprocessing
from .tokens import TokenLayout

ImageSize = int | tuple[int, int]

DEMO = "demo"
"""Name of the embedded model, which needs no network."""

DEMO_CHECKPOINT = Path(__file__).parent / "weights" / "demo.safetensors"
"""Made by ``python -m vitattn_widgets.training.embedded``; its card lies beside it."""

_OR_DEMO = "or go on with the embedded model, 'demo' (vitattn map --model demo)"


@dataclass(frozen=True, eq=False)
class AttentionModel:
    """A Vision Transformer ready to be captured. After changing the structure of its module, load it again.

    Attributes:
        name: timm's name, with the tag of its weights where it has pretrained ones.
        module: the model itself, as timm builds it.
        preprocessing: its own evaluation transform.
        layout: its tokens.
        sites: its attention modules by name, in the order of the forward pass.
        parts: every module of it, itself included.
        class_names: one name a class; empty without a classifier.
        loaded_with: the arguments with which `load_model` makes it again, as JSON takes them; None where there are no
            such arguments (a module of yours, or random weights).
    """

    name: str
    module: nn.Module = field(repr=False)
    preprocessing: Preprocessing
    layout: TokenLayout
    sites: Mapping[str, nn.Module] = field(repr=False)
    parts: tuple[nn.Module, ...] = field(repr=False)
    class_names: tuple[str, ...] = field(repr=False)
    loaded_with: Mapping[str, Any] | None = field(default=None, repr=False)

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

    def describe(self) -> str:
        """The model in one line: layers, heads, width, patches, weights."""
        rows, cols = self.layout.grid
        heads = sorted({getattr(site, "num_heads", 0) for site in self.sites.values()})
        width = getattr(self.module, "embed_dim", None)
        millions = sum(parameter.numel() for parameter in self.module.parameters()) / 1e6
        kind = " (the embedded model, trained on made pictures)" if self.name == DEMO else ""
        return (
            f"{self.name}{kind}: {len(self.sites)} layers, {' or '.join(map(str, heads))} heads, width {width}, "
            f"{rows} x {cols} patches of {self.layout.patch_size} px, {millions:.1f} M parameters"
        )


def load_model(
    model: str | nn.Module | None = DEFAULT_MODEL,
    pretrained: bool = True,
    checkpoint: str | Path | None = None,
    class_names: Sequence[str] | None = None,
    img_size: ImageSize | None = None,
    device: str | torch.device | None = None,
) -> AttentionModel:
    """Load a model by name, from a local checkpoint, or wrap one that you made.

    Weights come through timm and huggingface_hub, with their cache and offline switch (``HF_HUB_OFFLINE=1``).

    Args:
        model: timm name, with or without tag (``"vit_small_patch14_reg4_dinov2.lvd142m"``), ``"hf-hub:..."``,
            ``"local-dir:..."``, or a module of one of timm's flat ViT families; ``"demo"`` is the embedded model, a
            small one trained on pictures made by code; None takes the name from the checkpoint's card.
        pretrained: load the published weights; False leaves them random. Ignored with a checkpoint, a module or
            ``"demo"``.
        checkpoint: safetensors or torch file with weights for the named model.
        class_names: one name a class; else from the checkpoint's card, else timm's ImageNet names.
        img_size: input size in pixels, ``side`` or ``(height, width)``; else the model's own.
        device: where the model runs; None is CUDA where there is one for a named model, and where it is for a module.

    Returns:
        The model, in eval mode unless it is yours, which is left as it is.

    Raises:
        ModelError: unknown name, unsupported family, a checkpoint or size that does not fit.
        WeightsError: the weights cannot be had.
        TypeError: `model` is neither a name nor a module.
    """
    if isinstance(model, nn.Module):
        return _wrap_module(model, class_names, img_size, device)
    if not isinstance(model, str | None):
        raise TypeError(f"model must be a timm name or a torch module, got {type(model).__name__}")
    size = _image_size(img_size)
    if checkpoint is not None:
        name, module, names = _from_checkpoint(model, Path(checkpoint), size)
    elif model == DEMO:
        _, module, names = _from_checkpoint(None, DEMO_CHECKPOINT, size)
        name = DEMO
    elif model is None:
        raise ModelError("no model was named and there is no checkpoint whose card could name it")
    else:
        name, module = create_module(model, pretrained, size)
        names = _imagenet_names(module) if pretrained else None
    if device is None:
        device = "cuda" if torch.cuda.is_available() else "cpu"
    loaded = _assemble(name, _to_device(module, device).eval(), class_names or names, size)
    if checkpoint is None and not pretrained and name != DEMO:
        return loaded
    arguments = {"model": model if checkpoint is not None else name, "checkpoint": checkpoint and str(checkpoint)}
    arguments |= {"class_names": class_names and list(class_names), "img_size": img_size}
    return replace(loaded, loaded_with={key: value for key, value in arguments.items() if value is not None})


def _wrap_module(
    module: nn.Module,
    class_names: Sequence[str] | None,
    img_size: ImageSize | None,
    device: str | torch.device | None,
) -> AttentionModel:
    module = getattr(module, "_orig_mod", module)  # torch.compile's wrapper hides attention; the original does not
    if device is not None:
        module = _to_device(module, device)
    config = getattr(module, "pretrained_cfg", None) or {}
    name = config.get("architecture") or type(module).__name__
    return _assemble(name, module, class_names, _image_size(img_size))


def _assemble(
    name: str, module: nn.Module, class_names: Sequence[str] | None, size: tuple[int, int] | None
) -> AttentionModel:
    require_supported(module, name)
    if size is not None:
        require_whole_patches(module, size, name)
    count = int(getattr(module, "num_classes", 0) or 0)
    if class_names is not None and len(class_names) != count:
        raise ModelError(f"{name} has {count} classes, got {len(class_names)} class names; give one name a class")
    preprocessing = Preprocessing.of_model(module, size or nominal_size(module))
    return AttentionModel(
        name=name,
        module=module,
        preprocessing=preprocessing,
        layout=token_layout(module, preprocessing.size, name),
        sites=attention_sites(module),
        parts=tuple(module.modules()),
        class_names=tuple(class_names) if class_names is not None else tuple(f"class {i}" for i in range(count)),
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


def create_module(name: str, pretrained: bool, size: tuple[int, int] | None, **options: Any) -> tuple[str, nn.Module]:
    """Build a timm model by name; the only place that may download.

    Args:
        name: timm name, with or without tag.
        pretrained: load the published weights.
        size: input size ``(height, width)``, or None for the model's own.
        options: further arguments of ``timm.create_model``.

    Returns:
        The name, with the tag of its weights where it has pretrained ones, and the model.

    Raises:
        ModelError: unknown name, unsupported family, or arguments that the model does not take.
        WeightsError: the weights cannot be had.
    """
    require_known(name)
    if size is not None:
        options["img_size"] = size
    try:
        module = timm.create_model(name, pretrained=pretrained, **options)
    except LocalEntryNotFoundError as error:
        raise WeightsError(
            f"the weights of {name} are not in the local cache and could not be downloaded; check the network (and "
            f"HF_HUB_OFFLINE, HF_HOME), give a local file with checkpoint=..., {_OR_DEMO}"
        ) from error
    except RepositoryNotFoundError as error:
        raise WeightsError(f"{name}: no such model on the Hugging Face Hub, or it needs a login") from error
    except (HfHubHTTPError, ConnectionError, TimeoutError) as error:
        raise WeightsError(f"the weights of {name} could not be downloaded ({error}); try again, {_OR_DEMO}") from error
    except TypeError as error:
        if "img_size" in str(error):
            raise ModelError(f"{name} does not take an image size; leave img_size out") from error
        told = {key: value for key, value in options.items() if key != "pretrained_cfg_overlay"}
        if told:
            raise ModelError(f"{name} cannot be built with {told}: {error}") from error
        raise
    except RuntimeError as error:
        if "No pretrained weights exist" in str(error):
            raise WeightsError(
                f"there are no published weights for {name}; give a local file with checkpoint=..., or use "
                "pretrained=False for random weights"
            ) from error
        raise
    except (AssertionError, ValueError) as error:  # timm's own checks of sizes and names
        raise ModelError(f"{name} cannot be built{f' for img_size {size}' if size else ''}: {error}") from error
    config = getattr(module, "pretrained_cfg", None) or {}
    full_name = f"{config.get('architecture', name)}.{config['tag']}" if config.get("tag") else name
    return (full_name if pretrained else name), module


def require_known(name: str) -> None:
    """Raise for a name that timm does not have, with near ones, and for a family that is not supported.

    Raises:
        ModelError: says what is possible. Nothing was loaded then.
    """
    if ":" in name or name == DEMO:
        return  # a hub repository or a local folder, which timm resolves, or the embedded model
    architecture, _, tag = name.partition(".")
    if not timm.is_model(architecture):
        near = difflib.get_close_matches(architecture, timm.list_models(), n=3)
        hint = f"near names: {', '.join(near)}" if near else "timm.list_models('*vit*') lists names"
        raise ModelError(f"timm has no model {name!r}; {hint}")
    tags = [known.partition(".")[2] for known in timm.list_pretrained(f"{architecture}.*")]
    if tag and tag not in tags:
        raise ModelError(f"{architecture} has no weights {tag!r}; possible: {', '.join(tags) or 'none'}")
    if timm.model_entrypoint(architecture).__module__.rpartition(".")[2] not in FAMILY_MODULES:
        with torch.device("meta"):  # no memory, no download: only its class counts
            require_supported(timm.create_model(architecture), name)


def _imagenet_names(module: nn.Module) -> tuple[str, ...] | None:
    subset = infer_imagenet_subset(module) if getattr(module, "num_classes", 0) else None
    if subset is None:
        return None
    return tuple(text.split(",")[0] for text in ImageNetInfo(subset).label_descriptions())


def _from_checkpoint(
    name: str | None, path: Path, size: tuple[int, int] | None
) -> tuple[str, nn.Module, Sequence[str] | None]:
    weights = read_weights(path)
    card = read_card(path)
    name = name or card.architecture
    if name is None:
        raise ModelError(f"{path} has no card that names its architecture; name the model")
    require_known(name)
    if card.architecture is not None and card.architecture.partition(".")[0] != name.partition(".")[0]:
        raise ModelError(f"{path} holds weights of {card.architecture}, not of {name}")
    count = _checkpoint_classes(name, path, weights, card)
    overlay = {"state_dict": weights, "num_classes": count, "custom_load": False} | card.preprocessing
    arguments = card.model_args | {"num_classes": count, "pretrained_cfg_overlay": overlay}
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
    if names is None and count == get_pretrained_cfg(name).num_classes:
        names = _imagenet_names(module)
    return f"{name} ({path.name})", module, names


def _checkpoint_classes(name: str, path: Path, weights: dict[str, Tensor], card: Card) -> int:
    """The number of classes of a checkpoint: rows of its classifier, which its card must agree with."""
    config = get_pretrained_cfg(name)
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


def load_model_or_demo(*arguments: Any, **options: Any) -> tuple[AttentionModel, str | None]:
    """Load a model; where its weights cannot be had, the embedded one.

    For pages and notebooks that must run everywhere; whoever asks for a map of a photo gets the error instead.

    Args:
        arguments: of `load_model`.
        options: of `load_model`.

    Returns:
        The model, and one line that says that it is another one than asked for, or None.

    Raises:
        ModelError: the model asked for does not exist or does not fit.
    """
    if options.get("checkpoint") is not None:
        return load_model(*arguments, **options), None  # a file of the user's is meant
    try:
        return load_model(*arguments, **options), None
    except WeightsError as error:
        model = load_model("demo", device=options.get("device"))
        line = (
            f"taking the embedded model, trained on made pictures of {len(model.class_names)} classes, because {error}"
        )
        return model, line
