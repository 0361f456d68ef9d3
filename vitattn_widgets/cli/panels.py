"""Panels of a comparison as a user writes them: ``layer=0,5,11``, ``"source=relevance target=tabby"``."""

from __future__ import annotations

import itertools
import shlex
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
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
    f"KEY=VALUE, several in quotes with blanks between; keys: {', '.join(KEYS)}; a list such as layer=0,5,11 makes a "
    f"panel each ({', '.join(LISTED)})"
)


@dataclass(frozen=True)
class PanelText:
    """One panel that was asked for; what is None is as the other options say.

    Attributes:
        text: what the user wrote, for messages.
        changes: parts of `ViewSettings`.
        target: class, as number or name.
        model: name of the model.
        checkpoint: file of its weights.
        photo: picture file.
        name: what the panel is to be called.
    """

    text: str
    changes: dict[str, Any] = field(default_factory=dict)
    target: str | None = None
    model: str | None = None
    checkpoint: Path | None = None
    photo: Path | None = None
    name: str = ""

    def settings(self, base: ViewSettings) -> ViewSettings:
        """The panel's settings, but for the class, which waits for the model.

        Raises:
            SettingsError: names the panel.
        """
        with naming(self.text):
            return replace(base, **self.changes)


@contextmanager
def naming(text: str) -> Iterator[None]:
    """Put the panel's text before the message of whatever mistake is found in it."""
    try:
        yield
    except VitattnError as error:
        raise type(error)(f"--compare {text!r}: {error}") from error


def read_panels(texts: Sequence[str], photos: Sequence[Path]) -> list[PanelText]:
    """The panels that texts ask for: each of every photo, but for those that name their own.

    Args:
        texts: see `SYNTAX`; an empty one is a panel as the other options say, and no text at all is one of these.
        photos: picture files.

    Raises:
        SettingsError: a text that says nothing known; with what is possible.
    """
    panels = [panel for text in texts or [""] for panel in _read(text)]
    own = [panel for panel in panels if panel.photo is not None]
    return [replace(panel, photo=photo) for photo in photos for panel in panels if panel.photo is None] + own


def _read(text: str) -> Iterator[PanelText]:
    """The panels of one text: one for each combination of its lists."""
    values: dict[str, Iterable[str]] = {}
    with naming(text):
        for word in _words(text):
            key, equals, value = word.partition("=")
            if key not in KEYS or not equals or not value:
                raise SettingsError(f"{word!r} is not understood; possible: {SYNTAX}")
            if key in values:
                raise SettingsError(f"{key} is said twice; give a list ({key}=A,B) or another panel")
            values[key] = value.split(",") if key in LISTED else [value]
        if "checkpoint" in values and len(values.get("model", ())) > 1:
            raise SettingsError("a checkpoint belongs to one model; name one")
        for combination in itertools.product(*values.values()):
            yield _panel(text, dict(zip(values, combination, strict=True)))


def _words(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError as error:
        raise SettingsError(f"a quotation mark has no partner ({error})") from error


def _panel(text: str, said: dict[str, str]) -> PanelText:
    changes = {key: _value(key, said[key]) for key in SETTINGS if key in said}
    paths = {key: Path(said[key]) for key in ("checkpoint", "photo") if key in said}
    return PanelText(text, changes, said.get("target"), said.get("model"), name=said.get("name", ""), **paths)


def _value(key: str, text: str) -> Any:
    try:
        return SETTINGS[key](text)
    except ValueError as error:
        possible = "a name, or row and column such as 5,8" if key == "query" else "a whole number"
        raise SettingsError(f"{key} must be {possible}, got {text!r}") from error


def short_names(paths: Iterable[Path]) -> dict[Path, str]:
    """What tells files apart: their names without suffix, with as many folders before as that takes."""
    paths = list(dict.fromkeys(paths))
    longest = max((len(path.parts) for path in paths), default=0)
    for count in range(1, longest + 1):
        names = ["/".join(path.with_suffix("").parts[-count:]) for path in paths]
        if len(set(names)) == len(paths):
            return dict(zip(paths, names, strict=True))
    return {path: str(path) for path in paths}
