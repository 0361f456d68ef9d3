"""Who may use the page: the login that Gradio's own routes ask for, slower after wrong passwords, and its end."""

from __future__ import annotations

import inspect
import secrets
import time
from asyncio import Lock, sleep
from collections import OrderedDict
from dataclasses import dataclass, field

from fastapi import APIRouter, HTTPException, Request, Response
from fastapi.responses import JSONResponse, RedirectResponse
from starlette.routing import BaseRoute

FREE_ATTEMPTS = 5
"""Wrong passwords in a row that an address may send without waiting."""

MAX_DELAY = 10.0
"""Longest time in seconds that an attempt waits."""

FORGET_SECONDS = 900
"""Seconds after which an address starts anew."""

MAX_ADDRESSES = 10_000
"""Addresses that are remembered."""

MAX_WAITING = 50
"""Attempts of one address that may wait for each other."""


async def user_of(request: Request) -> str | None:
    """The user who is logged in, by the rules of Gradio's own routes; None if nobody is."""
    app = request.app
    if app.auth_dependency is not None:
        user = app.auth_dependency(request)
        return await user if inspect.isawaitable(user) else user
    return next((app.tokens[token] for token in _tokens(request) if token in app.tokens), None)


async def require_login(request: Request) -> None:
    """Raise 401 for visitors without the login that Gradio's own routes ask for."""
    open_to_all = request.app.auth is None and request.app.auth_dependency is None
    if not open_to_all and await user_of(request) is None:
        raise HTTPException(401, "Log in first.")


@dataclass
class _Address:
    """The attempts of one address, which take turns."""

    wrong: int = 0
    last: float = 0.0
    waiting: int = 0
    turn: Lock = field(default_factory=Lock)


def login_routes() -> list[BaseRoute]:
    """The routes ``login`` and ``logout``, in the place of Gradio's own."""
    router = APIRouter()
    addresses: OrderedDict[str, _Address] = OrderedDict()

    @router.post("/login")
    @router.post("/login/")
    async def login(request: Request) -> Response:
        if request.app.auth is None:
            return RedirectResponse("./", 302)
        form = await request.form()
        user, password = (str(form.get(name, "")) for name in ("username", "password"))
        name = request.client.host if request.client else ""
        address = addresses.setdefault(name, _Address())
        addresses.move_to_end(name)
        while len(addresses) > MAX_ADDRESSES:
            addresses.popitem(last=False)
        if address.waiting >= MAX_WAITING:
            raise HTTPException(429, "too many wrong passwords came from your address; try again in a minute")
        address.waiting += 1
        try:
            async with address.turn:
                if time.monotonic() - address.last > FORGET_SECONDS:
                    address.wrong = 0
                await sleep(delay_after(address.wrong))
                right = await _is_right(request.app.auth, user.strip(), password)
                address.wrong, address.last = 0 if right else address.wrong + 1, time.monotonic()
        finally:
            address.waiting -= 1
        if not right:
            raise HTTPException(400, "Incorrect credentials.")
        token = secrets.token_urlsafe(16)
        request.app.tokens[token] = user.strip()
        secure = request.url.scheme == "https"
        response = JSONResponse({"success": True})
        response.set_cookie(
            _cookie_names(request)[0 if secure else 1], token, httponly=True, samesite="lax", secure=secure
        )
        return response

    @router.get("/logout")
    @router.get("/logout/")
    async def logout(request: Request) -> Response:
        response = RedirectResponse("./", 302)
        for token in _tokens(request):  # Gradio would end the login of everybody with this user's name
            request.app.tokens.pop(token, None)
        for name in _cookie_names(request):
            response.delete_cookie(name)
        return response

    return router.routes


def delay_after(wrong: int) -> float:
    """Seconds that an attempt waits after so many wrong passwords in a row."""
    return 0.0 if wrong < FREE_ATTEMPTS else min(MAX_DELAY, 2.0 ** (wrong - FREE_ATTEMPTS + 1))


async def _is_right(auth: object, user: str, password: str) -> bool:
    if callable(auth):
        answer = auth(user, password)
        return bool(await answer if inspect.isawaitable(answer) else answer)
    wanted = auth.get(user) if isinstance(auth, dict) else None
    return wanted is not None and secrets.compare_digest(password.encode(), str(wanted).encode())


def _cookie_names(request: Request) -> tuple[str, str]:
    """Where Gradio looks for a login: the first is for HTTPS alone."""
    return f"access-token-{request.app.cookie_id}", f"access-token-unsecure-{request.app.cookie_id}"


def _tokens(request: Request) -> list[str]:
    return [request.cookies[name] for name in _cookie_names(request) if name in request.cookies]
