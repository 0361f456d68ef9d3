"""Take a photo's maps along: one offline page in which a reader without Python moves layer, head and opacity."""

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

MOST_BYTES = 3_000_000
"""Largest page: what a mail takes along without a thought."""

PHOTO_BYTES = 400_000
"""The photo is kept without loss up to this size, else as a JPEG of lower and lower quality."""

OVERVIEW_BYTES = 150_000
"""The overview likewise."""

STILL_BYTES = 100_000
"""The finished picture for readers without scripts, always a JPEG."""


@dataclass(frozen=True, eq=False)
class ExportedPage:
    """A finished page.

    Attributes:
        content: the HTML file.
        maps: how many maps it holds.
        sources: of what they are made.
        samples: ``(height, width)`` at which a map is kept, and `size` at which it is shown.
        size: ``(height, width)`` of a map on the picture.
        error: largest difference of a shown heat from the drawn one, in levels of 255; 0 where every pixel is kept.
        color_error: the same of its colour, in display levels of 255 at opacity 1; smaller in proportion to opacity.
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
        """How exactly the maps are kept, in words."""
        if not self.error and self.samples == self.size:
            return "every pixel of them kept"
        return (
            f"kept at {self.samples[0]} x {self.samples[1]} for {self.size[0]} x {self.size[1]} pixels (heat off by at "
            f"most {self.error} of 255 levels, colours by {self.color_error} at opacity 1)"
        )


def export_page(
    model: AttentionModel,
    picture: Picture | AttentionCapture,
    path: str | os.PathLike,
    settings: ViewSettings | None = None,
    sources: Sequence[str] | None = None,
) -> ExportedPage:
    """Write a page with every layer, head and aggregation of a photo, to be read without Python or a network.

    Args:
        model: from `load_model`.
        picture: the photo, or its capture by this model.
        path: HTML file to write; written whole or not at all.
        settings: how the maps are drawn, and which one the page opens with.
        sources: sources to choose from; None is the settings' own.

    Returns:
        What was written.

    Raises:
        SettingsError: settings that this capture does not have, a file that cannot be written, or more maps than fit.
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
    """The page of `export_page`, not written anywhere. The same arguments give the same bytes.

    Args:
        model: the model of the capture.
        capture: from `capture_attention`.
        settings: how the maps are drawn, and which one the page opens with.
        sources: sources to choose from; None is the settings' own.
        name: file name of the photo; of a path only the name goes into the page.
        progress: is given the layers that are drawn, and hands them on; for a progress bar.

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
    nothing = PackedSheets((b"",) * len(sheets), (0, 0), False, 0, 3)
    packed = pack_sheets(sheets, MOST_BYTES - len(assemble(nothing, "")) - 2_000)
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
    """A picture as an address, and how it is kept, in words: without loss where that takes at most `limit` bytes."""
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "WEBP", lossless=True, quality=80, method=4)
    if stream.tell()() <= limit:
        return data_url(stream.getvalue(), "image/webp"), "kept without loss"
    return _jpeg(image, limit)


def _jpeg(image: np.ndarray, limit: int) -> tuple[str, str]:
    """The same as a JPEG of the best quality that takes at most `limit` bytes, else of the lowest."""
    for quality in (95, 90, 80, 65, 50):
        stream = io.BytesIO()
        Image.fromarray(image).save(stream, "JPEG", quality=quality, subsampling=0 if quality >= 90 else 2)
        if stream.tell()() <= limit:
            break
    return data_url(stream.getvalue(), "image/jpeg"), f"kept as JPEG of quality {quality}"


def _color_error(cmap: str, error: int) -> int:
    """How far two colours can be apart whose heat differs by at most `error` levels."""
    table = color_table(cmap).astype(int)
    return max((int(np.abs(table[apart:] - table[:-apart]).max()) for apart in range(1, error + 1)), default=0)


def _checked_sources(settings: ViewSettings, sources: Sequence[str] | None) -> tuple[str, ...]:
    sources = (settings.source,) if sources is None else tuple(dict.fromkeys(sources))
    unknown = [source for source in sources if source not in SOURCES]
    if unknown or not sources:
        raise SettingsError(f"sources {unknown} do not exist; choose one or more of {', '.join(SOURCES)}")
    if settings.source not in sources:
        raise SettingsError(f"the page opens with {settings.source!r}, so this must be one of its sources {sources}")
    return sources


def _first_view(capture: AttentionCapture, settings: ViewSettings) -> RenderedView:
    """The map that the page opens with; settings that do not exist are told before anything else is drawn."""
    view = render_view(capture, settings)
    layer = capture.layer_index(settings.layer)
    head = None if settings.head is None else settings.head % capture.num_heads(layer)
    return replace(view, settings=replace(settings, layer=layer, head=head))


def _without_folders(model: AttentionModel) -> AttentionModel:
    """The model as a page for others names it: a checkpoint without the folders of this computer."""
    arguments = model.loaded_with
    if not arguments or not arguments.get("checkpoint"):
        return model
    return replace(model, loaded_with={**arguments, "checkpoint": Path(arguments["checkpoint"]).name})
