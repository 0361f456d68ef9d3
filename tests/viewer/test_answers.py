"""Where the answer comes about: what capsules say of it, against the model's own numbers."""

from __future__ import annotations

import gzip
import json

import numpy as np
import pytest
import safetensors.numpy
from safetensors import safe_open

import vitattn_widgets as va
from vitattn_widgets.capture import LayerAnswers, capture_head_contributions, capture_layer_answers
from vitattn_widgets.evaluation.interventions import silence_every_head, silencing_passes
from vitattn_widgets.viewer import answers as answers_module, file_capsule
from vitattn_widgets.viewer.answers import FOLLOWED, answers_sentence, followed_classes
from vitattn_widgets.viewer.capsule import make_capsule
from vitattn_widgets.viewer.file_capsule import make_file_capsule
from vitattn_widgets.viewer.requests import answer

from .. import model_zoo, stage_zoo
from ..conftest import noise_photo

NAMES = ("cat", "cup", "dog")


def read(content: bytes, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict, dict[str, np.ndarray]]:
    path = tmp_path_factory.mktemp("capsule") / "capsule.safetensors"
    path.write_bytes(content)
    with safe_open(path, framework="numpy") as capsule:
        facts = json.loads(capsule.metadata()["vitattn"])
    return facts, safetensors.numpy.load(content)


def loaded(family: str) -> tuple[va.models.AttentionModel, va.capture.AttentionCapture]:
    model = va.load_model(model_zoo.build(family), img_size=model_zoo.SQUARE)
    return model, va.capture_attention(model, noise_photo((40, 40)))


def known(*rows: list[float] | None) -> LayerAnswers:
    probabilities = np.array([[np.nan] * 3 if row is None else row for row in rows], np.float32)
    return LayerAnswers(probabilities, sum(row is None for row in rows))


LATE = "As soon as there is something to read, from layer 2 on, the classifier would say cat."
CAT, CUP, DOG = [0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.1, 0.1, 0.8]


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        ([CAT, CAT, CAT], "From the first layer on, the classifier would say cat."),
        ([CUP, DOG, CAT, CAT], "From layer 2 on, the classifier would say cat; after layer 1, dog."),
        ([CAT, CUP, DOG], "Only after the last layer, the classifier says dog; one layer earlier it would say cup."),
        ([None, None, CAT, CAT], LATE),
        ([None, CUP, CAT, CAT], "From layer 2 on, the classifier would say cat; after layer 1, cup."),
        ([None, None, CAT], LATE),
    ],
)
def test_the_sentence_says_from_which_layer_on_the_answer_stays(rows: list[list[float] | None], sentence: str) -> None:
    assert answers_sentence(known(*rows), NAMES) == sentence


def test_the_answer_and_the_classes_with_the_highest_peaks_are_followed() -> None:
    answers = LayerAnswers(np.array([[0.5, 0.1, 0.3, 0.05, 0.05], [0.0, 0.1, 0.2, 0.6, 0.1]], np.float32), 0)
    assert followed_classes(answers, 3) == [3, 0, 2]
    assert followed_classes(answers, 1) == [3]
    assert followed_classes(answers, 9) == [3, 0, 2, 1, 4]


