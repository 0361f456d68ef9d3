"""Building timm models by name: the only place that downloads weights."""

from __future__ import annotations

import difflib
from typing import Any

import timm
import torch
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, RepositoryNotFoundError
from timm.data.imagenet_info import ImageNetInfo, infer_imagenet_subset
from torch import nn

from ..errors import ModelError, WeightsError
from .families import FAMILY_MODULES, require_supported

DEMO = "demo"
"""Name of the embedded model, which needs no network."""

_OR_DEMO = "or use the embedded model, 'demo' (--model demo)"


def create_module(name: str, pretrained: bool, size: tuple[int, int] | None, **options: Any) -> tuple[str, nn.Module]:
    """Build a timm model by name.

    Args:
        name: timm name, with or without tag.
        pretrained: load the published weights.
        size: input size ``(height, width)``, or None for the model's own.
        options: further arguments of ``timm.create_model``.

    Returns:
        The name, with the tag of its weights if it has pretrained ones, and the model.

    Raises:
        ModelError: unknown name, unsupported family, or arguments that the model does not take.
        WeightsError: the weights are unavailable.
    """
    require_known(name)
    if size is not None:
        options["img_size"] = size
    try:
        module = timm.create_model(name, pretrained=pretrained, **options)
    except LocalEntryNotFoundError as error:
        raise WeightsError(
            f"the weights of {name} are not in the local cache and could not be downloaded; check the network (and "
            f"HF_HUB_OFFLINE, HF_HOME), give a local file with checkpoint=... (--checkpoint), {_OR_DEMO}"
        ) from error
    except RepositoryNotFoundError as error:
        raise WeightsError(
            f"{name}: no such model on the Hugging Face Hub, or it needs a login; check the name"
        ) from error
    except (HfHubHTTPError, ConnectionError, TimeoutError) as error:
        raise WeightsError(f"the weights of {name} could not be downloaded ({error}); try again, {_OR_DEMO}") from error
    except TypeError as error:
        if "img_size" in str(error):
            raise ModelError(f"{name} does not take an image size; leave img_size out") from error
        # the overlay comes from this kit and holds whole tensors: it is neither the user's mistake nor readable
        named = {key: value for key, value in options.items() if key != "pretrained_cfg_overlay"}
        if named:
            raise ModelError(f"{name} cannot be built with {named}: {error}") from error
        raise
    except RuntimeError as error:
        if "No pretrained weights exist" in str(error):
            raise WeightsError(
                f"there are no published weights for {name}; give a local file with checkpoint=... "
                "(--checkpoint), or use pretrained=False for random weights"
            ) from error
        raise
    except (AssertionError, ValueError) as error:  # timm's own checks of sizes and names
        raise ModelError(f"{name} cannot be built{f' for img_size {size}' if size else ''}: {error}") from error
    config = getattr(module, "pretrained_cfg", None) or {}
    full_name = f"{config.get('architecture', name)}.{config['tag']}" if config.get("tag") else name
    return (full_name if pretrained else name), module


def require_known(name: str) -> None:
    """Raise for a name that timm does not have, or for a family that is not supported; nothing is loaded.

    Raises:
        ModelError: lists near names, possible tags or supported families.
    """
    if ":" in name or name == DEMO:
        return  # a hub repository or a local folder, which timm resolves, or the embedded model
    architecture, _, tag = name.partition(".")
    if not timm.is_model(architecture):
        near = difflib.get_close_matches(architecture, timm.list_models(module=sorted(FAMILY_MODULES)), n=3)
        hint = f"near names: {', '.join(near)}" if near else "timm.list_models('*vit*') lists names"
        raise ModelError(f"timm has no model {name!r}; {hint}")
    tags = [known.partition(".")[2] for known in timm.list_pretrained(f"{architecture}.*")]
    if tag and tag not in tags:
        raise ModelError(f"{architecture} has no weights {tag!r}; possible: {', '.join(tags) or 'none'}")
    # modules that build only supported families need no closer look
    if timm.model_entrypoint(architecture).__module__.rpartition(".")[2] not in FAMILY_MODULES:
        with torch.device("meta"):  # no memory and no download: only the class of the model matters
            require_supported(timm.create_model(architecture), name)


def imagenet_names(module: nn.Module) -> tuple[str, ...] | None:
    """The names that timm has for the ImageNet classes that a model predicts; None for other classes."""
    subset = infer_imagenet_subset(module) if getattr(module, "num_classes", 0) else None
    if subset is None:
        return None
    return tuple(text.split(",")[0] for text in ImageNetInfo(subset).label_descriptions())
