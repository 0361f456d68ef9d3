"""What a visitor keeps: over a reload, over a new start of the server, and in a line of thirty checks."""

from __future__ import annotations

import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import vitattn_widgets as va
from vitattn_widgets.demo import service as service_module

from ..lab import CHROMIUM, running_browser
from .commands import running_command
from .lab import Visitor, check_events, free_port, picture_file, running_page

browsing = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here; install it with apt install chromium")


@pytest.fixture(scope="module")
def browser():
    with running_browser() as browser:
        yield browser


# --- reload and restart ---


@browsing
def test_a_reload_restores_the_own_photo_and_its_views(browser, wide_model, tmp_path: Path) -> None:
    with running_page(wide_model, tmp_path / "gradio") as (address, page):
        visitor = Visitor(browser, address)
        visitor.open("?layer=1")
        visitor.upload(picture_file(tmp_path, seed=7, name="mine.png"))
        visitor.wait_until(picture="mine.png")
        visitor.click_patch(2, 3)
        visitor.page.get_by_role("button", name="Compare").click()
        visitor.page.get_by_role("button", name="layers", exact=True).click()
        visitor.wait_until(picture="mine.png", query=[2, 3])
        visitor.page.wait_for_timeout(600)
        before, caption = visitor.shown(), visitor.caption()
        panels = visitor.page.locator(".va-compared-panels").inner_text()
        visitor.page.reload()
        visitor.wait_until(picture="mine.png", query=[2, 3])
        assert (visitor.shown(), visitor.caption()) == (before, caption)
        visitor.page.get_by_role("button", name="Compare").click()
        same = "(words) => document.querySelector('.va-compared-panels').innerText === words"
        visitor.page.wait_for_function(same, arg=panels, timeout=20000)
        assert visitor.complaints == []

        other = Visitor(browser, visitor.page.url)  # the address itself names no photo of somebody else
        other.page.goto(visitor.page.url)
        other.wait_until(picture="chelsea")
        other.close()

        for key in list(page.service.uploads._used):
            page.service.uploads.drop(key)
        visitor.page.reload()
        visitor.wait_until(picture="chelsea")
        assert visitor.message() == "mine.png: no longer on the server, so add it again"
        visitor.close()


@browsing
def test_an_open_page_goes_on_with_a_server_that_was_started_again(browser, tmp_path: Path) -> None:
    port, path = free_port(), picture_file(tmp_path, seed=3, name="mine.png")
    with running_command(tmp_path, "--port", str(port)) as server:
        visitor = Visitor(browser, server.address)
        visitor.open()
        visitor.upload(path)
        visitor.wait_until(picture="mine.png")
        visitor.rest()
        server.send_signal(signal.SIGKILL)
        server.wait()
    with running_command(tmp_path, "--port", str(port)):
        visitor.page.get_by_role("tab", name="What did it use?").click()  # contributions, which only the server has
        visitor.wait_until(picture="mine.png", source="contribution_sum")
        model = va.load_model("demo")
        capture = va.complete_capture(model, va.capture_attention(model, path), visitor.settings())
        assert visitor.caption() == va.render_view(capture, visitor.settings()).caption
        visitor.page.get_by_role("button", name="coffee").click()
        visitor.wait_until(picture="coffee")
        visitor.page.wait_for_timeout(600)
        visitor.page.reload()
        visitor.wait_until(picture="coffee")
        visitor.page.get_by_role("button", name="mine.png").click()
        visitor.wait_until(picture="mine.png")
        visitor.close()


@browsing
def test_a_visitor_reads_the_place_in_words(browser, wide_model, tmp_path: Path, monkeypatch) -> None:
    from threading import Event

    finish, check = Event(), service_module.DemoService.check

    def slow(*given: object) -> dict:
        assert finish.wait(30)
        return check(*given)

    monkeypatch.setattr(service_module.DemoService, "check", slow)
    subject = {"model": wide_model.name, "sample": "coffee", "settings": {}}
    with running_page(wide_model, tmp_path / "gradio") as (address, _), ThreadPoolExecutor(2) as pool:
        others = [pool.submit(check_events, address, subject | {"visitor": visitor}) for visitor in "ab"]
        time.sleep(0.5)
        visitor = Visitor(browser, address)
        visitor.page.goto(address)
        visitor.wait_until()
        visitor.page.get_by_role("button", name="Check", exact=True).click()
        visitor.page.get_by_role("button", name="Check this map").click()
        visitor.page.get_by_text("Waiting to check this map: 2 before you").wait_for(timeout=10000)
        finish.set()
        visitor.page.locator(".va-result-class").wait_for(timeout=30000)
        assert visitor.complaints == []
        assert all("result" in other.result(30)[-1] for other in others)
        visitor.close()