@pytest.mark.parametrize("family", ["vit", "vit_attention_pool", "cait", "distilled"])
def test_the_capsule_holds_the_answers_after_every_layer(family: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    model, capture = loaded(family)
    answers = capture_layer_answers(model, capture).answers
    assert answers is not None
    facts, tensors = read(make_capsule(model, capture), tmp_path_factory)
    assert facts["answers"]["unavailable"] == facts["answers"]["no_direct"] == ""
    assert facts["answers"]["first"] == answers.first
    assert facts["answers"]["leaders"] == answers.leaders.tolist()
    assert facts["answers"]["classes"] == followed_classes(answers)
    assert facts["answers"]["classes"][0] == int(capture.probabilities.argmax())
    assert facts["answers"]["sentence"] == answers_sentence(answers, capture.class_names)
    held = {name for name in tensors if name.startswith(("answers/", "heads/"))}
    assert held == {f"answers/{target}" for target in followed_classes(answers)}
    for target in followed_classes(answers):
        np.testing.assert_array_equal(tensors[f"answers/{target}"], answers.probabilities[:, target])


def test_the_answers_take_a_kilobyte(wide_model: va.models.AttentionModel) -> None:
    capture = va.capture_attention(wide_model, noise_photo((80, 150)), answers=True)
    content = make_capsule(wide_model, capture)
    tensors = safetensors.numpy.load(content)
    names = [name for name in tensors if name.startswith("answers/")]
    assert len(names) == FOLLOWED
    without = safetensors.numpy.save({name: tensor for name, tensor in tensors.items() if name not in names})
    assert len(safetensors.numpy.save(tensors)) - len(without) < 1000


@pytest.mark.parametrize("family", ["qwen3_encoder"])
def test_a_model_without_a_classifier_says_so(family: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    model, capture = loaded(family)
    facts, tensors = read(make_capsule(model, capture), tmp_path_factory)
    assert facts["answers"]["unavailable"] == "this model has no classifier"
    assert not any(name.startswith("answers/") for name in tensors)
    for need in ("answers", "direct", "silenced"):
        with pytest.raises(va.errors.SettingsError, match="has no classifier"):
            answer(model, capture, {"need": need, "target": 0})


@pytest.mark.parametrize("target", [None, 0, 4])
def test_requests_give_the_numbers_of_a_class(target: int | None) -> None:
    model, capture = loaded("vit")
    number = int(capture.probabilities.argmax()) if target is None else target
    answers = capture_layer_answers(model, capture).answers
    assert answers is not None
    answered = answer(model, capture, {"need": "answers", "target": target})
    np.testing.assert_array_equal(
        safetensors.numpy.load(answered.content)[f"answers/{number}"], answers.probabilities[:, number]
    )
    assert answered.capture.answers is not None
    direct = safetensors.numpy.load(answer(model, capture, {"need": "direct", "target": target}).content)
    parts = capture_head_contributions(model, capture, target)
    np.testing.assert_allclose(direct[f"heads/{number}/direct"], np.stack(parts.heads), rtol=1e-5)
    np.testing.assert_allclose(direct[f"heads/{number}/mlps"], parts.mlps, rtol=1e-5)
    np.testing.assert_allclose(direct[f"heads/{number}/sums"], [parts.start, parts.biases, parts.logit], rtol=1e-5)
    silenced = safetensors.numpy.load(answer(model, capture, {"need": "silenced", "target": target}).content)
    lost = silence_every_head(model, capture, target)
    np.testing.assert_allclose(silenced[f"heads/{number}/silenced"], np.stack(lost), rtol=1e-5)


def test_too_many_heads_are_refused_with_the_reason(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, capture = loaded("vit")
    assert silencing_passes(capture) == pytest.approx(3 * (3 + 2 + 1) / 3)
    monkeypatch.setattr(answers_module, "MOST_PASSES", 5.9)
    reason = "silencing each of the 9 heads of VisionTransformer takes about 6 forward passes"
    with pytest.raises(va.errors.ModelError, match=reason):
        answer(model, capture, {"need": "silenced", "target": 1})
    for content in (make_capsule(model, capture), gzip.decompress(make_file_capsule(model, capture, room=10_000_000))):
        facts, tensors = read(content, tmp_path_factory)
        assert facts["answers"]["no_silenced"].startswith(reason)
        assert not any(name.endswith("/silenced") for name in tensors)


def test_layers_with_fewer_heads_are_filled_up_with_nan() -> None:
    module = model_zoo.build("vit_attention_pool")
    pool = module.attn_pool
    pool.num_heads, pool.head_dim, pool.scale = 2, 24, 24**-0.5
    model = va.load_model(module, img_size=model_zoo.SQUARE)
    capture = va.capture_attention(model, noise_photo((40, 40)))
    content = answer(model, capture, {"need": "silenced", "target": 1}).content
    table = safetensors.numpy.load(content)["heads/1/silenced"]
    assert table.shape == (4, 3)
    assert np.isnan(table).tolist() == [[False] * 3] * 3 + [[False, False, True]]


def test_a_request_for_direct_parts_is_refused_where_there_are_none() -> None:
    model, capture = loaded("vit_attention_pool")
    with pytest.raises(va.errors.ModelError, match="reads an attention pool"):
        answer(model, capture, {"need": "direct", "target": 1})


@pytest.mark.parametrize("target", [9, "cat", 1.5, True, [1]])
def test_a_request_for_a_class_that_is_none_is_refused(target: object) -> None:
    model, capture = loaded("vit")
    for need in ("answers", "direct", "silenced"):
        with pytest.raises(va.errors.SettingsError, match="class"):
            answer(model, capture, {"need": need, "target": target})


def test_a_file_holds_the_tables_of_its_classes(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    model, capture = loaded("vit")
    content = make_file_capsule(model, capture, "photo", room=10_000_000, classes=2)
    facts, tensors = read(gzip.decompress(content), tmp_path_factory)
    likely = np.argsort(-capture.probabilities)[:2].tolist()
    for target in likely:
        np.testing.assert_allclose(
            tensors[f"heads/{target}/silenced"], np.stack(silence_every_head(model, capture, target)), atol=1e-6
        )
        parts = capture_head_contributions(model, capture, target)
        np.testing.assert_allclose(tensors[f"heads/{target}/direct"], np.stack(parts.heads), atol=1e-6)
        assert f"answers/{target}" in tensors
    assert facts["answers"]["no_direct"] == ""
    assert not any("part in the answer" in sentence for sentence in facts["left_out"])
    pooled, other = loaded("vit_attention_pool")
    facts, tensors = read(
        gzip.decompress(make_file_capsule(pooled, other, "photo", room=10_000_000, classes=1)), tmp_path_factory
    )
    assert "reads an attention pool" in facts["answers"]["no_direct"]
    assert sum(name.endswith("/silenced") for name in tensors) == 1
    assert not any(name.endswith("/direct") for name in tensors)


def test_a_file_says_that_the_tables_did_not_fit(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, capture = loaded("vit")
    noise = np.random.default_rng(0).standard_normal(100_000)
    monkeypatch.setattr(file_capsule, "silenced_tensors", lambda *_: {"heads/0/silenced": noise})
    content = make_file_capsule(model, capture, "photo", room=200_000)
    facts, tensors = read(gzip.decompress(content), tmp_path_factory)
    assert not any(name.startswith("heads/") for name in tensors)
    assert "The tables of each head's part in the answer did not fit." in facts["left_out"]


def test_heads_in_windows_are_silenced_and_have_no_direct_parts() -> None:
    model = va.load_model(stage_zoo.build("swin"), img_size=stage_zoo.MODELS["swin"].size)
    capture = va.capture_attention(model, noise_photo((50, 70)))
    facts = answers_module.answer_parts(capture, "")[0]
    assert facts["no_silenced"] == ""
    assert "for flat models alone" in facts["no_direct"]
    content = answer(model, capture, {"need": "silenced", "target": 1}).content
    table = safetensors.numpy.load(content)["heads/1/silenced"]
    np.testing.assert_allclose(table[3], silence_every_head(model, capture, 1)[3], atol=1e-6)
    assert np.isnan(table).tolist() == [[False, False, True]] * 2 + [[False] * 3] * 2
