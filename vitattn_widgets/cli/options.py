"""Options that several commands share, and what they mean."""

from __future__ import annotations

import argparse
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..maps.settings import SINKS
from ..maps.sources import SOURCES
from ..models import DEFAULT_MODEL
from ..models.classes import find_class
from ..models.tokens import Query
from ..view.drawing import DEFAULT_CMAP, SCALES
from ..view.settings import GROUNDS, ViewSettings

if TYPE_CHECKING:
    from ..models.loading import AttentionModel


def add_model(parser: argparse.ArgumentParser) -> None:
    """The options that name a model."""
    model = parser.add_argument_group("model")
    model.add_argument("--model", help=f"timm name; else the checkpoint card's, else {DEFAULT_MODEL}")
    model.add_argument("--checkpoint", type=Path, help="local weights: safetensors or torch file")
    model.add_argument("--img-size", type=_size, help="input size in pixels: SIDE or HEIGHTxWIDTH")
    model.add_argument("--device", help="cpu, cuda, cuda:1, ...; else CUDA where there is one")


def add_shared(parser: argparse.ArgumentParser) -> None:
    """The options of every command that draws maps: model, what is shown, how it is drawn."""
    add_model(parser)
    shown = parser.add_argument_group("what is shown")
    shown.add_argument("--layer", type=int, default=-1, help="layer number; negative ones count from the end")
    shown.add_argument(
        "--query", type=read_query, help="token that looks: class, dist, reg0, mean, pool or ROW,COL; else what is read"
    )
    drawn = parser.add_argument_group("how it is drawn")
    for step, what in (
        ("bilinear", "interpolate between patches"),
        ("median", "median over a disk of half a patch"),
        ("gaussian", "Gaussian of a quarter patch"),
    ):
        drawn.add_argument(f"--{step}", action=argparse.BooleanOptionalAction, default=True, help=what)
    drawn.add_argument("--scale", choices=SCALES, default="map", help="which raw values become 0 and 1")
    drawn.add_argument("--opacity", type=float, default=0.5, help="0: photo alone, 1: map alone")
    drawn.add_argument("--cmap", default=DEFAULT_CMAP, help="name of a matplotlib colour map")
    drawn.add_argument("--on", choices=GROUNDS, default="view", help="draw on what the model saw or on the whole photo")


def positive(text: str) -> int:
    """A whole number from 1 on, of an option's text."""
    number = int(text)
    if number <= 0:
        raise ValueError(text)
    return number


def read_query(text: str) -> Query:
    """A query of an option's text: a name, or ``ROW,COL``."""
    row, comma, col = text.partition(",")
    if not comma:
        return text
    return int(row), int(col)


def _size(text: str) -> tuple[int, int]:
    height, _, width = text.partition("x")
    return int(height), int(width or height)


def add_source(parser: argparse.ArgumentParser) -> None:
    """The options of what a map is made of."""
    made = parser.add_argument_group("what the map is made of")
    made.add_argument("--source", choices=SOURCES, default="attention", help="the attention, or a reading of its worth")
    add_target(made)


def add_target(made: argparse._ArgumentGroup) -> None:
    """The options beside a source: class and sinks."""
    made.add_argument("--target", help="class for sources that depend on it: number or name; else the predicted one")
    made.add_argument(
        "--sinks", choices=SINKS, default="show", help="what is done with patches that draw attention on any photo"
    )


def view_settings(options: argparse.Namespace) -> ViewSettings:
    """The settings that a command's options name; the class waits for the model, see `with_target`."""
    names = [field.name for field in fields(ViewSettings) if field.name != "target" and hasattr(options, field.name)]
    return ViewSettings(**{name: getattr(options, name) for name in names})


def with_target(settings: ViewSettings, model: AttentionModel, target: str | None) -> ViewSettings:
    """The settings with the class of `add_source` as the model numbers it."""
    if target is None:
        return settings
    return replace(settings, target=find_class(model.class_names, target))


def load_chosen(options: argparse.Namespace) -> AttentionModel:
    """The model that the options of `add_shared` name; a line says which it is."""
    return load_named(options.model, options.checkpoint, options)


def load_named(name: str | None, checkpoint: Path | None, options: argparse.Namespace) -> AttentionModel:
    """A model at the size and on the device that the options of `add_shared` name; a line says which it is."""
    from ..models.loading import load_model

    name = name or (None if checkpoint else DEFAULT_MODEL)
    model = load_model(name, checkpoint=checkpoint, img_size=options.img_size, device=options.device)
    print(model.describe())
    return model
