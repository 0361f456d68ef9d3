"""``vitattn sweep``: every photo of a folder or a data set, as a table and a report."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..maps.aggregate import AGGREGATIONS
from .options import HelpFormatter, add_model, load_chosen, positive, printing


def add_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "sweep",
        help="measure the maps of a whole data set, and write a table and a report",
        description="Measure every photo of a folder or a data set: what the model predicts, where its attention is, "
        "and which photos an expert should look at first. A sweep that was stopped resumes when it is started again "
        "with the same options.",
        epilog="To use several processes or GPUs: accelerate launch -m vitattn_widgets sweep ...",
        formatter_class=HelpFormatter,
    )
    parser.add_argument(
        "photos",
        metavar="PHOTOS",
        help="folder of photos, with subfolders, masks and boxes if it has any; or the name of a data set",
    )
    parser.add_argument(
        "-o", "--output", type=Path, metavar="FOLDER", help="folder to write to (default: runs/sweep-DATA-MODEL)"
    )
    parser.add_argument(
        "--limit", type=positive, metavar="N", help="measure at most N photos, evenly spread over the set"
    )
    add_model(parser)
    named = parser.add_argument_group("data set, if given by name")
    named.add_argument(
        "--data",
        type=Path,
        metavar="FOLDER",
        help="folder of its photos (default: $VITATTN_DATA/NAME; if that does not exist, pictures drawn by code)",
    )
    named.add_argument("--split", help="train, validation or test (default: test)")
    named.add_argument(
        "--stand-in",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="measure pictures drawn by code; --no-stand-in: stop with an error if there are no photos",
    )
    measured = parser.add_argument_group("measurement")
    measured.add_argument(
        "--layers",
        type=int,
        nargs="+",
        default=[-1],
        metavar="N",
        help="layers, from 0 on; negative numbers count from the last",
    )
    measured.add_argument(
        "--aggregation", choices=AGGREGATIONS, default="mean", help="how the heads are combined into one map"
    )
    measured.add_argument("--table", choices=("parquet", "csv"), default="parquet", help="file format of the table")
    measured.add_argument(
        "--pictures",
        type=int,
        default=12,
        metavar="N",
        help="how many photos the report shows among those to look at first",
    )
    machine = parser.add_argument_group("execution")
    machine.add_argument("--batch-size", type=positive, default=32, metavar="N", help="photos per forward pass")
    machine.add_argument(
        "--workers",
        type=int,
        metavar="N",
        help="processes that load photos (default: one fewer than CPU cores, at most 8)",
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Run the command."""
    from ..datasets.folders import photo_folder
    from ..datasets.loading import DATASETS
    from ..sweeps.run import sweep

    if options.photos not in DATASETS:
        photo_folder(options.photos)  # before the model, so that a bad folder is reported before any download
    notify = printing()
    model = load_chosen(options, notify)
    result = sweep(
        model,
        options.photos,
        options.output,
        layers=options.layers,
        aggregation=options.aggregation,
        split=options.split,
        data=options.data,
        stand_in=options.stand_in,
        limit=options.limit,
        batch_size=options.batch_size,
        table=options.table,
        pictures=options.pictures,
        workers=options.workers,
    )
    notify(result.describe())
