"""Capsules: what they hold is what Python computes, they are small, and what does not fit is said."""

from __future__ import annotations

import gzip
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors
import safetensors.numpy
import torch
from PIL import Image

import vitattn_widgets as va
from vitattn_widgets.capture.attention import OffsetBias, SoftmaxAttention
from vitattn_widgets.maps.attribution import source_maps
from vitattn_widgets.maps.resolve import fit_settings
from vitattn_widgets.maps.settings import MapSettings
from vitattn_widgets.maps.sources import CATALOGUE
from vitattn_widgets.view.arrange import screen_capture
from vitattn_widgets.viewer.capsule import make_capsule
from vitattn_widgets.viewer.file_capsule import BITS, make_file_capsule
from vitattn_widgets.viewer.settings import QUESTIONS, START
from vitattn_widgets.viewer.tensors import fixed_point, has_operands, operand_tensors, query_text

from .. import model_zoo, stage_zoo
from ..conftest import SAMPLES, noise_photo

LIGHT = 150_000
"""Largest light capsule of ViT-Tiny at 224 px in bytes, without the pixels of photo and view."""


def read(capsule: bytes) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Facts and tensors, read by safetensors alone."""
    length = int.from_bytes(capsule[:8], "little")
    header = json.loads(capsule[8 : 8 + length])
    facts = json.loads(header.get("__metadata__", {}).get("vitattn", "null"))
    return facts, safetensors.numpy.load(capsule)


def capture_of(family: str, size: tuple[int, int]) -> tuple[va.models.AttentionModel, va.capture.AttentionCapture]:
    model = va.load_model(model_zoo.build(family, size), img_size=size)
    return model, va.capture_attention(model, noise_photo((70, 110)))


def decoded(tensor: np.ndarray) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(tensor.tobytes())))


# --- the light capsule ---


@pytest.mark.parametrize(("family", "size"), model_zoo.CASES)
def test_the_rows_of_every_named_query_are_the_captures(family: str, size: tuple[int, int]) -> None:
    model, capture = capture_of(family, size)
    facts, tensors = read(make_capsule(model, capture))
    for number, layer in enumerate(facts["layers"]):
        assert layer["heads"] == capture.num_heads(number)
        assert layer["default_query"] in layer["queries"]
        for query in layer["queries"]:
            assert np.array_equal(tensors[f"layer{number}.row.{query}"], capture.attention(number, query))
        assert np.array_equal(tensors[f"layer{number}.sinks"], va.find_sinks(capture, number))
        assert layer["operands"] == has_operands(capture, number)
    assert np.array_equal(tensors["probabilities"], capture.probabilities)
    assert facts["model"]["classes"] == list(capture.class_names)
    assert not any(source["unavailable"] for source in facts["sources"])


def test_the_light_capsule_is_small(real_model: va.models.AttentionModel, chelsea: va.capture.AttentionCapture) -> None:
    capsule = make_capsule(real_model, chelsea, "chelsea.jpg")
    _, tensors = read(capsule)
    size = len(capsule) - tensors["view"].nbytes - tensors["photo"].nbytes
    print(f"{size} bytes without pixels, {len(capsule)} with them")
    assert size <= LIGHT


def test_value_norms_are_there_or_the_reason_why_not(
    wide_model: va.models.AttentionModel, wide_capture: va.capture.AttentionCapture
) -> None:
    settings = MapSettings(source="norm")
    completed = va.complete_capture(wide_model, wide_capture, settings)
    _, tensors = read(make_capsule(wide_model, wide_capture))
    for layer in range(wide_capture.num_layers):
        assert np.array_equal(tensors[f"layer{layer}.value_norms"], completed.value_norms[layer])
    module = model_zoo.build("vit", model_zoo.WIDE)
    for block in module.blocks:
        block.attn.proj = torch.nn.Sequential(block.attn.proj)
    model = va.load_model(module)
    facts, tensors = read(make_capsule(model, va.capture_attention(model, noise_photo((80, 150)))))
    assert not any(name.endswith("value_norms") for name in tensors)
    (reason,) = [source["unavailable"] for source in facts["sources"] if source["unavailable"]]
    assert "projection of Attention is not known" in reason


def test_view_and_photo_are_the_pictures_of_the_screen(real_model: va.models.AttentionModel) -> None:
    photo = np.asarray(Image.open(SAMPLES / "chelsea.jpg").resize((1800, 1200)))
    capture = va.capture_attention(real_model, photo)
    facts, tensors = read(make_capsule(real_model, capture, "big", "/somewhere/big.png"))
    screen = screen_capture(capture)
    assert np.array_equal(decoded(tensors["view"]), capture.view)
    difference = np.abs(decoded(tensors["photo"]).astype(int) - screen.source)
    assert difference.mean() < 2
    picture = facts["picture"]
    assert picture["size"] == [1800, 1200]
    assert picture["photo_size"] == [1024, 683]
    assert picture["crop_box"] == list(screen.crop_box)
    assert picture["view_size"] == [224, 224]
    assert (picture["name"], picture["path"]) == ("big", "/somewhere/big.png")


def test_facts_say_what_the_python_side_says(
    wide_model: va.models.AttentionModel, wide_capture: va.capture.AttentionCapture
) -> None:
    facts, _ = read(make_capsule(wide_model, wide_capture))
    assert facts["model"]["grid"] == [4, 6]
    assert facts["layers"][1]["words"] == wide_capture.layer_words(1)
    assert [source["name"] for source in facts["sources"]] == list(CATALOGUE)
    assert {source["name"] for source in facts["sources"] if source["fuses_heads"]} == {"rollout"}
    assert va.ViewSettings(**facts["start"]) == START
    for question in facts["questions"]:
        replace(START, **question["settings"])  # raises for a value that does not exist
    assert [question["name"] for question in QUESTIONS] == ["look", "use", "believe"]


def test_equal_input_gives_equal_bytes(wide_model: va.models.AttentionModel) -> None:
    first, second = (
        make_capsule(wide_model, va.capture_attention(wide_model, noise_photo((80, 150))), "a") for _ in range(2)
    )
    assert first == second


def test_a_checkpoint_can_be_named_without_folders(wide_model: va.models.AttentionModel, tmp_path: Path) -> None:
    checkpoint = tmp_path / "secret" / "weights.safetensors"
    checkpoint.parent.mkdir()
    checkpoint.write_bytes(b"weights")
    model = replace(wide_model, loaded_with={"model": "vit", "checkpoint": str(checkpoint)})
    capture = va.capture_attention(model, noise_photo((80, 150)))
    assert b"secret" in make_capsule(model, capture)
    file = gzip.decompress(make_file_capsule(model, capture, str(tmp_path / "secret" / "a.png"), room=10**6))
    for hidden in (make_capsule(va.viewer.without_folders(model), capture), file):
        assert b"secret" not in hidden
        assert b"weights.safetensors" in hidden


# --- queries and keys ---


def rows_from(tensors: dict[str, np.ndarray], layer: int, patch: int, prefix: int, grid: tuple[int, int]) -> np.ndarray:
    """A patch's row from the tensors of a capsule, float64 ``(head, key)``, written down from docs/capsule.md."""
    part = {
        name.removeprefix(f"layer{layer}."): value.astype(np.float64)
        for name, value in tensors.items()
        if name.startswith(f"layer{layer}.")
    }
    q = part["q"][:, prefix + patch]  # head width
    k = part["k"]  # head key width
    if "q_scale" in part:
        q, k = q * part["q_scale"][:, prefix + patch, None], k * part["k_scale"][..., None]
    scores = np.einsum("hw,hkw->hk", q, k) * part["scale"]
    if "bias.table" in part:
        rows, cols = grid
        own_row, own_col = divmod(patch, cols)
        for key in range(rows * cols):
            row, col = divmod(key, cols)
            scores[:, prefix + key] += part["bias.table"][:, rows - 1 + row - own_row, cols - 1 + col - own_col]
        scores[:, :prefix] += part["bias.to_prefix"][:, patch]
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True)


