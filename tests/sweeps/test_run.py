"""A sweep's numbers against each photo captured alone and measured by formulas written out, and its ways in."""

from __future__ import annotations

import math
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas
import pytest
import torch
from PIL import Image
from scipy import stats

import vitattn_widgets as va
from vitattn_widgets import cli
from vitattn_widgets.capture.batches import capture_rows_tensor
from vitattn_widgets.datasets.folders import UNLABELLED
from vitattn_widgets.sweeps import measure as measure_module, result as result_module
from vitattn_widgets.sweeps.folder import Plan
from vitattn_widgets.sweeps.identity import photos_fingerprint, weights_digest
from vitattn_widgets.sweeps.measure import Classes, look_first, mass_on_patches, model_sinks
from vitattn_widgets.sweeps.photos import mask_on_patches
from vitattn_widgets.sweeps.result import difference

from .. import model_zoo, stage_zoo
from ..conftest import noise_photo
from . import lab as sweep_lab

pytestmark = pytest.mark.usefixtures("one_thread")


def formulas(heads: np.ndarray, flat: np.ndarray, sinks: np.ndarray) -> dict[str, float]:
    """The measures of one photo's maps, in plain loops over patches."""
    grid_map = heads.astype(np.float64).mean(0)
    rows, cols = grid_map.shape
    cells = [(row, col) for row in range(rows) for col in range(cols)]
    border = [cell for cell in cells if cell[0] in (0, rows - 1) or cell[1] in (0, cols - 1)]
    kept = [cell for cell in cells if not sinks[cell]]
    whole, left = sum(grid_map[c] for c in cells), sum(grid_map[c] for c in kept)
    shares = [grid_map[c] / whole for c in cells]
    each = [[head[c] / head.sum() for c in cells] for head in heads.astype(np.float64)]
    mixed = [np.mean([head[place] for head in each]) for place in range(len(cells))]

    def bits(values: list[float]) -> float:
        return -sum(value * math.log(value) for value in values if value > 0)

    divergence = bits(mixed) - np.mean([bits(head) for head in each])
    return {
        "border_share": sum(grid_map[c] for c in border) / whole,
        "border_share_without_sinks": sum(grid_map[c] for c in border if not sinks[c]) / left,
        "flat_share": sum(grid_map[c] * flat[c] for c in cells) / whole,
        "flat_share_without_sinks": sum(grid_map[c] * flat[c] for c in kept) / left,
        "entropy": bits(shares) / math.log(len(cells)),
        "head_agreement": 1 - divergence / math.log(len(heads)),
        "sink_share": 1 - left / whole,
    }


def test_every_number_is_that_of_the_photo_captured_alone(swept: va.sweeps.SweepResult, sweep_folder: Path) -> None:
    model = sweep_lab.colour_model()
    assert len(swept.table) == 2 * 29
    assert list(swept.table["photo"]) == sorted(swept.table["photo"])
    for _, line in swept.table.iterrows():
        capture = va.capture_attention(model, sweep_folder / line["photo"])
        (name, probability), layer = capture.top(1)[0], line["layer"]
        assert line["predicted"] == name
        assert line["confidence"] == pytest.approx(probability, abs=1e-5)
        assert line["prefix_share"] == pytest.approx(capture.prefix_share(layer).mean(), abs=1e-5)
        flat = va.evaluation.flat_ground(capture.view, (4, 6))
        for measure, value in formulas(capture.patch_attention(layer), flat, swept.sinks(layer)).items():
            assert line[measure] == pytest.approx(value, abs=1e-5), measure
    assert "mass_on_mask" not in swept.table


