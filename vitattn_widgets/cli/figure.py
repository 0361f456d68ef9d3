"""``vitattn figure``: the paper's figure of several photos, or any panels side by side on one scale."""

from __future__ import annotations

import argparse
import itertools
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import SettingsError
from ..files import check_writable, write_file
from .options import HelpFormatter, add_shared, add_source, load_chosen, load_named, view_settings, with_target
from .panels import SYNTAX, PanelText, naming, read_panels, short_names

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from PIL.Image import Image

    from ..comparison.panels import Panel
    from ..view.settings import ViewSettings

FIGURE_SUFFIXES = (".png", ".pdf", ".svg", ".jpg")

EXAMPLES = """\
examples:
  vitattn figure cat.jpg dog.jpg -o figure.pdf --layer 7
  vitattn figure cat.jpg -o layers.png --compare layer=0,5,11
  vitattn figure cat.jpg -o sources.pdf --compare source=attention,rollout,gradient_late --scale robust
  vitattn figure cat.jpg -o two.png --compare "layer=3 head=2" "source=relevance target=tabby" --difference
  vitattn figure cat.jpg -o models.png --compare model=vit_tiny_patch16_224,vit_small_patch16_224
  vitattn figure cat.jpg -o tuned.png --compare "model=vit_tiny_patch16_224 name=before" \\
                                                "checkpoint=runs/pets/best.safetensors name=after" --difference
  vitattn figure cat.jpg dog.jpg -o photos.png --compare
"""


def add_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the parser."""
    figure = commands.add_parser(
        "figure",
        help="draw the paper's figure of one or more photos, or compare maps on one scale",
        description="Draw the paper's figure: one row per photo, with what the model saw and the maps of its heads "
        "aggregated by mean, max and mean / std. With --compare, draw any panels side by side on one scale.",
        formatter_class=HelpFormatter,
        epilog=EXAMPLES,
    )
    figure.add_argument(
        "photos",
        type=Path,
        nargs="+",
        metavar="PHOTO",
        help="picture file: one row of the figure, or in a comparison one panel",
    )
    figure.add_argument(
        "-o",
        "--output",
        type=Path,
        required=True,
        metavar="FILE",
        help=f"figure to write ({', '.join(FIGURE_SUFFIXES)})",
    )
    group = figure.add_argument_group("comparison")
    group.add_argument(
        "--compare",
        nargs="*",
        action="extend",
        metavar="PANEL",
        default=argparse.SUPPRESS,
        help="compare panels instead of drawing the paper's figure. Every PANEL is drawn for every photo; what it does "
        f"not set is taken from the other options. A PANEL is {SYNTAX}. The panels share one scale; --scale robust "
        "clips it at percentiles",
    )
    group.add_argument(
        "--difference", action="store_true", help="of two panels of one photo, also draw the first minus the second"
    )
    add_source(figure)
    add_shared(figure)
    figure.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Run the command."""
    from ..figures.paper import figure_bytes

    check_writable(options.output, FIGURE_SUFFIXES)
    texts = getattr(options, "compare", None)
    if texts is None and options.difference:
        raise SettingsError("--difference needs two panels; name them with --compare PANEL PANEL")
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
    from ..figures.paper import MAX_COLUMNS, comparison_figure

    requests = read_panels(texts, options.photos)
    settings = [request.settings(view_settings(options)) for request in requests]
    photos = _load_photos(requests)
    if options.difference:
        _require_difference(requests, photos)
    panels = _capture_panels(requests, settings, photos, options)

    scale = shared_scale(options.scale)
    compared = compare_views(panels, scale)
    for title, view in zip(compared.titles, compared.views, strict=True):
        print(f"{title or 'shown'}: {view.caption}")
    if options.difference:
        first, second = panels
        print(difference_view(first, second, scale).caption)
    return comparison_figure(panels, scale, options.difference, _columns(requests, MAX_COLUMNS))


def _columns(requests: list[PanelText], most: int) -> int | None:
    """The panels per photo, for one row per photo, if all photos have equally many and they fit; else None."""
    counts = [len(list(group)) for _, group in itertools.groupby(requests, key=lambda request: request.photo)]
    return counts[0] if len(counts) > 1 and len(set(counts)) == 1 and 1 < counts[0] <= most else None


def _load_photos(requests: list[PanelText]) -> dict[Path, Image]:
    """Every photo once, before any model, so that a bad photo is reported before any download."""
    from ..images import load_picture

    return {path: load_picture(path) for path in dict.fromkeys(request.photo for request in requests)}


def _require_difference(requests: list[PanelText], photos: dict[Path, Image]) -> None:
    import numpy as np

    from ..comparison.compare import NOT_ONE_PHOTO

    if len(requests) != 2:
        raise SettingsError(f"--difference needs two panels, got {len(requests)}; give one photo and two panels")
    first, second = (np.asarray(photos[request.photo]) for request in requests)
    if not np.array_equal(first, second):
        raise SettingsError(NOT_ONE_PHOTO)


def _capture_panels(
    requests: list[PanelText], settings: list[ViewSettings], photos: dict[Path, Image], options: argparse.Namespace
) -> list[Panel]:
    """Load every model once, and run it once per photo."""
    from tqdm import tqdm

    from ..comparison.panels import Panel
    from ..maps.attribution import grid_map
    from ..models.building import require_known
    from ..models.checkpoints import require_checkpoint
    from ..viewer.store import CaptureStore

    choices = [_choice(request, options) for request in requests]
    # check all names before loading anything: a typing error in the last panel must not cost the loads before it
    for request, (name, checkpoint) in zip(requests, choices, strict=True):
        with naming(request.text):
            if checkpoint is not None:
                require_checkpoint(checkpoint)
            if name is not None:
                require_known(name)
    models = {}
    for request, choice in zip(requests, choices, strict=True):
        if choice not in models:
            with naming(request.text):
                models[choice] = load_named(*choice, options)
    store = CaptureStore(sys.maxsize)
    names = _names(requests, [checkpoint for _, checkpoint in choices])
    panels = []
    rows = list(zip(requests, settings, choices, names, strict=True))
    for request, view, choice, name in tqdm(rows, unit="panel", disable=len(rows) < 3):
        model = models[choice]
        with naming(request.text):
            view = with_target(view, model, request.target or options.target)
            capture = store.get(model, request.photo, partial(photos.__getitem__, request.photo), view)
            grid_map(capture, view)  # here, so that the message about a missing layer, head or query names the panel
        panels.append(Panel(capture, view, name))
    return panels


def _choice(request: PanelText, options: argparse.Namespace) -> tuple[str | None, Path | None]:
    """The model and checkpoint of a panel; a panel that names its model ignores the --checkpoint option."""
    if request.model is not None:
        return request.model, request.checkpoint
    return options.model, request.checkpoint or options.checkpoint


def _names(requests: list[PanelText], checkpoints: list[Path | None]) -> list[str]:
    """The name of each panel: its own, or its photo and checkpoint as far as they distinguish the panels."""
    photos = short_names(request.photo for request in requests)
    weights = short_names(path for path in checkpoints if path is not None)
    alike = len({path.name for path in weights}) < len(weights)
    names = []
    for request, path in zip(requests, checkpoints, strict=True):
        photo = photos[request.photo] if len(photos) > 1 else ""
        run = weights[path] if alike and path is not None else ""
        names.append(request.name or ", ".join(filter(None, (photo, run))))
    return names
