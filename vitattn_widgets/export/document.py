"""The HTML of an offline page: one file that refers to nothing outside it; every text from outside is escaped."""

from __future__ import annotations

import hashlib
import json
from base64 import b64encode, b85encode
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from string import Template
from typing import Any

from ..view.encode import data_url
from ..viewer.assets import bundle, stylesheet

STATIC = Path(__file__).parent / "static"


@dataclass(frozen=True)
class PageText:
    """What a page shows before, or without, its script.

    Attributes:
        title: title of the window.
        generator: the program that made the page, with its version.
        sentence: what the first map shows, for a person.
        caption: the same as the technical line.
        about: paragraphs about the contents of the file.
    """

    title: str
    generator: str
    sentence: str
    caption: str
    about: Sequence[str]


def page_html(text: PageText, facts: dict[str, Any], still: bytes, capsule: bytes) -> bytes:
    """The whole page.

    Args:
        text: its texts.
        facts: what ``static/host.js`` reads, as JSON values.
        still: the first map as a JPEG file, for readers without scripts and until the viewer is up.
        capsule: compressed, see `make_file_capsule`.

    Returns:
        UTF-8. The page's content security policy allows its own script and style, and no loading at all.
    """
    script = bundle(STATIC / "host.js", keep_exports=False)
    rules = "\n".join([stylesheet(), (STATIC / "page.css").read_text(encoding="utf-8")])
    policy = (
        f"default-src 'none'; img-src data: blob:; style-src {_digest(rules)}; script-src {_digest(script)}; "
        "base-uri 'none'; form-action 'none'"
    )
    page = Template((STATIC / "page.html").read_text(encoding="utf-8")).substitute(
        {name: escape(getattr(text, name)) for name in ("title", "generator", "sentence", "caption")},
        about="".join(f"<p>{escape(paragraph)}</p>" for paragraph in text.about),
        policy=policy,
        style=rules,
        script=script,
        still=data_url(still, "image/jpeg"),
        facts=_json(facts),
        # a `<` could end the element
        capsule=b85encode(capsule).replace(b"<", b",").decode(),
    )
    return page.encode()


def _json(value: Any) -> str:
    """JSON inside a script element: without ``<`` it can neither end that element nor begin another."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).replace("<", "\\u003c")


def _digest(content: str) -> str:
    return f"'sha256-{b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"
