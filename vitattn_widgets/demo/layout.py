"""The page's components and their layout; `events` wires them."""

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
from ..view.settings import GROUNDS, SMOOTHING_STEPS, STEP_TITLES
from ..viewer.assets import joined
from . import html
from .controls import BESIDES, NO_PANEL, PREDICTED, ROWS
from .service import DemoService
from .visitor import Visitor

DOWNLOADS = {"png": "PNG", "npz": "NPZ", "json": "Recipe"}
"""The files that can be downloaded, and the labels of their buttons."""

STATIC = Path(__file__).parent / "static"


@dataclass(frozen=True, eq=False)
class Layout:
    """The components of one page.

    Attributes:
        visitor: state of the visitor on the server.
        parts: the components that an answer may change, by the names of `PARTS`. Untyped: Gradio declares events such
            as `click` on the single classes, not on `Component`.
        samples: the sample pictures.
        keep: the buttons of `DOWNLOADS`.
        chosen: the last click on the picture, the panel or the samples, or the picture that was pasted.
        checked: the result of a check, and which map it was of.
        updates: the server's answer, see `page_updates`; applied in the browser.
        file: the file to download.
    """

    visitor: gr.State
    parts: dict[str, Any]
    samples: gr.HTML
    keep: dict[str, gr.Button]
    chosen: gr.JSON
    checked: gr.JSON
    updates: gr.JSON
    file: gr.File


def lay_out(service: DemoService) -> Layout:
    """Make the page's components, within a `gradio.Blocks`."""
    script, once, style = (joined(STATIC, [name]) for name in ("demo.js", "once.js", "demo.css"))
    look: dict[str, Any] = {"js_on_load": script, "css_template": style}
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
    """The controls of which map is shown."""
    labels = [(name if name in service.models else f"{name} (not available)", name) for name in service.names]
    return {
        "model": gr.Dropdown(labels, value=service.names[0], label="Model"),
        "source": gr.Dropdown(
            [(source.title, name) for name, source in CATALOGUE.items()], label="Source", info="attention"
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
        "head": gr.Radio(["all"], value="all", label="Head", info="all heads as one map, or a single head"),
        "aggregation": gr.Radio([(TITLES[name], name) for name in AGGREGATIONS], value="mean", label="Aggregation"),
        "sinks": gr.Radio([(name.replace("_", " "), name) for name in SINKS], value="show", label="Sinks"),
        "query": gr.Dropdown(
            [("default", "default")],
            value="default",
            label="Query",
            info="Or click a patch in the picture, or type it as row,col.",
            allow_custom_value=True,
        ),
        "clear": gr.Button("Back to the default", size="sm", elem_id="va-clear"),
    }


def _comparing() -> dict[str, Component]:
    """The controls of the comparison and its difference."""
    parts: dict[str, Component] = {"row": gr.Radio(list(ROWS), value=ROWS[0], label="Compare")}
    with gr.Row():
        for name, label in (("first", "Difference: view"), ("second", "minus view")):
            parts[name] = gr.Dropdown([NO_PANEL], value=NO_PANEL, label=label, min_width=100)
    parts["empty"] = gr.Button("Remove all of your views", size="sm", elem_id="va-empty")
    return parts


def _drawing() -> dict[str, Component]:
    """The controls of how the map is drawn."""
    grounds = list(zip(("model's view", "whole photo"), GROUNDS, strict=True))
    steps = [(STEP_TITLES[step], step) for step in SMOOTHING_STEPS]
    return {
        "arrangement": gr.Radio(list(ARRANGEMENTS), value="overlay", label="Show"),
        "on": gr.Radio(grounds, value="view", label="On"),
        "scale": gr.Radio([("own", "map"), *SCALES[1:]], value="map", label="Scale"),
        "smoothing": gr.CheckboxGroup(steps, value=list(SMOOTHING_STEPS), label="Smoothing"),
        "opacity": gr.Slider(0, 1, value=0.5, step=0.01, label="Opacity", elem_id="va-opacity"),
        "cmap": gr.Dropdown(list(CMAPS), value=DEFAULT_CMAP, label="Colour map"),
    }


def introduction(service: DemoService) -> str:
    """The introduction at the top of the page, as Markdown."""
    minutes = service.uploads.keep_seconds / 60
    lines = [
        "# What a Vision Transformer attends to",
        "A bright patch was attended to by one token in one layer. That does not make it the reason for the answer.",
        f"Nobody else sees your picture, and it is removed {minutes:.0f} minutes after you last used it.",
    ]
    if service.note:
        lines.append(f"**Note:** {service.note}")
    lines += [f"**{name} is not available:** {reason}" for name, reason in service.unavailable.items()]
    return "\n\n".join(lines)


def photo_input(**options: Any) -> gr.Image:
    """An image input that passes the file on as uploaded, so that only the kit's own reader decodes it.

    Methods are set on the instance, since Gradio writes a stub file beside every module that subclasses a component.

    Args:
        options: of `gradio.Image`.
    """
    photo = gr.Image(type="filepath", **options)
    fetch, described = photo.async_move_resource_to_block_cache, photo.api_info()

    async def keep(url_or_file_path: Any) -> str | None:
        if str(url_or_file_path).lower().startswith(("http:", "https:")):
            raise gr.Error("a picture must be uploaded; addresses are not accepted", print_exception=False)
        return await fetch(url_or_file_path)

    photo.async_move_resource_to_block_cache = keep  # type: ignore[method-assign]  # on the instance, see above
    photo.api_info = lambda: described  # type: ignore[method-assign]  # likewise
    # None, so that `uploaded_file` checks what comes, with a message for the sender
    photo.data_model = None  # type: ignore[assignment]  # Gradio itself tests it for None
    return photo


def uploaded_file(payload: Any) -> tuple[Path, str]:
    """The file of an upload, and its name on the visitor's computer.

    Raises:
        PictureError: not an upload.
    """
    if payload is None:
        raise PictureError("the picture did not arrive; it may be larger than this page accepts")
    path = payload.get("path") if isinstance(payload, Mapping) else None
    if not isinstance(path, str) or "\0" in path or not is_in_or_equal(path, get_upload_folder()):
        raise PictureError("a picture must be an uploaded file")
    file = Path(path)
    if not file.is_file():
        raise PictureError("the uploaded file is no longer there; upload it again")
    name = payload.get("orig_name")
    return file, name if isinstance(name, str) and name else file.name
