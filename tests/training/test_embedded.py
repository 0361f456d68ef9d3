"""The embedded model: small, right on pictures it never saw, and what everything falls back to."""

from __future__ import annotations

import dataclasses
import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open

import vitattn_widgets as va
from vitattn_widgets import cli
from vitattn_widgets.models import loading
from vitattn_widgets.training import embedded

from ..conftest import SAMPLES
from ..model_zoo import build

CARD = loading.DEMO_CHECKPOINT.with_suffix(".json")


@pytest.fixture(scope="module")
def demo() -> va.models.AttentionModel:
    return va.load_model("demo", device="cpu")


@pytest.fixture(scope="module")
def card() -> dict:
    return json.loads(CARD.read_text(encoding="utf-8"))


def test_it_is_right_on_95_of_100_fresh_pictures_and_its_card_says_so(
    demo: va.models.AttentionModel, card: dict
) -> None:
    """Of a seed that neither training nor the card has used; 540 pictures measure within about 0.01."""
    photos = va.load_dataset("demo", seed=77, per_class=(1, 1, 20)).test
    assert photos.class_names == demo.class_names
    accuracy = embedded.measure(demo, photos)
    assert accuracy >= 0.95
    stated = card["fresh"]["accuracy"]
    spread = (stated * (1 - stated) * (1 / len(photos) + 1 / card["fresh"]["pictures"])) ** 0.5
    assert abs(accuracy - stated) < 3 * spread


def test_the_cards_figure_is_of_pictures_that_were_not_trained_on(card: dict) -> None:
    assert card["fresh"]["accuracy"] >= 0.95
    assert card["fresh"]["seed"] == embedded.FRESH_SEED != embedded.TRAINING_SEED == card["data"]["seed"]
    assert card["data"]["stand_in"] is True
    assert card["recipe"]["pretrained"] is False


def test_measuring_counts_right_answers_over_uneven_batches(demo: va.models.AttentionModel) -> None:
    photos = va.load_dataset("demo", seed=3, per_class=(1, 1, 1)).test.take(range(10))
    capture_answers = [va.capture_attention(demo, photos.load(number)).top(1)[0][0] for number in range(10)]
    right = sum(answer == demo.class_names[label] for answer, label in zip(capture_answers, photos.labels, strict=True))
    assert embedded.measure(demo, photos, batch_size=4) == right / 10
    wrong = dataclasses.replace(photos, labels=tuple((label + 1) % 27 for label in photos.labels))
    assert embedded.measure(demo, wrong) <= 1 - right / 10


def test_the_files_are_small_and_hold_weights_and_card(card: dict) -> None:
    assert loading.DEMO_CHECKPOINT.stat().st_size <= 4_000_000
    assert CARD.stat().st_size < 10_000
    with safe_open(loading.DEMO_CHECKPOINT, "pt") as file:
        assert json.loads(file.metadata()["card"]) == card
        assert {file.get_tensor(name).dtype for name in file.keys()} == {torch.float16}  # noqa: SIM118


def test_it_was_trained_by_the_recipe_of_this_version(card: dict) -> None:
    recipe = json.loads(json.dumps(va.training.training_recipe("demo", "recommended").values()))
    assert {name: card["recipe"][name] for name in recipe} == recipe
    data = va.load_dataset("demo", seed=embedded.TRAINING_SEED, per_class=embedded.PER_CLASS)
    assert card["data"]["fingerprint"] == data.fingerprint


def test_name_classes_and_preprocessing_stand_in_the_card(demo: va.models.AttentionModel, card: dict) -> None:
    assert demo.name == "demo"
    assert demo.class_names == tuple(card["class_names"]) == va.load_dataset("demo").class_names
    assert "embedded model, trained on drawn pictures" in demo.describe()
    for name in ("interpolation", "crop_pct", "crop_mode"):
        assert getattr(demo.preprocessing, name) == card["preprocessing"][name]
    assert list(demo.preprocessing.mean) == card["preprocessing"]["mean"]
    assert demo.loaded_with == {"model": "demo"}
    assert next(demo.module.parameters()).dtype == torch.float32


def test_what_it_was_loaded_with_loads_it_again(demo: va.models.AttentionModel) -> None:
    again = va.load_model(**demo.loaded_with, device="cpu")
    for name, weight in demo.module.state_dict().items():
        assert torch.equal(weight, again.module.state_dict()[name]), name


