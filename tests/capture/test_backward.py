"""Gradients of a class against autograd through timm's own eager attention, for every supported family."""

from __future__ import annotations

import pickle
from dataclasses import replace

import numpy as np
import pytest
import timm
import torch
from torch import Tensor, nn

import vitattn_widgets as va
from vitattn_widgets.capture.backward import MAX_CLASSES
from vitattn_widgets.models.families import attention_sites, output_projection

from .. import model_zoo
from ..conftest import noise_photo

CLASSIFIERS = [case for case in model_zoo.CASES if not case[0].endswith("_encoder")]
IDS = {"ids": lambda part: str(part).replace(" ", "")}


def eager_gradients(module: nn.Module, tensor: Tensor, target: int) -> dict[str, tuple[Tensor, Tensor]]:
    """Oracle: attention and the logit's gradient with respect to it, from timm's eager attention and autograd.

    Every eager attention of timm sends its weights through a dropout (``attn_drop``), but for the pooling heads, whose
    softmax is watched instead. Differential attention subtracts after the dropout; its result changes with the first
    half as with the difference.
    """
    seen: dict[str, tuple[Tensor, Tensor]] = {}
    hooks, sites = [], attention_sites(module)
    for name, site in sites.items():
        if hasattr(site, "fused_attn"):
            site.fused_attn = False

        def keep(_: nn.Module, inputs: tuple[Tensor, ...], name: str = name, site: nn.Module = site) -> None:
            watched = whole = inputs[0]
            if hasattr(site, "_compute_lambda"):
                batch, _, queries, keys = watched.shape
                both = watched.view(batch, -1, 2, queries, keys)
                whole = both[:, :, 0] - site._compute_lambda() * both[:, :, 1]
            seen[name] = (watched, whole)

        if hasattr(site, "attn_drop"):
            hooks.append(site.attn_drop.register_forward_pre_hook(keep))
    softmaxes: list[Tensor] = []
    original = Tensor.softmax

    def softmax(self: Tensor, *args: object, **options: object) -> Tensor:
        softmaxes.append(original(self, *args, **options))
        return softmaxes[-1]

    Tensor.softmax = softmax
    try:
        logits = module(tensor)
    finally:
        Tensor.softmax = original
        for hook in hooks:
            hook.remove()
    for name, site in sites.items():
        if not hasattr(site, "attn_drop"):
            seen[name] = (softmaxes[-1], softmaxes[-1])
        if hasattr(site, "fused_attn"):
            site.fused_attn = True
    found = torch.autograd.grad(logits[0, target], [watched for watched, _ in seen.values()])
    result = {}
    for (name, (_, whole)), gradient in zip(seen.items(), found, strict=True):
        if hasattr(sites[name], "_compute_lambda"):
            gradient = gradient.view(gradient.shape[0], -1, 2, *gradient.shape[2:])[:, :, 0]
        result[name] = (whole.detach(), gradient)
    return result


@pytest.mark.parametrize(("family", "size"), CLASSIFIERS, **IDS)
def test_gradients_of_every_layer_equal_autograd_through_eager_attention(family: str, size: tuple[int, int]) -> None:
    module = model_zoo.build(family, size)
    model = va.load_model(module, img_size=size)
    capture = va.capture_attention(model, noise_photo((50, 70)))
    captured = va.capture.capture_gradients(model, capture, 3).class_gradients(3)
    expected = eager_gradients(module, model.preprocessing.tensor(capture.pixels)[None], 3)
    assert capture.layer_names == tuple(expected)
    for index, layer in enumerate(capture.layers):
        gradient = captured.rows(index, layer.values, np.arange(layer.output.shape[2]))
        wanted = expected[layer.name][1]
        assert gradient.shape == wanted.shape
        scale = float(wanted.abs().max())
        assert scale > 0
        torch.testing.assert_close(gradient / scale, wanted / scale, rtol=0, atol=1e-4)


def test_one_class_is_one_pass_and_is_kept(
    wide_model: va.models.AttentionModel, wide_capture: va.capture.AttentionCapture
) -> None:
    once = va.capture.capture_gradients(wide_model, wide_capture)
    assert once.gradients[0].target == wide_capture.probabilities.argmax()
    assert va.capture.capture_gradients(wide_model, once) is once
    assert wide_capture.gradients == ()  # a new value; the old one stays as it was
    both = va.capture.capture_gradients(wide_model, once, 0)
    assert {kept.target for kept in both.gradients} == {0, int(wide_capture.probabilities.argmax())}