def test_sinks_of_a_model_are_those_of_most_photos(
    sweep_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And what they hold is left out where it is asked for."""
    seen = []

    def found(capture: va.capture.AttentionCapture, layer: int) -> np.ndarray:
        seen.append(layer)
        sinks = np.zeros((4, 6), bool)
        sinks[0, 0] = True  # in every photo
        sinks[1, 1 + len(seen) % 3] = True  # elsewhere in each
        return sinks

    monkeypatch.setattr(measure_module, "find_sinks", found)
    result = sweep_lab.run(sweep_folder, tmp_path / "out", layers=(-1,))
    assert set(seen) == {2}
    assert result.state.sinks == {"2": [[0, 0]]}
    model = sweep_lab.colour_model()
    for _, line in result.table.iterrows():
        heads = va.capture_attention(model, sweep_folder / line["photo"]).patch_attention()
        assert line["sink_share"] == pytest.approx(heads.mean(0)[0, 0] / heads.mean(0).sum(), abs=1e-5)
        assert line["border_share_without_sinks"] < line["border_share"]
    page = result.report.read_text()
    assert "1 sink patch (on the border), which holds" in page
    assert "with the model&#x27;s sinks left out" in page or "with the model's sinks left out" in page


def test_unreadable_photos_have_no_say_in_the_sinks(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"no")
    photos = va.datasets.load_photo_folder(tmp_path)
    assert not model_sinks(sweep_lab.colour_model(), photos, (1,), [(4, 6)])[1].any()


def test_right_is_said_where_the_model_has_the_class(swept: va.sweeps.SweepResult) -> None:
    table = swept.of_layer()
    said = {"red": "red", "Green": "green", "dark_blue": "dark blue"}
    for photo, label, predicted, right in table[["photo", "label", "predicted", "right"]].itertuples(index=False):
        first = photo.partition("/")[0]
        assert label == said.get(first, "unknown")
        assert pandas.isna(right) if first == "other" else right == (label == predicted)
    assert table["right"].notna().sum() == 23


def test_classes_are_compared_by_name_however_it_is_spelt() -> None:
    """As with ImageNet's two cranes, which a data set distinguishes by their ids."""
    labels = ("crane (n02012849)", "Egyptian-cat", "dog", UNLABELLED)
    info = va.datasets.DatasetInfo("set", "Set", None, "", "", "")
    photos = va.datasets.PhotoSet(info, "test", labels, False, ("a", "b", "c", "d"), (0, 1, 2, 3))
    classes = Classes.of(photos, ("Crane", "egyptian cat", "crane"))
    assert [classes.right(0, predicted) for predicted in range(3)] == [1, 0, 1]
    assert [classes.right(1, predicted) for predicted in range(3)] == [0, 1, 0]
    assert [classes.right(index, 0) for index in (2, 3)] == [-1, -1]
    assert classes.right(0, -1) == -1
    assert [classes.groups[classes.group(index, 0)[0]] for index in range(4)] == list(labels)


def test_what_cannot_be_read_is_one_line_and_no_stop(swept: va.sweeps.SweepResult) -> None:
    assert len(swept.skipped) == 1
    assert swept.skipped[0].endswith("red/04.png: not a picture of a known type (JPEG, PNG, WEBP, GIF, TIFF, BMP, PPM)")
    assert (swept.folder / "skipped.txt").read_text() == swept.skipped[0] + "\n"
    assert "red/04.png" not in set(swept.table["photo"])


def test_mean_maps_are_means_of_maps_that_sum_to_one(swept: va.sweeps.SweepResult, sweep_folder: Path) -> None:
    model = sweep_lab.colour_model()
    assert set(swept.mean_maps) == {"red", "green", "dark blue", "unknown"}
    assert set(swept.right_maps) <= {"right", "wrong"}
    groups = {name: swept.of_layer()["label"] == name for name in swept.mean_maps}
    said = swept.of_layer()["right"]
    groups |= {name: (said == (name == "right")).fillna(False) for name in swept.right_maps}
    for name, which in groups.items():
        photos = swept.of_layer()[which]["photo"]
        rows = [va.capture_attention(model, sweep_folder / photo).patch_attention() for photo in photos]
        mean = np.mean([heads.mean(0) / heads.mean(0).sum() for heads in rows], axis=0)
        kept = (swept.mean_maps | swept.right_maps)[name]
        np.testing.assert_allclose(kept[1], mean, atol=1e-6)
        assert kept.shape == (2, 4, 6)
        np.testing.assert_allclose(kept.sum((1, 2)), 1, rtol=1e-5)


def test_layers_of_every_grid_are_swept_on_their_own(tmp_path: Path) -> None:
    model = va.load_model(stage_zoo.build("swin"), img_size=(64, 96))
    (tmp_path / "photos").mkdir()
    for number in range(5):
        Image.fromarray(noise_photo((60, 90), number)).save(tmp_path / "photos" / f"{number}.png")
    result = va.sweep(model, tmp_path / "photos", tmp_path / "out", layers=(0, -1), workers=0, progress=False)
    assert (result.grid, result.grid_of(0)) == ((8, 12), (16, 24))
    means = {0: np.zeros((16, 24)), 3: np.zeros((8, 12))}
    for _, line in result.table.iterrows():
        capture, layer = va.capture_attention(model, tmp_path / "photos" / line["photo"]), line["layer"]
        heads = capture.patch_attention(layer)
        flat = va.evaluation.flat_ground(capture.view, heads.shape[1:])
        for measure, value in formulas(heads, flat, result.sinks(layer)).items():
            assert line[measure] == pytest.approx(value, abs=1e-5), measure
        means[layer] += heads.mean(0) / heads.mean(0).sum()
    maps, counts = result.mean_maps, result.of_layer()["predicted"].value_counts()
    for layer, total in means.items():
        whole = sum(result.on_grid(maps[name], layer) * counts[name] for name in maps)
        np.testing.assert_allclose(whole, total, atol=1e-5)
    assert "8 x 12 patches" in result.report.read_text()


def test_other_batches_give_the_same_numbers(swept: va.sweeps.SweepResult, sweep_folder: Path, tmp_path: Path) -> None:
    other = sweep_lab.run(sweep_folder, tmp_path / "out", batch_size=7, workers=1, layers=(2,))
    pandas.testing.assert_frame_equal(
        other.table.drop(columns="look_first"),
        swept.of_layer(2).drop(columns="look_first").reset_index(drop=True),
        atol=1e-5,
    )


def test_a_csv_table_holds_what_a_parquet_one_holds(
    swept: va.sweeps.SweepResult, sweep_folder: Path, tmp_path: Path
) -> None:
    other = sweep_lab.run(sweep_folder, tmp_path / "out", table="csv")
    assert (tmp_path / "out" / "table.csv").read_text().startswith("photo,label,predicted,confidence,right,layer,")
    pandas.testing.assert_frame_equal(other.table, swept.table, rtol=1e-12, check_dtype=False)


def test_aggregations_are_those_of_the_maps(sweep_folder: Path, tmp_path: Path) -> None:
    result = sweep_lab.run(sweep_folder, tmp_path / "out", aggregation="max", layers=(1,), limit=5)
    assert list(result.table["photo"]) == [result.table["photo"][0], *result.table["photo"][1:]]
    model = sweep_lab.colour_model()
    for _, line in result.table.iterrows():
        heads = va.capture_attention(model, sweep_folder / line["photo"]).patch_attention(1)
        assert line["border_share"] == pytest.approx(va.evaluation.border_share(heads.max(0)), abs=1e-5)


def test_names_that_are_no_text_stop_nothing(tmp_path: Path) -> None:
    bad = tmp_path / os.fsdecode(b"class \xff")
    try:
        bad.mkdir()
    except OSError:
        pytest.skip("this file system takes only names that are text")
    Image.fromarray(noise_photo((40, 50))).save(bad / os.fsdecode(b"\xfe.png"))
    (bad / os.fsdecode(b"\xfd.png")).write_bytes(b"no")
    for table in ("parquet", "csv"):
        result = sweep_lab.run(tmp_path, tmp_path / table, table=table, limit=None, progress=True)
        assert list(result.of_layer()["photo"]) == ["class ?/?.png"]
        assert list(result.mean_maps) == ["class ?"]
        assert "class ?/?.png: not a picture" in result.skipped[0]


def test_a_limit_is_spread_evenly(sweep_folder: Path, tmp_path: Path) -> None:
    names = va.datasets.load_photo_folder(sweep_folder).names
    result = sweep_lab.run(sweep_folder, tmp_path / "out", limit=4)
    assert list(result.of_layer()["photo"]) == [names[0], names[10], names[19], names[29]]


def test_maps_with_negative_weights_are_measured_by_their_size(sweep_folder: Path, tmp_path: Path) -> None:
    """CaiT mixes its heads after the softmax."""
    model = va.load_model(model_zoo.build("cait", model_zoo.WIDE))
    result = va.sweep(
        model, sweep_folder, tmp_path / "out", layers=(0,), limit=3, workers=0, progress=False, pictures=1
    )
    for _, line in result.table.iterrows():
        heads = va.capture_attention(model, sweep_folder / line["photo"]).patch_attention(0)
        assert heads.min() < 0
        assert line["border_share"] == pytest.approx(va.evaluation.border_share(np.abs(heads.mean(0))), abs=1e-5)


def test_a_model_without_classifier_has_maps_all_the_same(sweep_folder: Path, tmp_path: Path) -> None:
    module = model_zoo.build("vit", model_zoo.WIDE)
    module.reset_classifier(0)
    result = va.sweep(va.load_model(module), sweep_folder, tmp_path / "out", workers=0, progress=False, pictures=1)
    assert result.table["predicted"].isna().all()
    assert result.table["right"].isna().all()
    assert result.table["border_share"].notna().all()
    assert set(result.mean_maps) == {"red", "Green", "dark_blue", "unknown"}
    assert "it is unknown which predictions are right" in result.report.read_text()


def test_photos_without_classes_are_grouped_by_what_is_predicted(tmp_path: Path) -> None:
    for number in range(4):
        Image.fromarray(noise_photo((40, 50), number)).save(tmp_path / f"{number}.jpg")
    result = sweep_lab.run(tmp_path, tmp_path / "out")
    assert result.table["label"].isna().all()
    assert set(result.mean_maps) == set(result.table["predicted"])
    assert result.right_and_wrong() is None
    page = result.report.read_text()
    assert "Mean map by predicted class" in page
    assert "it is unknown which predictions are right" in page


def test_rows_of_some_layers_are_those_of_all(wide_model: va.models.AttentionModel) -> None:
    tensor = torch.randn(2, 3, *model_zoo.WIDE)
    whole = capture_rows_tensor(wide_model, tensor)
    names = list(wide_model.sites)
    some = capture_rows_tensor(wide_model, tensor, [names[0], names[2]])
    assert some.layer_names == (names[0], names[2])
    np.testing.assert_array_equal(some.attention(1), whole.attention(2))
    np.testing.assert_array_equal(some.attention(0), whole.attention(0))
    np.testing.assert_array_equal(some.probabilities, whole.probabilities)


@pytest.mark.parametrize("seed", range(3))
def test_mass_on_patches_is_the_mass_of_the_map_as_squares(seed: int) -> None:
    rng = np.random.default_rng(seed)
    grid_map = rng.gamma(0.3, size=(4, 6))
    mask = rng.choice([0, 1, 7, 255], size=(32, 48)).astype(np.uint8)
    evidence, counted = mask_on_patches(mask, (4, 6))
    squares = np.kron(grid_map, np.ones((8, 8)))
    mass = va.evaluation.mass_on_mask(squares, mask)
    assert mass_on_patches(grid_map, evidence, counted) == pytest.approx(mass, rel=1e-12)
    assert evidence.sum() / counted.sum() == pytest.approx(va.evaluation.mass_on_mask(np.ones((32, 48)), mask))


def test_masks_are_measured_where_there_are_any(tmp_path: Path) -> None:
    for part in ("images", "masks"):
        (tmp_path / part).mkdir()
    for number in range(5):
        Image.fromarray(noise_photo((40, 60), number)).save(tmp_path / "images" / f"{number}.png")
        mask = np.zeros((40, 60), np.uint8)
        mask[5:25, 10 + 4 * number : 30] = number > 0  # the first has no evidence
        Image.fromarray(mask).save(tmp_path / "masks" / f"{number}.png")
    (tmp_path / "masks" / "4.png").write_bytes((tmp_path / "masks" / "4.png").read_bytes()[:60])
    Image.fromarray(noise_photo((40, 60), 5)).save(tmp_path / "images" / "5.png")  # nothing is said of it
    Image.fromarray(noise_photo((40, 60), 6)).save(tmp_path / "images" / "6.png")
    Image.fromarray(np.ones((60, 40), np.uint8)).save(tmp_path / "masks" / "6.png")
    result = sweep_lab.run(tmp_path, tmp_path / "out", layers=(-1,))
    assert len(result.table) == 7
    assert "masks/4.png: this mask cannot be read" in result.skipped[0]
    assert result.skipped[1].startswith(
        "images/6.png: its mask has 40 x 60 px, the photo 60 x 40 px; the photo is meas"
    )
    assert len(result.skipped) == 2
    photos = va.datasets.load_photo_folder(tmp_path)
    model = sweep_lab.colour_model()
    for index, line in result.table.iterrows():
        if index in (0, 4, 5, 6):
            assert math.isnan(line["mass_on_mask"])
            continue
        capture = va.capture_attention(model, photos.load(index))
        seen = va.datasets.mask_on_view(photos.mask(index), capture.crop_box, capture.view.shape[:2])
        squares = np.kron(capture.patch_attention().mean(0), np.ones((8, 8)))
        assert line["mass_on_mask"] == pytest.approx(va.evaluation.mass_on_mask(squares, seen), abs=1e-5)
        assert line["mask_area"] == pytest.approx((seen == 1).sum() / (seen != 255).sum())


def test_boxes_count_as_masks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(3):
        Image.fromarray(noise_photo((40, 60), number)).save(tmp_path / f"{number}.png")
    (tmp_path / "2.png").write_bytes(b"no")
    (tmp_path / "boxes.csv").write_text("name,left,top,right,bottom\n0.png,10,5,30,25\n2.png,0,0,5,5\n")
    result = sweep_lab.run(tmp_path, tmp_path / "out", layers=(-1,))
    assert len(result.skipped) == 1
    mask = np.zeros((40, 60), np.uint8)
    mask[5:25, 10:30] = 1
    capture = va.capture_attention(sweep_lab.colour_model(), tmp_path / "0.png")
    seen = va.datasets.mask_on_view(mask, capture.crop_box, capture.view.shape[:2])
    squares = np.kron(capture.patch_attention().mean(0), np.ones((8, 8)))
    assert result.table["mass_on_mask"][0] == pytest.approx(va.evaluation.mass_on_mask(squares, seen), abs=1e-5)
    assert math.isnan(result.table["mass_on_mask"][1])
    (tmp_path / "boxes.csv").write_text("nothing of the kind")
    assert va.datasets.load_photo_folder(tmp_path).boxes is None
    assert "boxes are left out: " in capsys.readouterr().out


def test_look_first_follows_its_rule() -> None:
    border = [0.1, 0.2, 0.3, 0.4, 0.9, 0.2]
    flat = [0.5, 0.1, 0.1, 0.3, 0.1, np.nan]
    table = pandas.DataFrame({"border_share_without_sinks": border, "flat_share_without_sinks": flat})

    def above(values: list[float], value: float) -> float:
        low, middle, high = np.nanpercentile(values, [25, 50, 75])
        return 0.0 if math.isnan(value) else max(0.0, (value - middle) / (high - low))

    urgent = [max(above(border, b), above(flat, f)) for b, f in zip(border, flat, strict=True)]
    order = sorted(range(6), key=lambda place: -urgent[place])
    assert look_first(table).tolist() == [order.index(place) + 1 for place in range(6)]
    same = pandas.DataFrame({name: [0.3] * 4 for name in table})
    assert look_first(same).tolist() == [1, 2, 3, 4]


def test_ranks_are_those_of_each_layer(swept: va.sweeps.SweepResult) -> None:
    for _, table in swept.table.groupby("layer"):
        assert sorted(table["look_first"]) == list(range(1, 30))


def test_the_interval_of_a_difference_is_the_bootstraps(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    right, wrong = rng.normal(0.3, 0.1, 200), rng.normal(0.4, 0.2, 60)
    found = difference(right, wrong, resamples=20_000)
    assert (found.right, found.wrong) == (right.mean(), wrong.mean())
    assert found.difference == pytest.approx(wrong.mean() - right.mean())
    other = stats.bootstrap(
        (wrong, right), lambda a, b, axis: a.mean(axis) - b.mean(axis), n_resamples=20_000, method="percentile"
    ).confidence_interval
    assert (found.low, found.high) == pytest.approx((other.low, other.high), abs=0.004)
    few = difference(right, wrong[:4])
    assert math.isnan(few.low)
    assert few.interval == "too few photos for an interval (fewer than 5)"
    monkeypatch.setattr(result_module, "MAX_RESAMPLED", 259)
    normal = difference(right, wrong)
    assert normal[:3] == found[:3]
    assert (normal.low, normal.high) == pytest.approx((other.low, other.high), abs=0.004)


@pytest.mark.parametrize(("photos", "batch"), [(1, 32), (29, 4), (1046, 32), (100_000, 16)])
def test_parts_hold_every_photo_once(photos: int, batch: int) -> None:
    plan = Plan(photos, batch)
    batches = [indices for part in range(plan.parts) for indices in plan.batches(part)]
    assert [index for indices in batches for index in indices] == list(range(photos))
    assert all(len(indices) == batch for indices in batches[:-1])
    assert plan.parts <= max(32, photos / batch / 64 + 1)


LAYOUTS = {
    "tabby/2021/a.jpg": "tabby",
    "Egyptian_cat/b.jpg": "Egyptian cat",
    "train/n02123045/c.jpg": "tabby",
    "val/n02123045_tabby_d.jpg": "tabby",
    "images/e.jpg": UNLABELLED,
    "f.jpg": UNLABELLED,
    "day 2/my cats/g.jpg": "my cats",
    ".hidden/h.jpg": None,
}


def test_classes_are_read_from_folders_at_any_depth(tmp_path: Path) -> None:
    for name in LAYOUTS:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(noise_photo((20, 20))).save(tmp_path / name)
    photos = va.datasets.load_photo_folder(tmp_path, ["tabby", "Egyptian cat", "goldfish"])
    found = dict(zip(photos.names, (photos.class_names[label] for label in photos.labels), strict=True))
    assert found == {name: label for name, label in LAYOUTS.items() if label is not None}
    assert photos.names == tuple(sorted(photos.names))


def test_a_split_of_a_data_set_is_swept_as_it_is(tmp_path: Path) -> None:
    model = va.load_model("demo", device="cpu")
    named = va.sweep(
        model, "cassava", tmp_path / "one", stand_in=True, split="validation", limit=6, workers=0, progress=False
    )
    data = va.load_dataset("cassava", stand_in=True)
    for number, (photos, split) in enumerate([(data, "validation"), (data.validation, None)]):
        out = tmp_path / str(number)
        given = va.sweep(model, photos, out, split=split, limit=6, workers=0, progress=False)
        pandas.testing.assert_frame_equal(named.table, given.table)
    assert named.table["mass_on_mask"].notna().any()
    assert named.table["right"].notna().all()
    assert "STAND-IN for Cassava, validation split" in named.title
    assert "These pictures were drawn by code" in named.report.read_text()


def test_the_figures_of_the_masked_pets(real_model: va.models.AttentionModel, shared: Path, tmp_path: Path) -> None:
    """As measured by others: on the border 0.458, on flat ground 0.264, entropy 0.743, on the animal 0.483 smoothed."""
    result = va.sweep(real_model, shared / "data/pets_masks", tmp_path / "out", progress=False)
    means = result.table.mean(numeric_only=True)
    assert means["border_share"] == pytest.approx(0.458, abs=0.001)
    assert means["flat_share"] == pytest.approx(0.264, abs=0.001)
    assert means["entropy"] == pytest.approx(0.743, abs=0.001)
    assert means["mass_on_mask"] == pytest.approx(0.483, abs=0.01)
    assert result.state.sinks == {"11": [[0, 0], [0, 13], [13, 0], [13, 13]]}
    assert len(result.report.read_bytes()) < 3_000_000


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"layers": (9,)}, "layer 9 does not exist"),
        ({"layers": ()}, "at least one layer"),
        ({"aggregation": "median"}, "possible: mean, max, mean_over_std"),
        ({"table": "xlsx"}, "possible: parquet, csv"),
        ({"batch_size": 0}, "at least 1 photo"),
        ({"limit": 0}, "limit must be at least 1"),
        ({"split": "test"}, "a split belongs to a data set"),
        ({"stand_in": True}, "belong to the name of a data set"),
        ({"workers": -1}, "workers must be at least 0"),
    ],
)
def test_mistakes_are_reported_before_any_work(
    sweep_folder: Path, tmp_path: Path, change: dict[str, object], message: str
) -> None:
    with pytest.raises(va.VitattnError, match=message):
        sweep_lab.run(sweep_folder, tmp_path / "out", **change)
    assert not (tmp_path / "out").exists()


