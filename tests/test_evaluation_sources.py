"""Sources measured over a split: against single captures, and against figures of an independent implementation."""

from __future__ import annotations

from pathlib import Path

import pytest

import vitattn_widgets as va
from vitattn_widgets.render import grid_map

from .test_evaluation import NoisePhotos, photos  # noqa: F401 a fixture


def test_every_row_of_a_source_is_what_single_captures_give(
    wide_model: va.AttentionModel,
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
            assert row["border"] == pytest.approx(va.border_share(drawn), nan_ok=True)
            mask = photos.mask(index)
            if mask is not None:
                heat = va.smooth_map(drawn, plain.view.shape[:2], 8)
                mask = va.mask_on_view(mask, plain.crop_box, plain.view.shape[:2])
                assert row["mass"] == pytest.approx(va.mass_on_mask(heat, mask), nan_ok=True)


def test_a_source_that_does_not_exist_or_needs_a_classifier_is_told(
    wide_model: va.AttentionModel,
    photos: NoisePhotos,  # noqa: F811
) -> None:
    with pytest.raises(va.SettingsError, match="source 'saliency' does not exist; possible: attention, norm"):
        va.evaluate_maps(wide_model, photos, sources=["saliency"], progress=False)


REFERENCE = {  # ViT-Tiny, last block, 26 masked pets: measured by an independent implementation
    "norm, mean": (0.623, 0.72),
    "rollout, mean": (0.549, 0.81),
    "relevance": (0.678, 0.91),
    "gradient, mean": (0.739, 0.90),
}
RECOMMENDED_AT_LEAST = (0.74, 0.90)


def test_real_maps_have_the_figures_measured_independently(shared: Path, real_model: va.AttentionModel) -> None:
    pets = va.load_masked_folder(shared / "data" / "pets_masks")
    sources, sinks = ("norm", "rollout", "relevance", "gradient", "gradient_late"), ("show", "leave_out")
    evaluation = va.evaluate_maps(real_model, pets, (-1,), ["mean"], progress=False, sources=sources, sinks=sinks)
    table = evaluation.table()
    for name, (mass, pointing) in REFERENCE.items():
        assert table.loc[name, "mass"] == pytest.approx(mass, abs=0.002), name
        assert table.loc[name, "pointing"] == pytest.approx(pointing, abs=0.006), name
    best = va.ViewSettings.recommended()
    assert (best.source, best.aggregation, best.sinks, best.layer) == ("gradient_late", "mean", "outline", -1)
    recommended = table.loc["gradient_late", ["mass", "pointing"]].to_numpy()
    assert (recommended >= RECOMMENDED_AT_LEAST).all()


def test_maps_without_sinks_are_rows_of_their_own(wide_model: va.AttentionModel, photos: NoisePhotos) -> None:  # noqa: F811
    both = ("show", "leave_out")
    found = va.evaluate_maps(wide_model, photos, aggregations=["max"], progress=False, sinks=both).photos
    assert list(found["map"][:4]) == ["uniform", "centre blob", "max", "max, no sinks"]
    for index in range(len(photos)):
        capture = va.capture_attention(wide_model, photos.load(index))
        for name, sinks in (("max", "show"), ("max, no sinks", "leave_out")):
            drawn = grid_map(capture, va.ViewSettings(aggregation="max", sinks=sinks))
            row = found[(found["photo"] == photos.names[index]) & (found["map"] == name)].iloc[0]
            assert row["entropy"] == pytest.approx(va.entropy(drawn), rel=1e-5)
