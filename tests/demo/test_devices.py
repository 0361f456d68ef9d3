"""Pictures from the clipboard and the webcam, and the page at another address of this computer."""

from __future__ import annotations

import io
import socket
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import vitattn_widgets as va

from ..conftest import noise_photo
from ..lab import CHROMIUM, running_browser
from .test_browser import Visitor, assert_shown
from .test_server import photo_file, running_page

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here; install it with apt install chromium")

FAKE_CAMERA = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")

PASTE = """([bytes, selector]) => {
    const items = new DataTransfer();
    items.items.add(new File([new Uint8Array(bytes)], "image.png", { type: "image/png" }));
    const pasted = new ClipboardEvent("paste", { clipboardData: items, bubbles: true, cancelable: true });
    document.querySelector(selector).dispatchEvent(pasted);
}"""

OWN_PHOTO = "!document.querySelector('.va-shown').dataset.link.includes('sample')"


@pytest.fixture(scope="module")
def served(wide_model: va.models.AttentionModel, tmp_path_factory: pytest.TempPathFactory):
    """The page on all of this computer's addresses, and a browser with a camera."""
    with (
        running_page(wide_model, tmp_path_factory.mktemp("gradio"), host="0.0.0.0", max_pixels=10**7) as (
            address,
            page,
        ),
        running_browser(*FAKE_CAMERA) as browser,
    ):
        yield address, browser, page


@pytest.fixture
def visitor(served):
    visitor = Visitor(served[:2], "desktop")
    visitor.open()
    yield visitor
    visitor.context.close()


def png(photo: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(photo).save(stream, "PNG")
    return stream.getvalue()


def own_address() -> str | None:
    """An address of this computer other than the loopback."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("198.51.100.1", 9))  # sends nothing, only selects the address that would be used
            return probe.getsockname()[0]
        except OSError:
            return None


@pytest.mark.parametrize("place", ["body", "#va-samples", "#va-layer input"])
def test_a_pasted_picture_is_shown(visitor: Visitor, wide_model: va.models.AttentionModel, place: str) -> None:
    photo = noise_photo((70, 110), 8)
    visitor.page.evaluate(PASTE, [list(png(photo)), place])
    visitor.page.wait_for_function(OWN_PHOTO)
    assert_shown(visitor, va.capture_attention(wide_model, photo), va.ViewSettings(layer=2))
    assert visitor.complaints == []


def test_a_paste_empties_the_upload_box_of_another_picture(visitor: Visitor, tmp_path: Path) -> None:
    visitor.upload(photo_file(tmp_path))
    visitor.page.wait_for_function(OWN_PHOTO)
    shown = visitor.page.locator(".image-frame img")
    assert shown.count() == 1
    before = visitor.pixels()
    visitor.page.evaluate(PASTE, [list(png(noise_photo((70, 110), 9))), "body"])
    shown.wait_for(state="detached")
    assert visitor.pixels().shape == before.shape
    assert (visitor.pixels() != before).any()


def test_a_pasted_text_and_a_pasted_wreck_change_no_picture(visitor: Visitor) -> None:
    before = visitor.pixels()
    visitor.page.evaluate(
        """() => {
            const text = new DataTransfer();
            text.setData("text/plain", "1,1");
            document.body.dispatchEvent(new ClipboardEvent("paste", { clipboardData: text, bubbles: true }));
        }"""
    )
    visitor.page.evaluate(PASTE, [list(b"no picture"), "body"])
    visitor.page.get_by_text("image.png: not a picture of a known type").wait_for(timeout=10000)
    np.testing.assert_array_equal(visitor.pixels(), before)
    visitor.page.evaluate(PASTE, [[0] * 300_000, "body"])
    visitor.page.get_by_text("the picture did not arrive").wait_for(timeout=10000)
    np.testing.assert_array_equal(visitor.pixels(), before)


def test_the_clipboard_button_brings_a_picture(visitor: Visitor, wide_model: va.models.AttentionModel) -> None:
    photo = noise_photo((50, 60), 4)
    visitor.context.grant_permissions(["clipboard-read", "clipboard-write"])
    visitor.page.evaluate(
        """async (bytes) => {
            const picture = new Blob([new Uint8Array(bytes)], { type: "image/png" });
            await navigator.clipboard.write([new ClipboardItem({ "image/png": picture })]);
        }""",
        list(png(photo)),
    )
    visitor.page.get_by_label("Paste from clipboard").click()
    visitor.page.wait_for_function(OWN_PHOTO)
    assert_shown(visitor, va.capture_attention(wide_model, photo), va.ViewSettings(layer=2))


def test_the_webcams_picture_is_shown(visitor: Visitor, served, wide_model: va.models.AttentionModel) -> None:
    uploads = Path(served[2].service.uploads._folder.name)
    before = set(uploads.iterdir())
    visitor.page.get_by_label("Capture from camera").click()
    visitor.page.get_by_text("Click to Access Webcam").click()
    visitor.page.wait_for_function("[...document.querySelectorAll('video')].some((video) => video.currentTime > 0.2)")
    visitor.page.get_by_label("capture photo").click()
    visitor.page.wait_for_function(OWN_PHOTO)
    (brought,) = set(uploads.iterdir()) - before
    assert_shown(visitor, va.capture_attention(wide_model, brought), va.ViewSettings(layer=2))
    assert visitor.complaints == []


@pytest.mark.parametrize("size", ["desktop", "phone"])
def test_the_page_works_on_another_address_of_this_computer(served, wide_model, tmp_path: Path, size: str) -> None:
    """Browsers allow neither camera nor clipboard button there, as the page is neither HTTPS nor localhost."""
    host = own_address()
    if host is None:
        pytest.skip("this computer has no address but the loopback")
    visitor = Visitor((served[0].replace("localhost", host), served[1]), size)
    visitor.open()
    assert not visitor.page.evaluate("window.isSecureContext")
    path = photo_file(tmp_path, seed=6)
    visitor.upload(path)
    visitor.page.wait_for_function(OWN_PHOTO)
    visitor.click_patch(1, 3)
    visitor.wait_until(query=[1, 3])
    assert_shown(visitor, va.capture_attention(wide_model, path), va.ViewSettings(layer=2, query=(1, 3)))
    photo = noise_photo((70, 110), 3)
    visitor.page.evaluate(PASTE, [list(png(photo)), "body"])
    wanted = va.render_view(va.capture_attention(wide_model, photo), va.ViewSettings(layer=2, query=(1, 3))).image
    visitor.wait_for_picture(wanted)
    assert [url for url in visitor.requests if host not in url and not url.startswith(("blob:", "data:"))] == []
    assert visitor.complaints == []
    visitor.context.close()
