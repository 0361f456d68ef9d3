"""``vitattn demo``: the page in the browser."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..models import DEFAULT_MODEL
from .options import HelpFormatter, port_number, positive


def add_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the parser."""
    demo = commands.add_parser(
        "demo",
        help="serve an interactive page, for yourself or for a class",
        description="Serve a page on which visitors explore the attention of the models that you name, on the samples "
        "or on pictures of their own. Ctrl-C stops it.",
        formatter_class=HelpFormatter,
    )
    demo.add_argument(
        "--model",
        action="append",
        default=[],
        metavar="NAME",
        help="timm model that visitors can choose, or demo for the embedded one; repeatable (default: "
        f"{DEFAULT_MODEL}, or the embedded model if its weights are unavailable)",
    )
    demo.add_argument(
        "--checkpoint",
        type=Path,
        metavar="FILE",
        help="load the weights of the only model from this file (safetensors or torch)",
    )
    demo.add_argument(
        "--host",
        default="127.0.0.1",
        metavar="ADDRESS",
        help="address to listen on; 0.0.0.0 stands for all addresses of this computer",
    )
    demo.add_argument("--port", type=port_number, default=7860, metavar="N", help="port to listen on")
    demo.add_argument("--share", action="store_true", help="also print a public link, through Gradio's tunnel")
    demo.add_argument(
        "--auth",
        action="append",
        default=[],
        metavar="USER:PASSWORD",
        help="admit this user; repeatable (default: admit everybody). Other users of this computer can read the "
        "command line, so prefer --auth-file or the environment variable VITATTN_AUTH",
    )
    demo.add_argument(
        "--auth-file", type=Path, metavar="FILE", help="admit the users in FILE, one USER:PASSWORD per line"
    )
    demo.add_argument(
        "--max-upload",
        type=positive,
        metavar="MB",
        help="largest file that a visitor can upload, in megabytes (default: 20)",
    )
    demo.add_argument(
        "--max-pixels",
        type=positive,
        metavar="N",
        help="largest picture that a visitor can upload, in pixels (default: 50000000)",
    )
    demo.add_argument(
        "--classroom",
        action="store_true",
        help="also name a page for the projector: the address, its QR code, and how many are in",
    )
    demo.add_argument(
        "--root-path",
        metavar="PATH",
        help="path, or whole address, under which a reverse proxy offers the page",
    )
    demo.add_argument(
        "--frame-ancestors",
        action="append",
        default=[],
        metavar="ORIGIN",
        help="let the pages of this origin, such as https://huggingface.co, show the page in a frame; repeatable "
        "(default: nobody else's)",
    )
    demo.add_argument(
        "--mcp",
        action="store_true",
        help="also serve the tools map, compare and check to assistants, over MCP; not together with a login",
    )
    demo.add_argument(
        "--no-browser",
        action="store_true",
        help="do not open the page in a browser, as happens on a desktop",
    )
    demo.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Run the command."""
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
            browser=not options.no_browser,
            mcp=options.mcp,
            classroom=options.classroom,
            root_path=options.root_path,
            frame_ancestors=tuple(options.frame_ancestors),
        )
    )
