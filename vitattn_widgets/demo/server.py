"""Serving the page: who may open it, where its files are kept, the share link, and a clean end."""

from __future__ import annotations

import ctypes
import io
import os
import signal
import socket
import sys
import tempfile
import time
import webbrowser
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ModelError, SettingsError
from .classroom import reachable, terminal_code
from .folders import OwnFolder, drop_older
from .frames import require_origins

if TYPE_CHECKING:
    from ..models.loading import AttentionModel
    from .app import Page

AUTH_VARIABLE = "VITATTN_AUTH"

PORT = 7860

M_ARENA_MAX = -8
"""The number of this setting in glibc's malloc.h."""


@dataclass(frozen=True)
class ServerOptions:
    """The options of the operator.

    Attributes:
        models: names for `load_model`. Empty is the model that the checkpoint's card names; without a checkpoint, the
            default model, or the embedded one if its weights are unavailable.
        checkpoint: local weights of the only model.
        host, port: address and port to listen on.
        share: ask for a public link through Gradio's tunnel.
        auth: users and their passwords; empty admits everybody.
        max_upload: largest upload in bytes; None is the page's own limit.
        max_pixels: largest picture in pixels; None is the page's own limit.
        browser: open the page in a browser, on a desktop.
        mcp: serve tools for assistants over MCP.
        classroom: name the page for the projector.
        root_path: the path, or whole address, under which a reverse proxy offers the page.
        frame_ancestors: origins of other pages that may show the page in a frame.
    """

    models: tuple[str, ...] = ()
    checkpoint: Path | None = None
    host: str = "127.0.0.1"
    port: int = PORT
    share: bool = False
    auth: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    max_upload: int | None = None
    max_pixels: int | None = None
    browser: bool = False
    mcp: bool = False
    classroom: bool = False
    root_path: str | None = None
    frame_ancestors: tuple[str, ...] = ()


def read_auth(
    given: Sequence[str] = (), file: Path | None = None, environment: Mapping[str, str] = os.environ
) -> tuple[tuple[str, str], ...]:
    """Users and passwords from the command line, a file (one ``USER:PASSWORD`` per line) and the environment.

    Raises:
        SettingsError: an entry without user or password, or a file that cannot be read. Messages never repeat a
            password.
    """
    places = [("--auth", entry) for entry in given]
    if file is not None:
        try:
            lines = file.read_text(encoding="utf-8").splitlines()
        except (OSError, ValueError) as error:
            raise SettingsError(f"{file}: cannot be read; give a text file with one USER:PASSWORD per line") from error
        entries = [(str(file), line.strip()) for line in lines if line.strip() and not line.startswith("#")]
        places += entries
        if not entries:  # a file that was meant to keep people out must not let everybody in
            raise SettingsError(f"{file}: names no user; write one USER:PASSWORD per line")
    if environment.get(AUTH_VARIABLE):
        places.append((AUTH_VARIABLE, environment[AUTH_VARIABLE]))
    users = []
    for place, entry in places:
        user, colon, password = entry.partition(":")
        if not (user and colon and password):
            raise SettingsError(f"{place}: must be USER:PASSWORD, neither of them empty")
        users.append((user, password))
    return tuple(users)


def serve(options: ServerOptions) -> None:
    """Load the models, start the page and wait for Ctrl-C.

    Raises:
        VitattnError: contradictory options, an unusable checkpoint, no model at all, a folder that cannot be written,
            or a port that is taken or does not exist. What can be known before the models load is found by then.
    """
    if options.mcp and options.auth:
        raise SettingsError("--mcp cannot be behind a login, which assistants do not have; leave out one of the two")
    origins = require_origins(options.frame_ancestors)
    _require_port(options.host, options.port)
    _share_memory_between_threads()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a service manager's stop must remove the files too
    with _own_folder() as folder:
        print("Loading ...", file=sys.stderr, flush=True)  # importing torch and Gradio takes seconds, too
        import torch

        from .app import build_demo
        from .routes import AT_ONCE
        from .uploads import KEEP_SECONDS, SWEEP_SECONDS

        # requests already run in parallel; more threads would only wait for each other
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // AT_ONCE))
        limits: dict[str, Any] = {"max_upload": options.max_upload, "max_pixels": options.max_pixels}
        limits = {name: value for name, value in limits.items() if value is not None}
        page = build_demo(_models(options), notify=_report, mcp=options.mcp, frame_ancestors=origins, **limits)
        try:
            _report_models(page)
            _start(page, options)
            swept = time.monotonic()
            while page.is_running:
                time.sleep(0.2)
                if time.monotonic() - swept > SWEEP_SECONDS:
                    drop_older(folder, KEEP_SECONDS)
                    swept = time.monotonic()
        finally:
            page.close(verbose=False)
            _close_tunnels()


