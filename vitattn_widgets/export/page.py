"""Exporting a photo's maps to one offline page, whose readers choose layer, head and opacity without Python."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from ..capture.capture import AttentionCapture
from ..capture.forward import capture_attention
from ..errors import SettingsError
from ..files import PAGE_SUFFIXES, check_writable, write_file
from ..images import Picture
from ..maps.completion import complete_capture
from ..maps.sources import SOURCES
from ..view.arrange import ground, screen_capture
from ..view.drawing import color_table
from ..view.encode import data_url, picture_bytes
from ..view.overview import render_overview
from ..view.recipe import make_recipe
from ..view.render import RenderedView, render_view
from ..view.settings import ViewSettings
from .document import page_html
from .maps import draw_layers
from .packing import PackedSheets, pack_sheets
from .payload import PageContents, page_facts, page_text

if TYPE_CHECKING:
    from ..models.loading import AttentionModel

MAX_BYTES = 3_000_000
"""Largest page in bytes: small enough for an e-mail attachment."""

PHOTO_BYTES = 400_000
"""The photo is kept lossless up to this size in bytes, else as a JPEG of decreasing quality."""

OVERVIEW_BYTES = 150_000
"""The same for the overview."""

STILL_BYTES = 100_000
"""The same for the finished picture for readers without scripts, which is always a JPEG."""


@dataclass(frozen=True, eq=False)
class ExportedPage:
    """A finished page.

    Attributes:
        content: the HTML file.
        maps: how many maps it holds.
        sources: names of their sources.
        samples: ``(height, width)`` at which a map is kept.
        size: ``(height, width)`` of a map on the picture.
        error: largest error of the heat, in levels of 255; 0 if every pixel is kept.
        color_error: largest error of the colour, in display levels of 255 at opacity 1; it shrinks with the opacity.
        photo_kept: how the photo is kept, in words.
    """

    content: bytes
    maps: int
    sources: tuple[str, ...]
    samples: tuple[int, int]
    size: tuple[int, int]
    error: int
    color_error: int
    photo_kept: str

    def describe(self) -> str:
        """The page in one line."""
        return f"{self.maps} maps, {self.kept()}, photo {self.photo_kept}, {len(self.content) / 1e6:.2f} MB"

    def kept(self) -> str:
        """How accurately the maps are kept, in words."""
        if not self.error and self.samples == self.size:
            return "every pixel kept"
        return (
            f"{self.size[0]} x {self.size[1]} pixels kept at {self.samples[0]} x {self.samples[1]} (heat off by at "
            f"most {self.error} of 255 levels, colours by {self.color_error} at opacity 1)"
        )


def export_page(
    model: AttentionModel,
    picture: Picture | AttentionCapture,
    path: str | os.PathLike[str],
    settings: ViewSettings | None = None,
    sources: Sequence[str] | None = None,
) -> ExportedPage:
    """Write a page with every layer, head and aggregation of a photo, readable without Python or a network.

    Args:
        model: from `load_model`.
        picture: the photo, or its capture by this model.
        path: HTML file to write, as a whole or not at all.
        settings: how the maps are drawn, and which one the page shows first.
        sources: sources that readers can choose; None is that of the settings.

    Returns:
        The page that was written.

    Raises:
        SettingsError: settings that this capture does not have, an unwritable file, or more maps than fit.
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
    progress: Callable[[Iterable[Any]], Iterable[Any]] = iter,
) -> ExportedPage:
    """The page of `export_page` without writing it. The same arguments give the same bytes.

    Args:
        model: the model of the capture.
        capture: from `capture_attention`.
        settings: how the maps are drawn, and which one the page shows first.
        sources: sources that readers can choose; None is that of the settings.
        name: file name of the photo; of a path, only the name goes into the page.
        progress: wraps the iterable of layers, like `tqdm`.

    Raises:
        SettingsError: settings that this capture does not have, or more maps than fit.
    """
    settings = settings or ViewSettings()
    sources = _checked_sources(settings, sources)
    for source in sources:
        capture = complete_capture(model, capture, replace(settings, source=source))
    screen = screen_capture(capture)
    first = _first_view(screen, settings)
    layers = draw_layers(screen, settings, sources, progress)
    contents = PageContents(
        model=_without_folders(model),
        capture=screen,
        first=first,
        layers=layers,
        name=Path(name).name,
        recipe=_recipe(model, capture, first.settings, Path(name).name),
    )
    picture, picture_kept = _smallest(ground(screen, settings), PHOTO_BYTES)
    overview = render_overview(screen, settings.query, settings.cmap)
    marks = tuple(dict.fromkeys(layer.marks for layer in layers if layer.marks))
    still, _ = _jpeg(first.image, STILL_BYTES)
    bar = data_url(picture_bytes(color_table(settings.cmap)[None]), "image/png")
    pictures = [picture, _smallest(overview.image, OVERVIEW_BYTES)[0], *(data_url(mark, "image/png") for mark in marks)]

    def assemble(packed: PackedSheets, kept: str) -> bytes:
        facts = page_facts(contents, packed, overview, marks)
        return page_html(page_text(contents, kept), facts, still, bar, pictures, packed.blocks)

    sheets = [layer.sheet for layer in layers]
    # the maps get the room that a page without them leaves, less 2 kB for the text about them
    nothing = PackedSheets((b"",) * len(sheets), (0, 0), False, 0, 3)
    packed = pack_sheets(sheets, MAX_BYTES - len(assemble(nothing, "")) - 2_000)
    page = ExportedPage(
        content=b"",
        maps=sum(len(layer.choices) for layer in layers),
        sources=sources,
        samples=packed.samples,
        size=sheets[0].codes.shape[1:],
        error=packed.error,
        color_error=_color_error(settings.cmap, packed.error),
        photo_kept=picture_kept,
    )
    values = {3: "three significant digits", 2: "two significant digits", 0: "left out"}[packed.value_digits]
    kept = f"The maps: {page.kept()}. The photo: {picture_kept}. Raw values of patches: {values}."
    return replace(page, content=assemble(packed, kept))


