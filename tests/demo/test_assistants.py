"""The tools for assistants, through a real MCP client."""

from __future__ import annotations

import asyncio
import base64
import io
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

import vitattn_widgets as va

from ..conftest import SAMPLES, noise_photo
from .lab import png, running_page

mcp = pytest.importorskip("mcp", reason="needs the package mcp; install the extra [mcp]")


@pytest.fixture(scope="module")
def address(wide_model, tmp_path_factory: pytest.TempPathFactory):
    with running_page(wide_model, tmp_path_factory.mktemp("gradio"), mcp=True) as (address, _):
        yield address


def call(address: str, *calls: tuple[str, dict]) -> list:
    """The tools, and the answers to calls."""
    from mcp.client.streamable_http import streamablehttp_client

    async def main() -> list:
        async with (
            streamablehttp_client(f"{address}/gradio_api/mcp/") as (read, write, _),
            mcp.ClientSession(read, write) as session,
        ):
            await session.initialize()
            return [await session.list_tools(), *[await session.call_tool(name, values) for name, values in calls]]

    return asyncio.run(main())


def text(answer) -> str:
    return "\n".join(part.text for part in answer.content if part.type == "text")


def image(answer) -> np.ndarray:
    content = next(part.data for part in answer.content if part.type == "image")
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(content))).convert("RGB"))


def test_the_tools_are_listed_with_what_they_take(address: str) -> None:
    (tools,) = call(address)
    assert {tool.name for tool in tools.tools} == {"map", "compare", "check"}
    for tool in tools.tools:
        assert "chelsea" in tool.description
        assert {"photo", "model", "layer", "source"} <= set(tool.inputSchema["properties"])


def test_an_answer_has_the_picture_its_caption_and_what_the_check_says(address: str, wide_model) -> None:
    photo = noise_photo((60, 90))
    url = "data:image/png;base64," + base64.b64encode(png(photo)).decode()
    _, drawn, compared, checked = call(
        address,
        ("map", {"photo": "coffee", "layer": 1, "head": "2"}),
        ("compare", {"photo": url, "layer": 0}),
        ("check", {"photo": url, "source": "gradient_late"}),
    )
    settings = va.ViewSettings(layer=1, head=2)
    capture = va.capture_attention(wide_model, SAMPLES / "coffee.jpg")
    wanted = va.render_view(capture, settings)
    print([(p.type, str(p)[:300]) for p in drawn.content])
    assert wanted.caption in text(drawn)
    np.testing.assert_allclose(image(drawn), wanted.image, atol=3)  # Gradio may encode it anew
    assert va.check_map(wide_model, capture, settings).verdict in text(drawn)
    captions = []
    for one in (va.ViewSettings(layer=0), va.ViewSettings(source="gradient_late")):
        capture = va.complete_capture(wide_model, va.capture_attention(wide_model, photo), one)
        captions.append(va.render_view(capture, one).caption.split(",")[0])
        assert va.check_map(wide_model, capture, one).verdict in text(compared)
    assert all(caption in text(compared) for caption in captions)
    assert image(compared).shape[1] > 2 * 32
    assert captions[1] in text(checked)
    assert "Check: " in text(checked)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"photo": "/etc/passwd"}, "photo must be the name of a sample"),
        ({"photo": "http://127.0.0.1:9/x.png"}, "photo must be the name of a sample"),
        ({"photo": "data:image/png;base64,????"}, "not valid base64"),
        ({"photo": "data:image/png;base64,AAAA"}, "not a picture of a known type"),
        ({"photo": "coffee", "layer": 99}, "layer 99 does not exist"),
        ({"photo": "coffee", "model": "vit_huge"}, "there is no model 'vit_huge' here"),
    ],
)
def test_a_mistake_is_one_line(address: str, values: dict, words: str) -> None:
    _, answer = call(address, ("map", values))
    assert answer.isError
    assert words in text(answer)
    assert "Traceback" not in text(answer)


def test_mcp_is_off_by_default(wide_model, tmp_path: Path) -> None:
    with running_page(wide_model, tmp_path) as (address, _):
        assert httpx.post(f"{address}/gradio_api/mcp/", json={}).status_code in (404, 405)
        assert list(httpx.get(f"{address}/gradio_api/info").json()["named_endpoints"]) == ["/map"]


def test_without_its_package_mcp_is_one_clear_message(wide_model, monkeypatch) -> None:
    from vitattn_widgets.demo import assistants

    monkeypatch.setattr(assistants.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(va.errors.SettingsError, match=r'install it with: pip install "vitattn_widgets\[mcp\]"'):
        va.build_demo(wide_model, mcp=True)
