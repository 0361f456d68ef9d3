"""Measures over a split, against a loop over photos written with the public functions."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas
import pytest
from PIL import Image

import vitattn_widgets as va
from vitattn_widgets.datasets.catalogue import INFOS
from vitattn_widgets.evaluation.result import EVALUATED

from .. import stage_zoo

CLASSES = ("cat", "dog")


@dataclass(frozen=True)
class NoisePhotos(va.datasets.PhotoSet):
    """Four photos of several sizes; the second has an empty mask, the third none."""

    def load(self, index: int) -> Image.Image:
        number = int(self.names[index])
        rng = np.random.default_rng(number)
        return Image.fromarray(rng.integers(0, 256, (70 + 10 * number, 91, 3), dtype=np.uint8))

    def mask(self, index: int) -> np.ndarray | None:
        number = int(self.names[index])
        mask = np.zeros((70 + 10 * number, 91), np.uint8)
        mask[10:50, 20:60] = number != 1
        mask[30:35, :25] = 255
        return None if number == 2 else mask


@pytest.fixture
def photos() -> NoisePhotos:
    names, labels = ("0", "1", "2", "3"), (0, 1, 1, 0)
    return NoisePhotos(INFOS["demo"], "test", CLASSES, stand_in=True, names=names, labels=labels)


@pytest.fixture(scope="module")
def model(wide_model: va.models.AttentionModel) -> va.models.AttentionModel:
    count = len(wide_model.class_names)
    return replace(wide_model, class_names=("dog", "cat", *(f"other {index}" for index in range(count - 2))))


def slow_rows(model: va.models.AttentionModel, photos: va.datasets.PhotoSet, layer: int) -> list[dict[str, float]]:
    """What `evaluate_maps` measures, a photo at a time, from whole captures."""
    rows = []
    for index in range(len(photos)):
        capture = va.capture_attention(model, photos.load(index))
        heads, size, side = capture.patch_attention(layer), capture.view.shape[:2], max(capture.patch_shape(layer))
        grid = heads.shape[1:]
        maps = {"uniform": va.evaluation.uniform_map(grid), "centre blob": va.evaluation.centre_blob(grid)}
        maps |= {"mean": heads.mean(0), "max": heads.max(0)}
        if len(heads) > 1:
            maps["mean / std"] = heads.mean(0) / heads.std(0)
        for name, grid_map in maps.items():
            row = {
                "border_share": va.evaluation.border_share(grid_map),
                "flat_share": va.evaluation.share_on(grid_map, va.evaluation.flat_ground(capture.view, grid)),
                "entropy": va.evaluation.entropy(grid_map),
                "head_agreement": 1.0 if name in ("uniform", "centre blob") else va.evaluation.head_agreement(heads),
                "mass_on_mask": np.nan,
                "pointing_game": np.nan,
                "mass_on_outline": np.nan,
            }
            mask = photos.mask(index)
            if mask is not None:
                heat = va.smooth_map(grid_map, size, side)
                mask = va.datasets.mask_on_view(mask, capture.crop_box, size)
                row["mass_on_mask"], row["pointing_game"] = (
                    va.evaluation.mass_on_mask(heat, mask),
                    va.evaluation.pointing_game(heat, mask),
                )
                row["mass_on_outline"] = va.evaluation.mass_on_mask(heat, va.datasets.mask_outline(mask, side // 2))
            rows.append(row | {"map": name, "best": capture.top(1)[0][0]})
    return rows


@pytest.mark.parametrize("layer", [0, -1])
@pytest.mark.parametrize("batch_size", [1, 3, 16])
def test_every_row_is_what_whole_captures_give(
    model: va.models.AttentionModel, photos: NoisePhotos, layer: int, batch_size: int
) -> None:
    found = va.evaluate_maps(model, photos, layers=[layer], batch_size=batch_size, progress=False).photos
    expected = slow_rows(model, photos, layer)
    assert list(found["map"]) == [row["map"] for row in expected]
    assert list(found["predicted"]) == [row["best"] for row in expected]
    for measure in EVALUATED:
        np.testing.assert_allclose(found[measure], [row[measure] for row in expected], rtol=1e-4, err_msg=measure)
    assert np.isnan(found["mass_on_mask"]).sum() == 10  # no evidence in one photo, no mask for another


@pytest.mark.parametrize("key", ["swin", "pvt_v2", "hiera"])
def test_layers_of_every_grid_are_measured_on_their_own(photos: NoisePhotos, key: str) -> None:
    model = va.load_model(stage_zoo.build(key), img_size=stage_zoo.MODELS[key].size)
    found = va.evaluate_maps(model, photos, (0, -1), ("mean",), progress=False).photos
    for layer, number in ((0, 0), (-1, len(model.sites) - 1)):
        expected = [row for row in slow_rows(model, photos, layer) if row["map"] not in ("max", "mean / std")]
        rows = found[found["layer"] == number]
        assert list(rows["map"]) == [row["map"] for row in expected]
        for measure in EVALUATED:
            np.testing.assert_allclose(rows[measure], [row[measure] for row in expected], rtol=1e-4, err_msg=measure)
    sources = ("contribution_sum", "gradient_late")
    rows = va.evaluate_maps(model, photos, (0, -1), ("mean",), progress=False, sources=sources).photos
    assert len(rows) == len(photos) * 2 * (2 + len(sources))
    assert rows["entropy"].notna().all()


def test_answers_are_compared_by_name(model: va.models.AttentionModel, photos: NoisePhotos) -> None:
    found = va.evaluate_maps(model, photos, progress=False).photos.drop_duplicates("photo")
    assert list(found["photo"]) == list(photos.names)
    assert list(found["label"]) == ["cat", "dog", "dog", "cat"]
    assert list(found["right"]) == list(found["predicted"] == found["label"])
    strangers = replace(photos, class_names=("lynx", "wolf"))
    assert va.evaluate_maps(model, strangers, progress=False).photos["right"].isna().all()


def test_the_table_is_the_mean_over_photos_that_have_a_value(
    model: va.models.AttentionModel, photos: NoisePhotos
) -> None:
    evaluation = va.evaluate_maps(model, photos, layers=[0, 1], progress=False)
    table = evaluation.table()
    assert list(table.loc[0].index) == ["uniform", "centre blob", "mean", "max", "mean / std"]
    rows = evaluation.photos.query("layer == 1 and map == 'max'")
    values = [value for value in rows["mass_on_mask"] if not np.isnan(value)]
    assert len(values) == 2
    assert table.loc[(1, "max"), "mass_on_mask"] == pytest.approx(sum(values) / 2)
    assert table.loc[(1, "max"), "border_share"] == pytest.approx(sum(rows["border_share"]) / 4)
    assert "STAND-IN" in str(evaluation)
    assert "4 photos" in evaluation._repr_html_()


def test_measures_that_no_photo_has_are_left_out_and_said_in_neither_table(
    model: va.models.AttentionModel, photos: NoisePhotos
) -> None:
    evaluation = va.evaluate_maps(model, photos.take([2]), progress=False)
    assert list(evaluation.table()) == ["border_share", "flat_share", "entropy", "head_agreement"]
    assert "evidence" not in str(evaluation)


def test_some_photos_of_an_evaluation(model: va.models.AttentionModel, photos: NoisePhotos) -> None:
    evaluation = va.evaluate_maps(model, photos, progress=False)
    dogs = evaluation.only(evaluation.photos["label"] == "dog", "dogs")
    assert set(dogs.photos["label"]) == {"dog"}
    assert dogs.heading.endswith("dogs: 2 photos")
    assert len(evaluation.photos) == 20
    with pytest.raises(va.errors.SettingsError, match="no photos are left: birds"):
        evaluation.only(evaluation.photos["label"] == "bird", "birds")


def test_differences_are_taken_photo_by_photo(model: va.models.AttentionModel, photos: NoisePhotos) -> None:
    evaluation = va.evaluate_maps(model, photos, progress=False)
    found = evaluation.differences("border_share", baseline="centre blob", resamples=500)
    values = {name: list(rows["border_share"]) for name, rows in evaluation.photos.groupby("map")}
    gains = [ours - theirs for ours, theirs in zip(values["max"], values["centre blob"], strict=True)]
    assert list(found.index) == ["uniform", "mean", "max", "mean / std"]
    assert found.loc["max", "difference"] == pytest.approx(sum(gains) / 4)
    assert found.loc["max", "more"] == sum(gain > 0 for gain in gains) / 4
    assert (found["photos"] == 4).all()
    assert min(gains) <= found.loc["max", "low"] < found.loc["max", "high"] <= max(gains)
    assert set(evaluation.differences("mass_on_mask")["photos"]) == {2}  # photos without evidence are left out


def test_the_interval_is_as_wide_as_statistics_say(model: va.models.AttentionModel, photos: NoisePhotos) -> None:
    evaluation = va.evaluate_maps(model, photos.take([0]), aggregations=["mean"], progress=False)
    gains = np.random.default_rng(0).normal(0.1, 0.05, 400)
    many = pandas.concat([evaluation.photos.assign(photo=str(number)) for number in range(400)], ignore_index=True)
    mean = many["map"] == "mean"
    many.loc[many["map"] == "uniform", "mass_on_mask"] = 0.2
    many.loc[mean, "mass_on_mask"] = 0.2 + gains
    row = replace(evaluation, photos=many).differences("mass_on_mask").loc["mean"]
    assert row["difference"] == pytest.approx(gains.mean())
    assert row["high"] - row["low"] == pytest.approx(2 * 1.96 * gains.std() / 20, rel=0.1)


def test_differences_that_do_not_exist_are_refused(model: va.models.AttentionModel, photos: NoisePhotos) -> None:
    evaluation = va.evaluate_maps(model, photos.take([2]), layers=[0, 1], progress=False)
    one = evaluation.only(evaluation.photos["layer"] == 1, "layer 1")
    with pytest.raises(va.errors.SettingsError, match="measure 'masses' does not exist; possible: mass_on_mask, "):
        one.differences("masses")
    with pytest.raises(va.errors.SettingsError, match="map 'edge' does not exist; possible: uniform, "):
        one.differences("border_share", baseline="edge")
    with pytest.raises(va.errors.SettingsError, match="within one layer"):
        evaluation.differences("border_share")
    with pytest.raises(va.errors.SettingsError, match="needs masks"):
        one.differences("mass_on_mask")


def test_what_cannot_be_measured_is_refused(model: va.models.AttentionModel, photos: NoisePhotos) -> None:
    with pytest.raises(va.errors.DataError, match="has no photos"):
        va.evaluate_maps(model, photos.take([]), progress=False)
    with pytest.raises(va.errors.SettingsError, match="aggregation 'median' does not exist"):
        va.evaluate_maps(model, photos, aggregations=["median"], progress=False)
    with pytest.raises(va.errors.SettingsError, match="layer 9 does not exist"):
        va.evaluate_maps(model, photos, layers=[9], progress=False)


REFERENCE = {  # ViT-Tiny, last block, 26 masked pets: measured by an independent implementation
    "uniform": (0.481, None),
    "centre blob": (0.637, 0.96),
    "mean": (0.482, 0.19),
    "max": (0.550, 0.46),
    "mean / std": (0.430, 0.27),
}


def test_real_maps_have_the_figures_measured_independently(shared: Path, real_model: va.models.AttentionModel) -> None:
    pets = va.datasets.load_masked_folder(shared / "data" / "pets_masks")
    evaluation = va.evaluate_maps(real_model, pets, progress=False)
    assert "26 photos" in evaluation.heading
    for name, (mass, pointing) in REFERENCE.items():
        measured = evaluation.table().loc[name]
        assert measured["mass_on_mask"] == pytest.approx(mass, abs=0.002), name
        assert pointing is None or measured["pointing_game"] == pytest.approx(pointing, abs=0.006), name
