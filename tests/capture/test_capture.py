"""What a capture leaves behind: the model unchanged, a value without the model, little memory, clear errors."""

from __future__ import annotations

import gc
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

import vitattn_widgets as va

from .. import model_zoo
from ..conftest import noise_photo


def state_of(module: nn.Module) -> list[tuple]:
    """Everything of a model that a capture could have touched."""
    return [
        (
            name,
            part.training,
            getattr(part, "fused_attn", None),
            "forward" in vars(part),
            len(part._forward_hooks),
            len(part._forward_pre_hooks),
        )
        for name, part in module.named_modules()
    ]


def test_the_model_is_unchanged_after_a_capture() -> None:
    module = model_zoo.build("vit").train()
    module.blocks[0].eval()
    module.blocks[1].attn.fused_attn = False
    before = state_of(module)
    va.capture_attention(va.load_model(module), noise_photo((40, 40)))
    assert state_of(module) == before


def test_the_model_is_unchanged_after_an_error_in_the_middle_of_a_capture() -> None:
    module = model_zoo.build("vit").train()
    model = va.load_model(module)
    before = state_of(module)

    def fail(*_: object) -> None:
        raise ZeroDivisionError("in the middle")

    hook = module.blocks[1].mlp.register_forward_hook(fail)
    with pytest.raises(ZeroDivisionError):
        va.capture_attention(model, noise_photo((40, 40)))
    hook.remove()
    assert state_of(module) == before
    assert va.capture_attention(model, noise_photo((40, 40))).verify().largest < 1e-5


def test_a_forward_that_the_user_replaced_is_still_there_afterwards() -> None:
    module = model_zoo.build("vit")
    attn = module.blocks[0].attn
    original, calls = attn.forward, []

    def replaced(*args: object, **options: object) -> torch.Tensor:
        calls.append(1)
        return original(*args, **options)

    attn.forward = replaced
    va.capture_attention(va.load_model(module), noise_photo((40, 40)))
    assert attn.forward is replaced
    assert calls == [1]


def test_a_model_in_train_mode_is_captured_in_eval_mode() -> None:
    module = timm_vit_with_dropout()
    expected = va.capture_attention(va.load_model(module.eval()), noise_photo((40, 40)))
    found = va.capture_attention(va.load_model(module.train()), noise_photo((40, 40)))
    assert module.training
    np.testing.assert_array_equal(found.attention(), expected.attention())
    np.testing.assert_allclose(found.attention().sum(1), 1, atol=1e-6)


def timm_vit_with_dropout() -> nn.Module:
    from timm.models.vision_transformer import VisionTransformer

    return VisionTransformer(
        img_size=32, patch_size=8, embed_dim=12, depth=2, num_heads=2, num_classes=3, attn_drop_rate=0.3,
        proj_drop_rate=0.3,
    )  # fmt: skip


def test_capturing_twice_gives_the_same_and_nothing_piles_up(wide_model: va.models.AttentionModel) -> None:
    one = va.capture_attention(wide_model, noise_photo((40, 40)))
    two = va.capture_attention(wide_model, noise_photo((40, 40)))
    assert one.num_layers == two.num_layers == 3
    np.testing.assert_array_equal(one.attention(0), two.attention(0))


def test_captures_of_concurrent_threads_do_not_mix(wide_model: va.models.AttentionModel) -> None:
    photos = [noise_photo((60, 90), seed) for seed in range(4)]
    expected = [va.capture_attention(wide_model, photo).attention(1) for photo in photos]
    found: list[tuple[int, np.ndarray]] = []

    def work(number: int) -> None:
        found.extend((number, va.capture_attention(wide_model, photos[number]).attention(1)) for _ in range(8))

    run_in_threads(work, range(4))
    assert len(found) == 32
    for number, attention in found:
        np.testing.assert_array_equal(attention, expected[number])


