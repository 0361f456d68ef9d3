"""Captured attention of every supported family, against timm's own eager softmax."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
import timm
import torch
from torch import Tensor, nn

import vitattn_widgets as va
from vitattn_widgets.capture.batches import capture_rows_tensor
from vitattn_widgets.capture.forward import capture_tensor
from vitattn_widgets.models.families import FAMILY_MODULES, SUPPORTED, attention_sites, require_supported

from .. import model_zoo
from ..conftest import noise_photo

TOLERANCE = 1e-5


def eager_attention(module: nn.Module, tensor: Tensor) -> dict[str, Tensor]:
    """Oracle: run the model with timm's eager attention and collect what each layer multiplied its values by.

    Every eager attention of timm sends its weights through a dropout (``attn_drop``), but for the pooling heads, whose
    softmax is watched instead. Differential attention subtracts after the dropout, which is done again here.
    """
    seen: dict[str, Tensor] = {}
    hooks = []
    for name, site in attention_sites(module).items():
        if hasattr(site, "fused_attn"):
            site.fused_attn = False

        def keep(_: nn.Module, inputs: tuple[Tensor, ...], name: str = name, site: nn.Module = site) -> None:
            weights = inputs[0].detach().clone()
            if hasattr(site, "_compute_lambda"):
                batch, _, queries, keys = weights.shape
                both = weights.view(batch, -1, 2, queries, keys)
                weights = both[:, :, 0] - site._compute_lambda().detach() * both[:, :, 1]
            seen[name] = weights

        if hasattr(site, "attn_drop"):
            hooks.append(site.attn_drop.register_forward_pre_hook(keep))
    with watched_softmax() as results, torch.no_grad():
        module(tensor)
    for name, site in attention_sites(module).items():
        if not hasattr(site, "attn_drop"):
            seen[name] = results[-1]
        if hasattr(site, "fused_attn"):
            site.fused_attn = True
    for hook in hooks:
        hook.remove()
    return seen


@contextmanager
def watched_softmax() -> Iterator[list[Tensor]]:
    results: list[Tensor] = []
    original = Tensor.softmax

    def softmax(self: Tensor, *args: object, **options: object) -> Tensor:
        results.append(original(self, *args, **options))
        return results[-1]

    Tensor.softmax = softmax
    try:
        yield results
    finally:
        Tensor.softmax = original


@pytest.mark.parametrize(("family", "size"), model_zoo.CASES, ids=lambda part: str(part).replace(" ", ""))
def test_every_row_of_every_layer_equals_the_eager_softmax(family: str, size: tuple[int, int]) -> None:
    module = model_zoo.build(family, size)
    tensor = model_zoo.photo(size)
    expected = eager_attention(module, tensor)
    model = va.load_model(module, img_size=size)
    layers, logits = capture_tensor(model, tensor)

    assert [layer.name for layer in layers] == list(expected)
    for layer in layers:
        queries = np.arange(layer.output.shape[2])
        rows = layer.attention.rows(queries, torch.float64)
        assert rows.shape == expected[layer.name].shape
        torch.testing.assert_close(rows, expected[layer.name].double(), rtol=0, atol=TOLERANCE)
        assert rows.std() > 1e-3, "attention is too uniform for this test to see a wrong formula"
    with torch.no_grad():
        torch.testing.assert_close(logits, module(tensor), rtol=0, atol=1e-5)


@pytest.mark.parametrize(("family", "size"), model_zoo.CASES, ids=lambda part: str(part).replace(" ", ""))
def test_a_capture_verifies_itself_and_gives_every_query(family: str, size: tuple[int, int]) -> None:
    model = va.load_model(model_zoo.build(family, size), img_size=size)
    capture = va.capture_attention(model, noise_photo((50, 70)))
    assert capture.verify().largest < TOLERANCE
    assert list(capture.verify().differences) == list(capture.layer_names)

    rows, cols = capture.layout.grid
    assert (rows, cols) == (size[0] // model_zoo.PATCH, size[1] // model_zoo.PATCH)
    for layer in range(capture.num_layers):
        patches = [(0, 0), (rows - 1, cols - 1)] if "mean" in capture.queries(layer) else []
        for query in (*capture.queries(layer), *patches, None):
            maps = capture.patch_attention(layer, query)
            assert maps.shape == (capture.num_heads(layer), rows, cols)
            assert maps.dtype == np.float32
            np.testing.assert_allclose(np.abs(maps).sum((1, 2)), 1, atol=1e-5)
            share = capture.prefix_share(layer, query)
            assert share.shape == (capture.num_heads(layer),)
            assert ((share >= 0) & (share < 1)).all()


@pytest.mark.parametrize("family", model_zoo.FAMILIES)
def test_the_default_query_is_what_the_classifier_reads(family: str) -> None:
    module = model_zoo.build(family)
    model = va.load_model(module, img_size=model_zoo.SQUARE)
    if not model.layout.read:
        assert family.endswith("_encoder")
        return
    read = tokens_with_gradient(module, model)
    prefix = model.layout.prefix
    patches = set(range(len(prefix), len(prefix) + model.layout.num_patches))
    match model.layout.read:
        case ("pool",):
            assert model.layout.default_query == "pool"
            assert patches <= read
        case ("mean",):
            assert read == patches or (family == "vit_refining_pool_average" and patches <= read)
        case names if family == "vit_refining_pool":  # its pool mixes all tokens into the class token
            assert names == ("class",)
        case names:
            assert read == {prefix.index(name) for name in names}
            assert model.layout.default_query == names[0]


def tokens_with_gradient(module: nn.Module, model: va.models.AttentionModel) -> set[int]:
    """Which tokens of the last block's output the logits depend on."""
    body = getattr(module, "encoder", module)
    last = list(getattr(body, "blocks_token_only", body.blocks))[-1]
    kept: list[Tensor] = []

    def keep(_: nn.Module, __: object, output: Tensor | tuple[Tensor, ...]) -> None:
        tokens = output[-1] if isinstance(output, tuple) else output
        tokens.retain_grad()
        kept.append(tokens)

    hook = last.register_forward_hook(keep)
    module(model_zoo.photo(model_zoo.SQUARE)).square().sum().backward()
    hook.remove()
    norms = kept[0].grad[0].norm(dim=-1)
    return set(torch.nonzero(norms > 1e-12)[:, 0].tolist())


