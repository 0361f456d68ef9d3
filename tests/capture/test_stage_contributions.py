"""Contributions of models with windows and stages: they add up, and lie on the tokens that the answer would lack."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from timm.models.nest import blockify
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

import vitattn_widgets as va
from vitattn_widgets.capture.conservative import capture_contributions
from vitattn_widgets.capture.forward import arrangement
from vitattn_widgets.capture.linearised import LinearisedForward
from vitattn_widgets.capture.recorder import watched_forward
from vitattn_widgets.capture.sites import SiteCalls, weighted_values
from vitattn_widgets.models.partitions import Partition, spread

from .. import stage_zoo
from ..conftest import noise_photo
from .test_stages import spatial, unfused

DIVIDED = [key for key in stage_zoo.MODELS if key != "iformer"]


def load(key: str) -> va.models.AttentionModel:
    return va.load_model(stage_zoo.build(key), img_size=stage_zoo.MODELS[key].size)


@pytest.mark.parametrize("key", DIVIDED)
def test_tokens_and_constants_add_up_and_heads_are_the_attention_that_leads_to_the_answer(key: str) -> None:
    model = load(key)
    capture = va.capture_attention(model, noise_photo((50, 70)))
    found = capture_contributions(model, capture, 3).class_contributions(3)
    with torch.no_grad():
        logit = float(model.module(model.preprocessing.tensor(capture.pixels)[None])[0, 3])
    assert found.logit == pytest.approx(logit, abs=1e-4)
    assert found.rest < 2e-5
    expected = heads_by_query(model, capture, 3)
    for number, (layer, captured) in enumerate(zip(found.layers, capture.layers, strict=True)):
        rows, cols = captured.tokens.grid
        assert len(layer.tokens) >= rows * cols
        assert np.abs(layer.tokens[-rows * cols :]).max() > 0
        assert layer.heads.shape == (captured.num_heads, captured.num_keys)
        np.testing.assert_allclose(layer.heads, expected[number], atol=1e-4 * max(0.2, np.abs(expected[number]).max()))


def heads_by_query(model: va.models.AttentionModel, capture: Any, target: int) -> list[np.ndarray]:
    """Each key's part by head, from whole attention rows: ``sum_q A_qk (v_k . dy/do_q)``; no value's gradient."""
    products, arranged = {}, {}

    def keep(name: str, calls: SiteCalls) -> None:
        products[name], arranged[name] = weighted_values(calls), arrangement(model, name, calls)

    tensor = model.preprocessing.tensor(capture.pixels)[None].requires_grad_()
    with LinearisedForward():
        logits = watched_forward(model.module, model.parts, model.sites, tensor, keep, gradients=True)
    gradients = torch.autograd.grad(logits[0, target], list(products.values()), allow_unused=True)
    parts = []
    for layer, (name, product), gradient in zip(capture.layers, products.items(), gradients, strict=True):
        outgoing = arranged[name](torch.zeros_like(product) if gradient is None else gradient)[0].double()
        rows = layer.attention.rows(np.arange(outgoing.shape[1]), torch.float64)[0]  # head query key
        parts.append((rows * (outgoing @ layer.values[0].double().mT)).sum(1).numpy())
    return parts


class Frozen(TorchFunctionMode):
    """Oracle: a model as the linear function of one photo.

    A second run takes attention weights, standard deviations, gates and the places of maxima from the first.
    """

    def __init__(self) -> None:
        super().__init__()
        self.kept: list[Tensor] = []
        self.again: list[Tensor] = []

    def fixed(self, compute: Callable[[], Tensor]) -> Tensor:
        if self.again:
            return self.again.pop(0)
        self.kept.append(compute().detach())
        return self.kept[-1]

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in (torch.softmax, Tensor.softmax, F.softmax):
            return self.fixed(lambda: func(*args, **kwargs))
        if func is F.gelu:
            return args[0] * self.fixed(lambda: func(*args) / args[0])
        if func.__name__.endswith("max_pool2d"):
            x, windows = args[0], (*args[1:], *kwargs.values())[:3]  # kernel, stride, padding
            largest = self.fixed(lambda: F.max_pool2d(x, *windows, return_indices=True)[1])
            return x.flatten(2).gather(2, largest.flatten(2)).view_as(largest)
        if func is F.layer_norm:
            x, weight, bias, eps = args[0], kwargs["weight"], kwargs["bias"], kwargs["eps"]
            std = self.fixed(lambda: (x.var(-1, unbiased=False, keepdim=True) + eps).sqrt())
            return (x - x.mean(-1, keepdim=True)) / std * weight + bias
        return func(*args, **kwargs)


@pytest.mark.parametrize("key", ["swin", "swin_padded", "twins", "pvt_v2", "nest", "hieradet"])
def test_a_contribution_is_what_the_frozen_model_lacks_without_the_token(key: str) -> None:
    model = load(key)
    capture = va.capture_attention(model, noise_photo((50, 70)))
    found = capture_contributions(model, capture, 2).class_contributions(2)
    module = model.module.double()
    tensor = model.preprocessing.tensor(capture.pixels)[None].double()
    chance = np.random.default_rng(0)
    frozen = Frozen()
    with unfused(module), torch.no_grad():
        with frozen:
            whole = float(module(tensor)[0, 2])
        for number in (0, len(capture.layers) - 1):
            partition = model.partitions[capture.layer_names[number]]
            block = module.get_submodule(capture.layer_names[number].rpartition(".")[0])
            window = partition.window if key == "nest" else None
            rows, cols = partition.key_grid
            for cell in chance.integers(0, rows * cols, 4):
                hook = block.register_forward_pre_hook(without(partition, divmod(int(cell), cols), window))
                frozen.again = list(frozen.kept)
                with frozen:
                    lacking = whole - float(module(tensor)[0, 2])
                hook.remove()
                assert not frozen.again
                assert found.layers[number].tokens[cell - rows * cols] == pytest.approx(lacking, abs=5e-5)


def without(partition: Partition, place: tuple[int, int], window: tuple[int, int] | None) -> Callable[..., Any]:
    """A hook that takes a cell of a layer's key grid from what enters its block, which may lie on a finer grid."""
    grid = partition.query_grid if type(partition).__name__ == "Pooled" else partition.key_grid
    (down, first), (across, left) = (
        (side // keys, at * (side // keys)) for side, keys, at in zip(grid, partition.key_grid, place, strict=True)
    )

    def hook(_: nn.Module, args: tuple[Any, ...]) -> Any:
        cells = spatial(args[0].clone(), grid, window)
        cells[0, first : first + down, left : left + across] = 0
        return (cells.reshape(args[0].shape) if window is None else blockify(cells, window[0]), *args[1:])

    return hook


@pytest.mark.parametrize("key", ["hiera", "hiera_absolute_window"])
def test_the_tokens_of_mask_units_lie_where_timm_unrolls_them_to(key: str) -> None:
    model = load(key)
    capture = va.capture_attention(model, noise_photo((50, 70)))
    found = capture_contributions(model, capture, 1).class_contributions(1)
    entering: list[Tensor] = []
    hooks = [part.register_forward_pre_hook(lambda _, args: entering.append(args[0])) for part in model.module.blocks]
    tensor = model.preprocessing.tensor(capture.pixels)[None].requires_grad_()
    with LinearisedForward():
        logit = model.module(tensor)[0, 1]
    for hook in hooks:
        hook.remove()
    gradients = torch.autograd.grad(logit, entering)
    for number, (layer, x, gradient) in enumerate(zip(found.layers, entering, gradients, strict=True)):
        partition = model.partitions[capture.layer_names[number]]
        pools = partition.query_grid != partition.key_grid
        expected = model.module.reroll((x * gradient).sum(-1, keepdim=True), number - pools)
        np.testing.assert_allclose(layer.tokens, expected.detach().numpy().ravel(), atol=1e-5)


def test_overlapping_windows_add_up_the_parts_of_a_key() -> None:
    model = load("halonet")
    capture = va.capture_attention(model, noise_photo((50, 70)))
    layer = capture_contributions(model, capture, 3).class_contributions(3).layers[0]
    tokens = capture.layers[0].tokens
    assert tokens.padding > 0
    assert np.abs(layer.heads[:, : tokens.padding]).max() == 0  # a halo beyond the edges has no values


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (nn.BatchNorm1d(6), (5, 6)),
        (nn.BatchNorm2d(6), (1, 6, 3, 2)),
        (nn.Conv2d(6, 4, 3), (1, 6, 5, 4)),
        (nn.ConvTranspose2d(6, 4, 2, 2), (1, 6, 3, 2)),
        (nn.Conv1d(6, 4, 3), (1, 6, 5)),
    ],
    ids=lambda part: type(part).__name__,
)
def test_an_affine_layer_is_its_input_times_its_gradient_and_its_constants(
    layer: nn.Module, shape: tuple[int, ...]
) -> None:
    torch.manual_seed(0)
    layer.eval()
    for tensor in (*layer.parameters(), *layer.buffers()):
        if tensor.is_floating_point():
            tensor.data = torch.rand_like(tensor) + 0.5
    x = torch.randn(shape, requires_grad=True)
    mode = LinearisedForward()
    with mode:
        y = layer(x)
    torch.testing.assert_close(y, layer(x))
    weights = torch.randn_like(y)
    (gradient,) = torch.autograd.grad((y * weights).sum(), x, retain_graph=True)
    torch.testing.assert_close(gradient, torch.autograd.grad((layer(x) * weights).sum(), x)[0])
    offsets = torch.autograd.grad((y * weights).sum(), mode.constants)
    constant = sum(float((one * its).detach().sum()) for one, its in zip(mode.constants, offsets, strict=True))
    assert constant == pytest.approx(float((layer(torch.zeros_like(x)) * weights).sum().detach()), rel=1e-4)