def test_a_plain_forward_in_another_thread_is_neither_recorded_nor_changed(
    wide_model: va.models.AttentionModel,
) -> None:
    tensor = model_zoo.photo(model_zoo.WIDE, seed=5)
    with torch.inference_mode():
        expected = wide_model.module(tensor)
    captures, outputs = [], []

    def capture(_: int) -> None:
        captures.extend(va.capture_attention(wide_model, noise_photo((60, 90))) for _ in range(20))

    def forward(_: int) -> None:
        with torch.inference_mode():
            outputs.extend(wide_model.module(tensor) for _ in range(60))

    threads = [threading.Thread(target=capture, args=(0,)), threading.Thread(target=forward, args=(0,))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(capture.num_layers == 3 for capture in captures)
    assert all(torch.equal(output, expected) for output in outputs)


def run_in_threads(work: Callable[[int], None], numbers: range) -> None:
    threads = [threading.Thread(target=work, args=(number,)) for number in numbers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def reachable(value: object) -> list[object]:
    """Every object that can be reached from a value, except Python modules, classes and functions."""
    seen, queue = {}, [value]
    while queue:
        item = queue.pop()
        if id(item) in seen or isinstance(item, type) or type(item).__name__ in ("module", "function"):
            continue
        seen[id(item)] = item
        queue.extend(gc.get_referents(item))
    return list(seen.values())


@pytest.mark.parametrize("family", ["vit", "cait", "convit", "beit", "vit_attention_pool", "vit_differential"])
def test_a_capture_holds_no_reference_to_the_model(family: str) -> None:
    module = model_zoo.build(family)
    capture = va.capture_attention(va.load_model(module), noise_photo((40, 40)))
    found = reachable(capture)
    assert not any(isinstance(item, nn.Module | nn.Parameter) for item in found)
    memory = {parameter.untyped_storage().data_ptr() for parameter in module.parameters()}
    assert not any(isinstance(item, torch.Tensor) and item.untyped_storage().data_ptr() in memory for item in found)


@pytest.mark.parametrize("family", ["vit", "cait", "convit", "beit"])
def test_a_capture_survives_pickling_at_its_own_size(family: str) -> None:
    model = va.load_model(model_zoo.build(family))
    capture = va.capture_attention(model, noise_photo((40, 40)))
    blob = pickle.dumps(capture)
    assert len(blob) < 1.2 * capture.nbytes + 20_000
    again = pickle.loads(blob)
    for layer in range(capture.num_layers):
        np.testing.assert_array_equal(again.attention(layer), capture.attention(layer))
    assert again.top(2) == capture.top(2)
    assert again.verify() == capture.verify()
    np.testing.assert_array_equal(va.render_view(again).image, va.render_view(capture).image)


@pytest.mark.parametrize("family", ["vit", "beit", "relpos_mlp", "cait", "convit", "tnt"])
def test_no_matrix_of_tokens_by_tokens_is_kept(family: str) -> None:
    size = (128, 128)
    module = model_zoo.build(family, size)
    capture = va.capture_attention(va.load_model(module), noise_photo((40, 40)))
    tokens, heads, width = capture.attention().shape[1], capture.num_heads(), 48
    tables = heads * ((2 * 16 - 1) ** 2 + 4 * tokens)  # position biases, where the family has them
    floats = capture.num_layers * (4 * tokens * width + tables)
    assert capture.nbytes < 4 * floats + capture.source.nbytes + capture.view.nbytes + 1000
    assert tokens * tokens * heads > 2 * (4 * tokens * width + tables), "the grid is too small for this test to see it"


def test_verify_sees_an_attention_that_is_not_what_the_layer_used(wide_capture: va.capture.AttentionCapture) -> None:
    from dataclasses import replace

    layer = wide_capture.layers[1]
    scores = replace(layer.attention.scores, scale=layer.attention.scores.scale * 1.01)
    wrong = replace(layer, attention=replace(layer.attention, scores=scores))
    broken = replace(wide_capture, layers=(wide_capture.layers[0], wrong, wide_capture.layers[2]))
    report = broken.verify()
    assert report.differences["blocks.1.attn"] > 1e-4
    assert report.differences["blocks.0.attn"] < 1e-5
    assert "blocks.1.attn" in str(report)


def test_a_compiled_wrapper_is_captured_through_its_original() -> None:
    module = model_zoo.build("vit")
    expected = va.capture_attention(va.load_model(module), noise_photo((40, 40)))
    found = va.capture_attention(va.load_model(torch.compile(module)), noise_photo((40, 40)))
    np.testing.assert_array_equal(found.attention(), expected.attention())


def test_a_model_compiled_in_place_is_refused() -> None:
    module = model_zoo.build("vit")
    module.blocks[0].compile()
    with pytest.raises(va.errors.ModelError, match="compiled in place"):
        va.load_model(module)


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning")
def test_a_traced_model_is_refused() -> None:
    traced = torch.jit.trace(model_zoo.build("vit"), model_zoo.photo(model_zoo.SQUARE))
    with pytest.raises(va.errors.ModelError, match="traced or scripted"):
        va.load_model(traced)


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("pool", "possible: 'class', 'mean' or a patch (row, col) with row 0..3, col 0..5"),
        ("dist", "query 'dist' does not exist"),
        ((4, 0), "row 0..3"),
        ((0, 6), "col 0..5"),
        ((-1, 0), "query (-1, 0) does not exist"),
        ((1, 2, 3), "(1, 2, 3) does not exist"),
        ((0.5, 1), "(0.5, 1) does not exist"),
        (3, "query 3 does not exist"),
        ("class+reg0", "'class+reg0' does not exist"),
    ],
)
def test_a_query_that_does_not_exist_is_reported_with_the_possible_ones(
    wide_capture: va.capture.AttentionCapture, query: object, words: str
) -> None:
    with pytest.raises(va.errors.SettingsError) as caught:
        wide_capture.attention(0, query)
    assert words in str(caught.value)
    assert "blocks.0.attn" in str(caught.value)


