"""Captured attention of models with windows and stages, against timm's eager softmax and against perturbed tokens."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from timm.models.nest import blockify, deblockify
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

import vitattn_widgets as va
from vitattn_widgets.capture.batches import capture_rows_tensor
from vitattn_widgets.capture.forward import capture_tensor
from vitattn_widgets.models.partition_kinds import Global, Pooled
from vitattn_widgets.models.partitions import Partition, windows_of
from vitattn_widgets.models.stage_sites import ALL_FOLDED, HEADS_FIRST, HEADS_FOLDED, WINDOWS_APART, kind_of

from .. import stage_zoo
from ..conftest import noise_photo

TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def models() -> dict[str, va.models.AttentionModel]:
    return {}


@pytest.fixture(params=stage_zoo.MODELS)
def model(request: pytest.FixtureRequest, models: dict[str, Any]) -> va.models.AttentionModel:
    """Each small model, built once."""
    key = request.param
    if key not in models:
        models[key] = va.load_model(stage_zoo.build(key), img_size=stage_zoo.MODELS[key].size)
    return models[key]


def photo(model: va.models.AttentionModel, count: int = 1) -> Tensor:
    return torch.randn(count, 3, *model.preprocessing.size, generator=torch.Generator().manual_seed(0))


class _Softmaxes(TorchFunctionMode):
    def __init__(self) -> None:
        super().__init__()
        self.results: list[Tensor] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if func in (torch.softmax, Tensor.softmax, F.softmax):
            self.results.append(result)
        return result


@contextmanager
def unfused(module: nn.Module) -> Iterator[None]:
    parts = [part for part in module.modules() if getattr(part, "fused_attn", False)]
    for part in parts:
        part.fused_attn = False
    yield
    for part in parts:
        part.fused_attn = True


def eager_attention(model: va.models.AttentionModel, tensor: Tensor) -> dict[str, Tensor]:
    """Oracle: run the model with timm's eager attention and collect the softmax of each layer."""
    seen: dict[str, Tensor] = {}

    def watch(name: str, site: nn.Module) -> Callable[..., Any]:
        forward = site.forward

        def watched(*args: Any, **kwargs: Any) -> Any:
            with _Softmaxes() as mode:
                output = forward(*args, **kwargs)
            weights = mode.results[-1]
            if hasattr(site, "talking_head2"):
                weights = site.talking_head2(weights)
            seen[name] = weights.detach().clone()
            return output

        return watched

    with unfused(model.module), torch.no_grad():
        for name, site in model.sites.items():
            site.forward = watch(name, site)
        model.module(tensor)
        for site in model.sites.values():
            del site.forward
    return seen


def whole_rows(weights: Tensor, site: nn.Module, partition: Partition, keys: int) -> Tensor:
    """Eager attention in windows, written cell by cell into whole rows: ``(batch, head, query, key)``."""
    windows, axes = windows_of(partition), kind_of(site).axes
    number = len(windows.queries)
    if weights.ndim == 3 and axes != ALL_FOLDED:  # of a single head
        weights = weights[:, None]
    if axes == ALL_FOLDED:
        weights = weights.unflatten(0, (-1, number, getattr(site, "num_heads", 1)))
    elif axes == HEADS_FOLDED:
        weights = weights.unflatten(0, (-1, site.num_heads)).transpose(1, 2)
    elif axes == HEADS_FIRST and weights.ndim == 5:
        weights = weights.transpose(1, 2)
    elif axes != WINDOWS_APART:
        weights = weights.unflatten(0, (-1, number))
    prefix = keys - windows.num_keys  # of the one window of a layer with prefix tokens
    queries = weights.shape[3] if prefix else partition.query_grid[0] * partition.query_grid[1]
    whole = torch.zeros(weights.shape[0], weights.shape[2], queries, keys, dtype=torch.float64)
    for window in range(number):
        if prefix:
            return weights[:, 0].double()
        for slot, query in enumerate(windows.queries[window]):
            if query >= 0:
                whole[:, :, query, windows.keys[window]] = weights[:, window, :, slot].double()
    return whole