def test_the_oldest_classes_go_first() -> None:
    module = timm.models.VisionTransformer(
        img_size=16, patch_size=8, embed_dim=12, depth=1, num_heads=2, num_classes=MAX_CLASSES + 2
    )
    model = va.load_model(module)
    capture = va.capture_attention(model, noise_photo((20, 20)))
    for target in range(MAX_CLASSES + 2):
        capture = va.capture.capture_gradients(model, capture, target)
    assert [kept.target for kept in capture.gradients] == list(range(2, MAX_CLASSES + 2))
    with pytest.raises(va.errors.SettingsError, match=r"no gradients of class 0.*complete_capture"):
        capture.class_gradients(0)


def test_the_model_is_unchanged_and_no_parameter_gets_a_gradient(wide_model: va.models.AttentionModel) -> None:
    before = {name: value.clone() for name, value in wide_model.module.state_dict().items()}
    capture = va.capture_attention(wide_model, noise_photo((40, 60)))
    va.capture.capture_gradients(wide_model, capture)
    assert all(parameter.grad is None for parameter in wide_model.module.parameters())
    assert all(torch.equal(value, before[name]) for name, value in wide_model.module.state_dict().items())
    assert not any("forward" in vars(site) for site in wide_model.sites.values())


def test_frozen_weights_and_a_caller_in_inference_mode_give_the_same_gradients() -> None:
    module = model_zoo.build("vit", model_zoo.WIDE)
    model = va.load_model(module, img_size=model_zoo.WIDE)
    capture = va.capture_attention(model, noise_photo((40, 60)))
    expected = va.capture.capture_gradients(model, capture, 1).class_gradients(1)
    module.requires_grad_(False)
    with torch.inference_mode():
        found = va.capture.capture_gradients(model, capture, 1).class_gradients(1)
    for one, other in zip(found.outputs, expected.outputs, strict=True):
        torch.testing.assert_close(one, other)
        assert not one.requires_grad


def test_what_a_model_cached_in_inference_mode_does_not_stand_in_the_way() -> None:
    module = model_zoo.build("convit")  # it computes its position indices again when the input's size changes
    for block in module.blocks:
        if hasattr(block.attn, "rel_indices"):
            block.attn.rel_indices = torch.zeros(1, 1, 1, 3)
    model = va.load_model(module)
    capture = va.capture_attention(model, noise_photo((40, 40)))
    assert any(block.attn.rel_indices.is_inference() for block in module.blocks if hasattr(block.attn, "rel_indices"))
    assert va.capture.capture_gradients(model, capture, 0).class_gradients(0).outputs[0].abs().max() > 0


def test_a_model_made_in_inference_mode_is_refused() -> None:
    with torch.inference_mode():
        module = timm.models.VisionTransformer(
            img_size=16, patch_size=8, embed_dim=12, depth=1, num_heads=2, num_classes=3
        )
    model = va.load_model(module)
    capture = va.capture_attention(model, noise_photo((20, 20)))
    with pytest.raises(va.errors.ModelError, match=r"made inside torch\.inference_mode"):
        va.capture.capture_gradients(model, capture)


def test_a_model_that_no_gradient_flows_through_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    module = model_zoo.build("vit")
    monkeypatch.setattr(module, "forward", torch.no_grad()(module.forward))
    model = va.load_model(module, img_size=model_zoo.SQUARE)
    capture = va.capture_attention(model, noise_photo((40, 40)))
    with pytest.raises(va.errors.ModelError, match="no gradient flows through VisionTransformer"):
        va.capture.capture_gradients(model, capture)


def test_without_a_classifier_the_gradient_is_of_the_length_of_the_features() -> None:
    model = va.load_model(model_zoo.build("deepseek_encoder"), img_size=model_zoo.SQUARE)
    capture = va.capture.capture_gradients(model, va.capture_attention(model, noise_photo((40, 60))))
    products: list[torch.Tensor] = []
    hooks = [
        site.proj.register_forward_pre_hook(lambda _, given: products.append(given[0])) for site in model.sites.values()
    ]
    tensor = model.preprocessing.tensor(capture.pixels)[None].requires_grad_()
    length = model.module(tensor).flatten(0, -2).mean(0).norm()
    for hook in hooks:
        hook.remove()
    for own, wanted in zip(capture.class_gradients().outputs, torch.autograd.grad(length, products), strict=True):
        torch.testing.assert_close(own[0].transpose(0, 1).flatten(1), wanted[0], rtol=1e-3, atol=1e-6)
    with pytest.raises(va.errors.SettingsError, match="so there is no class 2; maps are of its feature vector"):
        va.capture.capture_gradients(model, capture, 2)
    with pytest.raises(va.errors.SettingsError, match="has no classifier, so it gives no answer to follow"):
        va.check_map(model, capture)


