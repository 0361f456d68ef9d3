"""Messages from the browser that do more than move a control: downloads, uploads, a check, the comparison."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Protocol

from ..capture.capture import AttentionCapture
from ..errors import VitattnError
from ..images import Picture, read_picture
from ..view.encode import file_name
from ..view.settings import ViewSettings

UPLOAD_LIMIT = 100 << 20
"""Largest upload in bytes."""


class Uploads:
    """Files that arrive in parts, since notebook servers refuse large messages."""

    def __init__(self) -> None:
        self._parts: dict[str, list[bytes]] = {}

    def add(self, upload: str, part: bytes) -> None:
        """Add a part of a file."""
        parts = self._parts.setdefault(upload, [])
        parts.append(part)
        if sum(map(len, parts)) > UPLOAD_LIMIT:
            del parts[1:]  # an endless upload must not fill the memory; the rest is no readable picture

    def take(self, upload: str) -> bytes:
        """Return the whole file and forget it."""
        return b"".join(self._parts.pop(upload))

    @property
    def nbytes(self) -> int:
        """Bytes of the files that are still incomplete."""
        return sum(len(part) for parts in self._parts.values() for part in parts)

    def clear(self) -> None:
        """Forget all files."""
        self._parts.clear()


class Explorer(Protocol):
    """The part of the explorer that messages use."""

    status: str
    picture: str
    model: str

    @property
    def capture(self) -> AttentionCapture | None: ...

    @property
    def settings(self) -> ViewSettings: ...

    def check(self) -> Any: ...

    def pin(self) -> None: ...

    def compare(self, preset: str = "") -> None: ...

    def draw_panels(self) -> None: ...

    def add_picture(self, name: str, picture: Picture) -> None: ...

    def png(self) -> bytes: ...

    def npz(self) -> bytes: ...

    def recipe(self) -> dict[str, Any]: ...

    def page(self) -> bytes: ...

    def comparison_png(self) -> bytes: ...

    def send(self, content: Mapping[str, Any], buffers: Sequence[bytes]) -> None: ...


def answer(explorer: Explorer, uploads: Uploads, content: Mapping[str, Any], buffers: Sequence[Any]) -> None:
    """Act on a message from the browser."""
    match content:
        case {"kind": "download", "what": str(what)} if explorer.capture is not None:
            with suppress(VitattnError):  # the status line shows it, here and below
                _send_file(explorer, what)
        case {"kind": "check"} if explorer.capture is not None:
            with suppress(VitattnError):
                explorer.check()
        case {"kind": "pin"} if explorer.capture is not None:
            with suppress(VitattnError):
                explorer.pin()
        case {"kind": "compare", "preset": str(preset)} if explorer.capture is not None:
            with suppress(VitattnError):
                explorer.compare(preset)
        case {"kind": "row"} if explorer.capture is not None:
            explorer.draw_panels()
        case {"kind": "upload", "id": str(upload), "name": str(name), "last": bool(last)}:
            uploads.add(upload, bytes(buffers[0]))
            if last:
                _add_picture(explorer, name, uploads.take(upload))


def _add_picture(explorer: Explorer, name: str, content: bytes) -> None:
    try:
        photo = read_picture(content, name)
    except VitattnError as error:
        explorer.status = str(error)
    else:
        explorer.add_picture(name, photo)


def _send_file(explorer: Explorer, what: str) -> None:
    name = file_name(explorer.picture, explorer.model, explorer.settings)
    name, mime, make = {
        "png": (f"{name}.png", "image/png", explorer.png),
        "npz": (f"{name}.npz", "application/octet-stream", explorer.npz),
        "recipe": (f"{name}.json", "application/json", lambda: json.dumps(explorer.recipe(), indent=2).encode()),
        "page": (f"{name}.html", "text/html", explorer.page),
        "comparison": ("comparison.png", "image/png", explorer.comparison_png),
    }[what]
    explorer.send({"kind": "file", "name": name, "mime": mime}, [make()])
