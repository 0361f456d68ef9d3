"""Getting a class onto the page: the address, its QR code, and the page for the projector."""

from __future__ import annotations

import io
from pathlib import Path

import httpx
import pytest

from vitattn_widgets.demo import classroom, server
from vitattn_widgets.demo.classroom import Attendance, projector_page, reachable, terminal_code
from vitattn_widgets.demo.server import ServerOptions

from ..lab import CHROMIUM, running_browser
from .lab import Visitor, running_page

segno = pytest.importorskip("segno")


def test_the_code_in_the_terminal_is_that_of_the_address() -> None:
    wanted = io.StringIO()
    segno.make("http://192.0.2.1:7860/", micro=False).terminal(wanted, compact=True)
    assert terminal_code("http://192.0.2.1:7860/") == wanted.getvalue()
    assert terminal_code("http://192.0.2.1:7860/") != terminal_code("http://192.0.2.2:7860/")


def test_all_addresses_become_one_that_others_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(classroom, "_own_address", lambda: "192.0.2.7")
    assert reachable("http://0.0.0.0:7860/") == reachable("http://localhost:7860/") == "http://192.0.2.7:7860/"
    assert reachable("http://192.0.2.9:7860/") == "http://192.0.2.9:7860/"


@pytest.mark.parametrize(
    ("options", "shared", "public"),
    [
        ({"host": "192.0.2.9"}, None, "http://192.0.2.9:1/"),
        ({"share": True}, "https://x.example", "https://x.example"),
        ({"root_path": "https://school.example/attention"}, None, "https://school.example/attention"),
        ({}, None, None),
    ],
)
def test_who_serves_others_reads_the_address_and_its_code(
    wide_model, tmp_path, capsys, options, shared, public
) -> None:
    with running_page(wide_model, tmp_path) as (_, page):
        address = f"http://{options.get('host', '127.0.0.1')}:1/"
        server._invite(page, ServerOptions(classroom=True, **options), address, shared)
        said = capsys.readouterr().out
        assert page.service.classroom
        assert page.invitation == (public or "")
        assert (terminal_code(public) in said) if public else ("█" not in said)
        assert f"For the projector: {(public or address).rstrip('/')}/vitattn/classroom" in said


def test_the_address_is_text_on_the_projectors_page() -> None:
    html = projector_page("http://x/<script>alert(1)</script>")
    assert "<script>alert" not in html
    assert "&lt;script&gt;" in html


def test_windows_count_until_they_are_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(classroom.time, "monotonic", lambda: now[0])
    attendance = Attendance()
    for window in "aab":
        attendance.note(window)
    assert attendance.count() == 2
    now[0] = classroom.HERE_SECONDS - 1
    attendance.note("b")
    now[0] = classroom.HERE_SECONDS + 1
    assert attendance.count() == 1


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here; install it with apt install chromium")
def test_the_projector_shows_how_many_are_in(wide_model, tmp_path: Path) -> None:
    with running_page(wide_model, tmp_path) as (address, page), running_browser() as browser:
        page.service.classroom = True
        visitors = [Visitor(browser, address) for _ in range(2)]
        for visitor in visitors:
            visitor.page.goto(address)
            visitor.wait_until()
        projector = Visitor(browser, address)
        projector.page.goto(f"{address}/vitattn/classroom")
        projector.page.get_by_text("2 in").wait_for(timeout=10000)
        assert projector.page.locator(".link").text_content() == f"{address}/"
        assert projector.page.locator("svg").bounding_box()["width"] > 200
        assert projector.complaints == []
        projector.close()


def test_the_projectors_page_is_behind_the_login(wide_model, tmp_path: Path) -> None:
    with running_page(wide_model, tmp_path, auth=[("class", "secret")]) as (address, _):
        for path in ("classroom", "count"):
            assert httpx.get(f"{address}/vitattn/{path}").status_code == 401
