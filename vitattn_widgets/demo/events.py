"""Event handlers of the page: each reads the controls, calls the `DemoService` and answers; none computes."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import wraps
from threading import BoundedSemaphore
from typing import Any, ParamSpec, TypeVar

import gradio as gr
from gradio.components import Component
from gradio.components.api_component import Api
from gradio.processing_utils import save_bytes_to_cache
from gradio.utils import get_upload_folder

from ..errors import VitattnError
from ..view.encode import map_bytes, picture_bytes
from ..viewer.assets import joined
from .clicks import follow_click
from .controls import BELOW, CONTROLS, Controls
from .html import checked
from .layout import STATIC, Layout, photo_input, uploaded_file
from .service import DemoService
from .updates import PARTS, Updates, controls_back, no_updates, page_updates
from .visitor import Shown, Visitor

AT_ONCE = max(2, os.cpu_count() or 1)
"""Requests that are answered at the same time; the others wait their turn."""

_slots = BoundedSemaphore(AT_ONCE)

WENT_WRONG = "Something went wrong on the server; its log has the details."

CHOSEN = "(visit, chosen, ...values) => [visit, window.vitattnChosen, ...values]"
"""Reads the last click from the browser: Gradio's own input would repeat the click that it is still busy with."""

BUTTONS: dict[str, dict[str, Any]] = {
    "clear": {"query": None},
    "use": {"use": "recommended"},
    "add": {"add": True},
    "empty": {"remove": "all"},
}
"""The click that each button stands for, as `follow_click` reads it."""

CHECKING = "() => '<p class=va-busy>Checking this map: removing and restoring its patches ...</p>'"

CHECKED = """(checked) => checked.map === document.querySelector(".va-shown")?.dataset.map ? checked.html : ''"""
"""Shows a check only beside its own map: the controls may have moved since it was started."""

SAVE = """(file) => {
    if (!file) return;
    const link = document.createElement("a");
    link.href = file.url;
    link.download = file.orig_name;
    link.click();
}"""

MAP_DESCRIPTION = """Draw the attention map of a photo: the picture (PNG), the raw map (NPZ) and a caption.

photo: the picture file. model: one of the page's models, by name. layer: number; negative numbers count from the last.
head: "all" or a number. aggregation: "mean", "max" or "mean_over_std". query: "default" (what the classifier reads), a
name such as "class" or "mean", or a patch as "row,col". arrangement: "overlay", "map" or "side by side". on: "view"
(what the model saw) or "original" (the whole photo). scale: "map", "shared" or "robust". smoothing: some of "bilinear",
"median", "gaussian". opacity: 0 (photo alone) to 1 (map alone). cmap: name of a matplotlib colour map. source:
"attention", "norm", "rollout", "gradient", "gradient_late" or "relevance". target: "predicted" or a class by number,
name or part of its name, for sources that depend on it. sinks: "show", "outline" or "leave_out"."""

_log = logging.getLogger(__name__)

_Answer = tuple[Visitor, Updates]

_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")


def wire(page: gr.Blocks, service: DemoService, layout: Layout) -> None:
    """Connect the page's components to the service, within their `gradio.Blocks`."""
    controls = [layout.parts[name] for name in CONTROLS]
    parts = [layout.parts[name] for name in PARTS]

    def answer(shown: Shown, sent: Controls | None) -> _Answer:
        return shown.visitor, page_updates(service, shown, sent)

    @guarded
    def opened(request: gr.Request) -> _Answer:
        shown, warning = service.open(dict(request.query_params))
        if warning:
            gr.Warning(warning)
        return answer(shown, None) if shown else (Visitor(), {})

    @guarded
    def change(visitor: Visitor, *values: Any) -> _Answer:
        sent = Controls(*values)
        try:
            return answer(service.change(visitor, sent), sent)
        except VitattnError as error:
            if visitor.controls is None:
                raise
            gr.Warning(str(error))  # the picture stays as it was, so the controls must go back to it
            return visitor, no_updates() | controls_back(visitor.controls, sent)

    @guarded
    def choose(visitor: Visitor, chosen: Any, *values: Any) -> _Answer:
        sent = Controls(*values)
        match chosen:
            case {"upload": photo}:
                shown = service.bring(visitor, *uploaded_file(photo), sent)
            case _:
                shown = follow_click(service, visitor, chosen, sent)
        remembered, updates = answer(shown, sent)
        if remembered.photo != visitor.photo:  # the upload box no longer holds the photo that is shown
            updates["photo"]["value"] = None
        return remembered, updates

    @guarded
    def bring(visitor: Visitor, photo: Any, *values: Any) -> _Answer:
        if photo is None:  # the upload box was cleared; the picture stays as it was
            return visitor, {}
        sent = Controls(*values)
        return answer(service.bring(visitor, *uploaded_file(photo), sent), sent)

    def pressing(meaning: dict[str, Any]) -> Callable[..., _Answer]:
        @guarded
        def pressed(visitor: Visitor, *values: Any) -> _Answer:
            sent = Controls(*values)
            return answer(follow_click(service, visitor, meaning, sent), sent)

        return pressed

    @guarded_apart
    def check(visitor: Visitor, *values: Any) -> dict[str, str]:
        mark, check_of_map = service.check(visitor, Controls(*values))
        return {"map": mark, "html": checked(check_of_map)}

    # raw values come in: the service checks them, by the same rules for the page and for programs
    common: dict[str, Any] = {
        "preprocess": False,
        "api_visibility": "undocumented",
        "concurrency_id": "draw",
        "show_progress": "hidden",
    }
    shows = common | {"outputs": [layout.visitor, layout.updates], "postprocess": False}
    # through Gradio's queue: browsers show no errors of events that bypass it (6.31)
    live = shows | {"trigger_mode": "always_last"}
    clicks = [part.select for part in (layout.parts["picture"], layout.parts["panel"], layout.samples)]
    moves = [part.input for part in controls]
    shown = [
        page.load(opened, **shows),
        gr.on(moves, change, inputs=[layout.visitor, *controls], api_name="change", **live),
        gr.on(clicks, choose, inputs=[layout.visitor, layout.chosen, *controls], api_name="choose", js=CHOSEN, **live),
        *(
            layout.parts[name].click(pressing(meaning), inputs=[layout.visitor, *controls], api_name=name, **live)
            for name, meaning in BUTTONS.items()
        ),
        layout.parts["photo"].input(
            bring, inputs=[layout.visitor, layout.parts["photo"], *controls], api_name="bring", **shows
        ),
    ]
    follow = joined(STATIC, ["follow.js"])
    for event in shown:
        event.success(None, inputs=layout.updates, outputs=parts, js=follow)
    verdict = layout.parts["check"]
    layout.parts["try"].click(None, outputs=verdict, js=CHECKING)
    tried = layout.parts["try"].click(
        check,
        inputs=[layout.visitor, *controls],
        outputs=layout.checked,
        api_name="check",
        postprocess=False,
        **common | {"concurrency_id": "check", "concurrency_limit": 1, "show_progress": "full"},
        show_progress_on=verdict,
    )
    tried.success(None, inputs=layout.checked, outputs=verdict, js=CHECKED)
    tried.failure(None, outputs=verdict, js="() => ''")
    for what, button in layout.keep.items():

        @guarded
        def save(visitor: Visitor, *values: Any, what: str = what) -> str:
            name, content = service.download(visitor, Controls(*values), what)
            return save_bytes_to_cache(content, name, get_upload_folder())

        saved = button.click(save, inputs=[layout.visitor, *controls], outputs=layout.file, **common)
        saved.success(None, inputs=layout.file, js=SAVE)


