"""What the tokens of each layer add to an answer: plain values, computed by `conservative.capture_contributions`."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np


@dataclass(frozen=True, eq=False)
class LayerContributions:
    """The parts of a logit at one layer, in logit units: positive for the class, negative against it.

    Attributes:
        tokens: float32 ``(prefix + patches,)``, what each token that enters the layer's block adds. In a model with
            windows or stages the patches are those of the layer's keys: where finer ones enter the block, those of each
            cell are added up.
        constants: what enters from there on and belongs to no token: biases, and tokens that join later. With the sum
            of `tokens` it is the logit.
        heads: float32 ``(head, key)``, what each token adds through this layer's attention alone, by head; the keys are
            the layer's own prefix and padding, then the patches. A part of the logit, for the rest passes the layer by.
    """

    tokens: np.ndarray
    constants: float
    heads: np.ndarray


@dataclass(frozen=True, eq=False)
class ClassContributions:
    """The logit of one class, divided among the tokens of each layer.

    Attributes:
        target: number of the class; None for a model without a classifier, whose answer is its feature vector.
        logit: of the class; of features, the length of the vector.
        layers: one entry per attention layer.
    """

    target: int | None
    logit: float
    layers: tuple[LayerContributions, ...]

    @cached_property
    def rest(self) -> float:
        """The largest part of the logit that tokens and constants of a layer leave unexplained, relative to them.

        About 1e-6 for float32 models. It is larger where a model has a part that is not linear once its weights,
        normalisers and gates are held constant.
        """
        return max(
            abs(self.logit - layer.constants - float(layer.tokens.sum(dtype=np.float64)))
            / max(np.abs(layer.tokens).sum(dtype=np.float64) + abs(layer.constants), np.finfo(float).tiny)
            for layer in self.layers
        )
