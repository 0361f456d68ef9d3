"""``vitattn export``: every map of a photo in one offline page."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from ..files import PAGE_SUFFIXES, check_writable, write_file
from ..maps.aggregate import AGGREGATIONS
from ..maps.sources import SOURCES
from .options import add_shared, add_target, load_chosen, view_settings, with_target


def add_command(commands: argparse._SubParsersAction) -> None:
    """Add the command to the parser."""
    export = commands.add_parser(
        "export",
        help="one offline page with every map of a photo, for readers without Python",
        description="Write one HTML file of at most 3 MB in which a reader without Python or a network chooses layer, "
        "head, aggregation and opacity. The other options say how its maps are drawn, and which one it opens with.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    export.add_argument("photo", type=Path, help="picture file")
    export.add_argument("-o", "--output", type=Path, required=True, help=f"page to write: {', '.join(PAGE_SUFFIXES)}")
    export.add_argument("--head", type=int, help="open with this head; without it, with all heads aggregated")
    export.add_argument("--aggregation", choices=AGGREGATIONS, default="mean", help="open with this aggregation")
    made = export.add_argument_group("what the maps are made of")
    made.add_argument(
        "--source",
        dest="sources",
        action="append",
        choices=SOURCES,
        default=[],
        help="a source to choose from, repeatable; the page opens with the first; without one, attention",
    )
    add_target(made)
    add_shared(export)
    export.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Carry the command out."""
    from tqdm import tqdm

    from ..capture.forward import capture_attention
    from ..export.page import make_page
    from ..images import load_picture

    check_writable(options.output, PAGE_SUFFIXES)
    settings = view_settings(options)
    sources = tuple(dict.fromkeys(options.sources)) or (settings.source,)
    photo = load_picture(options.photo)  # a bad photo is told before a model is fetched
    model = load_chosen(options)
    settings = with_target(replace(settings, source=sources[0]), model, options.target)
    page = make_page(
        model,
        capture_attention(model, photo),
        settings,
        sources,
        options.photo.name,
        progress=lambda layers: tqdm(layers, unit="layer", delay=3, leave=False),
    )
    write_file(options.output, page.content)
    print(f"wrote {options.output}: {page.describe()}")
