"""The page for a class: Gradio components wired to a `Desk`. It computes nothing."""

from __future__ import annotations

import logging
import os
from base64 import b64encode
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import wraps
from pathlib import Path
from threading import BoundedSemaphore
from typing import Any

import gradio as gr
from gradio.components.api_component import Api
from gradio.processing_utils import save_bytes_to_cache
from gradio.utils import get_upload_folder, is_in_or_equal

from . import demo_html
from .aggregate import AGGREGATIONS, TITLES, possible_aggregations
from .demo_desk import BESIDES, CONTROLS, STEPS, Controls, Desk, Shown, Visit, query_text
from .drawing import CMAPS, DEFAULT_CMAP, SCALES
from .errors import PictureError, VitattnError
from .files import map_bytes, picture_bytes
from .models import AttentionModel
from .panels import ARRANGEMENTS
from .render import query_words
from .settings import DEFAULT_MODEL, GROUNDS
from .store import DEFAULT_BUDGET
from .uploads import KEEP_SECONDS, SWEEP_SECONDS

STATIC = Path(__file__).parent / "static"

MAX_UPLOAD = 20 << 20
"""Largest file in bytes that a visitor can bring, unless the operator says otherwise."""

MAX_PIXELS = 50_000_000
"""Largest picture that is decoded for a visitor, unless the operator says otherwise."""

SESSIONS = 500
"""Visitors whose state is kept; the longest unseen are forgotten beyond that."""

AT_ONCE = max(2, os.cpu_count() or 1)
"""Requests that are answered at the same time; the others wait, and each is answered in its turn."""

_slots = BoundedSemaphore(AT_ONCE)

WENT_WRONG = "Something went wrong on the server; its log has the details."

SAVE = """(file) => {
    if (!file) return;
    const link = document.createElement("a");
    link.href = `data:${file.mime};base64,${file.content}`;
    link.download = file.name;
    link.click();
}"""

MAP_DESCRIPTION = """Draw the attention map of a photo: the picture (PNG), the raw map (NPZ) and a caption.

photo: the picture file. model: a name of the page's list. layer: number; negative ones count from the end. head: "all"
or a number. aggregation: "mean", "max" or "mean_over_std". query: "default" (what the classifier reads), a name such as
"class" or "mean", or a patch as "row,col". arrangement: "overlay", "map" or "side by side". on: "view" (what the model
saw) or "original" (the whole photo). scale: "map", "shared" or "robust". smoothing: some of "bilinear", "median",
"gaussian". opacity: 0 (picture alone) to 1 (map alone). cmap: name of a matplotlib colour map."""


DOWNLOADS = {"png": "PNG", "npz": "NPZ", "json": "Recipe"}

_log = logging.getLogger(__name__)


class Page(gr.Blocks):
    """A `gradio.Blocks` that is launched with what a page for strangers needs, unless told otherwise.

    Attributes:
        desk: what the page does for its visitors.
    """

    desk: Desk

    def launch(self, *arguments: Any, **options: Any) -> Any:
        """`gradio.Blocks.launch`, with the upload limit enforced and nothing of the visitors recorded."""
        usual = {
            "max_file_size": self.desk.uploads.max_bytes,
            "state_session_capacity": SESSIONS,
            "show_error": False,
            "ssr_mode": False,
            "run_history": False,
            "footer_links": ["api"],
        }
        return super().launch(*arguments, **(usual | options))

    def close(self, verbose: bool = True) -> None:
        """Stop the page and remove every upload and capture."""
        super().close(verbose)
        self.desk.close()


