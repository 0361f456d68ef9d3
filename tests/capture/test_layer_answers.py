"""The classifier's answer after every layer, against models that end there, for every supported family."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import torch
from torch import nn

import vitattn_widgets as va
from vitattn_widgets.capture import LayerAnswers, capture_layer_answers
from vitattn_widgets.models.families import trunk

from .. import model_zoo
from ..conftest import noise_photo

CLASSIFIERS = [case for case in model_zoo.CASES if not case[0].endswith("_encoder")]
IDS = {"ids": lambda part: str(part).replace(" ", "")}


def truncated(module: nn.Module, layer: str) -> nn.Module | None:
    """A copy of a model that ends after the block of a layer; None where its class token has not joined by then."""
    short = copy.deepcopy(module)
    body = trunk(short)[1]
    parts = layer.removeprefix("encoder.").split(".")
    if parts[0] == "attn_pool":
        return short
    blocks = getattr(body, parts[0])
    setattr(
        body,
        parts[0],
        type(blocks)(*blocks[: int(parts[1]) + 1])
        if isinstance(blocks, nn.Sequential)
        else blocks[: int(parts[1]) + 1],
    )
    if hasattr(body, "blocks_token_only") and parts[0] == "blocks":
        return None
    return None if int(parts[1]) < getattr(body, "local_up_to_layer", 0) else short


def answers_of(model: va.models.AttentionModel, capture: va.capture.AttentionCapture) -> LayerAnswers:
    answers = capture_layer_answers(model, capture).answers
    assert answers is not None
    return answers


@pytest.mark.parametrize(("family", "size"), CLASSIFIERS, **IDS)
def test_the_answer_after_a_layer_is_that_of_the_model_that_ends_there(family: str, size: tuple[int, int]) -> None:
    module = model_zoo.build(family, size)
    model = va.load_model(module, img_size=size)
    capture = va.capture_attention(model, noise_photo((50, 70)))
    answers = answers_of(model, capture)
    assert answers.probabilities.shape == (capture.num_layers, 5)
    np.testing.assert_array_equal(answers.probabilities[-1], capture.probabilities)
    tensor = model.preprocessing.tensor(capture.pixels)[None]
    for number, layer in enumerate(capture.layer_names):
        short = truncated(module, layer)
        assert (short is None) == (number < answers.first)
        if short is None:
            assert np.isnan(answers.probabilities[number]).all()
            continue
        with torch.inference_mode():
            expected = short(tensor)[0].softmax(-1)
        np.testing.assert_allclose(answers.probabilities[number], expected, atol=1e-6)


@pytest.mark.parametrize("family", ["vit", "vit_attention_pool", "cait", "qwen3"])
def test_a_capture_with_answers_takes_one_pass_and_holds_the_same(family: str) -> None:
    model = va.load_model(model_zoo.build(family), img_size=model_zoo.SQUARE)
    photo = noise_photo((40, 40))
    plain = va.capture_attention(model, photo)
    runs: list[object] = []
    hook = model.module.register_forward_hook(lambda *_: runs.append(1))
    capture = va.capture_attention(model, photo, answers=True)
    assert capture_layer_answers(model, capture) is capture
    hook.remove()
    assert len(runs) == 1
    assert capture.answers is not None
    np.testing.assert_array_equal(capture.answers.probabilities, answers_of(model, plain).probabilities)
    assert capture.layer_names == plain.layer_names
    np.testing.assert_array_equal(capture.attention(), plain.attention())
    assert capture.nbytes == plain.nbytes + capture.answers.probabilities.nbytes
    again = pickle.loads(pickle.dumps(capture))
    np.testing.assert_array_equal(again.answers.probabilities, capture.answers.probabilities)
    assert not any("forward" in vars(part) for part in model.parts)


def test_a_model_in_train_mode_answers_as_in_eval_mode() -> None:
    module = model_zoo.build("vit", model_zoo.WIDE)
    module.head_drop.p = 0.9
    model = va.load_model(module.train(), img_size=model_zoo.WIDE)
    capture = va.capture_attention(model, noise_photo((40, 60)))
    np.testing.assert_array_equal(answers_of(model, capture).probabilities[-1], capture.probabilities)
    assert module.training
    assert module.head_drop.training


def test_leaders_and_the_layer_from_which_on_the_answer_stays() -> None:
    nothing = [np.nan, np.nan, np.nan]
    rows = [nothing, [0.1, 0.6, 0.3], [0.1, 0.2, 0.7], [0.6, 0.3, 0.1], [0.2, 0.3, 0.5], [0.1, 0.1, 0.8]]
    answers = LayerAnswers(np.array(rows, np.float32), 1)
    assert answers.leaders.tolist() == [-1, 1, 2, 0, 2, 2]
    assert answers.settled == 4
    assert LayerAnswers(np.array(rows[4:], np.float32), 0).settled == 0


def test_a_model_without_a_classifier_is_refused() -> None:
    model = va.load_model(model_zoo.build("qwen3_encoder"), img_size=model_zoo.SQUARE)
    capture = va.capture_attention(model, noise_photo((40, 40)))
    with pytest.raises(va.errors.SettingsError, match="has no classifier"):
        capture_layer_answers(model, capture)


def test_a_model_that_merges_its_patches_before_its_classifier_is_refused_with_the_reason() -> None:
    from timm.models.qwen3_vit import Qwen3VitClassifier

    module = Qwen3VitClassifier(
        img_size=32,
        patch_size=8,
        embed_dim=48,
        depth=2,
        num_heads=3,
        num_classes=5,
        encoder_pool="merge",
        out_features=32,
    )
    model = va.load_model(module, img_size=32)
    capture = va.capture_attention(model, noise_photo((40, 40)))
    with pytest.raises(va.errors.ModelError, match=r"merges its patches .* \(encoder_pool='merge'\)"):
        capture_layer_answers(model, capture)
    assert va.capture_attention(model, noise_photo((40, 40)), answers=True).answers is None


def test_a_model_with_a_step_of_its_own_before_its_classifier_is_refused_with_the_reason() -> None:
    class Own(type(model_zoo.build("vit"))):  # type: ignore[misc]
        def forward_features(self, x: torch.Tensor, **_: object) -> torch.Tensor:
            return super().forward_features(x).flip(-1)

    module = model_zoo.build("vit")
    module.__class__ = Own
    model = va.load_model(module, img_size=model_zoo.SQUARE)
    capture = va.capture_attention(model, noise_photo((40, 40)))
    with pytest.raises(va.errors.ModelError, match="something of its own between its last block and its classifier"):
        capture_layer_answers(model, capture)
