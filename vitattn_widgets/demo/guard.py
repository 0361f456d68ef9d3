"""What holds for every answer of the page and for every request to it, whoever makes them."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from fastapi import HTTPException
from starlette.applications import Starlette
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_JSON = 64 << 10
"""Largest body in bytes of a request that is no upload; the viewer's take about one thousand."""

FORM_BYTES = 64 << 10
"""What an upload may take beyond its file: names and separators."""

POLICY = {
    "default-src": "'none'",
    # Gradio's HTML component makes its template a function, hence eval; inline scripts are allowed one by one
    "script-src": "'self' 'unsafe-eval'",
    "style-src": "'self' 'unsafe-inline'",
    "img-src": "'self' data: blob:",
    "font-src": "'self' data:",
    "media-src": "'self' blob:",
    "connect-src": "'self'",
    "worker-src": "'self' blob:",
    "manifest-src": "'self'",
    "base-uri": "'self'",
    "form-action": "'self'",
    "frame-ancestors": "'self'",
}
"""The content security policy: nothing of another host, and no script but those that the server sent."""

HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
}

_INLINE_SCRIPT = re.compile(rb"<script(?![^>]*\bsrc=)[^>]*>(.*?)</script>", re.DOTALL | re.IGNORECASE)


class Guard:
    """The outermost layer of the page's application.

    It adds `POLICY` and `HEADERS` to every answer, removes Gradio's invitation to pages of other hosts (CORS), refuses
    what such pages send and bodies that are too large, and lets visitors leave at any time without a line in the log.

    Args:
        app: what it is laid around.
        max_body: the largest body in bytes of a request to a path.
        ancestors: origins of other pages that may show this one in a frame.
    """

    def __init__(self, app: ASGIApp, max_body: Callable[[str], int], ancestors: Sequence[str] = ()) -> None:
        self.app = app
        self.max_body = max_body
        self.ancestors = ancestors

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection; see ASGI."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        answer = _Answer(send, self.ancestors)
        request = Headers(scope=scope)
        if "text/html" in request.get("accept", ""):  # plain, so that `_Answer` finds the scripts in it
            scope["headers"] = [pair for pair in scope["headers"] if pair[0] != b"accept-encoding"]
        limit = self.max_body(scope["path"])
        try:
            if request.get("sec-fetch-site") == "cross-site" and scope["method"] not in ("GET", "HEAD"):
                await _refuse(403, "this page takes nothing from pages of other hosts")(scope, receive, answer)
            elif _stated_length(request) > limit:
                await _refuse(413, _too_large(limit))(scope, receive, answer)
            else:
                await self.app(scope, _limited(receive, limit), answer)
        except ClientDisconnect:
            pass  # the visitor has left: nobody waits for an answer
        except RuntimeError as error:
            if not isinstance(error.__cause__, HTTPException):
                raise
            # a stream that has begun cannot become a refusal any more, as when its visitor was forgotten: it ends
            await answer({"type": "http.response.body", "body": b""})


class _Answer:
    """Sends an answer with the page's headers; the scripts of a whole HTML page are allowed by their hashes."""

    def __init__(self, send: Send, ancestors: Sequence[str]) -> None:
        self._send = send
        self._ancestors = ancestors
        self._start: Message | None = None  # of an HTML page, kept until all of it is there
        self._body = b""

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name in [name for name in headers if name.startswith("access-control-")]:
                del headers[name]
            headers.update(HEADERS)
            if not self._ancestors:  # this older header knows no list, and would forbid what the policy allows
                headers["X-Frame-Options"] = "SAMEORIGIN"
            if headers.get("content-type", "").startswith("text/html") and "content-encoding" not in headers:
                self._start = message
                return
            headers["Content-Security-Policy"] = policy(ancestors=self._ancestors)
        elif self._start is not None:
            self._body += message.get("body", b"")
            if message.get("more_body"):
                return
            MutableHeaders(scope=self._start)["Content-Security-Policy"] = policy(self._body, self._ancestors)
            await self._send(self._start)
            self._start, message = None, {"type": "http.response.body", "body": self._body}
        await self._send(message)


def policy(html: bytes = b"", ancestors: Sequence[str] = ()) -> str:
    """The value of the header ``Content-Security-Policy`` for a page with inline scripts.

    Args:
        html: the page.
        ancestors: origins of other pages that may show it in a frame.
    """
    digests = [hashlib.sha256(script).digest() for script in _INLINE_SCRIPT.findall(html)]
    hashes = [f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests]
    added = {"script-src": dict.fromkeys(hashes), "frame-ancestors": ancestors}
    rules = POLICY | {name: " ".join([POLICY[name], *values]) for name, values in added.items()}
    return "; ".join(f"{name} {values}" for name, values in rules.items())


def guarding(max_body: Callable[[str], int], ancestors: Sequence[str] = ()) -> Callable[[Any], Any]:
    """A lifespan that lays a `Guard` around its application, outside of Gradio's own layers."""

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        # Gradio adds its layers around those that it is given, so this one is laid around the finished stack
        app.middleware_stack = Guard(app.middleware_stack or app.build_middleware_stack(), max_body, ancestors)
        yield

    return lifespan


def _stated_length(request: Headers) -> int:
    length = request.get("content-length", "0")
    return int(length) if length.isdecimal() else 0


def _limited(receive: Receive, limit: int) -> Receive:
    """Receive at most `limit` bytes of a body, whatever its length is said to be."""
    size = 0

    async def receive_limited() -> Message:
        nonlocal size
        message = await receive()
        size += len(message.get("body", b""))
        if size > limit:
            raise HTTPException(413, _too_large(limit))
        return message

    return receive_limited


def _too_large(limit: int) -> str:
    return f"at most {limit} bytes are accepted"


def _refuse(status: int, detail: str) -> JSONResponse:
    return JSONResponse({"detail": detail}, status, {"Connection": "close"})
