"""The embedded model: small, right on photos and pictures it never saw, and what everything falls back to."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors import safe_open

import vitattn_widgets as va
from vitattn_widgets import cli
from vitattn_widgets.models import loading
from vitattn_widgets.training import embedded, embedded_card, kinds, teacher

from ..conftest import SAMPLES, noise_photo

CARD = loading.DEMO_CHECKPOINT.with_suffix(".json")

# left, top, right, bottom on the view of 160 px, drawn by eye
CAT = (20, 15, 150, 150)
CUP = (40, 20, 120, 110)


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
    assert photos.class_names == demo.class_names[:27]
    accuracy = embedded.measure(demo, photos)
    assert accuracy >= 0.95
    stated = card["fresh"]["accuracy"]
    spread = (stated * (1 - stated) * (1 / len(photos) + 1 / card["fresh"]["pictures"])) ** 0.5
    assert abs(accuracy - stated) < 3 * spread


def test_the_cards_figure_is_of_pictures_that_were_not_trained_on(card: dict) -> None:
    assert card["fresh"]["accuracy"] >= 0.95
    assert card["fresh"]["seed"] == embedded_card.FRESH_SEED != kinds.SEED == card["data"]["seed"]


def test_its_card_says_what_it_measures_and_that_it_is_enough(card: dict) -> None:
    accuracy = card["test"]["accuracy"]
    assert accuracy["kinds"] >= 0.88
    assert accuracy["fruit"] >= 0.93
    assert accuracy["made"] >= 0.95
    assert max(card["confidence"]["calibration_error"].values()) <= 0.05
    first, view, blob = (card["maps"][name] for name in ("mean attention", "contribution_sum", "centre blob"))
    assert card["maps"]["photos"] == 300
    for measure, least in blob.items():
        assert min(first[measure], view[measure]) > least
    assert set(card["test"]["by_kind"]) == set(kinds.KINDS)
    assert card["base"]["licence"] == "Apache-2.0"
    assert all(source["licence"] for source in card["data"]["sources"])
    assert card["limits"]


def test_the_test_photos_give_the_cards_accuracy(shared: Path, demo: va.models.AttentionModel, card: dict) -> None:
    lessons = kinds.load_lessons(shared / "data")
    assert lessons.fingerprint == card["data"]["fingerprint"]
    photos = lessons.splits["test"]["kinds"]
    some = photos.take(range(0, len(photos), 3))
    stated = card["test"]["accuracy"]["kinds"]
    assert abs(embedded.measure(demo, some) - stated) < 3 * (stated * (1 - stated) / len(some)) ** 0.5
    fruit = lessons.splits["test"]["fruit"]
    assert embedded.measure(demo, fruit) == pytest.approx(card["test"]["accuracy"]["fruit"], abs=0.01)


def test_its_maps_lie_on_the_object(shared: Path, demo: va.models.AttentionModel, card: dict) -> None:
    photos = va.datasets.load_masked_folder(shared / "data" / "photos_masks")
    sources = ["attention", va.ViewSettings.recommended().source]
    table = va.evaluate_maps(demo, photos.take(range(0, 300, 6)), sources=sources, progress=False).table()
    for measure in ("mass_on_mask", "pointing_game"):
        for row, name in {"mean": "mean attention", sources[1]: sources[1]}.items():
            assert table.loc[row, measure] == pytest.approx(card["maps"][name][measure], abs=0.1)


@pytest.mark.parametrize(("name", "kind", "box"), [("chelsea", "cat", CAT), ("coffee", "cup", CUP)])
def test_the_samples_are_named_and_their_maps_lie_on_them(
    demo: va.models.AttentionModel, name: str, kind: str, box: tuple[int, int, int, int]
) -> None:
    capture = va.capture_attention(demo, SAMPLES / f"{name}.jpg")
    (answer, probability), *_ = capture.top(1)
    assert answer == kind
    assert probability > 0.7
    assert capture.doubt == ""
    settings = va.ViewSettings.recommended()
    heat = va.render_view(va.complete_capture(demo, capture, settings), settings).heat
    left, top, right, bottom = box
    on = np.zeros_like(heat, dtype=bool)
    on[top:bottom, left:right] = True
    assert on.flat[heat.argmax()]
    assert heat[on].sum() / heat.sum() > on.mean()


def test_a_photo_of_none_of_its_kinds_is_doubted(shared: Path, demo: va.models.AttentionModel) -> None:
    """Of the ImageNet photos, those that show nothing of its kinds are doubted far more often than its test photos."""
    known = re.compile(r"n018|n020[0-6]|n02(08|09|10|11[0-5])|wagon|car_|espresso|eggnog")  # birds, dogs, cars, cups
    paths = [path for path in (shared / "data" / "imagenet").glob("*.JPEG") if not known.search(path.stem)]
    doubted = [va.capture_attention(demo, path).doubt != "" for path in paths]
    assert len(doubted) > 30
    assert np.mean(doubted) > 0.35


def test_a_model_is_unsure_where_all_classes_together_score_low(demo: va.models.AttentionModel) -> None:
    logits = torch.randn(6, 51, generator=torch.Generator().manual_seed(0))
    scores = np.log(np.exp(logits.numpy().astype(float)).sum(1))
    model = dataclasses.replace(demo, unsure_below=float(np.median(scores)))
    assert [model.is_unsure(one) for one in logits] == [score < np.median(scores) for score in scores]
    assert not dataclasses.replace(demo, unsure_below=-np.inf).is_unsure(logits[0] - 1e6)


def test_the_doubt_is_a_sentence_of_the_card_and_every_door_says_it(
    demo: va.models.AttentionModel, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    certain = va.capture_attention(demo, SAMPLES / "chelsea.jpg")
    assert (certain.unsure, certain.doubt) == (False, "")
    unsure = dataclasses.replace(certain, unsure=True)
    assert unsure.doubt == (
        "Not sure: little here speaks for any of the 51 classes that the model knows; this is probably none of them."
    )
    noise = tmp_path / "noise.png"
    Image.fromarray(noise_photo((200, 200))).save(noise)
    assert cli.main(["map", str(noise), "-o", str(tmp_path / "map.png"), "--model", "demo"]) == 0
    assert va.capture_attention(demo, noise).doubt in capsys.readouterr().out
    assert unsure.doubt.encode() in va.viewer.make_capsule(demo, unsure, "a cat")


def test_measuring_counts_right_answers_over_uneven_batches(
    demo: va.models.AttentionModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = embedded_card.logits_of
    monkeypatch.setattr(embedded, "logits_of", lambda model, photos: one(model, photos, batch_size=4))
    photos = va.load_dataset("demo", seed=3, per_class=(1, 1, 1)).test.take(range(10))
    capture_answers = [va.capture_attention(demo, photos.load(number)).top(1)[0][0] for number in range(10)]
    right = sum(answer == demo.class_names[label] for answer, label in zip(capture_answers, photos.labels, strict=True))
    assert embedded.measure(demo, photos) == right / 10
    wrong = dataclasses.replace(photos, labels=tuple((label + 1) % 27 for label in photos.labels))
    assert embedded.measure(demo, wrong) <= 1 - right / 10


def test_the_files_are_small_and_hold_weights_and_card(card: dict) -> None:
    assert loading.DEMO_CHECKPOINT.stat().st_size <= 6_000_000
    assert CARD.stat().st_size < 12_000
    with safe_open(loading.DEMO_CHECKPOINT, "pt") as file:
        assert json.loads(file.metadata()["card"]) == card
        assert {file.get_tensor(name).dtype for name in file.keys()} == {torch.float16}  # noqa: SIM118


def test_it_was_trained_by_the_plan_of_this_version(card: dict) -> None:
    stages = {name: dataclasses.asdict(plan) for name, plan in embedded.STAGES.items()}
    assert card["recipe"] == json.loads(json.dumps({"crops": teacher.CROPS, "stages": stages}))
    assert card["base"]["layers"] == list(teacher.LAYERS)


def test_it_is_a_plain_timm_model(demo: va.models.AttentionModel) -> None:
    assert type(demo.module) is timm.models.vision_transformer.VisionTransformer
    assert demo.layout.prefix == ("class", *(f"reg{number}" for number in range(teacher.REGISTERS)))
    assert len(demo.sites) >= 6
    assert all(site.num_heads >= 4 for site in demo.sites.values())
    assert 160 <= demo.preprocessing.size[0] <= 192


def test_name_classes_and_preprocessing_stand_in_the_card(demo: va.models.AttentionModel, card: dict) -> None:
    assert demo.name == "demo"
    assert demo.class_names == tuple(card["class_names"])
    assert demo.class_names[:27] == va.load_dataset("demo").class_names
    assert set(kinds.KINDS) <= set(demo.class_names)
    assert demo.unsure_below == card["unsure_below"] > 0
    assert "embedded model, trained on photos and drawn pictures" in demo.describe()
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


@pytest.fixture
def no_weights(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An empty cache of the hub."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))


def test_without_weights_the_default_model_is_the_embedded_one_and_a_note_says_why(no_weights: None) -> None:
    model = va.load_model(device="cpu")
    assert model.name == "demo"
    assert model.loaded_with == {"model": "demo"}
    assert model.note == (
        f"This is the embedded model, because the weights of {va.models.DEFAULT_MODEL} are not on this computer, and "
        "HF_HUB_OFFLINE is set."
    )
    assert va.load_model("demo").note == ""
    assert va.load_model(img_size=224).layout.grid == (14, 14)
    with pytest.raises(va.errors.DownloadError):
        va.load_model(class_names=["class"] * 1000)  # of the default model


def test_with_its_weights_the_default_model_is_itself(real_model: va.models.AttentionModel) -> None:
    model = va.load_model(device="cpu")
    assert (model.name, model.note) == (real_model.name, "")


def test_a_model_that_is_named_is_never_replaced(no_weights: None) -> None:
    for name in (va.models.DEFAULT_MODEL, "vit_small_patch16_224"):
        with pytest.raises(va.errors.DownloadError, match=f"weights of {name} are not on this computer"):
            va.load_model(name)


PHOTO = str(SAMPLES / "coffee.jpg")


@pytest.mark.parametrize(
    "arguments",
    [
        ["map", PHOTO, "-o", "out.png"],
        ["figure", PHOTO, "-o", "out.png"],
        ["figure", PHOTO, "-o", "out.png", "--compare", "layer=0,5"],
        ["export", PHOTO, "-o", "out.html"],
        ["sweep", "cassava", "-o", "out", "--stand-in", "--limit", "6", "--pictures", "0"],
    ],
    ids=["map", "figure", "comparison", "export", "sweep"],
)
def test_every_command_falls_back_from_the_default_and_never_from_a_name(
    arguments: list[str],
    no_weights: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    out = Path(arguments[arguments.index("-o") + 1])
    assert cli.main([*arguments, "--model", va.models.DEFAULT_MODEL]) == 2
    refused = capsys.readouterr()
    assert refused.err.count("\n") == 1
    assert "--model demo" in refused.err
    assert not out.exists()
    assert cli.main(arguments) == 0
    said = capsys.readouterr().out.splitlines()
    assert sum(line.startswith("This is the embedded model, because") for line in said) == 1
    assert out.exists()


def test_embedding_halves_the_weights_folds_the_temperature_in_and_refuses_what_is_too_large(
    tmp_path: Path, demo: va.models.AttentionModel, card: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = va.load_dataset("demo", per_class=(1, 1, 2))
    cups = made.test.take([2, 29])
    groups = {"kinds": cups, "fruit": made.test.take([10, 11]), "made": made.test}
    lessons = kinds.Lessons(demo.class_names, dict.fromkeys(("train", "validation", "test"), groups), "a fingerprint")
    identity = card["recipe"] | {"mixed_precision": "no"}
    trained = embedded_card.Trained(demo.module, lessons, 2.0, {"kinds": 1.0}, identity, 1)
    monkeypatch.setattr(embedded_card, "FRESH_PER_CLASS", 2)
    written = embedded.embed(trained, tmp_path, tmp_path / "small.safetensors")
    assert json.loads((tmp_path / "small.json").read_text()) == {"format": 1} | json.loads(json.dumps(written))
    small = va.load_model(None, checkpoint=tmp_path / "small.safetensors", device="cpu")
    assert small.unsure_below == written["unsure_below"]
    picture = torch.randn(1, 3, 160, 160)
    torch.testing.assert_close(small.module(picture), demo.module(picture) / 2, rtol=0.01, atol=0.01)
    assert written["test"]["accuracy"]["made"] == embedded.measure(demo, made.test)
    assert written["fresh"]["pictures"] == 54
    assert "maps" not in written  # there is no folder of masks
    monkeypatch.setattr(embedded, "MAX_BYTES", 1000)
    with pytest.raises(va.errors.ModelError, match="the package allows 1,000"):
        embedded.embed(trained, tmp_path, tmp_path / "large.safetensors")
    assert not (tmp_path / "large.safetensors").exists()
