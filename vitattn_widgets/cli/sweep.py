"""``vitattn sweep``: every photo of a folder or a data set, as a table and a report."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..maps.aggregate import AGGREGATIONS
from ..models import DEFAULT_MODEL
from .options import add_model, positive


def add_command(commands: argparse._SubParsersAction) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "sweep",
        help="measure the maps of a whole data set: a table and a report",
        description="Look at every photo of a folder or a data set: what the model says, where its attention lies, "
        "which photos an expert should look at first. A sweep that was stopped goes on when it is started again with "
        "the same options. Several processes or GPUs: accelerate launch -m vitattn_widgets sweep ...",
    )
    parser.add_argument(
        "photos", help="folder of photos at any depth, with masks or boxes where there are any, or a data set's name"
    )
    parser.add_argument("-o", "--output", type=Path, help="folder of the sweep; else runs/sweep-DATA-MODEL")
    parser.add_argument("--limit", type=positive, metavar="N", help="at most N photos, evenly spread over the set")
    add_model(parser)
    named = parser.add_argument_group("a data set by name")
    named.add_argument("--data", type=Path, help="folder with its photos; else $VITATTN_DATA/NAME, else a stand-in")
    named.add_argument("--split", help="train, validation or test (the default)")
    named.add_argument(
        "--stand-in",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="look at pictures made by code; --no-stand-in: only ever at photos",
    )
    measured = parser.add_argument_group("what is measured")
    measured.add_argument(
        "--layers", type=int, nargs="+", default=[-1], help="layer numbers; negative ones count from the end (-1)"
    )
    measured.add_argument("--aggregation", choices=AGGREGATIONS, default="mean", help="how heads become one map (mean)")
    measured.add_argument(
        "--table", choices=("parquet", "csv"), default="parquet", help="file type of the table (parquet)"
    )
    measured.add_argument(
        "--pictures", type=int, default=12, metavar="N", help="photos to look at first, in the report (12)"
    )
    machine = parser.add_argument_group("how it runs")
    machine.add_argument("--batch-size", type=positive, default=32, help="photos a forward pass (32)")
    machine.add_argument("--workers", type=int, help="processes that load photos; else 8, or one fewer than cores")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Carry the command out."""
    from ..datasets.folders import photo_folder
    from ..datasets.loading import DATASETS
    from ..models.loading import load_model
    from ..runs import is_main_process
    from ..sweeps.run import sweep

    if options.photos not in DATASETS:
        photo_folder(options.photos)  # told before a model is fetched
    name = options.model or (None if options.checkpoint else DEFAULT_MODEL)
    model = load_model(name, checkpoint=options.checkpoint, img_size=options.img_size, device=options.device)
    if is_main_process():
        print(model.describe())
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
    if is_main_process():
        print(result.describe())