def test_a_class_query_of_a_model_without_class_token_is_reported_as_such() -> None:
    capture = va.capture_attention(va.load_model(model_zoo.build("vit_attention_pool")), noise_photo((40, 40)))
    with pytest.raises(
        va.errors.SettingsError, match=r"query 'class' does not exist .* \(no class token\); possible: 'pool'"
    ):
        capture.attention(-1, "class")


@pytest.mark.parametrize("layer", [3, -4, 1.0, "0", True, None])
def test_a_layer_that_does_not_exist_is_reported_with_the_possible_ones(
    wide_capture: va.capture.AttentionCapture, layer: object
) -> None:
    with pytest.raises(va.errors.SettingsError, match=r"layer.* layers 0\.\.2"):
        wide_capture.attention(layer)


def test_negative_layers_count_from_the_end(wide_capture: va.capture.AttentionCapture) -> None:
    np.testing.assert_array_equal(wide_capture.attention(-1), wide_capture.attention(2))
    np.testing.assert_array_equal(wide_capture.attention(-3), wide_capture.attention(0))


def test_a_patch_query_is_the_row_of_that_patch_and_not_its_column(wide_capture: va.capture.AttentionCapture) -> None:
    layer = wide_capture.layers[1]
    matrix = layer.attention.rows(np.arange(25), torch.float64)[0].numpy()  # head query key
    np.testing.assert_allclose(wide_capture.attention(1, (2, 3)), matrix[:, 1 + 2 * 6 + 3], atol=1e-7)
    assert not np.allclose(wide_capture.attention(1, (2, 3)), matrix[:, :, 1 + 2 * 6 + 3], atol=1e-3)


