"""The check of one map: orders and altered pictures against slow ones, heads and weights against direct surgery."""

from __future__ import annotations

import itertools
import json
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor, nn

import vitattn_widgets as va
from vitattn_widgets.evaluation import checks, findings, perturbation
from vitattn_widgets.evaluation.interventions import (
    first_shuffled_block,
    probabilities_of,
    shuffled_copy,
    silence_heads,
)
from vitattn_widgets.maps.attribution import grid_map
from vitattn_widgets.models.preprocess import Preprocessing

from .. import model_zoo
from ..conftest import SAMPLES, noise_photo

CLASSIFIERS = [name for name in model_zoo.FAMILIES if not name.endswith("_encoder")]


# ---- taking patches away ----


def test_a_map_orders_its_patches_from_the_most_marked_and_draws_ties_at_random() -> None:
    values = np.array([[0.1, 0.9, 0.0], [0.5, 0.0, 0.0]])
    order = perturbation.map_order(values)
    assert list(order[:3]) == [1, 3, 0]
    assert sorted(order[3:]) == [2, 4, 5]
    orders = {tuple(perturbation.map_order(np.zeros((2, 3)), seed)) for seed in range(20)}
    assert len(orders) > 10


def test_baselines_go_outwards_and_inwards() -> None:
    centre, edge = (list(perturbation.baseline_order(name, (3, 5))) for name in ("centre", "edge"))
    assert centre[0] == 7
    assert edge[-1] == 7
    assert set(centre[1:3]) == {6, 8}  # a fifth of the width is nearer than a third of the height
    assert set(edge[:4]) <= {0, 4, 5, 9, 10, 14}
    assert sorted(centre) == sorted(edge) == sorted(perturbation.baseline_order("random", (3, 5))) == list(range(15))


def test_counts_run_from_none_to_all() -> None:
    assert list(perturbation.removed_counts(196, 4)) == [0, 49, 98, 147, 196]
    assert list(perturbation.removed_counts(3, 3)) == [0, 1, 2, 3]


def test_altered_pictures_show_the_ground_in_the_first_patches_of_the_order() -> None:
    rng = np.random.default_rng(0)
    picture, ground = rng.integers(0, 256, (2, 13, 18, 3), np.uint8)  # a pixel is left over on each axis
    order = rng.permutation(6)
    pictures = perturbation.altered_pictures(picture, ground, order, np.array([0, 2, 5, 6]), (2, 3), (6, 6))
    for count, found in zip((0, 2, 5, 6), pictures, strict=True):
        expected = picture.copy()
        for patch in order[:count]:
            row, col = divmod(int(patch), 3)
            where = slice(row * 6, row * 6 + 6 if row < 1 else 13), slice(col * 6, col * 6 + 6)
            expected[where] = ground[where]
        np.testing.assert_array_equal(found, expected)


def test_blurring_keeps_places_and_constant_pictures() -> None:
    flat = np.full((20, 30, 3), (10, 200, 77), np.uint8)
    np.testing.assert_array_equal(perturbation.blurred(flat, 5), flat)
    noise = noise_photo((40, 40))
    assert perturbation.blurred(noise, 8).std() < noise.std() / 8


def test_areas_by_hand() -> None:
    assert perturbation.area(np.array([1.0, 1.0, 1.0])) == 1
    assert perturbation.area(np.array([1.0, 0.0])) == 0.5
    assert perturbation.area(np.array([1.0, 0.5, 0.0, 0.0])) == pytest.approx((0.75 + 0.25 + 0) / 3)


# ---- running altered pictures ----


def test_pictures_run_side_by_side_and_leave_the_model_as_it_was(wide_model: va.models.AttentionModel) -> None:
    passes = []

    def slow_pass(_: object, tokens: tuple[Tensor, ...]) -> None:
        time.sleep(0.05)  # so long that a second batch needs a second thread
        passes.append((threading.get_ident(), len(tokens[0])))

    hook = wide_model.module.head.register_forward_pre_hook(slow_pass)
    pictures = np.stack([noise_photo((32, 48), seed) for seed in range(19)])
    with torch.no_grad():
        alone = [wide_model.module(wide_model.preprocessing.tensor(one)[None]).softmax(-1)[0] for one in pictures]
    passes.clear()
    wide_model.module.train()
    try:
        found = probabilities_of(wide_model, pictures, iter([2, 1, 3]).__next__)
        assert all(part.training for part in wide_model.parts)
    finally:
        wide_model.module.eval()
        hook.remove()
    np.testing.assert_allclose(found, torch.stack(alone), atol=1e-6)
    assert sorted(size for _, size in passes) == [3, 4, 4, 4, 4]
    assert len({thread for thread, _ in passes} - {threading.get_ident()}) >= 2


