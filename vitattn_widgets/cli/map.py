"""``vitattn map``: lay the attention map over one photo."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path

from ..files import check_writable, write_file
from ..maps.aggregate import AGGREGATIONS
from ..view.encode import PICTURE_FORMATS, map_bytes, picture_bytes
from .options import (
    HelpFormatter,
    add_like,
    add_shared,
    add_source,
    load_chosen,
    read_like,
    view_settings,
    with_likeness,
    with_target,
)


def add_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "map",
        help="lay an attention map over a photo",
        description="Lay an attention map over a photo. Prints the five most probable classes, the share of attention "
        "on prefix tokens, what the picture shows, and what to try next.",
        formatter_class=HelpFormatter,
    )
    parser.add_argument("photo", type=Path, metavar="PHOTO", help="picture file")
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        required=True,
        metavar="FILE",
        help=f"picture to write ({', '.join(PICTURE_FORMATS)})",
    )
    parser.add_argument("--npz", type=Path, metavar="FILE", help="also write the raw map to this file, for numpy.load")
    parser.add_argument("--head", type=int, metavar="N", help="show this head (default: all heads, aggregated)")
    parser.add_argument(
        "--aggregation", choices=AGGREGATIONS, default="mean", help="how the heads are combined into one map"
    )
    add_like(add_source(parser))
    add_shared(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Run the command."""
    from ..capture.forward import capture_attention
    from ..images import load_picture
    from ..maps.completion import complete_capture
    from ..maps.resolve import resolve
    from ..models.tokens import query_words
    from ..view.render import render_view

    check_writable(options.output, tuple(PICTURE_FORMATS))
    if options.npz:
        check_writable(options.npz, (".npz",))
    settings = view_settings(options)
    like = read_like(options, settings)
    photo = load_picture(options.photo)  # before the model, so that a bad photo is reported before any download
    model = load_chosen(options)
    settings = with_target(settings, model, options.target)
    capture, settings = with_likeness(capture_attention(model, photo), settings, model, options, like)
    capture = complete_capture(model, capture, settings)
    rendered = render_view(capture, settings)
    write_file(options.output, picture_bytes(rendered.image, options.output.suffix))
    if options.npz:
        write_file(options.npz, map_bytes(capture, rendered))

    for name, probability in capture.top(5):
        print(f"{probability:7.1%}  {name}")
    if not capture.probabilities.size:
        print("no predictions: this model has no classifier")
    if capture.doubt:
        print(capture.doubt)
    query = query_words(resolve(capture, settings).query)
    tokens = capture.layers[capture.layer_index(settings.layer)].tokens
    if tokens.first_patch or tokens.partition is None:
        shares = capture.prefix_share(settings.layer, settings.query)
        share = "prefix share" if tokens.key_prefix or not tokens.padding else "share of padding"
        print(f"{share} of the {query}, by head: {', '.join(f'{share:.1%}' for share in shares)}")
    print(f"shown: {rendered.caption}")
    print(f"wrote {' and '.join(str(path) for path in (options.output, options.npz) if path)}")
    print("\n".join(next_steps(options, capture.num_layers)))


def next_steps(options: argparse.Namespace, layers: int) -> list[str]:
    """Lines with commands to try after this one, of the same model and photo.

    Args:
        options: of this command.
        layers: how many layers the model has; the command shows the middle one, or the first after that.
    """
    layer = layers // 2
    if options.layer % layers == layer:
        layer = 0
    path = options.output.with_name(f"{options.output.stem}-layer-{layer}{options.output.suffix}")
    given = [("--model", options.model), ("--checkpoint", options.checkpoint)]
    model = "".join(f" {name} {shlex.quote(str(value))}" for name, value in given if value)
    size = f" --img-size {options.img_size[0]}x{options.img_size[1]}" if options.img_size else ""
    photo, output = shlex.quote(str(options.photo)), shlex.quote(str(path))
    kept = {"source": "attention", "target": None, "like": None, "aggregation": "mean"}
    same = "".join(
        f" --{name} {shlex.quote(str(getattr(options, name)))}"
        for name, usual in kept.items()
        if getattr(options, name) != usual
    )
    sinks = "leave_out" if options.sinks == "show" and options.source == "attention" else options.sinks
    treated = f" --sinks {sinks}" if sinks != "show" else ""
    return [
        f"next, in the browser: vitattn demo{model}",
        f"or another layer: vitattn map {photo} -o {output} --layer {layer}{same}{treated}{model}{size}",
    ]
