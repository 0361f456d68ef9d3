"""A timm model inside a module of one's own: found, run with what is around it, and read."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import vitattn_widgets as va

from .. import model_zoo, stage_zoo
from ..conftest import noise_photo


class OwnHead(nn.Module):
    """A backbone and a classifier of three classes."""

    def __init__(self, backbone: nn.Module, width: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = nn.Linear(width, 3)

    def forward(self, photo: Tensor) -> Tensor:
        return self.head(self.backbone(photo))


class HuggingFace(OwnHead):
    """The shape of a Hugging Face model: an output with logits among other things."""

    def forward(self, pixel_values: Tensor) -> SimpleNamespace:
        return SimpleNamespace(logits=super().forward(pixel_values), hidden_states=None)


class Features(nn.Module):
    """A model whose output is no row of logits."""

    def __init__(self, timm_model: nn.Module) -> None:
        super().__init__()
        self.timm_model = timm_model

    def forward(self, pixel_values: Tensor) -> SimpleNamespace:
        return SimpleNamespace(last_hidden_state=self.timm_model.forward_features(pixel_values))


FAMILIES = {"vit": (model_zoo.build, model_zoo.SQUARE), "swin": (stage_zoo.build, stage_zoo.MODELS["swin"].size)}


@pytest.mark.parametrize("holder", [OwnHead, HuggingFace])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_model_with_a_head_of_its_own_is_read_with_its_own_classes(family: str, holder: type[OwnHead]) -> None:
    build, size = FAMILIES[family]
    module = holder(build(family), 5).eval()
    model = va.load_model(module, class_names=["a", "b", "c"], img_size=size)
    capture = va.capture_attention(model, noise_photo((50, 70)))
    plain = va.capture_attention(va.load_model(module.backbone, img_size=size), noise_photo((50, 70)))
    assert capture.layer_names == tuple(f"backbone.{name}" for name in plain.layer_names)
    for layer in range(capture.num_layers):
        np.testing.assert_allclose(capture.attention(layer), plain.attention(layer), atol=1e-6)
    output = module(model.preprocessing.tensor(capture.pixels)[None])
    logits = output if holder is OwnHead else output.logits
    np.testing.assert_allclose(capture.probabilities, logits[0].softmax(-1).detach().numpy(), atol=1e-6)
    assert capture.layout.read == plain.layout.read

    settings = va.ViewSettings(source="gradient", target=1)
    rendered = va.render_view(va.complete_capture(model, capture, settings), settings)
    assert "for the class b" in rendered.caption


@pytest.mark.parametrize("family", FAMILIES)
def test_a_model_in_something_without_logits_is_read_alone(family: str) -> None:
    build, size = FAMILIES[family]
    module = Features(build(family))
    model = va.load_model(module, img_size=size)
    assert model.module is module.timm_model
    assert va.capture_attention(model, noise_photo((50, 70))).verify().largest < 1e-5


def test_several_models_inside_are_a_question() -> None:
    both = nn.ModuleDict({"left": model_zoo.build("vit"), "right": stage_zoo.build("swin")})
    with pytest.raises(va.errors.ModelError, match=r"holds several timm models: left, right; which one is meant\?"):
        va.load_model(both)


def test_a_model_inside_a_model_inside_is_found() -> None:
    outer = nn.Sequential(OwnHead(model_zoo.build("vit"), 5), nn.Softmax(-1))
    model = va.load_model(outer, img_size=model_zoo.SQUARE)
    assert list(model.sites) == [f"0.backbone.blocks.{number}.attn" for number in range(3)]
    assert len(model.class_names) == 3


@pytest.mark.parametrize("family", FAMILIES)
def test_a_compiled_models_original_is_read(family: str) -> None:
    build, size = FAMILIES[family]
    module = build(family)
    compiled = va.load_model(torch.compile(module), img_size=size)
    assert compiled.module is module
    assert va.capture_attention(compiled, noise_photo((50, 70))).verify().largest < 1e-5


def test_a_compiled_part_is_refused_with_the_way_out() -> None:
    module = OwnHead(torch.compile(model_zoo.build("vit")), 5).eval()
    with pytest.raises(va.errors.ModelError, match=r"holds a compiled part, .* pass it before torch\.compile"):
        va.load_model(module)
