"""Panels of a comparison as a user writes them: ``layer=0,5,11``, ``"source=relevance target=tabby"``."""

from __future__ import annotations

import argparse
import itertools
import shlex
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..errors import SettingsError, VitattnError
from ..view.settings import ViewSettings
from .options import read_query

LISTED = ("layer", "head", "aggregation", "source", "sinks", "target", "model")
"""Keys that take several values, separated by commas."""

SETTINGS: dict[str, Callable[[str], Any]] = {
    "layer": int,
    "head": int,
    "aggregation": str,
    "query": read_query,
    "source": str,
    "sinks": str,
}
"""Keys that become `ViewSettings`, and how their text is read."""

KEYS = (*SETTINGS, "target", "model", "checkpoint", "photo", "name")

SYNTAX = (
    f"KEY=VALUE, or several in quotes, separated by spaces; keys: {', '.join(KEYS)}; a list such as layer=0,5,11 makes "
    f"one panel per value (possible for {', '.join(LISTED)})"
)


@dataclass(frozen=True)
class PanelText:
    """One panel of a comparison; None leaves a value to the other options.

    Attributes:
        text: what the user wrote, for messages.
        changes: parts of `ViewSettings`.
        photo: picture file.
        target: class, as number or name.
        model: name of the model.
        checkpoint: file of its weights.
        name: title of the panel; empty makes one up.
    """

    text: str
    changes: dict[str, Any]
    photo: Path
    target: str | None = None
    model: str | None = None
    checkpoint: Path | None = None
    name: str = ""

    def settings(self, base: ViewSettings) -> ViewSettings:
        """The panel's settings, except the class, which has no number before the model is loaded.

        Raises:
            SettingsError: names the panel.
        """
        with naming(self.text):
            return replace(base, **self.changes)


@contextmanager
def naming(text: str) -> Iterator[None]:
    """Put the panel's text before the message of any mistake in it."""
    try:
        yield
    except VitattnError as error:
        raise type(error)(f"--compare {text!r}: {error}") from error


def read_panels(texts: Sequence[str], photos: Sequence[Path]) -> list[PanelText]:
    """Read the panels of a comparison: each one for every photo, except those that name their own.

    Args:
        texts: see `SYNTAX`; an empty text is one panel drawn as the other options say, and so are no texts at all.
        photos: picture files.

    Raises:
        SettingsError: a text that is not understood; the message lists what is possible.
    """
    panels = [panel for text in texts or [""] for panel in _read(text)]
    own = [PanelText(**panel) for panel in panels if "photo" in panel]
    return [PanelText(**panel, photo=photo) for photo in photos for panel in panels if "photo" not in panel] + own


def _read(text: str) -> Iterator[dict[str, Any]]:
    """The arguments of `PanelText` for each combination of a text's lists, with a photo only if the text names one."""
    values: dict[str, list[str]] = {}
    with naming(text):
        for word in _words(text):
            key, equals, value = word.partition("=")
            if key not in KEYS or not equals or not value:
                raise SettingsError(f"{word!r} is not understood; possible: {SYNTAX}")
            if key in values:
                raise SettingsError(f"{key} is given twice; write a list ({key}=A,B) or another panel")
            values[key] = value.split(",") if key in LISTED else [value]
        if "checkpoint" in values and len(values.get("model", ())) > 1:
            raise SettingsError("a checkpoint belongs to one model; name one")
        for combination in itertools.product(*values.values()):
            yield _panel(text, dict(zip(values, combination, strict=True)))


def _words(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError as error:
        raise SettingsError(f"a quotation mark is not closed ({error})") from error


def _panel(text: str, values: dict[str, str]) -> dict[str, Any]:
    changes = {key: _value(key, values[key]) for key in SETTINGS if key in values}
    arguments: dict[str, Any] = {key: values[key] for key in ("target", "model", "name") if key in values}
    arguments |= {key: Path(values[key]) for key in ("checkpoint", "photo") if key in values}
    return {"text": text, "changes": changes, **arguments}


def _value(key: str, text: str) -> Any:
    try:
        return SETTINGS[key](text)
    except argparse.ArgumentTypeError as error:
        raise SettingsError(f"{key} {error}") from error
    except ValueError as error:
        raise SettingsError(f"{key} must be a whole number, got {text!r}") from error


def short_names(paths: Iterable[Path]) -> dict[Path, str]:
    """Names that distinguish files: without suffix, and with as few parent folders as possible."""
    paths = list(dict.fromkeys(paths))
    longest = max((len(path.parts) for path in paths), default=0)
    for count in range(1, longest + 1):
        names = ["/".join(path.with_suffix("").parts[-count:]) for path in paths]
        if len(set(names)) == len(paths):
            return dict(zip(paths, names, strict=True))
    return {path: str(path) for path in paths}  # they differ in their suffixes alone
