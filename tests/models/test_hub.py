"""Whether the hub can be reached: known soon, whatever stands in the way."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from huggingface_hub import constants
from huggingface_hub.utils import close_session

from vitattn_widgets.models.hub import hub_problem

PROXIES = [name for word in ("http", "https", "all", "no") for name in (f"{word}_proxy", f"{word}_proxy".upper())]


@pytest.fixture(autouse=True)
def online(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A client of huggingface_hub without the proxies of this machine, that may ask the hub."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)
    close_session()
    yield
    close_session()


@pytest.fixture
def server() -> Iterator[ThreadingHTTPServer]:
    """A server that answers every HEAD with its `status` and keeps the `asked` paths."""

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self):
            self.server.asked.append(self.path)
            self.send_response(self.server.status)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.status, server.asked = 200, []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def use(monkeypatch, port, host="127.0.0.1"):
    monkeypatch.setattr(constants, "ENDPOINT", f"http://{host}:{port}")


def free_port():
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_an_answer_of_the_hub_is_no_problem_but_its_failure_is(monkeypatch, server):
    use(monkeypatch, server.server_port)
    assert hub_problem() == ""
    server.status = 404  # a mirror may have nothing at its root
    assert hub_problem() == ""
    server.status = 503
    assert hub_problem() == "127.0.0.1 answered with status 503"
    assert len(server.asked) == 3


def test_a_refused_connection_is_known_at_once(monkeypatch):
    use(monkeypatch, free_port())
    started = time.monotonic()
    problem = hub_problem()
    assert problem.startswith("127.0.0.1 cannot be reached (")
    assert "refused" in problem
    assert time.monotonic() - started < 1


def test_silence_is_a_problem_when_the_time_is_up(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as silent:  # the system accepts, and nobody answers
        use(monkeypatch, silent.getsockname()[1])
        started = time.monotonic()
        assert hub_problem(0.5) == "127.0.0.1 did not answer within 0.5 s"
        assert 0.4 < time.monotonic() - started < 1.5


def test_a_name_server_that_keeps_silent_does_not_hold_the_answer_up(monkeypatch):
    released = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: released.wait(20) and [])
    use(monkeypatch, 80, "hub.invalid")
    started = time.monotonic()
    assert hub_problem(0.5) == "hub.invalid did not answer within 0.5 s"
    assert time.monotonic() - started < 1.5
    released.set()


def test_the_offline_switch_makes_no_try(monkeypatch, server):
    use(monkeypatch, server.server_port)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert hub_problem() == "HF_HUB_OFFLINE is set"
    assert server.asked == []


def test_the_proxy_of_the_environment_is_the_way_to_the_hub(monkeypatch, server):
    use(monkeypatch, 80, "hub.invalid")  # a name that only a proxy could know
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{server.server_port}")
    assert hub_problem() == ""
    assert server.asked == ["http://hub.invalid:80/"] or server.asked == ["http://hub.invalid/"]
    close_session()
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{free_port()}")
    assert hub_problem().startswith("hub.invalid cannot be reached (")
    close_session()
    monkeypatch.setenv("HTTP_PROXY", "nonsense://127.0.0.1:1")
    assert hub_problem().startswith("the proxy that the environment names for hub.invalid cannot be used (")
