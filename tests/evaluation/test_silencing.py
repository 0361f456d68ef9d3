"""Every head silenced in turn, against models whose projections were edited by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import vitattn_widgets as va
from vitattn_widgets.evaluation import interventions
from vitattn_widgets.evaluation.interventions import silence_every_head, silence_heads

from .. import model_zoo
from ..conftest import noise_photo
from .test_checks import CLASSIFIERS, surgery

EDITED = (
    "vit",
    "vit_registers_average",
    "vit_gated",
    "vit_parallel_scaling",
    "vit_parallel_things",
    "distilled",
    "eva",
)
EDITED += ("eva_rope_registers", "beit", "beit_shared", "relpos_mlp", "naflex", "cait", "convit", "tnt", "qwen3")
EDITED += ("deepseek", "gemma4")


def loaded(module: nn.Module) -> tuple[va.models.AttentionModel, va.capture.AttentionCapture]:
    model = va.load_model(module, img_size=model_zoo.SQUARE)
    return model, va.capture_attention(model, noise_photo((40, 40)))


@pytest.mark.parametrize("family", EDITED)
def test_what_is_lost_equals_that_of_a_model_whose_projection_does_not_read_the_head(family: str) -> None:
    module = model_zoo.build(family)
    model, capture = loaded(module)
    tensor = model.preprocessing.tensor(capture.pixels)[None]
    with torch.no_grad():
        clean = module(tensor)[0]
    for target in (0, 3):
        found = silence_every_head(model, capture, target)
        assert [len(row) for row in found] == [layer.num_heads for layer in capture.layers]
        for layer, row in zip(capture.layers, found, strict=True):
            for head in range(layer.num_heads):
                with torch.no_grad():
                    answer = surgery(module, model.sites[layer.name], head, layer.num_heads, lambda: module(tensor))[0]
                assert row[head] == pytest.approx(float(clean[target] - answer[target]), abs=1e-5)


@pytest.mark.parametrize("family", CLASSIFIERS)
def test_it_agrees_with_the_heads_of_a_check_in_every_family(family: str) -> None:
    model, capture = loaded(model_zoo.build(family))
    with torch.inference_mode():
        clean = model.module(model.preprocessing.tensor(capture.pixels)[None])[0].numpy()
    lost = [silence_every_head(model, capture, target) for target in range(5)]
    for number, layer in enumerate(capture.layers):
        logits = clean - np.stack([rows[number] for rows in lost], -1)  # head class
        expected = silence_heads(model, capture.pixels, layer.name, layer.num_heads)
        np.testing.assert_allclose(torch.tensor(logits).softmax(-1), expected, atol=1e-5)
    assert not any("forward" in vars(part) for part in model.parts)


def test_more_heads_than_a_batch_holds_are_silenced_in_several(monkeypatch: pytest.MonkeyPatch) -> None:
    model, capture = loaded(model_zoo.build("vit"))
    whole = silence_every_head(model, capture, 1)
    monkeypatch.setattr(interventions, "BATCH", 2)
    parts = silence_every_head(model, va.capture_attention(model, noise_photo((40, 40))), 1)
    np.testing.assert_allclose(np.stack(parts), np.stack(whole), atol=1e-5)


def test_a_second_class_takes_no_pass(wide_model: va.models.AttentionModel) -> None:
    capture = va.capture_attention(wide_model, noise_photo((40, 60)))
    passes: list[int] = []
    hook = wide_model.module.patch_embed.register_forward_hook(lambda _, inputs, __: passes.append(len(inputs[0])))
    try:
        silence_every_head(wide_model, capture, 0)
        assert passes == [1, 3, 3, 3]
        silence_every_head(wide_model, capture, 1)
        assert passes == [1, 3, 3, 3]
    finally:
        hook.remove()


def test_each_block_before_the_silenced_one_runs_once(wide_model: va.models.AttentionModel) -> None:
    capture = va.capture_attention(wide_model, noise_photo((40, 60)))
    runs = [0, 0, 0]
    hooks = [
        block.norm1.register_forward_hook(lambda *_, place=place: runs.__setitem__(place, runs[place] + 1))
        for place, block in enumerate(wide_model.module.blocks)
    ]
    silence_every_head(wide_model, capture)
    for hook in hooks:
        hook.remove()
    assert runs == [2, 3, 4]


def test_a_class_that_does_not_exist_is_refused(wide_model: va.models.AttentionModel) -> None:
    capture = va.capture_attention(wide_model, noise_photo((40, 60)))
    with pytest.raises(va.errors.SettingsError, match="class 9 does not exist"):
        silence_every_head(wide_model, capture, 9)
