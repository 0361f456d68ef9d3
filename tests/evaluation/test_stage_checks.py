"""Checks of models with windows and stages: on the layer's own grid, with heads silenced in windows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

import vitattn_widgets as va
from vitattn_widgets.evaluation import perturbation
from vitattn_widgets.evaluation.interventions import (
    first_shuffled_block,
    shuffled_copy,
    silence_every_head,
    silence_heads,
    silencing_passes,
)
from vitattn_widgets.maps.attribution import grid_map

from .. import stage_zoo
from ..capture.test_stages import unfused
from ..conftest import noise_photo


def load(key: str) -> tuple[nn.Module, va.models.AttentionModel, va.capture.AttentionCapture]:
    module = stage_zoo.build(key)
    model = va.load_model(module, img_size=stage_zoo.MODELS[key].size)
    return module, model, va.capture_attention(model, noise_photo((50, 70)))


EDITED = ("swin", "swin_padded", "swinv2_cr", "hiera", "hieradet", "maxvit", "maxvit_channels_first", "maxvit_parallel")
EDITED += ("coatnet", "sam", "pvt_v2", "twins", "gcvit", "davit", "pit", "mobilevit", "volo", "crossvit")


@pytest.mark.parametrize("key", EDITED)
def test_a_silenced_head_equals_a_projection_that_does_not_read_it(key: str) -> None:
    module, model, capture = load(key)
    tensor = model.preprocessing.tensor(capture.pixels)[None]
    changed = 0
    for layer in (0, 1, capture.num_layers - 1):
        name, heads = capture.layer_names[layer], capture.num_heads(layer)
        found = silence_heads(model, capture.pixels, name, heads)
        weight = model.sites[name].proj.weight
        whole, width = weight.detach().clone(), weight.shape[1] // heads
        for head in range(heads):
            with torch.no_grad():
                weight[:, head * width : (head + 1) * width] = 0
                answer = module(tensor)
                weight.copy_(whole)
            np.testing.assert_allclose(found[head], answer[0].softmax(-1), atol=1e-5)
            changed += np.abs(found[head] - capture.probabilities).max() > 1e-4
    assert changed
    assert not any("forward" in vars(part) for part in model.parts)


class WithoutHead(TorchFunctionMode):
    """Oracle: eager attention of which one head's weights are zero."""

    def __init__(self, axis: int, head: int) -> None:
        super().__init__()
        self.axis, self.head = axis, head

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if func in (torch.softmax, Tensor.softmax, F.softmax):
            result = result.clone()
            result.narrow(self.axis, self.head, 1).zero_()
        return result


@pytest.mark.parametrize(
    ("key", "axis"),
    [("nest", 1), ("halonet", 0), ("botnet", 0), ("levit_convolutions", 1), ("mvitv2_class", 1), ("twins", 2)],
)
def test_a_silenced_head_equals_eager_attention_without_its_weights(key: str, axis: int) -> None:
    module, model, capture = load(key)
    tensor = model.preprocessing.tensor(capture.pixels)[None]
    name, heads = capture.layer_names[0], capture.num_heads(0)
    found = silence_heads(model, capture.pixels, name, heads)
    site = model.sites[name]
    forward = site.forward
    for head in range(heads):

        def silenced(*args: Any, head: int = head) -> Any:
            with WithoutHead(axis, head):
                return forward(*args)

        site.forward = silenced
        with unfused(module), torch.no_grad():
            answer = module(tensor)
        del site.forward
        np.testing.assert_allclose(found[head], answer[0].softmax(-1), atol=1e-5)
    assert np.abs(found - capture.probabilities).max() > 1e-4


