"""The sample photos: small, credited, and what is said of them is so."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import vitattn_widgets as va
from vitattn_widgets.datasets.samples import FOLDER, SAMPLES
from vitattn_widgets.images import load_picture

ANSWERS = {
    "coffee": "espresso",
    "camera": "tripod",
    "astronaut": "bobsled",
    "rocket": "drilling platform",
    "barn": "barn",
    "boats": "dock",
}


def test_every_file_is_listed_and_every_sample_has_its_file() -> None:
    assert sorted(sample.path for sample in SAMPLES) == sorted(FOLDER.iterdir())
    assert len({sample.name for sample in SAMPLES}) == len(SAMPLES) >= 6


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.name)
def test_a_sample_is_small_and_free(sample: va.datasets.samples.Sample) -> None:
    photo = load_picture(sample.path)
    assert min(photo.size) >= 224
    assert sample.path.stat().st_size < 100_000
    assert "CC0" in sample.credit or "public domain" in sample.credit


@pytest.mark.parametrize("name", ANSWERS)
def test_the_published_model_answers_what_the_note_says(real_model: va.models.AttentionModel, name: str) -> None:
    sample = next(sample for sample in SAMPLES if sample.name == name)
    assert va.capture_attention(real_model, sample.path).top(1)[0][0] == ANSWERS[name]
    assert ANSWERS[name] in sample.note


def test_half_of_the_attention_on_chelsea_is_in_the_corners(chelsea: va.capture.AttentionCapture) -> None:
    rendered = va.render_view(chelsea, va.ViewSettings())
    corners = rendered.grid_map[np.ix_([0, -1], [0, -1])]
    assert corners.sum() > 0.5 * rendered.grid_map.sum()


def _map_on(model: va.models.AttentionModel, path: Path, rows: slice, cols: slice) -> float:
    """Share of the recommended map, without sinks, in a part of the grid."""
    settings = va.ViewSettings(source="gradient_late", sinks="mark")
    capture = va.complete_capture(model, va.capture_attention(model, path), settings)
    grid = va.render_view(capture, settings).grid_map
    return float(grid[rows, cols].sum() / grid.sum())


def test_the_rocket_is_explained_by_what_stands_beside_it(real_model: va.models.AttentionModel) -> None:
    """The rocket fills columns 6 and 7 of 14."""
    on_rocket = _map_on(real_model, FOLDER / "rocket.jpg", slice(None), slice(6, 8))
    assert on_rocket < 0.5
