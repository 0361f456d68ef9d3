"""The page for a class: a `gradio.Blocks` around a `DemoService`."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any

import gradio as gr

from ..models.loading import AttentionModel
from ..viewer.assets import joined
from ..viewer.store import DEFAULT_BUDGET
from .events import AT_ONCE, offer_map, wire
from .layout import STATIC, lay_out
from .service import DemoService
from .uploads import KEEP_SECONDS, SWEEP_SECONDS

MAX_UPLOAD = 20 << 20
"""Largest file in bytes that a visitor can bring, unless the operator says otherwise."""

MAX_PIXELS = 50_000_000
"""Largest picture that is decoded for a visitor, unless the operator says otherwise."""

SESSIONS = 500
"""Visitors whose state is kept; the longest unseen are forgotten beyond that."""


class Page(gr.Blocks):
    """A `gradio.Blocks` that is launched with what a page for strangers needs, unless told otherwise.

    Attributes:
        service: what the page does for its visitors.
    """

    service: DemoService

    def launch(self, *arguments: Any, **options: Any) -> Any:
        """`gradio.Blocks.launch`, with the upload limit enforced and nothing of the visitors recorded."""
        usual = {
            "max_file_size": self.service.uploads.max_bytes,
            "state_session_capacity": SESSIONS,
            "show_error": False,
            "ssr_mode": False,
            "run_history": False,
            "enable_monitoring": False,
            "footer_links": ["api"],
            "css": joined(STATIC, ["page.css"]),
        }
        return super().launch(*arguments, **(usual | options))

    def close(self, verbose: bool = True) -> None:
        """Stop the page and remove every upload and capture."""
        super().close(verbose)
        self.service.close()


def build_demo(
    models: AttentionModel | str | Iterable[AttentionModel | str] | None = None,
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
            that cannot be is listed with the reason. Visitors can use no other. None is the default model, or the
            embedded one, which the page then says, where its weights cannot be had.
        samples: pictures to choose from, paths by name; None is those that ship with the kit.
        max_upload: largest file in bytes that a visitor can bring.
        max_pixels: largest picture that is decoded.
        budget: bytes of captures to keep for all visitors together, see `CaptureStore`.
        keep_seconds: how long an uploaded photo is kept after it was last used.

    Returns:
        The page; its ``service`` holds models, uploads and captures.

    Raises:
        SettingsError: no model.
    """
    service = DemoService(
        models, samples, max_upload=max_upload, max_pixels=max_pixels, budget=budget, keep_seconds=keep_seconds
    )
    keep = max(1, int(keep_seconds))
    page = Page(
        title="What a Vision Transformer attends to", analytics_enabled=False, delete_cache=(SWEEP_SECONDS, keep)
    )
    page.service = service
    with page:
        wire(page, service, lay_out(service))
        offer_map(service)
    page.queue(default_concurrency_limit=AT_ONCE, api_open=False)
    return page
