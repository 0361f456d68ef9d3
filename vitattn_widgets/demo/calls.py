"""What programs call that does not exist: one line instead of a traceback, which is all that Gradio has for it."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from typing import Any

from fastapi import Request
from fastapi.responses import JSONResponse
from gradio import Blocks
from gradio.route_utils import FnIndexInferError
from starlette.routing import BaseRoute, Match, Route
from starlette.types import Message, Receive, Scope, Send

from .access import require_login
from .controls import short_text

API = "/gradio_api"

_CHECKED = "vitattn.checked"

Check = Callable[[Blocks, str, dict[str, Any]], tuple[int, str] | None]
"""From the page, the name in the path and the values: the status and the line of a refusal."""


def call_routes() -> list[BaseRoute]:
    """Routes in front of Gradio's own, which take on what names an endpoint, a parameter or a component."""
    checks: dict[str, Check] = {"call/v2/{name}": _named_call, "queue/join": _queued, "component_server": _component}
    return [_Checked(f"{API}/{path}{end}", check) for path, check in checks.items() for end in ("", "/")]


async def no_endpoint(request: Request, error: Exception) -> JSONResponse:  # noqa: ARG001 the error names Gradio's parts
    """The answer to a call of an endpoint that does not exist, `FnIndexInferError`."""
    name = str(request.path_params.get("api_name", ""))
    return JSONResponse({"detail": _lacks_endpoint(name, _endpoints(request.app.get_blocks()))}, 404)


EXCEPTION_HANDLERS = {FnIndexInferError: no_endpoint}


class _Checked(Route):
    """A route that refuses some requests and hands the others on, as if it were not there."""

    def __init__(self, path: str, check: Check) -> None:
        async def take(scope: Scope, receive: Receive, send: Send) -> None:
            request = Request(scope, receive)
            await require_login(request)
            body = await request.body()
            refusal = check(request.app.get_blocks(), request.path_params.get("name", ""), _object(body))
            if refusal is None:
                await request.app.router({**scope, _CHECKED: True}, _again(body, receive), send)
            else:
                await JSONResponse({"detail": refusal[1]}, refusal[0])(scope, receive, send)

        super().__init__(path, _Application(take), methods=["POST"])

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """See `starlette.routing.Route.matches`."""
        return (Match.NONE, {}) if _CHECKED in scope else super().matches(scope)


class _Application:
    """An application of its own, which a route does not take for a function from request to answer."""

    def __init__(self, take: Callable[[Scope, Receive, Send], Any]) -> None:
        self._take = take

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._take(scope, receive, send)


def _named_call(page: Blocks, name: str, values: dict[str, Any]) -> tuple[int, str] | None:
    endpoints = _endpoints(page)
    if name not in endpoints:
        return 404, _lacks_endpoint(name, endpoints)
    parameters = endpoints[name]
    unknown = next((key for key in values if key not in parameters), None)
    if unknown is not None:
        return 400, f"/{name} has no parameter {short_text(unknown)}; possible: {', '.join(parameters)}"
    missing = next((key for key, optional in parameters.items() if not optional and key not in values), None)
    return None if missing is None else (400, f"/{name} needs a value for {missing}")


def _queued(page: Blocks, _: str, values: dict[str, Any]) -> tuple[int, str] | None:
    number = values.get("fn_index")
    if number is None or (isinstance(number, int) and number in page.fns):
        return None
    return 404, f"there is no function {short_text(number)} here; possible: {_numbers(page.fns)}"


def _component(page: Blocks, name: str, values: dict[str, Any]) -> tuple[int, str]:  # noqa: ARG001 see `Check`
    return 404, "no component of this page has functions"


def _endpoints(page: Blocks) -> dict[str, dict[str, bool]]:
    """By name of each endpoint, its parameters and whether they may be left out."""
    named = page.get_api_info()["named_endpoints"]
    return {
        name.removeprefix("/"): {
            one["parameter_name"]: bool(one.get("parameter_has_default")) for one in facts["parameters"]
        }
        for name, facts in named.items()
    }


def _lacks_endpoint(name: str, endpoints: Collection[str]) -> str:
    return f"there is no endpoint {short_text(name)} here; possible: {', '.join(endpoints)}"


def _numbers(numbers: Collection[int]) -> str:
    return ", ".join(map(str, sorted(numbers)))


def _object(body: bytes) -> dict[str, Any]:
    """The values of a body; none where it is no JSON object, which Gradio refuses by itself."""
    try:
        values = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return values if isinstance(values, dict) else {}


def _again(body: bytes, receive: Receive) -> Receive:
    """Receive a body that has been received already, then whatever comes."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def again() -> Message:
        return messages.pop() if messages else await receive()

    return again
