"""The embedded model's training: its lessons, the pruned copy of the teacher, and a run that resumes."""

from __future__ import annotations

import shutil
from copy import deepcopy
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

import vitattn_widgets as va
from vitattn_widgets.models.building import create_module
from vitattn_widgets.training import distillation, embedded, kinds, teacher
from vitattn_widgets.training.calibration import calibration_error, fit_temperature, unsure_below
from vitattn_widgets.training.folder import RunFolder
from vitattn_widgets.training.start import make_accelerator

from ..conftest import noise_photo

PLAN = distillation.Distillation(epochs=3, views_per_epoch=24, batch_size=8, whole=0.4)


@pytest.fixture(scope="module")
def random_teacher() -> va.models.AttentionModel:
    torch.manual_seed(0)
    _, module = create_module("vit_tiny_patch16_224", False, (teacher.SIZE, teacher.SIZE), num_classes=0)
    return va.load_model(module)


@pytest.fixture(scope="module")
def kept(random_teacher: va.models.AttentionModel, tmp_path_factory: pytest.TempPathFactory) -> teacher.Kept:
    """A stored view of every made picture of one per class, in the three groups."""
    made = va.load_dataset("demo", per_class=(1, 1, 1)).train
    photos = {"kinds": made.take(range(10)), "fruit": made.take(range(10, 22)), "made": made.take(range(22, 27))}
    folder = tmp_path_factory.mktemp("kept")
    crops = {"kinds": ("broad", 2), "fruit": ("crop", 1), "made": ("none", 1)}
    accelerator = make_accelerator("no", True, 8)
    return teacher.keep_lessons(photos, folder, random_teacher, accelerator, crops, seed=1)


# --- the pruned copy ---


