"""The published ViT-Tiny as a teacher: its tokens for every stored crop, and a smaller copy of it to start from.

Crops and tokens are computed once and stored ("fast knowledge distillation", Shen and Xing 2022), so that an epoch
costs what the small model costs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm.auto import tqdm

from ..models.building import create_module
from ..models.loading import AttentionModel, load_model
from .photos import augment_photo

if TYPE_CHECKING:
    from accelerate import Accelerator

    from ..datasets.photos import PhotoSet

TEACHER = "vit_tiny_patch16_224.augreg_in21k_ft_in1k"

SIZE = 160
"""Side of a view in pixels, for the teacher and the embedded model: both have one grid, so their tokens correspond."""

LAYERS = (0, 1, 2, 3, 4, 11)
"""The teacher's layers that the embedded model starts from. Before any training, a linear classifier on 2,000 class
tokens of these is right on 73% of 600 photos, as of layers 0 to 5; of six evenly spaced ones, on 54%."""

HEADS = 6

REGISTERS = 4
"""Tokens that the teacher has not, for what concerns the whole picture (Darcet et al. 2024, "Vision Transformers Need
Registers"): without them, patches at the picture's edge store it, and what they contribute is not about the object.
A trained model gets them and learns on for a while; present from the start, they made no difference to that."""

REGISTER_NOISE = 0.02
"""Standard deviation by which the registers differ at the start."""

ARCHITECTURE = "vit_tiny_patch16_224"

MODEL_ARGS: dict[str, Any] = {
    "img_size": SIZE,
    "depth": len(LAYERS),
    "num_heads": HEADS,
    # uncropped, since evidence may be at the edge
    "pretrained_cfg_overlay": {"crop_pct": 1.0},
}

CROPS: Mapping[str, tuple[str, int]] = {"kinds": ("broad", 5), "fruit": ("crop", 8), "made": ("none", 1)}
"""Augmentation and number of stored crops of every training photo, by group."""

_BATCH = 64


def load_teacher() -> AttentionModel:
    """The teacher at `SIZE`, which sees whole photos; without a classifier.

    Raises:
        WeightsError: its weights are unavailable.
    """
    _, module = create_module(TEACHER, True, (SIZE, SIZE), num_classes=0, pretrained_cfg_overlay={"crop_pct": 1.0})
    return load_model(module, device="cpu")


def pruned_weights(teacher: nn.Module) -> dict[str, Tensor]:
    """The teacher's weights for a ViT of its width with fewer layers and `HEADS` heads.

    Every head becomes two or more of fewer channels: the columns of its queries, keys and values are divided in their
    order, so the tensors are the same, and only timm's ``num_heads`` differs.
    """
    kept = {f"blocks.{layer}.": f"blocks.{number}." for number, layer in enumerate(LAYERS)}
    weights = {}
    for name, tensor in teacher.state_dict().items():
        before = ".".join(name.split(".")[:2]) + "."
        if not name.startswith("blocks."):
            weights[name] = tensor
        elif before in kept:
            weights[name.replace(before, kept[before], 1)] = tensor
    return weights


def pruned_student(teacher: nn.Module, classes: int) -> Any:
    """A ViT of the teacher's width with `LAYERS` of its layers and a new classifier."""
    student: Any
    _, student = create_module(ARCHITECTURE, False, None, **MODEL_ARGS, num_classes=classes)
    classifier = {f"head.{name}": tensor for name, tensor in student.get_classifier().state_dict().items()}
    student.load_state_dict(pruned_weights(teacher) | classifier)
    return student


def with_registers(student: nn.Module) -> Any:
    """A copy of a pruned student with `REGISTERS` registers, which start as its class token, with noise."""
    weights = dict(student.state_dict())
    noise = torch.randn(1, REGISTERS, weights["cls_token"].shape[-1], generator=torch.Generator().manual_seed(0))
    first, patches = weights["pos_embed"][:, :1], weights["pos_embed"][:, 1:]
    weights["reg_token"] = weights["cls_token"] + REGISTER_NOISE * noise
    weights["pos_embed"] = torch.cat([first.expand(-1, 1 + REGISTERS, -1), patches], 1)
    classes = len(weights["head.bias"])
    _, longer = create_module(ARCHITECTURE, False, None, **MODEL_ARGS, reg_tokens=REGISTERS, num_classes=classes)
    longer.load_state_dict(weights)
    return longer


@dataclass(frozen=True)
class Kept:
    """Stored views of photos with the teacher's tokens, one entry per crop.

    Attributes:
        folder: holds ``views.npy``, uint8 ``(entries, H, W, 3)``, and ``tokens.npy``, float16 ``(entries, tokens,
            width)``, the class token first, after the teacher's last norm.
        groups: name of the group of each entry, by number.
        group: int64 ``(entries,)``.
        labels: int64 ``(entries,)``.
    """

    folder: Path
    groups: tuple[str, ...]
    group: np.ndarray
    labels: np.ndarray

    def views(self) -> np.ndarray:
        return np.load(self.folder / "views.npy", mmap_mode="r")

    def tokens(self) -> np.ndarray:
        return np.load(self.folder / "tokens.npy", mmap_mode="r")

    def class_tokens(self) -> Tensor:
        """The teacher's class token of every entry, float32 ``(entries, width)``."""
        return torch.from_numpy(self.tokens()[:, 0].astype(np.float32))

    def accuracies(self, logits: Tensor) -> dict[str, float]:
        """The share of entries classified correctly, by group, 0..1."""
        right = (logits.argmax(1).numpy() == self.labels).astype(float)
        return {group: float(right[self.group == number].mean()) for number, group in enumerate(self.groups)}


def keep_lessons(
    photos: Mapping[str, PhotoSet],
    folder: Path,
    teacher: AttentionModel,
    accelerator: Accelerator,
    crops: Mapping[str, tuple[str, int]],
    seed: int,
) -> Kept:
    """Store views of photos and the teacher's tokens, unless they are stored; processes share the work.

    Args:
        photos: by group.
        folder: for the arrays.
        teacher: gives preprocessing and tokens.
        accelerator: of the processes.
        crops: augmentation and number of crops by group.
        seed: of the augmentation.
    """
    entries = [
        (number, index, crop)
        for number, group in enumerate(photos)
        for index in range(len(photos[group]))
        for crop in range(crops[group][1])
    ]
    sets = list(photos.values())
    kept = Kept(
        folder,
        tuple(photos),
        np.array([number for number, _, _ in entries]),
        np.array([sets[number].labels[index] for number, index, _ in entries]),
    )
    if (folder / "finished").exists():
        return kept
    if accelerator.is_main_process:
        folder.mkdir(parents=True, exist_ok=True)
        tokens, width = teacher.layout.num_patches + 1, int(teacher.module.num_features)  # type: ignore[arg-type]
        np.lib.format.open_memmap(folder / "views.npy", "w+", np.uint8, (len(entries), SIZE, SIZE, 3))
        np.lib.format.open_memmap(folder / "tokens.npy", "w+", np.float16, (len(entries), tokens, width))
    accelerator.wait_for_everyone()
    _fill(entries, sets, [crops[group][0] for group in photos], folder, teacher, accelerator, seed)
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        (folder / "finished").touch()
    return kept


def _fill(
    entries: Sequence[tuple[int, int, int]],
    sets: Sequence[PhotoSet],
    augmentations: Sequence[str],
    folder: Path,
    teacher: AttentionModel,
    accelerator: Accelerator,
    seed: int,
) -> None:
    """This process's share of the entries: every so many batches."""
    views, tokens = (np.load(folder / name, mmap_mode="r+") for name in ("views.npy", "tokens.npy"))
    module: Any = teacher.module.to(torch.bfloat16)  # 10 bits of a token's values are more than a student repeats
    starts = range(accelerator.process_index * _BATCH, len(entries), accelerator.num_processes * _BATCH)
    for start in tqdm(starts, unit="batch", desc="teacher", disable=not accelerator.is_main_process):
        for place, (number, index, crop) in enumerate(entries[start : start + _BATCH], start):
            rng = np.random.default_rng([seed, number, index, crop])
            photo = sets[number].load(index)
            views[place] = augment_photo(photo, teacher.preprocessing, augmentations[number], rng)
        with torch.inference_mode():
            pictures = normalised(views[start : start + _BATCH]).to(torch.bfloat16)
            tokens[start : start + _BATCH] = module.forward_features(pictures).float().numpy()
    views.flush()
    tokens.flush()


def fit_classifier(kept: Kept, classes: int, penalty: float = 1e-4) -> nn.Linear:
    """A linear classifier on the teacher's class tokens, by maximum likelihood with an L2 penalty."""
    features, labels = kept.class_tokens(), torch.from_numpy(kept.labels)
    mean, std = features.mean(0), features.std(0)
    features = (features - mean) / std
    weight, bias = (torch.zeros(shape, requires_grad=True) for shape in ((classes, features.shape[1]), (classes,)))
    solver: Any = torch.optim.LBFGS([weight, bias], max_iter=150, history_size=20, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        solver.zero_grad()
        value = F.cross_entropy(features @ weight.T + bias, labels) + penalty * weight.square().sum()
        torch.autograd.backward(value)
        return value

    solver.step(loss)
    linear = nn.Linear(features.shape[1], classes)
    with torch.no_grad():
        linear.weight.copy_(weight / std)
        linear.bias.copy_(bias - (weight / std) @ mean)
    return linear.requires_grad_(False)


def normalised(views: np.ndarray) -> Tensor:
    """Views as input of the teacher, whose mean and standard deviation are 0.5: uint8 ``(n, H, W, 3)`` to -1..1."""
    return torch.from_numpy(np.array(views)).permute(0, 3, 1, 2).float() / 127.5 - 1


def digest(*parts: object) -> str:
    """A short hash of values, for the name of a folder."""
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:12]
