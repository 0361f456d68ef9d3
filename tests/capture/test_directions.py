"""Directions as targets: what in a photo speaks for a likeness to another photo, a patch or any vector."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import vitattn_widgets as va
from vitattn_widgets.capture import add_direction, capture_contributions, capture_gradients
from vitattn_widgets.view.captions import sentence

from .. import model_zoo
from ..conftest import noise_photo

ONE_CLASSIFIER = [name for name in model_zoo.FAMILIES if "distilled" not in name]


def captured(family: str, seed: int = 0) -> tuple[Any, va.capture.AttentionCapture]:
    model = va.load_model(model_zoo.build(family), img_size=model_zoo.SQUARE)
    return model, va.capture_attention(model, noise_photo((50, 70), seed))


def features_of(model: va.models.AttentionModel, capture: va.capture.AttentionCapture) -> np.ndarray:
    """What the classifier is given, else the output; models that do not pool their tokens have no class token here."""
    module: Any = model.module
    read: list[torch.Tensor] = []
    if model.class_names:
        hook = module.get_classifier().register_forward_pre_hook(lambda _, given: read.append(given[0]))
    with torch.no_grad():
        output = module(model.preprocessing.tensor(capture.pixels)[None])
    if model.class_names:
        hook.remove()
    features = (read or [output])[0]
    return features.reshape(-1, features.shape[-1]).mean(0).double().numpy()


@pytest.mark.parametrize("family", ONE_CLASSIFIER)
def test_the_likeness_to_a_second_photo_is_divided(family: str) -> None:
    model, capture = captured(family)
    other = va.capture_attention(model, noise_photo((64, 64), 5))
    capture = add_direction(model, capture, other, "other.jpg")
    one, two = features_of(model, capture), features_of(model, other)
    (direction,) = capture.directions
    cosine = one @ two / np.linalg.norm(one) / np.linalg.norm(two)
    assert direction.cosine == pytest.approx(cosine, abs=1e-5)
    target = len(capture.class_names)
    assert capture.target_names[target] == "other.jpg"
    found = capture_contributions(model, capture, target).class_contributions(target)
    assert found.logit == pytest.approx(one @ two / np.linalg.norm(two), rel=1e-4, abs=1e-5)
    for layer in found.layers:
        size = float(np.abs(layer.tokens).sum()) + abs(layer.constants)
        assert layer.tokens.sum(dtype=np.float64) + layer.constants == pytest.approx(found.logit, abs=1e-5 * size)


def test_the_direction_of_a_classifiers_row_gives_the_contributions_to_its_class() -> None:
    model, capture = captured("vit")
    row = model.module.head.weight[3].detach().numpy()
    capture = add_direction(model, capture, row, "row 3")
    target = len(capture.class_names)
    capture = capture_contributions(model, capture_contributions(model, capture, 3), target)
    by_class, by_row = capture.class_contributions(3), capture.class_contributions(target)
    length = np.linalg.norm(row)
    for one, other in zip(by_class.layers, by_row.layers, strict=True):
        np.testing.assert_allclose(one.tokens, other.tokens * length, atol=1e-6)
        np.testing.assert_allclose(one.heads, other.heads * length, atol=1e-6)
    assert by_class.logit == pytest.approx(by_row.logit * length + float(model.module.head.bias[3].detach()), abs=1e-5)
    capture = capture_gradients(model, capture_gradients(model, capture, 3), target)
    for one, other in zip(capture.class_gradients(3).outputs, capture.class_gradients(target).outputs, strict=True):
        torch.testing.assert_close(one, other * float(length), atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("family", ["vit", "vit_registers_average"])
def test_a_patch_is_read_as_the_classifier_reads_its_own_token(family: str) -> None:
    model, capture = captured(family)
    module: Any = model.module
    with torch.no_grad():
        tokens = module.forward_features(model.preprocessing.tensor(capture.pixels)[None])[0]
        row, col = 2, 1
        place = len(capture.layout.prefix) + row * capture.layout.grid[1] + col
        expected = module.fc_norm(tokens[place]).double().numpy()
    (direction,) = add_direction(model, capture, (row, col)).directions
    assert direction.name == "patch 2, 1"
    np.testing.assert_allclose(direction.vector, expected / np.linalg.norm(expected), atol=1e-5)


def test_class_sources_of_a_model_without_a_classifier_are_of_its_feature_vector() -> None:
    model, capture = captured("deepseek_encoder")
    rendered = [
        va.render_view(va.complete_capture(model, capture, settings), settings)
        for settings in (va.ViewSettings(source=source) for source in ("gradient", "gradient_late", "contribution"))
    ]
    assert all("for its feature vector (this model has no classifier)" in one.caption for one in rendered)
    other = add_direction(model, capture, va.capture_attention(model, noise_photo((64, 64), 5)), "b.jpg")
    settings = va.ViewSettings(source="gradient_late", target=0)
    other = va.complete_capture(model, other, settings)
    shown = va.render_view(other, settings)
    assert f"for the likeness to b.jpg (cosine {other.directions[0].cosine:.2f})" in shown.caption
    assert sentence(other, settings).endswith("used for “likeness to b.jpg”.")
    assert not np.allclose(shown.grid_map, rendered[1].grid_map)


def test_what_cannot_be_a_direction_is_refused_in_one_line() -> None:
    model, capture = captured("vit")
    other, _ = captured("eva")
    with pytest.raises(va.errors.SettingsError, match=r"a vector of 48 finite numbers .* got the shape \(5,\)"):
        add_direction(model, capture, np.ones(5))
    with pytest.raises(va.errors.SettingsError, match="not all zero"):
        add_direction(model, capture, np.zeros(48))
    with pytest.raises(va.errors.SettingsError, match=r"no patch \(9, 0\) in a grid of 4 x 4"):
        add_direction(model, capture, (9, 0))
    with pytest.raises(va.errors.SettingsError, match="there is a class or direction"):
        add_direction(model, capture, (0, 0), capture.class_names[2])
    with pytest.raises(va.errors.SettingsError, match="class"):
        va.complete_capture(model, capture, va.ViewSettings(source="gradient", target=len(capture.class_names)))
    with pytest.raises(va.errors.ModelError, match="give the model that made it"):
        add_direction(other, capture, (0, 0))
