"""``vitattn figure``: the paper's figure of several photos."""

from __future__ import annotations

import argparse
import io
from pathlib import Path

from ..files import check_writable, write_file
from .options import add_shared, load_chosen, view_settings

FIGURE_SUFFIXES = (".png", ".pdf", ".svg", ".jpg")


def add_command(commands: argparse._SubParsersAction) -> None:
    """Add the command to the parser."""
    figure = commands.add_parser(
        "figure",
        help="the paper's figure: a row a photo; view, mean, max, mean / std",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    figure.add_argument("photos", type=Path, nargs="+", help="picture files, one a row")
    figure.add_argument(
        "-o", "--output", type=Path, required=True, help=f"figure to write: {', '.join(FIGURE_SUFFIXES)}"
    )
    add_shared(figure)
    figure.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Carry the command out."""
    from tqdm import tqdm

    from ..capture import capture_attention
    from ..figures import paper_figure
    from ..images import load_picture

    check_writable(options.output, FIGURE_SUFFIXES)
    settings = view_settings(options)
    photos = [load_picture(path) for path in options.photos]
    model = load_chosen(options)
    captures = [capture_attention(model, photo) for photo in tqdm(photos, unit="photo", disable=len(photos) < 3)]
    stream = io.BytesIO()
    paper_figure(captures, settings).savefig(stream, format=options.output.suffix[1:])
    write_file(options.output, stream.getvalue())
    print(f"wrote {options.output}")
