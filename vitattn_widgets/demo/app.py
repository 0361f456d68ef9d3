"""The page for a class: a `gradio.Blocks` around a `DemoService`, in which the viewer draws."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import gradio as gr

from ..errors import SettingsError
from ..models.loading import AttentionModel
from ..viewer.store import DEFAULT_BUDGET
from .access import login_routes
from .api import MAX_QUEUE, UPLOAD_PATH, offer_map, program_uploads, upload_routes
from .assistants import offer_tools, require_mcp
from .calls import EXCEPTION_HANDLERS, call_routes
from .classroom import Attendance
from .frames import in_notebook, origins_of_place, require_origins
from .guard import FORM_BYTES, MAX_JSON, guarding
from .routes import AT_ONCE, PREFIX, Assets, classroom_routes, viewer_routes
from .service import DemoService
from .uploads import KEEP_SECONDS, SWEEP_SECONDS, Uploads

MAX_UPLOAD = 20 << 20
"""Largest file in bytes that a visitor can upload, unless the operator sets another limit."""

MAX_PIXELS = 50_000_000
"""Largest picture in pixels that is decoded for a visitor, unless the operator sets another limit."""

TITLE = "What a Vision Transformer attends to"

NOTE = """A bright patch was attended to by one token in one layer. That does not make it the reason for the answer.
Nobody else sees your photos; each is removed %d minutes after you last used it."""

OPEN = """import(new URL(%r, document.baseURI))
    .then(({ openPage }) => openPage(element))
    .catch((error) => { element.querySelector(".va-page").textContent = `The viewer cannot start: ${error.message}`; });
"""
"""What Gradio runs in the browser: everything else is in the viewer's script."""


class Page(gr.Blocks):
    """A `gradio.Blocks` with launch options that suit a page for strangers.

    Attributes:
        service: everything that the page does for its visitors.
        programs: the photos that programs send.
        assets: the viewer's script and style.
        mcp: whether it serves tools for assistants.
        attendance: who has it open.
        frame_ancestors: origins of other pages that may show it in a frame.
        invitation: the address that the page for the projector shows; empty is the one under which that is opened.
    """

    service: DemoService
    programs: Uploads
    assets: Assets
    mcp: bool
    attendance: Attendance
    frame_ancestors: tuple[str, ...]
    invitation: str = ""

    def launch(self, *arguments: Any, **options: Any) -> Any:
        """`gradio.Blocks.launch` with the viewer's routes, the upload limit and untracked visitors.

        In a notebook, it opens in a frame below the cell. Other options override these.

        Raises:
            SettingsError: tools for assistants behind a login.
        """
        if self.mcp and (options.get("auth") or options.get("auth_dependency")):
            raise SettingsError("tools for assistants cannot be behind a login, which assistants do not have")
        usual: dict[str, Any] = {
            "max_file_size": self.service.uploads.max_bytes,
            "show_error": False,
            "inline": in_notebook(),
            "ssr_mode": False,
            "run_history": False,
            "enable_monitoring": False,
            "footer_links": ["api"],
            "mcp_server": self.mcp,
        }
        return super().launch(*arguments, **({"app_kwargs": self.app_kwargs()} | usual | options))

    def app_kwargs(self) -> dict[str, Any]:
        """What the page needs of the application that serves it: its routes, and the guard around all others.

        Only for an application of your own: ``gr.mount_gradio_app(app, page, "/path", app_kwargs=page.app_kwargs())``.
        """
        routes = [*login_routes(), *upload_routes(self.programs), *viewer_routes(self.service, self.assets)]
        routes += classroom_routes(self.attendance, lambda: self.invitation)
        return {
            "routes": [*call_routes(), *routes],
            "lifespan": guarding(self._max_body, self.frame_ancestors),
            "exception_handlers": EXCEPTION_HANDLERS,
        }

    def validate_inputs(self, block_fn: Any, inputs: list[Any]) -> None:
        """Fill in the values that a plain request left out at the end, where Gradio would raise an error."""
        inputs += [block.value for block in block_fn.inputs[len(inputs) :]]

    def _max_body(self, path: str) -> int:
        """The largest body in bytes of a request to a path."""
        if path.endswith((f"/{PREFIX}/upload", UPLOAD_PATH)):
            return self.service.uploads.max_bytes + FORM_BYTES
        # an assistant's picture is part of its JSON, as base64, and comes back to the queue as Gradio's own request
        return self.service.uploads.max_bytes * 4 // 3 + FORM_BYTES if self.mcp else MAX_JSON

    def close(self, verbose: bool = True) -> None:
        """Stop the page and remove every upload and capture."""
        super().close(verbose)
        self.programs.close()
        self.service.close()


def build_demo(
    models: AttentionModel | str | Iterable[AttentionModel | str] | None = None,
    *,
    samples: Mapping[str, str | os.PathLike[str]] | None = None,
    max_upload: int = MAX_UPLOAD,
    max_pixels: int = MAX_PIXELS,
    budget: int = DEFAULT_BUDGET,
    keep_seconds: float = KEEP_SECONDS,
    notify: Callable[[str], None] = lambda _: None,
    mcp: bool = False,
    frame_ancestors: Iterable[str] = (),
) -> Page:
    """Make the page that ``vitattn demo`` serves: ``build_demo().launch()``.

    Args:
        models: the models that visitors can choose, as `AttentionModel` or names for `load_model`. All are loaded once,
            now; one that fails to load is listed with the reason. None is the default model or, if its weights are
            unavailable, the embedded one, with a note on the page.
        samples: paths of the sample pictures by name; None takes those that ship with the kit.
        max_upload: largest file in bytes that a visitor can upload.
        max_pixels: largest picture in pixels that is decoded.
        budget: bytes of captures to keep for all visitors together, see `CaptureStore`.
        keep_seconds: how long an uploaded photo is kept after it was last used.
        notify: receives a line before each model is loaded.
        mcp: serve tools for assistants over MCP.
        frame_ancestors: origins of other pages that may show this one in a frame, such as ``"https://example.org"``; a
            notebook that launches it may, and Hugging Face around a Space.

    Returns:
        The page; its ``service`` holds the models, uploads and captures.

    Raises:
        SettingsError: `models` is empty, the package that MCP needs is missing, or one of `frame_ancestors` is no
            origin.
    """
    origins = require_origins(frame_ancestors)
    if mcp:
        require_mcp()
    service = DemoService(
        models,
        samples,
        max_upload=max_upload,
        max_pixels=max_pixels,
        budget=budget,
        keep_seconds=keep_seconds,
        notify=notify,
    )
    page = Page(
        title=TITLE, analytics_enabled=False, delete_cache=(SWEEP_SECONDS, max(1, int(keep_seconds))), fill_width=True
    )
    page.service, page.programs, page.assets = service, program_uploads(service), Assets()
    with page:
        gr.HTML(
            html_template=f'<h1 class="va-page-title">{TITLE}</h1><div class="va-page"></div>'
            f'<p class="va-page-note">{NOTE % round(keep_seconds / 60)}</p>',
            js_on_load=OPEN % page.assets.script_address,
            apply_default_css=False,
        )
        offer_map(service)
        if mcp:
            offer_tools(service)
    page.mcp, page.attendance, page.frame_ancestors = mcp, Attendance(), (*origins, *origins_of_place())
    page.queue(default_concurrency_limit=AT_ONCE, max_size=MAX_QUEUE, api_open=False)
    return page
