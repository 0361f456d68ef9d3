"""Recipes against the paper's values; what a recipe decides: learning rates, photos, views, heads."""

from __future__ import annotations

import math

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from torch import nn

import vitattn_widgets as va
from vitattn_widgets.training.folder import EpochRecord, best_epoch
from vitattn_widgets.training.loop import Predictions, learning_rate, make_optimizer
from vitattn_widgets.training.photos import EpochOrder, PhotoTensors, augment_photo, random_box, training_indices
from vitattn_widgets.training.recipes import AUGMENTATIONS, RECIPES
from vitattn_widgets.training.start import FurtherLayer, add_further_layer, choose_trained, exported_weights

from .. import model_zoo
from ..conftest import noise_photo
from . import lab as training_lab

PAPER = {
    "imagenet": {"head": "further"},
    "fruitsgb": {
        "model": "vit_tiny_patch16_224",
        "optimizer": "adam",
        "learning_rate": 0.001,
        "batch_size": 32,
        "epochs": 20,
    },
    "cassava": {
        "model": "vit_base_patch16_224",
        "optimizer": "sgd",
        "learning_rate": 0.001,
        "momentum": 0.9,
        "epochs": 100,
    },
}


@pytest.mark.parametrize("dataset", PAPER)
def test_the_papers_recipes_have_the_papers_values(dataset: str) -> None:
    recipe = va.training.training_recipe(dataset)
    assert {name: getattr(recipe, name) for name in PAPER[dataset]} == PAPER[dataset]
    assert recipe.pretrained
    assert "Calderaro" in recipe.source
    assert recipe.chosen


@pytest.mark.parametrize("key", RECIPES)
def test_every_recipe_names_a_supported_model_and_says_itself_in_a_line(key: tuple[str, str]) -> None:
    recipe = RECIPES[key]
    assert recipe.name == key[1]
    assert timm.is_model(recipe.model)
    assert f"epochs {recipe.epochs}" in recipe.describe()


def test_the_papers_sgd_is_plain_momentum_without_nesterov() -> None:
    optimizer = make_optimizer(nn.Linear(2, 2), va.training.training_recipe("cassava"))
    assert isinstance(optimizer, torch.optim.SGD)
    group = optimizer.param_groups[0]
    assert (group["momentum"], group["nesterov"], group["weight_decay"], group["lr"]) == (0.9, False, 0.0, 0.001)


def test_weight_decay_spares_biases_and_norms() -> None:
    recipe = training_lab.recipe(optimizer="adamw", weight_decay=0.05)
    optimizer = make_optimizer(nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4)), recipe)
    decayed = {group["weight_decay"]: [tuple(p.shape) for p in group["params"]] for group in optimizer.param_groups}
    assert decayed == {0.05: [(4, 3)], 0.0: [(4,), (4,), (4,)]}


def test_a_changed_recipe_remembers_what_was_changed() -> None:
    recipe = va.training.training_recipe("fruitsgb").change(epochs=3, batch_size=32).change(seed=4)
    assert (recipe.epochs, recipe.seed, recipe.batch_size) == (3, 4, 32)
    assert recipe.changed == ("epochs", "seed")  # 32 is the paper's own
    assert "changed: epochs, seed" in recipe.describe()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epoch": 3}, "no value 'epoch'; did you mean 'epochs'"),
        ({"optimizer": "lion"}, "optimizer 'lion' does not exist; possible: adam, adamw, sgd"),
        ({"augmentation": "cutmix"}, "possible: none, flip, crop, strong, broad"),
        ({"epochs": 0}, "epochs must be a whole number of at least 1, got 0"),
        ({"batch_size": 2.5}, "batch_size must be a whole number"),
        ({"learning_rate": -1}, "learning_rate must be above 0"),
        ({"learning_rate": float("nan")}, "learning_rate must be above 0"),
        ({"warmup": 1.5}, "warmup must be in"),
        ({"weight_decay": -0.1}, "weight_decay must be at least 0"),
        ({"clip_norm": 0}, "clip_norm must be above 0"),
        ({"seed": -1}, "seed must be a whole number of at least 0"),
    ],
)
def test_a_value_out_of_range_is_reported(changes: dict, message: str) -> None:
    with pytest.raises(va.errors.TrainingError, match=message):
        va.training.training_recipe("fruitsgb").change(**changes)


def test_the_default_recipe_is_the_papers_if_there_is_one() -> None:
    names = {dataset: va.training.training_recipe(dataset).name for dataset in va.datasets.DATASETS}
    assert names == dict.fromkeys(PAPER, "paper") | {"demo": "recommended"}


