"""Building timm models by name, with published weights from the local cache or the hub."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any

import timm
import torch
from safetensors import SafetensorError
from timm.data.imagenet_info import ImageNetInfo, infer_imagenet_subset
from timm.models import get_pretrained_cfg, parse_model_name
from torch import nn

from ..errors import ModelError, WeightsError
from .families import FAMILY_MODULES, require_supported
from .hub import address_problem, download_error, fetch
from .stage_sites import KINDS
from .start_values import NoRandomStart

DEMO = "demo"
"""Name of the embedded model, which needs no network."""

WEIGHTS = ("model.safetensors", "pytorch_model.bin")
"""File names of weights on the hub, the preferred one first."""


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
    if pretrained and "state_dict" not in options.get("pretrained_cfg_overlay", {}):
        source, overlay = _fetched(name)
        options["pretrained_cfg_overlay"] = overlay | options.get("pretrained_cfg_overlay", {})
    else:
        source = name
    try:
        module = _built(source, pretrained, options)
    except SafetensorError as error:
        raise WeightsError(f"the weights of {name} in the local cache are damaged ({error}); delete them") from error
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


def _built(source: str, pretrained: bool, options: dict[str, Any]) -> nn.Module:
    if pretrained:
        with NoRandomStart() as start:
            module = timm.create_model(source, pretrained=True, **options)
        if not start.left_unset(module):
            return module
        # a new classifier, for example, does start at random
    return timm.create_model(source, pretrained=pretrained, **options)


def _fetched(name: str) -> tuple[str, dict[str, Any]]:
    """A name, and what replaces parts of its configuration, with which timm finds the published weights on this disk.

    timm would ask the hub even for weights that are in the cache, and wait for a network that does not answer.
    """
    words = f"the weights of {name}"
    source, repository = parse_model_name(name)
    if source == "hf-hub":
        fetch(repository, ["config.json"], words)
        return f"local-dir:{fetch(repository, WEIGHTS, words).parent}", {}
    config = None if source else get_pretrained_cfg(name)
    if config is not None and config.hf_hub_id:
        names = [config.hf_hub_filename] if config.hf_hub_filename else WEIGHTS
        return name, {"file": str(fetch(config.hf_hub_id, names, words)), "custom_load": False}
    if config is not None and isinstance(config.url, str) and config.url:
        cached = Path(torch.hub.get_dir(), "checkpoints", Path(config.url).name)
        if not cached.is_file() and (problem := address_problem(config.url)):
            raise download_error(words, problem)
    return name, {}


def require_known(name: str) -> None:
    """Raise for a name that timm does not have, or for a family that is not supported; nothing is loaded.

    Raises:
        ModelError: lists near names, possible tags or supported families.
    """
    if ":" in name or name == DEMO:
        return  # a hub repository or a local folder, which timm resolves, or the embedded model
    architecture, _, tag = name.partition(".")
    if not timm.is_model(architecture):
        modules = sorted(FAMILY_MODULES | {file for file, _ in KINDS})
        near = difflib.get_close_matches(architecture, timm.list_models(module=modules), n=3)
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