@pytest.mark.parametrize("function", [lambda x: F.relu(x) ** 2, torch.square, F.relu6, F.hardswish])
def test_an_activation_is_its_input_times_a_constant_gate(function: Callable[[Tensor], Tensor]) -> None:
    x = torch.tensor([-4.0, -1.0, 0.0, 0.5, 3.0, 9.0], requires_grad=True)
    with LinearisedForward():
        y = function(x)
    torch.testing.assert_close(y, function(x))
    (gradient,) = torch.autograd.grad(y.sum(), x)
    torch.testing.assert_close(gradient * x, function(x))


def test_a_sum_over_stages_lies_on_the_grid_of_the_layer() -> None:
    model = load("swin")
    capture = va.capture_attention(model, noise_photo((50, 70)))
    settings = va.ViewSettings(source="contribution_sum", layer=2, target=1)
    capture = capture_contributions(model, capture, 1)
    found = capture.class_contributions(1).layers
    grids = [layer.tokens.grid for layer in capture.layers]
    assert grids == [(16, 24), (16, 24), (8, 12), (8, 12)]
    through = [spread(one.heads.sum(0).reshape(grid), (8, 12)) for one, grid in zip(found[:3], grids, strict=False)]
    maps = [found[2].tokens.reshape(8, 12), through[1] + through[2], sum(through)]
    expected = sum(one / np.abs(one).sum() for one in maps) / 3
    np.testing.assert_allclose(va.render_view(capture, settings).grid_map, expected, atol=1e-6)


def test_what_lies_on_padding_is_told_apart() -> None:
    model = load("swin_padded")
    capture = capture_contributions(model, va.capture_attention(model, noise_photo((50, 70))), 1)
    settings = va.ViewSettings(source="contribution_heads", target=1, layer=0)
    padding = capture.layers[0].tokens.padding
    assert padding > 0
    on_padding = capture.class_contributions(1).layers[0].heads[:, :padding].sum()
    assert abs(on_padding) > 1e-6  # the values of padding are the biases of their projection
    assert f", {on_padding:.2f} on padding, " in va.render_view(capture, settings).caption
    assert "padding" not in va.render_view(capture, va.ViewSettings(source="contribution", target=1, layer=0)).caption


def test_values_that_are_gates_are_refused_with_the_reason() -> None:
    model = load("iformer")
    capture = va.capture_attention(model, noise_photo((50, 70)))
    with pytest.raises(va.errors.ModelError, match=r"would not add up: its attention adds up gates.*choose 'gradient'"):
        capture_contributions(model, capture)
    with pytest.raises(va.errors.SettingsError, match=r"'contribution' does not exist for iformer_t: .*gates.*choose"):
        va.complete_capture(model, capture, va.ViewSettings(source="contribution"))
