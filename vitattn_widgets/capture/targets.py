"""What maps of a target are made from: the gradients of an answer, and targets that are no classes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from .attention import pick


@dataclass(frozen=True, eq=False)
class Direction:
    """A vector in the space of a model's features, as a target of maps.

    Attributes:
        name: what it is of, for people: ``"dog.jpg"``, ``"patch 3, 4"``.
        vector: float32 ``(width,)`` of length 1.
        cosine: of the angle between the photo's own feature vector and this one, -1..1.
    """

    name: str
    vector: np.ndarray
    cosine: float


@dataclass(frozen=True, eq=False)
class ClassGradients:
    """The gradient of one answer, a class's logit as a rule, with respect to each layer's attention times values.

    Attributes:
        target: number of the class or direction; None is the feature vector of a model without a classifier.
        outputs: for each layer float32 ``(1, head, query, width)``.
    """

    target: int | None
    outputs: tuple[Tensor, ...]

    def rows(self, layer: int, values: Tensor, queries: np.ndarray) -> Tensor:
        """The gradient of the logit with respect to attention rows.

        Args:
            layer: number of the layer, from 0 on.
            values: the layer's values, ``(1, head, key, width)``.
            queries: numbers of the rows.

        Returns:
            float32 ``(1, head, len(queries), key)``.
        """
        return pick(self.outputs[layer], queries) @ values.mT
