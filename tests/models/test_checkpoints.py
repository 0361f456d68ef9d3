"""Checkpoint cards: their version is written, cards without one are read, newer ones are refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

import vitattn_widgets as va
from vitattn_widgets.models.checkpoints import CARD_KEY, FORMAT, Card, read_card, read_header, write_checkpoint
from vitattn_widgets.models.loading import DEMO_CHECKPOINT

TINY = "vit_tiny_patch16_224"
WEIGHTS = {"head.weight": torch.zeros(2, 3)}
CARD = {"architecture": TINY, "num_classes": 2, "class_names": ["good", "bad"]}


def test_a_new_card_says_its_version_beside_the_weights_and_in_their_header(tmp_path: Path) -> None:
    path = tmp_path / "mine.safetensors"
    write_checkpoint(path, WEIGHTS, CARD)
    beside = json.loads(path.with_suffix(".json").read_text())
    assert beside == json.loads(read_header(path)[CARD_KEY]) == {"format": FORMAT} | CARD
    expected = Card(architecture=TINY, class_names=("good", "bad"), num_classes=2)
    assert read_card(path) == expected
    path.with_suffix(".json").unlink()
    assert read_card(path) == expected


def test_a_card_without_a_version_is_read_as_the_first(tmp_path: Path) -> None:
    path = tmp_path / "older.safetensors"
    save_file(WEIGHTS, path, {CARD_KEY: json.dumps(CARD)})
    expected = Card(architecture=TINY, class_names=("good", "bad"), num_classes=2)
    assert read_card(path) == expected
    path.with_suffix(".json").write_text(json.dumps(CARD))
    assert read_card(path) == expected


def test_the_embedded_models_card_is_read_from_both_places(tmp_path: Path) -> None:
    alone = tmp_path / "alone.safetensors"
    alone.symlink_to(DEMO_CHECKPOINT)
    assert read_card(alone) == read_card(DEMO_CHECKPOINT)
    assert read_card(alone).num_classes == 51
    assert 0 < read_card(alone).unsure_below < 20


@pytest.mark.parametrize("place", ["beside", "header"])
def test_a_card_of_a_newer_version_is_refused_with_what_is_read_and_what_to_do(tmp_path: Path, place: str) -> None:
    card = json.dumps({"format": FORMAT + 1, "architecture": ["in", "another", "form"]})
    path = tmp_path / "newer.safetensors"
    save_file(WEIGHTS, path, {CARD_KEY: card} if place == "header" else None)
    if place == "beside":
        path.with_suffix(".json").write_text(card)
    message = (
        rf"newer\.(json|safetensors): its card has format {FORMAT + 1}, and vitattn_widgets {va.__version__} reads "
        rf"formats up to {FORMAT}; update vitattn_widgets$"
    )
    with pytest.raises(va.errors.ModelError, match=message):
        read_card(path)
    with pytest.raises(va.errors.ModelError, match=message):
        va.load_model(TINY, checkpoint=path)


@pytest.mark.parametrize("version", ["1", 1.5, 0, -1, True, None, [1]])
def test_a_version_that_is_no_whole_number_makes_no_card(tmp_path: Path, version: object) -> None:
    path = tmp_path / "odd.safetensors"
    save_file(WEIGHTS, path)
    path.with_suffix(".json").write_text(json.dumps({"format": version} | CARD))
    with pytest.raises(va.errors.ModelError, match=r"not a checkpoint card .* format must be a whole number from 1 on"):
        read_card(path)


def test_weights_for_a_hub_name_are_refused_with_what_to_name(tmp_path: Path) -> None:
    path = tmp_path / "mine.safetensors"
    save_file(WEIGHTS, path)
    with pytest.raises(
        va.errors.ModelError, match=r"mine\.safetensors .* not for hf-hub:some/model; name the architecture"
    ):
        va.load_model("hf-hub:some/model", checkpoint=path)
