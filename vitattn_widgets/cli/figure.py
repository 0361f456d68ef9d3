"""``vitattn figure``: the paper's figure of several photos, or any panels side by side on one scale."""

from __future__ import annotations

import argparse
import itertools
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import SettingsError
from ..files import check_writable, write_file
from .options import add_shared, add_source, load_chosen, load_named, view_settings, with_target
from .panels import SYNTAX, PanelText, naming, read_panels, short_names

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from PIL.Image import Image

    from ..comparison.panels import Panel
    from ..view.settings import ViewSettings

FIGURE_SUFFIXES = (".png", ".pdf", ".svg", ".jpg")

EXAMPLES = """\
examples of a comparison:
  vitattn figure cat.jpg -o layers.png --compare layer=0,5,11
  vitattn figure cat.jpg -o sources.pdf --compare source=attention,rollout,gradient_late --scale robust
  vitattn figure cat.jpg -o two.png --compare "layer=3 head=2" "source=relevance target=tabby" --difference
  vitattn figure cat.jpg -o models.png --compare model=vit_tiny_patch16_224,vit_small_patch16_224
  vitattn figure cat.jpg -o tuned.png --compare "model=vit_tiny_patch16_224 name=before" \\
                                                "checkpoint=runs/pets/best.safetensors name=after" --difference
  vitattn figure cat.jpg dog.jpg -o photos.png --compare
"""


