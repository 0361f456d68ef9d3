"""What the explorer answers to its browser: capsules and what they lack, files, checks, uploads."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ..comparison.panels import Panel
from ..errors import SettingsError, VitattnError
from ..evaluation.checks import MapCheck, check_map
from ..export.page import make_page
from ..figures.paper import comparison_figure, figure_bytes
from ..images import read_picture
from ..view.arrange import render_arranged
from ..view.encode import file_name, map_bytes, picture_bytes
from ..view.recipe import make_recipe
from ..view.render import RenderedView
from ..viewer.capsule import make_capsule
from ..viewer.requests import answer
from .state import ExplorerState
from .views import CONTROLS, Shown, kept_views, panels_of, show

MIMES = {
    "png": (".png", "image/png"),
    "npz": (".npz", "application/octet-stream"),
    "recipe": (".json", "application/json"),
    "page": (".html", "text/html"),
    "comparison": (".png", "image/png"),
}
"""The files that Python writes for the browser: suffix and type."""

UPLOAD_LIMIT = 100 << 20
"""Largest upload in bytes."""

BROKEN = "this failed inside Python; the kernel's log has the error"

Reply = tuple[dict[str, Any], list[bytes]]
"""The answer to a message of the browser: JSON values and bytes."""


class AnsweringExplorer(ExplorerState):
    """An explorer that does for its browser what needs Python. Messages carry the state that they are about."""

    _uploads: dict[str, bytearray]

    def _receive(self, _: Any, content: Mapping[str, Any], buffers: Sequence[Any]) -> None:
        try:
            reply = self._reply(content, buffers)
        except VitattnError as error:
            reply = {"error": str(error)}, []
        except Exception:
            self.send({"id": content.get("id"), "error": BROKEN})
            raise
        if self._busy:
            self._notify("")
        if reply is not None:
            self.send({"id": content.get("id")} | reply[0], reply[1])

    def _reply(self, content: Mapping[str, Any], buffers: Sequence[Any]) -> Reply | None:
        match content:
            case {"kind": "capsule", "model": str(model), "picture": str(picture)}:
                return self._reply_capsule(model, picture)
            case {"kind": "more", "model": str(model), "picture": str(picture), "request": request}:
                return self._reply_more(content["id"], model, picture, request)
            case {"kind": "check", "state": dict(state)}:
                return {"facts": self._check(self._shown_in(state)).as_json()}, []
            case {"kind": "file", "what": str(what), "state": dict(state)} if what in MIMES:
                return self._reply_file(what, state)
            case {"kind": "upload", "id": str(upload), "name": str(name), "last": bool(last)}:
                return self._reply_upload(upload, name, bytes(buffers[0]), last)
        raise SettingsError(f"the explorer does not know the message {content.get('kind')!r}; run its cell again")

    # answers about the current photo travel as traits, which saved notebooks keep

    def _reply_capsule(self, model: str, picture: str) -> Reply:
        if self._now is not None and self._now.is_of(model, picture):
            return {}, []
        return {}, [make_capsule(*self._library.capture(model, picture), picture, self._library.path(picture))]

    def _reply_more(self, message: str, model: str, picture: str, request: Any) -> Reply:
        now = self._now if self._now is not None and self._now.is_of(model, picture) else None
        loaded, capture = self._library.capture(model, picture, held=now.capture if now else None)
        self._notify_busy(f"Computing what {picture} lacks ...")
        answered = answer(loaded, capture, request)
        self._library.store.replace(loaded, picture, capture, answered.capture)
        if now is None:
            return {}, [answered.content]
        self._now = replace(now, capture=answered.capture)
        kept = {"id": message, "model": model, "picture": picture, "content": answered.content}
        setattr(self, f"_{request['need']}", kept)  # a request that was answered has a need
        return {"kept": True}, []

    def _reply_file(self, what: str, state: Mapping[str, Any]) -> Reply:
        shown = self._shown_in(state)
        suffix, mime = MIMES[what]
        if what == "comparison":
            views = kept_views(self._library, state["panels"], shown, self.panels)
            panels = panels_of(self._library, views, shown.drawn)
            return {"name": f"comparison{suffix}", "mime": mime}, [row_png(panels, state["panel_scale"])]
        name = file_name(shown.values["picture"], shown.values["model"], shown.settings)
        return {"name": f"{name}{suffix}", "mime": mime}, [self._file(what, shown)]

    def _reply_upload(self, upload: str, name: str, part: bytes, last: bool) -> Reply | None:
        content = self._uploads.setdefault(upload, bytearray())
        if len(content) + len(part) <= UPLOAD_LIMIT:  # an endless upload must not fill the memory
            content += part
        if not last:
            return None
        name = self._library.add(name, read_picture(bytes(self._uploads.pop(upload)), name))
        self._menus = self._library.facts()
        return {"name": name}, []

    def _shown_in(self, state: Mapping[str, Any]) -> Shown:
        """What a browser shows, which may be ahead of the traits, with all that its map needs."""
        return self._completed(show(self._library, {name: state[name] for name in CONTROLS}, self._now, CONTROLS))

    # --- the same for Python and browser ---

    def _completed(self, shown: Shown) -> Shown:
        """The same with all that its map needs, which can take a backward pass."""
        names = shown.values["model"], shown.values["picture"]
        return replace(shown, capture=self._library.capture(*names, shown.settings, shown.capture)[1])

    def _completed_now(self) -> Shown:
        with self._notifying():
            self._now = self._completed(self._shown_now())
        return self._now

    def _check(self, shown: Shown) -> MapCheck:
        self._notify_busy(f"Checking this map of {shown.values['picture']} ...")
        return check_map(shown.model, shown.capture, shown.settings)

    def _path(self, shown: Shown) -> str | None:
        return self._library.path(shown.values["picture"])

    def _recipe(self, shown: Shown) -> dict[str, Any]:
        return make_recipe(shown.model, shown.capture, shown.drawn, shown.values["arrangement"], self._path(shown))

    def _file(self, what: str, shown: Shown) -> bytes:
        """The content of a file of `MIMES`."""
        if what == "recipe":
            return json.dumps(self._recipe(shown), indent=2).encode()
        if what == "page":
            picture = shown.values["picture"]
            self._notify_busy(f"Writing a page of {picture} ...")
            return make_page(shown.model, shown.capture, shown.drawn, name=picture).content
        drawn = rendered(shown)
        return picture_bytes(drawn.image) if what == "png" else map_bytes(shown.capture, drawn)


def rendered(shown: Shown) -> RenderedView:
    """The picture of what is shown."""
    return render_arranged(shown.capture, shown.settings, shown.values["arrangement"])


def row_png(panels: Sequence[Panel], scale: str) -> bytes:
    """Panels as a figure in a PNG file, with the difference if there are two that have one."""
    try:
        return figure_bytes(comparison_figure(panels, scale, difference=len(panels) == 2))
    except SettingsError:  # such as two photos, which have no difference
        return figure_bytes(comparison_figure(panels, scale))