def test_others_run_the_model_between_the_batches_of_a_check(
    wide_model: va.models.AttentionModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    photo, captures = noise_photo((40, 60)), []
    expected = va.capture_attention(wide_model, photo).probabilities
    prepare = Preprocessing.tensor

    def prepare_beside_others(self: Preprocessing, pixels: np.ndarray) -> Tensor:
        if threading.get_ident() == here:  # not of the captures themselves
            captures.append(pool.submit(va.capture_attention, wide_model, photo).result(20))
        return prepare(self, pixels)

    here = threading.get_ident()
    with ThreadPoolExecutor(1) as pool:
        monkeypatch.setattr(Preprocessing, "tensor", prepare_beside_others)
        probabilities_of(wide_model, np.stack([noise_photo((32, 48), seed) for seed in range(9)]))
    np.testing.assert_allclose([capture.probabilities for capture in captures], [expected] * 9, atol=1e-6)


# ---- silencing heads ----


def surgery(module: nn.Module, site: nn.Module, head: int, heads: int, run: Callable[[], Tensor]) -> Tensor:
    """Oracle: the rows of the output projection that read a head are zero."""
    linear = next(
        getattr(site, name) for name in ("proj", "o_proj", "attn_out_proj", "out_proj") if hasattr(site, name)
    )
    linear = getattr(linear, "linear", linear)
    kept = linear.weight.detach().clone()
    values = getattr(site.v_proj, "linear", site.v_proj) if hasattr(site, "o_proj") else None
    width = (values.out_features if values is not None else kept.shape[0]) // heads
    with torch.no_grad():
        linear.weight[:, head * width : (head + 1) * width] = 0
        answer = run()
        linear.weight.copy_(kept)
    return answer


@pytest.mark.parametrize("family", ["vit", "vit_gated", "vit_parallel_scaling", "eva", "cait", "convit", "tnt", "beit"])
def test_a_silenced_head_equals_a_projection_that_does_not_read_it(family: str) -> None:
    module = model_zoo.build(family)
    model = va.load_model(module, img_size=model_zoo.SQUARE)
    capture = va.capture_attention(model, noise_photo((40, 40)))
    tensor = model.preprocessing.tensor(capture.pixels)[None]
    for layer in (0, capture.num_layers - 1):
        name, heads = capture.layer_names[layer], capture.num_heads(layer)
        found = silence_heads(model, capture.pixels, name, heads)
        for head in range(heads):
            with torch.no_grad():
                answer = surgery(module, model.sites[name], head, heads, lambda: module(tensor))
            np.testing.assert_allclose(found[head], answer[0].softmax(-1), atol=1e-5)
            assert np.abs(found[head] - capture.probabilities).max() > 1e-4


@pytest.mark.parametrize("family", CLASSIFIERS)
def test_every_family_answers_otherwise_with_a_head_silenced_and_as_before_afterwards(family: str) -> None:
    module = model_zoo.build(family)
    model = va.load_model(module, img_size=model_zoo.SQUARE)
    capture = va.capture_attention(model, noise_photo((40, 40)))
    for layer in (0, capture.num_layers - 1):
        answers = silence_heads(model, capture.pixels, capture.layer_names[layer], capture.num_heads(layer))
        assert (np.abs(answers - capture.probabilities).max(-1) > 1e-6).all()
    np.testing.assert_allclose(probabilities_of(model, capture.pixels[None])[0], capture.probabilities, atol=1e-6)
    assert not any("forward" in vars(site) for site in model.sites.values())


def test_a_model_made_with_fused_attention_off_is_silenced_too(wide_model: va.models.AttentionModel) -> None:
    module = model_zoo.build("vit", model_zoo.WIDE)
    pixels = va.capture_attention(wide_model, noise_photo((40, 60))).pixels
    fused = silence_heads(wide_model, pixels, "blocks.1.attn", 3)
    for block in module.blocks:
        block.attn.fused_attn = False
    eager = silence_heads(va.load_model(module, img_size=model_zoo.WIDE), pixels, "blocks.1.attn", 3)
    np.testing.assert_allclose(eager, fused, atol=1e-5)
    assert not any(block.attn.fused_attn for block in module.blocks)


def test_a_failing_pass_leaves_the_model_as_it_was(
    wide_model: va.models.AttentionModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels = va.capture_attention(wide_model, noise_photo((40, 60))).pixels
    passes = []

    def fail_later(*_: object) -> None:
        passes.append(1)
        if len(passes) > 1:
            raise RuntimeError("out of memory")

    hook = wide_model.module.head.register_forward_pre_hook(fail_later)
    try:
        with pytest.raises(RuntimeError, match="out of memory"):
            silence_heads(wide_model, pixels, "blocks.1.attn", 3)
    finally:
        hook.remove()
    assert not any("forward" in vars(site) for site in wide_model.sites.values())


# ---- shuffling weights ----


@pytest.mark.parametrize("family", ["vit", "cait", "qwen3", "vit_attention_pool"])
def test_only_the_last_blocks_and_the_classifier_are_shuffled_and_only_in_a_copy(family: str) -> None:
    module = model_zoo.build(family)
    model = va.load_model(module, img_size=model_zoo.SQUARE)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    other = shuffled_copy(model, 2)
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    changed = set()
    for name, parameter in other.module.named_parameters():
        same = torch.equal(parameter, before[name])
        np.testing.assert_array_equal(np.sort(parameter.detach().ravel()), np.sort(before[name].ravel()))
        if not same:
            changed.add(name)
    assert any(".2." in name for name in changed)
    assert any("head" in name for name in changed)
    early = [name for name in before if ".0." in name or (".1." in name and "token_only" not in name)]
    assert not [name for name in changed & set(early) if "token_only" not in name and "head" not in name]
    assert not [name for name in changed if "embed" in name or "cls_token" in name]
    twice = shuffled_copy(model, 2)
    assert all(torch.equal(a, b) for a, b in zip(twice.module.parameters(), other.module.parameters(), strict=True))


def test_the_last_third_or_the_maps_own_block_is_shuffled() -> None:
    model = va.load_model("vit_tiny_patch16_224", pretrained=False, device="cpu")
    assert first_shuffled_block(model, "blocks.11.attn") == 8
    assert first_shuffled_block(model, "blocks.3.attn") == 3
    pool = va.load_model(model_zoo.build("vit_attention_pool"), img_size=model_zoo.SQUARE)
    assert first_shuffled_block(pool, "attn_pool") == 2


# ---- the whole check ----


def slow_deletion(
    model: va.models.AttentionModel, capture: va.capture.AttentionCapture, order: np.ndarray, target: int
) -> list[float]:
    answers = []
    for count in perturbation.removed_counts(order.size, checks.STEPS):
        pixels = capture.pixels.copy()
        for patch in order[:count]:
            row, col = divmod(int(patch), capture.layout.grid[1])
            pixels[row * 8 : row * 8 + 8, col * 8 : col * 8 + 8] = np.rint(255 * np.array(model.preprocessing.mean))
        with torch.no_grad():
            answers.append(float(model.module(model.preprocessing.tensor(pixels)[None]).softmax(-1)[0, target]))
    return answers


@pytest.mark.parametrize("source", ["attention", "gradient", "relevance"])
def test_a_check_gives_the_numbers_of_its_parts(
    wide_model: va.models.AttentionModel, wide_capture: va.capture.AttentionCapture, source: str
) -> None:
    settings = va.ViewSettings(source=source, target=3, layer=1)
    check = va.check_map(wide_model, wide_capture, settings)
    capture = va.complete_capture(wide_model, wide_capture, settings)
    shown = grid_map(capture, settings)
    assert check.class_name == "class 3"
    assert check.probability == pytest.approx(float(wide_capture.probabilities[3]), abs=1e-6)
    assert check.removed[0] == 0
    assert check.removed[-1] == 1
    np.testing.assert_allclose(
        check.deletion["map"], slow_deletion(wide_model, capture, perturbation.map_order(shown), 3), atol=1e-5
    )
    edge = perturbation.baseline_order("edge", (4, 6))
    np.testing.assert_allclose(check.deletion["edge"], slow_deletion(wide_model, capture, edge, 3), atol=1e-5)
    randoms = [perturbation.baseline_order("random", (4, 6), seed) for seed in range(checks.RANDOM_ORDERS)]
    expected = np.array([slow_deletion(wide_model, capture, order, 3) for order in randoms])
    np.testing.assert_allclose(check.random_deletion, expected, atol=1e-5)
    np.testing.assert_allclose(check.deletion["random"], expected.mean(0), atol=1e-5)
    np.testing.assert_allclose(check.insertion["random"], check.random_insertion.mean(0))
    areas = sorted(np.sum((curve[1:] + curve[:-1]) / 2 * np.diff(check.removed)) for curve in expected)
    assert check.deletion_interval == pytest.approx((areas[0], areas[-1]), abs=1e-5)
    for order in ("map", *perturbation.BASELINE_ORDERS):
        assert check.insertion[order][-1] == check.deletion[order][0]
        assert check.insertion[order][0] == check.insertion["map"][0]

    other = shuffled_copy(wide_model, check.shuffled_from)
    again = va.complete_capture(other, va.capture_attention(other, wide_capture.source), settings)
    wanted = stats.spearmanr(shown.ravel(), grid_map(again, settings).ravel()).statistic
    assert check.similarity == pytest.approx(wanted, nan_ok=True)
    np.testing.assert_allclose(check.silenced, silence_heads(wide_model, capture.pixels, "blocks.1.attn", 3)[:, 3])
    assert "class 3" in str(check)


def test_a_second_check_of_a_photo_runs_only_its_own_order(
    wide_model: va.models.AttentionModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts: list[int] = []

    def counted(model: va.models.AttentionModel, pictures: np.ndarray, workers: Callable[[], int]) -> np.ndarray:
        counts.append(len(pictures))
        return probabilities_of(model, pictures, workers)

    monkeypatch.setattr(checks, "probabilities_of", counted)
    photo, other = noise_photo((80, 150)), va.ViewSettings(source="gradient", layer=1)
    capture = va.capture_attention(wide_model, photo)
    va.check_map(wide_model, capture, va.ViewSettings(layer=0))
    completed = va.complete_capture(wide_model, capture, other)  # another value, of the same pass
    second = va.check_map(wide_model, completed, other)
    inner = checks.STEPS - 1
    orders = checks.RANDOM_ORDERS + 2
    assert counts == [3 + orders * 2 * inner, 2 * inner, 2 * inner]
    fresh = va.check_map(wide_model, va.capture_attention(wide_model, photo), other)
    assert second.as_json() == fresh.as_json()
    assert len(counts) == 5


def test_the_class_stays_the_first_models_prediction(wide_model: va.models.AttentionModel) -> None:
    other = shuffled_copy(wide_model, 1)
    photos = [noise_photo((40, 60), seed) for seed in range(20)]
    pairs = [(va.capture_attention(wide_model, photo), va.capture_attention(other, photo)) for photo in photos]
    one, two = next(pair for pair in pairs if pair[0].top(1)[0][0] != pair[1].top(1)[0][0])
    check = va.check_map(wide_model, one, va.ViewSettings(source="gradient", layer=1))
    target = int(one.probabilities.argmax())
    assert check.settings.target == target
    assert check.shuffled_from == 1
    settings = va.ViewSettings(source="gradient", layer=1, target=target)
    maps = [grid_map(va.complete_capture(*pair, settings), settings) for pair in ((wide_model, one), (other, two))]
    assert check.similarity == pytest.approx(stats.spearmanr(maps[0].ravel(), maps[1].ravel()).statistic)


def flat(**heights: float) -> dict[str, np.ndarray]:
    """Curves of constant probability, whose areas are their heights."""
    return {order: np.full(3, height) for order, height in heights.items()}


def known(**changes: object) -> va.evaluation.MapCheck:
    values = {
        "settings": va.ViewSettings(),
        "class_name": "tabby",
        "probability": 0.8,
        "removed": np.linspace(0, 1, 3),
        "deletion": flat(map=0.2, random=0.5, centre=0.35, edge=0.21),
        "insertion": flat(map=0.8, random=0.5, centre=0.65, edge=0.79),
        "random_deletion": np.array([[0.45] * 3, [0.5] * 3, [0.55] * 3]),
        "random_insertion": np.array([[0.45] * 3, [0.5] * 3, [0.55] * 3]),
        "shuffled_from": 8,
        "similarity": 0.1,
        "layer": 11,
        "silenced": np.array([0.79, 0.6, 0.81]),
    }
    return va.evaluation.MapCheck(**(values | changes))


def test_the_sentences_follow_from_the_numbers() -> None:
    removing, restoring, shuffled, _ = known().sentences
    assert removing == (
        "Removing patches in the order of this map hurts tabby more than removing them at random or from the centre; "
        "about as much as removing them from the edge (area 0.20; 3 random orders: 0.45 to 0.55)."
    )
    assert restoring.startswith("Restoring patches in this order helps tabby more than restoring them at random or")
    assert shuffled == (
        "With the weights shuffled from block 8 on, the map changes (rank correlation 0.10): it depends on what these "
        "blocks have learnt."
    )
    worse = known(deletion=flat(map=0.66, random=0.5, centre=0.35, edge=0.21)).sentences[0]
    assert "hurts tabby less than removing them at random, from the centre or from the edge (" in worse
    assert "hardly changes (rank correlation 0.93): it does not show" in known(similarity=0.93).sentences[2]
    assert "one of the two maps is constant" in known(similarity=np.nan).sentences[2]


def test_areas_count_as_equal_unless_they_differ_by_more_than_random_orders_do() -> None:
    """Oracle: the difference of every pair of random orders."""
    rng = np.random.default_rng(0)
    for _ in range(300):
        own, centre, *areas = rng.random(6).round(2)
        random = np.array(areas)[:, None] * np.ones(3)
        curves = flat(map=own, random=np.mean(areas), centre=centre, edge=own)
        words = known(deletion=curves, random_deletion=random).sentences[0]
        largest = max(abs(one - other) for one, other in itertools.combinations(areas, 2))
        counts = round(abs(own - centre), 9) > max(round(largest, 9), findings.CLEARLY)
        expected = "about as much as" if not counts else "more than" if own < centre else "less than"
        assert any(part.strip().startswith(expected) for part in words.split("tabby")[1].split(";") if "centre" in part)
        beyond = all(own < area for area in areas) or all(own > area for area in areas)
        clear = abs(own - np.mean(areas)) > findings.CLEARLY
        expected = (
            "about as much as" if not (beyond and clear) else "more than" if own < np.mean(areas) else "less than"
        )
        assert any(
            part.strip().startswith(expected) for part in words.split("tabby")[1].split(";") if "at random" in part
        )
    close = known(
        deletion=flat(map=0.38, random=0.4, centre=0.4, edge=0.7),
        random_deletion=np.array([[0.35] * 3, [0.45] * 3]),
    )
    assert "hurts tabby about as much as removing them at random or from the centre; more than" in close.sentences[0]


def test_differences_that_chance_cannot_explain_must_still_be_clear() -> None:
    equal = known(
        deletion=flat(map=0.2, random=0.21, centre=0.215, edge=0.19), random_deletion=np.array([[0.21] * 3] * 2)
    )
    assert "about as much as removing them at random, from the centre or from the edge" in equal.sentences[0]


@pytest.mark.parametrize(
    ("map_areas", "verdict"),
    [  # of random orders, 0.45 to 0.55; from the centre 0.35 and 0.65, from the edge 0.6 and 0.4
        ((0.38, 0.62), "Better than chance, no better than the centre."),
        ((0.2, 0.8), "Better than chance, the centre and the edge."),
        ((0.2, 0.6), "Better than chance and the edge, better by one of two tests than the centre."),
        (
            (0.2, 0.5),
            "Better by one of two tests than chance, better by one test and worse by the other than the centre.",
        ),
        ((0.48, 0.5), "No better than chance, worse than the centre."),
        ((0.38, 0.5), "Better by one of two tests than chance, worse by one of two tests than the centre."),
        ((0.58, 0.42), "Worse than chance or the centre, no better than the edge."),
        (
            (0.4, 0.43),
            "Better by one test and worse by the other than chance, worse by one of two tests than the centre.",
        ),
        ((0.9, 0.1), "Worse than chance, the centre or the edge."),
    ],
)
def test_the_verdict_names_what_the_map_does_not_beat(map_areas: tuple[float, float], verdict: str) -> None:
    check = known(
        deletion=flat(map=map_areas[0], random=0.5, centre=0.35, edge=0.6),
        insertion=flat(map=map_areas[1], random=0.5, centre=0.65, edge=0.4),
    )
    assert check.verdict == verdict
    assert str(check).startswith(verdict)
    hardly = replace(check, similarity=0.8).verdict
    assert hardly == verdict.replace(".", ", and hardly changed by shuffled weights.")
    assert replace(check, similarity=np.nan).verdict == verdict


def test_a_head_matters_only_if_the_class_falls_without_it() -> None:
    start = "Of the heads of layer 11, "
    assert known().sentences[3] == (f"{start}head 1 matters most: with it silenced, tabby goes from 80.0% to 60.0%.")
    assert known(silenced=np.array([0.795, 0.8, 0.81])).sentences[3] == (
        f"{start}none matters much to tabby: at most, with head 0 silenced, it falls from 80.0% to 79.5%."
    )
    assert known(silenced=np.array([0.79, 0.95, 0.8])).sentences[3] == (
        f"{start}none matters much to tabby: at most, with head 0 silenced, it falls from 80.0% to 79.0%. "
        "With head 1 silenced, it rises to 95.0%."
    )
    assert known(silenced=np.array([0.81, 0.95, 0.9])).sentences[3] == (
        f"{start}none matters much to tabby: with any one silenced, it stays at 80.0% or above. "
        "With head 1 silenced, it rises to 95.0%."
    )
    assert known(silenced=np.array([0.7999, 0.8, 0.81])).sentences[3].endswith("it stays at 80.0% or above.")
    one_head = known(settings=va.ViewSettings(head=-1)).sentences[3]
    assert one_head == "With head 2 of layer 11 silenced, tabby goes from 80.0% to 81.0%."
    assert "head 1 matters most" in known(settings=va.ViewSettings(head=0, source="relevance")).sentences[3]


def test_a_check_as_json_holds_everything_but_its_settings() -> None:
    check = known(similarity=np.nan, random_deletion=np.array([[0.4, 0.5, 0.6], [0.6, 0.3, 0.6]]))
    facts = json.loads(json.dumps(check.as_json(), allow_nan=False))
    assert set(facts) >= {field.name for field in fields(check)} - {"settings", "random_deletion", "random_insertion"}
    assert facts["similarity"] is None
    assert facts["random_low"]["deletion"] == [0.4, 0.3, 0.6]
    assert facts["random_high"]["deletion"] == [0.6, 0.5, 0.6]
    assert facts["intervals"]["deletion"] == pytest.approx([0.45, 0.5])
    assert facts["areas"]["insertion"] == {order: check.insertion_area(order) for order in check.insertion}
    assert facts["deletion"]["edge"] == check.deletion["edge"].tolist()
    assert facts["verdict"] == check.verdict
    assert facts["sentences"] == list(check.sentences)


def test_what_cannot_be_checked_is_refused(
    wide_model: va.models.AttentionModel, wide_capture: va.capture.AttentionCapture
) -> None:
    encoder = va.load_model(model_zoo.build("qwen3_encoder"), img_size=model_zoo.SQUARE)
    with pytest.raises(va.errors.SettingsError, match="has no classifier"):
        va.check_map(encoder, va.capture_attention(encoder, noise_photo((40, 40))))
    with pytest.raises(va.errors.ModelError, match="give the model that made it"):
        va.check_map(replace(wide_model, name="another"), wide_capture)
    with pytest.raises(va.errors.SettingsError, match="layer 9 does not exist"):
        va.check_map(wide_model, wide_capture, va.ViewSettings(layer=9))


def test_the_verdict_on_real_photos_depends_on_what_any_order_would_show(
    real_model: va.models.AttentionModel, chelsea: va.capture.AttentionCapture
) -> None:
    settings = va.ViewSettings.recommended()
    any_half_is_enough = va.check_map(real_model, chelsea, settings)
    low, high = any_half_is_enough.deletion_interval
    assert low <= any_half_is_enough.deletion_area() <= high
    assert any_half_is_enough.verdict.startswith("No better than chance")
    tripod = va.check_map(real_model, va.capture_attention(real_model, SAMPLES / "camera.jpg"), settings)
    assert tripod.deletion_area() < tripod.deletion_interval[0]
    assert tripod.verdict.startswith("Better than chance")
    assert tripod.similarity < findings.HARDLY_CHANGED