def test_every_row_of_every_layer_equals_timms_eager_softmax(model: va.models.AttentionModel) -> None:
    tensor = photo(model)
    expected = eager_attention(model, tensor)
    layers, logits = capture_tensor(model, tensor)
    assert [layer.name for layer in layers] == list(expected) == list(model.partitions)
    for layer in layers:
        rows = layer.attention.rows(np.arange(layer.output.shape[2]), torch.float64)
        partition = model.partitions[layer.name]
        eager = whole_rows(expected[layer.name], model.sites[layer.name], partition, layer.num_keys)
        torch.testing.assert_close(rows, eager, rtol=0, atol=TOLERANCE)
    assert max(layer.attention.rows(np.arange(1), torch.float64).std() for layer in layers) > 1e-3
    with torch.no_grad():
        torch.testing.assert_close(logits, model.module(tensor), rtol=0, atol=1e-5)


def test_a_capture_verifies_itself_and_gives_every_query_on_the_layers_own_grids(
    model: va.models.AttentionModel,
) -> None:
    capture = va.capture_attention(model, noise_photo((50, 70)))
    assert capture.verify().largest < TOLERANCE
    assert capture.layout.grid == capture.layers[-1].tokens.grid
    for layer, name in enumerate(capture.layer_names):
        partition, tokens = model.partitions[name], capture.layers[layer].tokens
        assert (tokens.grid, tokens.query_grid) == (partition.key_grid, partition.query_grid)
        rows, cols = tokens.query_grid
        patches = [(0, 0), (rows - 1, cols - 1), (rows // 2, cols // 3)] if tokens.query_patches else []
        for query in (*capture.queries(layer), *patches, None):
            maps = capture.patch_attention(layer, query)
            assert maps.shape == (capture.num_heads(layer), *partition.key_grid)
            np.testing.assert_allclose(np.abs(maps).sum((1, 2)), 1, atol=1e-5)
            if isinstance(query, tuple):
                assert maps[:, ~partition.reach(*query)].max(initial=0) < 1e-30
        if tokens.query_patches:  # the mean of all rows, added up window by window, is that of the rows one by one
            queries = tokens.query_indices("mean", "")
            slow = capture.layers[layer].attention.rows(queries, torch.float64).mean(-2)[0].numpy()
            np.testing.assert_allclose(capture.attention(layer, "mean"), slow, atol=1e-6)


def test_rows_only_gives_the_same_rows_for_a_batch(model: va.models.AttentionModel) -> None:
    batch = photo(model, 3)
    rows = capture_rows_tensor(model, batch)
    for item in range(3):
        layers, _ = capture_tensor(model, batch[item : item + 1])
        for number, layer in enumerate(layers):
            queries = layer.tokens.query_indices(layer.tokens.default(model.layout.default_query), "")
            expected = layer.attention.rows(queries, torch.float64).mean(-2)[0].numpy()
            np.testing.assert_allclose(rows.attention(number)[item], expected, atol=TOLERANCE)


@pytest.mark.parametrize("key", ["swin", "maxvit", "hiera", "mvitv2_class", "levit"])
def test_a_capture_leaves_the_model_as_it_was(key: str) -> None:
    module = stage_zoo.build(key).train()
    state = {name: value.clone() for name, value in module.state_dict().items()}
    attributes = {name: set(vars(part)) for name, part in module.named_modules()}
    va.capture_attention(va.load_model(module, img_size=stage_zoo.MODELS[key].size), noise_photo((40, 40)))
    assert all(part.training for part in module.modules())
    assert {name: set(vars(part)) for name, part in module.named_modules()} == attributes
    for name, value in module.state_dict().items():
        torch.testing.assert_close(value, state[name])


def test_no_matrix_of_patches_by_patches_is_kept() -> None:
    module = stage_zoo.build("swin")
    model = va.load_model(module, img_size=(64, 96))
    capture = va.capture_attention(model, noise_photo((50, 70)))
    operands = sum(
        4 * 24 * rows * cols * capture.layers[layer].values.shape[-1] // 8
        for layer in range(2)
        for rows, cols in [capture.layers[layer].tokens.grid]
    )
    matrices = 4 * sum(layer.num_heads * layer.num_keys**2 for layer in capture.layers)
    assert operands < matrices / 4
    photos = capture.pixels.nbytes + capture.source.nbytes
    assert capture.nbytes - photos < matrices / 3


def inputs_of(module: nn.Module, names: set[str], tensor: Tensor) -> dict[str, tuple[Any, ...]]:
    seen: dict[str, tuple[Any, ...]] = {}
    hooks = [
        part.register_forward_pre_hook(lambda _, args, name=name: seen.setdefault(name, args))
        for name, part in module.named_modules()
        if name in names
    ]
    with torch.no_grad():
        module(tensor)
    for hook in hooks:
        hook.remove()
    return seen


def reached_by(partition: Partition, row: int, col: int) -> np.ndarray:
    """The queries that reach a cell of the key grid, bool ``(rows, cols)`` of the query grid."""
    rows, cols = partition.query_grid
    reach = [partition.reach(*divmod(query, cols))[row, col] for query in range(rows * cols)]
    return np.reshape(reach, (rows, cols))


def spatial(x: Tensor, grid: tuple[int, int], window: tuple[int, int] | None = None) -> Tensor:
    """The tokens of a block's input or output as ``(batch, row, col, channel)``, whatever its layout."""
    if window is not None:  # NesT's
        return deblockify(x, window[0])
    if x.ndim == 3:
        return x.unflatten(1, grid)
    return x if x.shape[1:3] == grid else x.movedim(1, -1)


# how many levels above the attention module its block is
BLOCKS = {
    "swin": 1,
    "swin_padded": 1,
    "swinv2": 1,
    "swinv2_padded": 1,
    "swinv2_cr": 1,
    "hieradet": 1,
    "maxvit": 1,
    "maxvit_channels_first": 1,
    "sam": 1,
    "twins": 1,
    "gcvit": 1,
    "nest": 1,
    "halonet": 0,
}


@pytest.mark.parametrize("key", BLOCKS)
def test_the_queries_that_change_with_a_token_are_those_that_reach_it(key: str) -> None:
    """Brute force: change one token before timm's own block, and see at which tokens its result changes."""
    module = stage_zoo.build(key).double()
    model = va.load_model(module, img_size=stage_zoo.MODELS[key].size)
    names = {name: name.rsplit(".", BLOCKS[key])[0] for name in model.partitions}
    inputs = inputs_of(module, set(names.values()), photo(model).double())
    tested = 0
    for name, partition in model.partitions.items():
        if isinstance(partition, Global | Pooled):
            continue
        block, (x, *rest) = module.get_submodule(names[name]), inputs[names[name]]
        window = partition.window if key == "nest" else None
        with torch.no_grad():
            before = spatial(block(x, *rest), partition.query_grid, window)
            for row, col in np.random.default_rng(0).integers(0, partition.key_grid, (5, 2)):
                other = x.clone()
                cells = spatial(other, partition.key_grid, window)
                cells[0, row, col] += torch.randn(cells.shape[-1], dtype=x.dtype)
                if key == "nest":  # whose cells are a copy
                    other = blockify(cells, partition.window[0])
                changed = (spatial(block(other, *rest), partition.query_grid, window) != before).any(-1)[0].numpy()
                own = np.zeros(partition.query_grid, bool)  # where a residual connection leads
                stride = partition.key_grid[0] // partition.query_grid[0]
                own[row // stride, col // stride] = True
                reached = reached_by(partition, row, col)
                np.testing.assert_array_equal(changed | own, reached | own, err_msg=f"{name} {partition} {row} {col}")
                tested += 1
    assert tested >= 5


@pytest.mark.parametrize("key", ["hiera", "hiera_absolute_window"])
def test_the_queries_that_change_in_a_mask_unit_are_those_that_reach_the_token(key: str) -> None:
    module = stage_zoo.build(key).double()
    model = va.load_model(module, img_size=stage_zoo.MODELS[key].size)
    names = {name: name.rsplit(".", 1)[0] for name in model.partitions}
    inputs = inputs_of(module, set(names.values()), photo(model).double())
    for name, partition in model.partitions.items():
        number = int(name.split(".")[1])
        block, (x, *_) = module.get_submodule(names[name]), inputs[names[name]]
        pools = partition.query_grid != partition.key_grid
        with torch.no_grad():
            before = module.reroll(block(x), number)
            for place in np.random.default_rng(0).integers(0, x.shape[1], 4):
                other = x.clone()
                other[0, place] += torch.randn(x.shape[-1], dtype=x.dtype)
                where = module.reroll((other != x).double(), number - pools)[0].any(-1)
                row, col = np.argwhere(where.numpy())[0]
                changed = (module.reroll(block(other), number) != before).any(-1)[0].numpy()
                np.testing.assert_array_equal(changed, reached_by(partition, row, col), err_msg=f"{name} {row} {col}")
