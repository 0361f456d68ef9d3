"""``vitattn doctor``: what is there, and what to do about what is not."""

from __future__ import annotations

import argparse

from .options import HelpFormatter


def add_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "doctor",
        help="say what is there on this computer, and what to do about what is not",
        description="Say what is there on this computer (versions, graphics cards, weights, data sets, notebooks), "
        "draw a map with the embedded model, and name one remedy for each thing that is missing. The exit status is 0 "
        "if the map was drawn, else 1.",
        formatter_class=HelpFormatter,
    )
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run the command; returns its exit status."""
    from ..doctor.report import examine

    report = examine()
    print(report.json_text() if options.json else report.screen())
    return 0 if report.draws_maps else 1
