"""Sources measured over a split: against single captures, and against figures of an independent implementation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas
import pytest
from PIL import Image

import vitattn_widgets as va
from vitattn_widgets.maps.attribution import grid_map

from .. import model_zoo
from .test_evaluate import NoisePhotos, photos  # noqa: F401 a fixture


def test_every_row_of_a_source_is_what_single_captures_give(
    wide_model: va.models.AttentionModel,
    photos: NoisePhotos,  # noqa: F811
) -> None:
    sources = ("attention", "relevance", "rollout", "gradient")
    found = va.evaluate_maps(wide_model, photos, layers=[1], progress=False, sources=sources).photos
    names = ["uniform", "centre blob", "mean", "max", "mean / std", "relevance", "rollout, mean", "rollout, max"]
    assert list(found["map"][:11]) == [*names, "gradient, mean", "gradient, max", "gradient, mean / std"]
    wanted = {
        "relevance": ("relevance", "mean"),
        "rollout, max": ("rollout", "max"),
        "gradient, mean": ("gradient", "mean"),
    }
    for index in range(len(photos)):
        plain = va.capture_attention(wide_model, photos.load(index))
        for name, (source, aggregation) in wanted.items():
            settings = va.ViewSettings(layer=1, source=source, aggregation=aggregation)
            drawn = grid_map(va.complete_capture(wide_model, plain, settings), settings)
            row = found[(found["photo"] == photos.names[index]) & (found["map"] == name)].iloc[0]
            assert row["border_share"] == pytest.approx(va.evaluation.border_share(drawn), nan_ok=True)
            mask = photos.mask(index)
            if mask is not None:
                heat = va.smooth_map(drawn, plain.view.shape[:2], 8)
                mask = va.datasets.mask_on_view(mask, plain.crop_box, plain.view.shape[:2])
                assert row["mass_on_mask"] == pytest.approx(va.evaluation.mass_on_mask(heat, mask), nan_ok=True)


@pytest.mark.parametrize("sources", [("attention",), ("attention", "norm")])
def test_maps_with_negative_weights_are_measured_by_their_size(photos: NoisePhotos, sources: Sequence[str]) -> None:  # noqa: F811
    """CaiT mixes its heads after the softmax."""
    cait = va.load_model(model_zoo.build("cait", model_zoo.WIDE))
    found = va.evaluate_maps(cait, photos, layers=[0], progress=False, sources=sources).photos
    for index, name in enumerate(photos.names):
        capture = va.capture_attention(cait, photos.load(index))
        heads = capture.patch_attention(0)
        assert heads.min() < 0
        row = found[(found["photo"] == name) & (found["map"] == "mean")].iloc[0]
        assert row["border_share"] == pytest.approx(va.evaluation.border_share(np.abs(heads.mean(0))), abs=1e-5)
        assert row["head_agreement"] == pytest.approx(va.evaluation.head_agreement(np.abs(heads)), abs=1e-5)
        mask = photos.mask(index)
        if mask is not None:
            heat = np.abs(va.smooth_map(heads.mean(0), capture.view.shape[:2], 8))
            mask = va.datasets.mask_on_view(mask, capture.crop_box, capture.view.shape[:2])
            assert row["mass_on_mask"] == pytest.approx(va.evaluation.mass_on_mask(heat, mask), abs=1e-4, nan_ok=True)


def test_a_source_that_does_not_exist_is_refused(
    wide_model: va.models.AttentionModel,
    photos: NoisePhotos,  # noqa: F811
) -> None:
    with pytest.raises(va.errors.SettingsError, match="source 'saliency' does not exist; possible: attention, norm"):
        va.evaluate_maps(wide_model, photos, sources=["saliency"], progress=False)


REFERENCE = {  # ViT-Tiny, last block, 26 masked pets: measured by an independent implementation
    "norm, mean": (0.623, 0.72),
    "rollout, mean": (0.549, 0.81),
    "relevance": (0.678, 0.91),
    "gradient, mean": (0.739, 0.90),
}
RECOMMENDED_AT_LEAST = (0.83, 0.90)


def test_real_maps_have_the_figures_measured_independently(shared: Path, real_model: va.models.AttentionModel) -> None:
    pets = va.datasets.load_masked_folder(shared / "data" / "pets_masks")
    sources, sinks = ("norm", "rollout", "relevance", "gradient", "contribution_sum"), ("show", "leave_out")
    evaluation = va.evaluate_maps(real_model, pets, (-1,), ["mean"], progress=False, sources=sources, sinks=sinks)
    table = evaluation.table()
    for name, (mass, pointing) in REFERENCE.items():
        assert table.loc[name, "mass_on_mask"] == pytest.approx(mass, abs=0.002), name
        assert table.loc[name, "pointing_game"] == pytest.approx(pointing, abs=0.006), name
    best = va.ViewSettings.recommended()
    assert (best.source, best.aggregation, best.sinks, best.layer) == ("contribution_sum", "mean", "outline", -1)
    recommended = table.loc["contribution_sum", ["mass_on_mask", "pointing_game"]].to_numpy()
    assert (recommended >= RECOMMENDED_AT_LEAST).all()


def test_maps_without_sinks_are_rows_of_their_own(wide_model: va.models.AttentionModel, photos: NoisePhotos) -> None:  # noqa: F811
    both = ("show", "leave_out")
    found = va.evaluate_maps(wide_model, photos, aggregations=["max"], progress=False, sinks=both).photos
    assert list(found["map"][:4]) == ["uniform", "centre blob", "max", "max, no sinks"]
    for index in range(len(photos)):
        capture = va.capture_attention(wide_model, photos.load(index))
        for name, sinks in (("max", "show"), ("max, no sinks", "leave_out")):
            drawn = grid_map(capture, va.ViewSettings(aggregation="max", sinks=sinks))
            row = found[(found["photo"] == photos.names[index]) & (found["map"] == name)].iloc[0]
            assert row["entropy"] == pytest.approx(va.evaluation.entropy(drawn), rel=1e-5)


class CountedPhotos(NoisePhotos):
    """The photos, noting which were opened."""

    opened: ClassVar[list[int]] = []

    def load(self, index: int) -> Image.Image:
        self.opened.append(index)
        return super().load(index)


@pytest.fixture
def forwards(wide_model: va.models.AttentionModel) -> Iterator[list[int]]:
    """The batch sizes of the model's forward passes, in order."""
    sizes: list[int] = []
    handle = wide_model.module.register_forward_pre_hook(lambda module, inputs: sizes.append(len(inputs[0])))
    yield sizes
    handle.remove()


