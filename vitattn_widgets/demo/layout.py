"""The page's components and where they lie; `events` wires them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.components import Component
from gradio.utils import get_upload_folder, is_in_or_equal

from ..errors import PictureError
from ..maps.aggregate import AGGREGATIONS, TITLES
from ..maps.settings import SINKS
from ..maps.sources import CATALOGUE
from ..view.arrange import ARRANGEMENTS
from ..view.drawing import CMAPS, DEFAULT_CMAP, SCALES
from ..view.settings import GROUNDS
from ..viewer.assets import joined
from . import html
from .controls import BESIDES, NO_PANEL, PREDICTED, ROWS, STEPS
from .service import DemoService
from .visitor import Visitor

DOWNLOADS = {"png": "PNG", "npz": "NPZ", "json": "Recipe"}
"""What can be kept, and the labels of the buttons."""


STATIC = Path(__file__).parent / "static"


@dataclass(frozen=True, eq=False)
class Layout:
    """The components of one page.

    Attributes:
        visitor: what the server remembers of the visitor.
        parts: the components that an answer may change, by the names of `PARTS`.
        samples: the samples to choose from.
        keep: the buttons of `DOWNLOADS`.
        chosen: what was clicked on the picture, the panel or the samples, or what was pasted.
        checked: what a check of a map gave, and of which map.
        updates: what the server answers, see `page_updates`; carried out in the browser.
        file: what was asked to be kept.
    """

    visitor: gr.State
    parts: dict[str, Component]
    samples: gr.HTML
    keep: dict[str, gr.Button]
    chosen: gr.JSON
    checked: gr.JSON
    updates: gr.JSON
    file: gr.File


def lay_out(service: DemoService) -> Layout:
    """Make the page's components, within a `gradio.Blocks`."""
    script, once, style = (joined(STATIC, [name]) for name in ("demo.js", "once.js", "demo.css"))
    look = {"js_on_load": script, "css_template": style}
    parts: dict[str, Component] = {}
    gr.Markdown(introduction(service))
    with gr.Row():
        with gr.Column(scale=3, min_width=320):
            parts["picture"] = gr.HTML(elem_id="va-picture", **look)
            parts["answer"] = gr.HTML(elem_id="va-answer", **look)
            with gr.Row():
                parts["try"] = gr.Button("Is this map worth anything?", size="sm", elem_id="va-try", min_width=200)
                parts["add"] = gr.Button("Add this view to compare", size="sm", elem_id="va-add", min_width=200)
            parts["check"] = gr.HTML(elem_id="va-check", **look)
        with gr.Column(scale=2, min_width=320):
            with gr.Accordion("Picture", open=True):
                parts["photo"] = photo_input(sources=["upload", "clipboard", "webcam"], show_label=False, height=160)
                samples = gr.HTML(
                    html.samples(service.samples), elem_id="va-samples", **look | {"js_on_load": script + once}
                )
            parts |= _reading(service)
    with gr.Row():
        with gr.Column(scale=3, min_width=320):
            parts["beside"] = gr.Radio(list(BESIDES), value=BESIDES[0], label="Below the picture")
            with gr.Group(visible=False) as parts["comparing"]:
                parts |= _comparing()
            parts["panel"] = gr.HTML(elem_id="va-panel", **look)
        with gr.Column(scale=2, min_width=320):
            with gr.Accordion("Drawing", open=True):
                parts |= _drawing()
            with gr.Accordion("Keep", open=True), gr.Row():
                keep = {what: gr.Button(label, size="sm") for what, label in DOWNLOADS.items()}
    return Layout(
        visitor=gr.State(Visitor()),
        parts=parts,
        samples=samples,
        keep=keep,
        chosen=gr.JSON(visible=False),
        checked=gr.JSON(visible=False),
        updates=gr.JSON(visible=False),
        file=gr.File(visible=False),
    )


