"""A run from its recipe to its checkpoints, numbers and figures; and every way in which it cannot start."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import load_file

import vitattn_widgets as va
from vitattn_widgets import cli
from vitattn_widgets.models.checkpoints import read_card
from vitattn_widgets.training import folder as folder_module, loop as loop_module, run as run_module
from vitattn_widgets.training.folder import RunFolder
from vitattn_widgets.training.photos import PhotoTensors
from vitattn_widgets.training.report import draw_recall

from . import lab as training_lab

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> va.training.FinetuneResult:
    return training_lab.run(tmp_path_factory.mktemp("run"), epochs=3, learning_rate=1e-3)


def test_a_run_learns_and_leaves_its_files(finished: va.training.FinetuneResult) -> None:
    losses = [record.train_loss for record in finished.history]
    assert losses == sorted(losses, reverse=True)
    assert finished.history[-1].validation_accuracy > 0.8
    names = {path.name for path in finished.best.parent.iterdir()} - {".lock"}
    assert names == {
        *("best.safetensors", "best.json", "last.safetensors", "last.json", "metrics.json"),
        *("curves.png", "confusion.png", "recall.png"),
    }


def test_what_is_counted_is_what_a_capture_of_each_test_photo_says(finished: va.training.FinetuneResult) -> None:
    model = va.load_model(checkpoint=finished.best, model=None, device="cpu")
    photos = training_lab.colours().test
    counts = np.zeros((3, 3), int)
    losses = []
    for index, label in enumerate(photos.labels):
        probabilities = va.capture_attention(model, photos.load(index)).probabilities
        counts[label, probabilities.argmax()] += 1
        losses.append(-np.log(probabilities[label]))
    np.testing.assert_array_equal(finished.confusion, counts)
    assert finished.test_accuracy == counts.trace() / 7
    assert finished.test_loss == pytest.approx(np.mean(losses), rel=1e-4)
    np.testing.assert_allclose(finished.recall, counts.diagonal() / [2, 2, 3])
    assert model.class_names == tuple(training_lab.COLOURS)


def test_the_card_says_what_made_the_checkpoint(finished: va.training.FinetuneResult) -> None:
    card = json.loads(finished.best.with_suffix(".json").read_text())
    assert card["class_names"] == ["red", "green", "blue"]
    assert card["architecture"] == "vit_tiny_patch16_224"  # without the tag of weights that were not used
    assert card["base"] == {"model": "vit_tiny_patch16_224", "weights": "random", "checkpoint_sha256": None}
    config = timm.get_pretrained_cfg("vit_tiny_patch16_224").to_dict()
    assert card["preprocessing"] == {
        "interpolation": config["interpolation"],
        "crop_pct": config["crop_pct"],
        "crop_mode": "center",
        "mean": list(config["mean"]),
        "std": list(config["std"]),
    }
    assert card["data"]["stand_in"] is True
    assert card["data"]["fingerprint"] == training_lab.colours().fingerprint
    assert card["data"]["photos"] == {"train": 42, "validation": 9, "test": 7}
    assert card["recipe"]["changed"] == ["epochs", "learning_rate"]
    assert card["recipe"]["learning_rate"] == 1e-3
    assert card["versions"]["timm"] == timm.__version__
    assert card["test"] == {"photos": 7, "loss": finished.test_loss, "accuracy": finished.test_accuracy}
    best = folder_module.best_epoch(finished.history)
    assert card["metrics"]["epoch"] == best.epoch
    assert card["metrics"]["validation_accuracy"] == best.validation_accuracy


def test_a_checkpoint_without_its_card_still_knows_its_model_and_classes(
    finished: va.training.FinetuneResult, tmp_path: Path
) -> None:
    alone = tmp_path / "alone.safetensors"
    shutil.copy(finished.best, alone)
    assert read_card(alone) == read_card(finished.best)
    assert va.load_model(None, checkpoint=alone).class_names == ("red", "green", "blue")


def test_a_card_can_give_a_model_another_mean_than_its_own(
    finished: va.training.FinetuneResult, tmp_path: Path
) -> None:
    shutil.copy(finished.best, tmp_path / "other.safetensors")
    card = json.loads(finished.best.with_suffix(".json").read_text())
    card["preprocessing"] |= {"mean": [0.1, 0.2, 0.3], "crop_pct": 1.0}
    (tmp_path / "other.json").write_text(json.dumps(card))
    view = va.load_model(None, checkpoint=tmp_path / "other.safetensors").preprocessing
    assert (view.mean, view.crop_pct, view.std) == ((0.1, 0.2, 0.3), 1.0, (0.5, 0.5, 0.5))


def test_the_numbers_are_in_a_file_and_the_figures_show_them(finished: va.training.FinetuneResult) -> None:
    numbers = json.loads((finished.best.parent / "metrics.json").read_text())
    assert numbers["confusion"] == finished.confusion.tolist()
    assert numbers["recall"] == finished.recall.tolist()
    assert numbers["stand_in"] is True
    assert [record["epoch"] for record in numbers["history"]] == [1, 2, 3]
    for name in ("curves", "confusion", "recall"):
        pixels = np.asarray(Image.open(finished.best.parent / f"{name}.png").convert("L"))
        assert pixels.min() < 60 < 250 < pixels.max()
    figure = draw_recall(finished)
    assert "STAND-IN" in figure.get_suptitle()
    assert [bar.get_width() for bar in figure.axes[0].patches] == finished.recall.tolist()


def test_stand_ins_are_called_so_in_words(finished: va.training.FinetuneResult) -> None:
    assert finished.stand_in
    assert finished.describe().startswith("Colours, STAND-IN: pictures drawn by code; recipe: small (changed)\n")
    assert f"test accuracy {finished.test_accuracy:.3f} on 7 photos" in finished.describe()


def test_a_class_without_test_photos_has_no_recall(tmp_path: Path) -> None:
    data = training_lab.colours(test=(0, 1, 1))
    result = va.finetune(data, training_lab.recipe(epochs=1), tmp_path, workers=0, cpu=True, progress=False)
    assert np.isnan(result.recall).tolist() == [False, False, True]
    assert "blue   no test photos" in result.describe()
    assert json.loads((tmp_path / "metrics.json").read_text())["recall"][2] is None
    again = va.finetune(data, training_lab.recipe(epochs=1), tmp_path, cpu=True, progress=False)
    assert np.isnan(again.recall[2])


def test_photos_of_one_seed_give_one_result_whatever_loads_them(tmp_path: Path) -> None:
    one = training_lab.run(tmp_path / "one", epochs=2)
    data, recipe = training_lab.colours(), training_lab.recipe(epochs=2)
    torch.manual_seed(99)  # a user's own chance does not enter
    two = va.finetune(data, recipe, tmp_path / "two", workers=2, cpu=True, progress=False)
    require_same_weights(one, two)
    other = training_lab.run(tmp_path / "other", epochs=2, seed=1)
    assert not torch.equal(load_file(one.last)["head.weight"], load_file(other.last)["head.weight"])


def require_same_weights(one: va.training.FinetuneResult, two: va.training.FinetuneResult) -> None:
    for a, b in ((one.last, two.last), (one.best, two.best)):
        first, second = load_file(a), load_file(b)
        assert first.keys() == second.keys()
        for name in first:
            assert torch.equal(first[name], second[name]), name


def test_each_epoch_has_an_order_of_its_own_and_validation_and_test_have_theirs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, list] = {"train": [], "validation": [], "test": []}
    real = PhotoTensors.__getitem__

    def watched(self: PhotoTensors, key: tuple[int, int]) -> object:
        asked[self.photos.split].append((*key, self.augmentation))
        return real(self, key)

    monkeypatch.setattr(PhotoTensors, "__getitem__", watched)
    training_lab.run(tmp_path, epochs=3)
    assert [epoch for epoch, _, _ in asked["train"]] == [0] * 40 + [1] * 40 + [2] * 40  # of 42, five batches of eight
    orders = [tuple(index for epoch, index, _ in asked["train"] if epoch == number) for number in range(3)]
    assert len(set(orders)) == 3
    assert all(len(set(order)) == 40 for order in orders)
    assert asked["validation"] == 3 * [(0, index, "none") for index in range(9)]
    assert asked["test"] == [(0, index, "none") for index in range(7)]


def test_the_best_checkpoint_is_that_of_the_best_epoch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = training_lab.run(tmp_path / "one", epochs=1)
    real, epochs = run_module.predict, []

    def worse_and_worse(*arguments: object) -> loop_module.Predictions:
        predictions = real(*arguments)
        epochs.append(len(epochs))
        right = 9 - 2 * len(epochs)
        return loop_module.Predictions(np.zeros(9, int), (np.arange(9) >= right).astype(int), predictions.loss)

    monkeypatch.setattr(run_module, "predict", worse_and_worse)
    three = training_lab.run(tmp_path / "three", epochs=3)
    best, last, first = (load_file(path) for path in (three.best, three.last, one.last))
    assert all(torch.equal(best[name], first[name]) for name in first)
    assert not torch.equal(last["head.weight"], first["head.weight"])
    cards = [json.loads(path.with_suffix(".json").read_text()) for path in (three.best, three.last)]
    assert [card["metrics"]["epoch"] for card in cards] == [1, 3]
    assert "test" in cards[0]
    assert "test" not in cards[1]


def test_the_users_chance_is_left_alone(tmp_path: Path) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    training_lab.run(tmp_path, epochs=1)
    assert torch.equal(torch.rand(3), expected)


def test_a_further_layer_alone_leaves_the_model_under_it_as_it_was(tmp_path: Path) -> None:
    result = training_lab.run(tmp_path, head="further", trained="head", epochs=2, learning_rate=0.01)
    weights = load_file(result.best)
    assert weights["head.weight"].shape == (3, 48)
    fresh = va.load_model(None, checkpoint=result.best, device="cpu").module
    start = _start(head="further")
    for name, tensor in start.items():
        if not name.startswith("head."):
            assert torch.equal(weights[name], tensor), name
    assert fresh.num_classes == 3


def _start(**changes: object) -> dict[str, torch.Tensor]:
    from vitattn_widgets.training.start import start_model

    return start_model(training_lab.colours(), training_lab.recipe(**changes), None).module.state_dict()


def test_mixed_precision_trains_and_the_checkpoint_stays_float32(tmp_path: Path) -> None:
    data, recipe = training_lab.colours(), training_lab.recipe(epochs=2)
    options = {"workers": 0, "cpu": True, "progress": False}
    result = va.finetune(data, recipe, tmp_path / "bf16", mixed_precision="bf16", **options)
    assert {tensor.dtype for tensor in load_file(result.best).values()} == {torch.float32}
    assert result.history[-1].train_loss < result.history[0].train_loss
    assert json.loads((tmp_path / "bf16/best.json").read_text())["mixed_precision"] == "bf16"
    plain = va.finetune(data, recipe, tmp_path / "no", mixed_precision="no", **options)
    assert plain.history[0].train_loss != result.history[0].train_loss
    assert plain.history[0].train_loss == pytest.approx(result.history[0].train_loss, rel=0.1)
    with pytest.raises(va.errors.TrainingError, match="mixed precision 'fp8' does not exist; possible: no, bf16, fp16"):
        va.finetune(data, recipe, tmp_path / "fp8", mixed_precision="fp8", **options)
    with pytest.raises(va.errors.TrainingError, match="mixed precision 'fp16' needs a GPU; on a CPU, choose 'bf16'"):
        va.finetune(data, recipe, tmp_path / "fp16", mixed_precision="fp16", **options)
    assert not (tmp_path / "fp8").exists()
    assert not (tmp_path / "fp16").exists()


@pytest.mark.parametrize(("precision", "fused"), [("bf16", False), ("no", True)])
def test_only_bfloat16_on_a_cpu_trains_without_the_fused_kernel(
    precision: str, fused: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[set[bool]] = []
    steps = loop_module.F.cross_entropy

    def watched(logits: torch.Tensor, *arguments: object, **named: object) -> torch.Tensor:
        seen.append({block.attn.fused_attn for block in module.blocks})
        return steps(logits, *arguments, **named)

    def started(*arguments: object, **named: object) -> va.models.AttentionModel:
        nonlocal module
        model = start(*arguments, **named)
        module = model.module
        return model

    module, start = None, run_module.start_model
    monkeypatch.setattr(run_module, "start_model", started)
    monkeypatch.setattr(loop_module.F, "cross_entropy", watched)
    va.finetune(
        training_lab.colours(),
        training_lab.recipe(epochs=1),
        tmp_path,
        mixed_precision=precision,
        workers=0,
        cpu=True,
        progress=False,
    )
    assert seen[0] == {fused}
    assert {block.attn.fused_attn for block in module.blocks} == {True}


def test_a_loss_that_is_not_a_number_stops_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop_module.F, "cross_entropy", lambda *a, **k: a[0].sum() * float("nan"))
    with pytest.raises(va.errors.TrainingError, match="the loss became nan in epoch 1; lower the learning rate"):
        training_lab.run(tmp_path)


@pytest.mark.parametrize(
    ("data", "changes", "message"),
    [
        ({"class_names": ["red"], "train": [0] * 9}, {}, r"has 1 class \(red\); training needs two or more"),
        ({"train": [0, 1] * 8}, {}, "no training photos of blue"),
        ({"validation": []}, {}, "has no validation photos"),
        ({"test": []}, {}, "has no test photos"),
        ({}, {"batch_size": 64}, "42 training photos, fewer than one batch of 64"),
        ({}, {"photos_per_class": 2}, "6 training photos, fewer than one batch of 8"),
        ({}, {"head": "keep"}, "head 'keep' keeps the classifier of a checkpoint"),
    ],
)
def test_data_that_cannot_be_learned_are_reported(tmp_path: Path, data: dict, changes: dict, message: str) -> None:
    with pytest.raises(va.errors.TrainingError, match=message):
        va.finetune(training_lab.colours(**data), training_lab.recipe(**changes), tmp_path / "run", cpu=True)
    assert not (tmp_path / "run").exists()


def test_a_model_without_attention_to_read_is_reported(tmp_path: Path) -> None:
    for name, message in (("resnet18", "no attention map"), ("vit_tiny", "timm has no model 'vit_tiny'")):
        with pytest.raises(va.errors.ModelError, match=message):
            training_lab.run(tmp_path / name, model=name, model_args={})
    with pytest.raises(va.errors.ModelError, match="cannot be built with"):
        training_lab.run(tmp_path / "args", model_args={"depht": 3})


def test_training_starts_from_a_checkpoint_of_the_same_classes(
    finished: va.training.FinetuneResult, tmp_path: Path
) -> None:
    data, options = training_lab.colours(), {"workers": 0, "cpu": True, "progress": False}
    recipe = training_lab.recipe(epochs=1, learning_rate=1e-9)
    result = va.finetune(data, recipe, tmp_path / "on", checkpoint=finished.best, **options)
    before, after = load_file(finished.best), load_file(result.best)
    torch.testing.assert_close(after, before, atol=1e-6, rtol=1e-4)
    card = json.loads((tmp_path / "on/best.json").read_text())
    assert card["base"]["weights"] == "checkpoint"
    assert card["base"]["model"].startswith("vit_tiny_patch16_224")
    assert len(card["base"]["checkpoint_sha256"]) == 64
    assert card["recipe"]["head"] == "keep"


def test_a_checkpoint_of_another_number_of_classes_is_reported(
    finished: va.training.FinetuneResult, tmp_path: Path
) -> None:
    names = ("red", "green", "blue", "grey")
    data = training_lab.colours((0, 1, 2, 3) * 4, (0, 1, 2, 3), (0, 1, 2, 3), names)
    options = {"workers": 0, "cpu": True, "progress": False, "checkpoint": finished.best, "epochs": 1}
    recipe = training_lab.recipe()
    with pytest.raises(va.errors.TrainingError, match="has 3 classes, the data have 4; use head 'new'"):
        va.finetune(data, recipe, tmp_path / "keep", **options)
    for head in ("new", "further"):
        result = va.finetune(data, recipe, tmp_path / head, head=head, **options)
        assert load_file(result.best)["head.weight"].shape == (4, 48)
    with pytest.raises(va.errors.WeightsError, match="no such checkpoint file"):
        va.finetune(data, recipe, tmp_path / "none", **(options | {"checkpoint": tmp_path / "no.safetensors"}))


@pytest.mark.parametrize("workers", [0, 1])
def test_a_photo_that_is_gone_is_one_line(workers: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def load(self: object, index: int) -> Image.Image:
        return va.load_picture(tmp_path / "gone.jpg")

    monkeypatch.setattr(training_lab.ColourPhotos, "load", load)
    with pytest.raises(
        va.errors.TrainingError, match=r"^a photo could not be loaded: /\S*gone.jpg: no such file; start the run again"
    ):
        va.finetune(training_lab.colours(), training_lab.recipe(), tmp_path, workers=workers, cpu=True, progress=False)


def test_a_disk_without_room_is_reported_before_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil._ntuple_diskusage(10**9, 10**9 - 2 * 10**6, 2 * 10**6)
    monkeypatch.setattr(folder_module.shutil, "disk_usage", lambda path: usage)
    with pytest.raises(va.errors.TrainingError, match=r"need 1\d MB, the disk has 2 MB free; make room"):
        training_lab.run(tmp_path)
    assert not list(tmp_path.glob("*.safetensors"))


def test_a_folder_that_cannot_be_written_to_is_reported_before_training(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(va.errors.TrainingError, match="the folder cannot be created"):
        training_lab.run(tmp_path / "file" / "run")
    with pytest.raises(
        va.errors.TrainingError, match=r"/proc/1/fd: (cannot be written to|the folder cannot be created)"
    ):
        RunFolder(Path("/proc/1/fd")).prepare()


def test_the_room_that_is_asked_for_is_what_a_run_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked, taken = [], []
    monkeypatch.setattr(RunFolder, "require_room", lambda self, *sizes: asked.append(sizes))
    real = folder_module.write_file

    def measured(path: Path, content: bytes) -> None:
        taken.append(len(content))
        real(path, content)

    monkeypatch.setattr(folder_module, "write_file", measured)
    result = training_lab.run(tmp_path, epochs=2)
    ((weights, optimizer),) = asked
    assert result.best.stat().st_size == pytest.approx(weights, rel=0.2)
    assert max(taken) == pytest.approx(weights + optimizer, rel=0.2)


def test_the_command_line_trains_with_its_options(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from vitattn_widgets.datasets import loading

    asked = []

    def load(name: str, data: Path | None, seed: int, stand_in: bool | None, **_: object) -> object:
        asked.append((name, data, seed, stand_in))
        return training_lab.colours()

    monkeypatch.setattr(loading, "load_dataset", load)
    out = tmp_path / "run"
    options = [
        "--model",
        "test_vit",
        "--no-pretrained",
        "--epochs",
        "1",
        "--batch-size",
        "6",
        "--cpu",
        "--workers",
        "0",
    ]
    options += ["--learning-rate", "0.002", "--augmentation", "none", "--seed", "3", "--photos-per-class", "4"]
    assert cli.main(["finetune", "fruitsgb", "--data", "there", "-o", str(out), *options]) == 0
    assert asked == [("fruitsgb", Path("there"), 0, None)]
    card = json.loads((out / "best.json").read_text())
    changed = {name: card["recipe"][name] for name in card["recipe"]["changed"]}
    assert changed == {
        "augmentation": "none",
        "batch_size": 6,
        "epochs": 1,
        "learning_rate": 0.002,
        "model": "test_vit",
        "photos_per_class": 4,
        "pretrained": False,
        "seed": 3,
    }
    assert card["recipe"]["name"] == "paper"
    captured = capsys.readouterr()
    assert "STAND-IN" in captured.out
    assert "test accuracy" in captured.out
    assert "epoch 1 of 1" in captured.err

    assert cli.main(["finetune", "fruitsgb", "--data", "there", "-o", str(out), *options]) == 0
    assert "this run is finished; nothing was trained" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["fruitsgb", "--recipe", "mine"], "no recipe 'mine' for fruitsgb; possible: paper, recommended"),
        (["pets"], "no recipe for the data set 'pets'"),
        (["demo", "--epochs", "0"], "epochs must be a whole number"),  # demo has a default recipe too
        (["fruitsgb", "--stand-in", "--epochs", "0"], "epochs must be a whole number"),
        (["fruitsgb", "--stand-in", "--model", "resnet18", "-o", "OUT"], "has no attention map"),
        (["fruitsgb", "--data", "nowhere"], "nowhere"),
    ],
)
def test_a_mistake_on_the_command_line_is_one_line_and_status_2(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [str(tmp_path / "run") if argument == "OUT" else argument for argument in arguments]
    assert cli.main(["finetune", *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.startswith("vitattn: error: ")
    assert error.count("\n") == 1


def test_help_names_recipes_and_how_to_resume(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["finetune", "--help"])
    text = " ".join(capsys.readouterr().out.split())
    for words in ("paper", "recommended", "resumes after its last finished epoch", "accelerate launch", "--batch-size"):
        assert words in text
