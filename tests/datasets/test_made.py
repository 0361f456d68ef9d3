"""The stand-ins: made from their seed alone, the same everywhere, with masks on the evidence."""

from __future__ import annotations

import hashlib
import pickle
import subprocess
import sys

import numpy as np
import pytest

import vitattn_widgets as va
from vitattn_widgets.datasets.made import canvas, dataset as dataset_module

KINDS = tuple(dataset_module.KINDS)


def picture_hash(kind: str, number: int) -> str:
    picture, mask = dataset_module.draw(kind, "test", 5, number)
    return hashlib.sha256(picture.tobytes() + mask.tobytes()).hexdigest()


def test_a_picture_depends_on_its_seed_alone_in_another_process_and_order() -> None:
    here = [picture_hash(kind, number) for kind in KINDS for number in (0, 7)]
    code = (
        "from tests.datasets.test_made import *; print(*[picture_hash(k, n) for n in (7, 0) for k in reversed(KINDS)])"
    )
    there = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert sorted(here) == sorted(there)
    assert len(set(here)) == len(here)


@pytest.mark.parametrize("kind", KINDS)
def test_split_seed_and_number_each_give_another_picture(kind: str) -> None:
    count = len(dataset_module.KINDS[kind][0])
    base = dataset_module.draw(kind, "train", 0, 0)[0]
    for split, seed, number in (("test", 0, 0), ("train", 1, 0), ("train", 0, count)):
        other = dataset_module.draw(kind, split, seed, number)[0]
        assert other.shape != base.shape or np.abs(other.astype(int) - base).mean() > 5


@pytest.mark.parametrize("name", dataset_module.PARTS)
def test_classes_splits_and_labels_are_those_of_the_parts(name: str) -> None:
    data = va.load_dataset(name, stand_in=True, per_class=(3, 2, 1))
    parts = [va.load_dataset(kind, stand_in=True, per_class=(3, 2, 1)) for kind in dataset_module.PARTS[name]]
    assert data.class_names == tuple(class_name for part in parts for class_name in part.class_names)
    assert [set(split.counts()) for split in (data.train, data.validation, data.test)] == [{3}, {2}, {1}]
    for split in ("train", "validation", "test"):
        photos = getattr(data, split)
        assert photos.split == split
        assert photos.stand_in
        own = {
            photo_name: part.class_names[label]
            for part in parts
            for photo_name, label in zip(getattr(part, split).names, getattr(part, split).labels, strict=True)
        }
        assert own == {
            photo_name: data.class_names[label] for photo_name, label in zip(photos.names, photos.labels, strict=True)
        }
    assert "STAND-IN" in data.describe()
    assert all(photo_name.startswith("made ") for photo_name in data.train.names)


def test_stand_ins_have_as_many_classes_as_documented() -> None:
    assert [len(dataset_module.KINDS[kind][0]) for kind in ("imagenet", "fruitsgb", "cassava")] == [10, 12, 5]
    assert set(dataset_module.KINDS["fruitsgb"][0]) == {
        f"{quality} {fruit}"
        for quality in ("good", "bad")
        for fruit in ("apple", "banana", "guava", "lime", "orange", "pomegranate")
    }


def test_the_picture_of_a_name_is_the_same_in_every_data_set_that_has_it() -> None:
    alone = va.load_dataset("cassava", stand_in=True, per_class=(2, 1, 1)).train
    together = va.load_dataset("demo", per_class=(2, 1, 1)).train
    for number, name in enumerate(alone.names):
        other = together.names.index(name)
        np.testing.assert_array_equal(alone.load(number), together.load(other))
        np.testing.assert_array_equal(alone.mask(number), together.mask(other))


def test_photo_sets_can_be_pickled_and_cut() -> None:
    photos = va.load_dataset("fruitsgb", stand_in=True).test
    again = pickle.loads(pickle.dumps(photos))
    assert again == photos
    few = photos.take([30, 4])
    assert few.names == (photos.names[30], photos.names[4])
    assert few.labels == (photos.labels[30], photos.labels[4])
    np.testing.assert_array_equal(few.load(0), photos.load(30))
    np.testing.assert_array_equal(few.mask(1), photos.mask(4))


@pytest.mark.parametrize("kind", KINDS)
def test_masks_mark_evidence_of_a_size_that_shows_and_never_the_whole_picture(kind: str) -> None:
    classes = dataset_module.KINDS[kind][0]
    for number in range(4 * len(classes)):
        picture, mask = dataset_module.draw(kind, "validation", 3, number)
        assert picture.dtype == mask.dtype == np.uint8
        assert picture.shape == (*mask.shape, 3)
        assert set(np.unique(mask)) == {0, 1}
        assert 400 < mask.sum() < 0.7 * mask.size, classes[number % len(classes)]  # about two patches of 16 px, or more


def test_rot_is_on_the_fruit_and_differs_from_its_skin_while_stains_are_outside() -> None:
    """Drawn again without its rot, a bad fruit changes inside the mask and hardly anywhere else."""
    from vitattn_widgets.datasets.made import fruits

    def nothing(rng: np.random.Generator, skin: np.ndarray, body: fruits.Body) -> np.ndarray:
        rotten = made_fruits_rot(rng, skin.copy(), body)  # the same draws from the generator
        return np.zeros_like(rotten)

    made_fruits_rot = fruits._rot
    for label in range(6):
        with_rot, mask = fruits.draw_fruit(np.random.default_rng(label), label)
        fruits._rot = nothing
        try:
            without, _ = fruits.draw_fruit(np.random.default_rng(label), label)
        finally:
            fruits._rot = made_fruits_rot
        change = np.abs(with_rot.astype(int) - without).mean(-1)
        assert change[mask == 1].mean() > 25
        assert change[mask == 0].mean() < 2


def test_mask_is_a_copy_that_cannot_spoil_the_next_one() -> None:
    photos = va.load_dataset("imagenet", stand_in=True).test
    before = photos.mask(0).copy()
    photos.mask(0)[:] = 9
    np.testing.assert_array_equal(photos.mask(0), before)


def test_fingerprints_distinguish_seeds_counts_and_sets() -> None:
    def print_of(name: str, **how: object) -> str:
        return va.load_dataset(name, stand_in=True, **how).fingerprint

    prints = [
        print_of("cassava"),
        print_of("cassava", seed=1),
        print_of("cassava", per_class=(2, 2, 2)),
        print_of("fruitsgb"),
    ]
    assert len(set(prints)) == 4
    assert print_of("cassava") == prints[0]


def test_noise_tiles_are_standardised_and_cut_anywhere_inside() -> None:
    rng = np.random.default_rng(0)
    for kind, tile in canvas._noise_bank().items():
        assert abs(tile.mean()) < 1e-3
        assert tile.std() == pytest.approx(1, abs=1e-3)
        assert canvas.noise(rng, (256, 224), kind).shape == (256, 224)