class _Help(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Default values after each option, and the examples as they are written."""


def add_command(commands: argparse._SubParsersAction) -> None:
    """Add the command to the parser."""
    figure = commands.add_parser(
        "figure",
        help="the paper's figure (a row a photo; view, mean, max, mean / std), or panels compared on one scale",
        formatter_class=_Help,
        epilog=EXAMPLES,
    )
    figure.add_argument("photos", type=Path, nargs="+", help="picture files, one a row; in a comparison, one a panel")
    figure.add_argument(
        "-o", "--output", type=Path, required=True, help=f"figure to write: {', '.join(FIGURE_SUFFIXES)}"
    )
    compared = figure.add_argument_group("comparison")
    compared.add_argument(
        "--compare",
        nargs="*",
        action="extend",
        metavar="PANEL",
        default=argparse.SUPPRESS,
        help="draw panels in one row on one scale in place of the paper's figure, each photo as these say and as the "
        f"other options say for the rest: {SYNTAX}. The scale is shared, or robust with --scale robust",
    )
    compared.add_argument(
        "--difference", action="store_true", help="of two panels of one photo, draw first minus second as well"
    )
    add_source(figure)
    add_shared(figure)
    figure.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Carry the command out."""
    from ..figures.paper import figure_bytes

    check_writable(options.output, FIGURE_SUFFIXES)
    texts = getattr(options, "compare", None)
    if texts is None and options.difference:
        raise SettingsError("--difference is of two panels; say which with --compare PANEL PANEL")
    figure = _paper_figure(options) if texts is None else _compared_figure(options, texts)
    write_file(options.output, figure_bytes(figure, options.output.suffix[1:]))
    print(f"wrote {options.output}")


def _paper_figure(options: argparse.Namespace) -> Figure:
    from tqdm import tqdm

    from ..capture.forward import capture_attention
    from ..figures.paper import paper_figure
    from ..images import load_picture
    from ..maps.completion import complete_capture

    settings = view_settings(options)
    photos = [load_picture(path) for path in options.photos]
    model = load_chosen(options)
    settings = with_target(settings, model, options.target)
    captures = [
        complete_capture(model, capture_attention(model, photo), settings)
        for photo in tqdm(photos, unit="photo", disable=len(photos) < 3)
    ]
    return paper_figure(captures, settings)


def _compared_figure(options: argparse.Namespace, texts: list[str]) -> Figure:
    from ..comparison.compare import compare_views, difference_view, shared_scale
    from ..figures.paper import MOST_COLUMNS, comparison_figure

    asked = read_panels(texts, options.photos)
    settings = [panel.settings(view_settings(options)) for panel in asked]
    photos = _load_photos(asked)
    if options.difference:
        _require_difference(asked, photos)
    panels = _capture_panels(asked, settings, photos, options)

    scale = shared_scale(options.scale)
    compared = compare_views(panels, scale)
    for title, view in zip(compared.titles, compared.views, strict=True):
        print(f"{title or 'shown'}: {view.caption}")
    if options.difference:
        print(difference_view(*panels, scale).caption)
    return comparison_figure(panels, scale, options.difference, _columns(asked, MOST_COLUMNS))


def _columns(asked: list[PanelText], most: int) -> int | None:
    """A row a photo, where each has as many panels as the others and they fit; else None."""
    counts = [len(list(group)) for _, group in itertools.groupby(asked, key=lambda panel: panel.photo)]
    return counts[0] if len(counts) > 1 and len(set(counts)) == 1 and 1 < counts[0] <= most else None


def _load_photos(asked: list[PanelText]) -> dict[Path, Image]:
    """Every photo once; a bad one is told before a model is fetched."""
    from ..images import load_picture

    return {path: load_picture(path) for path in dict.fromkeys(panel.photo for panel in asked)}


def _require_difference(asked: list[PanelText], photos: dict[Path, Image]) -> None:
    import numpy as np

    from ..comparison.compare import NOT_ONE_PHOTO

    if len(asked) != 2:
        raise SettingsError(f"--difference is of two panels, these are {len(asked)}; one photo and two panels are two")
    if not np.array_equal(*(np.asarray(photos[panel.photo]) for panel in asked)):
        raise SettingsError(NOT_ONE_PHOTO)


def _capture_panels(
    asked: list[PanelText], settings: list[ViewSettings], photos: dict[Path, Image], options: argparse.Namespace
) -> list[Panel]:
    """Every model loaded once, and every photo run once through it."""
    from tqdm import tqdm

    from ..comparison.panels import Panel
    from ..maps.attribution import grid_map
    from ..models.checkpoints import require_checkpoint
    from ..models.loading import require_known
    from ..viewer.store import CaptureStore

    choices = [_choice(panel, options) for panel in asked]
    for panel, (name, checkpoint) in zip(asked, choices, strict=True):
        with naming(panel.text):
            if checkpoint is not None:
                require_checkpoint(checkpoint)
            if name is not None:
                require_known(name)
    models = {}
    for panel, choice in zip(asked, choices, strict=True):
        if choice not in models:
            with naming(panel.text):
                models[choice] = load_named(*choice, options)
    store = CaptureStore(sys.maxsize)
    names = _names(asked, [checkpoint for _, checkpoint in choices])
    panels = []
    rows = list(zip(asked, settings, choices, names, strict=True))
    for panel, shown, choice, name in tqdm(rows, unit="panel", disable=len(rows) < 3):
        model = models[choice]
        with naming(panel.text):
            shown = with_target(shown, model, panel.target or options.target)
            capture = store.get(model, panel.photo, lambda path=panel.photo: photos[path], shown)
            grid_map(capture, shown)  # a place that this model does not have is told with the panel
        panels.append(Panel(capture, shown, name))
    return panels


def _choice(panel: PanelText, options: argparse.Namespace) -> tuple[str | None, Path | None]:
    """The model and checkpoint of a panel; one that names its model does not take the other options' checkpoint."""
    if panel.model is not None:
        return panel.model, panel.checkpoint
    return options.model, panel.checkpoint or options.checkpoint


def _names(asked: list[PanelText], checkpoints: list[Path | None]) -> list[str]:
    """What each panel's files are called, where there are several."""
    photos = short_names(panel.photo for panel in asked)
    weights = short_names(path for path in checkpoints if path is not None)
    alike = len({path.name for path in weights}) < len(weights)
    names = []
    for panel, path in zip(asked, checkpoints, strict=True):
        parts = [photos[panel.photo] if len(photos) > 1 else "", weights.get(path, "") if alike else ""]
        names.append(panel.name or ", ".join(filter(None, parts)))
    return names
