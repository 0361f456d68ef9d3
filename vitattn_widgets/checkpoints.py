"""Local weights: a safetensors or torch file, read without running anything in it, and the JSON card beside it."""

from __future__ import annotations

import json
import pickle
from dataclasses import dataclass
from pathlib import Path

import timm.models
from safetensors import SafetensorError, safe_open
from torch import Tensor

from .errors import ModelError, WeightsError

SUFFIXES = (".safetensors", ".pt", ".pth", ".bin", ".ckpt", ".tar")


@dataclass(frozen=True)
class Card:
    """What a checkpoint says of itself: ``weights.json`` beside ``weights.safetensors``, or timm's ``config.json``.

    Attributes:
        architecture: timm model name, or None.
        class_names: one name a class, or None.
        num_classes: or None.
    """

    architecture: str | None = None
    class_names: tuple[str, ...] | None = None
    num_classes: int | None = None


def read_card(checkpoint: Path) -> Card:
    """The card beside a checkpoint; an empty one where there is none.

    Keys: ``architecture``, ``num_classes`` and ``class_names`` (or timm's ``label_names``).

    Raises:
        ModelError: the card is not a JSON object of this form.
    """
    for path in (checkpoint.with_suffix(".json"), checkpoint.parent / "config.json"):
        if not path.is_file():
            continue
        try:
            card = json.loads(path.read_text(encoding="utf-8"))
            names = card.get("class_names", card.get("label_names"))
            if isinstance(names, dict):
                names = [names[key] for key in sorted(names, key=int)]
            return Card(
                architecture=card.get("architecture"),
                class_names=tuple(str(name) for name in names) if names is not None else None,
                num_classes=card.get("num_classes", len(names) if names is not None else None),
            )
        except (ValueError, TypeError, AttributeError, KeyError) as error:
            raise ModelError(f"{path}: not a checkpoint card (a JSON object): {error}") from error
    return Card()


def read_weights(checkpoint: Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint by name. Torch files are read with ``weights_only=True``; no code in them runs.

    Raises:
        WeightsError: no such file, or damaged.
        ModelError: a type of file that is not read, or one that would need unpickling of other things than tensors.
    """
    if not checkpoint.is_file():
        raise WeightsError(f"{checkpoint}: no such checkpoint file")
    if checkpoint.suffix.lower() not in SUFFIXES:
        raise ModelError(f"{checkpoint}: a checkpoint must be a safetensors or torch file ({', '.join(SUFFIXES)})")
    try:
        if checkpoint.suffix.lower() == ".safetensors":
            with safe_open(checkpoint, "pt"):
                pass
        return timm.models.load_state_dict(str(checkpoint), weights_only=True)
    except (RuntimeError, pickle.UnpicklingError) as error:
        if "weights_only" in str(error) or isinstance(error, pickle.UnpicklingError):
            raise ModelError(
                f"{checkpoint}: holds more than weights, so it was not unpickled; save the state dict alone, best as "
                "safetensors"
            ) from error
        raise WeightsError(f"{checkpoint}: damaged checkpoint ({error})") from error
    except (SafetensorError, EOFError, OSError, ValueError, KeyError, AttributeError) as error:
        raise WeightsError(f"{checkpoint}: damaged checkpoint ({error})") from error
