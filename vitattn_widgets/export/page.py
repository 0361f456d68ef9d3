"""Exporting a photo to one offline page: the viewer, and as much of the photo's capsule as fits."""

from __future__ import annotations

import gzip
import io
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from .. import __version__
from ..capture.capture import AttentionCapture
from ..capture.forward import capture_attention
from ..errors import SettingsError
from ..files import PAGE_SUFFIXES, check_writable, write_file
from ..images import Picture
from ..maps.aggregate import AGGREGATIONS
from ..maps.completion import complete_capture
from ..maps.resolve import fit_settings
from ..maps.settings import MAP_FIELDS, SINKS
from ..maps.sources import SOURCES
from ..view.arrange import ARRANGEMENTS, screen_capture
from ..view.captions import sentence
from ..view.drawing import BLENDS, CMAPS, SCALES
from ..view.encode import data_url, encode_thumbnail
from ..view.render import render_view
from ..view.settings import GROUNDS, ViewSettings
from ..viewer.file_capsule import make_file_capsule
from ..viewer.settings import START, json_settings
from ..viewer.tensors import KEY
from .document import PageText, page_html

if TYPE_CHECKING:
    from ..models.loading import AttentionModel

MAX_BYTES = 3_000_000
"""Largest page in bytes: small enough for an e-mail attachment."""

ABOUT_BYTES = 4_000
"""Room for the sentences about what is in a page, which are known last."""

STILL_QUALITY = 85
"""JPEG quality of the picture for readers without scripts."""

UNNAMED = "photo"
"""Name of a photo that has none."""

CHOICES: dict[str, Sequence[str]] = {
    "aggregation": AGGREGATIONS,
    "source": SOURCES,
    "sinks": SINKS,
    "scale": SCALES,
    "cmap": CMAPS,
    "on": GROUNDS,
    "blend": BLENDS,
    "arrangement": ARRANGEMENTS,
}
"""The values that the page's address may set, by name of the setting."""


@dataclass(frozen=True, eq=False)
class ExportedPage:
    """A finished page.

    Attributes:
        content: the HTML file.
        included: what readers can do with it, as sentences.
        left_out: what they cannot do, as it did not fit or the model does not have it, as sentences.
    """

    content: bytes
    included: tuple[str, ...]
    left_out: tuple[str, ...]

    def describe(self) -> str:
        """The size of the page, what is in it and what is not, as text for a terminal."""
        return "\n  ".join([f"{len(self.content) / 1e6:.2f} MB", *self.included, *self.left_out])


def export_page(
    model: AttentionModel,
    picture: Picture | AttentionCapture,
    path: str | os.PathLike[str],
    settings: ViewSettings | None = None,
    sources: Sequence[str] | None = None,
) -> ExportedPage:
    """Write the viewer with one photo to an HTML file that needs neither Python nor a network.

    Args:
        model: from `load_model`.
        picture: the photo, or its capture by this model.
        path: HTML file to write, as a whole or not at all.
        settings: the map that the page opens with; None is what the viewer starts with.
        sources: sources that readers can choose; None is all.

    Returns:
        The page that was written.

    Raises:
        SettingsError: settings that this capture does not have, an unwritable file, or a model too large for a page.
        PictureError: the photo cannot be read.
    """
    path = check_writable(Path(path), PAGE_SUFFIXES)
    name = os.fspath(picture) if isinstance(picture, str | os.PathLike) else getattr(picture, "filename", "")
    capture = picture if isinstance(picture, AttentionCapture) else capture_attention(model, picture)
    page = make_page(model, capture, settings, sources, name)
    write_file(path, page.content)
    return page


def make_page(
    model: AttentionModel,
    capture: AttentionCapture,
    settings: ViewSettings | None = None,
    sources: Sequence[str] | None = None,
    name: str = "",
) -> ExportedPage:
    """The page of `export_page` without writing it. The same arguments give the same bytes.

    Args:
        model: the model of the capture.
        capture: from `capture_attention`.
        settings: the map that the page opens with; None is what the viewer starts with.
        sources: sources that readers can choose; None is all.
        name: file name of the photo; of a path, only the name goes into the page.

    Raises:
        SettingsError: settings that this capture does not have, or a model too large for a page.
    """
    file = Path(name).name
    name = file or UNNAMED
    settings = fit_settings(settings or START, capture, asked=MAP_FIELDS)
    sources = _checked_sources(settings, sources)
    # drawn before all else, so that bad settings are reported at once
    capture = complete_capture(model, capture, settings)
    screen = screen_capture(capture)
    view = render_view(screen, settings)
    text = PageText(
        title=f"{name}: what {capture.model_name} attends to",
        generator=f"vitattn_widgets {__version__}",
        sentence=sentence(screen, settings),
        caption=view.caption,
        about=(),
    )
    facts = _page_facts(screen, settings, name)
    still = _jpeg(view.image)
    letters = MAX_BYTES - ABOUT_BYTES - len(page_html(text, facts, still, b""))
    # five letters hold four bytes
    capsule = make_file_capsule(model, capture, file, settings, room=letters * 4 // 5, sources=sources)
    included, left_out = _contents(capsule)
    text = replace(text, about=(*included, *left_out, f"Made with {text.generator}. It loads nothing from a network."))
    return ExportedPage(page_html(text, facts, still, capsule), included, left_out)


def _checked_sources(settings: ViewSettings, sources: Sequence[str] | None) -> tuple[str, ...]:
    sources = SOURCES if sources is None else tuple(dict.fromkeys(sources))
    unknown = [source for source in sources if source not in SOURCES]
    if unknown or not sources:
        raise SettingsError(f"sources {unknown} do not exist; choose one or more of {', '.join(SOURCES)}")
    if settings.source not in sources:
        raise SettingsError(
            f"the page opens with source {settings.source!r}, which must be one of its sources {sources}; add it"
        )
    return sources


def _page_facts(screen: AttentionCapture, settings: ViewSettings, name: str) -> dict[str, Any]:
    """What the page's host knows beside the capsule, as JSON values; `static/host.js` reads it."""
    thumbnail = data_url(encode_thumbnail(Image.fromarray(screen.source)), "image/jpeg")
    of_viewer = {"arrangement": "overlay", "panels": [], "panel_scale": "robust", "difference": []}
    return {
        "start": json_settings(settings) | {"model": screen.model_name, "picture": name} | of_viewer,
        "library": {
            "models": [screen.model_name],
            "pictures": [{"name": name, "thumbnail": thumbnail, "reason": "", "credit": ""}],
            "note": "",
        },
        "choices": CHOICES,
    }


def _contents(capsule: bytes) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What a capsule holds and what it lacks, as sentences."""
    content = gzip.decompress(capsule)
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    facts = json.loads(header["__metadata__"][KEY])
    layers = facts["layers"]
    heads = sum(layer["heads"] for layer in layers)
    sources = [source["title"] for source in facts["sources"] if not source["unavailable"]]
    included = [f"All {len(layers)} layers and {heads} heads by {len(sources)} sources: {', '.join(sources)}."]
    patches = sum(f"layer{layer}.q" in header for layer in range(len(layers)))
    if patches:
        included.append(f"Every patch can be the query in {patches} of {len(layers)} layers.")
    return tuple(included), tuple(facts["left_out"])


def _jpeg(image: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "JPEG", quality=STILL_QUALITY)
    return stream.getvalue()
