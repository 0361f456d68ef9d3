"""Direct contributions: by hand for a ViT, by path patching for other families, and their sum for every one."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from timm.models.eva import Eva
from timm.models.vision_transformer import ResPostBlock, VisionTransformer
from torch import Tensor, nn

import vitattn_widgets as va
from vitattn_widgets.capture import capture_head_contributions
from vitattn_widgets.models.families import blocks, projection_layer, trunk

from .. import model_zoo
from ..conftest import noise_photo

SUMS = [name for name in model_zoo.FAMILIES if not name.endswith("_encoder") and "_pool" not in name]

MORE: dict[str, Callable[[], nn.Module]] = {
    "vit_layer_scale": lambda: VisionTransformer(
        img_size=32, patch_size=8, embed_dim=48, depth=3, num_heads=3, num_classes=5, init_values=0.3
    ),
    "vit_post_norm": lambda: VisionTransformer(
        img_size=32, patch_size=8, embed_dim=48, depth=3, num_heads=3, num_classes=5, block_fn=ResPostBlock
    ),
    "vit_max": lambda: VisionTransformer(
        img_size=32, patch_size=8, embed_dim=48, depth=3, num_heads=3, num_classes=5, global_pool="max"
    ),
    "eva_post_norm": lambda: Eva(
        img_size=32, patch_size=8, embed_dim=48, depth=3, num_heads=3, num_classes=5, use_post_norm=True
    ),
}


def loaded(module: nn.Module) -> tuple[va.models.AttentionModel, va.capture.AttentionCapture]:
    model = va.load_model(module, img_size=model_zoo.SQUARE)
    return model, va.capture_attention(model, noise_photo((40, 40)))


@pytest.mark.parametrize("family", [*SUMS, *MORE])
def test_all_terms_add_up_to_the_logit_of_every_class(family: str) -> None:
    module = MORE[family]().eval() if family in MORE else model_zoo.build(family)
    model, capture = loaded(module)
    with torch.inference_mode():
        logits = module(model.preprocessing.tensor(capture.pixels)[None])[0]
    for target in range(5):
        found = capture_head_contributions(model, capture, target)
        assert [len(row) for row in found.heads] == [layer.num_heads for layer in capture.layers]
        size = sum(np.abs(row).sum() for row in found.heads) + np.abs(found.mlps).sum() + abs(found.start)
        assert found.logit == pytest.approx(float(logits[target]), rel=1e-5, abs=1e-5)
        assert found.total == pytest.approx(found.logit, abs=1e-4 * max(abs(found.logit), 0.1 * float(size)))
    assert not any("forward" in vars(part) for part in model.parts)


def test_a_head_s_term_is_what_the_formula_says() -> None:
    module = model_zoo.build("vit")
    model, capture = loaded(module)
    found = capture_head_contributions(model, capture, 2)
    final: list[Tensor] = []
    hook = module.norm.register_forward_pre_hook(lambda _, inputs: final.append(inputs[0]))
    with torch.no_grad():
        module(model.preprocessing.tensor(capture.pixels)[None])
    hook.remove()
    sigma = float((final[0][0, 0].var(unbiased=False) + module.norm.eps).sqrt())
    direction = (module.head.weight[2] * module.norm.weight / sigma).detach().numpy()
    for number, block in enumerate(module.blocks):
        output = capture.layers[number].output[0, :, 0].numpy()  # head width, of the class token
        for head in range(3):
            given = block.attn.proj.weight[:, 16 * head : 16 * (head + 1)].detach().numpy() @ output[head]
            assert found.heads[number][head] == pytest.approx(float(direction @ (given - given.mean())), abs=1e-5)


def test_three_tokens_by_hand() -> None:
    """Two patches and a class token of width 2, one layer, one head: all that a person can compute."""
    module = VisionTransformer(img_size=(8, 16), patch_size=8, embed_dim=2, depth=1, num_heads=1, num_classes=2)
    module.norm = nn.Identity()
    block = module.blocks[0]
    block.norm1 = block.norm2 = nn.Identity()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.zero_()
        module.cls_token[0, 0] = torch.tensor([1.0, 2.0])
        module.pos_embed[0, 1] = torch.tensor([3.0, 0.0])
        module.pos_embed[0, 2] = torch.tensor([0.0, 6.0])
        block.attn.qkv.weight[4:] = torch.eye(2)  # queries and keys are 0: attention is a third for each token
        block.attn.proj.weight.copy_(torch.tensor([[0.0, 1.0], [2.0, 0.0]]))
        block.attn.proj.bias.copy_(torch.tensor([0.5, 0.0]))
        block.mlp.fc2.bias.copy_(torch.tensor([0.0, 4.0]))
        module.head.weight[1] = torch.tensor([10.0, 1.0])
        module.head.bias[1] = 7.0
    model = va.load_model(module.eval(), img_size=(8, 16))
    found = capture_head_contributions(model, va.capture_attention(model, noise_photo((8, 16))), 1)
    # the mean of (1, 2), (3, 0), (0, 6) is (4/3, 8/3); through the projection (8/3, 8/3)
    assert found.heads[0].tolist() == pytest.approx([10 * 8 / 3 + 8 / 3])
    assert found.mlps.tolist() == [4]
    assert found.start == 10 * 1 + 2
    assert found.biases == 10 * 0.5 + 7
    assert found.logit == pytest.approx(found.total)


PATCHED = ("vit_registers_average", "vit_gated", "vit_parallel_scaling", "vit_parallel_things", "vit_differential")
PATCHED += ("distilled", "eva", "eva_separate_qkv", "beit", "naflex", "cait", "convit", "tnt", "qwen3", "deepseek")


@pytest.mark.parametrize("family", PATCHED)
def test_a_head_s_term_is_the_change_when_it_is_removed_and_all_later_parts_are_replayed(family: str) -> None:
    """Path patching: the oracle without norms before the head, where the change is linear."""
    module = model_zoo.build(family)
    for part in (module, trunk(module)[1]):
        for name in ("norm", "fc_norm"):
            if hasattr(part, name):
                setattr(part, name, nn.Identity())
    model, capture = loaded(module)
    found = capture_head_contributions(model, capture, 1)
    tensor = model.preprocessing.tensor(capture.pixels)[None]
    linears = {
        part: None for block in blocks(module).values() for part in block.modules() if isinstance(part, nn.Linear)
    }
    results: dict[nn.Module, Tensor] = {}
    with torch.no_grad():
        hooks = [part.register_forward_hook(lambda part, _, result: results.update({part: result})) for part in linears]
        clean = float(module(tensor)[0, 1])
        for hook in hooks:
            hook.remove()
        for number, layer in enumerate(capture.layers):
            own = projection_layer(model.sites[layer.name])
            width = layer.values.shape[3]
            for head in range(layer.num_heads):

                def remove(_: nn.Module, inputs: tuple[Tensor, ...], head: int = head, width: int = width) -> Tensor:
                    changed = inputs[0].clone()
                    changed[..., head * width : (head + 1) * width] = 0
                    return changed

                hooks = [
                    part.register_forward_hook(lambda part, *_: results[part]) for part in linears if part is not own
                ]
                hooks.append(own.register_forward_pre_hook(remove))
                patched = float(module(tensor)[0, 1])
                for hook in hooks:
                    hook.remove()
                assert found.heads[number][head] == pytest.approx(clean - patched, abs=3e-5), (layer.name, head)


@pytest.mark.parametrize("family", [name for name in model_zoo.FAMILIES if "_pool" in name])
def test_an_attention_pool_is_refused_with_the_reason(family: str) -> None:
    with pytest.raises(va.errors.ModelError, match="reads an attention pool"):
        capture_head_contributions(*loaded(model_zoo.build(family)))


def test_a_step_that_is_not_linear_is_refused_with_the_reason() -> None:
    module = model_zoo.build("vit")
    module.fc_norm = nn.Softplus()
    with pytest.raises(va.errors.ModelError, match="something on the way is not linear"):
        capture_head_contributions(*loaded(module))


def test_a_model_that_no_gradient_flows_through_is_refused_with_the_reason() -> None:
    module = model_zoo.build("vit")
    model, capture = loaded(module)
    module.head.forward = torch.no_grad()(module.head.forward)
    with pytest.raises(va.errors.ModelError, match="no gradient flows through"):
        capture_head_contributions(model, capture)


def test_frozen_weights_and_inference_mode_around_the_call_are_fine() -> None:
    model, capture = loaded(model_zoo.build("vit"))
    expected = capture_head_contributions(model, capture).heads
    model.module.requires_grad_(requires_grad=False)
    with torch.inference_mode():
        found = capture_head_contributions(model, capture).heads
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert not any(parameter.requires_grad or parameter.grad is not None for parameter in model.module.parameters())
