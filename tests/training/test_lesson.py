"""The model of a lesson: which one it is on which machine, and the line that says so."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import vitattn_widgets as va
from vitattn_widgets.datasets.photos import Dataset
from vitattn_widgets.training import lesson as lesson_module

from . import lab as training_lab


class Teacher:
    """Stands in for the network and the training: notes what was trained, and lends the small ViT of the lab."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, trained: va.training.FinetuneResult, weights: bool) -> None:
        self.said: list[str] = []
        self.runs: list[dict] = []
        self.trained = trained
        self.start = va.load_model(None, checkpoint=trained.last)
        if not weights:
            self.start = replace(self.start, note="This is the embedded model, because the weights are not here.")
        monkeypatch.setattr(lesson_module, "load_model", self.load)
        monkeypatch.setattr(lesson_module, "finetune", self.finetune)

    def load(self, model: str | None, checkpoint: Path | None = None) -> va.models.AttentionModel:
        return self.start if checkpoint is None else va.load_model(model, checkpoint=checkpoint)

    def finetune(self, data: Dataset, recipe: str, out: Path, **changes: object) -> va.training.FinetuneResult:
        self.runs.append({"recipe": recipe, "out": out, **changes})
        return self.trained

    def lesson(self, data: Dataset, **arguments: object) -> va.models.AttentionModel:
        return va.lesson_model(data, model="a model", notify=self.said.append, **arguments)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> va.training.FinetuneResult:
    return training_lab.run(tmp_path_factory.mktemp("run"), epochs=1)


@pytest.fixture
def teacher(monkeypatch: pytest.MonkeyPatch, trained: va.training.FinetuneResult) -> Teacher:
    return Teacher(monkeypatch, trained, weights=True)


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch, trained: va.training.FinetuneResult) -> Teacher:
    return Teacher(monkeypatch, trained, weights=False)


def test_a_checkpoint_of_these_classes_comes_first(teacher: Teacher, trained: va.training.FinetuneResult) -> None:
    model = teacher.lesson(training_lab.colours(), checkpoint=trained.best)
    assert model.loaded_with["checkpoint"] == str(trained.best)
    assert teacher.said == [f"Model: the checkpoint {trained.best}."]
    assert teacher.runs == []


def test_a_checkpoint_of_other_classes_is_reported(teacher: Teacher, trained: va.training.FinetuneResult) -> None:
    data = training_lab.colours(class_names=("cyan", "pink", "lime"))
    with pytest.raises(
        va.errors.ModelError, match=r"has 3 classes \(red, green, blue\), the data have 3 classes \(cyan"
    ):
        teacher.lesson(data, checkpoint=trained.best)


def test_without_one_the_published_model_is_fine_tuned_as_asked(teacher: Teacher, tmp_path: Path) -> None:
    model = teacher.lesson(
        training_lab.colours(), checkpoint=tmp_path / "none", epochs=7, photos_per_class=3, seed=5, runs=tmp_path
    )
    (run,) = teacher.runs
    asked = {"recipe": "recommended", "model": "a model", "epochs": 7, "photos_per_class": 3, "seed": 5}
    assert run | asked == run
    assert run["batch_size"] == 9  # three photos of each of three classes: fewer than a quick batch
    assert run["out"].parent == tmp_path
    assert "checkpoint" not in run
    assert model.loaded_with["checkpoint"] == str(teacher.trained.best)
    accuracy = f"test accuracy {teacher.trained.test_accuracy:.0%} on 7 photos"
    assert "7 epochs, at most 3 photos per class" in teacher.said[0]
    assert accuracy in teacher.said[0]


def test_every_change_has_a_folder_of_its_own_and_the_same_again_has_the_same(teacher: Teacher) -> None:
    data = training_lab.colours()
    other = replace(data, fingerprint="other photos")
    for photos, arguments in ((data, {}), (data, {}), (other, {}), (data, {"epochs": 3}), (data, {"recipe": "paper"})):
        teacher.lesson(photos, **arguments)
    folders = [run["out"] for run in teacher.runs]
    assert folders[0] == folders[1]
    assert len(set(folders)) == 4


@pytest.mark.parametrize("empty", [{"train": (0, 1)}, {"validation": ()}, {"test": ()}])
def test_too_few_photos_leave_the_published_model_as_it_is(teacher: Teacher, empty: dict) -> None:
    assert teacher.lesson(training_lab.colours(**empty)) is teacher.start
    assert "as published; these data have too few photos" in teacher.said[0]
    assert teacher.runs == []


def test_without_weights_the_embedded_model_takes_stand_ins_as_it_is(offline: Teacher) -> None:
    assert offline.lesson(training_lab.colours()) is offline.start
    assert offline.said == [f"Model: {offline.start.note}"]
    assert offline.runs == []


@pytest.mark.parametrize(
    ("data", "recipe", "head"), [("imagenet", "paper", "further"), ("cassava", "recommended", "new")]
)
def test_without_weights_the_embedded_model_learns_real_photos(
    offline: Teacher, data: str, recipe: str, head: str
) -> None:
    colours = training_lab.colours(stand_in=False)
    offline.lesson(replace(colours, info=replace(colours.info, name=data)), recipe=recipe)
    (run,) = offline.runs
    assert (run["checkpoint"], run["head"], run["model"]) == (str(lesson_module.DEMO_CHECKPOINT), head, None)
    assert [line.partition(":")[0] for line in offline.said] == ["Model", "Model"]


def test_a_quick_fine_tuning_is_reused_the_next_time(
    shared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = va.load_dataset("cassava", stand_in=True, per_class=(2, 1, 1))
    settings = SimpleNamespace(epochs=1, photos_per_class=2, runs=tmp_path)
    first, second = (va.lesson_model(data, **vars(settings)) for _ in range(2))
    assert "this run is finished" in capsys.readouterr().out
    photo = data.test.load(0)
    answers = [va.capture_attention(model, photo).probabilities for model in (first, second)]
    np.testing.assert_array_equal(*answers)
    assert first.class_names == data.class_names
