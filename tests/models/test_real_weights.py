"""The real ViT-Tiny on real photos: predictions, exactness and sinks as measured."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import skimage.data
from timm.data import ImageNetInfo

import vitattn_widgets as va


def test_the_cat_of_scikit_image_is_an_egyptian_cat(real_model: va.models.AttentionModel) -> None:
    (name, probability), *_ = va.capture_attention(real_model, skimage.data.chelsea()).top(5)
    assert name == "Egyptian cat"
    assert abs(probability - 0.81) < 0.01


def test_the_coffee_of_scikit_image_is_an_espresso(real_model: va.models.AttentionModel) -> None:
    (name, probability), *_ = va.capture_attention(real_model, skimage.data.coffee()).top(5)
    assert name == "espresso"
    assert abs(probability - 0.94) < 0.01


def test_most_imagenet_photos_are_named_right(shared: Path, real_model: va.models.AttentionModel) -> None:
    paths = sorted((shared / "data" / "imagenet").iterdir())
    probabilities = np.concatenate([rows.probabilities for rows in va.capture_rows(real_model, paths, batch_size=12)])
    synsets = ImageNetInfo("imagenet-1k").label_names()
    found = [synsets[best] for best in probabilities.argmax(1)]
    right = [synset == path.name.partition("_")[0] for synset, path in zip(found, paths, strict=True)]
    assert np.mean(right) > 0.7


def test_real_captures_verify_in_every_layer(chelsea: va.capture.AttentionCapture) -> None:
    assert chelsea.verify().largest < 1e-5


def test_the_corner_sinks_of_the_last_block_are_shown_as_they_are(chelsea: va.capture.AttentionCapture) -> None:
    grid = va.render_view(chelsea).grid_map
    corners = [grid[0, 0], grid[0, -1], grid[-1, 0], grid[-1, -1]]
    assert sorted(corners)[-1] == grid.max()
    assert sum(corners) > 0.3
