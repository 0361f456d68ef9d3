"""What a sweep is: the model, the photos and the options that determine its result."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ..datasets.photos import FolderPhotos, PhotoSet

if TYPE_CHECKING:
    from ..models.loading import AttentionModel


def sweep_identity(
    model: AttentionModel, photos: PhotoSet, title: str, options: Mapping[str, Any]
) -> dict[str, dict[str, Any]]:
    """Everything that determines a sweep's result; a folder belongs to one identity.

    Args:
        model: the model.
        photos: the set.
        title: of the set.
        options: layers, aggregation and every other option that changes the files.
    """
    view = asdict(model.preprocessing) | {"patches": list(model.layout.grid)}
    return {
        "model": {"name": model.name, "weights": weights_digest(model), "dtype": str(model.dtype), **view},
        "data": {"title": title, "photos": len(photos), "fingerprint": photos_fingerprint(photos)},
        "options": dict(options),
    }


def weights_digest(model: AttentionModel) -> str:
    """SHA-256, in hex, of all weights and buffers of a model with their names, and of its class names."""
    digest = hashlib.sha256(json.dumps(model.class_names).encode())
    for name, tensor in model.module.state_dict().items():
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()


def photos_fingerprint(photos: PhotoSet) -> str:
    """SHA-256, in hex, of the names and classes of photos; for files also of sizes and modification times."""
    labels = [photos.class_names[label] for label in photos.labels]
    parts: list[Any] = [photos.info.name, photos.split, photos.stand_in, photos.names, labels]
    if isinstance(photos, FolderPhotos):
        files = (*photos.names, *filter(None, photos.masks or ()))
        parts += [photos.boxes]
        parts += [_stamp(photos.root / name) for name in files]
    else:
        parts.append(getattr(photos, "seed", None))
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        stat = path.stat()
    except OSError:
        return None  # reading the file will report why
    return stat.st_size, stat.st_mtime_ns
