"""Stand-ins for the Hugging Face Hub, as it is met in the field: whole, slow, refusing, silent."""

from __future__ import annotations

import hashlib
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from .lab import ROOT

PART = 1 << 18


class FakeHub(ThreadingHTTPServer):
    """A hub with some files of one revision, in the protocol of huggingface_hub.

    Attributes:
        files: content by path, such as ``"timm/vit_tiny_patch16_224/model.safetensors"``.
        pause: seconds before each 256 kB of a file.
        status: of every answer, if not 200.
        asked: method and path of each request.
    """

    daemon_threads = True

    def __init__(self, files: dict[str, bytes] | None = None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files = files or {}
        self.pause = 0.0
        self.status = 200
        self.asked: list[str] = []

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: FakeHub

    def do_HEAD(self) -> None:
        self.answer()

    def do_GET(self) -> None:
        content = self.answer()
        try:
            for start in range(0, len(content), PART):
                time.sleep(self.server.pause)
                self.wfile.write(content[start : start + PART])
        except (BrokenPipeError, ConnectionResetError):
            pass  # the client has left

    def answer(self) -> bytes:
        self.server.asked.append(f"{self.command} {self.path}")
        content = self.server.files.get(self.path.strip("/").replace("/resolve/main/", "/"))
        is_file = "/resolve/" in self.path
        self.send_response(404 if is_file and content is None else self.server.status)
        if is_file and content is None:
            self.send_header("X-Error-Code", "EntryNotFound")
        if content is not None:
            self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
            self.send_header("X-Repo-Commit", "0" * 40)
        self.send_header("Content-Length", str(len(content or b"")))
        self.end_headers()
        return content or b""

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def running_hub(files: dict[str, bytes] | None = None) -> Iterator[FakeHub]:
    """A fake hub that answers on a free port."""
    hub = FakeHub(files)
    threading.Thread(target=hub.serve_forever, daemon=True).start()
    try:
        yield hub
    finally:
        hub.shutdown()
        hub.server_close()


@contextmanager
def silent_address() -> Iterator[str]:
    """An address where connections are accepted, and nothing is ever said."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        yield f"http://127.0.0.1:{silent.getsockname()[1]}"


def refusing_address() -> str:
    """An address where nobody listens."""
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


def online(home: Path, endpoint: str, **variables: str) -> dict[str, str]:
    """The environment of a process that may go online, to ``endpoint`` alone, with its hub's cache in ``home``."""
    names = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_TOKEN", "HF_HUB_CACHE", "HF_HUB_ETAG_TIMEOUT")
    proxies = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
    kept = {name: value for name, value in os.environ.items() if name not in names and name.lower() not in proxies}
    paths = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    return kept | {"HF_HOME": str(home), "HF_ENDPOINT": endpoint, "PYTHONPATH": paths} | variables
