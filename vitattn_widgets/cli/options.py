"""The options that several commands share, and how they become settings and a model."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import SettingsError
from ..maps.settings import SINKS
from ..maps.sources import SOURCES
from ..models import DEFAULT_MODEL
from ..models.classes import find_class
from ..models.tokens import Query
from ..view.drawing import BLENDS, DEFAULT_CMAP, SCALES
from ..view.settings import GROUNDS, SMOOTHING_STEPS, ViewSettings

if TYPE_CHECKING:
    from PIL.Image import Image

    from ..capture.capture import AttentionCapture
    from ..models.loading import AttentionModel

    Like = tuple[int, int] | Image


class HelpFormatter(argparse.HelpFormatter):
    """Help with the default of every option that has one; examples keep their line breaks."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return text if "\n" in text else super()._fill_text(text, width, indent)

    def _get_help_string(self, action: argparse.Action) -> str | None:
        # Python before 3.13 adds the default to the help of a --flag, --no-flag pair itself
        text = (action.help or "").removesuffix(" (default: %(default)s)")
        if isinstance(action, argparse.BooleanOptionalAction) and action.default is not None:
            return f"{text} (default: {'on' if action.default else 'off'})"
        if action.default is None or action.default is False or action.default in ([], argparse.SUPPRESS):
            return text
        if isinstance(action.default, list):
            return f"{text} (default: {' '.join(map(str, action.default))})"
        return f"{text} (default: %(default)s)"


def add_model(parser: argparse.ArgumentParser) -> None:
    """Add the options that choose a model."""
    group = parser.add_argument_group("model")
    group.add_argument(
        "--model",
        metavar="NAME",
        help="timm model, or demo for the embedded one (default: the one that the checkpoint's card names, else "
        f"{DEFAULT_MODEL}, or the embedded one if its weights cannot be had)",
    )
    group.add_argument(
        "--checkpoint", type=Path, metavar="FILE", help="load the weights from this file (safetensors or torch)"
    )
    group.add_argument(
        "--img-size",
        type=read_size,
        metavar="SIZE",
        help="input size in pixels: SIDE, or HEIGHTxWIDTH (default: the model's own)",
    )
    group.add_argument("--device", help="cpu, cuda, cuda:1, ... (default: cuda if available)")


def add_shared(parser: argparse.ArgumentParser) -> None:
    """Add the options of every command that draws maps: the model, which map is shown, how it is drawn."""
    add_model(parser)
    chosen = parser.add_argument_group("layer and query")
    chosen.add_argument(
        "--layer", type=int, default=-1, metavar="N", help="layer, from 0 on; negative numbers count from the last"
    )
    chosen.add_argument(
        "--query",
        type=read_query,
        metavar="TOKEN",
        help="token whose attention is shown: class, dist, reg0, mean, pool, or ROW,COL for a patch (default: the one "
        "that the classifier reads)",
    )
    drawn = parser.add_argument_group("drawing")
    words_by_step = {
        "bilinear": "interpolate between patches",
        "median": "median filter over a disk with a radius of half a patch",
        "gaussian": "Gaussian filter with a sigma of a quarter of a patch",
    }
    for step in SMOOTHING_STEPS:
        drawn.add_argument(f"--{step}", action=argparse.BooleanOptionalAction, default=True, help=words_by_step[step])
    drawn.add_argument(
        "--scale",
        choices=SCALES,
        default="map",
        help="values that the colours span: map, the map's own; shared, those of all heads of its layer; robust, the "
        "map's own without its extremes",
    )
    drawn.add_argument(
        "--opacity", type=float, default=0.5, help="opacity of the map, from 0 (photo alone) to 1 (map alone)"
    )
    drawn.add_argument(
        "--blend",
        choices=BLENDS,
        default="even",
        help="even, the same opacity everywhere; glow, in proportion to the map, so that the photo keeps its colours",
    )
    drawn.add_argument("--cmap", default=DEFAULT_CMAP, metavar="NAME", help="matplotlib colour map")
    drawn.add_argument(
        "--on",
        choices=GROUNDS,
        default="view",
        help="picture to draw on: view, what the model saw; original, the whole photo with the crop framed",
    )


def positive(text: str) -> int:
    """Read a whole number of at least 1.

    Raises:
        ArgumentTypeError: the text is not one.
    """
    return _whole_number(text, 1, None, "a whole number of at least 1")


def port_number(text: str) -> int:
    """Read a port, 0..65535.

    Raises:
        ArgumentTypeError: the text is not one.
    """
    return _whole_number(text, 0, 65535, "a whole number from 0 to 65535")


def _whole_number(text: str, least: int, most: int | None, words: str) -> int:
    try:
        number = int(text)
    except ValueError:
        number = None
    if number is None or number < least or (most is not None and number > most):
        raise argparse.ArgumentTypeError(f"must be {words}, got {text!r}")
    return number


