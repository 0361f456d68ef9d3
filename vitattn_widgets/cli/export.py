"""``vitattn export``: the viewer with one photo as an offline page."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from ..files import PAGE_SUFFIXES, check_writable, write_file
from ..maps.aggregate import AGGREGATIONS
from ..maps.sources import SOURCES
from ..viewer.settings import START
from .options import (
    HelpFormatter,
    add_like,
    add_shared,
    add_target,
    load_chosen,
    read_like,
    view_settings,
    with_likeness,
    with_target,
)


def add_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the parser."""
    export = commands.add_parser(
        "export",
        help="write the viewer with one photo to an offline page, for readers without Python",
        description="Write an HTML file of at most 3 MB: the viewer with one photo, which needs neither Python nor a "
        "network. The options choose the map that it opens with. The command prints what did not fit.",
        formatter_class=HelpFormatter,
    )
    export.add_argument("photo", type=Path, metavar="PHOTO", help="picture file")
    export.add_argument(
        "-o",
        "--output",
        type=Path,
        required=True,
        metavar="FILE",
        help=f"page to write ({', '.join(PAGE_SUFFIXES)})",
    )
    export.add_argument(
        "--head", type=int, metavar="N", help="head that is shown first (default: all heads, aggregated)"
    )
    export.add_argument(
        "--aggregation", choices=AGGREGATIONS, default="mean", help="aggregation of the heads that is shown first"
    )
    group = export.add_argument_group("source")
    group.add_argument(
        "--source",
        dest="sources",
        action="append",
        choices=SOURCES,
        default=[],
        help="source that readers can choose; repeatable, the first is shown first (default: all, attention first)",
    )
    add_target(group)
    add_like(group)
    add_shared(export)
    export.set_defaults(run=run, **{name: getattr(START, name) for name in ("sinks", "scale", "opacity", "blend")})


def run(options: argparse.Namespace) -> None:
    """Run the command."""
    from ..capture.forward import capture_attention
    from ..export.page import make_page
    from ..images import load_picture

    check_writable(options.output, PAGE_SUFFIXES)
    settings = view_settings(options)
    if options.sources:
        settings = replace(settings, source=options.sources[0])
    like = read_like(options, settings)
    sources = options.sources or None
    photo = load_picture(options.photo)  # before the model, so that a bad photo is reported before any download
    model = load_chosen(options)
    settings = with_target(settings, model, options.target)
    capture, settings = with_likeness(capture_attention(model, photo), settings, model, options, like)
    page = make_page(model, capture, settings, sources, options.photo.name)
    write_file(options.output, page.content)
    print(f"wrote {options.output}: {page.describe()}")
