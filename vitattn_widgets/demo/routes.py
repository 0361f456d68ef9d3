"""The viewer's own routes beside Gradio's: behind the same login, with binary answers and errors of one line."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import os
import secrets
from asyncio import Semaphore
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from fastapi import APIRouter, Depends, HTTPException, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse, StreamingResponse
from starlette.concurrency import run_in_threadpool
from starlette.routing import BaseRoute

from ..errors import VitattnError
from ..viewer.assets import bundle, stylesheet
from ..viewer.requests import SLOW
from .access import require_login, user_of
from .classroom import Attendance, projector_page
from .controls import MAX_TEXT, Choice
from .line import Line, Ticket
from .links import open_link
from .service import FILES, DemoService
from .uploads import RemovedError

PREFIX = "vitattn"
"""The folder of the routes, below the page's own address."""

AT_ONCE = max(2, os.cpu_count() or 1)
"""Requests that are answered at the same time; the others wait their turn."""

EVENTS = "text/event-stream"

WENT_WRONG = "Something went wrong on the server; its log has the details."

STATIC = Path(__file__).parent / "static"

FOREVER = {"Cache-Control": "private, max-age=31536000, immutable"}

_log = logging.getLogger(__name__)


class Assets:
    """The viewer's script and style as one file each, under addresses that change with their content."""

    def __init__(self) -> None:
        self.script = bundle(STATIC / "host.js")
        self.style = stylesheet() + "\n" + (STATIC / "page.css").read_text(encoding="utf-8")
        version = hashlib.sha256((self.script + self.style).encode()).hexdigest()[:16]
        self.script_address = f"{PREFIX}/viewer.js?{version}"


def classroom_routes(attendance: Attendance, address: Callable[[], str]) -> list[BaseRoute]:
    """The page for the projector, and what it counts."""
    router = APIRouter(prefix=f"/{PREFIX}", dependencies=[Depends(require_login)])

    @router.get("/classroom")
    async def classroom(request: Request) -> Response:
        return HTMLResponse(projector_page(address() or str(request.base_url)))

    @router.post("/here")
    async def here(request: Request) -> Response:
        attendance.note(str((await _json(request)).get("visitor"))[:MAX_TEXT])
        return JSONResponse({})

    @router.get("/count")
    async def count() -> Response:
        return JSONResponse({"count": attendance.count()})

    return router.routes


