"""The page when the default model's weights are unavailable: it serves the embedded model, and says so."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import httpx
import numpy as np
import pytest
from gradio_client import Client, handle_file
from PIL import Image

import vitattn_widgets as va
from vitattn_widgets.demo import service as service_module
from vitattn_widgets.demo.links import open_link
from vitattn_widgets.demo.service import DemoService
from vitattn_widgets.models import DEFAULT_MODEL

from ..conftest import SAMPLES
from ..lab import ROOT
from .lab import free_port

LIMITS = {"max_upload": 10**6, "max_pixels": 10**6, "keep_seconds": 60}


@pytest.fixture
def no_weights(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """An empty cache of the hub; gives the reason that follows."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    return f"the weights of {DEFAULT_MODEL} are not on this computer, and HF_HUB_OFFLINE is set"


def test_without_its_weights_the_default_becomes_the_embedded_model(no_weights: str) -> None:
    service = DemoService(**LIMITS)
    assert list(service.models) == ["demo"]
    opened = open_link(service, {})
    assert opened["state"]["model"] == "demo"
    assert opened["message"] == ""
    assert opened["library"]["note"] == service.note
    assert no_weights in service.note
    assert "embedded model" in service.note
    service.close()


def test_a_link_to_an_unavailable_model_opens_the_embedded_one_and_says_so(no_weights: str) -> None:
    service = DemoService(**LIMITS)
    opened = open_link(service, {"model": DEFAULT_MODEL, "layer": "1"})
    assert (opened["state"]["model"], opened["state"]["layer"]) == ("demo", 1)
    assert f"there is no model '{DEFAULT_MODEL}' here" in opened["message"]
    service.close()


def test_if_no_model_at_all_is_available_the_page_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_, **__) -> None:
        raise va.errors.ModelError("a damaged file")

    monkeypatch.setattr(service_module, "load_model", refuse)
    service = DemoService(**LIMITS)
    assert service.unavailable == {DEFAULT_MODEL: "a damaged file"}
    assert open_link(service, {})["message"] == f"{DEFAULT_MODEL} is not available: a damaged file"
    service.close()


def test_with_its_weights_the_default_is_itself(monkeypatch: pytest.MonkeyPatch, wide_model) -> None:
    monkeypatch.setattr(service_module, "load_model", lambda: wide_model)
    service = DemoService(**LIMITS)
    assert list(service.models) == [DEFAULT_MODEL]
    assert service.model(DEFAULT_MODEL) is wide_model
    assert open_link(service, {})["library"]["note"] == ""
    service.close()


def test_the_embedded_model_can_be_named() -> None:
    service = DemoService("demo", **LIMITS)
    assert list(service.models) == ["demo"]
    assert service.note == ""
    service.close()


def test_a_model_that_was_named_is_never_replaced() -> None:
    service = DemoService(["vit_tiny_patch16_384", "demo"], **LIMITS)
    assert list(service.models) == ["demo"]
    assert list(service.unavailable) == ["vit_tiny_patch16_384"]
    assert service.note == ""
    service.close()


def test_the_command_serves_the_embedded_model_without_a_network(tmp_path: Path) -> None:
    port, said = free_port(), tmp_path / "said"
    environment = os.environ | {
        "HF_HOME": str(tmp_path / "hf"),
        "HF_HUB_OFFLINE": "1",
        "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
    }
    command = [sys.executable, "-m", "vitattn_widgets", "demo", "--port", str(port)]
    with said.open("w") as log:
        server = subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT)
    try:
        deadline = time.monotonic() + 60
        while "The page runs" not in said.read_text() and server.poll() is None and time.monotonic() < deadline:
            time.sleep(0.2)
        *_, note, runs = said.read_text().splitlines()
        assert note.startswith("vitattn: This is the embedded model, because")
        assert runs.startswith("The page runs")
        address = f"http://127.0.0.1:{port}"
        opened = httpx.get(f"{address}/vitattn/open").json()
        assert opened["library"]["note"].startswith("This is the embedded model, because")
        picture, _, caption = Client(address, verbose=False).predict(
            photo=handle_file(SAMPLES / "coffee.jpg"), model="demo", api_name="/map"
        )
        wanted = va.render_view(va.capture_attention(va.load_model("demo"), SAMPLES / "coffee.jpg"))
        np.testing.assert_array_equal(np.asarray(Image.open(picture)), wanted.image)
        assert caption == wanted.caption
    finally:
        server.kill()
        server.wait()