def test_an_unknown_recipe_is_reported_with_the_possible_ones() -> None:
    with pytest.raises(va.errors.TrainingError, match="no recipe 'best' for cassava; possible: paper, recommended"):
        va.training.training_recipe("cassava", "best")
    with pytest.raises(
        va.errors.TrainingError, match="no recipe for the data set 'pets'; possible: imagenet, fruitsgb"
    ):
        va.training.training_recipe("pets")


def test_the_learning_rate_warms_up_and_falls_along_half_a_cosine() -> None:
    recipe = training_lab.recipe(schedule="cosine", warmup=0.2, learning_rate=0.01)
    rates = np.array([learning_rate(recipe, step, 100) for step in range(100)])
    assert (np.diff(rates[:20]) > 0).all()
    assert rates[20] == rates.max() == 0.01
    assert rates[0] == pytest.approx(0.01 / 21)
    np.testing.assert_allclose(rates[20:], [0.005 * (1 + math.cos(math.pi * i / 80)) for i in range(80)])
    constant = training_lab.recipe(learning_rate=0.01)
    assert {learning_rate(constant, step, 100) for step in range(100)} == {0.01}


def test_the_order_is_a_permutation_that_seed_and_epoch_decide() -> None:
    def passes(seed: int, epoch: int) -> list[tuple[int, int]]:
        order = EpochOrder(range(50), seed)
        order.epoch = epoch
        return list(order)

    assert sorted(passes(0, 3)) == [(3, index) for index in range(50)]
    assert passes(0, 3) == passes(0, 3)
    orders = {tuple(index for _, index in passes(seed, epoch)) for seed in range(3) for epoch in range(3)}
    assert len(orders) == 9
    assert list(EpochOrder((4, 7, 9))) == [(0, 4), (0, 7), (0, 9)]


def test_photos_per_class_takes_as_many_of_each_class() -> None:
    labels = [0] * 10 + [1] * 3 + [2] * 20
    chosen = training_indices(labels, 5, seed=0)
    assert np.bincount(np.take(labels, chosen)).tolist() == [5, 3, 5]
    assert len(set(chosen)) == 13
    assert chosen == training_indices(labels, 5, seed=0) != training_indices(labels, 5, seed=1)
    assert training_indices(labels, None, 0) == tuple(range(33))


@pytest.mark.parametrize("augmentation", AUGMENTATIONS)
def test_a_training_view_is_a_function_of_seed_epoch_and_photo(
    augmentation: str, wide_model: va.models.AttentionModel
) -> None:
    photos = training_lab.colours().train

    def view(seed: int, epoch: int, index: int) -> np.ndarray:
        return PhotoTensors(photos, wide_model.preprocessing, augmentation, seed)[epoch, index][0].numpy()

    np.testing.assert_array_equal(view(0, 1, 2), view(0, 1, 2))
    others = [view(seed, epoch, 2) for seed in range(3) for epoch in range(3)]
    different = sum(not np.array_equal(others[0], other) for other in others[1:])
    assert different == 0 if augmentation == "none" else different > (2 if augmentation == "flip" else 7)
    assert view(0, 0, 0).shape == (3, 32, 48)


def test_without_augmentation_a_view_is_the_models_own_and_flip_mirrors_it(
    wide_model: va.models.AttentionModel,
) -> None:
    photo = Image.fromarray(noise_photo((80, 150)))
    own = wide_model.preprocessing.view(photo).pixels
    views = [augment_photo(photo, wide_model.preprocessing, "flip", np.random.default_rng(i)) for i in range(8)]
    mirrored = [np.array_equal(view, own[:, ::-1]) for view in views]
    assert all(mirror or np.array_equal(view, own) for mirror, view in zip(mirrored, views, strict=True))
    assert 0 < sum(mirrored) < 8
    np.testing.assert_array_equal(augment_photo(photo, wide_model.preprocessing, "none", np.random.default_rng(0)), own)


