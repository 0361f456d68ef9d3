"""The hub: whether it can be reached is known soon, and files come from the cache or whole from there."""

from __future__ import annotations

import os
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
import safetensors.torch
import timm
from huggingface_hub import constants
from huggingface_hub.utils import close_session

import vitattn_widgets as va
from vitattn_widgets.models import DEFAULT_MODEL, hub as hub_module
from vitattn_widgets.models.hub import fetch, hub_problem, look_ahead

from ..conftest import SAMPLES
from ..hub import FakeHub, online, refusing_address, running_hub, silent_address

PROXIES = [name for word in ("http", "https", "all", "no") for name in (f"{word}_proxy", f"{word}_proxy".upper())]

REPOSITORY = timm.models.get_pretrained_cfg(DEFAULT_MODEL).hf_hub_id


@pytest.fixture(autouse=True)
def _online(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """huggingface_hub may ask its endpoint, without the proxies of this machine, and has an empty cache."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)
    close_session()
    yield
    close_session()


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    return lambda address: monkeypatch.setattr(constants, "ENDPOINT", address)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, use: Callable[[str], None]) -> Iterator[FakeHub]:
    with running_hub() as hub:
        use(hub.address)
        monkeypatch.setattr(
            constants, "HUGGINGFACE_CO_URL_TEMPLATE", hub.address + "/{repo_id}/resolve/{revision}/{filename}"
        )
        yield hub


# --- whether it can be reached ---


def test_an_answer_is_no_problem_but_a_failure_of_the_hub_is(hub: FakeHub) -> None:
    assert hub_problem() == ""
    hub.status = 404  # a mirror may have nothing at its root
    assert hub_problem() == ""
    hub.status = 503
    assert hub_problem() == "127.0.0.1 answered with status 503"
    assert hub.asked == ["HEAD /"] * 3


def test_a_refused_connection_is_known_at_once(use: Callable[[str], None]) -> None:
    use(refusing_address())
    started = time.monotonic()
    problem = hub_problem()
    assert time.monotonic() - started < 1
    assert problem.startswith("127.0.0.1 cannot be reached (")
    assert "refused" in problem


def test_silence_is_a_problem_when_the_time_is_up(use: Callable[[str], None]) -> None:
    with silent_address() as address:
        use(address)
        started = time.monotonic()
        assert hub_problem(0.5) == "127.0.0.1 did not answer within 0.5 s"
        assert 0.4 < time.monotonic() - started < 1.5


def test_a_name_server_that_keeps_silent_does_not_hold_the_answer_up(
    monkeypatch: pytest.MonkeyPatch, use: Callable[[str], None]
) -> None:
    released = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: released.wait(20) and [])
    use("http://hub.invalid")
    started = time.monotonic()
    assert hub_problem(0.5) == "hub.invalid did not answer within 0.5 s"
    assert time.monotonic() - started < 1.5
    released.set()


def test_the_offline_switch_makes_no_try(monkeypatch: pytest.MonkeyPatch, hub: FakeHub) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert hub_problem() == "HF_HUB_OFFLINE is set"
    assert hub.asked == []


def test_the_proxy_of_the_environment_is_the_way_to_the_hub(
    monkeypatch: pytest.MonkeyPatch, hub: FakeHub, use: Callable[[str], None]
) -> None:
    use("http://hub.invalid")  # a name that only a proxy could know
    monkeypatch.setenv("HTTP_PROXY", hub.address)
    assert hub_problem() == ""
    assert hub.asked == ["HEAD http://hub.invalid/"]
    close_session()
    monkeypatch.setenv("HTTP_PROXY", refusing_address())
    assert hub_problem().startswith("hub.invalid cannot be reached (")
    close_session()
    monkeypatch.setenv("HTTP_PROXY", "nonsense://127.0.0.1:1")
    assert hub_problem().startswith("the proxy that the environment names for hub.invalid cannot be used (")


def test_a_try_ahead_is_made_only_without_weights_and_answers_the_next_download(
    hub: FakeHub, use: Callable[[str], None], tmp_path: Path
) -> None:
    look_ahead("vit_tiny_patch16_224.some_tag")
    use(refusing_address())  # the answer has been given by then
    with pytest.raises(va.errors.DownloadError, match=r"some/model on the hub has no a\.bin"):
        fetch("some/model", ["a.bin"], "it")
    assert "HEAD /" in hub.asked
    with pytest.raises(va.errors.DownloadError, match=r"127\.0\.0\.1 cannot be reached"):
        fetch("some/model", ["a.bin"], "it")  # with a try of its own
    hub.asked.clear()
    use(hub.address)
    (tmp_path / "hub" / "models--timm--vit_tiny_patch16_224.some_tag").mkdir(parents=True)
    look_ahead("vit_tiny_patch16_224")
    time.sleep(0.2)
    assert hub.asked == []


def test_a_try_ahead_that_keeps_silent_costs_the_download_no_time(use: Callable[[str], None]) -> None:
    with silent_address() as address:
        use(address)
        look_ahead("vit_tiny_patch16_224")
        time.sleep(2.1)
        started = time.monotonic()
        with pytest.raises(va.errors.DownloadError, match=r"127\.0\.0\.1 did not answer within 2 s"):
            fetch("some/model", ["a.bin"], "it")
        assert time.monotonic() - started < 0.5


# --- files ---


def test_a_file_is_downloaded_once_and_then_needs_no_hub(hub: FakeHub, use: Callable[[str], None]) -> None:
    hub.files["some/model/b.bin"] = b"weights"
    path = fetch("some/model", ["a.bin", "b.bin"], "the weights of a model")
    assert path.read_bytes() == b"weights"
    asked = len(hub.asked)
    assert fetch("some/model", ["a.bin", "b.bin"], "the weights of a model") == path
    assert len(hub.asked) == asked
    use(refusing_address())
    assert fetch("some/model", ["a.bin", "b.bin"], "the weights of a model") == path


def test_a_file_that_cannot_be_had_is_reported_with_the_reason_and_without_lines_about_retries(
    hub: FakeHub, use: Callable[[str], None], caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(va.errors.DownloadError, match=r"not on this computer, and some/model on the hub has no a\.bin"):
        fetch("some/model", ["a.bin"], "the weights of a model")
    use(refusing_address())
    started = time.monotonic()
    with pytest.raises(va.errors.DownloadError, match=r"and 127\.0\.0\.1 cannot be reached") as caught:
        fetch("some/model", ["a.bin"], "the weights of a model")
    assert time.monotonic() - started < 1
    assert caught.value.reason.startswith("the weights of a model are not on this computer, and 127.0.0.1")
    assert str(caught.value).startswith(f"{caught.value.reason}; ")
    assert caplog.records == []
    assert capfd.readouterr() == ("", "")


def test_huggingface_hubs_own_variable_lengthens_the_patience_of_a_download(
    monkeypatch: pytest.MonkeyPatch, use: Callable[[str], None]
) -> None:
    given: list[float] = []
    monkeypatch.setattr(hub_module, "hub_problem", lambda timeout: given.append(timeout) or "no")
    for value in (None, "30"):
        if value:
            monkeypatch.setenv("HF_HUB_ETAG_TIMEOUT", value)
            monkeypatch.setattr(constants, "HF_HUB_ETAG_TIMEOUT", int(value))
        with pytest.raises(va.errors.DownloadError):
            fetch("some/model", ["a.bin"], "it")
    assert given == [2, 30]


def test_a_model_of_a_repository_of_its_own_is_loaded_from_the_cache(hub: FakeHub, use: Callable[[str], None]) -> None:
    module = timm.create_model("test_vit", num_classes=3)
    hub.files["mine/vit/model.safetensors"] = safetensors.torch.save(module.state_dict())
    hub.files["mine/vit/config.json"] = (
        b'{"architecture": "test_vit", "num_classes": 3, "pretrained_cfg": {"input_size": [3, 160, 160]}}'
    )
    model = va.load_model("hf-hub:mine/vit", device="cpu")
    assert model.name == "hf-hub:mine/vit"
    use(refusing_address())
    again = va.load_model("hf-hub:mine/vit", device="cpu")
    for one in (model, again):
        assert (one.module.head.weight == module.head.weight).all()
    with pytest.raises(va.errors.DownloadError, match="the weights of hf-hub:other/vit"):
        va.load_model("hf-hub:other/vit")


# --- a slow hub, met by the command ---


@pytest.mark.skipif(os.name == "nt", reason="needs a pseudo terminal")
def test_a_slow_download_shows_one_bar_and_ctrl_c_ends_it_without_a_trace(tmp_path: Path, hub: FakeHub) -> None:
    weights = timm.create_model(DEFAULT_MODEL).state_dict()
    hub.files[f"{REPOSITORY}/model.safetensors"] = safetensors.torch.save(weights)
    out = tmp_path / "map.png"
    command = [sys.executable, "-m", "vitattn_widgets", "map", str(SAMPLES / "chelsea.jpg"), "-o", str(out)]
    environment = online(tmp_path / "hf", hub.address)

    hub.pause = 0.3  # 23 MB would take half a minute
    status, shown = run_in_terminal(command, environment, stop_at=rb" [3-9]%\|")
    assert status == 130
    *_, bar, last = shown.replace("\r\n", "\n").strip().split("\n")
    assert last == "vitattn: stopped"
    assert bar.count(f"the weights of {DEFAULT_MODEL}: ") >= 2  # one line, drawn again and again
    assert shown.count("\n") == 2, shown
    assert "Traceback" not in shown
    left = [path for path in (tmp_path / "hf").rglob("*") if path.is_file() and path.stat().st_size > 1000]
    assert left == []
    assert not out.exists()

    hub.pause = 0
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""  # no bar where nobody looks
    assert done.stdout.startswith(f"{REPOSITORY.partition('/')[2]}: 12 layers")
    assert out.exists()


def run_in_terminal(command: list[str], environment: dict[str, str], stop_at: bytes) -> tuple[int, str]:
    """Run a command in a terminal of 120 columns, and press Ctrl-C once a pattern appears.

    Returns:
        Its exit status and what it showed.
    """
    import fcntl
    import pty
    import termios

    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 120, 0, 0))  # rows and columns
    # tests in a shell's background ignore Ctrl-C, and so would the command
    heed = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    process = subprocess.Popen(command, env=environment, stdin=theirs, stdout=theirs, stderr=theirs, preexec_fn=heed)
    os.close(theirs)
    shown, stopped = b"", False
    try:
        while True:
            try:
                part = os.read(ours, 4096)
            except OSError:  # what Linux says at the end
                break
            if not part:
                break
            shown += part
            if not stopped and re.search(stop_at, shown):
                process.send_signal(signal.SIGINT)
                stopped = True
        return process.wait(30), shown.decode()
    finally:
        process.kill()
        process.wait()
        os.close(ours)