@pytest.mark.parametrize(
    ("sources", "sinks", "expected"),
    [
        pytest.param(["attention"], ["show"], [3, 1], id="plain attention goes in batches"),
        pytest.param(["attention"], ["show", "leave_out"], [1] * 4, id="sinks take the capture"),
        pytest.param(["attention", "norm", "rollout"], ["show"], [1] * 4, id="no class"),
        pytest.param(
            va.SOURCES,
            ["show", "leave_out"],
            [1] * 12,
            id="a class takes two passes: gradients, contributions",
        ),
    ],
)
def test_each_photo_is_opened_once_and_goes_forward_once(
    wide_model: va.models.AttentionModel,
    photos: NoisePhotos,  # noqa: F811
    forwards: list[int],
    sources: Sequence[str],
    sinks: Sequence[str],
    expected: list[int],
) -> None:
    counted = CountedPhotos(**vars(photos))
    counted.opened.clear()
    layers = [0, 1]
    va.evaluate_maps(wide_model, counted, layers, batch_size=3, progress=False, sources=sources, sinks=sinks)
    assert counted.opened == [0, 1, 2, 3]
    assert forwards == expected


def test_plain_maps_are_the_same_whether_beside_other_sources_or_alone(
    wide_model: va.models.AttentionModel,
    photos: NoisePhotos,  # noqa: F811
) -> None:
    alone = va.evaluate_maps(wide_model, photos, [0, 1], progress=False)
    beside = va.evaluate_maps(wide_model, photos, [0, 1], progress=False, sources=["attention", "relevance"])
    same = beside.photos[beside.photos["map"] != "relevance"].reset_index(drop=True)
    pandas.testing.assert_frame_equal(alone.photos, same, rtol=0, atol=1e-6)
