"""Helpers of the page's tests: photos, a running page, and a visitor's browser."""

from __future__ import annotations

import io
import json
import os
import socket
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from PIL import Image

import vitattn_widgets as va
from vitattn_widgets.demo.service import DemoService, Photo

from ..conftest import noise_photo

MAX_UPLOAD, MAX_PIXELS = 300_000, 200_000

SAMPLE = Photo("chelsea", "chelsea", sample=True)


def picture_file(folder: Path, seed: int = 0, size: tuple[int, int] = (80, 150), name: str = "photo.png") -> Path:
    """A picture file of seeded noise."""
    path = folder / name
    path.write_bytes(png(noise_photo(size, seed)))
    return path


def png(photo: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(photo).save(stream, "PNG")
    return stream.getvalue()


async def chunks(content: bytes, size: int = 1000) -> AsyncIterator[bytes]:
    """A file as it arrives."""
    for start in range(0, len(content), size):
        yield content[start : start + size]


async def bring(service: DemoService, content: bytes, name: str = "photo.png") -> Photo:
    """Upload a photo as the page's route does."""
    photo = await service.receive(chunks(content), name)
    service.admit(next(iter(service.models.values())), photo)
    return photo


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def running_page(
    models: Any, folder: Path, host: str = "127.0.0.1", max_upload: int = MAX_UPLOAD, max_pixels: int = MAX_PIXELS,
    mcp: bool = False, frame_ancestors: Iterable[str] = (), **options: Any,
) -> Iterator[tuple[str, va.demo.app.Page]]:  # fmt: skip
    """Serve the page on a free port; gives its address and the page."""
    before = os.environ.get("GRADIO_TEMP_DIR")
    os.environ["GRADIO_TEMP_DIR"] = str(folder)
    page = va.build_demo(models, max_upload=max_upload, max_pixels=max_pixels, mcp=mcp, frame_ancestors=frame_ancestors)
    try:
        _, address, _ = page.launch(server_name=host, prevent_thread_lock=True, quiet=True, **options)
        yield address.rstrip("/"), page
    finally:
        page.close(verbose=False)
        if before is None:
            del os.environ["GRADIO_TEMP_DIR"]
        else:
            os.environ["GRADIO_TEMP_DIR"] = before


def facts_of(capsule: bytes) -> dict[str, Any]:
    """The facts of a capsule, read by the format of safetensors alone."""
    length = int.from_bytes(capsule[:8], "little")
    return json.loads(json.loads(capsule[8 : 8 + length])["__metadata__"]["vitattn"])


def check_events(address: str, values: dict[str, Any]) -> list[dict[str, Any]]:
    """What a check tells its visitor, in order."""
    headers = {"Accept": "text/event-stream"}
    with httpx.stream("POST", f"{address}/vitattn/check", json=values, headers=headers, timeout=60) as answer:
        assert answer.headers["Content-Type"].startswith("text/event-stream")
        return [json.loads(line[6:]) for line in answer.iter_lines() if line.startswith("data: ")]


SIZES = {"desktop": (1440, 900), "phone": (390, 844)}

SHOWN = "document.querySelector('.va-viewer')?.dataset.shown"


class Visitor:
    """A window with the page, what it asked of the network, and its errors.

    Attributes:
        page: the browser's page.
        requests: method and address of every request.
        complaints: errors of the page.
    """

    def __init__(self, browser: Any, address: str, size: str = "desktop") -> None:
        width, height = SIZES[size]
        phone = size == "phone"
        viewport = {"width": width, "height": height}
        self.context = browser.new_context(viewport=viewport, has_touch=phone, is_mobile=phone)
        self.page = self.context.new_page()
        self.address = address
        self.requests: list[tuple[str, str]] = []
        self.complaints: list[str] = []
        self.page.on("request", lambda request: self.requests.append((request.method, request.url)))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("console", lambda line: self.complaints.append(line.text) if line.type == "error" else None)

    def look(self, query: str = "") -> None:
        """Open the page and wait for its first picture."""
        self.page.goto(f"{self.address}/{query}")
        self.wait_until()

    def open(self, query: str = "") -> None:
        """Open the page and wait for its first picture and for everything that it fetches ahead."""
        self.look(query)
        self.rest()

    def rest(self) -> None:
        """Wait until nothing has been asked of the network for 0.8 seconds: some things are fetched ahead."""
        before, since = -1, 0.0
        while before != len(self.requests) or time.monotonic() - since < 0.8:
            if before != len(self.requests):
                before, since = len(self.requests), time.monotonic()
            self.page.wait_for_timeout(100)

    def wait_until(self, **settings: Any) -> None:
        """Wait until the picture of these settings has been painted."""
        self.page.wait_for_function(
            f"""(wanted) => {{
                const shown = JSON.parse({SHOWN} ?? "null");
                const same = ([name, value]) => JSON.stringify(shown[name]) === JSON.stringify(value);
                return shown && Object.entries(wanted).every(same);
            }}""",
            arg=settings,
            timeout=20000,
        )

    def shown(self) -> dict[str, Any]:
        """The settings whose picture is on the screen, with model, picture and arrangement."""
        return json.loads(self.page.evaluate(SHOWN))

    def settings(self) -> va.ViewSettings:
        shown = self.shown()
        return va.ViewSettings(**{name: shown[name] for name in va.view.settings.VIEW_FIELDS})

    def caption(self) -> str:
        return self.page.locator(".va-caption").first.text_content()

    def slide(self, value: float, name: str = "Layer") -> None:
        """Move a slider."""
        slider = self.page.get_by_role("slider", name=name, exact=True)
        slider.evaluate(
            """(input, value) => {
                input.value = value;
                input.dispatchEvent(new Event("input", { bubbles: true }));
            }""",
            value,
        )

    def click_patch(self, row: int, col: int, grid: tuple[int, int] = (4, 6)) -> None:
        stage = self.page.locator(".va-stage")
        stage.scroll_into_view_if_needed()
        bounds = stage.bounding_box()
        stage.click(
            position={"x": (col + 0.5) / grid[1] * bounds["width"], "y": (row + 0.5) / grid[0] * bounds["height"]}
        )

    def upload(self, *paths: Path) -> None:
        self.page.locator(".va-viewer input[type=file]").set_input_files(list(paths))

    def paste(self, content: bytes, name: str = "image.png", into: str = ".va-stage") -> None:
        self.page.evaluate(
            """([bytes, name, selector]) => {
                const items = new DataTransfer();
                items.items.add(new File([new Uint8Array(bytes)], name, { type: "image/png" }));
                const pasted = new ClipboardEvent("paste", { clipboardData: items, bubbles: true, cancelable: true });
                document.querySelector(selector).dispatchEvent(pasted);
            }""",
            [list(content), name, into],
        )

    def message(self) -> str:
        """The message on the picture, once there is one."""
        note = self.page.locator(".va-note span").first
        note.wait_for(timeout=20000)
        return note.text_content()

    def close(self) -> None:
        self.context.close()
