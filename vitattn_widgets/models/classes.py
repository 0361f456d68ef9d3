"""Finding classes by the names that people use."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Sequence
from functools import lru_cache

import numpy as np

from ..errors import SettingsError

LISTED = 5
"""Largest number of names that a message lists."""

PREDICTIONS = 10
"""Number of predicted classes that a class picker offers before all others."""

_ID_IN_BRACKETS = re.compile(r" \(n\d{8}\)$")


def likely_classes(probabilities: np.ndarray, count: int = PREDICTIONS) -> list[int]:
    """The numbers of the most probable classes, most probable first; ties go to the lower number."""
    return np.argsort(-probabilities, kind="stable")[:count].tolist()


def find_class(class_names: Sequence[str], wanted: str | int) -> int:
    """The number of a class, from its number, its name, or a part of its name that no other class has.

    Args:
        class_names: one name per class.
        wanted: ``281``, ``"281"``, ``"tabby"``, ``"Persian"``; case is ignored.

    Raises:
        SettingsError: no such class, or several; the message lists near or matching names.
    """
    if not class_names:
        raise SettingsError(f"there is no class {wanted!r}: this model has no classifier")
    text = str(wanted).strip().lower()
    if text.isdecimal():
        if int(text) < len(class_names):
            return int(text)
        raise SettingsError(f"class {wanted} does not exist; this model has classes 0..{len(class_names) - 1}")
    names = [name.lower() for name in class_names]
    equal = [index for index, name in enumerate(names) if name == text]
    matches = equal or [index for index, name in enumerate(names) if text and text in name]
    if len(matches) == 1:
        return matches[0]
    if matches:
        matches.sort(key=lambda index: _place_in(names[index], text))
        listed = ", ".join(f"{class_names[index]} ({index})" for index in matches[:LISTED])
        more = f" and {len(matches) - LISTED} more" if len(matches) > LISTED else ""
        raise SettingsError(
            f"class {wanted!r} matches several classes: {listed}{more}; give the number or the whole name"
        )
    near = difflib.get_close_matches(text, names, n=LISTED)
    if near:
        listed = ", ".join(class_names[names.index(name)] for name in near)
        raise SettingsError(f"there is no class {wanted!r}; near names: {listed}")
    some = ", ".join(class_names[:LISTED]) + (", ..." if len(class_names) > LISTED else "")
    raise SettingsError(f"there is no class {wanted!r}, nor one with a similar name; this model has {some}")


def _place_in(name: str, text: str) -> int:
    """Where a text stands in a name: 0 for a word of it, 1 for a word's start, 2 for the inside of one."""
    if re.search(rf"\b{re.escape(text)}\b", name):
        return 0
    return 1 if re.search(rf"\b{re.escape(text)}", name) else 2


@lru_cache(maxsize=4096)
def class_key(name: str) -> str:
    """The form in which class names are compared: without case, the way words are joined, or a trailing WordNet id."""
    return re.sub(r"[\s_\-]+", " ", _ID_IN_BRACKETS.sub("", name)).strip().casefold()


def is_right(predicted: str, label: str, known_keys: Collection[str]) -> bool | None:
    """Whether a prediction is the photo's class: one rule for evaluations and sweeps.

    Convention: names are compared by `class_key`, and classes with the same name count as one.

    Args:
        predicted: name of the predicted class.
        label: name of the photo's class; empty if unknown.
        known_keys: `class_key` of each class of the model.

    Returns:
        None if the photo has no class, or one that the model does not have.
    """
    if not label or class_key(label) not in known_keys:
        return None
    return class_key(predicted) == class_key(label)
