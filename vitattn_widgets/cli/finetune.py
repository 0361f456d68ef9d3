"""``vitattn finetune``: train a model on a data set."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..training.recipes import AUGMENTATIONS, HEADS, OPTIMIZERS, PRECISIONS, SCHEDULES, TRAINED
from .options import HelpFormatter, printing

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
"""The options that replace a value of the recipe."""


def add_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "finetune",
        help="train a model on a data set, by the paper's recipe or the kit's own",
        description="Train a model on a data set and measure it. A run that was stopped resumes after its last "
        "finished epoch when it is started again with the same options.",
        epilog="To use several processes or GPUs: accelerate launch -m vitattn_widgets finetune ...",
        formatter_class=HelpFormatter,
    )
    parser.add_argument("name", metavar="NAME", help="data set: imagenet, fruitsgb, cassava or demo")
    parser.add_argument(
        "--data",
        type=Path,
        metavar="FOLDER",
        help="folder of its photos (default: $VITATTN_DATA/NAME; if that does not exist, pictures drawn by code)",
    )
    parser.add_argument(
        "--stand-in",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="train on pictures drawn by code; --no-stand-in: stop with an error if there are no photos",
    )
    parser.add_argument("--download", action="store_true", help="first download Imagenette into the folder of --data")
    parser.add_argument(
        "--split-seed", type=int, default=0, metavar="N", help="seed of the split into train, validation and test"
    )
    parser.add_argument(
        "-o", "--output", type=Path, metavar="FOLDER", help="folder to write to (default: runs/NAME-RECIPE)"
    )
    parser.add_argument(
        "--recipe",
        help="paper, as published, or recommended, the kit's own (default: paper; recommended for demo)",
    )
    _add_changes(parser)
    machine = parser.add_argument_group("execution")
    machine.add_argument(
        "--mixed-precision", choices=PRECISIONS, help="number format (default: as accelerate is configured)"
    )
    machine.add_argument(
        "--workers",
        type=int,
        metavar="N",
        help="processes that load photos (default: one fewer than CPU cores, at most 8)",
    )
    machine.add_argument("--cpu", action="store_true", help="train on the CPU even if there is a GPU")
    parser.set_defaults(run=run)


def _add_changes(parser: argparse.ArgumentParser) -> None:
    """Add the options that replace a value of the recipe; those not given stay None, and the recipe decides."""
    changes = parser.add_argument_group(
        "changes to the recipe", "Each replaces one value of the recipe; the checkpoint's card records which."
    )
    changes.add_argument("--model", metavar="NAME", help="timm model to start from")
    changes.add_argument("--checkpoint", type=Path, metavar="FILE", help="weights to start from (safetensors or torch)")
    changes.add_argument(
        "--head", choices=HEADS, help="replace the classifier, put a further layer on top of it, or keep it"
    )
    changes.add_argument("--trained", choices=TRAINED, help="train all parameters, or those of the head alone")
    changes.add_argument(
        "--pretrained", action=argparse.BooleanOptionalAction, default=None, help="start from the published weights"
    )
    changes.add_argument("--epochs", type=int, metavar="N", help="passes over the training photos")
    changes.add_argument("--batch-size", type=int, metavar="N", help="photos per step, over all processes together")
    changes.add_argument("--learning-rate", type=float, metavar="RATE", help="highest learning rate")
    changes.add_argument("--optimizer", choices=OPTIMIZERS, help="optimizer")
    changes.add_argument("--momentum", type=float, metavar="M", help="momentum of SGD, 0..1")
    changes.add_argument("--weight-decay", type=float, metavar="DECAY", help="weight decay; none for biases and norms")
    changes.add_argument("--schedule", choices=SCHEDULES, help="course of the learning rate after the warm-up")
    changes.add_argument("--warmup", type=float, metavar="SHARE", help="share of the steps spent warming up, 0..1")
    changes.add_argument(
        "--label-smoothing", type=float, metavar="SHARE", help="share of the target spread over all classes, 0..1"
    )
    changes.add_argument("--clip-norm", type=float, metavar="NORM", help="largest norm of the gradient")
    changes.add_argument("--augmentation", choices=AUGMENTATIONS, help="augmentation of the training photos")
    changes.add_argument("--photos-per-class", type=int, metavar="N", help="train on at most N photos of each class")
    changes.add_argument("--seed", type=int, metavar="N", help="seed of new weights, photo order and augmentation")


def run(options: argparse.Namespace) -> None:
    """Run the command."""
    from ..datasets.loading import load_dataset
    from ..training.recipes import training_recipe
    from ..training.run import finetune

    # before the data, so that an unknown name is reported at once
    recipe = training_recipe(options.name, options.recipe)
    notify = printing()
    dataset = load_dataset(
        options.name, options.data, options.split_seed, options.stand_in, download=options.download, notify=notify
    )
    notify(dataset.describe())
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
    notify(result.describe())
