"""Building without a random start: the same model, and nothing that a model computes for itself is lost."""

from __future__ import annotations

import pytest
import timm
import torch

from vitattn_widgets.models.building import create_module
from vitattn_widgets.models.start_values import NoRandomStart

from .. import model_zoo


@pytest.mark.parametrize("family", model_zoo.FAMILIES)
def test_a_model_of_any_family_that_gets_weights_is_the_model_with_these_weights(family: str) -> None:
    wanted = model_zoo.build(family)
    with NoRandomStart() as start:
        module = model_zoo.FAMILIES[family](model_zoo.SQUARE).eval()
        assert start.left_unset(module)
        module.load_state_dict(wanted.state_dict())
        assert not start.left_unset(module)
    photo = model_zoo.photo(model_zoo.SQUARE)
    with torch.no_grad():
        torch.testing.assert_close(module(photo), wanted(photo), rtol=0, atol=0)


def test_what_no_weights_replace_starts_as_timm_starts_it() -> None:
    weights = timm.create_model("test_vit").state_dict()
    overlay = {"state_dict": weights, "custom_load": False}
    torch.manual_seed(5)
    _, module = create_module("test_vit", True, None, num_classes=7, pretrained_cfg_overlay=dict(overlay))
    torch.manual_seed(5)
    expected = timm.create_model("test_vit", pretrained=True, num_classes=7, pretrained_cfg_overlay=dict(overlay))
    assert module.head.weight.std() > 0
    for (name, one), other in zip(module.named_parameters(), expected.parameters(), strict=True):
        assert torch.equal(one, other), name


def test_values_that_are_not_random_are_set_in_the_mode_too() -> None:
    with NoRandomStart() as start:
        layer = torch.nn.LayerNorm(4)
        counted = torch.zeros(3).add_(2).mul_(3)
        drawn = torch.empty(3).normal_()
        drawn.copy_(counted)
    assert layer.weight.tolist() == [1] * 4
    assert counted.tolist() == drawn.tolist() == [6] * 3
    assert not start.left_unset(layer)
