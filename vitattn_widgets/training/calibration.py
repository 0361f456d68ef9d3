"""Whether probabilities mean what they say: calibration (Guo et al. 2017), and when a model is not sure."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from scipy.special import logsumexp
from torch import Tensor

BINS = 15


def fit_temperature(logits: Tensor, labels: Tensor) -> float:
    """The number by which logits are divided so that their likelihood is highest.

    Args:
        logits: float32 ``(photos, classes)``, of photos that the model was not trained on.
        labels: int64 ``(photos,)``.
    """
    log_temperature = torch.zeros((), requires_grad=True)
    solver: Any = torch.optim.LBFGS([log_temperature], max_iter=100, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        solver.zero_grad()
        value = F.cross_entropy(logits / log_temperature.exp(), labels)
        torch.autograd.backward(value)
        return value

    solver.step(loss)
    return float(log_temperature.detach().exp())


def calibration_error(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Expected calibration error: how far accuracy is from confidence, mean over `BINS` equal bins of confidence.

    Args:
        probabilities: float32 ``(photos, classes)``.
        labels: int64 ``(photos,)``.

    Returns:
        0..1; each bin counts by its photos.
    """
    confidence = probabilities.max(1).astype(np.float64)
    right = (probabilities.argmax(1) == labels).astype(np.float64)
    place = np.minimum((confidence * BINS).astype(int), BINS - 1)
    gaps = np.bincount(place, right - confidence, BINS)
    return float(np.abs(gaps).sum() / len(labels))


def unsure_below(logits: np.ndarray, labels: np.ndarray, share: float = 0.05) -> float:
    """The score (`AttentionModel.is_unsure`), rounded to 0.01, that all but a share of the right answers exceed.

    Args:
        logits: float32 ``(photos, classes)``.
        labels: int64 ``(photos,)``.
        share: of the right answers that are called unsure, 0..1.
    """
    right = logits.argmax(1) == labels
    return round(float(np.quantile(logsumexp(logits[right], axis=1), share)), 2)
