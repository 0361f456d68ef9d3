"""The page's components and where they lie; `demo_events` wires them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import gradio as gr
from gradio.components import Component

from . import demo_html
from .aggregate import AGGREGATIONS, TITLES
from .demo_controls import BESIDES, NO_PANEL, PREDICTED, ROWS, STEPS
from .demo_desk import Desk
from .demo_photo import photo_input
from .demo_visit import Visit
from .drawing import CMAPS, DEFAULT_CMAP, SCALES
from .panels import ARRANGEMENTS
from .settings import GROUNDS, SINKS
from .sources import CATALOGUE

DOWNLOADS = {"png": "PNG", "npz": "NPZ", "json": "Recipe"}
"""What can be kept, and the labels of the buttons."""


def static_text(name: str) -> str:
    """A script or style sheet of the page."""
    return (Path(__file__).parent / "static" / name).read_text(encoding="utf-8")


@dataclass(frozen=True, eq=False)
class Layout:
    """The components of one page.

    Attributes:
        visit: what the server remembers of the visitor.
        parts: the components that an answer may change, by the names of `PARTS`.
        samples: the samples to choose from.
        keep: the buttons of `DOWNLOADS`.
        chosen: what was clicked on the picture, the panel or the samples, or what was pasted.
        checked: what a check of a map gave, and of which map.
        updates: what the server answers, see `page_updates`; carried out in the browser.
        file: what was asked to be kept.
    """

    visit: gr.State
    parts: dict[str, Component]
    samples: gr.HTML
    keep: dict[str, gr.Button]
    chosen: gr.JSON
    checked: gr.JSON
    updates: gr.JSON
    file: gr.File


def lay_out(desk: Desk) -> Layout:
    """Make the page's components, within a `gradio.Blocks`."""
    script, once, style = map(static_text, ("demo.js", "demo_once.js", "demo.css"))
    look = {"js_on_load": script, "css_template": style}
    parts: dict[str, Component] = {}
    gr.Markdown(introduction(desk))
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
                    demo_html.samples(desk.samples), elem_id="va-samples", **look | {"js_on_load": script + once}
                )
            parts |= _reading(desk)
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
        visit=gr.State(Visit()),
        parts=parts,
        samples=samples,
        keep=keep,
        chosen=gr.JSON(visible=False),
        checked=gr.JSON(visible=False),
        updates=gr.JSON(visible=False),
        file=gr.File(visible=False),
    )


def _reading(desk: Desk) -> dict[str, Component]:
    """What is read from the model."""
    labels = [(name if name in desk.models else f"{name} (not available)", name) for name in desk.names]
    return {
        "model": gr.Dropdown(labels, value=desk.names[0], label="Model"),
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


def introduction(desk: Desk) -> str:
    """What every visitor is told first, as Markdown."""
    minutes = desk.uploads.keep_seconds / 60
    lines = [
        "# What a Vision Transformer attends to",
        "A bright patch was looked at, in one layer, by one token. That does not make it the reason for the answer.",
        f"Your picture is shown to nobody else and is removed {minutes:.0f} minutes after you last used it.",
    ]
    if desk.note:
        lines.append(f"**Note:** {desk.note}")
    lines += [f"**{name} is not available:** {reason}" for name, reason in desk.unavailable.items()]
    return "\n\n".join(lines)