@pytest.mark.parametrize("size", [(144, 256), (288, 512), (128, 512)])
def test_a_grid_whose_patch_count_is_a_square_is_not_taken_for_a_square(size: tuple[int, int]) -> None:
    module = timm.models.VisionTransformer(img_size=size, patch_size=16, embed_dim=12, depth=1, num_heads=2)
    capture = va.capture_attention(va.load_model(module), noise_photo((60, 90)))
    assert capture.layout.grid == (size[0] // 16, size[1] // 16)
    assert capture.patch_attention().shape[1:] == capture.layout.grid


@pytest.mark.parametrize("family", model_zoo.FAMILIES)
def test_rows_only_gives_the_same_rows_for_a_batch(family: str) -> None:
    module = model_zoo.build(family)
    model = va.load_model(module, img_size=model_zoo.SQUARE)
    batch = torch.cat([model_zoo.photo(model_zoo.SQUARE, seed) for seed in range(3)])
    rows = capture_rows_tensor(model, batch)
    for item in range(3):
        layers, logits = capture_tensor(model, batch[item : item + 1])
        assert rows.layer_names == tuple(layer.name for layer in layers)
        for number, layer in enumerate(layers):
            queries = layer.tokens.query_indices(layer.tokens.default(model.layout.default_query), "")
            expected = layer.attention.rows(queries, torch.float64).mean(-2)[0].numpy()
            np.testing.assert_allclose(rows.attention(number)[item], expected, atol=TOLERANCE)
        np.testing.assert_allclose(rows.probabilities[item], model.probabilities(logits)[0], atol=1e-5)


def test_capture_rows_reads_pictures_in_batches_and_agrees_with_single_captures(
    wide_model: va.models.AttentionModel,
) -> None:
    photos = [noise_photo((60 + 7 * i, 90), seed=i) for i in range(5)]
    batches = list(va.capture_rows(wide_model, iter(photos), batch_size=2))
    assert [len(batch.probabilities) for batch in batches] == [2, 2, 1]
    maps = np.concatenate([batch.patch_attention(1) for batch in batches])
    shares = np.concatenate([batch.prefix_share(-1) for batch in batches])
    for photo, found, share in zip(photos, maps, shares, strict=True):
        capture = va.capture_attention(wide_model, photo)
        np.testing.assert_allclose(found, capture.patch_attention(1), atol=1e-6)
        np.testing.assert_allclose(share, capture.prefix_share(), atol=1e-6)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("resnet18", "no attention layers"),
        ("convnext_atto", "no attention layers"),
        ("edgenext_xx_small", "not between patches"),
        ("mobilevitv2_050", "not between patches"),
        ("coat_lite_tiny", "not between patches"),
    ],
)
def test_a_model_without_patch_by_patch_attention_is_refused_with_the_reason(name: str, reason: str) -> None:
    with torch.device("meta"):
        module = timm.create_model(name)
    with pytest.raises(va.errors.ModelError, match=reason) as caught:
        va.load_model(module)
    assert name in str(caught.value)
    assert all(family in str(caught.value) for family in SUPPORTED)


