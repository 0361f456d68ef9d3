"""Local weights: a safetensors or torch file, read without running anything in it, and the JSON card beside it.

A checkpoint written by this kit has its card twice: beside it, for people to read, and in the file's own header, so
that weights and card are replaced in one step and a copied file still knows its model and classes.
"""

from __future__ import annotations

import json
import math
import pickle
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import safetensors.torch
import timm.models
from safetensors import SafetensorError, safe_open
from torch import Tensor

from .. import __version__
from ..errors import ModelError, WeightsError
from ..files import write_file

SUFFIXES = (".safetensors", ".pt", ".pth", ".bin", ".ckpt", ".tar")

PREPROCESSING = frozenset({"interpolation", "crop_pct", "crop_mode", "mean", "std"})
"""Keys of a card's ``preprocessing``, as in timm's data config."""

CARD_KEY = "card"
"""Key of the card in the header of a safetensors file."""

FORMAT = 1
"""Version of the card's form, written into every new card. A card without one is read as version 1."""


@dataclass(frozen=True)
class Card:
    """What a checkpoint says about itself: ``weights.json`` beside ``weights.safetensors``, or timm's ``config.json``.

    Attributes:
        architecture: timm model name, or None.
        class_names: one name per class, or None.
        num_classes: number of classes, or None.
        model_args: further arguments of the timm model.
        preprocessing: the parts of timm's data config that replace the architecture's own (`PREPROCESSING`).
        unsure_below: the score below which the model does not know a photo (`AttentionModel.is_unsure`).
    """

    architecture: str | None = None
    class_names: tuple[str, ...] | None = None
    num_classes: int | None = None
    model_args: Mapping[str, Any] = field(default_factory=dict)
    preprocessing: Mapping[str, Any] = field(default_factory=dict)
    unsure_below: float = -math.inf


def read_card(checkpoint: Path) -> Card:
    """The card beside a checkpoint, else the one in its header; an empty card if there is neither.

    Keys: ``format``, ``architecture``, ``num_classes``, ``class_names`` (or timm's ``label_names``), ``model_args``,
    ``preprocessing`` and ``unsure_below``; all are optional.

    Raises:
        ModelError: the card is not a JSON object of this form, or its format is newer than `FORMAT`.
    """
    for path in (checkpoint.with_suffix(".json"), checkpoint.parent / "config.json"):
        if path.is_file():
            return _parse_card(path.read_bytes(), path)
    if checkpoint.suffix.lower() == ".safetensors" and checkpoint.is_file():
        embedded = read_header(checkpoint).get(CARD_KEY)
        if embedded is not None:
            return _parse_card(embedded, checkpoint)
    return Card()


def _parse_card(text: str | bytes, path: Path) -> Card:
    try:
        card = json.loads(text)
        card_format = card.get("format", 1)
        if type(card_format) is not int or card_format < 1:
            raise ValueError(f"its format must be a whole number from 1 on, got {card_format!r}")
        if card_format > FORMAT:  # before anything else is read: a newer form may mean other things by the same keys
            raise _newer_card(path, card_format)
        names = card.get("class_names", card.get("label_names"))
        if isinstance(names, dict):
            names = [names[key] for key in sorted(names, key=int)]
        preprocessing = card.get("preprocessing") or {}
        return Card(
            architecture=card.get("architecture"),
            class_names=tuple(str(name) for name in names) if names is not None else None,
            num_classes=card.get("num_classes", len(names) if names is not None else None),
            model_args=dict(card.get("model_args") or {}),
            preprocessing={key: value for key, value in preprocessing.items() if key in PREPROCESSING},
            unsure_below=float(card.get("unsure_below", -math.inf)),
        )
    except ModelError:
        raise
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        raise ModelError(f"{path}: not a checkpoint card (a JSON object): {error}") from error


def _newer_card(path: Path, card_format: int) -> ModelError:
    return ModelError(
        f"{path}: its card has format {card_format}, and vitattn_widgets {__version__} reads formats up to {FORMAT}; "
        "update vitattn_widgets"
    )


def write_checkpoint(path: Path, weights: Mapping[str, Tensor], card: Mapping[str, Any]) -> None:
    """Write a checkpoint that `load_model` opens: weights and card in one file, then the readable copy of the card.

    Args:
        path: ``NAME.safetensors``; the copy becomes ``NAME.json``.
        weights: by name, as in the timm model's state dict.
        card: the keys of `read_card` and anything else worth knowing, as JSON values; ``format`` is added.

    Raises:
        SettingsError: the disk is full or the path cannot be written to; existing files stay as they were.
    """
    text = json.dumps({"format": FORMAT} | dict(card), indent=2, ensure_ascii=False)
    write_file(path, safetensors.torch.save(dict(weights), {CARD_KEY: text}))
    write_file(path.with_suffix(".json"), f"{text}\n".encode())


def read_header(path: Path) -> dict[str, str]:
    """The texts in the header of a safetensors file.

    Raises:
        WeightsError: damaged, or not a safetensors file.
    """
    try:
        with safe_open(path, "pt") as file:
            return dict(file.metadata() or {})
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path}: damaged checkpoint ({error})") from error


def require_checkpoint(checkpoint: Path) -> None:
    """Raise for a file that cannot be a checkpoint, before anything is read.

    Raises:
        WeightsError: no such file.
        ModelError: an unsupported file type.
    """
    if not checkpoint.is_file():
        raise WeightsError(f"{checkpoint}: no such checkpoint file")
    if checkpoint.suffix.lower() not in SUFFIXES:
        raise ModelError(f"{checkpoint}: a checkpoint must be a safetensors or torch file ({', '.join(SUFFIXES)})")


def read_weights(checkpoint: Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint by name. Torch files are read with ``weights_only=True``; no code in them runs.

    Raises:
        WeightsError: no such file, or damaged.
        ModelError: an unsupported file type, or one that would need more than tensors to be unpickled.
    """
    require_checkpoint(checkpoint)
    try:
        if checkpoint.suffix.lower() == ".safetensors":
            with safe_open(checkpoint, "pt"):
                pass
        return timm.models.load_state_dict(str(checkpoint), weights_only=True)
    except (RuntimeError, pickle.UnpicklingError) as error:
        if "weights_only" in str(error) or isinstance(error, pickle.UnpicklingError):
            raise ModelError(
                f"{checkpoint}: holds more than weights, so it was not unpickled; save the state dict alone, "
                "preferably as safetensors"
            ) from error
        raise WeightsError(f"{checkpoint}: damaged checkpoint ({error})") from error
    except (SafetensorError, EOFError, OSError, ValueError, KeyError, AttributeError) as error:
        raise WeightsError(f"{checkpoint}: damaged checkpoint ({error})") from error
