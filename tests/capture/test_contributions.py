"""Contributions add up to the logit, and each is what a model without that token would lack."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import vitattn_widgets as va
from vitattn_widgets.capture.backward import MAX_CLASSES
from vitattn_widgets.capture.conservative import capture_contributions
from vitattn_widgets.capture.contributions import LayerContributions

from .. import model_zoo
from ..conftest import SAMPLES, noise_photo

CLASSIFIERS = [case for case in model_zoo.CASES if not case[0].endswith("_encoder")]
IDS = {"ids": lambda part: str(part).replace(" ", "")}


def loaded(family: str, size: tuple[int, int] = model_zoo.SQUARE) -> tuple[Any, va.capture.AttentionCapture]:
    model = va.load_model(model_zoo.build(family, size), img_size=size)
    return model, va.capture_attention(model, noise_photo((50, 70)))


@pytest.mark.parametrize(("family", "size"), CLASSIFIERS, **IDS)
def test_tokens_and_constants_of_every_layer_add_up_to_the_logit(family: str, size: tuple[int, int]) -> None:
    model, capture = loaded(family, size)
    found = capture_contributions(model, capture, 3).class_contributions(3)
    tensor = model.preprocessing.tensor(capture.pixels)[None]
    logit = float(model.module(tensor).detach()[0, 3])
    assert found.logit == pytest.approx(logit, abs=1e-5)
    for layer, captured in zip(found.layers, capture.layers, strict=True):
        size_of_parts = float(np.abs(layer.tokens).sum()) + abs(layer.constants)
        assert layer.tokens.sum(dtype=np.float64) + layer.constants == pytest.approx(logit, abs=1e-5 * size_of_parts)
        assert len(layer.tokens) >= capture.layout.num_patches
        assert layer.heads.shape[1] == captured.num_keys
        assert np.abs(layer.tokens).max() > 0


@pytest.mark.parametrize("family", [name for name in model_zoo.FAMILIES if name.endswith("_encoder")])
def test_without_a_classifier_the_length_of_the_features_is_divided(family: str) -> None:
    model, capture = loaded(family)
    found = capture_contributions(model, capture).class_contributions()
    with torch.no_grad():
        output = model.module(model.preprocessing.tensor(capture.pixels)[None])[0]
    features = output.reshape(-1, output.shape[-1]).mean(0)  # these models have no class token
    assert found.target is None
    assert found.logit == pytest.approx(float(features.norm()), rel=1e-5)
    for layer in found.layers:
        assert layer.tokens.sum(dtype=np.float64) + layer.constants == pytest.approx(found.logit, rel=1e-4)
    assert capture_contributions(model, capture).verify().differences["contributions to its feature vector"] < 1e-5


def frozen_vit(module: nn.Module, tokens: Tensor) -> Callable[[Tensor, int, Tensor | None], Tensor]:
    """Oracle: timm's plain ViT from the tokens of a block on, written out, as the linear function of one photo.

    The first run, on the photo's own tokens, computes attention weights, standard deviations and gates; the returned
    function uses those for any tokens. It takes the tokens that enter a block, its number, and a factor for each head
    and key of that block's values, ``(head, key, 1)``.
    """
    kept: dict[str, Tensor] = {}

    def fixed(name: str, compute: Callable[[], Tensor]) -> Tensor:
        if name not in kept:
            kept[name] = compute()
        return kept[name]

    def norm(name: str, layer: nn.LayerNorm, x: Tensor) -> Tensor:
        centred = x - x.mean(-1, keepdim=True)
        std = fixed(name, lambda: (x.var(-1, unbiased=False, keepdim=True) + layer.eps).sqrt())
        return centred / std * layer.weight + layer.bias

    def run(x: Tensor, start: int = 0, factor: Tensor | None = None) -> Tensor:
        for number, block in enumerate(module.blocks[start:], start):
            y = norm(f"{number}.norm1", block.norm1, x)
            count, width = y.shape
            heads = block.attn.num_heads
            q, k, v = block.attn.qkv(y).reshape(count, 3, heads, -1).permute(1, 2, 0, 3)
            weights = fixed(f"{number}.attn", lambda q=q, k=k: (q @ k.mT * q.shape[-1] ** -0.5).softmax(-1))
            if factor is not None and number == start:
                v = v * factor
            x = x + block.attn.proj((weights @ v).transpose(0, 1).reshape(count, width))
            y = block.mlp.fc1(norm(f"{number}.norm2", block.norm2, x))
            gate = fixed(f"{number}.gate", lambda y=y: nn.functional.gelu(y) / y)
            x = x + block.mlp.fc2(y * gate)
        return module.head(norm("norm", module.norm, x)[0])

    run(tokens)
    return run


@pytest.mark.parametrize("layer", [0, 1, 2])
def test_a_contribution_is_what_the_frozen_model_lacks_without_the_token(layer: int) -> None:
    model, capture = loaded("vit")
    module = model.module.double()
    entering: list[Tensor] = []
    hooks = [block.register_forward_pre_hook(lambda _, args: entering.append(args[0][0])) for block in module.blocks]
    with torch.no_grad():
        logits = module(model.preprocessing.tensor(capture.pixels)[None].double())[0]
        for hook in hooks:
            hook.remove()
        frozen = frozen_vit(module, entering[0])
        tokens = entering[layer]
        whole = frozen(tokens, layer)[2]
        assert float(whole) == pytest.approx(float(logits[2]), abs=1e-9)  # the oracle is the model
        lacking = []
        for token in range(len(tokens)):
            without = tokens.clone()
            without[token] = 0
            lacking.append(float(whole - frozen(without, layer)[2]))
        lacking_heads = np.zeros((3, len(tokens)))
        for head, key in np.ndindex(*lacking_heads.shape):
            factor = torch.ones(3, len(tokens), 1, dtype=torch.float64)
            factor[head, key] = 0
            lacking_heads[head, key] = float(whole - frozen(tokens, layer, factor)[2])
    module.float()
    found = capture_contributions(model, capture, 2).class_contributions(2).layers[layer]
    np.testing.assert_allclose(found.tokens, lacking, atol=2e-5)
    np.testing.assert_allclose(found.heads, lacking_heads, atol=2e-5)


def test_a_model_of_three_tokens_is_divided_by_hand() -> None:
    module = model_zoo.VisionTransformer(
        img_size=(8, 16), patch_size=8, embed_dim=2, depth=1, num_heads=1, num_classes=2, mlp_ratio=1.0
    )
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.zero_()
        block = module.blocks[0]
        module.cls_token[:] = torch.tensor([1.0, -1.0])
        module.pos_embed[0] = torch.tensor([[0.0, 0.0], [2.0, 0.0], [0.0, 6.0]])
        block.norm1.weight.fill_(1)
        block.attn.qkv.weight[4:] = torch.eye(2)  # no queries and keys: each token looks at all three alike
        block.attn.proj.weight[:] = 3 * torch.eye(2)
        module.norm.weight.fill_(1)
        module.head.weight[0] = torch.tensor([1.0, 0.0])
        module.head.bias[0] = 0.5
    model = va.load_model(module, img_size=(8, 16))
    capture = va.capture_attention(model, noise_photo((8, 16)))
    found = capture_contributions(model, capture, 0).class_contributions(0)
    # a norm of two numbers makes (1, -1) of any (a, b) with a > b; the tokens are (1, -1), (2, 0), (0, 6)
    # attention gives the class token 3 ((1, -1) + (1, -1) + (-1, 1)) / 3 = (1, -1): with itself (2, -2)
    # the last norm divides it by 2, and the head reads its first number: 0.5 of the token itself and 0.5 each of the
    # three that it looked at, the last one against; the bias adds 0.5
    np.testing.assert_allclose(found.layers[0].tokens, [1.0, 0.5, -0.5], atol=1e-4)
    np.testing.assert_allclose(found.layers[0].heads, [[0.5, 0.5, -0.5]], atol=1e-4)
    assert found.layers[0].constants == pytest.approx(0.5, abs=1e-4)
    assert found.logit == pytest.approx(1.5, abs=1e-4)


def test_a_model_that_is_not_linear_even_so_is_refused() -> None:
    module = model_zoo.VisionTransformer(
        img_size=32, patch_size=8, embed_dim=24, depth=2, num_heads=2, num_classes=4, act_layer=nn.Softplus
    ).eval()
    model = va.load_model(module, img_size=32)
    capture = va.capture_attention(model, noise_photo((40, 40)))
    with pytest.raises(va.errors.ModelError, match=r"would not add up: .*% of its logit is left.*gradient_late"):
        va.complete_capture(model, capture, va.ViewSettings(source="contribution"))


def test_contributions_are_kept_pickled_and_verified() -> None:
    model, capture = loaded("vit")
    once = capture_contributions(model, capture)
    assert capture.contributions == ()
    assert capture_contributions(model, once) is once
    again = pickle.loads(pickle.dumps(once))
    np.testing.assert_array_equal(again.contributions[0].layers[1].heads, once.contributions[0].layers[1].heads)
    target = once.contributions[0].target
    assert once.verify().differences[f"contributions to {once.class_names[target]}"] < 1e-5
    with pytest.raises(va.errors.SettingsError, match=r"no contributions to class .*complete_capture"):
        capture.class_contributions((target + 1) % 5)


def test_a_broken_sum_is_seen() -> None:
    model, capture = loaded("vit")
    found = capture_contributions(model, capture).contributions[0]
    first = found.layers[0]
    broken = LayerContributions(first.tokens * np.float32(1.01), first.constants, first.heads)
    assert va.capture.ClassContributions(found.target, found.logit, (broken, *found.layers[1:])).rest > 1e-4


def test_the_oldest_classes_go_first() -> None:
    module = model_zoo.VisionTransformer(
        img_size=16, patch_size=8, embed_dim=12, depth=1, num_heads=2, num_classes=MAX_CLASSES + 2
    )
    model = va.load_model(module)
    capture = va.capture_attention(model, noise_photo((20, 20)))
    for target in range(MAX_CLASSES + 2):
        capture = capture_contributions(model, capture, target)
    assert [kept.target for kept in capture.contributions] == list(range(2, MAX_CLASSES + 2))


@pytest.mark.parametrize("family", ["vit", "cait", "tnt", "eva"])
def test_the_model_is_unchanged_and_a_caller_in_inference_mode_gets_the_same(family: str) -> None:
    model, capture = loaded(family)
    before = {name: value.clone() for name, value in model.module.state_dict().items()}
    expected = capture_contributions(model, capture, 1).class_contributions(1)
    model.module.requires_grad_(False)
    with torch.inference_mode():
        found = capture_contributions(model, capture, 1).class_contributions(1)
    for one, other in zip(found.layers, expected.layers, strict=True):
        np.testing.assert_allclose(one.tokens, other.tokens, atol=1e-6)
    assert all(parameter.grad is None for parameter in model.module.parameters())
    assert all(torch.equal(value, before[name]) for name, value in model.module.state_dict().items())
    assert not any("forward" in vars(part) for part in model.parts)


def test_the_real_vit_tiny_adds_up_on_real_photos(real_model: va.models.AttentionModel) -> None:
    for photo in ("coffee.jpg", "barn.jpg"):
        capture = capture_contributions(real_model, va.capture_attention(real_model, SAMPLES / photo))
        found = capture.contributions[0]
        for layer in found.layers:
            assert layer.tokens.sum(dtype=np.float64) + layer.constants == pytest.approx(found.logit, rel=1e-4)
