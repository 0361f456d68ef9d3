"""Loading by name, from a checkpoint, and wrapping a module: what fits works, what does not is reported."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file

import vitattn_widgets as va

from .. import model_zoo
from ..conftest import noise_photo

TINY = "vit_tiny_patch16_224"


@pytest.fixture(scope="module")
def weights() -> dict[str, torch.Tensor]:
    torch.manual_seed(3)
    return timm.create_model(TINY, num_classes=3).state_dict()


def test_a_model_without_pretrained_weights_has_numbered_classes() -> None:
    model = va.load_model(TINY, pretrained=False)
    assert model.class_names[:2] == ("class 0", "class 1")
    assert not model.module.training
    assert "12 layers, 3 heads, width 192, 14 x 14 patches of 16 px, 5.7 M" in model.describe()


def test_the_real_weights_come_with_their_tag_and_imagenets_names(real_model: va.models.AttentionModel) -> None:
    assert real_model.name == "vit_tiny_patch16_224.augreg_in21k_ft_in1k"
    assert real_model.class_names[281] == "tabby"
    assert len(real_model.class_names) == 1000


def test_another_image_size_gives_another_grid() -> None:
    model = va.load_model(TINY, pretrained=False, img_size=(160, 256))
    capture = va.capture_attention(model, noise_photo((50, 50)))
    assert capture.layout.grid == (10, 16)
    assert capture.view.shape == (160, 256, 3)


def test_an_image_size_of_broken_patches_is_refused_with_near_ones() -> None:
    with pytest.raises(va.errors.ModelError, match=r"multiple of its patch height 16, got 230; nearest: 224 or 240"):
        va.load_model(TINY, pretrained=False, img_size=230)
    with pytest.raises(va.errors.ModelError, match="img_size must be a side"):
        va.load_model(TINY, pretrained=False, img_size=(1, 2, 3))


def test_an_unknown_name_is_reported_with_near_ones() -> None:
    with pytest.raises(va.errors.ModelError, match=r"timm has no model 'vit_tiny_patch16_242'; near names: vit_tiny"):
        va.load_model("vit_tiny_patch16_242")
    with pytest.raises(va.errors.ModelError, match="timm has no model 'resnet19'") as caught:
        va.load_model("resnet19")
    assert "resnet18" not in str(caught.value)  # it has no attention to show
    with pytest.raises(va.errors.ModelError, match="has no model"):
        va.load_model("")


def test_an_unknown_tag_is_reported_with_the_possible_ones() -> None:
    with pytest.raises(va.errors.ModelError, match=r"has no weights 'mine'; possible: .*augreg_in21k"):
        va.load_model(f"{TINY}.mine")


def test_weights_that_are_unavailable_are_reported_with_the_next_step() -> None:
    missing = (
        "the weights of vit_large_patch16_384 are not on this computer, and HF_HUB_OFFLINE is set; check the network"
    )
    with pytest.raises(va.errors.DownloadError, match=missing):
        va.load_model("vit_large_patch16_384")
    with pytest.raises(va.errors.WeightsError, match="no published weights"):
        va.load_model("test_vit4")


def test_a_device_that_is_not_there_is_reported() -> None:
    with pytest.raises(va.errors.ModelError, match="device 'quantum' cannot be used here"):
        va.load_model(TINY, pretrained=False, device="quantum")


@pytest.mark.parametrize("model", [3, b"vit", ["vit"]])
def test_other_things_than_names_and_modules_are_refused(model: object) -> None:
    with pytest.raises(TypeError, match="timm name or a torch module"):
        va.load_model(model)


def test_a_module_is_left_as_it_is() -> None:
    module = model_zoo.build("vit").train()
    model = va.load_model(module, class_names=list("abcde"))
    assert model.module is module
    assert module.training
    assert va.capture_attention(model, noise_photo((40, 40))).top(1)[0][0] in "abcde"


def test_a_wrong_number_of_class_names_is_refused() -> None:
    with pytest.raises(va.errors.ModelError, match="has 5 classes, got 2 class names"):
        va.load_model(model_zoo.build("vit"), class_names=["a", "b"])


def test_a_half_precision_model_is_captured() -> None:
    module = model_zoo.build("vit").bfloat16()
    capture = va.capture_attention(va.load_model(module), noise_photo((40, 40)))
    np.testing.assert_allclose(capture.attention().sum(1), 1, atol=1e-5)
    assert capture.verify().largest < 0.02
    assert capture.probabilities.sum() == pytest.approx(1, abs=1e-5)


def write_checkpoint(path: Path, weights: dict[str, torch.Tensor], card: dict | None = None) -> Path:
    if path.suffix == ".safetensors":
        save_file(weights, path)
    else:
        torch.save({"state_dict": weights, "epoch": 3}, path)
    if card is not None:
        path.with_suffix(".json").write_text(json.dumps(card))
    return path


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_a_checkpoint_gives_weights_classes_and_names(
    tmp_path: Path, weights: dict[str, torch.Tensor], suffix: str
) -> None:
    card = {"architecture": TINY, "class_names": ["good", "bad", "ugly"]}
    path = write_checkpoint(tmp_path / f"mine{suffix}", weights, card)
    for name in (TINY, None):
        model = va.load_model(name, checkpoint=path)
        assert model.class_names == ("good", "bad", "ugly")
        assert model.name == f"{TINY} (mine{suffix})"
        for key, value in model.module.state_dict().items():
            torch.testing.assert_close(value.cpu(), weights[key], rtol=0, atol=0)


def test_without_a_card_the_classifier_says_how_many_classes_there_are(
    tmp_path: Path, weights: dict[str, torch.Tensor]
) -> None:
    path = write_checkpoint(tmp_path / "mine.safetensors", weights)
    assert va.load_model(TINY, checkpoint=path).class_names == ("class 0", "class 1", "class 2")
    assert va.load_model(TINY, checkpoint=path, class_names=["a", "b", "c"]).class_names == ("a", "b", "c")
    with pytest.raises(va.errors.ModelError, match="no card that names its architecture"):
        va.load_model(None, checkpoint=path)


def test_timms_own_config_is_a_card_too(tmp_path: Path, weights: dict[str, torch.Tensor]) -> None:
    save_file(weights, tmp_path / "model.safetensors")
    config = {"architecture": TINY, "num_classes": 3, "label_names": {"0": "a", "1": "b", "2": "c"}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert va.load_model(None, checkpoint=tmp_path / "model.safetensors").class_names == ("a", "b", "c")


def test_a_checkpoint_of_another_size_is_resampled_by_timm(tmp_path: Path, weights: dict[str, torch.Tensor]) -> None:
    path = write_checkpoint(tmp_path / "mine.safetensors", weights)
    model = va.load_model(TINY, checkpoint=path, img_size=160)
    assert model.layout.grid == (10, 10)


class Evil:
    def __reduce__(self) -> tuple:
        return os.mkdir, ("evil-ran",)


def without_head(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {key: value for key, value in weights.items() if not key.startswith("head.")}


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize(
    ("name", "make", "error", "words"),
    [
        ("gone.safetensors", lambda p, w: None, va.errors.WeightsError, "no such checkpoint"),
        ("empty.safetensors", lambda p, w: p.write_bytes(b""), va.errors.WeightsError, "damaged"),
        ("noise.safetensors", lambda p, w: p.write_bytes(b"x" * 500), va.errors.WeightsError, "damaged"),
        ("empty.pt", lambda p, w: p.write_bytes(b""), va.errors.WeightsError, "damaged"),
        ("noise.pt", lambda p, w: p.write_bytes(b"x" * 500), va.VitattnError, "noise.pt"),
        ("notes.txt", lambda p, w: p.write_text("hello"), va.errors.ModelError, "must be a safetensors or torch file"),
        ("evil.pt", lambda p, w: torch.save({"state_dict": w, "x": Evil()}, p), va.errors.ModelError, "not unpickled"),
        ("evil.pkl", lambda p, w: p.write_bytes(pickle.dumps(Evil())), va.errors.ModelError, "must be a safetensors"),
        ("evil.bin", lambda p, w: p.write_bytes(pickle.dumps(Evil())), va.VitattnError, "evil.bin"),
        ("headless.pt", lambda p, w: torch.save(without_head(w), p), va.errors.ModelError, "no classifier"),
        (
            "other.pt",
            lambda p, w: torch.save({"head.weight": w["head.weight"]}, p),
            va.errors.ModelError,
            "does not fit",
        ),
        ("list.pt", lambda p, w: torch.save([1, 2], p), va.VitattnError, "list.pt"),
    ],
)
def test_a_bad_checkpoint_is_reported_by_name_and_reason(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    weights: dict[str, torch.Tensor],
    name: str,
    make: object,
    error: type,
    words: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    make(tmp_path / name, weights)
    with pytest.raises(error, match=words) as caught:
        va.load_model(TINY, checkpoint=tmp_path / name)
    assert name in str(caught.value)
    assert not (tmp_path / "evil-ran").exists()


def test_a_checkpoint_of_another_shape_or_architecture_is_refused(
    tmp_path: Path, weights: dict[str, torch.Tensor]
) -> None:
    path = write_checkpoint(tmp_path / "mine.safetensors", weights)
    with pytest.raises(va.errors.ModelError, match=r"does not fit vit_small_patch16_224: .*size mismatch"):
        va.load_model("vit_small_patch16_224", checkpoint=path)
    card = write_checkpoint(tmp_path / "carded.safetensors", weights, {"architecture": TINY})
    with pytest.raises(va.errors.ModelError, match="holds weights of vit_tiny_patch16_224, not of vit_small"):
        va.load_model("vit_small_patch16_224", checkpoint=card)


@pytest.mark.parametrize("card", ["[]", "{broken", '{"class_names": 3}', '{"class_names": ["a"]}'])
def test_a_card_that_does_not_fit_is_refused(tmp_path: Path, weights: dict[str, torch.Tensor], card: str) -> None:
    path = write_checkpoint(tmp_path / "mine.safetensors", weights)
    path.with_suffix(".json").write_text(card)
    with pytest.raises(va.errors.ModelError, match="card"):
        va.load_model(TINY, checkpoint=path)