def viewer_routes(service: DemoService, assets: Assets) -> list[BaseRoute]:
    """The routes of one page, for the application that Gradio makes."""
    router = APIRouter(prefix=f"/{PREFIX}", dependencies=[Depends(require_login)])
    # what takes long waits among its own kind; uploads are captured one at a time anyway, which bounds the memory
    slots, capturing, checking, checks = Semaphore(AT_ONCE), Semaphore(1), Semaphore(1), Line()
    # an address means the same bytes as long as this process runs: after that, the weights may be others
    tag = {"ETag": f'"{secrets.token_hex(8)}"', "Cache-Control": "private, no-cache"}

    @router.get("/viewer.js")
    async def script() -> Response:
        return Response(assets.script, media_type="text/javascript", headers=FOREVER)

    @router.get("/viewer.css")
    async def style() -> Response:
        return Response(assets.style, media_type="text/css", headers=FOREVER)

    @router.get("/open")
    async def opened(request: Request) -> Response:
        more = {"user": await user_of(request), "classroom": service.classroom}
        return await answered(lambda: JSONResponse(open_link(service, request.query_params) | more), slots)

    @router.get("/capsule")
    async def capsule(request: Request) -> Response:
        def work() -> Response:
            model, photo = service.model(request.query_params.get("model")), service.photo(request.query_params)
            if request.headers.get("If-None-Match") == tag["ETag"]:
                return Response(status_code=304, headers=tag)
            return _binary(service.capsule(model, photo), tag)

        return await answered(work, slots)

    @router.post("/upload")
    async def upload(request: Request) -> Response:
        try:
            address = request.client.host if request.client else ""
            photo = await service.receive(request.stream(), request.query_params.get("name"), address)
        except VitattnError as error:
            raise HTTPException(400, str(error)) from error

        model = request.query_params.get("model")
        return await answered(lambda: JSONResponse(service.admit(service.model(model), photo)), capturing)

    @router.post("/present")
    async def present(request: Request) -> Response:
        """Which photos of a window are still here."""
        keys = (await _json(request)).get("photos")
        here = (
            [key for key in keys if isinstance(key, str) and key in service.uploads] if isinstance(keys, list) else []
        )
        return JSONResponse({"present": here})

    @router.post("/more")
    async def more(request: Request) -> Response:
        values = await _json(request)
        wanted = values.get("request")
        slow = isinstance(wanted, dict) and wanted.get("need") in SLOW
        return await answered(lambda: _binary(service.more(*_named(values), wanted)), checking if slow else slots)

    @router.post("/check")
    async def check(request: Request) -> Response:
        values = await _json(request)
        ticket = Ticket(str(values.get("visitor") or (request.client.host if request.client else ""))[:MAX_TEXT])

        async def work() -> Response:
            async with checks.turn(ticket):
                return await answered(lambda: JSONResponse(service.check(*_chosen(values))), checking)

        if EVENTS not in request.headers.get("accept", ""):
            return await work()
        return StreamingResponse(
            _with_places(work(), checks, ticket), media_type=EVENTS, headers={"X-Accel-Buffering": "no"}
        )

    @router.post("/file")
    async def file(request: Request) -> Response:
        values = await _json(request)

        def work() -> Response:
            name, content = service.file(*_chosen(values), values.get("what"))
            attached = {"Content-Disposition": f"attachment; filename*=UTF-8''{quote(name)}"}
            return Response(content, media_type=FILES[values["what"]], headers=attached)

        return await answered(work, slots)

    def _named(values: Mapping[str, Any]) -> tuple[Any, Any]:
        return service.model(values.get("model")), service.photo(values)

    def _chosen(values: Mapping[str, Any]) -> tuple[Any, Any, Choice]:
        model, photo = _named(values)
        settings = values.get("settings")
        return model, photo, Choice().with_values(settings if isinstance(settings, dict) else {}, model.class_names)

    return router.routes


async def answered(work: Callable[[], Response], slots: Semaphore) -> Response:
    """Answer a request: visitors are shown the errors that they can fix; the rest is logged, and they are told so.

    Args:
        work: makes the answer, in a thread of its own.
        slots: how many requests of this kind may work at once. The others wait here, where they hold no thread.

    Raises:
        HTTPException: 400 with the error in one line; 410 for a photo that is no longer here; or 500.
    """
    async with slots:
        try:
            return await run_in_threadpool(work)
        except RemovedError as error:
            raise HTTPException(410, str(error)) from error
        except VitattnError as error:
            raise HTTPException(400, str(error)) from error
        except Exception as error:
            _log.exception("a visitor's request failed")
            raise HTTPException(500, WENT_WRONG) from error


async def _with_places(work: Coroutine[Any, Any, Response], line: Line, ticket: Ticket) -> AsyncIterator[str]:
    """The events of a request that waits in a line: its ``place`` whenever that changes, then the answer.

    The answer is the event ``result``, or ``detail``, a line for the visitor.
    """
    task, place = asyncio.ensure_future(work), -1
    await asyncio.sleep(0)  # until it stands in the line
    try:
        while not task.done():
            if line.place(ticket) != place:
                place = line.place(ticket)
                yield _event({"place": place})
            await asyncio.wait([task], timeout=0.3)
        try:
            yield _event({"result": json.loads(bytes(task.result().body))})
        except HTTPException as error:
            yield _event({"detail": error.detail})
    finally:
        task.cancel()  # whoever leaves gives up their place


def _event(values: Mapping[str, Any]) -> str:
    return f"data: {json.dumps(values)}\n\n"


def _binary(content: bytes, headers: Mapping[str, str] | None = None) -> Response:
    return Response(content, media_type="application/octet-stream", headers=headers)


async def _json(request: Request) -> dict[str, Any]:
    """The JSON object of a request's body, whose size `Guard` limits."""
    try:
        values = json.loads(await request.body())
    except (ValueError, RecursionError) as error:
        raise HTTPException(400, "the request is not JSON") from error
    if not isinstance(values, dict):
        raise HTTPException(400, "the request is not a JSON object")
    return values
