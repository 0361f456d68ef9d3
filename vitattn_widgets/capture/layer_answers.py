"""Layer by layer: what the classifier would answer if the model ended after each of its layers.

The model's own final norm, pooling and head are applied to the tokens that each block returns, in the one forward pass
that computes these. The idea is the "logit lens" (nostalgebraist 2020); Vilas et al. 2023, "Analyzing Vision
Transformers for Image Classification in Class Embedding Space" (arXiv:2310.18969), apply it to ViTs.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from ..errors import ModelError
from ..models.families import blocks, read_out
from .recorder import Forward, model_lock, replaced_forward

if TYPE_CHECKING:
    from ..models.loading import AttentionModel


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


class AnswersReader:
    """Reads the answer after every block while a model runs, see `reading_answers`.

    Attributes:
        model: the model.
        reading: whether it reads right now: an attention pool runs then, which is no part of the pass.
    """

    def __init__(self, model: AttentionModel) -> None:
        self.model = model
        self.reading = False
        self._whole = model.layout.num_patches + len(model.layout.prefix)
        self._by_block: dict[str, np.ndarray | None] = {}
        self._patches: Tensor | None = None
        self._refusal: ModelError | None = None

    def refuse(self, reason: str) -> None:
        """Read nothing, and give the reason where the answers are asked for; the pass is none the worse."""
        self._refusal = ModelError(reason)

    def watch(self, name: str, forward: Forward) -> Forward:
        """A block's ``forward`` that also reads its answer; for `replaced_forward`."""

        def watched(*args: Any, **kwargs: Any) -> Any:
            output = forward(*args, **kwargs)
            if self._refusal is None:
                self.reading = True
                try:
                    self._by_block[name] = self._answer(name, output[-1] if isinstance(output, tuple) else output)
                except ModelError as error:  # the pass itself is none the worse
                    self._refusal = error
                finally:
                    self.reading = False
            return output

        return watched

    def _answer(self, name: str, tokens: Tensor) -> np.ndarray | None:
        if "blocks_token_only" not in name:
            self._patches = tokens
        elif self._patches is not None:  # the last blocks of CaiT return the class token alone
            tokens = torch.cat((tokens, self._patches), 1)
        if tokens.ndim != 3 or tokens.shape[1] != self._whole:
            return None
        return self.model.probabilities(read_out(self.model.module, tokens))[0]

    def answers(self, logits: Tensor) -> LayerAnswers:
        """What was read.

        Args:
            logits: the model's own, of the same pass.

        Raises:
            ModelError: the classifier cannot read the tokens of a block, or reads something else after the last one.
        """
        if self._refusal is not None:
            raise self._refusal
        own = self.model.probabilities(logits)[0]
        last = list(self._by_block.values())[-1] if self._by_block else None
        if last is None or not np.allclose(last, own, rtol=0, atol=0.02):
            raise ModelError(
                f"{self.model.name} does something of its own between its last block and its classifier, so what the "
                "classifier would read after an earlier block is not defined"
            )
        empty = np.full(own.shape, np.nan, np.float32)
        rows = []
        for name in self.model.sites:
            block = next((block for block in self._by_block if f"{name}.".startswith(f"{block}.")), None)
            answer = own if block is None else self._by_block[block]  # an attention pool belongs to no block
            rows.append(empty if answer is None else answer)
        first = next(number for number, row in enumerate(rows) if row is not empty)
        return LayerAnswers(np.stack(rows), first)


@contextmanager
def reading_answers(model: AttentionModel) -> Iterator[AnswersReader]:
    """Read the answer after every block of the one pass that is run within; `model` must have a classifier."""
    reader = AnswersReader(model)
    if model.partitions:
        reader.refuse(
            f"{model.name} has windows or stages, and its classifier reads the last stage alone: what it would read "
            "after an earlier layer is not defined"
        )
    with model_lock(model.module), replaced_forward(blocks(model.module), reader.watch):
        yield reader