def guarded(
    function: Callable[_Arguments, _Result], slots: AbstractContextManager[Any] = _slots
) -> Callable[_Arguments, _Result]:
    """Show visitors the errors that they can fix; log the rest and show a generic message.

    Args:
        function: a handler.
        slots: semaphore held while the handler runs.
    """

    @wraps(function)
    def run(*arguments: _Arguments.args, **named: _Arguments.kwargs) -> _Result:
        try:
            with slots:
                return function(*arguments, **named)
        except VitattnError as error:
            raise gr.Error(str(error), print_exception=False) from error
        except gr.Error:
            raise
        except Exception as error:
            _log.exception("a visitor's request failed")
            raise gr.Error(WENT_WRONG, print_exception=False) from error

    return run


def guarded_apart(function: Callable[_Arguments, _Result]) -> Callable[_Arguments, _Result]:
    """`guarded` without a slot, for handlers that take seconds, so that other requests are answered meanwhile."""
    return guarded(function, nullcontext())


def offer_map(service: DemoService) -> None:
    """Add the endpoint ``/map`` for programs: a file and settings in; picture, raw map and caption out."""
    kinds: dict[str, dict[str, Any]] = {
        "layer": {"type": "integer"},
        "smoothing": {"type": "array", "items": {"type": "string"}},
        "opacity": {"type": "number"},
    }
    start = Controls(next(iter(service.names)))
    names = [name for name in CONTROLS if name not in BELOW]

    @guarded
    def attention_map(
        photo: Any,
        model: Any,
        layer: Any,
        head: Any,
        aggregation: Any,
        query: Any,
        arrangement: Any,
        on: Any,
        scale: Any,
        smoothing: Any,
        opacity: Any,
        cmap: Any,
        source: Any,
        target: Any,
        sinks: Any,
    ) -> tuple[str, str, str]:
        drawing = (arrangement, on, scale, smoothing, opacity, cmap)
        controls = Controls(model, layer, head, aggregation, query, *drawing, source, target, sinks)
        file, name = uploaded_file(photo)
        capture, rendered = service.map(file, name, controls)
        # Gradio serves from this folder, and cleans it up; names are unguessable
        folder = get_upload_folder()
        picture = save_bytes_to_cache(picture_bytes(rendered.image), "map.png", folder)
        raw = save_bytes_to_cache(map_bytes(capture, rendered), "map.npz", folder)
        return picture, raw, rendered.caption

    with gr.Row(visible=False):
        button = gr.Button("map")
        inputs: list[Component] = [photo_input(label="photo")]
        for name in names:
            value = getattr(start, name)
            value = list(value) if isinstance(value, tuple) else value
            inputs.append(Api(value, kinds.get(name, {"type": "string"}), name))
        outputs = [
            gr.File(label="picture (PNG)"),
            gr.File(label="raw map (NPZ: grid_map, heat, value_range, crop_box, caption)"),
            gr.Textbox(label="caption"),
        ]
    button.click(
        attention_map,
        inputs=inputs,
        outputs=outputs,
        api_name="map",
        api_description=MAP_DESCRIPTION,
        preprocess=False,
        show_progress="hidden",
    )
