"""The HTML of an exported page: one file that refers to nothing outside it; every text from outside is escaped."""

from __future__ import annotations

import hashlib
import json
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from string import Template
from typing import Any

from ..viewer.assets import joined

STATIC = Path(__file__).parent / "static"

SCRIPTS = tuple(
    f"{name}.js"
    for name in ("elements", "controls", "patches", "legend", "overview", "keep", "unpack", "stage", "page")
)
"""The first six, which hold the controls, are shared with the explorer."""

SHEETS = tuple(f"{name}.css" for name in ("theme", "controls", "body", "overview", "foot", "narrow", "page"))
"""All but the last are shared with the explorer, so that the page looks like it."""

WORDS = ("title", "heading", "model", "generator", "caption", "low", "high", "unit", "code", "recipe", "choosing")
"""The texts that fill a placeholder of the same name in ``page.html``, escaped."""


@dataclass(frozen=True)
class PageText:
    """The texts of a page, before they become HTML.

    Attributes:
        title: title of the window.
        heading: name of the photo.
        model: the model in one line.
        generator: the program that made the page, with its version.
        caption: caption of the first map.
        low: raw value of the lowest colour.
        high: raw value of the highest colour.
        unit: unit of the raw values.
        predictions: ``(class name, probability)``, the most probable first.
        code: Python that draws the first map.
        recipe: recipe of the first map, as JSON.
        choosing: the controls, in words.
        about: paragraphs about the contents of the page.
        ratio: ``(width, height)`` of the picture.
    """

    title: str
    heading: str
    model: str
    generator: str
    caption: str
    low: str
    high: str
    unit: str
    predictions: Sequence[tuple[str, float]]
    code: str
    recipe: str
    choosing: str
    about: Sequence[str]
    ratio: tuple[int, int]


def page_html(
    text: PageText, facts: dict[str, Any], still: str, bar: str, pictures: Sequence[str], blocks: Sequence[bytes]
) -> bytes:
    """The whole page.

    Args:
        text: the texts of the page.
        facts: the data of the scripts, as JSON values.
        still: data URL of the first map as a finished picture, for readers without scripts.
        bar: data URL of its colours, from the lowest to the highest.
        pictures: data URLs of the photo, the overview and the marks over maps.
        blocks: packed maps, see `packing.PackedSheets`.

    Returns:
        UTF-8. The page's content security policy allows its own script and style, and no loading at all.
    """
    script, style = joined(STATIC, SCRIPTS), _style(text)
    policy = (
        f"default-src 'none'; img-src data:; style-src {_digest(style)}; script-src {_digest(script)}; "
        "base-uri 'none'; form-action 'none'"
    )
    words = {name: escape(getattr(text, name)) for name in WORDS}
    page = Template((STATIC / "page.html").read_text(encoding="utf-8")).substitute(
        words,
        policy=policy,
        style=style,
        script=script,
        still=still,
        bar=bar,
        predictions=_predictions(text),
        about="".join(f"<p>{escape(paragraph)}</p>" for paragraph in text.about),
        pictures="".join(f'<img src="{address}" alt="">' for address in pictures),
        facts=_json(facts),
        blocks="\n".join(
            f'<script type="text/plain" class="va-block">{b64encode(block).decode()}</script>' for block in blocks
        ),
    )
    return page.encode()


def _style(text: PageText) -> str:
    width, height = text.ratio
    own = [
        f".va-page .va-picture, .va-page .va-stage {{ aspect-ratio: {width} / {height}; }}",
        f".va-page .va-stage {{ --va-ratio: {width / height:.6g}; }}",
    ]
    # the policy forbids style attributes, so the widths of the predictions' bars are rules of the style sheet
    own += [
        f".va-predictions li:nth-child({place}) i {{ width: {probability:.2%}; }}"
        for place, (_, probability) in enumerate(text.predictions, 1)
    ]
    return "\n".join([joined(STATIC, SHEETS), *own])


def _predictions(text: PageText) -> str:
    if not text.predictions:
        return '<li class="va-none">This model has no classifier.</li>'
    return "".join(
        f'<li><span class="va-class" title="{escape(name)}">{escape(name)}</span><span class="va-track"><i></i></span>'
        f'<span class="va-percent">{probability:.1%}</span></li>'
        for name, probability in text.predictions
    )


def _json(value: Any) -> str:
    """JSON inside a script element: without ``<`` it can neither end that element nor begin another."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).replace("<", "\\u003c")


def _digest(content: str) -> str:
    return f"'sha256-{b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"
