"""The explorer's states: what its controls ask for, and what is on the screen. One makes the other."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any

from ..capture.capture import AttentionCapture
from ..maps.settings import fit_settings
from ..models.loading import AttentionModel
from ..view.arrange import arranged_settings, render_arranged, screen_capture
from ..view.encode import EncodedPicture, encode_for_screen
from ..view.render import RenderedView
from ..view.settings import VIEW_FIELDS, ViewSettings
from .library import Library, Notify

CONTROLS = ("model", "picture", "arrangement", *VIEW_FIELDS)
"""The traits that choose what is shown."""


@dataclass(frozen=True)
class Choice:
    """The values of all controls."""

    model: str
    picture: str
    arrangement: str
    settings: ViewSettings

    @classmethod
    def of(cls, controls: Any) -> Choice:
        """What an object with an attribute a control asks for.

        Raises:
            SettingsError: a value that no capture has.
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
    """What is on the screen, and from what it was drawn.

    Attributes:
        choice: what was asked for, fitted to the capture.
        model: the model.
        capture: from which it was drawn.
        screen: the same, its photo scaled down to a screen's size.
        rendered: the picture.
        encoded: the picture as the browser reads it.
    """

    choice: Choice
    model: AttentionModel
    capture: AttentionCapture
    screen: AttentionCapture
    rendered: RenderedView
    encoded: EncodedPicture

    def full_size(self) -> RenderedView:
        """The picture in the photo's full size."""
        if self.screen is self.capture:
            return self.rendered
        return render_arranged(self.capture, self.choice.settings, self.choice.arrangement)


def show(library: Library, wanted: Choice, before: Shown | None, asked: Collection[str], notify: Notify) -> Shown:
    """Draw what the controls ask for.

    Args:
        library: has the model and the picture.
        wanted: what the controls ask for.
        before: what is shown now.
        asked: names of the controls that somebody has just set, if nothing is shown yet; they must fit as they are.
        notify: hears what takes a while.

    Raises:
        VitattnError: there is no such thing.
    """
    same = before is not None and (wanted.model, wanted.picture) == (before.choice.model, before.choice.picture)
    model, plain = (before.model, before.capture) if same else library.capture(wanted.model, wanted.picture, notify)
    if same:
        # of several controls that changed at once, each was asked for
        values, old = wanted.controls(), before.choice.controls()
        asked = {name for name in CONTROLS if values[name] != old[name]}
    elif before:
        asked = set()
    grid, names = (before.capture.layout.grid, before.capture.class_names) if before else (None, None)
    choice = replace(wanted, settings=fit_settings(wanted.settings, plain, asked, grid, names))
    capture = library.completed(model, plain, choice.picture, choice.settings, notify)
    if not same:
        screen = screen_capture(capture)
    elif capture is before.capture:
        screen = before.screen
    else:
        screen = replace(before.screen, value_norms=capture.value_norms, gradients=capture.gradients)
    rendered = render_arranged(screen, choice.settings, choice.arrangement)
    return Shown(choice, model, capture, screen, rendered, encode_for_screen(rendered.image))
