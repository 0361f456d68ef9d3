"""Layer by layer: what the classifier would answer if the model ended after each of its layers.

The model's own final norm, pooling and head are applied to the tokens that each block returns, in the one forward pass
that computes these. The idea is the "logit lens" (nostalgebraist 2020); Vilas et al. 2023, "Analyzing Vision
Transformers for Image Classification in Class Embedding Space" (arXiv:2310.18969), apply it to ViTs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from ..errors import ModelError
from ..models.families import blocks, read_out
from .cache import remembered
from .forward import require_same_model
from .recorder import Forward, model_lock, replaced_forward, watched_forward

if TYPE_CHECKING:
    from ..models.loading import AttentionModel
    from .capture import AttentionCapture


@dataclass(frozen=True, eq=False)
class LayerAnswers:
    """The classifier's answer after every layer.

    Attributes:
        probabilities: float32 ``(layers, classes)``, softmax of the head's logits on the tokens after the layer's
            block; the last row is the model's own answer, as is that of an attention pool. Layers of one block share
            their answer. Before `first`, rows are NaN.
        first: number of the first layer with an answer. It is not 0 where the class token joins the patches only
            later (CaiT, ConViT): before that, there is nothing that the classifier could read.
    """

    probabilities: np.ndarray
    first: int

    @property
    def leaders(self) -> np.ndarray:
        """The most probable class of each layer, int64 ``(layers,)``; -1 before `first`."""
        return np.where(np.arange(len(self.probabilities)) < self.first, -1, self.probabilities.argmax(-1))

    @property
    def settled(self) -> int:
        """The number of the layer from which on the most probable class is the model's answer."""
        others = np.flatnonzero(self.leaders != self.leaders[-1])
        return int(others[-1]) + 1 if len(others) else 0


def capture_layer_answers(model: AttentionModel, capture: AttentionCapture) -> LayerAnswers:
    """The classifier's answer after every layer of a captured photo: one forward pass, the first time.

    Args:
        model: the model of the capture.
        capture: from `capture_attention`.

    Raises:
        SettingsError: a model without a classifier.
        ModelError: another model than the capture's, or one whose classifier cannot read the tokens of a block.
    """
    capture.class_or_predicted()  # refuses models without a classifier
    require_same_model(model, capture)
    return remembered(capture, "layer answers", None, lambda: _answers(model, capture.pixels))


def _answers(model: AttentionModel, pixels: np.ndarray) -> LayerAnswers:
    whole = model.layout.num_patches + len(model.layout.prefix)
    by_block: dict[str, np.ndarray | None] = {}
    patches: Tensor | None = None  # of CaiT, whose last blocks return the class token alone

    def answer(name: str, forward: Forward) -> Forward:
        def answered(*args: Any, **kwargs: Any) -> Any:
            nonlocal patches
            output = forward(*args, **kwargs)
            tokens = output[-1] if isinstance(output, tuple) else output  # TNT: pixels and patches
            if "blocks_token_only" not in name:
                patches = tokens
            elif patches is not None:
                tokens = torch.cat((tokens, patches), 1)
            enough = tokens.ndim == 3 and tokens.shape[1] == whole
            by_block[name] = model.probabilities(read_out(model.module, tokens))[0] if enough else None
            return output

        return answered

    tensor = model.preprocessing.tensor(pixels)[None].to(model.device, model.dtype)
    with model_lock(model.module), replaced_forward(blocks(model.module), answer):
        logits = watched_forward(model.module, model.parts, {}, tensor, lambda *_: None)
    own = model.probabilities(logits)[0]
    last = list(by_block.values())[-1] if by_block else None
    if last is None or not np.allclose(last, own, rtol=0, atol=0.02):
        raise ModelError(
            f"{model.name} does something of its own between its last block and its classifier, so what the classifier "
            "would read after an earlier block is not defined"
        )
    empty = np.full(len(model.class_names), np.nan, np.float32)
    rows, answered = [], own
    for name in model.sites:
        block = next((block for block in by_block if f"{name}.".startswith(f"{block}.")), None)
        answered = own if block is None else by_block[block]  # an attention pool belongs to no block
        rows.append(empty if answered is None else answered)
    first = next(number for number, row in enumerate(rows) if row is not empty)
    return LayerAnswers(np.stack(rows), first)