def read_query(text: str) -> Query:
    """Read a query: a name, or ``ROW,COL``.

    Raises:
        ArgumentTypeError: a comma without a whole number on both sides.
    """
    row, comma, col = text.partition(",")
    if not comma:
        return text
    try:
        return int(row), int(col)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"must be a token's name or ROW,COL such as 5,8, got {text!r}") from error


def read_size(text: str) -> tuple[int, int]:
    """Read an input size ``(height, width)`` in pixels: ``SIDE``, or ``HEIGHTxWIDTH``.

    Raises:
        ArgumentTypeError: the text is neither.
    """
    sides = re.fullmatch("([0-9]{1,9})(?:x([0-9]{1,9}))?", text)
    if sides is None:
        raise argparse.ArgumentTypeError(
            f"must be SIDE or HEIGHTxWIDTH in pixels, such as 224 or 224x320, got {text!r}"
        )
    return int(sides[1]), int(sides[2] or sides[1])


def add_source(parser: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    """Add the options that choose the source of a map, and return their group."""
    group = parser.add_argument_group("source")
    group.add_argument(
        "--source",
        choices=SOURCES,
        default="attention",
        help="what the map shows: plain attention, or attention combined with value norms, over layers, or with the "
        "gradients of a class",
    )
    add_target(group)
    return group


def add_like(group: argparse._ArgumentGroup) -> None:
    """Add the option that explains a likeness instead of a class."""
    group.add_argument(
        "--like",
        metavar="PHOTO",
        help="explain, instead of a class, what this photo has in common with another one, or with its own patch "
        "ROW,COL; for sources that depend on the class",
    )


def add_target(group: argparse._ArgumentGroup) -> None:
    """Add the options that go with a source: class and sinks."""
    group.add_argument(
        "--target",
        metavar="CLASS",
        help="class to explain, by number or name, for sources that depend on it (default: the predicted class)",
    )
    group.add_argument(
        "--sinks",
        choices=SINKS,
        default="show",
        help="what to do with patches that draw attention in any photo; mark leaves them out and outlines them",
    )


def view_settings(options: argparse.Namespace) -> ViewSettings:
    """The settings that a command's options name, except the class, which needs the model; see `with_target`."""
    names = [field.name for field in fields(ViewSettings) if field.name != "target" and hasattr(options, field.name)]
    return ViewSettings(**{name: getattr(options, name) for name in names})


def with_target(settings: ViewSettings, model: AttentionModel, target: str | None) -> ViewSettings:
    """The settings with the class of ``--target``, as the model numbers it."""
    if target is None:
        return settings
    return replace(settings, target=find_class(model.class_names, target))


def read_like(options: argparse.Namespace, settings: ViewSettings) -> Like | None:
    """What ``--like`` names, a patch or a photo, read before any model is loaded; None without it.

    Raises:
        SettingsError: together with ``--target``, or for a source that does not depend on the class.
        PictureError: the other photo cannot be read.
    """
    if options.like is None:
        return None
    from ..images import load_picture

    if options.target is not None:
        raise SettingsError("--like takes the place of a class; give either --target or --like")
    if settings.source_info.no_class:
        raise SettingsError(
            f"--like has no effect on the source {settings.source!r}: {settings.source_info.no_class}; "
            "choose another one, such as --source contribution_sum"
        )
    patch = re.fullmatch(r"([0-9]{1,5}),([0-9]{1,5})", options.like)
    return (int(patch[1]), int(patch[2])) if patch else load_picture(options.like)


def with_likeness(
    capture: AttentionCapture,
    settings: ViewSettings,
    model: AttentionModel,
    options: argparse.Namespace,
    like: Like | None,
) -> tuple[AttentionCapture, ViewSettings]:
    """The capture and the settings with what `read_like` gave as the target."""
    if like is None:
        return capture, settings
    from ..capture.directions import add_direction
    from ..capture.forward import capture_attention

    if isinstance(like, tuple):
        capture = add_direction(model, capture, like)
    else:
        capture = add_direction(model, capture, capture_attention(model, like), Path(options.like).name)
    return capture, replace(settings, target=len(capture.target_names) - 1)


def printing() -> Callable[[str], None]:
    """`print` in the first of several processes; the others print nothing."""
    from ..runs import is_main_process

    return print if is_main_process() else _quiet


def _quiet(_: str) -> None:
    """Print nothing."""


def load_chosen(options: argparse.Namespace, notify: Callable[[str], None] = print) -> AttentionModel:
    """Load the model that the options of `add_model` name; `notify` receives one line about it."""
    return load_named(options.model, options.checkpoint, options, notify)


def load_named(
    name: str | None,
    checkpoint: Path | None,
    options: argparse.Namespace,
    notify: Callable[[str], None] = print,
) -> AttentionModel:
    """Load a model at the size and on the device that the options of `add_model` name.

    `notify` receives one line about it, and another one if the embedded model takes the default's place.
    """
    from ..models.loading import load_model

    model = load_model(name, checkpoint=checkpoint, img_size=options.img_size, device=options.device)
    notify(model.describe())
    if model.note:
        notify(model.note)
    return model
