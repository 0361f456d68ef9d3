"""Which of timm's architectures the kit reads: each is assembled on the meta device and sorted, without its weights.

    python -m tests.benchmarks.bench_models                  # prints the counts
    python -m tests.benchmarks.bench_models docs/models.md   # writes the page

Each module of timm's is one row. An architecture is *read* if it is of a flat family, or if a forward pass of shapes
finds the grids and windows of at least one attention layer between patches. The smallest architecture of each module
then runs on a photo, with random weights: the largest difference of `verify` stands in the last column.
"""

import sys
import warnings
from collections import Counter, defaultdict
from pathlib import Path
from textwrap import fill

import numpy as np
import timm
import torch

import vitattn_widgets as va
from vitattn_widgets.models.families import FAMILY_MODULES, is_flat
from vitattn_widgets.models.stage_sites import kind_of
from vitattn_widgets.models.stages import traced

WITHOUT = {
    "bat_resnext26ts": "bilinear and non-local transforms of channels",
    "coat": "its factorised attention sums values by the keys alone, without a weight for each pair of patches",
    "edgenext": "its attention is between channels",
    "efficientvim": "hidden state mixers",
    "efficientvit_mit": "linear attention, without a weight for each pair of patches",
    "focalnet": "focal modulation",
    "lambda_resnet26rpt_256": "lambda layers, without a weight for each pair of patches",
    "lambda_resnet26t": "lambda layers, without a weight for each pair of patches",
    "lambda_resnet50ts": "lambda layers, without a weight for each pair of patches",
    "mlp_mixer": "fixed mixing of patches",
    "mobilevit": "in MobileViT V2, linear attention: one weight for each patch, not for each pair",
    "swiftformer": "additive attention, without a weight for each pair of patches",
}
"""What mixes patches in architectures without attention between them, by architecture or module."""

NOT_READ = {
    "efficientvit_msra": "its heads run one after another, each on the result of the one before",
}
"""Why attention between patches is not read, by module."""

PARTLY = {
    "davit": "the layers between patches; those between channels are not shown",
    "halonet": "blocks with a stride are not shown",
    "nextvit": "the layers whose keys are patches; reduced keys are means of runs of the sequence",
    "volo": "attention and class attention; outlook attention is not shown",
    "xcit": "the class attention; attention between channels is not shown",
}
"""What is read of modules of which not everything is."""


def sort(name):
    """``"read"``, ``"without"`` or ``"not read"``; the reason; and the number of parameters of an architecture."""
    module = timm.model_entrypoint(name).__module__.rpartition(".")[2]
    with torch.device("meta"):
        model = timm.create_model(name)
    size = sum(parameter.numel() for parameter in model.parameters())
    if module in FAMILY_MODULES or is_flat(model):
        return "read", "", size
    if module in NOT_READ:
        return "not read", NOT_READ[module], size
    if not any(kind_of(part) for part in model.modules()):
        return "without", WITHOUT.get(name, WITHOUT.get(module, "")), size
    try:
        trace = traced(model, tuple(model.pretrained_cfg["input_size"][-2:]))
    except va.errors.ModelError as error:
        return "not read", str(error), size
    return ("read" if trace.partitions else "without"), "", size


def largest_difference(name):
    """The largest difference of `verify` on a photo of noise, with random weights."""
    torch.manual_seed(0)
    photo = np.random.default_rng(0).integers(0, 256, (300, 260, 3), dtype=np.uint8)
    return va.capture_attention(va.load_model(name, pretrained=False, device="cpu"), photo).verify().largest


def rows():
    """One row per module: name, counts by group, note, smallest architecture that is read."""
    groups, notes, smallest = defaultdict(Counter), defaultdict(dict), {}
    for name in timm.list_models("*"):
        module = timm.model_entrypoint(name).__module__.rpartition(".")[2]
        group, reason, size = sort(name)
        groups[module][group] += 1
        if reason:
            notes[module][reason] = None
        if group == "read" and size < smallest.get(module, ("", np.inf))[1]:
            smallest[module] = (name, size)
    for module in sorted(groups):
        partly = [PARTLY[module]] if module in PARTLY else []
        yield module, groups[module], "; ".join([*partly, *notes[module]]), smallest.get(module, ("",))[0]


def page(table):
    """The page of the table."""
    total = Counter()
    for _, counts, _, _ in table:
        total.update(counts)
    read = [row for row in table if row[1]["read"]]
    others = [row for row in table if not row[1]["read"] and row[2]]
    lines = [
        "# Models",
        "",
        f"Of timm {timm.__version__}'s {sum(total.values())} architectures, the kit reads **{total['read']}**. "
        f"{total['without']} have no attention between patches, and {total['not read']} have one that is not read.",
        "",
        "A model is *read* if its attention is shown exactly as it multiplied the values: flat Vision Transformers, "
        "and models with [windows, stages](maps.md#windows-and-stages) or convolutions before attention, whose layers "
        "each have a grid of their own.",
        "",
        "The last column is the largest relative difference between what the layers of the smallest architecture gave "
        "and what the captured attention and values give (`AttentionCapture.verify`), with random weights. The page is "
        "made by `python -m tests.benchmarks.bench_models docs/models.md`.",
        "",
        "| timm's module | read | without attention between patches | not read | what is read | difference |",
        "| --- | ---: | ---: | ---: | --- | ---: |",
    ]
    for module, counts, note, smallest in read:
        numbers = " | ".join(str(counts[group] or "") for group in ("read", "without", "not read"))
        lines.append(f"| {module} | {numbers} | {note} | {largest_difference(smallest):.0e} |")
    lines += ["", "Why others are not read, or have nothing to read:", "", "| timm's module | architectures | reason |"]
    lines += ["| --- | ---: | --- |"]
    lines += [f"| {module} | {sum(counts.values())} | {note} |" for module, counts, note, _ in others]
    plain = sum(sum(counts.values()) for _, counts, note, _ in table if not counts["read"] and not note)
    lines += ["", f"The other {plain} are convolutional networks and the like."]
    return "\n".join(line if line.startswith("|") else fill(line, 120, break_on_hyphens=False) for line in lines) + "\n"


def main():
    """Print the counts, or write the page."""
    warnings.filterwarnings("ignore")
    table = list(rows())
    if len(sys.argv) > 1:
        Path(sys.argv[1]).write_text(page(table), encoding="utf-8")
    total = Counter()
    for _, counts, _, _ in table:
        total.update(counts)
    print(", ".join(f"{group}: {total[group]}" for group in ("read", "without", "not read")))


if __name__ == "__main__":
    main()
