"""The engine in Chromium beside Python: one page, whose script and capsules come from memory."""

from __future__ import annotations

import json
import random
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import torch
from PIL import Image
from playwright.sync_api import Page, Route

import vitattn_widgets as va
from vitattn_widgets.capture.attention import SoftmaxAttention
from vitattn_widgets.capture.cache import remembered
from vitattn_widgets.capture.directions import add_direction
from vitattn_widgets.capture.window_attention import WindowAttention
from vitattn_widgets.maps.resolve import unavailable
from vitattn_widgets.maps.settings import SINKS
from vitattn_widgets.maps.sources import CATALOGUE
from vitattn_widgets.view.arrange import screen_capture
from vitattn_widgets.view.drawing import BLENDS, CMAPS, SCALES
from vitattn_widgets.viewer.assets import bundle
from vitattn_widgets.viewer.capsule import make_capsule, with_norms
from vitattn_widgets.viewer.requests import answer
from vitattn_widgets.viewer.settings import json_settings
from vitattn_widgets.viewer.tensors import fixed_point, has_operands, operand_tensors, pack

from ..conftest import noise_photo
from ..lab import running_browser

ADDRESS = "http://viewer.test"


class Subject:
    """A model and a photo, as both sides have them.

    Args:
        model: the model.
        photo: what `load_picture` reads.
        seed: of patches that count as sinks, instead of those that are found, which small models hardly have; None
            changes nothing.
        bits: of the queries and keys that the browser gets, if they are rounded.
    """

    def __init__(
        self, model: va.models.AttentionModel, photo: Any, seed: int | None = None, bits: int | None = None
    ) -> None:
        self.model, self.bits = model, bits
        self.capture = with_norms(model, screen_capture(va.capture_attention(model, photo)))[0]
        with suppress(va.errors.ModelError):  # of two classifiers
            other = va.capture_attention(model, noise_photo((40, 40), 7))
            self.capture = add_direction(model, self.capture, other, "other.jpg")
        if seed is None:
            self.sinks = [va.find_sinks(self.capture, layer) for layer in range(self.capture.num_layers)]
        else:
            chance = np.random.default_rng(seed)
            self.sinks = [chance.random(layer.tokens.grid) < 0.15 for layer in self.capture.layers]
        self.rounded = self._with_sinks(rounded(self.capture, bits)) if bits else None
        self.capsule = make_capsule(model, self._with_sinks(self.capture), "photo")

    def keep(self, capture: va.capture.AttentionCapture) -> None:
        """Go on with a completed capture."""
        self.capture = self._with_sinks(capture)

    def complete(self, settings: va.ViewSettings) -> va.capture.AttentionCapture:
        self.keep(va.complete_capture(self.model, self.capture, settings))
        return self.capture

    def reference(self, settings: va.ViewSettings) -> va.capture.AttentionCapture:
        """The capture from which Python draws the browser's very map, also where queries and keys are rounded."""
        source = settings.source_info
        from_operands = isinstance(settings.query, tuple) and (source.plain or source.norms)
        return self.rounded if self.rounded and from_operands else self.complete(settings)

    def answer(self, request: dict[str, Any]) -> bytes:
        """The answer to the browser's request."""
        if self.rounded and request["need"] == "operands":
            return pack(None, operand_tensors(self.capture, request["layer"], self.bits))
        answered = answer(self.model, self.capture, request)
        self.keep(answered.capture)
        return answered.content

    def _with_sinks(self, capture: va.capture.AttentionCapture) -> va.capture.AttentionCapture:
        for layer, sinks in enumerate(self.sinks):
            remembered(capture, ("sinks", layer), None, lambda sinks=sinks: sinks)
        return capture


def rounded(capture: va.capture.AttentionCapture, bits: int) -> va.capture.AttentionCapture:
    """The capture with queries and keys in fixed point, where a capsule can hold them."""

    def near(values: torch.Tensor) -> torch.Tensor:
        integers, scale = fixed_point(values.flatten(0, -3).numpy(), bits)
        return torch.from_numpy(integers * scale[..., None].astype(np.float64)).reshape(values.shape)

    layers = []
    for number, layer in enumerate(capture.layers):
        attention = layer.attention
        if isinstance(attention, SoftmaxAttention) and has_operands(capture, number):
            scores = attention.scores
            attention = SoftmaxAttention(replace(scores, q=near(scores.q), k=near(scores.k)))
        elif isinstance(attention, WindowAttention):
            attention = replace(attention, q=near(attention.q), k=near(attention.k))
        layers.append(replace(layer, attention=attention))
    return replace(capture, layers=tuple(layers))