@pytest.mark.parametrize(("bits", "close"), [(None, 1e-6), (16, 2e-3)])
@pytest.mark.parametrize(("family", "size"), model_zoo.CASES)
def test_operands_give_the_rows_of_every_patch(
    family: str, size: tuple[int, int], bits: int | None, close: float
) -> None:
    _, capture = capture_of(family, size)
    rows, cols = capture.layout.grid
    for layer in range(capture.num_layers):
        if not has_operands(capture, layer):
            continue
        tensors = operand_tensors(capture, layer, bits)
        prefix = len(capture.layers[layer].tokens.key_prefix)
        for patch in range(0, rows * cols, 5):
            row = rows_from(tensors, layer, patch, prefix, (rows, cols))
            exact = capture.attention(layer, divmod(patch, cols))
            assert np.allclose(row, exact, rtol=close, atol=1e-3 * close)


WINDOWED = ("swin_padded", "swinv2_cr", "hiera", "hieradet", "maxvit", "sam", "twins", "gcvit", "halonet", "levit")
"""Models with each kind of window and of bias, and with none."""


def staged_row_from(tensors: dict[str, np.ndarray], layer: int, query: int, padded: int) -> np.ndarray:
    """A patch's row in a model with windows or stages, float64 ``(head, key)``, written down from docs/capsule.md.

    Args:
        tensors: of the capsule and of the operands.
        layer: its number.
        query: number of the row.
        padded: number of keys of the layer.
    """
    part = {name.removeprefix(f"layer{layer}."): value for name, value in tensors.items()}
    tokens, window, place = np.arange(part["k"].shape[1]), 0, query
    keys, masked = tokens, np.zeros(len(tokens), bool)
    if "windows.queries" in part:
        ((window, place),) = np.argwhere(part["windows.queries"] == query)
        keys = part["windows.keys"][window]
        tokens = window * len(keys) + np.arange(len(keys))
        query = window * part["windows.queries"].shape[1] + place
        masked = np.zeros(len(keys), bool)
        if "windows.regions" in part:
            masked = part["windows.regions"][window] != part["windows.regions"][window, place]
    row = np.zeros((len(part["k"]), padded))
    for head in range(len(row)):
        scores = part["k"][head, tokens].astype(float) @ part["q"][head, query].astype(float)
        scores *= part["scale"][head % len(part["scale"])]
        if "bias" in part:
            windows, heads, queries, _ = part["bias"].shape
            scores += part["bias"][window % windows, head % heads, place % queries]
        if "bias.table" in part:
            table = part["bias.table"][head]
            rows, cols = ((side + 1) // 2 for side in table.shape)
            prefix = part["bias.from_prefix"].shape[1]
            own = np.subtract(divmod(place - prefix, cols), (rows - 1, cols - 1))
            offsets = np.stack(np.divmod(np.arange(rows * cols), cols), 1) - own
            scores[prefix:] += table[tuple(offsets.T)] if place >= prefix else 0
            scores[:prefix] += part["bias.to_prefix"][head, place - prefix]
        weights = np.exp(scores - scores.max()) * ~masked
        row[head, keys] = weights / weights.sum()
    return row


@pytest.mark.parametrize("key", WINDOWED)
def test_windows_and_operands_give_the_rows_of_every_patch(key: str) -> None:
    model = va.load_model(stage_zoo.build(key), img_size=stage_zoo.MODELS[key].size)
    capture = va.capture_attention(model, noise_photo((70, 110)))
    _, light = read(make_capsule(model, capture))
    for layer, captured in enumerate(capture.layers):
        assert has_operands(capture, layer) == captured.tokens.query_patches
        if not captured.tokens.query_patches:
            continue
        tensors = light | operand_tensors(capture, layer)
        rows, cols = captured.tokens.query_grid
        prefix = len(captured.tokens.query_prefix)
        for patch in {0, cols - 1, rows * cols - 1, *range(3, rows * cols, max(1, rows * cols // 12))}:
            row = staged_row_from(tensors, layer, prefix + patch, captured.num_keys)
            exact = capture.attention(layer, divmod(patch, cols))
            np.testing.assert_allclose(row, exact, rtol=1e-5, atol=1e-8)


def test_a_file_holds_the_windows_and_operands_of_a_model_with_stages() -> None:
    model = va.load_model(stage_zoo.build("swin"), img_size=(64, 96))
    capture = va.capture_attention(model, noise_photo((70, 110)))
    facts, tensors = read(gzip.decompress(make_file_capsule(model, capture, room=10**6)))
    assert not any("A patch cannot be the query" in sentence for sentence in facts["left_out"])
    for layer in range(4):
        row = staged_row_from(tensors | rounded_back(tensors, layer), layer, 17, capture.layers[layer].num_keys)
        np.testing.assert_allclose(row, capture.attention(layer, divmod(17, (24, 12)[layer // 2])), atol=5e-3)


def rounded_back(tensors: dict[str, np.ndarray], layer: int) -> dict[str, np.ndarray]:
    """Queries and keys of a layer from fixed point."""
    names = [f"layer{layer}.{part}" for part in ("q", "k")]
    return {name: tensors[name] * tensors[f"{name}_scale"][..., None] for name in names}


def test_a_bias_of_offsets_inside_windows_is_sent_as_a_table() -> None:
    model = va.load_model(stage_zoo.build("swin"), img_size=(64, 96))
    capture = va.capture_attention(model, noise_photo((70, 110)))
    assert operand_tensors(capture, 0)["layer0.bias.table"].shape == (2, 7, 7)


def test_a_layer_whose_queries_and_keys_are_too_large_has_no_operands(
    wide_capture: va.capture.AttentionCapture, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = operand_tensors(wide_capture, 0, bits=16)["layer0.q"].nbytes
    for most, possible in ((2 * size, True), (2 * size - 1, False)):
        monkeypatch.setattr("vitattn_widgets.viewer.tensors.MOST_BYTES", most)
        assert has_operands(wide_capture, 0) == possible


def test_large_queries_and_keys_are_rounded(
    wide_capture: va.capture.AttentionCapture, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = operand_tensors(wide_capture, 0)["layer0.q"].nbytes
    for most, dtype in ((2 * size, np.float32), (2 * size - 1, np.int16)):
        monkeypatch.setattr("vitattn_widgets.viewer.tensors.EXACT_BYTES", most)
        assert operand_tensors(wide_capture, 0)["layer0.q"].dtype == dtype


def test_layers_that_are_no_plain_softmax_have_no_operands() -> None:
    expected = {"vit": True, "beit": True, "cait": False, "vit_differential": False}
    for family, possible in expected.items():
        _, capture = capture_of(family, model_zoo.WIDE)
        assert has_operands(capture, 0) == possible
    with pytest.raises(TypeError, match="no operands"):
        operand_tensors(capture, 0)


def test_a_bias_of_one_head_counts_for_all() -> None:
    _, capture = capture_of("beit", model_zoo.WIDE)
    attention = capture.layers[0].attention
    assert isinstance(attention, SoftmaxAttention)
    assert isinstance(attention.scores.bias, OffsetBias)
    bias = attention.scores.bias
    single = OffsetBias(bias.table[:1], bias.from_prefix[:1], bias.to_prefix[:1])
    changed = replace(capture.layers[0], attention=SoftmaxAttention(replace(attention.scores, bias=single)))
    tensors = operand_tensors(replace(capture, layers=(changed, *capture.layers[1:])), 0)
    assert tensors["layer0.bias.table"].shape[0] == capture.num_heads(0)
    assert np.array_equal(tensors["layer0.bias.table"][1], bias.table[0].numpy())


@pytest.mark.parametrize("bits", [16, BITS])
def test_fixed_point_rounds_to_the_nearest_step(bits: int) -> None:
    values = np.random.default_rng(0).normal(0, 3, (2, 5, 8)).astype(np.float32)
    values[1, 2] = 0
    integers, scale = fixed_point(values, bits)
    step = 1 << (16 - bits)
    assert integers.dtype == np.int16
    assert not (integers % step).any()
    assert np.abs(integers).max() == (1 << 15) - step
    error = np.abs(integers * scale[..., None].astype(np.float64) - values)
    assert (error <= 0.5001 * step * scale[..., None]).all()
    assert not integers[1, 2].any()


# --- files ---


def file_parts(capsule: bytes) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    return read(gzip.decompress(capsule))


def test_a_file_with_room_holds_everything(
    real_model: va.models.AttentionModel, chelsea: va.capture.AttentionCapture
) -> None:
    content = make_file_capsule(real_model, chelsea, "a/b/chelsea.jpg", room=10_000_000)
    facts, tensors = file_parts(content)
    _, light = read(make_capsule(real_model, chelsea))
    assert all(np.array_equal(tensors[name], light[name]) for name in light)
    assert all(f"layer{layer}.q" in tensors for layer in range(12))
    classes = [chelsea.class_names.index(name) for name, _ in chelsea.top(3)]
    for source, target, fusion in [
        ("rollout", None, "mean"),
        ("rollout", None, "max"),
        *((source, target, "-") for source in ("gradient", "gradient_late", "relevance") for target in classes),
    ]:
        settings = MapSettings(layer=7, source=source, target=target, aggregation=fusion.replace("-", "mean"))
        expected = source_maps(va.complete_capture(real_model, chelsea, settings), settings)
        name = f"maps/{source}/7/class/{'-' if target is None else target}/{fusion}"
        assert np.array_equal(tensors[name], expected.maps)
        assert np.array_equal(tensors[f"{name}/share"], expected.prefix_share)
    assert facts["picture"]["path"] == facts["recipe"]["picture"]["path"] == "chelsea.jpg"
    assert facts["left_out"] == [
        "Of the sources that depend on a class, it holds the maps for Egyptian cat, tabby and tiger cat alone.",
        "Sources other than attention and value norms show the default query alone.",
    ]
    assert len(content) < 2_200_000


@pytest.mark.parametrize("room", [400_000, 700_000, 1_500_000])
def test_a_file_stays_within_its_room_and_says_what_it_lacks(
    real_model: va.models.AttentionModel, chelsea: va.capture.AttentionCapture, room: int
) -> None:
    content = make_file_capsule(real_model, chelsea, room=room)
    assert room - 200_000 < len(content) <= room
    facts, tensors = file_parts(content)
    missing = [str(layer) for layer in range(12) if f"layer{layer}.q" not in tensors]
    # the last layers come first
    assert missing == [str(layer) for layer in range(len(missing))]
    assert missing
    listed = f"layers 0 to {missing[-1]}" if len(missing) > 1 else "layer 0"
    assert facts["left_out"][-1] == f"A patch cannot be the query in {listed}, whose queries and keys did not fit."


def test_a_file_holds_the_query_and_the_class_that_it_opens_with(
    wide_model: va.models.AttentionModel, wide_capture: va.capture.AttentionCapture
) -> None:
    least = int(wide_capture.probabilities.argmin())
    settings = MapSettings(query=(1, 2), target=least, source="gradient")
    _, tensors = file_parts(make_file_capsule(wide_model, wide_capture, settings=settings, room=10**6, classes=1))
    completed = va.complete_capture(wide_model, wide_capture, settings)
    assert np.array_equal(tensors[f"maps/gradient/2/1,2/{least}/-"], source_maps(completed, settings).maps)
    assert f"maps/gradient/2/class/{least}/-" in tensors
    assert np.array_equal(tensors["layer0.row.1,2"], wide_capture.attention(0, (1, 2)))


def test_a_file_of_some_sources_says_that_the_others_are_not_here(
    wide_model: va.models.AttentionModel, wide_capture: va.capture.AttentionCapture
) -> None:
    content = make_file_capsule(wide_model, wide_capture, room=10**6, sources=("attention", "rollout"))
    facts, tensors = file_parts(content)
    here = [source["name"] for source in facts["sources"] if not source["unavailable"]]
    assert here == ["attention", "rollout"]
    assert {name.split("/")[1] for name in tensors if name.startswith("maps/")} == {"rollout"}
    assert not any("value_norms" in name for name in tensors)


@pytest.mark.parametrize("family", ["cait", "vit_attention_pool", "deepseek_encoder"])
def test_files_of_other_families_say_what_they_lack(family: str) -> None:
    model, capture = capture_of(family, model_zoo.WIDE)
    facts, _ = file_parts(make_file_capsule(model, capture, room=10**6))
    said = " ".join(facts["left_out"])
    assert ("no plain softmax" in said) == (family == "cait")
    assert ("did not fit" in said) is False
    assert ("depend on a class" in said) == bool(capture.class_names)


def test_a_model_without_gradients_makes_a_file_without_their_sources() -> None:
    module = model_zoo.build("vit", model_zoo.WIDE)
    forward = module.forward
    module.forward = torch.no_grad()(forward)
    model = va.load_model(module)
    facts, tensors = file_parts(
        make_file_capsule(model, va.capture_attention(model, noise_photo((80, 150))), room=10**6)
    )
    rest = {source["name"]: source["unavailable"] for source in facts["sources"] if source["unavailable"]}
    assert set(rest) == {name for name, source in CATALOGUE.items() if not source.no_class}
    assert all("no gradient flows" in reason for reason in rest.values())
    assert {name.split("/")[1] for name in tensors if name.startswith("maps/")} == {"rollout"}


def test_no_room_is_one_clear_message(
    wide_model: va.models.AttentionModel, wide_capture: va.capture.AttentionCapture
) -> None:
    with pytest.raises(va.errors.SettingsError, match="MB, and the file has room for"):
        make_file_capsule(wide_model, wide_capture, room=10_000)


def test_equal_files_have_equal_bytes(
    wide_model: va.models.AttentionModel, wide_capture: va.capture.AttentionCapture
) -> None:
    first, second = (make_file_capsule(wide_model, wide_capture, "a", room=50_000) for _ in range(2))
    assert first == second


def test_query_texts() -> None:
    assert [query_text(query) for query in ("class+dist", (3, 14))] == ["class+dist", "3,14"]


def test_any_safetensors_reader_opens_a_capsule(
    wide_model: va.models.AttentionModel, wide_capture: va.capture.AttentionCapture, tmp_path: Path
) -> None:
    path = tmp_path / "photo.safetensors"
    path.write_bytes(make_capsule(wide_model, wide_capture, "“photo” with ümlauts"))
    with safetensors.safe_open(path, framework="pt") as capsule:
        assert json.loads(capsule.metadata()["vitattn"])["picture"]["name"] == "“photo” with ümlauts"
        assert capsule.get_tensor("layer0.row.class").shape == (3, 25)


@pytest.mark.parametrize(("key", "source"), [("swin", "contribution_sum"), ("iformer", "gradient_late")])
def test_the_questions_ask_for_what_the_model_can_give(key: str, source: str) -> None:
    model = va.load_model(stage_zoo.build(key), img_size=stage_zoo.MODELS[key].size)
    capture = va.capture_attention(model, noise_photo((50, 70)))
    facts, _ = read(make_capsule(model, capture))
    assert [question["settings"]["source"] for question in facts["questions"]] == ["attention", source, source]
    assert fit_settings(va.ViewSettings.recommended(), capture).source == source
    unavailable = {one["name"]: one["unavailable"] for one in facts["sources"]}
    assert bool(unavailable["contribution"]) == (key == "iformer")