@contextmanager
def _own_folder() -> Iterator[Path]:
    """A folder for every temporary file of this process, removed at its end or by the next process."""
    named = os.environ.get("TMPDIR")
    if named and not os.access(named, os.W_OK | os.X_OK):  # Python would silently take another
        raise SettingsError(f"{named}: is no folder that can be written; set TMPDIR to one for temporary files")
    folder = OwnFolder("demo")
    # before Gradio is imported: it must not phone home, and its files belong in a folder of this process alone
    os.environ |= {"GRADIO_ANALYTICS_ENABLED": "False", "GRADIO_TEMP_DIR": str(folder.path)}
    # nor may it keep a list of all requests, from which it would make a table after each one
    os.environ |= {"GRADIO_ANALYTICS_MAX_EVENTS": "1", "GRADIO_ANALYTICS_CACHE_FREQUENCY": str(10**9)}
    before, tempfile.tempdir = tempfile.tempdir, str(folder.path)
    try:
        yield folder.path
    finally:
        tempfile.tempdir = before
        folder.close()


def _require_port(host: str, port: int) -> None:
    """Raise if nobody can listen there."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            if os.name != "nt":  # where this option would let two servers share a port
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except (OSError, OverflowError) as error:
        raise _no_port(host, port) from error


def _no_port(host: str, port: int) -> SettingsError:
    return SettingsError(
        f"cannot listen on {host}, port {port}: taken, not permitted, or outside 0..65535; choose another --port"
    )


def _report(line: str) -> None:
    print(f"vitattn: {line}", file=sys.stderr, flush=True)


def _report_models(page: Page) -> None:
    if page.service.note:
        _report(page.service.note)
    reasons = [f"{name} is not available: {reason}" for name, reason in page.service.unavailable.items()]
    if not page.service.models:
        raise ModelError("; ".join(reasons))
    for reason in reasons:
        _report(reason)


def is_desktop(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether somebody sits at this computer: a terminal, and a screen that is not another computer's."""
    if not sys.stdout.isatty() or environment.get("SSH_CONNECTION"):
        return False
    return sys.platform in ("win32", "darwin") or any(environment.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))


def _share_memory_between_threads() -> None:
    """Limit glibc to two heaps: by default each request thread gets its own, where freed pictures pile up."""
    libc = ctypes.CDLL(None) if sys.platform.startswith("linux") else None
    if libc is not None and hasattr(libc, "mallopt"):
        libc.mallopt(M_ARENA_MAX, 2)


def _models(options: ServerOptions) -> list[AttentionModel | str] | None:
    if options.checkpoint is None:
        return list(options.models) or None
    if len(options.models) > 1:
        raise SettingsError("--checkpoint holds the weights of one model; name at most one --model with it")
    from ..models.loading import load_model

    return [load_model(next(iter(options.models), None), checkpoint=options.checkpoint)]


def _start(page: Page, options: ServerOptions) -> None:
    try:
        with redirect_stdout(io.StringIO()):  # if the link fails, Gradio's message suggests a manual download
            _, address, shared = page.launch(
                server_name=options.host,
                server_port=options.port,
                share=options.share,
                auth=list(options.auth) or None,
                root_path=options.root_path,
                prevent_thread_lock=True,
                quiet=True,
            )
    except (OSError, OverflowError) as error:  # the latter for a port above 65535
        raise _no_port(options.host, options.port) from error
    print(f"The page runs on {address} (Ctrl-C stops it).", flush=True)
    if options.mcp:
        print(f"Assistants reach its tools over MCP: {address.rstrip('/')}/gradio_api/mcp/", flush=True)
    if options.browser and is_desktop():
        webbrowser.open(address)
    _invite(page, options, address, shared)
    if options.share and not shared:
        print(
            "No share link: the tunnel to Gradio's server could not be opened, as is common in schools and companies. "
            "The page runs all the same. To reach it from the same network, start it with --host 0.0.0.0 and open "
            f"this computer's address at port {options.port}.",
            file=sys.stderr,
            flush=True,
        )


def _invite(page: Page, options: ServerOptions, address: str, shared: str | None) -> None:
    """Print the address for others, also as QR code, if there is one."""
    outside = options.root_path if (options.root_path or "").startswith("http") else None
    public = shared or outside
    if not public and options.host not in ("127.0.0.1", "localhost", "::1"):
        public = reachable(address)
    if shared:
        print(f"Everybody with this link can open it: {shared}", flush=True)
    if public:
        page.invitation = public
        print(f"{terminal_code(public)}{public}", flush=True)
    if options.classroom:
        page.service.classroom = True
        print(f"For the projector: {(public or address).rstrip('/')}/vitattn/classroom", flush=True)


def _close_tunnels() -> None:
    from gradio.tunneling import CURRENT_TUNNELS

    for tunnel in CURRENT_TUNNELS:
        tunnel.kill()