def test_the_mean_query_is_the_mean_of_the_patch_rows_and_class_plus_dist_of_both() -> None:
    capture = va.capture_attention(va.load_model(model_zoo.build("distilled")), noise_photo((40, 40)))
    patches = [capture.attention(0, (row, col)) for row in range(4) for col in range(4)]
    np.testing.assert_allclose(capture.attention(0, "mean"), np.mean(patches, 0), atol=1e-6)
    both = (capture.attention(0, "class") + capture.attention(0, "dist")) / 2
    np.testing.assert_allclose(capture.attention(0, "class+dist"), both, atol=1e-6)


def test_eq_3_is_the_softmax_over_the_patch_keys_alone(wide_capture: va.capture.AttentionCapture) -> None:
    scores = wide_capture.layers[2].attention.scores
    q, k = scores.q[0, :, 0].double().numpy(), scores.k[0].double().numpy()
    logits = np.einsum("hd,hkd->hk", q, k)[:, 1:] * scores.scale  # head key
    weights = np.exp(logits - logits.max(1, keepdims=True))
    expected = (weights / weights.sum(1, keepdims=True)).reshape(3, 4, 6)
    np.testing.assert_allclose(wide_capture.patch_attention(2), expected, atol=1e-6)
    row = wide_capture.attention(2)
    np.testing.assert_allclose(wide_capture.prefix_share(2), row[:, 0], atol=1e-6)


def test_patch_attention_stays_exact_where_the_prefix_takes_nearly_everything() -> None:
    from vitattn_widgets.capture.attention import Scores, SoftmaxAttention, mean_row
    from vitattn_widgets.capture.patch_attention import split_prefix

    q = torch.full((1, 1, 5, 1), 1.0)
    k = torch.tensor([300.0, 1.0, 2.0, 3.0, 4.0]).view(1, 1, 5, 1)
    row = mean_row(SoftmaxAttention(Scores(q, k, 1.0)), np.array([0]), 1, 5, torch.float64)[0].numpy()
    maps, share = split_prefix(row, 1, (2, 2))
    expected = np.exp([1.0, 2.0, 3.0, 4.0]) / np.exp([1.0, 2.0, 3.0, 4.0]).sum()
    np.testing.assert_allclose(maps.ravel(), expected, rtol=1e-6)
    assert share == pytest.approx(1.0)


def test_heads_that_give_patches_nothing_become_zeros_and_not_nan() -> None:
    from vitattn_widgets.capture.patch_attention import split_prefix

    maps, share = split_prefix(np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 0.0]]), 1, (1, 2))
    np.testing.assert_array_equal(maps, 0)
    np.testing.assert_array_equal(share, [1, 1])


def test_signed_weights_are_normalised_by_their_absolute_sum() -> None:
    from vitattn_widgets.capture.patch_attention import split_prefix

    maps, share = split_prefix(np.array([[-0.5, 1.0, -0.5]]), 1, (1, 2))
    np.testing.assert_allclose(maps[0, 0], [2 / 3, -1 / 3], rtol=1e-6)
    np.testing.assert_allclose(share, [0.25], rtol=1e-6)


MEMORY_SCRIPT = """
import numpy as np, timm, torch, vitattn_widgets as va
from pathlib import Path
from vitattn_widgets.capture.forward import capture_tensor

def peak():
    return int(next(l for l in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in l).split()[1]) / 1024

torch.manual_seed(0)
module = timm.create_model("vit_small_patch14_dinov2.lvd142m", pretrained=False)
model = va.load_model(module)
tensor = torch.randn(1, 3, 518, 518)
with torch.inference_mode():
    for _ in range(2):
        module(tensor)
plain = peak()
layers, _ = capture_tensor(model, tensor)
row = layers[5].attention.rows(np.array([0]), torch.float64)
print(peak() - plain, 12 * 6 * 1370 * 1370 * 4 / 2**20)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads the peak memory from Linux's /proc")
def test_at_518_px_the_peak_memory_stays_under_a_quarter_of_all_matrices() -> None:
    result = subprocess.run([sys.executable, "-c", MEMORY_SCRIPT], capture_output=True, text=True, check=True)
    extra, matrices = map(float, result.stdout.split())
    assert 10 < extra < matrices / 4
