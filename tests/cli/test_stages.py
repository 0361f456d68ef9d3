"""The commands with a model that has windows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import save_file

from vitattn_widgets.cli import main

from ..conftest import SAMPLES

PHOTO = str(SAMPLES / "chelsea.jpg")
MODEL = "test_maxvit"


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """A small MaxViT with random weights, as arguments of a command."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "maxvit.safetensors"
    save_file(timm.create_model(MODEL).state_dict(), path)
    return ["--model", MODEL, "--checkpoint", str(path)]


def test_map_draws_a_window_of_a_layers_own_grid(
    weights: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output, raw = tmp_path / "map.png", tmp_path / "map.npz"
    options = ["--layer", "2", "--head", "1", "--query", "6,13", "--npz", str(raw)]
    assert main(["map", PHOTO, "-o", str(output), *weights, *options]) == 0
    printed = capsys.readouterr().out
    assert "query: patch at row 6, col 13 of 20 x 20" in printed
    assert "attention inside windows of 5 x 5 patches" in printed
    assert "prefix" not in printed
    grid_map = np.load(raw)["grid_map"]
    assert grid_map.shape == (20, 20)
    assert np.flatnonzero(grid_map.any(1)).tolist() == [5, 6, 7, 8, 9]
    assert np.flatnonzero(grid_map.any(0)).tolist() == [10, 11, 12, 13, 14]
    assert Image.open(output).size == (160, 160)


def test_export_writes_a_page_that_draws_it(weights: list[str], tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    assert main(["export", PHOTO, "-o", str(page), *weights]) == 0
    assert "the mean of the patches looked" in page.read_text()