@pytest.mark.parametrize("registers", [0, teacher.REGISTERS])
def test_the_pruned_copy_has_the_teachers_layers_and_computes_what_timm_computes(
    random_teacher: va.models.AttentionModel, registers: int
) -> None:
    student = teacher.pruned_student(random_teacher.module, 5).eval()
    theirs = random_teacher.module
    noise = torch.zeros(1, 0, 192)
    if registers:
        student = teacher.with_registers(student).eval()
        noise = student.reg_token.detach() - theirs.cls_token
        assert 0.5 < noise.std() / teacher.REGISTER_NOISE < 2
    assert noise.shape == (1, registers, 192)
    pictures = torch.randn(2, 3, teacher.SIZE, teacher.SIZE)
    tokens = theirs._pos_embed(theirs.patch_embed(pictures))
    tokens = torch.cat([tokens[:, :1], tokens[:, :1] + noise, tokens[:, 1:]], 1)
    for number in teacher.LAYERS:
        block = theirs.blocks[number]
        tokens = tokens + _attention(block.attn, block.norm1(tokens), teacher.HEADS)
        tokens = tokens + block.mlp(block.norm2(tokens))
    wanted = theirs.norm(tokens)
    torch.testing.assert_close(student.forward_features(pictures), wanted, rtol=1e-4, atol=1e-4)
    logits, ours = distillation.Student(student)(pictures)
    without = torch.cat([wanted[:, :1], wanted[:, 1 + registers :]], 1)
    torch.testing.assert_close(ours, without, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(logits, student(pictures))


def _attention(module: torch.nn.Module, tokens: torch.Tensor, heads: int) -> torch.Tensor:
    """Attention head by head, each with its own columns of queries, keys and values."""
    queries, keys, values = module.qkv(tokens).chunk(3, -1)
    width = queries.shape[-1] // heads
    parts = []
    for head in range(heads):
        columns = slice(head * width, (head + 1) * width)
        scores = queries[..., columns] @ keys[..., columns].mT / width**0.5
        parts.append(scores.softmax(-1) @ values[..., columns])
    return module.proj(torch.cat(parts, -1))


def test_given_some_patches_the_student_sees_these_alone(random_teacher: va.models.AttentionModel) -> None:
    pruned = teacher.pruned_student(random_teacher.module, 5)
    student = distillation.Student(teacher.with_registers(pruned).eval())
    pictures = torch.randn(1, 3, teacher.SIZE, teacher.SIZE)
    hidden = pictures.clone()
    hidden[..., :16, :16] = 7.0  # the first patch
    some = torch.arange(1, 40)[None]
    for one, other in zip(student(pictures, some), student(hidden, some), strict=True):
        torch.testing.assert_close(one, other)
    assert student(pictures, some)[1].shape == (1, 1 + 39, 192)
    everything = student(pictures, torch.arange(100)[None])
    for one, other in zip(everything, student(pictures), strict=True):
        torch.testing.assert_close(one, other)


# --- stored lessons ---


def test_stored_tokens_are_the_teachers_for_the_stored_views(
    kept: teacher.Kept, random_teacher: va.models.AttentionModel
) -> None:
    assert (len(kept.labels), kept.groups) == (37, ("kinds", "fruit", "made"))
    assert np.bincount(kept.group).tolist() == [20, 12, 5]
    views = np.array(kept.views())
    tensors = torch.stack([random_teacher.preprocessing.tensor(view) for view in views[[0, 25, 36]]])
    with torch.inference_mode():
        wanted = random_teacher.module.float().forward_features(tensors)
    stored = torch.from_numpy(kept.tokens()[[0, 25, 36]].astype(np.float32))
    assert F.cosine_similarity(stored, wanted, dim=-1).min() > 0.999  # the teacher works in bfloat16
    assert not np.array_equal(views[0], views[1])  # two crops of one photo
    photo = va.load_dataset("demo", per_class=(1, 1, 1)).train.load(26)
    np.testing.assert_array_equal(views[36], random_teacher.preprocessing.view(photo).pixels)


def test_mirrored_tokens_are_those_of_the_mirrored_grid() -> None:
    tokens = torch.randn(2, 1 + 9, 4)
    mirrored = distillation._mirrored(tokens, torch.tensor([True, False]))
    assert torch.equal(mirrored[1], tokens[1])
    assert torch.equal(mirrored[0, 0], tokens[0, 0])
    for row in range(3):
        for col in range(3):
            assert torch.equal(mirrored[0, 1 + 3 * row + col], tokens[0, 1 + 3 * row + 2 - col])


def test_the_teachers_classifier_finds_what_is_linear(kept: teacher.Kept) -> None:
    linear = teacher.fit_classifier(replace(kept, labels=np.arange(37) % 2), 2, penalty=1e-6)
    assert (linear(kept.class_tokens()).argmax(1).numpy() == np.arange(37) % 2).all()


# --- the run ---


def _distiller(kept: teacher.Kept, folder: Path, said: list[str]) -> distillation.Distiller:
    run = RunFolder(folder)
    run.prepare()
    answers = torch.full((37, 27), 1 / 27)
    accelerator = make_accelerator("no", True, 8)
    return distillation.Distiller(accelerator, PLAN, kept, kept, answers, run, {"run": 1}, said.append)


def test_a_stopped_run_resumes_and_ends_as_one_that_was_not(
    kept: teacher.Kept, random_teacher: va.models.AttentionModel, tmp_path: Path, one_thread: None
) -> None:
    whole = teacher.pruned_student(random_teacher.module.float(), 27)
    stopped, resumed = deepcopy(whole), deepcopy(whole)
    records = _distiller(kept, tmp_path / "whole", []).train(whole)
    assert len(records) == 3
    assert records[-1].train_loss < records[0].train_loss

    class StopError(Exception):
        pass

    def stop(line: str) -> None:
        if line.startswith("epoch 2"):
            raise StopError

    with pytest.raises(StopError):
        replace(_distiller(kept, tmp_path / "stopped", []), notify=stop).train(stopped)
    _distiller(kept, tmp_path / "stopped", said := []).train(resumed)
    assert "resumes after epoch 2 of 3" in said[0]
    for name, weight in whole.state_dict().items():
        assert torch.equal(weight, resumed.state_dict()[name]), name
    with pytest.raises(va.errors.TrainingError, match="holds another run"):
        replace(_distiller(kept, tmp_path / "stopped", []), identity={"run": 2}).train(resumed)


def test_the_learning_rate_rises_stays_and_falls_to_zero() -> None:
    plan = distillation.Distillation(epochs=10, warmup=1, decay=0.3, whole=0.2)
    rates = [plan.rate(epoch, step, 5) for epoch in range(10) for step in range(5)]
    assert rates[0] < rates[1] < rates[4]
    assert set(rates[5:36]) == {plan.learning_rate}
    assert all(one > other for one, other in pairwise(rates[35:]))
    assert rates[-1] < 0.02 * plan.learning_rate
    assert (plan.decay_from, plan.whole_from) == (7, 8)


def test_targets_of_photos_blend_the_teachers_answers_and_made_pictures_have_labels_alone(
    kept: teacher.Kept, tmp_path: Path
) -> None:
    run = _distiller(kept, tmp_path, [])
    targets = run._targets(np.array([0, 36]))
    label, classes, smooth = int(kept.labels[0]), 27, PLAN.label_smoothing
    assert targets[0, label] == pytest.approx(0.5 * (1 - smooth + smooth / classes) + 0.5 / classes)
    assert targets[1, int(kept.labels[36])] == pytest.approx(1 - smooth + smooth / classes)
    torch.testing.assert_close(targets.sum(1), torch.ones(2))


# --- photos ---


@pytest.fixture
def photo_folder(tmp_path: Path) -> Path:
    """Ten photos of every kind and fruit, the last one a copy of the first."""
    folders = [f"photos/objects/{kind.lower().replace(' ', '_').replace('-', '_')}" for kind in kinds.KINDS]
    fruit = [f"{quality}_{name}" for quality in ("Good", "Bad") for name in ("Apple", "Orange")]
    folders += [f"fruits/{name}" for name in fruit] + [f"photos/fruits_extra/{name}" for name in fruit]
    for number, folder in enumerate(folders):
        (tmp_path / folder).mkdir(parents=True)
        for photo in range(9):
            pixels = noise_photo((12, 12), seed=9 * number + photo) // 2 + 20 * (photo % 6)
            Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / folder / f"{photo}.png")
        shutil.copy(tmp_path / folder / "0.png", tmp_path / folder / "9.png")
    return tmp_path


