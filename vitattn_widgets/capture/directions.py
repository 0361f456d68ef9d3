"""Directions: what a photo's feature vector can be asked about beside classes, such as the features of a second photo.

A class's logit is the feature vector times one row of the classifier, plus a bias. Any other vector can take the place
of that row: then maps of a class show what speaks for a likeness, and a model without a classifier has such maps too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import ModelError, SettingsError
from ..models.families import blocks, read_out
from .forward import require_same_model
from .recorder import Forward, model_lock, replaced_forward, watched_forward
from .targets import Direction

if TYPE_CHECKING:
    from ..models.loading import AttentionModel
    from .capture import AttentionCapture

Answer = Callable[[Tensor], Tensor]
"""From a model's output, with a batch of one, to the number that is explained."""


def add_direction(
    model: AttentionModel,
    capture: AttentionCapture,
    like: AttentionCapture | tuple[int, int] | np.ndarray,
    name: str = "",
) -> AttentionCapture:
    """Add a direction to a capture, as a target of maps: what in this photo speaks for a likeness?

    The answer that maps then explain is the photo's feature vector, which the classifier reads, times the direction.
    Its number counts on after those of the classes: the last of `AttentionCapture.target_names`.

    Args:
        model: the model of the capture.
        capture: from `capture_attention`.
        like: another photo's capture by the same model, whose feature vector is taken; a patch ``(row, col)`` of this
            photo, whose last token is read as the classifier reads its own; or a vector ``(width,)``.
        name: for people; empty for ``"the other photo"``, the patch's place, or ``"a vector"``.

    Returns:
        The same capture with the direction.

    Raises:
        SettingsError: a name that is taken, no such patch, or a vector of another width, all zeros or not finite.
        ModelError: another model than the capture's, or one without a single feature vector: several classifiers, or
            one that is no linear layer; for a patch, also one whose classifier cannot read the tokens of a block.
    """
    require_same_model(model, capture)
    own = _features(model, capture, capture.pixels)
    if isinstance(like, np.ndarray):
        name, vector = name or "a vector", like.astype(np.float64)
    elif isinstance(like, tuple):
        name, vector = name or f"patch {like[0]}, {like[1]}", _patch_features(model, capture, like)
    else:
        require_same_model(model, like)
        name, vector = name or "the other photo", _features(model, like, like.pixels)
    if name in capture.target_names:
        raise SettingsError(f"there is a class or direction {name!r} already; choose another name")
    length = np.linalg.norm(vector)
    if vector.shape != own.shape or not np.isfinite(length) or length == 0:
        raise SettingsError(
            f"a direction for {model.name} must be a vector of {len(own)} finite numbers that are not all zero, "
            f"got the shape {vector.shape} and the length {length:g}"
        )
    cosine = float(own @ vector / (length * np.linalg.norm(own)))
    direction = Direction(name, (vector / length).astype(np.float32), cosine)
    return replace(capture, directions=(*capture.directions, direction))


@contextmanager
def reading_answer(model: AttentionModel, capture: AttentionCapture, target: int | None) -> Iterator[Answer]:
    """Within it, the model is run once; yields what takes the pass's output to the answer, a number with its graph.

    Args:
        model: the model of the capture.
        capture: says what the targets are.
        target: number of a class or direction; None is the feature vector's own direction, so that the answer is its
            length.

    Raises:
        ModelError: a direction, and the model has no single feature vector.
    """
    direction = None if target is None else capture.direction(target)
    if target is not None and direction is None:
        yield lambda output: output[0, target]
        return
    with _reading_features(model, capture) as features:

        def along(output: Tensor) -> Tensor:
            vector = features(output)
            if direction is None:
                return (vector * (vector / vector.norm()).detach()).sum()
            return (vector * torch.from_numpy(direction.vector).to(vector.device, vector.dtype)).sum()

        yield along


@contextmanager
def _reading_features(model: AttentionModel, capture: AttentionCapture) -> Iterator[Answer]:
    """As `reading_answer`, for the feature vector ``(width,)``: what the classifier reads, or the model's output."""
    if not model.class_names:
        yield lambda output: _pooled(capture, output)
        return
    module: Any = model.module
    classifier = module.get_classifier()
    if not isinstance(classifier, nn.Linear):
        raise ModelError(
            f"{model.name} has no single feature vector: its classifier is {type(classifier).__name__}, not one linear "
            "layer; choose a class"
        )
    read: list[Tensor] = []

    def watch(_: str, forward: Forward) -> Forward:
        def reading(features: Tensor) -> Any:
            read.append(features)
            return forward(features)

        return reading

    with model_lock(model.module), replaced_forward({"classifier": classifier}, watch):
        yield lambda _: _pooled(capture, read[-1])


def _pooled(capture: AttentionCapture, output: Tensor) -> Tensor:
    features = output.reshape(-1, output.shape[-1])  # one row, unless the model does not pool its tokens
    patches = capture.layout.num_patches
    return features[0] if capture.layout.default_query == "class" else features[-patches:].mean(0)


def _features(model: AttentionModel, capture: AttentionCapture, pixels: np.ndarray) -> np.ndarray:
    """The feature vector of prepared pixels, float64 ``(width,)``."""
    tensor = model.preprocessing.tensor(pixels)[None].to(model.device, model.dtype)
    with _reading_features(model, capture) as features:
        output = watched_forward(model.module, model.parts, {}, tensor, lambda *_: None)
        return _plain(features(output))


def _patch_features(model: AttentionModel, capture: AttentionCapture, patch: tuple[int, int]) -> np.ndarray:
    """What the classifier would read if every token were that of a patch, float64 ``(width,)``."""
    rows, cols = capture.layout.grid
    own = blocks(model.module)
    if model.partitions or not own:
        raise ModelError(
            f"{model.name} has windows or stages, and a patch of its last stage stands for many; take another photo"
        )
    if not (0 <= patch[0] < rows and 0 <= patch[1] < cols):
        raise SettingsError(f"there is no patch {patch} in a grid of {rows} x {cols}; possible: (0, 0) to "
                            f"({rows - 1}, {cols - 1})")  # fmt: skip
    number = patch[0] * cols + patch[1]
    last, block = list(own.items())[-1]
    read: list[np.ndarray] = []
    tensor = model.preprocessing.tensor(capture.pixels)[None].to(model.device, model.dtype)

    def watch(_: str, forward: Forward) -> Forward:
        def reading(*args: Any, **kwargs: Any) -> Any:
            output = forward(*args, **kwargs)
            if not isinstance(output, Tensor) or output.ndim != 3 or output.shape[1] < rows * cols:
                raise ModelError(f"the last block of {model.name} does not return its patches; take another photo")
            tokens = output[:, output.shape[1] - rows * cols + number, None].expand_as(output)
            with _reading_features(model, capture) as features:
                read.append(_plain(features(read_out(model.module, tokens))))
            return output

        return reading

    with model_lock(model.module), replaced_forward({last: block}, watch):
        watched_forward(model.module, model.parts, {}, tensor, lambda *_: None)
    return read[0]


def _plain(vector: Tensor) -> np.ndarray:
    return vector.detach().to("cpu", torch.float64).numpy()
