"""The explorer's states: the values of its controls, and what these put on the screen."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any

from ..capture.capture import AttentionCapture
from ..maps.resolve import fit_settings
from ..models.loading import AttentionModel
from ..view.arrange import arranged_settings, render_arranged, screen_capture
from ..view.encode import EncodedPicture, encode_for_screen
from ..view.render import RenderedView
from ..view.settings import VIEW_FIELDS, ViewSettings
from .library import Library, Notify

CONTROLS: tuple[str, ...] = ("model", "picture", "arrangement", *VIEW_FIELDS)
"""The traits that choose the view."""


@dataclass(frozen=True)
class Choice:
    """The values of all controls."""

    model: str
    picture: str
    arrangement: str
    settings: ViewSettings

    @classmethod
    def of(cls, controls: Any) -> Choice:
        """The choice of an object that has one attribute per control.

        Raises:
            SettingsError: a value that is invalid for every capture.
        """
        settings = ViewSettings(**{name: getattr(controls, name) for name in VIEW_FIELDS})
        arranged_settings(settings, controls.arrangement)
        return cls(controls.model, controls.picture, controls.arrangement, settings)

    def controls(self) -> dict[str, Any]:
        """The value of every control by its name."""
        named = {name: getattr(self, name) for name in ("model", "picture", "arrangement")}
        return named | {name: getattr(self.settings, name) for name in VIEW_FIELDS}


@dataclass(frozen=True, eq=False)
class Shown:
    """What is on the screen, and what it was drawn from.

    Attributes:
        choice: the values of the controls, fitted to the capture.
        model: the model.
        capture: its capture of the photo.
        screen: the same capture with the photo scaled down for the screen.
        rendered: the picture.
        encoded: the picture as a file for the browser.
    """

    choice: Choice
    model: AttentionModel
    capture: AttentionCapture
    screen: AttentionCapture
    rendered: RenderedView
    encoded: EncodedPicture

    def full_size(self) -> RenderedView:
        """The picture at the photo's full size."""
        if self.screen is self.capture:
            return self.rendered
        return render_arranged(self.capture, self.choice.settings, self.choice.arrangement)


def show(library: Library, wanted: Choice, before: Shown | None, asked: Collection[str], notify: Notify) -> Shown:
    """Draw what the controls choose.

    Args:
        library: the models and the pictures.
        wanted: the values of the controls.
        before: what is shown now.
        asked: the controls that must fit as they are, if nothing is shown yet; later, those that changed must fit,
            unless the model or the picture is another.
        notify: called with a line before anything that takes a while.

    Raises:
        VitattnError: a value that this capture does not have, or no such model or picture.
    """
    same = before if before and (wanted.model, wanted.picture) == (before.choice.model, before.choice.picture) else None
    model, plain = (same.model, same.capture) if same else library.capture(wanted.model, wanted.picture, notify)
    if same:
        # several controls may have changed at once
        values, old = wanted.controls(), same.choice.controls()
        asked = {name for name in CONTROLS if values[name] != old[name]}
    elif before:
        asked = set()
    grid, names = (before.capture.layout.grid, before.capture.class_names) if before else (None, None)
    choice = replace(wanted, settings=fit_settings(wanted.settings, plain, asked, grid, names))
    capture = library.completed(model, plain, choice.picture, choice.settings, notify)
    if same is None:
        screen = screen_capture(capture)
    elif capture is same.capture:
        screen = same.screen
    else:
        screen = replace(same.screen, value_norms=capture.value_norms, gradients=capture.gradients)
    rendered = render_arranged(screen, choice.settings, choice.arrangement)
    return Shown(choice, model, capture, screen, rendered, encode_for_screen(rendered.image))
