"""``vitattn demo``: the page in the browser."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..models import DEFAULT_MODEL
from .options import positive


def add_command(commands: argparse._SubParsersAction) -> None:
    """Add the command to the parser."""
    demo = commands.add_parser(
        "demo",
        help="a page in the browser, for yourself or for a class",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
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
    demo.add_argument("--max-upload", type=positive, metavar="MB", help="largest file a visitor can bring")
    demo.add_argument("--max-pixels", type=positive, metavar="N", help="largest picture that is decoded")
    demo.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Carry the command out."""
    from ..demo.server import ServerOptions, read_auth, serve

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