def test_an_unsupported_name_is_refused_before_anything_is_downloaded() -> None:
    with pytest.raises(
        va.errors.ModelError, match=r"resnet50 .* has no attention map to show: it has no attention layers"
    ):
        va.load_model("resnet50")
    with pytest.raises(va.errors.ModelError, match="not between patches"):
        va.load_model("edgenext_small.usi_in1k")


def test_the_modules_of_the_families_build_nothing_else() -> None:
    names = [
        name
        for name in timm.list_models("*")
        if timm.model_entrypoint(name).__module__.rpartition(".")[2] in FAMILY_MODULES
    ]
    assert len(names) > 300
    smallest: dict[str, str] = {}
    for name in names:  # one architecture per module is built; building all takes a minute
        smallest.setdefault(timm.model_entrypoint(name).__module__, name)
    assert len(smallest) == len(FAMILY_MODULES)
    for name in smallest.values():
        with torch.device("meta"):
            require_supported(timm.create_model(name), name)


def test_an_attention_module_of_an_unknown_kind_is_refused_and_never_gives_an_empty_capture() -> None:
    class Linear(nn.Module):
        def __init__(self, dim: int, **_: object) -> None:
            super().__init__()
            self.mix = nn.Linear(dim, dim)

        def forward(self, x: Tensor, **_: object) -> Tensor:
            return self.mix(x)

    module = timm.models.VisionTransformer(
        img_size=32, patch_size=8, embed_dim=12, depth=2, num_heads=2, attn_layer=Linear
    )
    with pytest.raises(va.errors.ModelError, match=r"blocks\.0\.attn \(Linear\) ran without an attention"):
        va.capture_attention(va.load_model(module), noise_photo((40, 40)))


def test_an_attention_module_of_your_own_is_captured_through_the_fused_call() -> None:
    module = timm.models.VisionTransformer(
        img_size=32, patch_size=8, embed_dim=12, depth=2, num_heads=2, attn_layer=model_zoo.GroupedQueryAttention
    )
    capture = va.capture_attention(va.load_model(module), noise_photo((40, 40)))
    assert capture.num_heads() == 2
    assert capture.verify().largest < TOLERANCE


def test_a_model_made_with_fused_attention_off_gives_the_same_rows() -> None:
    module = model_zoo.build("vit")
    tensor = model_zoo.photo(model_zoo.SQUARE)
    fused, _ = capture_tensor(va.load_model(module), tensor)
    for block in module.blocks:
        block.attn.fused_attn = False
    eager, _ = capture_tensor(va.load_model(module), tensor)
    assert not any(block.attn.fused_attn for block in module.blocks)
    for one, other in zip(fused, eager, strict=True):
        queries = np.arange(17)
        torch.testing.assert_close(
            one.attention.rows(queries, torch.float64), other.attention.rows(queries, torch.float64), rtol=0, atol=1e-6
        )