def _recipe(model: AttentionModel, capture: AttentionCapture, settings: ViewSettings, name: str) -> dict[str, Any]:
    recipe = make_recipe(model, capture, settings, path=name or None)
    recipe["model"]["load"] = _without_folders(model).loaded_with
    return recipe


def _smallest(image: np.ndarray, limit: int) -> tuple[str, str]:
    """A picture as a data URL, and how it is kept, in words: lossless if that takes at most `limit` bytes."""
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "WEBP", lossless=True, quality=80, method=4)
    if stream.tell() <= limit:
        return data_url(stream.getvalue(), "image/webp"), "kept lossless"
    return _jpeg(image, limit)


def _jpeg(image: np.ndarray, limit: int) -> tuple[str, str]:
    """A picture as a JPEG of the best quality that takes at most `limit` bytes, else of the lowest."""
    for quality in (95, 90, 80, 65, 50):
        stream = io.BytesIO()
        Image.fromarray(image).save(stream, "JPEG", quality=quality, subsampling=0 if quality >= 90 else 2)
        if stream.tell() <= limit:
            break
    return data_url(stream.getvalue(), "image/jpeg"), f"kept as JPEG of quality {quality}"


def _color_error(cmap: str, error: int) -> int:
    """Largest difference between two colours whose heat differs by at most `error` levels."""
    table = color_table(cmap).astype(int)
    return max((int(np.abs(table[apart:] - table[:-apart]).max()) for apart in range(1, error + 1)), default=0)


def _checked_sources(settings: ViewSettings, sources: Sequence[str] | None) -> tuple[str, ...]:
    sources = (settings.source,) if sources is None else tuple(dict.fromkeys(sources))
    unknown = [source for source in sources if source not in SOURCES]
    if unknown or not sources:
        raise SettingsError(f"sources {unknown} do not exist; choose one or more of {', '.join(SOURCES)}")
    if settings.source not in sources:
        raise SettingsError(
            f"the page opens with source {settings.source!r}, which must be one of its sources {sources}; add it"
        )
    return sources


def _first_view(capture: AttentionCapture, settings: ViewSettings) -> RenderedView:
    """The first map of the page; drawn before all others, so that bad settings are reported at once."""
    view = render_view(capture, settings)
    layer = capture.layer_index(settings.layer)
    head = None if settings.head is None else settings.head % capture.num_heads(layer)
    return replace(view, settings=replace(settings, layer=layer, head=head))


def _without_folders(model: AttentionModel) -> AttentionModel:
    """The model as the page names it: a checkpoint without the folders of this computer."""
    arguments = model.loaded_with
    if not arguments or not arguments.get("checkpoint"):
        return model
    return replace(model, loaded_with={**arguments, "checkpoint": Path(arguments["checkpoint"]).name})
