"""Where in the model the answer comes about, for capsules: the answer after every layer, each head's part in it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..capture.capture import AttentionCapture
from ..capture.forward import capture_layer_answers
from ..capture.head_contributions import capture_head_contributions
from ..capture.layer_answers import LayerAnswers
from ..errors import ModelError
from ..evaluation.interventions import silence_every_head, silencing_passes
from .tensors import Tensors

if TYPE_CHECKING:
    from ..models.loading import AttentionModel

FOLLOWED = 4
"""Number of classes whose probability after every layer a light capsule holds."""

MOST_PASSES = 100
"""Most forward passes that a viewer waits for: ViT-Tiny's heads take 20, ViT-Base's 78, ViT-Large's 200."""


def with_answers(model: AttentionModel, capture: AttentionCapture) -> tuple[AttentionCapture, str]:
    """The capture with the answers after every layer, or why there are none."""
    if not capture.class_names:
        return capture, "this model has no classifier"
    try:
        return capture_layer_answers(model, capture), ""
    except ModelError as error:
        return capture, str(error)


def answer_parts(capture: AttentionCapture, unavailable: str) -> tuple[dict[str, Any], Tensors]:
    """The facts of the answers after every layer, and the probabilities of the classes worth following.

    Args:
        capture: from `with_answers`.
        unavailable: from `with_answers`.

    Returns:
        The facts: ``unavailable``; ``first``, see `LayerAnswers`; ``leaders``, the most probable class of each layer;
        ``classes``, those that are followed; ``sentence``; ``no_direct``, in files, and ``no_silenced``: why there are
        no such parts of the heads. And the tensors of those classes.
    """
    facts = {"unavailable": unavailable, "first": 0, "leaders": [], "classes": [], "sentence": ""}
    facts |= {"no_direct": _no_direct(capture), "no_silenced": _no_silenced(capture)}
    answers = capture.answers
    if answers is None:
        return facts, {}
    followed = followed_classes(answers)
    facts |= {
        "first": answers.first,
        "leaders": answers.leaders.tolist(),
        "classes": followed,
        "sentence": answers_sentence(answers, capture.class_names),
    }
    return facts, {f"answers/{target}": answers.probabilities[:, target] for target in followed}


def followed_classes(answers: LayerAnswers, count: int = FOLLOWED) -> list[int]:
    """The model's answer, and the classes that come to the largest probability after any layer."""
    peaks = answers.probabilities[answers.first :].max(0)
    own = int(answers.leaders[-1])
    return [own, *(int(number) for number in np.argsort(-peaks, kind="stable")[:count] if number != own)][:count]


def answers_sentence(answers: LayerAnswers, class_names: Sequence[str]) -> str:
    """From which layer on the classifier would give the model's answer."""
    leaders, settled = answers.leaders, answers.settled
    name = class_names[leaders[-1]]
    if settled <= answers.first:
        if answers.first:
            first = f"from layer {answers.first} on"
            return f"As soon as there is something to read, {first}, the classifier would say {name}."
        return f"From the first layer on, the classifier would say {name}."
    before = class_names[leaders[settled - 1]]
    if settled == len(leaders) - 1:
        return f"Only after the last layer, the classifier says {name}; one layer earlier it would say {before}."
    return f"From layer {settled} on, the classifier would say {name}; after layer {settled - 1}, {before}."


def answer_tensors(capture: AttentionCapture, target: int | None) -> Tensors:
    """The probability of a class after every layer, float32 ``(layers,)``, see `LayerAnswers`; none without them."""
    target = capture.class_or_predicted(target)
    return {} if capture.answers is None else {f"answers/{target}": capture.answers.probabilities[:, target]}


def direct_tensors(model: AttentionModel, capture: AttentionCapture, target: int | None) -> Tensors:
    """The direct contributions to a class's logit, see `HeadContributions`: of heads, MLPs, and the rest."""
    parts = capture_head_contributions(model, capture, target)
    return {
        f"heads/{parts.target}/direct": _table(parts.heads),
        f"heads/{parts.target}/mlps": parts.mlps,
        f"heads/{parts.target}/sums": np.array([parts.start, parts.biases, parts.logit], np.float32),
    }


def silenced_tensors(model: AttentionModel, capture: AttentionCapture, target: int | None) -> Tensors:
    """How much of a class's logit is lost with each head silenced, see `silence_every_head`.

    Raises:
        ModelError: it would take more than `MOST_PASSES`.
    """
    if refusal := _no_silenced(capture):
        raise ModelError(refusal)
    lost = silence_every_head(model, capture, target)
    return {f"heads/{capture.class_or_predicted(target)}/silenced": _table(lost)}


def _no_direct(capture: AttentionCapture) -> str:
    """Why a model's heads give nothing directly, as far as is known without a pass; empty if they may."""
    if not capture.staged:
        return ""
    return f"{capture.model_name} has windows or stages; what heads give directly is known for flat models alone"


def _no_silenced(capture: AttentionCapture) -> str:
    """Why a viewer does not silence each head of a model; empty if it does."""
    passes = silencing_passes(capture)
    if passes <= MOST_PASSES:
        return ""
    return (
        f"silencing each of the {sum(layer.num_heads for layer in capture.layers)} heads of {capture.model_name} takes "
        f"about {passes:.0f} forward passes, too long to wait for; in Python: "
        "va.evaluation.silence_every_head(model, capture)"
    )


def _table(rows: Sequence[np.ndarray]) -> np.ndarray:
    """float32 ``(layers, heads)``; NaN where a layer has fewer heads than another."""
    table = np.full((len(rows), max(map(len, rows))), np.nan, np.float32)
    for place, row in zip(table, rows, strict=True):
        place[: len(row)] = row
    return table
