"""What the viewer starts with: the library, and the settings and the comparison of a link."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ..errors import SettingsError, VitattnError
from ..maps.resolve import fit_settings, resolve
from ..maps.settings import MAP_FIELDS
from ..models.loading import AttentionModel
from ..view.settings import SMOOTHING_STEPS
from ..viewer.settings import START, json_settings
from .controls import DEFAULTS, Choice, short_text, whole_number
from .service import DemoService, Photo

MAX_PANELS = 24
"""Panels of a link that are shown."""


def open_link(service: DemoService, link: Mapping[str, str]) -> dict[str, Any]:
    """What the viewer starts with, as JSON values.

    Args:
        service: models and samples.
        link: a link's parameters: ``model``, ``sample``, any of `DEFAULTS`, and the panels of a comparison as
            ``panels`` (JSON) and ``difference``. Whatever is invalid is left at the viewer's start.

    Returns:
        ``library``; ``state``, the settings, fitted to the photo; ``start``, those of the viewer's start; ``message``,
        what was invalid, or why there is nothing to show, as plain text; and ``max_upload``, in bytes.
    """
    messages: list[str] = []

    def chosen(name: str, possible: list[str]) -> str:
        if link.get(name, possible[0]) in possible:
            return link.get(name, possible[0])
        lacking = f"there is no {name} {short_text(link[name])} here; possible: {', '.join(possible)}"
        messages.append(f"{lacking}; shown instead: {possible[0]}")
        return possible[0]

    reasons = [f"{name} is not available: {reason}" for name, reason in service.unavailable.items()]
    models, samples = list(service.models), list(service.samples)
    state: dict[str, Any] = {}
    if models and samples:
        model, sample = chosen("model", models), chosen("sample", samples)
        choice = _choice(service, link, service.models[model], Photo(sample, sample, sample=True), messages)
        state = {"model": model, "picture": sample, "arrangement": choice.arrangement}
        state |= json_settings(choice.settings) | _comparison(service, link, messages)
    else:
        messages += reasons or ["this page has no samples; add a photo"]
    return {
        "library": {"models": models, "pictures": service.pictures, "note": " ".join([service.note, *reasons]).strip()},
        "state": state,
        "start": json_settings(START) | {"arrangement": Choice.arrangement},
        "message": ". ".join(messages),
        "max_upload": service.uploads.max_bytes,
    }


def _choice(
    service: DemoService, link: Mapping[str, str], model: AttentionModel, photo: Photo, messages: list[str]
) -> Choice:
    """The settings of a link; appends to `messages` what is wrong with each that is left at the viewer's start."""
    choice = Choice()

    def change(name: str) -> None:
        nonlocal choice
        try:
            changed = choice.with_value(name, link[name], model.class_names)
            changed = replace(changed, settings=fit_settings(changed.settings, capture, asked=[name]))
            resolve(capture, changed.settings)
            choice = changed
            if name == "layer" and link[name].strip().startswith("-"):
                messages.append(f"layer {link[name]} counts from the last; shown: layer {choice.settings.layer}")
        except SettingsError as error:
            messages.append(f"{error}; shown instead: {_words(choice, name)}")

    try:
        capture = service.capture(model, photo)
    except VitattnError as error:
        messages.append(str(error))
        return choice
    choice = replace(choice, settings=fit_settings(choice.settings, capture))
    for name in DEFAULTS:
        if name in link:
            change(name)
    return choice


def _words(choice: Choice, name: str) -> str:
    """The value of one setting in a choice, for a message."""
    if name == "arrangement":
        return choice.arrangement
    if name == "smoothing":
        return " ".join(step for step in SMOOTHING_STEPS if getattr(choice.settings, step))
    value = getattr(choice.settings, name)
    if value is None:
        return {"head": "all heads", "query": "the default query", "target": "the predicted class"}[name]
    return f"{name} {value}"


def _comparison(service: DemoService, link: Mapping[str, str], messages: list[str]) -> dict[str, Any]:
    """The panels of a link and the pair that is subtracted; none if one of them is invalid."""
    try:
        panels = [_panel(service, values) for values in json.loads(link.get("panels", "[]"))[:MAX_PANELS]]
        pair = [whole_number(number, "difference") for number in link.get("difference", "").split(",") if number]
        if pair and (len(pair) != 2 or not {*pair} <= {*range(len(panels))}):
            raise SettingsError(f"difference must be two of the panels 0 to {len(panels) - 1}, got {pair}")
    except VitattnError as error:
        messages.append(f"the comparison cannot be shown: {error}")
    except (ValueError, TypeError, AttributeError, RecursionError):
        messages.append("the comparison cannot be shown: panels must be a JSON list of objects")
    else:
        return {"panels": panels, "difference": pair}
    return {}


def _panel(service: DemoService, values: Mapping[str, Any]) -> dict[str, Any]:
    model, photo = service.model(values.get("model")), service.photo({"sample": values.get("picture", "")})
    wanted = {name: values[name] for name in MAP_FIELDS if name in values}
    settings = Choice().with_values(wanted, model.class_names).settings
    resolve(service.capture(model, photo), settings)
    kept = {name: value for name, value in json_settings(settings).items() if name in MAP_FIELDS}
    return {"model": values["model"], "picture": photo.name} | kept
