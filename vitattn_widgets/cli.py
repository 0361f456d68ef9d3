"""The command line: ``vitattn map``, ``figure``, ``demo`` and ``finetune``. It reads options and calls the package."""

from __future__ import annotations

import argparse
import io
import sys
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from . import __version__
from .aggregate import AGGREGATIONS
from .classes import find_class
from .drawing import DEFAULT_CMAP, SCALES
from .errors import VitattnError
from .files import PICTURE_FORMATS, check_writable, map_bytes, picture_bytes, write_file
from .settings import DEFAULT_MODEL, GROUNDS, SINKS, ViewSettings
from .sources import SOURCES
from .tokens import Query
from .training_recipes import AUGMENTATIONS, HEADS, OPTIMIZERS, PRECISIONS, SCHEDULES, TRAINED

if TYPE_CHECKING:
    from .models import AttentionModel

FIGURE_SUFFIXES = (".png", ".pdf", ".svg", ".jpg")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit status: 0, 2 for a user's mistake, 130 when stopped by Ctrl-C."""
    options = _parser().parse_args(arguments)
    try:
        with warnings.catch_warnings():
            from PIL.Image import DecompressionBombWarning

            warnings.simplefilter("ignore", DecompressionBombWarning)  # load_picture has its own, lower limit
            options.run(options)
    except VitattnError as error:
        print(f"vitattn: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("vitattn: stopped", file=sys.stderr)
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="vitattn", description="See what a Vision Transformer attends to.")
    parser.add_argument("--version", action="version", version=f"vitattn_widgets {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    one = commands.add_parser(
        "map", help="lay the attention map over one photo", formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    one.add_argument("photo", type=Path, help="picture file")
    one.add_argument("-o", "--output", type=Path, required=True, help=f"picture to write: {', '.join(PICTURE_FORMATS)}")
    one.add_argument("--npz", type=Path, help="write the raw map here as well")
    one.add_argument("--head", type=int, help="show this head; without it, all heads are aggregated")
    one.add_argument("--aggregation", choices=AGGREGATIONS, default="mean", help="how heads become one map")
    made = one.add_argument_group("what the map is made of")
    made.add_argument("--source", choices=SOURCES, default="attention", help="the attention, or a reading of its worth")
    made.add_argument("--target", help="class for sources that depend on it: number or name; else the predicted one")
    made.add_argument(
        "--sinks", choices=SINKS, default="show", help="what is done with patches that draw attention on any photo"
    )
    _add_shared(one)
    one.set_defaults(run=_map)

    figure = commands.add_parser(
        "figure",
        help="the paper's figure: a row a photo; view, mean, max, mean / std",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    figure.add_argument("photos", type=Path, nargs="+", help="picture files, one a row")
    figure.add_argument(
        "-o", "--output", type=Path, required=True, help=f"figure to write: {', '.join(FIGURE_SUFFIXES)}"
    )
    _add_shared(figure)
    figure.set_defaults(run=_figure)

    demo = commands.add_parser(
        "demo",
        help="a page in the browser, for yourself or for a class",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    _add_demo(demo)
    demo.set_defaults(run=_demo)

    finetune = commands.add_parser(
        "finetune",
        help="train a model on a data set, with the paper's recipe or the kit's own",
        description="Train a model on a data set and measure it. A run that was stopped goes on from its last finished "
        "epoch when it is started again with the same options. Several processes or GPUs: accelerate launch -m "
        "vitattn_widgets finetune ...",
    )
    _add_finetune(finetune)
    finetune.set_defaults(run=_finetune)
    return parser


def _add_shared(parser: argparse.ArgumentParser) -> None:
    model = parser.add_argument_group("model")
    model.add_argument("--model", help=f"timm name; else the checkpoint card's, else {DEFAULT_MODEL}")
    model.add_argument("--checkpoint", type=Path, help="local weights: safetensors or torch file")
    model.add_argument("--img-size", type=_size, help="input size in pixels: SIDE or HEIGHTxWIDTH")
    model.add_argument("--device", help="cpu, cuda, cuda:1, ...; else CUDA where there is one")
    shown = parser.add_argument_group("what is shown")
    shown.add_argument("--layer", type=int, default=-1, help="layer number; negative ones count from the end")
    shown.add_argument(
        "--query", type=_query, help="token that looks: class, dist, reg0, mean, pool or ROW,COL; else what is read"
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


def _add_demo(demo: argparse.ArgumentParser) -> None:
    demo.add_argument(
        "--model",
        action="append",
        default=[],
        help="timm name of a model to choose from, or demo for the embedded one, repeatable; without one, "
        f"{DEFAULT_MODEL}, or the embedded one where its weights cannot be had",
    )
    demo.add_argument("--checkpoint", type=Path, help="local weights of the one model")
    demo.add_argument("--host", default="127.0.0.1", help="address to listen on; 0.0.0.0 is every one of this computer")
    demo.add_argument("--port", type=int, default=7860, help="port to listen on")
    demo.add_argument("--share", action="store_true", help="print a public link, through Gradio's tunnel")
    demo.add_argument(
        "--auth",
        action="append",
        default=[],
        metavar="USER:PASSWORD",
        help="let only this user in, repeatable; others on this computer can read it, so better use VITATTN_AUTH in "
        "the environment or --auth-file",
    )
    demo.add_argument("--auth-file", type=Path, help="file with USER:PASSWORD, one a line")
    demo.add_argument("--max-upload", type=_positive, metavar="MB", help="largest file a visitor can bring")
    demo.add_argument("--max-pixels", type=_positive, metavar="N", help="largest picture that is decoded")


def _add_finetune(parser: argparse.ArgumentParser) -> None:
    # unset options stay away: the recipe says the value, and what is set is recorded as changed
    parser.add_argument("name", help="data set: imagenet, fruitsgb, cassava or demo")
    parser.add_argument("--data", type=Path, help="folder with its photos; else $VITATTN_DATA/NAME, else a stand-in")
    parser.add_argument(
        "--stand-in",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="train on pictures made by code; --no-stand-in: only ever on photos",
    )
    parser.add_argument("--download", action="store_true", help="fetch Imagenette into the folder of --data first")
    parser.add_argument(
        "--split-seed", type=int, default=0, help="seed of the split into train, validation and test (0)"
    )
    parser.add_argument("-o", "--output", type=Path, help="folder of the run; else runs/NAME-RECIPE")
    parser.add_argument(
        "--recipe", default="paper", help="paper, as published (the default), or recommended, the kit's own"
    )
    changed = parser.add_argument_group("other values than the recipe's (the checkpoint's card says which)")
    changed.add_argument("--model", help="timm name")
    changed.add_argument("--checkpoint", type=Path, help="local weights to start from: safetensors or torch file")
    changed.add_argument("--head", choices=HEADS, help="new classifier, a layer on top, or as it is")
    changed.add_argument("--trained", choices=TRAINED, help="train all of the model or its head alone")
    changed.add_argument(
        "--pretrained", action=argparse.BooleanOptionalAction, default=None, help="start from published weights"
    )
    changed.add_argument("--epochs", type=int, help="passes over the training photos")
    changed.add_argument("--batch-size", type=int, help="photos a step, over all processes together")
    changed.add_argument("--learning-rate", type=float, help="highest learning rate")
    changed.add_argument("--optimizer", choices=OPTIMIZERS, help="SGD has --momentum")
    changed.add_argument("--momentum", type=float, help="of SGD, 0..1")
    changed.add_argument("--weight-decay", type=float, help="of weights, not of biases and norms")
    changed.add_argument("--schedule", choices=SCHEDULES, help="how the learning rate falls after warm-up")
    changed.add_argument("--warmup", type=float, metavar="SHARE", help="share of the steps that warm up, 0..1")
    changed.add_argument(
        "--label-smoothing", type=float, metavar="SHARE", help="share of the target spread over all classes, 0..1"
    )
    changed.add_argument("--clip-norm", type=float, metavar="NORM", help="largest norm of the gradient")
    changed.add_argument("--augmentation", choices=AUGMENTATIONS, help="how training photos vary")
    changed.add_argument("--photos-per-class", type=int, metavar="N", help="train on at most N photos of each class")
    changed.add_argument("--seed", type=int, help="of new weights, order and augmentation")
    machine = parser.add_argument_group("how it runs")
    machine.add_argument("--mixed-precision", choices=PRECISIONS, help="else as accelerate is configured")
    machine.add_argument("--workers", type=int, help="processes that load photos; else 8, or one fewer than cores")
    machine.add_argument("--cpu", action="store_true", help="train on the CPU even where there is a GPU")


_CHANGES = (
    "head",
    "trained",
    "pretrained",
    "epochs",
    "batch_size",
    "learning_rate",
    "optimizer",
    "momentum",
    "weight_decay",
    "schedule",
    "warmup",
    "label_smoothing",
    "clip_norm",
    "augmentation",
    "photos_per_class",
    "seed",
)


def _positive(text: str) -> int:
    number = int(text)
    if number <= 0:
        raise ValueError(text)
    return number


def _query(text: str) -> Query:
    row, comma, col = text.partition(",")
    if not comma:
        return text
    return int(row), int(col)


def _size(text: str) -> tuple[int, int]:
    height, _, width = text.partition("x")
    return int(height), int(width or height)


def _settings(options: argparse.Namespace, **more: object) -> ViewSettings:
    names = ("layer", "query", "bilinear", "median", "gaussian", "scale", "opacity", "cmap", "on")
    return ViewSettings(**{name: getattr(options, name) for name in names}, **more)


def _load(options: argparse.Namespace) -> AttentionModel:
    from .models import load_model

    name = options.model or (None if options.checkpoint else DEFAULT_MODEL)
    model = load_model(name, checkpoint=options.checkpoint, img_size=options.img_size, device=options.device)
    print(model.describe())
    return model


def _map(options: argparse.Namespace) -> None:
    from .capture import capture_attention
    from .gradients import complete_capture
    from .images import load_picture
    from .render import query_words, render_view

    check_writable(options.output, tuple(PICTURE_FORMATS))
    if options.npz:
        check_writable(options.npz, (".npz",))
    names = ("head", "aggregation", "source", "sinks")
    settings = _settings(options, **{name: getattr(options, name) for name in names})
    photo = load_picture(options.photo)  # a bad photo is told before a model is fetched
    model = _load(options)
    if options.target is not None:
        settings = replace(settings, target=find_class(model.class_names, options.target))
    capture = complete_capture(model, capture_attention(model, photo), settings)
    rendered = render_view(capture, settings)

    for name, probability in capture.top(5):
        print(f"{probability:7.1%}  {name}")
    if not capture.probabilities.size:
        print("no predictions: this model has no classifier")
    query = query_words(capture.query_or_default(settings.layer, settings.query))
    shares = capture.prefix_share(settings.layer, settings.query)
    print(f"prefix share of the {query}, by head: {', '.join(f'{share:.1%}' for share in shares)}")
    print(f"shown: {rendered.caption}")

    write_file(options.output, picture_bytes(rendered.image, options.output.suffix))
    if options.npz:
        write_file(options.npz, map_bytes(capture, rendered))
    print(f"wrote {' and '.join(str(path) for path in (options.output, options.npz) if path)}")


def _figure(options: argparse.Namespace) -> None:
    from tqdm import tqdm

    from .capture import capture_attention
    from .figures import paper_figure
    from .images import load_picture

    check_writable(options.output, FIGURE_SUFFIXES)
    settings = _settings(options)
    photos = [load_picture(path) for path in options.photos]
    model = _load(options)
    captures = [capture_attention(model, photo) for photo in tqdm(photos, unit="photo", disable=len(photos) < 3)]
    stream = io.BytesIO()
    paper_figure(captures, settings).savefig(stream, format=options.output.suffix[1:])
    write_file(options.output, stream.getvalue())
    print(f"wrote {options.output}")


def _demo(options: argparse.Namespace) -> None:
    from .demo_server import ServerOptions, read_auth, serve

    serve(
        ServerOptions(
            models=tuple(options.model),
            checkpoint=options.checkpoint,
            host=options.host,
            port=options.port,
            share=options.share,
            auth=read_auth(options.auth, options.auth_file),
            max_upload=options.max_upload and options.max_upload << 20,
            max_pixels=options.max_pixels,
        )
    )


def _finetune(options: argparse.Namespace) -> None:
    from .datasets.loading import load_dataset
    from .training import finetune
    from .training_recipes import training_recipe
    from .training_setup import is_main_process

    recipe = training_recipe(options.name, options.recipe)  # an unknown one is told before any photo is read
    say = print if is_main_process() else _quiet
    dataset = load_dataset(
        options.name, options.data, options.split_seed, options.stand_in, download=options.download, say=say
    )
    say(dataset.describe())
    result = finetune(
        dataset,
        recipe,
        options.output,
        model=options.model,
        checkpoint=options.checkpoint,
        mixed_precision=options.mixed_precision,
        workers=options.workers,
        cpu=options.cpu,
        **{name: value for name in _CHANGES if (value := getattr(options, name)) is not None},
    )
    say(result.describe())


def _quiet(_: str) -> None:
    """What processes beside the first print."""
