"""The tools ``map``, ``compare`` and ``check`` for assistants, over MCP: pictures, captions, and what a check says."""

from __future__ import annotations

import asyncio
import base64
import binascii
import importlib.util
import logging
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from functools import wraps
from inspect import Parameter, Signature
from typing import Any

import gradio as gr
import numpy as np
from gradio.components import Component
from gradio.components.api_component import Api
from gradio.processing_utils import save_bytes_to_cache
from gradio.utils import get_upload_folder

from ..capture.capture import AttentionCapture
from ..comparison.compare import compare_views
from ..comparison.panels import Panel
from ..errors import PictureError, SettingsError, VitattnError
from ..maps.resolve import fit_settings
from ..models.loading import AttentionModel
from ..view.encode import picture_bytes
from ..view.render import render_view
from ..view.settings import ViewSettings
from .controls import Choice
from .routes import WENT_WRONG
from .service import DemoService, Photo

PHOTO = """photo: the name of one of the page's samples (%s), or a picture as data URL (data:image/jpeg;base64,...). An
answer names the key under which such a picture can be named again. model: one of %s. layer: number from 0, or from the
last as -1. head: "all" or a number. source: "attention" is where a layer looks, whatever the answer;
"contribution_sum" is what spoke for the answer and what against it."""

ONE_MAP: dict[str, Any] = {
    "layer": -1,
    "head": "all",
    "query": "default",
    "source": "attention",
    "target": "predicted",
}
"""The settings of one map that a tool takes, with their defaults."""

TWO_MAPS: dict[str, Any] = {
    "layer": -1,
    "source": "attention",
    "other_layer": -1,
    "other_source": "gradient_late",
    "target": "predicted",
}
"""The settings of two maps."""

_log = logging.getLogger(__name__)


def require_mcp() -> None:
    """Raise if the package that Gradio needs for MCP is missing.

    Raises:
        SettingsError: it is, with how to install it.
    """
    if importlib.util.find_spec("mcp") is None:
        raise SettingsError('--mcp needs the package mcp; install it with: pip install "vitattn_widgets[mcp]"')


def offer_tools(service: DemoService) -> None:
    """Add the tools, within a `gradio.Blocks` that is launched with ``mcp_server=True``."""

    def map(photo: str, model: str, **values: Any) -> tuple[str, str]:
        subject = _Subject(service, photo, model)
        settings = subject.settings(values)
        rendered = render_view(subject.capture(settings), settings)
        return _picture(rendered.image), subject.words([rendered.caption], [settings])

    def compare(photo: str, model: str, **values: Any) -> tuple[str, str]:
        subject = _Subject(service, photo, model)
        other = {name.removeprefix("other_"): value for name, value in values.items() if name.startswith("other_")}
        one = {name: values[name] for name in (*other, "target")}
        both = [subject.settings(one), subject.settings(one | other)]
        compared = compare_views([Panel(subject.capture(settings), settings) for settings in both])
        first, second = compared.views
        gap = np.full((len(first.image), 8, 3), 255, np.uint8)
        captions = [f"{side}: {view.caption}" for side, view in zip(("left", "right"), compared.views, strict=True)]
        return _picture(np.hstack([first.image, gap, second.image])), subject.words(captions, both)

    def check(photo: str, model: str, **values: Any) -> str:
        subject = _Subject(service, photo, model)
        settings = subject.settings(values)
        return subject.words([render_view(subject.capture(settings), settings).caption], [settings])

    about = PHOTO % (", ".join(service.samples), ", ".join(service.models))
    for tool, settings, does in (
        (map, ONE_MAP, "Draw the attention map of a photo, with its caption and whether the map passes a check."),
        (compare, TWO_MAPS, "Draw two attention maps of a photo on one scale, with captions and a check of both."),
        (check, ONE_MAP, "Check whether an attention map says anything about the model's answer."),
    ):
        parameters = {"photo": None, "model": ""} | settings
        with gr.Row(visible=False):
            button = gr.Button(tool.__name__)
            inputs = [_input(name, default) for name, default in parameters.items()]
            words = gr.Textbox(label="caption and check")
            outputs = [words] if tool is check else [gr.Image(label="picture", format="png"), words]
        button.click(
            _honest(tool, list(parameters)),
            inputs=inputs,
            outputs=outputs,
            api_name=f"tool_{tool.__name__}",
            api_description=f"{does}\n\n{about}",
            queue=False,  # through its queue, Gradio gives an assistant several outputs as one text
            show_progress="hidden",
        )


def _input(name: str, default: Any) -> Component:
    return Api(default, {"type": "integer" if isinstance(default, int) else "string"}, name)


class _Subject:
    """The photo and the model that a tool was given."""

    def __init__(self, service: DemoService, photo: str, model: str) -> None:
        self._service = service
        self.model: AttentionModel = service.model(model or next(iter(service.models), None))
        self.photo = _photo(service, photo)

    def settings(self, values: dict[str, Any]) -> ViewSettings:
        choice = Choice(ViewSettings()).with_values(values, self.model.class_names)
        return fit_settings(choice.settings, self._service.capture(self.model, self.photo), asked=list(values))

    def capture(self, settings: ViewSettings) -> AttentionCapture:
        return self._service.capture(self.model, self.photo, settings)

    def words(self, captions: list[str], settings: list[ViewSettings]) -> str:
        """Captions, each with what the check of its map says."""
        lines = []
        for caption, one in zip(captions, settings, strict=True):
            lines.append(caption)
            if self.model.class_names:
                facts = self._service.check(self.model, self.photo, Choice(replace(one, sinks="show")))
                lines += [f"Check: {facts['verdict']}", *facts["sentences"]]
            else:
                lines.append("Check: this model has no classifier, so there is no answer to follow.")
        if not self.photo.sample:
            lines.append(f"photo: {self.photo.key}")
        return "\n".join(lines)


def _photo(service: DemoService, photo: str) -> Photo:
    if photo in service.samples:
        return Photo(photo, photo, sample=True)
    if photo in service.uploads:
        return Photo(photo, "the picture")
    head, comma, body = photo.partition(",")
    if not (head.startswith("data:image/") and head.endswith(";base64") and comma):
        raise PictureError(
            f"photo must be the name of a sample ({', '.join(service.samples)}), a picture as data URL, or the key of "
            "one that was sent before"
        )
    try:
        content = base64.b64decode(body, validate=True)
    except binascii.Error as error:
        raise PictureError("the picture's data URL is not valid base64") from error

    async def chunks() -> AsyncIterator[bytes]:
        yield content

    return asyncio.run(service.receive(chunks(), "the picture", "an assistant"))


def _picture(image: np.ndarray) -> str:
    return save_bytes_to_cache(picture_bytes(image), "map.png", get_upload_folder())


def _honest(tool: Callable[..., Any], names: list[str]) -> Callable[..., Any]:
    """The tool as a function of these parameters, with errors of one line."""

    @wraps(tool)
    def honest(*values: Any) -> Any:
        try:
            return tool(**dict(zip(names, values, strict=True)))
        except VitattnError as error:
            raise gr.Error(str(error), print_exception=False) from error
        except Exception as error:
            _log.exception("an assistant's request failed")
            raise gr.Error(WENT_WRONG, print_exception=False) from error

    # Gradio reads the names here
    honest.__signature__ = Signature(  # type: ignore[attr-defined]  # of any function, see `inspect`
        [Parameter(name, Parameter.POSITIONAL_OR_KEYWORD) for name in names]
    )
    return honest
