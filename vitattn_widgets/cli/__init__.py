"""The command line: ``vitattn`` and its commands, one module each."""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from collections.abc import Sequence

from .. import __version__
from ..errors import VitattnError
from ..models import DEFAULT_MODEL
from . import demo, doctor, export, figure, finetune, map, sweep

COMMANDS = (map, figure, export, sweep, demo, finetune, doctor)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns:
        The exit status: 0; 1 where `doctor` finds that no map can be drawn; 2 for a mistake in the input; 130 when
        stopped by Ctrl-C; 141 when what it says is piped to a program that left, such as ``head``.
    """
    options = _parser().parse_args(arguments)
    try:
        with warnings.catch_warnings():
            from PIL.Image import DecompressionBombWarning

            warnings.simplefilter("ignore", DecompressionBombWarning)  # load_picture has its own, lower limit
            _look_ahead(options)
            status = options.run(options) or 0
            sys.stdout.flush()
            return status
    except VitattnError as error:
        print(f"vitattn: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("vitattn: stopped", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # the interpreter flushes once more at its end, and would complain then
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141


def _look_ahead(options: argparse.Namespace) -> None:
    """Find out about the network while torch is imported, if a model may have to be downloaded."""
    if not hasattr(options, "model") or options.checkpoint or options.run is finetune.run:
        return
    name = options.model[0] if isinstance(options.model, list) and options.model else options.model or DEFAULT_MODEL
    if name != "demo" and ":" not in name:
        from ..models.hub import look_ahead

        look_ahead(name)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="vitattn",
        description="See what a Vision Transformer attends to.",
        epilog="Run 'vitattn COMMAND --help' for the options of a command.",
    )
    parser.add_argument("--version", action="version", version=f"vitattn_widgets {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for command in COMMANDS:
        command.add_command(commands)
    return parser