def random_settings(capture: va.capture.AttentionCapture, chance: random.Random) -> va.ViewSettings:
    """Settings that the capture has, of every kind."""
    layer = chance.randrange(capture.num_layers)
    heads = capture.num_heads(layer)
    names = [
        source.name
        for source in CATALOGUE.values()
        if not unavailable(capture, source) and (capture.value_norms or not source.norms)
    ]
    targets = [None, *(chance.randrange(len(capture.target_names)) for _ in capture.target_names[:1])]
    source = CATALOGUE[chance.choice([*names, "attention", "attention"])]
    possible = source.possible(heads) or ("mean",)
    queries: list[Any] = [None, None, chance.choice(capture.queries(layer))]
    if capture.layers[layer].tokens.query_patches:
        queries += [tuple(chance.randrange(side) for side in capture.layers[layer].tokens.query_grid)] * 2
    return va.ViewSettings(
        layer=chance.choice([layer, layer - capture.num_layers]),
        head=chance.choice([None, None, chance.randrange(-heads, heads)]),
        aggregation=chance.choice(possible),
        query=chance.choice(queries),
        source=source.name,
        target=chance.choice(targets),
        sinks=chance.choice(SINKS),
        bilinear=chance.random() < 0.7,
        median=chance.random() < 0.7,
        gaussian=chance.random() < 0.7,
        scale=chance.choice(SCALES),
        opacity=chance.choice([0.0, 0.5, 0.8, 1.0, round(chance.random(), 3)]),
        cmap=chance.choice([*CMAPS, "inferno", "hot"]),
        on=chance.choice(["view", "view", "original"]),
        blend=chance.choice(BLENDS),
    )


class Twin:
    """The engine in a page, as the doors get it: joined into one script.

    Args:
        page: a page of Chromium's.
    """

    def __init__(self, page: Page) -> None:
        self.page = page
        self.subjects: dict[str, Subject] = {}
        self.errors: list[str] = []
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.route("**/*", self._serve)
        page.goto(f"{ADDRESS}/")
        page.add_script_tag(content=bundle(Path(__file__).parent / "twin_page.js", keep_exports=False))

    def add(self, one: Subject) -> str:
        """Make a subject known to the page; returns its key."""
        key = str(len(self.subjects))
        self.subjects[key] = one
        return key

    def call(self, function: str, *arguments: Any) -> Any:
        """Call a function of ``twin_page.js`` with JSON values and settings."""
        return self.page.evaluate(f"all => twin.{function}(...all)", [_plain(one) for one in arguments])

    def draw(self, key: str, settings: list[va.ViewSettings]) -> list[dict[str, Any]]:
        """What the engine draws of a subject, asking for what is missing."""
        drawn = self.call("drawAll", key, settings)
        size = self.subjects[key].capture.view.shape[:2]
        for one, its in zip(drawn, settings, strict=True):
            one["heat"] = decoded(one["heat"], np.float32).reshape(size)
            one["image"] = self.laid_over_view(key, one["layer"], its.source_info.signed)
        return drawn

    def laid_over_view(self, key: str, layer: str, signed: bool) -> np.ndarray:
        """The view under a layer of the page's, int64 ``(H, W, 3)``, 0..255."""
        return laid_over(self.subjects[key].capture.view, layer, signed)

    def _serve(self, route: Route) -> None:
        match urlsplit(route.request.url).path.strip("/").split("/"):
            case [""]:
                route.fulfill(body="<!doctype html><title>twin</title>", content_type="text/html")
            case ["capsule", key]:
                route.fulfill(body=self.subjects[key].capsule)
            case ["answer", key]:
                route.fulfill(body=self.subjects[key].answer(json.loads(route.request.post_data or "")))
            case _:
                route.abort()


def _plain(value: Any) -> Any:
    if isinstance(value, va.ViewSettings):
        return json_settings(value)
    return [_plain(one) for one in value] if isinstance(value, list | tuple) else value


def laid_over(ground: np.ndarray, layer: str, signed: bool) -> np.ndarray:
    """What a canvas shows of a picture, uint8 ``(H, W, 3)``, under a layer of RGBA; values with signs lie on greys.

    Returns:
        int64 ``(H, W, 3)``, 0..255.
    """
    if signed:
        ground = np.asarray(Image.fromarray(ground).convert("L"))[..., None] * 0.6 + 90
    colors = decoded(layer, np.uint8).reshape(*ground.shape[:2], 4).astype(float)
    opacity = colors[..., 3:] / 255
    return np.floor(ground * (1 - opacity) + colors[..., :3] * opacity + 0.5).astype(int)


def plain_look(settings: va.ViewSettings) -> va.ViewSettings:
    """Settings whose picture is the map on the view alone: a browser draws marks and the whole photo by other means."""
    return replace(
        settings, on="view", sinks={"outline": "show", "mark": "leave_out"}.get(settings.sinks, settings.sinks)
    )


def decoded(text: str, dtype: type[np.generic]) -> np.ndarray:
    return np.frombuffer(b64decode(text), dtype)


@contextmanager
def running_twin() -> Iterator[Twin]:
    with running_browser() as browser:
        yield Twin(browser.new_page())
