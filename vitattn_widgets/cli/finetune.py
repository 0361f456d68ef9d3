"""``vitattn finetune``: train a model on a data set."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..training.recipes import AUGMENTATIONS, HEADS, OPTIMIZERS, PRECISIONS, SCHEDULES, TRAINED

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


def add_command(commands: argparse._SubParsersAction) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "finetune",
        help="train a model on a data set, with the paper's recipe or the kit's own",
        description="Train a model on a data set and measure it. A run that was stopped goes on from its last finished "
        "epoch when it is started again with the same options. Several processes or GPUs: accelerate launch -m "
        "vitattn_widgets finetune ...",
    )
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
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Carry the command out."""
    from ..datasets.loading import load_dataset
    from ..runs import is_main_process
    from ..training.recipes import training_recipe
    from ..training.run import finetune

    recipe = training_recipe(options.name, options.recipe)  # an unknown one is told before any photo is read
    notify = print if is_main_process() else _quiet
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


def _quiet(_: str) -> None:
    """What processes beside the first print."""