def _reading(service: DemoService) -> dict[str, Component]:
    """What is read from the model."""
    labels = [(name if name in service.models else f"{name} (not available)", name) for name in service.names]
    return {
        "model": gr.Dropdown(labels, value=service.names[0], label="Model"),
        "source": gr.Dropdown(
            [(made.title, name) for name, made in CATALOGUE.items()], label="Source", info="attention"
        ),
        "use": gr.Button("What did the classifier use?", size="sm", elem_id="va-use"),
        "target": gr.Dropdown(
            [("predicted", PREDICTED)],
            value=PREDICTED,
            label="Class",
            info="the predicted one",
            allow_custom_value=True,
            elem_id="va-target",
        ),
        "layer": gr.Slider(0, 11, value=11, step=1, label="Layer", elem_id="va-layer"),
        "head": gr.Radio(["all"], value="all", label="Head", info="all of them as one map, or one alone"),
        "aggregation": gr.Radio([(TITLES[name], name) for name in AGGREGATIONS], value="mean", label="Aggregation"),
        "sinks": gr.Radio([(name.replace("_", " "), name) for name in SINKS], value="show", label="Sinks"),
        "query": gr.Dropdown(
            [("default", "default")],
            value="default",
            label="Query",
            info="Or click a patch of the picture, or write one as row,col.",
            allow_custom_value=True,
        ),
        "clear": gr.Button("Back to the default", size="sm", elem_id="va-clear"),
    }


def _comparing() -> dict[str, Component]:
    """What is compared, and which two views are subtracted."""
    parts: dict[str, Component] = {"row": gr.Radio(list(ROWS), value=ROWS[0], label="Compare")}
    with gr.Row():
        for name, label in (("first", "Difference: view"), ("second", "minus view")):
            parts[name] = gr.Dropdown([NO_PANEL], value=NO_PANEL, label=label, min_width=100)
    parts["empty"] = gr.Button("Remove all of your own views", size="sm", elem_id="va-empty")
    return parts


def _drawing() -> dict[str, Component]:
    """How it is drawn."""
    grounds = list(zip(("model's view", "whole photo"), GROUNDS, strict=True))
    return {
        "arrangement": gr.Radio(list(ARRANGEMENTS), value="overlay", label="Show"),
        "on": gr.Radio(grounds, value="view", label="On"),
        "scale": gr.Radio([("own", "map"), *SCALES[1:]], value="map", label="Scale"),
        "smoothing": gr.CheckboxGroup(list(STEPS), value=list(STEPS), label="Smoothing"),
        "opacity": gr.Slider(0, 1, value=0.5, step=0.01, label="Opacity", elem_id="va-opacity"),
        "cmap": gr.Dropdown(list(CMAPS), value=DEFAULT_CMAP, label="Colour map"),
    }


def introduction(service: DemoService) -> str:
    """What every visitor is told first, as Markdown."""
    minutes = service.uploads.keep_seconds / 60
    lines = [
        "# What a Vision Transformer attends to",
        "A bright patch was looked at, in one layer, by one token. That does not make it the reason for the answer.",
        f"Your picture is shown to nobody else and is removed {minutes:.0f} minutes after you last used it.",
    ]
    if service.note:
        lines.append(f"**Note:** {service.note}")
    lines += [f"**{name} is not available:** {reason}" for name, reason in service.unavailable.items()]
    return "\n\n".join(lines)


def photo_input(**options: Any) -> gr.Image:
    """An image input that hands over the file as it came: it is decoded by the kit's own reader alone.

    Set on the instance: a subclass of a component makes Gradio write a stub file beside this module.

    Args:
        options: of `gradio.Image`.
    """
    photo = gr.Image(type="filepath", **options)
    fetch, described = photo.async_move_resource_to_block_cache, photo.api_info()

    async def keep(url_or_file_path: Any) -> str | None:
        if str(url_or_file_path).lower().startswith(("http:", "https:")):
            raise gr.Error("pictures are taken from uploads alone, not from addresses", print_exception=False)
        return await fetch(url_or_file_path)

    photo.async_move_resource_to_block_cache = keep
    photo.api_info = lambda: described
    photo.data_model = None  # what comes is checked by `uploaded_file`, with a message for whoever sent it
    return photo


def uploaded_file(payload: Any) -> tuple[Path, str]:
    """The file of an upload, and what its visitor calls it.

    Raises:
        PictureError: not an upload.
    """
    if payload is None:
        raise PictureError("the picture did not arrive; it may be larger than this page takes")
    path = payload.get("path") if isinstance(payload, Mapping) else None
    if not isinstance(path, str) or "\0" in path or not is_in_or_equal(path, get_upload_folder()):
        raise PictureError("a picture must be an uploaded file")
    file = Path(path)
    if not file.is_file():
        raise PictureError("the uploaded file is not there; upload it again")
    name = payload.get("orig_name")
    return file, name if isinstance(name, str) and name else file.name