def _photo_input(**options: Any) -> gr.Image:
    """An image input that hands over the file as it came: it is decoded by the kit's own reader alone.

    Set on the instance: a subclass of a component makes Gradio write a stub file beside this module.
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
    path = payload.get("path") if isinstance(payload, Mapping) else None
    if not isinstance(path, str) or "\0" in path or not is_in_or_equal(path, get_upload_folder()):
        raise PictureError("a picture must be an uploaded file")
    file = Path(path)
    if not file.is_file():
        raise PictureError("the uploaded file is not there; upload it again")
    name = payload.get("orig_name")
    return file, name if isinstance(name, str) and name else file.name


def build_demo(
    models: AttentionModel | str | Iterable[AttentionModel | str] = DEFAULT_MODEL,
    *,
    samples: Mapping[str, str | os.PathLike] | None = None,
    max_upload: int = MAX_UPLOAD,
    max_pixels: int = MAX_PIXELS,
    budget: int = DEFAULT_BUDGET,
    keep_seconds: float = KEEP_SECONDS,
) -> gr.Blocks:
    """Make the page that ``vitattn demo`` serves: ``build_demo().launch()``.

    Args:
        models: what visitors choose from, as `AttentionModel` or names for `load_model`. All are loaded now, once; one
            that cannot be is listed with the reason. Visitors can use no other.
        samples: pictures to choose from, paths by name; None is those that ship with the kit.
        max_upload: largest file in bytes that a visitor can bring.
        max_pixels: largest picture that is decoded.
        budget: bytes of captures to keep for all visitors together, see `CaptureStore`.
        keep_seconds: how long an uploaded photo is kept after it was last used.

    Returns:
        The page; its ``desk`` holds models, uploads and captures.

    Raises:
        SettingsError: no model.
    """
    desk = Desk(models, samples, max_upload=max_upload, max_pixels=max_pixels, budget=budget, keep_seconds=keep_seconds)
    keep = max(1, int(keep_seconds))
    page = Page(
        title="What a Vision Transformer attends to", analytics_enabled=False, delete_cache=(SWEEP_SECONDS, keep)
    )
    page.desk = desk
    with page:
        _lay_out(page, desk)
    page.queue(default_concurrency_limit=AT_ONCE, api_open=False)
    return page


def _lay_out(page: Page, desk: Desk) -> None:
    script, style = ((STATIC / name).read_text(encoding="utf-8") for name in ("demo.js", "demo.css"))
    look = {"js_on_load": script, "css_template": style}
    visit = gr.State(Visit())
    parts: dict[str, Any] = {}
    gr.Markdown(_introduction(desk))
    with gr.Row():
        with gr.Column(scale=3, min_width=320):
            picture = gr.HTML(elem_id="va-picture", **look)
            answer = gr.HTML(elem_id="va-answer", **look)
        with gr.Column(scale=2, min_width=320):
            with gr.Accordion("Picture", open=True):
                photo = _photo_input(sources=["upload", "clipboard", "webcam"], show_label=False, height=190)
                samples = gr.HTML(demo_html.samples(desk.samples), elem_id="va-samples", **look)
            parts["model"] = gr.Dropdown(
                [(_model_label(desk, name), name) for name in desk.names], value=desk.names[0], label="Model"
            )
            parts["layer"] = gr.Slider(0, 11, value=11, step=1, label="Layer", elem_id="va-layer")
            parts["head"] = gr.Radio(["all"], value="all", label="Head")
            parts["aggregation"] = gr.Radio(
                [(TITLES[name], name) for name in AGGREGATIONS],
                value="mean",
                label="Aggregation",
            )
            parts["query"] = gr.Dropdown(
                [("default", "default")],
                value="default",
                label="Query",
                info="Or click a patch of the picture, or write one as row,col.",
                allow_custom_value=True,
            )
            clear = gr.Button("Back to the default", size="sm", elem_id="va-clear")
    with gr.Row():
        with gr.Column(scale=3, min_width=320):
            parts["beside"] = gr.Radio(list(BESIDES), value=BESIDES[0], label="Below the picture")
            panel = gr.HTML(elem_id="va-panel", **look)
        with gr.Column(scale=2, min_width=320):
            with gr.Accordion("Drawing", open=True):
                parts["arrangement"] = gr.Radio(list(ARRANGEMENTS), value="overlay", label="Show")
                parts["on"] = gr.Radio(
                    list(zip(("model's view", "whole photo"), GROUNDS, strict=True)), value="view", label="On"
                )
                parts["scale"] = gr.Radio([("own", "map"), *SCALES[1:]], value="map", label="Scale")
                parts["smoothing"] = gr.CheckboxGroup(list(STEPS), value=list(STEPS), label="Smoothing")
                parts["opacity"] = gr.Slider(0, 1, value=0.5, step=0.01, label="Opacity", elem_id="va-opacity")
                parts["cmap"] = gr.Dropdown(list(CMAPS), value=DEFAULT_CMAP, label="Colour map")
            with gr.Accordion("Keep", open=True), gr.Row():
                keep = {what: gr.Button(label, size="sm") for what, label in DOWNLOADS.items()}
    file = gr.JSON(visible="hidden")

    controls = [parts[name] for name in CONTROLS]
    outputs = [visit, *controls, clear, picture, answer, panel]
    # raw values come in: the desk reads and refuses them, with one set of rules for the page and for programs
    common = {
        "preprocess": False,
        "api_visibility": "undocumented",
        "concurrency_id": "draw",
        "show_progress": "hidden",
    }
    # answered at once, not through Gradio's queue, which costs more than drawing the picture does
    live = common | {"queue": False} | {"inputs": [visit, *controls], "outputs": outputs}

    nothing = [gr.skip()] * len(outputs)

    @_guarded
    def opened(request: gr.Request) -> list[Any]:
        shown, told = desk.open(dict(request.query_params))
        if told:
            gr.Warning(told)
        return _updates(desk, shown, None) if shown else nothing

    @_guarded
    def change(visit: Visit, *values: Any) -> list[Any]:
        sent = Controls(*values)
        return _updates(desk, desk.change(visit, sent), sent)

    @_guarded
    def choose(event: gr.EventData, visit: Visit, *values: Any) -> list[Any]:
        sent = Controls(*values)
        return _updates(desk, desk.choose(visit, event._data, sent), sent)

    @_guarded
    def bring(visit: Visit, photo: Any, *values: Any) -> list[Any]:
        if photo is None:  # taken away: what is shown stays
            return nothing
        sent = Controls(*values)
        return _updates(desk, desk.bring(visit, *uploaded_file(photo), sent), sent)

    @_guarded
    def leave_patch(visit: Visit, *values: Any) -> list[Any]:
        sent = Controls(*values)
        return _updates(desk, desk.choose(visit, {"query": None}, sent), sent)

    page.load(opened, outputs=outputs, **common)
    gr.on([part.input for part in controls], change, trigger_mode="always_last", api_name="change", **live)
    gr.on([part.select for part in (picture, panel, samples)], choose, trigger_mode="always_last", **live)
    clear.click(leave_patch, **live)
    bringing = live | {"queue": True, "inputs": [visit, photo, *controls]}
    photo.input(bring, api_name="bring", **bringing)
    for what, button in keep.items():

        @_guarded
        def save(visit: Visit, *values: Any, what: str = what) -> dict[str, str]:
            name, mime, content = desk.download(visit, Controls(*values), what)
            return {"name": name, "mime": mime, "content": b64encode(content).decode()}

        saved = button.click(save, inputs=[visit, *controls], outputs=file, **common)
        saved.then(None, inputs=file, js=SAVE)
    _offer_map(desk)


def _guarded(function: Callable) -> Callable:
    """Say to a visitor what a visitor can mend, and nothing of the rest but that it is in the log."""

    @wraps(function)
    def run(*arguments: Any, **named: Any) -> Any:
        try:
            with _slots:
                return function(*arguments, **named)
        except VitattnError as error:
            raise gr.Error(str(error), print_exception=False) from error
        except gr.Error:
            raise
        except Exception as error:
            _log.exception("a visitor's request failed")
            raise gr.Error(WENT_WRONG, print_exception=False) from error

    return run


def _updates(desk: Desk, shown: Shown, sent: Controls | None) -> list[Any]:
    """What Gradio is to set, in the order of the page's outputs.

    A control that stands where it should is left alone: setting it would take it out of the hand that still moves it.
    """
    capture, controls = shown.capture, shown.controls
    settings = shown.rendered.settings
    heads = capture.num_heads(controls.layer)
    default = query_words(capture.query_or_default(controls.layer))
    queries = [(f"{default} (default)", "default")]
    queries += [(query_words(name), name) for name in capture.queries(controls.layer)]
    if isinstance(settings.query, tuple):
        queries.append((query_words(settings.query), query_text(settings.query)))
    possible = possible_aggregations(heads)
    alone = settings.head is not None
    options = {
        "layer": {"maximum": capture.num_layers - 1},
        "head": {"choices": ["all", *map(str, range(heads))]},
        "aggregation": {
            "choices": [(TITLES[name], name) for name in possible],
            "interactive": not alone,
            "info": f"head {settings.head} alone is shown" if alone else "how the heads become one map",
        },
        "query": {"choices": queries},
        "opacity": {"interactive": controls.arrangement == "overlay"},
        "clear": {"value": f"Back to the {default}", "interactive": settings.query is not None},
    }
    before = dict(shown.visit.menus)
    changed = {name: entry for name, entry in options.items() if before.get(name) != repr(entry)}
    for name in CONTROLS:
        value = getattr(controls, name)
        value = list(value) if isinstance(value, tuple) else value
        if sent is None or _differs(getattr(sent, name), value):
            changed[name] = changed.get(name, {}) | {"value": value}
    visit = replace(shown.visit, menus=tuple((name, repr(entry)) for name, entry in options.items()))
    updates = [gr.update(**changed[name]) if name in changed else gr.skip() for name in (*CONTROLS, "clear")]
    answer = demo_html.answer(shown) if sent is None or shown.recaptured else gr.skip()
    panel = demo_html.panel(desk, shown) if shown.panel else gr.skip()
    return [visit, *updates, demo_html.picture(shown), answer, panel]


def _differs(sent: Any, value: Any) -> bool:
    if isinstance(value, list):
        return set(sent) != set(value)
    return str(sent) != str(value) and sent != value


def _model_label(desk: Desk, name: str) -> str:
    return name if name in desk.models else f"{name} (not available)"


def _introduction(desk: Desk) -> str:
    minutes = desk.uploads.keep_seconds / 60
    lines = [
        "# What a Vision Transformer attends to",
        "A bright patch was looked at, in one layer, by one token. That does not make it the reason for the answer.",
        f"Your picture is shown to nobody else and is removed {minutes:.0f} minutes after you last used it.",
    ]
    lines += [f"**{name} is not available:** {reason}" for name, reason in desk.unavailable.items()]
    return "\n\n".join(lines)


def _offer_map(desk: Desk) -> None:
    """The endpoint ``/map`` for programs: a file and settings in, picture, raw map and caption out."""
    kinds: dict[str, dict[str, Any]] = {
        "layer": {"type": "integer"},
        "smoothing": {"type": "array", "items": {"type": "string"}},
        "opacity": {"type": "number"},
    }
    start = Controls(next(iter(desk.names)))
    names = [name for name in CONTROLS if name != "beside"]

    @_guarded
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
    ) -> tuple[str, str, str]:
        controls = Controls(model, layer, head, aggregation, query, arrangement, on, scale, smoothing, opacity, cmap)
        file, name = uploaded_file(photo)
        capture, rendered = desk.map(file, name, controls)
        # in the folder that Gradio serves from and cleans up, under names that nobody can guess
        place = get_upload_folder()
        picture = save_bytes_to_cache(picture_bytes(rendered.image), "map.png", place)
        raw = save_bytes_to_cache(map_bytes(capture, rendered), "map.npz", place)
        return picture, raw, rendered.caption

    with gr.Row(visible=False):
        button = gr.Button("map")
        inputs = [_photo_input(label="photo")]
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