def test_the_photos_are_split_by_source_photo_and_named_as_the_model_names_them(photo_folder: Path) -> None:
    lessons = kinds.load_lessons(photo_folder)
    assert lessons.class_names[:27] == va.load_dataset("demo").class_names
    assert len(set(lessons.class_names)) == len(lessons.class_names) == 51
    places = {}
    for split, groups in lessons.splits.items():
        assert tuple(groups) == kinds.GROUPS
        for name, label in zip(groups["kinds"].names, groups["kinds"].labels, strict=True):
            folder = name.split("/")[2].replace("_", " ")
            assert lessons.class_names[label].lower().replace("-", " ") == folder
            places[name] = split
        assert {lessons.class_names[label] for label in groups["fruit"].labels} <= {
            "good apple", "bad apple", "good orange", "bad orange"
        }  # fmt: skip
    assert len(places) == 250
    for name, split in places.items():
        if name.endswith("/9.png"):
            assert split == places[name.replace("9.png", "0.png")]


def test_what_is_missing_or_unknown_in_the_folder_is_named(photo_folder: Path) -> None:
    (photo_folder / "photos/objects/unicorn").mkdir()
    kinds.load_lessons(photo_folder)  # an empty folder is none
    shutil.copy(photo_folder / "photos/objects/cat/0.png", photo_folder / "photos/objects/unicorn/0.png")
    with pytest.raises(va.errors.DataError, match="unicorn: no class of the embedded model"):
        kinds.load_lessons(photo_folder)
    shutil.rmtree(photo_folder / "photos/objects/unicorn")
    shutil.rmtree(photo_folder / "fruits")
    with pytest.raises(va.errors.DataError, match="fruits"):
        kinds.load_lessons(photo_folder)


def test_without_the_teachers_weights_the_command_says_so_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(teacher, "TEACHER", "vit_small_patch16_224.augreg_in21k_ft_in1k")
    assert embedded.main([str(tmp_path), "-o", str(tmp_path / "run")]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("error: the weights of vit_small_patch16_224")


# --- calibration ---


def test_the_temperature_undoes_a_scale_of_the_logits() -> None:
    torch.manual_seed(0)
    logits = 2 * torch.randn(4000, 6)
    labels = torch.distributions.Categorical(logits=logits).sample()
    assert fit_temperature(logits, labels) == pytest.approx(1, abs=0.08)
    assert fit_temperature(3 * logits, labels) == pytest.approx(3, abs=0.25)


def test_the_calibration_error_is_the_mean_gap_of_the_bins() -> None:
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet(np.full(4, 0.4), 300)
    labels = rng.integers(0, 4, 300)
    expected = 0.0
    for low in range(15):
        inside = [row for row in range(300) if low <= 15 * probabilities[row].max() < low + 1 + 1e-9 * (low == 14)]
        if inside:
            right = np.mean([probabilities[row].argmax() == labels[row] for row in inside])
            expected += len(inside) / 300 * abs(right - np.mean([probabilities[row].max() for row in inside]))
    assert calibration_error(probabilities, labels) == pytest.approx(expected)
    assert calibration_error(np.eye(4), np.arange(4)) == 0
    assert calibration_error(np.eye(4), np.array([1, 0, 3, 2])) == 1


def test_a_share_of_the_right_answers_is_called_unsure() -> None:
    logits = np.stack([np.linspace(1, 5, 50), np.zeros(50)], 1).astype(np.float32)
    labels = np.zeros(50, int)
    scores = np.log(np.exp(logits.astype(float)).sum(1))
    assert unsure_below(logits, labels, 0.1) == pytest.approx(np.quantile(scores, 0.1), abs=0.006)
    labels[:25] = 1  # wrong answers do not count
    assert unsure_below(logits, labels, 0.0) == pytest.approx(scores[25], abs=0.006)