@pytest.mark.parametrize("key", ["hiera", "xcit", "crossvit"])
def test_every_silenced_head_gives_what_it_gives_alone(key: str) -> None:
    module, model, capture = load(key)
    with torch.no_grad():
        clean = module(model.preprocessing.tensor(capture.pixels)[None])[0].numpy()
    lost = [silence_every_head(model, capture, target) for target in range(5)]
    assert silencing_passes(capture) == sum(layer.num_heads for layer in capture.layers)
    for number, layer in enumerate(capture.layers):
        logits = clean - np.stack([rows[number] for rows in lost], -1)  # head class
        expected = silence_heads(model, capture.pixels, layer.name, layer.num_heads)
        np.testing.assert_allclose(torch.tensor(logits).softmax(-1), expected, atol=1e-5)


@pytest.mark.parametrize(("layer", "grid", "side"), [(0, (14, 21), 4), (-1, (7, 11), 8)])
def test_patches_of_the_maps_own_grid_are_removed(layer: int, grid: tuple[int, int], side: int) -> None:
    module, model, capture = load("swin_padded")  # 84 columns: half of the last patch of 8 pixels lies beyond the edge
    settings = va.ViewSettings(source="contribution", layer=layer, target=3)
    check = va.check_map(model, capture, settings)
    values = grid_map(va.complete_capture(model, capture, settings), settings)
    assert values.shape == grid
    order = perturbation.map_order(values)
    grey = np.rint(255 * np.array(model.preprocessing.mean))
    answers = []
    for count in perturbation.removed_counts(order.size, len(check.removed) - 1):
        pixels = capture.pixels.copy()
        for patch in order[:count]:
            row, col = divmod(int(patch), grid[1])
            pixels[row * side : (row + 1) * side, col * side : (col + 1) * side] = grey
        with torch.no_grad():
            answers.append(float(module(model.preprocessing.tensor(pixels)[None]).softmax(-1)[0, 3]))
    np.testing.assert_allclose(check.deletion["map"], answers, atol=1e-5)
    assert check.silenced.shape == (capture.num_heads(layer),)
    assert check.shuffled_from == (0 if layer == 0 else 2)
    assert f"weights shuffled from layer {check.shuffled_from} on" in str(check)


def test_maps_of_two_grids_have_baselines_of_their_own() -> None:
    _, model, capture = load("swin")
    settings = va.ViewSettings(source="gradient", layer=-1)
    va.check_map(model, capture, va.ViewSettings(layer=0))
    second = va.check_map(model, capture, settings)
    fresh = va.check_map(model, va.capture_attention(model, noise_photo((50, 70))), settings)
    assert second.as_json() == fresh.as_json()


@pytest.mark.parametrize("key", ["swin", "maxvit", "pit"])
def test_all_weights_from_a_layer_on_are_shuffled_in_a_copy(key: str) -> None:
    module, model, capture = load(key)
    first = first_shuffled_block(model, capture.layer_names[-1])
    assert first == capture.num_layers - -(-capture.num_layers // 3)
    other = shuffled_copy(model, first)
    pairs = zip(module.named_parameters(), other.module.parameters(), strict=True)
    changed = [name for (name, before), after in pairs if not torch.equal(before, after)]
    assert changed[0].startswith(capture.layer_names[first])
    assert any("head" in name for name in changed)
    assert not any(name.startswith(early) for name in changed for early in capture.layer_names[:first])
    assert va.capture_attention(other, noise_photo((50, 70))).layer_names == capture.layer_names


@pytest.mark.parametrize("key", ["hiera", "maxvit", "pvt_v2", "mobilevit"])
def test_the_recommended_map_can_be_checked(key: str) -> None:
    _, model, capture = load(key)
    check = va.check_map(model, capture, va.ViewSettings.recommended())
    assert check.deletion["map"].shape == check.removed.shape
    assert all(np.isfinite(curve).all() for curve in (*check.deletion.values(), *check.insertion.values()))
    assert len(check.sentences) == 4


def test_a_map_of_one_patch_has_no_order() -> None:
    _, model, capture = load("levit")
    assert capture.layers[-1].tokens.grid == (1, 1)
    with pytest.raises(va.errors.SettingsError, match=r"single patch, so its map has no order.*choose another layer"):
        va.check_map(model, capture)
