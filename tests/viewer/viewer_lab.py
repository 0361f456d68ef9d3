"""The viewer in Chromium with a front end of the test's own (``viewer_page.js``)."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from playwright.sync_api import Browser, Locator, Page, Route

from vitattn_widgets.errors import VitattnError
from vitattn_widgets.viewer.assets import bundle, stylesheet

from .twin_lab import ADDRESS, Subject

PAGE = """<!doctype html><html lang="en"><head><meta name="viewport" content="width=device-width,initial-scale=1">
<title>viewer</title><style>body {{ margin: 0 }}\n{style}</style></head><body><main></main></body></html>"""


class Viewing:
    """One viewer in a page of its own, with the front end of `script`, which may read `query`.

    Args:
        browser: Chromium.
        subjects: the photos "0", "1", ... and the model of each.
        size: width and height of the window in pixels.
        touch: whether it is a phone's.
    """

    script = "viewer_page.js"
    query = ""

    def __init__(
        self, browser: Browser, subjects: list[Subject], size: tuple[int, int] = (1440, 900), touch: bool = False
    ) -> None:
        self.subjects = subjects
        self.errors: list[str] = []
        self.page: Page = browser.new_page(
            viewport={"width": size[0], "height": size[1]}, has_touch=touch, is_mobile=touch
        )
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.route("**/*", self._serve)
        self.page.goto(f"{ADDRESS}/{self.query}")
        self.page.add_script_tag(content=bundle(Path(__file__).parent / self.script, keep_exports=False))
        self.page.wait_for_selector("[data-shown]")

    @property
    def shown(self) -> dict[str, Any]:
        """The settings whose picture is on the screen."""
        text = self.page.get_attribute("[data-shown]", "data-shown")
        return dict(json.loads(text or "{}"))

    def wait_for(self, **settings: Any) -> dict[str, Any]:
        """Wait until a picture with these settings is on the screen."""
        self.page.wait_for_function(
            """settings => {
              const shown = JSON.parse(document.querySelector("[data-shown]").dataset.shown);
              return Object.entries(settings).every(([name, value]) =>
                JSON.stringify(shown[name]) === JSON.stringify(value));
            }""",
            arg=settings,
            timeout=10000,
        )
        return self.shown

    def lab(self, expression: str) -> Any:
        """The value of an expression of the page's ``lab``."""
        return self.page.evaluate(f"lab.{expression}")

    def layer_slider(self) -> Locator:
        return self.page.locator(".va-layers input")

    def question(self, name: str) -> Locator:
        return self.page.locator(f"[data-question={name}]")

    def unfold(self) -> None:
        """Open "More" and "Expert"."""
        self.page.evaluate("for (const one of document.querySelectorAll('.va-disclosure')) one.open = true")

    def patch(self, row: int, col: int) -> tuple[float, float]:
        """The middle of a patch in pixels of the window, for the mouse."""
        rows, cols = self.subjects[0].capture.layout.grid
        box = self.page.locator(".va-pane").first.bounding_box()
        assert box is not None
        return box["x"] + box["width"] * (col + 0.5) / cols, box["y"] + box["height"] * (row + 0.5) / rows

    def click_patch(self, row: int, col: int) -> None:
        self.page.mouse.click(*self.patch(row, col))

    def asks_nothing(self, act: Callable[[], object]) -> None:
        """Assert that an act makes the viewer ask for nothing that it needs: operands of a layer are asked ahead."""
        needed = "asked.filter(({ need }) => need !== 'operands').length"
        before = self.lab(needed)
        act()
        assert self.lab(needed) == before

    def close(self) -> None:
        self.page.close()
        assert self.errors == []

    def _serve(self, route: Route) -> None:
        match urlsplit(route.request.url).path.strip("/").split("/"):
            case [""]:
                route.fulfill(body=PAGE.format(style=stylesheet()), content_type="text/html")
            case ["capsule", key]:
                route.fulfill(body=self.subjects[int(key)].capsule)
            case ["answer", key]:
                try:
                    route.fulfill(body=self.subjects[int(key)].answer(json.loads(route.request.post_data or "")))
                except VitattnError as error:
                    route.fulfill(status=400, body=str(error))
            case _:
                route.fulfill(status=204)
