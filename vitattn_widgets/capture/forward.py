"""The forward pass: a model and a photo become an `AttentionCapture`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from ..errors import ModelError
from ..images import Picture, load_picture
from ..models.families import is_latent_pool, model_inside
from ..models.preprocess import View
from ..models.stages import is_chained, undivided
from ..models.tokens import LayerTokens
from .attention import rebuild
from .capture import AttentionCapture, CapturedLayer
from .layer_answers import AnswersReader, LayerAnswers, reading_answers
from .recorder import watched_forward
from .sites import SiteAttention, SiteCalls, layer_tokens, read_site
from .stage_sites import added_by_key, arranged_by, laid_out, read_stage_site

if TYPE_CHECKING:
    from ..models.loading import AttentionModel


def _plain(tensor: Tensor) -> Tensor:
    return tensor.to("cpu", torch.float32)


def _plain_copy(tensor: Tensor) -> Tensor:
    return tensor.to("cpu", torch.float32, copy=True)


def capture_tensor(
    model: AttentionModel, tensor: Tensor, reader: AnswersReader | None = None
) -> tuple[tuple[CapturedLayer, ...], Tensor]:
    """Run a model once on a prepared input and keep the operands of every layer.

    Args:
        model: the model.
        tensor: ``(1, 3, H, W)``, normalised, on the model's device.
        reader: what reads answers during this pass.

    Returns:
        The captured layers and the model's output.
    """
    layers: list[CapturedLayer] = []

    def keep(name: str, calls: SiteCalls) -> None:
        if reader is not None and reader.reading:
            return
        site, tokens = read_layer(model, name, calls)
        # latent queries can be a view of a parameter; everything else was created by the forward pass for itself alone
        own = _plain if tokens.query_patches else _plain_copy
        attention = rebuild(site.attention, Tensor, own)
        layers.append(CapturedLayer(name, tokens, attention, own(site.values), own(site.output)))

    logits = watched_forward(model.module, model.parts, model.sites, tensor, keep)
    if not layers:
        raise RuntimeError(f"the forward pass of {model.name} ran none of its attention modules")
    return tuple(layers), logits


def capture_attention(model: AttentionModel, picture: Picture, *, answers: bool = False) -> AttentionCapture:
    """Capture a photo: after one forward pass, any layer, head and query can be shown.

    Args:
        model: from `load_model`.
        picture: a path, a PIL picture or a uint8 array.
        answers: whether to read the classifier's answer after every layer as well (`LayerAnswers`), where the model
            has such answers; it takes a few percent longer.

    Returns:
        The capture. It holds ``4 x layers x tokens x width`` floats, never a tokens x tokens matrix.

    Raises:
        PictureError: the photo cannot be read.
    """
    photo = load_picture(picture)
    view = model.preprocessing.view(photo)
    tensor = model.preprocessing.tensor(view.pixels)[None].to(model.device, model.dtype)
    layers, logits, read = _capture_with_answers(model, tensor) if answers else (*capture_tensor(model, tensor), None)
    visible, inside = seen_part(model, view), model_inside(model.module)[1]
    return AttentionCapture(
        model_name=model.name,
        layout=model.layout,
        layers=layers,
        pixels=view.pixels,
        view=visible.pixels,
        source=np.array(photo),
        crop_box=visible.crop_box,
        probabilities=model.probabilities(logits)[0],
        class_names=model.class_names,
        answers=read,
        unsure=model.is_unsure(logits[0]),
        undivided=undivided(inside),
        chained=is_chained(inside),
    )


def _capture_with_answers(
    model: AttentionModel, tensor: Tensor
) -> tuple[tuple[CapturedLayer, ...], Tensor, LayerAnswers | None]:
    if not model.class_names:
        return *capture_tensor(model, tensor), None
    with reading_answers(model) as reader:
        layers, logits = capture_tensor(model, tensor, reader)
    try:
        return layers, logits, reader.answers(logits)
    except ModelError:  # a capture is good without; whoever asks for the answers hears why there are none
        return layers, logits, None


def capture_layer_answers(model: AttentionModel, capture: AttentionCapture) -> AttentionCapture:
    """Add to a capture the classifier's answer after every layer: one forward pass.

    Args:
        model: the model of the capture.
        capture: from `capture_attention`.

    Returns:
        The same capture with `answers`; the capture itself if it has them already.

    Raises:
        SettingsError: a model without a classifier.
        ModelError: another model than the capture's, or one whose classifier cannot read the tokens of a block.
    """
    if capture.answers is not None:
        return capture
    capture.class_or_predicted()  # refuses models without a classifier
    require_same_model(model, capture)
    tensor = model.preprocessing.tensor(capture.pixels)[None].to(model.device, model.dtype)
    with reading_answers(model) as reader:
        logits = watched_forward(model.module, model.parts, {}, tensor, lambda *_: None)
    return replace(capture, answers=reader.answers(logits))


def capture_again(model: AttentionModel, capture: AttentionCapture) -> AttentionCapture:
    """Capture exactly the pixels of another capture with a model of the same input: one forward pass.

    Args:
        model: a changed copy of the capture's model.
        capture: from `capture_attention`.
    """
    tensor = model.preprocessing.tensor(capture.pixels)[None].to(model.device, model.dtype)
    layers, logits = capture_tensor(model, tensor)
    probabilities = model.probabilities(logits)[0]
    unset: dict[str, Any] = {"value_norms": (), "gradients": (), "contributions": (), "answers": None}
    return replace(capture, layers=layers, probabilities=probabilities, **unset)


def seen_part(model: AttentionModel, view: View) -> View:
    """The part of a view that whole patches cover: the model looks at nothing else, and maps lie on it."""
    if model.partitions:  # convolutions see every pixel
        return view
    rows, cols = model.layout.grid
    height, width = model.layout.patch_shape
    return view.part(rows * height, cols * width)


def read_layer(model: AttentionModel, name: str, calls: SiteCalls) -> tuple[SiteAttention, LayerTokens]:
    """The attention that a module used in a forward pass, for a whole batch, and its tokens.

    Raises:
        ModelError: attention or tokens that this kit does not know.
    """
    site, where = model.sites[name], f"{name} of {model.name}"
    partition = model.partitions.get(name)
    if partition is not None:
        return read_stage_site(site, calls, partition, model.layout.prefix, where)
    attention = read_site(site, calls, model.layout, name)
    queries, keys = attention.output.shape[2], attention.shape[2]
    return attention, layer_tokens(is_latent_pool(site), queries, keys, model.layout, where)


def arrangement(model: AttentionModel, name: str, calls: SiteCalls) -> Callable[[Tensor], Tensor]:
    """What brings a layer's results, as its module lays them out, into the order of `CapturedLayer.output`."""
    partition = model.partitions.get(name)
    return (lambda result: result) if partition is None else arranged_by(model.sites[name], calls, partition)