def test_it_can_be_captured_and_takes_another_size() -> None:
    model = va.load_model("demo", img_size=224, device="cpu")
    capture = va.capture_attention(model, SAMPLES / "coffee.jpg")
    assert capture.layout.grid == (14, 14)
    assert capture.verify().largest < 1e-4


def test_unknown_names_are_refused_all_the_same() -> None:
    for name in ("Demo", "demo2", "demos"):
        with pytest.raises(va.errors.ModelError, match="timm has no model"):
            va.load_model(name)


def no_weights(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.file_download.HF_HUB_CACHE", str(tmp_path), raising=False)


def test_only_missing_weights_fall_back_and_the_line_says_why(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    model, line = loading.load_model_or_demo("vit_small_patch16_224", device="cpu")
    assert model.name == "demo"
    assert "\n" not in line
    assert "embedded model" in line
    assert "vit_small_patch16_224" in line
    with pytest.raises(va.errors.ModelError, match="timm has no model"):
        loading.load_model_or_demo("vit_smal_patch16_224")
    with pytest.raises(va.errors.WeightsError, match="no such checkpoint file"):
        loading.load_model_or_demo("vit_small_patch16_224", checkpoint=tmp_path / "gone.safetensors")
    module = build("vit")
    model, line = loading.load_model_or_demo(module)
    assert model.module is module
    assert line is None


def test_a_map_never_falls_back_by_itself_but_names_the_way(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photo, out = SAMPLES / "coffee.jpg", tmp_path / "map.png"
    assert cli.main(["map", str(photo), "-o", str(out), "--model", "vit_small_patch16_224"]) == 2
    assert "--model demo" in capsys.readouterr().err
    assert not out.exists()
    assert cli.main(["map", str(photo), "-o", str(out), "--model", "demo"]) == 0
    assert "embedded model" in capsys.readouterr().out
    assert Image.open(out).size == (160, 160)


def test_embedding_halves_the_weights_measures_and_refuses_what_is_too_large(
    tmp_path: Path, card: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vitattn_widgets.models.checkpoints import read_weights, write_checkpoint

    weights = {name: tensor.float() for name, tensor in read_weights(loading.DEMO_CHECKPOINT).items()}
    plain = {name: value for name, value in card.items() if name not in ("fresh", "title")}
    write_checkpoint(tmp_path / "best.safetensors", weights, plain)
    monkeypatch.setattr(embedded, "FRESH_PER_CLASS", 2)
    accuracy = embedded.embed(tmp_path / "best.safetensors", tmp_path / "small.safetensors")
    assert accuracy >= 0.85
    written = json.loads((tmp_path / "small.json").read_text())
    assert written["fresh"] == {"seed": embedded.FRESH_SEED, "split": "test", "pictures": 54, "accuracy": accuracy}
    assert (tmp_path / "small.safetensors").stat().st_size < 0.55 * (tmp_path / "best.safetensors").stat().st_size
    monkeypatch.setattr(embedded, "MAX_BYTES", 1000)
    with pytest.raises(va.errors.ModelError, match="the package allows 1,000"):
        embedded.embed(tmp_path / "best.safetensors", tmp_path / "large.safetensors")
    assert not (tmp_path / "large.safetensors").exists()


def test_kept_views_are_what_the_model_sees_and_are_drawn_once(demo: va.models.AttentionModel, tmp_path: Path) -> None:
    photos = va.load_dataset("demo", per_class=(1, 1, 1)).train.take([3, 12, 25])
    kept = embedded.keep_views(photos, demo.preprocessing, tmp_path / "views.npy")
    assert (kept.names, kept.labels, len(kept)) == (photos.names, photos.labels, 3)
    for number in range(3):
        view = demo.preprocessing.view(photos.load(number)).pixels
        np.testing.assert_array_equal(kept.load(number), view)
        np.testing.assert_array_equal(demo.preprocessing.view(kept.load(number)).pixels, view)
    assert pickle.loads(pickle.dumps(kept)) == kept
    written = (tmp_path / "views.npy").stat().st_mtime_ns
    embedded.keep_views(photos, demo.preprocessing, tmp_path / "views.npy")
    assert (tmp_path / "views.npy").stat().st_mtime_ns == written
    assert [path.name for path in tmp_path.iterdir()] == ["views.npy"]
