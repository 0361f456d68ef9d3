"""The model that comes with the kit, ``load_model("demo")``, and how it was made.

``python -m vitattn_widgets.training.embedded FOLDER`` makes it again: a pruned ViT-Tiny, distilled from the whole one
on photos of everyday kinds and of fruit, which are in FOLDER, and on pictures drawn by code. It replaces the files in
``vitattn_widgets/models/weights``.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from tqdm.auto import tqdm

from ..errors import ModelError, VitattnError
from ..models.checkpoints import write_checkpoint
from ..models.loading import DEMO_CHECKPOINT, AttentionModel, load_model
from ..runs import is_main_process
from .calibration import fit_temperature
from .distillation import Distillation, Distiller
from .embedded_card import Trained, embedded_card, logits_of, measurements
from .folder import RunFolder
from .kinds import GROUPS, SEED, load_lessons
from .recipes import PRECISIONS
from .start import locked, make_accelerator
from .teacher import (
    CROPS,
    HEADS,
    LAYERS,
    REGISTERS,
    SIZE,
    TEACHER,
    digest,
    fit_classifier,
    keep_lessons,
    load_teacher,
    pruned_student,
    with_registers,
)

if TYPE_CHECKING:
    from accelerate import Accelerator

    from ..datasets.photos import PhotoSet

MAX_BYTES = 6_000_000

STAGES = {
    "pruned": Distillation(),
    "registers": Distillation(epochs=4, views_per_epoch=8192, learning_rate=4e-4, decay=0.75, mixed=0.0, seed=2),
}
"""What is distilled, in this order: the pruned copy of the teacher, then what it has become, with registers."""


def train_embedded(folder: Path, out: Path, stages: Mapping[str, Distillation], accelerator: Accelerator) -> Trained:
    """Train the embedded model, or resume.

    Args:
        folder: of the photos (`load_lessons`).
        out: folder of the run.
        stages: as `STAGES`, each with a folder of its name in that of the run.
        accelerator: devices, processes and precision.

    Raises:
        WeightsError: the teacher's weights are unavailable.
        DataError: the photos are not in the folder.
        TrainingError: the run's folder holds another run.
    """
    notify = tqdm.write if accelerator.is_main_process else _silent
    teacher = load_teacher()
    lessons = load_lessons(folder)
    whole_run = RunFolder(out)
    whole_run.prepare()
    student = pruned_student(teacher.module, len(lessons.class_names))
    with locked(whole_run, accelerator):
        kept = {}
        for split, photos in lessons.splits.items():
            crops = CROPS if split == "train" else dict.fromkeys(GROUPS, ("none", 1))
            place = out / f"{split}-{digest(lessons.fingerprint, TEACHER, SIZE, crops)}"
            kept[split] = keep_lessons(photos, place, teacher, accelerator, crops, SEED)
        classifier = fit_classifier(kept["train"], len(lessons.class_names))
        student.get_classifier().load_state_dict(classifier.state_dict())
        answers = {split: classifier(views.class_tokens()) for split, views in kept.items()}
        notify(
            f"linear classifier on the teacher's tokens, validation: "
            f"{_words(kept['validation'].accuracies(answers['validation']))}"
        )
        identity = {
            "lessons": lessons.fingerprint,
            "teacher": TEACHER,
            "layers": LAYERS,
            "heads": HEADS,
            "registers": REGISTERS,
            "crops": CROPS,
            "stages": {name: asdict(plan) for name, plan in stages.items()},
            "mixed_precision": accelerator.mixed_precision,
        }
        lesson = (kept["train"], kept["validation"], answers["train"].softmax(-1))
        for name, plan in stages.items():
            run_folder = RunFolder(out / name)
            run_folder.prepare()
            student = with_registers(student) if name == "registers" else student
            run = Distiller(accelerator, plan, *lesson, run_folder, identity, notify)
            run.train(student)
        logits = run.logits(student, kept["validation"])
    temperature = fit_temperature(logits, torch.from_numpy(kept["validation"].labels))
    teacher_test = kept["test"].accuracies(answers["test"])
    return Trained(student, lessons, temperature, teacher_test, identity, accelerator.num_processes)


def measure(model: AttentionModel, photos: PhotoSet) -> float:
    """Accuracy: the share of photos classified correctly, 0..1."""
    return float((logits_of(model, photos).argmax(1) == photos.labels).mean())


def embed(trained: Trained, folder: Path, checkpoint: Path = DEMO_CHECKPOINT) -> dict[str, Any]:
    """Write the embedded model, in half precision, with its temperature in the classifier, and measure the file.

    Args:
        trained: from `train_embedded`.
        folder: of the photos; masked photos in its folder `MASKS` show where the maps lie.
        checkpoint: file to write.

    Returns:
        The card.

    Raises:
        ModelError: the file would be larger than `MAX_BYTES`.
    """
    weights = {name: tensor.detach().float() for name, tensor in trained.module.state_dict().items()}
    for name in ("head.weight", "head.bias"):
        weights[name] = weights[name] / trained.temperature
    weights = {name: tensor.half().contiguous() for name, tensor in weights.items()}
    size = sum(tensor.numel() * tensor.element_size() for tensor in weights.values())
    if size > MAX_BYTES:
        raise ModelError(f"the embedded model would take {size:,} bytes; the package allows {MAX_BYTES:,}")
    checkpoint.parent.mkdir(exist_ok=True)
    card = embedded_card(trained)
    write_checkpoint(checkpoint, weights, card)  # once without measurements: what is measured is this file
    card |= measurements(load_model(None, checkpoint=checkpoint, device="cpu"), trained, folder)
    write_checkpoint(checkpoint, weights, card)
    return card


def _silent(_: str) -> None:
    pass


def _words(groups: Mapping[str, float]) -> str:
    return ", ".join(f"{group} {value:.3f}" for group, value in groups.items())


def main(arguments: list[str] | None = None) -> int:
    """Train the embedded model again."""
    parser = argparse.ArgumentParser(prog="python -m vitattn_widgets.training.embedded", description=main.__doc__)
    parser.add_argument("folder", type=Path, help="folder with the photos")
    parser.add_argument("-o", "--output", type=Path, default=Path("runs/embedded"), help="folder of the run")
    parser.add_argument("--mixed-precision", choices=PRECISIONS, default="bf16")
    options = parser.parse_args(arguments)
    try:
        accelerator = make_accelerator(options.mixed_precision, True, STAGES["pruned"].batch_size)
        trained = train_embedded(options.folder, options.output, STAGES, accelerator)
        if is_main_process():
            card = embed(trained, options.folder)
            print(f"wrote {DEMO_CHECKPOINT}; test accuracy: {_words(card['test']['accuracy'])}")
    except VitattnError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