@pytest.mark.parametrize("size", [(60, 60), (200, 40), (31, 400)])
def test_random_parts_lie_inside_and_are_large_enough(size: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        left, top, right, bottom = random_box(size, 1.5, 0.5, rng)
        assert 0 <= left < right <= size[0] + 1e-9
        assert 0 <= top < bottom <= size[1] + 1e-9
        shape = (right - left) / (bottom - top)
        assert 1.5 * 3 / 4 - 1e-9 <= shape <= 1.5 * 4 / 3 + 1e-9
        if size == (60, 60):
            assert (right - left) * (bottom - top) >= 0.5 * 3600 - 1e-6


def test_a_crop_shows_the_part_of_the_photo_that_was_drawn() -> None:
    """A picture whose colours are its coordinates: what the view shows says where it lies."""
    model = va.load_model(model_zoo.build("vit", (32, 32)))
    across, down = np.meshgrid(np.arange(200), np.arange(200))
    photo = Image.fromarray(np.stack([across, down, across * 0], -1).astype(np.uint8))
    for seed in range(5):
        rng = np.random.default_rng(seed)
        mirrored = rng.random() < 0.5
        left, top, right, bottom = random_box((200, 200), 1, 0.5, rng)
        view = augment_photo(photo, model.preprocessing, "crop", np.random.default_rng(seed)).astype(float)
        first, last = (right, left) if mirrored else (left, right)
        step = (last - first) / 32
        places = np.arange(2, 30) + 0.5
        np.testing.assert_allclose(view[5, 2:-2, 0], first + step * places - 0.5, atol=2)
        np.testing.assert_allclose(view[2:-2, 5, 1], top + (bottom - top) / 32 * places - 0.5, atol=2)


def test_the_broad_augmentation_changes_colours_and_detail_but_never_turns_the_photo() -> None:
    """Left is dark and right is bright: a view is one of the two, or mirrored, at any rate not turned."""
    model = va.load_model(model_zoo.build("vit", (32, 32)))
    pixels = np.broadcast_to(np.linspace(40, 200, 96)[None, :, None], (96, 96, 3)) * np.array([1.0, 0.8, 0.6])
    pixels = pixels + np.random.default_rng(0).normal(0, 12, (96, 96, 3))
    photo = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
    generators = map(np.random.default_rng, range(64))
    views = [augment_photo(photo, model.preprocessing, "broad", rng).astype(float) for rng in generators]
    grey = [np.ptp(view, axis=-1).max() <= 1 for view in views]
    assert 1 <= sum(grey) <= 20
    rises = [view[:, 16:].mean() - view[:, :16].mean() for view in views]
    assert min(map(abs, rises)) > max(abs(view[16:].mean() - view[:16].mean()) for view in views)
    assert {rise > 0 for rise in rises} == {True, False}
    assert np.ptp([view.mean() for view in views]) > 40
    again = augment_photo(photo, model.preprocessing, "broad", np.random.default_rng(5))
    np.testing.assert_array_equal(again, views[5])


def test_a_further_layer_folded_is_the_two_layers_one_after_the_other() -> None:
    module = model_zoo.build("vit")
    old = module.head
    add_further_layer(module, 4, "it")
    tensor = model_zoo.photo(model_zoo.SQUARE)
    with torch.no_grad():
        features = module.forward_head(module.forward_features(tensor), pre_logits=True)
        first = features.numpy().astype(np.float64) @ old.weight.numpy().T.astype(np.float64) + old.bias.numpy()
        further = module.head.further
        expected = first @ further.weight.detach().numpy().T.astype(np.float64) + further.bias.detach().numpy()
        np.testing.assert_allclose(module(tensor).numpy(), expected, atol=1e-5)
        plain = model_zoo.FAMILIES["vit"](model_zoo.SQUARE).eval()
        plain.reset_classifier(4)
        plain.load_state_dict(exported_weights(module))
        np.testing.assert_allclose(plain(tensor).numpy(), expected, atol=1e-5)


def test_a_further_layer_needs_one_linear_classifier() -> None:
    for family in ("distilled", "qwen3_encoder"):
        with pytest.raises(va.errors.TrainingError, match="no single linear classifier"):
            add_further_layer(model_zoo.build(family), 4, family)


def test_the_head_alone_is_trained_where_the_recipe_says_so() -> None:
    module = model_zoo.build("vit")
    choose_trained(module, "head", "it")
    assert [name for name, p in module.named_parameters() if p.requires_grad] == ["head.weight", "head.bias"]
    add_further_layer(module, 4, "it")
    choose_trained(module, "head", "it")
    trained = [name for name, p in module.named_parameters() if p.requires_grad]
    assert trained == ["head.further.weight", "head.further.bias"]
    choose_trained(module, "all", "it")
    assert all(p.requires_grad for p in module.parameters())
    assert isinstance(module.head, FurtherLayer)


def test_confusion_counts_true_by_predicted() -> None:
    predictions = Predictions(np.array([0, 0, 1, 2, 2, 2]), np.array([0, 1, 1, 2, 0, 0]), 0.5)
    assert predictions.confusion(4).tolist() == [[1, 1, 0, 0], [0, 1, 0, 0], [2, 0, 1, 0], [0, 0, 0, 0]]
    assert predictions.accuracy == 0.5


def test_the_best_epoch_is_the_first_of_the_highest_accuracy_and_lowest_loss() -> None:
    pairs = [(0.9, 0.5), (0.95, 0.6), (0.95, 0.4), (0.95, 0.4), (0.9, 0.1)]
    history = tuple(EpochRecord(i + 1, 0.1, 1.0, 0.5, loss, accuracy, 1.0) for i, (accuracy, loss) in enumerate(pairs))
    assert best_epoch(history).epoch == 3
