"""Do class maps of models with windows lie on the object? Two small models, trained here, on masks they never saw.

``python -m tests.benchmarks.bench_stage_masks DATA [--epochs 8] [--swin FILE] [--maxvit FILE]``

`DATA` holds ``photos/objects/KIND``, ``fruits``, ``photos/fruits_extra`` and ``photos_masks``. A small Swin and a small
MaxViT learn the 25 kinds of photos from scratch, in bf16 on the CPU; then their maps are measured on the photos with
masks, beside a blob in the centre. FILE keeps the weights, and is read instead of training where it exists.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from tests.conftest import SAMPLES  # noqa: F401 sets the offline cache before timm is imported

import numpy as np  # isort: skip
import torch
import torch.nn.functional as F
from timm.models.maxxvit import MaxxVit, MaxxVitCfg, MaxxVitConvCfg, MaxxVitTransformerCfg
from timm.models.swin_transformer import SwinTransformer
from torch import Tensor, nn
from tqdm import tqdm

import vitattn_widgets as va
from vitattn_widgets.training import kinds

SIDE, BATCH, SEED = 96, 64, 0
SOURCES = ("attention", "gradient", "gradient_late", "contribution", "contribution_sum")


def swin(classes: int) -> nn.Module:
    """2.2 million parameters; 24 x 24, 12 x 12 and 6 x 6 patches, windows of 6 x 6."""
    return SwinTransformer(
        img_size=SIDE, patch_size=4, window_size=6, embed_dim=48, depths=(2, 2, 4), num_heads=(2, 4, 8),
        drop_path_rate=0.1, num_classes=classes,
    )  # fmt: skip


def maxvit(classes: int) -> nn.Module:
    """Two attentions per block, in windows and in grids of 3 x 3, on 24 x 24, 12 x 12 and 6 x 6 patches."""
    config = MaxxVitCfg(
        embed_dim=(32, 64, 128), depths=(1, 2, 2), block_type=("M",) * 3, stem_width=24,
        conv_cfg=MaxxVitConvCfg(expand_ratio=2), transformer_cfg=MaxxVitTransformerCfg(dim_head=16, window_size=(3, 3)),
    )  # fmt: skip
    return MaxxVit(config, img_size=SIDE, drop_path_rate=0.1, num_classes=classes)


def pixels_of(photos: va.datasets.PhotoSet, side: int) -> Tensor:
    """The middle square of every photo, uint8 ``(photos, 3, side, side)``."""
    found = []
    for number in tqdm(range(len(photos)), desc="photos"):
        photo = photos.load(number)
        short = min(photo.size)
        left, top = ((size - short) // 2 for size in photo.size)
        found.append(np.array(photo.resize((side, side), box=(left, top, left + short, top + short))))
    return torch.from_numpy(np.stack(found)).permute(0, 3, 1, 2)


def normal(pixels: Tensor) -> Tensor:
    mean, std = (torch.tensor(value).view(3, 1, 1) for value in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    return (pixels.float() / 255 - mean) / std


def train(module: nn.Module, pixels: Tensor, labels: Tensor, epochs: int) -> None:
    """AdamW, one warm cycle, random crops and flips, soft labels."""
    generator = torch.Generator().manual_seed(SEED)
    steps = epochs * (len(pixels) // BATCH)
    optimizer = torch.optim.AdamW(module.parameters(), lr=1e-3, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-3, total_steps=steps, pct_start=0.15)
    margin = pixels.shape[-1] - SIDE
    module.train()
    with tqdm(total=steps, desc=type(module).__name__) as bar:
        for _ in range(epochs):
            order = torch.randperm(len(pixels), generator=generator)
            for batch in order[: len(order) // BATCH * BATCH].view(-1, BATCH):
                down, across, flip = torch.randint(0, margin + 1, (3,), generator=generator).tolist()
                cut = pixels[batch][:, :, down : down + SIDE, across : across + SIDE]
                with torch.autocast("cpu", torch.bfloat16):
                    answers = module(normal(cut.flip(-1) if flip % 2 else cut))
                loss = F.cross_entropy(answers.float(), labels[batch], label_smoothing=0.1)
                optimizer.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(module.parameters(), 1)
                optimizer.step()
                schedule.step()
                bar.update()
                bar.set_postfix(loss=f"{loss.item():.2f}")
    module.eval()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--swin", type=Path, metavar="FILE")
    parser.add_argument("--maxvit", type=Path, metavar="FILE")
    options = parser.parse_args()
    splits = {split: groups["kinds"] for split, groups in kinds.load_lessons(options.data).splits.items()}
    known = np.unique(splits["train"].labels)
    labels = {split: torch.from_numpy(np.searchsorted(known, photos.labels)) for split, photos in splits.items()}
    masked = va.datasets.load_masked_folder(options.data / "photos_masks")
    margin = SIDE + SIDE // 8
    test = pixels_of(splits["test"], SIDE)
    learned = None
    for build, kept in ((swin, options.swin), (maxvit, options.maxvit)):
        torch.manual_seed(SEED)
        module = build(len(known))
        start = time.perf_counter()
        if kept is not None and kept.is_file():
            module.load_state_dict(torch.load(kept, weights_only=True))
        else:
            learned = pixels_of(splits["train"], margin) if learned is None else learned
            train(module, learned, labels["train"], options.epochs)
            if kept is not None:
                torch.save(module.state_dict(), kept)
        module.eval()
        with torch.inference_mode():
            right = torch.cat([module(normal(part)).argmax(1) for part in test.split(BATCH)]) == labels["test"]
        names = [splits["train"].class_names[number] for number in known]
        model = va.load_model(module, img_size=SIDE, class_names=names)
        print(f"{model.describe()}\ntrained in {time.perf_counter() - start:.0f} s; test photos right: "
              f"{right.float().mean():.3f}")  # fmt: skip
        table = va.evaluate_maps(model, masked, aggregations=["mean"], sources=SOURCES, progress=True).table()
        print(table[["mass_on_mask", "pointing_game"]].round(3).to_string())


if __name__ == "__main__":
    main()
