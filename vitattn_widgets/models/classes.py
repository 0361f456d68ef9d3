"""Classes by what people call them."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Sequence
from functools import lru_cache

import numpy as np

from ..errors import SettingsError

LISTED = 5
"""Names that a message lists."""

PREDICTIONS = 10
"""Predicted classes that a class picker offers before all others."""

_ID_IN_BRACKETS = re.compile(r" \(n\d{8}\)$")


def likely_classes(probabilities: np.ndarray, count: int = PREDICTIONS) -> list[int]:
    """The numbers of the most probable classes, the most probable first; of equal ones, the lower number first."""
    return np.argsort(-probabilities, kind="stable")[:count].tolist()


def find_class(class_names: Sequence[str], wanted: str | int) -> int:
    """The number of a class from its number, its name, or a part of its name that no other class has.

    Args:
        class_names: one name a class.
        wanted: ``281``, ``"281"``, ``"tabby"``, ``"Persian"``; upper and lower case are the same.

    Raises:
        SettingsError: no such class, or several; with their names.
    """
    if not class_names:
        raise SettingsError(f"there is no class {wanted!r}: this model has no classifier")
    text = str(wanted).strip().lower()
    if text.isdecimal():
        if int(text) < len(class_names):
            return int(text)
        raise SettingsError(f"class {wanted} does not exist; this model has classes 0..{len(class_names) - 1}")
    names = [name.lower() for name in class_names]
    same = [index for index, name in enumerate(names) if name == text]
    found = same or [index for index, name in enumerate(names) if text and text in name]
    if len(found) == 1:
        return found[0]
    if found:
        listed = ", ".join(f"{class_names[index]} ({index})" for index in found[:LISTED])
        more = f" and {len(found) - LISTED} more" if len(found) > LISTED else ""
        raise SettingsError(f"class {wanted!r} is not the only one: {listed}{more}; give the number")
    near = difflib.get_close_matches(text, names, n=LISTED)
    listed = ", ".join(class_names[names.index(name)] for name in near) or ", ".join(class_names[:LISTED]) + ", ..."
    raise SettingsError(f"there is no class {wanted!r}; near names: {listed}")


@lru_cache(maxsize=4096)
def class_key(name: str) -> str:
    """What class names are compared by: neither case counts, nor how words are joined, nor a WordNet id behind them."""
    return re.sub(r"[\s_\-]+", " ", _ID_IN_BRACKETS.sub("", name)).strip().casefold()


def is_right(predicted: str, label: str, known_keys: Collection[str]) -> bool | None:
    """Whether a prediction is the photo's class: the one rule, for evaluations and sweeps.

    Convention: names are compared by `class_key`, and classes of one name count as one.

    Args:
        predicted: name of the predicted class.
        label: name of the photo's class; empty where nothing says it.
        known_keys: `class_key` of each class of the model.

    Returns:
        None where the photo has no class, or one that the model does not have.
    """
    if not label or class_key(label) not in known_keys:
        return None
    return class_key(predicted) == class_key(label)
