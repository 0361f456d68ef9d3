"""Photos as Gradio hands them over: the file as it came, from the folder of uploads and nowhere else."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.utils import get_upload_folder, is_in_or_equal

from .errors import PictureError


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
