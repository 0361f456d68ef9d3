"""The endpoint ``/map`` for programs: a file and settings in; picture, raw map and caption out."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Mapping
from inspect import Parameter, Signature
from pathlib import Path
from typing import Any

import gradio as gr
from fastapi import APIRouter, Depends, HTTPException, Request
from gradio.components import Component
from gradio.components.api_component import Api
from gradio.processing_utils import save_bytes_to_cache
from gradio.utils import get_upload_folder, is_in_or_equal
from starlette.datastructures import UploadFile
from starlette.routing import BaseRoute

from ..errors import PictureError, VitattnError
from ..view.encode import map_bytes, picture_bytes
from .access import require_login
from .controls import DEFAULTS
from .routes import WENT_WRONG
from .service import DemoService, safe_name
from .uploads import Uploads

UPLOAD_PATH = "/gradio_api/upload"
"""Where programs send a photo before they name it to an endpoint."""

MAX_QUEUE = 100
"""Calls of programs that may wait; whoever comes then is told so."""

DESCRIPTION = """Draw the attention map of a photo: the picture (PNG), the raw map (NPZ) and a caption.

photo: the picture file. model: one of the page's models, by name. layer: number; negative numbers count from the last.
head: "all" or a number. aggregation: "mean", "max" or "mean_over_std". query: "default" (what the classifier reads), a
name such as "class" or "mean", or a patch as "row,col". arrangement: "overlay", "map" or "side by side". on: "view"
(what the model saw) or "original" (the whole photo, drawn with at most 2048 pixels on its longest side). scale: "map",
"shared" or "robust". smoothing: some of "bilinear",
"median", "gaussian". opacity: 0 (photo alone) to 1 (map alone). cmap: name of a matplotlib colour map. source:
"attention", "norm", "rollout", "gradient", "gradient_late", "relevance", "contribution", "contribution_heads" or
"contribution_sum". target: "predicted" or a class by number,
name or part of its name, for sources that depend on it. sinks: "show", "outline", "leave_out" or "mark". blend: "even"
(the same opacity everywhere) or "glow" (in proportion to the map)."""

_log = logging.getLogger(__name__)


def offer_map(service: DemoService) -> None:
    """Add the endpoint, within a `gradio.Blocks`."""
    kinds: dict[str, dict[str, Any]] = {
        "layer": {"type": "integer"},
        "smoothing": {"type": "array", "items": {"type": "string"}},
        "opacity": {"type": "number"},
    }

    def attention_map(photo: Any = None, model: Any = None, *values: Any) -> tuple[str, str, str]:
        try:
            file, name = uploaded_file(photo)
            given = dict(zip(DEFAULTS, values, strict=False))  # plain requests may end early: the rest are defaults
            capture, rendered = service.map(file, name, model, given)
        except VitattnError as error:
            raise gr.Error(str(error), print_exception=False) from error
        except Exception as error:
            _log.exception("a program's request failed")
            raise gr.Error(WENT_WRONG, print_exception=False) from error
        # Gradio serves from this folder, and cleans it up; names are unguessable
        folder = get_upload_folder()
        picture = save_bytes_to_cache(picture_bytes(rendered.image), "map.png", folder)
        raw = save_bytes_to_cache(map_bytes(capture, rendered), "map.npz", folder)
        return picture, raw, rendered.caption

    attention_map._mcp_type = "none"  # type: ignore[attr-defined]  # assistants have tools of their own
    # the names of the parameters, which Gradio reads from here
    attention_map.__signature__ = Signature(  # type: ignore[attr-defined]  # of any function, see `inspect`
        [Parameter(name, Parameter.POSITIONAL_OR_KEYWORD) for name in ("photo", "model", *DEFAULTS)]
    )
    with gr.Row(visible=False):
        button = gr.Button("map")
        inputs: list[Component] = [
            _photo_input(),
            Api([*service.models, *service.unavailable][0], {"type": "string"}, "model"),
        ]
        inputs += [Api(value, kinds.get(name, {"type": "string"}), name) for name, value in DEFAULTS.items()]
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
        api_description=DESCRIPTION,
        preprocess=False,
        concurrency_limit=1,  # one at a time, in a queue of its own: a large photo takes seconds and 500 MB
        show_progress="hidden",
    )


def program_uploads(service: DemoService) -> Uploads:
    """A place for the photos that programs send, where Gradio looks for them; they count for the same quota."""
    visitors = service.uploads
    return Uploads(
        visitors.max_bytes,
        visitors.max_pixels,
        visitors.keep_seconds,
        quota=visitors.quota,
        parent=Path(get_upload_folder()),
    )


def upload_routes(uploads: Uploads) -> list[BaseRoute]:
    """The route of programs' uploads in the place of Gradio's own, which keeps what does not arrive whole."""
    router = APIRouter(dependencies=[Depends(require_login)])

    @router.post(UPLOAD_PATH)
    async def upload(request: Request) -> list[str]:
        paths = []
        async with request.form(max_files=1) as form:  # what arrives is kept in files without a name
            for file in form.getlist("files"):
                if isinstance(file, UploadFile):
                    address = request.client.host if request.client else ""
                    try:
                        key = await uploads.receive(_chunks(file), safe_name(file.filename), address)
                    except PictureError as error:
                        raise HTTPException(413, str(error)) from error
                    paths.append(str(uploads.path(key)))
        return paths

    return router.routes


async def _chunks(file: UploadFile) -> AsyncIterator[bytes]:
    while chunk := await file.read(1 << 16):
        yield chunk


def _photo_input() -> gr.Image:
    """An image input that passes the file on as uploaded, so that only the kit's own reader decodes it.

    Methods are set on the instance, since Gradio writes a stub file beside every module that subclasses a component.
    """
    photo = gr.Image(type="filepath", label="photo")
    fetch, described = photo.async_move_resource_to_block_cache, photo.api_info()

    async def keep(url_or_file_path: Any) -> str | None:
        if str(url_or_file_path).lower().startswith(("http:", "https:")):
            raise gr.Error("a picture must be uploaded; addresses are not accepted", print_exception=False)
        return await fetch(url_or_file_path)

    photo.async_move_resource_to_block_cache = keep  # type: ignore[method-assign]  # on the instance, see above
    photo.api_info = lambda: described  # type: ignore[method-assign]  # likewise
    example = {"path": "photo.jpg", "meta": {"_type": "gradio.FileData"}, "orig_name": "photo.jpg"}
    photo.example_inputs = lambda: example  # type: ignore[method-assign]  # likewise
    # None, so that `uploaded_file` checks what comes, with a message for the sender
    photo.data_model = None  # type: ignore[assignment]  # Gradio itself tests it for None
    return photo


def uploaded_file(payload: Any) -> tuple[Path, str]:
    """The file of an upload, and its name on the sender's computer.

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