def key_arrangement(model: AttentionModel, name: str, calls: SiteCalls) -> Callable[[Tensor], Tensor]:
    """What adds up the parts of a layer's values, laid out as these, by head and key: ``(batch, head, key)``."""
    partition = model.partitions.get(name)
    return (lambda parts: parts.sum(-1)) if partition is None else added_by_key(model.sites[name], calls, partition)


def head_factors(model: AttentionModel, name: str, factors: Tensor) -> Callable[[int], Tensor]:
    """Factors ``(batch, head)`` of what a layer's heads compute from the values, laid out like these.

    Returns:
        From the number of axes of the module's results to factors that can be multiplied by them.
    """
    partition = model.partitions.get(name)
    if partition is None:
        return lambda _: factors[:, :, None, None]
    return lambda axes: laid_out(model.sites[name], partition, factors, axes)


def require_flat(model: AttentionModel, what: str) -> None:
    """Raise if a model has windows or stages, for what is defined for flat ones alone.

    Raises:
        ModelError: with `what` is not defined, in the plural.
    """
    if model.partitions:
        raise ModelError(
            f"{what} are known for flat models alone, and {model.name} has windows or stages; its maps of attention "
            "and of gradients are exact"
        )


def require_same_model(model: AttentionModel, capture: AttentionCapture) -> None:
    """Raise if a capture was made with another model.

    Raises:
        ModelError: names both.
    """
    if model.name != capture.model_name or tuple(model.sites) != capture.layer_names:
        raise ModelError(
            f"the capture was made with {capture.model_name}, not with {model.name}; give the model that made it"
        )