@pytest.mark.parametrize("target", [5, -6, 1.0, True, "tabby"])
def test_a_class_that_does_not_exist_is_reported_with_the_possible_ones(
    wide_model: va.models.AttentionModel, wide_capture: va.capture.AttentionCapture, target: object
) -> None:
    with pytest.raises(va.errors.SettingsError, match=r"class.*has classs? 0\.\.4|class.*has classes 0\.\.4"):
        va.capture.capture_gradients(wide_model, wide_capture, target)


def test_another_model_or_changed_weights_are_refused(wide_capture: va.capture.AttentionCapture) -> None:
    other = va.load_model(model_zoo.build("eva", model_zoo.WIDE), img_size=model_zoo.WIDE)
    with pytest.raises(va.errors.ModelError, match="give the model that made it"):
        va.capture.capture_gradients(other, wide_capture)
    changed = va.load_model(model_zoo.build("vit", model_zoo.WIDE, seed=1), img_size=model_zoo.WIDE)
    with pytest.raises(va.errors.ModelError, match="its weights were changed since"):
        va.capture.capture_gradients(changed, wide_capture)


def test_gradients_count_in_the_size_and_survive_pickling(
    wide_model: va.models.AttentionModel, wide_capture: va.capture.AttentionCapture
) -> None:
    capture = va.capture.capture_value_norms(wide_model, va.capture.capture_gradients(wide_model, wide_capture, 2))
    added = sum(output.nbytes for output in capture.gradients[0].outputs) + sum(n.nbytes for n in capture.value_norms)
    assert capture.nbytes == replace(wide_capture).nbytes + added
    again = pickle.loads(pickle.dumps(capture))
    for one, other in zip(again.class_gradients(2).outputs, capture.class_gradients(2).outputs, strict=True):
        assert torch.equal(one, other)
    for one, other in zip(again.value_norms, capture.value_norms, strict=True):
        np.testing.assert_array_equal(one, other)


NORMALISED = {"vit_gated", "vit_differential", "vit_differential_parallel", "eva_separate_qkv"}
"""Families with a gate or a normalisation between attention and its projection, whose scale depends on the query."""


@pytest.mark.parametrize("family", sorted(set(model_zoo.FAMILIES) - NORMALISED))
def test_the_output_projection_is_the_linear_layer_that_the_heads_went_into(family: str) -> None:
    """Heads one after the other through `output_projection`, summed, against the result of the model's layer."""
    module = model_zoo.build(family)
    model = va.load_model(module, img_size=model_zoo.SQUARE)
    capture = va.capture_attention(model, noise_photo((40, 40)))
    went: list[tuple[Tensor, Tensor]] = []

    def keep(layer: nn.Linear, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        went.append((inputs[0], output - (0 if layer.bias is None else layer.bias)))

    hooks = [part.register_forward_hook(keep) for part in module.modules() if isinstance(part, nn.Linear)]
    with torch.no_grad():
        module(model.preprocessing.tensor(capture.pixels)[None])
    for hook in hooks:
        hook.remove()
    for layer in capture.layers:
        projection = output_projection(model.sites[layer.name], layer.num_heads, layer.values.shape[3])
        heads = layer.output[0]  # head query width
        flat = heads.transpose(0, 1).flatten(1)
        found = [
            made for given, made in went if given[0].shape == flat.shape and torch.allclose(given[0], flat, atol=1e-5)
        ]
        if projection is None:  # the refining pool passes its heads on unchanged
            assert layer.name == "attn_pool"
            continue
        ours = sum(heads[head] @ projection[head] for head in range(layer.num_heads))
        assert any(ours.shape == made[0].shape and torch.allclose(ours, made[0], atol=1e-4) for made in found)


@pytest.mark.parametrize("family", model_zoo.FAMILIES)
def test_every_family_has_value_norms(family: str) -> None:
    model = va.load_model(model_zoo.build(family), img_size=model_zoo.SQUARE)
    capture = va.capture.capture_value_norms(model, va.capture_attention(model, noise_photo((40, 40))))
    for layer, norms in zip(capture.layers, capture.value_norms, strict=True):
        assert norms.shape == layer.values.shape[1:3]
        assert (norms > 0).all()
    assert va.capture.capture_value_norms(model, capture) is capture


def test_an_attention_module_without_a_known_projection_is_reported() -> None:
    module = timm.models.VisionTransformer(
        img_size=32, patch_size=8, embed_dim=12, depth=2, num_heads=2, attn_layer=model_zoo.GroupedQueryAttention
    )
    model = va.load_model(module)
    with pytest.raises(va.errors.ModelError, match="GroupedQueryAttention is not known to this kit"):
        va.capture.capture_value_norms(model, va.capture_attention(model, noise_photo((40, 40))))
