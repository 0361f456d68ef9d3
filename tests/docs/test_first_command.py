"""The README's first command, run as it stands there, on machines with and without weights and network."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import vitattn_widgets as va
from vitattn_widgets.models import DEFAULT_MODEL

from ..conftest import SAMPLES
from ..hub import online, refusing_address, silent_address
from .test_docs import README, ROOT, shell_lines

INSTALL = "pip install -e . && "

COMMAND = next(line for line in shell_lines(README)).removeprefix(INSTALL)

MINUTE = 60


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder that looks like the root of a checkout."""
    if shutil.which("vitattn") is None:
        pytest.skip("needs the kit installed: there is no command vitattn")
    (tmp_path / "vitattn_widgets").symlink_to(ROOT / "vitattn_widgets")
    return tmp_path


@pytest.fixture
def silence() -> Iterator[str]:
    with silent_address() as address:
        yield address


def run(folder: Path, environment: dict[str, str], before: tuple[str, ...] = ()) -> list[str]:
    """Run the command, which takes less than a minute and says nothing on the side; gives its lines."""
    started = time.monotonic()
    done = subprocess.run([*before, "bash", "-c", COMMAND], cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert time.monotonic() - started < MINUTE
    return done.stdout.splitlines()


def check_picture(folder: Path, model: str) -> None:
    """What the command wrote is the map of the cat by this model."""
    loaded, settings = va.load_model(model, device="cpu"), va.ViewSettings(source="relevance", sinks="leave_out")
    capture = va.complete_capture(loaded, va.capture_attention(loaded, SAMPLES / "chelsea.jpg"), settings)
    picture = np.asarray(Image.open(folder / "map.png"))
    assert np.abs(picture.astype(int) - va.render_view(capture, settings).image).max() <= 1


def check_fallback(folder: Path, lines: list[str], reason: str) -> None:
    model, note, likeliest, *_ = lines
    check_picture(folder, "demo")
    assert model.startswith("demo (the embedded model")
    assert note.startswith(f"This is the embedded model, because the weights of {DEFAULT_MODEL} are not on this")
    assert reason in note
    assert likeliest.endswith("  cat")
    assert [line.partition(":")[0] for line in lines[-2:]] == ["next, in the browser", "or another layer"]


def test_with_weights_it_needs_no_network_and_tries_none(shared: Path, checkout: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        address = f"http://127.0.0.1:{proxy.getsockname()[1]}"
        model, likeliest, *_ = run(checkout, online(shared / "hf", "https://huggingface.co", HTTPS_PROXY=address))
        proxy.setblocking(False)
        with pytest.raises(BlockingIOError):
            proxy.accept()
    assert model.startswith(f"{DEFAULT_MODEL}.augreg_in21k_ft_in1k: 12 layers")
    assert likeliest.endswith("Egyptian cat")
    check_picture(checkout, DEFAULT_MODEL)


def test_without_weights_where_the_network_refuses(checkout: Path) -> None:
    environment = online(checkout / "hf", "https://huggingface.co", HTTPS_PROXY=refusing_address())
    check_fallback(checkout, run(checkout, environment), "huggingface.co cannot be reached (")


def test_without_weights_where_the_network_never_answers(checkout: Path, silence: str) -> None:
    environment = online(checkout / "hf", "https://huggingface.co", HTTPS_PROXY=silence)
    check_fallback(checkout, run(checkout, environment), "huggingface.co did not answer within 2 s")


def test_without_weights_in_a_network_namespace_of_its_own(checkout: Path) -> None:
    alone = ("unshare", "--map-root-user", "--net")
    if shutil.which("unshare") is None or subprocess.run([*alone, "true"], capture_output=True).returncode:
        pytest.skip("this machine makes no network namespaces")
    check_fallback(
        checkout, run(checkout, online(checkout / "hf", "https://huggingface.co"), alone), "cannot be reached ("
    )