def test_photos_that_are_not_there_are_reported(sweep_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(va.errors.DataError, match="no such folder"):
        sweep_lab.run(tmp_path / "nowhere", tmp_path / "out")
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "notes.txt").touch()
    with pytest.raises(va.errors.DataError, match=r"no photos in this folder or below; it holds notes\.txt"):
        sweep_lab.run(tmp_path / "empty", tmp_path / "out")
    (tmp_path / "empty" / "a.png").write_bytes(b"no")
    with pytest.raises(va.errors.DataError, match=r"none of the 1 photos can be read; the first: .*a\.png"):
        sweep_lab.run(tmp_path / "empty", tmp_path / "out")
    with pytest.raises(va.errors.SettingsError, match="split 'all' does not exist"):
        va.sweep(sweep_lab.colour_model(), "demo", split="all")


def test_the_command_line_does_what_the_function_does(
    sweep_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        cli.main(["sweep", "imagenet", "--stand-in", "--model", "demo", "--limit", "9", "-o", str(tmp_path / "a")]) == 0
    )
    printed = capsys.readouterr().out
    assert "9 photos, 0 problems" in printed
    assert f"report {tmp_path / 'a' / 'report.html'}" in printed
    table = pandas.read_parquet(tmp_path / "a" / "table.parquet")
    model = va.load_model("demo", device="cpu")
    other = va.sweep(model, "imagenet", tmp_path / "b", stand_in=True, limit=9, progress=False)
    pandas.testing.assert_frame_equal(table, other.table)
    assert cli.main(["sweep", str(tmp_path / "none"), "--model", "demo", "-o", str(tmp_path / "c")]) == 2
    told = f"vitattn: error: {tmp_path / 'none'}: no such folder; give a folder of photos, or the name of a data set: "
    assert capsys.readouterr().err == f"{told}imagenet, fruitsgb, cassava, demo\n"
    (tmp_path / "file").touch()
    assert cli.main(["sweep", str(sweep_folder), "--model", "demo", "-o", str(tmp_path / "file")]) == 2
    assert "is a file; give the name of a folder" in capsys.readouterr().err


def test_a_set_is_another_one_when_its_files_change(tmp_path: Path) -> None:
    folder = sweep_lab.write_photos(tmp_path / "set")
    photos = va.datasets.load_photo_folder(folder)
    assert photos_fingerprint(photos) == photos_fingerprint(va.datasets.load_photo_folder(folder))
    assert photos_fingerprint(photos) != photos_fingerprint(va.datasets.load_photo_folder(folder, sweep_lab.CLASSES))
    assert photos_fingerprint(photos) != photos_fingerprint(photos.take(range(5)))
    before = photos_fingerprint(photos)
    os.utime(folder / photos.names[3], ns=(0, 0))
    assert photos_fingerprint(photos) != before
    (folder / photos.names[3]).unlink()
    assert photos_fingerprint(photos) != before
    model = sweep_lab.colour_model()
    digest = weights_digest(model)
    assert digest == weights_digest(sweep_lab.colour_model())
    assert digest != weights_digest(replace(model, class_names=("a",) * 5))
    with torch.no_grad():
        model.module.norm.bias[0] += 1e-3
    assert digest != weights_digest(model)
